/* linear, simdgroup_matrix on Metal: tiled's product on 8 x 8 matrices, which Apple7 (A14, M1) and later multiply
 * with all 32 lanes of a simdgroup at once, summing in float.
 *
 * A threadgroup of four simdgroups computes 32 features of up to 32 images; a simdgroup has 8 of the features and all
 * of the images, so that no weight is loaded twice. Weights lie packed as matrices in the order of use,
 * [features / 8][k / 8][k][feature], and go from device memory straight into a matrix, 256 bytes in a row (128 in
 * fp16). x is staged in threadgroup memory, 32 images of 32 k, rows four numbers longer so that those of a matrix lie
 * in different banks: 4.5 KiB in fp32. A step of 32 k is 16 products for 20 matrix loads in each simdgroup, and two
 * barriers; matrices of images that are not there are skipped. The epilogue goes through 1 KiB of threadgroup memory.
 *
 * w crosses memory once for each 32 images. With up to some dozens of images that bounds it; with more, the matrix
 * loads do.
 *
 * Source: Apple, Metal Shading Language Specification, 6.7 "SIMD-group matrix functions". */
#include "ops/common/metal_kernel.h"
#include "ops/linear/linear.h"

enum { IMAGES = 32, STEP = 32, STRIDE = STEP + 4, THREADS = 128 };

template <typename In, typename W, typename Out>
kernel void multiply(constant tw_linear &p [[buffer(0)]], device const In *x [[buffer(1)]],
                     device const W *w [[buffer(2)]], device const float *bias [[buffer(3)]],
                     device Out *y [[buffer(4)]], uint3 tile [[threadgroup_position_in_grid]],
                     uint index [[thread_index_in_threadgroup]], uint simdgroup [[simdgroup_index_in_threadgroup]],
                     uint lane [[thread_index_in_simdgroup]])
{
    threadgroup W staged[IMAGES * STRIDE]; /* [image][k] */
    threadgroup float strips[THREADS / 32 * 64];
    const int block = int(tile.x) * (THREADS / 32) + int(simdgroup), n0 = int(tile.y) * IMAGES;
    const int images = min(int(IMAGES), p.n - n0), steps = (p.ic + 7) / 8;
    const bool is_there = block * 8 < p.oc;
    simdgroup_float8x8 sums[IMAGES / 8];
    for (int i = 0; i < IMAGES / 8; i++) sums[i] = make_filled_simdgroup_matrix<float, 8, 8>(0.0f);
    for (int k0 = 0; k0 < p.ic; k0 += STEP) {
        for (int i = int(index); i < IMAGES * STEP; i += THREADS) {
            const int n = i / STEP, k = k0 + i % STEP;
            staged[n * STRIDE + i % STEP] = n < images && k < p.ic ? W(float(x[(n0 + n) * p.ic + k])) : W(0.0f);
        }
        threadgroup_barrier(mem_flags::mem_threadgroup);
        for (int k8 = 0; is_there && k8 < STEP / 8 && k0 + k8 * 8 < p.ic; k8++) {
            simdgroup_matrix<W, 8, 8> weights;
            simdgroup_load(weights, w + (block * steps + k0 / 8 + k8) * 64, 8ul);
            for (int i = 0; i < IMAGES / 8 && i * 8 < images; i++) {
                simdgroup_matrix<W, 8, 8> left;
                simdgroup_load(left, staged + i * 8 * STRIDE + k8 * 8, ulong(STRIDE));
                simdgroup_multiply_accumulate(sums[i], left, weights, sums[i]);
            }
        }
        threadgroup_barrier(mem_flags::mem_threadgroup);
    }

    /* A lane has one feature of two images of each matrix. */
    threadgroup float *strip = strips + int(simdgroup) * 64;
    const int oc = block * 8 + int(lane) % 8;
    const float offset = p.has_bias != 0 && oc < p.oc ? bias[oc] : 0.0f;
    for (int i = 0; i < IMAGES / 8 && i * 8 < images; i++) {
        simdgroup_store(sums[i], strip, 8ul);
        simdgroup_barrier(mem_flags::mem_threadgroup);
        for (int n = int(lane) / 8; n < 8; n += 4)
            if (oc < p.oc && i * 8 + n < images)
                y[(n0 + i * 8 + n) * p.oc + oc] = Out(tw_activate(strip[n * 8 + int(lane) % 8] + offset, p.activation));
        simdgroup_barrier(mem_flags::mem_threadgroup);
    }
}

template [[host_name("multiply_f32")]] kernel decltype(multiply<float, float, float>) multiply<float, float, float>;
template [[host_name("multiply_f16")]] kernel decltype(multiply<half, half, half>) multiply<half, half, half>;
template [[host_name("multiply_f32_f16")]] kernel decltype(multiply<float, half, half>) multiply<float, half, half>;
template [[host_name("multiply_f16_f32")]] kernel decltype(multiply<half, half, float>) multiply<half, half, float>;
