/* conv2d, tiled on Metal: the record; metal_tiled.metal says how. */
#include "ops/conv2d/metal_record.h"

enum { SIDE = 16, CHANNELS = 8 };

static const char *const kernels[TW_METAL_ENDS] = {"tiled_f32", "tiled_f16", "tiled_f32_f16", "tiled_f16_f32"};

/* The patch that a tile's windows cover, then the weights. */
static double staged_bytes(const tw_conv2d *p)
{
    const double height = (SIDE - 1.0) * p->sh + (p->kh - 1.0) * p->dilh + 1;
    const double width = (SIDE - 1.0) * p->sw + (p->kw - 1.0) * p->dilw + 1;
    return sizeof(float) * (height * width + (double)CHANNELS * p->kh * p->kw);
}

static size_t side_tiles(int outputs)
{
    return tw_metal_ceil((size_t)outputs, SIDE);
}

static tw_status run(const tw_step *step, tw_queue *queue)
{
    const tw_conv2d *p = step->problem->params;
    tw_metal_dispatch d = tw_metal_dispatch_of(step, "conv2d/metal_tiled", kernels[tw_metal_ends(step->problem)]);
    d.threadgroups[0] = (unsigned)(side_tiles(p->oh) * side_tiles(p->ow));
    d.threadgroups[1] = (unsigned)((size_t)p->groups * tw_metal_ceil((size_t)(p->oc / p->groups), CHANNELS));
    d.threadgroups[2] = (unsigned)p->n;
    d.threads[0] = SIDE * SIDE;
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

static double cost(const tw_problem *problem, const tw_device *device)
{
    const tw_conv2d *p = problem->params;
    const double outputs = p->oc / p->groups, busy = outputs < CHANNELS ? outputs / CHANNELS : 1;
    const double tiles =
        (double)side_tiles(p->oh) * (double)side_tiles(p->ow) * (SIDE * SIDE) / ((double)p->oh * p->ow);
    const double threads = (double)tw_conv2d_metal_outputs(p) * tiles / CHANNELS;
    return tw_metal_seconds(device, tw_metal_arithmetic(device, problem->op->flops(p) * tiles / busy, 0.07, threads),
                            tw_problem_bytes(problem), 1) +
           0.4e-6 * (p->ic / p->groups); /* each is staged behind a barrier */
}

const tw_design tw_conv2d_metal_tiled = {
    .op = "conv2d",
    .device = "metal",
    .name = "tiled",
    .summary = "tiles of 16 x 16 pixels in 8 channels, patches and weights staged in threadgroup memory",
    .precisions = TW_METAL_PRECISIONS,
    .supports = supports,
    .packed_bytes = tw_metal_narrowed_bytes,
    .pack = tw_metal_narrow,
    .cost = cost,
    .run = run,
};
