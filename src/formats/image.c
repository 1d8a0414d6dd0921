/* Photographs: told apart by their first bytes, decoded by libjpeg or libpng to 8-bit RGB, and turned upright.
 *
 * The decoders work on untrusted files, so their sizes are checked here, before anything is allocated by them. */
#include "formats/image.h"

#include "core/status.h"
#include "formats/file.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

tw_status tw_image_check(const tw_image *image, tw_error *error)
{
    if (image->rgb && image->width > 0 && image->height > 0) return TW_OK;
    return tw_fail(error, TW_INVALID, "the image is empty (%d x %d)", image->width, image->height);
}

tw_status tw_image_check_size(const tw_image_file *from, uint32_t width, uint32_t height, tw_error *error)
{
    size_t pixels, bytes;
    if (width == 0 || height == 0)
        return tw_fail(error, TW_INVALID, "%s: the image is empty (%u x %u)", from->path, width, height);
    if (width > TW_IMAGE_MAX_SIDE || height > TW_IMAGE_MAX_SIDE)
        return tw_fail(error, TW_INVALID, "%s: the image is %u x %u; a side may be at most %d", from->path, width,
                       height, TW_IMAGE_MAX_SIDE);
    if (!tw_checked_mul(width, height, &pixels) || pixels > from->max_pixels || !tw_checked_mul(pixels, 3, &bytes))
        return tw_fail(error, TW_INVALID, "%s: the image is %u x %u; at most %zu pixels are accepted", from->path,
                       width, height, from->max_pixels);
    return TW_OK;
}

tw_status tw_image_allocate(const tw_image_file *from, uint32_t width, uint32_t height, tw_image *image,
                            tw_error *error)
{
    tw_status status = tw_image_check_size(from, width, height, error);
    if (status != TW_OK) return status;
    size_t bytes = 3 * (size_t)width * (size_t)height;
    uint8_t *rgb = tw_alloc(bytes);
    if (!rgb) return tw_no_memory(error, bytes, from->path);
    *image = (tw_image){.width = (int)width, .height = (int)height, .rgb = rgb};
    return TW_OK;
}

/* Pixel (x, y) of the upright image is pixel origin + x * step_x + y * step_y of the stored one. Blocks of 32 x 32 keep
 * both images' lines in the cache when rows become columns. */
static void copy_upright(const tw_image *stored, int orientation, tw_image *upright)
{
    enum { BLOCK = 32 };
    bool swapped = orientation >= 5; /* rows become columns */
    bool flip_x = orientation == 2 || orientation == 3 || orientation == 7 || orientation == 8;
    bool flip_y = orientation == 3 || orientation == 4 || orientation == 6 || orientation == 7;
    ptrdiff_t line = 3 * (ptrdiff_t)stored->width, step_column = flip_x ? -3 : 3, step_row = flip_y ? -line : line;
    const uint8_t *origin = stored->rgb + (flip_x ? line - 3 : 0) + (flip_y ? (stored->height - 1) * line : 0);
    ptrdiff_t step_x = swapped ? step_row : step_column, step_y = swapped ? step_column : step_row;

    for (int y0 = 0; y0 < upright->height; y0 += BLOCK)
        for (int x0 = 0; x0 < upright->width; x0 += BLOCK)
            for (int y = y0; y < upright->height && y < y0 + BLOCK; y++) {
                uint8_t *to = upright->rgb + 3 * ((size_t)y * (size_t)upright->width + (size_t)x0);
                const uint8_t *pixel = origin + x0 * step_x + y * step_y;
                for (int x = x0; x < upright->width && x < x0 + BLOCK; x++, to += 3, pixel += step_x)
                    memcpy(to, pixel, 3);
            }
}

tw_status tw_image_turn_upright(const tw_image_file *from, int orientation, tw_image *image, tw_error *error)
{
    if (orientation == 1) return TW_OK;
    bool swapped = orientation >= 5;
    tw_image upright;
    tw_status status = tw_image_allocate(from, (uint32_t)(swapped ? image->height : image->width),
                                         (uint32_t)(swapped ? image->width : image->height), &upright, error);
    if (status == TW_OK) copy_upright(image, orientation, &upright);
    tw_image_free(image);
    if (status == TW_OK) *image = upright;
    return status;
}

/* How many of the first bytes were read, or the system's reason: a folder opens, but cannot be read. */
static tw_status read_signature(const tw_image_file *from, uint8_t bytes[8], size_t *count, tw_error *error)
{
    *count = fread(bytes, 1, 8, from->file);
    if (ferror(from->file)) return tw_fail(error, TW_INVALID, "%s: %s", from->path, strerror(errno));
    if (fseek(from->file, 0, SEEK_SET) != 0)
        return tw_fail(error, TW_INVALID, "%s: not a regular file (%s)", from->path, strerror(errno));
    return TW_OK;
}

static const uint8_t jpeg_signature[] = {0xff, 0xd8, 0xff};
static const uint8_t png_signature[] = {0x89, 'P', 'N', 'G', '\r', '\n', 0x1a, '\n'};

tw_status tw_image_is_jpeg(const tw_image_file *from, bool *jpeg, tw_error *error)
{
    uint8_t signature[8];
    size_t count;
    tw_status status = read_signature(from, signature, &count, error);
    *jpeg = status == TW_OK && count >= sizeof jpeg_signature &&
            memcmp(signature, jpeg_signature, sizeof jpeg_signature) == 0;
    return status;
}

tw_status tw_image_read_file(const tw_image_file *from, tw_image *image, tw_error *error)
{
    uint8_t signature[8];
    size_t count;
    int orientation = 1;
    tw_status status = read_signature(from, signature, &count, error);
    if (status != TW_OK) return status;
    if (count >= sizeof jpeg_signature && memcmp(signature, jpeg_signature, sizeof jpeg_signature) == 0)
        status = tw_jpeg_read(from, image, &orientation, error);
    else if (count == sizeof png_signature && memcmp(signature, png_signature, sizeof png_signature) == 0)
        status = tw_png_read(from, image, &orientation, error);
    else
        status = tw_fail(error, TW_INVALID, "%s: not a JPEG or PNG image", from->path);
    return status == TW_OK ? tw_image_turn_upright(from, orientation, image, error) : status;
}

tw_status tw_image_read(const char *path, size_t max_pixels, tw_image *image, tw_error *error)
{
    *image = (tw_image){0};
    tw_image_file from = {.path = path, .max_pixels = max_pixels ? max_pixels : TW_IMAGE_MAX_PIXELS};
    from.file = tw_file_open(path, error);
    if (!from.file) return TW_INVALID;
    tw_status status = tw_image_read_file(&from, image, error);
    fclose(from.file);
    return status;
}

void tw_image_free(tw_image *image)
{
    free(image->rgb);
    *image = (tw_image){0};
}
