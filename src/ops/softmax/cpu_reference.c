/* softmax, the truth: the definition as loops, in double. */
#include "devices/cpu/cpu.h"
#include "ops/common/dims.h"
#include "ops/softmax/softmax.h"

#include <math.h>

static tw_status run(const tw_step *step, tw_queue *queue)
{
    (void)queue;
    const tw_softmax *p = step->problem->params;
    size_t channels = (size_t)p->c, pixels = (size_t)p->h * (size_t)p->w;
    for (size_t i = 0; i < (size_t)p->n * pixels; i++) {
        size_t first = i / pixels * channels * pixels + i % pixels; /* of this pixel's channels */
        const float *x = (const float *)step->in[0] + first;
        float *y = (float *)step->out + first;
        double largest = -INFINITY, sum = 0;
        for (size_t c = 0; c < channels; c++)
            if ((double)x[c * pixels] > largest) largest = (double)x[c * pixels];
        for (size_t c = 0; c < channels; c++) sum += exp((double)x[c * pixels] - largest);
        for (size_t c = 0; c < channels; c++) y[c * pixels] = (float)(exp((double)x[c * pixels] - largest) / sum);
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
    return tw_cpu_seconds(device, problem->op->flops(problem->params), 0.001, tw_problem_traffic(problem), 1);
}

const tw_design TW_CPU_DESIGN(softmax, reference) = {
    .op = "softmax",
    .device = "cpu",
    .name = "reference",
    .summary = "the definition as loops, in double",
    .in_place = true,
    .supports = supports,
    .cost = cost,
    .run = run,
};
