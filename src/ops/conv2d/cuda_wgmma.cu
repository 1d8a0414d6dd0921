/* conv2d, wgmma on CUDA (compute capability 9.0a): the convolution as one matrix product C[pixel][oc] = A * B on Hopper's
 * warpgroup instructions, for layers large enough to fill the device.
 *
 *   A [pixels][kh * kw * ic]  windows of x (NHWC), gathered on the way: k runs over (ky, kx, c), c fastest
 *   B [kh * kw * ic][oc]      weights
 *
 * A block computes 128 pixels x N channels (N 64 or 128) in steps of 128 bytes of c: 64 halves or 32 floats. Three stages in
 * shared memory hold a tile of A and a tile of B each, rows of 128 bytes swizzled as wgmma reads them (its 128-byte mode:
 * 16-byte column i of row r lies at i ^ (r mod 8)). Two warps produce: the tiles of B lie in memory as they
 * lie in shared memory, so one thread asks for each with one bulk copy; A is gathered by cp.async, sixteen of 16 bytes a
 * thread and stage, zeros where the window leaves the image. Two warpgroups consume, 64 pixels each: four wgmma
 * m64nNk16 (k8 in tf32) a stage with both operands in shared memory, sums in 64 registers a thread. Stages pass between
 * them by mbarriers. With 320 threads of 96 registers and 98 KiB, two blocks share a multiprocessor, and one's epilogue
 * runs while the other multiplies.
 *
 * The epilogue goes through shared memory, so that bias, residual and result move as 16 bytes of one pixel.
 *
 * A stage of 128 x 128 x 64 halves takes 512 cycles of the tensor cores; it writes 32 KiB of shared memory and reads 48:
 * 160 of 128 bytes a cycle, so shared memory, not arithmetic, bounds it at some 80 % of the nominal rate.
 *
 * In tf32 the tensor core drops the lower bits of x; weights are rounded when they are packed.
 *
 * Sources: PTX ISA, "Asynchronous Warpgroup Level Matrix Multiply-Accumulate"; CUTLASS 3's warp-specialised mainloops. */
#include "devices/cuda/kernel.h"
#include "ops/conv2d/conv2d.h"

extern "C" {
#include "core/half.h"
}

#include <stdint.h>
#include <string.h>

enum {
    TILE_M = 128,
    ROW_BYTES = 128, /* of a tile: one step of c */
    STAGES = 3,
    IN_FLIGHT = STAGES - 1,
    CONSUMERS = 256,
    PRODUCERS = 64,
    THREADS = CONSUMERS + PRODUCERS,
    ROWS_A_PRODUCER = TILE_M / (PRODUCERS / 8),
    STAGING_PAD = 8, /* floats: rows start on other banks */
};

/* What both sides know; filled on the host. */
struct layer {
    tw_conv2d p;
    int pixels;  /* n * oh * ow */
    int n_tiles; /* of channels */
    int c_steps; /* of 128 bytes */
    int k_steps; /* kh * kw * c_steps */
};

template <class T, int N> struct shape {
    static constexpr int per_row = ROW_BYTES / (int)sizeof(T), per_chunk = 16 / (int)sizeof(T);
    static constexpr int a_bytes = TILE_M * ROW_BYTES, b_bytes = N * ROW_BYTES;
    static constexpr int staging_row = N + STAGING_PAD;
    static constexpr int shared = STAGES * (a_bytes + b_bytes) + 1024 /* to align */ + 2 * STAGES * 8;
    static_assert(TILE_M * staging_row * 4 <= STAGES * (a_bytes + b_bytes), "the epilogue reuses the stages");
};

/* ---- barriers and copies ---- */

__device__ static inline uint32_t shared_address(const void *p)
{
    return (uint32_t)__cvta_generic_to_shared(p);
}

__device__ static inline void barrier_init(uint32_t barrier, int arrivals)
{
    asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(barrier), "r"(arrivals));
}

__device__ static inline void barrier_arrive(uint32_t barrier)
{
    asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(barrier) : "memory");
}

__device__ static inline void barrier_expect(uint32_t barrier, int bytes)
{
    asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(barrier), "r"(bytes) : "memory");
}

__device__ static inline void barrier_wait(uint32_t barrier, int parity)
{
    uint32_t done;
    do {
        asm volatile("{\n.reg .pred p;\nmbarrier.try_wait.parity.shared::cta.b64 p, [%1], %2;\nselp.u32 %0, 1, 0, p;\n}"
                     : "=r"(done)
                     : "r"(barrier), "r"(parity)
                     : "memory");
    } while (!done);
}

