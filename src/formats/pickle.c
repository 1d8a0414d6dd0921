#include "formats/pickle.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Every node takes at least a byte of the file, so the file's size bounds the memory; this bounds it further. */
enum { MAX_NODES = 4 << 20, MAX_STACK = 1 << 20 };

/* ---- the names that a state_dict may ask for; torch.storage stands for torch ---- */

typedef enum global_id { ORDERED_DICT, REBUILD_TENSOR, REBUILD_TENSOR_V2, PARAMETER, STORAGE_TYPE } global_id;

static const struct {
    const char *module, *name;
    global_id id;
    tw_dtype dtype;
} globals[] = {
    {"collections", "OrderedDict", ORDERED_DICT, TW_ABSENT},
    {"torch._utils", "_rebuild_tensor", REBUILD_TENSOR, TW_ABSENT},
    {"torch._utils", "_rebuild_tensor_v2", REBUILD_TENSOR_V2, TW_ABSENT},
    {"torch._utils", "_rebuild_parameter", PARAMETER, TW_ABSENT},
    {"torch.nn.parameter", "Parameter", PARAMETER, TW_ABSENT}, /* before 0.4 */
    {"torch", "FloatStorage", STORAGE_TYPE, TW_F32},
    {"torch", "DoubleStorage", STORAGE_TYPE, TW_F64},
    {"torch", "HalfStorage", STORAGE_TYPE, TW_F16},
    {"torch", "BFloat16Storage", STORAGE_TYPE, TW_BF16},
    {"torch", "LongStorage", STORAGE_TYPE, TW_I64},
    {"torch", "IntStorage", STORAGE_TYPE, TW_I32},
    {"torch", "ShortStorage", STORAGE_TYPE, TW_I16},
    {"torch", "CharStorage", STORAGE_TYPE, TW_I8},
    {"torch", "ByteStorage", STORAGE_TYPE, TW_U8},
    {"torch", "BoolStorage", STORAGE_TYPE, TW_BOOL},
    {"torch", "UntypedStorage", STORAGE_TYPE, TW_U8},
};

/* ---- the machine ---- */

typedef struct machine {
    tw_pickle *pickle;
    const tw_pickle_source *source;
    size_t at;
    int *stack; /* nodes; MARK for marks */
    int depth, stack_capacity;
    int *memo;                     /* nodes; NOTHING where empty */
    int memo_capacity, memo_count; /* slots, and those in use: MEMOIZE fills slot memo_count */
    tw_error *error;
} machine;

enum { MARK = -2, NOTHING = -1 };

#define broken(m, ...) tw_known(broken_at(m, __VA_ARGS__), TW_INVALID)
__attribute__((format(printf, 2, 3))) static tw_status broken_at(const machine *m, const char *format, ...)
{
    char what[256];
    va_list args;
    va_start(args, format);
    vsnprintf(what, sizeof what, format, args);
    va_end(args);
    return tw_fail(m->error, TW_INVALID, "%s: pickle, byte %zu: %s", m->source->path, m->at, what);
}

static size_t left(const machine *m)
{
    return m->source->end - m->at;
}

/* The next `count` bytes, or null where the file ends first. */
static const uint8_t *take(machine *m, size_t count)
{
    if (count > left(m)) {
        broken(m, "the file ends %zu bytes too early", count - left(m));
        return NULL;
    }
    const uint8_t *bytes = m->source->data + m->at;
    m->at += count;
    return bytes;
}

static bool take_integer(machine *m, int size, uint64_t *value)
{
    const uint8_t *bytes = take(m, (size_t)size);
    *value = 0;
    for (int i = 0; bytes && i < size; i++) *value |= (uint64_t)bytes[i] << 8 * i;
    return bytes;
}

static tw_pickle_node *new_node(machine *m, tw_pickle_kind kind, int *index)
{
    tw_pickle *p = m->pickle;
    if (p->n_nodes == MAX_NODES) {
        broken(m, "more than %d objects", MAX_NODES);
        return NULL;
    }
    if (p->n_nodes == p->capacity) {
        int capacity = p->capacity ? 2 * p->capacity : 1024;
        tw_pickle_node *larger = realloc(p->nodes, (size_t)capacity * sizeof *larger);
        if (!larger) {
            tw_no_memory(m->error, (size_t)capacity * sizeof *larger, "a pickle");
            return NULL;
        }
        p->nodes = larger;
        p->capacity = capacity;
    }
    *index = p->n_nodes++;
    p->nodes[*index] = (tw_pickle_node){.kind = kind};
    return &p->nodes[*index];
}

