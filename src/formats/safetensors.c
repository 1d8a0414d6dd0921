/* Safetensors: 8 bytes of length, a JSON header of that length, then the tensors' data without holes
 * (https://github.com/huggingface/safetensors, "Format"). Reading checks what the official reader checks: the header's
 * bound, names, types, and that shapes and offsets agree and cover the data exactly. Writing gives the official
 * writer's order, larger elements first and then by name, which keeps every tensor aligned to its element. */
#include "formats/weights_formats.h"

#include <cjson/cJSON.h>
#include <stdlib.h>
#include <string.h>

enum { PREFIX = 8, MAX_HEADER = 100000000, MAX_VALUES = 4 << 20, HEADER_ALIGNMENT = 8 };

static const struct {
    const char *name;
    tw_dtype dtype;
} dtypes[] = {
    {"F32", TW_F32}, {"F16", TW_F16}, {"BF16", TW_BF16}, {"F64", TW_F64}, {"I64", TW_I64},
    {"I32", TW_I32}, {"I16", TW_I16}, {"I8", TW_I8},     {"U8", TW_U8},   {"BOOL", TW_BOOL},
};

/* Well-formed UTF-8 without zero bytes (RFC 3629): no overlong forms, surrogates or numbers above U+10FFFF. */
static bool is_text(const uint8_t *bytes, size_t count)
{
    for (size_t i = 0; i < count;) {
        uint8_t first = bytes[i++];
        int more = first < 0x80 ? 0 : first < 0xc2 ? -1 : first < 0xe0 ? 1 : first < 0xf0 ? 2 : first < 0xf5 ? 3 : -1;
        if (first == 0 || more < 0 || (size_t)more > count - i) return false;
        if (more == 0) continue;
        uint8_t low = first == 0xe0 ? 0xa0 : first == 0xf0 ? 0x90 : 0x80;
        uint8_t high = first == 0xed ? 0x9f : first == 0xf4 ? 0x8f : 0xbf;
        if (bytes[i] < low || bytes[i] > high) return false;
        for (int k = 1; k < more; k++)
            if ((bytes[i + (size_t)k] & 0xc0) != 0x80) return false;
        i += (size_t)more;
    }
    return true;
}

/* ---- reading ---- */

typedef struct extent {
    uint64_t begin, end; /* from the data's first byte */
    const char *name;
} extent;

/* What the weights keep: the file and the names. */
typedef struct opened {
    tw_mapping file;
    cJSON *header;
} opened;

typedef struct reader {
    const char *path;
    const uint8_t *data; /* after the header */
    uint64_t bytes;      /* of data */
    cJSON *header;
    tw_named_tensor *tensors; /* [count] */
    extent *extents;          /* [count] */
    size_t count;
    tw_error *error;
} reader;

static tw_status bad_tensor(const reader *from, const char *name, const char *what)
{
    return tw_fail(from->error, TW_INVALID, "%s: tensor \"%.200s\": %s", from->path, name, what);
}

/* A whole number of at least 0 that JSON's doubles hold exactly. */
static bool whole(const cJSON *item, uint64_t *number)
{
    const double most = 9007199254740992.0;
    if (!cJSON_IsNumber(item) || !(item->valuedouble >= 0 && item->valuedouble < most)) return false;
    *number = (uint64_t)item->valuedouble;
    return (double)*number == item->valuedouble;
}

static tw_status read_dtype(const reader *from, const char *name, const cJSON *item, tw_dtype *dtype)
{
    if (!item || !cJSON_IsString(item)) return bad_tensor(from, name, "no dtype");
    for (size_t i = 0; i < sizeof dtypes / sizeof *dtypes; i++)
        if (strcmp(item->valuestring, dtypes[i].name) == 0) {
            *dtype = dtypes[i].dtype;
            return TW_OK;
        }
    return tw_fail(from->error, TW_INVALID, "%s: tensor \"%.200s\": dtype %.20s is not supported", from->path, name,
                   item->valuestring);
}

static tw_status read_shape(const reader *from, const char *name, const cJSON *item, tw_shape *shape)
{
    if (!item || !cJSON_IsArray(item)) return bad_tensor(from, name, "no shape");
    *shape = (tw_shape){0};
    for (const cJSON *dim = item->child; dim; dim = dim->next) {
        uint64_t size;
        if (shape->rank == TW_MAX_RANK) return bad_tensor(from, name, "a shape of more than 8 dimensions");
        if (!whole(dim, &size)) return bad_tensor(from, name, "a dimension that is not a whole number");
        shape->dims[shape->rank++] = (int64_t)size;
    }
    return TW_OK;
}

