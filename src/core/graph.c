/* Building graphs: every call checks its operands, infers the result's shape and appends one node. */
#include "core/graph.h"
#include "core/half.h"
#include "core/status.h"
#include "ops/activation/activation.h"
#include "ops/add/add.h"
#include "ops/batchnorm/batchnorm.h"
#include "ops/concat/concat.h"
#include "ops/conv2d/conv2d.h"
#include "ops/linear/linear.h"
#include "ops/lrn/lrn.h"
#include "ops/pool/pool.h"
#include "ops/reshape/reshape.h"
#include "ops/softmax/softmax.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FAILED = -1, MAX_NODES = 1 << 20 };

/* ---- life ---- */

tw_status tw_graph_create(const char *name, tw_graph **graph, tw_error *error)
{
    *graph = calloc(1, sizeof **graph);
    if (!*graph || !((*graph)->name = tw_strdup(name ? name : "graph"))) {
        free(*graph);
        *graph = NULL;
        return tw_no_memory(error, sizeof **graph, "a graph");
    }
    (*graph)->references = 1;
    return TW_OK;
}

void tw_graph_retain(tw_graph *graph)
{
    __atomic_add_fetch(&graph->references, 1, __ATOMIC_RELAXED);
}

void tw_graph_release(tw_graph *graph)
{
    if (!graph || __atomic_sub_fetch(&graph->references, 1, __ATOMIC_ACQ_REL) != 0) return;
    for (int i = 0; i < graph->n_values; i++) {
        free(graph->values[i].name);
        free(graph->values[i].alias);
        free(graph->values[i].owned);
    }
    for (int i = 0; i < graph->n_nodes; i++) {
        free(graph->nodes[i].name);
        free(graph->nodes[i].params);
    }
    for (int i = 0; i < graph->n_weights; i++) tw_weights_release(graph->weights[i]);
    if (graph->origin) __atomic_sub_fetch(&graph->origin->copies, 1, __ATOMIC_RELEASE);
    tw_graph_release(graph->origin);
    tw_names_free(&graph->names);
    free(graph->values);
    free(graph->nodes);
    free(graph->inputs);
    free(graph->outputs);
    free(graph->parameters);
    free(graph->weights);
    free(graph->name);
    free(graph);
}

const char *tw_graph_name(const tw_graph *graph)
{
    return graph->name;
}

/* The message is there already; the first one is kept. */
__attribute__((format(printf, 3, 4))) static int fail(tw_graph *graph, tw_status status, const char *format, ...)
{
    if (graph->first_error.status != TW_OK) return FAILED;
    va_list args;
    va_start(args, format);
    char message[512];
    vsnprintf(message, sizeof message, format, args);
    va_end(args);
    tw_fail(&graph->first_error, status, "%s: %s", graph->name, message);
    return FAILED;
}

tw_status tw_graph_check(const tw_graph *graph, tw_error *error)
{
    if (graph->first_error.status == TW_OK) return TW_OK;
    if (error) *error = graph->first_error;
    return graph->first_error.status;
}

/* ---- growing ---- */

static bool grow(void **array, int *capacity, int count, size_t size)
{
    if (count < *capacity) return true;
    int wanted = *capacity ? 2 * *capacity : 16;
    void *larger = realloc(*array, (size_t)wanted * size);
    if (!larger) return false;
    *array = larger;
    *capacity = wanted;
    return true;
}

static bool append(int **list, int *count, int value)
{
    int *larger = realloc(*list, (size_t)(*count + 1) * sizeof **list);
    if (!larger) return false;
    *list = larger;
    (*list)[(*count)++] = value;
    return true;
}

tw_value tw_graph_find(const tw_graph *graph, const char *name)
{
    return tw_names_find(&graph->names, name);
}

