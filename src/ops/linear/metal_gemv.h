/* What linear's two gemv kernels in Metal share: a lane's part of the products of one row of w with some images.
 * Included by .metal files only. */
#ifndef TW_OPS_LINEAR_METAL_GEMV_H
#define TW_OPS_LINEAR_METAL_GEMV_H

#include "ops/common/metal_kernel.h"
#include "ops/linear/linear.h"

enum { ROWS = 8, IMAGES = 4 }; /* of a threadgroup */

/* sums[n] = what the lane adds to output `oc` of image `first` + n; zero for rows and images that are not there */
template <typename In, typename W>
static inline void row_sums(constant tw_linear &p, device const In *x, device const W *w, int oc, int first, int lane,
                            thread float *sums)
{
    for (int n = 0; n < IMAGES; n++) sums[n] = 0.0f;
    if (oc >= p.oc) return;
    const int images = min(int(IMAGES), p.n - first);
    device const W *row = w + oc * p.ic;
    device const In *image = x + first * p.ic;
    if (p.ic % 4 == 0) {
        for (int i = lane; i < p.ic / 4; i += 32) {
            const float4 weights = float4(((device const vec<W, 4> *)row)[i]);
            for (int n = 0; n < images; n++)
                sums[n] += dot(weights, float4(((device const vec<In, 4> *)(image + n * p.ic))[i]));
        }
    } else {
        for (int i = lane; i < p.ic; i += 32)
            for (int n = 0; n < images; n++) sums[n] = fma(float(row[i]), float(image[n * p.ic + i]), sums[n]);
    }
}

#endif
