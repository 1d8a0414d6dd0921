/* PyTorch state_dicts: the zip archives of torch.save since 1.6 (a pickle, data.pkl, and a stored entry for each
 * storage), and the legacy files before (five pickles, then the storages' bytes one behind the other). Tensors are
 * views of the mapped file; those that are not dense are copied. */
#include "formats/pickle.h"
#include "formats/strided.h"
#include "formats/weights_formats.h"
#include "formats/zip.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What the weights own. */
typedef struct archive {
    tw_mapping file;
    char *names;  /* one behind the other, each ended */
    void *copies; /* of tensors that are not dense */
} archive;

/* Where the storages' bytes are. */
typedef struct storages {
    const tw_pickle_node *nodes; /* the pickle's */
    const uint8_t **data;        /* for each; null where it is not a storage */
    size_t file_bytes;
} storages;

static void release(void *owner)
{
    archive *a = owner;
    free(a->copies);
    free(a->names);
    tw_file_unmap(&a->file);
    free(a);
}

/* A storage's key for messages. */
typedef struct shown {
    char text[48];
} shown;

static shown show(const char *text, size_t length)
{
    shown s;
    size_t i = 0;
    for (; i < length && i + 1 < sizeof s.text; i++) s.text[i] = text[i] >= ' ' && text[i] < 127 ? text[i] : '?';
    s.text[i] = 0;
    return s;
}

/* ---- where the storages are ---- */

/* False on overflow. */
static bool storage_bytes(const tw_pickle_node *storage, size_t *bytes)
{
    return tw_checked_mul((size_t)storage->integer, tw_dtype_bytes(storage->dtype), bytes);
}

/* "archive/data.pkl": the folder's name is free. */
static const tw_zip_entry *find_pickle(const tw_zip *zip)
{
    static const char suffix[] = "/data.pkl";
    size_t length = sizeof suffix - 1;
    for (size_t i = 0; i < zip->count; i++) {
        const tw_zip_entry *e = &zip->entries[i];
        if (e->name_length > length && memcmp(e->name + e->name_length - length, suffix, length) == 0 &&
            !memchr(e->name, '/', e->name_length - length))
            return e;
    }
    return NULL;
}

static const tw_zip_entry *find_beside(const tw_zip *zip, const tw_zip_entry *pickle, const char *folder,
                                       const tw_pickle_node *key)
{
    char name[512];
    if (key && key->length >= sizeof name) return NULL;
    int prefix = (int)(pickle->name_length - strlen("data.pkl"));
    int length = snprintf(name, sizeof name, "%.*s%s%.*s", prefix, pickle->name, folder, key ? (int)key->length : 0,
                          key ? key->text : "");
    return length < (int)sizeof name ? tw_zip_find(zip, name, (size_t)length) : NULL;
}

static tw_status locate_in_zip(const char *path, const tw_zip *zip, const tw_pickle *pickle, storages *s,
                               tw_error *error)
{
    const tw_zip_entry *main = find_pickle(zip);
    const tw_zip_entry *order = find_beside(zip, main, "byteorder", NULL);
    if (order && (order->bytes < 6 || memcmp(order->data, "little", 6) != 0))
        return tw_fail(error, TW_INVALID, "%s: big-endian numbers, expected little-endian", path);
    for (int i = 0; i < pickle->n_nodes; i++) {
        const tw_pickle_node *node = &pickle->nodes[i];
        size_t bytes;
        if (node->kind != TW_PICKLE_STORAGE) continue;
        shown key = show(node->text, node->length);
        const tw_zip_entry *entry = find_beside(zip, main, "data/", node);
        if (!entry) return tw_fail(error, TW_INVALID, "%s: the archive has no storage \"%s\"", path, key.text);
        if (!storage_bytes(node, &bytes) || bytes > entry->bytes)
            return tw_fail(error, TW_INVALID, "%s: storage \"%s\" has %zu bytes, too few for %lld of %s", path,
                           key.text, entry->bytes, (long long)node->integer, tw_dtype_name(node->dtype));
        s->data[i] = entry->data;
    }
    return TW_OK;
}

static int by_key(const void *a, const void *b)
{
    const tw_pickle_node *x = *(const tw_pickle_node *const *)a, *y = *(const tw_pickle_node *const *)b;
    int order = memcmp(x->text, y->text, x->length < y->length ? x->length : y->length);
    return order ? order : x->length < y->length ? -1 : x->length > y->length;
}

/* The pickle's storages in order of their keys; the same one may be there many times. */
static const tw_pickle_node **sort_storages(const tw_pickle *pickle, size_t *count)
{
    const tw_pickle_node **sorted = malloc(((size_t)pickle->n_nodes + 1) * sizeof *sorted);
    *count = 0;
    for (int i = 0; sorted && i < pickle->n_nodes; i++)
        if (pickle->nodes[i].kind == TW_PICKLE_STORAGE) sorted[(*count)++] = &pickle->nodes[i];
    if (sorted) qsort(sorted, *count, sizeof *sorted, by_key);
    return sorted;
}

