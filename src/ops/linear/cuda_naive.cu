/* linear, naive on CUDA: the study's first design. One thread computes one output and walks its row of w; neighbouring
 * threads walk neighbouring rows, so that a warp's reads of w lie ic floats apart and only the caches make whole lines
 * of them. Latency and the load units bound it. */
#include "devices/cuda/kernel.h"
#include "ops/linear/linear.h"

enum { THREADS = 128 };

__global__ static void naive(tw_linear p, const float *x, const float *w, const float *bias, float *y)
{
    size_t outputs = (size_t)p.n * p.oc;
    tw_cuda_wait();
    for (size_t at = (size_t)blockIdx.x * THREADS + threadIdx.x; at < outputs; at += (size_t)gridDim.x * THREADS) {
        const float *row = x + at / p.oc * p.ic, *weights = w + at % p.oc * p.ic;
        float sum = 0;
        for (int i = 0; i < p.ic; i++) sum = fmaf(row[i], weights[i], sum);
        if (p.has_bias) sum += bias[at % p.oc];
        y[at] = tw_activate(sum, p.activation);
    }
}

static tw_status run(const tw_step *step, tw_queue *queue)
{
    const tw_linear *p = (const tw_linear *)step->problem->params;
    const tw_cuda_grid grid = {dim3(tw_cuda_blocks((size_t)p->n * p->oc, THREADS)), THREADS};
    return tw_cuda_launch(queue, naive, grid, *p, (const float *)step->in[0], (const float *)step->in[1],
                          (const float *)step->in[2], (float *)step->out);
}

static double cost(const tw_problem *problem, const tw_device *device)
{
    return tw_cuda_seconds(device, problem->op->flops(problem->params), 0.01, 8 * tw_problem_bytes(problem), 1);
}

extern "C" const tw_design tw_linear_cuda_naive = {
    .op = "linear",
    .device = "cuda",
    .name = "naive",
    .summary = "one thread an output, nothing staged: the study's first design",
    .supports = tw_cuda_plain,
    .cost = cost,
    .run = run,
};
