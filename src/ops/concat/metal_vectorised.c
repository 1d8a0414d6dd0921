/* concat, vectorised on Metal: the record; metal_vectorised.metal says how. */
#include "ops/common/metal_record.h"
#include "ops/concat/concat.h"
#include "ops/concat/metal_part.h"

static const char *const kernels[TW_METAL_ENDS] = {"vectorised_f32", "vectorised_f16", "vectorised_f32_f16",
                                                   "vectorised_f16_f32"};

static tw_status run(const tw_step *step, tw_queue *queue)
{
    const tw_concat *p = step->problem->params;
    const int pixels = p->h * p->w;
    tw_concat_part part = {.n = p->n, .total = p->oc * pixels};
    tw_status status = TW_OK;
    for (int i = 0; i < p->count && status == TW_OK; i++) {
        part.size = p->c[i] * pixels;
        tw_metal_dispatch d =
            tw_metal_dispatch_of(step, "concat/metal_vectorised", kernels[tw_metal_ends(step->problem)]);
        d.args = &part;
        d.args_bytes = sizeof part;
        tw_metal_over(&d, (size_t)part.n * (size_t)part.size / 4, 256);
        tw_metal_bind_operand(&d, step, i);
        tw_metal_bind_operand(&d, step, step->problem->n_in);
        status = tw_metal_launch(queue, &d);
        part.offset += part.size;
    }
    return status;
}

static bool supports(const tw_problem *problem, const tw_device *device, const char **reason)
{
    const tw_concat *p = problem->params;
    if (!tw_metal_plain(problem, device, reason)) return false;
    *reason = "needs parts of whole multiples of 4 elements an image";
    for (int i = 0; i < p->count; i++)
        if ((size_t)p->c[i] * (size_t)p->h * (size_t)p->w % 4) return false;
    return true;
}

static double cost(const tw_problem *problem, const tw_device *device)
{
    const tw_concat *p = problem->params;
    return tw_metal_seconds(device, 0, 1.05 * tw_problem_traffic(problem), p->count);
}

const tw_design tw_concat_metal_vectorised = {
    .op = "concat",
    .device = "metal",
    .name = "vectorised",
    .summary = "a copy kernel for each part, four elements a thread",
    .precisions = TW_METAL_PRECISIONS,
    .supports = supports,
    .cost = cost,
    .run = run,
};
