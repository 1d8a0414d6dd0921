/* pool, a register of elements at a time.
 *
 * Blocked: a vector holds channels of one pixel, so a window is a few whole vectors and any window is alike; the
 * common ones (2x2 and 3x3 with stride 2) have their loops unrolled where no padding is touched.
 * Plain: the rows of a window are reduced first, into a line of the workspace whose ends stand for the padding; then
 * windows slide along the line, a vector of them at a time for strides 1 and 2. 2x2 windows with stride 2 need no line.
 * An average that covers its whole plane is one sum of contiguous elements.
 * Averages are summed row by row and the rows' sums then added, which keeps errors of large windows small.
 * A 2x2 window reads four elements for three comparisons: bound by memory. */
#include "core/status.h"
#include "ops/common/dims.h"
#include "ops/common/lanes.h"
#include "ops/pool/pool.h"

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
    float *lines;         /* plain: [threads][line] */
    size_t line;
} job;

/* NaN in either wins: lanes_max gives its second operand where one is NaN; the bits of NaN and of a number, merged,
 * are NaN; those of a number and itself are the number. */
TW_INLINE lanes larger(lanes a, lanes b)
{
    return (lanes)((lanes_int)lanes_max(a, b) | (lanes_int)lanes_max(b, a));
}

/* ---- blocked: x and y begin at TW_LANES channels of a block ---- */

TW_INLINE lanes max_window(const job *j, const float *x, span rows, span columns)
{
    lanes m = lanes_all(-INFINITY);
    for (int iy = rows.begin; iy < rows.end; iy += j->rows.dilation)
        for (int ix = columns.begin; ix < columns.end; ix += j->columns.dilation)
            m = larger(m, lanes_load(x + ((size_t)iy * (size_t)j->columns.in + (size_t)ix) * TW_BLOCK));
    return m;
}

TW_INLINE lanes average_window(const job *j, const float *x, span rows, span columns)
{
    lanes total = lanes_all(0);
    for (int iy = rows.begin; iy < rows.end; iy++) {
        lanes sum = lanes_all(0);
        const float *row = x + (size_t)iy * (size_t)j->columns.in * TW_BLOCK;
        for (int ix = columns.begin; ix < columns.end; ix++) sum += lanes_load(row + (size_t)ix * TW_BLOCK);
        total += sum;
    }
    return total * lanes_all((float)(1 / ((double)rows.divisor * columns.divisor)));
}

/* One pixel of a whole block. */
TW_INLINE void pool_pixel(const job *j, const float *x, float *y, const span windows[2])
{
    for (size_t part = 0; part < TW_BLOCK; part += TW_LANES)
        lanes_store(y + part, j->max ? max_window(j, x + part, windows[0], windows[1])
                                     : average_window(j, x + part, windows[0], windows[1]));
}

/* `count` dense windows inside the input, one beside the other; x is the first one's corner. kh, kw and stride are
 * constants where it matters. */
TW_INLINE void max_run(const float *x, size_t row, float *y, int count, const int window[3])
{
    const int kh = window[0], kw = window[1], stride = window[2];
    for (int o = 0; o < count; o++)
        for (size_t part = 0; part < TW_BLOCK; part += TW_LANES) {
            const float *corner = x + (size_t)o * (size_t)stride * TW_BLOCK + part;
            lanes m = lanes_load(corner);
            for (int ky = 0; ky < kh; ky++)
                for (int kx = ky == 0; kx < kw; kx++)
                    m = larger(m, lanes_load(corner + (size_t)ky * row + (size_t)kx * TW_BLOCK));
            lanes_store(y + (size_t)o * TW_BLOCK + part, m);
        }
}