static int add_value(tw_graph *graph, const char *name, tw_value_kind kind, const tw_shape *shape)
{
    if (tw_graph_find(graph, name) >= 0) return fail(graph, TW_INVALID, "two values are named \"%s\"", name);
    size_t count;
    tw_error inner;
    if (tw_shape_count(shape, TW_F32, &count, &inner) != TW_OK)
        return fail(graph, TW_INVALID, "%s: %s", name, inner.message);
    char *copy = tw_strdup(name);
    if (!copy || !grow((void **)&graph->values, &graph->values_capacity, graph->n_values, sizeof *graph->values) ||
        !tw_names_add(&graph->names, copy, graph->n_values)) {
        free(copy);
        return fail(graph, TW_OUT_OF_MEMORY, "out of memory for %d values", graph->n_values);
    }
    graph->values[graph->n_values] = (tw_graph_value){.name = copy, .kind = kind, .shape = *shape, .producer = -1};
    return graph->n_values++;
}

static bool bad_value(tw_graph *graph, tw_value value, const char *where)
{
    if (graph->first_error.status != TW_OK) return true;
    if (value < 0 || value >= graph->n_values)
        fail(graph, TW_INVALID, "%s: input %d is not a value of this graph", where, value);
    else if (graph->values[value].kind == TW_VALUE_PARAMETER)
        fail(graph, TW_INVALID, "%s: input \"%s\" is a parameter, expected an activation", where,
             graph->values[value].name);
    else
        return false;
    return true;
}

typedef struct new_node {
    const tw_op *op;
    const char *name;
    const void *params;
    int in[TW_MAX_OPERANDS];
    int n_in;
} new_node;

extern const tw_op tw_op_conv2d, tw_op_linear, tw_op_pool, tw_op_relu, tw_op_clip, tw_op_add, tw_op_concat,
    tw_op_softmax, tw_op_batchnorm, tw_op_lrn, tw_op_reshape;

static void input_shapes(const tw_graph *graph, const int *in, int n_in, tw_shape *shapes)
{
    for (int i = 0; i < n_in; i++) shapes[i] = in[i] < 0 ? (tw_shape){.rank = -1} : graph->values[in[i]].shape;
}

static const char *name_or(const tw_graph *graph, const char *name, const char *kind, char buffer[64])
{
    if (name && *name) return name;
    snprintf(buffer, 64, "%s_%d", kind, graph->n_nodes);
    return buffer;
}

/* Infers, appends, and returns the result. */
static int add_node(tw_graph *graph, const new_node *wanted)
{
    tw_shape shapes[TW_MAX_OPERANDS], out;
    tw_error inner;
    if (graph->n_nodes >= MAX_NODES) return fail(graph, TW_INVALID, "more than %d nodes", MAX_NODES);
    void *params = malloc(wanted->op->params_size);
    char *name = tw_strdup(wanted->name);
    if (!params || !name ||
        !grow((void **)&graph->nodes, &graph->nodes_capacity, graph->n_nodes, sizeof *graph->nodes)) {
        free(params);
        free(name);
        return fail(graph, TW_OUT_OF_MEMORY, "out of memory for %d nodes", graph->n_nodes);
    }
    memcpy(params, wanted->params, wanted->op->params_size);
    input_shapes(graph, wanted->in, wanted->n_in, shapes);
    int value = FAILED;
    if (wanted->op->infer(params, shapes, wanted->n_in, &out, &inner) != TW_OK)
        fail(graph, inner.status, "%s: %s", name, inner.message);
    else
        value = add_value(graph, name, TW_VALUE_RESULT, &out);
    if (value < 0) {
        free(params);
        free(name);
        return FAILED;
    }
    tw_node *node = &graph->nodes[graph->n_nodes];
    *node = (tw_node){.op = wanted->op, .name = name, .params = params, .n_in = wanted->n_in, .out = value};
    memcpy(node->in, wanted->in, sizeof node->in);
    graph->values[value].producer = graph->n_nodes++;
    return value;
}

