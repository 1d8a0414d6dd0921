/* What the parts of the image reader share: the file and its limits, the two decoders, the EXIF reader and the
 * resampler. */
#ifndef TW_FORMATS_IMAGE_H
#define TW_FORMATS_IMAGE_H

#include "tilewise.h"

#include <stdio.h>

/* No side may be longer: what is allocated along one side (rows, coefficients) stays small however thin an image is. */
#define TW_IMAGE_MAX_SIDE 1000000

typedef struct tw_image_file {
    FILE *file; /* at its first byte */
    const char *path;
    size_t max_pixels;
} tw_image_file;

/* Refuses empty and oversized images, then allocates the pixels. */
tw_status tw_image_allocate(const tw_image_file *from, uint32_t width, uint32_t height, tw_image *image,
                            tw_error *error);

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
    const tw_image *image;
    int channels; /* 3; 1: luma, taken before resizing */
    tw_interpolation interpolation;
    int width, height;       /* the whole resized image */
    int x, y, columns, rows; /* the part of it that is computed */
} tw_resample;

/* Writes out[rows][columns][channels]. */
tw_status tw_image_resample(const tw_resample *how, uint8_t *out, tw_error *error);

tw_status tw_image_check(const tw_image *image, tw_error *error);

tw_status tw_preprocess_check(const tw_preprocess *how, tw_error *error);
/* A channel's input value for each pixel value. */
void tw_preprocess_table(const tw_preprocess *how, int channel, float table[256]);

/* ITU-R 601-2 luma in 16-bit fixed point, as Pillow computes it. */
static inline uint8_t tw_luma(int r, int g, int b)
{
    return (uint8_t)((r * 19595 + g * 38470 + b * 7471 + 0x8000) >> 16);
}

#endif
