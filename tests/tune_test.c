/* Tuning: what is measured, how plans choose by it, and its file, which may be anything. */
#include "bench/tune.h"
#include "core/plan.h"
#include "devices/device.h"
#include "formats/tuning.h"
#include "test.h"

#include <math.h>
#include <sys/stat.h>

enum { MAX_FILE = 1 << 16 };

static tw_error error;

/* ---- helpers ---- */

static tw_device *open_cpu(int threads)
{
    tw_device *device;
    return tw_device_open("cpu", &(tw_device_desc){.threads = threads}, &device, &error) == TW_OK ? device : NULL;
}

static tw_graph *open_graph(const char *name)
{
    tw_graph *graph;
    if (tw_zoo_create(name, NULL, &graph, &error) != TW_OK) return NULL;
    return tw_graph_init(graph, &(tw_init_desc){.seed = 1}, &error) == TW_OK ? graph : NULL;
}

static tw_measurement measurement(const char *problem, const char *design, double seconds)
{
    tw_measurement m = {.design = design, .in = {TW_F32, TW_PLAIN}, .out = {TW_F32, TW_PLAIN}, .seconds = seconds};
    snprintf(m.problem, sizeof m.problem, "%s", problem);
    return m;
}

static bool add(tw_tuning *tuning, const char *problem, const char *design, double seconds)
{
    const tw_measurement m = measurement(problem, design, seconds);
    return tw_tuning_add(tuning, &m, &error) == TW_OK;
}

/* A folder of this test that is empty. */
static const char *fresh_folder(void)
{
    static char folder[512];
    static int count;
    snprintf(folder, sizeof folder, "%s/%d", test_folder(), count++);
    mkdir(folder, 0777);
    return folder;
}

static size_t read_whole(const char *path, char *text)
{
    FILE *file = fopen(path, "rb");
    size_t bytes = file ? fread(text, 1, MAX_FILE - 1, file) : 0;
    if (file) fclose(file);
    text[bytes] = 0;
    return bytes;
}

static bool write_whole(const char *path, const char *text, size_t bytes)
{
    FILE *file = fopen(path, "wb");
    bool whole = file && fwrite(text, 1, bytes, file) == bytes;
    return file && fclose(file) == 0 && whole;
}

/* ---- the table ---- */

static void measurements_are_found(void)
{
    tw_tuning *tuning = tw_tuning_create();
    size_t count;
    CHECK(!tw_tuning_find(tuning, "linear:a", &count) && count == 0);
    CHECK(add(tuning, "linear:b", "naive", 3) && add(tuning, "linear:a", "naive", 1) &&
          add(tuning, "linear:b", "gemv", 2));
    CHECK(add(tuning, "linear:c", "naive", 4) && add(tuning, "linear:b", "naive", 5));
    CHECK(tw_tuning_count(tuning) == 4);
    const tw_measurement *b = tw_tuning_find(tuning, "linear:b", &count);
    CHECK(b && count == 2);
    CHECK_STR(b[0].design, "gemv");
    CHECK(b[0].seconds == 2 && b[1].seconds == 5); /* the later one counts */
    CHECK(!tw_tuning_find(tuning, "linear:", &count) && !tw_tuning_find(tuning, "linear:bb", &count));
    tw_measurement other = measurement("linear:b", "gemv", 7);
    other.out.layout = TW_BLOCKED; /* another type is another measurement */
    CHECK(tw_tuning_add(tuning, &other, &error) == TW_OK && tw_tuning_count(tuning) == 5);
    tw_tuning_release(tuning);
}

static void newer_measurements_replace_a_problem(void)
{
    tw_tuning *old = tw_tuning_create(), *newer = tw_tuning_create();
    size_t count;
    CHECK(add(old, "linear:a", "naive", 1) && add(old, "linear:a", "gemv", 2) && add(old, "linear:b", "naive", 3));
    CHECK(add(newer, "linear:a", "naive", 4) && add(newer, "linear:c", "naive", 5));
    CHECK(tw_tuning_merge(old, newer, &error) == TW_OK && tw_tuning_count(old) == 3);
    const tw_measurement *a = tw_tuning_find(old, "linear:a", &count);
    CHECK(a && count == 1 && a->seconds == 4); /* gemv was another time's, which cannot be compared */
    CHECK(tw_tuning_find(old, "linear:b", &count) && tw_tuning_find(old, "linear:c", &count));
    tw_tuning_release(old);
    tw_tuning_release(newer);
}

