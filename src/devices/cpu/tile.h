/* The one micro-kernel under direct_blocked, winograd, im2col_gemm and packed_gemm: a register tile of
 * `pixels` x (vectors * 16) sums.
 *
 *   c[p][v * 16 + lane] = epilogue( sum over taps t and k < depth(t) of
 *                                   a[offsets[t] + p * 16 + k] * b[row(t, k)][v * 16 + lane] )
 *
 * `a` is read by broadcasts, 16 floats apart from one pixel to the next: a blocked activation is that, and so is a
 * matrix packed as [k / 16][row][16]. `b` is read by whole vectors and in order: the rows of tap 0, then of tap 1,
 * each `vectors * 16` floats. The first `full` taps have depth 16, the rest `tail` (a last block of fewer channels).
 * For convolution a tap is (channel block, ky, kx); for a matrix product, a block of 16 of the inner dimension.
 *
 * Bound by the multiply-add unit: a tile of 14 x 2 vectors issues 28 FMA for 2 vector loads and 14 broadcasts. */
#ifndef TW_DEVICES_CPU_TILE_H
#define TW_DEVICES_CPU_TILE_H

#include "devices/cpu/cpu.h"

enum { TW_TILE_MAX_PIXELS = 14, TW_TILE_MAX_VECTORS = 2 };

typedef struct tw_tile {
    const float *a;
    const int32_t *offsets; /* [full + tails] in floats */
    int full, tails;        /* taps of depth 16, then of depth `tail` */
    int tail;
    const float *b;
    int pixels, vectors;

    float *c;
    ptrdiff_t c_pixel, c_vector; /* strides in floats: 16 and a plane for blocked outputs; a row and 16 for a matrix */
    const float *bias;           /* [vectors * 16] or null */
    const float *residual;       /* with c's strides, or null */
    int last;                    /* lanes of the last vector that are stored, read from residual and accumulated; 16 */
    bool accumulate;             /* start from c instead of zero */
    int activation;              /* TW_ACT_*: after bias and residual */
} tw_tile;

typedef void tw_tile_fn(const tw_tile *tile);

/* The kernel for an instruction set, the most pixels it keeps in registers for a number of vectors, and the number
 * of vectors that suits it: weights are packed in groups of that many. */
tw_tile_fn *tw_tile_for(tw_isa isa);
int tw_tile_pixels(tw_isa isa, int vectors);
int tw_tile_vectors(tw_isa isa);

#endif
