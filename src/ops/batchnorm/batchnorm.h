/* batchnorm, inference form (Ioffe and Szegedy 2015): y = (x - mean[c]) / sqrt(var[c] + epsilon) * weight[c] + bias[c]
 *
 *   x [n][c][h][w] -> y of the same shape; rank 2 has h = w = 1.
 *   weight, bias, mean, var [c]
 *
 * Operands: in = x, weight, bias, mean, var. Included by C, CUDA and Metal. */
#ifndef TW_OPS_BATCHNORM_H
#define TW_OPS_BATCHNORM_H

typedef struct tw_batchnorm {
    int n, c, h, w;
    int rank; /* 2 or 4 */
    float epsilon;
} tw_batchnorm;

#endif
