/* conv2d as a matrix product, the original study's second design: y[oc][pixel] = w[oc][k] * columns[k][pixel], where
 * k = (input channel, ky, kx) and a column holds the inputs under one output's window.
 *
 * The columns are never whole in memory: a work item writes those of up to PANELS * vectors * 16 neighbouring pixels,
 * DEPTH rows of k at a time, straight in the order in which the tile kernel of devices/cpu/tile.h reads its vectors:
 * [panel][k][vectors * 16]. A tile is up to 14 output channels (whose weights are broadcast, packed as
 * [group][tile][k / 16][channel][16]) times one panel of pixels; sums of earlier rows of k wait in y. A tile's weights
 * pass over all panels before the next tile's: they stay in L1, the panels (128 KB) in L2.
 * Bound by the multiply-add unit where oc is large; each element of the columns is written once and read oc / 14
 * times, so that for few channels the writing decides. Plain in and out; any group, stride and dilation. */
#include "core/status.h"
#include "devices/cpu/simd.h"
#include "devices/cpu/tile.h"
#include "ops/conv2d/columns.h"
#include "ops/conv2d/plain.h"

#include <limits.h>

enum {
    DEPTH = 256, /* rows of k in a slice: 16 blocks of 16 */
    PANELS = 4,  /* most of an item */
    ITEMS_PER_THREAD = 2,
    GRAIN = 200000 /* operations that are worth a thread: some 2 microseconds */
};

/* How a problem is cut up. */
typedef struct cut {
    int k, blocks;      /* rows of the columns, and in blocks of 16 */
    int ocg, plane;     /* output channels of a group, pixels */
    int rows, tiles;    /* channels of a tile (the last may have fewer); tiles of a group */
    int width;          /* pixels of a panel */
    int panels, chunks; /* panels of an item; items of a plane */
    int split, splits;  /* tiles of an item; items that share a chunk of pixels */
} cut;

static int ceil_div(int a, int b)
{
    return (a - 1) / b + 1;
}

static int smaller(int a, int b)
{
    return a < b ? a : b;
}

static cut cut_up(const tw_conv2d *p, const tw_device *device)
{
    cut c = {.k = p->ic / p->groups * p->kh * p->kw, .ocg = p->oc / p->groups, .plane = p->oh * p->ow};
    c.blocks = ceil_div(c.k, TW_BLOCK);
    c.rows = ceil_div(c.ocg, ceil_div(c.ocg, tw_tile_pixels(TW_VARIANT_ISA, tw_tile_vectors(TW_VARIANT_ISA))));
    c.tiles = ceil_div(c.ocg, c.rows);
    c.width = tw_tile_vectors(TW_VARIANT_ISA) * TW_BLOCK;
    int threads = tw_cpu_threads(device), all = ceil_div(c.plane, c.width);
    double wanted = threads > 1 ? (double)threads * ITEMS_PER_THREAD : 1, others = (double)p->n * p->groups;
    c.panels = smaller(all, PANELS);
    while (c.panels > 1 && others * ceil_div(all, c.panels) < wanted) c.panels--;
    c.chunks = ceil_div(all, c.panels);
    int splits = 1;
    while (splits < c.tiles && others * c.chunks * splits < wanted) splits++;
    c.split = ceil_div(c.tiles, splits);
    c.splits = ceil_div(c.tiles, c.split);
    return c;
}

/* ---- weights: int32 offsets[k / 16] of a tile's blocks, then [group][tile][k / 16][rows][16] ---- */

static size_t offsets_bytes(const cut *c)
{
    return tw_align((size_t)c->blocks * sizeof(int32_t));
}

/* Floats of one tile. */
static size_t tile_weights(const cut *c)
{
    return (size_t)c->blocks * (size_t)c->rows * TW_BLOCK;
}

static size_t packed_bytes(const tw_problem *problem, const tw_device *device)
{
    const tw_conv2d *p = problem->params;
    cut c = cut_up(p, device);
    return offsets_bytes(&c) + (size_t)p->groups * (size_t)c.tiles * tile_weights(&c) * sizeof(float);
}

