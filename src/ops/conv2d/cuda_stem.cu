/* conv2d, stem on CUDA: a network's first layer, from a plain float32 image of few channels, on tensor cores by mma.sync in
 * tf32, fp16 or bf16 (compute capability 8.0 and later). Such layers move much and compute little: VGG-16's first one at
 * batch 128 writes 822 MB in fp16 for 22 GFLOP, so the memory bounds it, and what is to be avoided is gathering the same
 * numbers from L2 for each of up to 121 taps.
 *
 * A block of 8 warps computes tiles of 8 x 32 or 16 x 16 output pixels (half as many rows where tiles are few) times 64 or
 * 32 channels, one tile after another. The part of the image that a tile needs is read once, a row of a warp, converted,
 * and laid into shared memory as [c][y][x]; the weights stay there for all tiles. A fragment's 16 rows are 16 neighbouring
 * pixels of one output row, so an element of a lies at the pixel's place plus an offset that depends on k alone: a table
 * holds the offsets, and the fragments are read where they lie.
 *
 * Everything is counted in units of 4 bytes of k, which is what a lane's register holds: one number of tf32, or two
 * neighbours of a window's row in 2-byte types. Those must be aligned: with an odd stride a second copy of the image part
 * lies one number further. Where a window's row has an odd length, or k ends, the table has a mask, so that what lies there
 * (maybe NaN) is not multiplied with a zero weight.
 *
 *   k in units = (c, ky, kx / numbers in a unit), padded to 8: one mma
 *   packed     = [tile of channels][8 units of k][8 channels][lane][2 units], then the table
 *
 * Sums begin as the bias and leave through shared memory, so that a lane stores 16 bytes of one pixel's channels. Counting
 * instructions is what this design is about: VGG-16's first layer has 27 multiplications an output.
 * Device memory: x once and its tiles' borders again from L2, y once. */
#include "devices/cuda/kernel.h"
#include "devices/cuda/mma.cuh"
#include "ops/conv2d/conv2d.h"

extern "C" {
#include "core/half.h"
}

constexpr int WARPS = 8, THREADS = 32 * WARPS, RUN = 16, MOST_CHANNELS = 8;

/* ---- what both sides know ---- */

struct layer {
    tw_conv2d p;
    int steps;                     /* of k: 8 units each */
    int columns;                   /* of a tile: 64 or 32 channels */
    int runs;                      /* of 16 pixels, below one another, a warp: 2 or 1 */
    int across;                    /* warps beside one another: 1 or 2 */
    int rows, width;               /* of the part of the image: rows of one channel, numbers of a row */
    int copies;                    /* of it in shared memory: 2 where pairs would be unaligned */
    int tile_rows, tile_columns;   /* output pixels */
    int tiles_y, tiles_x, tiles;   /* of one image, of one image, in all */
    int weight_bytes, table_bytes; /* of one tile of channels, of the table */
    int shared;
    int blocks;                                      /* along x */
    tw_divisor by_width, by_rows, by_image, by_line; /* width, rows, tiles_y * tiles_x, tiles_x */
    double seconds;
};

/* ---- the kernel ---- */

#if __CUDA_ARCH__ >= 800

__device__ static inline unsigned load_unit(unsigned address)
{
    unsigned value;
    asm volatile("ld.shared.u32 %0, [%1];" : "=r"(value) : "r"(address));
    return value;
}

__device__ static inline float stored(float v, float)
{
    unsigned bits;
    asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(bits) : "f"(v));
    return __uint_as_float(bits);
}
template <class T> __device__ static inline T stored(float v, T)
{
    return tw_narrow<T>(v);
}

/* The tile's part of the image, zeros outside of it, `loads` numbers of a thread under way at once. The second copy lies
 * one number further. */
