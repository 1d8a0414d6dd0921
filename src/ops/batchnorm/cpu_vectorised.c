/* batchnorm as (x - mean) * scale + bias, with scale = weight / sqrt(var + epsilon) found once, in double, when the
 * plan is made. The mean is not merged into the bias: where it is much larger than the deviation, that would lose
 * digits. Bound by memory, one read and one write an element; plans fold it into the convolution before where there
 * is one.
 *
 * packed: mean, scale, bias, each [ceil(c / 16) * 16] with zeros behind c, which keeps the padding of blocked tensors
 * zero. */
#include "devices/cpu/simd.h"
#include "ops/batchnorm/batchnorm.h"
#include "ops/common/dims.h"

#include <math.h>

enum { GRAIN = 32 << 10 }; /* elements */

typedef struct job {
    const float *x, *mean, *scale, *bias;
    float *y;
    size_t channels, blocks, pixels;
} job;

static size_t padded_channels(const tw_batchnorm *p)
{
    return ((size_t)p->c + TW_BLOCK - 1) / TW_BLOCK * TW_BLOCK;
}

static size_t packed_bytes(const tw_problem *problem, const tw_device *device)
{
    (void)device;
    return 3 * padded_channels(problem->params) * sizeof(float);
}

static void pack(const tw_problem *problem, const tw_device *device, const void *const *in, void *packed)
{
    (void)device;
    const tw_batchnorm *p = problem->params;
    const float *weight = in[1], *bias = in[2], *mean = in[3], *var = in[4];
    size_t padded = padded_channels(p);
    float *out = packed;
    memset(out, 0, 3 * padded * sizeof *out);
    for (int c = 0; c < p->c; c++) {
        out[c] = mean[c];
        out[padded + (size_t)c] = (float)((double)weight[c] / sqrt((double)var[c] + (double)p->epsilon));
        out[2 * padded + (size_t)c] = bias[c];
    }
}

/* items are planes: of n, then of channels */
static void plain_planes(const void *context, size_t begin, size_t end, int thread)
{
    (void)thread;
    const job *j = context;
    for (size_t plane = begin; plane < end; plane++) {
        size_t c = plane % j->channels;
        const float *x = j->x + plane * j->pixels;
        float *y = j->y + plane * j->pixels;
        float mean = j->mean[c], scale = j->scale[c], bias = j->bias[c];
        for (size_t i = 0; i < j->pixels; i++) y[i] = (x[i] - mean) * scale + bias;
    }
}

/* items are rank-2 rows: one pixel, so the vector runs along the channels */
static void plain_rows(const void *context, size_t begin, size_t end, int thread)
{
    (void)thread;
    const job *j = context;
    for (size_t row = begin; row < end; row++) {
        const float *x = j->x + row * j->channels;
        float *y = j->y + row * j->channels;
        for (size_t c = 0; c < j->channels; c++) y[c] = (x[c] - j->mean[c]) * j->scale[c] + j->bias[c];
    }
}

/* items are planes: of n, then of blocks of 16 channels */
static void blocked_planes(const void *context, size_t begin, size_t end, int thread)
{
    (void)thread;
    const job *j = context;
    for (size_t plane = begin; plane < end; plane++) {
        size_t c = plane % j->blocks * TW_BLOCK, at = plane * j->pixels * TW_BLOCK;
        v16 mean = v16_load(j->mean + c), scale = v16_load(j->scale + c), bias = v16_load(j->bias + c);
        for (size_t i = 0; i < j->pixels; i++, at += TW_BLOCK)
            v16_store(j->y + at, (v16_load(j->x + at) - mean) * scale + bias);
    }
}

static tw_status run(const tw_step *step, tw_queue *queue)
{
    const tw_batchnorm *p = step->problem->params;
    size_t padded = padded_channels(p), n = (size_t)p->n;
    const float *packed = step->packed;
    job j = {step->in[0], packed,       packed + padded,   packed + 2 * padded,
             step->out,   (size_t)p->c, padded / TW_BLOCK, (size_t)p->h * (size_t)p->w};
    if (step->problem->out.layout == TW_BLOCKED)
        tw_parallel(queue, blocked_planes, &j, n * j.blocks, GRAIN / TW_BLOCK / j.pixels + 1);
    else if (j.pixels == 1)
        tw_parallel(queue, plain_rows, &j, n, GRAIN / j.channels + 1);
    else
        tw_parallel(queue, plain_planes, &j, n * j.channels, GRAIN / j.pixels + 1);
    return TW_OK;
}

static bool supports(const tw_problem *problem, const tw_device *device, const char **reason)
{
    (void)device;
    *reason = "float32, plain or blocked, the output as the input";
    return tw_problem_in(problem, TW_PLAIN) || tw_problem_in(problem, TW_BLOCKED);
}

static double cost(const tw_problem *problem, const tw_device *device)
{
    return tw_cpu_seconds(device, problem->op->flops(problem->params), 0.2, tw_problem_traffic(problem),
                          tw_cpu_threads(device));
}

const tw_design TW_CPU_DESIGN(batchnorm, vectorised) = {
    .op = "batchnorm",
    .device = "cpu",
    .name = "vectorised",
    .summary = "a multiply-add for sixteen elements at a time, with scales found when the plan is made",
    .in_place = true,
    .supports = supports,
    .packed_bytes = packed_bytes,
    .pack = pack,
    .cost = cost,
    .run = run,
};