/* Sets all storages of a key to `data`; returns one of them, or null where there is none, they differ, or have been
 * set before. */
static const tw_pickle_node *place_storages(const tw_pickle_node *const *sorted, size_t count,
                                            const tw_pickle_node *key, const uint8_t *data, storages *s)
{
    size_t low = 0, high = count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (by_key(&sorted[middle], &key) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    const tw_pickle_node *found = low < count && by_key(&sorted[low], &key) == 0 ? sorted[low] : NULL;
    if (found && s->data[found - s->nodes]) return NULL;
    for (size_t i = low; found && i < count && by_key(&sorted[i], &key) == 0; i++) {
        if (found->dtype != sorted[i]->dtype || found->integer != sorted[i]->integer) return NULL;
        s->data[sorted[i] - s->nodes] = data;
    }
    return found;
}

/* The list of keys, then for each an int64 count and its elements. */
static tw_status locate_in_legacy(const tw_pickle_source *source, const tw_pickle *pickle, storages *s, tw_error *error)
{
    tw_pickle keys;
    tw_status status = tw_pickle_read(source, &keys, error);
    if (status != TW_OK) return status;
    const tw_pickle_node *list = &keys.nodes[keys.root];
    size_t at = source->at + keys.used;
    if (list->kind != TW_PICKLE_LIST)
        status = tw_fail(error, TW_INVALID, "%s: byte %zu: expected a list of storages", source->path, source->at);
    size_t count_sorted;
    const tw_pickle_node **sorted = sort_storages(pickle, &count_sorted);
    if (!sorted) status = tw_no_memory(error, (size_t)pickle->n_nodes * sizeof *sorted, "storages");
    /* A hostile list could name one key, with many storages, again and again. */
    if (status == TW_OK && (size_t)list->n_items > count_sorted)
        status = tw_fail(error, TW_INVALID, "%s: byte %zu: a list of %d storages, where the pickle has %zu",
                         source->path, source->at, list->n_items, count_sorted);
    for (int i = 0; status == TW_OK && i < list->n_items; i++) {
        const tw_pickle_node *key = &keys.nodes[list->items[i]];
        shown text = show(key->text ? key->text : "", key->kind == TW_PICKLE_STRING ? key->length : 0);
        uint64_t count = 0;
        size_t bytes = 0;
        if (key->kind != TW_PICKLE_STRING || source->end - at < 8) {
            status = tw_fail(error, TW_INVALID, "%s: byte %zu: storage \"%s\" is missing; the file may be truncated",
                             source->path, at, text.text);
            break;
        }
        for (int b = 0; b < 8; b++) count |= (uint64_t)source->data[at + (size_t)b] << 8 * b;
        at += 8;
        const tw_pickle_node *node = place_storages(sorted, count_sorted, key, source->data + at, s);
        if (!node || (uint64_t)node->integer != count)
            status = tw_fail(error, TW_INVALID, "%s: byte %zu: storage \"%s\" is not the one that the pickle describes",
                             source->path, at - 8, text.text);
        else if (!storage_bytes(node, &bytes) || bytes > source->end - at)
            status = tw_fail(error, TW_INVALID,
                             "%s: byte %zu: storage \"%s\" of %llu elements goes beyond the file; it may be truncated",
                             source->path, at, text.text, (unsigned long long)count);
        at += bytes;
    }
    free(sorted);
    tw_pickle_free(&keys);
    return status;
}

/* ---- tensors ---- */

/* The dictionary of tensors: the root, or what checkpoints keep it under. */
static const tw_pickle_node *state_dict_of(const tw_pickle *pickle)
{
    static const char *const keys[] = {"state_dict", "model_state_dict", "model"};
    const tw_pickle_node *root = &pickle->nodes[pickle->root];
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        const tw_pickle_node *inner = tw_pickle_get(pickle, root, keys[i]);
        if (inner && inner->kind == TW_PICKLE_DICT) return inner;
    }
    return root;
}

/* Are all elements inside the storage? Overflow-safe. */
static bool fits_storage(const tw_pickle_tensor *t, const tw_pickle_node *storage)
{
    uint64_t last = (uint64_t)t->offset;
    for (int i = 0; i < t->shape.rank; i++) {
        uint64_t reach;
        if (t->shape.dims[i] == 0) return t->offset <= storage->integer;
        if (__builtin_mul_overflow((uint64_t)t->shape.dims[i] - 1, (uint64_t)t->strides[i], &reach) ||
            __builtin_add_overflow(last, reach, &last))
            return false;
    }
    return last < (uint64_t)storage->integer;
}

