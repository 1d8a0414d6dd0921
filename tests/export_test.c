/* tw_onnx_write(): every operator, with the parameters at which ONNX and PyTorch part ways, written and read back; and
 * what cannot be written. oracle_export.py checks the same files with the ONNX checker and other implementations:
 *
 *   export_test --write DIR     DIR/CASE.onnx, DIR/CASE.x.npy and, by the reference designs, DIR/CASE.y.npy */
#include "core/weights.h"
#include "test.h"
#include "tilewise.h"

#include <math.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { BATCH = 2, PATH = 512 };

typedef struct operator_case {
    const char *name;
    tw_shape input;
    tw_value (*build)(tw_graph *graph, tw_value x);
} operator_case;

/* ---- graphs of one operator, or a few ---- */

static tw_value conv2d(tw_graph *graph, tw_value x)
{
    x = tw_graph_conv2d(graph, x,
                        &(tw_conv2d_desc){.name = "strided",
                                          .out_channels = 8,
                                          .kernel = {3, 5},
                                          .stride = {2, 1},
                                          .padding = {1, 0, 2, 3},
                                          .groups = 2,
                                          .bias = true});
    return tw_graph_conv2d(
        graph, x,
        &(tw_conv2d_desc){.name = "dilated", .out_channels = 8, .kernel = {2}, .dilation = {3, 2}, .groups = 8});
}

static tw_value linear(tw_graph *graph, tw_value x)
{
    x = tw_graph_linear(graph, x, &(tw_linear_desc){"with", 11, true});
    return tw_graph_linear(graph, x, &(tw_linear_desc){"without", 3, false});
}

static tw_value pool(tw_graph *graph, tw_value x, tw_pool_desc desc)
{
    desc.name = "pool";
    return tw_graph_pool(graph, x, &desc);
}

static tw_value max(tw_graph *graph, tw_value x)
{
    return pool(graph, x, (tw_pool_desc){.kernel = {3, 2}, .stride = {2, 3}, .padding = {1, 0, 0, 1}});
}

static tw_value max_ceil(tw_graph *graph, tw_value x)
{
    return pool(graph, x, (tw_pool_desc){.kernel = {3}, .stride = {2}, .ceil_mode = true});
}

static tw_value max_dilated_ceil(tw_graph *graph, tw_value x)
{
    return pool(
        graph, x,
        (tw_pool_desc){.kernel = {3}, .stride = {2}, .padding = {1, 1, 1, 1}, .dilation = {2}, .ceil_mode = true});
}

/* The last window would start behind the input: PyTorch drops it, ONNX does not. */
static tw_value max_dropped(tw_graph *graph, tw_value x)
{
    return pool(graph, x, (tw_pool_desc){.kernel = {2}, .stride = {2}, .padding = {1, 1, 1, 1}, .ceil_mode = true});
}

/* Dropped in one direction, kept in the other. */
static tw_value max_half_dropped(tw_graph *graph, tw_value x)
{
    return pool(graph, x,
                (tw_pool_desc){.kernel = {2, 3}, .stride = {2, 2}, .padding = {1, 0, 1, 0}, .ceil_mode = true});
}

static tw_value average(tw_graph *graph, tw_value x)
{
    return pool(
        graph, x,
        (tw_pool_desc){
            .kind = TW_POOL_AVERAGE, .kernel = {3, 4}, .stride = {2}, .padding = {1, 2, 0, 1}, .ceil_mode = true});
}

static tw_value average_padded(tw_graph *graph, tw_value x)
{
    return pool(graph, x,
                (tw_pool_desc){.kind = TW_POOL_AVERAGE,
                               .kernel = {3},
                               .stride = {1, 2},
                               .padding = {1, 1, 1, 0},
                               .count_include_pad = true});
}

static tw_value average_padded_ceil(tw_graph *graph, tw_value x)
{
    return pool(graph, x,
                (tw_pool_desc){.kind = TW_POOL_AVERAGE,
                               .kernel = {3},
                               .stride = {2},
                               .padding = {1, 1, 1, 1},
                               .ceil_mode = true,
                               .count_include_pad = true});
}

