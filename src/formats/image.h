/* What the parts of the image reader share: the file and its limits, the two decoders, the EXIF reader and the
 * resampler. */
#ifndef TW_FORMATS_IMAGE_H
#define TW_FORMATS_IMAGE_H

#include "tilewise.h"

#include <stdio.h>

/* No side may be longer: what is allocated along one side (rows, coefficients) stays small however thin an image is. */
#define TW_IMAGE_MAX_SIDE 1000000

#define TW_IMAGE_MAX_PIXELS 178956970 /* where Pillow refuses an image as a decompression bomb */

typedef struct tw_image_file {
    FILE *file; /* at its first byte */
    const char *path;
    size_t max_pixels;
} tw_image_file;

/* Refuses empty and oversized images. */
tw_status tw_image_check_size(const tw_image_file *from, uint32_t width, uint32_t height, tw_error *error);
/* The same, then allocates the pixels. */
tw_status tw_image_allocate(const tw_image_file *from, uint32_t width, uint32_t height, tw_image *image,
                            tw_error *error);

/* Where a decoder puts an image's rows, top to bottom. */
typedef struct tw_rows {
    /* Before the first one: the stored image's size, checked, and EXIF's orientation, 1 to 8. */
    tw_status (*begin)(struct tw_rows *rows, int width, int height, int orientation, tw_error *error);
    uint8_t *(*place)(struct tw_rows *rows, int y); /* room for row y: [width][3] */
    void (*took)(struct tw_rows *rows, int y);      /* row y is there */
} tw_rows;
tw_status tw_jpeg_decode(const tw_image_file *from, tw_rows *rows, tw_error *error);

/* Decode as stored. `orientation` is EXIF's, 1 to 8. On failure nothing is left in `image`. */
tw_status tw_jpeg_read(const tw_image_file *from, tw_image *image, int *orientation, tw_error *error);
tw_status tw_png_read(const tw_image_file *from, tw_image *image, int *orientation, tw_error *error);

/* 8-bit RGB. */
tw_status tw_png_write(const char *path, const tw_image *image, tw_error *error);

/* The orientation tag of the first directory of a TIFF block, in either byte order; 1 where there is none that can be
 * read. */
int tw_exif_orientation(const uint8_t *tiff, size_t bytes);

/* A window of an image resized to width x height. */
typedef struct tw_resample {
    int in_width, in_height;
    int channels; /* 3; 1: luma, taken before resizing */
    tw_interpolation interpolation;
    int width, height;       /* the whole resized image */
    int x, y, columns, rows; /* the part of it that is computed */
} tw_resample;

/* Takes an image's rows in order and gives the window's; it keeps its buffers from image to image. */
typedef struct tw_resampler tw_resampler;
tw_status tw_resampler_create(tw_resampler **resampler, tw_error *error);
void tw_resampler_destroy(tw_resampler *resampler);
tw_status tw_resampler_begin(tw_resampler *resampler, const tw_resample *how, tw_error *error);
/* rgb[in_width][3], with TW_ROW_SLACK bytes behind that may be read. After each row, take what is ready. */
#define TW_ROW_SLACK 2
void tw_resampler_push(tw_resampler *resampler, const uint8_t *rgb);
/* The same of an image, which has no slack. */
void tw_resampler_push_image_row(tw_resampler *resampler, const tw_image *image, int y);
/* Writes the window's next row, [columns][channels], if all that it needs has been pushed. */
bool tw_resampler_next(tw_resampler *resampler, uint8_t *out);

/* A whole image: writes out[rows][columns][channels]. */
tw_status tw_image_resample(const tw_image *image, const tw_resample *how, uint8_t *out, tw_error *error);

tw_status tw_image_check(const tw_image *image, tw_error *error);

/* JPEG by its first bytes; leaves the file at its first byte. */
tw_status tw_image_is_jpeg(const tw_image_file *from, bool *jpeg, tw_error *error);
/* Reads the image from its first byte on. */
tw_status tw_image_read_file(const tw_image_file *from, tw_image *image, tw_error *error);
/* Turns a stored image upright, in place. */
tw_status tw_image_turn_upright(const tw_image_file *from, int orientation, tw_image *image, tw_error *error);

tw_status tw_preprocess_check(const tw_preprocess *how, tw_error *error);

/* From an image's rows to a network's input; it keeps its buffers from image to image. */
typedef struct tw_preprocessor tw_preprocessor;
tw_status tw_preprocessor_create(const tw_preprocess *how, tw_preprocessor **preprocessor, tw_error *error);
void tw_preprocessor_destroy(tw_preprocessor *preprocessor);
/* An image follows, row by row: [width][3], with TW_ROW_SLACK bytes behind that may be read. */
tw_status tw_preprocessor_begin(tw_preprocessor *preprocessor, int width, int height, float *out, tw_error *error);
void tw_preprocessor_push(tw_preprocessor *preprocessor, const uint8_t *rgb);
/* A whole image. */
tw_status tw_preprocessor_image(tw_preprocessor *preprocessor, const tw_image *image, float *out, tw_error *error);
/* An image that has the crop's size already, as it is: planes[channels][crop][crop]. A network of three channels sees
 * grey in each, one of one channel the luma of colours. */
void tw_preprocessor_planes(tw_preprocessor *preprocessor, const uint8_t *planes, int channels, float *out);

/* ITU-R 601-2 luma in 16-bit fixed point, as Pillow computes it. */
static inline uint8_t tw_luma(int r, int g, int b)
{
    return (uint8_t)((r * 19595 + g * 38470 + b * 7471 + 0x8000) >> 16);
}

#endif
