/* relu and clip, the truth: the definition as a loop. */
#include "devices/cpu/cpu.h"
#include "ops/activation/activation.h"
#include "ops/common/dims.h"

static tw_status run(const tw_step *step, tw_queue *queue)
{
    (void)queue;
    const tw_clip *p = step->problem->params;
    const float *x = step->in[0];
    float *y = step->out;
    size_t count = tw_problem_elements(step->problem, 0);
    for (size_t i = 0; i < count; i++) y[i] = x[i] < p->low ? p->low : x[i] > p->high ? p->high : x[i];
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

const tw_design TW_CPU_DESIGN(relu, reference) = {
    .op = "relu",
    .device = "cpu",
    .name = "reference",
    .summary = "the definition as a loop",
    .in_place = true,
    .supports = supports,
    .cost = cost,
    .run = run,
};

const tw_design TW_CPU_DESIGN(clip, reference) = {
    .op = "clip",
    .device = "cpu",
    .name = "reference",
    .summary = "the definition as a loop",
    .in_place = true,
    .supports = supports,
    .cost = cost,
    .run = run,
};