static tw_status read_extent(const reader *from, const char *name, const cJSON *item, extent *at)
{
    const cJSON *begin = item && cJSON_IsArray(item) ? item->child : NULL, *end = begin ? begin->next : NULL;
    if (!end || end->next || !whole(begin, &at->begin) || !whole(end, &at->end))
        return bad_tensor(from, name, "no pair of data_offsets");
    if (at->begin > at->end || at->end > from->bytes)
        return tw_fail(from->error, TW_INVALID,
                       "%s: tensor \"%.200s\": data_offsets [%llu, %llu] do not lie within %llu bytes of data",
                       from->path, name, (unsigned long long)at->begin, (unsigned long long)at->end,
                       (unsigned long long)from->bytes);
    at->name = name;
    return TW_OK;
}

/* The three fields, each once and nothing else. */
static bool find_fields(const cJSON *item, const cJSON *fields[3])
{
    static const char *const names[] = {"dtype", "shape", "data_offsets"};
    if (!cJSON_IsObject(item)) return false;
    for (const cJSON *field = item->child; field; field = field->next) {
        int i = 0;
        while (i < 3 && strcmp(field->string, names[i]) != 0) i++;
        if (i == 3 || fields[i]) return false;
        fields[i] = field;
    }
    return fields[0] && fields[1] && fields[2];
}

static tw_status read_tensor(reader *from, const cJSON *item)
{
    const char *name = item->string;
    const cJSON *fields[3] = {0};
    if (!find_fields(item, fields)) return bad_tensor(from, name, "expected dtype, shape and data_offsets");
    tw_tensor view = {0};
    extent at = {0};
    size_t count = 0;
    tw_status status = read_dtype(from, name, fields[0], &view.dtype);
    if (status == TW_OK) status = read_shape(from, name, fields[1], &view.shape);
    if (status == TW_OK) status = read_extent(from, name, fields[2], &at);
    if (status != TW_OK) return status;
    if (tw_shape_count(&view.shape, view.dtype, &count, from->error) != TW_OK) {
        tw_error_prefix(from->error, "%s: tensor \"%.200s\"", from->path, name);
        return TW_INVALID;
    }
    if (count * tw_dtype_bytes(view.dtype) != at.end - at.begin)
        return tw_fail(from->error, TW_INVALID, "%s: tensor \"%.200s\": %llu bytes of data, but its shape has %zu",
                       from->path, name, (unsigned long long)(at.end - at.begin), count * tw_dtype_bytes(view.dtype));
    view.data = (void *)(from->data + at.begin);
    from->tensors[from->count] = (tw_named_tensor){name, view};
    from->extents[from->count++] = at;
    return TW_OK;
}

static int compare_extents(const void *a, const void *b)
{
    const extent *left = a, *right = b;
    if (left->begin != right->begin) return left->begin < right->begin ? -1 : 1;
    return (left->end > right->end) - (left->end < right->end);
}

/* No two tensors share bytes, and no byte belongs to none: nothing can hide in the file. */
static tw_status check_cover(reader *from)
{
    qsort(from->extents, from->count, sizeof *from->extents, compare_extents);
    uint64_t end = 0;
    for (size_t i = 0; i < from->count; i++) {
        const extent *at = &from->extents[i];
        if (at->begin != end)
            return tw_fail(from->error, TW_INVALID,
                           "%s: tensor \"%.200s\" begins at byte %llu of the data, expected %llu", from->path, at->name,
                           (unsigned long long)at->begin, (unsigned long long)end);
        end = at->end;
    }
    if (end != from->bytes)
        return tw_fail(from->error, TW_INVALID, "%s: %llu bytes of data, but the tensors have %llu", from->path,
                       (unsigned long long)from->bytes, (unsigned long long)end);
    return TW_OK;
}

static tw_status read_tensors(reader *from)
{
    size_t most = (size_t)cJSON_GetArraySize(from->header) + 1; /* an object's fields, too; never zero */
    from->tensors = calloc(most, sizeof *from->tensors);
    from->extents = calloc(most, sizeof *from->extents);
    if (!from->tensors || !from->extents) return tw_no_memory(from->error, most * sizeof *from->tensors, "tensors");
    for (const cJSON *item = from->header->child; item; item = item->next) {
        if (strcmp(item->string, "__metadata__") == 0) continue;
        tw_status status = read_tensor(from, item);
        if (status != TW_OK) return status;
    }
    return check_cover(from);
}