static bool same_name(const char *op, const char *one, const char *other)
{
    char params[2][512], names[2][192];
    const tw_op *o = tw_op_find(op);
    if (o->parse(one, params[0], &error) != TW_OK || o->parse(other, params[1], &error) != TW_OK) return false;
    if (!tw_tuning_name(o, params[0], names[0]) || !tw_tuning_name(o, params[1], names[1])) return false;
    return strcmp(names[0], names[1]) == 0;
}

static void names_tell_problems_apart(void)
{
    static const char base[] = "mb1ic64ih56oc64oh56kh3ph1";
    static const char *const others[] = {"mb2ic64ih56oc64oh56kh3ph1",      "mb1ic64ih56oc64oh28kh3sh2ph1",
                                         "mb1ic64ih56oc64oh56kh3ph1bias1", "mb1ic64ih56oc64oh56kh3ph1act1",
                                         "mb1ic64ih56oc64oh56kh3ph1res1",  "mb1ic64ih56oc64oh56kh5ph2",
                                         "g64mb1ic64ih56oc64oh56kh3ph1"};
    CHECK(same_name("conv2d", base, base));
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        error.message[0] = 0;
        CHECK_MSG(!same_name("conv2d", base, others[i]), "%s has the same name", others[i]);
        CHECK_MSG(!error.message[0], "%s: %s", others[i], error.message);
    }
}

/* ---- the file ---- */

static bool same_tuning(const tw_tuning *a, const tw_tuning *b)
{
    bool same = a->count == b->count;
    for (size_t i = 0; same && i < a->count; i++)
        same = tw_measurement_same(&a->items[i], &b->items[i]) &&
               fabs(a->items[i].seconds - b->items[i].seconds) <= 0.51e-9;
    return same;
}

/* A file with three measurements. */
static bool write_example(const tw_device *device, const char *path, const tw_tuning *tuning)
{
    return tw_tuning_write(path, tuning, device, TW_PRECISION_FP32, &error) == TW_OK;
}

static tw_tuning *example(void)
{
    tw_tuning *tuning = tw_tuning_create();
    tw_measurement m = measurement("conv2d:mb1ic3ih8oc16oh8kh3ph1", "im2col_gemm", 1.5e-6);
    m.in = (tw_type){TW_F32, TW_BLOCKED};
    m.out = (tw_type){TW_F32, TW_NHWC};
    tw_tuning_add(tuning, &m, &error);
    add(tuning, "linear:mb1ic8oc4", "naive", 12.345678e-3);
    add(tuning, "reorder:1x8x4x4", "reference", 1e-9);
    return tuning;
}

static void files_come_back(void)
{
    const char *folder = fresh_folder();
    tw_device *cpu = open_cpu(1);
    tw_tuning *tuning = example(), *read;
    char *path;
    CHECK(tw_tuning_path(folder, cpu, TW_PRECISION_FP32, &path, &error) == TW_OK);
    CHECK(tw_tuning_open(folder, cpu, TW_PRECISION_FP32, &read, &error) == TW_OK && tw_tuning_count(read) == 0);
    tw_tuning_release(read);
    CHECK_MSG(write_example(cpu, path, tuning), "%s", error.message);
    CHECK_MSG(tw_tuning_open(folder, cpu, TW_PRECISION_FP32, &read, &error) == TW_OK, "%s", error.message);
    CHECK(same_tuning(read, tuning) && tw_tuning_count(read) == 3);
    tw_tuning_release(read);
    tw_tuning_release(tuning);
    tw_device_release(cpu);
    free(path);
}

