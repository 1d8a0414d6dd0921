/* conv2d, naive on Metal: the university study's first design.
 *
 * A thread computes one output. A threadgroup is 256 neighbours in y's order, so that a simdgroup reads neighbouring
 * pixels of x in few lines and one weight at a time for all of its lanes. Nothing is staged and nothing is waited for:
 * each thread walks its window and reads ic / groups * kh * kw numbers of x and as many of w, two loads a multiply-add.
 *
 * Device memory sees x and w about once, and x again for every set of channels that the caches do not hold; all else
 * hits the caches of a core. So the load units bound it, on every family at some 5 to 10 % of the arithmetic peak: the
 * lower on Apple4 to Apple6, whose cores have less cache a thread. It is the yardstick of the others, and takes every
 * problem. Weights are float32 in fp32, half in fp16 (w is what W says).
 *
 * Source: the study (15-618, 2022), "naive"; definition as cpu_reference.c. */
#include "ops/common/metal_kernel.h"
#include "ops/conv2d/conv2d.h"

template <typename In, typename W, typename Out>
kernel void naive(constant tw_conv2d &p [[buffer(0)]], device const In *x [[buffer(1)]],
                  device const W *w [[buffer(2)]], device const float *bias [[buffer(3)]],
                  device const Out *residual [[buffer(4)]], device Out *y [[buffer(5)]],
                  uint at [[thread_position_in_grid]])
{
    const uint plane_size = uint(p.oh) * uint(p.ow), plane = at / plane_size; /* n * oc + channel */
    if (plane >= uint(p.n) * uint(p.oc)) return;
    const int pixel = int(at - plane * plane_size), oy = pixel / p.ow, ox = pixel - oy * p.ow;
    const int n = int(plane) / p.oc, oc = int(plane) - n * p.oc, icg = p.ic / p.groups;
    const int top = oy * p.sh - p.pt, left = ox * p.sw - p.pl;
    device const In *image = x + (n * p.ic + oc / (p.oc / p.groups) * icg) * p.ih * p.iw; /* [icg][ih][iw] */
    device const W *weights = w + oc * icg * p.kh * p.kw;                                 /* [icg][kh][kw] */
    float sum = 0.0f;
    for (int c = 0; c < icg; c++) {
        for (int ky = 0; ky < p.kh; ky++) {
            const int iy = top + ky * p.dilh;
            if (iy < 0 || iy >= p.ih) continue;
            for (int kx = 0; kx < p.kw; kx++) {
                const int ix = left + kx * p.dilw;
                if (ix < 0 || ix >= p.iw) continue;
                sum = fma(float(image[(c * p.ih + iy) * p.iw + ix]), float(weights[(c * p.kh + ky) * p.kw + kx]), sum);
            }
        }
    }
    if (p.has_bias != 0) sum += bias[oc];
    if (p.has_residual != 0) sum += float(residual[at]);
    y[at] = Out(tw_activate(sum, p.activation));
}

template [[host_name("naive_f32")]] kernel decltype(naive<float, float, float>) naive<float, float, float>;
template [[host_name("naive_f16")]] kernel decltype(naive<half, half, half>) naive<half, half, half>;
template [[host_name("naive_f32_f16")]] kernel decltype(naive<float, half, half>) naive<float, half, half>;
template [[host_name("naive_f16_f32")]] kernel decltype(naive<half, half, float>) naive<half, half, float>;
