/* Opening: map, walk, unpack the slim copy. Tensors: find their numbers, check that they are what the shape asks for,
 * and give a view; only numbers that are stored as varints, or one field an element, are converted. */
#include "onnx/model.h"
#include "formats/file.h"
#include "onnx/external.h"
#include "onnx/wire.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* Memory that tensors own. */
typedef struct block {
    struct block *next;
    void *data;
} block;

struct tw_onnx_model {
    char *path;
    tw_mapping file;
    size_t limit, used, computed; /* bytes; computed: of numbers that follow from the model's */
    bool exhausted;               /* protobuf-c was refused memory */
    char empty[1];                /* every string that is missing */
    Onnx__ModelProto *proto;
    ProtobufCAllocator allocator;
    block *blocks;
    tw_onnx_external external;
    int references; /* atomic */
};

/* ---- memory within the limit ---- */

/* What protobuf-c allocates carries its cost, so that freeing gives it back: the bytes, this, and about as much again
 * that malloc() needs, which counts where a file consists of small messages. */
typedef struct header {
    _Alignas(max_align_t) size_t cost;
} header;

static void *allocate(void *context, size_t bytes)
{
    tw_onnx_model *model = context;
    size_t cost;
    bool fits = tw_checked_add(bytes, 2 * sizeof(header), &cost) && cost <= model->limit - model->used;
    header *made = fits ? malloc(sizeof *made + bytes) : NULL;
    if (!made) {
        model->exhausted = true;
        return NULL;
    }
    made->cost = cost;
    model->used += cost;
    return made + 1;
}

static void release(void *context, void *memory)
{
    tw_onnx_model *model = context;
    if (!memory || memory == model->empty) return;
    header *made = (header *)memory - 1;
    model->used -= made->cost;
    free(made);
}

tw_status tw_onnx_model_charge(tw_onnx_model *model, size_t bytes, tw_error *error)
{
    enum { FREE = 256 << 20, TIMES = 16 };
    size_t files = model->file.bytes + model->external.bytes, most;
    if (!tw_checked_mul(files, TIMES, &most) || !tw_checked_add(most, FREE, &most)) most = SIZE_MAX;
    if (bytes > model->limit - model->used)
        return tw_fail(error, TW_OUT_OF_MEMORY, "the model's constants need more than the limit of %zu bytes",
                       model->limit);
    if (bytes > most - model->computed)
        return tw_fail(error, TW_OUT_OF_MEMORY,
                       "the constants to compute take more than %zu bytes: %d times the model's files and %d", most,
                       TIMES, FREE);
    model->used += bytes;
    model->computed += bytes;
    return TW_OK;
}

static void *allocate_block(tw_onnx_model *model, size_t bytes, tw_error *error)
{
    block *made = bytes <= model->limit - model->used ? malloc(sizeof *made) : NULL;
    if (!made || !(made->data = tw_alloc(bytes))) {
        free(made);
        tw_no_memory(error, bytes, "a tensor");
        return NULL;
    }
    made->next = model->blocks;
    model->blocks = made;
    model->used += bytes;
    return made->data;
}

/* ---- strings that are missing become "" ---- */

static void fill_strings(tw_onnx_model *model, ProtobufCMessage *message)
{
    const ProtobufCMessageDescriptor *type = message->descriptor;
    for (unsigned i = 0; i < type->n_fields; i++) {
        const ProtobufCFieldDescriptor *field = &type->fields[i];
        char *member = (char *)message + field->offset;
        bool shared = field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF; /* one member's memory is the others' */
        if (field->type == PROTOBUF_C_TYPE_STRING && field->label == PROTOBUF_C_LABEL_OPTIONAL && !shared) {
            char **text = (char **)member;
            if (!*text) *text = model->empty;
        } else if (field->type == PROTOBUF_C_TYPE_MESSAGE && field->label == PROTOBUF_C_LABEL_REPEATED) {
            size_t count = *(size_t *)((char *)message + field->quantifier_offset);
            ProtobufCMessage **items = *(ProtobufCMessage ***)member;
            for (size_t j = 0; j < count; j++) fill_strings(model, items[j]);
        } else if (field->type == PROTOBUF_C_TYPE_MESSAGE) {
            bool is_set = !shared || *(uint32_t *)((char *)message + field->quantifier_offset) == field->id;
            ProtobufCMessage *nested = is_set ? *(ProtobufCMessage **)member : NULL;
            if (nested) fill_strings(model, nested);
        }
    }
}

/* ---- opening ---- */

