/* linear, tiled on Metal: the record; metal_tiled.metal says how. */
#include "ops/common/metal_record.h"
#include "ops/linear/linear.h"

enum { TILE = 32, STEP = 16, THREADS = 64 }; /* as in metal_tiled.metal */

static const char *const kernels[TW_METAL_ENDS] = {"tiled_f32", "tiled_f16", "tiled_f32_f16", "tiled_f16_f32"};

static tw_status run(const tw_step *step, tw_queue *queue)
{
    const tw_problem *problem = step->problem;
    const tw_linear *p = problem->params;
    tw_metal_dispatch d = tw_metal_dispatch_of(step, "linear/metal_tiled", kernels[tw_metal_ends(problem)]);
    d.threadgroups[0] = (unsigned)tw_metal_ceil((size_t)p->oc, TILE);
    d.threadgroups[1] = (unsigned)tw_metal_ceil((size_t)p->n, TILE);
    d.threads[0] = THREADS;
    tw_metal_bind_operand(&d, step, 0);
    tw_metal_bind_weights(&d, step, tw_metal_narrowed_bytes(problem, NULL));
    tw_metal_bind_operand(&d, step, 2);
    tw_metal_bind_operand(&d, step, problem->n_in);
    return tw_metal_launch(queue, &d);
}

static double cost(const tw_problem *problem, const tw_device *device)
{
    const tw_linear *p = problem->params;
    const double down = (double)tw_metal_ceil((size_t)p->n, TILE), along = (double)tw_metal_ceil((size_t)p->oc, TILE);
    const double flops = 2 * down * along * TILE * TILE * p->ic, weights = (double)p->ic * p->oc;
    return tw_metal_seconds(device, tw_metal_arithmetic(device, flops, 0.25, down * along * THREADS),
                            tw_problem_traffic(problem) + down * weights * (double)tw_metal_weight_bytes(problem), 1) +
           p->ic * (0.5e-6 / STEP); /* a step's loads, and two barriers */
}

const tw_design tw_linear_metal_tiled = {
    .op = "linear",
    .device = "metal",
    .name = "tiled",
    .summary = "a matrix product on tiles of 32 x 32 outputs in threadgroup memory and registers",
    .precisions = TW_METAL_PRECISIONS,
    .supports = tw_metal_plain_weights,
    .packed_bytes = tw_metal_narrowed_bytes,
    .pack = tw_metal_narrow,
    .cost = cost,
    .run = run,
};
