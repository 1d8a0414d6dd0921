/* Resizing, bit for bit as Pillow's Image.resize: convolution with a triangle or a cubic that is stretched by the ratio
 * when shrinking (antialiasing), first along rows, then along columns, with 8 bits a channel between the two and
 * weights in fixed point. Output pixel i has its centre at (i + 0.5) * in / out of the input; the taps within the
 * stretched support around it are normalised to a sum of one.
 *
 * Only the wanted window is computed. Rows come one after another, as a decoder makes them; those that the vertical pass
 * needs are filtered horizontally and kept in a ring just long enough for its longest filter, so that the working set
 * stays in the cache and memory does not grow with the input's height.
 *
 * The two inner loops have a version for AVX2, which multiplies 32-bit integers, as x86's baseline can't. Integer sums are
 * the same in any order. */
#include "formats/image.h"

#include "core/status.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

/* Fraction bits of a weight: 32 less 8 of a pixel and 2 for sums beyond one and the sign. */
#define WEIGHT_BITS (32 - 8 - 2)

typedef struct span {
    int first, count; /* input positions */
    size_t weights;   /* index of the first one's weight */
} span;

typedef struct side {
    int in, out;      /* lengths */
    int first, count; /* wanted output positions */
    tw_interpolation interpolation;
} side;

/* How one side is resampled: a span for each wanted output position. */
typedef struct axis {
    side of;
    span *spans;
    int32_t *weights;
    int longest;
    /* The same with `even` taps at each position, some of weight zero, for loops that must not ask each time how many:
     * the first tap's input position, and weights [count][even]. 0: the input is shorter than that. */
    int even;
    int *starts;
    int32_t *even_weights;
} axis;

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
static span make_span(const side *s, int position, int32_t *weights)
{
    if (s->in == s->out) {
        weights[0] = 1 << WEIGHT_BITS;
        return (span){.first = position, .count = 1};
    }
    double (*filter)(double) = s->interpolation == TW_BICUBIC ? cubic : triangle;
    double ratio = (double)s->in / s->out, stretch = ratio < 1 ? 1 : ratio;
    double support = (s->interpolation == TW_BICUBIC ? 2 : 1) * stretch, per_stretch = 1 / stretch;
    double centre = (position + 0.5) * ratio, sum = 0;
    int first = (int)fmax(centre - support + 0.5, 0), end = (int)fmin(centre + support + 0.5, s->in);
    for (int i = first; i < end; i++) sum += filter((i - centre + 0.5) * per_stretch);
    for (int i = first; i < end; i++) weights[i - first] = fixed_point(filter((i - centre + 0.5) * per_stretch) / sum);
    return (span){.first = first, .count = end - first};
}

static void free_axis(axis *a)
{
    free(a->spans);
    free(a->weights);
    free(a->starts);
    free(a->even_weights);
    *a = (axis){0};
}

static bool same_side(const side *a, const side *b)
{
    return a->in == b->in && a->out == b->out && a->first == b->first && a->count == b->count &&
           a->interpolation == b->interpolation;
}

static bool even_out(axis *a)
{
    size_t count = (size_t)a->of.count, even = (size_t)a->longest + (size_t)a->longest % 2;
    if (even > (size_t)a->of.in) return true;
    a->starts = tw_alloc(count * sizeof *a->starts);
    a->even_weights = tw_alloc_zero(count * even * sizeof *a->even_weights);
    if (!a->starts || !a->even_weights) return false;
    a->even = (int)even;
    for (size_t i = 0; i < count; i++) {
        const span *s = &a->spans[i];
        int last_start = a->of.in - a->even;
        a->starts[i] = s->first < last_start ? s->first : last_start;
        memcpy(a->even_weights + i * even + (s->first - a->starts[i]), a->weights + s->weights,
               (size_t)s->count * sizeof *a->weights);
    }
    return true;
}

