/* The loops that cpu_naive and cpu_naive_parallel share: planes of outputs in the plain layout, in float32, one output
 * at a time. Neither blocks, packs nor vectorises by hand; what the compiler makes of the inner loop is theirs. */
#ifndef TW_OPS_CONV2D_PLAIN_H
#define TW_OPS_CONV2D_PLAIN_H

#include "core/design.h"
#include "ops/conv2d/conv2d.h"

static inline float tw_conv2d_plain_output(const tw_conv2d *p, const float *x, const float *w, int oy, int ox)
{
    float sum = 0;
    for (int c = 0; c < p->ic / p->groups; c++)
        for (int ky = 0; ky < p->kh; ky++) {
            int iy = oy * p->sh - p->pt + ky * p->dilh;
            if (iy < 0 || iy >= p->ih) continue;
            const float *row = x + ((size_t)c * p->ih + iy) * p->iw;
            const float *weights = w + ((size_t)c * p->kh + ky) * p->kw;
            for (int kx = 0; kx < p->kw; kx++) {
                int ix = ox * p->sw - p->pl + kx * p->dilw;
                if (ix >= 0 && ix < p->iw) sum += row[ix] * weights[kx];
            }
        }
    return sum;
}

/* The oh x ow outputs of one image and channel; plane = n * oc + channel. */
static inline void tw_conv2d_plain_plane(const tw_step *step, size_t plane)
{
    const tw_conv2d *p = step->problem->params;
    const float *bias = step->in[2], *residual = step->in[3];
    int oc = (int)(plane % (size_t)p->oc), icg = p->ic / p->groups;
    size_t n = plane / (size_t)p->oc, first = (size_t)(oc / (p->oc / p->groups)) * icg;
    const float *x = (const float *)step->in[0] + (n * p->ic + first) * p->ih * p->iw; /* [icg][ih][iw] */
    const float *w = (const float *)step->in[1] + (size_t)oc * icg * p->kh * p->kw;    /* [icg][kh][kw] */
    size_t at = plane * p->oh * p->ow;
    for (int oy = 0; oy < p->oh; oy++)
        for (int ox = 0; ox < p->ow; ox++, at++) {
            float v = tw_conv2d_plain_output(p, x, w, oy, ox);
            if (p->has_bias) v += bias[oc];
            if (p->has_residual) v += residual[at];
            if (p->activation != TW_ACT_NONE && v < 0) v = 0;
            if (p->activation == TW_ACT_RELU6 && v > 6) v = 6;
            ((float *)step->out)[at] = v;
        }
}

static inline bool tw_conv2d_is_plain(const tw_problem *problem, const char **reason)
{
    *reason = "reads and writes float32 in the plain layout only";
    return problem->in[0].dtype == TW_F32 && problem->in[0].layout == TW_PLAIN && problem->out.layout == TW_PLAIN;
}

#endif
