/* conv2d, the truth: the definition as loops, summed in double. Every other design is checked against this one.
 * Read it to learn what conv2d is; never to learn how to make it fast. */
#include "devices/cpu/cpu.h"
#include "ops/conv2d/conv2d.h"

/* Where one output stands. */
typedef struct output {
    int n, oc, oy, ox;
} output;

static double activate(double v, int activation)
{
    if (activation == TW_ACT_NONE) return v;
    if (v < 0) return 0;
    return activation == TW_ACT_RELU6 && v > 6 ? 6 : v; /* NaN passes through */
}

/* The sum over one window, before bias, residual and activation. */
static double window_sum(const tw_conv2d *p, const float *x, const float *w, output at)
{
    int icg = p->ic / p->groups, first = at.oc / (p->oc / p->groups) * icg;
    double sum = 0;
    for (int c = 0; c < icg; c++)
        for (int ky = 0; ky < p->kh; ky++)
            for (int kx = 0; kx < p->kw; kx++) {
                int iy = at.oy * p->sh - p->pt + ky * p->dilh;
                int ix = at.ox * p->sw - p->pl + kx * p->dilw;
                if (iy < 0 || iy >= p->ih || ix < 0 || ix >= p->iw) continue; /* zero padding */
                size_t xi = (((size_t)at.n * p->ic + first + c) * p->ih + iy) * p->iw + ix;
                size_t wi = (((size_t)at.oc * icg + c) * p->kh + ky) * p->kw + kx;
                sum += (double)x[xi] * w[wi];
            }
    return sum;
}

static tw_status run(const tw_step *step, tw_queue *queue)
{
    const tw_conv2d *p = step->problem->params;
    const float *x = step->in[0], *w = step->in[1], *bias = step->in[2], *residual = step->in[3];
    float *y = step->out;
    size_t i = 0;
    (void)queue;
    for (int n = 0; n < p->n; n++)
        for (int oc = 0; oc < p->oc; oc++)
            for (int oy = 0; oy < p->oh; oy++)
                for (int ox = 0; ox < p->ow; ox++, i++) {
                    double v = window_sum(p, x, w, (output){n, oc, oy, ox});
                    if (p->has_bias) v += bias[oc];
                    if (p->has_residual) v += residual[i];
                    y[i] = (float)activate(v, p->activation);
                }
    return TW_OK;
}

static bool supports(const tw_problem *problem, const tw_device *device, const char **reason)
{
    (void)device;
    *reason = "reads and writes float32 in the plain layout only";
    return problem->in[0].dtype == TW_F32 && problem->in[0].layout == TW_PLAIN && problem->out.layout == TW_PLAIN;
}

static double cost(const tw_problem *problem, const tw_device *device)
{
    return tw_cpu_seconds(device, problem->op->flops(problem->params), 0.006, tw_problem_bytes(problem), 1);
}

const tw_design TW_CPU_DESIGN(conv2d, reference) = {
    .op = "conv2d",
    .device = "cpu",
    .name = "reference",
    .summary = "the definition as loops, summed in double on one thread",
    .supports = supports,
    .cost = cost,
    .run = run,
};
