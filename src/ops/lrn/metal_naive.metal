/* lrn, naive on Metal: a thread computes one output and sums the squares of its own window of channels; a threadgroup
 * is 256 neighbours in y's order.
 *
 * Nothing is staged. The window's channels lie a plane apart: `size` reads, each coalesced over the simdgroup, of which
 * all but one hit the cache where that holds `size` planes of 256 pixels; one power, which on these GPUs is a logarithm
 * and an exponential. Device memory bounds it on every family for windows of up to about ten channels.
 *
 * Source: Krizhevsky et al. 2012, section 3.3, with PyTorch's alpha / size. */
#include "ops/common/metal_kernel.h"
#include "ops/lrn/lrn.h"

template <typename In, typename Out>
kernel void naive(constant tw_lrn &p [[buffer(0)]], device const In *x [[buffer(1)]], device Out *y [[buffer(2)]],
                  uint at [[thread_position_in_grid]])
{
    const int pixels = p.h * p.w, plane = int(at / uint(pixels));
    if (at >= uint(p.n) * uint(p.c) * uint(pixels)) return;
    const int c = plane % p.c, first = max(c - p.size / 2, 0), last = min(c + (p.size - 1) / 2, p.c - 1);
    device const In *channel0 = x + (int(at) - c * pixels);
    float sum = 0.0f;
    for (int j = first; j <= last; j++) {
        const float v = float(channel0[j * pixels]);
        sum = fma(v, v, sum);
    }
    y[at] = Out(float(x[at]) / pow(p.k + p.alpha / float(p.size) * sum, p.beta));
}

template [[host_name("naive_f32")]] kernel decltype(naive<float, float>) naive<float, float>;
template [[host_name("naive_f16")]] kernel decltype(naive<half, half>) naive<half, half>;
template [[host_name("naive_f32_f16")]] kernel decltype(naive<float, half>) naive<float, half>;
template [[host_name("naive_f16_f32")]] kernel decltype(naive<half, float>) naive<half, float>;