static void other_threads_and_precisions_have_their_own(void)
{
    const char *folder = fresh_folder();
    tw_device *one = open_cpu(1), *two = open_cpu(2);
    tw_tuning *tuning = example(), *read;
    char *path;
    CHECK(tw_tuning_path(folder, one, TW_PRECISION_FP32, &path, &error) == TW_OK && write_example(one, path, tuning));
    CHECK(tw_tuning_open(folder, two, TW_PRECISION_FP32, &read, &error) == TW_OK && tw_tuning_count(read) == 0);
    tw_tuning_release(read);
    CHECK(tw_tuning_open(folder, one, TW_PRECISION_TF32, &read, &error) == TW_OK && tw_tuning_count(read) == 0);
    tw_tuning_release(read);
    CHECK(tw_tuning_open(folder, one, (tw_precision)9, &read, &error) == TW_INVALID);
    tw_tuning_release(tuning);
    tw_device_release(one);
    tw_device_release(two);
    free(path);
}

/* What was measured with something else is refused with both. */
static void another_version_is_refused(void)
{
    static const struct {
        const char *line, *instead;
    } cases[] = {
        {"version " TW_VERSION, "version 0.0.9"},
        {"driver none", "driver CUDA 12.4"},
        {"threads 1", "threads 7"},
        {"precision fp32", "precision fp16"},
    };
    const char *folder = fresh_folder();
    tw_device *cpu = open_cpu(1);
    tw_tuning *tuning = example(), *read;
    char *path, text[MAX_FILE], changed[MAX_FILE];
    CHECK(tw_tuning_path(folder, cpu, TW_PRECISION_FP32, &path, &error) == TW_OK && write_example(cpu, path, tuning));
    size_t bytes = read_whole(path, text);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *at = strstr(text, cases[i].line);
        CHECK(at && bytes);
        int length = snprintf(changed, sizeof changed, "%.*s%s%s", (int)(at - text), text, cases[i].instead,
                              at + strlen(cases[i].line));
        CHECK(write_whole(path, changed, (size_t)length));
        CHECK(tw_tuning_open(folder, cpu, TW_PRECISION_FP32, &read, &error) == TW_INVALID && !read);
        CHECK_CONTAINS(error.message, cases[i].line);
        CHECK_CONTAINS(error.message, cases[i].instead);
    }
    tw_tuning_release(tuning);
    tw_device_release(cpu);
    free(path);
}

static void bad_lines_are_named(void)
{
    static const struct {
        const char *line, *message;
    } cases[] = {
        {"", "expected nanoseconds, problem"},
        {"5 linear:mb1ic8oc4 naive float32 plain float32", "expected nanoseconds, problem"},
        {"5 linear:mb1ic8oc4 naive float32 plain float32 plain more", "expected nanoseconds, problem"},
        {"0 linear:mb1ic8oc4 naive float32 plain float32 plain", "expected nanoseconds, at least 1"},
        {"-5 linear:mb1ic8oc4 naive float32 plain float32 plain", "expected nanoseconds, at least 1"},
        {"nan linear:mb1ic8oc4 naive float32 plain float32 plain", "expected nanoseconds, at least 1"},
        {"99999999999999999999999 linear:mb1ic8oc4 naive float32 plain float32 plain",
         "expected nanoseconds, at least"},
        {"5x linear:mb1ic8oc4 naive float32 plain float32 plain", "expected nanoseconds, at least 1"},
        {"5 linear naive float32 plain float32 plain", "expected OPERATOR:DESCRIPTOR"},
        {"5 linear:mb1ic8oc4 magic float32 plain float32 plain", "unknown operator or design"},
        {"5 linea:mb1ic8oc4 naive float32 plain float32 plain", "unknown operator or design"},
        {"5 linear:mb1ic8oc4 tensor_core float32 plain float32 plain", "unknown operator or design"},
        {"5 linear:mb1ic8oc4 naive float99 plain float32 plain", "unknown type"},
        {"5 linear:mb1ic8oc4 naive float32 plain float32 plane", "unknown type"},
        {"5 linear:mb1ic8oc4 naive int8 plain float32 plain", "unknown type"},
        {"end 1", "expected nanoseconds"},
    };
    const char *folder = fresh_folder();
    tw_device *cpu = open_cpu(1);
    tw_tuning *empty = tw_tuning_create(), *read;
    char *path, text[MAX_FILE], changed[MAX_FILE];
    CHECK(tw_tuning_path(folder, cpu, TW_PRECISION_FP32, &path, &error) == TW_OK && write_example(cpu, path, empty));
    read_whole(path, text);
    char *end = strstr(text, "end 0\n");
    CHECK(end);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int length = snprintf(changed, sizeof changed, "%.*s%s\nend 1\n", (int)(end - text), text, cases[i].line);
        CHECK(write_whole(path, changed, (size_t)length));
        CHECK_MSG(tw_tuning_open(folder, cpu, TW_PRECISION_FP32, &read, &error) == TW_INVALID, "\"%s\" was read",
                  cases[i].line);
        CHECK_CONTAINS(error.message, cases[i].message);
        CHECK_CONTAINS(error.message, ".txt:8: ");
    }
    tw_tuning_release(empty);
    tw_device_release(cpu);
    free(path);
}

