/* pool, sixteen elements at a time.
 *
 * Blocked: a vector holds 16 channels of one pixel, so a window is a few whole vectors and any window is alike; the
 * common ones (2x2 and 3x3 with stride 2) have their loops unrolled where no padding is touched.
 * Plain: the rows of a window are reduced first, into a line of the workspace whose ends stand for the padding; then
 * windows slide along the line, a loop that vectorises for constant kernel and stride. An average that covers its
 * whole plane is one sum of contiguous elements.
 * Averages are summed row by row and the rows' sums then added, which keeps errors of large windows small.
 * A 2x2 window reads four elements for three comparisons: bound by memory. */
#include "core/status.h"
#include "devices/cpu/simd.h"
#include "ops/common/dims.h"
#include "ops/pool/pool.h"

#include <math.h>

enum { GRAIN = 32 << 10 }; /* elements read */

/* One direction, heights or widths. */
typedef struct side {
    int in, out, kernel, stride, before, after, dilation;
    bool adaptive, count_padding;
} side;

/* The positions of one window that lie inside the input (from begin, by the dilation, below end), and what an average
 * divides by. */
typedef struct span {
    int begin, end, divisor;
} span;

TW_INLINE span span_of(const side *s, int o)
{
    if (s->adaptive) {
        int begin = (int)((int64_t)o * s->in / s->out);
        int end = (int)(((int64_t)(o + 1) * s->in + s->out - 1) / s->out);
        return (span){begin, end, end - begin};
    }
    int begin = o * s->stride - s->before, end = begin + s->dilation * (s->kernel - 1) + 1;
    int padded = (end < s->in + s->after ? end : s->in + s->after) - begin;
    if (begin < 0) begin += (s->dilation - 1 - begin) / s->dilation * s->dilation;
    if (end > s->in) end = s->in;
    return (span){begin, end, s->count_padding ? padded : end - begin};
}

/* The outputs whose windows lie inside the input: [*first, *last). */
static void find_inner(const side *s, int *first, int *last)
{
    int room = s->in + s->before - s->dilation * (s->kernel - 1) - 1;
    *first = (s->before + s->stride - 1) / s->stride;
    if (*first > s->out) *first = s->out;
    *last = room < 0 ? 0 : room / s->stride + 1;
    if (*last > s->out) *last = s->out;
    if (*last < *first) *last = *first;
}

typedef struct job {
    const float *x;
    float *y;
    side rows, columns;
    int inner_first, inner_last; /* of the columns */
    bool max;
    int channels, blocks; /* of one n */
    bool to_plain;        /* blocked input, plain output of one pixel */
    float *lines;         /* plain: [threads][line] */
    size_t line;
} job;

/* NaN in either wins: v16_max gives its first operand where one is NaN; the bits of NaN and of a number, merged, are
 * NaN; those of a number and itself are the number. */
TW_INLINE v16 larger(v16 a, v16 b)
{
    return (v16)((v16i)v16_max(a, b) | (v16i)v16_max(b, a));
}

/* ---- blocked ---- */

TW_INLINE v16 max_window(const job *j, const float *x, span rows, span columns)
{
    v16 m = v16_all(-INFINITY);
    for (int iy = rows.begin; iy < rows.end; iy += j->rows.dilation)
        for (int ix = columns.begin; ix < columns.end; ix += j->columns.dilation)
            m = larger(m, v16_load(x + ((size_t)iy * (size_t)j->columns.in + (size_t)ix) * TW_BLOCK));
    return m;
}

TW_INLINE v16 average_window(const job *j, const float *x, span rows, span columns)
{
    v16 total = v16_zero();
    for (int iy = rows.begin; iy < rows.end; iy++) {
        v16 sum = v16_zero();
        const float *row = x + (size_t)iy * (size_t)j->columns.in * TW_BLOCK;
        for (int ix = columns.begin; ix < columns.end; ix++) sum += v16_load(row + (size_t)ix * TW_BLOCK);
        total += sum;
    }
    return total * v16_all((float)(1 / ((double)rows.divisor * columns.divisor)));
}

/* `count` dense windows inside the input, one beside the other; x is the first one's corner. kh, kw and stride are
 * constants where it matters. */
