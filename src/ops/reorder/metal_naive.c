/* reorder, naive on Metal: the record; metal_naive.metal says how. */
#include "ops/common/metal_record.h"

static const char *const kernels[TW_METAL_ENDS] = {"naive_f32", "naive_f16", "naive_f32_f16", "naive_f16_f32"};

static tw_status run(const tw_step *step, tw_queue *queue)
{
    const tw_problem *problem = step->problem;
    const tw_layout from = problem->in[0].layout, to = problem->out.layout;
    tw_metal_dispatch d = tw_metal_dispatch_of(step, "reorder/metal_naive", kernels[tw_metal_ends(problem)]);
    tw_metal_over(&d, tw_problem_elements(problem, 0), 256);
    tw_metal_set(&d, "TO_LAST", from == to ? 0 : to == TW_NHWC ? 1 : 2);
    tw_metal_bind_operand(&d, step, 0);
    tw_metal_bind_operand(&d, step, 1);
    return tw_metal_launch(queue, &d);
}

static bool supports(const tw_problem *problem, const tw_device *device, const char **reason)
{
    tw_problem plain = *problem; /* types and counts; layouts are looked at here */
    plain.in[0].layout = plain.out.layout = TW_PLAIN;
    if (!tw_metal_plain(&plain, device, reason)) return false;
    *reason = "knows the plain and the channels-last layout";
    if (problem->in[0].layout == TW_BLOCKED || problem->out.layout == TW_BLOCKED) return false;
    *reason = "nothing to change";
    return problem->in[0].layout != problem->out.layout || problem->in[0].dtype != problem->out.dtype;
}

static double cost(const tw_problem *problem, const tw_device *device)
{
    const double again = problem->in[0].layout == problem->out.layout ? 1.2 : 2;
    return tw_metal_seconds(device, 0, again * tw_problem_traffic(problem), 1);
}

const tw_design tw_reorder_metal_naive = {
    .op = "reorder",
    .device = "metal",
    .name = "naive",
    .summary = "one thread an element, layouts and element types changed on the way",
    .precisions = TW_METAL_PRECISIONS,
    .supports = supports,
    .cost = cost,
    .run = run,
};
