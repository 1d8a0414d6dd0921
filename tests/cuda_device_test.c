/* The CUDA device as a whole: results that stay the same over a thousand runs, in threads and without graphs, memory that
 * comes back, grids beyond what a dimension holds, networks that agree with the CPU, and what it says where something is
 * missing. Without a GPU most are skipped. Single designs are ops_test's (cuda_test.sh). */
#include "bench/layer.h"
#include "core/plan.h"
#include "test.h"

#include <math.h>
#include <pthread.h>

static tw_error error;
static tw_device *device;

/* Where there is no GPU the case is skipped. */
static bool open_device(void)
{
    if (device) return true;
    tw_status status = tw_device_open("cuda", NULL, &device, &error);
    if (status == TW_UNAVAILABLE)
        test_skip("%s", error.message);
    else if (status != TW_OK)
        test_fail(__FILE__, __LINE__, "%s", error.message);
    return status == TW_OK;
}

/* ---- one network with its run and its tensors ---- */

typedef struct network {
    tw_graph *graph;
    tw_plan *plan;
    tw_run *run;
    tw_tensor in, out;
} network;

static float wave(size_t i)
{
    return (float)((i * 2654435761u >> 8) % 20011) / 10005.5f - 1;
}

static size_t count_of(const tw_tensor *tensor)
{
    size_t count = 0;
    tw_shape_count(&tensor->shape, tensor->dtype, &count, NULL);
    return count;
}

static void close_network(network *net)
{
    tw_run_release(net->run);
    tw_plan_release(net->plan);
    tw_graph_release(net->graph);
    tw_tensor_free(&net->in);
    tw_tensor_free(&net->out);
}

/* Of the graph that net->graph is. On failure `why` tells, and close_network() is still the caller's. */
static bool set_up(network *net, tw_device *on, const tw_plan_desc *desc, tw_error *why)
{
    tw_shape shape;
    if (tw_graph_init(net->graph, &(tw_init_desc){.seed = 1, .random_statistics = true}, why) != TW_OK ||
        tw_plan_create(net->graph, on, desc, &net->plan, why) != TW_OK ||
        tw_plan_input_shape(net->plan, 0, &shape, why) != TW_OK ||
        tw_tensor_create(TW_F32, &shape, &net->in, why) != TW_OK ||
        tw_plan_output_shape(net->plan, 0, &shape, why) != TW_OK ||
        tw_tensor_create(TW_F32, &shape, &net->out, why) != TW_OK || tw_run_create(net->plan, &net->run, why) != TW_OK)
        return false;
    for (size_t i = 0; i < count_of(&net->in); i++) ((float *)net->in.data)[i] = wave(i);
    return true;
}

static bool execute(network *net, tw_error *why)
{
    return tw_run_execute(net->run, &net->in, &net->out, why) == TW_OK;
}

static bool open_zoo(network *net, const char *name, int image_size, tw_device *on, const tw_plan_desc *desc)
{
    *net = (network){0};
    return tw_zoo_create(name, &(tw_zoo_desc){.image_size = image_size}, &net->graph, &error) == TW_OK &&
           set_up(net, on, desc, &error) && execute(net, &error);
}

/* ---- the same bits ---- */

enum { REPETITIONS = 1000 };

static void check_repeated(network *net, const char *what)
{
    const size_t bytes = count_of(&net->out) * sizeof(float);
    float *first = malloc(bytes);
    CHECK(first);
    memcpy(first, net->out.data, bytes);
    for (int i = 1; i < REPETITIONS; i++) {
        memset(net->out.data, 0xff, bytes);
        if (execute(net, &error) && memcmp(net->out.data, first, bytes) == 0) continue;
        test_fail(__FILE__, __LINE__, "%s: run %d differs from the first, or failed", what, i + 1);
        break;
    }
    free(first);
}

