/* The library as its callers see it: graphs, plans, runs, threads, errors. */
#include "test.h"
#include "tilewise.h"

#include <math.h>
#include <pthread.h>

static tw_error error;

typedef struct network {
    tw_graph *graph;
    tw_device *device;
    tw_shape in, out;
} network;

static bool open_network(network *net, const char *name, int image_size, int threads)
{
    *net = (network){0};
    tw_zoo_desc zoo = {.image_size = image_size};
    tw_init_desc init = {.seed = 1, .random_statistics = true};
    return tw_zoo_create(name, &zoo, &net->graph, &error) == TW_OK &&
           tw_graph_init(net->graph, &init, &error) == TW_OK &&
           tw_device_open("cpu", &(tw_device_desc){.threads = threads}, &net->device, &error) == TW_OK;
}

static void close_network(network *net)
{
    tw_graph_release(net->graph);
    tw_device_release(net->device);
}

/* Input element i of any network, in [-1, 1). */
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

/* The first output of one run; `out` is created. */
static tw_status run_plan(tw_plan *plan, tw_tensor *out)
{
    tw_shape shape;
    tw_tensor in = {0};
    tw_run *run = NULL;
    *out = (tw_tensor){0};
    tw_status status = tw_plan_input_shape(plan, 0, &shape, &error);
    if (status == TW_OK) status = tw_tensor_create(TW_F32, &shape, &in, &error);
    for (size_t i = 0; status == TW_OK && i < count_of(&in); i++) ((float *)in.data)[i] = wave(i);
    if (status == TW_OK) status = tw_plan_output_shape(plan, 0, &shape, &error);
    if (status == TW_OK) status = tw_tensor_create(TW_F32, &shape, out, &error);
    if (status == TW_OK) status = tw_run_create(plan, &run, &error);
    if (status == TW_OK) status = tw_run_execute(run, &in, out, &error);
    tw_run_release(run);
    tw_tensor_free(&in);
    return status;
}

static tw_status run_network(network *net, const tw_plan_desc *desc, tw_tensor *out)
{
    tw_plan *plan;
    *out = (tw_tensor){0};
    tw_status status = tw_plan_create(net->graph, net->device, desc, &plan, &error);
    if (status == TW_OK) status = run_plan(plan, out);
    tw_plan_release(plan);
    return status;
}

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

/* ---- graphs ---- */

static void first_error_is_kept(void)
{
    tw_graph *graph;
    CHECK(tw_graph_create("net", &graph, &error) == TW_OK);
    tw_value x = tw_graph_input(graph, "x", &(tw_shape){4, {1, 3, 8, 8}});
    x = tw_graph_conv2d(graph, x, &(tw_conv2d_desc){.name = "bad", .out_channels = 4, .kernel = {11}});
    CHECK(x < 0);
    x = tw_graph_relu(graph, x, "relu");
    tw_graph_output(graph, x);
    CHECK(tw_graph_check(graph, &error) == TW_INVALID);
    CHECK_CONTAINS(error.message, "net: bad: ");
    tw_graph_release(graph);
}

static void names_are_unique(void)
{
    tw_graph *graph;
    CHECK(tw_graph_create("net", &graph, &error) == TW_OK);
    tw_value x = tw_graph_input(graph, "x", &(tw_shape){2, {1, 8}});
    tw_graph_relu(graph, x, "a");
    tw_graph_relu(graph, x, "a");
    CHECK(tw_graph_check(graph, &error) == TW_INVALID);
    CHECK_CONTAINS(error.message, "\"a\"");
    tw_graph_release(graph);
}

static void foreign_values_are_refused(void)
{
    tw_graph *graph;
    CHECK(tw_graph_create("net", &graph, &error) == TW_OK);
    CHECK(tw_graph_add(graph, 3, 99, "sum") < 0);
    CHECK(tw_graph_check(graph, &error) == TW_INVALID);
    tw_graph_release(graph);
}

static void overflowing_shapes_are_refused(void)
{
    tw_graph *graph;
    CHECK(tw_graph_create("net", &graph, &error) == TW_OK);
    tw_value x = tw_graph_input(graph, "x", &(tw_shape){4, {1, 2000000000, 2000000000, 2000000000}});
    CHECK(x < 0 && tw_graph_check(graph, &error) == TW_INVALID);
    tw_graph_release(graph);
    CHECK(tw_graph_create("net", &graph, &error) == TW_OK);
    x = tw_graph_input(graph, "x", &(tw_shape){2, {1, 2000000000}});
    tw_graph_linear(graph, x, &(tw_linear_desc){.name = "fc", .out_features = 2000000000});
    CHECK(tw_graph_check(graph, &error) == TW_INVALID);
    CHECK_CONTAINS(error.message, "fc");
    tw_graph_release(graph);
}