TW_INLINE void max_run(const float *x, size_t row, float *y, int count, const int kernel[3])
{
    const int kh = kernel[0], kw = kernel[1], stride = kernel[2];
    for (int o = 0; o < count; o++) {
        const float *corner = x + (size_t)o * (size_t)stride * TW_BLOCK;
        v16 m = v16_load(corner);
        for (int ky = 0; ky < kh; ky++)
            for (int kx = 0; kx < kw; kx++) m = larger(m, v16_load(corner + (size_t)ky * row + (size_t)kx * TW_BLOCK));
        v16_store(y + (size_t)o * TW_BLOCK, m);
    }
}

static void max_row(const job *j, const float *x, float *y, span rows)
{
    const side *c = &j->columns;
    int first = j->inner_first, last = j->inner_last, kh = rows.end - rows.begin;
    if (j->rows.dilation != 1 || c->dilation != 1) last = first;
    for (int o = 0; o < first; o++) v16_store(y + (size_t)o * TW_BLOCK, max_window(j, x, rows, span_of(c, o)));
    for (int o = last; o < c->out; o++) v16_store(y + (size_t)o * TW_BLOCK, max_window(j, x, rows, span_of(c, o)));
    size_t row = (size_t)c->in * TW_BLOCK;
    const float *corner = x + (size_t)rows.begin * row + (size_t)(first * c->stride - c->before) * TW_BLOCK;
    float *out = y + (size_t)first * TW_BLOCK;
    if (last == first) return;
    if (kh == 2 && c->kernel == 2 && c->stride == 2)
        max_run(corner, row, out, last - first, (const int[]){2, 2, 2});
    else if (kh == 3 && c->kernel == 3 && c->stride == 2)
        max_run(corner, row, out, last - first, (const int[]){3, 3, 2});
    else
        max_run(corner, row, out, last - first, (const int[]){kh, c->kernel, c->stride});
}

static void average_row(const job *j, const float *x, float *y, span rows)
{
    for (int o = 0; o < j->columns.out; o++)
        v16_store(y + (size_t)o * TW_BLOCK, average_window(j, x, rows, span_of(&j->columns, o)));
}

/* items are rows of the output: of n, then of blocks of channels, then along the height */
static void blocked_rows(const void *context, size_t begin, size_t end, int thread)
{
    (void)thread;
    const job *j = context;
    size_t height = (size_t)j->rows.out, in = (size_t)j->rows.in * (size_t)j->columns.in * TW_BLOCK;
    for (size_t item = begin; item < end; item++) {
        size_t plane = item / height;
        const float *x = j->x + plane * in;
        float *y = j->y + item * (size_t)j->columns.out * TW_BLOCK;
        span rows = span_of(&j->rows, (int)(item % height));
        if (j->max)
            max_row(j, x, y, rows);
        else
            average_row(j, x, y, rows);
    }
}

/* items are blocks of channels, of n: one window each */
static void blocked_to_plain(const void *context, size_t begin, size_t end, int thread)
{
    (void)thread;
    const job *j = context;
    size_t blocks = (size_t)j->blocks, in = (size_t)j->rows.in * (size_t)j->columns.in * TW_BLOCK;
    span rows = span_of(&j->rows, 0), columns = span_of(&j->columns, 0);
    for (size_t item = begin; item < end; item++) {
        int first = (int)(item % blocks) * TW_BLOCK, left = j->channels - first;
        const float *x = j->x + item * in;
        v16 v = j->max ? max_window(j, x, rows, columns) : average_window(j, x, rows, columns);
        v16_store_part(j->y + item / blocks * (size_t)j->channels + (size_t)first, v, left < 16 ? left : 16);
    }
}

/* ---- plain ---- */

TW_INLINE float larger_one(float m, float v)
{
    return v > m || v != v ? v : m;
}

/* The window's rows as one: line[before + ix]. */
static void reduce_rows(const job *j, const float *x, span rows, float *line)
{
    int width = j->columns.in;
    memcpy(line, x + (size_t)rows.begin * (size_t)width, (size_t)width * sizeof *line);
    for (int iy = rows.begin + j->rows.dilation; iy < rows.end; iy += j->rows.dilation) {
        const float *row = x + (size_t)iy * (size_t)width;
        if (j->max)
            for (int i = 0; i < width; i++) line[i] = larger_one(line[i], row[i]);
        else
            for (int i = 0; i < width; i++) line[i] += row[i];
    }
}