/* 16 bytes, or zeros. */
__device__ static inline void copy_chunk(uint32_t to, const void *from, bool inside)
{
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(to), "l"(from), "r"(inside ? 16 : 0) : "memory");
}

__device__ static inline void copy_bulk(uint32_t to, const void *from, int bytes, uint32_t barrier)
{
    asm volatile("cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1], %2, [%3];" ::"r"(to),
                 "l"(from), "r"(bytes), "r"(barrier)
                 : "memory");
}

/* What this thread's copies wrote, the tensor core may read once the barrier is passed. */
__device__ static inline void hand_over(uint32_t barrier)
{
    asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
    barrier_arrive(barrier);
}

/* ---- producing ---- */

/* Where a pixel's window begins: the element of x (maybe outside of it) and its row and column. */
struct origin {
    int offset;
    short iy, ix;
};

__device__ static origin find_origin(const layer &l, int pixel)
{
    const tw_conv2d &p = l.p;
    if (pixel >= l.pixels) return {0, -0x4000, -0x4000}; /* below any image, dilation included */
    int n = pixel / (p.oh * p.ow), rest = pixel - n * p.oh * p.ow, oy = rest / p.ow, ox = rest - oy * p.ow;
    int iy = oy * p.sh - p.pt, ix = ox * p.sw - p.pl;
    return {((n * p.ih + iy) * p.iw + ix) * p.ic, (short)iy, (short)ix};
}

template <class T, int N>
__device__ static inline void produce(const layer &l, const T *x, const char *w, uint32_t stages, uint32_t full,
                                      uint32_t empty)
{
    using S = shape<T, N>;
    const tw_conv2d &p = l.p;
    const int thread = threadIdx.x - CONSUMERS, chunk = thread % 8, first_row = thread / 8;
    const int m_tile = blockIdx.x / l.n_tiles, n_tile = blockIdx.x - m_tile * l.n_tiles;
    const uint32_t to = stages + first_row * ROW_BYTES + ((chunk ^ (first_row & 7)) << 4);
    origin origins[ROWS_A_PRODUCER];
#pragma unroll
    for (int i = 0; i < ROWS_A_PRODUCER; i++)
        origins[i] = find_origin(l, m_tile * TILE_M + first_row + i * (PRODUCERS / 8));
    const char *b = w + (size_t)n_tile * l.k_steps * S::b_bytes;
    int ky = 0, kx = 0, c = chunk * S::per_chunk;
    for (int k = 0; k < l.k_steps; k++) {
        const int stage = k % STAGES;
        const uint32_t base = to + stage * (S::a_bytes + S::b_bytes);
        barrier_wait(empty + 8 * stage, (k / STAGES & 1) ^ 1);
        if (thread == 0) {
            barrier_expect(full + 8 * stage, S::b_bytes);
            copy_bulk(stages + stage * (S::a_bytes + S::b_bytes) + S::a_bytes, b + (size_t)k * S::b_bytes, S::b_bytes,
                      full + 8 * stage);
        }
        const int dy = ky * p.dilh, dx = kx * p.dilw, delta = (dy * p.iw + dx) * p.ic + c;
        const bool has_channels = c < p.ic;
#pragma unroll
        for (int i = 0; i < ROWS_A_PRODUCER; i++) {
            bool inside = has_channels && (unsigned)(origins[i].iy + dy) < (unsigned)p.ih &&
                          (unsigned)(origins[i].ix + dx) < (unsigned)p.iw;
            copy_chunk(base + i * (PRODUCERS / 8) * ROW_BYTES, inside ? x + (origins[i].offset + delta) : x, inside);
        }
        asm volatile("cp.async.commit_group;" ::: "memory");
        if (k >= IN_FLIGHT) {
            asm volatile("cp.async.wait_group %0;" ::"n"(+IN_FLIGHT) : "memory");
            hand_over(full + 8 * ((k - IN_FLIGHT) % STAGES));
        }
        c += S::per_row;
        if (c - chunk * S::per_chunk >= p.ic) {
            c = chunk * S::per_chunk;
            if (++kx == p.kw) kx = 0, ky++;
        }
    }
    asm volatile("cp.async.wait_group 0;" ::: "memory");
    for (int k = max(l.k_steps - IN_FLIGHT, 0); k < l.k_steps; k++) hand_over(full + 8 * (k % STAGES));
}

/* ---- consuming ---- */

/* wgmma's matrix descriptor: rows of 128 bytes, swizzled by 128, groups of 8 rows 1,024 bytes apart. */
__device__ static inline uint64_t describe(uint32_t address)
{
    return (uint64_t)(address >> 4 & 0x3fff) | (uint64_t)1 << 16 | (uint64_t)(1024 >> 4) << 32 | (uint64_t)1 << 62;
}

