/* conv2d, wgmma_direct on CUDA (compute capability 9.0a): windows with stride 1 on Hopper's warpgroup instructions, where the
 * tile's part of the image, with its halo, is staged once and all taps are read from it.
 *
 * wgmma's essay counts why: as an implicit matrix product every tap gathers its pixels from L2 again, and with 64 or 128
 * output channels L2's bandwidth is what bounds (48 KiB a step of 128 x 256, but 24 for a quarter of the work). Here a tile
 * of 256 output pixels (8 x 32, 16 x 16 or 32 x 8) needs 340 pixels of input for a window of 3 x 3, in place of 9 * 256.
 *
 * A stage of A is that part of the image for 128 bytes of channels (64 halves, 32 floats), [y][x][128 bytes], swizzled by the
 * pixel's number. wgmma's A is 64 rows as 8 groups of 8: 8 x 8 pixels, a group being 8 neighbours of one image row and the
 * distance of groups that of rows; a tap is the same matrix begun some pixels later. So nothing is ever laid out again.
 * B's stages are one tap each, [N][128 bytes], bulk copies. Where all weights of a layer fit (64 to 64 channels, 3 x 3:
 * 72 KiB), they come once and stay.
 *
 * Two warpgroups consume, two blocks of 8 x 8 pixels each, sums in N registers a thread; one step's products always stand behind
 * the other's. Two or four warps produce A by cp.async, zeros where the window leaves the image, one asks for B. Blocks stay for one
 * tile after another. A tap of 256 x 128 x 64 halves takes 1,024 cycles of the tensor cores, reads 96 KiB of shared memory
 * (768 cycles), and writes 16 KiB of B.
 *
 * In tf32 the tensor core drops the lower bits of x; weights are rounded when they are packed. */
#include "devices/cuda/wgmma.cuh"
#include "ops/conv2d/conv2d.h"

extern "C" {
#include "core/half.h"
}

#include <string.h>

constexpr int ROW_BYTES = 128, CONSUMERS = 256;
constexpr int TILE_PIXELS = 256, BLOCK = 8 /* pixels a side */, MOST_SIDE = 8 /* of a window */, A_STAGES = 2,
              B_STAGES = 4;
/* Threads that produce A: with half the channels there is half the time. */
template <int N> constexpr int gatherers = N == 64 ? 128 : 64;
template <int N> constexpr int threads = CONSUMERS + gatherers<N> + 32;

/* What both sides know; filled on the host. */
struct layer {
    tw_conv2d p;
    int n, n_tiles;                     /* channels of a tile; such tiles */
    int across;                         /* blocks of 8 x 8 beside one another: 1, 2 or 4 of the tile's 4 */
    int tiles_y, tiles_x, image, tiles; /* image: of one */
    int rows, width;                    /* of the staged part, pixels */
    int a_bytes;                        /* of a stage, in whole 1,024 */
    int c_steps, taps;
    bool stay;    /* all weights, in a stage each */
    int b_stages; /* as many, or B_STAGES */
    int shared;
    tw_divisor by_tiles, by_image, by_line; /* n_tiles, image, tiles_x */
};

struct place {
    int n_tile, n, y, x; /* of the tile's first pixel */
};

__device__ static inline place find_place(const layer &l, int tile)
{
    const int m = (int)l.by_tiles.quotient(tile), n = (int)l.by_image.quotient(m), rest = m - n * l.image;
    const int line = (int)l.by_line.quotient(rest);
    return {tile - m * l.n_tiles, n, line * (4 / l.across) * BLOCK, (rest - line * l.tiles_x) * l.across * BLOCK};
}

/* ---- producing ---- */

