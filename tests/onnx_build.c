#include "onnx_build.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- memory that is given back all at once ---- */

typedef struct chunk {
    struct chunk *next;
    max_align_t data[];
} chunk;
static chunk *chunks;

void *onnx_alloc(size_t bytes)
{
    chunk *made = calloc(1, sizeof *made + bytes);
    if (!made) abort();
    made->next = chunks;
    chunks = made;
    return made->data;
}

void onnx_reset(void)
{
    while (chunks) {
        chunk *next = chunks->next;
        free(chunks);
        chunks = next;
    }
}

char *onnx_text(const char *text)
{
    return strcpy(onnx_alloc(strlen(text) + 1), text);
}

static void *allocate(void *context, size_t bytes)
{
    (void)context;
    return onnx_alloc(bytes);
}

static void keep(void *context, void *memory)
{
    (void)context;
    (void)memory;
}

Onnx__ModelProto *onnx_unpack(const uint8_t *data, size_t bytes)
{
    ProtobufCAllocator allocator = {allocate, keep, NULL};
    return onnx__model_proto__unpack(&allocator, bytes, data);
}

void onnx_write(const char *path, const void *data, size_t bytes)
{
    FILE *file = fopen(path, "wb");
    if (!file || fwrite(data, 1, bytes, file) != bytes || fclose(file) != 0) abort();
}

void onnx_write_message(const char *path, const Onnx__ModelProto *model)
{
    size_t bytes = onnx__model_proto__get_packed_size(model);
    uint8_t *data = malloc(bytes + 1);
    if (!data) abort();
    onnx__model_proto__pack(model, data);
    onnx_write(path, data, bytes);
    free(data);
}

/* ---- building ---- */

enum { MOST = 32 };

static void push(void *list, size_t *count, void *item)
{
    void ***items = list;
    if (!*items) *items = onnx_alloc(MOST * sizeof(void *));
    (*items)[(*count)++] = item;
}

static Onnx__NodeProto *node(Onnx__GraphProto *graph, const char *op, const char *inputs, const char *output)
{
    Onnx__NodeProto *n = onnx_alloc(sizeof *n);
    onnx__node_proto__init(n);
    n->op_type = onnx_text(op);
    n->name = onnx_text(output);
    for (char *at = strtok(onnx_text(inputs), " "); at; at = strtok(NULL, " "))
        push(&n->input, &n->n_input, strcmp(at, "-") == 0 ? onnx_text("") : at);
    push(&n->output, &n->n_output, onnx_text(output));
    push(&graph->node, &graph->n_node, n);
    return n;
}

static Onnx__AttributeProto *attribute(Onnx__NodeProto *n, const char *name, int type)
{
    Onnx__AttributeProto *a = onnx_alloc(sizeof *a);
    onnx__attribute_proto__init(a);
    a->name = onnx_text(name);
    a->has_type = 1;
    a->type = (Onnx__AttributeProto__AttributeType)type;
    push(&n->attribute, &n->n_attribute, a);
    return a;
}

static void set_int(Onnx__NodeProto *n, const char *name, int64_t value)
{
    Onnx__AttributeProto *a = attribute(n, name, ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INT);
    a->has_i = 1;
    a->i = value;
}

static void set_ints(Onnx__NodeProto *n, const char *name, const int64_t *values, size_t count)
{
    Onnx__AttributeProto *a = attribute(n, name, ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INTS);
    a->ints = onnx_alloc(count * sizeof *values);
    memcpy(a->ints, values, count * sizeof *values);
    a->n_ints = count;
}

static Onnx__TensorProto *tensor(Onnx__GraphProto *graph, const char *name, int type, const int64_t *dims, size_t rank)
{
    Onnx__TensorProto *t = onnx_alloc(sizeof *t);
    onnx__tensor_proto__init(t);
    t->name = onnx_text(name);
    t->has_data_type = 1;
    t->data_type = type;
    t->dims = onnx_alloc((rank + 1) * sizeof *dims);
    if (rank) memcpy(t->dims, dims, rank * sizeof *dims);
    t->n_dims = rank;
    push(&graph->initializer, &graph->n_initializer, t);
    return t;
}

#define DIMS(...) (const int64_t[]){__VA_ARGS__}, sizeof((const int64_t[]){__VA_ARGS__}) / sizeof(int64_t)

