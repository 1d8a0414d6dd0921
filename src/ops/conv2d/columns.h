/* The columns of im2col, which cpu_im2col_gemm and cpu_openblas share: row k = (input channel, ky, kx), one column an
 * output pixel, holding the input under that tap of the pixel's window or a zero of the padding. */
#ifndef TW_OPS_CONV2D_COLUMNS_H
#define TW_OPS_CONV2D_COLUMNS_H

#include "ops/conv2d/conv2d.h"

#include <stddef.h>
#include <string.h>

typedef struct tw_columns {
    const tw_conv2d *p;
    const float *image; /* the group's channels of one image: [ic / groups][ih][iw] */
} tw_columns;

/* `count` columns of one output row, from input column x on, which may lie outside. */
static inline void tw_columns_copy(const tw_conv2d *p, const float *row, int x, int count, float *to)
{
    int i = 0;
    for (; i < count && x < 0; i++, x += p->sw) to[i] = 0;
    if (p->sw == 1 && i < count && x < p->iw) {
        int inside = count - i < p->iw - x ? count - i : p->iw - x;
        memcpy(to + i, row + x, (size_t)inside * sizeof *to);
        i += inside;
        x += inside;
    }
    for (; i < count && x < p->iw; i++, x += p->sw) to[i] = row[x];
    for (; i < count; i++) to[i] = 0;
}

/* The pixels [first, first + count) of row k, into to[count]. */
static inline void tw_columns_write(const tw_columns *columns, int k, int first, int count, float *to)
{
    const tw_conv2d *p = columns->p;
    int kx = k % p->kw, ky = k / p->kw % p->kh, oy = first / p->ow, ox = first % p->ow;
    const float *channel = columns->image + (size_t)(k / (p->kh * p->kw)) * (size_t)p->ih * (size_t)p->iw;
    for (; count > 0; oy++, ox = 0) {
        int run = count < p->ow - ox ? count : p->ow - ox, iy = oy * p->sh - p->pt + ky * p->dilh;
        if (iy < 0 || iy >= p->ih)
            memset(to, 0, (size_t)run * sizeof *to);
        else
            tw_columns_copy(p, channel + (size_t)iy * (size_t)p->iw, ox * p->sw - p->pl + kx * p->dilw, run, to);
        to += run;
        count -= run;
    }
}

#endif