/* Every beginning of a file is refused, and nothing that a byte is changed to does harm. */
static void damaged_files_are_refused(void)
{
    const char *folder = fresh_folder();
    tw_device *cpu = open_cpu(1);
    tw_tuning *tuning = example(), *read;
    char *path, text[MAX_FILE];
    CHECK(tw_tuning_path(folder, cpu, TW_PRECISION_FP32, &path, &error) == TW_OK && write_example(cpu, path, tuning));
    size_t bytes = read_whole(path, text);
    for (size_t length = 0; length < bytes; length++) {
        CHECK(write_whole(path, text, length));
        CHECK_MSG(tw_tuning_open(folder, cpu, TW_PRECISION_FP32, &read, &error) == TW_INVALID, "%zu bytes were read",
                  length);
    }
    text[bytes] = '\n';
    CHECK(write_whole(path, text, bytes + 1));
    CHECK(tw_tuning_open(folder, cpu, TW_PRECISION_FP32, &read, &error) == TW_INVALID);
    CHECK_CONTAINS(error.message, "something follows");
    for (size_t i = 0; i < bytes; i++)
        for (int value = 0; value < 256; value += 5) {
            const char old = text[i];
            text[i] = (char)value;
            CHECK(write_whole(path, text, bytes));
            text[i] = old;
            const tw_status status = tw_tuning_open(folder, cpu, TW_PRECISION_FP32, &read, &error);
            CHECK(status == TW_OK || status == TW_INVALID);
            CHECK_MSG(status == TW_OK || !strpbrk(error.message, "\n\r\x1b"), "a message of several lines");
            tw_tuning_release(read);
        }
    tw_tuning_release(tuning);
    tw_device_release(cpu);
    free(path);
}

static void what_is_no_file_is_refused(void)
{
    const char *folder = fresh_folder();
    tw_device *cpu = open_cpu(1);
    tw_tuning *read, *tuning = example();
    char *path;
    CHECK(tw_tuning_path(folder, cpu, TW_PRECISION_FP32, &path, &error) == TW_OK);
    mkdir(path, 0777);
    CHECK(tw_tuning_open(folder, cpu, TW_PRECISION_FP32, &read, &error) == TW_INVALID);
    CHECK_CONTAINS(error.message, "a folder");
    CHECK(tw_tuning_write(path, tuning, cpu, TW_PRECISION_FP32, &error) == TW_INVALID);
    CHECK(tw_tuning_check(path, &error) == TW_INVALID);
    tw_tuning_release(tuning);
    tw_device_release(cpu);
    free(path);
}

