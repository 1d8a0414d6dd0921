/* The values of an import: their memory, their names, how a node reads and writes them, and what was left undone. */
#include "onnx/import.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- memory ---- */

struct tw_onnx_block {
    tw_onnx_block *next;
    void *data;
};

tw_status tw_onnx_owner_create(const char *path, size_t limit, tw_onnx_owner **owner, tw_error *error)
{
    *owner = calloc(1, sizeof **owner);
    if (!*owner) return tw_no_memory(error, sizeof **owner, "a model");
    tw_status status = tw_onnx_model_open(path, limit, &(*owner)->model, error);
    if (status != TW_OK) {
        free(*owner);
        *owner = NULL;
    }
    return status;
}

void tw_onnx_owner_release(void *owner)
{
    tw_onnx_owner *own = owner;
    if (!own) return;
    while (own->blocks) {
        tw_onnx_block *block = own->blocks;
        own->blocks = block->next;
        free(block->data);
        free(block);
    }
    tw_onnx_model_release(own->model);
    free(own);
}

void *tw_onnx_alloc(tw_onnx_import *import, size_t count, size_t size)
{
    tw_onnx_owner *owner = import->owner;
    size_t bytes;
    if (!tw_checked_mul(count ? count : 1, size, &bytes)) bytes = SIZE_MAX;
    if (tw_onnx_model_charge(owner->model, bytes, &import->error) != TW_OK) return NULL;
    tw_onnx_block *block = malloc(sizeof *block);
    void *data = bytes < TW_ALIGNMENT ? calloc(1, bytes) : tw_alloc_zero(bytes);
    if (!block || !data) {
        free(block);
        free(data);
        tw_no_memory(&import->error, bytes, "a model's constants");
        return NULL;
    }
    *block = (tw_onnx_block){owner->blocks, data};
    owner->blocks = block;
    return data;
}

static const char *copy_text(tw_onnx_import *import, const char *text)
{
    char *copy = tw_onnx_alloc(import, strlen(text) + 1, 1);
    return copy ? strcpy(copy, text) : NULL;
}

/* ---- failures ---- */

static const char *own_name(const tw_onnx_node *n)
{
    if (*n->proto->name) return n->proto->name;
    for (size_t i = 0; i < n->proto->n_output; i++)
        if (*n->proto->output[i]) return n->proto->output[i];
    return n->proto->op_type;
}

void tw_onnx_fatal(tw_onnx_node *n)
{
    if (n->status != TW_OK) return;
    n->status = n->import->error.status;
    tw_error_prefix(&n->import->error, "node \"%.200s\" (%.64s)", own_name(n), n->proto->op_type);
}

static bool grow_refusals(tw_onnx_import *import)
{
    if (import->n_refusals < import->refusals_capacity) return true;
    size_t capacity = import->refusals_capacity ? 2 * import->refusals_capacity : 16;
    tw_onnx_refusal *larger = realloc(import->refusals, capacity * sizeof *larger);
    if (!larger) {
        tw_no_memory(&import->error, capacity * sizeof *larger, "a list of operators");
        return false;
    }
    import->refusals = larger;
    import->refusals_capacity = capacity;
    return true;
}

void tw_onnx_refuse(tw_onnx_node *n, const char *format, ...)
{
    char what[256];
    if (n->status != TW_OK) return;
    bool standard = !*n->proto->domain || strcmp(n->proto->domain, "ai.onnx") == 0;
    int at = snprintf(what, sizeof what, "%.64s%s%.64s", standard ? "" : n->proto->domain, standard ? "" : ".",
                      n->proto->op_type);
    if (format) {
        va_list args;
        va_start(args, format);
        what[at++] = ' ';
        vsnprintf(what + at, sizeof what - (size_t)at, format, args);
        va_end(args);
    }
    tw_onnx_import *import = n->import;
    const char *copy = copy_text(import, what);
    if (!copy || !grow_refusals(import)) {
        tw_onnx_fatal(n);
        return;
    }
    import->refusals[import->n_refusals++] = (tw_onnx_refusal){copy, own_name(n)};
    n->status = TW_UNAVAILABLE;
}

void tw_onnx_invalid(tw_onnx_node *n, const char *format, ...)
{
    char message[512];
    if (n->status != TW_OK) return;
    va_list args;
    va_start(args, format);
    vsnprintf(message, sizeof message, format, args);
    va_end(args);
    tw_fail(&n->import->error, TW_INVALID, "node \"%.200s\" (%.64s): %s", own_name(n), n->proto->op_type, message);
    n->status = TW_INVALID;
}

