/* conv2d, Winograd F(4x4, 3x3) and F(6x6, 3x3) over blocked channels: fewer multiplications, as matrix products.
 * winograd.h has the mathematics and its source.
 *
 * The output is cut into tiles of m x m. For each of the alpha^2 points of the transform the tiles' inputs form a
 * matrix [tiles][ic] and the kernels one of [ic][oc]; their products, transformed back, are the outputs.
 *
 *   u [point][oc group][ic][vectors * 16]     kernels, transformed in double precision at plan time
 *   v [point][ic block][tile][16]             inputs of a range of tiles: what the tile kernel broadcasts from
 *   z [point][oc block][tile][16]             products of that range and a range of oc groups
 *
 * Bias, residual and activation are part of the output transform. Two ways to share the work:
 *
 *   by tiles    a thread takes a range of tiles through all three phases; v and z are its own and near its L2 cache.
 *               u is read once for each range.
 *   by outputs  all tiles' inputs are transformed first, by all threads; then a thread takes a range of output
 *               channels through products and output transform. u, the larger here, is read once in all.
 *
 * Bound by the multiply-add unit where maps are large; by reading u, 4 (m = 4) or 7.1 times (m = 6) the bytes of the
 * kernels, where they are small. The cost formula weighs both, chooses m, and leaves to direct_blocked what is its.
 * An infinite or NaN input makes its whole tile NaN, where the definition would spoil 3 x 3 outputs. */
#include "core/status.h"
#include "devices/cpu/simd.h"
#include "devices/cpu/tile.h"
#include "ops/conv2d/conv2d.h"

#include <limits.h>

/* The vector of one register: arrays of wider ones would live in memory between operations. */
#if defined(__AVX512F__)
enum { LANES = 16 };
#elif defined(__AVX2__)
enum { LANES = 8 };
#else
enum { LANES = 4 };
#endif
typedef float vec __attribute__((vector_size(LANES * 4)));
typedef int32_t mask __attribute__((vector_size(LANES * 4)));

#define TW_WINOGRAD_VALUE vec
#include "ops/conv2d/winograd.h"

#define TOLERANCE 1e-4 /* of the layer's scale */

enum {
    MAX_ALPHA = TW_WINOGRAD_MAX_ALPHA,
    MAX_RANGE = 48, /* tiles to a thread's range */
    MIN_RANGE = 12,
    PARTS_A_THREAD = 2,
    INPUT_GRAIN = 16 /* windows: some microseconds */
};

/* How a problem is cut up; the same whenever it is asked for. */
typedef struct cut {
    int m, alpha, points;
    int ic_blocks, oc_blocks;
    int vectors, groups; /* output blocks to a group, and groups */
    int rows, columns;   /* tiles of one image */
    size_t tiles;        /* of the whole batch */
    bool by_outputs;
    int range;               /* tiles in v and z */
    int part;                /* groups in z */
    size_t v_plane, z_plane; /* floats from one point to the next */
} cut;

static int ceil_div(int a, int b)
{
    return (a - 1) / b + 1;
}

static int smaller(int a, int b)
{
    return a < b ? a : b;
}

/* Planes of an odd number of cache lines: one element of every point would else lie in one set of the first cache. */
static size_t plane_floats(int blocks, int tiles)
{
    return ((size_t)blocks * (size_t)tiles | 1) * TW_BLOCK;
}

static cut cut_with(const tw_conv2d *p, const tw_cpu *cpu, int threads, int m)
{
    cut c = {.m = m, .alpha = m + 2, .points = (m + 2) * (m + 2)};
    c.ic_blocks = ceil_div(p->ic, TW_BLOCK);
    c.oc_blocks = ceil_div(p->oc, TW_BLOCK);
    c.vectors = tw_tile_vectors(TW_VARIANT_ISA);
    c.groups = ceil_div(c.oc_blocks, c.vectors);
    c.rows = tw_winograd_tiles(p->oh, m);
    c.columns = tw_winograd_tiles(p->ow, m);
    c.tiles = (size_t)p->n * (size_t)c.rows * (size_t)c.columns;

    size_t sharers = (size_t)threads;
    c.by_outputs = c.tiles <= (size_t)p->oc || c.tiles <= MIN_RANGE * sharers;
    if (c.by_outputs) {
        c.range = (int)c.tiles;
        c.part = ceil_div(c.groups, threads * PARTS_A_THREAD);
    } else {
        size_t per_tile = (size_t)c.points * (size_t)(c.ic_blocks + c.oc_blocks) * TW_BLOCK * sizeof(float);
        size_t range = cpu->l2_bytes / per_tile;
        range = range > MAX_RANGE ? MAX_RANGE : range < MIN_RANGE ? MIN_RANGE : range;
        size_t ranges = (c.tiles + range - 1) / range;
        ranges = (ranges + sharers - 1) / sharers * sharers;
        c.range = (int)((c.tiles + ranges - 1) / ranges);
        c.part = c.groups;
    }
    c.v_plane = plane_floats(c.ic_blocks, c.range);
    c.z_plane = plane_floats(smaller(c.part * c.vectors, c.oc_blocks), c.range);
    return c;
}

