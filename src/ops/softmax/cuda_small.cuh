/* softmax in the small-network kernel: a warp for each pixel, three passes over its channels in shared memory. */
#ifndef TW_OPS_SOFTMAX_CUDA_SMALL_CUH
#define TW_OPS_SOFTMAX_CUDA_SMALL_CUH

#include "devices/cuda/small.cuh"

__device__ static void tw_small_softmax(const tw_small_step &s, const tw_small_part &part, const float *shared,
                                        const tw_small_sink &sink, const tw_small_gate &gate)
{
    const int lane = threadIdx.x % 32, channels = s.c, plane = s.h * s.w, end = part.y1 * s.w;
    const float *in = shared + s.in;
    gate.pass();
    for (int pixel = part.y0 * s.w + threadIdx.x / 32; pixel < end; pixel += TW_SMALL_THREADS / 32) {
        const float *x = in + pixel;
        float largest = -INFINITY, sum = 0;
        for (int c = lane; c < channels; c += 32) largest = fmaxf(largest, x[c * plane]);
        for (int lanes = 16; lanes > 0; lanes /= 2) largest = fmaxf(largest, __shfl_xor_sync(~0u, largest, lanes));
        for (int c = lane; c < channels; c += 32) sum += expf(x[c * plane] - largest);
        for (int lanes = 16; lanes > 0; lanes /= 2) sum += __shfl_xor_sync(~0u, sum, lanes);
        for (int c = lane; c < channels; c += 32) sink.put(c * plane + pixel, expf(x[c * plane] - largest) / sum);
    }
}

#endif