/* A thread has one chunk of every `beside`-th column. */
template <class T, int N>
__device__ static inline void gather(const layer &l, const T *x, uint32_t a, uint32_t full, uint32_t empty)
{
    constexpr int per_row = ROW_BYTES / (int)sizeof(T), per_chunk = 16 / (int)sizeof(T), beside = gatherers<N> / 8;
    constexpr int most = (4 * BLOCK + MOST_SIDE - 1 + beside - 1) / beside;
    const tw_conv2d &p = l.p;
    const int thread = threadIdx.x - CONSUMERS, chunk = thread % 8, first = thread / 8;
    const int line = p.iw * p.ic;
    int step = 0;
    for (int tile = blockIdx.x; tile < l.tiles; tile += gridDim.x) {
        const place at = find_place(l, tile);
        const int top = at.y - p.pt, left = at.x - p.pl + first;
        unsigned inside = 0; /* a bit a column */
#pragma unroll
        for (int i = 0; i < most; i++)
            if ((unsigned)(left + i * beside) < (unsigned)p.iw) inside |= 1u << i;
        for (int c_step = 0; c_step < l.c_steps; c_step++, step++) {
            const int stage = step % A_STAGES, c = c_step * per_row + chunk * per_chunk;
            const bool channels = c < p.ic;
            const T *from = x + (size_t)at.n * p.ih * line + ((long long)top * p.iw + left) * p.ic + c;
            unsigned pixel = first; /* of the stage */
            tw_barrier_wait(empty + 8 * stage, (step / A_STAGES & 1) ^ 1);
            for (int row = 0; row < l.rows; row++, from += line, pixel += l.width) {
                const unsigned there = channels && (unsigned)(top + row) < (unsigned)p.ih ? inside : 0;
#pragma unroll
                for (int i = 0; i < most; i++) {
                    if (first + i * beside >= l.width) break;
                    const bool reads = there >> i & 1;
                    tw_copy_async(a + stage * l.a_bytes + tw_mma_place(pixel + i * beside, chunk),
                                  reads ? from + i * beside * p.ic : x, reads);
                }
            }
            tw_copy_commit();
            tw_copy_wait<0>();
            tw_hand_over(full + 8 * stage);
        }
    }
}

__device__ static inline void fetch_weights(const layer &l, const char *w, uint32_t b, uint32_t full, uint32_t empty)
{
    const int bytes = l.n * ROW_BYTES, steps = l.c_steps * l.taps;
    int step = 0;
    for (int tile = blockIdx.x; tile < l.tiles && !(l.stay && step); tile += gridDim.x) {
        const char *from = w + (size_t)find_place(l, tile).n_tile * steps * bytes;
        for (int k = 0; k < steps; k++, step++) {
            const int stage = step % l.b_stages;
            if (!l.stay) tw_barrier_wait(empty + 8 * stage, (step / l.b_stages & 1) ^ 1);
            tw_barrier_expect(full + 8 * stage, bytes);
            tw_copy_bulk(b + stage * bytes, from + (size_t)k * bytes, bytes, full + 8 * stage);
        }
    }
}

/* ---- consuming ---- */

/* Sums begin as the bias. */
template <int N>
__device__ static inline void begin(const layer &l, float (&sums)[2][N / 8][4], int n_tile,
                                    const float *__restrict__ bias)
{
    const int first = n_tile * N + threadIdx.x % 4 * 2;
#pragma unroll
    for (int j = 0; j < N / 8; j++) {
        const bool there = l.p.has_bias && first + j * 8 < l.p.oc;
        const float even = there ? __ldg(bias + first + j * 8) : 0.0f,
                    odd = there ? __ldg(bias + first + j * 8 + 1) : 0.0f;
#pragma unroll
        for (int i = 0; i < 2; i++) sums[i][j][0] = sums[i][j][2] = even, sums[i][j][1] = sums[i][j][3] = odd;
    }
}

/* The first pixel of a warpgroup's block i within the tile. */
__device__ static inline int block_y(const layer &l, int block)
{
    return block / l.across * BLOCK;
}
__device__ static inline int block_x(const layer &l, int block)
{
    return block % l.across * BLOCK;
}

struct pipes {
    uint32_t a, b, full_a, empty_a, full_b, empty_b;
};

