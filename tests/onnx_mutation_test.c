/* Damaged ONNX models: bytes flipped, inserted, taken out and cut off, and messages changed in ways that a fuzzer of bytes
 * seldom finds (cycles, missing initialisers, huge and negative shapes, wrong types, paths that escape). Each must be
 * read or refused with one line of error, in time and within its memory; what is read must also be plannable or
 * refused. TEST_MUTATIONS in the environment sets how many there are of each kind and model. */
#include "onnx_build.h"
#include "test.h"
#include "tilewise.h"

#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

enum { LIMIT = 64 << 20 };

static uint64_t state = 88172645463325252;

static uint64_t next(void) /* xorshift64 */
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state;
}

static size_t below(size_t count)
{
    return count ? (size_t)(next() % count) : 0;
}

static int64_t strange_number(void)
{
    static const int64_t numbers[] = {-1,
                                      0,
                                      1,
                                      2,
                                      3,
                                      7,
                                      -2,
                                      255,
                                      65536,
                                      INT32_MAX,
                                      INT32_MIN,
                                      (int64_t)1 << 32,
                                      (int64_t)1 << 62,
                                      INT64_MAX,
                                      INT64_MIN,
                                      1000000007};
    return numbers[below(sizeof numbers / sizeof *numbers)];
}

/* ---- judging ---- */

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static bool one_line(const tw_error *error)
{
    size_t length = strnlen(error->message, sizeof error->message);
    return length > 0 && length < sizeof error->message && !strchr(error->message, '\n') &&
           (error->status == TW_INVALID || error->status == TW_UNAVAILABLE || error->status == TW_OUT_OF_MEMORY);
}

/* Small enough to be planned here. */
static bool is_small(const tw_graph *graph)
{
    tw_graph_info info;
    tw_graph_describe(graph, &info);
    return info.flops < 1e8 && info.parameter_count < 1000000;
}

static int read_models, refused;

static void judge(const char *path, tw_device *device, const char *what)
{
    tw_graph *graph = NULL;
    tw_plan *plan = NULL;
    tw_error error = {TW_OK, ""};
    double start = now();
    tw_status status = tw_onnx_read(path, &(tw_onnx_desc){.max_bytes = LIMIT}, &graph, &error);
    bool was_read = status == TW_OK;
    if (was_read && is_small(graph)) status = tw_plan_create(graph, device, NULL, &plan, &error);
    double seconds = now() - start;
    read_models += was_read;
    refused += !was_read;
    if (status != TW_OK && !one_line(&error))
        test_fail(__FILE__, __LINE__, "%s: status %d, message \"%s\"", what, (int)status, error.message);
    if (!was_read && graph) test_fail(__FILE__, __LINE__, "%s: a graph after a failure", what);
    if (seconds > 2) test_fail(__FILE__, __LINE__, "%s: took %.1f s", what, seconds);
    if (test_failed()) {
        char kept[512];
        snprintf(kept, sizeof kept, "/tmp/onnx_mutation_failure_%d.onnx", (int)getpid());
        if (link(path, kept) == 0) printf("kept as %s\n", kept);
    }
    tw_plan_release(plan);
    tw_graph_release(graph);
}

/* ---- bytes ---- */

static void damage_bytes(uint8_t *data, size_t *bytes)
{
    size_t edits = 1 + below(3);
    for (size_t i = 0; i<edits && * bytes> 1; i++) {
        size_t at = below(*bytes), count = 1 + below(8);
        switch (below(5)) {
        case 0: data[at] ^= (uint8_t)(1 << below(8)); break;
        case 1: data[at] = (uint8_t)next(); break;
        case 2: /* taken out */
            if (count > *bytes - at) count = *bytes - at;
            memmove(data + at, data + at + count, *bytes - at - count);
            *bytes -= count;
            break;
        case 3: /* put in: the buffer has room */
            memmove(data + at + 1, data + at, *bytes - at);
            data[at] = (uint8_t)next();
            (*bytes)++;
            break;
        default: *bytes = at ? at : 1; break;
        }
    }
}

/* ---- messages ---- */

static char *any_name(const Onnx__GraphProto *g)
{
    switch (below(4)) {
    case 0: return g->n_initializer ? g->initializer[below(g->n_initializer)]->name : onnx_text("");
    case 1: return onnx_text(below(4) ? "x" : "");
    default: break;
    }
    const Onnx__NodeProto *n = g->node[below(g->n_node)];
    return n->n_output ? n->output[0] : onnx_text("nowhere");
}

static char *long_name(void)
{
    char *text = onnx_alloc(5001);
    return memset(text, 'n', 5000);
}

