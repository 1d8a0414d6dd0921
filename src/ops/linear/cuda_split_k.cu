/* linear, split_k on CUDA, float32: the tiled product of gemm_last.cuh, a pixel being an image, for batches that gemv would
 * read the weights several times for. Its inner dimension is split over blocks until they fill the device, so that w
 * crosses device memory once at its bandwidth; partial sums are added in order. Weights are packed transposed. */
#include "devices/cuda/gemm_last.cuh"
#include "ops/linear/linear.h"

static tw_conv2d as_conv2d(const tw_problem *problem)
{
    const tw_linear *p = (const tw_linear *)problem->params;
    tw_conv2d c = {};
    c.n = p->n, c.groups = 1;
    c.ic = p->ic, c.oc = p->oc;
    c.ih = c.iw = c.oh = c.ow = c.kh = c.kw = c.sh = c.sw = c.dilh = c.dilw = 1;
    c.activation = p->activation, c.has_bias = p->has_bias;
    return c;
}

static tw_last_gemm plan_of(const tw_problem *problem, const tw_device *device)
{
    const tw_conv2d p = as_conv2d(problem);
    return tw_last_plan(&p, false, device);
}

static bool supports(const tw_problem *problem, const tw_device *device, const char **reason)
{
    if (!tw_cuda_plain(problem, device, reason)) return false;
    const tw_conv2d p = as_conv2d(problem);
    return tw_last_supports(&p, false, reason);
}

static size_t workspace(const tw_problem *problem, const tw_device *device)
{
    const tw_last_gemm g = plan_of(problem, device);
    return tw_last_workspace(&g);
}

static size_t packed_bytes(const tw_problem *problem, const tw_device *)
{
    const tw_conv2d p = as_conv2d(problem);
    return tw_last_packed_bytes(&p);
}

static void pack(const tw_problem *problem, const tw_device *, const void *const *in, void *packed)
{
    const tw_conv2d p = as_conv2d(problem);
    tw_last_pack(&p, (const float *)in[1], (float *)packed);
}

static tw_status run(const tw_step *step, tw_queue *queue)
{
    const tw_last_gemm g = plan_of(step->problem, &queue->device->base);
    return tw_last_run(&g, step, nullptr, queue);
}

static double cost(const tw_problem *problem, const tw_device *device)
{
    const double compute = plan_of(problem, device).seconds;
    return fmax(compute, tw_cuda_seconds(device, 0, 1, 1.2 * tw_problem_bytes(problem), 2));
}

extern "C" const tw_design tw_linear_cuda_split_k = {
    .op = "linear",
    .device = "cuda",
    .name = "split_k",
    .summary = "for batches: a tiled product whose inner dimension is split over blocks",
    .supports = supports,
    .workspace = workspace,
    .packed_bytes = packed_bytes,
    .pack = pack,
    .cost = cost,
    .run = run,
};
