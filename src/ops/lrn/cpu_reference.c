/* lrn, the truth: the definition as loops, in double. */
#include "devices/cpu/cpu.h"
#include "ops/common/dims.h"
#include "ops/lrn/lrn.h"

#include <math.h>

static tw_status run(const tw_step *step, tw_queue *queue)
{
    (void)queue;
    const tw_lrn *p = step->problem->params;
    size_t pixels = (size_t)p->h * (size_t)p->w;
    for (int n = 0; n < p->n; n++)
        for (int c = 0; c < p->c; c++)
            for (size_t pixel = 0; pixel < pixels; pixel++) {
                const float *x = (const float *)step->in[0] + (size_t)n * p->c * pixels + pixel;
                float *y = (float *)step->out + (size_t)n * p->c * pixels + pixel;
                int first = c - p->size / 2, last = c + (p->size - 1) / 2;
                double sum = 0;
                for (int j = first < 0 ? 0 : first; j <= last && j < p->c; j++)
                    sum += (double)x[j * pixels] * (double)x[j * pixels];
                double base = (double)p->k + (double)p->alpha / p->size * sum;
                y[c * pixels] = (float)((double)x[c * pixels] / pow(base, (double)p->beta));
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

const tw_design TW_CPU_DESIGN(lrn, reference) = {
    .op = "lrn",
    .device = "cpu",
    .name = "reference",
    .summary = "the definition as loops, in double",
    .supports = supports,
    .cost = cost,
    .run = run,
};
