/* linear in the small-network kernel: a warp computes an output; its lanes walk x and the row of weights, both in shared
 * memory, 16 bytes each where rows are a multiple of that, and add up by shuffles. The first 512 weights of a warp's output
 * are in its registers before x is there. */
#ifndef TW_OPS_LINEAR_CUDA_SMALL_CUH
#define TW_OPS_LINEAR_CUDA_SMALL_CUH

#include "devices/cuda/small.cuh"

__device__ static void tw_small_linear(const tw_small_step &s, const tw_small_part &part, const float *shared,
                                       const tw_small_sink &sink, const tw_small_gate &gate)
{
    constexpr int early = 4;
    const int lane = threadIdx.x % 32, ic = s.linear.ic, c1 = part.c1;
    const bool has_bias = s.linear.has_bias, whole = ic % 4 == 0;
    const float low = s.low, high = s.high, *x = shared + s.in, *weights = shared + s.pieces[TW_SMALL_WEIGHTS].to,
                *biases = shared + s.pieces[TW_SMALL_BIAS].to;
    bool passed = false;
    gate.wait_for_parameters();
    for (int o = part.c0 + threadIdx.x / 32; o < c1 || !passed; o += TW_SMALL_THREADS / 32) {
        const bool any = o < c1;
        const float *w = weights + (o - part.c0) * ic;
        const float bias = any && has_bias ? biases[o - part.c0] : 0;
        float4 b[early];
#pragma unroll
        for (int i = 0; i < early; i++) {
            const int at = 4 * lane + 128 * i;
            b[i] = any && whole && at < ic ? *(const float4 *)(w + at) : float4{0, 0, 0, 0};
        }
        if (!passed) gate.pass();
        passed = true;
        if (!any) break;
        float sum = 0;
        if (whole) {
            float4 a[early];
#pragma unroll
            for (int i = 0; i < early; i++) {
                const int at = 4 * lane + 128 * i;
                a[i] = at < ic ? *(const float4 *)(x + at) : float4{0, 0, 0, 0};
            }
            float sums[4] = {};
            const auto add = [&](const float4 &a, const float4 &b) {
                sums[0] = fmaf(a.x, b.x, sums[0]);
                sums[1] = fmaf(a.y, b.y, sums[1]);
                sums[2] = fmaf(a.z, b.z, sums[2]);
                sums[3] = fmaf(a.w, b.w, sums[3]);
            };
#pragma unroll
            for (int i = 0; i < early; i++) add(a[i], b[i]);
#pragma unroll 4
            for (int i = 4 * lane + 128 * early; i < ic; i += 128)
                add(*(const float4 *)(x + i), *(const float4 *)(w + i));
            sum = (sums[0] + sums[1]) + (sums[2] + sums[3]);
        } else {
#pragma unroll 1
            for (int i = lane; i < ic; i += 32) sum = fmaf(x[i], w[i], sum);
        }
#pragma unroll
        for (int lanes = 16; lanes > 0; lanes /= 2) sum += __shfl_xor_sync(0xffffffffu, sum, lanes);
        if (has_bias) sum += bias;
        sink.put(o, tw_small_bounded(sum, low, high), lane, 32);
    }
}

#endif
