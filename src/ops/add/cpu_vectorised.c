/* add, sixteen elements at a time, in whatever order the layout has them (padded channels: 0 + 0). Bound by memory:
 * two reads and a write an element, so plans fuse it into a convolution as its residual wherever they can. */
#include "devices/cpu/simd.h"
#include "ops/add/add.h"
#include "ops/common/dims.h"

#include <math.h>

enum { GRAIN = 1536 }; /* vectors: 96 KiB of each tensor */

typedef struct job {
    const float *a, *b;
    float *y;
    float low, high; /* of the activation */
} job;

/* items are vectors of 16 elements */
static void add_vectors(const void *context, size_t begin, size_t end, int thread)
{
    (void)thread;
    const job *j = context;
    v16 low = v16_all(j->low), high = v16_all(j->high);
    for (size_t i = begin; i < end; i++) {
        v16 sum = v16_load(j->a + 16 * i) + v16_load(j->b + 16 * i);
        v16_store(j->y + 16 * i, v16_min(v16_max(sum, low), high));
    }
}

static tw_status run(const tw_step *step, tw_queue *queue)
{
    const tw_add *p = step->problem->params;
    job j = {step->in[0], step->in[1], step->out, p->activation == TW_ACT_NONE ? -INFINITY : 0,
             p->activation == TW_ACT_RELU6 ? 6 : INFINITY};
    size_t count = tw_problem_elements(step->problem, 0), vectors = count / 16;
    tw_parallel(queue, add_vectors, &j, vectors, GRAIN);
    for (size_t i = vectors * 16; i < count; i++) {
        float sum = j.a[i] + j.b[i];
        j.y[i] = sum < j.low ? j.low : sum > j.high ? j.high : sum;
    }
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
    .summary = "sixteen elements at a time, in the layout that is there",
    .in_place = true,
    .supports = supports,
    .cost = cost,
    .run = run,
};