static void pack(const tw_problem *problem, const tw_device *device, const void *const *in, void *packed)
{
    const tw_conv2d *p = problem->params;
    cut c = cut_up(p, device);
    int32_t *offsets = packed;
    for (int i = 0; i < c.blocks; i++) offsets[i] = i * c.rows * TW_BLOCK;
    const float *w = in[1];
    float *to = (float *)((char *)packed + offsets_bytes(&c));
    for (int tile = 0; tile < p->groups * c.tiles; tile++)
        for (int block = 0; block < c.blocks; block++)
            for (int row = 0; row < c.rows; row++, to += TW_BLOCK) {
                int oc = tile % c.tiles * c.rows + row, left = c.k - block * TW_BLOCK;
                int depth = oc < c.ocg ? smaller(left, TW_BLOCK) : 0;
                size_t from = (size_t)(tile / c.tiles * c.ocg + oc) * (size_t)c.k + (size_t)block * TW_BLOCK;
                for (int i = 0; i < TW_BLOCK; i++) to[i] = i < depth ? w[from + (size_t)i] : 0;
            }
}

/* Of one thread; whole cache lines. */
static size_t scratch_floats(const cut *c)
{
    return (size_t)c->panels * (size_t)smaller(c->blocks * TW_BLOCK, DEPTH) * (size_t)c->width;
}

static size_t workspace(const tw_problem *problem, const tw_device *device)
{
    cut c = cut_up(problem->params, device);
    return scratch_floats(&c) * sizeof(float) * (size_t)tw_cpu_threads(device);
}

/* ---- one item ---- */

typedef struct job {
    const tw_step *step;
    const tw_conv2d *p;
    cut c;
} job;

/* An item: pixels [first, first + pixels) of the tiles [begin, end) of group g of image n. */
typedef struct place {
    int n, g, first, pixels, begin, end;
} place;

/* Rows [k, k + depth) of the item's columns: to[panel][depth][width], zero beyond the last pixel. */
static void write_panels(const job *j, const place *at, int k, int depth, float *to)
{
    const tw_conv2d *p = j->p;
    int icg = p->ic / p->groups, width = j->c.width;
    size_t channel = (size_t)at->n * (size_t)p->ic + (size_t)at->g * (size_t)icg;
    tw_columns columns = {p, (const float *)j->step->in[0] + channel * (size_t)p->ih * (size_t)p->iw};
    for (int done = 0; done < at->pixels; done += width) {
        int count = smaller(width, at->pixels - done);
        for (int i = 0; i < depth; i++, to += width) {
            tw_columns_write(&columns, k + i, at->first + done, count, to);
            for (int rest = count; rest < width; rest++) to[rest] = 0;
        }
    }
}

/* The bias is one number a row of y, where the tile kernel adds one a column: the sums start from it instead. */
static void start_from_bias(const job *j, const place *at, float *y)
{
    const float *bias = (const float *)j->step->in[2] + at->g * j->c.ocg;
    for (int oc = at->begin * j->c.rows; oc < smaller(at->end * j->c.rows, j->c.ocg); oc++)
        for (int i = 0; i < at->pixels; i++) y[(size_t)oc * (size_t)j->c.plane + (size_t)i] = bias[oc];
}

/* Rows [k, k + depth), whose columns are in `panels`: tiles outside, panels inside. */
static void multiply(const job *j, const place *at, int k, int depth, const float *panels)
{
    const cut *c = &j->c;
    const tw_step *step = j->step;
    size_t group = (size_t)at->n * (size_t)j->p->groups + (size_t)at->g;
    size_t out = group * (size_t)c->ocg * (size_t)c->plane + (size_t)at->first;
    bool end = k + depth == c->k;
    tw_tile tile = {.offsets = (const int32_t *)step->packed + k / TW_BLOCK,
                    .full = depth / TW_BLOCK,
                    .tails = depth % TW_BLOCK != 0,
                    .tail = depth % TW_BLOCK,
                    .c_pixel = c->plane,
                    .c_vector = TW_BLOCK};
    tile.accumulate = k > 0 || step->in[2];
    tile.activation = end ? j->p->activation : TW_ACT_NONE;
    const float *weights = (const float *)((const char *)step->packed + offsets_bytes(c));
    for (int i = at->begin; i < at->end; i++) {
        int oc = i * c->rows;
        tile.pixels = smaller(c->rows, c->ocg - oc);
        tile.a = weights + (size_t)(at->g * c->tiles + i) * tile_weights(c);
        tile.b = panels;
        for (int done = 0; done < at->pixels; done += c->width, tile.b += (size_t)depth * (size_t)c->width) {
            int count = smaller(c->width, at->pixels - done);
            size_t to = out + (size_t)oc * (size_t)c->plane + (size_t)done;
            tile.c = (float *)step->out + to;
            tile.residual = end && step->in[3] ? (const float *)step->in[3] + to : NULL;
            tile.vectors = c->width / TW_BLOCK;
            tile.last = count - (tile.vectors - 1) * TW_BLOCK; /* below one where the last panel needs one vector */
            tw_tile_for(TW_VARIANT_ISA)(&tile);
        }
    }
}

