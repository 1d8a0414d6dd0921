/* conv2d, wgmma on CUDA (compute capability 9.0a): the convolution as one matrix product C[pixel][oc] = A * B on Hopper's
 * warpgroup instructions, for layers large enough to fill the device.
 *
 *   A [pixels][kh * kw * ic]  windows of x (NHWC), gathered on the way: k runs over (ky, kx, c), c fastest
 *   B [kh * kw * ic][oc]      weights
 *
 * A tile is 128 pixels x N channels (N 64, 128 or 256), computed in steps of 128 bytes of c: 64 halves or 32 floats. Stages
 * in shared memory hold a tile of A and a tile of B each, rows of 128 bytes swizzled as wgmma reads them (its 128-byte mode:
 * 16-byte column i of row r lies at i ^ (r mod 8)). Two or four warps produce: the tiles of B lie in memory as they lie in
 * shared memory, so one thread asks for each with one bulk copy; A is gathered by cp.async, 16 bytes at a time, zeros
 * where the window leaves the image. Two warpgroups consume, 64 pixels each: four wgmma m64nNk16 (k8 in tf32) a stage with
 * both operands in shared memory, sums in N / 2 registers a thread. Stages pass between them by mbarriers.
 *
 * Blocks stay for one tile after another: while the consumers finish a tile, the producers already fill the stages with the
 * next. Sums begin as the bias and leave through 2 KiB of shared memory a warp, so that residual and result move as 16
 * bytes of one pixel; the residual is called to L2 as its tile begins.
 *
 * A step of 128 x 128 x 64 halves takes 512 cycles of the tensor cores; it writes 32 KiB of shared memory and reads 48, 640
 * cycles at 128 bytes: there shared memory bounds, at 80 % of the tensor cores' rate. 128 x 256 writes 48 and reads 80 KiB in
 * 1,024 cycles of either. So N is 256 where there are that many channels: four stages, one block a multiprocessor, and one
 * step's wgmma always behind the other. N of 128 and less takes three stages and two blocks a multiprocessor, of which one
 * multiplies while the other waits or finishes.
 *
 * In tf32 the tensor core drops the lower bits of x; weights are rounded when they are packed.
 *
 * Sources: PTX ISA, "Asynchronous Warpgroup Level Matrix Multiply-Accumulate"; CUTLASS 3's warp-specialised mainloops. */
#include "devices/cuda/wgmma.cuh"
#include "ops/conv2d/conv2d.h"

extern "C" {
#include "core/half.h"
}

#include <string.h>

constexpr int TILE_M = 128, ROW_BYTES = 128 /* of a tile: one step of c */, CONSUMERS = 256;

/* What both sides know; filled on the host. */
struct layer {
    tw_conv2d p;
    int pixels;  /* n * oh * ow */
    int n;       /* channels of a tile */
    int n_tiles; /* of channels */
    int tiles;
    int c_steps;                           /* of 128 bytes */
    int k_steps;                           /* kh * kw * c_steps */
    tw_divisor by_tiles, by_image, by_row; /* n_tiles, oh * ow, ow */
};

template <class T, int N> struct shape {
    static constexpr bool wide = N == 256;
    static constexpr int per_row = ROW_BYTES / (int)sizeof(T), per_chunk = 16 / (int)sizeof(T);
    static constexpr int a_bytes = TILE_M * ROW_BYTES, b_bytes = N * ROW_BYTES, stage = a_bytes + b_bytes;
    static constexpr int stages = wide ? 4 : 3, blocks = wide ? 1 : 2, producers = wide ? 128 : 64;
    static constexpr int threads = CONSUMERS + producers, rows_apart = producers / 8, rows = TILE_M / rows_apart;
    /* Steps whose wgmma may be under way while the next are issued, and copies that a producer has under way: the stages
     * of both are taken, and one more must come free. */
    static constexpr int behind = wide ? 1 : 0, in_flight = stages - 1 - behind;
    static constexpr int staging = CONSUMERS / 32 * TW_MMA_STAGING, shared = stages * stage + staging + 2 * stages * 8;
    static_assert(blocks * (shared + 1024) <= 228 * 1024, "what a multiprocessor has");
};

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
    const int n = (int)l.by_image.quotient(pixel), rest = pixel - n * p.oh * p.ow;
    const int oy = (int)l.by_row.quotient(rest), ox = rest - oy * p.ow;
    const int iy = oy * p.sh - p.pt, ix = ox * p.sw - p.pl;
    return {((n * p.ih + iy) * p.iw + ix) * p.ic, (short)iy, (short)ix};
}

