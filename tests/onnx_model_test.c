/* The reader of ONNX files below the importer: the wire format's bounds, and the numbers of tensors however they are
 * stored. */
#include "onnx_build.h"
#include "test.h"

#include "onnx/external.h"
#include "onnx/model.h"
#include "onnx/wire.h"

#include <unistd.h>

enum { LIMIT = 64 << 20 };

static char path[512];

static tw_status open_model(tw_onnx_model **model, tw_error *error)
{
    error->message[0] = 0;
    return tw_onnx_model_open(path, LIMIT, model, error);
}

static void put_path(const char *name)
{
    snprintf(path, sizeof path, "%s/%s", test_folder(), name);
}

/* ---- the wire ---- */

static size_t wrap(uint8_t *to, int field, const uint8_t *data, size_t bytes)
{
    size_t at = 0;
    to[at++] = (uint8_t)(field << 3 | 2);
    for (size_t rest = bytes; at == 1 || rest; rest >>= 7) to[at++] = (uint8_t)((rest & 127) | (rest > 127 ? 128 : 0));
    memcpy(to + at, data, bytes);
    return at + bytes;
}

/* 3,000 graphs, each the attribute of a node of the one around it: 9,000 messages in some 30 KB. */
static void deep_nesting(void)
{
    enum { ROOM = 100000 };
    uint8_t *a = calloc(1, ROOM), *b = calloc(1, ROOM);
    if (!a || !b) abort();
    size_t bytes = 0;
    for (int i = 0; i < 3000; i++) {
        bytes = wrap(b, 6, a, bytes); /* attribute.g */
        bytes = wrap(a, 5, b, bytes); /* node.attribute */
        bytes = wrap(b, 1, a, bytes); /* graph.node */
        memcpy(a, b, bytes);
    }
    bytes = wrap(b, 7, a, bytes); /* model.graph */
    put_path("deep.onnx");
    onnx_write(path, b, bytes);
    free(a);
    free(b);
    tw_onnx_model *model;
    tw_error error;
    CHECK(open_model(&model, &error) == TW_INVALID);
    CHECK_CONTAINS(error.message, "nest deeper than 64");
}

static void cut_at_every_byte(void)
{
    size_t bytes;
    uint8_t *whole = onnx_build(2, &bytes);
    put_path("cut.onnx");
    int opened = 0;
    for (size_t cut = 0; cut < bytes; cut++) {
        tw_onnx_model *model;
        tw_error error;
        onnx_write(path, whole, cut);
        tw_status status = open_model(&model, &error);
        opened += status == TW_OK;
        if (status == TW_OK)
            tw_onnx_model_release(model);
        else if (status != TW_INVALID || !*error.message)
            test_fail(__FILE__, __LINE__, "cut at %zu: status %d", cut, (int)status);
    }
    free(whole);
    CHECK_MSG(opened <= 2, "%d cut files were opened", opened); /* between two fields of the outermost message */
}

static void refuse(const uint8_t *data, size_t bytes, const char *part)
{
    tw_onnx_model *model;
    tw_error error;
    put_path("wrong.onnx");
    onnx_write(path, data, bytes);
    CHECK_MSG(open_model(&model, &error) == TW_INVALID, "opened, where \"%s\" was expected", part);
    CHECK_CONTAINS(error.message, part);
}

#define REFUSE(part, ...) refuse((const uint8_t[]){__VA_ARGS__}, sizeof((const uint8_t[]){__VA_ARGS__}), part)

static void wrong_wires(void)
{
    refuse((const uint8_t *)"", 0, "empty");
    REFUSE("no field", 0x00);
    REFUSE("longer than", 0x3a, 0x7f);
    REFUSE("longer than", 0x3a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01);
    REFUSE("cut off", 0x3a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f);
    REFUSE("cut off", 0x08, 0xff);
    REFUSE("obsolete type", 0x3b, 0x3c);
    REFUSE("a number where a message", 0x38, 0x01);
    REFUSE("no graph", 0x08, 0x08);
    /* a tensor with raw_data twice */
    REFUSE("several pieces", 0x3a, 0x0a, 0x2a, 0x08, 0x4a, 0x02, 0, 0, 0x4a, 0x02, 0, 0);
    /* two graphs of a node each: protobuf merges them, which takes forever where they are many */
    REFUSE("several pieces", 0x3a, 0x02, 0x0a, 0x00, 0x3a, 0x02, 0x0a, 0x00);
}