static int add_parameter(tw_graph *graph, const char *node, const char *what, const tw_shape *shape)
{
    char name[512];
    if (graph->first_error.status != TW_OK) return FAILED;
    if (snprintf(name, sizeof name, "%s.%s", node, what) >= (int)sizeof name)
        return fail(graph, TW_INVALID, "%.64s...: the name is too long", node);
    int value = add_value(graph, name, TW_VALUE_PARAMETER, shape);
    if (value >= 0 && !append(&graph->parameters, &graph->n_parameters, value))
        return fail(graph, TW_OUT_OF_MEMORY, "out of memory for %d parameters", graph->n_parameters);
    return value;
}

static int add_vector(tw_graph *graph, const char *node, const char *what, int64_t length)
{
    return add_parameter(graph, node, what, &(tw_shape){1, {length}});
}

/* ---- the public builders ---- */

tw_value tw_graph_input(tw_graph *graph, const char *name, const tw_shape *shape)
{
    if (graph->first_error.status != TW_OK) return FAILED;
    if ((shape->rank != 2 && shape->rank != 4) || shape->dims[0] != 1)
        return fail(graph, TW_INVALID, "input %s: expected [1][channels][height][width] or [1][features]", name);
    for (int i = 1; i < shape->rank; i++)
        if (shape->dims[i] < 1 || shape->dims[i] > INT32_MAX)
            return fail(graph, TW_INVALID, "input %s: dimension %d is %lld, expected 1 to %d", name, i,
                        (long long)shape->dims[i], INT32_MAX);
    if (shape->rank == 4 && shape->dims[2] * shape->dims[3] > INT32_MAX)
        return fail(graph, TW_INVALID, "input %s: a plane of %lld x %lld pixels is too large", name,
                    (long long)shape->dims[2], (long long)shape->dims[3]);
    int value = add_value(graph, name, TW_VALUE_INPUT, shape);
    if (value >= 0 && !append(&graph->inputs, &graph->n_inputs, value))
        return fail(graph, TW_OUT_OF_MEMORY, "out of memory for inputs");
    return value;
}

void tw_graph_output(tw_graph *graph, tw_value value)
{
    if (bad_value(graph, value, "output")) return;
    if (!append(&graph->outputs, &graph->n_outputs, value)) fail(graph, TW_OUT_OF_MEMORY, "out of memory for outputs");
}

static int second(const int pair[2], int otherwise)
{
    int first = pair[0] ? pair[0] : otherwise;
    return pair[1] ? pair[1] : first;
}

static int first(const int pair[2], int otherwise)
{
    return pair[0] ? pair[0] : otherwise;
}

tw_value tw_graph_conv2d(tw_graph *graph, tw_value x, const tw_conv2d_desc *desc)
{
    char buffer[64];
    const char *name = name_or(graph, desc->name, "conv2d", buffer);
    if (bad_value(graph, x, name)) return FAILED;
    const tw_shape *shape = &graph->values[x].shape;
    int groups = desc->groups ? desc->groups : 1;
    if (shape->rank != 4)
        return fail(graph, TW_INVALID, "%s: expected an input of 4 dimensions, not %d", name, shape->rank);
    if (groups < 1 || desc->out_channels < 1 || shape->dims[1] % groups || desc->out_channels % groups)
        return fail(graph, TW_INVALID, "%s: %d groups do not divide %lld input and %d output channels", name, groups,
                    (long long)shape->dims[1], desc->out_channels);
    tw_conv2d p = {
        .groups = groups,
        .oc = desc->out_channels,
        .kh = first(desc->kernel, 1),
        .kw = second(desc->kernel, 1),
        .sh = first(desc->stride, 1),
        .sw = second(desc->stride, 1),
        .pt = desc->padding[0],
        .pl = desc->padding[1],
        .pb = desc->padding[2],
        .pr = desc->padding[3],
        .dilh = first(desc->dilation, 1),
        .dilw = second(desc->dilation, 1),
        .has_bias = desc->bias,
    };
    tw_shape weight = {4, {p.oc, shape->dims[1] / groups, p.kh, p.kw}};
    new_node node = {.op = &tw_op_conv2d, .name = name, .params = &p, .n_in = 4};
    node.in[0] = x;
    node.in[1] = add_parameter(graph, name, "weight", &weight);
    node.in[2] = desc->bias ? add_vector(graph, name, "bias", p.oc) : FAILED;
    node.in[3] = FAILED;
    return graph->first_error.status == TW_OK ? add_node(graph, &node) : FAILED;
}