/* Windows along a padded line: kernel, stride and dilation are constants where it matters. */
TW_INLINE void slide(const job *j, const float *line, float *y, const int window[3])
{
    const int kernel = window[0], stride = window[1], dilation = window[2], count = j->columns.out;
    if (j->max)
        for (int o = 0; o < count; o++) {
            float m = line[o * stride];
            for (int k = 1; k < kernel; k++) m = larger_one(m, line[o * stride + k * dilation]);
            y[o] = m;
        }
    else
        for (int o = 0; o < count; o++) {
            float sum = line[o * stride];
            for (int k = 1; k < kernel; k++) sum += line[o * stride + k * dilation];
            y[o] = sum;
        }
}

static void divide(const job *j, float *y, int rows_divisor)
{
    const side *c = &j->columns;
    for (int o = 0; o < c->out; o++) {
        if (o == j->inner_first && j->inner_last > o) { /* all alike */
            float scale = (float)(1 / ((double)rows_divisor * c->kernel));
            for (; o < j->inner_last; o++) y[o] *= scale;
            if (o == c->out) break;
        }
        y[o] *= (float)(1 / ((double)rows_divisor * span_of(c, o).divisor));
    }
}

static void adaptive_columns(const job *j, const float *line, float *y, int rows_divisor)
{
    for (int o = 0; o < j->columns.out; o++) {
        span columns = span_of(&j->columns, o);
        float sum = 0;
        for (int i = columns.begin; i < columns.end; i++) sum += line[i];
        y[o] = sum * (float)(1 / ((double)rows_divisor * columns.divisor));
    }
}

/* items are rows of the output: of n, then of channels, then along the height */
static void plain_rows(const void *context, size_t begin, size_t end, int thread)
{
    const job *j = context;
    const side *c = &j->columns;
    size_t height = (size_t)j->rows.out, in = (size_t)j->rows.in * (size_t)c->in;
    float *line = j->lines + (size_t)thread * j->line, padding = j->max ? -INFINITY : 0;
    for (size_t i = 0; i < j->line; i++) line[i] = padding;
    for (size_t item = begin; item < end; item++) {
        float *y = j->y + item * (size_t)c->out;
        span rows = span_of(&j->rows, (int)(item % height));
        if (rows.begin >= rows.end) { /* dilation steps over the whole input: maximum of padding */
            for (int o = 0; o < c->out; o++) y[o] = padding;
            continue;
        }
        reduce_rows(j, j->x + item / height * in, rows, line + c->before);
        if (c->adaptive) {
            adaptive_columns(j, line, y, rows.divisor);
            continue;
        }
        if (c->kernel == 2 && c->stride == 2 && c->dilation == 1)
            slide(j, line, y, (const int[]){2, 2, 1});
        else if (c->kernel == 3 && c->stride == 2 && c->dilation == 1)
            slide(j, line, y, (const int[]){3, 2, 1});
        else if (c->kernel == 3 && c->stride == 1 && c->dilation == 1)
            slide(j, line, y, (const int[]){3, 1, 1});
        else
            slide(j, line, y, (const int[]){c->kernel, c->stride, c->dilation});
        if (!j->max) divide(j, y, rows.divisor);
    }
}

/* items are planes, averaged whole: sums of 16 vectors, then of those sums */
static void plain_planes(const void *context, size_t begin, size_t end, int thread)
{
    (void)thread;
    const job *j = context;
    size_t pixels = (size_t)j->rows.in * (size_t)j->columns.in, vectors = pixels / 16;
    float scale = (float)(1 / ((double)span_of(&j->rows, 0).divisor * span_of(&j->columns, 0).divisor));
    for (size_t plane = begin; plane < end; plane++) {
        const float *x = j->x + plane * pixels;
        v16 total = v16_load_part(x + vectors * 16, (int)(pixels % 16));
        for (size_t v = 0; v < vectors;) {
            size_t stop = v + 16 < vectors ? v + 16 : vectors;
            v16 sum = v16_zero();
            for (; v < stop; v++) sum += v16_load(x + v * 16);
            total += sum;
        }
        j->y[plane] = v16_sum(total) * scale;
    }
}

/* ---- the record ---- */