static bool push(machine *m, int node)
{
    if (m->depth == MAX_STACK) {
        broken(m, "more than %d objects on the stack", MAX_STACK);
        return false;
    }
    if (m->depth == m->stack_capacity) {
        int capacity = m->stack_capacity ? 2 * m->stack_capacity : 256;
        int *larger = realloc(m->stack, (size_t)capacity * sizeof *larger);
        if (!larger) {
            tw_no_memory(m->error, (size_t)capacity * sizeof *larger, "a pickle's stack");
            return false;
        }
        m->stack = larger;
        m->stack_capacity = capacity;
    }
    m->stack[m->depth++] = node;
    return true;
}

static tw_pickle_node *push_new(machine *m, tw_pickle_kind kind)
{
    int index = NOTHING;
    tw_pickle_node *node = new_node(m, kind, &index);
    return node && push(m, index) ? node : NULL;
}

/* The top of the stack, removed; NOTHING where there is none or a mark. */
static int pop(machine *m)
{
    if (m->depth == 0 || m->stack[m->depth - 1] == MARK) {
        broken(m, "an object is missing on the stack");
        return NOTHING;
    }
    return m->stack[--m->depth];
}

static tw_pickle_node *node_at(const machine *m, int index)
{
    return &m->pickle->nodes[index];
}

/* The top, which must be of this kind and stays. */
static tw_pickle_node *top_of_kind(machine *m, tw_pickle_kind kind, const char *what)
{
    if (m->depth == 0 || m->stack[m->depth - 1] == MARK || node_at(m, m->stack[m->depth - 1])->kind != kind) {
        broken(m, "expected %s on the stack", what);
        return NULL;
    }
    return node_at(m, m->stack[m->depth - 1]);
}

/* Where the last mark lies, or NOTHING. */
static int find_mark(machine *m)
{
    for (int i = m->depth - 1; i >= 0; i--)
        if (m->stack[i] == MARK) return i;
    broken(m, "a mark is missing on the stack");
    return NOTHING;
}

static bool append_items(machine *m, tw_pickle_node *to, const int *items, int count)
{
    if (count > to->capacity - to->n_items) {
        int capacity = to->n_items + count + to->n_items / 2;
        int *larger = realloc(to->items, (size_t)capacity * sizeof *larger);
        if (!larger) {
            tw_no_memory(m->error, (size_t)capacity * sizeof *larger, "a pickle");
            return false;
        }
        to->items = larger;
        to->capacity = capacity;
    }
    if (count) memcpy(to->items + to->n_items, items, (size_t)count * sizeof *items);
    to->n_items += count;
    return true;
}

/* The last `count` objects become one tuple. */
static bool make_tuple(machine *m, int count)
{
    int first = m->depth - count;
    for (int i = first; i < m->depth; i++)
        if (i < 0 || m->stack[i] == MARK) {
            broken(m, "a tuple's object is missing on the stack");
            return false;
        }
    int index = NOTHING;
    tw_pickle_node *tuple = new_node(m, TW_PICKLE_TUPLE, &index);
    if (!tuple || !append_items(m, tuple, m->stack + first, count)) return false;
    m->depth = first;
    return push(m, index);
}

/* What lies above the last mark goes into the container below it; the mark goes too. */
static bool append_marked(machine *m, tw_pickle_kind kind, const char *what)
{
    int mark = find_mark(m);
    if (mark == NOTHING) return false;
    int count = m->depth - mark - 1;
    if (kind == TW_PICKLE_DICT && count % 2) {
        broken(m, "a dictionary's key without a value");
        return false;
    }
    m->depth = mark;
    tw_pickle_node *container = top_of_kind(m, kind, what);
    return container && append_items(m, container, m->stack + mark + 1, count);
}