static void too_many_parts(void)
{
    enum { NODES = TW_ONNX_MAX_MESSAGES };
    uint8_t *nodes = calloc(NODES, 2), *whole = malloc(2 * NODES + 16);
    if (!nodes || !whole) abort();
    for (size_t i = 0; i < NODES; i++) nodes[2 * i] = 0x0a;
    size_t bytes = wrap(whole, 7, nodes, 2 * (NODES - 2)); /* with the model and the graph just as many as may be */
    put_path("parts.onnx");
    onnx_write(path, whole, bytes);
    tw_onnx_model *model;
    tw_error error;
    CHECK_MSG(tw_onnx_model_open(path, (size_t)512 << 20, &model, &error) == TW_OK, "%s", error.message);
    CHECK(tw_onnx_model_proto(model)->graph->n_node == NODES - 2);
    CHECK_STR(tw_onnx_model_proto(model)->graph->node[NODES - 3]->op_type, "");
    tw_onnx_model_release(model);
    bytes = wrap(whole, 7, nodes, 2 * (NODES - 1));
    refuse(whole, bytes, "more than 1048576 parts");
    free(nodes);
    free(whole);
}

/* ---- tensors ---- */

static const Onnx__TensorProto *find(const tw_onnx_model *model, const char *name)
{
    const Onnx__GraphProto *graph = tw_onnx_model_proto(model)->graph;
    for (size_t i = 0; i < graph->n_initializer; i++)
        if (strcmp(graph->initializer[i]->name, name) == 0) return graph->initializer[i];
    return NULL;
}

/* One initialiser of 2 x 3 numbers. */
static Onnx__ModelProto *one_tensor(Onnx__TensorProto **tensor, int type)
{
    Onnx__ModelProto *m = onnx_alloc(sizeof *m);
    onnx__model_proto__init(m);
    m->graph = onnx_alloc(sizeof *m->graph);
    onnx__graph_proto__init(m->graph);
    Onnx__TensorProto *t = *tensor = onnx_alloc(sizeof *t);
    onnx__tensor_proto__init(t);
    t->name = onnx_text("t");
    t->has_data_type = 1;
    t->data_type = type;
    t->dims = onnx_alloc(2 * sizeof *t->dims);
    t->dims[0] = 2;
    t->dims[1] = 3;
    t->n_dims = 2;
    m->graph->initializer = onnx_alloc(sizeof(void *));
    m->graph->initializer[0] = t;
    m->graph->n_initializer = 1;
    return m;
}

static tw_status read_tensor(const Onnx__ModelProto *m, tw_onnx_model **model, tw_tensor *view, tw_error *error)
{
    put_path("tensor.onnx");
    onnx_write_message(path, m);
    onnx_reset();
    tw_status status = open_model(model, error);
    return status == TW_OK ? tw_onnx_model_tensor(*model, find(*model, "t"), view, error) : status;
}

static void floats_both_ways(void)
{
    static float numbers[] = {1, -2, 3.5f, 0, 1e-30f, 7};
    for (int raw = 0; raw < 2; raw++) {
        Onnx__TensorProto *t;
        Onnx__ModelProto *m = one_tensor(&t, ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT);
        if (raw) {
            t->has_raw_data = 1;
            t->raw_data = (ProtobufCBinaryData){sizeof numbers, (uint8_t *)numbers};
        } else {
            t->n_float_data = 6;
            t->float_data = numbers;
        }
        tw_onnx_model *model;
        tw_tensor view;
        tw_error error;
        CHECK_MSG(read_tensor(m, &model, &view, &error) == TW_OK, "%s", error.message);
        CHECK(view.dtype == TW_F32 && view.shape.rank == 2 && view.shape.dims[1] == 3);
        CHECK(memcmp(view.data, numbers, sizeof numbers) == 0);
        CHECK((uintptr_t)view.data % sizeof(float) == 0);
        tw_onnx_model_release(model);
    }
}

