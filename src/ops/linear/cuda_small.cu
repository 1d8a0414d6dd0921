/* linear, small on CUDA: one step of the kernel that does a row of small layers in a single launch. What it computes
 * stands in cuda_small.cuh, how the launch works in devices/cuda/small.cu. */
#include "devices/cuda/small.h"
#include "ops/linear/cuda_small.cuh"

static double cost(const tw_problem *problem, const tw_device *device)
{
    const tw_linear *p = (const tw_linear *)problem->params;
    return tw_small_seconds(problem, device, (double)p->n * p->oc * p->ic);
}

extern "C" const tw_design tw_linear_cuda_small = {
    .op = "linear",
    .device = "cuda",
    .name = "small",
    .summary = "small layers, launched as one with their neighbours: clusters, everything in shared memory",
    .precisions = TW_IN_ALL,
    .joins = true,
    .supports = tw_small_supports,
    .cost = cost,
    .run = tw_small_run,
};
