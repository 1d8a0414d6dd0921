/* linear, naive on Metal: the record; metal_naive.metal says how. */
#include "ops/common/metal_record.h"
#include "ops/linear/linear.h"

static const char *const kernels[TW_METAL_ENDS] = {"naive_f32", "naive_f16", "naive_f32_f16", "naive_f16_f32"};

static tw_status run(const tw_step *step, tw_queue *queue)
{
    const tw_problem *problem = step->problem;
    tw_metal_dispatch d = tw_metal_dispatch_of(step, "linear/metal_naive", kernels[tw_metal_ends(problem)]);
    tw_metal_over(&d, tw_problem_elements(problem, problem->n_in), 256);
    tw_metal_bind_operand(&d, step, 0);
    tw_metal_bind_weights(&d, step, tw_metal_narrowed_bytes(problem, NULL));
    tw_metal_bind_operand(&d, step, 2);
    tw_metal_bind_operand(&d, step, problem->n_in);
    return tw_metal_launch(queue, &d);
}

static double cost(const tw_problem *problem, const tw_device *device)
{
    const tw_linear *p = problem->params;
    const double threads = (double)p->n * p->oc;
    return tw_metal_seconds(device, tw_metal_arithmetic(device, problem->op->flops(p), 0.03, threads),
                            3 * tw_problem_bytes(problem), 1) +
           p->ic * 5e-9; /* of a thread, one behind the other */
}

const tw_design tw_linear_metal_naive = {
    .op = "linear",
    .device = "metal",
    .name = "naive",
    .summary = "one thread an output, nothing staged",
    .precisions = TW_METAL_PRECISIONS,
    .supports = tw_metal_plain_weights,
    .packed_bytes = tw_metal_narrowed_bytes,
    .pack = tw_metal_narrow,
    .cost = cost,
    .run = run,
};