template <class T, int N>
__device__ static inline void produce(const layer &l, const T *x, const char *w, uint32_t stages, uint32_t full,
                                      uint32_t empty)
{
    using S = shape<T, N>;
    const tw_conv2d &p = l.p;
    const int thread = threadIdx.x - CONSUMERS, chunk = thread % 8, first_row = thread / 8;
    const uint32_t to = stages + tw_mma_place(first_row, chunk);
    int step = 0; /* of all tiles: its stage is step % stages */
    for (int tile = blockIdx.x; tile < l.tiles; tile += gridDim.x) {
        const int m_tile = (int)l.by_tiles.quotient(tile), n_tile = tile - m_tile * l.n_tiles;
        origin origins[S::rows];
#pragma unroll
        for (int i = 0; i < S::rows; i++) origins[i] = find_origin(l, m_tile * TILE_M + first_row + i * S::rows_apart);
        const char *b = w + (size_t)n_tile * l.k_steps * S::b_bytes;
        int ky = 0, kx = 0, c = chunk * S::per_chunk;
        for (int k = 0; k < l.k_steps; k++, step++) {
            const int stage = step % S::stages;
            const uint32_t base = to + stage * S::stage;
            tw_barrier_wait(empty + 8 * stage, (step / S::stages & 1) ^ 1);
            if (thread == 0) {
                tw_barrier_expect(full + 8 * stage, S::b_bytes);
                tw_copy_bulk(stages + stage * S::stage + S::a_bytes, b + (size_t)k * S::b_bytes, S::b_bytes,
                             full + 8 * stage);
            }
            const int dy = ky * p.dilh, dx = kx * p.dilw, delta = (dy * p.iw + dx) * p.ic + c;
            const bool has_channels = c < p.ic;
#pragma unroll
            for (int i = 0; i < S::rows; i++) {
                const bool inside = has_channels && (unsigned)(origins[i].iy + dy) < (unsigned)p.ih &&
                                    (unsigned)(origins[i].ix + dx) < (unsigned)p.iw;
                tw_copy_async(base + i * S::rows_apart * ROW_BYTES, inside ? x + (origins[i].offset + delta) : x,
                              inside);
            }
            tw_copy_commit();
            if (step >= S::in_flight) {
                tw_copy_wait<S::in_flight>();
                tw_hand_over(full + 8 * ((step - S::in_flight) % S::stages));
            }
            c += S::per_row;
            if (c - chunk * S::per_chunk >= p.ic) {
                c = chunk * S::per_chunk;
                if (++kx == p.kw) kx = 0, ky++;
            }
        }
    }
    tw_copy_wait<0>();
    for (int last = max(step - S::in_flight, 0); last < step; last++) tw_hand_over(full + 8 * (last % S::stages));
}

/* ---- consuming ---- */

/* All steps of one tile, added to what is in sums; `step` counts those of all tiles. */
template <class T, int N>
__device__ static inline void consume(const layer &l, float *sums, int &step, uint32_t stages, uint32_t full,
                                      uint32_t empty)
{
    using S = shape<T, N>;
    const int group = threadIdx.x / 128;
    const bool speaks = threadIdx.x % 32 == 0;
    for (int k = 0; k < l.k_steps; k++, step++) {
        const int stage = step % S::stages;
        const uint32_t a = stages + stage * S::stage + group * 64 * ROW_BYTES,
                       b = stages + stage * S::stage + S::a_bytes;
        tw_barrier_wait(full + 8 * stage, step / S::stages & 1);
        const uint64_t a_rows = tw_wgmma_matrix(a, 1024), b_rows = tw_wgmma_matrix(b, 1024);
        tw_wgmma_begin();
#pragma unroll
        for (int part = 0; part < ROW_BYTES / 32; part++) /* 32 bytes further: 2 in the descriptor's unit of 16 */
            tw_wgmma<T, N>::add(sums, a_rows + 2 * part, b_rows + 2 * part);
        tw_wgmma_commit();
        tw_wgmma_wait<S::behind>();
        if (speaks && k >= S::behind) tw_barrier_arrive(empty + 8 * ((step - S::behind) % S::stages));
    }
    if constexpr (S::behind > 0) {
        tw_wgmma_wait<0>();
        if (speaks) tw_barrier_arrive(empty + 8 * ((step - 1) % S::stages));
    }
}

/* Sums begin as the bias. */
template <int N>
__device__ static inline void begin(const layer &l, float (&sums)[N / 8][4], int tile, const float *__restrict__ bias)
{
    const int first = (tile - (int)l.by_tiles.quotient(tile) * l.n_tiles) * N + threadIdx.x % 4 * 2;
#pragma unroll
    for (int j = 0; j < N / 8; j++) {
        const bool there = l.p.has_bias && first + j * 8 < l.p.oc; /* channels are whole pairs */
        sums[j][0] = sums[j][2] = there ? __ldg(bias + first + j * 8) : 0.0f;
        sums[j][1] = sums[j][3] = there ? __ldg(bias + first + j * 8 + 1) : 0.0f;
    }
}

