/* linear for small batches: each output is a dot product of a weight row with an input row, both read where they are.
 *
 * Weights stay row-major [oc][ic], possibly in a mapped file and aligned to 4 bytes only: nothing is packed and
 * nothing is kept twice. A task takes groups of GROUP weight rows and runs a tile of rows x batch dot products side by
 * side, so that each load of x serves several rows, each load of w several images, and several additions are in
 * flight. Beyond BATCH images the group's rows are read again, from the cache.
 *
 * Bound by reading the weights once, from memory for a large layer and from the L2 cache for a small one. A layer
 * so small that waking a second thread costs more than it saves stays on one: GRAIN_BYTES. */
#include "devices/cpu/simd.h"
#include "ops/linear/linear.h"

enum {
    GROUP = 8, /* weight rows to a group */
    BATCH = 4, /* input rows to a tile */
    GRAIN_BYTES = 256 << 10
};

/* The vector of one register: a sum that a loop carries must not be wider. */
#if defined(__AVX512F__)
enum { LANES = 16, SUMS = 16 };
#elif defined(__AVX2__)
enum { LANES = 8, SUMS = 8 };
#elif defined(__aarch64__)
enum { LANES = 4, SUMS = 16 };
#else
enum { LANES = 4, SUMS = 8 };
#endif
typedef float vec __attribute__((vector_size(LANES * 4)));
typedef int32_t mask __attribute__((vector_size(LANES * 4)));

TW_INLINE vec load(const float *p)
{
    vec v;
    memcpy(&v, p, sizeof v);
    return v;
}

/* The last n lanes of the LANES floats that end at p; zero elsewhere, whatever is there. */
TW_INLINE vec load_last(const float *p, int n)
{
    static const int32_t lanes[TW_BLOCK] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
    mask lane;
    memcpy(&lane, lanes, sizeof lane);
    return (vec)((mask)load(p - LANES) & (lane >= LANES - n));
}

/* The lanes in a fixed order: the halves added, then the halves of that. */
typedef float vec4 __attribute__((vector_size(16)));
TW_INLINE float sum_lanes(vec v)
{
#if defined(__AVX512F__)
    typedef float vec8 __attribute__((vector_size(32)));
    vec8 eight = __builtin_shufflevector(v, v, 0, 1, 2, 3, 4, 5, 6, 7) +
                 __builtin_shufflevector(v, v, 8, 9, 10, 11, 12, 13, 14, 15);
#elif defined(__AVX2__)
    vec eight = v;
#endif
#if defined(__AVX2__)
    vec4 four = __builtin_shufflevector(eight, eight, 0, 1, 2, 3) + __builtin_shufflevector(eight, eight, 4, 5, 6, 7);
#else
    vec4 four = v;
#endif
    four += __builtin_shufflevector(four, four, 2, 3, 0, 1);
    return four[0] + four[1];
}

/* A tile: rows x batch dot products over ic. x[i] and w[i] are their first elements. */
typedef struct dots {
    const float *x[BATCH], *w[GROUP];
    int ic;
} dots;

TW_INLINE void dot_tile(const dots *d, int rows, int batch, float *out)
{
    vec sum[GROUP * BATCH];
#pragma GCC unroll 16
    for (int i = 0; i < rows * batch; i++) sum[i] = (vec){0};
    int k = 0;
    for (; k + LANES <= d->ic; k += LANES) {
        vec x[BATCH];
#pragma GCC unroll 4
        for (int b = 0; b < batch; b++) x[b] = load(d->x[b] + k);
#pragma GCC unroll 8
        for (int r = 0; r < rows; r++) {
            vec w = load(d->w[r] + k);
#pragma GCC unroll 4
            for (int b = 0; b < batch; b++) sum[r * batch + b] += w * x[b];
        }
    }
    int tail = d->ic - k;
    if (tail > 0 && k > 0) {
#pragma GCC unroll 8
        for (int r = 0; r < rows; r++) {
            vec w = load_last(d->w[r] + d->ic, tail);
#pragma GCC unroll 4
            for (int b = 0; b < batch; b++) sum[r * batch + b] += w * load_last(d->x[b] + d->ic, tail);
        }
    }
#pragma GCC unroll 16
    for (int i = 0; i < rows * batch; i++) out[i] = sum_lanes(sum[i]);
    if (k == 0) { /* fewer inputs than lanes */
        for (int i = 0; i < rows * batch; i++)
            for (int j = 0; j < tail; j++) out[i] += d->w[i / batch][j] * d->x[i % batch][j];
    }
}