tw_value tw_graph_linear(tw_graph *graph, tw_value x, const tw_linear_desc *desc)
{
    char buffer[64];
    const char *name = name_or(graph, desc->name, "linear", buffer);
    if (bad_value(graph, x, name)) return FAILED;
    const tw_shape *shape = &graph->values[x].shape;
    if (shape->rank != 2)
        return fail(graph, TW_INVALID, "%s: expected an input of 2 dimensions, not %d", name, shape->rank);
    if (desc->out_features < 1) return fail(graph, TW_INVALID, "%s: %d output features", name, desc->out_features);
    tw_linear p = {.oc = desc->out_features, .has_bias = desc->bias};
    tw_shape weight = {2, {p.oc, shape->dims[1]}};
    new_node node = {.op = &tw_op_linear, .name = name, .params = &p, .n_in = 3};
    node.in[0] = x;
    node.in[1] = add_parameter(graph, name, "weight", &weight);
    node.in[2] = desc->bias ? add_vector(graph, name, "bias", p.oc) : FAILED;
    return graph->first_error.status == TW_OK ? add_node(graph, &node) : FAILED;
}

/* Nodes with one input and no parameters. */
static tw_value unary(tw_graph *graph, const tw_op *op, tw_value x, const void *params, const char *name)
{
    char buffer[64];
    name = name_or(graph, name, op->name, buffer);
    if (bad_value(graph, x, name)) return FAILED;
    return add_node(graph, &(new_node){.op = op, .name = name, .params = params, .in = {x}, .n_in = 1});
}

tw_value tw_graph_pool(tw_graph *graph, tw_value x, const tw_pool_desc *desc)
{
    tw_pool p = {
        .kind = (int)desc->kind,
        .kh = first(desc->kernel, 1),
        .kw = second(desc->kernel, 1),
        .pt = desc->padding[0],
        .pl = desc->padding[1],
        .pb = desc->padding[2],
        .pr = desc->padding[3],
        .dilh = first(desc->dilation, 1),
        .dilw = second(desc->dilation, 1),
        .ceil_mode = desc->ceil_mode,
        .count_include_pad = desc->count_include_pad,
    };
    p.sh = first(desc->stride, p.kh);
    p.sw = desc->stride[1] ? desc->stride[1] : desc->stride[0] ? p.sh : p.kw;
    if (desc->kind == TW_POOL_ADAPTIVE_AVERAGE) {
        p.oh = first(desc->output, 1);
        p.ow = second(desc->output, 1);
    }
    return unary(graph, &tw_op_pool, x, &p, desc->name);
}

tw_value tw_graph_relu(tw_graph *graph, tw_value x, const char *name)
{
    return unary(graph, &tw_op_relu, x, &(tw_clip){.low = 0, .high = INFINITY}, name);
}

tw_value tw_graph_clip(tw_graph *graph, tw_value x, float low, float high, const char *name)
{
    if (!(low <= high))
        return fail(graph, TW_INVALID, "%s: clip to %g .. %g", name ? name : "clip", (double)low, (double)high);
    return unary(graph, &tw_op_clip, x, &(tw_clip){.low = low, .high = high}, name);
}

