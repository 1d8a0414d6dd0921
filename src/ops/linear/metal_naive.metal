/* linear, naive on Metal: a thread computes one output; a threadgroup is 256 neighbouring features.
 *
 * Nothing is staged. Each thread walks a row of w on its own, so the lanes of a simdgroup read 32 rows at once, far
 * apart: every line that is loaded must stay in the cache until its thread has used all of it, or crosses memory again.
 * That bounds it, on every family, well below the memory's rate. It takes every problem. Weights are half in fp16 (what
 * W says). */
#include "ops/common/metal_kernel.h"
#include "ops/linear/linear.h"

template <typename In, typename W, typename Out>
kernel void naive(constant tw_linear &p [[buffer(0)]], device const In *x [[buffer(1)]],
                  device const W *w [[buffer(2)]], device const float *bias [[buffer(3)]],
                  device Out *y [[buffer(4)]], uint at [[thread_position_in_grid]])
{
    const uint n = at / uint(p.oc);
    if (n >= uint(p.n)) return;
    const int oc = int(at - n * uint(p.oc));
    device const In *image = x + int(n) * p.ic;
    device const W *row = w + oc * p.ic;
    float sum = 0.0f;
    for (int i = 0; i < p.ic; i++) sum = fma(float(image[i]), float(row[i]), sum);
    if (p.has_bias != 0) sum += bias[oc];
    y[at] = Out(tw_activate(sum, p.activation));
}

template [[host_name("naive_f32")]] kernel decltype(naive<float, float, float>) naive<float, float, float>;
template [[host_name("naive_f16")]] kernel decltype(naive<half, half, half>) naive<half, half, half>;
template [[host_name("naive_f32_f16")]] kernel decltype(naive<float, half, half>) naive<float, half, half>;
template [[host_name("naive_f16_f32")]] kernel decltype(naive<half, half, float>) naive<half, half, float>;
