/* NumPy's .npy (NumPy Enhancement Proposal 1): a magic, a version, the length of a header, the header, which is a
 * Python dictionary of three known keys, and the elements. The dictionary is read by a parser of exactly that. */
#include "formats/file.h"
#include "formats/strided.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { MAGIC = 6, ALIGNMENT = 64 };
static const size_t default_limit = (size_t)4 << 30;

static const struct {
    const char *descr;
    tw_dtype dtype;
} dtypes[] = {
    {"<f4", TW_F32}, {"<f2", TW_F16}, {"<f8", TW_F64}, {"|i1", TW_I8},   {"|u1", TW_U8},
    {"<i2", TW_I16}, {"<i4", TW_I32}, {"<i8", TW_I64}, {"|b1", TW_BOOL}, {"<f4", TW_TF32},
};

/* ---- reading ---- */

typedef struct parser {
    const char *path, *at, *end;
    tw_error *error;
} parser;

typedef struct header {
    tw_dtype dtype;
    bool fortran;
    tw_shape shape;
} header;

static tw_status malformed(const parser *from, const char *expected)
{
    return tw_fail(from->error, TW_INVALID, "%s: npy header: expected %s", from->path, expected);
}

static bool skip(parser *from, const char *text)
{
    while (from->at < from->end && *from->at == ' ') from->at++;
    size_t length = strlen(text);
    if ((size_t)(from->end - from->at) < length || memcmp(from->at, text, length) != 0) return false;
    from->at += length;
    return true;
}

/* 'text' or "text", without escapes. */
static bool read_text(parser *from, char *text, size_t size)
{
    const char *quote = skip(from, "'") ? "'" : skip(from, "\"") ? "\"" : NULL;
    if (!quote) return false;
    const char *end = memchr(from->at, *quote, (size_t)(from->end - from->at));
    if (!end || (size_t)(end - from->at) >= size || memchr(from->at, '\\', (size_t)(end - from->at))) return false;
    memcpy(text, from->at, (size_t)(end - from->at));
    text[end - from->at] = 0;
    from->at = end + 1;
    return true;
}

static tw_status read_descr(parser *from, tw_dtype *dtype)
{
    char descr[16];
    if (!read_text(from, descr, sizeof descr)) return malformed(from, "a simple dtype such as '<f4'");
    for (size_t i = 0; i < sizeof dtypes / sizeof *dtypes; i++)
        if (strcmp(descr, dtypes[i].descr) == 0) {
            *dtype = dtypes[i].dtype;
            return TW_OK;
        }
    if (descr[0] == '>')
        return tw_fail(from->error, TW_INVALID, "%s: npy dtype %s is big-endian, expected little-endian", from->path,
                       descr);
    return tw_fail(from->error, TW_INVALID, "%s: npy dtype %s, expected <f2, <f4, <f8, |i1, <i2, <i4, <i8, |u1 or |b1",
                   from->path, descr);
}

static tw_status read_fortran(parser *from, bool *fortran)
{
    *fortran = skip(from, "True");
    return *fortran || skip(from, "False") ? TW_OK : malformed(from, "True or False for fortran_order");
}

static bool read_size(parser *from, int64_t *size)
{
    skip(from, "");
    const char *start = from->at;
    for (*size = 0; from->at < from->end && *from->at >= '0' && *from->at <= '9'; from->at++)
        if (__builtin_mul_overflow(*size, 10, size) || __builtin_add_overflow(*size, *from->at - '0', size))
            return false;
    return from->at > start;
}

/* (), (3,), (2, 3) or (2, 3,) */
static tw_status read_shape(parser *from, tw_shape *shape)
{
    *shape = (tw_shape){0};
    if (!skip(from, "(")) return malformed(from, "a tuple for shape");
    bool comma = true;
    while (!skip(from, ")")) {
        if (!comma) return malformed(from, "a comma between the dimensions");
        if (shape->rank == TW_MAX_RANK) return malformed(from, "at most 8 dimensions");
        if (!read_size(from, &shape->dims[shape->rank++])) return malformed(from, "whole numbers for shape");
        comma = skip(from, ",");
    }
    if (shape->rank == 1 && !comma) return malformed(from, "a tuple for shape");
    return TW_OK;
}

