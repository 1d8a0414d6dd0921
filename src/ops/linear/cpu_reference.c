/* linear, the truth: the definition as loops, summed in double. Every other design is checked against this one. */
#include "devices/cpu/cpu.h"
#include "ops/linear/linear.h"

static double activate(double v, int activation)
{
    if (activation == TW_ACT_NONE) return v;
    if (v < 0) return 0;
    return activation == TW_ACT_RELU6 && v > 6 ? 6 : v; /* NaN passes through */
}

static tw_status run(const tw_step *step, tw_queue *queue)
{
    (void)queue;
    const tw_linear *p = step->problem->params;
    const float *x = step->in[0], *w = step->in[1], *bias = step->in[2];
    float *y = step->out;
    for (int n = 0; n < p->n; n++)
        for (int oc = 0; oc < p->oc; oc++) {
            double sum = bias ? (double)bias[oc] : 0;
            for (int ic = 0; ic < p->ic; ic++)
                sum += (double)x[(size_t)n * p->ic + ic] * (double)w[(size_t)oc * p->ic + ic];
            y[(size_t)n * p->oc + oc] = (float)activate(sum, p->activation);
        }
    return TW_OK;
}

static bool supports(const tw_problem *problem, const tw_device *device, const char **reason)
{
    (void)device;
    *reason = "reads and writes plain float32 only";
    return problem->out.dtype == TW_F32 && problem->in[0].layout == TW_PLAIN && problem->out.layout == TW_PLAIN;
}

static double cost(const tw_problem *problem, const tw_device *device)
{
    return tw_cpu_seconds(device, problem->op->flops(problem->params), 0.01, tw_problem_bytes(problem), 1);
}

const tw_design TW_CPU_DESIGN(linear, reference) = {
    .op = "linear",
    .device = "cpu",
    .name = "reference",
    .summary = "the definition as loops, summed in double",
    .supports = supports,
    .cost = cost,
    .run = run,
};
