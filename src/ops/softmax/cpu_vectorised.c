/* softmax with a vector exponential. Where a pixel's channels lie together (one pixel, or blocked), a vector holds 16
 * channels of one pixel; in plain tensors of many pixels, a vector holds 16 pixels of one channel. Three passes over
 * the channels: largest, exponentials and their sum, division; the first reads memory, the others cache.
 *
 * The exponential: x = n ln 2 + r with |r| <= ln 2 / 2; e^r by Taylor's series to r^7 (remainder under 6e-9 of e^r);
 * 2^n in two factors, so that results below 2^-126 come out denormal. It is off by little more than 1 ulp at most
 * (operators_test.c measures it). Sums are compensated (Kahan 1965): the error does not grow with the channels. */
#include "devices/cpu/simd.h"
#include "ops/common/dims.h"
#include "ops/softmax/softmax.h"

#include <math.h>

enum { GRAIN = 4 << 10 }; /* elements: an exponential is worth some eight loads */

typedef uint32_t v16u __attribute__((vector_size(64)));

/* 2^n for -126 <= n <= 127 */
TW_INLINE v16 power_of_two(v16i n)
{
    return (v16)((v16u)(n + 127) << 23);
}

/* e^x for x <= 0; NaN for NaN. */
TW_INLINE v16 exp_negative(v16 x)
{
    const float rounder = 0x1.8p23f;  /* adding it leaves the nearest integer in the low bits */
    x = v16_max(x, v16_all(-104.0f)); /* whose exponential, below half of the least denormal, is 0 */
    v16 t = x * v16_all(0x1.715476p0f) + v16_all(rounder);
    v16 n = t - v16_all(rounder);
    v16 r = (x - n * v16_all(0x1.62ep-1f)) - n * v16_all(0x1.0bfbe8p-15f); /* ln 2, the first part of 11 bits */
    v16 e = v16_all(0x1.a01a02p-13f);
    e = e * r + v16_all(0x1.6c16c2p-10f);
    e = e * r + v16_all(0x1.111112p-7f);
    e = e * r + v16_all(0x1.555556p-5f);
    e = e * r + v16_all(0x1.555556p-3f);
    e = e * r + v16_all(0.5f);
    e = (e * (r * r) + r) + v16_all(1);
    v16i power = (v16i)t - (v16i)v16_all(rounder), half = power >> 1;
    return e * power_of_two(half) * power_of_two(power - half);
}

typedef struct sum {
    v16 total, lost;
} sum;

TW_INLINE void sum_add(sum *s, v16 v)
{
    v16 y = v - s->lost, t = s->total + y;
    s->lost = (t - s->total) - y;
    s->total = t;
}

/* The largest in all lanes; NaN may be lost here, the sum has it. */
TW_INLINE float largest_lane(v16 v)
{
    float s[16];
    memcpy(s, &v, sizeof s);
    for (int half = 8; half > 0; half /= 2)
        for (int i = 0; i < half; i++) s[i] = s[i] < s[i + half] ? s[i + half] : s[i];
    return s[0];
}

typedef struct job {
    const float *x;
    float *y;
    size_t channels, pixels;
    size_t strips;  /* plain: groups of 16 pixels */
    size_t blocks;  /* groups of 16 channels */
    size_t spacing; /* from one group of channels to the next: 16, or blocked a plane */
    bool blocked;
} job;

/* 16 channels, of which `used` exist; the others are -infinity. */
TW_INLINE v16 load_channels(const float *x, size_t used)
{
    float lanes[16];
    if (used == 16) return v16_load(x);
    v16_store(lanes, v16_all(-INFINITY));
    memcpy(lanes, x, used * sizeof *x);
    return v16_load(lanes);
}