/* Numbers that look like the place that the reader leaves for numbers are numbers all the same. */
static void forged_place(void)
{
    tw_onnx_place place = {0, 24, 9, 0};
    Onnx__TensorProto *t;
    Onnx__ModelProto *m = one_tensor(&t, ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT);
    t->has_raw_data = 1;
    t->raw_data = (ProtobufCBinaryData){sizeof place, (uint8_t *)&place};
    tw_onnx_model *model;
    tw_tensor view;
    tw_error error;
    CHECK_MSG(read_tensor(m, &model, &view, &error) == TW_OK, "%s", error.message);
    CHECK(memcmp(view.data, &place, sizeof place) == 0);
    tw_onnx_model_release(model);
}

/* raw_data without bytes is none: some writers leave it beside the numbers. */
static void empty_raw_data(void)
{
    static float numbers[] = {1, 2, 3, 4, 5, 6};
    Onnx__TensorProto *t;
    Onnx__ModelProto *m = one_tensor(&t, ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT);
    t->has_raw_data = 1;
    t->n_float_data = 6;
    t->float_data = numbers;
    tw_onnx_model *model;
    tw_tensor view;
    tw_error error;
    CHECK_MSG(read_tensor(m, &model, &view, &error) == TW_OK, "%s", error.message);
    CHECK(memcmp(view.data, numbers, sizeof numbers) == 0);
    tw_onnx_model_release(model);
}

/* -1 as an int32 takes ten bytes by protobuf's rules, and five as some write it; readers take both. */
static void negative_int32(void)
{
    static const uint8_t tensor[] = {0x08, 2,    0x10, 6,    0x42, 1,    't',  0x2a, 15,   0xff, 0xff, 0xff,
                                     0xff, 0x0f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01};
    uint8_t graph[64], whole[64];
    size_t bytes = wrap(graph, 5, tensor, sizeof tensor);
    bytes = wrap(whole, 7, graph, bytes);
    put_path("negative.onnx");
    onnx_write(path, whole, bytes);
    tw_onnx_model *model;
    tw_tensor view;
    tw_error error;
    CHECK_MSG(open_model(&model, &error) == TW_OK, "%s", error.message);
    CHECK_MSG(tw_onnx_model_tensor(model, find(model, "t"), &view, &error) == TW_OK, "%s", error.message);
    CHECK(((const int32_t *)view.data)[0] == -1 && ((const int32_t *)view.data)[1] == -1);
    tw_onnx_model_release(model);
}

static void integers_of_each_width(void)
{
    static int32_t small[] = {0, 1, 1, 0, 1, 100};
    static int64_t large[] = {-1, INT64_MIN, INT64_MAX, 0, 5, 1};
    static const struct {
        int type;
        tw_dtype dtype;
    } types[] = {{3, TW_I8}, {2, TW_U8}, {5, TW_I16}, {6, TW_I32}, {10, TW_F16}, {16, TW_BF16}};
    tw_onnx_model *model;
    tw_tensor view;
    tw_error error;
    Onnx__TensorProto *t;
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        Onnx__ModelProto *m = one_tensor(&t, types[i].type);
        t->n_int32_data = 6;
        t->int32_data = small;
        CHECK_MSG(read_tensor(m, &model, &view, &error) == TW_OK, "%s", error.message);
        CHECK(view.dtype == types[i].dtype);
        size_t size = tw_dtype_bytes(view.dtype);
        CHECK(((const uint8_t *)view.data)[5 * size] == 100 && ((const uint8_t *)view.data)[size] == 1);
        tw_onnx_model_release(model);
    }
    Onnx__ModelProto *m = one_tensor(&t, ONNX__TENSOR_PROTO__DATA_TYPE__INT64);
    t->n_int64_data = 6;
    t->int64_data = large;
    CHECK_MSG(read_tensor(m, &model, &view, &error) == TW_OK, "%s", error.message);
    CHECK(view.dtype == TW_I64 && memcmp(view.data, large, sizeof large) == 0);
    tw_onnx_model_release(model);
}

