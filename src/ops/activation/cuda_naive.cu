/* relu and clip, naive on CUDA: one thread an element; one read and one write of device memory bound it. */
#include "devices/cuda/kernel.h"
#include "ops/activation/activation.h"

enum { THREADS = 256 };

__global__ static void naive(float low, float high, const float *x, float *y, size_t count)
{
    tw_cuda_wait();
    for (size_t i = (size_t)blockIdx.x * THREADS + threadIdx.x; i < count; i += (size_t)gridDim.x * THREADS) {
        float v = x[i];
        y[i] = v < low ? low : v > high ? high : v; /* NaN passes through */
    }
}

static tw_status run(const tw_step *step, tw_queue *queue)
{
    const tw_clip *p = (const tw_clip *)step->problem->params;
    size_t count = tw_problem_elements(step->problem, 0);
    const tw_cuda_grid grid = {dim3(tw_cuda_blocks(count, THREADS)), THREADS};
    return tw_cuda_launch(queue, naive, grid, p->low, p->high, (const float *)step->in[0], (float *)step->out, count);
}

extern "C" const tw_design tw_relu_cuda_naive = {
    .op = "relu",
    .device = "cuda",
    .name = "naive",
    .summary = "one thread an element",
    .in_place = true,
    .supports = tw_cuda_plain,
    .cost = tw_cuda_naive_traffic,
    .run = run,
};

extern "C" const tw_design tw_clip_cuda_naive = {
    .op = "clip",
    .device = "cuda",
    .name = "naive",
    .summary = "one thread an element",
    .in_place = true,
    .supports = tw_cuda_plain,
    .cost = tw_cuda_naive_traffic,
    .run = run,
};
