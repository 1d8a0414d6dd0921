/* From an image file, or from stored pixels, to a network's input; one thread's, which keeps its buffers from image to
 * image. */
#ifndef TW_DATA_PREPARE_H
#define TW_DATA_PREPARE_H

#include "tilewise.h"

typedef struct tw_preparer tw_preparer;

tw_status tw_preparer_create(const tw_preprocess *how, tw_preparer **preparer, tw_error *error);
void tw_preparer_destroy(tw_preparer *preparer);

/* As tw_image_read() and tw_image_preprocess(). */
tw_status tw_prepare_file(tw_preparer *preparer, const char *path, float *out, tw_error *error);

typedef struct tw_stored_pixels {
    const uint8_t *data; /* [channels][height][width] */
    int channels;        /* 1 or 3 */
    int height, width;
} tw_stored_pixels;

/* Of `crop` pixels a side they are taken as they are; others are resized like photographs. A network of three channels
 * sees grey in each, one of one channel the luma of colours. */
tw_status tw_prepare_pixels(tw_preparer *preparer, const tw_stored_pixels *pixels, float *out, tw_error *error);

#endif
