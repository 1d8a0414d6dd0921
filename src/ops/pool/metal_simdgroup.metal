/* pool, simdgroup on Metal: the average of whole planes. A simdgroup averages one plane: its lanes read neighbouring
 * pixels, four at a time in flight, and simd_sum (Apple7 and later) adds the 32 sums up. A threadgroup is 8 planes.
 *
 * Where naive leaves one thread alone with a plane, this reads whole lines and keeps 32 times as many threads busy.
 * Nothing is staged and no threadgroup waits; one read of x bounds it where there are some hundred planes, else the
 * latency of a plane's few reads. */
#include "ops/common/metal_kernel.h"
#include "ops/pool/pool.h"

template <typename In, typename Out>
kernel void average(constant tw_pool &p [[buffer(0)]], device const In *x [[buffer(1)]], device Out *y [[buffer(2)]],
                   uint3 group [[threadgroup_position_in_grid]], uint3 thread_at [[thread_position_in_threadgroup]])
{
    const int plane = int(group.x) * 8 + int(thread_at.y), pixels = p.ih * p.iw;
    if (plane >= p.n * p.c) return; /* the whole simdgroup */
    device const In *from = x + plane * pixels;
    float4 sums = float4(0.0f);
    int i = int(thread_at.x);
    for (; i + 96 < pixels; i += 128)
        sums += float4(float(from[i]), float(from[i + 32]), float(from[i + 64]), float(from[i + 96]));
    for (; i < pixels; i += 32) sums.x += float(from[i]);
    const float sum = simd_sum(sums.x + sums.y + sums.z + sums.w);
    if (thread_at.x == 0u) y[plane] = Out(sum / float(pixels));
}

template [[host_name("average_f32")]] kernel decltype(average<float, float>) average<float, float>;
template [[host_name("average_f16")]] kernel decltype(average<half, half>) average<half, half>;
template [[host_name("average_f32_f16")]] kernel decltype(average<float, half>) average<float, half>;
template [[host_name("average_f16_f32")]] kernel decltype(average<half, float>) average<half, float>;
