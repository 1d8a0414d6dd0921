/* relu and clip, vectorised on Metal: a thread reads four elements at once and writes four; a threadgroup is 256
 * neighbours.
 *
 * Nothing is staged. A simdgroup's load is 512 bytes in fp32, 256 in fp16, a quarter of naive's loads and of its index
 * arithmetic, which is what keeps four bytes a thread below the memory's rate. One read and one write of device memory
 * bound it on every family. The last elements, where the count is no multiple of four, go one by one. NaN passes
 * through. y may be x itself. */
#include "ops/activation/activation.h"
#include "ops/common/metal_kernel.h"

static inline float clipped(float v, float low, float high)
{
    return v < low ? low : v > high ? high : v;
}

template <typename In, typename Out>
kernel void vectorised(constant tw_clip &p [[buffer(0)]], device const In *x [[buffer(1)]], device Out *y [[buffer(2)]],
                       uint at [[thread_position_in_grid]])
{
    const uint count = uint(p.n) * uint(p.c) * uint(p.h) * uint(p.w);
    if (at * 4u + 4u <= count) {
        const float4 v = float4(((device const vec<In, 4> *)x)[at]);
        const float4 r = float4(clipped(v.x, p.low, p.high), clipped(v.y, p.low, p.high), clipped(v.z, p.low, p.high),
                                clipped(v.w, p.low, p.high));
        ((device vec<Out, 4> *)y)[at] = vec<Out, 4>(r);
    } else {
        for (uint i = at * 4u; i < count; i++) y[i] = Out(clipped(float(x[i]), p.low, p.high));
    }
}

template [[host_name("vectorised_f32")]] kernel decltype(vectorised<float, float>) vectorised<float, float>;
template [[host_name("vectorised_f16")]] kernel decltype(vectorised<half, half>) vectorised<half, half>;
template [[host_name("vectorised_f32_f16")]] kernel decltype(vectorised<float, half>) vectorised<float, half>;
template [[host_name("vectorised_f16_f32")]] kernel decltype(vectorised<half, float>) vectorised<half, float>;