template <class T, int loads>
__device__ static inline void stage(const layer &l, const float *image, int top, int left, T *to, T *shifted)
{
    const tw_conv2d &p = l.p;
    const int count = p.ic * l.rows * l.width;
    for (int first = threadIdx.x; first < count; first += THREADS * loads) {
        float v[loads];
#pragma unroll
        for (int i = 0; i < loads; i++) {
            const int at = first + i * THREADS, row = (int)l.by_width.quotient(at), c = (int)l.by_rows.quotient(row);
            const int y = top + row - c * l.rows, x = left + at - row * l.width;
            const bool there = at < count && (unsigned)y < (unsigned)p.ih && (unsigned)x < (unsigned)p.iw;
            v[i] = there ? __ldg(image + ((c * p.ih + y) * p.iw + x)) : 0.0f;
        }
#pragma unroll
        for (int i = 0; i < loads; i++) {
            const int at = first + i * THREADS;
            if (at >= count) break;
            const T value = stored(v[i], T());
            to[at] = value;
            if (shifted && at > 0) shifted[at - 1] = value;
        }
    }
}

#endif

/* One run a warp leaves registers for four blocks a multiprocessor, which hide one another's waiting. */
constexpr int blocks_for(int runs)
{
    return runs == 1 ? 4 : 2;
}

template <class T, int N, int RUNS>
__global__ static void __launch_bounds__(THREADS, blocks_for(RUNS))
    convolve(const __grid_constant__ layer l, const float *x, const char *packed, const float *bias, T *y)
{
#if __CUDA_ARCH__ >= 800
    constexpr int NJ = N / 8;
    extern __shared__ __align__(
        128) char shared[]; /* staging, weights, table, the part of the image, its second copy */
    const tw_conv2d &p = l.p;
    const int thread = threadIdx.x, lane = thread % 32, warp = thread / 32;
    const unsigned staging = tw_shared_address(shared) + warp * TW_MMA_STAGING;
    char *constant = shared + WARPS * TW_MMA_STAGING;
    const uint2 *weights = (const uint2 *)constant;
    const int4 *table = (const int4 *)(constant + l.weight_bytes);
    T *part = (T *)(constant + l.weight_bytes + l.table_bytes);
    T *shifted = l.copies == 2 ? part + p.ic * l.rows * l.width : nullptr;

    const char *from = packed + (size_t)blockIdx.y * l.weight_bytes;
    for (int i = thread * 16; i < l.weight_bytes; i += THREADS * 16)
        tw_copy_async(tw_shared_address(constant) + i, from + i, true);
    from = packed + (size_t)gridDim.y * l.weight_bytes;
    for (int i = thread * 16; i < l.table_bytes; i += THREADS * 16)
        tw_copy_async(tw_shared_address(constant) + l.weight_bytes + i, from + i, true);
    tw_copy_commit();

    /* This lane's pixel of the warp's first run: lane / 4, and 8 further. */
    const int row = warp / l.across * RUNS, column = (warp - warp / l.across * l.across) * RUN + lane / 4;
    const int place = row * p.sh * l.width + column * p.sw;
    unsigned at = tw_shared_address(part) + place * (int)sizeof(T);
    if (shifted && place % 2) at = tw_shared_address(shifted) + (place - 1) * (int)sizeof(T);
    const unsigned next_half = 8 * p.sw * sizeof(T), next_run = p.sh * l.width * sizeof(T);

    float2 biases[NJ];
#pragma unroll
    for (int j = 0; j < NJ; j++) {
        const int channel = blockIdx.y * N + j * 8 + lane % 4 * 2;
        biases[j] = make_float2(0, 0);
        if (bias && channel < p.oc) biases[j] = make_float2(__ldg(bias + channel), __ldg(bias + channel + 1));
    }

    tw_cuda_wait();
    tw_cuda_release();
    for (int tile = blockIdx.x; tile < l.tiles; tile += gridDim.x) {
        const int n = (int)l.by_image.quotient(tile), rest = tile - n * l.tiles_y * l.tiles_x;
        const int line = (int)l.by_line.quotient(rest);
        const int oy = line * l.tile_rows, ox = (rest - line * l.tiles_x) * l.tile_columns;
        const float *image = x + (size_t)n * p.ic * p.ih * p.iw;
        if (p.ic * l.rows * l.width > 6 * THREADS)
            stage<T, 8>(l, image, oy * p.sh - p.pt, ox * p.sw - p.pl, part, shifted);
        else
            stage<T, 3>(l, image, oy * p.sh - p.pt, ox * p.sw - p.pl, part, shifted);
        tw_copy_wait<0>();
        __syncthreads();

        float sums[RUNS][NJ][4]; /* begin as the bias */
#pragma unroll
        for (int i = 0; i < RUNS; i++)
#pragma unroll
            for (int j = 0; j < NJ; j++)
                sums[i][j][0] = sums[i][j][2] = biases[j].x, sums[i][j][1] = sums[i][j][3] = biases[j].y;
#pragma unroll 2
        for (int step = 0; step < l.steps; step++) {
            const int4 k = table[step * 4 + lane % 4]; /* offset and mask of this lane's two units */
            unsigned a[RUNS][4];
#pragma unroll
            for (int i = 0; i < RUNS; i++) {
                a[i][0] = load_unit(at + i * next_run + k.x) & k.y;
                a[i][1] = load_unit(at + i * next_run + next_half + k.x) & k.y;
                a[i][2] = load_unit(at + i * next_run + k.z) & k.w;
                a[i][3] = load_unit(at + i * next_run + next_half + k.z) & k.w;
            }
#pragma unroll
            for (int j = 0; j < NJ; j++) {
                const uint2 pair = weights[(step * NJ + j) * 32 + lane];
                const unsigned b[2] = {pair.x, pair.y};
#pragma unroll
                for (int i = 0; i < RUNS; i++) tw_mma(T(), sums[i][j], a[i], b);
            }
        }
        __syncthreads(); /* the next tile's part of the image may come */

#pragma unroll
        for (int i = 0; i < RUNS; i++) {
            const int line_y = oy + row + i, first_x = ox + column - lane / 4, first = blockIdx.y * N;
            T *to = y + (((size_t)n * p.oh + line_y) * p.ow + first_x) * p.oc + first;
            const int rows = line_y < p.oh ? p.ow - first_x : 0;
            tw_mma_store<T, false>(sums[i], staging,
                                   {to, nullptr, (size_t)p.oc, 8 * (size_t)p.oc, rows, rows - 8, p.oc - first,
                                    tw_low(p.activation), tw_high(p.activation)});
        }
    }
#endif
}

