/* conv2d, tiled_free on Metal: the record; metal_tiled_free.metal says how. */
#include "ops/conv2d/metal_tile.h"

enum { HEIGHT = 4, WIDTH = 8, CHANNELS = 8 };
static const tw_conv2d_metal_tile tile = {HEIGHT, WIDTH, CHANNELS};

static const char *const kernels[TW_METAL_ENDS] = {"tiled_free_f32", "tiled_free_f16", "tiled_free_f32_f16",
                                                   "tiled_free_f16_f32"};

static tw_status run(const tw_step *step, tw_queue *queue)
{
    return tw_conv2d_metal_launch_tiles(step, queue, "conv2d/metal_tiled_free", kernels[tw_metal_ends(step->problem)],
                                        tile);
}

static bool supports(const tw_problem *problem, const tw_device *device, const char **reason)
{
    return tw_conv2d_metal_tile_fits(problem, device, tile, reason);
}

/* Staging a number takes a lane about what five multiply-adds from threadgroup memory do. */
static double cost(const tw_problem *problem, const tw_device *device)
{
    const tw_conv2d *p = problem->params;
    const double ocg = p->oc / p->groups, parts = (double)tw_metal_ceil((size_t)ocg, CHANNELS);
    const double lanes = (double)p->n * p->groups * parts * (double)tw_conv2d_metal_tiles(p, tile) * (WIDTH * HEIGHT);
    const double staged = 5 * tw_conv2d_metal_staged_bytes(p, tile) / sizeof(float) / (WIDTH * HEIGHT);
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
