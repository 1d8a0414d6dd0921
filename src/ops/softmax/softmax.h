/* softmax over channels: y[n][c][h][w] = exp(x - m) / sum over c of exp(x - m), m the largest x over c.
 *
 *   x [n][c][h][w] -> y of the same shape; rank 2 has h = w = 1.
 *
 * Included by C, CUDA and Metal. */
#ifndef TW_OPS_SOFTMAX_H
#define TW_OPS_SOFTMAX_H

typedef struct tw_softmax {
    int n, c, h, w;
    int rank; /* 2 or 4 */
} tw_softmax;

#endif
