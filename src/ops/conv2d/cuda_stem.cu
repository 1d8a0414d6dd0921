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
 * Sums stay in registers; four lanes exchange theirs, so that each stores 16 bytes of one pixel's channels.
 * Device memory: x once and its tiles' borders again from L2, y once. */
#include "devices/cuda/kernel.h"
#include "devices/cuda/mma.cuh"
#include "ops/conv2d/conv2d.h"

extern "C" {
#include "core/half.h"
}

constexpr int WARPS = 8, THREADS = 32 * WARPS, RUN = 16, LOADS = 8, MOST_CHANNELS = 8;

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
    int blocks;                            /* along x */
    tw_divisor by_rows, by_image, by_line; /* rows, tiles_y * tiles_x, tiles_x */
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

/* The tile's part of the image, zeros outside of it. The second copy lies one number further. */
template <class T>
__device__ static inline void stage(const layer &l, const float *image, int top, int left, T *to, T *shifted)
{
    const tw_conv2d &p = l.p;
    const int rows = p.ic * l.rows, warp = threadIdx.x / 32;
    for (int x = threadIdx.x % 32; x < l.width; x += 32) {
        const bool across = (unsigned)(left + x) < (unsigned)p.iw;
        for (int first = warp; first < rows; first += WARPS * LOADS) {
            float v[LOADS];
#pragma unroll
            for (int i = 0; i < LOADS; i++) {
                const int row = first + i * WARPS, c = (int)l.by_rows.quotient(row), y = top + row - c * l.rows;
                const bool there = across && row < rows && (unsigned)y < (unsigned)p.ih;
                v[i] = there ? __ldg(image + ((size_t)c * p.ih + y) * p.iw + left + x) : 0.0f;
            }
#pragma unroll
            for (int i = 0; i < LOADS; i++) {
                const int row = first + i * WARPS;
                if (row >= rows) break;
                const T value = stored(v[i], T());
                to[row * l.width + x] = value;
                if (shifted && x > 0) shifted[row * l.width + x - 1] = value;
            }
        }
    }
}

