/* conv2d, tiled_free on Metal: the record; metal_tiled_free.metal says how. */
#include "ops/conv2d/metal_record.h"

enum { WIDTH = 8, HEIGHT = 4, CHANNELS = 8 };

static const char *const kernels[TW_METAL_ENDS] = {"tiled_free_f32", "tiled_free_f16", "tiled_free_f32_f16",
                                                   "tiled_free_f16_f32"};

/* The patch that a tile's windows cover. */
static double patch(const tw_conv2d *p)
{
    return ((HEIGHT - 1.0) * p->sh + (p->kh - 1.0) * p->dilh + 1) *
           ((WIDTH - 1.0) * p->sw + (p->kw - 1.0) * p->dilw + 1);
}

static double staged_bytes(const tw_conv2d *p)
{
    return sizeof(float) * (patch(p) + (double)CHANNELS * p->kh * p->kw);
}

static size_t tiles(const tw_conv2d *p)
{
    return tw_metal_ceil((size_t)p->oh, HEIGHT) * tw_metal_ceil((size_t)p->ow, WIDTH);
}

static tw_status run(const tw_step *step, tw_queue *queue)
{
    const tw_conv2d *p = step->problem->params;
    tw_metal_dispatch d = tw_metal_dispatch_of(step, "conv2d/metal_tiled_free", kernels[tw_metal_ends(step->problem)]);
    d.threadgroups[0] = (unsigned)tiles(p);
    d.threadgroups[1] = (unsigned)((size_t)p->groups * tw_metal_ceil((size_t)(p->oc / p->groups), CHANNELS));
    d.threadgroups[2] = (unsigned)p->n;
    d.threads[0] = WIDTH * HEIGHT;
    d.threadgroup_bytes = tw_metal_ceil((size_t)staged_bytes(p), 16) * 16;
    tw_conv2d_metal_bind(&d, step, tw_metal_narrowed_bytes(step->problem, NULL));
    return tw_metal_launch(queue, &d);
}

static bool supports(const tw_problem *problem, const tw_device *device, const char **reason)
{
    const tw_conv2d *p = problem->params;
    if (!tw_metal_plain_weights(problem, device, reason)) return false;
    *reason = "its windows' patch takes more threadgroup memory than the device has";
    return staged_bytes(p) <= (double)tw_metal_threadgroup_limit(device) - 15;
}

/* Staging a number takes a lane about what five multiply-adds from threadgroup memory do. */
static double cost(const tw_problem *problem, const tw_device *device)
{
    const tw_conv2d *p = problem->params;
    const double ocg = p->oc / p->groups, parts = (double)tw_metal_ceil((size_t)ocg, CHANNELS);
    const double lanes = (double)p->n * p->groups * parts * (double)tiles(p) * (WIDTH * HEIGHT);
    const double staged = 5 * staged_bytes(p) / sizeof(float) / (WIDTH * HEIGHT);
    const double flops = 2 * lanes * (p->ic / p->groups) * (CHANNELS * (double)p->kh * p->kw + staged);
    return tw_metal_seconds(device, tw_metal_arithmetic(device, flops, 0.07, lanes), tw_problem_bytes(problem), 1) +
           0.3e-6 * (p->ic / p->groups); /* each is staged before it is used */
}

const tw_design tw_conv2d_metal_tiled_free = {
    .op = "conv2d",
    .device = "metal",
    .name = "tiled_free",
    .summary = "tiled without barriers: a tile of 8 x 4 pixels in 8 channels belongs to one simdgroup",
    .precisions = TW_METAL_PRECISIONS,
    .supports = supports,
    .packed_bytes = tw_metal_narrowed_bytes,
    .pack = tw_metal_narrow,
    .cost = cost,
    .run = run,
};
