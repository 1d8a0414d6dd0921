/* concat, naive on Metal: the record; metal_naive.metal says how. */
#include "ops/common/metal_record.h"
#include "ops/concat/concat.h"
#include "ops/concat/metal_part.h"

static const char *const kernels[TW_METAL_ENDS] = {"naive_f32", "naive_f16", "naive_f32_f16", "naive_f16_f32"};

static tw_status run(const tw_step *step, tw_queue *queue)
{
    const tw_concat *p = step->problem->params;
    const int pixels = p->h * p->w;
    tw_concat_part part = {.n = p->n, .total = p->oc * pixels};
    tw_status status = TW_OK;
    for (int i = 0; i < p->count && status == TW_OK; i++) {
        part.size = p->c[i] * pixels;
        tw_metal_dispatch d = tw_metal_dispatch_of(step, "concat/metal_naive", kernels[tw_metal_ends(step->problem)]);
        d.args = &part;
        d.args_bytes = sizeof part;
        tw_metal_over(&d, (size_t)part.n * (size_t)part.size, 256);
        tw_metal_bind_operand(&d, step, i);
        tw_metal_bind_operand(&d, step, step->problem->n_in);
        status = tw_metal_launch(queue, &d);
        part.offset += part.size;
    }
    return status;
}

static double cost(const tw_problem *problem, const tw_device *device)
{
    const tw_concat *p = problem->params;
    return tw_metal_seconds(device, 0, 1.2 * tw_problem_traffic(problem), p->count);
}

const tw_design tw_concat_metal_naive = {
    .op = "concat",
    .device = "metal",
    .name = "naive",
    .summary = "a copy kernel for each part",
    .precisions = TW_METAL_PRECISIONS,
    .supports = tw_metal_plain,
    .cost = cost,
    .run = run,
};