static tw_status unpack(tw_onnx_model *model, tw_error *error)
{
    uint8_t *slim;
    size_t bytes;
    if (model->file.bytes == 0) return tw_fail(error, TW_INVALID, "not an ONNX model: the file is empty");
    tw_status status = tw_onnx_slim(model->file.data, model->file.bytes, model->limit, &slim, &bytes, error);
    if (status != TW_OK) return status;
    model->allocator = (ProtobufCAllocator){allocate, release, model};
    model->used += bytes;
    model->proto = onnx__model_proto__unpack(&model->allocator, bytes, slim);
    model->used -= bytes;
    free(slim);
    if (!model->proto && model->exhausted)
        return tw_fail(error, TW_OUT_OF_MEMORY, "the model's nodes take more than the limit of %zu bytes",
                       model->limit);
    if (!model->proto) return tw_fail(error, TW_INVALID, "not an ONNX model, or damaged: a field has the wrong type");
    if (!model->proto->graph) return tw_fail(error, TW_INVALID, "not an ONNX model: it holds no graph");
    fill_strings(model, &model->proto->base);
    return TW_OK;
}

tw_status tw_onnx_model_open(const char *path, size_t limit, tw_onnx_model **out, tw_error *error)
{
    *out = NULL;
    tw_onnx_model *model = calloc(1, sizeof *model);
    if (!model) return tw_no_memory(error, sizeof *model, "a model");
    model->references = 1;
    model->limit = limit;
    model->path = tw_strdup(path);
    tw_status status = model->path ? tw_file_map(path, &model->file, error) : tw_no_memory(error, 0, "a path");
    if (status == TW_OK && (status = unpack(model, error)) != TW_OK) tw_error_prefix(error, "%s", path);
    if (status != TW_OK)
        tw_onnx_model_release(model);
    else
        *out = model;
    return status;
}

void tw_onnx_model_retain(tw_onnx_model *model)
{
    __atomic_add_fetch(&model->references, 1, __ATOMIC_RELAXED);
}

void tw_onnx_model_release(tw_onnx_model *model)
{
    if (!model || __atomic_sub_fetch(&model->references, 1, __ATOMIC_ACQ_REL) != 0) return;
    if (model->proto) onnx__model_proto__free_unpacked(model->proto, &model->allocator);
    while (model->blocks) {
        block *next = model->blocks->next;
        free(model->blocks->data);
        free(model->blocks);
        model->blocks = next;
    }
    tw_onnx_external_close(&model->external);
    if (model->file.data) tw_file_unmap(&model->file);
    free(model->path);
    free(model);
}

const Onnx__ModelProto *tw_onnx_model_proto(const tw_onnx_model *model)
{
    return model->proto;
}

/* ---- what a tensor is ---- */

static tw_dtype dtype_of(int32_t type)
{
    switch (type) {
    case ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT: return TW_F32;
    case ONNX__TENSOR_PROTO__DATA_TYPE__UINT8: return TW_U8;
    case ONNX__TENSOR_PROTO__DATA_TYPE__INT8: return TW_I8;
    case ONNX__TENSOR_PROTO__DATA_TYPE__INT16: return TW_I16;
    case ONNX__TENSOR_PROTO__DATA_TYPE__INT32: return TW_I32;
    case ONNX__TENSOR_PROTO__DATA_TYPE__INT64: return TW_I64;
    case ONNX__TENSOR_PROTO__DATA_TYPE__BOOL: return TW_BOOL;
    case ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT16: return TW_F16;
    case ONNX__TENSOR_PROTO__DATA_TYPE__DOUBLE: return TW_F64;
    case ONNX__TENSOR_PROTO__DATA_TYPE__BFLOAT16: return TW_BF16;
    default: return TW_ABSENT;
    }
}

static tw_status describe(const Onnx__TensorProto *proto, tw_tensor *view, size_t *count, tw_error *error)
{
    *view = (tw_tensor){.dtype = dtype_of(proto->data_type)};
    if (view->dtype == TW_ABSENT)
        return tw_fail(error, TW_INVALID,
                       "element type %d: expected float, float16, bfloat16, double, bool or an "
                       "integer of up to 64 bits, not unsigned beyond 8",
                       (int)proto->data_type);
    if (proto->n_dims > TW_MAX_RANK)
        return tw_fail(error, TW_INVALID, "%zu dimensions, expected at most %d", proto->n_dims, TW_MAX_RANK);
    if (proto->segment) return tw_fail(error, TW_INVALID, "stored in segments, which is not supported");
    view->shape.rank = (int)proto->n_dims;
    for (size_t i = 0; i < proto->n_dims; i++) view->shape.dims[i] = proto->dims[i];
    return tw_shape_count(&view->shape, view->dtype, count, error);
}

/* ---- where its numbers are ---- */

static tw_status wrong_size(size_t found, size_t wanted, const char *unit, tw_error *error)
{
    return tw_fail(error, TW_INVALID, "%zu %s of data, where its shape asks for %zu", found, unit, wanted);
}

