/* conv2d with one filter a channel (groups == ic == oc), over blocked channels: a register is 16 channels of a pixel.
 *
 * A tile is 7, 4 or 1 neighbouring outputs of a row. For each kernel row inside the input it walks the columns that
 * the tile needs, loads each once, and adds it to every output that it belongs to: (7 - 1) * stride + kw loads for
 * 7 * kw multiply-adds. Rows above and below the input are left out of the loop; columns left and right of it are read
 * as zero by a second version of the body, which only tiles at the borders use. Where a row is no multiple of 7, its
 * last tile overlaps the one before.
 * Bodies are compiled for kernels of 3 and 5 columns with stride 1 and 2; one more takes any kernel.
 * Bound by memory: 9 multiply-adds for a float read and one written. */
#include "core/design.h"
#include "core/status.h"
#include "devices/cpu/simd.h"
#include "ops/conv2d/conv2d.h"

#include <limits.h>

enum { WIDE = 7, NARROW = 4 };

/* Of a register. (Sums in a v16 wider than a register would go through memory at each step.) */
enum { LANES = TW_VARIANT_ISA == TW_ISA_AVX512 ? 16 : TW_VARIANT_ISA == TW_ISA_AVX2 ? 8 : 4 };

typedef float vec __attribute__((vector_size(LANES * 4)));
typedef int32_t mask __attribute__((vector_size(LANES * 4)));

TW_INLINE vec load(const float *p)
{
    vec v;
    memcpy(&v, p, sizeof v);
    return v;
}

/* NaN passes: v < 0 and v > 6 are false for it. */
TW_INLINE vec activate(vec v, int activation)
{
    const vec zero = {0}, six = zero + 6.0f;
    if (activation == TW_ACT_NONE) return v;
    v = (vec)((mask)v & ~(mask)(v < zero));
    if (activation == TW_ACT_RELU) return v;
    mask above = (mask)(v > six);
    return (vec)(((mask)v & ~above) | ((mask)six & above));
}

/* `count` tiles, one after another, of one row of one block of channels. */
typedef struct run_of_tiles {
    const float *in;      /* the input row of the first kernel row that counts, column 0 */
    ptrdiff_t in_row;     /* floats from one such row to the next */
    const float *weights; /* of that kernel row: [rows][kw][16] */
    int rows;             /* kernel rows inside the input */
    int left;             /* input column of the first output's first tap; may be outside */
    int count;
    int iw, kw, sw, dilw;
    const float *bias;     /* [16] */
    const float *residual; /* as out, or null */
    float *out;
    int activation;
} run_of_tiles;

/* What is known where a body is compiled; kw and sw of 0: anything. */
typedef struct kind {
    int pixels, kw, sw;
    bool border; /* columns may lie outside */
} kind;

/* Lanes [lane, lane + LANES) of an input column. */
TW_INLINE vec column(const run_of_tiles *t, kind k, const float *row, int x)
{
    if (k.border && (x < 0 || x >= t->iw)) return (vec){0};
    return load(row + (ptrdiff_t)x * TW_BLOCK);
}

/* One kernel row of a kernel known at compile time: column by column. */
TW_INLINE void add_row(vec *sum, const run_of_tiles *t, kind k, const float *row, const float *weights, int left)
{
    vec w[5];
    TW_UNROLL
    for (int kx = 0; kx < k.kw; kx++) w[kx] = load(weights + kx * TW_BLOCK);
    TW_UNROLL
    for (int x = 0; x < (k.pixels - 1) * k.sw + k.kw; x++) {
        vec v = column(t, k, row, left + x);
        TW_UNROLL
        for (int kx = 0; kx < k.kw; kx++)
            if (x >= kx && (x - kx) % k.sw == 0 && (x - kx) / k.sw < k.pixels) sum[(x - kx) / k.sw] += v * w[kx];
    }
}

/* One kernel row of any kernel: tap by tap. */
TW_INLINE void add_any_row(vec *sum, const run_of_tiles *t, kind k, const float *row, const float *weights, int left)
{
    for (int kx = 0; kx < t->kw; kx++) {
        vec w = load(weights + kx * TW_BLOCK);
        TW_UNROLL
        for (int p = 0; p < k.pixels; p++) sum[p] += column(t, k, row, left + kx * t->dilw + p * t->sw) * w;
    }
}

/* The tile that begins `pixel` outputs after the run's first. */
TW_INLINE void body(const run_of_tiles *t, kind k, int pixel, int lane)
{
    vec sum[WIDE], bias = load(t->bias + lane);
    TW_UNROLL
    for (int p = 0; p < k.pixels; p++) sum[p] = bias;
    const float *row = t->in + lane, *weights = t->weights + lane;
    int left = t->left + pixel * t->sw;
    for (int ky = 0; ky < t->rows; ky++, row += t->in_row, weights += t->kw * TW_BLOCK) {
        if (k.kw)
            add_row(sum, t, k, row, weights, left);
        else
            add_any_row(sum, t, k, row, weights, left);
    }
    if (t->residual) {
        TW_UNROLL
        for (int p = 0; p < k.pixels; p++) sum[p] += load(t->residual + (pixel + p) * TW_BLOCK + lane);
    }
    if (t->activation != TW_ACT_NONE) {
        TW_UNROLL
        for (int p = 0; p < k.pixels; p++) sum[p] = activate(sum[p], t->activation);
    }
    float *out = t->out + pixel * TW_BLOCK + lane;
    TW_UNROLL
    for (int p = 0; p < k.pixels; p++) memcpy(out + p * TW_BLOCK, &sum[p], sizeof sum[p]);
}

