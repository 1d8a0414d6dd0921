/* tilewise inspect: a network's layers, what they cost, and how a plan would run them. */
#include "cli.h"
#include "session.h"

#include <stdio.h>
#include <string.h>

static const tw_column columns[] = {
    {"layer", "layer", TW_COLUMN_TEXT},
    {"op", "op", TW_COLUMN_TEXT},
    {"output_shape", "output", TW_COLUMN_TEXT},
    {"parameters", "parameters", TW_COLUMN_COUNT},
    {"mflop", "MFLOP", TW_COLUMN_NUMBER},
    {"design", "design", TW_COLUMN_TEXT},
    {"layouts", "layouts", TW_COLUMN_TEXT},
    {"packed_bytes", "packed", TW_COLUMN_BYTES},
    {"workspace_bytes", "workspace", TW_COLUMN_BYTES},
    {"predicted_ms", "predicted ms", TW_COLUMN_NUMBER},
    {"tuned_ms", "tuned ms", TW_COLUMN_NUMBER},
};

static void print_shape(const tw_shape *shape, char *text, size_t size)
{
    text[0] = 0;
    for (int i = 0; i < shape->rank; i++) {
        size_t used = strlen(text);
        snprintf(text + used, size - used, "%s%lld", i ? "x" : "", (long long)shape->dims[i]);
    }
}

/* Trained numbers of the layer NAME: its tensors are NAME.weight, NAME.bias. */
static double layer_parameters(const tw_graph *graph, const char *layer)
{
    tw_graph_info info;
    tw_graph_describe(graph, &info);
    double count = 0;
    size_t length = strlen(layer);
    for (size_t i = 0; i < info.parameters; i++) {
        tw_tensor view;
        const char *name = tw_graph_parameter(graph, i, &view);
        if (strncmp(name, layer, length) != 0 || name[length] != '.') continue;
        if (strncmp(name + length, ".running_", 9) == 0) continue;
        double elements = 1;
        for (int d = 0; d < view.shape.rank; d++) elements *= (double)view.shape.dims[d];
        count += elements;
    }
    return count;
}

static void add_step(tw_results *results, const tw_network *network, const cli_model *model, size_t index)
{
    tw_plan_info plan;
    tw_device_info device;
    tw_step_info step;
    tw_shape shape;
    char output[128] = "", layouts[40];
    tw_plan_describe(network->plan, &plan);
    tw_device_describe(network->device, &device);
    tw_plan_step(network->plan, index, &step);
    tw_value value = tw_graph_find(model->graph, step.output);
    if (value >= 0 && tw_graph_shape(model->graph, value, &shape, NULL) == TW_OK) {
        shape.dims[0] *= plan.batch;
        print_shape(&shape, output, sizeof output);
    }
    snprintf(layouts, sizeof layouts, strcmp(step.in_layout, step.out_layout) ? "%s -> %s" : "%s", step.in_layout,
             step.out_layout);
    bool reorder = strcmp(step.op, "reorder") == 0; /* carries the name of a layer that has a row of its own */
    const tw_row_key key = cli_row_key(&device, model->name, plan.batch, plan.precision);
    cJSON *row = tw_row_create(&key);
    tw_row_text(row, "layer", step.name);
    tw_row_text(row, "op", step.op);
    tw_row_text(row, "problem", step.problem);
    tw_row_text(row, "output", step.output);
    tw_row_text(row, "output_shape", *output ? output : NULL);
    tw_row_number(row, "parameters", reorder ? 0 : layer_parameters(model->graph, step.name));
    tw_row_text(row, "design", step.design);
    tw_row_text(row, "layouts", layouts);
    tw_row_number(row, "launch", (double)step.launch);
    tw_row_number(row, "flops", step.flops);
    tw_row_number(row, "mflop", 1e-6 * step.flops);
    tw_row_number(row, "bytes", step.bytes);
    tw_row_number(row, "packed_bytes", (double)step.packed_bytes);
    tw_row_number(row, "workspace_bytes", (double)step.workspace_bytes);
    tw_row_number(row, "predicted_ms", 1e3 * step.predicted);
    tw_row_number(row, "tuned_ms", 1e3 * step.measured);
    tw_results_add(results, row);
}

typedef struct summary {
    tw_graph_info graph;
    tw_plan_info plan;
    tw_device_info device;
    size_t launches;
    double predicted_ms;
} summary;

static summary summarise(const tw_network *network, const cli_model *model)
{
    summary s;
    tw_graph_describe(model->graph, &s.graph);
    tw_plan_describe(network->plan, &s.plan);
    tw_device_describe(network->device, &s.device);
    s.launches = 0;
    s.predicted_ms = 0;
    for (size_t i = 0; i < s.plan.steps; i++) {
        tw_step_info step;
        tw_plan_step(network->plan, i, &step);
        s.launches += step.launch == i;
        s.predicted_ms += 1e3 * step.predicted;
    }
    return s;
}