tw_value tw_graph_add(tw_graph *graph, tw_value a, tw_value b, const char *name)
{
    char buffer[64];
    name = name_or(graph, name, "add", buffer);
    if (bad_value(graph, a, name) || bad_value(graph, b, name)) return FAILED;
    return add_node(graph,
                    &(new_node){.op = &tw_op_add, .name = name, .params = &(tw_add){0}, .in = {a, b}, .n_in = 2});
}

tw_value tw_graph_concat(tw_graph *graph, const tw_value *values, int count, const char *name)
{
    char buffer[64];
    name = name_or(graph, name, "concat", buffer);
    if (count < 1 || count > TW_CONCAT_MAX)
        return fail(graph, TW_INVALID, "%s: %d values, expected 1 to %d", name, count, TW_CONCAT_MAX);
    new_node node = {.op = &tw_op_concat, .name = name, .params = &(tw_concat){.count = count}, .n_in = count};
    for (int i = 0; i < count; i++) {
        if (bad_value(graph, values[i], name)) return FAILED;
        node.in[i] = values[i];
    }
    return add_node(graph, &node);
}

tw_value tw_graph_softmax(tw_graph *graph, tw_value x, const char *name)
{
    return unary(graph, &tw_op_softmax, x, &(tw_softmax){0}, name);
}

tw_value tw_graph_batchnorm(tw_graph *graph, tw_value x, float epsilon, const char *name)
{
    char buffer[64];
    name = name_or(graph, name, "batchnorm", buffer);
    if (bad_value(graph, x, name)) return FAILED;
    if (!(epsilon >= 0)) return fail(graph, TW_INVALID, "%s: epsilon is %g", name, (double)epsilon);
    static const char *const parts[] = {"weight", "bias", "running_mean", "running_var"};
    new_node node = {.op = &tw_op_batchnorm, .name = name, .params = &(tw_batchnorm){.epsilon = epsilon}, .n_in = 5};
    node.in[0] = x;
    for (int i = 0; i < 4; i++) {
        int value = add_vector(graph, name, parts[i], graph->values[x].shape.dims[1]);
        if (value < 0) return FAILED;
        graph->values[value].statistic = i >= 2;
        node.in[1 + i] = value;
    }
    return add_node(graph, &node);
}

tw_value tw_graph_lrn(tw_graph *graph, tw_value x, const tw_lrn_desc *desc)
{
    tw_lrn p = {.size = desc->size, .alpha = desc->alpha, .beta = desc->beta, .k = desc->k};
    return unary(graph, &tw_op_lrn, x, &p, desc->name);
}

static tw_value reshape_to(tw_graph *graph, tw_value x, const tw_shape *shape, const char *name)
{
    tw_reshape p = {.rank = shape->rank, .infer = -1};
    for (int i = 0; i < shape->rank; i++) {
        if (shape->dims[i] == -1 && i > 0 && p.infer < 0)
            p.infer = i;
        else if (shape->dims[i] < 1 || shape->dims[i] > INT32_MAX)
            return fail(graph, TW_INVALID, "%s: dimension %d is %lld", name, i, (long long)shape->dims[i]);
        p.dims[i] = (int)shape->dims[i];
    }
    return unary(graph, &tw_op_reshape, x, &p, name);
}

tw_value tw_graph_reshape(tw_graph *graph, tw_value x, const tw_shape *shape, const char *name)
{
    char buffer[64];
    name = name_or(graph, name, "reshape", buffer);
    if (bad_value(graph, x, name)) return FAILED;
    if (shape->rank != 2 && shape->rank != 4)
        return fail(graph, TW_INVALID, "%s: to %d dimensions, expected 2 or 4", name, shape->rank);
    return reshape_to(graph, x, shape, name);
}

tw_value tw_graph_flatten(tw_graph *graph, tw_value x, const char *name)
{
    char buffer[64];
    name = name_or(graph, name, "flatten", buffer);
    if (bad_value(graph, x, name)) return FAILED;
    return reshape_to(graph, x, &(tw_shape){2, {1, -1}}, name);
}