/* All taps of all channels; a_step and b_step count the stages of all tiles. */
template <class T, int N>
__device__ static inline void consume(const layer &l, float (&sums)[2][N / 8][4], int &a_step, int &b_step,
                                      const pipes &at)
{
    const int group = threadIdx.x / 128, pitch = l.width * ROW_BYTES;
    const bool speaks = threadIdx.x % 32 == 0;
    uint32_t blocks[2];
#pragma unroll
    for (int i = 0; i < 2; i++) {
        const int block = group * 2 + i;
        blocks[i] = (block_y(l, block) * l.width + block_x(l, block)) * ROW_BYTES;
    }
    int k = 0;
    for (int c_step = 0; c_step < l.c_steps; c_step++, a_step++) {
        const int stage = a_step % A_STAGES;
        tw_barrier_wait(at.full_a + 8 * stage, a_step / A_STAGES & 1);
        int ky = 0, kx = 0;
        for (int tap = 0; tap < l.taps; tap++, k++, b_step++) {
            const int b_stage = l.stay ? k : b_step % B_STAGES;
            tw_barrier_wait(at.full_b + 8 * b_stage, l.stay ? 0 : b_step / B_STAGES & 1);
            const uint32_t from = at.a + stage * l.a_bytes + (ky * l.width + kx) * ROW_BYTES;
            const uint64_t b_rows = tw_wgmma_matrix(at.b + b_stage * N * ROW_BYTES, 1024);
            tw_wgmma_begin();
#pragma unroll
            for (int i = 0; i < 2; i++) {
                const uint64_t a_rows = tw_wgmma_matrix(from + blocks[i], pitch);
#pragma unroll
                for (int part = 0; part < ROW_BYTES / 32; part++)
                    tw_wgmma<T, N>::add(&sums[i][0][0], a_rows + 2 * part, b_rows + 2 * part);
            }
            tw_wgmma_commit();
            tw_wgmma_wait<1>(); /* the step before is done: its stages are free */
            if (speaks && k > 0) {
                if (!l.stay) tw_barrier_arrive(at.empty_b + 8 * ((b_step - 1) % B_STAGES));
                if (tap == 0) tw_barrier_arrive(at.empty_a + 8 * ((a_step - 1) % A_STAGES));
            }
            if (++kx == l.p.kw) kx = 0, ky++;
        }
    }
    tw_wgmma_wait<0>();
    if (speaks) {
        if (!l.stay) tw_barrier_arrive(at.empty_b + 8 * ((b_step - 1) % B_STAGES));
        tw_barrier_arrive(at.empty_a + 8 * ((a_step - 1) % A_STAGES));
    }
}

/* A warp has two neighbouring lines of 8 pixels of each of its blocks. */
template <class T, int N>
__device__ static inline void finish(const layer &l, const float (&sums)[2][N / 8][4], const place &tile,
                                     unsigned staging, const T *residual, T *y)
{
    const tw_conv2d &p = l.p;
    const int warp = threadIdx.x / 32, oc = tile.n_tile * N;
    const unsigned mine = staging + warp * TW_MMA_STAGING;
#pragma unroll
    for (int i = 0; i < 2; i++) {
        const int block = warp / 4 * 2 + i, first_x = tile.x + block_x(l, block);
        const int first_y = tile.y + block_y(l, block) + warp % 4 * 2, columns = p.ow - first_x;
        const size_t at = (((size_t)tile.n * p.oh + first_y) * p.ow + first_x) * p.oc + oc, pitch = (size_t)p.oc;
        const tw_mma_out<T> out = {y + at,
                                   residual + at,
                                   pitch,
                                   pitch * p.ow,
                                   first_y < p.oh ? columns : 0,
                                   first_y + 1 < p.oh ? columns : 0,
                                   p.oc - oc,
                                   tw_low(p.activation),
                                   tw_high(p.activation)};
        if (p.has_residual)
            tw_mma_store<T, true>(sums[i], mine, out);
        else
            tw_mma_store<T, false>(sums[i], mine, out);
    }
}

