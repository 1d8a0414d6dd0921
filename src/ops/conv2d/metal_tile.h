/* What tiled and tiled_free share on Metal: a threadgroup computes a tile of pixels in some output channels, a thread a
 * pixel, and stages, one input channel after the other, the patch that the tile's windows cover and its windows of
 * weights. */
#ifndef TW_OPS_CONV2D_METAL_TILE_H
#define TW_OPS_CONV2D_METAL_TILE_H

#include "ops/conv2d/metal_record.h"

typedef struct tw_conv2d_metal_tile {
    int height, width, channels;
} tw_conv2d_metal_tile;

static inline double tw_conv2d_metal_staged_bytes(const tw_conv2d *p, tw_conv2d_metal_tile tile)
{
    const double height = (tile.height - 1.0) * p->sh + (p->kh - 1.0) * p->dilh + 1;
    const double width = (tile.width - 1.0) * p->sw + (p->kw - 1.0) * p->dilw + 1;
    return sizeof(float) * (height * width + (double)tile.channels * p->kh * p->kw);
}

/* Tiles of an image. */
static inline size_t tw_conv2d_metal_tiles(const tw_conv2d *p, tw_conv2d_metal_tile tile)
{
    return tw_metal_ceil((size_t)p->oh, (size_t)tile.height) * tw_metal_ceil((size_t)p->ow, (size_t)tile.width);
}

/* A design's `supports`. */
static inline bool tw_conv2d_metal_tile_fits(const tw_problem *problem, const tw_device *device,
                                             tw_conv2d_metal_tile tile, const char **reason)
{
    if (!tw_metal_plain_weights(problem, device, reason)) return false;
    *reason = "its windows' patch takes more threadgroup memory than the device has";
    return tw_conv2d_metal_staged_bytes(problem->params, tile) <= (double)tw_metal_threadgroup_limit(device) - 15;
}

static inline tw_status tw_conv2d_metal_launch_tiles(const tw_step *step, tw_queue *queue, const char *source,
                                                     const char *kernel, tw_conv2d_metal_tile tile)
{
    const tw_conv2d *p = step->problem->params;
    tw_metal_dispatch d = tw_metal_dispatch_of(step, source, kernel);
    d.threadgroups[0] = (unsigned)tw_conv2d_metal_tiles(p, tile);
    d.threadgroups[1] =
        (unsigned)((size_t)p->groups * tw_metal_ceil((size_t)(p->oc / p->groups), (size_t)tile.channels));
    d.threadgroups[2] = (unsigned)p->n;
    d.threads[0] = (unsigned)(tile.width * tile.height);
    d.threadgroup_bytes = tw_metal_ceil((size_t)tw_conv2d_metal_staged_bytes(p, tile), 16) * 16;
    tw_conv2d_metal_bind(&d, step, tw_metal_narrowed_bytes(step->problem, NULL));
    return tw_metal_launch(queue, &d);
}

#endif
