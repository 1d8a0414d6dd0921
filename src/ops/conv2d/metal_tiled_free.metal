/* conv2d, tiled_free on Metal: tiled without its barriers, since each simdgroup has a tile of its own.
 *
 * A threadgroup is one simdgroup and computes a tile of 8 x 4 pixels in 8 output channels of one image; a lane computes
 * one pixel in all 8. Channel by channel of the input the lanes stage the patch that their windows cover and the 8
 * windows of weights, as in metal_tiled.metal. What one lane wrote the others read behind a simdgroup_barrier, which
 * orders memory and waits for nobody: the lanes of a simdgroup go together. So no simdgroup stands still while another
 * one stages, which is what tiled pays for.
 *
 * The price: windows of neighbours overlap, and a small tile shares less of them. At 3x3 a patch is 60 numbers for 32
 * pixels where tiled has 324 for 256, 1.5 times as many, and 8 windows of weights are staged for 32 pixels, not 256.
 * Threadgroup memory is read as often as in tiled, 9 times for 8 multiply-adds, and bounds it; a wide window at a large
 * stride (11x11 at 4: 7.3 KiB) leaves a core four simdgroups.
 *
 * Source: the study (15-618, 2022), which measured its tiled product without the barriers in its loop, and so without
 * right results, to learn what they cost on the A13: 188.7 ms with, 135.3 without, 141.7 for naive. */
#include "ops/common/metal_kernel.h"
#include "ops/conv2d/conv2d.h"

enum { WIDTH = 8, HEIGHT = 4, LANES = WIDTH * HEIGHT, CHANNELS = 8 };

/* shared: the patch [height][width], then the weights [CHANNELS][kh * kw]. */
template <typename In, typename W, typename Out>
kernel void tiled_free(constant tw_conv2d &p [[buffer(0)]], device const In *x [[buffer(1)]],
                       device const W *w [[buffer(2)]], device const float *bias [[buffer(3)]],
                       device const Out *residual [[buffer(4)]], device Out *y [[buffer(5)]],
                       threadgroup float *shared [[threadgroup(0)]], uint3 tile [[threadgroup_position_in_grid]],
                       uint index [[thread_index_in_threadgroup]])
{
    const int icg = p.ic / p.groups, ocg = p.oc / p.groups, parts = (ocg + CHANNELS - 1) / CHANNELS;
    const int height = (HEIGHT - 1) * p.sh + (p.kh - 1) * p.dilh + 1;
    const int width = (WIDTH - 1) * p.sw + (p.kw - 1) * p.dilw + 1;
    const int window = p.kh * p.kw, columns = (p.ow + WIDTH - 1) / WIDTH, lane = int(index);
    const int group = int(tile.y) / parts, first = int(tile.y) % parts * CHANNELS, n = int(tile.z);
    const int oy0 = int(tile.x) / columns * HEIGHT, ox0 = int(tile.x) % columns * WIDTH;
    threadgroup float *weights = shared + height * width;
    threadgroup const float *corner = shared + lane / WIDTH * p.sh * width + lane % WIDTH * p.sw;
    float sums[CHANNELS];
    for (int j = 0; j < CHANNELS; j++) sums[j] = 0.0f;
    for (int c = 0; c < icg; c++) {
        device const In *plane = x + (n * p.ic + group * icg + c) * p.ih * p.iw;
        for (int i = lane; i < height * width; i += LANES) {
            const int iy = oy0 * p.sh - p.pt + i / width, ix = ox0 * p.sw - p.pl + i % width;
            const bool inside = iy >= 0 && iy < p.ih && ix >= 0 && ix < p.iw;
            shared[i] = inside ? float(plane[iy * p.iw + ix]) : 0.0f;
        }
        for (int i = lane; i < CHANNELS * window; i += LANES) {
            const int oc = first + i / window;
            weights[i] = oc < ocg ? float(w[((group * ocg + oc) * icg + c) * window + i % window]) : 0.0f;
        }
        simdgroup_barrier(mem_flags::mem_threadgroup);
        for (int ky = 0; ky < p.kh; ky++) {
            for (int kx = 0; kx < p.kw; kx++) {
                const float v = corner[ky * p.dilh * width + kx * p.dilw];
                for (int j = 0; j < CHANNELS; j++) sums[j] = fma(v, weights[j * window + ky * p.kw + kx], sums[j]);
            }
        }
        simdgroup_barrier(mem_flags::mem_threadgroup);
    }
    const int oy = oy0 + lane / WIDTH, ox = ox0 + lane % WIDTH;
    if (oy >= p.oh || ox >= p.ow) return;
    for (int j = 0; j < CHANNELS && first + j < ocg; j++) {
        const int oc = group * ocg + first + j, at = ((n * p.oc + oc) * p.oh + oy) * p.ow + ox;
        float v = sums[j];
        if (p.has_bias != 0) v += bias[oc];
        if (p.has_residual != 0) v += float(residual[at]);
        y[at] = Out(tw_activate(v, p.activation));
    }
}

template [[host_name("tiled_free_f32")]] kernel
decltype(tiled_free<float, float, float>) tiled_free<float, float, float>;
template [[host_name("tiled_free_f16")]] kernel decltype(tiled_free<half, half, half>) tiled_free<half, half, half>;
template [[host_name("tiled_free_f32_f16")]] kernel
decltype(tiled_free<float, half, half>) tiled_free<float, half, half>;
template [[host_name("tiled_free_f16_f32")]] kernel
decltype(tiled_free<half, half, float>) tiled_free<half, half, float>;