static job plan_job(const tw_pool *p)
{
    bool adaptive = p->kind == TW_POOL_ADAPTIVE_AVERAGE, padding = p->count_include_pad;
    job j = {
        .rows = {p->ih, p->oh, p->kh, p->sh, p->pt, p->pb, p->dilh, adaptive, padding},
        .columns = {p->iw, p->ow, p->kw, p->sw, p->pl, p->pr, p->dilw, adaptive, padding},
        .max = p->kind == TW_POOL_MAX,
        .channels = p->c,
        .blocks = (p->c + TW_BLOCK - 1) / TW_BLOCK,
    };
    if (!adaptive) find_inner(&j.columns, &j.inner_first, &j.inner_last);
    return j;
}

/* The line holds the padded input, and what the last windows of ceil_mode read behind it. */
static size_t line_length(const tw_pool *p)
{
    size_t padded = (size_t)p->pl + (size_t)p->iw, read = 0;
    if (p->kind != TW_POOL_ADAPTIVE_AVERAGE)
        read = (size_t)(p->ow - 1) * (size_t)p->sw + (size_t)p->dilw * (size_t)(p->kw - 1) + 1;
    return tw_align((padded > read ? padded : read) * sizeof(float)) / sizeof(float);
}

static size_t workspace(const tw_problem *problem, const tw_device *device)
{
    if (problem->in[0].layout != TW_PLAIN) return 0;
    return (size_t)tw_cpu_threads(device) * line_length(problem->params) * sizeof(float);
}

/* One window, which is the plane. */
static bool covers_plane(const job *j)
{
    if (j->max || j->rows.out != 1 || j->columns.out != 1) return false;
    span rows = span_of(&j->rows, 0), columns = span_of(&j->columns, 0);
    return rows.begin == 0 && rows.end == j->rows.in && columns.begin == 0 && columns.end == j->columns.in;
}

static tw_status run(const tw_step *step, tw_queue *queue)
{
    const tw_pool *p = step->problem->params;
    job j = plan_job(p);
    j.x = step->in[0];
    j.y = step->out;
    j.lines = step->workspace;
    j.line = line_length(p);
    size_t n = (size_t)p->n, width = (size_t)p->iw, height = (size_t)p->oh;
    size_t read = width * (size_t)(p->ih / p->oh + 1); /* elements behind one row of the output */
    if (step->problem->in[0].layout == TW_PLAIN) {
        size_t planes = n * (size_t)p->c;
        if (covers_plane(&j))
            tw_parallel(queue, plain_planes, &j, planes, GRAIN / (width * (size_t)p->ih) + 1);
        else
            tw_parallel(queue, plain_rows, &j, planes * height, GRAIN / read + 1);
    } else {
        size_t planes = n * (size_t)j.blocks;
        bool to_plain = step->problem->out.layout == TW_PLAIN;
        tw_parallel(queue, to_plain ? blocked_to_plain : blocked_rows, &j, planes * height,
                    GRAIN / TW_BLOCK / read + 1);
    }
    return TW_OK;
}

static bool supports(const tw_problem *problem, const tw_device *device, const char **reason)
{
    (void)device;
    const tw_pool *p = problem->params;
    *reason = "float32, plain or blocked, the output as the input (or plain, where it is one pixel)";
    if (tw_problem_in(problem, TW_PLAIN)) return true;
    bool one_pixel = p->oh == 1 && p->ow == 1 && problem->in[0].layout == TW_BLOCKED &&
                     problem->out.layout == TW_PLAIN && problem->in[0].dtype == TW_F32 && problem->out.dtype == TW_F32;
    if (!tw_problem_in(problem, TW_BLOCKED) && !one_pixel) return false;
    *reason = "blocked: a dilated window must not be padded, for it may hold padding alone";
    return (p->dilh == 1 && p->dilw == 1) || (!p->pt && !p->pl && !p->pb && !p->pr);
}

static double cost(const tw_problem *problem, const tw_device *device)
{
    return tw_cpu_seconds(device, problem->op->flops(problem->params), problem->in[0].layout == TW_PLAIN ? 0.03 : 0.06,
                          tw_problem_traffic(problem), tw_cpu_threads(device));
}

const tw_design TW_CPU_DESIGN(pool, vectorised) = {
    .op = "pool",
    .device = "cpu",
    .name = "vectorised",
    .summary = "whole vectors of channels, or rows reduced into a line along which windows slide",
    .supports = supports,
    .workspace = workspace,
    .cost = cost,
    .run = run,
};