static void floats(Onnx__GraphProto *graph, const char *name, const int64_t *dims, size_t rank)
{
    Onnx__TensorProto *t = tensor(graph, name, ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT, dims, rank);
    size_t count = 1;
    for (size_t i = 0; i < rank; i++) count *= (size_t)dims[i];
    t->has_raw_data = 1;
    t->raw_data.len = count * sizeof(float);
    t->raw_data.data = onnx_alloc(t->raw_data.len);
    for (size_t i = 0; i < count; i++) {
        float value = (float)(i % 17) * 0.05f + 0.1f;
        memcpy(t->raw_data.data + i * sizeof value, &value, sizeof value);
    }
}

static void integers(Onnx__GraphProto *graph, const char *name, const int64_t *values, size_t count)
{
    Onnx__TensorProto *t =
        tensor(graph, name, ONNX__TENSOR_PROTO__DATA_TYPE__INT64, &(int64_t){(int64_t)count}, count == 1 ? 0 : 1);
    t->int64_data = onnx_alloc(count * sizeof *values);
    memcpy(t->int64_data, values, count * sizeof *values);
    t->n_int64_data = count;
}

static Onnx__ValueInfoProto *value_info(const char *name, const int64_t *dims, size_t rank)
{
    Onnx__ValueInfoProto *info = onnx_alloc(sizeof *info);
    Onnx__TypeProto *type = onnx_alloc(sizeof *type);
    Onnx__TypeProto__Tensor *of = onnx_alloc(sizeof *of);
    Onnx__TensorShapeProto *shape = onnx_alloc(sizeof *shape);
    onnx__value_info_proto__init(info);
    onnx__type_proto__init(type);
    onnx__type_proto__tensor__init(of);
    onnx__tensor_shape_proto__init(shape);
    for (size_t i = 0; i < rank; i++) {
        Onnx__TensorShapeProto__Dimension *d = onnx_alloc(sizeof *d);
        onnx__tensor_shape_proto__dimension__init(d);
        if (dims[i] > 0) {
            d->value_case = ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_VALUE;
            d->dim_value = dims[i];
        } else {
            d->value_case = ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_PARAM;
            d->dim_param = onnx_text("N");
        }
        push(&shape->dim, &shape->n_dim, d);
    }
    of->has_elem_type = 1;
    of->elem_type = ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT;
    of->shape = shape;
    type->value_case = ONNX__TYPE_PROTO__VALUE_TENSOR_TYPE;
    type->tensor_type = of;
    info->name = onnx_text(name);
    info->type = type;
    return info;
}

static Onnx__ModelProto *model(const char *name, int opset)
{
    Onnx__ModelProto *m = onnx_alloc(sizeof *m);
    Onnx__GraphProto *graph = onnx_alloc(sizeof *graph);
    Onnx__OperatorSetIdProto *set = onnx_alloc(sizeof *set);
    onnx__model_proto__init(m);
    onnx__graph_proto__init(graph);
    onnx__operator_set_id_proto__init(set);
    set->domain = onnx_text("");
    set->has_version = 1;
    set->version = opset;
    push(&m->opset_import, &m->n_opset_import, set);
    m->has_ir_version = 1;
    m->ir_version = 8;
    m->graph = graph;
    graph->name = onnx_text(name);
    return m;
}

static void ends(Onnx__GraphProto *graph, Onnx__ValueInfoProto *input, const char *output)
{
    push(&graph->input, &graph->n_input, input);
    push(&graph->output, &graph->n_output, value_info(output, DIMS(0, 10)));
}