/* ---- names in the graph ---- */

static const char *const parts[] = {"", ".weight", ".bias", ".running_mean", ".running_var"};
enum { PARTS = sizeof parts / sizeof *parts };

/* Neither the name nor those of the parameters that it may get are taken. */
static bool is_free(const tw_onnx_import *import, const char *name, char *buffer, size_t size)
{
    for (int i = 0; i < PARTS; i++) {
        snprintf(buffer, size, "%s%s", name, parts[i]);
        if (tw_names_find(&import->used_names, buffer) >= 0) return false;
    }
    return true;
}

static bool reserve(tw_onnx_import *import, const char *name, char *buffer, size_t size)
{
    for (int i = 0; i < PARTS; i++) {
        snprintf(buffer, size, "%s%s", name, parts[i]);
        const char *copy = copy_text(import, buffer);
        if (!copy) return false;
        if (!tw_names_add(&import->used_names, copy, 0)) {
            tw_no_memory(&import->error, import->used_names.count, "names");
            return false;
        }
    }
    return true;
}

/* wanted, or wanted_2, or with the node's index, so that thousands of one name take few tries each. */
static const char *unique_name(tw_onnx_node *n, const char *wanted)
{
    tw_onnx_import *import = n->import;
    size_t size = strlen(wanted) + 48;
    char *name = tw_onnx_alloc(import, size, 1), *buffer = tw_onnx_alloc(import, size, 1);
    if (!name || !buffer) {
        tw_onnx_fatal(n);
        return NULL;
    }
    snprintf(name, size, "%s", wanted);
    if (!is_free(import, name, buffer, size)) {
        for (int i = 2; i < 8; i++) {
            snprintf(name, size, "%s_%d", wanted, i);
            if (is_free(import, name, buffer, size)) break;
            snprintf(name, size, "%s_node%d_%d", wanted, n->index, i);
            if (is_free(import, name, buffer, size)) break;
        }
    }
    if (!reserve(import, name, buffer, size)) {
        tw_onnx_fatal(n);
        return NULL;
    }
    return name;
}

const char *tw_onnx_name(tw_onnx_node *n)
{
    if (!n->name && n->status == TW_OK) n->name = unique_name(n, own_name(n));
    return n->name ? n->name : "";
}

const char *tw_onnx_helper_name(tw_onnx_node *n, const char *what)
{
    const char *base = own_name(n);
    size_t size = strlen(base) + strlen(what) + 16;
    char *wanted = tw_onnx_alloc(n->import, size, 1);
    if (!wanted) {
        tw_onnx_fatal(n);
        return "";
    }
    if (n->helpers++)
        snprintf(wanted, size, "%s/%s%d", base, what, n->helpers);
    else
        snprintf(wanted, size, "%s/%s", base, what);
    const char *name = unique_name(n, wanted);
    return name ? name : "";
}

/* ---- shapes ---- */

int64_t tw_onnx_product(const tw_shape *shape, int from, int to)
{
    int64_t product = 1;
    for (int i = from; i < to; i++) product *= shape->dims[i];
    return product;
}

int64_t tw_onnx_elements(const tw_shape *shape)
{
    return tw_onnx_product(shape, 0, shape->rank);
}

bool tw_onnx_axis(tw_onnx_node *n, int64_t axis, int rank, int *out)
{
    if (n->status != TW_OK) return false;
    if (axis < -rank || axis >= rank) {
        tw_onnx_invalid(n, "axis %lld of %d dimensions", (long long)axis, rank);
        return false;
    }
    *out = (int)(axis < 0 ? axis + rank : axis);
    return true;
}

bool tw_onnx_size(tw_onnx_node *n, const char *what, int64_t value, int least, int *out)
{
    if (n->status != TW_OK) return false;
    if (value < least || value > INT_MAX / 4) {
        tw_onnx_invalid(n, "%s is %lld, expected %d to %d", what, (long long)value, least, INT_MAX / 4);
        return false;
    }
    *out = (int)value;
    return true;
}

tw_shape tw_onnx_graph_shape(const tw_shape *shape)
{
    const int64_t *d = shape->dims;
    int rank = shape->rank;
    if (rank >= 2 && d[0] == 1) {
        d++;
        rank--;
    }
    if (rank == 1) return (tw_shape){2, {1, d[0]}};
    if (rank == 2) return (tw_shape){4, {1, d[0], 1, d[1]}};
    if (rank == 3) return (tw_shape){4, {1, d[0], d[1], d[2]}};
    return (tw_shape){2, {1, tw_onnx_elements(shape)}};
}

