/* Layers that one launch runs together: their results are those of the same layers one by one, to the bit, and those of
 * the reference on the CPU within the precision. On a GPU that has the designs called `small`; skipped elsewhere. */
#include "execution.h"
#include "test.h"

static tw_error error;
static tw_device *cpu, *gpu;

/* expected: launches; 0: however many. */
static void check_graph(tw_graph *graph, const tw_plan_desc *desc, size_t expected)
{
    static const double tolerances[] = {1e-5, 1e-5, 4e-3, 3e-2};
    execution e, reference;
    const tw_plan_desc plain = {.batch = desc->batch, .designs = "reference", .no_fusion = true};
    if (!execution_open(graph, gpu, desc, &e)) return;
    size_t found = execution_launches(e.plan);
    if (expected && found != expected)
        test_fail(__FILE__, __LINE__, "%zu launches, expected %zu", found, expected);
    else if (execution_open(graph, cpu, &plain, &reference)) {
        execution_compare(&e, &reference, tolerances[desc->precision], true);
        execution_close(&reference);
    }
    execution_close(&e);
}

static tw_graph *initialised(tw_graph *graph)
{
    if (tw_graph_init(graph, &(tw_init_desc){.seed = 3}, &error) == TW_OK) return graph;
    test_fail(__FILE__, __LINE__, "%s", error.message);
    tw_graph_release(graph);
    return NULL;
}

static tw_graph *lenet5(void)
{
    tw_graph *graph;
    if (tw_zoo_create("lenet5", NULL, &graph, &error) == TW_OK) return initialised(graph);
    test_fail(__FILE__, __LINE__, "%s", error.message);
    return NULL;
}

static bool is_here(void)
{
    tw_graph *graph = gpu ? lenet5() : NULL;
    tw_plan *plan = NULL;
    bool here = graph && tw_plan_create(graph, gpu, &(tw_plan_desc){.designs = "small"}, &plan, &error) == TW_OK;
    if (!here) test_skip("no device here has the designs called small: %s", error.message);
    if (plan) tw_plan_release(plan);
    if (graph) tw_graph_release(graph);
    return here;
}

static void lenet5_in(tw_precision precision)
{
    static const int batches[] = {1, 3, 35, 135};
    tw_graph *graph = is_here() ? lenet5() : NULL;
    if (!graph) return;
    for (size_t i = 0; i < sizeof batches / sizeof *batches && !test_failed(); i++)
        check_graph(graph, &(tw_plan_desc){.batch = batches[i], .precision = precision, .designs = "small"}, 1);
    tw_graph_release(graph);
}

static void lenet5_is_one_launch_in_fp32(void)
{
    lenet5_in(TW_PRECISION_FP32);
}

static void lenet5_is_one_launch_in_tf32(void)
{
    lenet5_in(TW_PRECISION_TF32);
}

static void lenet5_is_one_launch_in_fp16(void)
{
    lenet5_in(TW_PRECISION_FP16);
}

static void lenet5_is_one_launch_in_bf16(void)
{
    lenet5_in(TW_PRECISION_BF16);
}

static void auto_takes_it_for_lenet5(void)
{
    tw_graph *graph = is_here() ? lenet5() : NULL;
    if (!graph) return;
    check_graph(graph, &(tw_plan_desc){0}, 1);
    check_graph(graph, &(tw_plan_desc){.batch = 8}, 1);
    check_graph(graph, &(tw_plan_desc){.batch = 128, .precision = TW_PRECISION_FP16}, 1);
    tw_graph_release(graph);
}

/* What the user names is done by nothing else, and parts the launch. */
static void named_designs_stay(void)
{
    tw_graph *graph = is_here() ? lenet5() : NULL;
    execution e;
    if (!graph || !execution_open(graph, gpu, &(tw_plan_desc){.designs = "conv2d=naive"}, &e)) return;
    tw_plan_info info;
    tw_plan_describe(e.plan, &info);
    for (size_t i = 0; i < info.steps; i++) {
        tw_step_info step;
        tw_plan_step(e.plan, i, &step);
        if (strcmp(step.op, "conv2d") == 0) CHECK_STR(step.design, "naive");
        if (strcmp(step.op, "conv2d") == 0) CHECK(step.launch == i);
    }
    execution_close(&e);
    check_graph(graph, &(tw_plan_desc){.batch = 2, .designs = "conv2d=naive"}, 0);
    tw_graph_release(graph);
}

