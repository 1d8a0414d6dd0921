/* Each operator as ONNX says it, opset 17 (github.com/onnx/onnx, docs/Operators.md).
 *
 * Where ONNX and PyTorch, whose rules are ours, differ, the node is written so that both mean the same:
 *   - With ceil_mode, ONNX keeps a last window that starts in the padding behind the input; PyTorch drops it. Averages
 *     that count their padding never count what ceil_mode adds beyond it, on which readers of ONNX disagree.
 *   - ONNX has no adaptive average: it becomes a plain one where all its windows have one size and one distance.
 *   - The window of an LRN of even size lies one channel further in ONNX, and most readers refuse it. */
#include "onnx/export.h"
#include "ops/activation/activation.h"
#include "ops/batchnorm/batchnorm.h"
#include "ops/conv2d/conv2d.h"
#include "ops/linear/linear.h"
#include "ops/lrn/lrn.h"
#include "ops/pool/pool.h"
#include "ops/reshape/reshape.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_ATTRIBUTES = 6, MAX_INTEGERS = 16, MAX_CONSTANTS = 2 };

/* A NodeProto and all that it points to. */
typedef struct message {
    tw_export *to;
    const tw_node *node;
    Onnx__NodeProto proto;
    char *inputs[TW_MAX_OPERANDS], *output;
    Onnx__AttributeProto attributes[MAX_ATTRIBUTES], *attribute_list[MAX_ATTRIBUTES];
    int64_t integers[MAX_INTEGERS];
    size_t n_integers;
    char *made[MAX_CONSTANTS]; /* names that no value of the graph has */
    int n_made;
} message;

/* ---- parts of a node ---- */

/* Protobuf-c's messages are not const, but packing only reads them. */
static void add_input(message *m, const char *name)
{
    m->inputs[m->proto.n_input++] = (char *)name;
}

static void begin(message *m, const char *type)
{
    onnx__node_proto__init(&m->proto);
    m->output = m->node->name;
    m->proto.name = m->node->name;
    m->proto.op_type = (char *)type;
    m->proto.input = m->inputs;
    m->proto.output = &m->output;
    m->proto.n_output = 1;
    m->proto.attribute = m->attribute_list;
    m->n_integers = 0;
}

/* With all operands of the graph's node; absent ones stand at the end. */
static void begin_with_operands(message *m, const char *type)
{
    begin(m, type);
    for (int i = 0; i < m->node->n_in; i++)
        if (m->node->in[i] >= 0) add_input(m, m->to->names.of[m->node->in[i]]);
}

static Onnx__AttributeProto *add_attribute(message *m, const char *name, Onnx__AttributeProto__AttributeType type)
{
    Onnx__AttributeProto *attribute = &m->attributes[m->proto.n_attribute];
    m->attribute_list[m->proto.n_attribute++] = attribute;
    onnx__attribute_proto__init(attribute);
    attribute->name = (char *)name;
    attribute->has_type = true;
    attribute->type = type;
    return attribute;
}

static void add_integer(message *m, const char *name, int value)
{
    Onnx__AttributeProto *attribute = add_attribute(m, name, ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INT);
    attribute->has_i = true;
    attribute->i = value;
}

static void add_float(message *m, const char *name, float value)
{
    Onnx__AttributeProto *attribute = add_attribute(m, name, ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__FLOAT);
    attribute->has_f = true;
    attribute->f = value;
}

static void add_integers(message *m, const char *name, const int *values, size_t count)
{
    Onnx__AttributeProto *attribute = add_attribute(m, name, ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INTS);
    attribute->n_ints = count;
    attribute->ints = m->integers + m->n_integers;
    for (size_t i = 0; i < count; i++) m->integers[m->n_integers++] = values[i];
}

static tw_status finish(message *m, tw_error *error)
{
    return tw_export_append(m->to, TW_GRAPH_NODE, &m->proto.base, error);
}

/* ---- constants ---- */

/* "NODE.what", with as many '_' as it takes to be no name of the graph's; two nodes never make the same. */
static tw_status make_name(message *m, const char *what, const char **name, tw_error *error)
{
    size_t length = strlen(m->node->name) + strlen(what) + 1, size = length + m->to->names.count + 2;
    char *made = malloc(size);
    if (!made) return tw_no_memory(error, size, "a name");
    snprintf(made, size, "%s.%s", m->node->name, what);
    for (; tw_export_names_has(&m->to->names, made); length++) memcpy(made + length, "_", 2);
    m->made[m->n_made++] = made;
    *name = made;
    return TW_OK;
}

typedef struct constant {
    const char *what;
    int type; /* ONNX__TENSOR_PROTO__DATA_TYPE__... */
    const void *data;
    size_t bytes;
    int64_t count; /* 0: a scalar */
} constant;

