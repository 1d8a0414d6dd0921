/* softmax with a vector exponential. Where a pixel's channels lie together (one pixel, or blocked), a vector holds
 * channels of one pixel; in plain tensors of many pixels, a vector holds pixels of one channel. Three passes over
 * the channels: largest, exponentials and their sum, division; the first reads memory, the others cache.
 *
 * The exponential: x = n ln 2 + r with |r| <= ln 2 / 2; e^r by Taylor's series to r^7 (remainder under 6e-9 of e^r);
 * 2^n in two factors, so that results below 2^-126 come out denormal. It is off by little more than 1 ulp at most
 * (operators_test.c measures it). Sums are compensated (Kahan 1965): the error does not grow with the channels. */
#include "ops/common/dims.h"
#include "ops/common/lanes.h"
#include "ops/softmax/softmax.h"

enum { GRAIN = 4 << 10 }; /* elements: an exponential is worth some eight loads */

/* 2^n for -126 <= n <= 127 */
TW_INLINE lanes power_of_two(lanes_int n)
{
    return (lanes)((lanes_uint)(n + 127) << 23);
}

/* e^x for x <= 0; NaN for NaN. */
TW_INLINE lanes exp_negative(lanes x)
{
    const lanes rounder = lanes_all(0x1.8p23f); /* adding it leaves the nearest integer in the low bits */
    x = lanes_max(lanes_all(-104.0f), x);       /* whose exponential, below half of the least denormal, is 0 */
    lanes t = x * lanes_all(0x1.715476p0f) + rounder;
    lanes n = t - rounder;
    lanes r = (x - n * lanes_all(0x1.62ep-1f)) - n * lanes_all(0x1.0bfbe8p-15f); /* ln 2, its first 11 bits apart */
    lanes e = lanes_all(0x1.a01a02p-13f);
    e = e * r + lanes_all(0x1.6c16c2p-10f);
    e = e * r + lanes_all(0x1.111112p-7f);
    e = e * r + lanes_all(0x1.555556p-5f);
    e = e * r + lanes_all(0x1.555556p-3f);
    e = e * r + lanes_all(0.5f);
    e = (e * (r * r) + r) + lanes_all(1);
    lanes_int power = (lanes_int)t - (lanes_int)rounder, half = power >> 1;
    return e * power_of_two(half) * power_of_two(power - half);
}

typedef struct sum {
    lanes total, lost;
} sum;

TW_INLINE void sum_add(sum *s, lanes v)
{
    lanes y = v - s->lost, t = s->total + y;
    s->lost = (t - s->total) - y;
    s->total = t;
}

/* The largest of all lanes; NaN may be lost here, the sum has it. */
TW_INLINE float largest_lane(lanes v)
{
    float s[TW_LANES];
    lanes_store(s, v);
    for (int half = TW_LANES / 2; half > 0; half /= 2)
        for (int i = 0; i < half; i++) s[i] = s[i] < s[i + half] ? s[i + half] : s[i];
    return s[0];
}

typedef struct job {
    const float *x;
    float *y;
    size_t channels, pixels;
    bool blocked;
    size_t strips;    /* plain: groups of TW_LANES pixels */
    size_t groups;    /* of TW_LANES channels */
    size_t last;      /* channels of the last group */
    lanes_int exists; /* all ones for those */
} job;

/* Where a group of channels lies behind the pixel's first. */
TW_INLINE size_t place(const job *j, size_t group)
{
    size_t c = group * TW_LANES;
    return j->blocked ? c / TW_BLOCK * TW_BLOCK * j->pixels + c % TW_BLOCK : c;
}

/* The last group: channels that do not exist read as -infinity. */
TW_INLINE lanes load_last(const job *j, const float *x)
{
    if (!j->blocked) return lanes_load_part(x, j->last, -INFINITY);
    lanes_int nothing = (lanes_int)lanes_all(-INFINITY);
    return (lanes)(((lanes_int)lanes_load(x) & j->exists) | (nothing & ~j->exists));
}

/* ... and are written as zeros to the end of a block, or not at all. */
TW_INLINE void store_last(const job *j, float *y, lanes v)
{
    if (!j->blocked) {
        lanes_store_part(y, v, j->last);
        return;
    }
    lanes_store(y, (lanes)((lanes_int)v & j->exists));
    for (size_t i = j->groups; i % (TW_BLOCK / TW_LANES) != 0; i++) {
        y += TW_LANES;
        lanes_store(y, lanes_all(0));
    }
}

