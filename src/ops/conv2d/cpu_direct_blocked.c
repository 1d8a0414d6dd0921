/* conv2d, direct over blocked channels: the tile kernel of devices/cpu/tile.h reads the input where it lies.
 *
 * A tile is a run of pixels of one output row times `vectors` blocks of 16 output channels; its taps are (block of
 * input channels, ky, kx), so the kernel needs no more than a table of offsets and never asks whether a pixel is
 * inside. Two ways to give it that:
 *
 *   in place   1x1 kernel, stride 1, no padding: pixels are taken from the plane as one row, whatever its width.
 *   packed     otherwise a chunk of rows is first copied, with its padding, into the thread's scratch, where columns
 *              are sorted by phase, column % stride: neighbouring outputs then read neighbouring pixels at any
 *              stride. An input element is copied about once and used kh * kw * oc / (sh * sw) times.
 *
 * Weights are packed as [oc group][tap][depth][vectors * 16]. The last block of input channels keeps its true depth,
 * so that three channels cost three and not sixteen.
 *
 * A work item is (image, group, chunk of rows) x (group of output channels). Inside it the weights of the oc group
 * (at most some 600 KB) come from the L2 cache, once for each tile, which asks for 128 bytes in 28 multiply-adds; the
 * chunk was made to fit half of L2. Items that follow one another on a thread share the packed chunk.
 * Bound by the multiply-add unit, except where maps are tiny and weights come from memory. */
#include "core/design.h"
#include "core/status.h"
#include "devices/cpu/simd.h"
#include "devices/cpu/tile.h"
#include "ops/conv2d/conv2d.h"

#include <limits.h>

enum {
    PLAIN_CHANNELS = 8, /* most input channels that are read from the plain layout */
    ITEMS_PER_THREAD = 4,
    GRAIN = 200000 /* operations that are worth a thread: some 2 microseconds */
};

/* How a problem is cut up; the same whenever it is asked for. */
typedef struct cut {
    bool in_place, plain_in;
    int icg, blocks, tail; /* input channels of a group, their blocks of 16, channels in the last one if not 16 */
    int taps;              /* kh * kw */
    int oc_blocks;         /* of a group */
    int oc_groups;         /* of a group: runs of `vectors` blocks */
    int units, chunk;      /* output rows, or tiles of pixels in place; how many make a chunk */
    int chunks;
    int phases, columns, rows; /* a packed block of channels: [rows][phases][columns][16] */
    int64_t scratch;           /* floats of one thread; whole cache lines */
} cut;

static int ceil_div(int a, int b)
{
    return (a - 1) / b + 1;
}

static int smaller(int a, int b)
{
    return a < b ? a : b;
}

static int tile_pixels(void)
{
    return tw_tile_pixels(TW_VARIANT_ISA, tw_tile_vectors(TW_VARIANT_ISA));
}

/* Input rows below one another that `units` output rows read. */
static int64_t rows_of(const tw_conv2d *p, int units)
{
    return (int64_t)(units - 1) * p->sh + (int64_t)(p->kh - 1) * p->dilh + 1;
}

/* Rows to a chunk: no more than fit half of L2 when packed, and few enough for all threads to have work. */
static int choose_chunk(const tw_conv2d *p, const cut *c, const tw_device *device)
{
    int threads = tw_cpu_threads(device);
    double row = (double)c->blocks * c->phases * c->columns * TW_BLOCK * sizeof(float);
    int chunk = c->units;
    if (!c->in_place)
        while (chunk > 1 && rows_of(p, chunk) * row > tw_cpu_of(device)->l2_bytes / 2) chunk = (chunk + 1) / 2;
    else if (row * chunk > tw_cpu_of(device)->l2_bytes / 2)
        chunk = (int)(tw_cpu_of(device)->l2_bytes / 2 / row) + 1;
    double others = (double)p->n * p->groups * c->oc_groups;
    int least = c->in_place ? 1 : smaller(c->units, 4);
    while (threads > 1 && chunk > least && others * ceil_div(c->units, chunk) < threads * ITEMS_PER_THREAD)
        chunk = (chunk + 1) / 2;
    return ceil_div(c->units, ceil_div(c->units, chunk));
}

