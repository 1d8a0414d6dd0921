/* Two passes over the same walk: the first checks everything and notes the slim size of each message in the order of
 * their beginnings, the second writes, taking the sizes in that order. Both are linear in the file's structure and skip
 * tensors' numbers without touching them. */
#include "onnx/wire.h"

#include <stdlib.h>
#include <string.h>

enum { WIRE_VARINT = 0, WIRE_64 = 1, WIRE_BYTES = 2, WIRE_32 = 5, RAW_DATA = 9 };

typedef struct walk {
    const uint8_t *file;
    size_t *sizes;             /* of messages, the outermost first */
    size_t messages, capacity; /* of the sizes; in the second pass the capacity is what the first one noted */
    uint8_t *out, *out_end;    /* null in the first pass */
    size_t limit;
    tw_error *error;
} walk;

/* One field: its number, its wire type, and its payload. */
typedef struct field {
    const uint8_t *start, *payload, *end; /* start: the tag */
    uint32_t number;
    int wire;
} field;

bool tw_onnx_varint(const uint8_t **at, const uint8_t *end, uint64_t *value)
{
    *value = 0;
    for (int shift = 0; shift < 70 && *at < end; shift += 7) {
        uint8_t byte = *(*at)++;
        if (shift == 63 && byte > 1) return false;
        *value |= (uint64_t)(byte & 0x7f) << shift;
        if (byte < 0x80) return true;
    }
    return false;
}

static tw_status damaged(const walk *w, const uint8_t *at, const char *what)
{
    return tw_fail(w->error, TW_INVALID, "not an ONNX model, or damaged: %s at byte %zu", what, (size_t)(at - w->file));
}

static tw_status read_field(const walk *w, const uint8_t *at, const uint8_t *end, field *f)
{
    uint64_t tag, length = 0;
    *f = (field){.start = at};
    if (!tw_onnx_varint(&at, end, &tag) || tag >> 3 == 0 || tag >> 3 > 0x1fffffff)
        return damaged(w, f->start, "no field's number and type");
    f->number = (uint32_t)(tag >> 3);
    f->wire = (int)(tag & 7);
    f->payload = at;
    switch (f->wire) {
    case WIRE_VARINT:
        if (!tw_onnx_varint(&at, end, &length)) return damaged(w, f->payload, "a number is cut off");
        f->end = at;
        return TW_OK;
    case WIRE_64: length = 8; break;
    case WIRE_32: length = 4; break;
    case WIRE_BYTES:
        if (!tw_onnx_varint(&at, end, &length)) return damaged(w, f->payload, "a length is cut off");
        f->payload = at;
        break;
    default: return damaged(w, f->start, "a field of an unknown or obsolete type");
    }
    if (length > (uint64_t)(end - f->payload)) return damaged(w, f->start, "a field longer than what holds it");
    f->end = f->payload + length;
    return TW_OK;
}

static size_t varint_bytes(uint64_t value)
{
    size_t bytes = 1;
    for (; value >= 0x80; value >>= 7) bytes++;
    return bytes;
}

/* What does not fit is dropped: the sizes will show that the file is not what it was in the first pass. */
static void put(walk *w, const void *bytes, size_t count)
{
    if (count > (size_t)(w->out_end - w->out)) return;
    if (count) memcpy(w->out, bytes, count);
    w->out += count;
}

static void put_varint(walk *w, uint64_t value)
{
    uint8_t bytes[10];
    size_t count = 0;
    for (; value >= 0x80; value >>= 7) bytes[count++] = (uint8_t)(value | 0x80);
    bytes[count++] = (uint8_t)value;
    put(w, bytes, count);
}

/* The file is mapped, and another process may be writing to it. */
static tw_status changed(const walk *w)
{
    return tw_fail(w->error, TW_INVALID, "the file changed while it was read");
}

/* ---- fields ---- */

static bool holds_numbers(const ProtobufCMessageDescriptor *type, const field *f)
{
    if (type != &onnx__tensor_proto__descriptor || f->wire != WIRE_BYTES || f->payload == f->end) return false;
    return f->number == 4 || f->number == 5 || f->number == 7 || (f->number >= RAW_DATA && f->number <= 11);
}

static size_t place_numbers(walk *w, const field *f)
{
    const tw_onnx_place place = {(uint64_t)(f->payload - w->file), (uint64_t)(f->end - f->payload), f->number, 0};
    if (w->out) {
        put_varint(w, RAW_DATA << 3 | WIRE_BYTES);
        put_varint(w, sizeof place);
        put(w, &place, sizeof place);
    }
    return 2 + sizeof place;
}

static tw_status note_message(walk *w)
{
    if (w->messages == TW_ONNX_MAX_MESSAGES)
        return tw_fail(w->error, TW_INVALID, "more than %d parts: nodes, tensors and attributes together",
                       TW_ONNX_MAX_MESSAGES);
    if (w->messages == w->capacity) {
        size_t capacity = w->capacity ? 2 * w->capacity : 256, *larger = NULL;
        if (capacity * sizeof *larger <= w->limit) larger = realloc(w->sizes, capacity * sizeof *larger);
        if (!larger) return tw_no_memory(w->error, capacity * sizeof *larger, "a model's parts");
        w->sizes = larger;
        w->capacity = capacity;
    }
    w->messages++;
    return TW_OK;
}

static tw_status walk_message(walk *w, const ProtobufCMessageDescriptor *type, const field *all, int depth);