enum { ROWS_1 = GROUP, ROWS_2 = SUMS >= 16 ? GROUP : GROUP / 2, ROWS_4 = SUMS / 4 };

static void dots_1(const dots *d, float *out)
{
    dot_tile(d, ROWS_1, 1, out);
}

static void dots_2(const dots *d, float *out)
{
    dot_tile(d, ROWS_2, 2, out);
}

static void dots_3(const dots *d, float *out)
{
    dot_tile(d, ROWS_4, 3, out);
}

static void dots_4(const dots *d, float *out)
{
    dot_tile(d, ROWS_4, 4, out);
}

/* By batch. */
static const struct {
    int rows;
    void (*run)(const dots *d, float *out);
} tiles[BATCH + 1] = {{0, NULL}, {ROWS_1, dots_1}, {ROWS_2, dots_2}, {ROWS_4, dots_3}, {ROWS_4, dots_4}};

static float activate(float v, int activation)
{
    if (activation == TW_ACT_NONE) return v;
    if (v < 0) return 0;
    return activation == TW_ACT_RELU6 && v > 6 ? 6 : v; /* NaN passes through */
}

/* Outputs [row, row + rows) of images [n, n + batch). Rows beyond oc repeat the last one and are not stored. */
static void tile_outputs(const tw_step *step, int row, int n, int batch)
{
    const tw_linear *p = step->problem->params;
    const float *x = step->in[0], *w = step->in[1], *bias = step->in[2];
    float *y = step->out;
    int rows = tiles[batch].rows;
    dots d = {.ic = p->ic};
    for (int b = 0; b < batch; b++) d.x[b] = x + (size_t)(n + b) * (size_t)p->ic;
    for (int r = 0; r < rows; r++) d.w[r] = w + (size_t)(row + r < p->oc ? row + r : p->oc - 1) * (size_t)p->ic;
    float sums[GROUP * BATCH];
    tiles[batch].run(&d, sums);
    for (int r = 0; r < rows && row + r < p->oc; r++) {
        float offset = bias ? bias[row + r] : 0;
        for (int b = 0; b < batch; b++)
            y[(size_t)(n + b) * (size_t)p->oc + (size_t)(row + r)] =
                activate(sums[r * batch + b] + offset, p->activation);
    }
}

static void groups(const void *context, size_t begin, size_t end, int thread)
{
    (void)thread;
    const tw_step *step = context;
    const tw_linear *p = step->problem->params;
    for (size_t group = begin; group < end; group++) {
        int first = (int)group * GROUP, last = p->oc - first < GROUP ? p->oc : first + GROUP;
        for (int n = 0; n < p->n; n += BATCH) {
            int batch = p->n - n < BATCH ? p->n - n : BATCH;
            for (int row = first; row < last; row += tiles[batch].rows) tile_outputs(step, row, n, batch);
        }
    }
}

static tw_status run(const tw_step *step, tw_queue *queue)
{
    const tw_linear *p = step->problem->params;
    size_t group_bytes = (size_t)GROUP * (size_t)p->ic * sizeof(float) * (size_t)((p->n + BATCH - 1) / BATCH);
    tw_parallel(queue, groups, step, ((size_t)p->oc + GROUP - 1) / GROUP, GRAIN_BYTES / group_bytes);
    return TW_OK;
}

static bool supports(const tw_problem *problem, const tw_device *device, const char **reason)
{
    (void)device;
    *reason = "reads and writes plain float32 only";
    return problem->out.dtype == TW_F32 && problem->in[0].layout == TW_PLAIN && problem->out.layout == TW_PLAIN;
}

/* Efficiencies as measured with the weights in the L2 cache. Larger weights come from memory, which is read at full
 * speed as long as the rows that are read side by side are no more than the first cache has ways. */
static double cost(const tw_problem *problem, const tw_device *device)
{
    const tw_linear *p = problem->params;
    double weights = (double)p->oc * p->ic * (double)sizeof(float);
    int threads = weights * ((p->n + BATCH - 1) / BATCH) > GRAIN_BYTES ? tw_cpu_threads(device) : 1;
    double bytes = weights > (double)tw_cpu_of(device)->l2_bytes ? tw_problem_bytes(problem) : 0;
    if (p->n > 2) bytes *= 1.5;
    return tw_cpu_seconds(device, problem->op->flops(p), p->n == 1 ? 0.42 : 0.7, bytes, threads);
}

const tw_design TW_CPU_DESIGN(linear, gemv) = {
    .op = "linear",
    .device = "cpu",
    .name = "gemv",
    .summary = "dot products of row-major weights in place, several rows and images at a time: small batches",
    .supports = supports,
    .cost = cost,
    .run = run,
};