static bool same_dims(const tw_shape *a, const tw_shape *b)
{
    return a->rank == b->rank && memcmp(a->dims, b->dims, (size_t)a->rank * sizeof *a->dims) == 0;
}

/* ---- a node's inputs ---- */

int tw_onnx_inputs(const tw_onnx_node *n)
{
    return n->proto->n_input > INT_MAX ? INT_MAX : (int)n->proto->n_input;
}

tw_onnx_value *tw_onnx_input(tw_onnx_node *n, int index)
{
    if (index >= tw_onnx_inputs(n) || !*n->proto->input[index]) return NULL;
    int at = tw_names_find(&n->import->values_by_name, n->proto->input[index]);
    return at < 0 ? NULL : &n->import->values[at];
}

tw_onnx_value *tw_onnx_need(tw_onnx_node *n, int index)
{
    if (n->status != TW_OK) return NULL;
    tw_onnx_value *value = tw_onnx_input(n, index);
    if (!value) tw_onnx_invalid(n, "input %d is missing", index);
    return value;
}

bool tw_onnx_is_activation(tw_onnx_node *n, int index)
{
    const tw_onnx_value *value = tw_onnx_input(n, index);
    return value && value->kind == TW_ONNX_ACTIVATION;
}

tw_onnx_value *tw_onnx_constant(tw_onnx_node *n, int index)
{
    tw_onnx_value *value = tw_onnx_need(n, index);
    if (!value) return NULL;
    if (value->kind == TW_ONNX_CONSTANT) return value;
    tw_onnx_refuse(n, "whose input %d is not constant", index);
    return NULL;
}

/* Zeros around an image as a 1x1 convolution of each channel with weight 1: exact, and any operator can follow. */
void tw_onnx_add_padding(tw_onnx_node *n, tw_onnx_value *value)
{
    tw_graph *graph = n->import->graph;
    const int *pad = value->pad;
    if (!pad[0] && !pad[1] && !pad[2] && !pad[3]) return;
    int64_t c = value->shape.dims[1], h = value->shape.dims[2] - pad[0] - pad[2],
            w = value->shape.dims[3] - pad[1] - pad[3];
    int channels;
    if (!tw_onnx_size(n, "the number of channels", c, 1, &channels)) return;
    const char *name = tw_onnx_helper_name(n, "pad");
    tw_onnx_value bare = *value;
    tw_value x = tw_onnx_view(n, &bare, &(tw_shape){4, {1, c, h, w}});
    tw_conv2d_desc desc = {.name = name,
                           .out_channels = channels,
                           .kernel = {1, 1},
                           .padding = {pad[0], pad[1], pad[2], pad[3]},
                           .groups = channels};
    tw_tensor ones;
    if (!tw_onnx_new_floats(n, &(tw_shape){4, {c, 1, 1, 1}}, &ones)) return;
    for (int64_t i = 0; i < c; i++) ((float *)ones.data)[i] = 1;
    value->value = tw_graph_conv2d(graph, x, &desc);
    memset(value->pad, 0, sizeof value->pad);
    tw_onnx_parameter(n, name, "weight", &ones, NULL);
}

/* Is it an input of the graph whose last dimension a Transpose made the channels, as in exports from TensorFlow? */
static bool has_channels_last(const tw_onnx_node *n, const tw_onnx_value *value)
{
    static const int perm[] = {0, 3, 1, 2};
    if (value->order.rank != 4 || memcmp(value->order.perm, perm, sizeof perm) != 0) return false;
    tw_onnx_node producer = {.import = n->import, .proto = n->import->proto->node[value->producer]};
    const tw_onnx_value *from = tw_onnx_input(&producer, 0);
    return strcmp(producer.proto->op_type, "Transpose") == 0 && from && from->producer == -1;
}

tw_onnx_value *tw_onnx_activation(tw_onnx_node *n, int index)
{
    tw_onnx_value *value = tw_onnx_need(n, index);
    if (!value) return NULL;
    if (value->kind != TW_ONNX_ACTIVATION) {
        tw_onnx_refuse(n, "of constants");
        return NULL;
    }
    if (value->order.rank) {
        tw_onnx_refuse(n, has_channels_last(n, value)
                              ? "of an input with channels last (export with channels first; tf2onnx: --inputs-as-nchw)"
                              : "of a transposed activation");
        return NULL;
    }
    tw_onnx_add_padding(n, value);
    return n->status == TW_OK ? value : NULL;
}

