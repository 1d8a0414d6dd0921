/* linear in the small-network kernel: a warp computes an output; its lanes walk x and the row of weights, both in shared
 * memory, 16 bytes each where rows are a multiple of that, and add up by shuffles. */
#ifndef TW_OPS_LINEAR_CUDA_SMALL_CUH
#define TW_OPS_LINEAR_CUDA_SMALL_CUH

#include "devices/cuda/small.cuh"

__device__ static void tw_small_linear(const tw_small_sink &sink, const tw_small_part &part)
{
    const tw_small_step &s = sink.step;
    const tw_linear &p = s.linear;
    const int lane = threadIdx.x % 32;
    const float *x = sink.shared + s.in;
    for (int o = part.c0 + threadIdx.x / 32; o < part.c1; o += TW_SMALL_THREADS / 32) {
        const float *w = sink.shared + s.weights + (o - part.c0) * p.ic;
        float sum = 0;
        if (p.ic % 4 == 0) {
            float sums[4] = {};
#pragma unroll 4
            for (int i = 4 * lane; i < p.ic; i += 128) {
                const float4 a = *(const float4 *)(x + i), b = *(const float4 *)(w + i);
                sums[0] = fmaf(a.x, b.x, sums[0]);
                sums[1] = fmaf(a.y, b.y, sums[1]);
                sums[2] = fmaf(a.z, b.z, sums[2]);
                sums[3] = fmaf(a.w, b.w, sums[3]);
            }
            sum = (sums[0] + sums[1]) + (sums[2] + sums[3]);
        } else {
            for (int i = lane; i < p.ic; i += 32) sum = fmaf(x[i], w[i], sum);
        }
#pragma unroll
        for (int lanes = 16; lanes > 0; lanes /= 2) sum += __shfl_xor_sync(0xffffffffu, sum, lanes);
        if (p.has_bias) sum += sink.shared[s.bias + o - part.c0];
        sink.put_by_warp(o, tw_activate(sum, p.activation));
    }
}

#endif