/* Inline assembly wants every register named. */
template <class T> struct multiply_n128;
template <class T> struct multiply_n64;

#define SUMS_8(i)                                                                                                      \
    "+f"(s[i]), "+f"(s[i + 1]), "+f"(s[i + 2]), "+f"(s[i + 3]), "+f"(s[i + 4]), "+f"(s[i + 5]), "+f"(s[i + 6]),        \
        "+f"(s[i + 7])
#define SUMS_32(i) SUMS_8(i), SUMS_8(i + 8), SUMS_8(i + 16), SUMS_8(i + 24)
#define NAMES_32                                                                                                       \
    "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, %16, %17, %18, %19, %20, %21, %22, %23, "   \
    "%24, %25, %26, %27, %28, %29, %30, %31"
#define NAMES_64                                                                                                       \
    NAMES_32 ", %32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, %48, %49, %50, %51, "  \
             "%52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63"

/* sums += a * b: 64 rows, N columns, 32 bytes of k. */
#define MULTIPLY(type, n, names, sums, first, instruction, flags)                                                      \
    template <> struct multiply_n##n<type> {                                                                           \
        __device__ static inline void add(float *s, uint64_t a, uint64_t b)                                            \
        {                                                                                                              \
            asm volatile("wgmma.mma_async.sync.aligned." instruction " {" names "}, %" #first ", %" #sums              \
                         ", 1, 1, 1" flags ";"                                                                         \
                         : MULTIPLY_SUMS_##n                                                                           \
                         : "l"(a), "l"(b));                                                                            \
        }                                                                                                              \
    };
#define MULTIPLY_SUMS_128 SUMS_32(0), SUMS_32(32)
#define MULTIPLY_SUMS_64 SUMS_32(0)
MULTIPLY(__half, 128, NAMES_64, 65, 64, "m64n128k16.f32.f16.f16", ", 0, 0")
MULTIPLY(__nv_bfloat16, 128, NAMES_64, 65, 64, "m64n128k16.f32.bf16.bf16", ", 0, 0")
MULTIPLY(float, 128, NAMES_64, 65, 64, "m64n128k8.f32.tf32.tf32", "")
MULTIPLY(__half, 64, NAMES_32, 33, 32, "m64n64k16.f32.f16.f16", ", 0, 0")
MULTIPLY(__nv_bfloat16, 64, NAMES_32, 33, 32, "m64n64k16.f32.bf16.bf16", ", 0, 0")
MULTIPLY(float, 64, NAMES_32, 33, 32, "m64n64k8.f32.tf32.tf32", "")

template <class T, int N>
__device__ static inline void consume(const layer &l, float *sums, uint32_t stages, uint32_t full, uint32_t empty)
{
    using S = shape<T, N>;
    const int group = threadIdx.x / 128;
#pragma unroll
    for (int i = 0; i < N / 2; i++) sums[i] = 0;
    for (int k = 0; k < l.k_steps; k++) {
        const int stage = k % STAGES;
        const uint32_t a = stages + stage * (S::a_bytes + S::b_bytes) + group * 64 * ROW_BYTES;
        const uint32_t b = stages + stage * (S::a_bytes + S::b_bytes) + S::a_bytes;
        barrier_wait(full + 8 * stage, k / STAGES & 1);
        const uint64_t a_rows = describe(a), b_rows = describe(b);
        asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
#pragma unroll
        for (int part = 0; part < ROW_BYTES / 32; part++) /* 32 bytes further: 2 in the descriptor's unit of 16 */
            if constexpr (N == 128)
                multiply_n128<T>::add(sums, a_rows + 2 * part, b_rows + 2 * part);
            else
                multiply_n64<T>::add(sums, a_rows + 2 * part, b_rows + 2 * part);
        asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
        asm volatile("wgmma.wait_group.sync.aligned 0;" ::: "memory");
        if (threadIdx.x % 32 == 0) barrier_arrive(empty + 8 * stage);
    }
}