/* XDG's variables, as a caller sets them. */
static void the_folder_is_xdgs(void)
{
    char *path, expected[600], *old[2] = {getenv("XDG_CACHE_HOME"), getenv("HOME")};
    for (int i = 0; i < 2; i++) old[i] = old[i] ? strdup(old[i]) : NULL;
    tw_device *cpu = open_cpu(1);
    tw_tuning *read;
    const char *folder = fresh_folder();
    setenv("HOME", folder, 1);
    unsetenv("XDG_CACHE_HOME");
    snprintf(expected, sizeof expected, "%s/.cache/tilewise/tune-cpu-", folder);
    CHECK(tw_tuning_path(NULL, cpu, TW_PRECISION_FP32, &path, &error) == TW_OK);
    CHECK_CONTAINS(path, expected);
    free(path);
    setenv("XDG_CACHE_HOME", "relative", 1); /* is as good as none, says XDG */
    CHECK(tw_tuning_path(NULL, cpu, TW_PRECISION_FP32, &path, &error) == TW_OK);
    CHECK_CONTAINS(path, expected);
    free(path);
    unsetenv("HOME");
    CHECK(tw_tuning_path(NULL, cpu, TW_PRECISION_FP32, &path, &error) == TW_INVALID && !path);
    CHECK(tw_tuning_open(NULL, cpu, TW_PRECISION_FP32, &read, &error) == TW_OK && tw_tuning_count(read) == 0);
    tw_tuning_release(read);
    for (int i = 0; i < 2; i++) {
        const char *name = i ? "HOME" : "XDG_CACHE_HOME";
        if (old[i])
            setenv(name, old[i], 1);
        else
            unsetenv(name);
        free(old[i]);
    }
    tw_device_release(cpu);
}

/* ---- plans ---- */

/* The step of a layer; false where there is none. */
static bool find_step(const tw_plan *plan, const char *name, const char *op, tw_step_info *step)
{
    tw_plan_info info;
    tw_plan_describe(plan, &info);
    for (size_t i = 0; i < info.steps; i++) {
        tw_plan_step(plan, i, step);
        if (strcmp(step->name, name) == 0 && strcmp(step->op, op) == 0) return true;
    }
    return false;
}

static void plans_choose_by_measurements(void)
{
    tw_graph *graph = open_graph("lenet5");
    tw_device *cpu = open_cpu(1);
    tw_tuning *tuning = tw_tuning_create();
    tw_plan *plan;
    tw_step_info step, other;
    CHECK(tw_plan_create(graph, cpu, NULL, &plan, &error) == TW_OK && find_step(plan, "fc1", "linear", &step));
    CHECK(isnan(step.measured) && strcmp(step.design, "naive") != 0);
    CHECK(add(tuning, step.problem, "naive", 1e-9));
    tw_plan_release(plan);
    const tw_plan_desc tuned = {.tuning = tuning};
    CHECK(tw_plan_create(graph, cpu, &tuned, &plan, &error) == TW_OK && find_step(plan, "fc1", "linear", &other));
    CHECK_STR(other.design, "naive");
    CHECK(other.measured == 1e-9 && other.predicted > 0);
    CHECK(find_step(plan, "fc2", "linear", &other) && isnan(other.measured)); /* another problem */
    tw_plan_release(plan);
    CHECK(add(tuning, step.problem, "gemv", 0.5e-9));
    CHECK(tw_plan_create(graph, cpu, &tuned, &plan, &error) == TW_OK && find_step(plan, "fc1", "linear", &other));
    CHECK_STR(other.design, "gemv");
    tw_plan_release(plan);
    /* A design that is asked for is taken. */
    const tw_plan_desc named = {.tuning = tuning, .designs = "linear=packed_gemm"};
    CHECK(tw_plan_create(graph, cpu, &named, &plan, &error) == TW_OK && find_step(plan, "fc1", "linear", &other));
    CHECK_STR(other.design, "packed_gemm");
    CHECK(isnan(other.measured));
    tw_plan_release(plan);
    tw_tuning_release(tuning);
    tw_device_release(cpu);
    tw_graph_release(graph);
}