static bool memorise(machine *m, uint64_t slot)
{
    if (m->depth == 0 || m->stack[m->depth - 1] == MARK || slot > (uint64_t)MAX_NODES) {
        broken(m, "nothing to remember, or at an impossible place");
        return false;
    }
    if (slot >= (uint64_t)m->memo_capacity) {
        /* Slots come in order in any real pickle: room for twice as many as there are nodes is generous. */
        if (slot > 2 * (uint64_t)m->pickle->n_nodes + 64) {
            broken(m, "memo slot %llu out of order", (unsigned long long)slot);
            return false;
        }
        int capacity = (int)slot + 1 + m->memo_capacity;
        int *larger = realloc(m->memo, (size_t)capacity * sizeof *larger);
        if (!larger) {
            tw_no_memory(m->error, (size_t)capacity * sizeof *larger, "a pickle's memo");
            return false;
        }
        for (int i = m->memo_capacity; i < capacity; i++) larger[i] = NOTHING;
        m->memo = larger;
        m->memo_capacity = capacity;
    }
    if (m->memo[slot] == NOTHING) m->memo_count++;
    m->memo[slot] = m->stack[m->depth - 1];
    return true;
}

static bool recall(machine *m, uint64_t slot)
{
    if (slot >= (uint64_t)m->memo_capacity || m->memo[slot] == NOTHING) {
        broken(m, "memo slot %llu is empty", (unsigned long long)slot);
        return false;
    }
    return push(m, m->memo[slot]);
}

/* ---- strings and numbers ---- */

static bool push_text(machine *m, int length_bytes)
{
    uint64_t length;
    if (!take_integer(m, length_bytes, &length)) return false;
    const uint8_t *bytes = take(m, length > SIZE_MAX ? SIZE_MAX : (size_t)length);
    tw_pickle_node *node = bytes ? push_new(m, TW_PICKLE_STRING) : NULL;
    if (!node) return false;
    node->text = (const char *)bytes;
    node->length = (size_t)length;
    return true;
}

static bool push_integer(machine *m, tw_pickle_kind kind, int64_t value)
{
    tw_pickle_node *node = push_new(m, kind);
    if (node) node->integer = value;
    return node;
}

/* LONG1: a count of bytes, then two's complement, little-endian. */
static bool push_long(machine *m)
{
    uint64_t count, value = 0;
    if (!take_integer(m, 1, &count)) return false;
    const uint8_t *bytes = take(m, (size_t)count);
    if (!bytes) return false;
    if (count > 8) {
        tw_pickle_node *node = push_new(m, TW_PICKLE_LONG);
        if (!node) return false;
        node->text = (const char *)bytes;
        node->length = (size_t)count;
        return true;
    }
    for (uint64_t i = 0; i < count; i++) value |= (uint64_t)bytes[i] << 8 * i;
    if (count && count < 8 && bytes[count - 1] & 0x80) value |= ~(uint64_t)0 << 8 * count;
    return push_integer(m, TW_PICKLE_INT, (int64_t)value);
}

static bool push_float(machine *m)
{
    const uint8_t *bytes = take(m, 8);
    tw_pickle_node *node = bytes ? push_new(m, TW_PICKLE_FLOAT) : NULL;
    if (!node) return false;
    uint64_t bits = 0;
    for (int i = 0; i < 8; i++) bits = bits << 8 | bytes[i];
    memcpy(&node->real, &bits, sizeof bits);
    return true;
}

/* ---- globals, and what they make ---- */

/* For a message: cut, and without what would disturb a terminal. */
static void printable(const char *text, size_t length, char *out, size_t size)
{
    size_t i = 0;
    for (; i < length && i + 1 < size; i++) out[i] = text[i] >= ' ' && text[i] < 127 ? text[i] : '?';
    out[i] = 0;
}

static bool push_global(machine *m, const char *module, size_t module_length, const char *name, size_t name_length)
{
    const size_t storage = strlen("torch.storage");
    if (module_length == storage && memcmp(module, "torch.storage", storage) == 0) module_length = strlen("torch");
    for (size_t i = 0; i < sizeof globals / sizeof *globals; i++) {
        if (strlen(globals[i].module) != module_length || strlen(globals[i].name) != name_length) continue;
        if (memcmp(globals[i].module, module, module_length) != 0 || memcmp(globals[i].name, name, name_length) != 0)
            continue;
        tw_pickle_node *node = push_new(m, TW_PICKLE_GLOBAL);
        if (!node) return false;
        node->global = (int)i;
        node->dtype = globals[i].dtype;
        return true;
    }
    char shown_module[64], shown_name[64];
    printable(module, module_length, shown_module, sizeof shown_module);
    printable(name, name_length, shown_name, sizeof shown_name);
    broken(m, "asks for %s.%s; a state_dict has no such thing", shown_module, shown_name);
    return false;
}

