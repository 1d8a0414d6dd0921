/* conv2d: y = activation(x * w + bias + residual), cross-correlation as in every framework.
 *
 *   x        [n][ic][ih][iw]
 *   w        [oc][ic / groups][kh][kw]
 *   bias     [oc]                        optional
 *   residual [n][oc][oh][ow]             optional
 *   y        [n][oc][oh][ow]
 *
 * Operands: in = x, w, bias, residual; out = y. Included by C, CUDA and Metal: 32-bit ints and floats only, no pointers.
 * Names follow benchdnn's problem descriptors, except that a dense kernel has dilation 1 (benchdnn writes 0). */
#ifndef TW_OPS_CONV2D_H
#define TW_OPS_CONV2D_H

typedef struct tw_conv2d {
    int n, groups;
    int ic, ih, iw;     /* input channels, height, width */
    int oc, oh, ow;     /* output; oh and ow follow from the rest */
    int kh, kw;         /* kernel */
    int sh, sw;         /* stride */
    int pt, pl, pb, pr; /* zeros above, left, below, right */
    int dilh, dilw;     /* dilation: 1 is dense */
    int activation;     /* TW_ACT_NONE 0, TW_ACT_RELU 1, TW_ACT_RELU6 2 */
    int has_bias, has_residual;
} tw_conv2d;

#endif