/* One pixel with its channels in vectors. */
TW_INLINE void pixel_softmax(const job *j, const float *x, float *y)
{
    size_t whole = j->groups - 1, end = place(j, whole);
    lanes m = load_last(j, x + end);
    for (size_t i = 0; i < whole; i++) m = lanes_max(lanes_load(x + place(j, i)), m);
    lanes largest = lanes_all(largest_lane(m));
    sum s = {lanes_all(0), lanes_all(0)};
    for (size_t i = 0; i < whole; i++) {
        lanes e = exp_negative(lanes_load(x + place(j, i)) - largest);
        lanes_store(y + place(j, i), e);
        sum_add(&s, e);
    }
    lanes e = exp_negative(load_last(j, x + end) - largest);
    sum_add(&s, e);
    lanes scale = lanes_all(1 / lanes_sum(s.total));
    for (size_t i = 0; i < whole; i++) lanes_store(y + place(j, i), lanes_load(y + place(j, i)) * scale);
    store_last(j, y + end, e * scale);
}

/* items are pixels, of n, each with its channels in vectors */
static void softmax_pixels(const void *context, size_t begin, size_t end, int thread)
{
    (void)thread;
    const job *j = context;
    size_t blocks = (j->channels + TW_BLOCK - 1) / TW_BLOCK;
    for (size_t i = begin; i < end; i++) {
        size_t n = i / j->pixels, pixel = i % j->pixels;
        size_t at = j->blocked ? (n * blocks * j->pixels + pixel) * TW_BLOCK : n * j->channels;
        pixel_softmax(j, j->x + at, j->y + at);
    }
}

/* TW_LANES pixels (or the last `width`) of every channel. */
TW_INLINE void strip_softmax(const job *j, const float *x, float *y, size_t width)
{
    lanes m = lanes_all(-INFINITY);
    for (size_t c = 0; c < j->channels; c++) m = lanes_max(lanes_load_part(x + c * j->pixels, width, 0), m);
    sum s = {lanes_all(0), lanes_all(0)};
    for (size_t c = 0; c < j->channels; c++) {
        lanes e = exp_negative(lanes_load_part(x + c * j->pixels, width, 0) - m);
        lanes_store_part(y + c * j->pixels, e, width);
        sum_add(&s, e);
    }
    lanes scale = lanes_all(1) / s.total;
    for (size_t c = 0; c < j->channels; c++)
        lanes_store_part(y + c * j->pixels, lanes_load_part(y + c * j->pixels, width, 0) * scale, width);
}

/* items are strips of TW_LANES pixels, of n */
static void softmax_strips(const void *context, size_t begin, size_t end, int thread)
{
    (void)thread;
    const job *j = context;
    for (size_t i = begin; i < end; i++) {
        size_t pixel = i % j->strips * TW_LANES, at = i / j->strips * j->channels * j->pixels + pixel;
        if (j->pixels - pixel >= TW_LANES)
            strip_softmax(j, j->x + at, j->y + at, TW_LANES);
        else
            strip_softmax(j, j->x + at, j->y + at, j->pixels - pixel);
    }
}

static tw_status run(const tw_step *step, tw_queue *queue)
{
    const tw_softmax *p = step->problem->params;
    job j = {.x = step->in[0], .y = step->out, .channels = (size_t)p->c, .pixels = (size_t)p->h * (size_t)p->w};
    j.blocked = step->problem->out.layout == TW_BLOCKED;
    j.strips = (j.pixels + TW_LANES - 1) / TW_LANES;
    j.groups = (j.channels + TW_LANES - 1) / TW_LANES;
    j.last = j.channels - (j.groups - 1) * TW_LANES;
    for (size_t i = 0; i < TW_LANES; i++) j.exists[i] = i < j.last ? -1 : 0;
    size_t n = (size_t)p->n;
    if (j.blocked || j.pixels == 1)
        tw_parallel(queue, softmax_pixels, &j, n * j.pixels, GRAIN / j.channels + 1);
    else
        tw_parallel(queue, softmax_strips, &j, n * j.strips, GRAIN / TW_LANES / j.channels + 1);
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