static void a_thousand_runs_of_a_network_agree(void)
{
    if (!open_device()) return;
    for (int p = TW_PRECISION_FP32; p <= TW_PRECISION_BF16; p++)
        for (int batch = 1; batch <= 3; batch += 2) {
            network net;
            char what[64];
            if (tw_device_check_precision(device, (tw_precision)p, NULL) != TW_OK) continue;
            snprintf(what, sizeof what, "lenet5, batch %d, %s", batch, tw_precision_name((tw_precision)p));
            if (open_zoo(&net, "lenet5", 0, device, &(tw_plan_desc){.batch = batch, .precision = (tw_precision)p}))
                check_repeated(&net, what);
            else
                test_fail(__FILE__, __LINE__, "%s: %s", what, error.message);
            close_network(&net);
        }
}

/* Deep layers of few pixels: their k is long, and what computes it splits it among blocks. */
static void make_deep(network *net)
{
    *net = (network){0};
    if (tw_graph_create("deep", &net->graph, &error) != TW_OK) return;
    tw_value x = tw_graph_input(net->graph, "x", &(tw_shape){4, {1, 512, 7, 7}});
    const tw_conv2d_desc conv = {.name = "conv", .out_channels = 256, .kernel = {3, 3}, .padding = {1, 1, 1, 1}};
    x = tw_graph_relu(net->graph, tw_graph_conv2d(net->graph, x, &conv), "relu");
    x = tw_graph_flatten(net->graph, x, "flatten");
    x = tw_graph_linear(net->graph, x, &(tw_linear_desc){.name = "fc", .out_features = 200, .bias = true});
    tw_graph_output(net->graph, x);
}

static void a_thousand_runs_of_split_layers_agree(void)
{
    static const struct {
        const char *designs;
        tw_precision precision;
    } cases[] = {
        {"conv2d=implicit_gemm,linear=split_k", TW_PRECISION_FP32},
        {"auto", TW_PRECISION_FP32},
        {"tensor_core", TW_PRECISION_TF32},
        {"tensor_core", TW_PRECISION_FP16},
        {"tensor_core", TW_PRECISION_BF16},
        {"auto", TW_PRECISION_FP16},
    };
    if (!open_device()) return;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (int batch = 1; batch <= 8; batch += 7) {
            network net;
            char what[96];
            const tw_plan_desc desc = {.batch = batch, .precision = cases[i].precision, .designs = cases[i].designs};
            snprintf(what, sizeof what, "%s in %s, batch %d", cases[i].designs, tw_precision_name(desc.precision),
                     batch);
            make_deep(&net);
            if (net.graph && set_up(&net, device, &desc, &error) && execute(&net, &error))
                check_repeated(&net, what);
            else if (error.status != TW_UNAVAILABLE) /* older devices refuse some of them */
                test_fail(__FILE__, __LINE__, "%s: %s", what, error.message);
            close_network(&net);
        }
}

typedef struct worker {
    const char *name;
    int image_size;
    tw_precision precision;
    network alone, beside;
    bool same;
    tw_error why;
} worker;

static void *work(void *context)
{
    worker *w = context;
    const size_t bytes = count_of(&w->alone.out) * sizeof(float);
    network *net = &w->beside;
    w->same = tw_zoo_create(w->name, &(tw_zoo_desc){.image_size = w->image_size}, &net->graph, &w->why) == TW_OK &&
              set_up(net, device, &(tw_plan_desc){.precision = w->precision}, &w->why);
    for (int i = 0; i < 300 && w->same; i++)
        w->same = execute(net, &w->why) && memcmp(net->out.data, w->alone.out.data, bytes) == 0;
    return NULL;
}

