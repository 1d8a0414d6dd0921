/* Images from good, cut, flipped and hostile files. What needs Pillow to be judged is in oracle_images.py. */
#include "test.h"

#include "core/status.h"
#include "formats/image.h"

#include <jpeglib.h>
#include <math.h>
#include <png.h>

#include "bytes.h" /* after those that use the word */

/* ---- files ---- */

static const char *path_of(const char *name)
{
    static char path[128];
    snprintf(path, sizeof path, "%s/%s", test_folder(), name);
    return path;
}

static const char *write_file(const char *name, const uint8_t *data, size_t count)
{
    const char *path = path_of(name);
    remove(path); /* a new file costs less than a file system's care for one that is overwritten */
    FILE *file = fopen(path, "wb");
    if (!file || fwrite(data, 1, count, file) != count || fclose(file) != 0) abort();
    return path;
}

static tw_status read_bytes(const bytes *from, size_t count, size_t max_pixels, tw_image *image, tw_error *error)
{
    *error = (tw_error){0};
    return tw_image_read(write_file("image", from->data, count), max_pixels, image, error);
}

/* The n-th byte of a picture with some structure. */
static uint8_t sample(int x, int y, int c)
{
    return (uint8_t)(x * 7 + y * 3 + c * 50 + (x / 4 + y / 4) % 2 * 60);
}

/* ---- JPEG ---- */

typedef struct jpeg_options {
    int width, height, components;
    J_COLOR_SPACE in, stored;
    bool progressive, arithmetic;
    int restart;
    const bytes *exif; /* a TIFF block */
} jpeg_options;

static bytes make_jpeg(const jpeg_options *options)
{
    struct jpeg_compress_struct jpeg;
    struct jpeg_error_mgr errors;
    unsigned char *data = NULL;
    unsigned long count = 0;
    jpeg.err = jpeg_std_error(&errors);
    jpeg_create_compress(&jpeg);
    jpeg_mem_dest(&jpeg, &data, &count);
    jpeg.image_width = (JDIMENSION)options->width;
    jpeg.image_height = (JDIMENSION)options->height;
    jpeg.input_components = options->components;
    jpeg.in_color_space = options->in;
    jpeg_set_defaults(&jpeg);
    jpeg_set_colorspace(&jpeg, options->stored);
    jpeg.arith_code = options->arithmetic;
    jpeg.restart_interval = (unsigned)options->restart;
    if (options->progressive) jpeg_simple_progression(&jpeg);
    jpeg_start_compress(&jpeg, TRUE);
    if (options->exif) {
        bytes marker = {0};
        append(&marker, "Exif\0", 6);
        append(&marker, options->exif->data, options->exif->count);
        jpeg_write_marker(&jpeg, JPEG_APP0 + 1, marker.data, (unsigned)marker.count);
        free(marker.data);
    }
    uint8_t *row = malloc((size_t)options->width * (size_t)options->components);
    for (int y = 0; y < options->height; y++) {
        for (int x = 0; x < options->width; x++)
            for (int c = 0; c < options->components; c++) row[x * options->components + c] = sample(x, y, c);
        jpeg_write_scanlines(&jpeg, &row, 1);
    }
    jpeg_finish_compress(&jpeg);
    jpeg_destroy_compress(&jpeg);
    bytes file = {0};
    append(&file, data, count);
    free(row);
    free(data);
    return file;
}

static bytes rgb_jpeg(bool progressive)
{
    return make_jpeg(&(jpeg_options){
        .width = 37, .height = 21, .components = 3, .in = JCS_RGB, .stored = JCS_YCbCr, .progressive = progressive});
}

/* Where the first marker of that code is; the files here have none inside other data. */
static size_t find_marker(const bytes *file, int code)
{
    for (size_t i = 0; i + 1 < file->count; i++)
        if (file->data[i] == 0xff && file->data[i + 1] == code) return i;
    abort();
}

/* ---- PNG ---- */

typedef struct png_options {
    int width, height, type, depth;
    bool interlaced;
    const bytes *exif;
} png_options;

static void append_png(png_structp png, png_bytep data, size_t count)
{
    append(png_get_io_ptr(png), data, count);
}

static void flush_png(png_structp png)
{
    (void)png;
}

