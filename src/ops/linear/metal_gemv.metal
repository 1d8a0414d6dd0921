/* linear, gemv on Metal: for few images, where reading w bounds everything.
 *
 * 32 threads share a row of w: they read neighbouring numbers of it, four at once where rows are a multiple of four
 * long (512 bytes a simdgroup in fp32), so that w crosses memory in whole lines, once for each 4 images. A threadgroup
 * is 8 rows. x lies in the cores' caches. The partial sums are added up
 *
 * - gemv: in threadgroup memory, 32 floats a row and image, 4 KiB a threadgroup: every family from Apple4 on;
 * - gemv_simd: by simd_sum, without memory or barriers (Apple7 and later; its own file, metal_gemv_simd.metal).
 *
 * The memory's rate bounds both; in fp16, packed weights halve its bytes. */
#include "ops/linear/metal_gemv.h"

template <typename In, typename W, typename Out>
kernel void gemv(constant tw_linear &p [[buffer(0)]], device const In *x [[buffer(1)]],
                 device const W *w [[buffer(2)]], device const float *bias [[buffer(3)]],
                 device Out *y [[buffer(4)]], uint3 group [[threadgroup_position_in_grid]],
                 uint3 thread_at [[thread_position_in_threadgroup]])
{
    threadgroup float partial[ROWS * IMAGES * 32]; /* [row][image][lane] */
    const int oc = int(group.x) * ROWS + int(thread_at.y), first = int(group.y) * IMAGES, lane = int(thread_at.x);
    float sums[IMAGES];
    row_sums(p, x, w, oc, first, lane, sums);
    threadgroup float *own = partial + int(thread_at.y) * IMAGES * 32;
    for (int n = 0; n < IMAGES; n++) own[n * 32 + lane] = sums[n];
    for (int half_way = 16; half_way > 0; half_way /= 2) {
        threadgroup_barrier(mem_flags::mem_threadgroup);
        if (lane < half_way)
            for (int n = 0; n < IMAGES; n++) own[n * 32 + lane] += own[n * 32 + lane + half_way];
    }
    threadgroup_barrier(mem_flags::mem_threadgroup);
    if (lane >= IMAGES || first + lane >= p.n || oc >= p.oc) return;
    const float sum = own[lane * 32] + (p.has_bias != 0 ? bias[oc] : 0.0f);
    y[(first + lane) * p.oc + oc] = Out(tw_activate(sum, p.activation));
}

template [[host_name("gemv_f32")]] kernel decltype(gemv<float, float, float>) gemv<float, float, float>;
template [[host_name("gemv_f16")]] kernel decltype(gemv<half, half, half>) gemv<half, half, half>;
template [[host_name("gemv_f32_f16")]] kernel decltype(gemv<float, half, half>) gemv<float, half, half>;
template [[host_name("gemv_f16_f32")]] kernel decltype(gemv<half, half, float>) gemv<half, half, float>;