static void max_row(const job *j, const float *x, float *y, span rows)
{
    const side *c = &j->columns;
    int first = j->inner_first, last = j->inner_last, kh = rows.end - rows.begin;
    if (j->rows.dilation != 1 || c->dilation != 1) last = first;
    for (int o = 0; o < first; o++) pool_pixel(j, x, y + (size_t)o * TW_BLOCK, (const span[]){rows, span_of(c, o)});
    for (int o = last; o < c->out; o++) pool_pixel(j, x, y + (size_t)o * TW_BLOCK, (const span[]){rows, span_of(c, o)});
    if (last == first) return;
    size_t row = (size_t)c->in * TW_BLOCK;
    const float *corner = x + (size_t)rows.begin * row + (size_t)(first * c->stride - c->before) * TW_BLOCK;
    float *out = y + (size_t)first * TW_BLOCK;
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
        pool_pixel(j, x, y + (size_t)o * TW_BLOCK, (const span[]){rows, span_of(&j->columns, o)});
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
    const span windows[2] = {span_of(&j->rows, 0), span_of(&j->columns, 0)};
    for (size_t item = begin; item < end; item++) {
        float pixel[TW_BLOCK];
        size_t first = item % blocks * TW_BLOCK, left = (size_t)j->channels - first;
        pool_pixel(j, j->x + item * in, pixel, windows);
        memcpy(j->y + item / blocks * (size_t)j->channels + first, pixel,
               (left < TW_BLOCK ? left : TW_BLOCK) * sizeof *pixel);
    }
}

/* ---- plain ---- */

TW_INLINE lanes combine(const job *j, lanes a, lanes b)
{
    return j->max ? larger(a, b) : a + b;
}

TW_INLINE float combine_one(const job *j, float a, float b)
{
    if (!j->max) return a + b;
    return b > a || b != b ? b : a;
}

/* The window's rows as one: line[before + ix]. Behind the last, as much of a vector as is left over is padding again. */
static void reduce_rows(const job *j, const float *x, span rows, float *line)
{
    const size_t width = (size_t)j->columns.in, step = (size_t)j->rows.dilation * width;
    const float *first = x + (size_t)rows.begin * width, *end = x + (size_t)rows.end * width;
    const float padding = j->max ? -INFINITY : 0;
    size_t i = 0;
    for (; i + TW_LANES <= width; i += TW_LANES) {
        lanes v = lanes_load(first + i);
        for (const float *row = first + step; row < end; row += step) v = combine(j, v, lanes_load(row + i));
        lanes_store(line + i, v);
    }
    if (i == width) return;
    lanes v = lanes_load_part(first + i, width - i, padding);
    for (const float *row = first + step; row < end; row += step)
        v = combine(j, v, lanes_load_part(row + i, width - i, padding));
    lanes_store(line + i, v);
}

/* TW_LANES dense windows of stride 1 or 2 from line[0] on. */
TW_INLINE lanes slide_lanes(const job *j, const float *line, int kernel, int stride)
{
    if (stride == 1) {
        lanes v = lanes_load(line);
        for (int k = 1; k < kernel; k++) v = combine(j, v, lanes_load(line + k));
        return v;
    }
    lanes a = lanes_load(line), b = lanes_load(line + TW_LANES), v = lanes_even(a, b);
    if (kernel > 1) v = combine(j, v, lanes_odd(a, b));
    for (int k = 2; k < kernel; k++)
        v = combine(j, v, lanes_even(lanes_load(line + k), lanes_load(line + k + TW_LANES)));
    return v;
}

/* Windows along a padded line, behind which as much may be read as a vector of windows reaches (line_length). */
static void slide(const job *j, const float *line, float *y)
{
    const side *c = &j->columns;
    size_t count = (size_t)c->out, stride = (size_t)c->stride, o = 0;
    if (c->dilation == 1 && stride <= 2) {
        for (; o + TW_LANES <= count; o += TW_LANES)
            lanes_store(y + o, slide_lanes(j, line + o * stride, c->kernel, c->stride));
        if (o < count) lanes_store_part(y + o, slide_lanes(j, line + o * stride, c->kernel, c->stride), count - o);
        return;
    }
    for (; o < count; o++) {
        float v = line[o * stride];
        for (int k = 1; k < c->kernel; k++) v = combine_one(j, v, line[o * stride + (size_t)k * (size_t)c->dilation]);
        y[o] = v;
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
        slide(j, line, y);
        if (!j->max) divide(j, y, rows.divisor);
    }
}