/* Each makes its plan, captures it and runs it while the other does. */
static void two_plans_in_two_threads(void)
{
    enum { WORKERS = 2 };
    worker workers[WORKERS] = {{.name = "lenet5", .precision = TW_PRECISION_FP16},
                               {.name = "squeezenet", .image_size = 64, .precision = TW_PRECISION_FP32}};
    pthread_t threads[WORKERS];
    if (!open_device()) return;
    for (int i = 0; i < WORKERS; i++)
        CHECK_MSG(open_zoo(&workers[i].alone, workers[i].name, workers[i].image_size, device,
                           &(tw_plan_desc){.precision = workers[i].precision}),
                  "%s", error.message);
    for (int i = 0; i < WORKERS; i++) CHECK(pthread_create(&threads[i], NULL, work, &workers[i]) == 0);
    for (int i = 0; i < WORKERS; i++) pthread_join(threads[i], NULL);
    for (int i = 0; i < WORKERS; i++) {
        if (!workers[i].same)
            test_fail(__FILE__, __LINE__, "%s: not as alone: %s", workers[i].name, workers[i].why.message);
        close_network(&workers[i].alone);
        close_network(&workers[i].beside);
    }
}

static const struct {
    const char *name;
    int image_size;
} subjects[] = {{"lenet5", 0},      {"resnet18", 64},           {"mobilenet_v2", 64},
                {"squeezenet", 64}, {"efficientnet_lite0", 65}, {"vgg11_bn", 33},
                {"alexnet", 67}};
enum { SUBJECTS = sizeof subjects / sizeof *subjects };

static void graphs_change_nothing(void)
{
    tw_device *bare = NULL;
    if (!open_device()) return;
    setenv("TILEWISE_CUDA_GRAPHS", "off", 1);
    tw_status status = tw_device_open("cuda", NULL, &bare, &error);
    unsetenv("TILEWISE_CUDA_GRAPHS");
    CHECK_MSG(status == TW_OK, "%s", error.message);
    for (size_t i = 0; i < SUBJECTS; i++)
        for (int half = 0; half < 2; half++) {
            network captured, launched;
            const tw_plan_desc desc = {.precision = half ? TW_PRECISION_FP16 : TW_PRECISION_FP32};
            const bool ran = open_zoo(&captured, subjects[i].name, subjects[i].image_size, device, &desc) &&
                             open_zoo(&launched, subjects[i].name, subjects[i].image_size, bare, &desc);
            CHECK_MSG(ran, "%s: %s", subjects[i].name, error.message);
            if (memcmp(captured.out.data, launched.out.data, count_of(&captured.out) * sizeof(float)) != 0)
                test_fail(__FILE__, __LINE__, "%s in %s: other bits without a graph", subjects[i].name,
                          tw_precision_name(desc.precision));
            close_network(&captured);
            close_network(&launched);
        }
    tw_device_release(bare);
}

/* ---- against the CPU ---- */

/* The largest difference as a fraction of the largest magnitude in `wanted`. */
static double difference(const tw_tensor *got, const tw_tensor *wanted)
{
    double worst = 0, scale = 0;
    const float *a = got->data, *b = wanted->data;
    for (size_t i = 0; i < count_of(wanted); i++) {
        double d = fabs((double)a[i] - b[i]);
        if (!(d <= worst)) worst = isnan(d) ? INFINITY : d;
        if (fabs((double)b[i]) > scale) scale = fabs((double)b[i]);
    }
    return worst / scale;
}

/* What a layer may err, over a network's depth. */
static void networks_agree_with_the_cpu(void)
{
    static const double tolerances[] = {1e-4, 1e-2, 1e-2, 1e-1};
    tw_device *cpu;
    if (!open_device()) return;
    CHECK(tw_device_open("cpu", NULL, &cpu, &error) == TW_OK);
    for (size_t i = 0; i < SUBJECTS; i++)
        for (int batch = 1; batch <= 3; batch += 2) {
            network wanted, got;
            CHECK_MSG(open_zoo(&wanted, subjects[i].name, subjects[i].image_size, cpu, &(tw_plan_desc){.batch = batch}),
                      "%s", error.message);
            for (int p = TW_PRECISION_FP32; p <= TW_PRECISION_BF16; p++) {
                const tw_plan_desc desc = {.batch = batch, .precision = (tw_precision)p};
                if (tw_device_check_precision(device, desc.precision, NULL) != TW_OK) continue;
                if (!open_zoo(&got, subjects[i].name, subjects[i].image_size, device, &desc))
                    test_fail(__FILE__, __LINE__, "%s: %s", subjects[i].name, error.message);
                else if (!(difference(&got.out, &wanted.out) <= tolerances[p]))
                    test_fail(__FILE__, __LINE__, "%s, batch %d, %s: off by %.3g of the scale, tolerance %g",
                              subjects[i].name, batch, tw_precision_name(desc.precision),
                              difference(&got.out, &wanted.out), tolerances[p]);
                close_network(&got);
            }
            close_network(&wanted);
        }
    tw_device_release(cpu);
}