/* ---- what to launch ---- */

static int unit_numbers(const tw_problem *problem)
{
    return problem->precision == TW_PRECISION_TF32 ? 1 : 2;
}

static layer make_layer(const tw_problem *problem, const tw_cuda *cuda, int columns, int runs, int across)
{
    layer l = {};
    const tw_conv2d *p = (const tw_conv2d *)problem->params;
    const int numbers = unit_numbers(problem), window_row = (p->kw + numbers - 1) / numbers;
    l.p = *p;
    l.columns = columns, l.runs = runs, l.across = across;
    l.tile_rows = WARPS / across * runs;
    l.tile_columns = RUN * across;
    l.rows = (l.tile_rows - 1) * p->sh + (p->kh - 1) * p->dilh + 1;
    l.width = ((l.tile_columns - 1) * p->sw + window_row * numbers + 1) / 2 * 2;
    l.copies = numbers == 2 && p->sw % 2 ? 2 : 1;
    l.steps = (p->ic * p->kh * window_row + 7) / 8;
    l.weight_bytes = l.steps * columns / 8 * 32 * 8;
    l.table_bytes = l.steps * 4 * (int)sizeof(int4);
    const int part_bytes = p->ic * l.rows * l.width * (4 / numbers);
    l.shared = WARPS * TW_MMA_STAGING + l.weight_bytes + l.table_bytes + part_bytes * l.copies;

    const double tiles_y = ceil((double)p->oh / l.tile_rows), tiles_x = ceil((double)p->ow / l.tile_columns);
    const double tiles = tiles_y * tiles_x * p->n, column_tiles = ceil((double)p->oc / columns);
    l.seconds = 1e30;
    if (l.shared > cuda->shared_bytes || tiles > INT_MAX || column_tiles > (int)TW_CUDA_MAX_GRID_YZ) return l;
    l.tiles_y = (int)tiles_y, l.tiles_x = (int)tiles_x, l.tiles = (int)tiles;
    l.by_width = tw_make_divisor(l.width);
    l.by_rows = tw_make_divisor(l.rows);
    l.by_image = tw_make_divisor(l.tiles_y * l.tiles_x);
    l.by_line = tw_make_divisor(l.tiles_x);
    const double fit = fmin(blocks_for(runs), floor((cuda->shared_bytes + 1024.0) / (l.shared + 1024.0)));
    l.blocks = (int)fmin(tiles, fmax(1, floor(cuda->multiprocessors * fit / column_tiles)));

    /* Instructions of a warp, of which a multiprocessor issues some two a cycle of 0.6 ns; alone, a block waits for its part
     * of the image and for what depends on what. */
    const double reads = ceil((double)p->ic * l.rows * l.width / THREADS), fragments = columns / 8.0;
    const double instructions =
        24 * reads + l.steps * (1 + 8 * runs + fragments * (1 + runs)) + runs * (60 + 8 * fragments);
    const double multiply = WARPS * instructions * 0.3e-9;
    const double staging = 1e-6 + reads / 8 * 0.4e-6 + l.steps * 0.04e-6;
    const double rounds = ceil(tiles / l.blocks);
    const double bytes = tw_problem_bytes(problem);
    l.seconds =
        fmax(rounds * fmax(fit * multiply, staging + multiply), bytes / (0.75 * tw_cuda_rates_of(cuda).memory)) +
        1.5e-6 + l.weight_bytes / 60e9;
    return l;
}