/* Padding, strides, dilation, a residual, windows that overlap, branches, a value that is read late, odd sizes. */
static tw_graph *branched(void)
{
    tw_graph *g;
    if (tw_graph_create("branched", &g, &error) != TW_OK) return NULL;
    tw_value x = tw_graph_input(g, "x", &(tw_shape){4, {1, 3, 19, 23}});
    tw_value a = tw_graph_conv2d(
        g, x, &(tw_conv2d_desc){.name = "a", .out_channels = 7, .kernel = {3}, .padding = {1, 1, 1, 1}, .bias = true});
    tw_value relu = tw_graph_relu(g, a, "relu");
    tw_value pool = tw_graph_pool(
        g, relu,
        &(tw_pool_desc){.name = "pool", .kernel = {3}, .stride = {2}, .padding = {1, 1, 1, 1}, .ceil_mode = true});
    tw_value b = tw_graph_conv2d(
        g, pool, &(tw_conv2d_desc){.name = "b", .out_channels = 7, .kernel = {3}, .padding = {1, 1, 1, 1}});
    tw_value sum = tw_graph_add(g, b, pool, "sum");
    tw_value low = tw_graph_clip(g, sum, -0.5f, 0.75f, "low");
    tw_value c = tw_graph_conv2d(g, low,
                                 &(tw_conv2d_desc){.name = "c",
                                                   .out_channels = 13,
                                                   .kernel = {2, 3},
                                                   .stride = {2, 1},
                                                   .dilation = {1, 2},
                                                   .padding = {0, 2, 1, 2},
                                                   .bias = true});
    tw_value mean =
        tw_graph_pool(g, c, &(tw_pool_desc){.name = "mean", .kind = TW_POOL_ADAPTIVE_AVERAGE, .output = {3, 4}});
    tw_value flat = tw_graph_flatten(g, mean, "flat");
    tw_value d = tw_graph_linear(g, flat, &(tw_linear_desc){"d", 37, true});
    tw_value e = tw_graph_linear(g, tw_graph_relu(g, d, "relu_d"), &(tw_linear_desc){"e", 37, false});
    tw_value both = tw_graph_add(g, e, d, "both");
    tw_graph_output(g, tw_graph_softmax(g, both, "softmax"));
    if (tw_graph_check(g, &error) == TW_OK) return initialised(g);
    test_fail(__FILE__, __LINE__, "%s", error.message);
    tw_graph_release(g);
    return NULL;
}

/* Windows of 3x3 and 5x5 without padding on even rows: two and eight lanes a sum, poolings behind with even and odd rows,
 * an odd number of rows, a residual that comes from an earlier step. */
static tw_graph *unpadded(void)
{
    tw_graph *g;
    if (tw_graph_create("unpadded", &g, &error) != TW_OK) return NULL;
    tw_value x = tw_graph_input(g, "x", &(tw_shape){4, {1, 3, 17, 26}});
    tw_value a = tw_graph_conv2d(g, x, &(tw_conv2d_desc){.name = "a", .out_channels = 6, .kernel = {5}, .bias = true});
    tw_value d = tw_graph_conv2d(g, x, &(tw_conv2d_desc){.name = "d", .out_channels = 8, .kernel = {5}, .bias = true});
    tw_value pool_d = tw_graph_pool(g, tw_graph_relu(g, d, "relu_d"), &(tw_pool_desc){.name = "pool_d", .kernel = {2}});
    tw_value b = tw_graph_conv2d(g, x, &(tw_conv2d_desc){.name = "b", .out_channels = 6, .kernel = {5}});
    tw_value sum = tw_graph_relu(g, tw_graph_add(g, b, a, "sum"), "relu");
    tw_value c = tw_graph_conv2d(g, sum, &(tw_conv2d_desc){.name = "c", .out_channels = 10, .kernel = {3}});
    tw_value pool_c = tw_graph_pool(g, c, &(tw_pool_desc){.name = "pool_c", .kernel = {2}});
    tw_value e =
        tw_graph_conv2d(g, pool_c, &(tw_conv2d_desc){.name = "e", .out_channels = 9, .kernel = {3}, .bias = true});
    tw_value pool_e = tw_graph_pool(g, tw_graph_relu(g, e, "relu_e"), &(tw_pool_desc){.name = "pool_e", .kernel = {2}});
    tw_value left = tw_graph_linear(g, tw_graph_flatten(g, pool_e, "flat_e"), &(tw_linear_desc){"left", 37, true});
    tw_value right = tw_graph_linear(g, tw_graph_flatten(g, pool_d, "flat_d"), &(tw_linear_desc){"right", 37, false});
    tw_graph_output(g, tw_graph_add(g, left, right, "both"));
    if (tw_graph_check(g, &error) == TW_OK) return initialised(g);
    test_fail(__FILE__, __LINE__, "%s", error.message);
    tw_graph_release(g);
    return NULL;
}