/* GLOBAL: two lines of text. */
static bool read_global(machine *m)
{
    const char *lines[2];
    size_t lengths[2];
    for (int i = 0; i < 2; i++) {
        lines[i] = (const char *)m->source->data + m->at;
        const char *end = memchr(lines[i], '\n', left(m) < 256 ? left(m) : 256);
        if (!end) {
            broken(m, "a name without an end");
            return false;
        }
        lengths[i] = (size_t)(end - lines[i]);
        m->at += lengths[i] + 1;
    }
    return push_global(m, lines[0], lengths[0], lines[1], lengths[1]);
}

static bool stack_global(machine *m)
{
    int name = pop(m), module = name == NOTHING ? NOTHING : pop(m);
    if (module == NOTHING) return false;
    const tw_pickle_node *a = node_at(m, module), *b = node_at(m, name);
    if (a->kind != TW_PICKLE_STRING || b->kind != TW_PICKLE_STRING) {
        broken(m, "a name that is not text");
        return false;
    }
    return push_global(m, a->text, a->length, b->text, b->length);
}

/* BINPERSID: ("storage", type, key, location, elements[, view]) */
static bool push_storage(machine *m)
{
    int index = pop(m);
    if (index == NOTHING) return false;
    const tw_pickle_node *id = node_at(m, index), *item[6];
    int count = id->kind == TW_PICKLE_TUPLE ? id->n_items : 0;
    for (int i = 0; i < count && i < 6; i++) item[i] = node_at(m, id->items[i]);
    if (count < 5 || count > 6 || !tw_pickle_is_text(item[0], "storage") || item[1]->kind != TW_PICKLE_GLOBAL ||
        item[1]->dtype == TW_ABSENT || item[2]->kind != TW_PICKLE_STRING || item[4]->kind != TW_PICKLE_INT ||
        item[4]->integer < 0) {
        broken(m, "a persistent object that is not a storage");
        return false;
    }
    if (count == 6 && item[5]->kind != TW_PICKLE_NONE) {
        broken(m, "a storage that is a view of another, as PyTorch before 0.4 wrote them");
        return false;
    }
    tw_pickle_node storage = {.kind = TW_PICKLE_STORAGE,
                              .dtype = item[1]->dtype,
                              .integer = item[4]->integer,
                              .text = item[2]->text,
                              .length = item[2]->length};
    tw_pickle_node *node = push_new(m, TW_PICKLE_STORAGE);
    if (node) *node = storage;
    return node;
}

static bool read_dims(const machine *m, int tuple, int64_t *values, int *count)
{
    const tw_pickle_node *node = node_at(m, tuple);
    if (node->kind != TW_PICKLE_TUPLE || node->n_items > TW_MAX_RANK) return false;
    *count = node->n_items;
    for (int i = 0; i < node->n_items; i++) {
        const tw_pickle_node *item = node_at(m, node->items[i]);
        if (item->kind != TW_PICKLE_INT || item->integer < 0) return false;
        values[i] = item->integer;
    }
    return true;
}

/* _rebuild_tensor(storage, offset, size, stride), and v2's further arguments, which say nothing about the data. */
static bool rebuild_tensor(machine *m, const tw_pickle_node *arguments)
{
    int strides = 0;
    tw_pickle_tensor tensor = {0};
    const int *item = arguments->items;
    if (arguments->n_items < 4 || arguments->n_items > 7 || node_at(m, item[0])->kind != TW_PICKLE_STORAGE ||
        node_at(m, item[1])->kind != TW_PICKLE_INT || node_at(m, item[1])->integer < 0 ||
        !read_dims(m, item[2], tensor.shape.dims, &tensor.shape.rank) ||
        !read_dims(m, item[3], tensor.strides, &strides) || strides != tensor.shape.rank) {
        broken(m, "a tensor that is not storage, offset, sizes and strides of at most %d dimensions", TW_MAX_RANK);
        return false;
    }
    tensor.storage = item[0];
    tensor.offset = node_at(m, item[1])->integer;
    tw_pickle_tensor *kept = malloc(sizeof *kept);
    tw_pickle_node *node = kept ? push_new(m, TW_PICKLE_TENSOR) : NULL;
    if (!node) {
        if (!kept) tw_no_memory(m->error, sizeof *kept, "a tensor");
        free(kept);
        return false;
    }
    *kept = tensor;
    node->tensor = kept;
    return true;
}

