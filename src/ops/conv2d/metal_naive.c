/* conv2d, naive on Metal: the record; metal_naive.metal says how. */
#include "ops/conv2d/metal_record.h"

static const char *const kernels[TW_METAL_ENDS] = {"naive_f32", "naive_f16", "naive_f32_f16", "naive_f16_f32"};

static tw_status run(const tw_step *step, tw_queue *queue)
{
    const tw_conv2d *p = step->problem->params;
    tw_metal_dispatch d = tw_metal_dispatch_of(step, "conv2d/metal_naive", kernels[tw_metal_ends(step->problem)]);
    tw_metal_over(&d, tw_conv2d_metal_outputs(p), 256);
    tw_conv2d_metal_bind(&d, step, tw_metal_narrowed_bytes(step->problem, NULL));
    return tw_metal_launch(queue, &d);
}

static double cost(const tw_problem *problem, const tw_device *device)
{
    const tw_conv2d *p = problem->params;
    const double terms = (double)p->kh * p->kw * (p->ic / p->groups); /* of a thread, one behind the other */
    const double threads = (double)tw_conv2d_metal_outputs(p);
    return tw_metal_seconds(device, tw_metal_arithmetic(device, problem->op->flops(p), 0.06, threads),
                            1.3 * tw_problem_bytes(problem), 1) +
           terms * 5e-9;
}

const tw_design tw_conv2d_metal_naive = {
    .op = "conv2d",
    .device = "metal",
    .name = "naive",
    .summary = "one thread an output, nothing staged: the study's first design",
    .precisions = TW_METAL_PRECISIONS,
    .supports = tw_metal_plain_weights,
    .packed_bytes = tw_metal_narrowed_bytes,
    .pack = tw_metal_narrow,
    .cost = cost,
    .run = run,
};
