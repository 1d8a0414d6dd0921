/* relu and clip: y = min(max(x, low), high), element by element; NaN passes through. relu is low 0, high infinity.
 *
 *   x [n][c][h][w] -> y of the same shape; rank 2 has h = w = 1.
 *
 * Included by C, CUDA and Metal. */
#ifndef TW_OPS_ACTIVATION_H
#define TW_OPS_ACTIVATION_H

typedef struct tw_clip {
    int n, c, h, w;
    int rank; /* 2 or 4 */
    float low, high;
} tw_clip;

#endif