/* What the dictionary holds, in its order. */
typedef struct table {
    tw_named_tensor *tensors; /* [count]; data is null until it is copied */
    tw_strided *stored;       /* [count]: the tensors as they lie in the file */
    size_t count, copied_bytes;
} table;

static tw_status read_tensor(const tw_pickle *pickle, const tw_pickle_tensor *from, const storages *s, table *out,
                             tw_error *error)
{
    const tw_pickle_node *storage = &pickle->nodes[from->storage];
    size_t count, element = tw_dtype_bytes(storage->dtype);
    tw_status status = tw_shape_count(&from->shape, storage->dtype, &count, error);
    if (status == TW_OK && (!s->data[from->storage] || !fits_storage(from, storage)))
        status = tw_fail(error, TW_INVALID, "goes beyond its storage of %lld elements", (long long)storage->integer);
    if (status != TW_OK) return status;
    tw_strided *stored = &out->stored[out->count];
    *stored = (tw_strided){
        .data = s->data[from->storage] + (size_t)from->offset * element, .element = element, .shape = from->shape};
    memcpy(stored->strides, from->strides, sizeof stored->strides);
    bool dense = tw_strided_is_dense(stored);
    out->tensors[out->count].view = (tw_tensor){storage->dtype, from->shape, dense ? (void *)stored->data : NULL};
    /* An expanded tensor is larger than its storage: all copies together stay within a few times the file. */
    if (!dense && (count > s->file_bytes || (out->copied_bytes += tw_align(count * element)) > 4 * s->file_bytes))
        return tw_fail(error, TW_INVALID, "repeats its storage to %zu elements, more than the file could hold", count);
    return TW_OK;
}

/* All copies lie in one block: large pages cost less to touch than many small ones. */
static tw_status copy_tensors(archive *a, table *from, tw_error *error)
{
    if (from->copied_bytes == 0) return TW_OK;
    a->copies = tw_alloc(from->copied_bytes);
    if (!a->copies) return tw_no_memory(error, from->copied_bytes, "tensors");
    char *next = a->copies;
    for (size_t i = 0; i < from->count; i++) {
        tw_tensor *view = &from->tensors[i].view;
        size_t count = 0;
        if (view->data) continue;
        tw_strided_copy(&from->stored[i], next);
        view->data = next;
        tw_status status = tw_shape_count(&view->shape, view->dtype, &count, error);
        if (status != TW_OK) return status;
        next += tw_align(count * tw_dtype_bytes(view->dtype));
    }
    return TW_OK;
}

/* Room for what the dictionary may hold; the names go one behind the other. */
static tw_status make_table(const tw_pickle *pickle, const tw_pickle_node *dict, archive *a, table *out,
                            tw_error *error)
{
    size_t names = 1, most = (size_t)dict->n_items / 2 + 1;
    for (int i = 0; i < dict->n_items; i += 2) names += pickle->nodes[dict->items[i]].length + 1;
    if (names > a->file.bytes) /* one text, remembered and repeated */
        return tw_fail(error, TW_INVALID, "%zu bytes of names, more than the file could hold", names);
    a->names = malloc(names);
    out->tensors = calloc(most, sizeof *out->tensors);
    out->stored = calloc(most, sizeof *out->stored);
    return a->names && out->tensors && out->stored ? TW_OK : tw_no_memory(error, names, "a state_dict");
}

static tw_status read_tensors(archive *a, const tw_pickle *pickle, const storages *s, table *out, tw_error *error)
{
    const tw_pickle_node *dict = state_dict_of(pickle);
    if (dict->kind != TW_PICKLE_DICT) return tw_fail(error, TW_INVALID, "expected a dictionary of tensors");
    tw_status status = make_table(pickle, dict, a, out, error);
    if (status != TW_OK) return status;
    char *name = a->names;
    for (int i = 0; i < dict->n_items; i += 2) {
        const tw_pickle_node *key = &pickle->nodes[dict->items[i]], *value = &pickle->nodes[dict->items[i + 1]];
        if (key->kind != TW_PICKLE_STRING || value->kind != TW_PICKLE_TENSOR) continue; /* epochs and the like */
        if (memchr(key->text, 0, key->length)) return tw_fail(error, TW_INVALID, "a tensor's name holds a zero byte");
        memcpy(name, key->text, key->length);
        name[key->length] = 0;
        out->tensors[out->count].name = name;
        status = read_tensor(pickle, value->tensor, s, out, error);
        if (status != TW_OK) {
            tw_error_prefix(error, "tensor \"%.200s\"", name);
            return status;
        }
        name += key->length + 1;
        out->count++;
    }
    if (out->count == 0) return tw_fail(error, TW_INVALID, "no tensors, expected a state_dict");
    return copy_tensors(a, out, error);
}