static tw_value average_ceil(tw_graph *graph, tw_value x)
{
    return pool(
        graph, x,
        (tw_pool_desc){
            .kind = TW_POOL_AVERAGE, .kernel = {3}, .stride = {2}, .ceil_mode = true, .count_include_pad = true});
}

static tw_value adaptive(tw_graph *graph, tw_value x, int height, int width)
{
    return pool(graph, x, (tw_pool_desc){.kind = TW_POOL_ADAPTIVE_AVERAGE, .output = {height, width}});
}

static tw_value adaptive_one(tw_graph *graph, tw_value x)
{
    return adaptive(graph, x, 1, 1);
}

static tw_value adaptive_exact(tw_graph *graph, tw_value x)
{
    return adaptive(graph, x, 3, 4);
}

/* 5 to 4: windows of two, one apart; 7 to 3: windows of three, two apart. */
static tw_value adaptive_overlapping(tw_graph *graph, tw_value x)
{
    return adaptive(graph, x, 4, 3);
}

static tw_value clips(tw_graph *graph, tw_value x)
{
    tw_value all[] = {tw_graph_relu(graph, x, "relu"), tw_graph_clip(graph, x, 0, 6, "relu6"),
                      tw_graph_clip(graph, x, -INFINITY, 0.25f, "low"),
                      tw_graph_clip(graph, x, -0.5f, INFINITY, "high"),
                      tw_graph_clip(graph, x, -INFINITY, INFINITY, "all")};
    return tw_graph_concat(graph, all, 5, "concat");
}

/* Names that the writer would make, were they free. */
static tw_value names(tw_graph *graph, tw_value x)
{
    x = tw_graph_clip(graph, x, 0, 6, "clip.min");
    x = tw_graph_clip(graph, x, -1, 5, "clip");
    x = tw_graph_clip(graph, x, -2, 4, "clip.max_");
    x = tw_graph_clip(graph, x, -3, 3, "clip.max");
    x = tw_graph_batchnorm(graph, x, 1e-3f, "a/b:0 c");
    tw_graph_alias(graph, "a/b:0 c.weight", "clip");
    tw_graph_alias(graph, "a/b:0 c.bias", "shared");
    tw_graph_alias(graph, "a/b:0 c.running_mean", "shared");
    tw_graph_alias(graph, "a/b:0 c.running_var", "variance");
    return x;
}

static tw_value add(tw_graph *graph, tw_value x)
{
    tw_value twice = tw_graph_add(graph, x, x, "twice");
    return tw_graph_add(graph, twice, tw_graph_relu(graph, x, "relu"), "sum");
}

static tw_value concat(tw_graph *graph, tw_value x)
{
    tw_value all[16];
    for (int i = 0; i < 16; i++) all[i] = x;
    return tw_graph_concat(graph, all, 16, NULL);
}

static tw_value softmax(tw_graph *graph, tw_value x)
{
    return tw_graph_softmax(graph, x, "softmax");
}

static tw_value batchnorm(tw_graph *graph, tw_value x)
{
    return tw_graph_batchnorm(graph, x, 0.01f, "bn");
}

static tw_value lrn(tw_graph *graph, tw_value x)
{
    return tw_graph_lrn(graph, x, &(tw_lrn_desc){.name = "lrn", .size = 5, .alpha = 0.5f, .beta = 0.75f, .k = 2});
}

static tw_value shapes(tw_graph *graph, tw_value x)
{
    x = tw_graph_reshape(graph, x, &(tw_shape){4, {1, 4, -1, 3}}, "four");
    x = tw_graph_dropout(graph, x, 0.25f, "dropout4");
    x = tw_graph_dropout(graph, x, 0, "nothing");
    x = tw_graph_reshape(graph, x, &(tw_shape){2, {1, -1}}, "two");
    x = tw_graph_dropout(graph, x, 0.5f, "dropout2");
    return tw_graph_flatten(graph, x, "flatten");
}

