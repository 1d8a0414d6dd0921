/* linear: y = activation(x * w^T + bias), a fully connected layer (PyTorch's Linear, oneDNN's inner product).
 *
 *   x    [n][ic]
 *   w    [oc][ic]
 *   bias [oc]      optional
 *   y    [n][oc]
 *
 * Operands: in = x, w, bias; out = y. Included by C, CUDA and Metal. */
#ifndef TW_OPS_LINEAR_H
#define TW_OPS_LINEAR_H

typedef struct tw_linear {
    int n, ic, oc;
    int activation; /* TW_ACT_NONE 0, TW_ACT_RELU 1, TW_ACT_RELU6 2 */
    int has_bias;
} tw_linear;

#endif