typedef void tile_fn(const run_of_tiles *t);

TW_INLINE void do_run(const run_of_tiles *t, kind k)
{
    for (int lane = 0; lane < TW_BLOCK; lane += LANES)
        for (int i = 0; i < t->count; i++) body(t, k, i * k.pixels, lane);
}

/* clang-format off */
#define BODY(name, kw, sw, pixels)                                                                                     \
    static void name##_inner_##pixels(const run_of_tiles *t) { do_run(t, (kind){pixels, kw, sw, false}); }      \
    static void name##_border_##pixels(const run_of_tiles *t) { do_run(t, (kind){pixels, kw, sw, true}); }
#define BODIES(name, kw, sw) BODY(name, kw, sw, 7) BODY(name, kw, sw, 4) BODY(name, kw, sw, 1)

BODIES(any, 0, 0)
BODIES(three_by_1, 3, 1)
BODIES(three_by_2, 3, 2)
BODIES(five_by_1, 5, 1)
BODIES(five_by_2, 5, 2)
/* clang-format on */

/* Bodies for 7, 4 and 1 outputs; inside, and at the borders. */
typedef struct bodies {
    tile_fn *wide[2], *narrow[2], *single[2];
} bodies;

/* clang-format off */
#define TABLE(name) \
    {{name##_inner_7, name##_border_7}, {name##_inner_4, name##_border_4}, {name##_inner_1, name##_border_1}}
/* clang-format on */

static bodies choose(const tw_conv2d *p)
{
    static const bodies any = TABLE(any);
    static const bodies known[2][2] = {{TABLE(three_by_1), TABLE(three_by_2)}, {TABLE(five_by_1), TABLE(five_by_2)}};
    if ((p->kw != 3 && p->kw != 5) || p->sw > 2 || p->dilw > 1) return any;
    return known[p->kw == 5][p->sw - 1];
}

static int ceil_div(int a, int b)
{
    return (a - 1) / b + 1;
}

static int smaller(int a, int b)
{
    return a < b ? a : b;
}

typedef struct job {
    const tw_step *step;
    const tw_conv2d *p;
    bodies with;
} job;

/* One output row: as many wide tiles as fit, the last one moved back over its neighbour. Wide ones that touch no
 * border go in one run. */
static void do_row(const job *j, const run_of_tiles *row)
{
    const tw_conv2d *p = j->p;
    run_of_tiles t = *row;
    for (int ox = 0; ox < p->ow;) {
        int pixels = p->ow >= WIDE && p->ow - ox > NARROW ? WIDE : p->ow >= NARROW ? NARROW : 1;
        if (ox + pixels > p->ow) ox = p->ow - pixels;
        t.left = ox * p->sw - p->pl;
        t.out = row->out + (size_t)ox * TW_BLOCK;
        t.residual = row->residual ? row->residual + (size_t)ox * TW_BLOCK : NULL;
        int spare = p->iw - 1 - (t.left + (pixels - 1) * p->sw + (p->kw - 1) * p->dilw); /* columns behind the tile */
        bool border = t.left < 0 || spare < 0;
        t.count = border || pixels < WIDE ? 1 : smaller(spare / (pixels * p->sw) + 1, (p->ow - ox) / pixels);
        (pixels == WIDE ? j->with.wide : pixels == NARROW ? j->with.narrow : j->with.single)[border](&t);
        ox += pixels * t.count;
    }
}

/* What the rows of a plane have in common. */
static void enter_plane(const job *j, size_t plane, run_of_tiles *t, float *bias)
{
    const tw_conv2d *p = j->p;
    size_t block = plane % (size_t)ceil_div(p->oc, TW_BLOCK);
    t->weights = (const float *)j->step->packed + block * (size_t)(p->kh * p->kw) * TW_BLOCK;
    if (!j->step->in[2]) return;
    int channels = smaller(TW_BLOCK, p->oc - (int)block * TW_BLOCK);
    memcpy(bias, (const float *)j->step->in[2] + block * TW_BLOCK, (size_t)channels * sizeof *bias);
    memset(bias + channels, 0, (size_t)(TW_BLOCK - channels) * sizeof *bias);
}

/* Items are [image][block of channels][output row]. */
static void do_rows(const void *context, size_t begin, size_t end, int thread)
{
    (void)thread;
    const job *j = context;
    const tw_conv2d *p = j->p;
    ptrdiff_t in_row = (ptrdiff_t)p->iw * TW_BLOCK;
    float bias[TW_BLOCK] = {0};
    run_of_tiles plane_of = {.in_row = in_row * p->dilh,
                             .iw = p->iw,
                             .kw = p->kw,
                             .sw = p->sw,
                             .dilw = p->dilw,
                             .bias = bias,
                             .activation = p->activation};
    size_t plane = begin / (size_t)p->oh;
    int oy = (int)(begin % (size_t)p->oh);
    enter_plane(j, plane, &plane_of, bias);
    for (size_t i = begin; i < end; i++) {
        run_of_tiles t = plane_of;
        int top = oy * p->sh - p->pt, first = 0, last = p->kh; /* kernel rows inside the input */
        if (top < 0) first = ceil_div(-top, p->dilh);
        if (top + (p->kh - 1) * p->dilh >= p->ih) last = p->ih > top ? ceil_div(p->ih - top, p->dilh) : 0;
        t.rows = last - first;
        t.in = j->step->in[0];
        if (t.rows > 0) {
            t.in += ((ptrdiff_t)plane * p->ih + top + (ptrdiff_t)first * p->dilh) * in_row;
            t.weights += (size_t)(first * p->kw) * TW_BLOCK;
        }
        t.out = (float *)j->step->out + i * (size_t)p->ow * TW_BLOCK;
        if (j->step->in[3]) t.residual = (const float *)j->step->in[3] + i * (size_t)p->ow * TW_BLOCK;
        do_row(j, &t);
        if (++oy == p->oh && i + 1 < end) {
            oy = 0;
            enter_plane(j, ++plane, &plane_of, bias);
        }
    }
}

static tw_status run(const tw_step *step, tw_queue *queue)
{
    enum { GRAIN = 4096 /* multiply-adds of 16 channels in a chunk: some 2 microseconds */ };
    const tw_conv2d *p = step->problem->params;
    job j = {step, p, choose(p)};
    size_t items = (size_t)p->n * (size_t)ceil_div(p->oc, TW_BLOCK) * (size_t)p->oh;
    double row = (double)p->ow * p->kh * p->kw;
    tw_parallel(queue, do_rows, &j, items, row < GRAIN ? (size_t)(GRAIN / row) : 1);
    return TW_OK;
}

/* ---- weights: [block][kh * kw][16], the channels beyond oc zero ---- */

static size_t packed_bytes(const tw_problem *problem, const tw_device *device)
{
    (void)device;
    const tw_conv2d *p = problem->params;
    return (size_t)ceil_div(p->oc, TW_BLOCK) * (size_t)p->kh * (size_t)p->kw * TW_BLOCK * sizeof(float);
}

static void pack(const tw_problem *problem, const tw_device *device, const void *const *in, void *packed)
{
    (void)device;
    const tw_conv2d *p = problem->params;
    size_t taps = (size_t)p->kh * (size_t)p->kw, lanes = (size_t)ceil_div(p->oc, TW_BLOCK) * TW_BLOCK;
    const float *w = in[1];
    float *to = packed;
    for (size_t c = 0; c < lanes; c++)
        for (size_t tap = 0; tap < taps; tap++)
            to[(c / TW_BLOCK * taps + tap) * TW_BLOCK + c % TW_BLOCK] = c < (size_t)p->oc ? w[c * taps + tap] : 0;
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
    *reason = "reads and writes blocked channels only";
    if (problem->in[0].layout != TW_BLOCKED || problem->out.layout != TW_BLOCKED) return false;
    *reason = "needs one filter a channel: as many groups as input and as output channels";
    if (p->groups != p->ic || p->ic != p->oc) return false;
    *reason = "the problem is too large for 32-bit offsets";
    int64_t reach = (int64_t)p->ow * p->sw + (int64_t)p->kw * p->dilw; /* of a row's last tap */
    return (int64_t)p->kh * p->kw < INT_MAX / TW_BLOCK && reach < INT_MAX / TW_BLOCK && p->ow < INT_MAX / TW_BLOCK;
}

static double cost(const tw_problem *problem, const tw_device *device)
{
    const tw_conv2d *p = problem->params;
    double lanes = (double)p->oc / (ceil_div(p->oc, TW_BLOCK) * TW_BLOCK);
    double pixels = p->ow >= WIDE ? 1 : p->ow >= NARROW ? 0.8 : 0.3;
    return tw_cpu_seconds(device, problem->op->flops(p), 0.5 * lanes * pixels, tw_problem_bytes(problem),
                          tw_cpu_threads(device));
}

const tw_design TW_CPU_DESIGN(conv2d, depthwise) = {
    .op = "conv2d",
    .device = "cpu",
    .name = "depthwise",
    .summary = "one filter a channel over blocked channels: a row of outputs in registers, each column read once",
    .supports = supports,
    .packed_bytes = packed_bytes,
    .pack = pack,
    .cost = cost,
    .run = run,
};