/* A file may say of a design what it refuses. */
static void measurements_that_do_not_apply_are_passed_over(void)
{
    tw_graph *graph = open_graph("lenet5");
    tw_device *cpu = open_cpu(1);
    tw_tuning *tuning = tw_tuning_create();
    tw_plan *plan;
    tw_step_info step, other;
    CHECK(tw_plan_create(graph, cpu, NULL, &plan, &error) == TW_OK && find_step(plan, "conv2", "conv2d", &step));
    CHECK(add(tuning, step.problem, "depthwise", 1e-9));
    tw_measurement half = measurement(step.problem, "naive", 1e-9);
    half.in.dtype = half.out.dtype = TW_F16;
    CHECK(tw_tuning_add(tuning, &half, &error) == TW_OK);
    half.in.dtype = TW_F32; /* naive, which looks at no type of its result, would write floats over half the memory */
    CHECK(tw_tuning_add(tuning, &half, &error) == TW_OK);
    tw_plan_release(plan);
    CHECK(tw_plan_create(graph, cpu, &(tw_plan_desc){.tuning = tuning}, &plan, &error) == TW_OK);
    CHECK(find_step(plan, "conv2", "conv2d", &other));
    CHECK_STR(other.design, step.design);
    CHECK(isnan(other.measured));
    tw_plan_release(plan);
    tw_tuning_release(tuning);
    tw_device_release(cpu);
    tw_graph_release(graph);
}

/* ---- measuring ---- */

static double largest_difference(const tw_tensor *a, const tw_tensor *b)
{
    size_t count;
    double worst = 0, scale = 0;
    tw_shape_count(&a->shape, a->dtype, &count, NULL);
    for (size_t i = 0; i < count; i++) {
        const double x = ((float *)a->data)[i], y = ((float *)b->data)[i];
        if (!(fabs(x - y) <= worst)) worst = isnan(x - y) ? INFINITY : fabs(x - y);
        if (fabs(y) > scale) scale = fabs(y);
    }
    return worst / scale;
}

static bool run_network(tw_graph *graph, tw_device *device, const tw_tuning *tuning, tw_network *network)
{
    const tw_network_desc desc = {graph, device, {.tuning = tuning}};
    if (tw_network_open(&desc, network, &error) != TW_OK) return false;
    tw_fill_random(&network->input, 1);
    return tw_network_execute(network, &error) == TW_OK;
}

/* Whatever a trial takes, the network computes the same. */
static void trials_compute_the_same(void)
{
    tw_graph *graph = open_graph("squeezenet1_1");
    tw_device *cpu = open_cpu(1);
    tw_network truth, network;
    CHECK(run_network(graph, cpu, NULL, &truth));
    int trials = 1;
    for (int trial = 1; trial <= trials; trial++) {
        const tw_tuning tuning = {.trial = trial};
        CHECK_MSG(run_network(graph, cpu, &tuning, &network), "trial %d: %s", trial, error.message);
        const double difference = largest_difference(&network.output, &truth.output);
        CHECK_MSG(difference <= 1e-4, "trial %d is off by %g", trial, difference);
        trials = network.plan->trials;
        tw_network_close(&network);
    }
    CHECK_MSG(trials > 1, "%d trials", trials);
    tw_network_close(&truth);
    tw_device_release(cpu);
    tw_graph_release(graph);
}

/* Also where designs want types and layouts that few others know. */
static void every_device_has_its_trials(void)
{
    static const char *const devices[] = {"cpu", "cuda", "metal-sim"};
    tw_graph *graph = open_graph("resnet18");
    for (size_t d = 0; d < sizeof devices / sizeof *devices; d++) {
        tw_device *device;
        if (tw_device_open(devices[d], NULL, &device, &error) != TW_OK) continue;
        for (int p = TW_PRECISION_FP32; p <= TW_PRECISION_BF16; p++) {
            if (tw_device_check_precision(device, (tw_precision)p, &error) != TW_OK) continue;
            int trials = 1;
            for (int trial = 1; trial <= trials; trial++) {
                const tw_tuning tuning = {.trial = trial};
                tw_plan *plan;
                tw_status status = tw_plan_create(
                    graph, device, &(tw_plan_desc){.precision = (tw_precision)p, .tuning = &tuning}, &plan, &error);
                CHECK_MSG(status == TW_OK, "%s %s trial %d: %s", devices[d], tw_precision_name((tw_precision)p), trial,
                          error.message);
                trials = plan->trials;
                tw_plan_release(plan);
            }
            CHECK_MSG(trials > 1 && trials < 100, "%s %s: %d trials", devices[d], tw_precision_name((tw_precision)p),
                      trials);
        }
        tw_device_release(device);
    }
    tw_graph_release(graph);
}