/* Rows hold sample() in each byte, whatever the depth. */
static bytes make_png(const png_options *options)
{
    bytes file = {0};
    png_structp png = png_create_write_struct(PNG_LIBPNG_VER_STRING, NULL, NULL, NULL);
    png_infop info = png_create_info_struct(png);
    png_set_write_fn(png, &file, append_png, flush_png);
    png_set_IHDR(png, info, (png_uint_32)options->width, (png_uint_32)options->height, options->depth, options->type,
                 options->interlaced ? PNG_INTERLACE_ADAM7 : PNG_INTERLACE_NONE, 0, 0);
    png_color palette[16];
    for (int i = 0; i < 16; i++) palette[i] = (png_color){sample(i, 0, 0), sample(i, 0, 1), sample(i, 0, 2)};
    if (options->type == PNG_COLOR_TYPE_PALETTE) png_set_PLTE(png, info, palette, 16);
    if (options->exif) png_set_eXIf_1(png, info, (png_uint_32)options->exif->count, options->exif->data);
    png_write_info(png, info);
    size_t row_bytes = png_get_rowbytes(png, info);
    uint8_t *pixels = malloc(row_bytes * (size_t)options->height);
    uint8_t **rows = malloc((size_t)options->height * sizeof *rows);
    for (int y = 0; y < options->height; y++) {
        rows[y] = pixels + (size_t)y * row_bytes;
        for (size_t i = 0; i < row_bytes; i++) rows[y][i] = sample((int)i / 3, y, (int)i % 3);
    }
    png_write_image(png, rows);
    png_write_end(png, info);
    png_destroy_write_struct(&png, &info);
    free(rows);
    free(pixels);
    return file;
}

static bytes rgb_png(bool interlaced)
{
    return make_png(
        &(png_options){.width = 23, .height = 17, .type = PNG_COLOR_TYPE_RGB, .depth = 8, .interlaced = interlaced});
}

static uint32_t crc_of(const uint8_t *data, size_t count)
{
    uint32_t crc = 0xffffffff;
    for (size_t i = 0; i < count; i++) {
        crc ^= data[i];
        for (int bit = 0; bit < 8; bit++) crc = crc & 1 ? crc >> 1 ^ 0xedb88320 : crc >> 1;
    }
    return ~crc;
}

static void put_big_endian(uint8_t *to, uint32_t value)
{
    for (int i = 0; i < 4; i++) to[i] = (uint8_t)(value >> (24 - 8 * i));
}

/* Overwrites IHDR's fields and mends its checksum. */
static void set_png_header(bytes *file, uint32_t width, uint32_t height, const uint8_t rest[5])
{
    put_big_endian(file->data + 16, width);
    put_big_endian(file->data + 20, height);
    if (rest) memcpy(file->data + 24, rest, 5);
    put_big_endian(file->data + 29, crc_of(file->data + 12, 17));
}

/* ---- what every refusal owes ---- */

static bool refused(tw_status status, const tw_image *image, const tw_error *error)
{
    return status == TW_INVALID && error->status == TW_INVALID && !image->rgb && image->width == 0 &&
           strstr(error->message, test_folder()) && !strchr(error->message, '\n');
}

#define CHECK_REFUSED(file, count, part)                                                                               \
    do {                                                                                                               \
        tw_image read_image;                                                                                           \
        tw_error read_error;                                                                                           \
        tw_status read_status = read_bytes(file, count, 0, &read_image, &read_error);                                  \
        CHECK_MSG(refused(read_status, &read_image, &read_error), "status %d, \"%s\"", (int)read_status,               \
                  read_error.message);                                                                                 \
        CHECK_CONTAINS(read_error.message, part);                                                                      \
    } while (0)

static void missing_and_foreign_files(void)
{
    tw_image image;
    tw_error error;
    CHECK(refused(tw_image_read(path_of("none.png"), 0, &image, &error), &image, &error));
    CHECK_CONTAINS(error.message, "none.png: No such file or directory");
    CHECK(refused(tw_image_read(test_folder(), 0, &image, &error), &image, &error));
    CHECK_CONTAINS(error.message, ": Is a directory");
    bytes text = {0};
    append(&text, "GIF89a, or a letter", 19);
    for (size_t count = 0; count <= text.count; count++) CHECK_REFUSED(&text, count, "/image: not a JPEG or PNG image");
    free(text.data);
    CHECK(tw_image_read(path_of("none.png"), 0, &image, NULL) == TW_INVALID);
}

static void pixel_limit(void)
{
    bytes files[] = {rgb_jpeg(false), rgb_jpeg(true), rgb_png(false), rgb_png(true)};
    const size_t pixels[] = {37 * 21, 37 * 21, 23 * 17, 23 * 17};
    for (int i = 0; i < 4; i++) {
        tw_image image;
        tw_error error;
        CHECK_MSG(read_bytes(&files[i], files[i].count, pixels[i], &image, &error) == TW_OK, "%s", error.message);
        tw_image_free(&image);
        CHECK(!image.rgb);
        tw_status status = read_bytes(&files[i], files[i].count, pixels[i] - 1, &image, &error);
        CHECK(refused(status, &image, &error));
        CHECK_CONTAINS(error.message, "pixels are accepted");
        free(files[i].data);
    }
}

/* ---- cut and flipped ---- */