/* Python 2's OrderedDict([[key, value], ...]). The list is emptied, so that no list can be copied again and again. */
static bool ordered_dict(machine *m, int pairs)
{
    int index = NOTHING;
    tw_pickle_node *dict = new_node(m, TW_PICKLE_DICT, &index), *list = node_at(m, pairs);
    if (!dict) return false;
    bool fine = list->kind == TW_PICKLE_LIST;
    for (int i = 0; fine && i < list->n_items; i++) {
        const tw_pickle_node *pair = node_at(m, list->items[i]);
        fine = (pair->kind == TW_PICKLE_LIST || pair->kind == TW_PICKLE_TUPLE) && pair->n_items == 2;
        if (fine && !append_items(m, dict, pair->items, 2)) return false;
    }
    if (!fine) {
        broken(m, "an OrderedDict of something else than pairs");
        return false;
    }
    list->n_items = 0;
    return push(m, index);
}

/* REDUCE: a callable and its arguments. */
static bool reduce(machine *m)
{
    int arguments = pop(m), callable = arguments == NOTHING ? NOTHING : pop(m);
    if (callable == NOTHING) return false;
    const tw_pickle_node *args = node_at(m, arguments), *what = node_at(m, callable);
    if (what->kind != TW_PICKLE_GLOBAL || args->kind != TW_PICKLE_TUPLE) {
        broken(m, "calls something that a state_dict does not");
        return false;
    }
    switch (globals[what->global].id) {
    case ORDERED_DICT:
        if (args->n_items == 0) return push_new(m, TW_PICKLE_DICT);
        if (args->n_items == 1) return ordered_dict(m, args->items[0]);
        break;
    case REBUILD_TENSOR:
    case REBUILD_TENSOR_V2: return rebuild_tensor(m, args);
    case PARAMETER:
        if (args->n_items && node_at(m, args->items[0])->kind == TW_PICKLE_TENSOR) return push(m, args->items[0]);
        break;
    case STORAGE_TYPE: break;
    }
    broken(m, "calls %s.%s with arguments that it does not take", globals[what->global].module,
           globals[what->global].name);
    return false;
}

/* BUILD: a state for the object below, such as an OrderedDict's _metadata or an old Parameter's hooks: dropped. */
static bool build(machine *m)
{
    if (pop(m) == NOTHING) return false;
    int object = m->depth ? m->stack[m->depth - 1] : MARK;
    tw_pickle_kind kind = object == MARK ? TW_PICKLE_NONE : node_at(m, object)->kind;
    if (kind == TW_PICKLE_DICT || kind == TW_PICKLE_TENSOR) return true;
    broken(m, "a state for something that has none");
    return false;
}

static bool set_item(machine *m)
{
    int value = pop(m), key = value == NOTHING ? NOTHING : pop(m);
    if (key == NOTHING) return false;
    tw_pickle_node *dict = top_of_kind(m, TW_PICKLE_DICT, "a dictionary");
    return dict && append_items(m, dict, (int[]){key, value}, 2);
}

static bool append_item(machine *m)
{
    int item = pop(m);
    tw_pickle_node *list = item == NOTHING ? NULL : top_of_kind(m, TW_PICKLE_LIST, "a list");
    return list && append_items(m, list, &item, 1);
}

static bool make_marked_tuple(machine *m)
{
    int mark = find_mark(m);
    if (mark == NOTHING) return false;
    int count = m->depth - mark - 1;
    memmove(m->stack + mark, m->stack + mark + 1, (size_t)count * sizeof *m->stack);
    m->depth--;
    return make_tuple(m, count);
}

static bool sized(machine *m, int bytes, bool (*then)(machine *m, uint64_t value))
{
    uint64_t value;
    return take_integer(m, bytes, &value) && then(m, value);
}

static bool check_protocol(machine *m, uint64_t protocol)
{
    if (protocol >= 2 && protocol <= 5) return true;
    broken(m, "protocol %llu, expected 2 to 5", (unsigned long long)protocol);
    return false;
}

