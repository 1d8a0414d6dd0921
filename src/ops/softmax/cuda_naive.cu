/* softmax, naive on CUDA: a block of 128 threads for each pixel of each image: it finds the largest channel, adds up the
 * exponentials, and divides; three passes over the channels, the second and third from the caches. Plain or
 * channels-last: all that differs is how far apart channels are. */
#include "devices/cuda/kernel.h"
#include "ops/softmax/softmax.h"

#include <type_traits>

enum { THREADS = 128 };

template <class Combine> __device__ static float reduce(float value, float *shared, Combine combine)
{
    shared[threadIdx.x] = value;
    __syncthreads();
    for (int half = THREADS / 2; half > 0; half /= 2) {
        if ((int)threadIdx.x < half) shared[threadIdx.x] = combine(shared[threadIdx.x], shared[threadIdx.x + half]);
        __syncthreads();
    }
    float result = shared[0];
    __syncthreads();
    return result;
}

template <class T>
__global__ static void __launch_bounds__(THREADS) naive(tw_softmax p, size_t apart, const T *x, T *y, size_t rows)
{
    __shared__ float shared[THREADS];
    tw_cuda_wait();
    for (size_t row = blockIdx.x; row < rows; row += gridDim.x) {
        const size_t first = row / apart * p.c * apart + row % apart;
        float largest = -INFINITY, sum = 0;
        for (int c = threadIdx.x; c < p.c; c += THREADS) largest = fmaxf(largest, tw_widen(x[first + c * apart]));
        largest = reduce(largest, shared, [](float a, float b) { return fmaxf(a, b); });
        for (int c = threadIdx.x; c < p.c; c += THREADS) sum += expf(tw_widen(x[first + c * apart]) - largest);
        sum = reduce(sum, shared, [](float a, float b) { return a + b; });
        for (int c = threadIdx.x; c < p.c; c += THREADS)
            y[first + c * apart] = tw_narrow<T>(expf(tw_widen(x[first + c * apart]) - largest) / sum);
    }
}

static tw_status run(const tw_step *step, tw_queue *queue)
{
    const tw_softmax *p = (const tw_softmax *)step->problem->params;
    const size_t pixels = (size_t)p->h * p->w, rows = p->n * pixels;
    const size_t apart = step->problem->out.layout == TW_NHWC ? 1 : pixels;
    const tw_cuda_grid grid = {dim3(tw_cuda_blocks(rows, 1)), THREADS};
    return tw_cuda_with_type(step->problem->out.dtype, [&](auto *type) {
        using T = std::remove_pointer_t<decltype(type)>;
        return tw_cuda_launch(queue, naive<T>, grid, *p, apart, (const T *)step->in[0], (T *)step->out, rows);
    });
}

extern "C" const tw_design tw_softmax_cuda_naive = {
    .op = "softmax",
    .device = "cuda",
    .name = "naive",
    .summary = "a block for each pixel, three passes over its channels",
    .precisions = TW_IN_ALL,
    .in_place = true,
    .supports = tw_cuda_elementwise,
    .cost = tw_cuda_naive_traffic,
    .run = run,
};