/* "offset" and "length" of external data. */
static bool parse_size(const char *text, size_t *value)
{
    char *end;
    if (*text < '0' || *text > '9') return false;
    errno = 0;
    unsigned long long parsed = strtoull(text, &end, 10);
    *value = (size_t)parsed;
    return errno == 0 && *end == 0;
}

/* Protobuf aligns nothing, and kernels want floats on 4 bytes: such a tensor is copied. The file's pages go back to the
 * system on the way, so that the process never holds both. */
static tw_status align_floats(tw_onnx_model *model, tw_tensor *view, size_t bytes, tw_error *error)
{
    enum { CHUNK = 8 << 20 };
    const char *from = view->data;
    if (view->dtype != TW_F32 || (uintptr_t)from % sizeof(float) == 0) return TW_OK;
    char *to = allocate_block(model, bytes, error);
    if (!to) return TW_OUT_OF_MEMORY;
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    for (size_t at = 0; at < bytes; at += CHUNK) {
        size_t count = bytes - at < CHUNK ? bytes - at : CHUNK;
        memcpy(to + at, from + at, count);
        uintptr_t first = ((uintptr_t)from + at + page - 1) / page * page,
                  last = ((uintptr_t)from + at + count) / page * page;
        if (first < last) madvise((void *)first, last - first, MADV_DONTNEED);
    }
    view->data = to;
    return TW_OK;
}

static tw_status external_view(tw_onnx_model *model, const Onnx__TensorProto *proto, size_t bytes, tw_tensor *view,
                               tw_error *error)
{
    const char *location = NULL;
    size_t offset = 0, length = bytes;
    for (size_t i = 0; i < proto->n_external_data; i++) {
        const char *key = proto->external_data[i]->key, *value = proto->external_data[i]->value;
        bool fine = true;
        if (strcmp(key, "location") == 0) location = value;
        if (strcmp(key, "offset") == 0) fine = parse_size(value, &offset);
        if (strcmp(key, "length") == 0) fine = parse_size(value, &length);
        if (!fine) return tw_fail(error, TW_INVALID, "external data's %s is \"%.40s\", expected bytes", key, value);
    }
    if (!location) return tw_fail(error, TW_INVALID, "external data without a location");
    tw_mapping file;
    tw_status status = tw_onnx_external_open(&model->external, model->path, location, &file, error);
    if (status != TW_OK) return status;
    if (length != bytes) return wrong_size(length, bytes, "bytes", error);
    if (offset > file.bytes || length > file.bytes - offset)
        return tw_fail(error, TW_INVALID, "external data at byte %zu, %zu long, of \"%.200s\", which has %zu bytes",
                       offset, length, location, file.bytes);
    view->data = (void *)(file.data + offset);
    return align_floats(model, view, bytes, error);
}

/* int32_data also holds the narrow types, float16 and bfloat16 as their bits. */
static bool narrow(int64_t value, tw_dtype dtype, void *to)
{
    switch (dtype) {
    case TW_I8: *(int8_t *)to = (int8_t)value; return value >= INT8_MIN && value <= INT8_MAX;
    case TW_U8: *(uint8_t *)to = (uint8_t)value; return value >= 0 && value <= UINT8_MAX;
    case TW_BOOL: *(uint8_t *)to = value != 0; return value >= 0 && value <= 1;
    case TW_I16: *(int16_t *)to = (int16_t)value; return value >= INT16_MIN && value <= INT16_MAX;
    case TW_F16:
    case TW_BF16: *(uint16_t *)to = (uint16_t)value; return value >= 0 && value <= UINT16_MAX;
    case TW_I32: *(int32_t *)to = (int32_t)value; return value >= INT32_MIN && value <= INT32_MAX;
    case TW_I64: *(int64_t *)to = value; return true;
    default: return false;
    }
}

/* The integers of int32_data or int64_data, from varints in the file or from protobuf-c's array. */
typedef struct integers {
    const uint8_t *at, *end; /* varints, or null */
    bool is_int32;           /* of which a varint's upper half says nothing */
    const int32_t *narrow;
    const int64_t *wide;
    size_t count; /* of an array */
} integers;

static bool next_integer(integers *from, size_t index, int64_t *value)
{
    uint64_t bits;
    if (from->at) {
        if (!tw_onnx_varint(&from->at, from->end, &bits)) return false;
        *value = from->is_int32 ? (int32_t)bits : (int64_t)bits;
        return true;
    }
    if (from->narrow)
        *value = from->narrow[index];
    else if (from->wide)
        *value = from->wide[index];
    return from->narrow || from->wide;
}