static const operator_case operators[] = {
    {"conv2d", {4, {1, 6, 11, 13}}, conv2d},
    {"linear", {2, {1, 29}}, linear},
    {"max", {4, {1, 3, 9, 11}}, max},
    {"max_ceil", {4, {1, 3, 8, 12}}, max_ceil},
    {"max_dilated_ceil", {4, {1, 3, 10, 13}}, max_dilated_ceil},
    {"max_dropped", {4, {1, 2, 3, 5}}, max_dropped},
    {"max_half_dropped", {4, {1, 2, 3, 6}}, max_half_dropped},
    {"average", {4, {1, 3, 8, 11}}, average},
    {"average_padded", {4, {1, 3, 7, 9}}, average_padded},
    {"average_padded_ceil", {4, {1, 3, 6, 8}}, average_padded_ceil},
    {"average_ceil", {4, {1, 3, 6, 8}}, average_ceil},
    {"adaptive_one", {4, {1, 5, 6, 7}}, adaptive_one},
    {"adaptive_exact", {4, {1, 5, 6, 8}}, adaptive_exact},
    {"adaptive_overlapping", {4, {1, 5, 5, 7}}, adaptive_overlapping},
    {"clips", {4, {1, 3, 4, 5}}, clips},
    {"names", {2, {1, 7}}, names},
    {"add", {2, {1, 9}}, add},
    {"concat", {4, {1, 2, 3, 3}}, concat},
    {"softmax2", {2, {1, 10}}, softmax},
    {"softmax4", {4, {1, 6, 3, 2}}, softmax},
    {"batchnorm2", {2, {1, 10}}, batchnorm},
    {"batchnorm4", {4, {1, 6, 3, 2}}, batchnorm},
    {"lrn", {4, {1, 9, 2, 3}}, lrn},
    {"shapes", {2, {1, 48}}, shapes},
};
enum { OPERATORS = sizeof operators / sizeof *operators };

static tw_status create(const operator_case *c, tw_graph **graph, tw_error *error)
{
    tw_status status = tw_graph_create(c->name, graph, error);
    if (status != TW_OK) return status;
    tw_graph_output(*graph, c->build(*graph, tw_graph_input(*graph, "x", &c->input)));
    status = tw_graph_check(*graph, error);
    if (status == TW_OK) status = tw_graph_init(*graph, &(tw_init_desc){.seed = 5, .random_statistics = true}, error);
    if (status != TW_OK) tw_graph_release(*graph);
    return status;
}

/* ---- running them ---- */

/* From -2 to 2, so that every clip has something to do. */
static tw_status make_input(const operator_case *c, tw_tensor *x, tw_error *error)
{
    tw_shape shape = c->input;
    shape.dims[0] = BATCH;
    tw_status status = tw_tensor_create(TW_F32, &shape, x, error);
    if (status != TW_OK) return status;
    size_t count = 0;
    uint32_t state = 1;
    tw_shape_count(&shape, TW_F32, &count, NULL);
    for (size_t i = 0; i < count; i++) {
        state = state * 1664525u + 1013904223u;
        ((float *)x->data)[i] = (float)(state >> 8) * 0x1p-22f - 2;
    }
    return TW_OK;
}

static tw_status execute(tw_graph *graph, const tw_tensor *x, tw_tensor *y, tw_error *error)
{
    tw_device *device = NULL;
    tw_plan *plan = NULL;
    tw_run *run = NULL;
    tw_shape out;
    tw_status status = tw_device_open("cpu", &(tw_device_desc){.threads = 1}, &device, error);
    const tw_plan_desc desc = {.batch = BATCH, .designs = "reference", .no_fusion = true};
    if (status == TW_OK) status = tw_plan_create(graph, device, &desc, &plan, error);
    if (status == TW_OK) status = tw_plan_output_shape(plan, 0, &out, error);
    if (status == TW_OK) status = tw_run_create(plan, &run, error);
    if (status == TW_OK) status = tw_tensor_create(TW_F32, &out, y, error);
    if (status == TW_OK) status = tw_run_execute(run, x, y, error);
    if (run) tw_run_release(run);
    if (plan) tw_plan_release(plan);
    if (device) tw_device_release(device);
    return status;
}