static cut cut_up(const tw_problem *problem, const tw_device *device)
{
    const tw_conv2d *p = problem->params;
    cut c = {.icg = p->ic / p->groups, .taps = p->kh * p->kw};
    c.plain_in = problem->in[0].layout == TW_PLAIN;
    c.in_place = !c.plain_in && c.taps == 1 && p->sh == 1 && p->sw == 1 && !(p->pt | p->pl | p->pb | p->pr);
    c.blocks = ceil_div(c.icg, TW_BLOCK);
    c.tail = c.icg % TW_BLOCK;
    c.oc_blocks = ceil_div(p->oc / p->groups, TW_BLOCK);
    c.oc_groups = ceil_div(c.oc_blocks, tw_tile_vectors(TW_VARIANT_ISA));
    if (c.in_place) {
        c.units = ceil_div(p->oh * p->ow, tile_pixels());
        c.phases = 1;
        c.columns = tile_pixels();
        c.chunk = choose_chunk(p, &c, device);
    } else {
        c.units = p->oh;
        c.phases = p->kw == 1 ? 1 : p->sw;
        c.columns = p->ow + (p->kw - 1) * p->dilw / p->sw;
        c.chunk = choose_chunk(p, &c, device);
        c.rows = (int)rows_of(p, c.chunk);
        c.scratch = (int64_t)c.blocks * c.rows * c.phases * c.columns * TW_BLOCK;
    }
    c.chunks = ceil_div(c.units, c.chunk);
    return c;
}

/* ---- weights ---- */

static size_t offsets_bytes(const cut *c)
{
    return tw_align((size_t)c->blocks * (size_t)c->taps * sizeof(int32_t));
}

static size_t packed_bytes(const tw_problem *problem, const tw_device *device)
{
    const tw_conv2d *p = problem->params;
    cut c = cut_up(problem, device);
    size_t lanes = (size_t)p->groups * (size_t)c.oc_blocks * TW_BLOCK;
    return offsets_bytes(&c) + lanes * (size_t)c.icg * (size_t)c.taps * sizeof(float);
}

/* Where tap (block, ky, kx) begins, from the first pixel of a tile, in floats. */
static int32_t tap_offset(const tw_conv2d *p, const cut *c, int block, int ky, int kx)
{
    if (c->in_place) return (int32_t)((int64_t)block * p->ih * p->iw * TW_BLOCK);
    int column = kx * p->dilw;
    int64_t row = (int64_t)block * c->rows + (int64_t)ky * p->dilh;
    return (int32_t)(((row * c->phases + column % p->sw) * c->columns + column / p->sw) * TW_BLOCK);
}

/* One block of input channels of one oc group: to[tap][depth][width] from `width` rows of w, missing ones zero. */
static void pack_block(const float *w, const cut *c, int depth, int outputs, int width, float *to)
{
    size_t row = (size_t)c->icg * (size_t)c->taps;
    for (int o = 0; o < width; o++)
        for (int tap = 0; tap < c->taps; tap++)
            for (int k = 0; k < depth; k++)
                to[((size_t)tap * (size_t)depth + (size_t)k) * (size_t)width + (size_t)o] =
                    o < outputs ? w[(size_t)o * row + (size_t)k * (size_t)c->taps + (size_t)tap] : 0;
}

static void pack(const tw_problem *problem, const tw_device *device, const void *const *in, void *packed)
{
    const tw_conv2d *p = problem->params;
    cut c = cut_up(problem, device);
    int32_t *offsets = packed;
    for (int block = 0; block < c.blocks; block++)
        for (int tap = 0; tap < c.taps; tap++) *offsets++ = tap_offset(p, &c, block, tap / p->kw, tap % p->kw);

    float *to = (float *)((char *)packed + offsets_bytes(&c));
    int ocg = p->oc / p->groups, step = tw_tile_vectors(TW_VARIANT_ISA) * TW_BLOCK;
    for (int g = 0; g < p->groups; g++)
        for (int oc = 0; oc < ocg; oc += step) {
            int outputs = smaller(ocg - oc, step), width = ceil_div(outputs, TW_BLOCK) * TW_BLOCK;
            for (int ic = 0; ic < c.icg; ic += TW_BLOCK) {
                int depth = smaller(c.icg - ic, TW_BLOCK);
                size_t from = ((size_t)(g * ocg + oc) * (size_t)c.icg + (size_t)ic) * (size_t)c.taps;
                pack_block((const float *)in[1] + from, &c, depth, outputs, width, to);
                to += (size_t)c.taps * (size_t)depth * (size_t)width;
            }
        }
}

static size_t workspace(const tw_problem *problem, const tw_device *device)
{
    cut c = cut_up(problem, device);
    return (size_t)c.scratch * sizeof(float) * (size_t)tw_cpu_threads(device);
}

/* ---- packing a chunk of rows ---- */

/* One row: where it lies and where it goes. */
typedef struct row_copy {
    const float *from; /* column 0 of the block or, in the plain layout, of the first channel; null for padding */
    float *to;         /* [phases][columns][16] */
} row_copy;

