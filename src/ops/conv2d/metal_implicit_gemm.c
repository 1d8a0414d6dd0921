/* conv2d, implicit_gemm on Metal: the record; metal_implicit_gemm.metal says how. */
#include "ops/conv2d/metal_record.h"

enum { LANES = 32, SIMDGROUPS = 4, CHANNELS = 8, PIXELS = 4 };

static const char *const large[TW_METAL_ENDS] = {"large_f32", "large_f16", "large_f32_f16", "large_f16_f32"};
static const char *const small[TW_METAL_ENDS] = {"small_f32", "small_f16", "small_f32_f16", "small_f16_f32"};

static size_t blocks_of(const tw_conv2d *p)
{
    return tw_metal_ceil((size_t)(p->oc / p->groups), CHANNELS);
}

static size_t pixels_of(const tw_conv2d *p)
{
    return (size_t)p->n * (size_t)p->oh * (size_t)p->ow;
}

/* Four pixels a thread where that still leaves a device of ten cores some 400 threads each; else one. */
static int pixels_a_thread(const tw_conv2d *p)
{
    return pixels_of(p) / PIXELS * blocks_of(p) * (size_t)p->groups >= 4096 ? PIXELS : 1;
}

static size_t packed_bytes(const tw_problem *problem, const tw_device *device)
{
    (void)device;
    const tw_conv2d *p = problem->params;
    return (size_t)p->groups * blocks_of(p) * CHANNELS * (size_t)(p->ic / p->groups) * (size_t)p->kh * (size_t)p->kw *
           tw_metal_weight_bytes(problem);
}

/* [group][channels / 8][kh * kw][icg][8], zeros where a group's last channels end */
static void pack(const tw_problem *problem, const tw_device *device, const void *const *in, void *packed)
{
    (void)device;
    const tw_conv2d *p = problem->params;
    const float *w = in[1];
    const size_t icg = (size_t)(p->ic / p->groups), ocg = (size_t)(p->oc / p->groups),
                 taps = (size_t)p->kh * (size_t)p->kw;
    size_t at = 0;
    for (size_t block = 0; block < (size_t)p->groups * blocks_of(p); block++)
        for (size_t tap = 0; tap < taps; tap++)
            for (size_t c = 0; c < icg; c++)
                for (size_t i = 0; i < CHANNELS; i++, at++) {
                    const size_t row = block % blocks_of(p) * CHANNELS + i, oc = block / blocks_of(p) * ocg + row;
                    tw_metal_put_weight(problem, packed, at, row < ocg ? w[(oc * icg + c) * taps + tap] : 0);
                }
}

static tw_status run(const tw_step *step, tw_queue *queue)
{
    const tw_conv2d *p = step->problem->params;
    const int pixels = pixels_a_thread(p), ends = tw_metal_ends(step->problem);
    tw_metal_dispatch d =
        tw_metal_dispatch_of(step, "conv2d/metal_implicit_gemm", pixels == 1 ? small[ends] : large[ends]);
    d.threadgroups[0] = (unsigned)tw_metal_ceil(pixels_of(p), LANES * (size_t)pixels);
    d.threadgroups[1] = (unsigned)tw_metal_ceil(blocks_of(p), SIMDGROUPS);
    d.threadgroups[2] = (unsigned)p->groups;
    d.threads[0] = LANES;
    d.threads[1] = SIMDGROUPS;
    tw_conv2d_metal_bind(&d, step, packed_bytes(step->problem, NULL));
    return tw_metal_launch(queue, &d);
}

static bool supports(const tw_problem *problem, const tw_device *device, const char **reason)
{
    if (!tw_metal_plain_weights(problem, device, reason)) return false;
    *reason = "more than 2^31 - 1 packed weights";
    return (double)packed_bytes(problem, device) / (double)tw_metal_weight_bytes(problem) < 2147483647.0;
}

static double cost(const tw_problem *problem, const tw_device *device)
{
    const tw_conv2d *p = problem->params;
    const int pixels = pixels_a_thread(p);
    const double channels = (double)(p->oc / p->groups), filled = channels / (double)(blocks_of(p) * CHANNELS);
    const double threads = (double)pixels_of(p) / pixels * (double)blocks_of(p) * p->groups;
    const double terms = (double)p->kh * p->kw * (p->ic / p->groups); /* of a thread, one behind the other */
    return tw_metal_seconds(
               device, tw_metal_arithmetic(device, problem->op->flops(p) / filled, pixels == 1 ? 0.2 : 0.4, threads),
               1.2 * tw_problem_bytes(problem), 1) +
           terms * 5e-9;
}

const tw_design tw_conv2d_metal_implicit_gemm = {
    .op = "conv2d",
    .device = "metal",
    .name = "implicit_gemm",
    .summary = "a matrix product in registers that gathers its windows from the image, without barriers",
    .precisions = TW_METAL_PRECISIONS,
    .supports = supports,
    .packed_bytes = packed_bytes,
    .pack = pack,
    .cost = cost,
    .run = run,
};