/* ---- grids: y and z of a launch hold 65,535 ---- */

static void check_design(const tw_op *op, const void *params, const char *problem, const tw_design *design,
                         tw_precision precision)
{
    tw_layer *layer;
    tw_layer_result result;
    const tw_layer_desc desc = {op, params, precision, 7};
    CHECK_MSG(tw_layer_create(device, &desc, &layer, &error) == TW_OK, "%s", error.message);
    tw_status status = tw_layer_check(layer, design, &result, &error);
    if (status != TW_OK)
        test_fail(__FILE__, __LINE__, "%s by %s: %s", problem, design->name, error.message);
    else if (result.supported && !result.correct)
        test_fail(__FILE__, __LINE__, "%s by %s in %s: error %.3g of the scale%s%s", problem, design->name,
                  tw_precision_name(precision), result.max_rel_err, result.fault ? "; " : "",
                  result.fault ? result.fault : "");
    tw_layer_destroy(layer);
}

static void grids_keep_to_their_limits(void)
{
    enum { DESIGNS = 32 };
    static const char *const problems[] = {
        "conv2d:mb1024g64ic64ih3oc64kh3ph1",
        "conv2d:mb1040ic8ih2oc64kh1",
        "conv2d:mb66000ic4ih2oc8kh1",
        "conv2d:mb1024ic3ih5oc64kh3ph1",
        "conv2d:mb1g66000ic66000ih2oc66000kh1",
        "pool:mb1024ic72ih4kh2sh2",
        "pool:mb9000ic8ih3oh1alg3",
        "linear:mb66000ic8oc16",
        "linear:mb2ic8oc66000",
        "relu:66000x8x1x1",
        "add:1024x72x2x2:relu",
        "concat:66000x8+8",
        "softmax:66000x10",
        "batchnorm:1024x72x2x2",
        "lrn:1024x72x2x2:5",
        "reorder:66000x8x3x2",
    };
    if (!open_device()) return;
    for (size_t i = 0; i < sizeof problems / sizeof *problems; i++) {
        const tw_design *designs[DESIGNS];
        char name[32];
        union {
            double align;
            char bytes[1024];
        } params;
        snprintf(name, sizeof name, "%.*s", (int)strcspn(problems[i], ":"), problems[i]);
        const tw_op *op = tw_op_find(name);
        CHECK(op && op->params_size <= sizeof params);
        CHECK_MSG(op->parse(problems[i] + strlen(name) + 1, &params, &error) == TW_OK, "%s", error.message);
        size_t count = tw_designs(name, "cuda", designs, DESIGNS);
        for (size_t d = 0; d < count && d < DESIGNS; d++)
            for (int p = TW_PRECISION_FP32; p <= TW_PRECISION_BF16; p++)
                if (tw_device_check_precision(device, (tw_precision)p, NULL) == TW_OK)
                    check_design(op, &params, problems[i], designs[d], (tw_precision)p);
    }
}

/* ---- memory ---- */

static bool cycle(int i)
{
    network net;
    bool ran = open_zoo(&net, i % 2 ? "lenet5" : "squeezenet", i % 2 ? 0 : 64, device,
                        &(tw_plan_desc){.batch = 1 + i % 3, .precision = (tw_precision)(i % 4)});
    close_network(&net);
    return ran || error.status == TW_UNAVAILABLE; /* a precision that an older device has not */
}

