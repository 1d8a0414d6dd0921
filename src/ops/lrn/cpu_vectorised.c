/* lrn, sixteen elements at a time: pixels of one channel in plain tensors, channels of one pixel in blocked ones. The
 * squares of each window are summed anew: a running sum would keep the rounding errors of what it dropped.
 * t^0.75, the power that everyone uses, is sqrt(t) * sqrt(sqrt(t)): three roundings, under 2 ulp. Others go through
 * powf, one lane after the other. */
#include "devices/cpu/simd.h"
#include "ops/common/dims.h"
#include "ops/lrn/lrn.h"

#include <math.h>

enum { GRAIN = 4 << 10 }; /* elements */

typedef struct job {
    const tw_lrn *p;
    const float *x;
    float *y;
    size_t channels, blocks, pixels, strips; /* a strip: up to 16 pixels */
} job;

TW_INLINE v16 square_root(v16 v)
{
    float s[16];
    memcpy(s, &v, sizeof s);
    for (int i = 0; i < 16; i++) s[i] = sqrtf(s[i]);
    return v16_load(s);
}

TW_INLINE v16 power(v16 base, float exponent)
{
    if (exponent == 0.75f) {
        v16 root = square_root(base);
        return root * square_root(root);
    }
    float s[16];
    memcpy(s, &base, sizeof s);
    for (int i = 0; i < 16; i++) s[i] = powf(s[i], exponent);
    return v16_load(s);
}

TW_INLINE v16 normalise(const tw_lrn *p, v16 x, v16 squares)
{
    return x / power(v16_all(p->k) + v16_all(p->alpha / (float)p->size) * squares, p->beta);
}

/* 16 pixels (or the last `width`) of every channel. */
TW_INLINE void strip_lrn(const job *j, const float *x, float *y, int width)
{
    ptrdiff_t channels = (ptrdiff_t)j->channels, pixels = (ptrdiff_t)j->pixels;
    for (ptrdiff_t c = 0; c < channels; c++) {
        ptrdiff_t first = c - j->p->size / 2, last = c + (j->p->size - 1) / 2;
        if (first < 0) first = 0;
        if (last > channels - 1) last = channels - 1;
        v16 squares = v16_zero();
        for (ptrdiff_t i = first; i <= last; i++) {
            v16 v = v16_load_part(x + i * pixels, width);
            squares += v * v;
        }
        v16 v = v16_load_part(x + c * pixels, width);
        v16_store_part(y + c * pixels, normalise(j->p, v, squares), width);
    }
}

/* items are strips, of n */
static void plain_strips(const void *context, size_t begin, size_t end, int thread)
{
    (void)thread;
    const job *j = context;
    for (size_t i = begin; i < end; i++) {
        size_t pixel = i % j->strips * 16, at = i / j->strips * j->channels * j->pixels + pixel;
        if (j->pixels - pixel >= 16)
            strip_lrn(j, j->x + at, j->y + at, 16);
        else
            strip_lrn(j, j->x + at, j->y + at, (int)(j->pixels - pixel));
    }
}

/* One pixel: the squares of three blocks side by side hold every window of the middle one. */
TW_INLINE void pixel_lrn(const job *j, const float *x, float *y)
{
    size_t spacing = j->pixels * TW_BLOCK, tail = j->channels % TW_BLOCK;
    float squares[3 * TW_BLOCK] = {0};
    v16 next = v16_load(x);
    v16_store(squares + 2 * TW_BLOCK, next * next);
    for (size_t b = 0; b < j->blocks; b++) {
        v16 here = next;
        memmove(squares, squares + TW_BLOCK, 2 * TW_BLOCK * sizeof *squares);
        next = b + 1 < j->blocks ? v16_load(x + (b + 1) * spacing) : v16_zero();
        v16_store(squares + 2 * TW_BLOCK, next * next);
        v16 sum = v16_zero();
        for (int d = -(j->p->size / 2); d <= (j->p->size - 1) / 2; d++) sum += v16_load(squares + TW_BLOCK + d);
        v16_store(y + b * spacing, normalise(j->p, here, sum));
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
    j.strips = (j.pixels + 15) / 16;
    j.blocks = (j.channels + TW_BLOCK - 1) / TW_BLOCK;
    size_t n = (size_t)p->n;
    if (step->problem->out.layout == TW_BLOCKED)
        tw_parallel(queue, blocked_pixels, &j, n * j.pixels, GRAIN / j.channels + 1);
    else
        tw_parallel(queue, plain_strips, &j, n * j.strips, GRAIN / 16 / j.channels + 1);
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
    .summary = "sixteen elements at a time; the power 0.75 by square roots",
    .supports = supports,
    .cost = cost,
    .run = run,
};
