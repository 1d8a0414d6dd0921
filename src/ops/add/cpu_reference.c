/* add, the truth: the definition as a loop, in double. */
#include "devices/cpu/cpu.h"
#include "ops/add/add.h"
#include "ops/common/dims.h"

static double activate(double v, int activation)
{
    if (activation == TW_ACT_NONE) return v;
    if (v < 0) return 0;
    return activation == TW_ACT_RELU6 && v > 6 ? 6 : v; /* NaN passes through */
}

static tw_status run(const tw_step *step, tw_queue *queue)
{
    (void)queue;
    const tw_add *p = step->problem->params;
    const float *a = step->in[0], *b = step->in[1];
    float *y = step->out;
    size_t count = tw_problem_elements(step->problem, 0);
    for (size_t i = 0; i < count; i++) y[i] = (float)activate((double)a[i] + (double)b[i], p->activation);
    return TW_OK;
}

static bool supports(const tw_problem *problem, const tw_device *device, const char **reason)
{
    (void)device;
    *reason = "reads and writes plain float32 only";
    return tw_problem_in(problem, TW_PLAIN);
}

static double cost(const tw_problem *problem, const tw_device *device)
{
    return tw_cpu_seconds(device, problem->op->flops(problem->params), 0.005, tw_problem_traffic(problem), 1);
}

const tw_design TW_CPU_DESIGN(add, reference) = {
    .op = "add",
    .device = "cpu",
    .name = "reference",
    .summary = "the definition as a loop, in double",
    .in_place = true,
    .supports = supports,
    .cost = cost,
    .run = run,
};
