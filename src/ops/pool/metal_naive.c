/* pool, naive on Metal: the record; metal_naive.metal says how. */
#include "ops/common/metal_record.h"
#include "ops/pool/pool.h"

static const char *const kernels[TW_METAL_ENDS] = {"naive_f32", "naive_f16", "naive_f32_f16", "naive_f16_f32"};

static tw_status run(const tw_step *step, tw_queue *queue)
{
    tw_metal_dispatch d = tw_metal_dispatch_of(step, "pool/metal_naive", kernels[tw_metal_ends(step->problem)]);
    tw_metal_over(&d, tw_problem_elements(step->problem, 1), 256);
    tw_metal_bind_operand(&d, step, 0);
    tw_metal_bind_operand(&d, step, 1);
    return tw_metal_launch(queue, &d);
}

/* A thread with a large window to itself waits for every read of it. */
static double cost(const tw_problem *problem, const tw_device *device)
{
    const tw_pool *p = problem->params;
    const bool adaptive = p->kind == TW_POOL_ADAPTIVE_AVERAGE;
    const double window = adaptive ? (double)p->ih / p->oh * p->iw / p->ow : (double)p->kh * p->kw;
    return tw_metal_naive_traffic(problem, device) + window * 20e-9;
}

const tw_design tw_pool_metal_naive = {
    .op = "pool",
    .device = "metal",
    .name = "naive",
    .summary = "one thread an output",
    .precisions = TW_METAL_PRECISIONS,
    .supports = tw_metal_plain,
    .cost = cost,
    .run = run,
};
