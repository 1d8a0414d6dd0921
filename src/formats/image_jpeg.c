/* JPEG through libjpeg, with the settings Pillow uses (accurate integer DCT, fancy upsampling), so that pixels agree.
 *
 * libjpeg reports an error by a call that must not return, and damaged data by a warning after which it invents the
 * missing pixels. Both leave here by longjmp: a photograph that is not whole is refused, not guessed. Warnings that
 * cost no pixel (stray bytes between markers, an odd version number) are let pass, as real cameras cause them. */
#include "formats/image.h"

#include "core/status.h"

#include <errno.h>
#include <jpeglib.h>
/* after jpeglib.h, which it needs */
#include <jerror.h>
#include <setjmp.h>
#include <string.h>

/* A progressive file may go over the whole image again with a scan of a few bytes. Encoders write about ten. */
#define MAX_SCANS 100

/* Of the file at a time. libjpeg-turbo's fast Huffman decoder wants 512 bytes at hand for each block of an MCU, and
 * leaves the rest of a buffer to a slow one: three quarters of the 4 KiB that its own reader of files has. */
#define SOURCE_BYTES (64u << 10)

typedef struct reader {
    struct jpeg_decompress_struct jpeg;
    struct jpeg_source_mgr source;
    JOCTET *buffer; /* [SOURCE_BYTES] */
    struct jpeg_error_mgr errors;
    struct jpeg_progress_mgr progress;
    jmp_buf escape;
    const tw_image_file *from;
    tw_rows *rows;
    tw_error *error;
    tw_status status;
} reader;

static _Noreturn void escape_with(reader *r, tw_status status)
{
    r->status = status;
    longjmp(r->escape, 1);
}

static _Noreturn void refuse(j_common_ptr jpeg)
{
    reader *r = jpeg->client_data;
    char reason[JMSG_LENGTH_MAX];
    if (ferror(r->from->file)) escape_with(r, tw_fail(r->error, TW_FAILED, "%s: %s", r->from->path, strerror(errno)));
    if (jpeg->err->msg_code == JERR_OUT_OF_MEMORY)
        escape_with(r, tw_fail(r->error, TW_OUT_OF_MEMORY, "%s: not enough memory to decode", r->from->path));
    if (jpeg->err->msg_code == JWRN_JPEG_EOF || jpeg->err->msg_code == JWRN_HIT_MARKER ||
        jpeg->err->msg_code == JERR_INPUT_EOF)
        escape_with(r, tw_fail(r->error, TW_INVALID, "%s: truncated JPEG data", r->from->path));
    jpeg->err->format_message(jpeg, reason);
    escape_with(r, tw_fail(r->error, TW_INVALID, "%s: damaged or unsupported JPEG data (%s)", r->from->path, reason));
}

/* ---- the file ---- */

static void leave_source(j_decompress_ptr jpeg)
{
    (void)jpeg;
}

static boolean read_more(j_decompress_ptr jpeg)
{
    reader *r = jpeg->client_data;
    r->source.next_input_byte = r->buffer;
    r->source.bytes_in_buffer = fread(r->buffer, 1, SOURCE_BYTES, r->from->file);
    if (r->source.bytes_in_buffer > 0) return TRUE;
    jpeg->err->msg_code = JERR_INPUT_EOF;
    refuse((j_common_ptr)jpeg);
}

static void skip(j_decompress_ptr jpeg, long bytes)
{
    struct jpeg_source_mgr *source = jpeg->src;
    if (bytes <= 0) return;
    size_t left = (size_t)bytes;
    while (left > source->bytes_in_buffer) {
        left -= source->bytes_in_buffer;
        read_more(jpeg);
    }
    source->next_input_byte += left;
    source->bytes_in_buffer -= left;
}

static void open_source(reader *r)
{
    r->buffer = r->jpeg.mem->alloc_large((j_common_ptr)&r->jpeg, JPOOL_PERMANENT, SOURCE_BYTES);
    r->source = (struct jpeg_source_mgr){.init_source = leave_source,
                                         .fill_input_buffer = read_more,
                                         .skip_input_data = skip,
                                         .resync_to_restart = jpeg_resync_to_restart,
                                         .term_source = leave_source};
    r->jpeg.src = &r->source;
}

/* ---- messages ---- */

/* Level -1 is a warning, the others are traces. Refused: the warnings after which pixels are made up. */
static void on_message(j_common_ptr jpeg, int level)
{
    if (level >= 0) return;
    switch (jpeg->err->msg_code) {
    case JWRN_JPEG_EOF:
    case JWRN_HIT_MARKER:
    case JWRN_HUFF_BAD_CODE:
    case JWRN_ARITH_BAD_CODE:
    case JWRN_MUST_RESYNC: refuse(jpeg);
    default: break;
    }
}

static void on_progress(j_common_ptr jpeg)
{
    reader *r = jpeg->client_data;
    if (r->jpeg.input_scan_number > MAX_SCANS)
        escape_with(r, tw_fail(r->error, TW_INVALID, "%s: the JPEG has more than %d scans", r->from->path, MAX_SCANS));
}