/* A warp has 16 pixels of the tile. */
template <class T, int N>
__device__ static inline void finish(const layer &l, const float (&sums)[N / 8][4], int tile, unsigned staging,
                                     const T *residual, T *y)
{
    const tw_conv2d &p = l.p;
    const int m_tile = (int)l.by_tiles.quotient(tile), n_tile = tile - m_tile * l.n_tiles;
    const int pixel = m_tile * TILE_M + threadIdx.x / 32 * 16, oc = n_tile * N;
    const size_t at = (size_t)pixel * p.oc + oc;
    const size_t pitch = (size_t)p.oc;
    const tw_mma_out<T> out = {y + at,    residual + at,        pitch,
                               8 * pitch, l.pixels - pixel,     l.pixels - pixel - 8,
                               p.oc - oc, tw_low(p.activation), tw_high(p.activation)};
    const unsigned mine = staging + threadIdx.x / 32 * TW_MMA_STAGING;
    if (p.has_residual)
        tw_mma_store<T, true>(sums, mine, out);
    else
        tw_mma_store<T, false>(sums, mine, out);
}

/* What a tile's residual will be read for, on its way to L2 while the tile is computed: a line of 128 bytes a thread. */
template <class T, int N> __device__ static inline void fetch_residual(const layer &l, int tile, const T *residual)
{
    constexpr int numbers = 128 / (int)sizeof(T), lines = N / numbers;
    const int m_tile = (int)l.by_tiles.quotient(tile), n_tile = tile - m_tile * l.n_tiles;
    for (int i = threadIdx.x; i < TILE_M * lines; i += CONSUMERS) {
        const int pixel = m_tile * TILE_M + i / lines, oc = n_tile * N + i % lines * numbers;
        if (pixel < l.pixels && oc < l.p.oc)
            asm volatile("prefetch.global.L2 [%0];" ::"l"(residual + (size_t)pixel * l.p.oc + oc));
    }
}

template <class T, int N>
__global__ static void __launch_bounds__(shape<T, N>::threads, shape<T, N>::blocks)
    convolve(const __grid_constant__ layer l, const T *__restrict__ x, const char *w, const float *__restrict__ bias,
             const T *__restrict__ residual, T *__restrict__ y)
{
    using S = shape<T, N>;
    extern __shared__ __align__(1024) char memory[]; /* stages, what the epilogue needs, barriers */
    const uint32_t stages = tw_shared_address(memory), staging = stages + S::stages * S::stage;
    const uint32_t full = staging + S::staging, empty = full + 8 * S::stages;
    if (threadIdx.x == 0) {
        for (int i = 0; i < S::stages; i++) {
            tw_barrier_init(full + 8 * i, S::producers + 1); /* and the bulk copy's bytes */
            tw_barrier_init(empty + 8 * i, CONSUMERS / 32);
        }
        tw_barrier_publish();
    }
    __syncthreads();
    tw_cuda_wait();
    tw_cuda_release();
    if (threadIdx.x >= CONSUMERS) {
        produce<T, N>(l, x, w, stages, full, empty);
        return;
    }
    int step = 0;
    for (int tile = blockIdx.x; tile < l.tiles; tile += gridDim.x) {
        float sums[N / 8][4];
        if (l.p.has_residual) fetch_residual<T, N>(l, tile, residual);
        begin<N>(l, sums, tile, bias);
        consume<T, N>(l, &sums[0][0], step, stages, full, empty);
        finish<T, N>(l, sums, tile, staging, residual, y);
    }
}

/* ---- the record ---- */

static layer make_layer(const tw_problem *problem, int n)
{
    const tw_conv2d *p = (const tw_conv2d *)problem->params;
    const int per_row = ROW_BYTES / (int)tw_dtype_bytes(problem->in[0].dtype);
    layer l = {*p};
    if (p->kh == 1 && p->kw == 1 && p->sh == 1 && p->sw == 1 && p->oh == p->ih && p->ow == p->iw) {
        /* One pixel in, one out: every pixel is an image. Padding can't be, since sizes agree. */
        l.p.n = p->n * p->oh * p->ow;
        l.p.ih = l.p.iw = l.p.oh = l.p.ow = 1;
    }
    l.by_image = tw_make_divisor(l.p.oh * l.p.ow);
    l.by_row = tw_make_divisor(l.p.ow);
    l.pixels = p->n * p->oh * p->ow;
    l.n = n;
    l.n_tiles = (int)tw_ceil_div((size_t)p->oc, (size_t)n);
    l.tiles = (int)tw_ceil_div((size_t)l.pixels, (size_t)TILE_M) * l.n_tiles;
    l.by_tiles = tw_make_divisor(l.n_tiles);
    l.c_steps = (p->ic + per_row - 1) / per_row;
    l.k_steps = p->kh * p->kw * l.c_steps;
    return l;
}