static bool same(const tw_tensor *a, const tw_tensor *b)
{
    size_t count = 0;
    bool shapes = a->shape.rank == b->shape.rank;
    for (int i = 0; shapes && i < a->shape.rank; i++) shapes = a->shape.dims[i] == b->shape.dims[i];
    return shapes && a->dtype == b->dtype && tw_shape_count(&a->shape, TW_F32, &count, NULL) == TW_OK &&
           memcmp(a->data, b->data, count * sizeof(float)) == 0;
}

static void file_of(const char *folder, const char *name, const char *ending, char path[PATH])
{
    snprintf(path, PATH, "%s/%s%s", folder, name, ending);
}

/* ---- cases ---- */

static void check_read_back(const operator_case *c, const char *path, const tw_tensor *x, const tw_tensor *expected)
{
    tw_graph *graph;
    tw_error error;
    tw_tensor y = {0};
    CHECK_MSG(tw_onnx_read(path, NULL, &graph, &error) == TW_OK, "%s", error.message);
    tw_status status = execute(graph, x, &y, &error);
    bool kept = strcmp(tw_graph_name(graph), c->name) == 0;
    bool equal = status == TW_OK && same(&y, expected);
    tw_tensor_free(&y);
    tw_graph_release(graph);
    CHECK_MSG(status == TW_OK, "%s", error.message);
    CHECK(kept);
    CHECK_MSG(equal, "the graph that was read back computes something else");
}

/* Writes the case's files to `folder`; reads the model back where `back` is set. */
static void run_case(const operator_case *c, const char *folder, bool back)
{
    char path[PATH];
    tw_graph *graph;
    tw_error error;
    tw_tensor x = {0}, y = {0};
    CHECK_MSG(create(c, &graph, &error) == TW_OK, "%s", error.message);
    file_of(folder, c->name, ".onnx", path);
    tw_status status = tw_onnx_write(path, graph, &error);
    if (status == TW_OK) status = make_input(c, &x, &error);
    if (status == TW_OK) status = execute(graph, &x, &y, &error);
    if (status == TW_OK && back) check_read_back(c, path, &x, &y);
    file_of(folder, c->name, ".x.npy", path);
    if (status == TW_OK && !back) status = tw_npy_write(path, &x, &error);
    file_of(folder, c->name, ".y.npy", path);
    if (status == TW_OK && !back) status = tw_npy_write(path, &y, &error);
    tw_tensor_free(&x);
    tw_tensor_free(&y);
    tw_graph_release(graph);
    CHECK_MSG(status == TW_OK, "%s", error.message);
}

/* ---- what is refused ---- */

static void check_refused(const operator_case *c, tw_status expected, const char *part)
{
    char path[PATH];
    struct stat info;
    tw_graph *graph;
    tw_error error = {0};
    CHECK_MSG(create(c, &graph, &error) == TW_OK, "%s", error.message);
    file_of(test_folder(), c->name, ".onnx", path);
    tw_status status = tw_onnx_write(path, graph, &error);
    tw_graph_release(graph);
    CHECK_MSG(status == expected, "status %d: %s", (int)status, error.message);
    CHECK_CONTAINS(error.message, part);
    CHECK(stat(path, &info) != 0);
}

static tw_value even_lrn(tw_graph *graph, tw_value x)
{
    return tw_graph_lrn(graph, x, &(tw_lrn_desc){.name = "norm", .size = 4, .alpha = 1, .beta = 1, .k = 1});
}

static tw_value adaptive_uneven(tw_graph *graph, tw_value x)
{
    return adaptive(graph, x, 4, 3);
}

static tw_value adaptive_larger(tw_graph *graph, tw_value x)
{
    return adaptive(graph, x, 7, 7);
}

/* Windows of one, three apart: the one that is dropped cannot be had by less padding. */
static tw_value half_ceil(tw_graph *graph, tw_value x)
{
    return pool(graph, x, (tw_pool_desc){.kernel = {1, 3}, .stride = {3, 2}, .ceil_mode = true});
}

