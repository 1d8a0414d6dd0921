/* concat, naive on Metal: one launch a part; a thread copies one element, a threadgroup 256 neighbours of one image.
 *
 * Nothing is staged. One read and one write of device memory bound it on every family, coalesced on both sides since
 * the part of one image is contiguous in the output; many small parts are bound by their launches. */
#include "ops/common/metal_kernel.h"
#include "ops/concat/metal_part.h"

template <typename In, typename Out>
kernel void naive(constant tw_concat_part &p [[buffer(0)]], device const In *x [[buffer(1)]],
                  device Out *y [[buffer(2)]], uint at [[thread_position_in_grid]])
{
    const uint n = at / uint(p.size);
    if (n >= uint(p.n)) return;
    y[n * uint(p.total) + uint(p.offset) + (at - n * uint(p.size))] = Out(float(x[at]));
}

template [[host_name("naive_f32")]] kernel decltype(naive<float, float>) naive<float, float>;
template [[host_name("naive_f16")]] kernel decltype(naive<half, half>) naive<half, half>;
template [[host_name("naive_f32_f16")]] kernel decltype(naive<float, half>) naive<float, half>;
template [[host_name("naive_f16_f32")]] kernel decltype(naive<half, float>) naive<half, float>;
