/* pool, vectorised on Metal: the record; metal_vectorised.metal says how. */
#include "ops/common/metal_record.h"
#include "ops/pool/pool.h"

enum { ROWS = 4 }; /* of a thread */

static const char *const kernels[TW_METAL_ENDS] = {"vectorised_f32", "vectorised_f16", "vectorised_f32_f16",
                                                   "vectorised_f16_f32"};

static tw_status run(const tw_step *step, tw_queue *queue)
{
    const tw_pool *p = step->problem->params;
    tw_metal_dispatch d = tw_metal_dispatch_of(step, "pool/metal_vectorised", kernels[tw_metal_ends(step->problem)]);
    tw_metal_over(&d, (size_t)p->n * (size_t)p->c * tw_metal_ceil((size_t)p->oh, ROWS) * (size_t)p->ow, 256);
    tw_metal_bind_operand(&d, step, 0);
    tw_metal_bind_operand(&d, step, 1);
    return tw_metal_launch(queue, &d);
}

static bool supports(const tw_problem *problem, const tw_device *device, const char **reason)
{
    const tw_pool *p = problem->params;
    if (!tw_metal_plain(problem, device, reason)) return false;
    *reason = "needs a dense window, not an adaptive average";
    return p->kind != TW_POOL_ADAPTIVE_AVERAGE && p->dilh == 1 && p->dilw == 1;
}

const tw_design tw_pool_metal_vectorised = {
    .op = "pool",
    .device = "metal",
    .name = "vectorised",
    .summary = "four outputs below each other a thread",
    .precisions = TW_METAL_PRECISIONS,
    .supports = supports,
    .cost = tw_metal_vectorised_traffic,
    .run = run,
};