tw_value tw_graph_dropout(tw_graph *graph, tw_value x, float probability, const char *name)
{
    char buffer[64];
    name = name_or(graph, name, "dropout", buffer);
    if (bad_value(graph, x, name)) return FAILED;
    if (!(probability >= 0 && probability <= 1))
        return fail(graph, TW_INVALID, "%s: probability %g", name, (double)probability);
    tw_shape shape = graph->values[x].shape;
    tw_value result = reshape_to(graph, x, &shape, name);
    if (result >= 0) graph->nodes[graph->values[result].producer].dropout = probability;
    return result;
}

/* ---- looking ---- */

void tw_shape_print(const tw_shape *shape, char *text, size_t size)
{
    size_t at = 0;
    if (size) *text = 0;
    for (int i = 0; i < shape->rank && at < size; i++)
        at += (size_t)snprintf(text + at, size - at, i ? "x%lld" : "%lld", (long long)shape->dims[i]);
    if (shape->rank == 0) snprintf(text, size, "scalar");
}

tw_status tw_graph_shape(const tw_graph *graph, tw_value value, tw_shape *shape, tw_error *error)
{
    if (value < 0 || value >= graph->n_values)
        return tw_fail(error, TW_INVALID, "%s: %d is not a value of this graph", graph->name, value);
    *shape = graph->values[value].shape;
    return TW_OK;
}

void tw_graph_describe(const tw_graph *graph, tw_graph_info *info)
{
    *info = (tw_graph_info){
        (size_t)graph->n_inputs, (size_t)graph->n_outputs, (size_t)graph->n_nodes, (size_t)graph->n_parameters, 0, 0};
    for (int i = 0; i < graph->n_parameters; i++) {
        const tw_graph_value *value = &graph->values[graph->parameters[i]];
        if (!value->statistic) info->parameter_count += tw_layout_count(&value->shape, TW_PLAIN);
    }
    for (int i = 0; i < graph->n_nodes; i++) info->flops += graph->nodes[i].op->flops(graph->nodes[i].params);
}

tw_value tw_graph_input_at(const tw_graph *graph, size_t index)
{
    return index < (size_t)graph->n_inputs ? graph->inputs[index] : FAILED;
}

tw_value tw_graph_output_at(const tw_graph *graph, size_t index)
{
    return index < (size_t)graph->n_outputs ? graph->outputs[index] : FAILED;
}

const char *tw_graph_parameter(const tw_graph *graph, size_t index, tw_tensor *view)
{
    if (index >= (size_t)graph->n_parameters) return NULL;
    const tw_graph_value *value = &graph->values[graph->parameters[index]];
    if (view) *view = (tw_tensor){TW_F32, value->shape, (void *)value->data};
    return value->name;
}

/* ---- parameters ---- */

void tw_graph_alias(tw_graph *graph, const char *parameter, const char *alias)
{
    int value = tw_graph_find(graph, parameter);
    if (value < 0 || graph->values[value].kind != TW_VALUE_PARAMETER) {
        fail(graph, TW_INVALID, "no parameter \"%s\" to give an alias", parameter);
        return;
    }
    free(graph->values[value].alias);
    graph->values[value].alias = tw_strdup(alias);
    if (!graph->values[value].alias) fail(graph, TW_OUT_OF_MEMORY, "out of memory for an alias");
}

static tw_status check_unplanned(const tw_graph *graph, tw_error *error)
{
    if (__atomic_load_n(&graph->copies, __ATOMIC_ACQUIRE) == 0) return TW_OK;
    return tw_fail(error, TW_INVALID, "%s: a plan was made of the graph and reads its parameters", graph->name);
}

tw_status tw_graph_own_parameter(tw_graph *graph, size_t index, float **data, tw_error *error)
{
    tw_graph_value *value = &graph->values[graph->parameters[index]];
    tw_status status = check_unplanned(graph, error);
    if (status != TW_OK) return status;
    size_t bytes = tw_layout_count(&value->shape, TW_PLAIN) * sizeof(float);
    float *fresh = tw_alloc(bytes);
    if (!fresh) return tw_no_memory(error, bytes, value->name);
    free(value->owned);
    value->data = value->owned = *data = fresh;
    return TW_OK;
}