static tw_status read_field(parser *from, header *head, int *seen)
{
    static const char *const names[] = {"descr", "fortran_order", "shape"};
    char name[16];
    if (!read_text(from, name, sizeof name) || !skip(from, ":")) return malformed(from, "a key and a colon");
    int field = 0;
    while (field < 3 && strcmp(name, names[field]) != 0) field++;
    if (field == 3 || *seen & 1 << field) return malformed(from, "descr, fortran_order and shape, once each");
    *seen |= 1 << field;
    if (field == 0) return read_descr(from, &head->dtype);
    return field == 1 ? read_fortran(from, &head->fortran) : read_shape(from, &head->shape);
}

static tw_status parse_header(parser *from, header *head)
{
    if (!skip(from, "{")) return malformed(from, "a dictionary");
    int seen = 0;
    bool comma = true;
    while (!skip(from, "}")) {
        if (!comma) return malformed(from, "a comma between the fields");
        tw_status status = read_field(from, head, &seen);
        if (status != TW_OK) return status;
        comma = skip(from, ",");
    }
    if (seen != 7) return malformed(from, "descr, fortran_order and shape, once each");
    skip(from, "\n");
    skip(from, "");
    return from->at == from->end ? TW_OK : malformed(from, "nothing after the dictionary");
}

/* Where the header's text lies: its length has 2 bytes in version 1, 4 in versions 2 and 3. */
static tw_status find_header(parser *from, const tw_mapping *file)
{
    if (file->bytes < MAGIC || memcmp(file->data, "\x93NUMPY", MAGIC) != 0)
        return tw_fail(from->error, TW_INVALID, "%s: not an npy file", from->path);
    size_t start = MAGIC + 2 + (file->bytes > MAGIC && file->data[MAGIC] == 1 ? 2 : 4);
    if (file->bytes < start) return tw_fail(from->error, TW_INVALID, "%s: truncated npy file", from->path);
    const uint8_t *version = file->data + MAGIC;
    if (version[0] < 1 || version[0] > 3 || version[1] != 0)
        return tw_fail(from->error, TW_INVALID, "%s: npy version %d.%d, expected 1.0 to 3.0", from->path, version[0],
                       version[1]);
    size_t length = 0;
    for (size_t i = start; i-- > MAGIC + 2;) length = length << 8 | file->data[i];
    if (length > file->bytes - start) return tw_fail(from->error, TW_INVALID, "%s: truncated npy file", from->path);
    from->at = (const char *)file->data + start;
    from->end = from->at + length;
    return TW_OK;
}

/* Strides of an array whose first dimension is the fastest. */
static tw_strided fortran_view(const header *head, const void *data)
{
    tw_strided view = {.data = data, .element = tw_dtype_bytes(head->dtype), .shape = head->shape};
    int64_t stride = 1;
    for (int i = 0; i < head->shape.rank; i++) {
        view.strides[i] = stride;
        stride *= head->shape.dims[i] ? head->shape.dims[i] : 1; /* tw_shape_count() has bounded it */
    }
    return view;
}

