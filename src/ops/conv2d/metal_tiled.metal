/* conv2d, tiled on Metal: threadgroup memory saves the repeated reads that naive makes, as in the study's tiled
 * product.
 *
 * A threadgroup of 256 threads computes a tile of 16 x 16 pixels in 8 output channels of one image; a thread computes
 * one pixel in all 8. Channel by channel of the input it stages the patch that its windows cover and the 8 windows of
 * weights, then multiplies: each number of the patch is read once from device memory and kh * kw times from threadgroup
 * memory, each of those reads serving 8 multiply-adds.
 *
 * Two barriers a channel, and 9 reads of threadgroup memory for 8 multiply-adds, bound it on every family: a read of
 * threadgroup memory costs these GPUs about what a cached read of device memory does, so what naive spends on 16 reads
 * is only halved, and the barriers leave a core idle that holds few such threadgroups. (The study's tiled matrix
 * product lost to its naive one on the A13, 188.7 to 141.7 ms, and took 135.3 without the barriers in its loop.)
 * Windows whose patch needs more threadgroup memory than the family has are refused.
 *
 * Source: the study (15-618, 2022), whose linear layers are tiled so; cuda_tiled.cu is the same design. */
#include "ops/common/metal_kernel.h"
#include "ops/conv2d/conv2d.h"

enum { SIDE = 16, CHANNELS = 8 };

/* shared: the patch [height][width], then the weights [CHANNELS][kh * kw]. */
template <typename In, typename W, typename Out>
kernel void tiled(constant tw_conv2d &p [[buffer(0)]], device const In *x [[buffer(1)]],
                  device const W *w [[buffer(2)]], device const float *bias [[buffer(3)]],
                  device const Out *residual [[buffer(4)]], device Out *y [[buffer(5)]],
                  threadgroup float *shared [[threadgroup(0)]], uint3 tile [[threadgroup_position_in_grid]],
                  uint index [[thread_index_in_threadgroup]])
{
    const int icg = p.ic / p.groups, ocg = p.oc / p.groups, parts = (ocg + CHANNELS - 1) / CHANNELS;
    const int height = (SIDE - 1) * p.sh + (p.kh - 1) * p.dilh + 1, width = (SIDE - 1) * p.sw + (p.kw - 1) * p.dilw + 1;
    const int window = p.kh * p.kw, columns = (p.ow + SIDE - 1) / SIDE, thread_at = int(index);
    const int group = int(tile.y) / parts, first = int(tile.y) % parts * CHANNELS, n = int(tile.z);
    const int oy0 = int(tile.x) / columns * SIDE, ox0 = int(tile.x) % columns * SIDE;
    threadgroup float *weights = shared + height * width;
    threadgroup const float *corner = shared + thread_at / SIDE * p.sh * width + thread_at % SIDE * p.sw;
    float sums[CHANNELS];
    for (int j = 0; j < CHANNELS; j++) sums[j] = 0.0f;
    for (int c = 0; c < icg; c++) {
        device const In *plane = x + (n * p.ic + group * icg + c) * p.ih * p.iw;
        for (int i = thread_at; i < height * width; i += SIDE * SIDE) {
            const int iy = oy0 * p.sh - p.pt + i / width, ix = ox0 * p.sw - p.pl + i % width;
            const bool inside = iy >= 0 && iy < p.ih && ix >= 0 && ix < p.iw;
            shared[i] = inside ? float(plane[iy * p.iw + ix]) : 0.0f;
        }
        for (int i = thread_at; i < CHANNELS * window; i += SIDE * SIDE) {
            const int oc = first + i / window;
            weights[i] = oc < ocg ? float(w[((group * ocg + oc) * icg + c) * window + i % window]) : 0.0f;
        }
        threadgroup_barrier(mem_flags::mem_threadgroup);
        for (int ky = 0; ky < p.kh; ky++) {
            for (int kx = 0; kx < p.kw; kx++) {
                const float v = corner[ky * p.dilh * width + kx * p.dilw];
                for (int j = 0; j < CHANNELS; j++) sums[j] = fma(v, weights[j * window + ky * p.kw + kx], sums[j]);
            }
        }
        threadgroup_barrier(mem_flags::mem_threadgroup);
    }
    const int oy = oy0 + thread_at / SIDE, ox = ox0 + thread_at % SIDE;
    if (oy >= p.oh || ox >= p.ow) return;
    for (int j = 0; j < CHANNELS && first + j < ocg; j++) {
        const int oc = group * ocg + first + j, at = ((n * p.oc + oc) * p.oh + oy) * p.ow + ox;
        float v = sums[j];
        if (p.has_bias != 0) v += bias[oc];
        if (p.has_residual != 0) v += float(residual[at]);
        y[at] = Out(tw_activate(v, p.activation));
    }
}

template [[host_name("tiled_f32")]] kernel decltype(tiled<float, float, float>) tiled<float, float, float>;
template [[host_name("tiled_f16")]] kernel decltype(tiled<half, half, half>) tiled<half, half, half>;
template [[host_name("tiled_f32_f16")]] kernel decltype(tiled<float, half, half>) tiled<float, half, half>;
template [[host_name("tiled_f16_f32")]] kernel decltype(tiled<half, half, float>) tiled<half, half, float>;
