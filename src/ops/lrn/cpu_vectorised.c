/* lrn, a register of elements at a time: pixels of one channel in plain tensors, channels of one pixel in blocked ones. The
 * squares of each window are summed anew: a running sum would keep the rounding errors of what it dropped.
 * t^0.75, the power that everyone uses, is sqrt(t) * sqrt(sqrt(t)): three roundings, under 2 ulp. Others go through
 * powf, one lane after the other. */
#include "ops/common/dims.h"
#include "ops/common/lanes.h"
#include "ops/lrn/lrn.h"

enum { GRAIN = 4 << 10 }; /* elements */

typedef struct job {
    const tw_lrn *p;
    const float *x;
    float *y;
    size_t channels, blocks, pixels, strips; /* a strip: up to TW_LANES pixels */
} job;

TW_INLINE lanes power(lanes base, float exponent)
{
    if (exponent == 0.75f) {
        lanes root = lanes_sqrt(base);
        return root * lanes_sqrt(root);
    }
    float s[TW_LANES];
    lanes_store(s, base);
    for (int i = 0; i < TW_LANES; i++) s[i] = powf(s[i], exponent);
    return lanes_load(s);
}

TW_INLINE lanes normalise(const tw_lrn *p, lanes x, lanes squares)
{
    return x / power(lanes_all(p->k) + lanes_all(p->alpha / (float)p->size) * squares, p->beta);
}

/* TW_LANES pixels (or the last `width`) of every channel. */
TW_INLINE void strip_lrn(const job *j, const float *x, float *y, size_t width)
{
    ptrdiff_t channels = (ptrdiff_t)j->channels, pixels = (ptrdiff_t)j->pixels;
    for (ptrdiff_t c = 0; c < channels; c++) {
        ptrdiff_t first = c - j->p->size / 2, last = c + (j->p->size - 1) / 2;
        if (first < 0) first = 0;
        if (last > channels - 1) last = channels - 1;
        lanes squares = lanes_all(0);
        for (ptrdiff_t i = first; i <= last; i++) {
            lanes v = lanes_load_part(x + i * pixels, width, 0);
            squares += v * v;
        }
        lanes v = lanes_load_part(x + c * pixels, width, 0);
        lanes_store_part(y + c * pixels, normalise(j->p, v, squares), width);
    }
}

/* items are strips, of n */
static void plain_strips(const void *context, size_t begin, size_t end, int thread)
{
    (void)thread;
    const job *j = context;
    for (size_t i = begin; i < end; i++) {
        size_t pixel = i % j->strips * TW_LANES, at = i / j->strips * j->channels * j->pixels + pixel;
        if (j->pixels - pixel >= TW_LANES)
            strip_lrn(j, j->x + at, j->y + at, TW_LANES);
        else
            strip_lrn(j, j->x + at, j->y + at, j->pixels - pixel);
    }
}

/* One pixel: the squares of three blocks side by side hold every window of the middle one. */
TW_INLINE void pixel_lrn(const job *j, const float *x, float *y)
{
    size_t spacing = j->pixels * TW_BLOCK, tail = j->channels % TW_BLOCK;
    float squares[3 * TW_BLOCK] = {0};
    for (size_t i = 0; i < TW_BLOCK; i++) squares[2 * TW_BLOCK + i] = x[i] * x[i];
    for (size_t b = 0; b < j->blocks; b++) {
        const float *here = x + b * spacing, *next = here + spacing;
        memmove(squares, squares + TW_BLOCK, 2 * TW_BLOCK * sizeof *squares);
        for (size_t i = 0; i < TW_BLOCK; i++) squares[2 * TW_BLOCK + i] = b + 1 < j->blocks ? next[i] * next[i] : 0;
        for (size_t i = 0; i < TW_BLOCK; i += TW_LANES) {
            const float *middle = squares + TW_BLOCK + i;
            lanes sum = lanes_all(0);
            for (int d = -(j->p->size / 2); d <= (j->p->size - 1) / 2; d++) sum += lanes_load(middle + d);
            lanes_store(y + b * spacing + i, normalise(j->p, lanes_load(here + i), sum));
        }
    }
    if (tail) memset(y + (j->blocks - 1) * spacing + tail, 0, (TW_BLOCK - tail) * sizeof *y); /* k = 0: 0 / 0 */
}

/* items are pixels, of n */
static void blocked_pixels(const void *context, size_t begin, size_t end, int thread)
{
    (void)thread;
    const job *j = context;
    for (size_t i = begin; i < end; i++) {
        size_t at = (i / j->pixels * j->blocks * j->pixels + i % j->pixels) * TW_BLOCK;
        pixel_lrn(j, j->x + at, j->y + at);
    }
}

static tw_status run(const tw_step *step, tw_queue *queue)
{
    const tw_lrn *p = step->problem->params;
    job j = {.p = p, .x = step->in[0], .y = step->out, .channels = (size_t)p->c};
    j.pixels = (size_t)p->h * (size_t)p->w;
    j.strips = (j.pixels + TW_LANES - 1) / TW_LANES;
    j.blocks = (j.channels + TW_BLOCK - 1) / TW_BLOCK;
    size_t n = (size_t)p->n;
    if (step->problem->out.layout == TW_BLOCKED)
        tw_parallel(queue, blocked_pixels, &j, n * j.pixels, GRAIN / j.channels + 1);
    else
        tw_parallel(queue, plain_strips, &j, n * j.strips, GRAIN / TW_LANES / j.channels + 1);
    return TW_OK;
}

static bool supports(const tw_problem *problem, const tw_device *device, const char **reason)
{
    (void)device;
    const tw_lrn *p = problem->params;
    *reason = "float32, plain or blocked, the output as the input";
    if (tw_problem_in(problem, TW_PLAIN)) return true;
    if (!tw_problem_in(problem, TW_BLOCKED)) return false;
    *reason = "blocked: the window has at most 33 channels";
    return p->size <= 2 * TW_BLOCK + 1;
}

static double cost(const tw_problem *problem, const tw_device *device)
{
    return tw_cpu_seconds(device, problem->op->flops(problem->params), 0.1, tw_problem_traffic(problem),
                          tw_cpu_threads(device));
}

const tw_design TW_CPU_DESIGN(lrn, vectorised) = {
    .op = "lrn",
    .device = "cpu",
    .name = "vectorised",
    .summary = "a register of elements at a time; the power 0.75 by square roots",
    .supports = supports,
    .cost = cost,
    .run = run,
};