/* Does any tap read this phase? */
static bool phase_used(const tw_conv2d *p, int phase)
{
    for (int kx = 0; kx < p->kw; kx++)
        if (kx * p->dilw % p->sw == phase) return true;
    return false;
}

/* Does any of `units` output rows read row `row` of their chunk? */
static bool row_used(const tw_conv2d *p, int row, int units)
{
    for (int ky = 0; ky < p->kh; ky++) {
        int above = row - ky * p->dilh;
        if (above >= 0 && above % p->sh == 0 && above / p->sh < units) return true;
    }
    return false;
}

/* The columns [first, end) of a phase that lie in the input, the rest being padding. */
typedef struct inside {
    int first, end;
} inside;

static inside inside_of(const tw_conv2d *p, const cut *c, int phase)
{
    int before = p->pl - phase;
    int first = before > 0 ? ceil_div(before, p->sw) : 0;
    int last = p->iw - 1 + before; /* column of the last input pixel, times the stride */
    int end = last < 0 ? 0 : smaller(last / p->sw + 1, c->columns);
    return (inside){smaller(first, end), end};
}

static void copy_blocked(const tw_conv2d *p, const cut *c, const row_copy *copy)
{
    for (int phase = 0; phase < c->phases; phase++) {
        if (!phase_used(p, phase)) continue;
        float *to = copy->to + (size_t)phase * (size_t)c->columns * TW_BLOCK;
        inside in = copy->from ? inside_of(p, c, phase) : (inside){c->columns, c->columns};
        for (int q = 0; q < in.first; q++) v16_store(to + q * TW_BLOCK, v16_zero());
        for (int q = in.first; q < in.end; q++)
            v16_store(to + q * TW_BLOCK, v16_load(copy->from + ((ptrdiff_t)q * p->sw + phase - p->pl) * TW_BLOCK));
        for (int q = in.end; q < c->columns; q++) v16_store(to + q * TW_BLOCK, v16_zero());
    }
}

/* All channels, a plane apart, each into its lane; the lanes beyond the last channel are never read. */
static void copy_plain(const tw_conv2d *p, const cut *c, const row_copy *copy)
{
    size_t plane = (size_t)p->ih * (size_t)p->iw;
    for (int phase = 0; phase < c->phases; phase++) {
        if (!phase_used(p, phase)) continue;
        inside in = copy->from ? inside_of(p, c, phase) : (inside){c->columns, c->columns};
        for (int i = 0; i < c->icg; i++) {
            float *to = copy->to + (size_t)phase * (size_t)c->columns * TW_BLOCK + i;
            const float *from = copy->from + (copy->from ? (size_t)i * plane : 0);
            for (int q = 0; q < in.first; q++) to[q * TW_BLOCK] = 0;
            for (int q = in.first; q < in.end; q++) to[q * TW_BLOCK] = from[(ptrdiff_t)q * p->sw + phase - p->pl];
            for (int q = in.end; q < c->columns; q++) to[q * TW_BLOCK] = 0;
        }
    }
}

typedef struct job {
    const tw_step *step;
    const tw_conv2d *p;
    cut c;
} job;

/* The place of an item: output rows (or tiles) [first, end) of image n, group g. */
typedef struct place {
    int n, g, first, end;
} place;

static void pack_chunk(const job *j, const place *at, float *scratch)
{
    const tw_conv2d *p = j->p;
    const cut *c = &j->c;
    int blocks = c->plain_in ? 1 : c->blocks; /* copied one after another */
    size_t pixel = c->plain_in ? 1 : TW_BLOCK, row_floats = (size_t)p->iw * pixel;
    size_t to_row = (size_t)c->phases * (size_t)c->columns * TW_BLOCK;
    size_t image = ((size_t)at->n * (size_t)p->groups + (size_t)at->g) * (size_t)(c->plain_in ? c->icg : c->blocks);
    int rows = (int)rows_of(p, at->end - at->first), top = at->first * p->sh - p->pt;
    for (int row = 0; row < rows; row++) {
        if (!row_used(p, row, at->end - at->first)) continue;
        int iy = top + row;
        for (int i = 0; i < blocks; i++) {
            const float *from = (const float *)j->step->in[0] + (image + (size_t)i) * (size_t)p->ih * row_floats;
            row_copy copy = {iy >= 0 && iy < p->ih ? from + (size_t)iy * row_floats : NULL, scratch};
            copy.to += ((size_t)i * (size_t)c->rows + (size_t)row) * to_row;
            (c->plain_in ? copy_plain : copy_blocked)(p, c, &copy);
        }
    }
}