static void networks_are_tuned(void)
{
    tw_graph *graph = open_graph("lenet5");
    tw_device *cpu = open_cpu(1);
    tw_tuning *tuning = tw_tuning_create();
    tw_tune_result result;
    tw_network predicted, tuned;
    const tw_tune_desc desc = {
        .graph = graph, .device = cpu, .batch = 2, .iterations = 1, .timing = {.iterations = 2}, .seed = 1};
    CHECK_MSG(tw_tune(&desc, tuning, &result, &error) == TW_OK, "%s", error.message);
    CHECK(result.trials > 1 && result.problems >= 7 && result.measurements > result.problems);
    CHECK(result.before > 0 && result.after > 0 && result.n_layers == 7 && result.without_memory == 0);
    for (size_t i = 0; i < result.n_layers; i++) {
        const tw_tuned_layer *layer = &result.layers[i];
        size_t count;
        CHECK_MSG(layer->before > 0 && layer->after > 0, "%s was not measured", layer->name);
        CHECK_MSG(strstr(layer->problem, "mb2") || strstr(layer->problem, ":2x"), "%s: batch", layer->problem);
        CHECK_MSG(tw_tuning_find(tuning, layer->problem, &count), "%s is not kept", layer->problem);
    }
    CHECK(run_network(graph, cpu, NULL, &predicted) && run_network(graph, cpu, tuning, &tuned));
    CHECK(largest_difference(&tuned.output, &predicted.output) <= 1e-5);
    tw_network_close(&predicted);
    tw_network_close(&tuned);
    tw_tune_result_free(&result);
    tw_tuning_release(tuning);
    tw_device_release(cpu);
    tw_graph_release(graph);
}

static void simulations_are_not_tuned(void)
{
    tw_graph *graph = open_graph("lenet5");
    tw_device *sim;
    tw_tuning *tuning = tw_tuning_create();
    tw_tune_result result;
    if (tw_device_open("metal-sim", NULL, &sim, &error) == TW_OK) {
        const tw_tune_desc desc = {.graph = graph, .device = sim, .batch = 1};
        CHECK(tw_tune(&desc, tuning, &result, &error) == TW_UNAVAILABLE);
        CHECK_CONTAINS(error.message, "simulation");
        tw_device_release(sim);
    } else {
        test_skip("%s", error.message);
    }
    tw_tuning_release(tuning);
    tw_graph_release(graph);
}

int main(int argc, char **argv)
{
    static const test_case cases[] = {
        {"measurements are found", measurements_are_found},
        {"newer measurements replace a problem", newer_measurements_replace_a_problem},
        {"names tell problems apart", names_tell_problems_apart},
        {"files come back", files_come_back},
        {"other threads and precisions have their own", other_threads_and_precisions_have_their_own},
        {"another version is refused", another_version_is_refused},
        {"bad lines are named", bad_lines_are_named},
        {"damaged files are refused", damaged_files_are_refused},
        {"what is no file is refused", what_is_no_file_is_refused},
        {"the folder is XDG's", the_folder_is_xdgs},
        {"plans choose by measurements", plans_choose_by_measurements},
        {"measurements that do not apply are passed over", measurements_that_do_not_apply_are_passed_over},
        {"trials compute the same", trials_compute_the_same},
        {"every device has its trials", every_device_has_its_trials},
        {"networks are tuned", networks_are_tuned},
        {"simulations are not tuned", simulations_are_not_tuned},
    };
    return test_main(argc, argv, cases, sizeof cases / sizeof *cases);
}
