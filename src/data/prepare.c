/* A JPEG goes row by row from the decoder through the resampler to the input: the photograph never exists as a whole,
 * so nothing of its size is allocated, or written to memory and read again. One that must be turned upright does, and
 * so does a PNG. */
#include "data/prepare.h"

#include "core/status.h"
#include "formats/file.h"
#include "formats/image.h"

#include <stdlib.h>
#include <string.h>

/* libjpeg-turbo writes aligned rows past the cache, to memory, from which the resampler would have to fetch them again. */
#define MISALIGNMENT 8

struct tw_preparer {
    tw_rows rows; /* first: a tw_rows * is a tw_preparer * */
    tw_preprocess how;
    tw_preprocessor *preprocessor;
    uint8_t *buffer; /* a row of a photograph, or a whole small image that is resized */
    size_t capacity;

    /* while a JPEG is decoded */
    const tw_image_file *from;
    float *out;
    tw_image whole; /* of one that must be turned; else empty */
    int orientation;
};

static tw_status need_buffer(tw_preparer *p, size_t bytes, tw_error *error)
{
    if (bytes <= p->capacity) return TW_OK;
    free(p->buffer);
    p->buffer = tw_alloc(bytes);
    p->capacity = p->buffer ? bytes : 0;
    return p->buffer ? TW_OK : tw_no_memory(error, bytes, "an image");
}

static tw_status begin_rows(tw_rows *rows, int width, int height, int orientation, tw_error *error)
{
    tw_preparer *p = (tw_preparer *)rows;
    p->orientation = orientation;
    if (orientation != 1) return tw_image_allocate(p->from, (uint32_t)width, (uint32_t)height, &p->whole, error);
    tw_status status = need_buffer(p, MISALIGNMENT + 3 * (size_t)width + TW_ROW_SLACK, error);
    if (status == TW_OK) status = tw_preprocessor_begin(p->preprocessor, width, height, p->out, error);
    return status;
}

static uint8_t *place_row(tw_rows *rows, int y)
{
    const tw_preparer *p = (const tw_preparer *)rows;
    return p->whole.rgb ? p->whole.rgb + 3 * (size_t)y * (size_t)p->whole.width : p->buffer + MISALIGNMENT;
}

static void take_row(tw_rows *rows, int y)
{
    tw_preparer *p = (tw_preparer *)rows;
    (void)y;
    if (!p->whole.rgb) tw_preprocessor_push(p->preprocessor, p->buffer + MISALIGNMENT);
}

tw_status tw_preparer_create(const tw_preprocess *how, tw_preparer **preparer, tw_error *error)
{
    *preparer = NULL;
    tw_preparer *made = calloc(1, sizeof *made);
    if (!made) return tw_no_memory(error, sizeof *made, "preprocessing");
    made->rows = (tw_rows){begin_rows, place_row, take_row};
    made->how = *how;
    tw_status status = tw_preprocessor_create(how, &made->preprocessor, error);
    if (status == TW_OK)
        *preparer = made;
    else
        tw_preparer_destroy(made);
    return status;
}

void tw_preparer_destroy(tw_preparer *preparer)
{
    if (!preparer) return;
    tw_preprocessor_destroy(preparer->preprocessor);
    free(preparer->buffer);
    free(preparer);
}

static tw_status prepare_jpeg(tw_preparer *p, const tw_image_file *from, float *out, tw_error *error)
{
    p->from = from;
    p->out = out;
    p->whole = (tw_image){0};
    tw_status status = tw_jpeg_decode(from, &p->rows, error);
    if (status == TW_OK && p->whole.rgb) {
        status = tw_image_turn_upright(from, p->orientation, &p->whole, error);
        if (status == TW_OK) status = tw_preprocessor_image(p->preprocessor, &p->whole, out, error);
    }
    tw_image_free(&p->whole);
    return status;
}

static tw_status prepare_other(tw_preparer *p, const tw_image_file *from, float *out, tw_error *error)
{
    tw_image image = {0};
    tw_status status = tw_image_read_file(from, &image, error);
    if (status == TW_OK) status = tw_preprocessor_image(p->preprocessor, &image, out, error);
    tw_image_free(&image);
    return status;
}

tw_status tw_prepare_file(tw_preparer *p, const char *path, float *out, tw_error *error)
{
    tw_image_file from = {.path = path, .max_pixels = TW_IMAGE_MAX_PIXELS};
    from.file = tw_file_open(path, error);
    if (!from.file) return TW_INVALID;
    bool jpeg;
    tw_status status = tw_image_is_jpeg(&from, &jpeg, error);
    if (status == TW_OK) status = (jpeg ? prepare_jpeg : prepare_other)(p, &from, out, error);
    fclose(from.file);
    return status;
}

static tw_status to_rgb(tw_preparer *p, const tw_stored_pixels *from, tw_image *image, tw_error *error)
{
    size_t plane = (size_t)from->height * (size_t)from->width, step = from->channels == 3 ? plane : 0;
    tw_status status = need_buffer(p, 3 * plane, error);
    if (status != TW_OK) return status;
    for (size_t i = 0; i < plane; i++)
        for (size_t c = 0; c < 3; c++) p->buffer[3 * i + c] = from->data[c * step + i];
    *image = (tw_image){.width = from->width, .height = from->height, .rgb = p->buffer};
    return TW_OK;
}

tw_status tw_prepare_pixels(tw_preparer *p, const tw_stored_pixels *pixels, float *out, tw_error *error)
{
    if (pixels->width == p->how.crop && pixels->height == p->how.crop) {
        tw_preprocessor_planes(p->preprocessor, pixels->data, pixels->channels, out);
        return TW_OK;
    }
    tw_image image;
    tw_status status = to_rgb(p, pixels, &image, error);
    return status == TW_OK ? tw_preprocessor_image(p->preprocessor, &image, out, error) : status;
}
