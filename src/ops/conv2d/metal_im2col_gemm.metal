/* conv2d, im2col_gemm on Metal: the study's best design for large layers, and its future work with it: the whole batch
 * in one launch a phase.
 *
 *   im2col    columns [group][k][images * oh * ow] from x, k = icg * kh * kw: a thread writes one number. A threadgroup
 *             is 256 neighbours along the pixels, so that stores are whole lines and loads nearly so.
 *   multiply  y [oc][pixels] = w [oc][k] * columns: a threadgroup of 128 threads computes 64 channels of 64 pixels. In
 *             steps of 16 k it stages 16 x 64 numbers of each side in threadgroup memory (8 KiB in fp32); a thread
 *             keeps 8 x 4 sums in registers and reads 12 numbers of threadgroup memory for 32 multiply-adds. The
 *             epilogue stands behind the last step.
 *
 * The columns are kh * kw / (sh * sw) times as large as x and cross device memory twice, which bounds a layer of few
 * output channels on every family; with many, threadgroup reads and two barriers a step bound the product, at some 30 %
 * of the arithmetic peak. The columns are of the weights' type, so half in fp16. Where those of the batch exceed a
 * limit that suits a phone, the batch goes in slices of images.
 *
 * Source: Chellapilla, Puri and Simard 2006; the study (15-618, 2022), "im2col". */
#include "ops/common/metal_kernel.h"
#include "ops/conv2d/metal_slice.h"

enum { TILE = 64, STEP = 16, THREADS = 128 };
enum { DOWN = 8, ALONG = 4 }; /* sums of a thread: channels, pixels */

template <typename In, typename W>
kernel void im2col(constant tw_conv2d_slice &s [[buffer(0)]], device const In *x [[buffer(1)]],
                   device W *columns [[buffer(2)]], uint3 at [[thread_position_in_grid]])
{
    constant tw_conv2d &p = s.p;
    const int pixels = p.oh * p.ow, column = int(at.x), row = int(at.y); /* row: input channel, ky, kx */
    if (column >= s.images * pixels) return;
    const int n = column / pixels, pixel = column - n * pixels, oy = pixel / p.ow, ox = pixel - oy * p.ow;
    const int c = row / (p.kh * p.kw), tap = row - c * p.kh * p.kw, ky = tap / p.kw, kx = tap - ky * p.kw;
    const int iy = oy * p.sh - p.pt + ky * p.dilh, ix = ox * p.sw - p.pl + kx * p.dilw;
    const bool inside = iy >= 0 && iy < p.ih && ix >= 0 && ix < p.iw;
    const int from = inside ? (((s.first + n) * p.ic + c) * p.ih + iy) * p.iw + ix : 0;
    columns[row * s.images * pixels + column] = inside ? W(float(x[from])) : W(0.0f);
}

template <typename W, typename Out>
kernel void multiply(constant tw_conv2d_slice &s [[buffer(0)]], device const W *w [[buffer(1)]],
                     device const W *columns [[buffer(2)]], device const float *bias [[buffer(3)]],
                     device const Out *residual [[buffer(4)]], device Out *y [[buffer(5)]],
                     uint3 tile [[threadgroup_position_in_grid]], uint index [[thread_index_in_threadgroup]])
{
    threadgroup float w_tile[STEP * TILE], x_tile[STEP * TILE]; /* [k][channel], [k][pixel] */
    constant tw_conv2d &p = s.p;
    const int ocg = p.oc / p.groups, k = p.ic / p.groups * p.kh * p.kw, pixels = p.oh * p.ow, count = s.images * pixels;
    const int group = int(tile.z), row0 = int(tile.y) * TILE, column0 = int(tile.x) * TILE, thread_at = int(index);
    const int down = thread_at / (TILE / ALONG) * DOWN, along = thread_at % (TILE / ALONG);
    device const W *rows = w + group * ocg * k;
    device const W *from = columns + group * k * count;
    float sums[DOWN][ALONG];
    for (int i = 0; i < DOWN; i++)
        for (int j = 0; j < ALONG; j++) sums[i][j] = 0.0f;
    for (int k0 = 0; k0 < k; k0 += STEP) {
        for (int i = thread_at; i < STEP * TILE; i += THREADS) {
            const int row = row0 + i / STEP, at = k0 + i % STEP;
            w_tile[i % STEP * TILE + i / STEP] = row < ocg && at < k ? float(rows[row * k + at]) : 0.0f;
        }
        for (int i = thread_at; i < STEP * TILE; i += THREADS) {
            const int column = column0 + i % TILE, at = k0 + i / TILE;
            x_tile[i] = column < count && at < k ? float(from[at * count + column]) : 0.0f;
        }
        threadgroup_barrier(mem_flags::mem_threadgroup);
        for (int at = 0; at < STEP; at++) {
            float v[ALONG];
            for (int j = 0; j < ALONG; j++) v[j] = x_tile[at * TILE + j * (TILE / ALONG) + along];
            for (int i = 0; i < DOWN; i++) {
                const float a = w_tile[at * TILE + down + i];
                for (int j = 0; j < ALONG; j++) sums[i][j] = fma(a, v[j], sums[i][j]);
            }
        }
        threadgroup_barrier(mem_flags::mem_threadgroup);
    }
    for (int j = 0; j < ALONG; j++) {
        const int column = column0 + j * (TILE / ALONG) + along;
        if (column >= count) continue;
        const int n = column / pixels, to = (s.first + n) * p.oc * pixels + column - n * pixels;
        for (int i = 0; i < DOWN && row0 + down + i < ocg; i++) {
            const int oc = group * ocg + row0 + down + i, at = to + oc * pixels;
            float v = sums[i][j];
            if (p.has_bias != 0) v += bias[oc];
            if (p.has_residual != 0) v += float(residual[at]);
            y[at] = Out(tw_activate(v, p.activation));
        }
    }
}

template [[host_name("im2col_f32")]] kernel decltype(im2col<float, float>) im2col<float, float>;
template [[host_name("im2col_f16")]] kernel decltype(im2col<half, half>) im2col<half, half>;
template [[host_name("im2col_f32_f16")]] kernel decltype(im2col<float, half>) im2col<float, half>;
template [[host_name("multiply_f32")]] kernel decltype(multiply<float, float>) multiply<float, float>;
template [[host_name("multiply_f16")]] kernel decltype(multiply<half, half>) multiply<half, half>;
template [[host_name("multiply_f16_f32")]] kernel decltype(multiply<half, float>) multiply<half, float>;