static void cut_files(void)
{
    bytes files[] = {rgb_jpeg(false), rgb_jpeg(true), rgb_png(false), rgb_png(true)};
    const char *parts[] = {"truncated JPEG data", "truncated JPEG data", "truncated PNG data", "truncated PNG data"};
    const size_t signatures[] = {3, 3, 8, 8};
    for (int i = 0; i < 4; i++) {
        for (size_t count = 0; count < files[i].count; count++)
            CHECK_REFUSED(&files[i], count, count < signatures[i] ? "not a JPEG or PNG image" : parts[i]);
        free(files[i].data);
    }
}

/* Any answer will do that is an image within the limit or a refusal. */
static bool answers(const bytes *file)
{
    tw_image image;
    tw_error error;
    tw_status status = read_bytes(file, file->count, 1 << 16, &image, &error);
    if (status != TW_OK) return refused(status, &image, &error);
    bool fine = image.rgb && image.width > 0 && image.height > 0 && image.width * image.height <= 1 << 16;
    unsigned sum = 0;
    for (int i = 0; fine && i < 3 * image.width * image.height; i++) sum += image.rgb[i];
    tw_image_free(&image);
    return fine && sum < UINT32_MAX;
}

static void flipped_bits(void)
{
    bytes tiff = {0};
    append(&tiff, "MM\0*\0\0\0\010\0\001\001\022\0\003\0\0\0\001\0\006\0\0\0\0\0\0", 26);
    bytes files[] = {
        rgb_jpeg(false),
        make_jpeg(&(jpeg_options){.width = 19,
                                  .height = 9,
                                  .components = 4,
                                  .in = JCS_CMYK,
                                  .stored = JCS_YCCK,
                                  .progressive = true,
                                  .exif = &tiff}),
        make_jpeg(&(jpeg_options){.width = 19,
                                  .height = 9,
                                  .components = 1,
                                  .in = JCS_GRAYSCALE,
                                  .stored = JCS_GRAYSCALE,
                                  .arithmetic = true,
                                  .restart = 1}),
        rgb_png(false),
        make_png(&(png_options){
            .width = 9, .height = 7, .type = PNG_COLOR_TYPE_PALETTE, .depth = 4, .interlaced = true, .exif = &tiff})};
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        for (size_t bit = 0; bit < 8 * files[i].count; bit++) {
            files[i].data[bit / 8] ^= (uint8_t)(1 << bit % 8);
            CHECK_MSG(answers(&files[i]), "file %zu, bit %zu", i, bit);
            files[i].data[bit / 8] ^= (uint8_t)(1 << bit % 8);
        }
        free(files[i].data);
    }
    free(tiff.data);
}

/* PNG's checksums stop most flips; here they are mended, so that the content is what is wrong. */
static void flipped_png_chunks(void)
{
    bytes tiff = {0};
    append(&tiff, "II*\0\010\0\0\0\001\0\022\001\003\0\001\0\0\0\006\0\0\0\0\0\0\0", 26);
    bytes file =
        make_png(&(png_options){.width = 9, .height = 7, .type = PNG_COLOR_TYPE_PALETTE, .depth = 4, .exif = &tiff});
    for (size_t at = 8; at + 12 <= file.count;) {
        size_t length = (size_t)file.data[at + 2] << 8 | file.data[at + 3];
        for (size_t bit = 0; bit < 8 * (length + 4); bit++) {
            bytes flipped = {0};
            append(&flipped, file.data, file.count);
            flipped.data[at + 4 + bit / 8] ^= (uint8_t)(1 << bit % 8);
            put_big_endian(flipped.data + at + 8 + length, crc_of(flipped.data + at + 4, length + 4));
            bool fine = answers(&flipped);
            free(flipped.data);
            CHECK_MSG(fine, "chunk at %zu, bit %zu", at, bit);
        }
        at += length + 12;
    }
    free(file.data);
    free(tiff.data);
}

/* ---- hostile headers ---- */

static void hostile_png_headers(void)
{
    static const struct {
        uint32_t width, height;
        uint8_t rest[5]; /* depth, colour type, compression, filter, interlace */
        const char *part;
    } headers[] = {
        {0, 17, {8, 2, 0, 0, 0}, "damaged PNG"},
        {23, 0, {8, 2, 0, 0, 0}, "damaged PNG"},
        {0x7fffffff, 0x7fffffff, {8, 2, 0, 0, 0}, "a side may be at most 1000000"},
        {0x7fffffff, 1, {16, 6, 0, 0, 1}, "a side may be at most 1000000"},
        {1, 1000001, {8, 2, 0, 0, 0}, "a side may be at most 1000000"},
        {0x80000000, 1, {8, 2, 0, 0, 0}, "damaged PNG"},
        {50000, 50000, {8, 2, 0, 0, 1}, "50000 x 50000; at most 178956970 pixels"},
        {13000, 13000, {8, 2, 0, 0, 0}, "damaged PNG"}, /* a bomb without its charge */
        {23, 17, {3, 2, 0, 0, 0}, "damaged PNG"},
        {23, 17, {16, 3, 0, 0, 0}, "damaged PNG"},
        {23, 17, {8, 3, 0, 0, 0}, "damaged PNG"}, /* a palette image without one */
        {23, 17, {8, 7, 0, 0, 0}, "damaged PNG"},
        {23, 17, {8, 2, 1, 0, 0}, "damaged PNG"},
        {23, 17, {8, 2, 0, 1, 0}, "damaged PNG"},
        {23, 17, {8, 2, 0, 0, 2}, "damaged PNG"},
        {23, 18, {8, 2, 0, 0, 0}, "damaged PNG"},
    };
    bytes file = rgb_png(false);
    for (size_t i = 0; i < sizeof headers / sizeof *headers; i++) {
        set_png_header(&file, headers[i].width, headers[i].height, headers[i].rest);
        CHECK_REFUSED(&file, file.count, headers[i].part);
    }
    free(file.data);
}