/* The one place that decides on the tile. */
static layer choose(const tw_problem *problem, const tw_device *device)
{
    static const struct {
        int columns, runs, across;
    } ways[] = {{64, 1, 1}, {64, 1, 2}, {64, 2, 1}, {64, 2, 2}, {32, 1, 1}, {32, 1, 2}, {32, 2, 1}, {32, 2, 2}};
    layer best = {};
    best.seconds = 2e30;
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
        const layer l = make_layer(problem, (const tw_cuda *)device, ways[i].columns, ways[i].runs, ways[i].across);
        if (l.seconds < best.seconds) best = l;
    }
    return best;
}

/* ---- the record ---- */

static bool supports(const tw_problem *problem, const tw_device *device, const char **reason)
{
    const tw_conv2d *p = (const tw_conv2d *)problem->params;
    const tw_dtype own = tw_precision_dtype(problem->precision);
    *reason = "needs tensor cores and asynchronous copies, compute capability 8.0 or later";
    if (((const tw_cuda *)device)->capability < 80) return false;
    *reason = "reads plain float32, writes channels-last in the precision's own type";
    if (problem->in[0].layout != TW_PLAIN || problem->in[0].dtype != TW_F32) return false;
    if (problem->out.layout != TW_NHWC || problem->out.dtype != own) return false;
    *reason = "for at most 8 input channels without groups, output channels in whole 16 bytes";
    if (p->ic > MOST_CHANNELS || p->groups != 1 || p->oc % (16 / (int)tw_dtype_bytes(own))) return false;
    *reason = "adds no residual, and needs neighbouring columns in a window";
    if (p->has_residual || (p->dilw != 1 && p->kw != 1)) return false;
    *reason = "strides or windows so large that a tile does not fit in shared memory";
    const double limit = 4096;
    if (p->sh > limit || p->sw > limit || p->kw > limit || (double)(p->kh - 1) * p->dilh > limit || p->kh > limit)
        return false;
    return choose(problem, device).seconds < 1e30;
}

static size_t packed_bytes(const tw_problem *problem, const tw_device *device)
{
    const layer l = choose(problem, device);
    return (size_t)l.weight_bytes * tw_ceil_div((size_t)l.p.oc, (size_t)l.columns) + (size_t)l.table_bytes;
}

/* The unit of k that a lane holds first (0) or second (1) of a step: its channel, row and first column. */
struct unit {
    int c, ky, kx;
    bool there;
};