static bool same_shape(const tw_shape *a, const tw_shape *b)
{
    if (a->rank != b->rank) return false;
    for (int i = 0; i < a->rank; i++)
        if (a->dims[i] != b->dims[i]) return false;
    return true;
}

static void widen(const tw_tensor *from, float *to, size_t count)
{
    if (from->dtype == TW_F32) {
        memcpy(to, from->data, count * sizeof(float));
        return;
    }
    for (size_t i = 0; i < count; i++) {
        uint16_t half;
        memcpy(&half, (const char *)from->data + 2 * i, sizeof half);
        uint32_t bits = (uint32_t)half << 16;
        if (from->dtype == TW_F16)
            to[i] = tw_widen_half(half);
        else
            memcpy(&to[i], &bits, sizeof bits);
    }
}

/* The tensor for a parameter, checked. */
static tw_status find_tensor(const tw_graph *graph, int index, const tw_weights *weights, const tw_tensor **tensor,
                             tw_error *error)
{
    const tw_graph_value *value = &graph->values[graph->parameters[index]];
    char wanted[128], found[128];
    tw_shape_print(&value->shape, wanted, sizeof wanted);
    const tw_tensor *t = tw_weights_find(weights, value->name);
    if (!t && value->alias) t = tw_weights_find(weights, value->alias);
    *tensor = t;
    if (!t)
        return tw_fail(error, TW_INVALID, "%s: the weights have no tensor \"%s\"%s%s%s of shape %s", graph->name,
                       value->name, value->alias ? " (or \"" : "", value->alias ? value->alias : "",
                       value->alias ? "\")" : "", wanted);
    tw_shape_print(&t->shape, found, sizeof found);
    if (!same_shape(&t->shape, &value->shape))
        return tw_fail(error, TW_INVALID, "%s: tensor \"%s\" has shape %s, expected %s", graph->name, value->name,
                       found, wanted);
    if (t->dtype != TW_F32 && t->dtype != TW_F16 && t->dtype != TW_BF16)
        return tw_fail(error, TW_INVALID, "%s: tensor \"%s\" is %s, expected float32, float16 or bfloat16", graph->name,
                       value->name, tw_dtype_name(t->dtype));
    return TW_OK;
}

static tw_status bind_one(tw_graph *graph, int index, const tw_tensor *tensor, tw_error *error)
{
    tw_graph_value *value = &graph->values[graph->parameters[index]];
    if (tensor->dtype == TW_F32 && (uintptr_t)tensor->data % sizeof(float) == 0) {
        free(value->owned);
        value->owned = NULL;
        value->data = tensor->data;
        return TW_OK;
    }
    float *data = NULL;
    tw_status status = tw_graph_own_parameter(graph, (size_t)index, &data, error);
    if (status == TW_OK) widen(tensor, data, tw_layout_count(&value->shape, TW_PLAIN));
    return status;
}

/* Everything is checked before anything changes. */
tw_status tw_graph_bind(tw_graph *graph, tw_weights *weights, tw_error *error)
{
    const tw_tensor *tensor = NULL;
    tw_status status = tw_graph_check(graph, error);
    if (status == TW_OK) status = check_unplanned(graph, error);
    for (int i = 0; status == TW_OK && i < graph->n_parameters; i++)
        status = find_tensor(graph, i, weights, &tensor, error);
    if (status != TW_OK) return status;
    tw_weights **larger = realloc(graph->weights, (size_t)(graph->n_weights + 1) * sizeof(tw_weights *));
    if (!larger) return tw_no_memory(error, sizeof *larger, "weights");
    graph->weights = larger;
    graph->weights[graph->n_weights++] = weights;
    tw_weights_retain(weights);
    for (int i = 0; status == TW_OK && i < graph->n_parameters; i++) {
        status = find_tensor(graph, i, weights, &tensor, error);
        if (status == TW_OK) status = bind_one(graph, i, tensor, error);
    }
    return status;
}

