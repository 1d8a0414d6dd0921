/* conv2d, direct over plain planes, for few output channels: a vector holds neighbouring pixels of one output row.
 *
 * The blocked designs give a lane to each of 16 output channels, and so compute 16 where a layer has 6. Here a tile is
 * VECTORS runs of TW_LANES pixels times up to CHANNELS output channels, all sums in registers: for each tap (ic, ky, kx)
 * every run is loaded once, at the tap's offset, and multiplied by each channel's weight, a broadcast.
 *
 *   run       where a row is no multiple of TW_LANES wide, its last run begins TW_LANES before its end and computes
 *             some pixels again: nothing is masked, and nothing is read beyond the row. The runs of several rows fill
 *             a tile one after another, the last one repeated where they end.
 *   in place  without padding, and with rows of a run or more, x is read where it lies.
 *   packed    otherwise a chunk of rows is first copied, with its padding, into the thread's scratch.
 *
 * Weights are packed as [group][tile of channels][tap][channels]. A work item is (image, group, chunk of rows).
 * Bound by the multiply-add unit: a tap of AVX-512's tile is 24 multiply-adds for 4 loads and 6 broadcasts. */
#include "core/design.h"
#include "core/status.h"
#include "ops/common/lanes.h"
#include "ops/conv2d/conv2d.h"

#include <limits.h>

enum {
    CHANNELS = 6,
    VECTORS = TW_VARIANT_ISA == TW_ISA_AVX512 || TW_VARIANT_ISA == TW_ISA_NEON ? 4 : 2, /* of 32 registers, or of 16 */
    FEW = 8, /* channels that the blocked designs read from the plain layout */
    ITEMS_PER_THREAD = 4,
    GRAIN = 200000 /* operations that are worth a thread: some 2 microseconds */
};

/* How a problem is cut up; the same whenever it is asked for. */
typedef struct cut {
    bool in_place;
    int icg, ocg, taps; /* of a group; taps: icg * kh * kw */
    int tiles;          /* of output channels, of a group */
    int runs;           /* of a row */
    int chunk, chunks;  /* output rows */
    int rows, columns;  /* of x in place, or of a packed chunk: a channel is [rows][columns] */
    size_t scratch;     /* floats of one thread; whole cache lines */
} cut;

static int ceil_div(int a, int b)
{
    return (a - 1) / b + 1;
}

static int smaller(int a, int b)
{
    return a < b ? a : b;
}

/* Input rows below one another that `count` output rows read. */
static int64_t rows_of(const tw_conv2d *p, int count)
{
    return (int64_t)(count - 1) * p->sh + (int64_t)(p->kh - 1) * p->dilh + 1;
}

static int64_t columns_of(const tw_conv2d *p)
{
    return (int64_t)(p->ow > TW_LANES ? p->ow : TW_LANES) + (int64_t)(p->kw - 1) * p->dilw;
}

/* Rows to a chunk: no more than fit half of L2 when packed, and few enough for all threads to have work. */
static int choose_chunk(const tw_conv2d *p, const cut *c, const tw_device *device)
{
    int threads = tw_cpu_threads(device), chunk = p->oh, least = smaller(p->oh, 4);
    double row = (double)c->icg * (double)columns_of(p) * sizeof(float);
    while (!c->in_place && chunk > 1 && (double)rows_of(p, chunk) * row > (double)(tw_cpu_of(device)->l2_bytes / 2))
        chunk = (chunk + 1) / 2;
    double others = (double)p->n * p->groups;
    while (threads > 1 && chunk > least && others * ceil_div(p->oh, chunk) < threads * ITEMS_PER_THREAD)
        chunk = (chunk + 1) / 2;
    return ceil_div(p->oh, ceil_div(p->oh, chunk));
}

static cut cut_up(const tw_conv2d *p, const tw_device *device)
{
    cut c = {.icg = p->ic / p->groups, .ocg = p->oc / p->groups, .runs = ceil_div(p->ow, TW_LANES)};
    c.in_place = !(p->pt | p->pl | p->pb | p->pr) && p->ow >= TW_LANES;
    c.taps = c.icg * p->kh * p->kw;
    c.tiles = ceil_div(c.ocg, CHANNELS);
    c.chunk = choose_chunk(p, &c, device);
    c.chunks = ceil_div(p->oh, c.chunk);
    c.rows = c.in_place ? p->ih : (int)rows_of(p, c.chunk);
    c.columns = c.in_place ? p->iw : (int)columns_of(p);
    if (!c.in_place)
        c.scratch = tw_align((size_t)c.icg * (size_t)c.rows * (size_t)c.columns * sizeof(float)) / sizeof(float);
    return c;
}

