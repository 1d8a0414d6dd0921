/* softmax, vectorised on CUDA: x is read once.
 *
 * Channels-last and rank 2: a pixel's channels are a row that lies together. A team of 8, 32, 256 or 1,024 threads has it
 * in registers, 8 or 32 values a thread, loaded by 16 bytes where rows are whole multiples of that and by elements where
 * not, all at once. The largest value and the sum of the exponentials go round by shuffles, and through shared memory
 * between the warps of a large team; each exponential is computed once and stays where it is. Small teams share a block.
 * Of few rows each takes a block, so that no thread has 32 exponentials to do one after the other.
 *
 * Plain: channels lie a plane apart. A block does 32 neighbouring pixels with 8 threads each, which keep the largest value
 * so far and the sum relative to it (the online form), meet in shared memory, and read their channels again, from L1 or L2,
 * to write. A warp's loads are 32 neighbours of a plane.
 *
 * One read and one write of device memory bound it, a launch the small ones. y may be x itself.
 *
 * Source: Milakov and Gimelshein 2018, "Online normalizer calculation for softmax", algorithm 3. */
#include "devices/cuda/kernel.h"
#include "ops/softmax/softmax.h"

#include <type_traits>

enum { THREADS = 256, PIXELS = 32, SHARES = THREADS / PIXELS, MOST_CHANNELS = 32 * 1024 };

/* Of all values of a team, to each of its threads. `shared` must not be in use for another such sum. */
template <int TEAM, class Combine>
__device__ static inline float across(float value, float *shared, const Combine &combine)
{
#pragma unroll
    for (int lanes = (TEAM < 32 ? TEAM : 32) / 2; lanes > 0; lanes /= 2)
        value = combine(value, __shfl_xor_sync(~0u, value, lanes));
    if constexpr (TEAM > 32) {
        constexpr int warps = TEAM / 32;
        if (threadIdx.x % 32 == 0) shared[threadIdx.x / 32] = value;
        __syncthreads();
        value = shared[threadIdx.x % warps];
#pragma unroll
        for (int lanes = warps / 2; lanes > 0; lanes /= 2) value = combine(value, __shfl_xor_sync(~0u, value, lanes));
    }
    return value;
}

/* Rows of up to TEAM * VALUES channels; WIDTH of them at a time. */
template <class T, int WIDTH, int TEAM, int VALUES>
__global__ static void __launch_bounds__(TEAM > THREADS ? TEAM : THREADS) rows(int c, const T *x, T *y, size_t count)
{
    constexpr int teams = TEAM > THREADS ? 1 : THREADS / TEAM, turns = VALUES / WIDTH;
    using chunk = std::conditional_t<WIDTH == 1, T, int4>;
    __shared__ float largest_of[32], sum_of[32];
    const int lane = threadIdx.x % TEAM, team = threadIdx.x / TEAM;
    tw_cuda_wait();
    tw_cuda_release();
    for (size_t first = (size_t)blockIdx.x * teams; first < count; first += (size_t)gridDim.x * teams) {
        const int length = first + team < count ? c : 0; /* the last block's idle teams must not miss a shuffle */
        const size_t base = (first + team) * c;
        chunk raw[turns];
        float v[VALUES], largest = -INFINITY, sum = 0;
#pragma unroll
        for (int k = 0; k < turns; k++) {
            const int at = (k * TEAM + lane) * WIDTH;
            if (at < length) raw[k] = *(const chunk *)(x + base + at);
        }
#pragma unroll
        for (int k = 0; k < VALUES; k++) {
            v[k] = -INFINITY;
            if ((k / WIDTH * TEAM + lane) * WIDTH < length) v[k] = tw_widen(((const T *)&raw[k / WIDTH])[k % WIDTH]);
            largest = fmaxf(largest, v[k]);
        }
        largest = across<TEAM>(largest, largest_of, [](float a, float b) { return fmaxf(a, b); });
#pragma unroll
        for (int k = 0; k < VALUES; k++) sum += v[k] = expf(v[k] - largest);
        const float share = 1 / across<TEAM>(sum, sum_of, [](float a, float b) { return a + b; });
#pragma unroll
        for (int k = 0; k < turns; k++) {
            const int at = (k * TEAM + lane) * WIDTH;
#pragma unroll
            for (int j = 0; j < WIDTH; j++) ((T *)&raw[k])[j] = tw_narrow<T>(v[k * WIDTH + j] * share);
            if (at < length) *(chunk *)(y + base + at) = raw[k];
        }
    }
}