/* ---- copies ---- */

static tw_status infer_again(tw_graph *copy, tw_error *error)
{
    for (int i = 0; i < copy->n_nodes; i++) {
        tw_node *node = &copy->nodes[i];
        tw_shape shapes[TW_MAX_OPERANDS];
        input_shapes(copy, node->in, node->n_in, shapes);
        tw_shape *out = &copy->values[node->out].shape;
        tw_status status = node->op->infer(node->params, shapes, node->n_in, out, error);
        size_t count;
        if (status == TW_OK) status = tw_shape_count(out, TW_F32, &count, error);
        if (status != TW_OK) {
            tw_error_prefix(error, "%s: %s", copy->name, node->name);
            return status;
        }
    }
    return TW_OK;
}

static int *copy_list(const int *list, int count)
{
    int *copy = malloc((size_t)(count + 1) * sizeof *copy);
    if (copy && count) memcpy(copy, list, (size_t)count * sizeof *copy);
    return copy;
}

/* False where memory ends; the half-made copy is released by the caller. */
static bool copy_contents(const tw_graph *graph, tw_graph *copy)
{
    copy->values = calloc((size_t)graph->n_values + 1, sizeof *copy->values);
    copy->nodes = calloc((size_t)graph->n_nodes + 1, sizeof *copy->nodes);
    copy->inputs = copy_list(graph->inputs, graph->n_inputs);
    copy->outputs = copy_list(graph->outputs, graph->n_outputs);
    copy->parameters = copy_list(graph->parameters, graph->n_parameters);
    if (!copy->values || !copy->nodes || !copy->inputs || !copy->outputs || !copy->parameters) return false;
    copy->values_capacity = graph->n_values + 1;
    copy->nodes_capacity = graph->n_nodes + 1;
    copy->n_inputs = graph->n_inputs;
    copy->n_outputs = graph->n_outputs;
    copy->n_parameters = graph->n_parameters;
    for (int i = 0; i < graph->n_values; i++) {
        copy->values[i] = graph->values[i];
        copy->values[i].owned = NULL;
        copy->values[i].alias = NULL;
        copy->values[i].name = tw_strdup(graph->values[i].name);
        copy->n_values = i + 1;
        if (!copy->values[i].name || !tw_names_add(&copy->names, copy->values[i].name, i)) return false;
    }
    for (int i = 0; i < graph->n_nodes; i++) {
        const tw_node *from = &graph->nodes[i];
        tw_node *to = &copy->nodes[i];
        *to = *from;
        to->name = tw_strdup(from->name);
        to->params = malloc(from->op->params_size);
        copy->n_nodes = i + 1;
        if (!to->name || !to->params) return false;
        memcpy(to->params, from->params, from->op->params_size);
    }
    return true;
}

tw_status tw_graph_copy(tw_graph *graph, int batch, tw_graph **copy, tw_error *error)
{
    tw_status status = tw_graph_check(graph, error);
    if (status == TW_OK) status = tw_graph_create(graph->name, copy, error);
    if (status != TW_OK) return status;
    (*copy)->origin = graph;
    __atomic_add_fetch(&graph->copies, 1, __ATOMIC_RELAXED);
    tw_graph_retain(graph);
    if (!copy_contents(graph, *copy)) {
        status = tw_no_memory(error, (size_t)graph->n_values, "a copy of the graph");
    } else {
        for (int i = 0; i < graph->n_inputs; i++) (*copy)->values[graph->inputs[i]].shape.dims[0] = batch;
        status = infer_again(*copy, error);
    }
    if (status != TW_OK) {
        tw_graph_release(*copy);
        *copy = NULL;
    }
    return status;
}
