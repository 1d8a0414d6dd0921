/* add, vectorised on Metal: a thread reads four elements of each side at once and writes four; a threadgroup is 256
 * neighbours.
 *
 * Nothing is staged. Loads of 512 bytes a simdgroup in fp32, 256 in fp16; two reads and one write of device memory
 * bound it on every family. The last elements, where the count is no multiple of four, go one by one. y may be a
 * itself. */
#include "ops/add/add.h"
#include "ops/common/metal_kernel.h"

template <typename In, typename Out>
kernel void vectorised(constant tw_add &p [[buffer(0)]], device const In *a [[buffer(1)]],
                       device const In *b [[buffer(2)]], device Out *y [[buffer(3)]],
                       uint at [[thread_position_in_grid]])
{
    const uint count = uint(p.n) * uint(p.c) * uint(p.h) * uint(p.w);
    if (at * 4u + 4u <= count) {
        const float4 v = float4(((device const vec<In, 4> *)a)[at]) + float4(((device const vec<In, 4> *)b)[at]);
        ((device vec<Out, 4> *)y)[at] = vec<Out, 4>(tw_activate4(v, p.activation));
    } else {
        for (uint i = at * 4u; i < count; i++) y[i] = Out(tw_activate(float(a[i]) + float(b[i]), p.activation));
    }
}

template [[host_name("vectorised_f32")]] kernel decltype(vectorised<float, float>) vectorised<float, float>;
template [[host_name("vectorised_f16")]] kernel decltype(vectorised<half, half>) vectorised<half, half>;
template [[host_name("vectorised_f32_f16")]] kernel decltype(vectorised<float, half>) vectorised<float, half>;
template [[host_name("vectorised_f16_f32")]] kernel decltype(vectorised<half, float>) vectorised<half, float>;