/* ---- the choice of m ---- */

/* As measured: the products near the peak; TRANSFORM multiply-adds of a vector for each point of a window or of a tile
 * of products; x, y and the residual, which nothing hides; u, beyond what the products hide of it, at a quarter. */
static double predict(const tw_problem *problem, const tw_device *device, const cut *c, int threads)
{
    const double TRANSFORM = 7.5;
    const tw_conv2d *p = problem->params;
    double lanes = (double)c->oc_blocks * TW_BLOCK, points = (double)c->tiles * c->points;
    double sums = smaller(c->range, tw_tile_pixels(TW_VARIANT_ISA, c->vectors)) * smaller(c->vectors, c->oc_blocks);
    double products = points * p->ic * lanes * (sums < 6 ? 6 / sums : 1);
    double transforms = points * TW_BLOCK * TRANSFORM * (c->ic_blocks + c->oc_blocks);
    double u = (double)c->points * p->ic * lanes * (double)sizeof(float);
    double x = (double)p->n * c->ic_blocks * TW_BLOCK * p->ih * p->iw * (double)sizeof(float);
    double y = (double)p->n * lanes * p->oh * p->ow * (double)sizeof(float) * (1 + p->has_residual);
    return tw_cpu_seconds(device, 2 * (products + transforms), 0.93, u, threads) +
           tw_cpu_seconds(device, 0, 1, x + y + u / 4, threads);
}

/* The error relative to the output's scale grows as the square root of the number of terms: measured at most 0.25e-6 of
 * it for m = 4 and 1.3e-6 for m = 6. A network stacks a dozen of these layers, so m = 6 must stay below a fifth of the
 * tolerance; m = 4 always does. */
static bool six_is_exact_enough(const tw_conv2d *p)
{
    const double limit = TOLERANCE / 5 / 1.3e-6;
    return p->ic <= limit * limit;
}

/* m = 6 keeps 1.8 times the weights of m = 4 in memory and must be worth it. Chosen as for one thread, so that results
 * do not depend on how many there are. */
static cut cut_up(const tw_problem *problem, const tw_device *device)
{
    const tw_cpu *cpu = tw_cpu_of(device);
    cut four = cut_with(problem->params, cpu, 1, 4), six = cut_with(problem->params, cpu, 1, 6);
    bool faster = predict(problem, device, &six, 1) < 0.95 * predict(problem, device, &four, 1);
    int m = faster && six_is_exact_enough(problem->params) ? 6 : 4;
    return cut_with(problem->params, cpu, tw_cpu_threads(device), m);
}

/* ---- weights ---- */

static size_t offsets_bytes(const cut *c)
{
    return tw_align((size_t)c->ic_blocks * sizeof(int32_t));
}

static size_t packed_bytes(const tw_problem *problem, const tw_device *device)
{
    const tw_conv2d *p = problem->params;
    cut c = cut_up(problem, device);
    return offsets_bytes(&c) + (size_t)c.points * (size_t)p->ic * (size_t)c.oc_blocks * TW_BLOCK * sizeof(float);
}

/* Kernels side by side, one to a lane: those of one input channel and a group's outputs. */
enum { MAX_WIDTH = TW_TILE_MAX_VECTORS * TW_BLOCK };
typedef struct kernels {
    double g[9][MAX_WIDTH];
} kernels;