/* The first output channel of a tile; tiles are about the same size. */
static int first_channel(const cut *c, int tile)
{
    return (int)((int64_t)c->ocg * tile / c->tiles);
}

/* ---- weights ---- */

static size_t offsets_bytes(const cut *c)
{
    return tw_align((size_t)c->taps * sizeof(int32_t));
}

static size_t packed_bytes(const tw_problem *problem, const tw_device *device)
{
    const tw_conv2d *p = problem->params;
    cut c = cut_up(p, device);
    return offsets_bytes(&c) + (size_t)p->oc * (size_t)c.taps * sizeof(float);
}

static void pack(const tw_problem *problem, const tw_device *device, const void *const *in, void *packed)
{
    const tw_conv2d *p = problem->params;
    cut c = cut_up(p, device);
    int32_t *offsets = packed;
    for (int ic = 0; ic < c.icg; ic++)
        for (int ky = 0; ky < p->kh; ky++)
            for (int kx = 0; kx < p->kw; kx++) *offsets++ = (ic * c.rows + ky * p->dilh) * c.columns + kx * p->dilw;

    float *to = (float *)((char *)packed + offsets_bytes(&c));
    for (int g = 0; g < p->groups; g++)
        for (int tile = 0; tile < c.tiles; tile++)
            for (int tap = 0; tap < c.taps; tap++)
                for (int oc = first_channel(&c, tile); oc < first_channel(&c, tile + 1); oc++)
                    *to++ =
                        ((const float *)in[1])[((size_t)g * (size_t)c.ocg + (size_t)oc) * (size_t)c.taps + (size_t)tap];
}

static size_t workspace(const tw_problem *problem, const tw_device *device)
{
    return cut_up(problem->params, device).scratch * sizeof(float) * (size_t)tw_cpu_threads(device);
}

/* ---- the kernel ---- */

typedef struct tile {
    const float *x[VECTORS]; /* the first tap of each run */
    size_t y[VECTORS];       /* where it goes, in a plane of the output */
    const int32_t *offsets;  /* [taps] */
    const float *w;          /* [taps][channels] */
    int taps, channels;
    float *out;            /* the plane of the first channel */
    const float *residual; /* likewise, or null */
    const float *bias;     /* [channels] or null */
    size_t plane;
    size_t pixels; /* of a run that are stored: TW_LANES unless rows are narrower */
    int activation;
} tile;

TW_INLINE lanes activate(lanes v, int activation)
{
    if (activation == TW_ACT_RELU) return lanes_max(lanes_all(0), v);
    if (activation == TW_ACT_RELU6) return lanes_clip(v, lanes_all(0), lanes_all(6));
    return v;
}

/* Where rows are narrower than a run: sums[channel][run][lane], a pixel at a time. Apart, for its calls would keep the
 * kernel's sums out of registers. */
static __attribute__((noinline)) void finish_part(const tile *t, const float *sums)
{
    for (int i = 0; i < t->channels * VECTORS; i++) {
        int channel = i / VECTORS;
        size_t at = (size_t)channel * t->plane + t->y[i % VECTORS];
        lanes v = lanes_load(sums + i * TW_LANES);
        if (t->bias) v += lanes_all(t->bias[channel]);
        if (t->residual) v += lanes_load_part(t->residual + at, t->pixels, 0);
        lanes_store_part(t->out + at, activate(v, t->activation), t->pixels);
    }
}

/* `channels` is a constant where this is inlined. */
TW_INLINE void compute(const tile *t, const int channels)
{
    lanes sum[CHANNELS][VECTORS] = {0};
    const float *w = t->w;
    for (int tap = 0; tap < t->taps; tap++, w += channels) {
        ptrdiff_t at = t->offsets[tap];
        lanes x[VECTORS];
        TW_UNROLL
        for (int v = 0; v < VECTORS; v++) x[v] = lanes_load(t->x[v] + at);
        TW_UNROLL
        for (int c = 0; c < channels; c++) {
            TW_UNROLL
            for (int v = 0; v < VECTORS; v++) sum[c][v] += x[v] * w[c];
        }
    }
    if (t->pixels < TW_LANES) {
        float sums[CHANNELS * VECTORS * TW_LANES];
        TW_UNROLL
        for (int c = 0; c < channels; c++) {
            TW_UNROLL
            for (int v = 0; v < VECTORS; v++) lanes_store(sums + (c * VECTORS + v) * TW_LANES, sum[c][v]);
        }
        finish_part(t, sums);
        return;
    }
    if (t->bias) {
        TW_UNROLL
        for (int c = 0; c < channels; c++) {
            TW_UNROLL
            for (int v = 0; v < VECTORS; v++) sum[c][v] += lanes_all(t->bias[c]);
        }
    }
    if (t->residual) {
        TW_UNROLL
        for (int c = 0; c < channels; c++) {
            TW_UNROLL
            for (int v = 0; v < VECTORS; v++) sum[c][v] += lanes_load(t->residual + (size_t)c * t->plane + t->y[v]);
        }
    }
    if (t->activation != TW_ACT_NONE) {
        lanes high = lanes_all(t->activation == TW_ACT_RELU6 ? 6 : INFINITY);
        TW_UNROLL
        for (int c = 0; c < channels; c++) {
            TW_UNROLL
            for (int v = 0; v < VECTORS; v++) sum[c][v] = lanes_clip(sum[c][v], lanes_all(0), high);
        }
    }
    TW_UNROLL
    for (int c = 0; c < channels; c++) {
        TW_UNROLL
        for (int v = 0; v < VECTORS; v++) lanes_store(t->out + (size_t)c * t->plane + t->y[v], sum[c][v]);
    }
}