static void parameters_are_not_activations(void)
{
    for (int kind = 0; kind < 2; kind++) {
        tw_graph *graph;
        CHECK(tw_graph_create("net", &graph, &error) == TW_OK);
        tw_value x = tw_graph_input(graph, "x", &(tw_shape){4, {1, 3, 8, 8}});
        tw_graph_conv2d(graph, x, &(tw_conv2d_desc){.name = "c", .out_channels = 4, .kernel = {3}});
        tw_value weight = tw_graph_find(graph, "c.weight");
        CHECK(weight >= 0);
        if (kind == 0)
            tw_graph_output(graph, weight);
        else
            tw_graph_flatten(graph, weight, "flat");
        CHECK(tw_graph_check(graph, &error) == TW_INVALID);
        CHECK_CONTAINS(error.message, "c.weight");
        tw_graph_release(graph);
    }
}

static void coordinates_beyond_int_are_refused(void)
{
    tw_graph *graph;
    CHECK(tw_graph_create("net", &graph, &error) == TW_OK);
    tw_value x = tw_graph_input(graph, "x", &(tw_shape){4, {1, 16, 5, 5}});
    tw_graph_conv2d(graph, x,
                    &(tw_conv2d_desc){.name = "c",
                                      .out_channels = 16,
                                      .groups = 16,
                                      .kernel = {3, 1},
                                      .padding = {INT32_MAX, 0, INT32_MAX, 0},
                                      .dilation = {INT32_MAX, 1}});
    CHECK(tw_graph_check(graph, &error) == TW_INVALID);
    tw_graph_release(graph);
    CHECK(tw_graph_create("net", &graph, &error) == TW_OK);
    CHECK(tw_graph_input(graph, "x", &(tw_shape){4, {1, 1, 65536, 65536}}) < 0);
    tw_graph_release(graph);
}

/* Where every name was compared with all before it, this took half a minute. */
static void long_chains(void)
{
    enum { NODES = 1 << 17, SECONDS = 10 };
    char name[32];
    tw_graph *graph;
    time_t start = time(NULL);
    CHECK(tw_graph_create("net", &graph, &error) == TW_OK);
    tw_value x = tw_graph_input(graph, "x", &(tw_shape){2, {1, 8}});
    for (int i = 0; i < NODES; i++) {
        snprintf(name, sizeof name, "relu%d", i);
        x = tw_graph_relu(graph, x, name);
        CHECK(tw_graph_find(graph, name) == x);
    }
    CHECK(tw_graph_find(graph, "relu") < 0 && tw_graph_find(graph, "x") == 0);
    CHECK_MSG(time(NULL) - start < SECONDS, "%ld seconds", (long)(time(NULL) - start));
    tw_graph_release(graph);
}

/* ---- plans ---- */

/* A plan reads parameters where they are: they must stay. */
static void parameters_stay_under_a_plan(void)
{
    network net;
    tw_plan *plan;
    CHECK(open_network(&net, "lenet5", 0, 1));
    CHECK(tw_graph_init(net.graph, &(tw_init_desc){.seed = 2}, &error) == TW_OK);
    CHECK(tw_plan_create(net.graph, net.device, NULL, &plan, &error) == TW_OK);
    CHECK(tw_graph_init(net.graph, &(tw_init_desc){.seed = 3}, &error) == TW_INVALID);
    tw_plan_release(plan);
    CHECK(tw_graph_init(net.graph, &(tw_init_desc){.seed = 3}, &error) == TW_OK);
    close_network(&net);
}

static void exact_names_go_before_bare_ones(void)
{
    network net;
    tw_plan *plan;
    tw_step_info step;
    CHECK(open_network(&net, "lenet5", 0, 1));
    tw_plan_desc desc = {.designs = "conv2d=naive,gemv"};
    CHECK_MSG(tw_plan_create(net.graph, net.device, &desc, &plan, &error) == TW_OK, "%s", error.message);
    tw_plan_info info;
    tw_plan_describe(plan, &info);
    for (size_t i = 0; i < info.steps; i++) {
        tw_plan_step(plan, i, &step);
        if (strcmp(step.op, "conv2d") == 0) CHECK_STR(step.design, "naive");
        if (strcmp(step.op, "linear") == 0) CHECK_STR(step.design, "gemv");
    }
    tw_plan_release(plan);
    close_network(&net);
}