static tw_status add_constant(message *m, const constant *value, tw_error *error)
{
    const char *name;
    tw_status status = make_name(m, value->what, &name, error);
    if (status != TW_OK) return status;
    int64_t count = value->count;
    Onnx__TensorProto tensor = ONNX__TENSOR_PROTO__INIT;
    tensor.n_dims = count > 0;
    tensor.dims = &count;
    tensor.has_data_type = true;
    tensor.data_type = value->type;
    tensor.name = (char *)name;
    tensor.has_raw_data = true;
    tensor.raw_data = (ProtobufCBinaryData){value->bytes, (uint8_t *)value->data};
    add_input(m, name);
    return tw_export_append(m->to, TW_GRAPH_INITIALIZER, &tensor.base, error);
}

static tw_status add_scalar(message *m, const char *what, float value, tw_error *error)
{
    const constant scalar = {what, ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT, &value, sizeof value, 0};
    return add_constant(m, &scalar, error);
}

static tw_status add_vector(message *m, const char *what, const int64_t *values, int count, tw_error *error)
{
    const constant vector = {what, ONNX__TENSOR_PROTO__DATA_TYPE__INT64, values, (size_t)count * sizeof *values, count};
    return add_constant(m, &vector, error);
}

/* ---- operators ---- */

static tw_status write_plain(message *m, tw_error *error)
{
    return finish(m, error);
}

static tw_status write_conv2d(message *m, tw_error *error)
{
    const tw_conv2d *p = m->node->params;
    add_integers(m, "dilations", (int[]){p->dilh, p->dilw}, 2);
    add_integer(m, "group", p->groups);
    add_integers(m, "kernel_shape", (int[]){p->kh, p->kw}, 2);
    add_integers(m, "pads", (int[]){p->pt, p->pl, p->pb, p->pr}, 4);
    add_integers(m, "strides", (int[]){p->sh, p->sw}, 2);
    return finish(m, error);
}

static tw_status write_linear(message *m, tw_error *error)
{
    add_integer(m, "transB", 1);
    return finish(m, error);
}

static tw_status write_clip(message *m, tw_error *error)
{
    const tw_clip *p = m->node->params;
    tw_status status = TW_OK;
    bool low = p->low > -INFINITY, high = p->high < INFINITY;
    if (low)
        status = add_scalar(m, "min", p->low, error);
    else if (high)
        add_input(m, "");
    if (high && status == TW_OK) status = add_scalar(m, "max", p->high, error);
    return status == TW_OK ? finish(m, error) : status;
}

static tw_status write_over_channels(message *m, tw_error *error)
{
    add_integer(m, "axis", 1);
    return finish(m, error);
}

static tw_status write_batchnorm(message *m, tw_error *error)
{
    const tw_batchnorm *p = m->node->params;
    add_float(m, "epsilon", p->epsilon);
    return finish(m, error);
}

static tw_status write_lrn(message *m, tw_error *error)
{
    const tw_lrn *p = m->node->params;
    if (p->size % 2 == 0)
        return tw_fail(error, TW_UNAVAILABLE,
                       "%s: lrn over an even number of channels (%d): ONNX means other neighbours by it than PyTorch",
                       m->node->name, p->size);
    add_float(m, "alpha", p->alpha);
    add_float(m, "beta", p->beta);
    add_float(m, "bias", p->k);
    add_integer(m, "size", p->size);
    return finish(m, error);
}

/* Dropout, Flatten or Reshape. */
static tw_status write_reshape(message *m, tw_error *error)
{
    const tw_reshape *p = m->node->params;
    tw_status status = TW_OK;
    if (m->node->dropout > 0) {
        m->proto.op_type = (char *)"Dropout";
        status = add_scalar(m, "ratio", m->node->dropout, error);
    } else if (p->rank == 2) {
        m->proto.op_type = (char *)"Flatten";
    } else {
        int64_t dims[TW_MAX_RANK] = {0}; /* the first: as in the input */
        for (int i = 1; i < p->rank; i++) dims[i] = p->dims[i];
        status = add_vector(m, "shape", dims, p->rank, error);
    }
    return status == TW_OK ? finish(m, error) : status;
}

/* ---- pool ---- */

/* One of the two directions, heights or widths. */
typedef struct side {
    int in, out, kernel, stride, before, after, dilation;
} side;

/* What the windows leave of the padded input after the first of them. */
static int64_t room(const side *s)
{
    return (int64_t)s->in + s->before + s->after - (int64_t)s->dilation * (s->kernel - 1) - 1;
}

/* Can ONNX's ceil_mode keep to the number of windows? If need be, with less padding behind. */
static bool fit_ceiling(side *s)
{
    if ((room(s) + s->stride - 1) / s->stride + 1 == s->out) return true;
    int64_t after = s->after + (int64_t)(s->out - 1) * s->stride - room(s);
    if (after < 0) return false;
    s->after = (int)after;
    return true;
}

