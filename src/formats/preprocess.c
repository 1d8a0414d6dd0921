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

/* The resized image's sides, and the crop on them. */
static tw_status place_crop(const tw_image *image, const tw_preprocess *how, placement *across, placement *down,
                            tw_error *error)
{
    bool wide = image->width > image->height;
    int64_t shorter = wide ? image->height : image->width, longer = wide ? image->width : image->height;
    int64_t new_shorter = how->resize ? how->resize : how->crop, new_longer = new_shorter;
    if (how->resize) new_longer = new_shorter * longer / shorter;
    if (new_longer > INT_MAX)
        return tw_fail(error, TW_INVALID, "an image of %d x %d pixels is too narrow to resize its shorter side to %d",
                       image->width, image->height, how->resize);
    *across = place((int)(wide ? new_longer : new_shorter), how->crop);
    *down = place((int)(wide ? new_shorter : new_longer), how->crop);
    return TW_OK;
}

void tw_preprocess_table(const tw_preprocess *how, int channel, float table[256])
{
    for (int v = 0; v < 256; v++) table[v] = ((float)v / 255.0f - how->mean[channel]) / how->std[channel];
}

/* pixels[down.count][across.count][channels] -> out[channels][side][side] */
static void normalize(const tw_preprocess *how, const placement *across, const placement *down, const uint8_t *pixels,
                      float *out)
{
    int side = how->crop + 2 * how->pad;
    for (int c = 0; c < how->channels; c++) {
        float table[256];
        tw_preprocess_table(how, c, table);
        for (int y = 0; y < side; y++) {
            int crop_y = y - how->pad, in_y = crop_y - down->before;
            bool row_padded = crop_y < 0 || crop_y >= how->crop, row_there = in_y >= 0 && in_y < down->count;
            const uint8_t *row =
                pixels + ((size_t)(row_there ? in_y : 0) * (size_t)across->count) * (size_t)how->channels;
            for (int x = 0; x < side; x++) {
                int crop_x = x - how->pad, in_x = crop_x - across->before;
                bool there = row_there && in_x >= 0 && in_x < across->count;
                bool padded = row_padded || crop_x < 0 || crop_x >= how->crop;
                *out++ = there ? table[row[in_x * how->channels + c]] : padded ? 0 : table[0];
            }
        }
    }
}

tw_status tw_image_preprocess(const tw_image *image, const tw_preprocess *how, float *out, tw_error *error)
{
    placement across, down;
    tw_status status = tw_image_check(image, error);
    if (status == TW_OK) status = tw_preprocess_check(how, error);
    if (status == TW_OK) status = place_crop(image, how, &across, &down, error);
    if (status != TW_OK) return status;
    size_t bytes = (size_t)across.count * (size_t)down.count * (size_t)how->channels;
    uint8_t *pixels = tw_alloc(bytes);
    if (!pixels) return tw_no_memory(error, bytes, "an image's crop");
    tw_resample resample = {.image = image,
                            .channels = how->channels,
                            .interpolation = how->interpolation,
                            .width = across.resized,
                            .height = down.resized,
                            .x = across.first,
                            .y = down.first,
                            .columns = across.count,
                            .rows = down.count};
    status = tw_image_resample(&resample, pixels, error);
    if (status == TW_OK) normalize(how, &across, &down, pixels, out);
    free(pixels);
    return status;
}
