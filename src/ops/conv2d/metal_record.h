/* What the records of conv2d's designs in Metal share: operands in the order of every kernel (x, weights, bias,
 * residual, y), and the slices of a batch for designs whose workspace would outgrow a phone. */
#ifndef TW_OPS_CONV2D_METAL_RECORD_H
#define TW_OPS_CONV2D_METAL_RECORD_H

#include "ops/common/metal_record.h"
#include "ops/conv2d/metal_slice.h"

static inline void tw_conv2d_metal_bind_epilogue(tw_metal_dispatch *dispatch, const tw_step *step)
{
    for (int i = 2; i <= 4; i++) tw_metal_bind_operand(dispatch, step, i);
}

/* packed_bytes: 0 where the weights are read as they are */
static inline void tw_conv2d_metal_bind(tw_metal_dispatch *dispatch, const tw_step *step, size_t packed_bytes)
{
    tw_metal_bind_operand(dispatch, step, 0);
    tw_metal_bind_weights(dispatch, step, packed_bytes);
    tw_conv2d_metal_bind_epilogue(dispatch, step);
}

static inline size_t tw_conv2d_metal_outputs(const tw_conv2d *p)
{
    return (size_t)p->n * (size_t)p->oc * (size_t)p->oh * (size_t)p->ow;
}

/* Images that are computed at once, where each takes so many bytes of workspace: at least one. */
static inline int tw_conv2d_metal_images(const tw_conv2d *p, double bytes_an_image)
{
    const double count = 256.0 * 1024 * 1024 / bytes_an_image;
    return count < 1 ? 1 : count < p->n ? (int)count : p->n;
}

#endif
