/* concat: several tensors, one behind the other along channels.
 *
 *   in[i] [n][c[i]][h][w] -> y [n][sum of c][h][w]; rank 2 has h = w = 1.
 *
 * Included by C, CUDA and Metal. */
#ifndef TW_OPS_CONCAT_H
#define TW_OPS_CONCAT_H

enum { TW_CONCAT_MAX = 16 };

typedef struct tw_concat {
    int n, h, w;
    int rank; /* 2 or 4 */
    int count;
    int c[TW_CONCAT_MAX];
    int oc; /* their sum */
} tw_concat;

#endif
