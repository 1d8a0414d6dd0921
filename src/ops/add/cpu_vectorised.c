/* add, a register of elements at a time, in whatever order the layout has them (padded channels: 0 + 0). Bound by memory:
 * two reads and a write an element, so plans fuse it into a convolution as its residual wherever they can. */
#include "ops/add/add.h"
#include "ops/common/dims.h"
#include "ops/common/lanes.h"

enum { GRAIN = 24 << 10 }; /* elements: 96 KiB of each tensor */

typedef struct job {
    const float *a, *b;
    float *y;
    float low, high; /* of the activation */
} job;

/* items are elements */
static void add_elements(const void *context, size_t begin, size_t end, int thread)
{
    (void)thread;
    const job *j = context;
    lanes low = lanes_all(j->low), high = lanes_all(j->high);
    size_t i = begin;
    for (; i + TW_LANES <= end; i += TW_LANES)
        lanes_store(j->y + i, lanes_clip(lanes_load(j->a + i) + lanes_load(j->b + i), low, high));
    size_t left = end - i;
    if (!left) return;
    lanes sum = lanes_load_part(j->a + i, left, 0) + lanes_load_part(j->b + i, left, 0);
    lanes_store_part(j->y + i, lanes_clip(sum, low, high), left);
}

static tw_status run(const tw_step *step, tw_queue *queue)
{
    const tw_add *p = step->problem->params;
    job j = {step->in[0], step->in[1], step->out, p->activation == TW_ACT_NONE ? -INFINITY : 0,
             p->activation == TW_ACT_RELU6 ? 6 : INFINITY};
    tw_parallel(queue, add_elements, &j, tw_problem_elements(step->problem, 0), GRAIN);
    return TW_OK;
}

static bool supports(const tw_problem *problem, const tw_device *device, const char **reason)
{
    (void)device;
    *reason = "float32, plain or blocked, all three tensors alike";
    return tw_problem_in(problem, TW_PLAIN) || tw_problem_in(problem, TW_BLOCKED);
}

static double cost(const tw_problem *problem, const tw_device *device)
{
    return tw_cpu_seconds(device, problem->op->flops(problem->params), 0.2, tw_problem_traffic(problem),
                          tw_cpu_threads(device));
}

const tw_design TW_CPU_DESIGN(add, vectorised) = {
    .op = "add",
    .device = "cpu",
    .name = "vectorised",
    .summary = "a register of elements at a time, in the layout that is there",
    .in_place = true,
    .supports = supports,
    .cost = cost,
    .run = run,
};
