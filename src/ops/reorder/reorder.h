/* reorder: the same tensor in another layout. Plans insert it; the problem's types say from which to which.
 *
 *   x [n][c][h][w] -> y of the same shape; rank 2 has h = w = 1. Included by C, CUDA and Metal. */
#ifndef TW_OPS_REORDER_H
#define TW_OPS_REORDER_H

typedef struct tw_reorder {
    int n, c, h, w;
    int rank; /* 2 or 4 */
} tw_reorder;

#endif