/* TW_LANES windows of 2x2 side by side, or as many as there are: two rows of the input from one corner on. */
TW_INLINE lanes halve(const job *j, const float *row, size_t windows)
{
    const float *below = row + j->columns.in;
    size_t first = 2 * windows < TW_LANES ? 2 * windows : TW_LANES, second = 2 * windows - first;
    lanes a = combine(j, lanes_load_part(row, first, 0), lanes_load_part(below, first, 0)), b = a;
    if (second > 0)
        b = combine(j, lanes_load_part(row + TW_LANES, second, 0), lanes_load_part(below + TW_LANES, second, 0));
    lanes v = combine(j, lanes_even(a, b), lanes_odd(a, b));
    return j->max ? v : v * lanes_all(0.25f);
}

/* items are rows of the output, as in plain_rows; windows are 2x2, two apart, and inside the input */
static void plain_halves(const void *context, size_t begin, size_t end, int thread)
{
    (void)thread;
    const job *j = context;
    size_t height = (size_t)j->rows.out, count = (size_t)j->columns.out, width = (size_t)j->columns.in;
    size_t plane = begin / height, oy = begin % height;
    for (size_t item = begin; item < end; item++) {
        const float *x = j->x + (plane * (size_t)j->rows.in + 2 * oy) * width;
        float *y = j->y + item * count;
        size_t o = 0;
        for (; o + TW_LANES <= count; o += TW_LANES) lanes_store(y + o, halve(j, x + 2 * o, TW_LANES));
        if (count < TW_LANES)
            lanes_store_part(y, halve(j, x, count), count);
        else if (o < count) /* some windows again */
            lanes_store(y + count - TW_LANES, halve(j, x + 2 * (count - TW_LANES), TW_LANES));
        if (++oy == height) {
            oy = 0;
            plane++;
        }
    }
}

/* items are planes, averaged whole: sums of 32 vectors, then of those sums */
static void plain_planes(const void *context, size_t begin, size_t end, int thread)
{
    (void)thread;
    const job *j = context;
    size_t pixels = (size_t)j->rows.in * (size_t)j->columns.in;
    float scale = (float)(1 / ((double)span_of(&j->rows, 0).divisor * span_of(&j->columns, 0).divisor));
    for (size_t plane = begin; plane < end; plane++) {
        const float *x = j->x + plane * pixels;
        lanes total = lanes_all(0);
        size_t i = 0;
        while (pixels - i >= TW_LANES) {
            lanes sum = lanes_all(0);
            for (int k = 0; k < 32 && pixels - i >= TW_LANES; k++, i += TW_LANES) sum += lanes_load(x + i);
            total += sum;
        }
        float rest = 0;
        for (; i < pixels; i++) rest += x[i];
        j->y[plane] = (lanes_sum(total) + rest) * scale;
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

/* The line holds the padded input, what the last windows of ceil_mode read behind it, and what a vector of windows
 * reads behind the last. */
static size_t line_length(const tw_pool *p)
{
    size_t padded = (size_t)p->pl + (size_t)p->iw, read = 0;
    if (p->kind != TW_POOL_ADAPTIVE_AVERAGE)
        read = (size_t)(p->ow - 1) * (size_t)p->sw + (size_t)p->dilw * (size_t)(p->kw - 1) + 1;
    return tw_align(((padded > read ? padded : read) + 2 * TW_LANES) * sizeof(float)) / sizeof(float);
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

static bool is_halving(const tw_pool *p)
{
    return p->kind != TW_POOL_ADAPTIVE_AVERAGE && p->kh == 2 && p->kw == 2 && p->sh == 2 && p->sw == 2 &&
           p->dilh == 1 && p->dilw == 1 && !p->pt && !p->pl && 2 * (int64_t)p->oh <= p->ih &&
           2 * (int64_t)p->ow <= p->iw;
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
        else if (is_halving(p))
            tw_parallel(queue, plain_halves, &j, planes * height, GRAIN / read + 1);
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
    bool plain = problem->in[0].layout == TW_PLAIN;
    double efficiency = !plain ? 0.06 : is_halving(problem->params) ? 0.12 : 0.03;
    return tw_cpu_seconds(device, problem->op->flops(problem->params), efficiency, tw_problem_traffic(problem),
                          tw_cpu_threads(device));
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
