/* add, naive on Metal: a thread reads two elements and writes one; a threadgroup is 256 neighbours.
 *
 * Nothing is staged. Two reads and one write of device memory bound it on every family. y may be a itself. */
#include "ops/add/add.h"
#include "ops/common/metal_kernel.h"

template <typename In, typename Out>
kernel void naive(constant tw_add &p [[buffer(0)]], device const In *a [[buffer(1)]], device const In *b [[buffer(2)]],
                  device Out *y [[buffer(3)]], uint at [[thread_position_in_grid]])
{
    if (at >= uint(p.n) * uint(p.c) * uint(p.h) * uint(p.w)) return;
    y[at] = Out(tw_activate(float(a[at]) + float(b[at]), p.activation));
}

template [[host_name("naive_f32")]] kernel decltype(naive<float, float>) naive<float, float>;
template [[host_name("naive_f16")]] kernel decltype(naive<half, half>) naive<half, half>;
template [[host_name("naive_f32_f16")]] kernel decltype(naive<float, half>) naive<float, half>;
template [[host_name("naive_f16_f32")]] kernel decltype(naive<half, float>) naive<half, float>;