static tw_status walk_nested(walk *w, const ProtobufCMessageDescriptor *type, const field *f, int depth, size_t *bytes)
{
    size_t index = w->messages;
    if (w->out) {
        if (index == w->capacity) return changed(w);
        put_varint(w, (uint64_t)f->number << 3 | WIRE_BYTES);
        put_varint(w, w->sizes[index]);
    }
    tw_status status = walk_message(w, type, f, depth + 1);
    if (status != TW_OK) return status;
    *bytes = varint_bytes((uint64_t)f->number << 3) + varint_bytes(w->sizes[index]) + w->sizes[index];
    return TW_OK;
}

/* Leaves in *bytes what the field takes in the copy. */
static tw_status walk_field(walk *w, const ProtobufCMessageDescriptor *type, const field *f, int depth, size_t *bytes)
{
    const ProtobufCFieldDescriptor *known = protobuf_c_message_descriptor_get_field(type, f->number);
    *bytes = 0;
    if (!known) return TW_OK;
    if (holds_numbers(type, f)) {
        *bytes = place_numbers(w, f);
        return TW_OK;
    }
    if (type == &onnx__tensor_proto__descriptor && f->number == RAW_DATA)
        return f->wire == WIRE_BYTES ? TW_OK : damaged(w, f->start, "raw_data that is not bytes");
    if (known->type == PROTOBUF_C_TYPE_MESSAGE) {
        if (f->wire != WIRE_BYTES) return damaged(w, f->start, "a number where a message is expected");
        return walk_nested(w, known->descriptor, f, depth, bytes);
    }
    *bytes = (size_t)(f->end - f->start);
    if (w->out) put(w, f->start, *bytes);
    return TW_OK;
}

/* What may come once only. Protobuf would have the last of several numbers, but the pieces of a message merged:
 * protobuf-c copies all that came before for each of them, so that a small file of many pieces takes forever. */
typedef struct once {
    uint64_t messages; /* a bit a field of the descriptor: ONNX has none of more than 64 */
    bool numbers;
} once;

static tw_status check_once(const walk *w, const ProtobufCMessageDescriptor *type, const field *f, once *seen)
{
    const ProtobufCFieldDescriptor *known = protobuf_c_message_descriptor_get_field(type, f->number);
    if (holds_numbers(type, f)) {
        if (seen->numbers) return damaged(w, f->start, "a tensor's data comes in several pieces");
        seen->numbers = true;
    } else if (known && known->type == PROTOBUF_C_TYPE_MESSAGE && known->label != PROTOBUF_C_LABEL_REPEATED) {
        uint64_t bit = (uint64_t)1 << ((known - type->fields) & 63);
        if (seen->messages & bit) return damaged(w, f->start, "a message comes in several pieces");
        seen->messages |= bit;
    }
    return TW_OK;
}

static tw_status walk_fields(walk *w, const ProtobufCMessageDescriptor *type, const field *all, int depth,
                             size_t *total)
{
    once seen = {0};
    field f;
    for (const uint8_t *at = all->payload; at < all->end; at = f.end) {
        size_t bytes;
        tw_status status = read_field(w, at, all->end, &f);
        if (status == TW_OK) status = check_once(w, type, &f, &seen);
        if (status == TW_OK) status = walk_field(w, type, &f, depth, &bytes);
        if (status != TW_OK) return status;
        *total += bytes;
        if (*total > w->limit)
            return tw_fail(w->error, TW_OUT_OF_MEMORY, "the model without its tensors takes more than %zu bytes",
                           w->limit);
    }
    return TW_OK;
}

/* The message is the payload of `all`. */
static tw_status walk_message(walk *w, const ProtobufCMessageDescriptor *type, const field *all, int depth)
{
    size_t index = w->messages, total = 0;
    if (depth > TW_ONNX_MAX_DEPTH)
        return tw_fail(w->error, TW_INVALID, "messages nest deeper than %d at byte %zu", TW_ONNX_MAX_DEPTH,
                       (size_t)(all->payload - w->file));
    tw_status status = TW_OK;
    if (w->out)
        w->messages++;
    else
        status = note_message(w);
    if (status == TW_OK) status = walk_fields(w, type, all, depth, &total);
    if (status != TW_OK) return status;
    if (w->out && w->sizes[index] != total) return changed(w);
    w->sizes[index] = total;
    return TW_OK;
}

tw_status tw_onnx_slim(const uint8_t *data, size_t bytes, size_t limit, uint8_t **slim, size_t *slim_bytes,
                       tw_error *error)
{
    walk w = {.file = data, .limit = limit, .error = error};
    const field all = {.payload = data, .end = data + bytes};
    *slim = NULL;
    tw_status status = walk_message(&w, &onnx__model_proto__descriptor, &all, 1);
    if (status == TW_OK) {
        *slim_bytes = w.sizes[0];
        *slim = malloc(*slim_bytes + 1);
        if (!*slim) status = tw_no_memory(error, *slim_bytes, "a model");
    }
    if (status == TW_OK) {
        w.capacity = w.messages;
        w.messages = 0;
        w.out = *slim;
        w.out_end = *slim + *slim_bytes;
        status = walk_message(&w, &onnx__model_proto__descriptor, &all, 1);
    }
    if (status != TW_OK) {
        free(*slim);
        *slim = NULL;
    }
    free(w.sizes);
    return status;
}
