/* lrn across channels (Krizhevsky et al. 2012), as PyTorch's LocalResponseNorm:
 *
 *   y[c] = x[c] / (k + alpha / size * sum of x[j]^2 for j in [c - size / 2, c + (size - 1) / 2])^beta
 *
 *   x [n][c][h][w] -> y of the same shape. Included by C, CUDA and Metal. */
#ifndef TW_OPS_LRN_H
#define TW_OPS_LRN_H

typedef struct tw_lrn {
    int n, c, h, w;
    int size;
    float alpha, beta, k;
} tw_lrn;

#endif