static tw_status convert(tw_onnx_model *model, integers from, size_t count, tw_tensor *view, tw_error *error)
{
    size_t size = tw_dtype_bytes(view->dtype);
    /* A varint takes a byte at least, so a short file cannot ask for much memory. */
    size_t available = from.at ? (size_t)(from.end - from.at) : from.count;
    if (from.at ? available < count : available != count) return wrong_size(available, count, "numbers", error);
    char *to = allocate_block(model, count * size, error);
    if (!to) return TW_OUT_OF_MEMORY;
    for (size_t i = 0; i < count; i++) {
        int64_t value = 0;
        if (!next_integer(&from, i, &value)) return tw_fail(error, TW_INVALID, "its integers end early");
        if (!narrow(value, view->dtype, to + i * size))
            return tw_fail(error, TW_INVALID, "number %zu, %lld, is no %s", i, (long long)value,
                           tw_dtype_name(view->dtype));
    }
    if (from.at && from.at != from.end) return tw_fail(error, TW_INVALID, "more numbers than its shape asks for");
    view->data = to;
    return TW_OK;
}

static bool is_narrow(tw_dtype dtype)
{
    return dtype == TW_I8 || dtype == TW_U8 || dtype == TW_BOOL || dtype == TW_I16 || dtype == TW_F16 ||
           dtype == TW_BF16 || dtype == TW_I32;
}

/* Does a field of the message hold elements of this type (onnx.proto, TensorProto)? */
static bool field_holds(uint32_t field, tw_dtype dtype)
{
    switch (field) {
    case 9: return true;
    case 4: return dtype == TW_F32;
    case 10: return dtype == TW_F64;
    case 5: return is_narrow(dtype);
    case 7: return dtype == TW_I64;
    default: return false;
    }
}

static tw_status placed_view(tw_onnx_model *model, const tw_onnx_place *place, size_t count, tw_tensor *view,
                             tw_error *error)
{
    const uint8_t *data = model->file.data + place->offset;
    if (!field_holds(place->field, view->dtype))
        return tw_fail(error, TW_INVALID, "its data is in a field that does not hold %s", tw_dtype_name(view->dtype));
    if (place->field == 5 || place->field == 7)
        return convert(model, (integers){.at = data, .end = data + place->bytes, .is_int32 = place->field == 5}, count,
                       view, error);
    size_t bytes = count * tw_dtype_bytes(view->dtype);
    if (place->bytes != bytes) return wrong_size(place->bytes, bytes, "bytes", error);
    view->data = (void *)data;
    return align_floats(model, view, bytes, error);
}

/* Numbers that were stored one field each, which protobuf-c has put into arrays. */
static tw_status array_view(tw_onnx_model *model, const Onnx__TensorProto *proto, size_t count, tw_tensor *view,
                            tw_error *error)
{
    if (proto->n_int32_data && field_holds(5, view->dtype))
        return convert(model, (integers){.narrow = proto->int32_data, .count = proto->n_int32_data}, count, view,
                       error);
    size_t found = 0;
    if (view->dtype == TW_F32) {
        found = proto->n_float_data;
        view->data = proto->float_data;
    } else if (view->dtype == TW_F64) {
        found = proto->n_double_data;
        view->data = proto->double_data;
    } else if (view->dtype == TW_I64) {
        found = proto->n_int64_data;
        view->data = proto->int64_data;
    }
    if (found != count) return wrong_size(found, count, "numbers", error);
    if (!view->data) view->data = model->path; /* no elements: any address but null */
    return TW_OK;
}

static tw_status find_numbers(tw_onnx_model *model, const Onnx__TensorProto *proto, size_t count, tw_tensor *view,
                              tw_error *error)
{
    size_t arrays =
        proto->n_float_data + proto->n_int32_data + proto->n_int64_data + proto->n_double_data + proto->n_uint64_data;
    bool external = proto->data_location == ONNX__TENSOR_PROTO__DATA_LOCATION__EXTERNAL;
    if ((arrays > 0) + proto->has_raw_data + external > 1)
        return tw_fail(error, TW_INVALID, "its data is there more than once");
    if (external) return external_view(model, proto, count * tw_dtype_bytes(view->dtype), view, error);
    if (!proto->has_raw_data) return array_view(model, proto, count, view, error);
    tw_onnx_place place;
    if (proto->raw_data.len != sizeof place) return tw_fail(error, TW_FAILED, "its place in the file was lost");
    memcpy(&place, proto->raw_data.data, sizeof place);
    return placed_view(model, &place, count, view, error);
}

tw_status tw_onnx_model_tensor(tw_onnx_model *model, const Onnx__TensorProto *proto, tw_tensor *view, tw_error *error)
{
    size_t count = 0;
    tw_status status = describe(proto, view, &count, error);
    if (status == TW_OK) status = find_numbers(model, proto, count, view, error);
    if (status != TW_OK) tw_error_prefix(error, "tensor \"%.100s\"", proto->name);
    return status;
}
