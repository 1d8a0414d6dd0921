/* tw_onnx_write(): a graph and its parameters as an ONNX file, written from front to back. */
#include "onnx/export.h"
#include "formats/file.h"

#include <stdlib.h>
#include <string.h>

enum { IR_VERSION = 8, OPSET = 17, MAX_VARINT = 10, MIN_CAPACITY = 4096 };

/* protobuf's limit, and so that of all readers. */
static const size_t max_file = ((size_t)1 << 31) - 1;

/* ---- the wire format ---- */

/* A field of bytes: its number, then their count (protobuf.dev/programming-guides/encoding). */
typedef struct header {
    uint8_t bytes[2 * MAX_VARINT];
    size_t length;
} header;

static void add_varint(header *to, uint64_t value)
{
    for (; value >= 0x80; value >>= 7) to->bytes[to->length++] = (uint8_t)(value | 0x80);
    to->bytes[to->length++] = (uint8_t)value;
}

static header field_header(int field, size_t bytes)
{
    enum { LENGTH_DELIMITED = 2 };
    header h = {.length = 0};
    add_varint(&h, (uint64_t)field << 3 | LENGTH_DELIMITED);
    add_varint(&h, bytes);
    return h;
}

static tw_status reserve(tw_export *to, size_t more, tw_error *error)
{
    if (more <= to->capacity - to->bytes) return TW_OK;
    size_t capacity = 2 * to->capacity + more + MIN_CAPACITY;
    uint8_t *larger = realloc(to->data, capacity);
    if (!larger) return tw_no_memory(error, capacity, "an ONNX graph");
    to->data = larger;
    to->capacity = capacity;
    return TW_OK;
}

tw_status tw_export_append(tw_export *to, int field, const ProtobufCMessage *message, tw_error *error)
{
    size_t bytes = protobuf_c_message_get_packed_size(message);
    header h = field_header(field, bytes);
    tw_status status = reserve(to, h.length + bytes, error);
    if (status != TW_OK) return status;
    memcpy(to->data + to->bytes, h.bytes, h.length);
    protobuf_c_message_pack(message, to->data + to->bytes + h.length);
    to->bytes += h.length + bytes;
    return TW_OK;
}

/* ---- the graph ---- */

static tw_status append_text(tw_export *to, int field, const char *text, tw_error *error)
{
    size_t bytes = strlen(text);
    header h = field_header(field, bytes);
    tw_status status = reserve(to, h.length + bytes, error);
    if (status != TW_OK) return status;
    memcpy(to->data + to->bytes, h.bytes, h.length);
    memcpy(to->data + to->bytes + h.length, text, bytes);
    to->bytes += h.length + bytes;
    return TW_OK;
}

/* An input or output: its name, float32, [N][...]. */
static tw_status append_value(tw_export *to, int field, int index, tw_error *error)
{
    const tw_graph_value *value = &to->graph->values[index];
    Onnx__TensorShapeProto__Dimension dims[TW_MAX_RANK], *list[TW_MAX_RANK];
    for (int i = 0; i < value->shape.rank; i++) {
        onnx__tensor_shape_proto__dimension__init(&dims[i]);
        dims[i].value_case = ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_VALUE;
        dims[i].dim_value = value->shape.dims[i];
        list[i] = &dims[i];
    }
    dims[0].value_case = ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_PARAM;
    dims[0].dim_param = (char *)"N";
    Onnx__TensorShapeProto shape = ONNX__TENSOR_SHAPE_PROTO__INIT;
    shape.n_dim = (size_t)value->shape.rank;
    shape.dim = list;
    Onnx__TypeProto__Tensor tensor = ONNX__TYPE_PROTO__TENSOR__INIT;
    tensor.has_elem_type = true;
    tensor.elem_type = ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT;
    tensor.shape = &shape;
    Onnx__TypeProto type = ONNX__TYPE_PROTO__INIT;
    type.value_case = ONNX__TYPE_PROTO__VALUE_TENSOR_TYPE;
    type.tensor_type = &tensor;
    Onnx__ValueInfoProto info = ONNX__VALUE_INFO_PROTO__INIT;
    info.name = value->name;
    info.type = &type;
    return tw_export_append(to, field, &info.base, error);
}