/* The file with one more chunk behind IHDR. */
static bytes with_chunk(const bytes *file, const char *name, uint32_t claimed, size_t count)
{
    enum { HEADER_END = 33 };
    bytes made = {0};
    uint8_t *chunk = calloc(1, count + 12);
    put_big_endian(chunk, claimed);
    memcpy(chunk + 4, name, 4);
    put_big_endian(chunk + 8 + count, crc_of(chunk + 4, count + 4));
    append(&made, file->data, HEADER_END);
    append(&made, chunk, count + 12);
    append(&made, file->data + HEADER_END, file->count - HEADER_END);
    free(chunk);
    return made;
}

static void hostile_png_chunks(void)
{
    bytes file = rgb_png(false);
    const char *names[] = {"eXIf", "iCCP", "zTXt", "iTXt", "prVt", "PRVt", "PLTE", "tRNS", "IDAT"};
    const uint32_t lengths[] = {100, 0x10000000, 0x7fffffff, 0x80000000, 0xffffffff};
    for (size_t n = 0; n < sizeof names / sizeof *names; n++)
        for (size_t l = 0; l < sizeof lengths / sizeof *lengths; l++) {
            bytes hostile = with_chunk(&file, names[n], lengths[l], 4);
            tw_image image;
            tw_error error;
            tw_status status = read_bytes(&hostile, hostile.count, 0, &image, &error);
            free(hostile.data);
            CHECK_MSG(refused(status, &image, &error), "%s of %u bytes", names[n], lengths[l]);
        }
    /* What a chunk without meaning holds is of no interest, however long it is. */
    bytes padded = with_chunk(&file, "prVt", 100000, 100000);
    CHECK(answers(&padded));
    free(padded.data);
    free(file.data);
}

/* Frame header: FFC0 or FFC2, length, precision, height, width, components. */
static void hostile_jpeg_headers(void)
{
    static const struct {
        uint8_t precision, height[2], width[2];
        const char *part;
    } headers[] = {
        {8, {0, 0}, {0, 37}, "damaged or unsupported JPEG"},
        {8, {0, 21}, {0, 0}, "damaged or unsupported JPEG"},
        {8, {0xff, 0xff}, {0xff, 0xff}, "damaged or unsupported JPEG"},
        {8, {0xff, 0}, {0xff, 0}, "65280 x 65280; at most 178956970 pixels"},
        {8, {0x20, 0}, {0x20, 0}, "truncated JPEG data"},
        {12, {0, 21}, {0, 37}, "damaged or unsupported JPEG"},
    };
    for (int progressive = 0; progressive < 2; progressive++) {
        bytes file = rgb_jpeg(progressive);
        uint8_t *frame = file.data + find_marker(&file, progressive ? 0xc2 : 0xc0);
        for (size_t i = 0; i < sizeof headers / sizeof *headers; i++) {
            frame[4] = headers[i].precision;
            memcpy(frame + 5, headers[i].height, 2);
            memcpy(frame + 7, headers[i].width, 2);
            CHECK_REFUSED(&file, file.count, headers[i].part);
        }
        free(file.data);
    }
    bytes two =
        make_jpeg(&(jpeg_options){.width = 5, .height = 5, .components = 2, .in = JCS_UNKNOWN, .stored = JCS_UNKNOWN});
    CHECK_REFUSED(&two, two.count, "a JPEG of 2 components");
    free(two.data);
}

/* A progressive file whose first scan, which holds no refinement, comes again and again. */
static void endless_scans(void)
{
    bytes file = rgb_jpeg(true), many = {0};
    size_t scan = find_marker(&file, 0xda), end = scan + 2;
    while (file.data[end] != 0xff || file.data[end + 1] == 0) end++;
    append(&many, file.data, end);
    for (int i = 0; i < 200; i++) append(&many, file.data + scan, end - scan);
    append(&many, file.data + end, file.count - end);
    CHECK_REFUSED(&many, many.count, "more than 100 scans");
    free(file.data);
    free(many.data);
}