/* `left` bytes of the file follow the header. */
static tw_status read_data(const parser *from, const header *head, size_t left, size_t max_bytes, tw_tensor *tensor)
{
    size_t count;
    if (tw_shape_count(&head->shape, head->dtype, &count, from->error) != TW_OK) {
        tw_error_prefix(from->error, "%s", from->path);
        return TW_INVALID;
    }
    size_t bytes = count * tw_dtype_bytes(head->dtype);
    if (left != bytes)
        return tw_fail(from->error, TW_INVALID, "%s: %s: %zu bytes of data, expected %zu", from->path,
                       left < bytes ? "truncated npy file" : "trailing bytes", left, bytes);
    if (bytes > max_bytes)
        return tw_fail(from->error, TW_INVALID, "%s: %zu bytes of data, allowed are %zu", from->path, bytes, max_bytes);
    tw_status status = tw_tensor_create(head->dtype, &head->shape, tensor, from->error);
    if (status != TW_OK) return status;
    if (head->fortran) {
        tw_strided view = fortran_view(head, from->end);
        tw_strided_copy(&view, tensor->data);
    } else if (bytes) {
        memcpy(tensor->data, from->end, bytes);
    }
    return TW_OK;
}

tw_status tw_npy_read(const char *path, size_t max_bytes, tw_tensor *tensor, tw_error *error)
{
    *tensor = (tw_tensor){0};
    tw_mapping file;
    tw_status status = tw_file_map(path, &file, error);
    if (status != TW_OK) return status;
    parser from = {.path = path, .error = error};
    header head = {0};
    status = find_header(&from, &file);
    if (status == TW_OK) status = parse_header(&from, &head);
    if (status == TW_OK) {
        size_t left = (size_t)((const char *)file.data + file.bytes - from.end);
        status = read_data(&from, &head, left, max_bytes ? max_bytes : default_limit, tensor);
    }
    tw_file_unmap(&file);
    return status;
}

/* ---- writing ---- */

/* Version 1, padded as NumPy does, so that the data is aligned. Returns the header's bytes. */
static size_t print_header(const char *descr, const tw_shape *shape, char *text, size_t size)
{
    size_t at = MAGIC + 4;
    at += (size_t)snprintf(text + at, size - at, "{'descr': '%s', 'fortran_order': False, 'shape': (", descr);
    for (int i = 0; i < shape->rank; i++)
        at += (size_t)snprintf(text + at, size - at, "%s%" PRId64 "%s", i ? " " : "", shape->dims[i],
                               i + 1 < shape->rank || shape->rank == 1 ? "," : "");
    at += (size_t)snprintf(text + at, size - at, "), }");
    size_t total = (at + ALIGNMENT) / ALIGNMENT * ALIGNMENT; /* at least the newline */
    memset(text + at, ' ', total - at - 1);
    text[total - 1] = '\n';
    size_t length = total - MAGIC - 4;
    memcpy(text, "\x93NUMPY\x01", MAGIC + 2);
    text[MAGIC + 2] = (char)(length & 0xff);
    text[MAGIC + 3] = (char)(length >> 8);
    return total;
}

static const char *descr_of(tw_dtype dtype)
{
    for (size_t i = 0; i < sizeof dtypes / sizeof *dtypes; i++)
        if (dtypes[i].dtype == dtype) return dtypes[i].descr;
    return NULL;
}

tw_status tw_npy_write(const char *path, const tw_tensor *tensor, tw_error *error)
{
    const char *descr = descr_of(tensor->dtype);
    size_t count;
    if (!descr) return tw_fail(error, TW_INVALID, "%s: npy has no dtype for %s", path, tw_dtype_name(tensor->dtype));
    if (tw_shape_count(&tensor->shape, tensor->dtype, &count, error) != TW_OK) {
        tw_error_prefix(error, "%s", path);
        return TW_INVALID;
    }
    char head[512]; /* 8 dimensions of 20 digits, and 100 bytes */
    size_t length = print_header(descr, &tensor->shape, head, sizeof head);
    tw_file_writer file;
    tw_status status = tw_file_begin(&file, path, error);
    if (status != TW_OK) return status;
    status = tw_file_write(&file, head, length, error);
    if (status == TW_OK) status = tw_file_write(&file, tensor->data, count * tw_dtype_bytes(tensor->dtype), error);
    if (status == TW_OK) return tw_file_commit(&file, error);
    tw_file_discard(&file);
    return status;
}