/* cJSON takes some 80 bytes for each value, so their number is bounded before it begins. */
static bool few_values(const char *json, size_t length)
{
    size_t values = 1;
    for (size_t i = 0; i < length; i++) values += json[i] == ',' || json[i] == ':' || json[i] == '[' || json[i] == '{';
    return values <= MAX_VALUES;
}

static tw_status parse_header(reader *from, const char *json, size_t length)
{
    if (!is_text((const uint8_t *)json, length) || memmem(json, length, "\\u0000", 6))
        return tw_fail(from->error, TW_INVALID, "%s: the safetensors header is not UTF-8 text", from->path);
    if (!few_values(json, length))
        return tw_fail(from->error, TW_INVALID, "%s: the safetensors header has more than %d values", from->path,
                       MAX_VALUES);
    const char *end = NULL;
    from->header = cJSON_ParseWithLengthOpts(json, length, &end, false);
    while (from->header && end < json + length && *end == ' ') end++;
    if (!from->header || !cJSON_IsObject(from->header) || end != json + length)
        return tw_fail(from->error, TW_INVALID, "%s: the safetensors header is not a JSON object, at byte %zu",
                       from->path, PREFIX + (end ? (size_t)(end - json) : 0));
    return TW_OK;
}

static tw_status read_header(reader *from, const tw_mapping *file)
{
    uint64_t length = 0;
    for (int i = 0; i < PREFIX; i++) length |= (uint64_t)file->data[i] << 8 * i;
    if (length > MAX_HEADER)
        return tw_fail(from->error, TW_INVALID, "%s: a safetensors header of %llu bytes, expected at most %d",
                       from->path, (unsigned long long)length, MAX_HEADER);
    if (length > file->bytes - PREFIX)
        return tw_fail(from->error, TW_INVALID, "%s: truncated: %zu bytes, and the safetensors header alone has %llu",
                       from->path, file->bytes, (unsigned long long)length);
    from->data = file->data + PREFIX + length;
    from->bytes = file->bytes - PREFIX - length;
    return parse_header(from, (const char *)file->data + PREFIX, (size_t)length);
}

static void close_file(void *owner)
{
    opened *file = owner;
    tw_file_unmap(&file->file);
    cJSON_Delete(file->header);
    free(file);
}

static tw_status make_weights(const reader *from, const tw_mapping *file, tw_weights **weights)
{
    opened *owner = malloc(sizeof *owner);
    if (!owner) return tw_no_memory(from->error, sizeof *owner, "weights");
    *owner = (opened){*file, from->header};
    tw_weights_source source = {from->tensors, from->count, owner, close_file};
    tw_status status = tw_weights_create(&source, weights, from->error);
    if (status != TW_OK) {
        free(owner);
        tw_error_prefix(from->error, "%s", from->path);
    }
    return status;
}

tw_status tw_safetensors_open(const char *path, const tw_mapping *file, tw_weights **weights, tw_error *error)
{
    reader from = {.path = path, .error = error};
    *weights = NULL;
    if (file->bytes < PREFIX)
        return tw_fail(error, TW_INVALID, "%s: truncated: %zu bytes, a safetensors file has at least 8", path,
                       file->bytes);
    tw_status status = read_header(&from, file);
    if (status == TW_OK) status = read_tensors(&from);
    if (status == TW_OK) status = make_weights(&from, file, weights);
    if (status != TW_OK) cJSON_Delete(from.header);
    free(from.tensors);
    free(from.extents);
    return status;
}

/* ---- writing ---- */

typedef struct entry {
    const char *name;
    const tw_tensor *tensor;
    size_t bytes;
} entry;

static int compare_entries(const void *a, const void *b)
{
    const entry *left = a, *right = b;
    size_t wide = tw_dtype_bytes(left->tensor->dtype), other = tw_dtype_bytes(right->tensor->dtype);
    if (wide != other) return wide > other ? -1 : 1;
    return strcmp(left->name, right->name);
}

static const char *dtype_code(tw_dtype dtype)
{
    if (dtype == TW_TF32) return "F32"; /* float32 in memory */
    for (size_t i = 0; i < sizeof dtypes / sizeof *dtypes; i++)
        if (dtypes[i].dtype == dtype) return dtypes[i].name;
    return NULL;
}

