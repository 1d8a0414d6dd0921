/* A depthwise layer and the 1x1 layer after it in one launch, whose result between them is never written: the results are
 * those of the reference on the CPU within the precision, and pairs are made only where nobody else reads what is between.
 * On a GPU with the design depthwise_pointwise; skipped elsewhere. */
#include "core/op.h"
#include "execution.h"
#include "test.h"

#include <stdio.h>

static tw_error error;
static tw_device *cpu, *gpu;

/* stem -> expand -> depthwise -> project, as in MobileNetV2; who else reads the depthwise layer's result. */
typedef enum also { NOBODY, STEM_IS_ADDED, BETWEEN_IS_ADDED, BETWEEN_LEAVES } also;
typedef struct block {
    int batch, channels, wide, height, width; /* wide: the depthwise layer's channels */
    int kernel, stride, padding[4];
    bool bias;
    also also;
} block;

static tw_value pointwise(tw_graph *g, tw_value x, const char *name, int channels, bool bias)
{
    return tw_graph_conv2d(g, x,
                           &(tw_conv2d_desc){.name = name, .out_channels = channels, .kernel = {1}, .bias = bias});
}

static tw_graph *build(const block *b)
{
    tw_graph *g;
    if (tw_graph_create("block", &g, &error) != TW_OK) return NULL;
    tw_value x = tw_graph_input(g, "x", &(tw_shape){4, {1, 16, b->height, b->width}});
    tw_value stem = pointwise(g, x, "stem", b->channels, true);
    tw_value expand = tw_graph_clip(g, pointwise(g, stem, "expand", b->wide, true), 0, 6, "expand_clip");
    tw_conv2d_desc desc = {.name = "depthwise", .out_channels = b->wide, .groups = b->wide, .bias = b->bias};
    desc.kernel[0] = b->kernel;
    desc.stride[0] = b->stride;
    memcpy(desc.padding, b->padding, sizeof desc.padding);
    tw_value between = tw_graph_conv2d(g, expand, &desc);
    if (b->also != BETWEEN_IS_ADDED) between = tw_graph_clip(g, between, 0, 6, "depthwise_clip");
    tw_value project = pointwise(g, between, "project", b->also == BETWEEN_IS_ADDED ? b->wide : b->channels, b->bias);
    if (b->also == STEM_IS_ADDED) project = tw_graph_add(g, project, stem, "sum");
    if (b->also == BETWEEN_IS_ADDED) project = tw_graph_add(g, project, between, "sum");
    tw_graph_output(g, project);
    if (b->also == BETWEEN_LEAVES) tw_graph_output(g, between);
    if (tw_graph_check(g, &error) == TW_OK && tw_graph_init(g, &(tw_init_desc){.seed = 3}, &error) == TW_OK) return g;
    test_fail(__FILE__, __LINE__, "%s", error.message);
    tw_graph_release(g);
    return NULL;
}

/* Do the layers share a launch, and which design does the last? */
static bool is_paired(const tw_plan *plan, char *design, size_t capacity)
{
    tw_plan_info info;
    tw_plan_describe(plan, &info);
    size_t launch = info.steps;
    bool paired = false;
    for (size_t i = 0; i < info.steps; i++) {
        tw_step_info step;
        tw_plan_step(plan, i, &step);
        if (strcmp(step.op, "conv2d") != 0) continue; /* a reorder has its value's name */
        if (strcmp(step.name, "depthwise") == 0) launch = step.launch;
        if (strcmp(step.name, "project") != 0) continue;
        paired = step.launch == launch;
        snprintf(design, capacity, "%s", step.design);
    }
    return paired;
}

static bool is_here(tw_precision precision)
{
    const block b = {1, 16, 16, 5, 5, 3, 1, {1, 1, 1, 1}, true, NOBODY};
    tw_graph *graph = gpu ? build(&b) : NULL;
    tw_plan *plan = NULL;
    const tw_plan_desc desc = {.precision = precision, .designs = "depthwise_pointwise", .fallback = true};
    char design[64] = "";
    bool here = graph && tw_plan_create(graph, gpu, &desc, &plan, &error) == TW_OK;
    here = here && (is_paired(plan, design, sizeof design) || strcmp(design, "depthwise_pointwise") == 0);
    if (!here)
        test_skip("no device here has depthwise_pointwise in %s: %s", tw_precision_name(precision), error.message);
    if (plan) tw_plan_release(plan);
    if (graph) tw_graph_release(graph);
    return here;
}

static void check_block(const block *b, tw_precision precision)
{
    static const double tolerances[] = {1e-5, 4e-3, 4e-3, 3e-2};
    const tw_plan_desc desc = {
        .batch = b->batch, .precision = precision, .designs = "depthwise_pointwise", .fallback = true};
    const tw_plan_desc plain = {.batch = b->batch, .designs = "reference", .no_fusion = true};
    char design[64] = "";
    execution e, reference;
    tw_graph *graph = build(b);
    if (!graph) return;
    if (execution_open(graph, gpu, &desc, &e)) {
        const bool paired = is_paired(e.plan, design, sizeof design);
        if (paired != (b->also == NOBODY || b->also == STEM_IS_ADDED))
            test_fail(__FILE__, __LINE__, "%s, window %d, stride %d: %s", tw_precision_name(precision), b->kernel,
                      b->stride, paired ? "paired, though the result between is read" : "not paired");
        else if (execution_open(graph, cpu, &plain, &reference)) {
            execution_compare(&e, &reference, tolerances[precision], false);
            if (test_failed())
                test_fail(__FILE__, __LINE__, "%d x %d channels of %d x %d, window %d, stride %d, batch %d",
                          b->channels, b->wide, b->height, b->width, b->kernel, b->stride, b->batch);
            execution_close(&reference);
        }
        execution_close(&e);
    }
    tw_graph_release(graph);
}

