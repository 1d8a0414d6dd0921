/* softmax, naive on CUDA: a block of 128 threads for each pixel of each image: it finds the largest channel, adds up the
 * exponentials, and divides; three passes over the channels, the second and third from the caches. */
#include "devices/cuda/kernel.h"
#include "ops/softmax/softmax.h"

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

__global__ static void naive(tw_softmax p, const float *x, float *y, size_t rows)
{
    __shared__ float shared[THREADS];
    const size_t pixels = (size_t)p.h * p.w;
    for (size_t row = blockIdx.x; row < rows; row += gridDim.x) {
        size_t first = row / pixels * p.c * pixels + row % pixels;
        float largest = -INFINITY, sum = 0;
        for (int c = threadIdx.x; c < p.c; c += THREADS) largest = fmaxf(largest, x[first + c * pixels]);
        largest = reduce(largest, shared, [](float a, float b) { return fmaxf(a, b); });
        for (int c = threadIdx.x; c < p.c; c += THREADS) sum += expf(x[first + c * pixels] - largest);
        sum = reduce(sum, shared, [](float a, float b) { return a + b; });
        for (int c = threadIdx.x; c < p.c; c += THREADS)
            y[first + c * pixels] = expf(x[first + c * pixels] - largest) / sum;
    }
}

static tw_status run(const tw_step *step, tw_queue *queue)
{
    const tw_softmax *p = (const tw_softmax *)step->problem->params;
    size_t rows = (size_t)p->n * p->h * p->w;
    naive<<<(unsigned)(rows < 65536 ? rows : 65536), THREADS, 0, tw_cuda_stream(queue)>>>(
        *p, (const float *)step->in[0], (float *)step->out, rows);
    return tw_cuda_launched();
}

extern "C" const tw_design tw_softmax_cuda_naive = {
    .op = "softmax",
    .device = "cuda",
    .name = "naive",
    .summary = "a block for each pixel, three passes over its channels",
    .precisions = TW_IN_ALL, /* from and to float32 */
    .in_place = true,
    .supports = tw_cuda_plain,
    .cost = tw_cuda_naive_traffic,
    .run = run,
};
