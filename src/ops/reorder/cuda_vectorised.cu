/* reorder, vectorised on CUDA: between the plain and the channels-last layout, and between element types, which only a
 * network's ends do.
 *
 * An image is a matrix of channels x pixels: one layout is the other's transpose. A block of 32 x 8 threads moves a tile of
 * 32 x 32 through shared memory (rows padded by one, so that columns meet all banks): both sides are read and written in
 * rows of 32 neighbours. With fewer than 16 channels most of such a tile would be empty: a thread then moves one element,
 * in the order of the channels-last side, whose neighbours read neighbouring planes that lie in L1. Where the layout stays
 * (or one is as good as the other: one channel or one pixel), it is a copy. Bandwidth bounds all of them. */
#include "devices/cuda/kernel.h"
#include "ops/reorder/reorder.h"

#include <type_traits>

enum { TILE = 32, ROWS = 8, THREADS = TILE * ROWS, FEW_CHANNELS = 16 };

template <class In, class Out> __global__ static void __launch_bounds__(THREADS) copy(const In *x, Out *y, size_t count)
{
    tw_cuda_wait();
    tw_cuda_release();
    for (size_t i = (size_t)blockIdx.x * THREADS + threadIdx.x; i < count; i += (size_t)gridDim.x * THREADS)
        y[i] = tw_narrow<Out>(tw_widen(x[i]));
}

/* y [images][columns][rows] from x [images][rows][columns]. */
template <class In, class Out>
__global__ static void __launch_bounds__(THREADS) transpose(int images, int rows, int columns, const In *x, Out *y)
{
    __shared__ float tile[TILE][TILE + 1];
    const int across = (columns + TILE - 1) / TILE, lane = threadIdx.x % TILE, row = threadIdx.x / TILE;
    const int first_row = blockIdx.x / across * TILE, first_column = blockIdx.x % across * TILE;
    tw_cuda_wait();
    tw_cuda_release();
    for (int image = blockIdx.y; image < images; image += gridDim.y) {
        const size_t base = (size_t)image * rows * columns;
        __syncthreads(); /* the tile has been read */
        for (int i = row; i < TILE; i += ROWS)
            if (first_row + i < rows && first_column + lane < columns)
                tile[i][lane] = tw_widen(x[base + (size_t)(first_row + i) * columns + first_column + lane]);
        __syncthreads();
        for (int i = row; i < TILE; i += ROWS)
            if (first_column + i < columns && first_row + lane < rows)
                y[base + (size_t)(first_column + i) * rows + first_row + lane] = tw_narrow<Out>(tile[lane][i]);
    }
}

/* The same where either side is short: `to_last` says that the channels are x's rows. */
template <class In, class Out>
__global__ static void __launch_bounds__(THREADS)
    few_channels(bool to_last, int channels, int pixels, const In *x, Out *y, size_t count)
{
    tw_cuda_wait();
    tw_cuda_release();
    for (size_t i = (size_t)blockIdx.x * THREADS + threadIdx.x; i < count; i += (size_t)gridDim.x * THREADS) {
        size_t pixel = i / channels, image = pixel / pixels; /* of the channels-last side */
        int c = (int)(i - pixel * channels);
        size_t plain = (image * channels + c) * pixels + (pixel - image * pixels);
        if (to_last)
            y[i] = tw_narrow<Out>(tw_widen(x[plain]));
        else
            y[plain] = tw_narrow<Out>(tw_widen(x[i]));
    }
}

template <class In, class Out> static tw_status launch(const tw_step *step, tw_queue *queue)
{
    const tw_reorder *p = (const tw_reorder *)step->problem->params;
    const In *x = (const In *)step->in[0];
    Out *y = (Out *)step->out;
    const int pixels = p->h * p->w;
    const size_t count = (size_t)p->n * p->c * pixels;
    const bool to_last = step->problem->out.layout == TW_NHWC;
    const tw_cuda_grid flat = {dim3(tw_cuda_blocks(count, THREADS)), THREADS};
    if (step->problem->in[0].layout == step->problem->out.layout || p->c == 1 || pixels == 1)
        return tw_cuda_launch(queue, copy<In, Out>, flat, x, y, count);
    if (p->c < FEW_CHANNELS)
        return tw_cuda_launch(queue, few_channels<In, Out>, flat, to_last, p->c, pixels, x, y, count);
    const int rows = to_last ? p->c : pixels, columns = to_last ? pixels : p->c;
    const unsigned tiles = tw_ceil_div((size_t)rows, TILE) * tw_ceil_div((size_t)columns, TILE);
    const unsigned images = (unsigned)(p->n < TW_CUDA_MAX_GRID_YZ ? p->n : TW_CUDA_MAX_GRID_YZ);
    const tw_cuda_grid tiled = {dim3(tiles, images), THREADS};
    return tw_cuda_launch(queue, transpose<In, Out>, tiled, p->n, rows, columns, x, y);
}

static tw_status run(const tw_step *step, tw_queue *queue)
{
    return tw_cuda_with_type(step->problem->in[0].dtype, [&](auto *in) {
        using In = std::remove_pointer_t<decltype(in)>;
        return tw_cuda_with_type(step->problem->out.dtype, [&](auto *out) {
            using Out = std::remove_pointer_t<decltype(out)>;
            return launch<In, Out>(step, queue);
        });
    });
}

static bool supports(const tw_problem *problem, const tw_device *device, const char **reason)
{
    const tw_reorder *p = (const tw_reorder *)problem->params;
    (void)device;
    *reason = "knows the plain and the channels-last layout";
    if (problem->in[0].layout == TW_BLOCKED || problem->out.layout == TW_BLOCKED) return false;
    *reason = "nothing to change";
    if (memcmp(&problem->in[0], &problem->out, sizeof(tw_type)) == 0) return false;
    *reason = "an image of more than 2^31 - 1 tiles";
    return ((double)p->h * p->w / TILE + 1) * ((double)p->c / TILE + 1) < INT_MAX;
}

static double cost(const tw_problem *problem, const tw_device *device)
{
    return tw_cuda_seconds(device, 0, 1, 1.2 * tw_problem_traffic(problem), 1);
}

extern "C" const tw_design tw_reorder_cuda_vectorised = {
    .op = "reorder",
    .device = "cuda",
    .name = "vectorised",
    .summary = "tiles of 32 x 32 transposed in shared memory, element types changed on the way",
    .precisions = TW_IN_ALL,
    .supports = supports,
    .cost = cost,
    .run = run,
};
