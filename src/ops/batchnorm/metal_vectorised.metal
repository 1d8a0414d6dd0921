/* batchnorm, vectorised on Metal: a thread normalises four neighbouring pixels of one channel, whose scale it computes
 * once; a threadgroup is 256 neighbours. Planes are whole multiples of four pixels.
 *
 * Nothing is staged: the four numbers of a channel come from the cache. Loads of 512 bytes a simdgroup in fp32, 256 in
 * fp16; one read and one write of device memory bound it on every family. y may be x itself. */
#include "ops/batchnorm/batchnorm.h"
#include "ops/common/metal_kernel.h"

template <typename In, typename Out>
kernel void vectorised(constant tw_batchnorm &p [[buffer(0)]], device const vec<In, 4> *x [[buffer(1)]],
                       device const float *weight [[buffer(2)]], device const float *bias [[buffer(3)]],
                       device const float *mean [[buffer(4)]], device const float *var [[buffer(5)]],
                       device vec<Out, 4> *y [[buffer(6)]], uint at [[thread_position_in_grid]])
{
    const uint plane = at / (uint(p.h) * uint(p.w) / 4u);
    if (plane >= uint(p.n) * uint(p.c)) return;
    const uint c = plane % uint(p.c);
    const float scale = weight[c] / sqrt(var[c] + p.epsilon);
    y[at] = vec<Out, 4>((float4(x[at]) - mean[c]) * scale + bias[c]);
}

template [[host_name("vectorised_f32")]] kernel decltype(vectorised<float, float>) vectorised<float, float>;
template [[host_name("vectorised_f16")]] kernel decltype(vectorised<half, half>) vectorised<half, half>;
template [[host_name("vectorised_f32_f16")]] kernel decltype(vectorised<float, half>) vectorised<float, half>;
template [[host_name("vectorised_f16_f32")]] kernel decltype(vectorised<half, float>) vectorised<half, float>;