template <class T, int N>
__global__ static void __launch_bounds__(threads<N>, 1)
    convolve(const __grid_constant__ layer l, const T *__restrict__ x, const char *w, const float *__restrict__ bias,
             const T *__restrict__ residual, T *__restrict__ y)
{
    extern __shared__ __align__(1024) char memory[]; /* A's stages, B's, what the epilogue needs, barriers */
    pipes at;
    at.a = tw_shared_address(memory);
    at.b = at.a + A_STAGES * l.a_bytes;
    const uint32_t staging = at.b + l.b_stages * N * ROW_BYTES;
    at.full_a = staging + CONSUMERS / 32 * TW_MMA_STAGING, at.empty_a = at.full_a + 8 * A_STAGES;
    at.full_b = at.empty_a + 8 * A_STAGES, at.empty_b = at.full_b + 8 * l.b_stages;
    if (threadIdx.x == 0) {
        for (int i = 0; i < A_STAGES; i++) {
            tw_barrier_init(at.full_a + 8 * i, gatherers<N>);
            tw_barrier_init(at.empty_a + 8 * i, CONSUMERS / 32);
        }
        for (int i = 0; i < l.b_stages; i++) {
            tw_barrier_init(at.full_b + 8 * i, 1);
            tw_barrier_init(at.empty_b + 8 * i, CONSUMERS / 32);
        }
        tw_barrier_publish();
    }
    __syncthreads();
    tw_cuda_release();
    if (threadIdx.x >= CONSUMERS + gatherers<N>) {
        if (threadIdx.x == CONSUMERS + gatherers<N>) fetch_weights(l, w, at.b, at.full_b, at.empty_b);
        return;
    }
    tw_cuda_wait();
    if (threadIdx.x >= CONSUMERS) {
        gather<T, N>(l, x, at.a, at.full_a, at.empty_a);
        return;
    }
    int a_step = 0, b_step = 0;
    for (int tile = blockIdx.x; tile < l.tiles; tile += gridDim.x) {
        const place where = find_place(l, tile);
        float sums[2][N / 8][4];
        begin<N>(l, sums, where.n_tile, bias);
        consume<T, N>(l, sums, a_step, b_step, at);
        finish<T, N>(l, sums, where, staging, residual, y);
    }
}

/* ---- the record ---- */

static layer make_layer(const tw_problem *problem, const tw_cuda *cuda, int n, int across)
{
    const tw_conv2d *p = (const tw_conv2d *)problem->params;
    const int per_row = ROW_BYTES / (int)tw_dtype_bytes(problem->in[0].dtype), down = 4 / across;
    layer l = {*p};
    l.n = n;
    l.n_tiles = (int)tw_ceil_div((size_t)p->oc, (size_t)n);
    l.across = across;
    l.tiles_y = (int)tw_ceil_div((size_t)p->oh, (size_t)(down * BLOCK));
    l.tiles_x = (int)tw_ceil_div((size_t)p->ow, (size_t)(across * BLOCK));
    l.image = l.tiles_y * l.tiles_x;
    l.tiles = p->n * l.image * l.n_tiles;
    l.rows = down * BLOCK + p->kh - 1;
    l.width = across * BLOCK + p->kw - 1;
    l.a_bytes = (l.rows * l.width * ROW_BYTES + 1023) / 1024 * 1024;
    l.c_steps = (p->ic + per_row - 1) / per_row;
    l.taps = p->kh * p->kw;
    const int steps = l.c_steps * l.taps, rest = A_STAGES * l.a_bytes + CONSUMERS / 32 * TW_MMA_STAGING + 16 * A_STAGES;
    const double all = rest + (double)steps * (n * ROW_BYTES + 16);
    l.stay = l.n_tiles == 1 && all <= cuda->shared_bytes;
    l.b_stages = l.stay ? steps : B_STAGES;
    l.shared = rest + l.b_stages * (n * ROW_BYTES + 16);
    l.by_tiles = tw_make_divisor(l.n_tiles);
    l.by_image = tw_make_divisor(l.image);
    l.by_line = tw_make_divisor(l.tiles_x);
    return l;
}

static double predict(const tw_problem *problem, const tw_cuda *cuda, const layer &l)
{
    const tw_cuda_rates rates = tw_cuda_rates_of(cuda);
    const double rate = rates.fma * (l.n == 128 ? 0.75 : 0.62) * (problem->precision == TW_PRECISION_TF32 ? 8 : 16);
    const double numbers = ROW_BYTES / (double)tw_dtype_bytes(problem->in[0].dtype);
    const double step = 2.0 * TILE_PIXELS * l.n * numbers / rate,
                 rounds = ceil((double)l.tiles / cuda->multiprocessors);
    const double compute = rounds * (step * l.c_steps * l.taps + 1.5e-6) + 4e-6;
    const double memory = tw_problem_bytes(problem) / (0.7 * rates.memory);
    return fmax(compute, memory) + 0.25 * fmin(compute, memory) + 1e-6;
}

