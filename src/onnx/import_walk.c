/* The walk over an ONNX graph: names are entered, what no output needs is left out, and each node is handed to its
 * operator's function in the order of the file, which ONNX requires to be topological. */
#include "onnx/import.h"

#include <stdlib.h>
#include <string.h>

enum { MAX_NODES = 1 << 14 }; /* that the outputs need */
enum { INPUT = -1, NOTHING = -2 };

static tw_onnx_value *add_value(tw_onnx_import *import, const char *name, int producer)
{
    if (!tw_names_add(&import->values_by_name, name, import->n_values)) {
        tw_no_memory(&import->error, (size_t)import->n_values, "names");
        return NULL;
    }
    tw_onnx_value *value = &import->values[import->n_values++];
    *value = (tw_onnx_value){.name = name, .producer = producer, .reader = -1};
    return value;
}

static tw_onnx_value *find(const tw_onnx_import *import, const char *name)
{
    int at = tw_names_find(&import->values_by_name, name);
    return at < 0 ? NULL : &import->values[at];
}

/* ---- names ---- */

static tw_status enter_initializers(tw_onnx_import *import)
{
    for (size_t i = 0; i < import->proto->n_initializer; i++) {
        const Onnx__TensorProto *tensor = import->proto->initializer[i];
        const char *name = tensor->name ? tensor->name : "";
        if (!*name) return tw_fail(&import->error, TW_INVALID, "initialiser %zu has no name", i);
        if (find(import, name))
            return tw_fail(&import->error, TW_INVALID, "two initialisers are named \"%.200s\"", name);
        if (!add_value(import, name, INPUT)) return TW_OUT_OF_MEMORY;
    }
    return TW_OK;
}

static tw_status enter_inputs(tw_onnx_import *import)
{
    size_t initializers = import->proto->n_initializer;
    for (size_t i = 0; i < import->proto->n_input; i++) {
        const char *name = import->proto->input[i]->name;
        if (!name || !*name) return tw_fail(&import->error, TW_INVALID, "input %zu has no name", i);
        int at = tw_names_find(&import->values_by_name, name);
        if (at >= 0 && (size_t)at < initializers) continue; /* files of IR version 3 list initialisers as inputs */
        if (at >= 0) return tw_fail(&import->error, TW_INVALID, "two inputs are named \"%.200s\"", name);
        if (!add_value(import, name, INPUT)) return TW_OUT_OF_MEMORY;
    }
    return TW_OK;
}

static tw_status enter_results(tw_onnx_import *import)
{
    for (size_t i = 0; i < import->proto->n_node; i++) {
        const Onnx__NodeProto *node = import->proto->node[i];
        for (size_t j = 0; j < node->n_output; j++) {
            if (!*node->output[j]) continue;
            if (find(import, node->output[j]))
                return tw_fail(&import->error, TW_INVALID,
                               "\"%.200s\" is computed twice, the second time by node \"%.200s\"", node->output[j],
                               node->name);
            if (!add_value(import, node->output[j], (int)i)) return TW_OUT_OF_MEMORY;
        }
    }
    return TW_OK;
}

static tw_status enter_names(tw_onnx_import *import)
{
    const Onnx__GraphProto *proto = import->proto;
    if (proto->n_sparse_initializer)
        return tw_fail(&import->error, TW_INVALID, "%zu sparse initialisers, which are not supported: store them dense",
                       proto->n_sparse_initializer);
    size_t most = proto->n_initializer + proto->n_input + 1;
    for (size_t i = 0; i < proto->n_node; i++) most += proto->node[i]->n_output;
    import->values = tw_onnx_alloc(import, most, sizeof *import->values);
    import->live = tw_onnx_alloc(import, proto->n_node, sizeof *import->live);
    if (!import->values || !import->live) return import->error.status;
    tw_status status = enter_initializers(import);
    if (status == TW_OK) status = enter_inputs(import);
    return status == TW_OK ? enter_results(import) : status;
}

/* ---- what the outputs need ---- */

/* Marks what a node reads; nodes found for the first time go onto the stack. */
static tw_status mark_inputs(tw_onnx_import *import, int index, int *stack, int *depth)
{
    const Onnx__NodeProto *node = import->proto->node[index];
    for (size_t i = 0; i < node->n_input; i++) {
        if (!*node->input[i]) continue;
        tw_onnx_value *value = find(import, node->input[i]);
        if (!value)
            return tw_fail(&import->error, TW_INVALID,
                           "node \"%.200s\" (%.64s) reads \"%.200s\", which is no input, initialiser or result",
                           node->name, node->op_type, node->input[i]);
        value->readers++;
        value->reader = index;
        value->live = true;
        if (value->producer < 0 || import->live[value->producer]) continue;
        import->live[value->producer] = true;
        stack[(*depth)++] = value->producer;
    }
    return TW_OK;
}

