/* pool, small on CUDA: one step of the kernel that does a row of small layers in a single launch. What it computes
 * stands in cuda_small.cuh, how the launch works in devices/cuda/small.cu. */
#include "devices/cuda/small.h"
#include "ops/pool/cuda_small.cuh"

static double cost(const tw_problem *problem, const tw_device *device)
{
    const tw_pool *p = (const tw_pool *)problem->params;
    const double window =
        p->kind == TW_POOL_ADAPTIVE_AVERAGE ? (double)p->ih * p->iw / p->oh / p->ow : (double)p->kh * p->kw;
    return tw_small_seconds(problem, device, 4 * window * p->n * p->c * p->oh * p->ow);
}

extern "C" const tw_design tw_pool_cuda_small = {
    .op = "pool",
    .device = "cuda",
    .name = "small",
    .summary = "small layers, launched as one with their neighbours: clusters, everything in shared memory",
    .precisions = TW_IN_ALL,
    .joins = true,
    .supports = tw_small_supports,
    .cost = cost,
    .run = tw_small_run,
};