/* Changes the tensor, and expects the message. */
static void wrong_tensor(void (*change)(Onnx__TensorProto *t), const char *part)
{
    static float numbers[6];
    Onnx__TensorProto *t;
    Onnx__ModelProto *m = one_tensor(&t, ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT);
    t->n_float_data = 6;
    t->float_data = numbers;
    change(t);
    tw_onnx_model *model = NULL;
    tw_tensor view;
    tw_error error;
    tw_status status = read_tensor(m, &model, &view, &error);
    tw_onnx_model_release(model);
    CHECK_MSG(status == TW_INVALID, "status %d, where \"%s\" was expected", (int)status, part);
    CHECK_CONTAINS(error.message, part);
}

static void negative(Onnx__TensorProto *t)
{
    t->dims[0] = -2;
}
static void huge(Onnx__TensorProto *t)
{
    t->dims[0] = t->dims[1] = INT64_MAX;
}
static void too_many(Onnx__TensorProto *t)
{
    t->dims[1] = 4;
}
static void typed_wrongly(Onnx__TensorProto *t)
{
    t->data_type = ONNX__TENSOR_PROTO__DATA_TYPE__INT64;
}
static void unknown_type(Onnx__TensorProto *t)
{
    t->data_type = 99;
}
static void deep_rank(Onnx__TensorProto *t)
{
    t->n_dims = 9;
    t->dims = onnx_alloc(9 * sizeof *t->dims);
}
static void out_of_range(Onnx__TensorProto *t)
{
    static int32_t numbers[] = {0, 1, 2, 3, 4, 256};
    t->data_type = ONNX__TENSOR_PROTO__DATA_TYPE__UINT8;
    t->n_float_data = 0;
    t->n_int32_data = 6;
    t->int32_data = numbers;
}

static void wrong_tensors(void)
{
    wrong_tensor(negative, "negative");
    wrong_tensor(huge, "\"t\"");
    wrong_tensor(too_many, "where its shape asks for");
    wrong_tensor(typed_wrongly, "does not hold");
    wrong_tensor(unknown_type, "element type 99");
    wrong_tensor(deep_rank, "9 dimensions");
    wrong_tensor(out_of_range, "256");
}

/* ---- external data ---- */

static void set_external(Onnx__TensorProto *t, const char *location, const char *offset)
{
    const char *const texts[2][2] = {{"location", location}, {"offset", offset}};
    t->external_data = onnx_alloc(2 * sizeof(void *));
    t->n_external_data = 2;
    t->has_data_location = 1;
    t->data_location = ONNX__TENSOR_PROTO__DATA_LOCATION__EXTERNAL;
    for (int i = 0; i < 2; i++) {
        t->external_data[i] = onnx_alloc(sizeof **t->external_data);
        onnx__string_string_entry_proto__init(t->external_data[i]);
        t->external_data[i]->key = onnx_text(texts[i][0]);
        t->external_data[i]->value = onnx_text(texts[i][1]);
    }
}

static void external_data(void)
{
    static const float numbers[8] = {9, 9, 1, 2, 3, 4, 5, 6};
    static const struct {
        const char *location, *offset, *message; /* null: read */
    } cases[] = {
        {"weights.bin", "8", NULL},
        {"./weights.bin", "8", NULL},
        {"weights.bin", "12", "which has 32 bytes"},
        {"weights.bin", "99999999999999999999", "expected bytes"},
        {"weights.bin", "-8", "expected bytes"},
        {"none.bin", "0", "No such file"},
        {"../weights.bin", "0", "inside the model's folder"},
        {"/etc/passwd", "0", "inside the model's folder"},
        {"a/../../weights.bin", "0", "inside the model's folder"},
        {"", "0", "inside the model's folder"},
        {"link.bin", "0", "leads out"},
        {".", "0", "."},
    };
    char other[600];
    snprintf(other, sizeof other, "%s/weights.bin", test_folder());
    onnx_write(other, numbers, sizeof numbers);
    snprintf(other, sizeof other, "%s/link.bin", test_folder());
    CHECK(symlink("/etc/hostname", other) == 0);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        Onnx__TensorProto *t;
        Onnx__ModelProto *m = one_tensor(&t, ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT);
        set_external(t, cases[i].location, cases[i].offset);
        tw_onnx_model *model = NULL;
        tw_tensor view;
        tw_error error;
        tw_status status = read_tensor(m, &model, &view, &error);
        if (cases[i].message) {
            CHECK_MSG(status == TW_INVALID, "\"%s\" at %s was read", cases[i].location, cases[i].offset);
            CHECK_CONTAINS(error.message, cases[i].message);
        } else {
            CHECK_MSG(status == TW_OK, "%s", error.message);
            CHECK(memcmp(view.data, numbers + 2, 6 * sizeof(float)) == 0);
        }
        tw_onnx_model_release(model);
    }
}

