/* What the kernels in Metal share: the epilogue's activation and how elements are read and written. Included by .metal
 * files only.
 *
 * One kernel serves both precisions as a template over the types of its ends: <float, float> in fp32, and in fp16
 * <half, half>, or <float, half> and <half, float> at a network's ends. half is storage alone: whatever is read becomes
 * float at once, sums are float, and one rounding to nearest stands before the store. */
#ifndef TW_OPS_COMMON_METAL_KERNEL_H
#define TW_OPS_COMMON_METAL_KERNEL_H

#include <metal_stdlib>

using namespace metal;

/* TW_ACT_NONE 0, TW_ACT_RELU 1, TW_ACT_RELU6 2. NaN passes through, as in the reference. */
static inline float tw_activate(float v, int activation)
{
    if (activation == 0) return v;
    if (v < 0.0f) return 0.0f;
    return activation == 2 && v > 6.0f ? 6.0f : v;
}

static inline float4 tw_activate4(float4 v, int activation)
{
    return float4(tw_activate(v.x, activation), tw_activate(v.y, activation), tw_activate(v.z, activation),
                  tw_activate(v.w, activation));
}

#endif