static void compute_tile(const tile *t)
{
    switch (t->channels) {
    case 1: compute(t, 1); return;
    case 2: compute(t, 2); return;
    case 3: compute(t, 3); return;
    case 4: compute(t, 4); return;
    case 5: compute(t, 5); return;
    default: compute(t, CHANNELS); return;
    }
}

/* ---- a chunk of rows ---- */

typedef struct job {
    const tw_step *step;
    const tw_conv2d *p;
    cut c;
} job;

/* x: the group's channels, [icg][ih][iw]; to: [icg][rows][columns], from the first row that output row `first` reads. */
static void pack_chunk(const job *j, const float *x, int first, int count, float *to)
{
    const tw_conv2d *p = j->p;
    const cut *c = &j->c;
    int rows = (int)rows_of(p, count), before = smaller(p->pl, c->columns),
        inside = smaller(p->iw, c->columns - before);
    size_t after = (size_t)(c->columns - before - inside);
    for (int ic = 0; ic < c->icg; ic++)
        for (int row = 0; row < rows; row++) {
            int64_t iy = (int64_t)first * p->sh - p->pt + row;
            float *line = to + ((size_t)ic * (size_t)c->rows + (size_t)row) * (size_t)c->columns;
            if (iy < 0 || iy >= p->ih) {
                memset(line, 0, (size_t)c->columns * sizeof *line);
                continue;
            }
            memset(line, 0, (size_t)before * sizeof *line);
            memcpy(line + before, x + ((size_t)ic * (size_t)p->ih + (size_t)iy) * (size_t)p->iw,
                   (size_t)inside * sizeof *line);
            memset(line + before + inside, 0, after * sizeof *line);
        }
}

/* All runs of output rows [first, first + count) for one tile of channels; x is the first row that they read. */
static void compute_rows(const job *j, tile *t, const float *x, const int rows[2])
{
    const tw_conv2d *p = j->p;
    const cut *c = &j->c;
    int last = p->ow > TW_LANES ? p->ow - TW_LANES : 0, row = 0, column = 0;
    for (int left = rows[1] * c->runs; left > 0; left -= VECTORS) {
        for (int v = 0; v < VECTORS; v++) {
            int at = smaller(column, last);
            t->x[v] = x + (size_t)row * (size_t)p->sh * (size_t)c->columns + at;
            t->y[v] = (size_t)(rows[0] + row) * (size_t)p->ow + (size_t)at;
            if (v + 1 >= left) continue; /* the last run again */
            column += TW_LANES;
            if (column >= p->ow) {
                column = 0;
                row++;
            }
        }
        compute_tile(t);
    }
}