static tw_status check_graph(const tw_graph *graph, tw_error *error)
{
    tw_status status = tw_graph_check(graph, error);
    if (status != TW_OK) return status;
    if (graph->n_inputs == 0 || graph->n_outputs == 0)
        return tw_fail(error, TW_INVALID, "%s: a graph without %s", graph->name,
                       graph->n_inputs == 0 ? "inputs" : "outputs");
    for (int i = 0; i < graph->n_inputs; i++)
        if (!*graph->values[graph->inputs[i]].name)
            return tw_fail(error, TW_INVALID, "%s: input %d has no name, which ONNX needs", graph->name, i);
    for (int i = 0; i < graph->n_outputs; i++)
        for (int j = 0; j < i; j++)
            if (graph->outputs[i] == graph->outputs[j])
                return tw_fail(error, TW_INVALID, "%s: \"%s\" is an output twice, which ONNX does not allow",
                               graph->name, graph->values[graph->outputs[i]].name);
    for (int i = 0; i < graph->n_parameters; i++)
        if (!graph->values[graph->parameters[i]].data)
            return tw_fail(error, TW_INVALID, "%s: parameter \"%s\" has no data: bind or initialise the graph first",
                           graph->name, graph->values[graph->parameters[i]].name);
    return TW_OK;
}

static tw_status append_graph(tw_export *to, tw_error *error)
{
    const tw_graph *graph = to->graph;
    tw_status status = append_text(to, TW_GRAPH_NAME, *graph->name ? graph->name : "graph", error);
    for (int i = 0; i < graph->n_inputs && status == TW_OK; i++)
        status = append_value(to, TW_GRAPH_INPUT, graph->inputs[i], error);
    for (int i = 0; i < graph->n_outputs && status == TW_OK; i++)
        status = append_value(to, TW_GRAPH_OUTPUT, graph->outputs[i], error);
    for (int i = 0; i < graph->n_nodes && status == TW_OK; i++) {
        status = tw_export_node(to, &graph->nodes[i], error);
        if (status != TW_OK) tw_error_prefix(error, "%s", graph->name);
    }
    return status;
}

/* ---- parameters ---- */

/* Numbers begin at multiples of TW_ALIGNMENT in the file, so that a reader that maps it can use them where they lie.
 * Protobuf knows no padding; blanks in a tensor's doc_string do. */
enum { MAX_BLANKS = 127 };
static const char blanks[MAX_BLANKS + 1] = "                                                               "
                                           "                                                                ";

/* A parameter as a TensorProto, but for its numbers, which follow it as its last field. */
typedef struct parameter {
    Onnx__TensorProto proto;
    const void *data;
    size_t packed, bytes; /* of the proto, of the data */
    header header, data_header;
} parameter;

/* Sets what follows from `packed`; gives the bytes of all that stands before the data. */
static size_t set_headers(parameter *p)
{
    p->data_header = field_header(TW_TENSOR_RAW_DATA, p->bytes);
    p->header = field_header(TW_GRAPH_INITIALIZER, p->packed + p->data_header.length + p->bytes);
    return p->header.length + p->packed + p->data_header.length;
}

/* Chooses the blanks for a parameter that begins at `offset` in the file. */
static size_t align(parameter *p, size_t offset)
{
    enum { FIELD = 2 }; /* bytes of doc_string's header */
    size_t unpadded = p->packed, before = set_headers(p);
    for (size_t count = 0; (offset + before) % TW_ALIGNMENT && count <= MAX_BLANKS; count++) {
        p->proto.doc_string = (char *)blanks + MAX_BLANKS - count;
        p->packed = unpadded + FIELD + count;
        before = set_headers(p);
    }
    return before;
}

/* Gives the bytes that the parameter takes. */
static size_t describe(const tw_export *to, int index, size_t offset, parameter *p)
{
    const tw_graph_value *value = &to->graph->values[index];
    onnx__tensor_proto__init(&p->proto);
    p->proto.n_dims = (size_t)value->shape.rank;
    p->proto.dims = (int64_t *)value->shape.dims;
    p->proto.has_data_type = true;
    p->proto.data_type = ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT;
    p->proto.name = (char *)to->names.of[index];
    p->data = value->data;
    p->packed = protobuf_c_message_get_packed_size(&p->proto.base);
    p->bytes = tw_layout_count(&value->shape, TW_PLAIN) * sizeof(float);
    return align(p, offset) + p->bytes;
}

