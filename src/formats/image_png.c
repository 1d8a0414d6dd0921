/* PNG through libpng, expanded to 8-bit RGB row by row.
 *
 * As Pillow's convert("RGB") does it: small grey depths are scaled to 0..255, 16 bits lose their low byte, palettes are
 * looked up, transparency is dropped. One difference is meant: Pillow clips 16-bit grey at 255, so that nearly all of
 * such an image is white; here it loses its low byte like 16-bit colour. Gamma and colour profiles are not applied.
 * Of the optional chunks only eXIf is kept; libpng skips the rest unread, so their sizes and compression do no harm. */
#include "formats/image.h"

#include "core/status.h"

#include <errno.h>
#include <png.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>

/* More than libpng needs for two rows of the widest image; a chunk that claims more is skipped or refused. */
#define MAX_ALLOCATION (64u << 20)

typedef struct reader {
    png_structp png;
    png_infop info;
    jmp_buf escape;
    const tw_image_file *from;
    tw_image *image;
    tw_error *error;
    tw_status status;
    int orientation;
} reader;

static _Noreturn void escape_with(reader *r, tw_status status)
{
    r->status = status;
    longjmp(r->escape, 1);
}

static _Noreturn void refuse(png_structp png, png_const_charp reason)
{
    reader *r = png_get_error_ptr(png);
    escape_with(r, tw_fail(r->error, TW_INVALID, "%s: damaged PNG data (%s)", r->from->path, reason));
}

static void ignore_warning(png_structp png, png_const_charp reason)
{
    (void)png, (void)reason;
}

static void read_bytes(png_structp png, png_bytep to, size_t bytes)
{
    reader *r = png_get_io_ptr(png);
    if (fread(to, 1, bytes, r->from->file) == bytes) return;
    if (ferror(r->from->file)) escape_with(r, tw_fail(r->error, TW_FAILED, "%s: %s", r->from->path, strerror(errno)));
    escape_with(r, tw_fail(r->error, TW_INVALID, "%s: truncated PNG data", r->from->path));
}

static png_voidp allocate(png_structp png, png_alloc_size_t bytes)
{
    reader *r = png_get_mem_ptr(png);
    if (bytes > MAX_ALLOCATION) return NULL;
    void *memory = malloc(bytes);
    if (!memory) escape_with(r, tw_no_memory(r->error, bytes, r->from->path));
    return memory;
}

static void release(png_structp png, png_voidp memory)
{
    (void)png;
    free(memory);
}

/* libpng's own limits on sides are lifted, as tw_image_allocate() checks them with a clearer message. */
static void set_limits(reader *r)
{
    png_set_user_limits(r->png, PNG_UINT_31_MAX, PNG_UINT_31_MAX);
    png_set_keep_unknown_chunks(r->png, PNG_HANDLE_CHUNK_NEVER, NULL, -1);
    png_set_keep_unknown_chunks(r->png, PNG_HANDLE_CHUNK_AS_DEFAULT, (png_const_bytep) "eXIf", 1);
}

static void set_transformations(reader *r)
{
    png_byte type = png_get_color_type(r->png, r->info);
    png_set_strip_16(r->png);
    png_set_strip_alpha(r->png);
    if (type == PNG_COLOR_TYPE_PALETTE) png_set_palette_to_rgb(r->png);
    if (!(type & PNG_COLOR_MASK_COLOR)) {
        png_set_expand_gray_1_2_4_to_8(r->png);
        png_set_gray_to_rgb(r->png);
    }
}

static void read_pixels(reader *r)
{
    int passes = png_set_interlace_handling(r->png);
    uint32_t width = png_get_image_width(r->png, r->info), height = png_get_image_height(r->png, r->info);
    tw_status status = tw_image_allocate(r->from, width, height, r->image, r->error);
    if (status != TW_OK) escape_with(r, status);
    png_read_update_info(r->png, r->info);
    if (png_get_rowbytes(r->png, r->info) != (size_t)width * 3) png_error(r->png, "unknown pixel format");
    for (int pass = 0; pass < passes; pass++)
        for (uint32_t y = 0; y < height; y++) png_read_row(r->png, r->image->rgb + 3 * (size_t)y * width, NULL);
}

static void decode(reader *r)
{
    if (setjmp(r->escape) != 0) return;
    r->png = png_create_read_struct_2(PNG_LIBPNG_VER_STRING, r, refuse, ignore_warning, r, allocate, release);
    r->info = r->png ? png_create_info_struct(r->png) : NULL;
    if (!r->info)
        escape_with(r,
                    tw_fail(r->error, TW_FAILED, "%s: libpng %s does not start", r->from->path, PNG_LIBPNG_VER_STRING));
    png_set_read_fn(r->png, r, read_bytes);
    set_limits(r);
    png_read_info(r->png, r->info);
    set_transformations(r);
    read_pixels(r);
    png_read_end(r->png, r->info);

    png_bytep exif;
    png_uint_32 exif_bytes;
    if (png_get_eXIf_1(r->png, r->info, &exif_bytes, &exif)) r->orientation = tw_exif_orientation(exif, exif_bytes);
}

tw_status tw_png_read(const tw_image_file *from, tw_image *image, int *orientation, tw_error *error)
{
    reader r = {.from = from, .image = image, .error = error, .orientation = 1};
    decode(&r);
    png_destroy_read_struct(&r.png, &r.info, NULL);
    if (r.status != TW_OK) tw_image_free(image);
    *orientation = r.orientation;
    return r.status;
}