static void unbound_parameters_are_named(void)
{
    network net = {0};
    tw_plan *plan;
    CHECK(tw_zoo_create("lenet5", NULL, &net.graph, &error) == TW_OK);
    CHECK(tw_device_open("cpu", NULL, &net.device, &error) == TW_OK);
    CHECK(tw_plan_create(net.graph, net.device, NULL, &plan, &error) == TW_INVALID);
    CHECK_CONTAINS(error.message, "conv1.weight");
    CHECK_MSG(tw_graph_init(net.graph, &(tw_init_desc){.seed = 3}, &error) == TW_OK, "after it: %s", error.message);
    CHECK(tw_plan_create(net.graph, net.device, NULL, &plan, &error) == TW_OK);
    tw_plan_release(plan);
    close_network(&net);
}

static void unknown_and_unavailable_differ(void)
{
    network net;
    tw_plan *plan;
    CHECK(open_network(&net, "lenet5", 0, 1));
    static const struct {
        const char *designs;
        tw_status status;
        const char *part;
    } cases[] = {
        {"nonsense", TW_INVALID, "nonsense"},
        {"conv2d=nonsense", TW_INVALID, "nonsense"},
        {"nonsense=naive", TW_INVALID, "nonsense"},
        {"", TW_OK, ""},
        {"auto", TW_OK, ""},
        {"conv2d=depthwise", TW_UNAVAILABLE, "conv1"},
        {"naive,", TW_OK, ""},
        {",naive", TW_INVALID, ""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        tw_status status =
            tw_plan_create(net.graph, net.device, &(tw_plan_desc){.designs = cases[i].designs}, &plan, &error);
        CHECK_MSG(status == cases[i].status, "\"%s\": status %d: %s", cases[i].designs, status, error.message);
        if (status != TW_OK) CHECK_CONTAINS(error.message, cases[i].part);
        tw_plan_release(plan);
    }
    CHECK(tw_plan_create(net.graph, net.device, &(tw_plan_desc){.precision = TW_PRECISION_FP16}, &plan, &error) ==
          TW_UNAVAILABLE);
    CHECK(tw_plan_create(net.graph, net.device, &(tw_plan_desc){.batch = -1}, &plan, &error) == TW_INVALID);
    close_network(&net);
}

static void fallback_keeps_the_reason(void)
{
    network net;
    tw_plan *plan;
    tw_plan_desc desc = {.designs = "conv2d=depthwise", .fallback = true};
    CHECK(open_network(&net, "lenet5", 0, 1));
    CHECK_MSG(tw_plan_create(net.graph, net.device, &desc, &plan, &error) == TW_OK, "%s", error.message);
    tw_plan_info info;
    tw_step_info step;
    tw_plan_describe(plan, &info);
    int notes = 0;
    for (size_t i = 0; i < info.steps; i++) {
        tw_plan_step(plan, i, &step);
        if (step.note) notes++;
    }
    CHECK(notes == 2);
    tw_plan_release(plan);
    close_network(&net);
}

static void absent_devices_say_why(void)
{
    tw_device *device;
    CHECK(tw_device_open("cuda:63", NULL, &device, &error) == TW_UNAVAILABLE);
    CHECK(tw_device_open("metal", NULL, &device, &error) == TW_UNAVAILABLE);
    CHECK(tw_device_open("abacus", NULL, &device, &error) == TW_INVALID);
    CHECK(tw_device_open("cuda:x", NULL, &device, &error) == TW_INVALID);
    CHECK(tw_device_open("cpu", &(tw_device_desc){.threads = -3}, &device, &error) == TW_INVALID);
}

static void mismatched_tensors_are_refused(void)
{
    network net;
    tw_plan *plan;
    tw_run *run;
    CHECK(open_network(&net, "lenet5", 0, 1));
    CHECK(tw_plan_create(net.graph, net.device, NULL, &plan, &error) == TW_OK);
    CHECK(tw_run_create(plan, &run, &error) == TW_OK);
    float data[32 * 32] = {0}, result[10];
    tw_tensor in = {TW_F32, {4, {1, 1, 32, 32}}, data}, out = {TW_F32, {2, {1, 10}}, result}, bad = in;
    CHECK(tw_run_execute(run, &in, &out, &error) == TW_OK);
    bad.shape.dims[2] = 31;
    CHECK(tw_run_execute(run, &bad, &out, &error) == TW_INVALID);
    CHECK_CONTAINS(error.message, "1x1x31x32");
    bad = in;
    bad.dtype = TW_F64;
    CHECK(tw_run_execute(run, &bad, &out, &error) == TW_INVALID);
    bad = in;
    bad.data = NULL;
    CHECK(tw_run_execute(run, &bad, &out, &error) == TW_INVALID);
    tw_run_release(run);
    tw_plan_release(plan);
    close_network(&net);
}

/* ---- what a plan computes ---- */

static const struct {
    const char *name;
    int image_size;
} subjects[] = {
    {"lenet5", 0},    {"resnet18", 64}, {"mobilenet_v2", 64}, {"squeezenet", 64}, {"efficientnet_lite0", 65},
#ifndef __SANITIZE_THREAD__ /* which takes two minutes over their 194 million weights */
    {"vgg11_bn", 33}, {"alexnet", 67}
#endif
};

/* Fused, unfused and reference plans of one network agree. */
static void passes_keep_the_result(void)
{
    for (size_t i = 0; i < sizeof subjects / sizeof *subjects; i++) {
        network net;
        tw_tensor wanted, fused, unfused;
        CHECK_MSG(open_network(&net, subjects[i].name, subjects[i].image_size, 2), "%s", error.message);
        CHECK_MSG(run_network(&net, &(tw_plan_desc){.designs = "reference", .no_fusion = true}, &wanted) == TW_OK, "%s",
                  error.message);
        CHECK_MSG(run_network(&net, NULL, &fused) == TW_OK, "%s", error.message);
        CHECK_MSG(run_network(&net, &(tw_plan_desc){.no_fusion = true}, &unfused) == TW_OK, "%s", error.message);
        CHECK_MSG(difference(&fused, &wanted) <= 1e-4, "%s fused: %g", subjects[i].name, difference(&fused, &wanted));
        CHECK_MSG(difference(&unfused, &wanted) <= 1e-4, "%s unfused: %g", subjects[i].name,
                  difference(&unfused, &wanted));
        tw_tensor_free(&wanted);
        tw_tensor_free(&fused);
        tw_tensor_free(&unfused);
        close_network(&net);
    }
}

/* An arena in which buffers share memory gives what one without sharing gives. */
static void reuse_of_memory_is_safe(void)
{
    for (size_t i = 0; i < sizeof subjects / sizeof *subjects; i++) {
        network net;
        tw_tensor shared, kept;
        CHECK(open_network(&net, subjects[i].name, subjects[i].image_size, 2));
        CHECK(run_network(&net, NULL, &shared) == TW_OK);
        CHECK(run_network(&net, &(tw_plan_desc){.keep_values = true}, &kept) == TW_OK);
        CHECK_MSG(memcmp(shared.data, kept.data, count_of(&kept) * sizeof(float)) == 0, "%s", subjects[i].name);
        size_t arenas[2];
        for (int keep = 0; keep < 2; keep++) {
            tw_plan *plan;
            tw_plan_info info;
            CHECK(tw_plan_create(net.graph, net.device, &(tw_plan_desc){.keep_values = keep}, &plan, &error) == TW_OK);
            tw_plan_describe(plan, &info);
            arenas[keep] = info.arena_bytes;
            CHECK(keep || info.arena_bytes >= info.values_bytes / info.steps);
            tw_plan_release(plan);
        }
        bool deep = strcmp(subjects[i].name, "lenet5") != 0 && strcmp(subjects[i].name, "alexnet") != 0;
        CHECK_MSG(arenas[0] < arenas[1] && (!deep || 4 * arenas[0] < 3 * arenas[1]), "%s: %zu with reuse, %zu without",
                  subjects[i].name, arenas[0], arenas[1]);
        tw_tensor_free(&shared);
        tw_tensor_free(&kept);
        close_network(&net);
    }
}

static void threads_do_not_change_the_result(void)
{
    for (size_t i = 0; i < sizeof subjects / sizeof *subjects; i++) {
        /* One plan's choices for all, as costs depend on the threads. */
        tw_tensor results[3];
        network net;
        CHECK(open_network(&net, subjects[i].name, subjects[i].image_size, 1));
        for (int t = 0; t < 3; t++) {
            network other = {.graph = net.graph};
            CHECK(tw_device_open("cpu", &(tw_device_desc){.threads = t + 1}, &other.device, &error) == TW_OK);
            CHECK(run_network(&other, &(tw_plan_desc){.designs = "conv2d=im2col_gemm,linear=packed_gemm"},
                              &results[t]) == TW_OK);
            tw_device_release(other.device);
        }
        close_network(&net);
        for (int t = 1; t < 3; t++)
            CHECK_MSG(memcmp(results[0].data, results[t].data, count_of(&results[0]) * sizeof(float)) == 0,
                      "%s on %d threads", subjects[i].name, t + 1);
        for (int t = 0; t < 3; t++) tw_tensor_free(&results[t]);
    }
}

static void a_batch_is_its_images(void)
{
    enum { BATCH = 3 };
    network net;
    tw_plan *one, *all;
    tw_run *run_one, *run_all;
    CHECK(open_network(&net, "resnet18", 64, 2));
    CHECK(tw_plan_create(net.graph, net.device, NULL, &one, &error) == TW_OK);
    CHECK_MSG(tw_plan_create(net.graph, net.device, &(tw_plan_desc){.batch = BATCH}, &all, &error) == TW_OK, "%s",
              error.message);
    CHECK(tw_run_create(one, &run_one, &error) == TW_OK && tw_run_create(all, &run_all, &error) == TW_OK);
    tw_tensor in, out, single = {TW_F32, {2, {1, 1000}}, NULL};
    CHECK(tw_tensor_create(TW_F32, &(tw_shape){4, {BATCH, 3, 64, 64}}, &in, &error) == TW_OK);
    CHECK(tw_tensor_create(TW_F32, &(tw_shape){2, {BATCH, 1000}}, &out, &error) == TW_OK);
    CHECK(tw_tensor_create(TW_F32, &single.shape, &single, &error) == TW_OK);
    for (size_t i = 0; i < count_of(&in); i++) ((float *)in.data)[i] = wave(i);
    CHECK(tw_run_execute(run_all, &in, &out, &error) == TW_OK);
    for (int n = 0; n < BATCH; n++) {
        tw_tensor image = {TW_F32, {4, {1, 3, 64, 64}}, (float *)in.data + n * 3 * 64 * 64};
        tw_tensor row = {TW_F32, {2, {1, 1000}}, (float *)out.data + n * 1000};
        CHECK_MSG(tw_run_execute(run_one, &image, &single, &error) == TW_OK, "%s", error.message);
        CHECK_MSG(difference(&row, &single) <= 1e-4, "image %d: %g", n, difference(&row, &single));
    }
    tw_tensor_free(&in);
    tw_tensor_free(&out);
    tw_tensor_free(&single);
    tw_run_release(run_one);
    tw_run_release(run_all);
    tw_plan_release(one);
    tw_plan_release(all);
    close_network(&net);
}

static void values_can_be_read(void)
{
    network net;
    tw_plan *plan;
    tw_run *run;
    tw_tensor value, out = {0}, in = {0};
    CHECK(open_network(&net, "lenet5", 0, 1));
    CHECK(tw_plan_create(net.graph, net.device, &(tw_plan_desc){.keep_values = true}, &plan, &error) == TW_OK);
    CHECK(tw_run_create(plan, &run, &error) == TW_OK);
    CHECK(tw_tensor_create(TW_F32, &(tw_shape){4, {1, 1, 32, 32}}, &in, &error) == TW_OK);
    CHECK(tw_tensor_create(TW_F32, &(tw_shape){2, {1, 10}}, &out, &error) == TW_OK);
    CHECK(tw_run_value(run, "pool1", &value, &error) == TW_INVALID); /* nothing has been run */
    CHECK(tw_run_execute(run, &in, &out, &error) == TW_OK);
    ((float *)in.data)[0] = 42; /* the caller's memory is the caller's again */
    CHECK(tw_run_value(run, "input", &value, &error) == TW_OK && ((float *)value.data)[0] == 0);
    tw_tensor_free(&value);
    CHECK(tw_run_value(run, "pool1", &value, &error) == TW_OK);
    CHECK(value.shape.rank == 4 && value.shape.dims[1] == 6 && value.shape.dims[2] == 14);
    tw_tensor_free(&value);
    CHECK(tw_run_value(run, "conv1", &value, &error) == TW_INVALID); /* fused into relu1 */
    CHECK(tw_run_value(run, "nothing", &value, &error) == TW_INVALID);
    tw_tensor_free(&in);
    tw_tensor_free(&out);
    tw_run_release(run);
    tw_plan_release(plan);
    close_network(&net);
}

/* ---- objects outlive their makers; many threads share one plan ---- */

typedef struct worker {
    tw_plan *plan;
    tw_tensor out;
    tw_status status;
} worker;

static void *work(void *context)
{
    worker *w = context;
    tw_error mine;
    tw_run *run = NULL;
    tw_tensor in = {0};
    tw_shape shape;
    w->status = tw_plan_input_shape(w->plan, 0, &shape, &mine);
    if (w->status == TW_OK) w->status = tw_tensor_create(TW_F32, &shape, &in, &mine);
    for (size_t i = 0; w->status == TW_OK && i < count_of(&in); i++) ((float *)in.data)[i] = wave(i);
    if (w->status == TW_OK) w->status = tw_run_create(w->plan, &run, &mine);
    for (int i = 0; w->status == TW_OK && i < 3; i++) w->status = tw_run_execute(run, &in, &w->out, &mine);
    tw_run_release(run);
    tw_tensor_free(&in);
    return NULL;
}

static void threads_share_a_plan(void)
{
    enum { WORKERS = 4 };
    network net;
    tw_plan *plan;
    tw_tensor wanted;
    worker workers[WORKERS];
    pthread_t threads[WORKERS];
    CHECK(open_network(&net, "squeezenet", 64, 2));
    CHECK(tw_plan_create(net.graph, net.device, NULL, &plan, &error) == TW_OK);
    close_network(&net); /* the plan keeps both alive */
    CHECK(run_plan(plan, &wanted) == TW_OK);
    for (int i = 0; i < WORKERS; i++) {
        workers[i].plan = plan;
        CHECK(tw_tensor_create(TW_F32, &wanted.shape, &workers[i].out, &error) == TW_OK);
        CHECK(pthread_create(&threads[i], NULL, work, &workers[i]) == 0);
    }
    for (int i = 0; i < WORKERS; i++) pthread_join(threads[i], NULL);
    for (int i = 0; i < WORKERS; i++) {
        CHECK(workers[i].status == TW_OK);
        CHECK(memcmp(workers[i].out.data, wanted.data, count_of(&wanted) * sizeof(float)) == 0);
        tw_tensor_free(&workers[i].out);
    }
    tw_tensor_free(&wanted);
    tw_plan_release(plan);
}

static void nan_reaches_the_output(void)
{
    network net;
    tw_plan *plan;
    tw_run *run;
    CHECK(open_network(&net, "lenet5", 0, 1));
    CHECK(tw_plan_create(net.graph, net.device, NULL, &plan, &error) == TW_OK);
    CHECK(tw_run_create(plan, &run, &error) == TW_OK);
    static float data[32 * 32];
    float result[10];
    data[16 * 32 + 16] = NAN;
    tw_tensor in = {TW_F32, {4, {1, 1, 32, 32}}, data}, out = {TW_F32, {2, {1, 10}}, result};
    CHECK(tw_run_execute(run, &in, &out, &error) == TW_OK);
    for (int i = 0; i < 10; i++) CHECK(isnan(result[i]));
    tw_run_release(run);
    tw_plan_release(plan);
    close_network(&net);
}

int main(int argc, char **argv)
{
    static const test_case cases[] = {
        {"the first error is kept", first_error_is_kept},
        {"names are unique", names_are_unique},
        {"long chains", long_chains},
        {"foreign values are refused", foreign_values_are_refused},
        {"overflowing shapes are refused", overflowing_shapes_are_refused},
        {"parameters are not activations", parameters_are_not_activations},
        {"coordinates beyond int are refused", coordinates_beyond_int_are_refused},
        {"parameters stay under a plan", parameters_stay_under_a_plan},
        {"exact names go before bare ones", exact_names_go_before_bare_ones},
        {"unbound parameters are named", unbound_parameters_are_named},
        {"unknown and unavailable differ", unknown_and_unavailable_differ},
        {"fallback keeps the reason", fallback_keeps_the_reason},
        {"absent devices say why", absent_devices_say_why},
        {"mismatched tensors are refused", mismatched_tensors_are_refused},
        {"passes keep the result", passes_keep_the_result},
        {"reuse of memory is safe", reuse_of_memory_is_safe},
        {"threads do not change the result", threads_do_not_change_the_result},
        {"a batch is its images", a_batch_is_its_images},
        {"values can be read", values_can_be_read},
        {"threads share a plan", threads_share_a_plan},
        {"NaN reaches the output", nan_reaches_the_output},
    };
    return test_main(argc, argv, cases, sizeof cases / sizeof *cases);
}