/* Bytes of a GraphProto that begins at `offset` in the file; SIZE_MAX where there are too many for a file. */
static size_t graph_bytes(const tw_export *to, size_t offset)
{
    parameter p;
    size_t bytes = to->bytes;
    for (int i = 0; i < to->graph->n_parameters && bytes <= max_file; i++) {
        size_t more = describe(to, to->graph->parameters[i], offset + bytes, &p);
        bytes = more <= max_file ? bytes + more : SIZE_MAX;
    }
    return bytes <= max_file ? bytes : SIZE_MAX;
}

static tw_status write_parameter(const parameter *p, tw_file_writer *file, tw_error *error)
{
    uint8_t *packed = malloc(p->packed);
    if (!packed) return tw_no_memory(error, p->packed, p->proto.name);
    protobuf_c_message_pack(&p->proto.base, packed);
    tw_status status = tw_file_write(file, p->header.bytes, p->header.length, error);
    if (status == TW_OK) status = tw_file_write(file, packed, p->packed, error);
    if (status == TW_OK) status = tw_file_write(file, p->data_header.bytes, p->data_header.length, error);
    if (status == TW_OK) status = tw_file_write(file, p->data, p->bytes, error);
    free(packed);
    return status;
}

/* ---- the file ---- */

/* All of the ModelProto but its graph: IR version, opset, who wrote it. */
static size_t pack_model(uint8_t out[256])
{
    Onnx__OperatorSetIdProto opset = ONNX__OPERATOR_SET_ID_PROTO__INIT, *opsets[] = {&opset};
    opset.domain = (char *)"";
    opset.has_version = true;
    opset.version = OPSET;
    Onnx__ModelProto model = ONNX__MODEL_PROTO__INIT;
    model.has_ir_version = true;
    model.ir_version = IR_VERSION;
    model.n_opset_import = 1;
    model.opset_import = opsets;
    model.producer_name = (char *)"tilewise";
    model.producer_version = (char *)TW_VERSION;
    return protobuf_c_message_pack(&model.base, out);
}

/* The GraphProto, which begins at `offset` in the file. */
static tw_status write_graph(const tw_export *to, size_t offset, tw_file_writer *file, tw_error *error)
{
    tw_status status = tw_file_write(file, to->data, to->bytes, error);
    offset += to->bytes;
    for (int i = 0; i < to->graph->n_parameters && status == TW_OK; i++) {
        parameter p;
        offset += describe(to, to->graph->parameters[i], offset, &p);
        status = write_parameter(&p, file, error);
    }
    return status;
}

static tw_status write_file(const tw_export *to, const char *path, tw_error *error)
{
    uint8_t model[256];
    size_t model_bytes = pack_model(model);
    /* The graph's place follows from its size, and its size from its place. The first pass may be wrong by a byte where
     * the size has one digit more or less; then the numbers are not aligned, and all else is as it should be. */
    size_t offset = model_bytes + field_header(TW_MODEL_GRAPH, graph_bytes(to, 0)).length;
    size_t graph = graph_bytes(to, offset);
    header h = field_header(TW_MODEL_GRAPH, graph);
    if (graph == SIZE_MAX || model_bytes + h.length + graph > max_file)
        return tw_fail(error, TW_INVALID, "%s: %s takes 2 GiB or more, and an ONNX file ends below that", path,
                       to->graph->name);
    tw_file_writer file;
    tw_status status = tw_file_begin(&file, path, error);
    if (status != TW_OK) return status;
    status = tw_file_write(&file, model, model_bytes, error);
    if (status == TW_OK) status = tw_file_write(&file, h.bytes, h.length, error);
    if (status == TW_OK) status = write_graph(to, offset, &file, error);
    if (status == TW_OK) return tw_file_commit(&file, error);
    tw_file_discard(&file);
    return status;
}

tw_status tw_onnx_write(const char *path, const tw_graph *graph, tw_error *error)
{
    _Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "numbers are written as they lie in memory");
    tw_export to = {.graph = graph};
    tw_status status = check_graph(graph, error);
    if (status == TW_OK) status = tw_export_names_create(graph, &to.names, error);
    if (status == TW_OK) status = append_graph(&to, error);
    if (status == TW_OK) status = write_file(&to, path, error);
    tw_export_names_free(&to.names);
    free(to.data);
    return status;
}