/* A warp has 16 rows of the tile: it lays its sums into shared memory and stores them pixel by pixel. */
template <class T, int N>
__device__ static inline void finish(const layer &l, const float *sums, float *staging, const float *bias,
                                     const T *residual, T *y)
{
    using S = shape<T, N>;
    constexpr int width = tw_pack<T>::width, chunks = N / width;
    const tw_conv2d &p = l.p;
    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    const int m_tile = blockIdx.x / l.n_tiles, n_tile = blockIdx.x - m_tile * l.n_tiles;
    float *mine = staging + warp * 16 * S::staging_row;
    asm volatile("bar.sync 1, %0;" ::"n"(+CONSUMERS) : "memory"); /* the other warpgroup is done with the stages too */
#pragma unroll
    for (int j = 0; j < N / 8; j++) {
        float *at = mine + lane / 4 * S::staging_row + 8 * j + lane % 4 * 2;
        *(float2 *)at = make_float2(sums[4 * j], sums[4 * j + 1]);
        *(float2 *)(at + 8 * S::staging_row) = make_float2(sums[4 * j + 2], sums[4 * j + 3]);
    }
    __syncwarp();
    for (int i = lane; i < 16 * chunks; i += 32) {
        const int row = i / chunks, column = i % chunks * width;
        const int pixel = m_tile * TILE_M + warp * 16 + row, oc = n_tile * N + column;
        if (pixel >= l.pixels || oc >= p.oc) continue;
        const size_t at = (size_t)pixel * p.oc + oc;
        tw_pack<T> out, other;
        if (p.has_residual) other = tw_pack<T>::load(residual + at);
#pragma unroll
        for (int v = 0; v < width; v++) {
            float sum = mine[row * S::staging_row + column + v];
            if (p.has_bias) sum += __ldg(bias + oc + v);
            if (p.has_residual) sum += other.v[v];
            out.v[v] = tw_activate(sum, p.activation);
        }
        out.store(y + at);
    }
}

template <class T, int N>
__global__ static void __launch_bounds__(THREADS, 2)
    convolve(const __grid_constant__ layer l, const T *x, const char *w, const float *bias, const T *residual, T *y)
{
    using S = shape<T, N>;
    extern __shared__ char memory[];
    const uint32_t stages = (shared_address(memory) + 1023) & ~1023u;
    const uint32_t full = stages + STAGES * (S::a_bytes + S::b_bytes), empty = full + 8 * STAGES;
    if (threadIdx.x == 0) {
        for (int i = 0; i < STAGES; i++) {
            barrier_init(full + 8 * i, PRODUCERS + 1); /* and the bulk copy's bytes */
            barrier_init(empty + 8 * i, CONSUMERS / 32);
        }
        asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
    }
    __syncthreads();
    tw_cuda_release();
    tw_cuda_wait();
    if (threadIdx.x >= CONSUMERS) {
        produce<T, N>(l, x, w, stages, full, empty);
    } else {
        float sums[N / 2];
        consume<T, N>(l, sums, stages, full, empty);
        finish<T, N>(l, sums, (float *)(memory + (stages - shared_address(memory))), bias, residual, y);
    }
}

/* ---- the record ---- */

static int tile_channels(const tw_conv2d *p)
{
    return (p->oc + 63) / 64 * 64 < (p->oc + 127) / 128 * 128 ? 64 : 128;
}

static layer make_layer(const tw_problem *problem)
{
    const tw_conv2d *p = (const tw_conv2d *)problem->params;
    int per_row = ROW_BYTES / (int)tw_dtype_bytes(problem->in[0].dtype);
    layer l = {*p, p->n * p->oh * p->ow, (int)tw_ceil_div((size_t)p->oc, (size_t)tile_channels(p)),
               (p->ic + per_row - 1) / per_row, 0};
    l.k_steps = p->kh * p->kw * l.c_steps;
    return l;
}

template <class T, int N> static tw_status launch(const layer &l, const tw_step *step, tw_queue *queue)
{
    const tw_cuda_grid grid = {dim3(tw_ceil_div((size_t)l.pixels, TILE_M) * (unsigned)l.n_tiles), THREADS,
                               (size_t)shape<T, N>::shared};
    return tw_cuda_launch(queue, convolve<T, N>, grid, l, (const T *)step->in[0], (const char *)step->packed,
                          (const float *)step->in[2], (const T *)step->in[3], (T *)step->out);
}

static tw_status run(const tw_step *step, tw_queue *queue)
{
    const layer l = make_layer(step->problem);
    const int n = tile_channels(&l.p);
    return tw_cuda_with_type(step->problem->in[0].dtype, [&](auto *type) {
        using T = std::remove_pointer_t<decltype(type)>;
        return n == 64 ? launch<T, 64>(l, step, queue) : launch<T, 128>(l, step, queue);
    });
}

