/* From photograph to network input, as torchvision's Resize, CenterCrop, ToTensor and Normalize do it one after the
 * other. Here only the crop's pixels are ever resized, and a table of the 256 values a channel can have does the
 * arithmetic, in float32 and in torchvision's order, so the results are the same. */
#include "formats/image.h"

#include "core/status.h"

#include <limits.h>
#include <math.h>
#include <stdlib.h>

/* Where the crop lies along one side of the resized image. */
typedef struct placement {
    int resized;      /* the side's length */
    int first, count; /* the pixels that the crop takes */
    int before;       /* zeros in front of them, where the crop is longer than the side */
} placement;

/* torchvision's int(round((size - crop) / 2)), ties to even; a shorter side is padded, one more zero after than before
 * where it is odd. */
static placement place(int resized, int crop)
{
    if (resized < crop) return (placement){.resized = resized, .count = resized, .before = (crop - resized) / 2};
    int twice = resized - crop, half = twice / 2;
    return (placement){.resized = resized, .first = half + (twice & half & 1), .count = crop};
}

tw_status tw_preprocess_check(const tw_preprocess *how, tw_error *error)
{
    if (how->channels != 1 && how->channels != 3)
        return tw_fail(error, TW_INVALID, "preprocessing: channels is %d, expected 1 or 3", how->channels);
    if (how->crop < 1 || how->resize < 0 || how->pad < 0)
        return tw_fail(error, TW_INVALID, "preprocessing: crop %d, resize %d, pad %d: expected 1, 0, 0 or more",
                       how->crop, how->resize, how->pad);
    for (int c = 0; c < how->channels; c++)
        if (!isfinite(how->mean[c]) || !isfinite(how->std[c]) || how->std[c] == 0)
            return tw_fail(error, TW_INVALID,
                           "preprocessing: mean %g, std %g of channel %d: expected finite numbers, "
                           "and a std that is not zero",
                           (double)how->mean[c], (double)how->std[c], c);
    size_t side, count;
    if (!tw_checked_mul((size_t)how->pad, 2, &side) || !tw_checked_add(side, (size_t)how->crop, &side) ||
        side > INT_MAX || !tw_checked_mul(side, side, &count) || !tw_checked_mul(count, 3 * sizeof(float), &count))
        return tw_fail(error, TW_INVALID, "preprocessing: crop %d with pad %d is too large", how->crop, how->pad);
    return TW_OK;
}

struct tw_preprocessor {
    tw_preprocess how;
    float tables[3][256]; /* a channel's input value for each pixel value */
    tw_resampler *resampler;
    placement across, down;
    uint8_t *line; /* a row of the crop: [across.count][channels] */
    float *out;    /* [channels][side][side] */
    int done;      /* rows of the crop */
};

tw_status tw_preprocessor_create(const tw_preprocess *how, tw_preprocessor **preprocessor, tw_error *error)
{
    *preprocessor = NULL;
    tw_status status = tw_preprocess_check(how, error);
    if (status != TW_OK) return status;
    tw_preprocessor *p = calloc(1, sizeof *p);
    if (!p) return tw_no_memory(error, sizeof *p, "preprocessing");
    p->how = *how;
    for (int c = 0; c < how->channels; c++)
        for (int v = 0; v < 256; v++) p->tables[c][v] = ((float)v / 255.0f - how->mean[c]) / how->std[c];
    p->line = tw_alloc((size_t)how->crop * (size_t)how->channels);
    status = p->line ? tw_resampler_create(&p->resampler, error)
                     : tw_no_memory(error, (size_t)how->crop * (size_t)how->channels, "a row of pixels");
    if (status == TW_OK)
        *preprocessor = p;
    else
        tw_preprocessor_destroy(p);
    return status;
}

void tw_preprocessor_destroy(tw_preprocessor *p)
{
    if (!p) return;
    tw_resampler_destroy(p->resampler);
    free(p->line);
    free(p);
}

/* The resized image's sides, and the crop on them. */
static tw_status place_crop(tw_preprocessor *p, int width, int height, tw_error *error)
{
    bool wide = width > height;
    int64_t shorter = wide ? height : width, longer = wide ? width : height;
    int64_t new_shorter = p->how.resize ? p->how.resize : p->how.crop, new_longer = new_shorter;
    if (p->how.resize) new_longer = new_shorter * longer / shorter;
    if (new_longer > INT_MAX)
        return tw_fail(error, TW_INVALID, "an image of %d x %d pixels is too narrow to resize its shorter side to %d",
                       width, height, p->how.resize);
    p->across = place((int)(wide ? new_longer : new_shorter), p->how.crop);
    p->down = place((int)(wide ? new_shorter : new_longer), p->how.crop);
    return TW_OK;
}

static size_t side_of(const tw_preprocessor *p)
{
    return (size_t)p->how.crop + 2 * (size_t)p->how.pad;
}

