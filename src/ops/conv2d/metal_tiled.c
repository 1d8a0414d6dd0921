/* conv2d, tiled on Metal: the record; metal_tiled.metal says how. */
#include "ops/conv2d/metal_tile.h"

enum { SIDE = 16, CHANNELS = 8 };
static const tw_conv2d_metal_tile tile = {SIDE, SIDE, CHANNELS};

static const char *const kernels[TW_METAL_ENDS] = {"tiled_f32", "tiled_f16", "tiled_f32_f16", "tiled_f16_f32"};

static tw_status run(const tw_step *step, tw_queue *queue)
{
    return tw_conv2d_metal_launch_tiles(step, queue, "conv2d/metal_tiled", kernels[tw_metal_ends(step->problem)], tile);
}

static bool supports(const tw_problem *problem, const tw_device *device, const char **reason)
{
    return tw_conv2d_metal_tile_fits(problem, device, tile, reason);
}

static double cost(const tw_problem *problem, const tw_device *device)
{
    const tw_conv2d *p = problem->params;
    const double outputs = p->oc / p->groups, busy = outputs < CHANNELS ? outputs / CHANNELS : 1;
    const double tiles = (double)tw_conv2d_metal_tiles(p, tile) * (SIDE * SIDE) / ((double)p->oh * p->ow);
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
