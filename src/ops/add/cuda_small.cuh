/* add in the small-network kernel: a thread an element. */
#ifndef TW_OPS_ADD_CUDA_SMALL_CUH
#define TW_OPS_ADD_CUDA_SMALL_CUH

#include "devices/cuda/small.cuh"

__device__ static void tw_small_add(const tw_small_sink &sink, const tw_small_part &part)
{
    const tw_small_step &s = sink.step;
    const int pixels = part.rows() * s.w, outputs = (part.c1 - part.c0) * pixels;
    for (int i = threadIdx.x; i < outputs; i += TW_SMALL_THREADS) {
        const int plane = i / pixels, index = ((part.c0 + plane) * s.h + part.y0) * s.w + i - plane * pixels;
        sink.put(index, tw_activate(sink.shared[s.in + index] + sink.shared[s.other + index], s.add.activation));
    }
}

#endif
