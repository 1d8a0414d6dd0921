/* add, naive on CUDA: one thread an element; two reads and one write of device memory bound it. */
#include "devices/cuda/kernel.h"
#include "ops/add/add.h"

enum { THREADS = 256 };

__global__ static void naive(int activation, const float *a, const float *b, float *y, size_t count)
{
    tw_cuda_wait();
    for (size_t i = (size_t)blockIdx.x * THREADS + threadIdx.x; i < count; i += (size_t)gridDim.x * THREADS)
        y[i] = tw_activate(a[i] + b[i], activation);
}

static tw_status run(const tw_step *step, tw_queue *queue)
{
    const tw_add *p = (const tw_add *)step->problem->params;
    size_t count = tw_problem_elements(step->problem, 0);
    const tw_cuda_grid grid = {dim3(tw_cuda_blocks(count, THREADS)), THREADS};
    return tw_cuda_launch(queue, naive, grid, p->activation, (const float *)step->in[0], (const float *)step->in[1],
                          (float *)step->out, count);
}

extern "C" const tw_design tw_add_cuda_naive = {
    .op = "add",
    .device = "cuda",
    .name = "naive",
    .summary = "one thread an element",
    .in_place = true,
    .supports = tw_cuda_plain,
    .cost = tw_cuda_naive_traffic,
    .run = run,
};
