/* Resizing, bit for bit as Pillow's Image.resize: convolution with a triangle or a cubic that is stretched by the ratio
 * when shrinking (antialiasing), first along rows, then along columns, with 8 bits a channel between the two and
 * weights in fixed point. Output pixel i has its centre at (i + 0.5) * in / out of the input; the taps within the
 * stretched support around it are normalised to a sum of one.
 *
 * Only the wanted window is computed. Rows are filtered horizontally when the vertical pass first needs them, and kept
 * in a ring just long enough for its longest filter, so that the working set stays in the cache and memory does not
 * grow with the input's height. */
#include "formats/image.h"

#include "core/status.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Fraction bits of a weight: 32 less 8 of a pixel and 2 for sums beyond one and the sign. */
#define WEIGHT_BITS (32 - 8 - 2)

typedef struct span {
    int first, count; /* input positions */
    size_t weights;   /* index of the first one's weight */
} span;

/* How one side is resampled: a span for each wanted output position. */
typedef struct axis {
    span *spans;
    int32_t *weights;
    int longest;
} axis;

typedef struct side {
    int in, out;      /* lengths */
    int first, count; /* wanted output positions */
} side;

static double triangle(double x)
{
    x = fabs(x);
    return x < 1 ? 1 - x : 0;
}

/* Keys 1981 with a = -1/2 */
static double cubic(double x)
{
    const double a = -0.5;
    x = fabs(x);
    if (x < 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
    if (x < 2) return (((x - 5) * x + 8) * x - 4) * a;
    return 0;
}

static int32_t fixed_point(double weight)
{
    double scaled = weight * (1 << WEIGHT_BITS);
    return (int32_t)(scaled < 0 ? scaled - 0.5 : scaled + 0.5);
}

/* One output position's taps. Neither their first nor their last position ever moves back as the output's advances. */
static span make_span(const side *s, int position, tw_interpolation interpolation, int32_t *weights)
{
    if (s->in == s->out) {
        weights[0] = 1 << WEIGHT_BITS;
        return (span){.first = position, .count = 1};
    }
    double (*filter)(double) = interpolation == TW_BICUBIC ? cubic : triangle;
    double ratio = (double)s->in / s->out, stretch = ratio < 1 ? 1 : ratio;
    double support = (interpolation == TW_BICUBIC ? 2 : 1) * stretch, per_stretch = 1 / stretch;
    double centre = (position + 0.5) * ratio, sum = 0;
    int first = (int)fmax(centre - support + 0.5, 0), end = (int)fmin(centre + support + 0.5, s->in);
    for (int i = first; i < end; i++) sum += filter((i - centre + 0.5) * per_stretch);
    for (int i = first; i < end; i++) weights[i - first] = fixed_point(filter((i - centre + 0.5) * per_stretch) / sum);
    return (span){.first = first, .count = end - first};
}

static tw_status make_axis(const side *s, tw_interpolation interpolation, axis *a, tw_error *error)
{
    /* As many taps as a stretched cubic can touch. */
    double stretch = s->in > s->out ? (double)s->in / s->out : 1, taps = fmin(2 * ceil(2 * stretch) + 1, s->in);
    size_t count = (size_t)s->count, spans_bytes, weights_bytes;
    if (!tw_checked_mul(count, sizeof(span), &spans_bytes) || !tw_checked_mul(count, (size_t)taps, &weights_bytes) ||
        !tw_checked_mul(weights_bytes, sizeof(int32_t), &weights_bytes))
        return tw_fail(error, TW_INVALID, "resizing %d to %d pixels: too large", s->in, s->out);
    a->spans = tw_alloc(spans_bytes);
    a->weights = tw_alloc(weights_bytes);
    if (!a->spans || !a->weights) return tw_no_memory(error, spans_bytes + weights_bytes, "resizing weights");
    size_t used = 0;
    a->longest = 1;
    for (int i = 0; i < s->count; i++) {
        span made = make_span(s, s->first + i, interpolation, a->weights + used);
        made.weights = used;
        a->spans[i] = made;
        used += (size_t)made.count;
        if (made.count > a->longest) a->longest = made.count;
    }
    return TW_OK;
}

/* A fixed-point sum, rounded and clamped. */
static inline uint8_t pixel_of(int32_t sum)
{
    int value = (sum + (1 << (WEIGHT_BITS - 1))) >> WEIGHT_BITS;
    return (uint8_t)(value < 0 ? 0 : value > 255 ? 255 : value);
}

/* in[width][3] -> out[columns][3] */
static void filter_row_rgb(const axis *a, const uint8_t *in, int columns, uint8_t *out)
{
    for (int x = 0; x < columns; x++) {
        const span *s = &a->spans[x];
        const int32_t *weight = a->weights + s->weights;
        const uint8_t *pixel = in + 3 * (size_t)s->first;
        int32_t r = 0, g = 0, b = 0;
        for (int i = 0; i < s->count; i++, pixel += 3) {
            r += pixel[0] * weight[i];
            g += pixel[1] * weight[i];
            b += pixel[2] * weight[i];
        }
        out[3 * x] = pixel_of(r);
        out[3 * x + 1] = pixel_of(g);
        out[3 * x + 2] = pixel_of(b);
    }
}

/* in[width] -> out[columns] */
static void filter_row_grey(const axis *a, const uint8_t *in, int columns, uint8_t *out)
{
    for (int x = 0; x < columns; x++) {
        const span *s = &a->spans[x];
        int32_t sum = 0;
        for (int i = 0; i < s->count; i++) sum += in[s->first + i] * a->weights[s->weights + (size_t)i];
        out[x] = pixel_of(sum);
    }
}

/* rgb[width][3] -> grey[width] */
static void luma_row(const uint8_t *rgb, int width, uint8_t *grey)
{
    for (int x = 0; x < width; x++, rgb += 3) grey[x] = tw_luma(rgb[0], rgb[1], rgb[2]);
}

/* out[bytes] = sum over count rows of weight * row */
static void blend_rows(const uint8_t *const *rows, const int32_t *weights, int count, size_t bytes, uint8_t *out)
{
    enum { LANES = 32 };
    for (size_t at = 0; at < bytes; at += LANES) {
        int32_t sums[LANES] = {0};
        size_t lanes = bytes - at < LANES ? bytes - at : LANES;
        if (lanes == LANES) {
            for (int i = 0; i < count; i++)
                for (size_t j = 0; j < LANES; j++) sums[j] += rows[i][at + j] * weights[i];
        } else {
            for (int i = 0; i < count; i++)
                for (size_t j = 0; j < lanes; j++) sums[j] += rows[i][at + j] * weights[i];
        }
        for (size_t j = 0; j < lanes; j++) out[at + j] = pixel_of(sums[j]);
    }
}

typedef struct passes {
    const tw_resample *how;
    axis across, down;
    size_t row_bytes;     /* of the window */
    uint8_t *ring;        /* [down.longest][columns][channels]: row y of the input is in slot y % down.longest */
    uint8_t *grey;        /* one row of the input */
    const uint8_t **taps; /* the rows of one vertical filter */
} passes;

static tw_status prepare(passes *p, tw_error *error)
{
    const tw_resample *how = p->how;
    side across = {.in = how->image->width, .out = how->width, .first = how->x, .count = how->columns};
    side down = {.in = how->image->height, .out = how->height, .first = how->y, .count = how->rows};
    tw_status status = make_axis(&across, how->interpolation, &p->across, error);
    if (status == TW_OK) status = make_axis(&down, how->interpolation, &p->down, error);
    if (status != TW_OK) return status;
    size_t ring_bytes;
    p->row_bytes = (size_t)how->columns * (size_t)how->channels;
    if (!tw_checked_mul(p->row_bytes, (size_t)p->down.longest, &ring_bytes))
        return tw_fail(error, TW_INVALID, "resizing to %d x %d pixels: too large", how->width, how->height);
    p->ring = tw_alloc(ring_bytes);
    p->grey = tw_alloc((size_t)how->image->width);
    p->taps = tw_alloc((size_t)p->down.longest * sizeof *p->taps);
    if (!p->ring || !p->grey || !p->taps) return tw_no_memory(error, ring_bytes, "resizing an image");
    return TW_OK;
}

static uint8_t *ring_slot(const passes *p, int row)
{
    return p->ring + (size_t)(row % p->down.longest) * p->row_bytes;
}

/* Row `row` of the input, resampled to the window's columns. */
static void filter_row(const passes *p, int row)
{
    const tw_resample *how = p->how;
    const uint8_t *in = how->image->rgb + 3 * (size_t)row * (size_t)how->image->width;
    uint8_t *out = ring_slot(p, row);
    if (how->channels == 1) {
        luma_row(in, how->image->width, p->grey);
        in = p->grey;
    }
    if (how->width == how->image->width)
        memcpy(out, in + (size_t)how->x * (size_t)how->channels, p->row_bytes);
    else if (how->channels == 1)
        filter_row_grey(&p->across, in, how->columns, out);
    else
        filter_row_rgb(&p->across, in, how->columns, out);
}

static void execute(const passes *p, uint8_t *out)
{
    int next = 0; /* the first row of the input that is not yet in the ring */
    for (int y = 0; y < p->how->rows; y++, out += p->row_bytes) {
        const span *s = &p->down.spans[y];
        if (next < s->first) next = s->first;
        for (; next < s->first + s->count; next++) filter_row(p, next);
        for (int i = 0; i < s->count; i++) p->taps[i] = ring_slot(p, s->first + i);
        blend_rows(p->taps, p->down.weights + s->weights, s->count, p->row_bytes, out);
    }
}

static void release(passes *p)
{
    free(p->across.spans);
    free(p->across.weights);
    free(p->down.spans);
    free(p->down.weights);
    free(p->ring);
    free(p->grey);
    free(p->taps);
}

tw_status tw_image_resample(const tw_resample *how, uint8_t *out, tw_error *error)
{
    passes p = {.how = how};
    tw_status status = prepare(&p, error);
    if (status == TW_OK) execute(&p, out);
    release(&p);
    return status;
}

tw_status tw_image_resize(const tw_image *image, int width, int height, tw_interpolation interpolation, tw_image *out,
                          tw_error *error)
{
    *out = (tw_image){0};
    size_t bytes;
    tw_status status = tw_image_check(image, error);
    if (status != TW_OK) return status;
    if (width <= 0 || height <= 0 || !tw_checked_mul((size_t)width, (size_t)height, &bytes) ||
        !tw_checked_mul(bytes, 3, &bytes))
        return tw_fail(error, TW_INVALID, "cannot resize an image to %d x %d pixels", width, height);
    tw_image resized = {.width = width, .height = height, .rgb = tw_alloc(bytes)};
    if (!resized.rgb) return tw_no_memory(error, bytes, "a resized image");
    tw_resample how = {.image = image,
                       .channels = 3,
                       .interpolation = interpolation,
                       .width = width,
                       .height = height,
                       .columns = width,
                       .rows = height};
    status = tw_image_resample(&how, resized.rgb, error);
    if (status != TW_OK) tw_image_free(&resized);
    *out = resized;
    return status;
}