static void damage_tensor(Onnx__TensorProto *t)
{
    switch (below(7)) {
    case 0:
        if (t->n_dims) t->dims[below(t->n_dims)] = strange_number();
        break;
    case 1: t->data_type = (int32_t)below(18); break;
    case 2: t->n_dims = below(t->n_dims + 1); break;
    case 3:
        if (t->has_raw_data && t->raw_data.len) t->raw_data.len = below(t->raw_data.len);
        break;
    case 4: t->n_float_data = t->n_float_data / 2; break;
    case 5:
        t->n_int64_data = 0;
        if (t->n_external_data) {
            char *text = t->external_data[below(t->n_external_data)]->value = onnx_alloc(32);
            snprintf(text, 32, "%lld", (long long)strange_number());
        }
        break;
    default: {
        static const char *const places[] = {"../x", "/etc/passwd", "", "a/../../x", "model.onnx", ".", "nothing"};
        Onnx__StringStringEntryProto *entry = onnx_alloc(sizeof *entry), **list = onnx_alloc(sizeof(void *));
        onnx__string_string_entry_proto__init(entry);
        entry->key = onnx_text("location");
        entry->value = onnx_text(places[below(sizeof places / sizeof *places)]);
        *list = entry;
        t->external_data = list;
        t->n_external_data = 1;
        t->has_data_location = 1;
        t->data_location = ONNX__TENSOR_PROTO__DATA_LOCATION__EXTERNAL;
        t->has_raw_data = 0;
        t->n_float_data = t->n_int64_data = 0;
        break;
    }
    }
}

static void damage_attribute(Onnx__AttributeProto *a)
{
    static const char *const names[] = {"axis",      "pads",      "strides",  "kernel_shape", "group",
                                        "dilations", "auto_pad",  "transA",   "alpha",        "perm",
                                        "axes",      "ceil_mode", "keepdims", "mode"};
    switch (below(5)) {
    case 0: a->type = (Onnx__AttributeProto__AttributeType)below(15); break;
    case 1: a->i = strange_number(); break;
    case 2:
        if (a->n_ints) a->ints[below(a->n_ints)] = strange_number();
        break;
    case 3: a->n_ints = below(a->n_ints + 1); break;
    default: a->name = onnx_text(names[below(sizeof names / sizeof *names)]); break;
    }
}

static void damage_node(Onnx__GraphProto *g, Onnx__NodeProto *n)
{
    static const char *const operators[] = {"Conv",
                                            "Add",
                                            "Reshape",
                                            "Shape",
                                            "Concat",
                                            "Gemm",
                                            "Relu",
                                            "Gather",
                                            "Transpose",
                                            "Softmax",
                                            "BatchNormalization",
                                            "MaxPool",
                                            "Clip",
                                            "Loop",
                                            "Unsqueeze",
                                            "Squeeze",
                                            "Slice",
                                            "Pad",
                                            "MatMul",
                                            "Flatten",
                                            "ReduceMean",
                                            "GlobalAveragePool",
                                            "Cast",
                                            "ConstantOfShape",
                                            "Mul",
                                            "Sub",
                                            "Div",
                                            "LRN"};
    switch (below(7)) {
    case 0:
        if (n->n_input) n->input[below(n->n_input)] = any_name(g);
        break;
    case 1:
        if (n->n_output) n->output[below(n->n_output)] = any_name(g);
        break;
    case 2: n->op_type = onnx_text(operators[below(sizeof operators / sizeof *operators)]); break;
    case 3: n->n_input = below(n->n_input + 1); break;
    case 4: n->n_output = 0; break;
    case 5: n->name = below(2) ? long_name() : any_name(g); break;
    default:
        if (n->n_attribute) damage_attribute(n->attribute[below(n->n_attribute)]);
        break;
    }
}

static void damage_shape(Onnx__ValueInfoProto *info)
{
    Onnx__TensorShapeProto *shape = info->type ? info->type->tensor_type->shape : NULL;
    switch (below(5)) {
    case 0: info->type = NULL; break;
    case 1: info->name = onnx_text("other"); break;
    case 2:
        if (shape) info->type->tensor_type->elem_type = (int32_t)below(17);
        break;
    case 3:
        if (shape) shape->n_dim = below(shape->n_dim + 1);
        break;
    default:
        if (!shape || !shape->n_dim) break;
        shape->dim[below(shape->n_dim)]->value_case = ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_VALUE;
        shape->dim[below(shape->n_dim)]->dim_value = strange_number();
        for (size_t i = 0; i < shape->n_dim; i++) /* a string's address is no number */
            if (shape->dim[i]->value_case == ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_PARAM)
                shape->dim[i]->dim_param = onnx_text("M");
        break;
    }
}

static void remove_initializer(Onnx__GraphProto *g)
{
    size_t at = below(g->n_initializer);
    g->n_initializer--;
    g->initializer[at] = g->initializer[g->n_initializer];
}