/* The one place that decides on the tile. */
static layer choose(const tw_problem *problem, const tw_device *device, double *seconds)
{
    const tw_cuda *cuda = (const tw_cuda *)device;
    layer best = {};
    *seconds = 1e30;
    for (int n = 64; n <= 128; n *= 2)
        for (int across = 1; across <= 4; across *= 2) {
            const layer l = make_layer(problem, cuda, n, across);
            const double predicted = predict(problem, cuda, l);
            if (l.shared <= cuda->shared_bytes && predicted < *seconds) best = l, *seconds = predicted;
        }
    return best;
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
    *reason = "for dense windows of more than one tap, at most 8 a side, with stride 1";
    if (p->sh != 1 || p->sw != 1 || p->dilh != 1 || p->dilw != 1) return false;
    if (p->kh > MOST_SIDE || p->kw > MOST_SIDE || p->kh * p->kw < 2) return false;
    *reason = "more than 2^31 - 1 elements";
    if ((double)p->n * p->ih * p->iw * p->ic > INT_MAX || (double)p->n * (p->oh + 32) * (p->ow + 32) * p->oc > INT_MAX)
        return false;
    *reason = "a tile does not fit in shared memory";
    double seconds;
    choose(problem, device, &seconds);
    return seconds < 1e30;
}

static size_t packed_bytes(const tw_problem *problem, const tw_device *device)
{
    double seconds;
    const layer l = choose(problem, device, &seconds);
    return (size_t)l.n_tiles * (size_t)l.c_steps * (size_t)l.taps * (size_t)l.n * ROW_BYTES;
}

/* packed [n_tile][c_step][ky][kx][row of n: oc][128 bytes of c, swizzled], zeros where there is nothing. */
static void pack(const tw_problem *problem, const tw_device *device, const void *const *in, void *packed)
{
    double seconds;
    const layer l = choose(problem, device, &seconds);
    const tw_conv2d *p = &l.p;
    const tw_dtype own = problem->in[0].dtype;
    const int per_row = ROW_BYTES / (int)tw_dtype_bytes(own), per_chunk = per_row / 8;
    const float *w = (const float *)in[1];
    char *to = (char *)packed;
    memset(packed, 0, packed_bytes(problem, device));
    for (int tile = 0; tile < l.n_tiles; tile++)
        for (int c_step = 0; c_step < l.c_steps; c_step++)
            for (int tap = 0; tap < l.taps; tap++, to += (size_t)l.n * ROW_BYTES)
                for (int row = 0; row < l.n && tile * l.n + row < p->oc; row++)
                    for (int i = 0; i < per_row && c_step * per_row + i < p->ic; i++) {
                        const size_t from = ((size_t)(tile * l.n + row) * p->ic + c_step * per_row + i) * l.taps + tap;
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

template <class T, int N> static tw_status launch(const layer &l, const tw_step *step, tw_queue *queue)
{
    const int at_once = queue->device->multiprocessors;
    const tw_cuda_grid grid = {dim3((unsigned)(l.tiles < at_once ? l.tiles : at_once)), (unsigned)threads<N>,
                               (size_t)l.shared};
    return tw_cuda_launch(queue, convolve<T, N>, grid, l, (const T *)step->in[0], (const char *)step->packed,
                          (const float *)step->in[2], (const T *)step->in[3], (T *)step->out);
}

static tw_status run(const tw_step *step, tw_queue *queue)
{
    double seconds;
    const layer l = choose(step->problem, &queue->device->base, &seconds);
    return tw_cuda_with_type(step->problem->in[0].dtype, [&](auto *type) {
        using T = std::remove_pointer_t<decltype(type)>;
        return l.n == 64 ? launch<T, 64>(l, step, queue) : launch<T, 128>(l, step, queue);
    });
}

extern "C" const tw_design tw_conv2d_cuda_wgmma_direct = {
    .op = "conv2d",
    .device = "cuda",
    .name = "wgmma_direct",
    .summary = "Hopper's warpgroup instructions on a part of the image staged once for all taps, stride 1",
    .precisions = TW_IN_TF32 | TW_IN_FP16 | TW_IN_BF16,
    .supports = supports,
    .packed_bytes = packed_bytes,
    .pack = pack,
    .cost = cost,
    .run = run,
};