/* Tiles that are full and not, channels from a part of a step of k to many, uneven padding, strides that leave pixels out,
 * windows larger than the image. */
static const block blocks[] = {
    {1, 16, 16, 5, 5, 3, 1, {1, 1, 1, 1}, true, NOBODY},
    {1, 24, 144, 13, 11, 3, 1, {1, 1, 1, 1}, true, STEM_IS_ADDED},
    {1, 32, 72, 17, 9, 3, 2, {0, 0, 1, 1}, true, NOBODY},
    {1, 40, 200, 15, 15, 5, 2, {2, 1, 2, 1}, true, NOBODY},
    {1, 64, 384, 14, 14, 3, 1, {1, 1, 1, 1}, true, STEM_IS_ADDED},
    {1, 160, 960, 7, 7, 3, 1, {1, 1, 1, 1}, true, STEM_IS_ADDED},
    {1, 192, 1152, 7, 7, 5, 1, {2, 2, 2, 2}, true, STEM_IS_ADDED},
    {3, 8, 40, 2, 3, 5, 1, {2, 2, 2, 2}, false, NOBODY},
    {2, 48, 104, 1, 1, 3, 1, {1, 1, 1, 1}, false, STEM_IS_ADDED},
    {5, 16, 32, 28, 27, 3, 2, {1, 1, 1, 1}, true, NOBODY},
    {33, 24, 64, 9, 8, 5, 2, {1, 2, 2, 1}, true, NOBODY},
    {8, 112, 136, 10, 7, 3, 1, {0, 0, 0, 0}, true, NOBODY},
    {1, 24, 96, 8, 8, 3, 1, {1, 1, 1, 1}, true, BETWEEN_IS_ADDED},
    {1, 24, 96, 8, 8, 3, 1, {1, 1, 1, 1}, true, BETWEEN_LEAVES},
};

static void blocks_in(tw_precision precision)
{
    if (!is_here(precision)) return;
    for (size_t i = 0; i < sizeof blocks / sizeof *blocks && !test_failed(); i++) check_block(&blocks[i], precision);
}

static void blocks_in_tf32(void)
{
    blocks_in(TW_PRECISION_TF32);
}

static void blocks_in_fp16(void)
{
    blocks_in(TW_PRECISION_FP16);
}

static void blocks_in_bf16(void)
{
    blocks_in(TW_PRECISION_BF16);
}

/* Where values are kept, what is between must be written: no pair. */
static void kept_values_are_written(void)
{
    const block b = {2, 24, 96, 8, 8, 3, 1, {1, 1, 1, 1}, true, NOBODY};
    const tw_plan_desc desc = {.batch = 2,
                               .precision = TW_PRECISION_FP16,
                               .designs = "depthwise_pointwise",
                               .fallback = true,
                               .keep_values = true};
    const tw_plan_desc plain = {.batch = 2, .designs = "reference", .keep_values = true, .no_fusion = true};
    execution e, reference;
    tw_tensor is, expected;
    char design[64];
    tw_graph *graph = is_here(TW_PRECISION_FP16) ? build(&b) : NULL;
    if (!graph || !execution_open(graph, gpu, &desc, &e) || !execution_open(graph, cpu, &plain, &reference)) return;
    CHECK(!is_paired(e.plan, design, sizeof design));
    CHECK(tw_run_execute(e.run, &e.in, e.out, &error) == TW_OK);
    CHECK(tw_run_execute(reference.run, &reference.in, reference.out, &error) == TW_OK);
    CHECK_MSG(tw_run_value(e.run, "depthwise_clip", &is, &error) == TW_OK, "%s", error.message);
    CHECK_MSG(tw_run_value(reference.run, "depthwise_clip", &expected, &error) == TW_OK, "%s", error.message);
    double off = execution_difference(is.data, expected.data, execution_elements(&is.shape));
    CHECK_MSG(off <= 4e-3, "the depthwise layer's result is off by %.2g of its scale", off);
    tw_tensor_free(&is);
    tw_tensor_free(&expected);
    execution_close(&e);
    execution_close(&reference);
    tw_graph_release(graph);
}

/* What the user names is done by nothing else. */
static void named_designs_stay(void)
{
    const block b = {1, 24, 96, 14, 14, 3, 1, {1, 1, 1, 1}, true, NOBODY};
    const tw_plan_desc desc = {.precision = TW_PRECISION_FP16, .designs = "conv2d=tensor_core", .fallback = true};
    char design[64];
    execution e;
    tw_graph *graph = is_here(TW_PRECISION_FP16) ? build(&b) : NULL;
    if (!graph || !execution_open(graph, gpu, &desc, &e)) return;
    CHECK(!is_paired(e.plan, design, sizeof design));
    CHECK_STR(design, "tensor_core");
    tw_plan_info info;
    tw_plan_describe(e.plan, &info);
    CHECK(execution_launches(e.plan) == info.steps);
    execution_close(&e);
    tw_graph_release(graph);
}

int main(int argc, char **argv)
{
    static const test_case cases[] = {
        {"blocks in tf32", blocks_in_tf32},         {"blocks in fp16", blocks_in_fp16},
        {"blocks in bf16", blocks_in_bf16},         {"kept values are written", kept_values_are_written},
        {"named designs stay", named_designs_stay},
    };
    if (tw_device_open("cpu", NULL, &cpu, &error) != TW_OK) return 1;
    if (tw_device_open("cuda", NULL, &gpu, &error) != TW_OK) gpu = NULL;
    int status = test_main(argc, argv, cases, sizeof cases / sizeof *cases);
    if (gpu) tw_device_release(gpu);
    tw_device_release(cpu);
    return status;
}