/* Items are [image][group][chunk of pixels][split of the tiles]. */
static void do_items(const void *context, size_t begin, size_t end, int thread)
{
    const job *j = context;
    const cut *c = &j->c;
    float *panels = (float *)j->step->workspace + scratch_floats(c) * (size_t)thread;
    for (size_t i = begin; i < end; i++) {
        size_t chunk = i / (size_t)c->splits, group = chunk / (size_t)c->chunks;
        place at = {.n = (int)(group / (size_t)j->p->groups), .g = (int)(group % (size_t)j->p->groups)};
        at.first = (int)(chunk % (size_t)c->chunks) * c->panels * c->width;
        at.pixels = smaller(c->panels * c->width, c->plane - at.first);
        at.begin = (int)(i % (size_t)c->splits) * c->split;
        at.end = smaller(at.begin + c->split, c->tiles);
        if (j->step->in[2])
            start_from_bias(j, &at, (float *)j->step->out + group * (size_t)c->ocg * (size_t)c->plane + at.first);
        for (int k = 0; k < c->k; k += DEPTH) {
            int depth = smaller(DEPTH, c->k - k);
            write_panels(j, &at, k, depth, panels);
            multiply(j, &at, k, depth, panels);
        }
    }
}

static tw_status run(const tw_step *step, tw_queue *queue)
{
    const tw_conv2d *p = step->problem->params;
    job j = {step, p, cut_up(p, &tw_queue_cpu(queue)->device)};
    size_t items = (size_t)p->n * (size_t)p->groups * (size_t)(j.c.chunks * j.c.splits);
    double item = step->problem->op->flops(p) / (double)items;
    tw_parallel(queue, do_items, &j, items, 1 + (size_t)(GRAIN / item));
    return TW_OK;
}

/* ---- choice ---- */

static bool supports(const tw_problem *problem, const tw_device *device, const char **reason)
{
    (void)device;
    const tw_conv2d *p = problem->params;
    if (!tw_conv2d_is_plain(problem, reason)) return false;
    *reason = "the problem is too large for 32-bit offsets";
    int64_t k = (int64_t)(p->ic / p->groups) * p->kh * p->kw;
    return k < INT_MAX / (TW_BLOCK * TW_TILE_MAX_PIXELS) && (int64_t)p->oh * p->ow < INT_MAX / 4;
}

/* Cycles of a core: the tiles' multiply-adds, and writing the columns, where strides go float by float. */
static double cost(const tw_problem *problem, const tw_device *device)
{
    const tw_conv2d *p = problem->params;
    cut c = cut_up(p, device);
    double sums = (double)c.ocg / c.tiles * c.width / TW_BLOCK;
    double tile = c.k * (sums > 4.2 ? sums : 4.2) + 4 * sums + 60;
    double fill = (double)c.plane / (ceil_div(c.plane, c.width) * c.width);
    double columns = (double)c.k * c.width * (p->sw == 1 ? 1.1 : 3) * c.splits / c.tiles;
    double efficiency = 0.93 * fill * c.k * sums / (tile + columns);
    return tw_cpu_seconds(device, problem->op->flops(p), efficiency, tw_problem_bytes(problem), tw_cpu_threads(device));
}

const tw_design TW_CPU_DESIGN(conv2d, im2col_gemm) = {
    .op = "conv2d",
    .device = "cpu",
    .name = "im2col_gemm",
    .summary = "a matrix product with columns of the input, written panel by panel as the product reads them",
    .supports = supports,
    .workspace = workspace,
    .packed_bytes = packed_bytes,
    .pack = pack,
    .cost = cost,
    .run = run,
};