static void refused_operators(void)
{
    static const operator_case lrn_case = {"even_lrn", {4, {1, 9, 2, 3}}, even_lrn},
                               uneven = {"uneven", {4, {1, 3, 7, 7}}, adaptive_uneven},
                               larger = {"larger", {4, {1, 3, 2, 2}}, adaptive_larger},
                               half = {"half_ceil", {4, {1, 2, 5, 6}}, half_ceil};
    check_refused(&lrn_case, TW_UNAVAILABLE, "even_lrn: norm: lrn over an even number of channels (4)");
    check_refused(&uneven, TW_UNAVAILABLE, "uneven: pool: adaptive average of 7x7 to 4x3");
    check_refused(&larger, TW_UNAVAILABLE, "larger: pool: adaptive average of 2x2 to 7x7");
    check_refused(&half, TW_UNAVAILABLE, "half_ceil: pool: ONNX has no word for ceil_mode");
}

static void check_graph_refused(const tw_graph *graph, const char *path, const char *part)
{
    tw_error error = {0};
    CHECK_MSG(tw_onnx_write(path, graph, &error) == TW_INVALID, "%s: \"%s\"", path, error.message);
    CHECK_CONTAINS(error.message, part);
    CHECK(tw_onnx_write(path, graph, NULL) == TW_INVALID);
}

static void refused_graphs(void)
{
    char path[PATH];
    tw_graph *graph;
    file_of(test_folder(), "refused", ".onnx", path);
    CHECK(tw_graph_create("g", &graph, NULL) == TW_OK);
    check_graph_refused(graph, path, "g: a graph without inputs");
    tw_value x = tw_graph_input(graph, "x", &(tw_shape){2, {1, 4}});
    check_graph_refused(graph, path, "g: a graph without outputs");
    tw_value y = tw_graph_linear(graph, x, &(tw_linear_desc){"fc", 2, true});
    tw_graph_output(graph, y);
    check_graph_refused(graph, path, "g: parameter \"fc.weight\" has no data");
    CHECK(tw_graph_init(graph, NULL, NULL) == TW_OK);
    check_graph_refused(graph, test_folder(), "a folder");
    check_graph_refused(graph, "/nowhere/at/all.onnx", "its folder does not exist");
    tw_graph_output(graph, y);
    check_graph_refused(graph, path, "g: \"fc\" is an output twice");
    tw_graph_release(graph);

    CHECK(tw_graph_create("g", &graph, NULL) == TW_OK);
    tw_graph_output(graph, tw_graph_relu(graph, tw_graph_input(graph, "", &(tw_shape){2, {1, 4}}), "relu"));
    check_graph_refused(graph, path, "g: input 0 has no name");
    tw_graph_relu(graph, 77, "second");
    check_graph_refused(graph, path, "second: input 77");
    tw_graph_release(graph);
}

/* Two linear layers without bias whose weights, `features` x `features` each, are one stretch of memory that was never
 * touched. */
static tw_status bind_large(tw_graph *graph, void *memory, int features, tw_error *error)
{
    tw_named_tensor tensors[2] = {{"a.weight", {TW_F32, {2, {features, features}}, memory}},
                                  {"b.weight", {TW_F32, {2, {features, features}}, memory}}};
    tw_weights *weights;
    tw_status status = tw_weights_create(&(tw_weights_source){.tensors = tensors, .count = 2}, &weights, error);
    if (status != TW_OK) return status;
    status = tw_graph_bind(graph, weights, error);
    tw_weights_release(weights);
    return status;
}