static cJSON *summary_json(const summary *s, const tw_network *network)
{
    char in[128], out[128];
    cJSON *json = cJSON_CreateObject();
    print_shape(&network->input.shape, in, sizeof in);
    print_shape(&network->output.shape, out, sizeof out);
    tw_row_text(json, "input_shape", in);
    tw_row_text(json, "output_shape", out);
    tw_row_number(json, "parameters", (double)s->graph.parameter_count);
    tw_row_number(json, "flops_per_image", s->graph.flops);
    tw_row_number(json, "steps", (double)s->plan.steps);
    tw_row_number(json, "launches", (double)s->launches);
    tw_row_number(json, "weight_bytes", (double)s->plan.weight_bytes);
    tw_row_number(json, "packed_bytes", (double)s->plan.packed_bytes);
    tw_row_number(json, "arena_bytes", (double)s->plan.arena_bytes);
    tw_row_number(json, "values_bytes", (double)s->plan.values_bytes);
    tw_row_number(json, "predicted_ms", s->predicted_ms);
    return json;
}

static void print_summary(const summary *s, const tw_network *network, const cli_model *model)
{
    char in[128], out[128], arena[32], values[32], weights[32], packed[32];
    print_shape(&network->input.shape, in, sizeof in);
    print_shape(&network->output.shape, out, sizeof out);
    tw_format_bytes((double)s->plan.arena_bytes, arena, sizeof arena);
    tw_format_bytes((double)s->plan.values_bytes, values, sizeof values);
    tw_format_bytes((double)s->plan.weight_bytes, weights, sizeof weights);
    tw_format_bytes((double)s->plan.packed_bytes, packed, sizeof packed);
    printf("\n%s: %s -> %s, %zu parameters, %.4f GFLOP an image\n", model->name, in, out, s->graph.parameter_count,
           1e-9 * s->graph.flops);
    printf("memory: arena %s (values %s without reuse), weights %s, packed %s\n", arena, values, weights, packed);
    printf("plan: %zu steps on %s (%s, %s, %d threads), %s; predicted %.3f ms\n", s->plan.steps, s->device.id,
           s->device.name, s->device.features, s->device.threads, cli_precision_name(s->plan.precision),
           s->predicted_ms);
    cli_tell_launches(network->plan, model->name);
}

static int show(const cli_options *options, const tw_network *network, const cli_model *model)
{
    tw_error error;
    tw_results *results;
    if (cli_results_open(options, TW_COLUMNS(columns), &results, &error) != TW_OK) return cli_fail(&error);
    summary s = summarise(network, model);
    tw_results_device(results, &s.device);
    tw_results_field(results, "summary", summary_json(&s, network));
    for (size_t i = 0; i < s.plan.steps; i++) add_step(results, network, model, i);
    int code = cli_results_close(results, EXIT_DONE);
    if (options->format == TW_FORMAT_TABLE && code == EXIT_DONE) print_summary(&s, network, model);
    return code;
}

static int run(const cli_options *options)
{
    tw_error error;
    tw_device *device;
    cli_model model;
    tw_network network = {0};
    if (cli_device_open(options, options->devices.items[0], options->threads.items[0], &device, &error) != TW_OK)
        return cli_fail(&error);
    tw_status status = cli_model_open(options, options->arguments[0], CLI_RANDOM_WEIGHTS, &model, &error);
    const cli_setting setting = {device, options->precisions.items[0], options->batches.items[0],
                                 options->designs.items[0]};
    if (status == TW_OK) status = cli_network_open(options, &model, &setting, &network, &error);
    int code = status == TW_OK ? show(options, &network, &model) : cli_fail(&error);
    tw_network_close(&network);
    cli_model_close(&model);
    tw_device_release(device);
    return code;
}

const cli_command cli_inspect = {
    .name = "inspect",
    .summary = "show a network's layers, shapes, parameters, FLOPs, memory plan and designs",
    .usage = "MODEL [OPTION...]",
    .text =
        "Layers are a plan's steps: batch normalisation is folded into weights, activations and residual sums into\n"
        "the layer before. A reorder carries the name of the value that it brings into another layout.",
    .examples = "  tilewise inspect resnet18\n"
                "  tilewise inspect vgg16 --batch 8 --design im2col_gemm --fallback auto\n"
                "  tilewise inspect efficientnet_lite0 -o json",
    .options = CLI_BIT(CLI_DEVICE) | CLI_BIT(CLI_FAMILY) | CLI_BIT(CLI_DESIGN) | CLI_BIT(CLI_FALLBACK) |
               CLI_BIT(CLI_NO_TUNE) | CLI_BIT(CLI_PRECISION) | CLI_BIT(CLI_THREADS) | CLI_BIT(CLI_BATCH) |
               CLI_BIT(CLI_WEIGHTS) | CLI_BIT(CLI_SEED) | CLI_BIT(CLI_IMAGE_SIZE) | CLI_BIT(CLI_FORMAT) |
               CLI_BIT(CLI_HELP),
    .min_arguments = 1,
    .max_arguments = 1,
    .takes_model = true,
    .run = run,
};