/* Photographs of one size follow one another: their axes stay. */
static tw_status make_axis(const side *s, axis *a, tw_error *error)
{
    if (a->spans && same_side(s, &a->of)) return TW_OK;
    free_axis(a);
    /* As many taps as a stretched cubic can touch. */
    double stretch = s->in > s->out ? (double)s->in / s->out : 1, taps = fmin(2 * ceil(2 * stretch) + 1, s->in);
    size_t count = (size_t)s->count, spans_bytes, weights_bytes;
    if (!tw_checked_mul(count, sizeof(span), &spans_bytes) || !tw_checked_mul(count, (size_t)taps, &weights_bytes) ||
        !tw_checked_mul(weights_bytes, sizeof(int32_t), &weights_bytes))
        return tw_fail(error, TW_INVALID, "resizing %d to %d pixels: too large", s->in, s->out);
    a->spans = tw_alloc(spans_bytes);
    a->weights = tw_alloc(weights_bytes);
    if (!a->spans || !a->weights) {
        free_axis(a);
        return tw_no_memory(error, spans_bytes + weights_bytes, "resizing weights");
    }
    size_t used = 0;
    a->of = *s;
    a->longest = 1;
    for (int i = 0; i < s->count; i++) {
        span made = make_span(s, s->first + i, a->weights + used);
        made.weights = used;
        a->spans[i] = made;
        used += (size_t)made.count;
        if (made.count > a->longest) a->longest = made.count;
    }
    if (even_out(a)) return TW_OK;
    free_axis(a);
    return tw_no_memory(error, spans_bytes + weights_bytes, "resizing weights");
}

/* ---- inner loops ---- */

/* A fixed-point sum, rounded and clamped. */
static inline uint8_t pixel_of(int32_t sum)
{
    int value = (sum + (1 << (WEIGHT_BITS - 1))) >> WEIGHT_BITS;
    return (uint8_t)(value < 0 ? 0 : value > 255 ? 255 : value);
}

/* out[bytes] = sum over count rows of weight * row */
static inline __attribute__((always_inline)) void blend(const uint8_t *const *rows, const int32_t *weights, int count,
                                                        size_t bytes, uint8_t *out)
{
    enum { LANES = 32 };
    for (size_t at = 0; at < bytes; at += LANES) {
        int32_t sums[LANES] = {0};
        size_t lanes = bytes - at < LANES ? bytes - at : LANES;
        if (lanes == LANES) {
            for (int i = 0; i < count; i++)
                for (size_t j = 0; j < LANES; j++) sums[j] += rows[i][at + j] * weights[i];
            for (size_t j = 0; j < LANES; j++) out[at + j] = pixel_of(sums[j]);
        } else {
            for (int i = 0; i < count; i++)
                for (size_t j = 0; j < lanes; j++) sums[j] += rows[i][at + j] * weights[i];
            for (size_t j = 0; j < lanes; j++) out[at + j] = pixel_of(sums[j]);
        }
    }
}

/* filter: in[width][3], with slack behind -> out[columns][3] */
typedef struct loops {
    void (*filter)(const axis *a, const uint8_t *in, uint8_t *out);
    void (*blend)(const uint8_t *const *rows, const int32_t *weights, int count, size_t bytes, uint8_t *out);
} loops;

static void filter_plain(const axis *a, const uint8_t *in, uint8_t *out)
{
    for (int x = 0; x < a->of.count; x++, out += 3) {
        const span *s = &a->spans[x];
        const int32_t *weight = a->weights + s->weights;
        const uint8_t *pixel = in + 3 * (size_t)s->first;
        int32_t r = 0, g = 0, b = 0;
        for (int i = 0; i < s->count; i++, pixel += 3) {
            r += pixel[0] * weight[i];
            g += pixel[1] * weight[i];
            b += pixel[2] * weight[i];
        }
        out[0] = pixel_of(r);
        out[1] = pixel_of(g);
        out[2] = pixel_of(b);
    }
}

static void blend_plain(const uint8_t *const *rows, const int32_t *weights, int count, size_t bytes, uint8_t *out)
{
    blend(rows, weights, count, bytes, out);
}

static const loops plain_loops = {filter_plain, blend_plain};

