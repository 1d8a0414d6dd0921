/* batchnorm, naive on Metal: a thread normalises one element and computes its channel's scale anew; a threadgroup is
 * 256 neighbours.
 *
 * Nothing is staged: the four numbers of a channel stay in the cache, and a simdgroup mostly reads one channel's. One
 * read and one write of device memory bound it on every family. y may be x itself. */
#include "ops/batchnorm/batchnorm.h"
#include "ops/common/metal_kernel.h"

template <typename In, typename Out>
kernel void naive(constant tw_batchnorm &p [[buffer(0)]], device const In *x [[buffer(1)]],
                  device const float *weight [[buffer(2)]], device const float *bias [[buffer(3)]],
                  device const float *mean [[buffer(4)]], device const float *var [[buffer(5)]],
                  device Out *y [[buffer(6)]], uint at [[thread_position_in_grid]])
{
    const uint plane = at / (uint(p.h) * uint(p.w));
    if (plane >= uint(p.n) * uint(p.c)) return;
    const uint c = plane % uint(p.c);
    y[at] = Out((float(x[at]) - mean[c]) / sqrt(var[c] + p.epsilon) * weight[c] + bias[c]);
}

template [[host_name("naive_f32")]] kernel decltype(naive<float, float>) naive<float, float>;
template [[host_name("naive_f16")]] kernel decltype(naive<half, half>) naive<half, half>;
template [[host_name("naive_f32_f16")]] kernel decltype(naive<float, half>) naive<float, half>;
template [[host_name("naive_f16_f32")]] kernel decltype(naive<half, float>) naive<half, float>;
