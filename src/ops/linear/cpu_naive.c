/* linear, naive on the CPU: one thread, float32, three plain loops. The sequential baseline of the study: what a
 * course's first version does. The inner sum is one chain of dependent additions, so it runs at one multiply-add per
 * latency of the adder, whatever the instruction set. */
#include "devices/cpu/cpu.h"
#include "ops/linear/linear.h"

static tw_status run(const tw_step *step, tw_queue *queue)
{
    (void)queue;
    const tw_linear *p = step->problem->params;
    const float *x = step->in[0], *w = step->in[1], *bias = step->in[2];
    float *y = step->out;
    for (int n = 0; n < p->n; n++)
        for (int oc = 0; oc < p->oc; oc++) {
            float sum = bias ? bias[oc] : 0;
            for (int ic = 0; ic < p->ic; ic++) sum += x[(size_t)n * p->ic + ic] * w[(size_t)oc * p->ic + ic];
            if (p->activation != TW_ACT_NONE && sum < 0) sum = 0;
            if (p->activation == TW_ACT_RELU6 && sum > 6) sum = 6;
            y[(size_t)n * p->oc + oc] = sum;
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
    return tw_cpu_seconds(device, problem->op->flops(problem->params), 0.014, tw_problem_bytes(problem), 1);
}

const tw_design TW_CPU_DESIGN(linear, naive) = {
    .op = "linear",
    .device = "cpu",
    .name = "naive",
    .summary = "three plain loops on one thread: the sequential baseline",
    .tolerance = 1e-4, /* one float32 chain over all inputs */
    .supports = supports,
    .cost = cost,
    .run = run,
};