/* blockIdx.x is image and 32 pixels. */
template <class T>
__global__ static void __launch_bounds__(THREADS) planes(int c, int pixels, unsigned tiles, const T *x, T *y)
{
    __shared__ float largest_of[SHARES][PIXELS], sum_of[SHARES][PIXELS];
    const unsigned image = blockIdx.x / tiles;
    const int lane = threadIdx.x % PIXELS, share = threadIdx.x / PIXELS;
    const int pixel = (int)(blockIdx.x - image * tiles) * PIXELS + lane;
    const size_t base = (size_t)image * c * pixels + pixel;
    const int channels = pixel < pixels ? c : 0;
    float largest = -INFINITY, sum = 0;
    tw_cuda_wait();
    tw_cuda_release();
#pragma unroll 4
    for (int k = share; k < channels; k += SHARES) {
        const float v = tw_widen(x[base + (size_t)k * pixels]);
        if (v == -INFINITY) continue; /* adds nothing, and is nothing to be relative to */
        if (v > largest) {
            sum *= expf(largest - v);
            largest = v;
        }
        sum += expf(v - largest);
    }
    largest_of[share][lane] = largest;
    sum_of[share][lane] = sum;
    __syncthreads();
    for (int s = 0; s < SHARES; s++) largest = fmaxf(largest, largest_of[s][lane]);
    sum = 0;
    for (int s = 0; s < SHARES; s++) sum += sum_of[s][lane] * expf(largest_of[s][lane] - largest);
#pragma unroll 4
    for (int k = share; k < channels; k += SHARES) {
        const size_t at = base + (size_t)k * pixels;
        y[at] = tw_narrow<T>(expf(tw_widen(x[at]) - largest) / sum);
    }
}

static bool rows_lie_together(const tw_problem *problem)
{
    const tw_softmax *p = (const tw_softmax *)problem->params;
    return problem->out.layout == TW_NHWC || p->h * p->w == 1;
}

template <class T, int WIDTH> static tw_status launch_rows(const tw_step *step, tw_queue *queue)
{
    const tw_softmax *p = (const tw_softmax *)step->problem->params;
    const size_t count = (size_t)p->n * p->h * p->w;
    const bool few = count <= (size_t)queue->device->multiprocessors;
    const auto launch = [&](auto kernel, unsigned team) {
        const unsigned threads = team > THREADS ? team : (unsigned)THREADS;
        const tw_cuda_grid grid = {dim3(tw_cuda_blocks(count, threads / team)), threads};
        return tw_cuda_launch(queue, kernel, grid, p->c, (const T *)step->in[0], (T *)step->out, count);
    };
    if (p->c <= 8 * 8) return launch(rows<T, WIDTH, 8, 8>, 8);
    if (p->c <= 32 * 8) return launch(rows<T, WIDTH, 32, 8>, 32);
    if (p->c <= 256 * 8 && few) return launch(rows<T, WIDTH, 256, 8>, 256);
    if (p->c <= 32 * 32) return launch(rows<T, WIDTH, 32, 32>, 32);
    if (p->c <= 256 * 32) return launch(rows<T, WIDTH, 256, 32>, 256);
    return launch(rows<T, WIDTH, 1024, 32>, 1024);
}

static tw_status run(const tw_step *step, tw_queue *queue)
{
    const tw_softmax *p = (const tw_softmax *)step->problem->params;
    return tw_cuda_with_type(step->problem->out.dtype, [&](auto *type) {
        using T = std::remove_pointer_t<decltype(type)>;
        constexpr int width = tw_pack<T>::width;
        if (rows_lie_together(step->problem))
            return p->c % width ? launch_rows<T, 1>(step, queue) : launch_rows<T, width>(step, queue);
        const int pixels = p->h * p->w;
        const unsigned tiles = tw_ceil_div((size_t)pixels, PIXELS);
        const tw_cuda_grid grid = {dim3(tiles * (unsigned)p->n), THREADS};
        return tw_cuda_launch(queue, planes<T>, grid, p->c, pixels, tiles, (const T *)step->in[0], (T *)step->out);
    });
}

static bool supports(const tw_problem *problem, const tw_device *device, const char **reason)
{
    const tw_softmax *p = (const tw_softmax *)problem->params;
    if (!tw_cuda_elementwise(problem, device, reason)) return false;
    *reason = "more than 32768 channels";
    if (rows_lie_together(problem)) return p->c <= MOST_CHANNELS;
    *reason = "more than 2^31 - 1 pixels";
    return (double)p->n * ((double)p->h * p->w + PIXELS) < INT_MAX;
}

static double cost(const tw_problem *problem, const tw_device *device)
{
    return tw_cuda_seconds(device, 0, 1, tw_problem_traffic(problem), 1);
}

extern "C" const tw_design tw_softmax_cuda_vectorised = {
    .op = "softmax",
    .device = "cuda",
    .name = "vectorised",
    .summary = "a pixel's channels in registers of 8 to 1024 threads; plain: 32 neighbouring pixels a block",
    .precisions = TW_IN_ALL,
    .in_place = true,
    .supports = supports,
    .cost = cost,
    .run = run,
};