/* One pixel whose channels lie in vectors, `spacing` apart. */
TW_INLINE void pixel_softmax(const job *j, const float *x, float *y)
{
    size_t blocks = j->blocks, last = j->channels - (blocks - 1) * 16;
    v16 m = v16_all(-INFINITY);
    for (size_t b = 0; b < blocks; b++) m = v16_max(m, load_channels(x + b * j->spacing, b + 1 < blocks ? 16 : last));
    v16 largest = v16_all(largest_lane(m));
    sum s = {v16_zero(), v16_zero()};
    for (size_t b = 0; b + 1 < blocks; b++) {
        v16 e = exp_negative(v16_load(x + b * j->spacing) - largest);
        v16_store(y + b * j->spacing, e);
        sum_add(&s, e);
    }
    size_t at = (blocks - 1) * j->spacing;
    v16 e = exp_negative(load_channels(x + at, last) - largest);
    sum_add(&s, e);
    v16 scale = v16_all(1 / v16_sum(s.total));
    for (size_t b = 0; b + 1 < blocks; b++) v16_store(y + b * j->spacing, v16_load(y + b * j->spacing) * scale);
    v16_store_part(y + at, e * scale, (int)last);
    if (j->blocked && last < 16) memset(y + at + last, 0, (16 - last) * sizeof *y);
}

/* items are pixels, of n, each with its channels in vectors */
static void softmax_pixels(const void *context, size_t begin, size_t end, int thread)
{
    (void)thread;
    const job *j = context;
    for (size_t i = begin; i < end; i++) {
        size_t n = i / j->pixels, pixel = i % j->pixels;
        size_t at = j->blocked ? (n * j->blocks * j->pixels + pixel) * 16 : n * j->channels;
        pixel_softmax(j, j->x + at, j->y + at);
    }
}

/* 16 pixels (or the last `width`) of every channel. */
TW_INLINE void strip_softmax(const job *j, const float *x, float *y, int width)
{
    v16 m = v16_all(-INFINITY);
    for (size_t c = 0; c < j->channels; c++) m = v16_max(m, v16_load_part(x + c * j->pixels, width));
    sum s = {v16_zero(), v16_zero()};
    for (size_t c = 0; c < j->channels; c++) {
        v16 e = exp_negative(v16_load_part(x + c * j->pixels, width) - m);
        v16_store_part(y + c * j->pixels, e, width);
        sum_add(&s, e);
    }
    v16 scale = v16_all(1) / s.total;
    for (size_t c = 0; c < j->channels; c++)
        v16_store_part(y + c * j->pixels, v16_load_part(y + c * j->pixels, width) * scale, width);
}

/* items are strips of 16 pixels, of n */
static void softmax_strips(const void *context, size_t begin, size_t end, int thread)
{
    (void)thread;
    const job *j = context;
    for (size_t i = begin; i < end; i++) {
        size_t pixel = i % j->strips * 16, at = i / j->strips * j->channels * j->pixels + pixel;
        if (j->pixels - pixel >= 16)
            strip_softmax(j, j->x + at, j->y + at, 16);
        else
            strip_softmax(j, j->x + at, j->y + at, (int)(j->pixels - pixel));
    }
}

static tw_status run(const tw_step *step, tw_queue *queue)
{
    const tw_softmax *p = step->problem->params;
    job j = {.x = step->in[0], .y = step->out, .channels = (size_t)p->c, .pixels = (size_t)p->h * (size_t)p->w};
    j.blocked = step->problem->out.layout == TW_BLOCKED;
    j.strips = (j.pixels + 15) / 16;
    j.blocks = (j.channels + 15) / 16;
    j.spacing = j.blocked ? 16 * j.pixels : 16;
    size_t n = (size_t)p->n;
    if (j.blocked || j.pixels == 1)
        tw_parallel(queue, softmax_pixels, &j, n * j.pixels, GRAIN / j.channels + 1);
    else
        tw_parallel(queue, softmax_strips, &j, n * j.strips, GRAIN / 16 / j.channels + 1);
    return TW_OK;
}

static bool supports(const tw_problem *problem, const tw_device *device, const char **reason)
{
    (void)device;
    *reason = "float32, plain or blocked, the output as the input";
    return tw_problem_in(problem, TW_PLAIN) || tw_problem_in(problem, TW_BLOCKED);
}

static double cost(const tw_problem *problem, const tw_device *device)
{
    return tw_cpu_seconds(device, problem->op->flops(problem->params), 0.1, tw_problem_traffic(problem),
                          tw_cpu_threads(device));
}

const tw_design TW_CPU_DESIGN(softmax, vectorised) = {
    .op = "softmax",
    .device = "cpu",
    .name = "vectorised",
    .summary = "a vector exponential, compensated sums",
    .in_place = true,
    .supports = supports,
    .cost = cost,
    .run = run,
};