static void check_batches(tw_graph *graph)
{
    if (!graph) return;
    for (int batch = 1; batch <= 18 && !test_failed(); batch += 17) {
        check_graph(graph, &(tw_plan_desc){.batch = batch, .designs = "small"}, 1);
        check_graph(graph, &(tw_plan_desc){.batch = batch, .designs = "small", .no_fusion = true}, 0);
        check_graph(graph, &(tw_plan_desc){.batch = batch, .precision = TW_PRECISION_FP16, .designs = "small"}, 0);
    }
    tw_graph_release(graph);
}

static void branches_padding_and_residuals(void)
{
    check_batches(is_here() ? branched() : NULL);
}

static void windows_without_padding(void)
{
    check_batches(is_here() ? unpadded() : NULL);
}

/* Values inside of a launch can be read where the plan keeps them. */
static void kept_values_are_written(void)
{
    static const char *const names[] = {"a", "pool", "low", "mean", "d", "both"};
    tw_graph *graph = is_here() ? branched() : NULL;
    execution e, reference;
    if (!graph) return;
    const tw_plan_desc desc = {.batch = 2, .designs = "small", .keep_values = true, .no_fusion = true};
    const tw_plan_desc plain = {.batch = 2, .designs = "reference", .keep_values = true, .no_fusion = true};
    if (!execution_open(graph, gpu, &desc, &e) || !execution_open(graph, cpu, &plain, &reference)) return;
    CHECK(tw_run_execute(e.run, &e.in, e.out, &error) == TW_OK);
    CHECK(tw_run_execute(reference.run, &reference.in, reference.out, &error) == TW_OK);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        tw_tensor is, expected;
        CHECK_MSG(tw_run_value(e.run, names[i], &is, &error) == TW_OK, "%s", error.message);
        CHECK_MSG(tw_run_value(reference.run, names[i], &expected, &error) == TW_OK, "%s", error.message);
        double off = execution_difference(is.data, expected.data, execution_elements(&is.shape));
        CHECK_MSG(off <= 1e-5, "%s is off by %.2g of its scale", names[i], off);
        tw_tensor_free(&is);
        tw_tensor_free(&expected);
    }
    execution_close(&e);
    execution_close(&reference);
    tw_graph_release(graph);
}

int main(int argc, char **argv)
{
    static const test_case cases[] = {
        {"lenet5 is one launch in fp32", lenet5_is_one_launch_in_fp32},
        {"lenet5 is one launch in tf32", lenet5_is_one_launch_in_tf32},
        {"lenet5 is one launch in fp16", lenet5_is_one_launch_in_fp16},
        {"lenet5 is one launch in bf16", lenet5_is_one_launch_in_bf16},
        {"auto takes it for lenet5", auto_takes_it_for_lenet5},
        {"named designs stay", named_designs_stay},
        {"branches, padding and residuals", branches_padding_and_residuals},
        {"windows without padding", windows_without_padding},
        {"kept values are written", kept_values_are_written},
    };
    if (tw_device_open("cpu", NULL, &cpu, &error) != TW_OK) return 1;
    if (tw_device_open("cuda", NULL, &gpu, &error) != TW_OK) gpu = NULL;
    int status = test_main(argc, argv, cases, sizeof cases / sizeof *cases);
    if (gpu) tw_device_release(gpu);
    tw_device_release(cpu);
    return status;
}
