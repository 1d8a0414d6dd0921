/* reorder, naive on Metal: between the plain and the channels-last layout, and between element types, which only a
 * network's ends do. A thread moves one element, a threadgroup 256 neighbours in y's order.
 *
 * Nothing is staged: writes are whole lines; reads are, where the layout stays, else they are a plane or a pixel's
 * channels apart and their lines wait in the caches for the neighbours. Memory bounds it on every family. TO_LAST: 0
 * the layout stays, 1 plain to channels-last, 2 back. */
#include "ops/common/metal_kernel.h"
#include "ops/reorder/reorder.h"

constant int TO_LAST [[function_constant(0)]];

template <typename In, typename Out>
kernel void naive(constant tw_reorder &p [[buffer(0)]], device const In *x [[buffer(1)]], device Out *y [[buffer(2)]],
                  uint at [[thread_position_in_grid]])
{
    const uint c = uint(p.c), pixels = uint(p.h) * uint(p.w), size = c * pixels, n = at / size;
    if (n >= uint(p.n)) return;
    const uint rest = at - n * size;
    uint from = rest;
    if (TO_LAST == 1) from = rest % c * pixels + rest / c;
    if (TO_LAST == 2) from = rest % pixels * c + rest / pixels;
    y[at] = Out(float(x[n * size + from]));
}

template [[host_name("naive_f32")]] kernel decltype(naive<float, float>) naive<float, float>;
template [[host_name("naive_f16")]] kernel decltype(naive<half, half>) naive<half, half>;
template [[host_name("naive_f32_f16")]] kernel decltype(naive<float, half>) naive<float, half>;
template [[host_name("naive_f16_f32")]] kernel decltype(naive<half, float>) naive<half, float>;