/* Stray bytes between markers are a warning that real cameras cause; a missing end is not. */
static void harmless_and_harmful_warnings(void)
{
    bytes file = rgb_jpeg(false), stray = {0};
    size_t tables = find_marker(&file, 0xdb);
    append(&stray, file.data, tables);
    append(&stray, "stray", 5);
    append(&stray, file.data + tables, file.count - tables);
    tw_image image;
    tw_error error;
    CHECK_MSG(read_bytes(&stray, stray.count, 0, &image, &error) == TW_OK, "%s", error.message);
    tw_image_free(&image);

    /* half of the scan, then an end that pretends to be the right one */
    size_t scan = find_marker(&file, 0xda), half = (scan + file.count) / 2;
    file.data[half] = 0xff;
    file.data[half + 1] = 0xd9;
    CHECK_REFUSED(&file, file.count, "truncated JPEG data");
    free(file.data);
    free(stray.data);
}

/* ---- EXIF ---- */

typedef struct tiff_options {
    bool big_endian;
    uint32_t directory, entries, tag, type, count, value;
} tiff_options;

static void put_number(bytes *to, bool big_endian, int width, uint32_t value)
{
    for (int i = 0; i < width; i++) {
        uint8_t byte = (uint8_t)(value >> 8 * (big_endian ? width - 1 - i : i));
        append(to, &byte, 1);
    }
}

static bytes make_tiff(const tiff_options *options)
{
    bytes tiff = {0};
    bool big = options->big_endian;
    append(&tiff, big ? "MM" : "II", 2);
    put_number(&tiff, big, 2, 42);
    put_number(&tiff, big, 4, options->directory);
    put_number(&tiff, big, 2, options->entries);
    put_number(&tiff, big, 2, options->tag);
    put_number(&tiff, big, 2, options->type);
    put_number(&tiff, big, 4, options->count);
    if (options->type == 3)
        put_number(&tiff, big, 2, options->value), put_number(&tiff, big, 2, 0);
    else
        put_number(&tiff, big, 4, options->value);
    return tiff;
}

/* Reads an exact copy, so that a sanitizer sees the first byte beyond it. */
static int orientation_of(const uint8_t *data, size_t count)
{
    uint8_t *copy = malloc(count ? count : 1);
    if (count) memcpy(copy, data, count);
    int orientation = tw_exif_orientation(copy, count);
    free(copy);
    return orientation;
}

static void exif_directories(void)
{
    static const struct {
        tiff_options made;
        int expected;
    } cases[] = {
        {{false, 8, 1, 0x112, 3, 1, 6}, 6},
        {{true, 8, 1, 0x112, 3, 1, 6}, 6},
        {{false, 8, 1, 0x112, 4, 1, 8}, 8},
        {{true, 8, 1, 0x112, 4, 1, 2}, 2},
        {{true, 8, 1, 0x112, 3, 1, 9}, 1},
        {{true, 8, 1, 0x112, 3, 1, 0}, 1},
        {{true, 8, 1, 0x112, 4, 1, 0x10006}, 1},
        {{true, 8, 1, 0x112, 3, 2, 6}, 1}, /* two values are not an orientation */
        {{true, 8, 1, 0x112, 3, 0xffffffff, 6}, 1},
        {{true, 8, 1, 0x112, 2, 1, 6}, 1},
        {{true, 8, 1, 0x113, 3, 1, 6}, 1},
        {{true, 8, 0, 0x112, 3, 1, 6}, 1},
        {{true, 8, 0xffff, 0x112, 3, 1, 6}, 6}, /* more entries than there are: those there are count */
        {{true, 9, 1, 0x112, 3, 1, 6}, 1},
        {{true, 0xfffffffe, 1, 0x112, 3, 1, 6}, 1},
        {{false, 0xffffffff, 1, 0x112, 3, 1, 6}, 1},
        {{false, 22, 1, 0x112, 3, 1, 6}, 1},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        bytes tiff = make_tiff(&cases[i].made);
        int found = orientation_of(tiff.data, tiff.count);
        for (size_t count = 0; count < tiff.count; count++)
            CHECK_MSG(orientation_of(tiff.data, count) == 1, "case %zu cut to %zu bytes", i, count);
        free(tiff.data);
        CHECK_MSG(found == cases[i].expected, "case %zu: orientation %d, expected %d", i, found, cases[i].expected);
    }
}

static void exif_noise(void)
{
    uint32_t state = 1;
    uint8_t data[64];
    for (int round = 0; round < 100000; round++) {
        for (size_t i = 0; i < sizeof data; i++) {
            state = state * 1664525 + 1013904223;
            data[i] = (uint8_t)(state >> 24);
            if (state >> 16 & 1) data[i] &= 15; /* small offsets and counts reach further */
        }
        memcpy(data, round % 2 ? "II*\0" : "MM\0*", 4);
        int orientation = orientation_of(data, (size_t)round % (sizeof data + 1));
        CHECK(orientation >= 1 && orientation <= 8);
    }
}