/* u = G g G^T of `width` kernels, to[point][..][width]; `plane` floats from one point to the next. */
static void transform_kernels(const kernels *k, int width, int m, float *to, size_t plane)
{
    double G[MAX_ALPHA][TW_WINOGRAD_MAX_KERNEL], half[3][MAX_WIDTH];
    tw_winograd_kernel_matrix(m, 3, G);
    for (int i = 0; i < m + 2; i++) {
        for (int x = 0; x < 3; x++)
            for (int l = 0; l < width; l++)
                half[x][l] = G[i][0] * k->g[x][l] + G[i][1] * k->g[3 + x][l] + G[i][2] * k->g[6 + x][l];
        for (int j = 0; j < m + 2; j++, to += plane)
            for (int l = 0; l < width; l++)
                to[l] = (float)(G[j][0] * half[0][l] + G[j][1] * half[1][l] + G[j][2] * half[2][l]);
    }
}

/* Packed: int32 offsets[ic_blocks] of the blocks of v, then u. */
static void pack(const tw_problem *problem, const tw_device *device, const void *const *in, void *packed)
{
    const tw_conv2d *p = problem->params;
    cut c = cut_up(problem, device);
    int32_t *offsets = packed;
    for (int i = 0; i < c.ic_blocks; i++) offsets[i] = i * c.range * TW_BLOCK;

    float *u = (float *)((char *)packed + offsets_bytes(&c));
    size_t plane = (size_t)p->ic * (size_t)c.oc_blocks * TW_BLOCK;
    int step = c.vectors * TW_BLOCK;
    for (int oc = 0; oc < p->oc; oc += step) {
        int width = smaller(ceil_div(p->oc - oc, TW_BLOCK) * TW_BLOCK, step), outputs = smaller(p->oc - oc, width);
        kernels k = {0};
        for (int ic = 0; ic < p->ic; ic++) {
            for (int l = 0; l < outputs; l++) {
                const float *g = (const float *)in[1] + ((size_t)(oc + l) * (size_t)p->ic + (size_t)ic) * 9;
                for (int i = 0; i < 9; i++) k.g[i][l] = g[i];
            }
            transform_kernels(&k, width, c.m, u + (size_t)oc * (size_t)p->ic + (size_t)ic * (size_t)width, plane);
        }
    }
}

/* ---- transforms ---- */

#define PRAGMA(text) _Pragma(#text)
#define UNROLL(times) PRAGMA(GCC unroll times)

TW_INLINE vec load(const float *p)
{
    vec v;
    memcpy(&v, p, sizeof v);
    return v;
}

TW_INLINE void store(float *p, vec v)
{
    memcpy(p, &v, sizeof v);
}

TW_INLINE void input_transform(const int m, const vec *d, vec *v)
{
    if (m == 4)
        tw_winograd_input4(d, v);
    else
        tw_winograd_input6(d, v);
}

TW_INLINE void output_transform(const int m, const vec *v, vec *y)
{
    if (m == 4)
        tw_winograd_output4(v, y);
    else
        tw_winograd_output6(v, y);
}

/* A window of alpha x alpha pixels, `row` floats from one of its rows to the next, to its place in each plane of v:
 * columns first, then rows. */
TW_INLINE void transform_window(const float *from, ptrdiff_t row, float *to, size_t plane, const int m)
{
    const int alpha = m + 2;
    for (int lane = 0; lane < TW_BLOCK; lane += LANES) {
        vec half[MAX_ALPHA][MAX_ALPHA], d[MAX_ALPHA], v[MAX_ALPHA];
        for (int x = 0; x < alpha; x++) {
            UNROLL(8)
            for (int y = 0; y < alpha; y++) d[y] = load(from + y * row + x * TW_BLOCK + lane);
            input_transform(m, d, v);
            UNROLL(8)
            for (int y = 0; y < alpha; y++) half[y][x] = v[y];
        }
        for (int y = 0; y < alpha; y++) {
            input_transform(m, half[y], v);
            UNROLL(8)
            for (int x = 0; x < alpha; x++) store(to + (size_t)(y * alpha + x) * plane + lane, v[x]);
        }
    }
}

static void transform_window4(const float *from, ptrdiff_t row, float *to, size_t plane)
{
    transform_window(from, row, to, plane, 4);
}

static void transform_window6(const float *from, ptrdiff_t row, float *to, size_t plane)
{
    transform_window(from, row, to, plane, 6);
}

/* Where one tile of one block of channels goes. */
typedef struct target {
    float *y;              /* its first pixel */
    const float *residual; /* the same place, or null */
    ptrdiff_t row;         /* floats from one row to the next */
    int rows, columns;     /* inside the output */
    int activation;
    float bias[TW_BLOCK];
    int32_t keep[TW_BLOCK]; /* -1 for a channel that there is, 0 beyond the last */
} target;

