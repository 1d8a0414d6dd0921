/* conv2d, depthwise on Metal: the record; metal_depthwise.metal says how. */
#include "ops/conv2d/metal_record.h"

enum { ROWS = 4 }; /* of a thread */

static const char *const kernels[TW_METAL_ENDS] = {"depthwise_f32", "depthwise_f16", "depthwise_f32_f16",
                                                   "depthwise_f16_f32"};

static size_t threads_of(const tw_conv2d *p)
{
    return (size_t)p->n * (size_t)p->oc * tw_metal_ceil((size_t)p->oh, ROWS) * (size_t)p->ow;
}

static tw_status run(const tw_step *step, tw_queue *queue)
{
    const tw_conv2d *p = step->problem->params;
    tw_metal_dispatch d = tw_metal_dispatch_of(step, "conv2d/metal_depthwise", kernels[tw_metal_ends(step->problem)]);
    const bool usual = p->kh == p->kw && (p->kh == 3 || p->kh == 5) && p->sh == p->sw && p->sh <= 2;
    tw_metal_set(&d, "WINDOW", usual ? p->kh : 0);
    tw_metal_set(&d, "STRIDE", usual ? p->sh : 0);
    tw_metal_over(&d, threads_of(p), 256);
    tw_conv2d_metal_bind(&d, step, tw_metal_narrowed_bytes(step->problem, NULL));
    return tw_metal_launch(queue, &d);
}

static bool supports(const tw_problem *problem, const tw_device *device, const char **reason)
{
    const tw_conv2d *p = problem->params;
    if (!tw_metal_plain_weights(problem, device, reason)) return false;
    *reason = "needs as many groups as input channels";
    if (p->groups != p->ic) return false;
    *reason = "needs a dense window";
    return p->dilh == 1 && p->dilw == 1;
}

static double cost(const tw_problem *problem, const tw_device *device)
{
    const double threads = (double)threads_of(problem->params);
    return tw_metal_seconds(device, tw_metal_arithmetic(device, problem->op->flops(problem->params), 0.2, threads),
                            1.1 * tw_problem_bytes(problem), 1);
}

const tw_design tw_conv2d_metal_depthwise = {
    .op = "conv2d",
    .device = "metal",
    .name = "depthwise",
    .summary = "one channel to one: four outputs below each other a thread",
    .precisions = TW_METAL_PRECISIONS,
    .supports = supports,
    .packed_bytes = tw_metal_narrowed_bytes,
    .pack = tw_metal_narrow,
    .cost = cost,
    .run = run,
};
