/* A table for each channel holds the input value of every pixel value, so that scaling and normalising cost one look-up
 * a pixel, in the reference's arithmetic. */
#include "data/prepare.h"

#include "core/status.h"
#include "formats/image.h"

#include <stdlib.h>
#include <string.h>

struct tw_preparer {
    tw_preprocess how;
    float tables[3][256];
    uint8_t *rgb; /* of stored pixels that must be resized */
    size_t rgb_bytes;
};

tw_status tw_preparer_create(const tw_preprocess *how, tw_preparer **preparer, tw_error *error)
{
    *preparer = NULL;
    tw_status status = tw_preprocess_check(how, error);
    if (status != TW_OK) return status;
    tw_preparer *made = calloc(1, sizeof *made);
    if (!made) return tw_no_memory(error, sizeof *made, "preprocessing");
    made->how = *how;
    for (int c = 0; c < how->channels; c++) tw_preprocess_table(how, c, made->tables[c]);
    *preparer = made;
    return TW_OK;
}

void tw_preparer_destroy(tw_preparer *preparer)
{
    if (!preparer) return;
    free(preparer->rgb);
    free(preparer);
}

tw_status tw_prepare_file(tw_preparer *p, const char *path, float *out, tw_error *error)
{
    tw_image image;
    tw_status status = tw_image_read(path, 0, &image, error);
    if (status != TW_OK) return status;
    status = tw_image_preprocess(&image, &p->how, out, error);
    if (status != TW_OK) tw_error_prefix(error, "%s", path);
    tw_image_free(&image);
    return status;
}

/* One channel: [crop][crop] of `from`, or the luma of its three -> out[crop + 2 pad][crop + 2 pad] */
static void scale_plane(const tw_preparer *p, const tw_stored_pixels *from, int channel, float *out)
{
    size_t crop = (size_t)p->how.crop, pad = (size_t)p->how.pad, side = crop + 2 * pad, plane = crop * crop;
    const float *table = p->tables[channel];
    const uint8_t *in = from->data + (from->channels == 3 ? (size_t)channel * plane : 0);
    memset(out, 0, pad * side * sizeof *out);
    out += pad * side;
    for (size_t y = 0; y < crop; y++, in += crop, out += side) {
        for (size_t x = 0; x < pad; x++) out[x] = out[side - 1 - x] = 0;
        if (p->how.channels == 1 && from->channels == 3)
            for (size_t x = 0; x < crop; x++) out[pad + x] = table[tw_luma(in[x], in[plane + x], in[2 * plane + x])];
        else
            for (size_t x = 0; x < crop; x++) out[pad + x] = table[in[x]];
    }
    memset(out, 0, pad * side * sizeof *out);
}

static tw_status to_rgb(tw_preparer *p, const tw_stored_pixels *from, tw_image *image, tw_error *error)
{
    size_t plane = (size_t)from->height * (size_t)from->width, step = from->channels == 3 ? plane : 0;
    if (3 * plane > p->rgb_bytes) {
        free(p->rgb);
        p->rgb_bytes = 0;
        p->rgb = tw_alloc(3 * plane);
        if (!p->rgb) return tw_no_memory(error, 3 * plane, "an image");
        p->rgb_bytes = 3 * plane;
    }
    for (size_t i = 0; i < plane; i++)
        for (size_t c = 0; c < 3; c++) p->rgb[3 * i + c] = from->data[c * step + i];
    *image = (tw_image){.width = from->width, .height = from->height, .rgb = p->rgb};
    return TW_OK;
}

tw_status tw_prepare_pixels(tw_preparer *p, const tw_stored_pixels *pixels, float *out, tw_error *error)
{
    if (pixels->width == p->how.crop && pixels->height == p->how.crop) {
        size_t side = (size_t)p->how.crop + 2 * (size_t)p->how.pad;
        for (int c = 0; c < p->how.channels; c++) scale_plane(p, pixels, c, out + (size_t)c * side * side);
        return TW_OK;
    }
    tw_image image;
    tw_status status = to_rgb(p, pixels, &image, error);
    return status == TW_OK ? tw_image_preprocess(&image, &p->how, out, error) : status;
}
