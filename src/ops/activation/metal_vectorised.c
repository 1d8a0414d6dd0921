/* relu and clip, vectorised on Metal: the record; metal_vectorised.metal says how. */
#include "ops/common/metal_record.h"

static const char *const kernels[TW_METAL_ENDS] = {"vectorised_f32", "vectorised_f16", "vectorised_f32_f16",
                                                   "vectorised_f16_f32"};

static tw_status run(const tw_step *step, tw_queue *queue)
{
    tw_metal_dispatch d =
        tw_metal_dispatch_of(step, "activation/metal_vectorised", kernels[tw_metal_ends(step->problem)]);
    tw_metal_over(&d, tw_metal_ceil(tw_problem_elements(step->problem, 0), 4), 256);
    tw_metal_bind_operand(&d, step, 0);
    tw_metal_bind_operand(&d, step, 1);
    return tw_metal_launch(queue, &d);
}

const tw_design tw_relu_metal_vectorised = {
    .op = "relu",
    .device = "metal",
    .name = "vectorised",
    .summary = "four elements a thread",
    .precisions = TW_METAL_PRECISIONS,
    .in_place = true,
    .supports = tw_metal_plain,
    .cost = tw_metal_vectorised_traffic,
    .run = run,
};

const tw_design tw_clip_metal_vectorised = {
    .op = "clip",
    .device = "metal",
    .name = "vectorised",
    .summary = "four elements a thread",
    .precisions = TW_METAL_PRECISIONS,
    .in_place = true,
    .supports = tw_metal_plain,
    .cost = tw_metal_vectorised_traffic,
    .run = run,
};