static void fill(float *out, size_t count, float value)
{
    for (size_t i = 0; i < count; i++) out[i] = value;
}

/* Row y of the crop, pixels[across.count][channels] or black for null, to each channel's plane, between its paddings. */
static void write_row(const tw_preprocessor *p, int y, const uint8_t *pixels)
{
    size_t side = side_of(p), pad = (size_t)p->how.pad, channels = (size_t)p->how.channels;
    size_t before = (size_t)p->across.before, count = (size_t)p->across.count, crop = (size_t)p->how.crop;
    for (size_t c = 0; c < channels; c++) {
        const float *table = p->tables[c];
        float *out = p->out + (c * side + (size_t)y + pad) * side;
        fill(out, pad, 0);
        fill(out + side - pad, pad, 0);
        out += pad;
        if (!pixels) {
            fill(out, crop, table[0]);
            continue;
        }
        fill(out, before, table[0]);
        for (size_t x = 0; x < count; x++) out[before + x] = table[pixels[x * channels + c]];
        fill(out + before + count, crop - before - count, table[0]);
    }
}

/* What lies above and below the crop's pixels. */
static void write_surroundings(const tw_preprocessor *p)
{
    size_t side = side_of(p), pad = (size_t)p->how.pad;
    for (size_t c = 0; c < (size_t)p->how.channels; c++) {
        fill(p->out + c * side * side, pad * side, 0);
        fill(p->out + ((c + 1) * side - pad) * side, pad * side, 0);
    }
    for (int y = 0; y < p->how.crop; y++)
        if (y < p->down.before || y >= p->down.before + p->down.count) write_row(p, y, NULL);
}

tw_status tw_preprocessor_begin(tw_preprocessor *p, int width, int height, float *out, tw_error *error)
{
    tw_status status = place_crop(p, width, height, error);
    if (status != TW_OK) return status;
    tw_resample how = {.in_width = width,
                       .in_height = height,
                       .channels = p->how.channels,
                       .interpolation = p->how.interpolation,
                       .width = p->across.resized,
                       .height = p->down.resized,
                       .x = p->across.first,
                       .y = p->down.first,
                       .columns = p->across.count,
                       .rows = p->down.count};
    status = tw_resampler_begin(p->resampler, &how, error);
    if (status != TW_OK) return status;
    p->out = out;
    p->done = 0;
    write_surroundings(p);
    return TW_OK;
}

static void write_ready(tw_preprocessor *p)
{
    while (tw_resampler_next(p->resampler, p->line)) write_row(p, p->down.before + p->done++, p->line);
}

void tw_preprocessor_push(tw_preprocessor *p, const uint8_t *rgb)
{
    tw_resampler_push(p->resampler, rgb);
    write_ready(p);
}

tw_status tw_preprocessor_image(tw_preprocessor *p, const tw_image *image, float *out, tw_error *error)
{
    tw_status status = tw_image_check(image, error);
    if (status == TW_OK) status = tw_preprocessor_begin(p, image->width, image->height, out, error);
    for (int y = 0; y < image->height && status == TW_OK; y++) {
        tw_resampler_push_image_row(p->resampler, image, y);
        write_ready(p);
    }
    return status;
}

/* [crop][crop] of each channel, or the luma of three -> [crop + 2 pad][crop + 2 pad] */
void tw_preprocessor_planes(tw_preprocessor *p, const uint8_t *planes, int channels, float *out)
{
    size_t crop = (size_t)p->how.crop, pad = (size_t)p->how.pad, side = crop + 2 * pad, plane = crop * crop;
    for (int c = 0; c < p->how.channels; c++) {
        const float *table = p->tables[c];
        const uint8_t *in = planes + (channels == 3 ? (size_t)c * plane : 0);
        fill(out, pad * side, 0);
        out += pad * side;
        for (size_t y = 0; y < crop; y++, in += crop, out += side) {
            fill(out, pad, 0);
            fill(out + side - pad, pad, 0);
            if (p->how.channels == 1 && channels == 3)
                for (size_t x = 0; x < crop; x++)
                    out[pad + x] = table[tw_luma(in[x], in[plane + x], in[2 * plane + x])];
            else
                for (size_t x = 0; x < crop; x++) out[pad + x] = table[in[x]];
        }
        fill(out, pad * side, 0);
        out += pad * side;
    }
}

tw_status tw_image_preprocess(const tw_image *image, const tw_preprocess *how, float *out, tw_error *error)
{
    tw_preprocessor *p;
    tw_status status = tw_image_check(image, error);
    if (status == TW_OK) status = tw_preprocessor_create(how, &p, error);
    if (status != TW_OK) return status;
    status = tw_preprocessor_image(p, image, out, error);
    tw_preprocessor_destroy(p);
    return status;
}
