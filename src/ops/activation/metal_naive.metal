/* relu and clip, naive on Metal: a thread reads one element and writes one; a threadgroup is 256 neighbours.
 *
 * Nothing is staged. One read and one write of device memory bound it on every family. NaN passes through: neither
 * comparison holds. y may be x itself. */
#include "ops/activation/activation.h"
#include "ops/common/metal_kernel.h"

template <typename In, typename Out>
kernel void naive(constant tw_clip &p [[buffer(0)]], device const In *x [[buffer(1)]], device Out *y [[buffer(2)]],
                  uint at [[thread_position_in_grid]])
{
    if (at >= uint(p.n) * uint(p.c) * uint(p.h) * uint(p.w)) return;
    const float v = float(x[at]);
    y[at] = Out(v < p.low ? p.low : v > p.high ? p.high : v);
}

template [[host_name("naive_f32")]] kernel decltype(naive<float, float>) naive<float, float>;
template [[host_name("naive_f16")]] kernel decltype(naive<half, half>) naive<half, half>;
template [[host_name("naive_f32_f16")]] kernel decltype(naive<float, half>) naive<float, half>;
template [[host_name("naive_f16_f32")]] kernel decltype(naive<half, float>) naive<half, float>;
