/* What conv2d's designs with a workspace take in Metal: the convolution, and which images of its batch are at hand. All
 * of them, where the workspace stays within its limit. Included by C and Metal. */
#ifndef TW_OPS_CONV2D_METAL_SLICE_H
#define TW_OPS_CONV2D_METAL_SLICE_H

#include "ops/conv2d/conv2d.h"

typedef struct tw_conv2d_slice {
    tw_conv2d p;
    int first, images;
} tw_conv2d_slice;

#endif
