/* conv2d, depthwise on Metal: one input channel to each output channel, as many groups as input channels (a multiple of
 * output channels is taken too), dense windows.
 *
 * A thread computes four outputs below each other, so that a row of the input that several of their windows cover is
 * read once: at 3x3 and stride 1, 18 reads for four outputs where naive has 36. A threadgroup is 256 neighbours in the
 * order channel, group of four rows, column: a simdgroup reads neighbouring columns in few lines. A channel's window of
 * weights stays in the cache. Nothing is staged and nothing is waited for: at kh * kw multiply-adds for an element of x
 * there is nothing that threadgroup memory could save twice.
 *
 * x and y cross device memory once each, which bounds it on every family (9 multiply-adds for 8 bytes; even the A13
 * could do 150). For the usual windows (3x3, 5x5 at stride 1 and 2) size and stride are constants of the pipeline, the
 * loops unroll and the comparisons below go away; 0 leaves them to the parameters. */
#include "ops/common/metal_kernel.h"
#include "ops/conv2d/conv2d.h"

constant int WINDOW [[function_constant(0)]]; /* kh = kw, or 0 */
constant int STRIDE [[function_constant(1)]]; /* sh = sw, or 0 */

enum { ROWS = 4 };

template <typename In, typename W, typename Out>
kernel void depthwise(constant tw_conv2d &p [[buffer(0)]], device const In *x [[buffer(1)]],
                      device const W *w [[buffer(2)]], device const float *bias [[buffer(3)]],
                      device const Out *residual [[buffer(4)]], device Out *y [[buffer(5)]],
                      uint at [[thread_position_in_grid]])
{
    const int kh = WINDOW != 0 ? WINDOW : p.kh, kw = WINDOW != 0 ? WINDOW : p.kw;
    const int sh = STRIDE != 0 ? STRIDE : p.sh, sw = STRIDE != 0 ? STRIDE : p.sw;
    const uint strips = uint(p.oh + ROWS - 1) / uint(ROWS), strip_row = at / uint(p.ow), plane = strip_row / strips;
    if (plane >= uint(p.n) * uint(p.oc)) return;
    const int ox = int(at - strip_row * uint(p.ow)), oy = int(strip_row - plane * strips) * ROWS;
    const int n = int(plane) / p.oc, oc = int(plane) - n * p.oc;
    const int top = oy * sh - p.pt, left = ox * sw - p.pl;
    device const In *image = x + (n * p.ic + oc / (p.oc / p.ic)) * p.ih * p.iw;
    device const W *window = w + oc * kh * kw;
    float sums[ROWS];
    for (int j = 0; j < ROWS; j++) sums[j] = p.has_bias != 0 ? bias[oc] : 0.0f;
    for (int row = 0; row < (ROWS - 1) * sh + kh; row++) {
        const int iy = top + row;
        if (iy < 0 || iy >= p.ih) continue;
        for (int kx = 0; kx < kw; kx++) {
            const int ix = left + kx;
            if (ix < 0 || ix >= p.iw) continue;
            const float v = float(image[iy * p.iw + ix]);
            for (int j = 0; j < ROWS; j++) {
                const int ky = row - j * sh;
                if (ky >= 0 && ky < kh) sums[j] = fma(v, float(window[ky * kw + kx]), sums[j]);
            }
        }
    }
    for (int j = 0; j < ROWS && oy + j < p.oh; j++) {
        const int to = (int(plane) * p.oh + oy + j) * p.ow + ox;
        const float v = p.has_residual != 0 ? sums[j] + float(residual[to]) : sums[j];
        y[to] = Out(tw_activate(v, p.activation));
    }
}

template [[host_name("depthwise_f32")]] kernel decltype(depthwise<float, float, float>) depthwise<float, float, float>;
template [[host_name("depthwise_f16")]] kernel decltype(depthwise<half, half, half>) depthwise<half, half, half>;
template [[host_name("depthwise_f32_f16")]] kernel decltype(depthwise<float, half, half>) depthwise<float, half, half>;
template [[host_name("depthwise_f16_f32")]] kernel decltype(depthwise<half, half, float>) depthwise<half, half, float>;