static tw_status check_entry(const char *path, entry *item, tw_error *error)
{
    size_t count = 0;
    if (!is_text((const uint8_t *)item->name, strlen(item->name)) || strcmp(item->name, "__metadata__") == 0)
        return tw_fail(error, TW_INVALID, "%s: \"%.200s\" cannot be a tensor's name", path, item->name);
    if (!dtype_code(item->tensor->dtype))
        return tw_fail(error, TW_INVALID, "%s: tensor \"%.200s\" has no type", path, item->name);
    if (tw_shape_count(&item->tensor->shape, item->tensor->dtype, &count, error) != TW_OK) {
        tw_error_prefix(error, "%s: tensor \"%.200s\"", path, item->name);
        return TW_INVALID;
    }
    item->bytes = count * tw_dtype_bytes(item->tensor->dtype);
    if (item->bytes && !item->tensor->data)
        return tw_fail(error, TW_INVALID, "%s: tensor \"%.200s\" has no data", path, item->name);
    return TW_OK;
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(((const entry *)a)->name, ((const entry *)b)->name);
}

static tw_status sort_entries(const char *path, entry *entries, size_t count, tw_error *error)
{
    for (size_t i = 0; i < count; i++) {
        tw_status status = check_entry(path, &entries[i], error);
        if (status != TW_OK) return status;
    }
    qsort(entries, count, sizeof *entries, compare_names); /* shows repetitions, which the file's order may part */
    for (size_t i = 1; i < count; i++)
        if (strcmp(entries[i - 1].name, entries[i].name) == 0)
            return tw_fail(error, TW_INVALID, "%s: two tensors are called \"%.200s\"", path, entries[i].name);
    qsort(entries, count, sizeof *entries, compare_entries);
    return TW_OK;
}

static bool add_entry(cJSON *header, const entry *item, size_t begin)
{
    cJSON *object = cJSON_AddObjectToObject(header, item->name);
    if (!object || !cJSON_AddStringToObject(object, "dtype", dtype_code(item->tensor->dtype))) return false;
    double dims[TW_MAX_RANK], offsets[] = {(double)begin, (double)(begin + item->bytes)};
    for (int i = 0; i < item->tensor->shape.rank; i++) dims[i] = (double)item->tensor->shape.dims[i];
    cJSON *shape = cJSON_CreateDoubleArray(dims, item->tensor->shape.rank);
    if (!shape || !cJSON_AddItemToObject(object, "shape", shape)) return false;
    cJSON *range = cJSON_CreateDoubleArray(offsets, 2);
    return range && cJSON_AddItemToObject(object, "data_offsets", range);
}

/* The header's text, from malloc; null where there is no memory. */
static char *print_header(const entry *entries, size_t count)
{
    cJSON *header = cJSON_CreateObject();
    bool complete = header;
    size_t begin = 0;
    for (size_t i = 0; complete && i < count; i++) {
        complete = add_entry(header, &entries[i], begin);
        begin += entries[i].bytes;
    }
    char *text = complete ? cJSON_PrintUnformatted(header) : NULL;
    cJSON_Delete(header);
    return text;
}

static tw_status write_file(const char *path, const char *header, const entry *entries, size_t count, tw_error *error)
{
    size_t length = strlen(header), padding = (HEADER_ALIGNMENT - length % HEADER_ALIGNMENT) % HEADER_ALIGNMENT;
    if (length + padding > MAX_HEADER)
        return tw_fail(error, TW_INVALID, "%s: a safetensors header of %zu bytes, expected at most %d", path, length,
                       MAX_HEADER);
    uint8_t prefix[PREFIX];
    for (int i = 0; i < PREFIX; i++) prefix[i] = (uint8_t)((uint64_t)(length + padding) >> 8 * i);
    tw_file_writer file;
    tw_status status = tw_file_begin(&file, path, error);
    if (status != TW_OK) return status;
    status = tw_file_write(&file, prefix, PREFIX, error);
    if (status == TW_OK) status = tw_file_write(&file, header, length, error);
    if (status == TW_OK) status = tw_file_write(&file, "        ", padding, error);
    for (size_t i = 0; status == TW_OK && i < count; i++)
        status = tw_file_write(&file, entries[i].tensor->data, entries[i].bytes, error);
    if (status == TW_OK) return tw_file_commit(&file, error);
    tw_file_discard(&file);
    return status;
}

tw_status tw_safetensors_write(const char *path, const char *const *names, const tw_tensor *tensors, size_t count,
                               tw_error *error)
{
    entry *entries = calloc(count ? count : 1, sizeof *entries);
    if (!entries) return tw_no_memory(error, count * sizeof *entries, "a table of tensors");
    for (size_t i = 0; i < count; i++) entries[i] = (entry){names[i], &tensors[i], 0};
    tw_status status = sort_entries(path, entries, count, error);
    if (status == TW_OK) {
        char *header = print_header(entries, count);
        status =
            header ? write_file(path, header, entries, count, error) : tw_no_memory(error, 0, "a safetensors header");
        cJSON_free(header);
    }
    free(entries);
    return status;
}