/* conv, batch norm, clip, pool, a reshape by shape arithmetic, gemm, softmax */
static Onnx__ModelProto *network(void)
{
    Onnx__ModelProto *m = model("network", 13);
    Onnx__GraphProto *g = m->graph;
    ends(g, value_info("x", DIMS(0, 3, 12, 12)), "y");
    floats(g, "conv.weight", DIMS(8, 3, 3, 3));
    floats(g, "conv.bias", DIMS(8));
    Onnx__NodeProto *conv = node(g, "Conv", "x conv.weight conv.bias", "conv");
    set_ints(conv, "pads", DIMS(1, 1, 1, 1));
    set_ints(conv, "strides", DIMS(1, 1));
    set_ints(conv, "kernel_shape", DIMS(3, 3));
    set_int(conv, "group", 1);
    const char *const parts[] = {"gamma", "beta", "mean", "var"};
    for (int i = 0; i < 4; i++) floats(g, parts[i], DIMS(8));
    node(g, "BatchNormalization", "conv gamma beta mean var", "norm");
    tensor(g, "low", ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT, NULL, 0)->float_data = memset(onnx_alloc(4), 0, 4);
    g->initializer[g->n_initializer - 1]->n_float_data = 1;
    node(g, "Clip", "norm low -", "clip");
    Onnx__NodeProto *pool = node(g, "MaxPool", "clip", "pool");
    set_ints(pool, "kernel_shape", DIMS(2, 2));
    set_ints(pool, "strides", DIMS(2, 2));
    node(g, "Shape", "pool", "shape");
    integers(g, "zero", DIMS(0));
    set_int(node(g, "Gather", "shape zero", "batch"), "axis", 0);
    integers(g, "axes", DIMS(0, 1));
    g->initializer[g->n_initializer - 1]->dims[0] = 1;
    g->initializer[g->n_initializer - 1]->n_int64_data = 1;
    node(g, "Unsqueeze", "batch axes", "batch1");
    integers(g, "rest", DIMS(-1, 0));
    g->initializer[g->n_initializer - 1]->dims[0] = 1;
    g->initializer[g->n_initializer - 1]->n_int64_data = 1;
    set_int(node(g, "Concat", "batch1 rest", "target"), "axis", 0);
    node(g, "Reshape", "pool target", "flat");
    floats(g, "fc.weight", DIMS(10, 288));
    floats(g, "fc.bias", DIMS(10));
    set_int(node(g, "Gemm", "flat fc.weight fc.bias", "fc"), "transB", 1);
    set_int(node(g, "Softmax", "fc", "y"), "axis", 1);
    return m;
}

/* two branches, a residual, concat, global pooling, matmul and add */
static Onnx__ModelProto *branches(void)
{
    Onnx__ModelProto *m = model("branches", 17);
    Onnx__GraphProto *g = m->graph;
    ends(g, value_info("x", DIMS(0, 4, 8, 8)), "y");
    floats(g, "a.weight", DIMS(4, 4, 1, 1));
    floats(g, "b.weight", DIMS(4, 1, 3, 3));
    node(g, "Conv", "x a.weight", "a");
    Onnx__NodeProto *depthwise = node(g, "Conv", "x b.weight", "b");
    set_int(depthwise, "group", 4);
    set_ints(depthwise, "pads", DIMS(1, 1, 1, 1));
    node(g, "Add", "a b", "sum");
    node(g, "Relu", "sum", "relu");
    set_int(node(g, "Concat", "relu x", "both"), "axis", 1);
    node(g, "Identity", "both", "same");
    Onnx__NodeProto *mean = node(g, "ReduceMean", "same", "mean");
    set_ints(mean, "axes", DIMS(2, 3));
    set_int(mean, "keepdims", 0);
    floats(g, "w", DIMS(8, 10));
    floats(g, "c", DIMS(10));
    node(g, "MatMul", "mean w", "product");
    node(g, "Add", "product c", "y");
    return m;
}

/* a constant node, tensors as typed data, transposes that cancel, LRN, flatten, Gemm without its third operand */
static Onnx__ModelProto *odds(void)
{
    Onnx__ModelProto *m = model("odds", 9);
    Onnx__GraphProto *g = m->graph;
    ends(g, value_info("x", DIMS(1, 2, 6, 6)), "y");
    Onnx__TensorProto *w = tensor(g, "w", ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT, DIMS(3, 2, 3, 3));
    w->n_float_data = 54;
    w->float_data = onnx_alloc(54 * sizeof(float));
    for (int i = 0; i < 54; i++) w->float_data[i] = 0.01f * (float)i;
    set_ints(node(g, "Transpose", "x", "t1"), "perm", DIMS(0, 2, 3, 1));
    set_ints(node(g, "Transpose", "t1", "t2"), "perm", DIMS(0, 3, 1, 2));
    Onnx__NodeProto *pad = node(g, "Pad", "t2", "padded");
    set_ints(pad, "pads", DIMS(0, 0, 1, 1, 0, 0, 1, 1));
    Onnx__NodeProto *conv = node(g, "Conv", "padded w", "conv");
    set_ints(conv, "dilations", DIMS(1, 1));
    Onnx__NodeProto *lrn = node(g, "LRN", "conv", "lrn");
    set_int(lrn, "size", 3);
    node(g, "AveragePool", "lrn", "pool");
    set_ints(g->node[g->n_node - 1], "kernel_shape", DIMS(3, 3));
    set_int(node(g, "Flatten", "pool", "flat"), "axis", 1);
    Onnx__TensorProto *v = tensor(g, "v", ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT, DIMS(48, 10));
    floats(g, "v_raw", DIMS(48, 10));
    v->has_raw_data = 1;
    v->raw_data = g->initializer[g->n_initializer - 1]->raw_data;
    node(g, "Dropout", "flat", "drop");
    node(g, "Gemm", "drop v", "y");
    return m;
}

