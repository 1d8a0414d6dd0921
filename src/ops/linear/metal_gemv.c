/* linear, gemv and gemv_simd on Metal: the records; metal_gemv.metal says how. */
#include "ops/common/metal_record.h"
#include "ops/linear/linear.h"

enum { ROWS = 8, IMAGES = 4 }; /* of a threadgroup, as in metal_gemv.h */

static const char *const plain[TW_METAL_ENDS] = {"gemv_f32", "gemv_f16", "gemv_f32_f16", "gemv_f16_f32"};
static const char *const simd[TW_METAL_ENDS] = {"gemv_simd_f32", "gemv_simd_f16", "gemv_simd_f32_f16",
                                                "gemv_simd_f16_f32"};

static tw_status launch(const tw_step *step, tw_queue *queue, const char *source, const char *kernel)
{
    const tw_linear *p = step->problem->params;
    tw_metal_dispatch d = tw_metal_dispatch_of(step, source, kernel);
    d.threadgroups[0] = (unsigned)tw_metal_ceil((size_t)p->oc, ROWS);
    d.threadgroups[1] = (unsigned)tw_metal_ceil((size_t)p->n, IMAGES);
    d.threads[0] = 32;
    d.threads[1] = ROWS;
    tw_metal_bind_operand(&d, step, 0);
    tw_metal_bind_weights(&d, step, tw_metal_narrowed_bytes(step->problem, NULL));
    tw_metal_bind_operand(&d, step, 2);
    tw_metal_bind_operand(&d, step, step->problem->n_in);
    return tw_metal_launch(queue, &d);
}

static tw_status run(const tw_step *step, tw_queue *queue)
{
    return launch(step, queue, "linear/metal_gemv", plain[tw_metal_ends(step->problem)]);
}

static tw_status run_simd(const tw_step *step, tw_queue *queue)
{
    return launch(step, queue, "linear/metal_gemv_simd", simd[tw_metal_ends(step->problem)]);
}

static bool supports_simd(const tw_problem *problem, const tw_device *device, const char **reason)
{
    return tw_metal_plain_weights(problem, device, reason) && tw_metal_from(device, 7, reason);
}

/* w crosses memory once for each IMAGES images. */
static double seconds(const tw_problem *problem, const tw_device *device, double share)
{
    const tw_linear *p = problem->params;
    const double passes = (double)tw_metal_ceil((size_t)p->n, IMAGES);
    const double weights = (double)p->ic * p->oc * (double)tw_metal_weight_bytes(problem);
    return tw_metal_seconds(device, tw_metal_arithmetic(device, problem->op->flops(p), 0.2, passes * p->oc * 32),
                            (passes * weights + tw_problem_traffic(problem)) / share, 1);
}

static double cost(const tw_problem *problem, const tw_device *device)
{
    return seconds(problem, device, 0.8) + 5e-7; /* five barriers */
}

static double cost_simd(const tw_problem *problem, const tw_device *device)
{
    return seconds(problem, device, 0.85);
}

const tw_design tw_linear_metal_gemv = {
    .op = "linear",
    .device = "metal",
    .name = "gemv",
    .summary = "32 threads stream a row of the weights for up to four images, sums in threadgroup memory",
    .precisions = TW_METAL_PRECISIONS,
    .supports = tw_metal_plain_weights,
    .packed_bytes = tw_metal_narrowed_bytes,
    .pack = tw_metal_narrow,
    .cost = cost,
    .run = run,
};

const tw_design tw_linear_metal_gemv_simd = {
    .op = "linear",
    .device = "metal",
    .name = "gemv_simd",
    .summary = "a simdgroup streams a row of the weights for up to four images (Apple7 and later)",
    .precisions = TW_METAL_PRECISIONS,
    .supports = supports_simd,
    .packed_bytes = tw_metal_narrowed_bytes,
    .pack = tw_metal_narrow,
    .cost = cost_simd,
    .run = run_simd,
};
