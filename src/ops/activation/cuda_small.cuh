/* relu and clip in the small-network kernel: a thread an element. */
#ifndef TW_OPS_ACTIVATION_CUDA_SMALL_CUH
#define TW_OPS_ACTIVATION_CUDA_SMALL_CUH

#include "devices/cuda/small.cuh"

__device__ static void tw_small_clip(const tw_small_step &s, const tw_small_part &part, const float *shared,
                                     const tw_small_sink &sink, const tw_small_gate &gate)
{
    const int pixels = part.rows() * s.w, outputs = (part.c1 - part.c0) * pixels, h = s.h, w = s.w;
    const float *x = shared + s.in;
    const float low = s.low, high = s.high;
    gate.pass();
    for (int i = threadIdx.x; i < outputs; i += TW_SMALL_THREADS) {
        const int plane = tw_small_quotient(i, pixels),
                  index = ((part.c0 + plane) * h + part.y0) * w + i - plane * pixels;
        sink.put(index, tw_small_bounded(x[index], low, high));
    }
}

#endif