/* A 3 x 2 image, turned. Letters are stored pixels, row by row: abc def. */
static void orientations(void)
{
    static const char *const upright[] = {"abc/def",  "cba/fed",  "fed/cba",  "def/abc",
                                          "ad/be/cf", "da/eb/fc", "fc/eb/da", "cf/be/ad"};
    for (int orientation = 1; orientation <= 8; orientation++) {
        bytes tiff = make_tiff(&(tiff_options){orientation % 2, 8, 1, 0x112, 3, 1, (uint32_t)orientation});
        bytes file =
            make_png(&(png_options){.width = 3, .height = 2, .type = PNG_COLOR_TYPE_RGB, .depth = 8, .exif = &tiff});
        tw_image image;
        tw_error error;
        CHECK_MSG(read_bytes(&file, file.count, 0, &image, &error) == TW_OK, "%s", error.message);
        char text[16], *end = text;
        for (int i = 0; i < 6; i++) {
            if (i && i % image.width == 0) *end++ = '/';
            *end = '?';
            for (int stored = 0; stored < 6; stored++) {
                int x = stored % 3, y = stored / 3;
                uint8_t pixel[] = {sample(x, y, 0), sample(x, y, 1), sample(x, y, 2)};
                if (memcmp(image.rgb + 3 * i, pixel, 3) == 0) *end = (char)('a' + stored);
            }
            end++;
        }
        *end = 0;
        CHECK_STR(text, upright[orientation - 1]);
        tw_image_free(&image);
        free(file.data);
        free(tiff.data);
    }
}

/* ---- kinds ---- */

static void jpeg_kinds(void)
{
    static const jpeg_options kinds[] = {
        {.width = 40, .height = 24, .components = 1, .in = JCS_GRAYSCALE, .stored = JCS_GRAYSCALE},
        {.width = 40, .height = 24, .components = 3, .in = JCS_RGB, .stored = JCS_RGB},
        {.width = 40, .height = 24, .components = 3, .in = JCS_RGB, .stored = JCS_RGB, .arithmetic = true},
        {.width = 40, .height = 24, .components = 4, .in = JCS_CMYK, .stored = JCS_CMYK, .restart = 2},
        {.width = 40, .height = 24, .components = 4, .in = JCS_CMYK, .stored = JCS_YCCK, .progressive = true},
    };
    for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++) {
        bytes file = make_jpeg(&kinds[k]);
        tw_image image;
        tw_error error;
        CHECK_MSG(read_bytes(&file, file.count, 0, &image, &error) == TW_OK, "kind %zu: %s", k, error.message);
        CHECK(image.width == 40 && image.height == 24);
        double sum = 0;
        for (int i = 0; i < 40 * 24; i++)
            for (int c = 0; c < 3; c++) {
                int x = i % 40, y = i / 40, key = kinds[k].components == 4 ? sample(x, y, 3) : 255;
                int stored = sample(x, y, kinds[k].components == 1 ? 0 : c);
                sum += abs(image.rgb[3 * i + c] - stored * key / 255); /* Adobe's ink is inverted: light times light */
            }
        CHECK_MSG(sum / (3 * 40 * 24) < 12, "kind %zu: mean difference %g", k, sum / (3 * 40 * 24));
        tw_image_free(&image);
        free(file.data);
    }
}

static void png_sixteen_bit_grey_loses_its_low_byte(void)
{
    bytes file = make_png(&(png_options){.width = 6, .height = 2, .type = PNG_COLOR_TYPE_GRAY, .depth = 16});
    tw_image image;
    tw_error error;
    CHECK(read_bytes(&file, file.count, 0, &image, &error) == TW_OK);
    for (int i = 0; i < 6 * 2 * 3; i++) {
        int high_byte = i / 3 % 6 * 2;
        CHECK(image.rgb[i] == sample(high_byte / 3, i / 18, high_byte % 3));
    }
    tw_image_free(&image);
    free(file.data);
}

/* ---- resizing ---- */

static tw_image noise_image(int width, int height)
{
    tw_image image = {.width = width, .height = height, .rgb = malloc(3 * (size_t)width * (size_t)height)};
    uint32_t state = (uint32_t)(width * 1000 + height);
    for (int i = 0; i < 3 * width * height; i++) {
        state = state * 1664525 + 1013904223;
        image.rgb[i] = (uint8_t)(state >> 24);
    }
    return image;
}

/* 10 20 30 40 to two. Stretched to a half-width of 2 around 1, the triangle weighs 0.75, 0.75, 0.25: 30 of 1.75, so 17.
 * Stretched to 4, the cubic weighs 0.8672, 0.8672, 0.2266, -0.0703: 30 of 1.8906, so 16. */
