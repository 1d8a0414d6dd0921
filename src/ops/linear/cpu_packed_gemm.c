/* linear as a blocked matrix product over packed operands, for batches: y[n][oc] = x[n][ic] * w[oc][ic]^T.
 *
 * Weights are packed at plan time as the tile kernel of devices/cpu/tile.h reads them: groups of `vectors` * 16
 * outputs, each [ic][vectors * 16], the last group in as few vectors as it needs and its missing outputs zero. x is
 * packed at each run as [ceil(ic / 16)][n][16] into the workspace, so that one image is 16 floats from the next.
 *
 * A task is one group of outputs and a run of images. It walks ic in slices of DEPTH: a slice of the group's weights
 * (64 KiB for 32 outputs) stays in the L2 cache while tiles of images pass over it, and partial sums wait in y. So
 * weights come from memory once and x once for each group; both are far below what the multiply-adds leave time for.
 * Bias and activation are part of the last slice. The order of additions depends on neither threads nor batch. */
#include "core/status.h"
#include "devices/cpu/simd.h"
#include "devices/cpu/tile.h"
#include "ops/linear/linear.h"

#include <limits.h>

enum {
    DEPTH = 32,           /* blocks of 16 inputs in a slice */
    PACK_GRAIN = 1024,    /* blocks of 16 inputs, packed in about a microsecond */
    GRAIN_FLOPS = 100000, /* less is done before a second thread has woken */
    TASKS_PER_THREAD = 4
};

static int ceil_div(int a, int b)
{
    return (a - 1) / b + 1;
}

/* Outputs to a group, and how many groups. */
static int group_outputs(void)
{
    return tw_tile_vectors(TW_VARIANT_ISA) * TW_BLOCK;
}

static int group_count(const tw_linear *p)
{
    return ceil_div(p->oc, group_outputs());
}

/* Packed: int32 offsets[ceil(ic / 16)] of the blocks of x, one image's distance of 16 floats apart; then the groups. */
static size_t offsets_bytes(const tw_linear *p)
{
    return tw_align((size_t)ceil_div(p->ic, TW_BLOCK) * sizeof(int32_t));
}

static size_t packed_bytes(const tw_problem *problem, const tw_device *device)
{
    (void)device;
    const tw_linear *p = problem->params;
    return offsets_bytes(p) + (size_t)ceil_div(p->oc, TW_BLOCK) * TW_BLOCK * (size_t)p->ic * sizeof(float);
}

static void pack(const tw_problem *problem, const tw_device *device, const void *const *in, void *packed)
{
    (void)device;
    const tw_linear *p = problem->params;
    const float *w = in[1];
    int32_t *offsets = packed;
    for (int i = 0; i < ceil_div(p->ic, TW_BLOCK); i++) offsets[i] = i * p->n * TW_BLOCK;
    float *to = (float *)((char *)packed + offsets_bytes(p));
    for (int oc = 0; oc < p->oc; oc += group_outputs()) {
        int outputs = p->oc - oc < group_outputs() ? p->oc - oc : group_outputs();
        int width = ceil_div(outputs, TW_BLOCK) * TW_BLOCK;
        for (int ic = 0; ic < p->ic; ic++)
            for (int i = 0; i < width; i++) *to++ = i < outputs ? w[(size_t)(oc + i) * (size_t)p->ic + (size_t)ic] : 0;
    }
}

static size_t workspace(const tw_problem *problem, const tw_device *device)
{
    (void)device;
    const tw_linear *p = problem->params;
    return (size_t)ceil_div(p->ic, TW_BLOCK) * (size_t)p->n * TW_BLOCK * sizeof(float);
}

/* Items are [n][block] of x. The last block's missing inputs are not read: its taps have depth ic % 16. */
static void pack_x(const void *context, size_t begin, size_t end, int thread)
{
    (void)thread;
    const tw_step *step = context;
    const tw_linear *p = step->problem->params;
    size_t blocks = (size_t)ceil_div(p->ic, TW_BLOCK);
    for (size_t i = begin; i < end; i++) {
        size_t n = i / blocks, block = i % blocks;
        const float *from = (const float *)step->in[0] + n * (size_t)p->ic + block * TW_BLOCK;
        float *to = (float *)step->workspace + (block * (size_t)p->n + n) * TW_BLOCK;
        int left = p->ic - (int)block * TW_BLOCK;
        if (left >= TW_BLOCK)
            memcpy(to, from, TW_BLOCK * sizeof *to);
        else
            memcpy(to, from, (size_t)left * sizeof *to);
    }
}

typedef struct product {
    const tw_step *step;
    int tiles;  /* of images */
    int pixels; /* images to a tile: all about the same */
    int parts;  /* runs of tiles */
} product;