/* The tensor's numbers are bytes of a file beside the model. */
static void move_outside(Onnx__TensorProto *t, const char *offset, const char *length)
{
    const char *const texts[3][2] = {{"location", ONNX_OUTSIDE}, {"offset", offset}, {"length", length}};
    for (int i = 0; i < 3; i++) {
        Onnx__StringStringEntryProto *entry = onnx_alloc(sizeof *entry);
        onnx__string_string_entry_proto__init(entry);
        entry->key = onnx_text(texts[i][0]);
        entry->value = onnx_text(texts[i][1]);
        push(&t->external_data, &t->n_external_data, entry);
    }
    t->has_data_location = 1;
    t->data_location = ONNX__TENSOR_PROTO__DATA_LOCATION__EXTERNAL;
}

/* external data, and a graph with a tensor of its own inside a node that no output needs */
static Onnx__ModelProto *outside(void)
{
    Onnx__ModelProto *m = model("outside", 15);
    Onnx__GraphProto *g = m->graph;
    ends(g, value_info("x", DIMS(0, 3, 6, 6)), "y");
    move_outside(tensor(g, "w", ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT, DIMS(4, 3, 3, 3)), "0", "432");
    move_outside(tensor(g, "v", ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT, DIMS(64, 10)), "432", "2560");
    Onnx__ModelProto *inner = model("inner", 15);
    floats(inner->graph, "c", DIMS(40));
    node(inner->graph, "Identity", "c", "d");
    attribute(node(g, "If", "x", "unused"), "then_branch", ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__GRAPH)->g =
        inner->graph;
    node(g, "Conv", "x w", "conv");
    node(g, "Flatten", "conv", "flat");
    node(g, "Gemm", "flat v", "y");
    return m;
}

const char *const onnx_model_names[ONNX_MODELS] = {"network", "branches", "odds", "outside"};

uint8_t *onnx_build(int which, size_t *bytes)
{
    Onnx__ModelProto *(*const makers[ONNX_MODELS])(void) = {network, branches, odds, outside};
    const Onnx__ModelProto *made = makers[which]();
    *bytes = onnx__model_proto__get_packed_size(made);
    uint8_t *data = malloc(*bytes);
    if (!data) abort();
    onnx__model_proto__pack(made, data);
    onnx_reset();
    return data;
}

static void sum_of(Onnx__GraphProto *g, size_t terms)
{
    Onnx__NodeProto *sum = node(g, "Sum", "", "y");
    sum->input = onnx_alloc(terms * sizeof *sum->input);
    for (size_t i = 0; i < terms; i++) sum->input[i] = g->input[0]->name;
    sum->n_input = terms;
}

Onnx__ModelProto *onnx_build_greedy(onnx_greed which)
{
    Onnx__ModelProto *m = model("greedy", 13);
    Onnx__GraphProto *g = m->graph;
    ends(g, value_info("x", DIMS(0, 10)), "y");
    integers(g, "sizes", DIMS(4000, 4000));
    switch (which) {
    case ONNX_FOLDING:
        g->node = onnx_alloc(64 * sizeof *g->node);
        node(g, "ConstantOfShape", "sizes", "c0");
        for (int i = 0; i < 60; i++) {
            char from[32], to[16];
            snprintf(from, sizeof from, "c%d c%d", i, i);
            snprintf(to, sizeof to, "c%d", i + 1);
            node(g, "Add", from, to);
        }
        node(g, "Reshape", "x c60", "y");
        break;
    case ONNX_NOTHING_MANY_TIMES: /* elements: 2^40 * 5 * 0 */
        tensor(g, "empty", ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT, DIMS((int64_t)1 << 40, 5, 0));
        integers(g, "zero", DIMS(0));
        set_int(node(g, "Gather", "empty zero", "none"), "axis", 1);
        node(g, "Reshape", "x none", "y");
        break;
    case ONNX_LONG_SUM: sum_of(g, 500000); break;
    default: sum_of(g, 20); break;
    }
    return m;
}