static void resizing_by_hand(void)
{
    uint8_t row[12];
    for (int i = 0; i < 12; i++) row[i] = (uint8_t)(10 + i / 3 * 10);
    tw_image wide = {.width = 4, .height = 1, .rgb = row}, tall = {.width = 1, .height = 4, .rgb = row};
    static const uint8_t expected[2][2] = {[TW_BILINEAR] = {17, 33}, [TW_BICUBIC] = {16, 34}};
    for (int filter = TW_BILINEAR; filter <= TW_BICUBIC; filter++)
        for (int c = 0; c < 3; c++) {
            tw_image across, down;
            CHECK(tw_image_resize(&wide, 2, 1, (tw_interpolation)filter, &across, NULL) == TW_OK);
            CHECK(tw_image_resize(&tall, 1, 2, (tw_interpolation)filter, &down, NULL) == TW_OK);
            CHECK_MSG(across.rgb[c] == expected[filter][0] && across.rgb[3 + c] == expected[filter][1],
                      "filter %d: %d %d", filter, across.rgb[c], across.rgb[3 + c]);
            CHECK(memcmp(across.rgb, down.rgb, 6) == 0);
            tw_image_free(&across);
            tw_image_free(&down);
        }
}

static void resizing_keeps_what_it_must(void)
{
    tw_image image = noise_image(37, 23), resized;
    CHECK(tw_image_resize(&image, 37, 23, TW_BICUBIC, &resized, NULL) == TW_OK);
    CHECK(memcmp(image.rgb, resized.rgb, 3 * 37 * 23) == 0);
    tw_image_free(&resized);
    memset(image.rgb, 255, 3 * 37 * 23);
    static const int sizes[][2] = {{1, 1}, {36, 24}, {100, 3}, {2, 500}, {370, 230}};
    for (int i = 0; i < 5; i++)
        for (int filter = TW_BILINEAR; filter <= TW_BICUBIC; filter++) {
            int count = 3 * sizes[i][0] * sizes[i][1];
            CHECK(tw_image_resize(&image, sizes[i][0], sizes[i][1], (tw_interpolation)filter, &resized, NULL) == TW_OK);
            CHECK(resized.width == sizes[i][0] && resized.height == sizes[i][1]);
            for (int j = 0; j < count; j++) CHECK(resized.rgb[j] == 255);
            tw_image_free(&resized);
        }
    tw_image_free(&image);
}

/* Any window is that part of the whole. */
static void windows_of_a_resized_image(void)
{
    static const int sizes[][4] = {
        {50, 40, 20, 30}, {20, 30, 61, 90}, {33, 33, 33, 12}, {64, 9, 11, 9}, {5, 200, 15, 7}};
    for (int i = 0; i < 40; i++) {
        const int *size = sizes[i / 8];
        tw_image image = noise_image(size[0], size[1]), whole;
        tw_resample how = {.in_width = size[0],
                           .in_height = size[1],
                           .channels = 3,
                           .interpolation = i % 2 ? TW_BICUBIC : TW_BILINEAR,
                           .width = size[2],
                           .height = size[3],
                           .x = i % 8 * (size[2] - 1) / 8,
                           .y = i % 4 * size[3] / 4};
        how.columns = 1 + (size[2] - how.x - 1) / (1 + i % 3);
        how.rows = 1 + (size[3] - how.y - 1) / (1 + i % 5);
        uint8_t *part = malloc(3 * (size_t)how.columns * (size_t)how.rows);
        CHECK(tw_image_resize(&image, size[2], size[3], how.interpolation, &whole, NULL) == TW_OK);
        CHECK(tw_image_resample(&image, &how, part, NULL) == TW_OK);
        for (int y = 0; y < how.rows; y++)
            CHECK_MSG(memcmp(part + 3 * y * how.columns, whole.rgb + 3 * ((how.y + y) * size[2] + how.x),
                             3 * (size_t)how.columns) == 0,
                      "%d x %d to %d x %d, row %d", size[0], size[1], size[2], size[3], y);
        tw_image_free(&whole);
        tw_image_free(&image);
        free(part);
    }
}

static void resizing_refuses(void)
{
    tw_image image = noise_image(4, 4), empty = {0}, resized;
    static const int sizes[][2] = {{0, 4}, {4, 0}, {-1, 4}, {4, -2147483647}};
    tw_error error;
    for (int i = 0; i < 4; i++) {
        CHECK(tw_image_resize(&image, sizes[i][0], sizes[i][1], TW_BILINEAR, &resized, &error) == TW_INVALID);
        CHECK_CONTAINS(error.message, "cannot resize");
        CHECK(!resized.rgb);
    }
    CHECK(tw_image_resize(&empty, 4, 4, TW_BILINEAR, &resized, &error) == TW_INVALID);
    CHECK_CONTAINS(error.message, "the image is empty (0 x 0)");
    tw_image_free(&image);
}

/* ---- preprocessing ---- */

