/* conv2d, naive on all threads: cpu_naive's loops, with the n * oc output planes handed out to threads. What it gains
 * over naive is the thread count and nothing else, which is the point of having it. */
#include "devices/cpu/cpu.h"
#include "ops/conv2d/plain.h"

static void planes(const void *context, size_t begin, size_t end, int thread)
{
    (void)thread;
    for (size_t plane = begin; plane < end; plane++) tw_conv2d_plain_plane(context, plane);
}

static tw_status run(const tw_step *step, tw_queue *queue)
{
    const tw_conv2d *p = step->problem->params;
    tw_parallel(queue, planes, step, (size_t)p->n * p->oc, 1);
    return TW_OK;
}

static bool supports(const tw_problem *problem, const tw_device *device, const char **reason)
{
    (void)device;
    return tw_conv2d_is_plain(problem, reason);
}

static double cost(const tw_problem *problem, const tw_device *device)
{
    int threads = tw_cpu_threads(device);
    return tw_cpu_seconds(device, problem->op->flops(problem->params), 0.012, tw_problem_bytes(problem), threads);
}

const tw_design TW_CPU_DESIGN(conv2d, naive_parallel) = {
    .op = "conv2d",
    .device = "cpu",
    .name = "naive_parallel",
    .summary = "naive's loops, output planes shared among threads",
    .supports = supports,
    .cost = cost,
    .run = run,
};