/* Items are [image][group][chunk]. */
static void do_items(const void *context, size_t begin, size_t end, int thread)
{
    const job *j = context;
    const tw_conv2d *p = j->p;
    const cut *c = &j->c;
    const tw_step *step = j->step;
    size_t plane = (size_t)p->oh * (size_t)p->ow;
    float *scratch = c->in_place ? NULL : (float *)step->workspace + c->scratch * (size_t)thread;
    tile t = {.offsets = step->packed, .taps = c->taps, .plane = plane, .activation = p->activation};
    t.pixels = (size_t)smaller(p->ow, TW_LANES);
    for (size_t i = begin; i < end; i++) {
        size_t image = i / (size_t)c->chunks, group = image % (size_t)p->groups; /* image: of n and groups */
        int first = (int)(i % (size_t)c->chunks) * c->chunk;
        const int rows[2] = {first, smaller(c->chunk, p->oh - first)};
        const float *x = (const float *)step->in[0] + image * (size_t)c->icg * (size_t)p->ih * (size_t)p->iw;
        if (c->in_place)
            x += (size_t)first * (size_t)p->sh * (size_t)p->iw;
        else
            pack_chunk(j, x, first, rows[1], scratch);
        for (int k = 0; k < c->tiles; k++) {
            size_t oc = (size_t)first_channel(c, k), channel = group * (size_t)c->ocg + oc;
            size_t out = (image * (size_t)c->ocg + oc) * plane;
            t.channels = first_channel(c, k + 1) - (int)oc;
            t.w = (const float *)((const char *)step->packed + offsets_bytes(c)) + channel * (size_t)c->taps;
            t.out = (float *)step->out + out;
            t.residual = step->in[3] ? (const float *)step->in[3] + out : NULL;
            t.bias = step->in[2] ? (const float *)step->in[2] + channel : NULL;
            compute_rows(j, &t, c->in_place ? x : scratch, rows);
        }
    }
}

static tw_status run(const tw_step *step, tw_queue *queue)
{
    const tw_conv2d *p = step->problem->params;
    job j = {step, p, cut_up(p, &tw_queue_cpu(queue)->device)};
    size_t items = (size_t)p->n * (size_t)p->groups * (size_t)j.c.chunks;
    double item = step->problem->op->flops(p) / (double)items;
    tw_parallel(queue, do_items, &j, items, 1 + (size_t)(GRAIN / item));
    return TW_OK;
}

/* ---- choice ---- */

static bool supports(const tw_problem *problem, const tw_device *device, const char **reason)
{
    (void)device;
    const tw_conv2d *p = problem->params;
    for (int i = 0; i < problem->n_in; i++)
        if (problem->in[i].dtype != TW_ABSENT && problem->in[i].dtype != TW_F32) {
            *reason = "computes in float32 only";
            return false;
        }
    *reason = "reads and writes the plain layout only";
    if (problem->in[0].layout != TW_PLAIN || problem->out.layout != TW_PLAIN) return false;
    *reason = "needs a stride of 1 along the width";
    if (p->sw != 1) return false;
    *reason = "the problem is too large for 32-bit offsets";
    int64_t rows = rows_of(p, p->oh), columns = columns_of(p);
    if (rows > INT_MAX / 4 || columns > INT_MAX / 4) return false;
    if ((int64_t)p->oh * ceil_div(p->ow, TW_LANES) > INT_MAX / 4) return false;
    double icg = (double)p->ic / p->groups;
    return icg * (double)(rows > p->ih ? rows : p->ih) * (double)(columns > p->iw ? columns : p->iw) < INT_MAX &&
           icg * p->kh * p->kw < INT_MAX;
}

/* In cycles of a tile's multiply-adds. Most loads of a run cross a cache line, which takes two. Where multiplying and
 * adding are two instructions, a fraction of what direct_blocked claims for itself, as measured. More than a few plain
 * channels are likely to be reordered for the next layer, which is counted here, for nobody else sees that far. */
static double cost(const tw_problem *problem, const tw_device *device)
{
    const tw_conv2d *p = problem->params;
    cut c = cut_up(p, device);
    double channels = (double)c.ocg / c.tiles, used = (double)p->ow / (c.runs * TW_LANES);
    double tap = channels * VECTORS, loads = 2 * VECTORS + channels;
    double kernel = c.taps * (tap > loads ? tap : loads) + 2 * tap + 40;
    double copies = c.in_place ? 0 : 2.0 * c.icg * VECTORS * p->sh / c.tiles;
    double efficiency = (TW_VARIANT_ISA == TW_ISA_PORTABLE ? 0.4 : 0.93) * used * c.taps * tap / (kernel + copies);
    double out = (double)p->n * p->oc * p->oh * p->ow * sizeof(float);
    double reorder = p->oc > FEW ? tw_cpu_seconds(device, 0, 1, 2 * out, tw_cpu_threads(device)) : 0;
    return tw_cpu_seconds(device, problem->op->flops(p), efficiency, tw_problem_bytes(problem),
                          tw_cpu_threads(device)) +
           reorder;
}

const tw_design TW_CPU_DESIGN(conv2d, direct_plain) = {
    .op = "conv2d",
    .device = "cpu",
    .name = "direct_plain",
    .summary = "direct over plain planes, register tiles of runs of pixels and few output channels",
    .supports = supports,
    .workspace = workspace,
    .packed_bytes = packed_bytes,
    .pack = pack,
    .cost = cost,
    .run = run,
};