/* One group of outputs for the images [first, last): slices of ic outside, tiles of images inside. */
static void multiply(const product *job, int group, int first, int last)
{
    const tw_step *step = job->step;
    const tw_linear *p = step->problem->params;
    int oc = group * group_outputs(), outputs = p->oc - oc < group_outputs() ? p->oc - oc : group_outputs();
    int blocks = ceil_div(p->ic, TW_BLOCK), tail = p->ic % TW_BLOCK;
    float bias[TW_TILE_MAX_VECTORS * TW_BLOCK] = {0};
    if (step->in[2]) memcpy(bias, (const float *)step->in[2] + oc, (size_t)outputs * sizeof *bias);

    tw_tile tile = {.vectors = ceil_div(outputs, TW_BLOCK), .tail = tail};
    tile.last = outputs - (tile.vectors - 1) * TW_BLOCK;
    tile.c_pixel = p->oc;
    tile.c_vector = TW_BLOCK;
    tile.a = step->workspace;
    const float *weights = (const float *)((const char *)step->packed + offsets_bytes(p)) + (size_t)oc * (size_t)p->ic;
    for (int block = 0; block < blocks; block += DEPTH) {
        int depth = blocks - block < DEPTH ? blocks - block : DEPTH;
        bool end = block + depth == blocks;
        tile.offsets = (const int32_t *)step->packed + block;
        tile.tails = end && tail > 0;
        tile.full = depth - tile.tails;
        tile.b = weights + (size_t)block * TW_BLOCK * (size_t)(tile.vectors * TW_BLOCK);
        tile.accumulate = block > 0;
        tile.bias = end && step->in[2] ? bias : NULL;
        tile.activation = end ? p->activation : TW_ACT_NONE;
        for (int n = first; n < last; n += job->pixels) {
            tile.a = (const float *)step->workspace + (size_t)n * TW_BLOCK;
            tile.c = (float *)step->out + (size_t)n * (size_t)p->oc + oc;
            tile.pixels = last - n < job->pixels ? last - n : job->pixels;
            tw_tile_for(TW_VARIANT_ISA)(&tile);
        }
    }
}

/* Items are [group][part]. */
static void multiply_groups(const void *context, size_t begin, size_t end, int thread)
{
    (void)thread;
    const product *job = context;
    const tw_linear *p = job->step->problem->params;
    for (size_t i = begin; i < end; i++) {
        int part = (int)(i % (size_t)job->parts);
        int first = (int)((int64_t)job->tiles * part / job->parts) * job->pixels;
        int last = (int)((int64_t)job->tiles * (part + 1) / job->parts) * job->pixels;
        multiply(job, (int)(i / (size_t)job->parts), first, last < p->n ? last : p->n);
    }
}

static tw_status run(const tw_step *step, tw_queue *queue)
{
    const tw_linear *p = step->problem->params;
    tw_parallel(queue, pack_x, step, (size_t)p->n * (size_t)ceil_div(p->ic, TW_BLOCK), PACK_GRAIN);

    product job = {.step = step};
    job.tiles = ceil_div(p->n, tw_tile_pixels(TW_VARIANT_ISA, tw_tile_vectors(TW_VARIANT_ISA)));
    job.pixels = ceil_div(p->n, job.tiles);
    int wanted = ceil_div(TASKS_PER_THREAD * tw_cpu_threads(&tw_queue_cpu(queue)->device), group_count(p));
    job.parts = wanted < job.tiles ? wanted : job.tiles;
    size_t items = (size_t)group_count(p) * (size_t)job.parts;
    double flops = step->problem->op->flops(p) / (double)items;
    tw_parallel(queue, multiply_groups, &job, items, (size_t)(GRAIN_FLOPS / flops));
    return TW_OK;
}

static bool supports(const tw_problem *problem, const tw_device *device, const char **reason)
{
    (void)device;
    const tw_linear *p = problem->params;
    *reason = "reads and writes plain float32 only";
    if (problem->out.dtype != TW_F32 || problem->in[0].layout != TW_PLAIN || problem->out.layout != TW_PLAIN)
        return false;
    *reason = "offsets into the packed batch must fit 31 bits";
    return (int64_t)p->n * ceil_div(p->ic, TW_BLOCK) * TW_BLOCK <= INT_MAX;
}

/* Efficiencies as measured with the weights in the L2 cache: one image is bound by reading them. Larger weights come
 * from memory, and gemv then does as well without a second copy; the cost of packing x decides. */
static double cost(const tw_problem *problem, const tw_device *device)
{
    const tw_linear *p = problem->params;
    double weights = (double)p->oc * p->ic * (double)sizeof(float), flops = problem->op->flops(p);
    int threads = flops > GRAIN_FLOPS ? tw_cpu_threads(device) : 1;
    double bytes = weights > (double)tw_cpu_of(device)->l2_bytes ? tw_problem_bytes(problem) : 0;
    double packing = 2.0 * p->n * p->ic * (double)sizeof(float);
    return tw_cpu_seconds(device, flops, p->n == 1 ? 0.42 : 0.9, bytes, threads) +
           tw_cpu_seconds(device, 0, 1, packing / 4, 1);
}

const tw_design TW_CPU_DESIGN(linear, packed_gemm) = {
    .op = "linear",
    .device = "cpu",
    .name = "packed_gemm",
    .summary = "packed weights and input through the register tile, partial sums by slices of inputs: batches",
    .supports = supports,
    .workspace = workspace,
    .packed_bytes = packed_bytes,
    .pack = pack,
    .cost = cost,
    .run = run,
};
