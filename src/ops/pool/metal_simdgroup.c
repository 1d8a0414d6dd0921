/* pool, simdgroup on Metal: the record; metal_simdgroup.metal says how. */
#include "ops/common/metal_record.h"
#include "ops/pool/pool.h"

enum { PLANES = 8 }; /* of a threadgroup */

static const char *const kernels[TW_METAL_ENDS] = {"average_f32", "average_f16", "average_f32_f16", "average_f16_f32"};

static tw_status run(const tw_step *step, tw_queue *queue)
{
    const tw_pool *p = step->problem->params;
    tw_metal_dispatch d = tw_metal_dispatch_of(step, "pool/metal_simdgroup", kernels[tw_metal_ends(step->problem)]);
    tw_metal_over(&d, 32 * tw_metal_ceil((size_t)p->n * (size_t)p->c, PLANES), 32);
    d.threads[1] = PLANES;
    tw_metal_bind_operand(&d, step, 0);
    tw_metal_bind_operand(&d, step, 1);
    return tw_metal_launch(queue, &d);
}

static bool supports(const tw_problem *problem, const tw_device *device, const char **reason)
{
    const tw_pool *p = problem->params;
    if (!tw_metal_plain(problem, device, reason)) return false;
    *reason = "needs the average of whole planes";
    if (p->kind != TW_POOL_ADAPTIVE_AVERAGE || p->oh != 1 || p->ow != 1) return false;
    return tw_metal_from(device, 7, reason);
}

const tw_design tw_pool_metal_simdgroup = {
    .op = "pool",
    .device = "metal",
    .name = "simdgroup",
    .summary = "a simdgroup averages a whole plane",
    .precisions = TW_METAL_PRECISIONS,
    .supports = supports,
    .cost = tw_metal_vectorised_traffic,
    .run = run,
};