/* The same windows over a tensor that has its padding as elements. */
static tw_status pad_before(message *m, side *h, side *w, tw_error *error)
{
    const char *padded;
    const int64_t pads[8] = {0, 0, h->before, w->before, 0, 0, h->after, w->after};
    begin_with_operands(m, "Pad");
    tw_status status = add_vector(m, "pads", pads, 8, error);
    if (status == TW_OK) status = make_name(m, "padded", &padded, error);
    if (status != TW_OK) return status;
    m->proto.name = m->output = (char *)padded;
    status = finish(m, error);
    begin(m, "AveragePool");
    add_input(m, padded);
    h->in += h->before + h->after;
    w->in += w->before + w->after;
    h->before = h->after = w->before = w->after = 0;
    return status;
}

static tw_status write_window(message *m, side *h, side *w, tw_error *error)
{
    const tw_pool *p = m->node->params;
    bool ceiling = room(h) / h->stride + 1 < h->out || room(w) / w->stride + 1 < w->out;
    if (ceiling && !(fit_ceiling(h) && fit_ceiling(w)))
        return tw_fail(error, TW_UNAVAILABLE, "%s: ONNX has no word for ceil_mode in one direction of %dx%d alone",
                       m->node->name, p->ih, p->iw);
    bool count_padding = p->count_include_pad && (h->before || h->after || w->before || w->after);
    if (ceiling && count_padding) {
        tw_status status = pad_before(m, h, w, error);
        if (status != TW_OK) return status;
        count_padding = false;
    }
    add_integer(m, "ceil_mode", ceiling);
    if (count_padding) add_integer(m, "count_include_pad", 1);
    if (p->kind == TW_POOL_MAX) add_integers(m, "dilations", (int[]){h->dilation, w->dilation}, 2);
    add_integers(m, "kernel_shape", (int[]){h->kernel, w->kernel}, 2);
    add_integers(m, "pads", (int[]){h->before, w->before, h->after, w->after}, 4);
    add_integers(m, "strides", (int[]){h->stride, w->stride}, 2);
    return finish(m, error);
}

/* Output o covers [floor(o * in / out), ceil((o + 1) * in / out)): is that one size and one distance for all? */
static bool find_window(side *s)
{
    int64_t in = s->in, out = s->out;
    s->kernel = (int)((in + out - 1) / out);
    s->stride = out > 1 ? (int)(in / out) : 1;
    s->dilation = 1;
    if (s->stride < 1) return false;
    for (int64_t o = 0; o < out; o++)
        if (o * in / out != o * s->stride || ((o + 1) * in + out - 1) / out != o * s->stride + s->kernel) return false;
    return true;
}

static tw_status write_adaptive(message *m, tw_error *error)
{
    const tw_pool *p = m->node->params;
    side h = {.in = p->ih, .out = p->oh}, w = {.in = p->iw, .out = p->ow};
    if (p->oh == 1 && p->ow == 1) {
        m->proto.op_type = (char *)"GlobalAveragePool";
        return finish(m, error);
    }
    if (!find_window(&h) || !find_window(&w))
        return tw_fail(error, TW_UNAVAILABLE,
                       "%s: adaptive average of %dx%d to %dx%d: its windows differ, and ONNX has no such pool",
                       m->node->name, p->ih, p->iw, p->oh, p->ow);
    return write_window(m, &h, &w, error);
}

static tw_status write_pool(message *m, tw_error *error)
{
    const tw_pool *p = m->node->params;
    if (p->kind == TW_POOL_ADAPTIVE_AVERAGE) return write_adaptive(m, error);
    if (p->kind == TW_POOL_MAX) m->proto.op_type = (char *)"MaxPool";
    side h = {p->ih, p->oh, p->kh, p->sh, p->pt, p->pb, p->dilh};
    side w = {p->iw, p->ow, p->kw, p->sw, p->pl, p->pr, p->dilw};
    return write_window(m, &h, &w, error);
}

/* ---- the table ---- */

static const struct {
    const char *op, *type;
    tw_status (*write)(message *m, tw_error *error);
} writers[] = {
    {"conv2d", "Conv", write_conv2d},
    {"linear", "Gemm", write_linear},
    {"pool", "AveragePool", write_pool},
    {"relu", "Relu", write_plain},
    {"clip", "Clip", write_clip},
    {"add", "Add", write_plain},
    {"concat", "Concat", write_over_channels},
    {"softmax", "Softmax", write_over_channels},
    {"batchnorm", "BatchNormalization", write_batchnorm},
    {"lrn", "LRN", write_lrn},
    {"reshape", "Reshape", write_reshape},
};

tw_status tw_export_node(tw_export *to, const tw_node *node, tw_error *error)
{
    message m = {.to = to, .node = node};
    size_t i = 0, count = sizeof writers / sizeof *writers;
    while (i < count && strcmp(writers[i].op, node->op->name) != 0) i++;
    if (i == count) return tw_fail(error, TW_UNAVAILABLE, "%s: %s has no form in ONNX", node->name, node->op->name);
    begin_with_operands(&m, writers[i].type);
    tw_status status = writers[i].write(&m, error);
    for (int made = 0; made < m.n_made; made++) free(m.made[made]);
    return status;
}
