/* linear, the naive loops shared by all threads: each output is still one chain of additions, outputs are handed out
 * in runs of consecutive ones. What threads alone give, before anything else is improved. */
#include "devices/cpu/cpu.h"
#include "ops/linear/linear.h"

/* Outputs [begin, end) of y [n][oc] in memory order. */
static void outputs(const void *context, size_t begin, size_t end, int thread)
{
    (void)thread;
    const tw_step *step = context;
    const tw_linear *p = step->problem->params;
    const float *bias = step->in[2];
    float *y = step->out;
    for (size_t i = begin; i < end; i++) {
        size_t n = i / (size_t)p->oc, oc = i % (size_t)p->oc;
        const float *x = (const float *)step->in[0] + n * (size_t)p->ic;
        const float *w = (const float *)step->in[1] + oc * (size_t)p->ic;
        float sum = bias ? bias[oc] : 0;
        for (int ic = 0; ic < p->ic; ic++) sum += x[ic] * w[ic];
        if (p->activation != TW_ACT_NONE && sum < 0) sum = 0;
        if (p->activation == TW_ACT_RELU6 && sum > 6) sum = 6;
        y[i] = sum;
    }
}

static tw_status run(const tw_step *step, tw_queue *queue)
{
    const tw_linear *p = step->problem->params;
    tw_parallel(queue, outputs, step, (size_t)p->n * (size_t)p->oc, 1);
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
    return tw_cpu_seconds(device, problem->op->flops(problem->params), 0.014, tw_problem_bytes(problem),
                          tw_cpu_threads(device));
}

const tw_design TW_CPU_DESIGN(linear, naive_parallel) = {
    .op = "linear",
    .device = "cpu",
    .name = "naive_parallel",
    .summary = "the plain loops, outputs shared by all threads",
    .tolerance = 1e-4, /* one float32 chain over all inputs */
    .supports = supports,
    .cost = cost,
    .run = run,
};