TW_INLINE void finish(const target *t, vec v, ptrdiff_t at, int lane)
{
    const vec zero = {0}, six = zero + 6.0f;
    v += load(t->bias + lane);
    if (t->residual) v += load(t->residual + at);
    if (t->activation != TW_ACT_NONE) v = (vec)((mask)v & ~(mask)(v < zero)); /* NaN passes */
    if (t->activation == TW_ACT_RELU6) {
        mask above = (mask)(v > six);
        v = (vec)(((mask)v & ~above) | ((mask)six & above));
    }
    mask keep;
    memcpy(&keep, t->keep + lane, sizeof keep);
    store(t->y + at, (vec)((mask)v & keep));
}

/* One tile of one block of z, `plane` floats from one point to the next, to its outputs. */
TW_INLINE void transform_products(const float *z, size_t plane, const target *t, const int m)
{
    const int alpha = m + 2;
    for (int lane = 0; lane < TW_BLOCK; lane += LANES) {
        vec half[MAX_ALPHA][MAX_ALPHA], v[MAX_ALPHA], y[MAX_ALPHA];
        for (int j = 0; j < alpha; j++) {
            UNROLL(8)
            for (int i = 0; i < alpha; i++) v[i] = load(z + (size_t)(i * alpha + j) * plane + lane);
            output_transform(m, v, y);
            UNROLL(8)
            for (int i = 0; i < m; i++) half[i][j] = y[i];
        }
        for (int i = 0; i < t->rows; i++) {
            output_transform(m, half[i], y);
            UNROLL(8)
            for (int j = 0; j < m; j++)
                if (j < t->columns) finish(t, y[j], i * t->row + j * TW_BLOCK + lane, lane);
        }
    }
}

static void transform_products4(const float *z, size_t plane, const target *t)
{
    transform_products(z, plane, t, 4);
}

static void transform_products6(const float *z, size_t plane, const target *t)
{
    transform_products(z, plane, t, 6);
}

/* ---- the three phases ---- */

typedef struct job {
    const tw_step *step;
    const tw_conv2d *p;
    cut c;
    float *v, *z;              /* of thread 0 */
    size_t v_thread, z_thread; /* floats from one thread's to the next's; v may be shared */
} job;

/* What a thread works on in phases 2 and 3: tiles [start, start + tiles) and groups of output channels [first, end). */
typedef struct range {
    size_t start;
    int tiles, first, end;
} range;

/* A tile's place. */
typedef struct place {
    size_t n;
    int y, x; /* of its first output */
} place;

static place place_of(const cut *c, size_t tile)
{
    size_t row = tile / (size_t)c->columns;
    return (place){row / (size_t)c->rows, (int)(row % (size_t)c->rows) * c->m, (int)(tile % (size_t)c->columns) * c->m};
}

/* The window of one block of input channels whose corner is (y, x), with its padding, into window[alpha][alpha][16]. */
static void copy_window(const job *j, const float *plane, int y, int x, float *window)
{
    const tw_conv2d *p = j->p;
    for (int i = 0; i < j->c.alpha; i++)
        for (int k = 0; k < j->c.alpha; k++, window += TW_BLOCK) {
            bool inside = y + i >= 0 && y + i < p->ih && x + k >= 0 && x + k < p->iw;
            if (inside)
                memcpy(window, plane + ((ptrdiff_t)(y + i) * p->iw + x + k) * TW_BLOCK, TW_BLOCK * sizeof *window);
            else
                memset(window, 0, TW_BLOCK * sizeof *window);
        }
}

/* Phase 1, one window: block of input channels and tile -> to, in each plane of v. */
static void transform_input(const job *j, int block, size_t tile, float *to)
{
    const tw_conv2d *p = j->p;
    const cut *c = &j->c;
    place at = place_of(c, tile);
    int y = at.y - p->pt, x = at.x - p->pl;
    const float *plane = (const float *)j->step->in[0] +
                         (at.n * (size_t)c->ic_blocks + (size_t)block) * (size_t)p->ih * (size_t)p->iw * TW_BLOCK;
    bool inside = y >= 0 && x >= 0 && y + c->alpha <= p->ih && x + c->alpha <= p->iw;
    float window[MAX_ALPHA * MAX_ALPHA * TW_BLOCK];
    if (!inside) copy_window(j, plane, y, x, window);
    const float *from = inside ? plane + ((ptrdiff_t)y * p->iw + x) * TW_BLOCK : window;
    ptrdiff_t row = (inside ? (ptrdiff_t)p->iw : c->alpha) * TW_BLOCK;
    if (c->m == 4)
        transform_window4(from, row, to, c->v_plane);
    else
        transform_window6(from, row, to, c->v_plane);
}