static unit find_unit(const tw_conv2d *p, int numbers, int index)
{
    const int window_row = (p->kw + numbers - 1) / numbers, c = index / (p->kh * window_row);
    const int rest = index - c * p->kh * window_row;
    return {c, rest / window_row, rest % window_row * numbers, c < p->ic};
}

static void pack_table(const layer &l, int numbers, int *table)
{
    for (int step = 0; step < l.steps; step++)
        for (int lane = 0; lane < 4; lane++)
            for (int i = 0; i < 2; i++, table += 2) {
                const unit k = find_unit(&l.p, numbers, step * 8 + lane + 4 * i);
                const int at = (k.c * l.rows + k.ky * l.p.dilh) * l.width + k.kx;
                table[0] = k.there ? at * (4 / numbers) : 0;
                table[1] = !k.there ? 0 : k.kx + numbers > l.p.kw ? 0xffff : -1;
            }
}

static void pack(const tw_problem *problem, const tw_device *device, const void *const *in, void *packed)
{
    const layer l = choose(problem, device);
    const tw_conv2d *p = &l.p;
    const int numbers = unit_numbers(problem), column_tiles = (int)tw_ceil_div((size_t)p->oc, (size_t)l.columns);
    const tw_dtype own = tw_precision_dtype(problem->precision);
    const float *w = (const float *)in[1];
    size_t to = 0;
    for (int tile = 0; tile < column_tiles; tile++)
        for (int step = 0; step < l.steps; step++)
            for (int j = 0; j < l.columns / 8; j++)
                for (int lane = 0; lane < 32; lane++)
                    for (int i = 0; i < 2; i++)
                        for (int number = 0; number < numbers; number++, to++) {
                            const unit k = find_unit(p, numbers, step * 8 + lane % 4 + 4 * i);
                            const int oc = tile * l.columns + j * 8 + lane / 4, kx = k.kx + number;
                            float value = 0;
                            if (oc < p->oc && k.there && kx < p->kw)
                                value = w[(((size_t)oc * p->ic + k.c) * p->kh + k.ky) * p->kw + kx];
                            tw_write_element(packed, own, to, tw_round_to(problem->precision, value));
                        }
    pack_table(l, numbers, (int *)((char *)packed + (size_t)column_tiles * l.weight_bytes));
}

static double cost(const tw_problem *problem, const tw_device *device)
{
    return choose(problem, device).seconds;
}

template <class T> static tw_status launch(const layer &l, const tw_step *step, tw_queue *queue)
{
    typedef void (*kernel_t)(layer, const float *, const char *, const float *, T *);
    static const kernel_t kernels[2][2] = {{convolve<T, 32, 1>, convolve<T, 32, 2>},
                                           {convolve<T, 64, 1>, convolve<T, 64, 2>}};
    const tw_cuda_grid grid = {dim3((unsigned)l.blocks, tw_ceil_div((size_t)l.p.oc, (size_t)l.columns)), THREADS,
                               (size_t)l.shared};
    return tw_cuda_launch(queue, kernels[l.columns / 64][l.runs - 1], grid, l, (const float *)step->in[0],
                          (const char *)step->packed, l.p.has_bias ? (const float *)step->in[2] : nullptr,
                          (T *)step->out);
}

static tw_status run(const tw_step *step, tw_queue *queue)
{
    const layer l = choose(step->problem, &queue->device->base);
    return tw_cuda_with_type(step->problem->out.dtype,
                             [&](auto *type) { return launch<std::remove_pointer_t<decltype(type)>>(l, step, queue); });
}

extern "C" const tw_design tw_conv2d_cuda_stem = {
    .op = "conv2d",
    .device = "cuda",
    .name = "stem",
    .summary = "a network's first layer on tensor cores: a plain image of few channels, staged once",
    .precisions = TW_IN_TF32 | TW_IN_FP16 | TW_IN_BF16,
    .supports = supports,
    .packed_bytes = packed_bytes,
    .pack = pack,
    .cost = cost,
    .run = run,
};
