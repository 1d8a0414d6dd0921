/* lrn, vectorised on Metal: the record; metal_vectorised.metal says how. */
#include "ops/common/metal_record.h"
#include "ops/lrn/lrn.h"

static const char *const kernels[TW_METAL_ENDS] = {"vectorised_f32", "vectorised_f16", "vectorised_f32_f16",
                                                   "vectorised_f16_f32"};

static tw_status run(const tw_step *step, tw_queue *queue)
{
    tw_metal_dispatch d = tw_metal_dispatch_of(step, "lrn/metal_vectorised", kernels[tw_metal_ends(step->problem)]);
    tw_metal_over(&d, tw_problem_elements(step->problem, 0) / 4, 256);
    tw_metal_bind_operand(&d, step, 0);
    tw_metal_bind_operand(&d, step, 1);
    return tw_metal_launch(queue, &d);
}

static bool supports(const tw_problem *problem, const tw_device *device, const char **reason)
{
    const tw_lrn *p = problem->params;
    if (!tw_metal_plain(problem, device, reason)) return false;
    *reason = "needs planes of whole multiples of 4 pixels";
    return (size_t)p->h * (size_t)p->w % 4 == 0;
}

const tw_design tw_lrn_metal_vectorised = {
    .op = "lrn",
    .device = "metal",
    .name = "vectorised",
    .summary = "four pixels a thread",
    .precisions = TW_METAL_PRECISIONS,
    .supports = supports,
    .cost = tw_metal_vectorised_traffic,
    .run = run,
};