bool tw_onnx_output_used(const tw_onnx_node *n, int index)
{
    if ((size_t)index >= n->proto->n_output || !*n->proto->output[index]) return false;
    int at = tw_names_find(&n->import->values_by_name, n->proto->output[index]);
    return at >= 0 && n->import->values[at].readers > 0;
}

/* ---- a node's output ---- */

static tw_onnx_value *output(tw_onnx_node *n)
{
    if (n->status != TW_OK) return NULL;
    int at = n->proto->n_output && *n->proto->output[0] ? tw_names_find(&n->import->values_by_name, n->proto->output[0])
                                                        : -1;
    if (at < 0) {
        tw_onnx_invalid(n, "it has no output");
        return NULL;
    }
    return &n->import->values[at];
}

void tw_onnx_set_activation(tw_onnx_node *n, tw_value value, const tw_shape *shape)
{
    tw_onnx_value *out = output(n);
    if (!out) return;
    tw_error error;
    if (tw_graph_check(n->import->graph, &error) != TW_OK) {
        n->import->error = error;
        tw_onnx_fatal(n);
        return;
    }
    out->kind = TW_ONNX_ACTIVATION;
    out->value = value;
    out->shape = *shape;
}

void tw_onnx_set_constant(tw_onnx_node *n, const tw_tensor *tensor, const char *initializer)
{
    tw_onnx_value *out = output(n);
    if (!out) return;
    out->kind = TW_ONNX_CONSTANT;
    out->constant = *tensor;
    out->shape = tensor->shape;
    out->initializer = initializer;
}

void tw_onnx_set_numbers(tw_onnx_node *n, const tw_onnx_number *numbers, const tw_shape *shape)
{
    tw_onnx_value *out = output(n);
    if (!out) return;
    out->kind = TW_ONNX_NUMBERS;
    out->numbers = numbers;
    out->shape = *shape;
}

void tw_onnx_set_same(tw_onnx_node *n, const tw_onnx_value *value, const tw_shape *shape)
{
    tw_onnx_value *out = output(n);
    if (!out) return;
    out->kind = value->kind;
    out->shape = shape ? *shape : value->shape;
    out->constant = value->constant;
    out->constant.shape = out->shape;
    out->initializer = shape && !same_dims(shape, &value->shape) ? NULL : value->initializer;
    out->numbers = value->numbers;
    out->value = value->value;
    out->order = value->order;
    memcpy(out->pad, value->pad, sizeof out->pad);
}

tw_value tw_onnx_view(tw_onnx_node *n, const tw_onnx_value *value, const tw_shape *shape)
{
    tw_shape now;
    tw_graph *graph = n->import->graph;
    if (n->status != TW_OK || tw_graph_shape(graph, value->value, &now, NULL) != TW_OK) return -1;
    if (same_dims(&now, shape)) return value->value;
    return tw_graph_reshape(graph, value->value, shape, tw_onnx_helper_name(n, "reshape"));
}

/* ---- parameters ---- */

static bool grow_tensors(tw_onnx_import *import)
{
    if (import->n_tensors < import->tensors_capacity) return true;
    size_t capacity = import->tensors_capacity ? 2 * import->tensors_capacity : 64;
    tw_named_tensor *larger = realloc(import->tensors, capacity * sizeof *larger);
    if (!larger) {
        tw_no_memory(&import->error, capacity * sizeof *larger, "a table of weights");
        return false;
    }
    import->tensors = larger;
    import->tensors_capacity = capacity;
    return true;
}

void tw_onnx_parameter(tw_onnx_node *n, const char *name, const char *part, const tw_tensor *view,
                       const char *initializer)
{
    tw_onnx_import *import = n->import;
    if (n->status != TW_OK) return;
    size_t size = strlen(name) + strlen(part) + 2;
    char *full = tw_onnx_alloc(import, size, 1);
    if (!full || !grow_tensors(import)) {
        tw_onnx_fatal(n);
        return;
    }
    snprintf(full, size, "%s.%s", name, part);
    import->tensors[import->n_tensors++] = (tw_named_tensor){full, *view};
    if (initializer && strcmp(initializer, full) != 0) tw_graph_alias(import->graph, full, initializer);
}