/* A fragment's sums of one pixel: bias, activation, 16 bytes a store. `first` is the tile's first channel. */
template <class T, int NJ>
__device__ static inline void finish(const layer &l, const float (&sums)[NJ][4], int half, int first, const float *bias,
                                     T *pixel, bool there)
{
    constexpr int width = 16 / sizeof(T), groups = width / 2;
    const int lane = threadIdx.x % 4;
#pragma unroll
    for (int j = 0; j < NJ; j += groups) {
        float2 v[groups];
#pragma unroll
        for (int i = 0; i < groups; i++) v[i] = make_float2(sums[j + i][2 * half], sums[j + i][2 * half + 1]);
        tw_mma_exchange<groups>(v);
        const int channel = first + (j + lane % groups) * 8 + lane / groups * width;
        if (!there || channel >= l.p.oc) continue;
        tw_pack<T> out;
#pragma unroll
        for (int i = 0; i < groups; i++) {
            const float2 add = bias ? make_float2(__ldg(bias + channel + 2 * i), __ldg(bias + channel + 2 * i + 1))
                                    : make_float2(0, 0);
            out.v[2 * i] = tw_activate(v[i].x + add.x, l.p.activation);
            out.v[2 * i + 1] = tw_activate(v[i].y + add.y, l.p.activation);
        }
        out.store(pixel + channel);
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
    extern __shared__ __align__(16) char shared[]; /* weights, table, the part of the image, its second copy */
    const tw_conv2d &p = l.p;
    const int thread = threadIdx.x, lane = thread % 32, warp = thread / 32;
    const uint2 *weights = (const uint2 *)shared;
    const int4 *table = (const int4 *)(shared + l.weight_bytes);
    T *part = (T *)(shared + l.weight_bytes + l.table_bytes);
    T *shifted = l.copies == 2 ? part + p.ic * l.rows * l.width : nullptr;

    const char *from = packed + (size_t)blockIdx.y * l.weight_bytes;
    for (int i = thread * 16; i < l.weight_bytes; i += THREADS * 16)
        tw_copy_async(tw_shared_address(shared) + i, from + i, true);
    from = packed + (size_t)gridDim.y * l.weight_bytes;
    for (int i = thread * 16; i < l.table_bytes; i += THREADS * 16)
        tw_copy_async(tw_shared_address(shared) + l.weight_bytes + i, from + i, true);
    tw_copy_commit();
    tw_cuda_wait();
    tw_cuda_release();

    /* This lane's pixel of the warp's first run: lane / 4, and 8 further. */
    const int row = warp / l.across * RUNS, column = (warp - warp / l.across * l.across) * RUN + lane / 4;
    const int place = row * p.sh * l.width + column * p.sw;
    unsigned at = tw_shared_address(part) + place * (int)sizeof(T);
    if (shifted && place % 2) at = tw_shared_address(shifted) + (place - 1) * (int)sizeof(T);
    const unsigned next_half = 8 * p.sw * sizeof(T), next_run = p.sh * l.width * sizeof(T);

    for (int tile = blockIdx.x; tile < l.tiles; tile += gridDim.x) {
        const int n = (int)l.by_image.quotient(tile), rest = tile - n * l.tiles_y * l.tiles_x;
        const int line = (int)l.by_line.quotient(rest);
        const int oy = line * l.tile_rows, ox = (rest - line * l.tiles_x) * l.tile_columns;
        stage<T>(l, x + (size_t)n * p.ic * p.ih * p.iw, oy * p.sh - p.pt, ox * p.sw - p.pl, part, shifted);
        tw_copy_wait<0>();
        __syncthreads();

        float sums[RUNS][NJ][4] = {};
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
        for (int i = 0; i < RUNS; i++)
#pragma unroll
            for (int half = 0; half < 2; half++) {
                const int pixel_y = oy + row + i, pixel_x = ox + column + 8 * half;
                const bool there = pixel_y < p.oh && pixel_x < p.ow;
                finish<T, NJ>(l, sums[i], half, blockIdx.y * N, bias,
                              y + (((size_t)n * p.oh + pixel_y) * p.ow + pixel_x) * p.oc, there);
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
    l.shared = l.weight_bytes + l.table_bytes + part_bytes * l.copies;

    const double tiles_y = ceil((double)p->oh / l.tile_rows), tiles_x = ceil((double)p->ow / l.tile_columns);
    const double tiles = tiles_y * tiles_x * p->n, column_tiles = ceil((double)p->oc / columns);
    l.seconds = 1e30;
    if (l.shared > cuda->shared_bytes || tiles > INT_MAX || column_tiles > (int)TW_CUDA_MAX_GRID_YZ) return l;
    l.tiles_y = (int)tiles_y, l.tiles_x = (int)tiles_x, l.tiles = (int)tiles;
    l.by_rows = tw_make_divisor(l.rows);
    l.by_image = tw_make_divisor(l.tiles_y * l.tiles_x);
    l.by_line = tw_make_divisor(l.tiles_x);
    const double fit = fmin(blocks_for(runs), floor((cuda->shared_bytes + 1024.0) / (l.shared + 1024.0)));
    l.blocks = (int)fmin(tiles, fmax(1, floor(cuda->multiprocessors * fit / column_tiles)));

    /* Waiting goes on in one block while others multiply. A warp's step of k reads 4 fragments a run and the weights from
     * shared memory, 32 lanes a cycle, at some 1.7 GHz; storing and its exchange take as long as 30 steps of one run. */
    const double reads = ceil((double)p->ic * l.rows / (WARPS * LOADS)) * ceil(l.width / 32.0);
    const double staging = 1.5e-6 + reads * 0.6e-6, step = WARPS * (runs * 4.0 + columns / 4.0 + 2) / 1.7e9;
    const double multiply = l.steps * fmax(step, 0.05e-6) + 0.3e-6 * runs * columns / 32;
    const double rounds = ceil(tiles / l.blocks);
    const double bytes = tw_problem_bytes(problem);
    l.seconds = fmax(rounds * fmax(fit * multiply, staging + multiply), bytes / (0.75 * cuda->base.info.peak_bytes)) +
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
