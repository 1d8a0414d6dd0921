/* linear, gemv_simd on Metal (Apple7 and later): gemv whose lanes add up by simd_sum; metal_gemv.metal says the rest.
 *
 * A simdgroup is a row: no threadgroup memory, no barrier, so that more simdgroups are in flight for the memory's
 * latency. */
#include "ops/linear/metal_gemv.h"

template <typename In, typename W, typename Out>
kernel void gemv_simd(constant tw_linear &p [[buffer(0)]], device const In *x [[buffer(1)]],
                      device const W *w [[buffer(2)]], device const float *bias [[buffer(3)]],
                      device Out *y [[buffer(4)]], uint3 group [[threadgroup_position_in_grid]],
                      uint3 thread_at [[thread_position_in_threadgroup]])
{
    const int oc = int(group.x) * ROWS + int(thread_at.y), first = int(group.y) * IMAGES, lane = int(thread_at.x);
    float sums[IMAGES];
    row_sums(p, x, w, oc, first, lane, sums);
    for (int n = 0; n < IMAGES; n++) sums[n] = simd_sum(sums[n]);
    if (lane != 0 || oc >= p.oc) return;
    const int images = min(int(IMAGES), p.n - first);
    const float offset = p.has_bias != 0 ? bias[oc] : 0.0f;
    for (int n = 0; n < images; n++) y[(first + n) * p.oc + oc] = Out(tw_activate(sums[n] + offset, p.activation));
}

template [[host_name("gemv_simd_f32")]] kernel decltype(gemv_simd<float, float, float>) gemv_simd<float, float, float>;
template [[host_name("gemv_simd_f16")]] kernel decltype(gemv_simd<half, half, half>) gemv_simd<half, half, half>;
template [[host_name("gemv_simd_f32_f16")]] kernel decltype(gemv_simd<float, half, half>) gemv_simd<float, half, half>;
template [[host_name("gemv_simd_f16_f32")]] kernel decltype(gemv_simd<half, half, float>) gemv_simd<half, half, float>;