static bool supports(const tw_problem *problem, const tw_device *device, const char **reason)
{
    const tw_conv2d *p = (const tw_conv2d *)problem->params;
    const tw_dtype dtype = tw_precision_dtype(problem->precision);
    const int width = 16 / (int)tw_dtype_bytes(dtype);
    *reason = "needs compute capability 9.0";
    if (((const tw_cuda *)device)->capability != 90) return false;
    *reason = "reads and writes channels-last in the precision's own type";
    if (problem->in[0].layout != TW_NHWC || problem->out.layout != TW_NHWC) return false;
    if (problem->in[0].dtype != dtype || problem->out.dtype != dtype) return false;
    *reason = "needs channels in whole 16 bytes, and no groups";
    if (p->groups != 1 || p->ic % width || p->oc % width) return false;
    *reason = "an image or a window of more than 8,191 rows or columns";
    if (p->ih > 8191 || p->iw > 8191 || (double)p->kh * p->dilh > 8191 || (double)p->kw * p->dilw > 8191) return false;
    if (p->pt > 8191 || p->pl > 8191) return false;
    *reason = "more than 2^31 - 1 elements";
    return ((double)p->n * p->ih + 16382) * p->iw * p->ic < INT_MAX && (double)p->n * p->oh * p->ow * p->oc < INT_MAX;
}

static size_t packed_bytes(const tw_problem *problem, const tw_device *device)
{
    (void)device;
    const layer l = make_layer(problem);
    return (size_t)l.n_tiles * (size_t)l.k_steps * (size_t)tile_channels(&l.p) * ROW_BYTES;
}

static void put(char *to, tw_precision precision, float value)
{
    const uint16_t narrow = precision == TW_PRECISION_FP16 ? tw_narrow_half(value) : tw_narrow_bfloat16(value);
    const float rounded = tw_round_tf32(value);
    if (precision == TW_PRECISION_TF32)
        memcpy(to, &rounded, sizeof rounded);
    else
        memcpy(to, &narrow, sizeof narrow);
}

/* packed [n_tile][ky][kx][c_step][row of N: oc][128 bytes of c, swizzled], zeros where there is nothing. */
static void pack(const tw_problem *problem, const tw_device *device, const void *const *in, void *packed)
{
    const layer l = make_layer(problem);
    const tw_conv2d *p = &l.p;
    const int n = tile_channels(p), size = (int)tw_dtype_bytes(problem->in[0].dtype), per_row = ROW_BYTES / size;
    const float *w = (const float *)in[1];
    char *to = (char *)packed;
    memset(packed, 0, packed_bytes(problem, device));
    for (int tile = 0; tile < l.n_tiles; tile++)
        for (int window = 0; window < p->kh * p->kw; window++)
            for (int c_step = 0; c_step < l.c_steps; c_step++, to += (size_t)n * ROW_BYTES)
                for (int row = 0; row < n && tile * n + row < p->oc; row++)
                    for (int i = 0; i < per_row && c_step * per_row + i < p->ic; i++) {
                        size_t from =
                            ((size_t)(tile * n + row) * p->ic + c_step * per_row + i) * p->kh * p->kw + window;
                        int chunk = i * size / 16 ^ (row & 7);
                        put(to + row * ROW_BYTES + chunk * 16 + i * size % 16, problem->precision, w[from]);
                    }
}

/* Two blocks a multiprocessor advance together; a block computes whole tiles, filled or not. */
static double cost(const tw_problem *problem, const tw_device *device)
{
    const layer l = make_layer(problem);
    const tw_cuda *cuda = (const tw_cuda *)device;
    const double n = tile_channels(&l.p), blocks = (double)tw_ceil_div((size_t)l.pixels, TILE_M) * l.n_tiles;
    const double waves = ceil(blocks / (2.0 * cuda->multiprocessors));
    const double rate =
        device->info.peak_flops / cuda->multiprocessors * (problem->precision == TW_PRECISION_TF32 ? 8 : 16);
    const double step = 2.0 * (int)TILE_M * n * ((int)ROW_BYTES / tw_dtype_bytes(problem->in[0].dtype)) / (0.7 * rate);
    const double fill = 2.5e-6 + 3 * step; /* the first stages, the epilogue */
    const double compute = waves * (2 * step * l.k_steps + fill);
    const double memory = tw_problem_bytes(problem) / (0.8 * device->info.peak_bytes);
    return (compute > memory ? compute : memory) + 1e-6;
}

extern "C" const tw_design tw_conv2d_cuda_wgmma = {
    .op = "conv2d",
    .device = "cuda",
    .name = "wgmma",
    .summary = "implicit matrix product on Hopper's warpgroup instructions, for large layers",
    .precisions = TW_IN_TF32 | TW_IN_FP16 | TW_IN_BF16,
    .supports = supports,
    .packed_bytes = packed_bytes,
    .pack = pack,
    .cost = cost,
    .run = run,
};