/* 2 x 2 in a crop of 5, odd: one zero pixel before and two after; then one of the network's zeros all round. */
static void small_images_are_padded(void)
{
    uint8_t rgb[12] = {255, 255, 255, 51, 51, 51, 0, 0, 0, 102, 102, 102};
    tw_image image = {.width = 2, .height = 2, .rgb = rgb};
    tw_preprocess how = {.channels = 1, .resize = 2, .crop = 5, .mean = {0.5f}, .std = {0.5f}, .pad = 1};
    float out[49], expected[49] = {0};
    CHECK(tw_image_preprocess(&image, &how, out, NULL) == TW_OK);
    for (int y = 1; y < 6; y++)
        for (int x = 1; x < 6; x++) expected[7 * y + x] = -1;
    expected[7 * 2 + 2] = 1;
    expected[7 * 2 + 3] = -0.6f;
    expected[7 * 3 + 3] = -0.2f;
    for (int i = 0; i < 49; i++)
        CHECK_MSG(fabsf(out[i] - expected[i]) < 1e-6f, "element %d is %g, expected %g", i, (double)out[i],
                  (double)expected[i]);
}

/* Three extra columns, five extra rows: 1.5 and 2.5 both round to 2. */
static void crops_round_ties_to_even(void)
{
    tw_image image = noise_image(4, 6);
    tw_preprocess how = {.channels = 3, .resize = 4, .crop = 1, .std = {1, 1, 1}};
    float out[3];
    CHECK(tw_image_preprocess(&image, &how, out, NULL) == TW_OK);
    for (int c = 0; c < 3; c++) CHECK(out[c] == (float)image.rgb[3 * (2 * 4 + 2) + c] / 255.0f);
    tw_image_free(&image);
}

static void narrow_images(void)
{
    enum { LENGTH = 1000000 };
    tw_image image = {.width = 1, .height = LENGTH, .rgb = calloc(LENGTH, 3)};
    tw_preprocess how = {.channels = 3, .resize = 256, .crop = 224, .interpolation = TW_BICUBIC, .std = {1, 1, 1}};
    float *out = malloc(3 * 224 * 224 * sizeof *out);
    tw_error error;
    CHECK(tw_image_preprocess(&image, &how, out, &error) == TW_OK);
    how.resize = 0;
    how.crop = 8;
    CHECK(tw_image_preprocess(&image, &how, out, &error) == TW_OK);
    how.resize = 3000;
    CHECK(tw_image_preprocess(&image, &how, out, &error) == TW_INVALID);
    CHECK_CONTAINS(error.message, "1 x 1000000 pixels is too narrow");
    free(out);
    tw_image_free(&image);
}

static void preprocessing_refuses(void)
{
    tw_image image = noise_image(4, 4), empty = {0};
    const tw_preprocess good = {.channels = 3, .resize = 4, .crop = 4, .std = {1, 1, 1}};
    tw_preprocess bad[] = {good, good, good, good, good, good, good, good};
    bad[0].channels = 2;
    bad[1].resize = -1;
    bad[2].crop = 0;
    bad[3].pad = -1;
    bad[4].std[2] = 0;
    bad[5].mean[0] = NAN;
    bad[6].crop = bad[6].pad = 2147483647;
    bad[7].std[1] = INFINITY;
    float out[48];
    tw_error error;
    for (int i = 0; i < 8; i++) {
        error = (tw_error){0};
        CHECK_MSG(tw_image_preprocess(&image, &bad[i], out, &error) == TW_INVALID, "case %d", i);
        CHECK_CONTAINS(error.message, "preprocessing: ");
    }
    CHECK(tw_image_preprocess(&image, &good, out, &error) == TW_OK);
    CHECK(tw_image_preprocess(&empty, &good, out, &error) == TW_INVALID);
    tw_image_free(&image);
}

#define CASE(function)                                                                                                 \
    {                                                                                                                  \
#function, function                                                                                            \
    }

int main(int argc, char **argv)
{
    static const test_case cases[] = {
        CASE(missing_and_foreign_files),
        CASE(pixel_limit),
        CASE(cut_files),
        CASE(flipped_bits),
        CASE(flipped_png_chunks),
        CASE(hostile_png_headers),
        CASE(hostile_png_chunks),
        CASE(hostile_jpeg_headers),
        CASE(endless_scans),
        CASE(harmless_and_harmful_warnings),
        CASE(exif_directories),
        CASE(exif_noise),
        CASE(orientations),
        CASE(jpeg_kinds),
        CASE(png_sixteen_bit_grey_loses_its_low_byte),
        CASE(resizing_by_hand),
        CASE(resizing_keeps_what_it_must),
        CASE(windows_of_a_resized_image),
        CASE(resizing_refuses),
        CASE(small_images_are_padded),
        CASE(crops_round_ties_to_even),
        CASE(narrow_images),
        CASE(preprocessing_refuses),
    };
    return test_main(argc, argv, cases, sizeof cases / sizeof *cases);
}