/* A file is mapped once, whatever it is called; its bytes count once, so that names cannot multiply them. */
static void one_file_of_many_names(void)
{
    static const char *const names[] = {"weights.bin", "./weights.bin", "weights.bin", "same.bin", ".//weights.bin"};
    static const float numbers[8] = {0};
    char model[600], file[600], link[600];
    snprintf(model, sizeof model, "%s/model.onnx", test_folder());
    snprintf(file, sizeof file, "%s/weights.bin", test_folder());
    snprintf(link, sizeof link, "%s/same.bin", test_folder());
    onnx_write(file, numbers, sizeof numbers);
    CHECK(symlink("weights.bin", link) == 0);
    tw_onnx_external external = {0};
    tw_mapping first = {0}, mapping;
    tw_error error;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        CHECK_MSG(tw_onnx_external_open(&external, model, names[i], &mapping, &error) == TW_OK, "%s", error.message);
        if (i == 0) first = mapping;
        CHECK(mapping.data == first.data && mapping.bytes == sizeof numbers);
    }
    CHECK(external.count == 1 && external.bytes == sizeof numbers);
    CHECK(unlink(file) == 0 && unlink(link) == 0);
    CHECK(tw_onnx_external_open(&external, model, names[1], &mapping, &error) == TW_OK); /* no system call */
    CHECK(tw_onnx_external_open(&external, model, "../a", &mapping, &error) == TW_INVALID);
    tw_onnx_external_close(&external);
}

static void limits(void)
{
    size_t bytes;
    uint8_t *whole = onnx_build(0, &bytes);
    put_path("limit.onnx");
    onnx_write(path, whole, bytes);
    free(whole);
    tw_onnx_model *model;
    tw_error error;
    size_t limit = 0;
    tw_status status;
    while ((status = tw_onnx_model_open(path, limit, &model, &error)) == TW_OUT_OF_MEMORY && limit < LIMIT) limit += 40;
    CHECK_MSG(limit > 3000 && limit < 100000, "opened with, or failed otherwise at, %zu bytes", limit);
    CHECK_MSG(status == TW_OK, "%s", error.message);
    CHECK(tw_onnx_model_charge(model, limit, &error) == TW_OUT_OF_MEMORY);
    tw_onnx_model_release(model);
    CHECK(tw_onnx_model_open(path, SIZE_MAX, &model, &error) == TW_OK);
    CHECK(tw_onnx_model_charge(model, (size_t)200 << 20, &error) == TW_OK);
    CHECK(tw_onnx_model_charge(model, (size_t)200 << 20, &error) == TW_OUT_OF_MEMORY);
    CHECK_CONTAINS(error.message, "times the model's files");
    tw_onnx_model_release(model);
}

int main(int argc, char **argv)
{
    static const test_case cases[] = {
        {"deep nesting", deep_nesting},
        {"cut at every byte", cut_at_every_byte},
        {"wrong wires", wrong_wires},
        {"too many parts", too_many_parts},
        {"floats, raw and typed", floats_both_ways},
        {"a forged place", forged_place},
        {"empty raw_data", empty_raw_data},
        {"negative int32", negative_int32},
        {"integers of each width", integers_of_each_width},
        {"wrong tensors", wrong_tensors},
        {"external data", external_data},
        {"one file of many names", one_file_of_many_names},
        {"limits", limits},
    };
    return test_main(argc, argv, cases, sizeof cases / sizeof *cases);
}
