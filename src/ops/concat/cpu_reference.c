/* concat, the truth: each element of the output from its place in its part. */
#include "devices/cpu/cpu.h"
#include "ops/common/dims.h"
#include "ops/concat/concat.h"

static tw_status run(const tw_step *step, tw_queue *queue)
{
    (void)queue;
    const tw_concat *p = step->problem->params;
    float *y = step->out;
    size_t pixels = (size_t)p->h * p->w;
    for (int n = 0; n < p->n; n++)
        for (int part = 0; part < p->count; part++)
            for (int c = 0; c < p->c[part]; c++)
                for (size_t pixel = 0; pixel < pixels; pixel++) {
                    const float *x = step->in[part];
                    *y++ = x[((size_t)n * p->c[part] + c) * pixels + pixel];
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
    return tw_cpu_seconds(device, (double)tw_problem_elements(problem, problem->n_in), 0.005,
                          tw_problem_traffic(problem), 1);
}

const tw_design TW_CPU_DESIGN(concat, reference) = {
    .op = "concat",
    .device = "cpu",
    .name = "reference",
    .summary = "the definition as loops",
    .supports = supports,
    .cost = cost,
    .run = run,
};