/* ---- multiplying ---- */

/* Channels beyond oc stay zero even where the input is infinite or NaN. */
static void clear_lanes(const tw_tile *tile, int lanes)
{
    float *last = tile->c + (tile->vectors - 1) * tile->c_vector;
    for (int i = 0; i < tile->pixels; i++)
        memset(last + i * TW_BLOCK + lanes, 0, (size_t)(TW_BLOCK - lanes) * sizeof(float));
}

/* One run of pixels as tiles of about the same width; a, c and residual advance with the pixels. */
static void multiply_run(tw_tile *tile, int pixels, int lanes)
{
    int tiles = ceil_div(pixels, tile_pixels());
    for (int i = 0; i < tiles; i++) {
        tile->pixels = pixels / tiles + (i < pixels % tiles);
        tw_tile_for(TW_VARIANT_ISA)(tile);
        if (lanes < TW_BLOCK) clear_lanes(tile, lanes);
        tile->a += tile->pixels * TW_BLOCK;
        tile->c += tile->pixels * TW_BLOCK;
        if (tile->residual) tile->residual += tile->pixels * TW_BLOCK;
    }
}

static void multiply(const job *j, const place *at, int oc_group, const float *scratch)
{
    const tw_conv2d *p = j->p;
    const cut *c = &j->c;
    const tw_step *step = j->step;
    int vectors = tw_tile_vectors(TW_VARIANT_ISA), plane = p->oh * p->ow;
    int block = at->g * c->oc_blocks + oc_group * vectors; /* the first of the group, among all of oc */
    tw_tile tile = {.offsets = step->packed, .tail = c->tail, .last = TW_BLOCK, .activation = p->activation};
    tile.vectors = smaller(vectors, c->oc_blocks - oc_group * vectors);
    tile.tails = c->tail ? c->taps : 0;
    tile.full = c->blocks * c->taps - tile.tails;
    tile.b = (const float *)((const char *)step->packed + offsets_bytes(c)) +
             (size_t)block * TW_BLOCK * (size_t)c->icg * (size_t)c->taps;
    tile.c_pixel = TW_BLOCK;
    tile.c_vector = (ptrdiff_t)plane * TW_BLOCK;

    int outputs = smaller(p->oc - block * TW_BLOCK, tile.vectors * TW_BLOCK);
    int lanes = outputs - (tile.vectors - 1) * TW_BLOCK;
    float bias[TW_TILE_MAX_VECTORS * TW_BLOCK] = {0};
    if (step->in[2]) {
        memcpy(bias, (const float *)step->in[2] + block * TW_BLOCK, (size_t)outputs * sizeof *bias);
        tile.bias = bias;
    }
    size_t out = ((size_t)at->n * (size_t)(p->groups * c->oc_blocks) + (size_t)block) * (size_t)plane * TW_BLOCK;
    float *to = (float *)step->out + out;
    const float *residual = step->in[3] ? (const float *)step->in[3] + out : NULL;

    if (c->in_place) {
        int first = at->first * tile_pixels(), pixels = smaller(at->end * tile_pixels(), plane) - first;
        size_t in = ((size_t)at->n * (size_t)p->groups + (size_t)at->g) * (size_t)c->blocks * (size_t)plane;
        tile.a = (const float *)step->in[0] + (in + (size_t)first) * TW_BLOCK;
        tile.c = to + (size_t)first * TW_BLOCK;
        tile.residual = residual ? residual + (size_t)first * TW_BLOCK : NULL;
        multiply_run(&tile, pixels, lanes);
        return;
    }
    for (int row = at->first; row < at->end; row++) {
        size_t from = (size_t)(row - at->first) * (size_t)p->sh * (size_t)c->phases * (size_t)c->columns;
        tile.a = scratch + from * TW_BLOCK;
        tile.c = to + (size_t)row * (size_t)p->ow * TW_BLOCK;
        tile.residual = residual ? residual + (size_t)row * (size_t)p->ow * TW_BLOCK : NULL;
        multiply_run(&tile, p->ow, lanes);
    }
}

