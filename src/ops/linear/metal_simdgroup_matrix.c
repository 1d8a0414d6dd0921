/* linear, simdgroup_matrix on Metal: the record; metal_simdgroup_matrix.metal says how. */
#include "ops/common/metal_record.h"
#include "ops/linear/linear.h"

enum { MATRIX = 8, TILE = 32, THREADS = 128 }; /* TILE: images and features of a threadgroup */

static const char *const kernels[TW_METAL_ENDS] = {"multiply_f32", "multiply_f16", "multiply_f32_f16",
                                                   "multiply_f16_f32"};

static size_t packed_numbers(const tw_linear *p)
{
    return tw_metal_ceil((size_t)p->oc, MATRIX) * tw_metal_ceil((size_t)p->ic, MATRIX) * MATRIX * MATRIX;
}

static size_t packed_bytes(const tw_problem *problem, const tw_device *device)
{
    (void)device;
    return packed_numbers(problem->params) * tw_metal_weight_bytes(problem);
}

/* [features / 8][k / 8][k][feature]; zeros where features and k end */
static void pack(const tw_problem *problem, const tw_device *device, const void *const *in, void *packed)
{
    (void)device;
    const tw_linear *p = problem->params;
    const float *w = in[1];
    const size_t steps = tw_metal_ceil((size_t)p->ic, MATRIX), count = packed_numbers(p);
    for (size_t at = 0; at < count; at++) {
        const size_t matrix = at / (MATRIX * MATRIX), oc = matrix / steps * MATRIX + at % MATRIX,
                     k = matrix % steps * MATRIX + at / MATRIX % MATRIX;
        const bool is_there = oc < (size_t)p->oc && k < (size_t)p->ic;
        tw_metal_put_weight(problem, packed, at, is_there ? w[oc * (size_t)p->ic + k] : 0);
    }
}

static tw_status run(const tw_step *step, tw_queue *queue)
{
    const tw_problem *problem = step->problem;
    const tw_linear *p = problem->params;
    tw_metal_dispatch d = tw_metal_dispatch_of(step, "linear/metal_simdgroup_matrix", kernels[tw_metal_ends(problem)]);
    d.threadgroups[0] = (unsigned)tw_metal_ceil((size_t)p->oc, TILE);
    d.threadgroups[1] = (unsigned)tw_metal_ceil((size_t)p->n, TILE);
    d.threads[0] = THREADS;
    tw_metal_bind_operand(&d, step, 0);
    tw_metal_bind_weights(&d, step, packed_bytes(problem, NULL));
    tw_metal_bind_operand(&d, step, 2);
    tw_metal_bind_operand(&d, step, problem->n_in);
    return tw_metal_launch(queue, &d);
}

static bool supports(const tw_problem *problem, const tw_device *device, const char **reason)
{
    if (!tw_metal_plain_weights(problem, device, reason)) return false;
    *reason = "more than 2^31 - 1 packed weights";
    return packed_numbers(problem->params) < (size_t)1 << 31 && tw_metal_from(device, 7, reason);
}

static double cost(const tw_problem *problem, const tw_device *device)
{
    const tw_linear *p = problem->params;
    const double down = (double)tw_metal_ceil((size_t)p->n, TILE), along = (double)tw_metal_ceil((size_t)p->oc, TILE);
    const double rows = (double)tw_metal_ceil((size_t)p->n, MATRIX) * MATRIX, ic = p->ic;
    const double bytes = tw_problem_traffic(problem) + down * (double)packed_bytes(problem, device);
    return tw_metal_seconds(device,
                            tw_metal_arithmetic(device, 2 * rows * along * TILE * ic, 0.45, down * along * THREADS),
                            bytes, 1) +
           ic / 32 * 0.5e-6; /* a step's loads, and two barriers */
}

const tw_design tw_linear_metal_simdgroup_matrix = {
    .op = "linear",
    .device = "metal",
    .name = "simdgroup_matrix",
    .summary = "a matrix product on 8 x 8 matrices, 32 images a pass of the weights (Apple7 and later)",
    .precisions = TW_METAL_PRECISIONS,
    .supports = supports,
    .packed_bytes = packed_bytes,
    .pack = pack,
    .cost = cost,
    .run = run,
};