static void too_large(void)
{
    enum { FEATURES = 16384 }; /* 1 GiB a weight */
    char path[PATH];
    struct stat info;
    tw_graph *graph;
    tw_error error = {0};
    size_t bytes = (size_t)FEATURES * FEATURES * sizeof(float);
    void *memory = mmap(NULL, bytes, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    CHECK(memory != MAP_FAILED);
    CHECK(tw_graph_create("large", &graph, NULL) == TW_OK);
    tw_value x = tw_graph_input(graph, "x", &(tw_shape){2, {1, FEATURES}});
    x = tw_graph_linear(graph, x, &(tw_linear_desc){"a", FEATURES, false});
    tw_graph_output(graph, tw_graph_linear(graph, x, &(tw_linear_desc){"b", FEATURES, false}));
    file_of(test_folder(), "large", ".onnx", path);
    tw_status status = bind_large(graph, memory, FEATURES, &error);
    if (status == TW_OK) status = tw_onnx_write(path, graph, &error);
    tw_graph_release(graph);
    munmap(memory, bytes);
    CHECK_MSG(status == TW_INVALID, "status %d", (int)status);
    CHECK_CONTAINS(error.message, "large takes 2 GiB or more");
    CHECK(stat(path, &info) != 0);
}

/* Reads at most `size` bytes. */
static size_t read_file(const char *path, char *data, size_t size)
{
    FILE *file = fopen(path, "rb");
    if (!file) return 0;
    size_t length = fread(data, 1, size, file);
    fclose(file);
    return length;
}

/* Parameters of 2 numbers and more: lengths of one to three bytes stand before them, and names of all lengths. */
static void alignment(void)
{
    enum { LAYERS = 60, SIZE = 1 << 19 };
    char path[PATH], name[LAYERS + 1] = {0};
    tw_graph *graph;
    CHECK(tw_graph_create("aligned", &graph, NULL) == TW_OK);
    tw_value x = tw_graph_input(graph, "x", &(tw_shape){2, {1, 2}});
    for (int i = 0; i < LAYERS; i++) {
        name[i] = 'n'; /* one longer each time */
        x = tw_graph_linear(graph, x, &(tw_linear_desc){name, i + 2, true});
    }
    tw_graph_output(graph, x);
    CHECK(tw_graph_init(graph, NULL, NULL) == TW_OK);
    file_of(test_folder(), "aligned", ".onnx", path);
    CHECK(tw_onnx_write(path, graph, NULL) == TW_OK);
    char *data = malloc(SIZE), *end = NULL;
    CHECK(data);
    size_t length = read_file(path, data, SIZE), wrong = 0, count = 0;
    tw_tensor view;
    for (; tw_graph_parameter(graph, count, &view); count++) {
        size_t numbers = 0;
        tw_shape_count(&view.shape, TW_F32, &numbers, NULL);
        end = memmem(data, length, view.data, numbers * sizeof(float));
        wrong += !end || (size_t)(end - data) % 64 != 0;
    }
    free(data);
    tw_graph_release(graph);
    CHECK_MSG(length > 0 && length < SIZE && count == 2 * LAYERS, "%zu bytes, %zu parameters", length, count);
    CHECK_MSG(wrong == 0, "%zu of %zu parameters are not aligned in the file", wrong, count);
}

/* Parameters by their alias, unless another value or parameter is called so too. */
static void aliases(void)
{
    static const char *const expected[] = {"a/b:0 c.weight", "a/b:0 c.bias", "a/b:0 c.running_mean", "variance"};
    static const operator_case c = {"aliases", {2, {1, 7}}, names};
    char path[PATH], text[4096] = "";
    tw_graph *graph;
    tw_error error;
    CHECK_MSG(create(&c, &graph, &error) == TW_OK, "%s", error.message);
    file_of(test_folder(), c.name, ".onnx", path);
    tw_status status = tw_onnx_write(path, graph, &error);
    tw_graph_release(graph);
    CHECK_MSG(status == TW_OK, "%s", error.message);
    size_t length = read_file(path, text, sizeof text);
    for (int i = 0; i < 4; i++) CHECK_MSG(memmem(text, length, expected[i], strlen(expected[i])), "no %s", expected[i]);
    CHECK_MSG(!memmem(text, length, "shared", strlen("shared")), "an alias that two parameters have");
}

int main(int argc, char **argv)
{
    static const test_case cases[] = {
        {"refused_operators", refused_operators},
        {"refused_graphs", refused_graphs},
        {"too_large", too_large},
        {"aliases", aliases},
        {"alignment", alignment},
    };
    bool write = argc == 3 && strcmp(argv[1], "--write") == 0;
    for (size_t i = 0; !write && i < sizeof cases / sizeof *cases; i++) {
        test_begin(cases[i].name);
        cases[i].run();
        test_end();
    }
    for (size_t i = 0; i < OPERATORS; i++) {
        test_begin(operators[i].name);
        run_case(&operators[i], write ? argv[2] : test_folder(), !write);
        test_end();
    }
    return test_finish();
}
