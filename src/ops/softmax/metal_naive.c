/* softmax, naive on Metal: the record; metal_naive.metal says how. */
#include "ops/common/metal_record.h"
#include "ops/softmax/softmax.h"

enum { THREADS = 128 };

static const char *const kernels[TW_METAL_ENDS] = {"naive_f32", "naive_f16", "naive_f32_f16", "naive_f16_f32"};

static tw_status run(const tw_step *step, tw_queue *queue)
{
    const tw_softmax *p = step->problem->params;
    tw_metal_dispatch d = tw_metal_dispatch_of(step, "softmax/metal_naive", kernels[tw_metal_ends(step->problem)]);
    tw_metal_over(&d, (size_t)p->n * (size_t)p->h * (size_t)p->w * THREADS, THREADS);
    tw_metal_bind_operand(&d, step, 0);
    tw_metal_bind_operand(&d, step, 1);
    return tw_metal_launch(queue, &d);
}

static double cost(const tw_problem *problem, const tw_device *device)
{
    return tw_metal_seconds(device, 0, 3 * tw_problem_traffic(problem), 1) + 3e-6; /* 16 barriers */
}

const tw_design tw_softmax_metal_naive = {
    .op = "softmax",
    .device = "metal",
    .name = "naive",
    .summary = "a threadgroup for each pixel, three passes over its channels",
    .precisions = TW_METAL_PRECISIONS,
    .in_place = true,
    .supports = tw_metal_plain,
    .cost = cost,
    .run = run,
};
