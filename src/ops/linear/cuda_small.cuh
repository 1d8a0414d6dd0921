/* linear in the small-network kernel: a warp computes four outputs; its lanes walk x and the rows of weights, both in
 * shared memory, 16 bytes each where rows are a multiple of that, and add up by exchanges after which eight lanes have an
 * output and share sending it. The first 512 weights of each row are in registers before x is there. */
#ifndef TW_OPS_LINEAR_CUDA_SMALL_CUH
#define TW_OPS_LINEAR_CUDA_SMALL_CUH

#include "devices/cuda/small.cuh"

__device__ static void tw_small_linear(const tw_small_step &s, const tw_small_part &part, const float *shared,
                                       const tw_small_sink &sink, const tw_small_gate &gate)
{
    constexpr int early = 4;
    const int thread = tw_small_thread(s), lane = thread % 32, ic = s.linear.ic, outputs = part.c1 - part.c0;
    const bool has_bias = s.linear.has_bias, whole = ic % 4 == 0;
    const float low = s.low, high = s.high, *x = shared + s.in, *weights = shared + s.pieces[TW_SMALL_WEIGHTS].to,
                *biases = shared + s.pieces[TW_SMALL_BIAS].to;
    bool passed = false;
    for (int first = thread / 32 * TW_SMALL_ROWS; first < outputs; first += TW_SMALL_THREADS / 32 * TW_SMALL_ROWS) {
        const int own = first + lane / 8; /* this lane's output in the end */
        const float *row[TW_SMALL_ROWS];
#pragma unroll
        for (int o = 0; o < TW_SMALL_ROWS; o++) row[o] = weights + min(first + o, outputs - 1) * ic;
        if (!passed) gate.wait_for_parameters();
        const float bias = has_bias && own < outputs ? biases[own] : 0;
        float4 b[early][TW_SMALL_ROWS];
#pragma unroll
        for (int i = 0; i < early; i++)
#pragma unroll
            for (int o = 0; o < TW_SMALL_ROWS; o++) {
                const int at = 4 * lane + 128 * i;
                b[i][o] = whole && at < ic ? *(const float4 *)(row[o] + at) : float4{0, 0, 0, 0};
            }
        if (!passed) gate.pass();
        passed = true;
        float sums[TW_SMALL_ROWS] = {};
        const auto add = [&](const float4 &a, const float4(&of)[TW_SMALL_ROWS]) {
#pragma unroll
            for (int o = 0; o < TW_SMALL_ROWS; o++) {
                sums[o] = fmaf(a.x, of[o].x, sums[o]);
                sums[o] = fmaf(a.y, of[o].y, sums[o]);
                sums[o] = fmaf(a.z, of[o].z, sums[o]);
                sums[o] = fmaf(a.w, of[o].w, sums[o]);
            }
        };
        if (whole) {
#pragma unroll
            for (int i = 0; i < early; i++) {
                const int at = 4 * lane + 128 * i;
                if (128 * i < ic) add(at < ic ? *(const float4 *)(x + at) : float4{0, 0, 0, 0}, b[i]);
            }
#pragma unroll 1
            for (int at = 4 * lane + 128 * early; at < ic; at += 128) {
                float4 of[TW_SMALL_ROWS];
#pragma unroll
                for (int o = 0; o < TW_SMALL_ROWS; o++) of[o] = *(const float4 *)(row[o] + at);
                add(*(const float4 *)(x + at), of);
            }
        } else {
#pragma unroll 1
            for (int at = lane; at < ic; at += 32)
#pragma unroll
                for (int o = 0; o < TW_SMALL_ROWS; o++) sums[o] = fmaf(x[at], row[o][at], sums[o]);
        }
        __syncwarp();
        tw_small_halve<2>(sums, 16);
        tw_small_halve<1>(sums, 8);
#pragma unroll
        for (int lanes = 4; lanes > 0; lanes /= 2) sums[0] += __shfl_xor_sync(0xffffffffu, sums[0], lanes);
        if (own < outputs) sink.put(part.c0 + own, tw_small_bounded(sums[0] + bias, low, high), lane % 8, 8);
    }
    if (!passed) gate.pass_idle();
}
static_assert(TW_SMALL_ROWS == 4, "eight lanes an output");

#endif