/* ---- the two containers ---- */

static tw_status finish(const char *path, const tw_mapping *file, const tw_pickle *pickle, const storages *s,
                        tw_weights **weights, tw_error *error)
{
    table tensors = {0};
    archive *a = calloc(1, sizeof *a);
    if (!a) return tw_no_memory(error, sizeof *a, "a state_dict");
    a->file = *file;
    tw_status status = read_tensors(a, pickle, s, &tensors, error);
    tw_weights_source source = {tensors.tensors, tensors.count, a, release};
    if (status == TW_OK) status = tw_weights_create(&source, weights, error);
    free(tensors.tensors);
    free(tensors.stored);
    if (status != TW_OK) {
        tw_error_prefix(error, "%s", path);
        a->file = (tw_mapping){0}; /* stays the caller's */
        release(a);
    }
    return status;
}

static tw_status open_zip(const char *path, const tw_mapping *file, tw_weights **weights, tw_error *error)
{
    tw_zip zip;
    tw_pickle pickle;
    tw_status status = tw_zip_open(path, file->data, file->bytes, &zip, error);
    if (status != TW_OK) return status;
    const tw_zip_entry *entry = find_pickle(&zip);
    if (!entry) {
        tw_zip_free(&zip);
        return tw_fail(error, TW_INVALID, "%s: a zip archive without data.pkl, expected what torch.save writes", path);
    }
    size_t at = (size_t)(entry->data - file->data);
    status = tw_pickle_read(&(tw_pickle_source){path, file->data, at, at + entry->bytes}, &pickle, error);
    if (status == TW_OK) {
        storages s = {pickle.nodes, calloc((size_t)pickle.n_nodes + 1, sizeof *s.data), file->bytes};
        status = s.data ? locate_in_zip(path, &zip, &pickle, &s, error)
                        : tw_no_memory(error, (size_t)pickle.n_nodes, "storages");
        if (status == TW_OK) status = finish(path, file, &pickle, &s, weights, error);
        free(s.data);
        tw_pickle_free(&pickle);
    }
    tw_zip_free(&zip);
    return status;
}

/* Reads the pickle that begins the rest of the file, and goes past it. */
static tw_status next_pickle(tw_pickle_source *source, tw_pickle *pickle, tw_error *error)
{
    tw_status status = tw_pickle_read(source, pickle, error);
    if (status == TW_OK) source->at += pickle->used;
    return status;
}

/* The three pickles before the object: a magic number, the protocol 1001, the writer's system. */
static tw_status check_legacy_head(tw_pickle_source *source, tw_error *error)
{
    static const uint8_t magic[10] = {0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19};
    for (int i = 0; i < 3; i++) {
        tw_pickle pickle;
        tw_status status = next_pickle(source, &pickle, error);
        if (status != TW_OK) return status;
        const tw_pickle_node *root = &pickle.nodes[pickle.root];
        const tw_pickle_node *little = tw_pickle_get(&pickle, root, "little_endian");
        if (i == 0 && (root->kind != TW_PICKLE_LONG || root->length != 10 || memcmp(root->text, magic, 10) != 0))
            status = tw_fail(error, TW_INVALID, "%s: a pickle, but not one of torch.save's", source->path);
        if (i == 1 && (root->kind != TW_PICKLE_INT || root->integer != 1001))
            status =
                tw_fail(error, TW_INVALID, "%s: PyTorch's legacy format of another version than 1001", source->path);
        if (i == 2 && (!little || little->kind != TW_PICKLE_BOOL || !little->integer))
            status = tw_fail(error, TW_INVALID, "%s: big-endian numbers, expected little-endian", source->path);
        tw_pickle_free(&pickle);
        if (status != TW_OK) return status;
    }
    return TW_OK;
}

static tw_status open_legacy(const char *path, const tw_mapping *file, tw_weights **weights, tw_error *error)
{
    tw_pickle_source source = {path, file->data, 0, file->bytes};
    tw_pickle pickle;
    tw_status status = check_legacy_head(&source, error);
    if (status == TW_OK) status = next_pickle(&source, &pickle, error);
    if (status != TW_OK) return status;
    storages s = {pickle.nodes, calloc((size_t)pickle.n_nodes + 1, sizeof *s.data), file->bytes};
    status = s.data ? locate_in_legacy(&source, &pickle, &s, error)
                    : tw_no_memory(error, (size_t)pickle.n_nodes, "storages");
    if (status == TW_OK) status = finish(path, file, &pickle, &s, weights, error);
    free(s.data);
    tw_pickle_free(&pickle);
    return status;
}

tw_status tw_pytorch_open(const char *path, const tw_mapping *file, tw_weights **weights, tw_error *error)
{
    return file->data[0] == 'P' ? open_zip(path, file, weights, error) : open_legacy(path, file, weights, error);
}