#if defined(__x86_64__)
#define AVX2 __attribute__((target("avx2")))

/* Two taps at a time: of eight bytes, three are one pixel's, three the next one's, and two count for nothing. */
AVX2 static void filter_avx2(const axis *a, const uint8_t *in, uint8_t *out)
{
    const __m256i spread = _mm256_setr_epi32(0, 0, 0, 1, 1, 1, 0, 0), upper = _mm256_setr_epi32(3, 4, 5, 6, 6, 6, 6, 6);
    const __m128i half = _mm_set1_epi32(1 << (WEIGHT_BITS - 1));
    const int32_t *weight = a->even_weights;
    if (a->even == 0) {
        filter_plain(a, in, out);
        return;
    }
    for (int x = 0; x < a->of.count; x++, out += 3) {
        const uint8_t *pixel = in + 3 * (size_t)a->starts[x];
        __m256i sums = _mm256_setzero_si256();
        for (int i = 0; i < a->even; i += 2, pixel += 6, weight += 2) {
            __m256i two = _mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)(const void *)pixel));
            __m128i pair = _mm_loadl_epi64((const __m128i *)(const void *)weight);
            __m256i weights = _mm256_permutevar8x32_epi32(_mm256_castsi128_si256(pair), spread);
            sums = _mm256_add_epi32(sums, _mm256_mullo_epi32(two, weights));
        }
        __m256i moved = _mm256_permutevar8x32_epi32(sums, upper);
        __m128i sum = _mm_add_epi32(_mm256_castsi256_si128(sums), _mm256_castsi256_si128(moved));
        sum = _mm_srai_epi32(_mm_add_epi32(sum, half), WEIGHT_BITS);
        sum = _mm_packus_epi16(_mm_packs_epi32(sum, sum), sum);
        int32_t rgb = _mm_cvtsi128_si32(sum);
        memcpy(out, &rgb, 3);
    }
}

AVX2 static void blend_avx2(const uint8_t *const *rows, const int32_t *weights, int count, size_t bytes, uint8_t *out)
{
    blend(rows, weights, count, bytes, out);
}

static const loops *choose_loops(void)
{
    static const loops avx2_loops = {filter_avx2, blend_avx2};
    return __builtin_cpu_supports("avx2") ? &avx2_loops : &plain_loops;
}
#else
static const loops *choose_loops(void)
{
    return &plain_loops;
}
#endif

