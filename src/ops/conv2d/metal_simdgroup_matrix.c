/* conv2d, simdgroup_matrix on Metal: the record; metal_simdgroup_matrix.metal says how. */
#include "ops/conv2d/metal_record.h"

enum { MATRIX = 8, LARGE = 64, SMALL = 32, THREADS = 128 };

static const char *const large[TW_METAL_ENDS] = {"large_f32", "large_f16", "large_f32_f16", "large_f16_f32"};
static const char *const small[TW_METAL_ENDS] = {"small_f32", "small_f16", "small_f32_f16", "small_f16_f32"};

static size_t channels_of(const tw_conv2d *p)
{
    return (size_t)(p->oc / p->groups);
}

static size_t pixels_of(const tw_conv2d *p)
{
    return (size_t)p->n * (size_t)p->oh * (size_t)p->ow;
}

static size_t window_of(const tw_conv2d *p)
{
    return (size_t)(p->ic / p->groups) * (size_t)p->kh * (size_t)p->kw;
}

static size_t tiles(const tw_conv2d *p, size_t side)
{
    return tw_metal_ceil(pixels_of(p), side) * tw_metal_ceil(channels_of(p), side) * (size_t)p->groups;
}

/* Tiles of 64 where they waste no more than those of 32, nearly, and give a device of ten cores a few each. */
static size_t side_of(const tw_conv2d *p)
{
    return tiles(p, LARGE) >= 32 && 5 * tiles(p, SMALL) >= 4 * 4 * tiles(p, LARGE) ? LARGE : SMALL;
}

static size_t packed_bytes(const tw_problem *problem, const tw_device *device)
{
    (void)device;
    const tw_conv2d *p = problem->params;
    return (size_t)p->groups * tw_metal_ceil(channels_of(p), MATRIX) * tw_metal_ceil(window_of(p), MATRIX) * MATRIX *
           MATRIX * tw_metal_weight_bytes(problem);
}

/* [group][channels / 8][k / 8][8][8], k ordered ky, kx, input channel; zeros where channels and k end */
static void pack(const tw_problem *problem, const tw_device *device, const void *const *in, void *packed)
{
    (void)device;
    const tw_conv2d *p = problem->params;
    const float *w = in[1];
    const size_t icg = (size_t)(p->ic / p->groups), ocg = channels_of(p), k = window_of(p), taps = k / icg;
    const size_t blocks = tw_metal_ceil(ocg, MATRIX), steps = tw_metal_ceil(k, MATRIX);
    size_t at = 0;
    for (size_t matrix = 0; matrix < (size_t)p->groups * blocks * steps; matrix++)
        for (size_t i = 0; i < MATRIX * MATRIX; i++, at++) {
            const size_t row = matrix / steps % blocks * MATRIX + i / MATRIX,
                         column = matrix % steps * MATRIX + i % MATRIX;
            const size_t oc = matrix / steps / blocks * ocg + row;
            const bool is_there = row < ocg && column < k;
            tw_metal_put_weight(problem, packed, at, is_there ? w[(oc * icg + column % icg) * taps + column / icg] : 0);
        }
}

static tw_status run(const tw_step *step, tw_queue *queue)
{
    const tw_conv2d *p = step->problem->params;
    const size_t side = side_of(p);
    const int ends = tw_metal_ends(step->problem);
    tw_metal_dispatch d =
        tw_metal_dispatch_of(step, "conv2d/metal_simdgroup_matrix", side == LARGE ? large[ends] : small[ends]);
    d.threadgroups[0] = (unsigned)tw_metal_ceil(pixels_of(p), side);
    d.threadgroups[1] = (unsigned)tw_metal_ceil(channels_of(p), side);
    d.threadgroups[2] = (unsigned)p->groups;
    d.threads[0] = THREADS;
    tw_conv2d_metal_bind(&d, step, packed_bytes(step->problem, NULL));
    return tw_metal_launch(queue, &d);
}

static bool supports(const tw_problem *problem, const tw_device *device, const char **reason)
{
    if (!tw_metal_plain_weights(problem, device, reason)) return false;
    *reason = "more than 2^31 - 1 packed weights";
    if ((double)packed_bytes(problem, device) / (double)tw_metal_weight_bytes(problem) >= 2147483647.0) return false;
    return tw_metal_from(device, 7, reason);
}

static double cost(const tw_problem *problem, const tw_device *device)
{
    const tw_conv2d *p = problem->params;
    const double side = (double)side_of(p), done = (double)tiles(p, side_of(p)) * side * side;
    const double k = (double)tw_metal_ceil(window_of(p), 32) * 32, threads = done / (side * side) * THREADS;
    return tw_metal_seconds(device, tw_metal_arithmetic(device, 2 * done * k, side == LARGE ? 0.65 : 0.5, threads),
                            1.2 * tw_problem_bytes(problem), 1) +
           k / 32 * 1e-6; /* a step's loads, and two barriers */
}

const tw_design tw_conv2d_metal_simdgroup_matrix = {
    .op = "conv2d",
    .device = "metal",
    .name = "simdgroup_matrix",
    .summary = "a matrix product on 8 x 8 matrices that gathers its windows from the image (Apple7 and later)",
    .precisions = TW_METAL_PRECISIONS,
    .supports = supports,
    .packed_bytes = packed_bytes,
    .pack = pack,
    .cost = cost,
    .run = run,
};