/* What stays after the first cycles is code, and the driver's. */
static void memory_comes_back(void)
{
    enum { CYCLES = 100, WARM = 24, SLACK = 2 << 20 };
    size_t before, after;
    if (!open_device()) return;
    for (int i = 0; i < WARM; i++) CHECK_MSG(cycle(i), "%s", error.message);
    CHECK_MSG(device->backend->available(device, &before, &error) == TW_OK, "%s", error.message);
    for (int i = 0; i < CYCLES; i++) CHECK_MSG(cycle(i), "%s", error.message);
    CHECK_MSG(device->backend->available(device, &after, &error) == TW_OK, "%s", error.message);
    CHECK_MSG(after + SLACK >= before, "%zu bytes of memory are gone after %d plans and runs", before - after, CYCLES);
}

/* ---- what it says ---- */

/* relu over `batch` images of 3 x 448 x 448: two tensors of 2.4 MB an image. */
static bool plan_large(network *net, int batch)
{
    *net = (network){0};
    if (tw_graph_create("large", &net->graph, &error) != TW_OK) return false;
    tw_value x = tw_graph_input(net->graph, "x", &(tw_shape){4, {1, 3, 448, 448}});
    tw_graph_output(net->graph, tw_graph_relu(net->graph, x, "relu"));
    return tw_plan_create(net->graph, device, &(tw_plan_desc){.batch = batch}, &net->plan, &error) == TW_OK;
}

static void too_large_a_plan_names_its_bytes(void)
{
    network net, small;
    tw_plan_info info;
    char bytes[32];
    if (!open_device()) return;
    CHECK_MSG(plan_large(&net, 65536), "%s", error.message);
    tw_plan_describe(net.plan, &info);
    snprintf(bytes, sizeof bytes, "%zu", info.arena_bytes);
    CHECK(tw_run_create(net.plan, &net.run, &error) == TW_OUT_OF_MEMORY && !net.run);
    CHECK_CONTAINS(error.message, bytes);
    CHECK_CONTAINS(error.message, "cuda:0");
    CHECK_MSG(open_zoo(&small, "lenet5", 0, device, NULL), "after it: %s", error.message);
    close_network(&small);
    close_network(&net);
}

static void devices_that_are_not_there_are_told(void)
{
    tw_device *none = NULL;
    CHECK(tw_device_open("cuda:63", NULL, &none, &error) == TW_UNAVAILABLE && !none);
    CHECK_CONTAINS(error.message, "cuda:63: ");
    CHECK(!strchr(error.message, '\n') && strlen(error.message) > strlen("cuda:63: "));
    CHECK(tw_device_open("cuda:-1", NULL, &none, &error) == TW_INVALID);
}

/* Without a driver, or in a build without CUDA, the first device says so in a line. */
static void absence_has_a_reason(void)
{
    tw_device *first = NULL;
    tw_status status = tw_device_open("cuda", NULL, &first, &error);
    tw_device_release(first);
    if (status == TW_OK) {
        test_skip("there is a GPU");
        return;
    }
    CHECK(status == TW_UNAVAILABLE && !first);
    CHECK_CONTAINS(error.message, "cuda:0: ");
    CHECK_MSG(strstr(error.message, "driver") || strstr(error.message, "no CUDA"), "\"%s\"", error.message);
}

int main(int argc, char **argv)
{
    static const test_case cases[] = {
        {"a thousand runs of a network agree", a_thousand_runs_of_a_network_agree},
        {"a thousand runs of split layers agree", a_thousand_runs_of_split_layers_agree},
        {"two plans in two threads", two_plans_in_two_threads},
        {"graphs change nothing", graphs_change_nothing},
        {"networks agree with the CPU", networks_agree_with_the_cpu},
        {"grids keep to their limits", grids_keep_to_their_limits},
        {"memory comes back", memory_comes_back},
        {"too large a plan names its bytes", too_large_a_plan_names_its_bytes},
        {"devices that are not there are told", devices_that_are_not_there_are_told},
        {"absence has a reason", absence_has_a_reason},
    };
    const int status = test_main(argc, argv, cases, sizeof cases / sizeof *cases);
    tw_device_release(device);
    return status;
}
