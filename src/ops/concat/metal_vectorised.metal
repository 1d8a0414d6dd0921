/* concat, vectorised on Metal: one launch a part; a thread copies four elements at once, a threadgroup 256 neighbours.
 *
 * Nothing is staged. The parts of an image and their places in the output are whole multiples of four elements, so
 * every access is aligned: 512 bytes a simdgroup in fp32, 256 in fp16. One read and one write of device memory bound it
 * on every family; many small parts are bound by their launches. */
#include "ops/common/metal_kernel.h"
#include "ops/concat/metal_part.h"

template <typename In, typename Out>
kernel void vectorised(constant tw_concat_part &p [[buffer(0)]], device const vec<In, 4> *x [[buffer(1)]],
                       device vec<Out, 4> *y [[buffer(2)]], uint at [[thread_position_in_grid]])
{
    const uint size = uint(p.size) / 4u, n = at / size;
    if (n >= uint(p.n)) return;
    y[(n * uint(p.total) + uint(p.offset)) / 4u + (at - n * size)] = vec<Out, 4>(float4(x[at]));
}

template [[host_name("vectorised_f32")]] kernel decltype(vectorised<float, float>) vectorised<float, float>;
template [[host_name("vectorised_f16")]] kernel decltype(vectorised<half, half>) vectorised<half, half>;
template [[host_name("vectorised_f32_f16")]] kernel decltype(vectorised<float, half>) vectorised<float, half>;
template [[host_name("vectorised_f16_f32")]] kernel decltype(vectorised<half, float>) vectorised<half, float>;
