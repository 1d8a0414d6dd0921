/* batchnorm, the truth: the definition as loops, in double. */
#include "devices/cpu/cpu.h"
#include "ops/batchnorm/batchnorm.h"
#include "ops/common/dims.h"

#include <math.h>

static tw_status run(const tw_step *step, tw_queue *queue)
{
    (void)queue;
    const tw_batchnorm *p = step->problem->params;
    const float *x = step->in[0], *weight = step->in[1], *bias = step->in[2], *mean = step->in[3], *var = step->in[4];
    float *y = step->out;
    size_t i = 0, pixels = (size_t)p->h * p->w;
    for (int n = 0; n < p->n; n++)
        for (int c = 0; c < p->c; c++)
            for (size_t pixel = 0; pixel < pixels; pixel++, i++) {
                double normal = ((double)x[i] - (double)mean[c]) / sqrt((double)var[c] + (double)p->epsilon);
                y[i] = (float)(normal * (double)weight[c] + (double)bias[c]);
            }
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
    return tw_cpu_seconds(device, problem->op->flops(problem->params), 0.002, tw_problem_traffic(problem), 1);
}

const tw_design TW_CPU_DESIGN(batchnorm, reference) = {
    .op = "batchnorm",
    .device = "cpu",
    .name = "reference",
    .summary = "the definition as loops, in double",
    .in_place = true,
    .supports = supports,
    .cost = cost,
    .run = run,
};