/* Phase 2: all points of the range, from v into z. */
static void multiply(const job *j, const range *r, const float *v, float *z)
{
    const tw_conv2d *p = j->p;
    const cut *c = &j->c;
    const float *u = (const float *)((const char *)j->step->packed + offsets_bytes(c));
    size_t u_plane = (size_t)p->ic * (size_t)c->oc_blocks * TW_BLOCK;
    int most = tw_tile_pixels(TW_VARIANT_ISA, c->vectors), runs = ceil_div(r->tiles, most);
    tw_tile tile = {.offsets = j->step->packed, .tail = p->ic % TW_BLOCK, .last = TW_BLOCK, .c_pixel = TW_BLOCK};
    tile.tails = tile.tail > 0;
    tile.full = c->ic_blocks - tile.tails;
    tile.c_vector = (ptrdiff_t)c->range * TW_BLOCK;
    for (int point = 0; point < c->points; point++)
        for (int group = r->first; group < r->end; group++) {
            size_t block = (size_t)group * (size_t)c->vectors;
            tile.b = u + (size_t)point * u_plane + block * TW_BLOCK * (size_t)p->ic;
            tile.vectors = smaller(c->vectors, c->oc_blocks - (int)block);
            tile.a = v + (size_t)point * c->v_plane;
            tile.c = z + (size_t)point * c->z_plane +
                     (block - (size_t)(r->first * c->vectors)) * (size_t)c->range * TW_BLOCK;
            for (int i = 0; i < runs; i++) {
                tile.pixels = r->tiles / runs + (i < r->tiles % runs);
                tw_tile_for(TW_VARIANT_ISA)(&tile);
                tile.a += tile.pixels * TW_BLOCK;
                tile.c += tile.pixels * TW_BLOCK;
            }
        }
}

/* Phase 3: the range's tiles of z, one block of channels of it, to their outputs. */
static void transform_outputs(const job *j, const range *r, const float *z, int block)
{
    const tw_conv2d *p = j->p;
    const cut *c = &j->c;
    target t = {.row = (ptrdiff_t)p->ow * TW_BLOCK, .activation = p->activation};
    for (int i = 0; i < TW_BLOCK && block * TW_BLOCK + i < p->oc; i++) {
        t.keep[i] = -1;
        if (j->step->in[2]) t.bias[i] = ((const float *)j->step->in[2])[block * TW_BLOCK + i];
    }
    for (int i = 0; i < r->tiles; i++, z += TW_BLOCK) {
        place at = place_of(c, r->start + (size_t)i);
        size_t first = (((at.n * (size_t)c->oc_blocks + (size_t)block) * (size_t)p->oh + (size_t)at.y) * (size_t)p->ow +
                        (size_t)at.x) *
                       TW_BLOCK;
        t.y = (float *)j->step->out + first;
        t.residual = j->step->in[3] ? (const float *)j->step->in[3] + first : NULL;
        t.rows = smaller(c->m, p->oh - at.y);
        t.columns = smaller(c->m, p->ow - at.x);
        if (c->m == 4)
            transform_products4(z, c->z_plane, &t);
        else
            transform_products6(z, c->z_plane, &t);
    }
}

static void products_and_outputs(const job *j, const range *r, const float *v, float *z)
{
    const cut *c = &j->c;
    multiply(j, r, v, z);
    int begin = r->first * c->vectors, end = smaller(r->end * c->vectors, c->oc_blocks);
    for (int block = begin; block < end; block++)
        transform_outputs(j, r, z + (size_t)(block - begin) * (size_t)c->range * TW_BLOCK, block);
}

/* ---- sharing the work ---- */

/* By tiles: items are ranges of tiles. */
static void do_ranges(const void *context, size_t begin, size_t end, int thread)
{
    const job *j = context;
    const cut *c = &j->c;
    float *v = j->v + (size_t)thread * j->v_thread, *z = j->z + (size_t)thread * j->z_thread;
    for (size_t i = begin; i < end; i++) {
        range r = {.start = i * (size_t)c->range, .end = c->groups};
        size_t left = c->tiles - r.start;
        r.tiles = left < (size_t)c->range ? (int)left : c->range;
        for (int block = 0; block < c->ic_blocks; block++)
            for (int tile = 0; tile < r.tiles; tile++)
                transform_input(j, block, r.start + (size_t)tile,
                                v + ((size_t)block * (size_t)c->range + (size_t)tile) * TW_BLOCK);
        products_and_outputs(j, &r, v, z);
    }
}

