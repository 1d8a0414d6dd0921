/* conv2d, naive: the study's sequential baseline. One thread computes one output after the other in float32; the
 * window is walked channel by channel, so each row of it is a few consecutive floats and nothing is kept in registers
 * but the sum. 2 loads, 4 comparisons and one multiply-add an iteration, each add waiting for the one before: some 1
 * to 2 % of the core's peak. */
#include "devices/cpu/cpu.h"
#include "ops/conv2d/plain.h"

static tw_status run(const tw_step *step, tw_queue *queue)
{
    const tw_conv2d *p = step->problem->params;
    (void)queue;
    for (size_t plane = 0; plane < (size_t)p->n * p->oc; plane++) tw_conv2d_plain_plane(step, plane);
    return TW_OK;
}

static bool supports(const tw_problem *problem, const tw_device *device, const char **reason)
{
    (void)device;
    return tw_conv2d_is_plain(problem, reason);
}

static double cost(const tw_problem *problem, const tw_device *device)
{
    return tw_cpu_seconds(device, problem->op->flops(problem->params), 0.012, tw_problem_bytes(problem), 1);
}

const tw_design TW_CPU_DESIGN(conv2d, naive) = {
    .op = "conv2d",
    .device = "cpu",
    .name = "naive",
    .summary = "the definition as loops in float32 on one thread: the sequential baseline",
    .supports = supports,
    .cost = cost,
    .run = run,
};