/* Items are [image][group][chunk][oc group]. */
static void do_items(const void *context, size_t begin, size_t end, int thread)
{
    const job *j = context;
    const cut *c = &j->c;
    float *scratch = c->in_place ? NULL : (float *)j->step->workspace + (size_t)c->scratch * (size_t)thread;
    size_t there = (size_t)-1; /* the chunk in scratch */
    for (size_t i = begin; i < end; i++) {
        size_t chunk = i / (size_t)c->oc_groups, image = chunk / (size_t)c->chunks;
        place at = {.n = (int)(image / (size_t)j->p->groups), .g = (int)(image % (size_t)j->p->groups)};
        at.first = (int)(chunk % (size_t)c->chunks) * c->chunk;
        at.end = smaller(at.first + c->chunk, c->units);
        if (!c->in_place && chunk != there) pack_chunk(j, &at, scratch);
        there = chunk;
        multiply(j, &at, (int)(i % (size_t)c->oc_groups), scratch);
    }
}

static tw_status run(const tw_step *step, tw_queue *queue)
{
    const tw_conv2d *p = step->problem->params;
    job j = {step, p, cut_up(step->problem, &tw_queue_cpu(queue)->device)};
    size_t items = (size_t)p->n * (size_t)p->groups * (size_t)j.c.chunks * (size_t)j.c.oc_groups;
    double item = step->problem->op->flops(p) / (double)items;
    tw_parallel(queue, do_items, &j, items, 1 + (size_t)(GRAIN / item));
    return TW_OK;
}

/* ---- choice ---- */

static bool supports(const tw_problem *problem, const tw_device *device, const char **reason)
{
    const tw_conv2d *p = problem->params;
    int icg = p->ic / p->groups;
    for (int i = 0; i < problem->n_in; i++)
        if (problem->in[i].dtype != TW_ABSENT && problem->in[i].dtype != TW_F32) {
            *reason = "computes in float32 only";
            return false;
        }
    *reason = "writes blocked channels only";
    if (problem->out.layout != TW_BLOCKED) return false;
    *reason = "reads blocked channels, or at most 8 plain ones without groups";
    if (problem->in[0].layout != TW_BLOCKED &&
        (problem->in[0].layout != TW_PLAIN || p->groups > 1 || p->ic > PLAIN_CHANNELS))
        return false;
    *reason = "needs groups of whole blocks of 16 input and 16 output channels";
    if (p->groups > 1 && (icg % TW_BLOCK || p->oc / p->groups % TW_BLOCK)) return false;
    *reason = "the problem is too large for 32-bit offsets";
    if ((int64_t)p->oh * p->ow > INT_MAX / TW_BLOCK || (int64_t)p->ih * p->iw > INT_MAX / TW_BLOCK) return false;
    if ((int64_t)(p->kw - 1) * p->dilw > INT_MAX / 4 || rows_of(p, p->oh) > INT_MAX / 4) return false;
    if ((int64_t)p->kh * p->kw > INT_MAX / TW_BLOCK / icg) return false;
    cut c = cut_up(problem, device);
    double reach = c.in_place ? (double)c.blocks * p->ih * p->iw * TW_BLOCK
                              : (double)c.blocks * c.rows * c.phases * c.columns * TW_BLOCK;
    return reach < INT_MAX;
}

/* Cycles of a core for one tile with a deep inner dimension, in multiply-adds that would fit: narrow tiles wait for the
 * unit's latency. */
static double cost(const tw_problem *problem, const tw_device *device)
{
    const tw_conv2d *p = problem->params;
    cut c = cut_up(problem, device);
    double flops = problem->op->flops(p), depth = (double)c.icg * c.taps;
    int vectors = smaller(tw_tile_vectors(TW_VARIANT_ISA), c.oc_blocks);
    int pixels = c.in_place ? p->oh * p->ow : p->ow, tiles = ceil_div(pixels, tile_pixels());
    double sums = (double)pixels / tiles * vectors;
    double lanes = (double)(p->oc / p->groups) / (c.oc_blocks * TW_BLOCK);
    double kernel = depth * (sums > 4.2 ? sums : 4.2) + 2 * sums + 40;
    double read = depth / c.taps * p->sh * p->sw * (double)pixels / tiles; /* floats of the input for this tile */
    double copies = c.in_place ? 0 : read / (c.plain_in ? 0.5 : 6) / c.oc_groups;
    double efficiency = 0.93 * lanes * depth * sums / (kernel + copies);
    return tw_cpu_seconds(device, flops, efficiency, tw_problem_bytes(problem), tw_cpu_threads(device));
}

const tw_design TW_CPU_DESIGN(conv2d, direct_blocked) = {
    .op = "conv2d",
    .device = "cpu",
    .name = "direct_blocked",
    .summary = "direct over blocks of 16 channels, register tiles of pixels and channels, padding packed away",
    .supports = supports,
    .workspace = workspace,
    .packed_bytes = packed_bytes,
    .pack = pack,
    .cost = cost,
    .run = run,
};