/* The first EXIF marker's, as Pillow takes it. */
static int find_orientation(const struct jpeg_decompress_struct *jpeg)
{
    for (jpeg_saved_marker_ptr marker = jpeg->marker_list; marker; marker = marker->next)
        if (marker->data_length >= 6 && memcmp(marker->data, "Exif\0", 5) == 0)
            return tw_exif_orientation(marker->data + 6, marker->data_length - 6);
    return 1;
}

/* cmyk[width][4] -> rgb[width][3]. Adobe stores ink inverted, 255 for none, and Pillow takes every file so; then each
 * of cyan, magenta and yellow darkens what black leaves: rgb = key - key * (255 - ink) / 255, rounded. */
static void cmyk_to_rgb(const uint8_t *cmyk, int width, uint8_t *rgb)
{
    for (int x = 0; x < width; x++, cmyk += 4, rgb += 3)
        for (int c = 0; c < 3; c++) {
            int key = cmyk[3], product = (255 - cmyk[c]) * key + 128;
            rgb[c] = (uint8_t)(key - (((product >> 8) + product) >> 8));
        }
}

static void read_rows(reader *r)
{
    bool cmyk = r->jpeg.out_color_space == JCS_CMYK;
    JSAMPARRAY line = NULL;
    if (cmyk) line = r->jpeg.mem->alloc_sarray((j_common_ptr)&r->jpeg, JPOOL_IMAGE, r->jpeg.output_width * 4, 1);
    for (int y = 0; y < (int)r->jpeg.output_height; y++) {
        uint8_t *row = r->rows->place(r->rows, y);
        jpeg_read_scanlines(&r->jpeg, cmyk ? line : &row, 1);
        if (cmyk) cmyk_to_rgb(line[0], (int)r->jpeg.output_width, row);
        r->rows->took(r->rows, y);
    }
}

static void decode(reader *r)
{
    struct jpeg_decompress_struct *jpeg = &r->jpeg;
    if (setjmp(r->escape) != 0) return;
    jpeg_create_decompress(jpeg);
    jpeg->progress = &r->progress;
    open_source(r);
    jpeg_save_markers(jpeg, JPEG_APP0 + 1, 0xffff);
    jpeg_read_header(jpeg, TRUE);
    if (jpeg->num_components != 1 && jpeg->num_components != 3 && jpeg->num_components != 4)
        escape_with(r, tw_fail(r->error, TW_INVALID, "%s: a JPEG of %d components; 1, 3 or 4 are known", r->from->path,
                               jpeg->num_components));
    tw_status status = tw_image_check_size(r->from, jpeg->image_width, jpeg->image_height, r->error);
    if (status == TW_OK)
        status =
            r->rows->begin(r->rows, (int)jpeg->image_width, (int)jpeg->image_height, find_orientation(jpeg), r->error);
    if (status != TW_OK) escape_with(r, status);
    jpeg->out_color_space = jpeg->num_components == 4 ? JCS_CMYK : JCS_RGB;
    jpeg->dct_method = JDCT_ISLOW;
    jpeg_start_decompress(jpeg);
    read_rows(r);
    jpeg_finish_decompress(jpeg);
}

tw_status tw_jpeg_decode(const tw_image_file *from, tw_rows *rows, tw_error *error)
{
    reader r = {.from = from, .rows = rows, .error = error};
    r.jpeg.err = jpeg_std_error(&r.errors);
    r.jpeg.client_data = &r;
    r.errors.error_exit = refuse;
    r.errors.emit_message = on_message;
    r.progress.progress_monitor = on_progress;
    decode(&r);
    jpeg_destroy_decompress(&r.jpeg);
    return r.status;
}

/* ---- to a whole image ---- */

typedef struct image_rows {
    tw_rows rows; /* first: a tw_rows * is an image_rows * */
    const tw_image_file *from;
    tw_image *image;
    int orientation;
} image_rows;

static tw_status begin_image(tw_rows *rows, int width, int height, int orientation, tw_error *error)
{
    image_rows *to = (image_rows *)rows;
    to->orientation = orientation;
    return tw_image_allocate(to->from, (uint32_t)width, (uint32_t)height, to->image, error);
}

static uint8_t *place_in_image(tw_rows *rows, int y)
{
    const tw_image *image = ((const image_rows *)rows)->image;
    return image->rgb + 3 * (size_t)y * (size_t)image->width;
}

static void leave_in_image(tw_rows *rows, int y)
{
    (void)rows, (void)y;
}

tw_status tw_jpeg_read(const tw_image_file *from, tw_image *image, int *orientation, tw_error *error)
{
    image_rows to = {
        .rows = {begin_image, place_in_image, leave_in_image}, .from = from, .image = image, .orientation = 1};
    tw_status status = tw_jpeg_decode(from, &to.rows, error);
    if (status != TW_OK) tw_image_free(image);
    *orientation = to.orientation;
    return status;
}
