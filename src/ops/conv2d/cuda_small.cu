/* conv2d, small on CUDA: one step of the kernel that does a row of small layers in a single launch. What it computes
 * stands in cuda_small.cuh, how the launch works in devices/cuda/small.cu. */
#include "devices/cuda/small.h"
#include "ops/conv2d/cuda_small.cuh"

#include <string.h>

static bool supports(const tw_problem *problem, const tw_device *device, const char **reason)
{
    const tw_conv2d *p = (const tw_conv2d *)problem->params;
    *reason = "rows and columns of a window are 16-bit numbers";
    if ((long long)(p->kh - 1) * p->dilh > SHRT_MAX || (long long)(p->kw - 1) * p->dilw > SHRT_MAX) return false;
    return tw_small_supports(problem, device, reason);
}

static size_t packed_channels(const tw_conv2d *p)
{
    return ((size_t)p->oc + TW_SMALL_CHANNELS - 1) / TW_SMALL_CHANNELS * TW_SMALL_CHANNELS;
}

static size_t packed_bytes(const tw_problem *problem, const tw_device *)
{
    const tw_conv2d *p = (const tw_conv2d *)problem->params;
    const int terms = tw_small_terms(*p);
    return (packed_channels(p) * (size_t)terms + (size_t)tw_small_table(terms)) * sizeof(float);
}

static void pack(const tw_problem *problem, const tw_device *, const void *const *in, void *packed)
{
    const tw_conv2d *p = (const tw_conv2d *)problem->params;
    const float *w = (const float *)in[1];
    const size_t terms = (size_t)tw_small_terms(*p), channels = packed_channels(p);
    float *to = (float *)packed;
    const int half = tw_small_table((int)terms) / 2;
    int *table = (int *)(to + channels * terms);
    memset(table, 0, 2 * (size_t)half * sizeof *table);
    for (size_t c = 0; c < channels; c++)
        for (size_t k = 0; k < terms; k++)
            to[(c / TW_SMALL_CHANNELS * terms + k) * TW_SMALL_CHANNELS + c % TW_SMALL_CHANNELS] =
                c < (size_t)p->oc ? w[c * terms + k] : 0;
    for (int k = 0; k < (int)terms; k++) {
        const int kx = k % p->kw, ky = k / p->kw % p->kh, c = k / p->kw / p->kh;
        table[k] = (c * p->ih + ky * p->dilh) * p->iw + kx * p->dilw;
        table[half + k] = ky * p->dilh << 16 | kx * p->dilw;
    }
}

static double cost(const tw_problem *problem, const tw_device *device)
{
    const tw_conv2d *p = (const tw_conv2d *)problem->params;
    return tw_small_seconds(problem, device, 1.25 * p->n * packed_channels(p) * p->oh * p->ow * tw_small_terms(*p));
}

extern "C" const tw_design tw_conv2d_cuda_small = {
    .op = "conv2d",
    .device = "cuda",
    .name = "small",
    .summary = "small layers, launched as one with their neighbours: clusters, everything in shared memory",
    .precisions = TW_IN_ALL,
    .joins = true,
    .supports = supports,
    .packed_bytes = packed_bytes,
    .pack = pack,
    .cost = cost,
    .run = tw_small_run,
};