/* Sums and concatenations of many values become many nodes of the graph. */
static int weight_of(const Onnx__NodeProto *node)
{
    enum { FEW = 6 };
    if (node->n_input <= FEW) return 1;
    return node->n_input - FEW < MAX_NODES ? (int)(node->n_input - FEW) + 1 : MAX_NODES + 1;
}

static tw_status mark_live(tw_onnx_import *import)
{
    const Onnx__GraphProto *proto = import->proto;
    int *stack = tw_onnx_alloc(import, proto->n_node, sizeof *stack), depth = 0, count = 0;
    if (!stack) return import->error.status;
    if (!proto->n_output) return tw_fail(&import->error, TW_INVALID, "the graph has no outputs");
    for (size_t i = 0; i < proto->n_output; i++) {
        const char *name = proto->output[i]->name ? proto->output[i]->name : "";
        tw_onnx_value *value = find(import, name);
        if (!value) return tw_fail(&import->error, TW_INVALID, "output \"%.200s\" is computed by no node", name);
        value->readers++;
        value->live = true;
        if (value->producer < 0)
            return tw_fail(&import->error, TW_INVALID,
                           "output \"%.200s\" is an input or an initialiser, expected a result", name);
        if (import->live[value->producer]) continue;
        import->live[value->producer] = true;
        stack[depth++] = value->producer;
    }
    while (depth) {
        int index = stack[--depth];
        count += weight_of(proto->node[index]);
        if (count > MAX_NODES)
            return tw_fail(&import->error, TW_INVALID, "the outputs need more than %d nodes, or terms of long sums",
                           MAX_NODES);
        tw_status status = mark_inputs(import, index, stack, &depth);
        if (status != TW_OK) return status;
    }
    return TW_OK;
}

/* ---- constants and inputs ---- */

static tw_status read_initializers(tw_onnx_import *import)
{
    for (size_t i = 0; i < import->proto->n_initializer; i++) {
        tw_onnx_value *value = &import->values[i];
        if (!value->live) continue;
        tw_status status =
            tw_onnx_model_tensor(import->owner->model, import->proto->initializer[i], &value->constant, &import->error);
        if (status != TW_OK) return status;
        value->kind = TW_ONNX_CONSTANT;
        value->shape = value->constant.shape;
        value->initializer = value->name;
    }
    return TW_OK;
}

/* The sizes of an input; those that are free are 0. */
static tw_status input_shape(tw_onnx_import *import, const Onnx__ValueInfoProto *info, tw_shape *shape)
{
    const Onnx__TypeProto *type = info->type;
    if (!type || type->value_case != ONNX__TYPE_PROTO__VALUE_TENSOR_TYPE || !type->tensor_type)
        return tw_fail(&import->error, TW_INVALID, "input \"%.200s\" is no tensor", info->name);
    int element = type->tensor_type->elem_type;
    if (element != ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT && element != ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT16 &&
        element != ONNX__TENSOR_PROTO__DATA_TYPE__BFLOAT16)
        return tw_fail(&import->error, TW_INVALID, "input \"%.200s\" has elements of ONNX type %d, expected 1 (float)",
                       info->name, element);
    const Onnx__TensorShapeProto *dims = type->tensor_type->shape;
    if (!dims) return tw_fail(&import->error, TW_INVALID, "input \"%.200s\" has no shape", info->name);
    if (dims->n_dim > TW_MAX_RANK)
        return tw_fail(&import->error, TW_INVALID, "input \"%.200s\" has %zu dimensions, expected at most %d",
                       info->name, dims->n_dim, TW_MAX_RANK);
    *shape = (tw_shape){.rank = (int)dims->n_dim};
    for (int i = 0; i < shape->rank; i++) {
        const Onnx__TensorShapeProto__Dimension *dim = dims->dim[i];
        bool given = dim->value_case == ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_VALUE && dim->dim_value > 0;
        shape->dims[i] = given ? dim->dim_value : 0;
        if (!given && i > 0)
            return tw_fail(&import->error, TW_INVALID,
                           "input \"%.200s\": dimension %d is not fixed: only the first, the batch, may be free",
                           info->name, i);
    }
    return TW_OK;
}

/* Dimension 0 becomes the batch, and all inputs must have the same. */
static tw_status take_batch(tw_onnx_import *import, const char *name, tw_shape *shape)
{
    if (shape->rank < 1)
        return tw_fail(&import->error, TW_INVALID, "input \"%.200s\" is a scalar: expected a batch first", name);
    int64_t batch = shape->dims[0];
    if (batch && import->fixed_batch && batch != import->fixed_batch)
        return tw_fail(&import->error, TW_INVALID, "input \"%.200s\": a batch of %lld, and of %lld in another input",
                       name, (long long)batch, (long long)import->fixed_batch);
    if (batch) import->fixed_batch = batch;
    shape->dims[0] = 1;
    return TW_OK;
}

