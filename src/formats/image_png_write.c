/* 8-bit RGB PNG, through libpng and a temporary name. */
#include "formats/file.h"
#include "formats/image.h"

#include <png.h>
#include <setjmp.h>

typedef struct sink {
    png_structp png;
    png_infop info;
    jmp_buf escape;
    const char *path;
    tw_error *error;
    tw_status status;
} sink;

static _Noreturn void refuse(png_structp png, png_const_charp reason)
{
    sink *s = png_get_error_ptr(png);
    s->status = tw_fail(s->error, TW_FAILED, "%s: cannot be written: %s", s->path, reason);
    longjmp(s->escape, 1);
}

static void ignore_warning(png_structp png, png_const_charp reason)
{
    (void)png, (void)reason;
}

static void encode(sink *s, const tw_image *image, FILE *stream)
{
    if (setjmp(s->escape) != 0) return;
    s->png = png_create_write_struct(PNG_LIBPNG_VER_STRING, s, refuse, ignore_warning);
    s->info = s->png ? png_create_info_struct(s->png) : NULL;
    if (!s->info) {
        s->status = tw_fail(s->error, TW_FAILED, "%s: libpng %s does not start", s->path, PNG_LIBPNG_VER_STRING);
        return;
    }
    png_init_io(s->png, stream);
    png_set_IHDR(s->png, s->info, (png_uint_32)image->width, (png_uint_32)image->height, 8, PNG_COLOR_TYPE_RGB,
                 PNG_INTERLACE_NONE, PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
    png_write_info(s->png, s->info);
    for (int y = 0; y < image->height; y++) png_write_row(s->png, image->rgb + 3 * (size_t)y * (size_t)image->width);
    png_write_end(s->png, s->info);
}

tw_status tw_png_write(const char *path, const tw_image *image, tw_error *error)
{
    tw_file_writer writer;
    tw_status status = tw_image_check(image, error);
    if (status == TW_OK) status = tw_file_begin(&writer, path, error);
    if (status != TW_OK) return status;
    sink s = {.path = path, .error = error};
    encode(&s, image, writer.stream);
    png_destroy_write_struct(&s.png, &s.info);
    status = s.status == TW_OK ? tw_file_commit(&writer, error) : s.status;
    if (status != TW_OK) tw_file_discard(&writer);
    return status;
}