/* in[width] -> out[columns] */
static void filter_grey(const axis *a, const uint8_t *in, uint8_t *out)
{
    for (int x = 0; x < a->of.count; x++) {
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

/* ---- rows in, rows out ---- */

struct tw_resampler {
    tw_resample how;
    axis across, down;
    size_t row_bytes; /* of the window */
    int pushed, made; /* rows so far */
    const loops *loops;
    uint8_t *ring; /* [down.longest][columns][channels]: row y of the input is in slot y % down.longest */
    size_t ring_bytes;
    uint8_t *row; /* one row of the input, grey or with slack behind */
    size_t row_capacity;
    const uint8_t **taps; /* the rows of one vertical filter */
    size_t taps_bytes;
};

tw_status tw_resampler_create(tw_resampler **resampler, tw_error *error)
{
    *resampler = calloc(1, sizeof **resampler);
    if (!*resampler) return tw_no_memory(error, sizeof **resampler, "resizing an image");
    (*resampler)->loops = choose_loops();
    return TW_OK;
}

void tw_resampler_destroy(tw_resampler *r)
{
    if (!r) return;
    free_axis(&r->across);
    free_axis(&r->down);
    free(r->ring);
    free(r->row);
    free((void *)r->taps);
    free(r);
}

/* Grows a buffer whose contents don't matter; null, and nothing kept, without memory. */
static void *grow(void *buffer, size_t *capacity, size_t bytes)
{
    if (buffer && *capacity >= bytes) return buffer;
    free(buffer);
    buffer = tw_alloc(bytes);
    *capacity = buffer ? bytes : 0;
    return buffer;
}

tw_status tw_resampler_begin(tw_resampler *r, const tw_resample *how, tw_error *error)
{
    side across = {how->in_width, how->width, how->x, how->columns, how->interpolation};
    side down = {how->in_height, how->height, how->y, how->rows, how->interpolation};
    tw_status status = make_axis(&across, &r->across, error);
    if (status == TW_OK) status = make_axis(&down, &r->down, error);
    if (status != TW_OK) return status;
    size_t ring_bytes;
    r->how = *how;
    r->pushed = r->made = 0;
    r->row_bytes = (size_t)how->columns * (size_t)how->channels;
    if (!tw_checked_mul(r->row_bytes, (size_t)r->down.longest, &ring_bytes))
        return tw_fail(error, TW_INVALID, "resizing to %d x %d pixels: too large", how->width, how->height);
    r->ring = grow(r->ring, &r->ring_bytes, ring_bytes);
    r->row = grow(r->row, &r->row_capacity, 3 * (size_t)how->in_width + TW_ROW_SLACK);
    r->taps = grow((void *)r->taps, &r->taps_bytes, (size_t)r->down.longest * sizeof *r->taps);
    if (!r->ring || !r->row || !r->taps) return tw_no_memory(error, ring_bytes, "resizing an image");
    return TW_OK;
}

static uint8_t *ring_slot(const tw_resampler *r, int row)
{
    return r->ring + (size_t)(row % r->down.longest) * r->row_bytes;
}

void tw_resampler_push(tw_resampler *r, const uint8_t *rgb)
{
    int row = r->pushed++;
    if (r->made == r->how.rows || row < r->down.spans[r->made].first) return; /* of no use to what is still to make */
    uint8_t *out = ring_slot(r, row);
    if (r->how.channels == 1) {
        luma_row(rgb, r->how.in_width, r->row);
        rgb = r->row;
    }
    if (r->how.width == r->how.in_width)
        memcpy(out, rgb + (size_t)r->how.x * (size_t)r->how.channels, r->row_bytes);
    else if (r->how.channels == 1)
        filter_grey(&r->across, rgb, out);
    else
        r->loops->filter(&r->across, rgb, out);
}

bool tw_resampler_next(tw_resampler *r, uint8_t *out)
{
    if (r->made == r->how.rows) return false;
    const span *s = &r->down.spans[r->made];
    if (s->first + s->count > r->pushed) return false;
    for (int i = 0; i < s->count; i++) r->taps[i] = ring_slot(r, s->first + i);
    r->loops->blend(r->taps, r->down.weights + s->weights, s->count, r->row_bytes, out);
    r->made++;
    return true;
}

void tw_resampler_push_image_row(tw_resampler *r, const tw_image *image, int y)
{
    size_t bytes = 3 * (size_t)image->width;
    const uint8_t *row = image->rgb + (size_t)y * bytes;
    if (y == image->height - 1 && r->how.channels == 3) { /* behind it lies nothing that may be read */
        memcpy(r->row, row, bytes);
        row = r->row;
    }
    tw_resampler_push(r, row);
}

tw_status tw_image_resample(const tw_image *image, const tw_resample *how, uint8_t *out, tw_error *error)
{
    tw_resampler *r;
    tw_status status = tw_resampler_create(&r, error);
    if (status != TW_OK) return status;
    status = tw_resampler_begin(r, how, error);
    for (int y = 0; y < image->height && status == TW_OK; y++) {
        tw_resampler_push_image_row(r, image, y);
        while (tw_resampler_next(r, out)) out += r->row_bytes;
    }
    tw_resampler_destroy(r);
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
    tw_resample how = {.in_width = image->width,
                       .in_height = image->height,
                       .channels = 3,
                       .interpolation = interpolation,
                       .width = width,
                       .height = height,
                       .columns = width,
                       .rows = height};
    status = tw_image_resample(image, &how, resized.rgb, error);
    if (status != TW_OK) tw_image_free(&resized);
    *out = resized;
    return status;
}
