/* pool: the maximum or the average of each window of each channel's plane.
 *
 *   x [n][c][ih][iw]  ->  y [n][c][oh][ow]
 *
 * kind max: padding is -infinity, NaN wins. Average: the divisor is the window's size with its zero padding
 * (count_include_pad; what ceil_mode adds beyond the padding never counts, as in PyTorch) or the number of elements
 * inside the image. Adaptive average (PyTorch's AdaptiveAvgPool2d): output o covers [floor(o * i / O), ceil((o + 1) *
 * i / O)); with an output of 1 x 1 it is global average pooling. Included by C, CUDA and Metal. */
#ifndef TW_OPS_POOL_H
#define TW_OPS_POOL_H

typedef struct tw_pool {
    int kind; /* TW_POOL_MAX 0, TW_POOL_AVERAGE 1, TW_POOL_ADAPTIVE_AVERAGE 2 */
    int n, c, ih, iw, oh, ow;
    int kh, kw, sh, sw;
    int pt, pl, pb, pr;
    int dilh, dilw;
    int ceil_mode, count_include_pad;
} tw_pool;

#endif