/* By outputs, first: items are [ic block][tile]. */
static void do_inputs(const void *context, size_t begin, size_t end, int thread)
{
    (void)thread;
    const job *j = context;
    for (size_t i = begin; i < end; i++) transform_input(j, (int)(i / j->c.tiles), i % j->c.tiles, j->v + i * TW_BLOCK);
}

/* By outputs, then: items are parts of the groups. */
static void do_parts(const void *context, size_t begin, size_t end, int thread)
{
    const job *j = context;
    const cut *c = &j->c;
    for (size_t i = begin; i < end; i++) {
        range r = {.tiles = c->range, .first = (int)i * c->part};
        r.end = smaller(r.first + c->part, c->groups);
        products_and_outputs(j, &r, j->v, j->z + (size_t)thread * j->z_thread);
    }
}

static size_t workspace(const tw_problem *problem, const tw_device *device)
{
    cut c = cut_up(problem, device);
    size_t threads = (size_t)tw_cpu_threads(device);
    size_t planes = (c.by_outputs ? 1 : threads) * c.v_plane + threads * c.z_plane;
    return (size_t)c.points * planes * sizeof(float);
}

static tw_status run(const tw_step *step, tw_queue *queue)
{
    const tw_device *device = &tw_queue_cpu(queue)->device;
    job j = {step, step->problem->params, cut_up(step->problem, device), .v = step->workspace};
    const cut *c = &j.c;
    j.v_thread = c->by_outputs ? 0 : (size_t)c->points * c->v_plane;
    j.z_thread = (size_t)c->points * c->z_plane;
    j.z = j.v + (c->by_outputs ? (size_t)c->points * c->v_plane : (size_t)tw_cpu_threads(device) * j.v_thread);
    if (c->by_outputs) {
        tw_parallel(queue, do_inputs, &j, (size_t)c->ic_blocks * c->tiles, INPUT_GRAIN);
        tw_parallel(queue, do_parts, &j, (size_t)ceil_div(c->groups, c->part), 1);
    } else {
        tw_parallel(queue, do_ranges, &j, (c->tiles + (size_t)c->range - 1) / (size_t)c->range, 1);
    }
    return TW_OK;
}

/* ---- choice ---- */

static bool supports(const tw_problem *problem, const tw_device *device, const char **reason)
{
    const tw_conv2d *p = problem->params;
    *reason = "computes in float32 only";
    for (int i = 0; i < problem->n_in; i++)
        if (problem->in[i].dtype != TW_ABSENT && problem->in[i].dtype != TW_F32) return false;
    *reason = "reads and writes blocked channels only";
    if (problem->in[0].layout != TW_BLOCKED || problem->out.layout != TW_BLOCKED) return false;
    *reason = "needs a 3x3 kernel with stride 1, dilation 1 and one group";
    if (p->kh != 3 || p->kw != 3 || p->sh != 1 || p->sw != 1 || p->dilh != 1 || p->dilw != 1 || p->groups != 1)
        return false;
    *reason = "the image or the number of channels is too large";
    int64_t largest = INT_MAX / (4 * TW_BLOCK);
    if (p->oh > largest || p->ow > largest || p->ic > largest || p->oc > largest) return false;
    cut c = cut_up(problem, device);
    return (int64_t)c.ic_blocks * c.range <= INT_MAX / TW_BLOCK; /* offsets into v */
}

static double cost(const tw_problem *problem, const tw_device *device)
{
    cut c = cut_up(problem, device);
    return predict(problem, device, &c, tw_cpu_threads(device));
}

const tw_design TW_CPU_DESIGN(conv2d, winograd) = {
    .op = "conv2d",
    .device = "cpu",
    .name = "winograd",
    .summary = "F(4x4,3x3) or F(6x6,3x3), whichever is predicted faster: 3x3 kernels with stride 1",
    .tolerance = TOLERANCE,
    .supports = supports,
    .workspace = workspace,
    .packed_bytes = packed_bytes,
    .pack = pack,
    .cost = cost,
    .run = run,
};