/* Blocks of one multiprocessor advance together; one computes whole tiles, filled or not. */
static double predict(const tw_problem *problem, const tw_cuda *cuda, const layer &l)
{
    const bool wide = l.n == 256;
    const double rate = tw_cuda_rates_of(cuda).fma *
                        (wide         ? 0.68
                         : l.n == 128 ? 0.5
                                      : 0.38) *
                        (problem->precision == TW_PRECISION_TF32 ? 8 : 16);
    const double numbers = ROW_BYTES / (double)tw_dtype_bytes(problem->in[0].dtype);
    const double step = 2.0 * TILE_M * l.n * numbers / rate, blocks = wide ? 1 : 2;
    const double rounds = ceil(l.tiles / (blocks * cuda->multiprocessors));
    const double compute = rounds * (blocks * step * l.k_steps + (wide ? 1.5e-6 : 1.0e-6)) + 2.5e-6;
    const double memory = tw_problem_bytes(problem) / (0.7 * tw_cuda_rates_of(cuda).memory);
    return fmax(compute, memory) + 0.25 * fmin(compute, memory) + 1e-6;
}

/* The one place that decides on the tile. */
static layer choose(const tw_problem *problem, const tw_device *device, double *seconds)
{
    layer best = {};
    *seconds = 1e30;
    for (int n = 64; n <= 256; n *= 2) {
        const layer l = make_layer(problem, n);
        const double predicted = predict(problem, (const tw_cuda *)device, l);
        if (predicted < *seconds) best = l, *seconds = predicted;
    }
    return best;
}

template <class T, int N> static tw_status launch(const layer &l, const tw_step *step, tw_queue *queue)
{
    using S = shape<T, N>;
    const int at_once = S::blocks * queue->device->multiprocessors;
    const tw_cuda_grid grid = {dim3((unsigned)(l.tiles < at_once ? l.tiles : at_once)), S::threads, (size_t)S::shared};
    return tw_cuda_launch(queue, convolve<T, N>, grid, l, (const T *)step->in[0], (const char *)step->packed,
                          (const float *)step->in[2], (const T *)step->in[3], (T *)step->out);
}

static tw_status run(const tw_step *step, tw_queue *queue)
{
    double seconds;
    const layer l = choose(step->problem, &queue->device->base, &seconds);
    return tw_cuda_with_type(step->problem->in[0].dtype, [&](auto *type) {
        using T = std::remove_pointer_t<decltype(type)>;
        return l.n == 64    ? launch<T, 64>(l, step, queue)
               : l.n == 128 ? launch<T, 128>(l, step, queue)
                            : launch<T, 256>(l, step, queue);
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
    double seconds;
    const layer l = choose(problem, device, &seconds);
    return (size_t)l.n_tiles * (size_t)l.k_steps * (size_t)l.n * ROW_BYTES;
}

/* packed [n_tile][ky][kx][c_step][row of n: oc][128 bytes of c, swizzled], zeros where there is nothing. */
static void pack(const tw_problem *problem, const tw_device *device, const void *const *in, void *packed)
{
    double seconds;
    const layer l = choose(problem, device, &seconds);
    const tw_conv2d *p = &l.p;
    const tw_dtype own = problem->in[0].dtype;
    const int n = l.n, per_row = ROW_BYTES / (int)tw_dtype_bytes(own), per_chunk = per_row / 8;
    const float *w = (const float *)in[1];
    char *to = (char *)packed;
    memset(packed, 0, packed_bytes(problem, device));
    for (int tile = 0; tile < l.n_tiles; tile++)
        for (int window = 0; window < p->kh * p->kw; window++)
            for (int c_step = 0; c_step < l.c_steps; c_step++, to += (size_t)n * ROW_BYTES)
                for (int row = 0; row < n && tile * n + row < p->oc; row++)
                    for (int i = 0; i < per_row && c_step * per_row + i < p->ic; i++) {
                        const size_t from =
                            ((size_t)(tile * n + row) * p->ic + c_step * per_row + i) * p->kh * p->kw + window;
                        const int place = (i / per_chunk ^ (row & 7)) * per_chunk + i % per_chunk;
                        tw_write_element(to + row * ROW_BYTES, own, (size_t)place,
                                         tw_round_to(problem->precision, w[from]));
                    }
}

static double cost(const tw_problem *problem, const tw_device *device)
{
    double seconds;
    choose(problem, device, &seconds);
    return seconds;
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
