/* conv2d, simdgroup_matrix on Metal: implicit_gemm's product on 8 x 8 matrices, which Apple7 (A14, M1) and later
 * multiply with all 32 lanes of a simdgroup at once, summing in float.
 *
 * A threadgroup of four simdgroups computes 16 T channels of 16 T pixels of the batch (T is 4, or 2 where that fills
 * the device better), each simdgroup a quarter: 8 T x 8 T numbers in T * T matrices of sums. In steps of 32 k the
 * threads gather 32 x 16 T numbers of the windows into threadgroup memory (8 KiB in fp32, 4 KiB in fp16), zeros where
 * the padding is: a thread always has the same pixel, so it splits that into image, row and column once, and a
 * simdgroup always the same k, so that going on to the next channel or window position is the same step for all its
 * lanes. Weights lie packed as matrices in the order of use, [group][channels / 8][k / 8][8][8], and are loaded from
 * device memory straight into matrices, 256 bytes in a row. k is ordered window position, then input channel, as they
 * are packed.
 *
 * A step is 4 T * T matrix products for 8 T matrix loads in each simdgroup, and two barriers. The epilogue goes through
 * 4 KiB of threadgroup memory, eight channels at a time in each simdgroup on its own, so that stores are coalesced over
 * the pixels. The multiply-adds bound it where there are enough tiles; with few input channels (a network's first
 * layer) the gather does.
 *
 * Source: Apple, Metal Shading Language Specification, 6.7 "SIMD-group matrix functions"; Chetlur et al. 2014. */
#include "ops/common/metal_kernel.h"
#include "ops/conv2d/conv2d.h"

enum { STEP = 32 };

template <typename In, typename W, typename Out, int T>
kernel void multiply(constant tw_conv2d &p [[buffer(0)]], device const In *x [[buffer(1)]],
                     device const W *w [[buffer(2)]], device const float *bias [[buffer(3)]],
                     device const Out *residual [[buffer(4)]], device Out *y [[buffer(5)]],
                     uint3 tile [[threadgroup_position_in_grid]], uint index [[thread_index_in_threadgroup]],
                     uint simdgroup [[simdgroup_index_in_threadgroup]], uint lane [[thread_index_in_simdgroup]])
{
    threadgroup W windows[STEP * 16 * T]; /* [k][pixel] */
    threadgroup float strips[4 * 8 * 8 * T];
    const int SIDE = 16 * T, BETWEEN = 128 / SIDE; /* pixels of a tile; the step of a thread's k */
    const int icg = p.ic / p.groups, ocg = p.oc / p.groups, k = p.kh * p.kw * icg, steps = (k + 7) / 8;
    const int pixels = p.oh * p.ow, count = p.n * pixels, plane = p.ih * p.iw, group = int(tile.z);
    const int row0 = int(tile.y) * SIDE + int(simdgroup) / 2 * 8 * T, column0 = int(tile.x) * SIDE;
    const int blocks = (ocg + 7) / 8;

    /* What this thread gathers: one pixel, every BETWEENth k. */
    const int own = int(index) % SIDE, start = int(index) / SIDE, column = column0 + own;
    const int n = column < count ? column / pixels : 0, pixel = column < count ? column - n * pixels : 0;
    const int top = column < count ? pixel / p.ow * p.sh - p.pt : p.ih; /* below the image: zeros */
    const int left = pixel % p.ow * p.sw - p.pl;
    device const In *image = x + (n * p.ic + group * icg) * plane;
    int tap = start / icg, c = start - tap * icg, ky = tap / p.kw, kx = tap - ky * p.kw;

    simdgroup_float8x8 sums[T][T];
    for (int i = 0; i < T; i++)
        for (int j = 0; j < T; j++) sums[i][j] = make_filled_simdgroup_matrix<float, 8, 8>(0.0f);
    for (int k0 = 0; k0 < k; k0 += STEP) {
        for (int row = start; row < STEP; row += BETWEEN) {
            const int iy = top + ky * p.dilh, ix = left + kx * p.dilw;
            const bool inside = ky < p.kh && iy >= 0 && iy < p.ih && ix >= 0 && ix < p.iw;
            windows[row * SIDE + own] = inside ? W(float(image[c * plane + iy * p.iw + ix])) : W(0.0f);
            c += BETWEEN;
            while (c >= icg) {
                c -= icg;
                kx++;
                if (kx == p.kw) {
                    kx = 0;
                    ky++;
                }
            }
        }
        threadgroup_barrier(mem_flags::mem_threadgroup);
        for (int k8 = 0; k8 < STEP / 8 && k0 + k8 * 8 < k; k8++) {
            simdgroup_matrix<W, 8, 8> right[T];
            for (int j = 0; j < T; j++)
                simdgroup_load(right[j], windows + k8 * 8 * SIDE + (int(simdgroup) % 2 * T + j) * 8, ulong(SIDE));
            for (int i = 0; i < T && row0 + i * 8 < ocg; i++) {
                simdgroup_matrix<W, 8, 8> weights;
                simdgroup_load(weights, w + ((group * blocks + row0 / 8 + i) * steps + k0 / 8 + k8) * 64, 8ul);
                for (int j = 0; j < T; j++) simdgroup_multiply_accumulate(sums[i][j], weights, right[j], sums[i][j]);
            }
        }
        threadgroup_barrier(mem_flags::mem_threadgroup);
    }

    /* A strip of 8 channels by 8 T pixels at a time; a lane has one pixel (of T = 2: half of the channels of one). */
    threadgroup float *strip = strips + int(simdgroup) * 64 * T;
    const int WIDTH = 8 * T, at_column = int(lane) % WIDTH, first_row = int(lane) / WIDTH;
    const int out = column0 + int(simdgroup) % 2 * WIDTH + at_column, out_n = out / pixels;
    const int to = out_n * p.oc * pixels + out - out_n * pixels;
    for (int i = 0; i < T; i++) {
        for (int j = 0; j < T; j++) simdgroup_store(sums[i][j], strip + j * 8, ulong(WIDTH));
        simdgroup_barrier(mem_flags::mem_threadgroup);
        for (int r = first_row; r < 8 && row0 + i * 8 + r < ocg; r += 32 / WIDTH) {
            if (out >= count) continue;
            const int oc = group * ocg + row0 + i * 8 + r, at = to + oc * pixels;
            float v = strip[r * WIDTH + at_column];
            if (p.has_bias != 0) v += bias[oc];
            if (p.has_residual != 0) v += float(residual[at]);
            y[at] = Out(tw_activate(v, p.activation));
        }
        simdgroup_barrier(mem_flags::mem_threadgroup);
    }
}

template [[host_name("large_f32")]] kernel decltype(multiply<float, float, float, 4>) multiply<float, float, float, 4>;
template [[host_name("large_f16")]] kernel decltype(multiply<half, half, half, 4>) multiply<half, half, half, 4>;
template [[host_name("large_f32_f16")]] kernel decltype(multiply<float, half, half, 4>) multiply<float, half, half, 4>;
template [[host_name("large_f16_f32")]] kernel decltype(multiply<half, half, float, 4>) multiply<half, half, float, 4>;
template [[host_name("small_f32")]] kernel decltype(multiply<float, float, float, 2>) multiply<float, float, float, 2>;
template [[host_name("small_f16")]] kernel decltype(multiply<half, half, half, 2>) multiply<half, half, half, 2>;
template [[host_name("small_f32_f16")]] kernel decltype(multiply<float, half, half, 2>) multiply<float, half, half, 2>;
template [[host_name("small_f16_f32")]] kernel decltype(multiply<half, half, float, 2>) multiply<half, half, float, 2>;
