/* lrn, vectorised on Metal: a thread computes four neighbouring pixels of one channel; a threadgroup is 256 neighbours.
 * Planes are whole multiples of four pixels.
 *
 * Nothing is staged. Each of the window's `size` reads is 16 bytes (8 in fp16), coalesced over the simdgroup, and all
 * but one hit the cache where that holds `size` planes of 1,024 pixels. Four powers, each a logarithm and an
 * exponential. Device memory bounds it on every family for windows of up to about ten channels.
 *
 * Source: Krizhevsky et al. 2012, section 3.3, with PyTorch's alpha / size. */
#include "ops/common/metal_kernel.h"
#include "ops/lrn/lrn.h"

template <typename In, typename Out>
kernel void vectorised(constant tw_lrn &p [[buffer(0)]], device const vec<In, 4> *x [[buffer(1)]],
                       device vec<Out, 4> *y [[buffer(2)]], uint at [[thread_position_in_grid]])
{
    const int quads = p.h * p.w / 4, plane = int(at / uint(quads));
    if (plane >= p.n * p.c) return;
    const int c = plane % p.c, first = max(c - p.size / 2, 0), last = min(c + (p.size - 1) / 2, p.c - 1);
    device const vec<In, 4> *channel0 = x + (int(at) - c * quads);
    float4 sum = float4(0.0f);
    for (int j = first; j <= last; j++) {
        const float4 v = float4(channel0[j * quads]);
        sum = fma(v, v, sum);
    }
    y[at] = vec<Out, 4>(float4(x[at]) / pow(p.k + p.alpha / float(p.size) * sum, float4(p.beta)));
}

template [[host_name("vectorised_f32")]] kernel decltype(vectorised<float, float>) vectorised<float, float>;
template [[host_name("vectorised_f16")]] kernel decltype(vectorised<half, half>) vectorised<half, half>;
template [[host_name("vectorised_f32_f16")]] kernel decltype(vectorised<float, half>) vectorised<float, half>;
template [[host_name("vectorised_f16_f32")]] kernel decltype(vectorised<half, float>) vectorised<half, float>;