static tw_status make_input(tw_onnx_import *import, const Onnx__ValueInfoProto *info, tw_onnx_value *value)
{
    size_t count;
    tw_shape shape;
    tw_status status = input_shape(import, info, &shape);
    if (status != TW_OK) return status;
    if (shape.rank > 0 && shape.dims[0] == 0) import->fixed = false;
    if (import->batched) status = take_batch(import, info->name, &shape);
    if (status == TW_OK) status = tw_shape_count(&shape, TW_F32, &count, &import->error);
    if (status != TW_OK) return status;
    tw_shape wanted = tw_onnx_graph_shape(&shape);
    value->kind = TW_ONNX_ACTIVATION;
    value->shape = shape;
    value->value = tw_graph_input(import->graph, info->name, &wanted);
    if (!tw_names_add(&import->used_names, info->name, 0)) return tw_no_memory(&import->error, 1, "names");
    return tw_graph_check(import->graph, &import->error);
}

static tw_status make_inputs(tw_onnx_import *import)
{
    import->fixed = true;
    for (size_t i = 0; i < import->proto->n_input; i++) {
        tw_onnx_value *value = find(import, import->proto->input[i]->name);
        if (value->kind == TW_ONNX_CONSTANT || (size_t)(value - import->values) < import->proto->n_initializer)
            continue;
        tw_status status = make_input(import, import->proto->input[i], value);
        if (status != TW_OK) return status;
    }
    return TW_OK;
}

/* ---- nodes ---- */

/* Are all inputs there? Results of refused nodes make the node's own unknown. */
static bool inputs_known(tw_onnx_node *n)
{
    bool known = true;
    for (size_t i = 0; i < n->proto->n_input; i++) {
        if (!*n->proto->input[i]) continue;
        const tw_onnx_value *value = find(n->import, n->proto->input[i]);
        if (value->kind == TW_ONNX_UNSET) {
            bool earlier = value->producer < n->index;
            tw_onnx_invalid(n,
                            earlier ? "it reads \"%.200s\", which is no result that can be used"
                                    : "it reads \"%.200s\", which a later node computes: nodes must be in order and "
                                      "without cycles",
                            value->name);
        }
        known = known && value->kind != TW_ONNX_UNKNOWN;
    }
    return known && n->status == TW_OK;
}

static tw_status run_node(tw_onnx_import *import, int index)
{
    tw_onnx_node n = {.import = import, .proto = import->proto->node[index], .index = index};
    bool standard = !*n.proto->domain || strcmp(n.proto->domain, "ai.onnx") == 0;
    tw_onnx_handler handler = standard ? tw_onnx_find_handler(n.proto->op_type) : NULL;
    bool known = inputs_known(&n);
    if (!handler && n.status == TW_OK)
        tw_onnx_refuse(&n, NULL); /* behind another refusal too: all are listed at once */
    else if (handler && known)
        handler(&n);
    if (n.status != TW_OK && n.status != TW_UNAVAILABLE) return n.status;
    tw_status status = tw_graph_check(import->graph, &import->error);
    if (status != TW_OK) return status;
    for (size_t i = 0; i < n.proto->n_output; i++) {
        tw_onnx_value *value = *n.proto->output[i] ? find(import, n.proto->output[i]) : NULL;
        if (value && value->kind == TW_ONNX_UNSET && (i == 0 || n.status != TW_OK)) value->kind = TW_ONNX_UNKNOWN;
    }
    return TW_OK;
}

static tw_status make_output(tw_onnx_import *import, const Onnx__ValueInfoProto *info)
{
    tw_onnx_value *value = find(import, info->name);
    if (value->kind == TW_ONNX_UNKNOWN) return TW_OK; /* a refusal says why */
    if (value->kind != TW_ONNX_ACTIVATION)
        return tw_fail(&import->error, TW_INVALID, "output \"%.200s\" does not depend on any input's numbers",
                       info->name);
    tw_onnx_node n = {.import = import, .proto = import->proto->node[value->producer], .index = value->producer};
    if (value->order.rank) {
        tw_onnx_refuse(&n, "that leaves an output transposed");
        return TW_OK;
    }
    tw_onnx_add_padding(&n, value);
    if (n.status != TW_OK) return n.status;
    tw_shape shape = tw_onnx_graph_shape(&value->shape);
    tw_graph_output(import->graph, tw_onnx_view(&n, value, &shape));
    return tw_graph_check(import->graph, &import->error);
}

tw_status tw_onnx_walk(tw_onnx_import *import)
{
    const Onnx__GraphProto *proto = import->proto;
    tw_status status = enter_names(import);
    if (status == TW_OK) status = mark_live(import);
    if (status == TW_OK) status = read_initializers(import);
    if (status == TW_OK) status = make_inputs(import);
    for (size_t i = 0; status == TW_OK && i < proto->n_node; i++)
        if (import->live[i]) status = run_node(import, (int)i);
    for (size_t i = 0; status == TW_OK && i < proto->n_output; i++) status = make_output(import, proto->output[i]);
    return status;
}