static bool skip_frame(machine *m, uint64_t length)
{
    if (length <= left(m)) return true;
    broken(m, "a frame of %llu bytes goes beyond the file", (unsigned long long)length);
    return false;
}

static bool push_small(machine *m, int bytes)
{
    uint64_t value;
    return take_integer(m, bytes, &value) &&
           push_integer(m, TW_PICKLE_INT, bytes == 4 ? (int32_t)value : (int64_t)value);
}

static bool execute(machine *m, uint8_t opcode)
{
    switch (opcode) {
    case 0x80: return sized(m, 1, check_protocol);
    case 0x95: return sized(m, 8, skip_frame);
    case '(': return push(m, MARK);
    case ')': return make_tuple(m, 0);
    case 0x85: return make_tuple(m, 1);
    case 0x86: return make_tuple(m, 2);
    case 0x87: return make_tuple(m, 3);
    case 't': return make_marked_tuple(m);
    case ']': return push_new(m, TW_PICKLE_LIST);
    case 'a': return append_item(m);
    case 'e': return append_marked(m, TW_PICKLE_LIST, "a list");
    case '}': return push_new(m, TW_PICKLE_DICT);
    case 's': return set_item(m);
    case 'u': return append_marked(m, TW_PICKLE_DICT, "a dictionary");
    case 'N': return push_new(m, TW_PICKLE_NONE);
    case 0x88: return push_integer(m, TW_PICKLE_BOOL, 1);
    case 0x89: return push_integer(m, TW_PICKLE_BOOL, 0);
    case 'K': return push_small(m, 1);
    case 'M': return push_small(m, 2);
    case 'J': return push_small(m, 4);
    case 0x8a: return push_long(m);
    case 'G': return push_float(m);
    case 'T': /* the strings of Python 2 */
    case 'X': return push_text(m, 4);
    case 'U':
    case 0x8c: return push_text(m, 1);
    case 0x8d: return push_text(m, 8);
    case 'q': return sized(m, 1, memorise);
    case 'r': return sized(m, 4, memorise);
    case 0x94: return memorise(m, (uint64_t)m->memo_count);
    case 'h': return sized(m, 1, recall);
    case 'j': return sized(m, 4, recall);
    case 'c': return read_global(m);
    case 0x93: return stack_global(m);
    case 'Q': return push_storage(m);
    case 'R': return reduce(m);
    case 'b': return build(m);
    default: broken(m, "opcode 0x%02x, which a state_dict does not need", opcode); return false;
    }
}

tw_status tw_pickle_read(const tw_pickle_source *source, tw_pickle *pickle, tw_error *error)
{
    tw_error inner = {TW_INVALID, ""};
    machine m = {.pickle = pickle, .source = source, .at = source->at, .error = &inner};
    *pickle = (tw_pickle){.root = NOTHING};
    const uint8_t *opcode;
    bool fine = true;
    while (fine && (opcode = take(&m, 1)) && *opcode != '.') fine = execute(&m, *opcode);
    fine = fine && opcode && (pickle->root = pop(&m)) != NOTHING;
    pickle->used = m.at - source->at;
    free(m.stack);
    free(m.memo);
    if (fine) return TW_OK;
    tw_pickle_free(pickle);
    if (error) *error = inner;
    return inner.status;
}

void tw_pickle_free(tw_pickle *pickle)
{
    for (int i = 0; i < pickle->n_nodes; i++) {
        free(pickle->nodes[i].items);
        free(pickle->nodes[i].tensor);
    }
    free(pickle->nodes);
    *pickle = (tw_pickle){.root = NOTHING};
}

bool tw_pickle_is_text(const tw_pickle_node *node, const char *text)
{
    return node->kind == TW_PICKLE_STRING && node->length == strlen(text) &&
           memcmp(node->text, text, node->length) == 0;
}

const tw_pickle_node *tw_pickle_get(const tw_pickle *pickle, const tw_pickle_node *dict, const char *key)
{
    for (int i = 0; dict->kind == TW_PICKLE_DICT && i + 1 < dict->n_items; i += 2)
        if (tw_pickle_is_text(&pickle->nodes[dict->items[i]], key)) return &pickle->nodes[dict->items[i + 1]];
    return NULL;
}