static void damage_message(Onnx__ModelProto *m)
{
    Onnx__GraphProto *g = m->graph;
    size_t a = below(g->n_node), b = below(g->n_node);
    Onnx__NodeProto *swapped = g->node[a];
    switch (below(12)) {
    case 0: g->node[a] = g->node[b], g->node[b] = swapped; break;
    case 1:
        if (g->n_initializer) remove_initializer(g);
        break;
    case 2:
        if (g->n_initializer) damage_tensor(g->initializer[below(g->n_initializer)]);
        break;
    case 3: damage_shape(g->input[0]); break;
    case 4: *(below(2) ? &g->n_input : &g->n_output) = 0; break;
    case 5: m->opset_import[0]->version = strange_number(); break;
    case 6: g->output[0]->name = any_name(g); break;
    case 7:
        if (g->n_initializer) g->initializer[below(g->n_initializer)]->name = any_name(g);
        break;
    default: damage_node(g, g->node[a]); break;
    }
}

/* ---- models that ask for much ---- */

/* With the limit that is the default. */
static void read_greedy(const char *path)
{
    static const struct {
        const char *name, *message; /* null: read */
    } cases[ONNX_GREEDS] = {
        [ONNX_FOLDING] = {"constants of 5 GB", "the constants to compute take more"},
        [ONNX_LONG_SUM] = {"a sum of 500,000 terms", "more than 16384 nodes"},
        [ONNX_NOTHING_MANY_TIMES] = {"no elements, 2^40 times", "not supported"},
        [ONNX_SUM_OF_20] = {"a sum of 20 terms", NULL},
    };
    for (int i = 0; i < ONNX_GREEDS; i++) {
        tw_graph *graph = NULL;
        tw_error error = {TW_OK, ""};
        onnx_write_message(path, onnx_build_greedy((onnx_greed)i));
        onnx_reset();
        test_begin(cases[i].name);
        bool was_read = tw_onnx_read(path, NULL, &graph, &error) == TW_OK;
        if (was_read ? cases[i].message != NULL : !cases[i].message || !strstr(error.message, cases[i].message))
            test_fail(__FILE__, __LINE__, "%s", was_read ? "it was read" : error.message);
        if (!was_read && !one_line(&error)) test_fail(__FILE__, __LINE__, "\"%s\"", error.message);
        test_end();
        tw_graph_release(graph);
    }
}

/* ---- the cases ---- */

static int mutations(void)
{
    const char *wanted = getenv("TEST_MUTATIONS");
    return wanted ? atoi(wanted) : 1500;
}

int main(void)
{
    tw_device *device;
    tw_error error;
    char path[512], name[64];
    static const char outside[ONNX_OUTSIDE_BYTES];
    snprintf(path, sizeof path, "%s/" ONNX_OUTSIDE, test_folder());
    onnx_write(path, outside, sizeof outside);
    snprintf(path, sizeof path, "%s/model.onnx", test_folder());
    if (tw_device_open("cpu", &(tw_device_desc){.threads = 1}, &device, &error) != TW_OK) return 1;
    for (int which = 0; which < ONNX_MODELS; which++) {
        size_t bytes;
        uint8_t *whole = onnx_build(which, &bytes), *copy = malloc(bytes + 64);
        if (!copy) abort();
        onnx_write(path, whole, bytes);
        snprintf(name, sizeof name, "%s, whole", onnx_model_names[which]);
        test_begin(name);
        refused = 0;
        judge(path, device, name);
        if (refused) test_fail(__FILE__, __LINE__, "an undamaged model was refused");
        test_end();
        for (int kind = 0; kind < 2; kind++) {
            read_models = refused = 0;
            snprintf(name, sizeof name, "%s, damaged %s", onnx_model_names[which], kind ? "messages" : "bytes");
            test_begin(name);
            for (int i = 0; i < mutations() && !test_failed(); i++) {
                char what[96];
                snprintf(what, sizeof what, "mutation %d", i);
                if (kind) {
                    Onnx__ModelProto *m = onnx_unpack(whole, bytes);
                    for (size_t edits = 1 + below(2); edits > 0; edits--) damage_message(m);
                    onnx_write_message(path, m);
                    onnx_reset();
                } else {
                    size_t count = bytes;
                    memcpy(copy, whole, bytes);
                    damage_bytes(copy, &count);
                    onnx_write(path, copy, count);
                }
                judge(path, device, what);
            }
            if (!test_failed() && (read_models == 0 || refused == 0))
                test_fail(__FILE__, __LINE__, "%d read, %d refused: expected some of both", read_models, refused);
            test_end();
        }
        free(whole);
        free(copy);
    }
    tw_device_release(device);
    struct rusage usage;
    test_begin("memory");
    getrusage(RUSAGE_SELF, &usage);
    bool sanitized = false; /* which keeps freed memory a while */
#if defined(__SANITIZE_ADDRESS__)
    sanitized = true;
#elif defined(__has_feature)
    sanitized = __has_feature(address_sanitizer);
#endif
    if (!sanitized && usage.ru_maxrss > 512 << 10)
        test_fail(__FILE__, __LINE__, "%ld KiB at the most", usage.ru_maxrss);
    test_end();
    read_greedy(path);
    return test_finish();
}
