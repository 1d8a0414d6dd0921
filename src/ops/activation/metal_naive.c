/* relu and clip, naive on Metal: the record; metal_naive.metal says how. */
#include "ops/common/metal_record.h"

static const char *const kernels[TW_METAL_ENDS] = {"naive_f32", "naive_f16", "naive_f32_f16", "naive_f16_f32"};

static tw_status run(const tw_step *step, tw_queue *queue)
{
    tw_metal_dispatch d = tw_metal_dispatch_of(step, "activation/metal_naive", kernels[tw_metal_ends(step->problem)]);
    tw_metal_over(&d, tw_problem_elements(step->problem, 0), 256);
    tw_metal_bind_operand(&d, step, 0);
    tw_metal_bind_operand(&d, step, 1);
    return tw_metal_launch(queue, &d);
}

const tw_design tw_relu_metal_naive = {
    .op = "relu",
    .device = "metal",
    .name = "naive",
    .summary = "one thread an element",
    .precisions = TW_METAL_PRECISIONS,
    .in_place = true,
    .supports = tw_metal_plain,
    .cost = tw_metal_naive_traffic,
    .run = run,
};

const tw_design tw_clip_metal_naive = {
    .op = "clip",
    .device = "metal",
    .name = "naive",
    .summary = "one thread an element",
    .precisions = TW_METAL_PRECISIONS,
    .in_place = true,
    .supports = tw_metal_plain,
    .cost = tw_metal_naive_traffic,
    .run = run,
};
