/* add: y = activation(a + b), two tensors of one shape.
 *
 *   a, b [n][c][h][w] -> y; rank 2 has h = w = 1.
 *
 * Included by C, CUDA and Metal. */
#ifndef TW_OPS_ADD_H
#define TW_OPS_ADD_H

typedef struct tw_add {
    int n, c, h, w;
    int rank;       /* 2 or 4 */
    int activation; /* TW_ACT_NONE 0, TW_ACT_RELU 1, TW_ACT_RELU6 2 */
} tw_add;

#endif
