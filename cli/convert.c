/* tilewise convert: a network, or its weights alone, into a file that others read. */
#include "cli.h"
#include "core/status.h"
#include "model.h"
#include "onnx/export_names.h"
#include "session.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

static const tw_column columns[] = {
    {"output", "file", TW_COLUMN_TEXT},    {"format", "format", TW_COLUMN_TEXT},
    {"layers", "layers", TW_COLUMN_COUNT}, {"parameters", "parameters", TW_COLUMN_COUNT},
    {"bytes", "size", TW_COLUMN_BYTES},
};

/* ---- formats ---- */

/* Every parameter, under the name that its file had for it. */
static tw_status write_safetensors(const char *path, const tw_graph *graph, tw_error *error)
{
    tw_export_names all;
    tw_status status = tw_export_names_create(graph, &all, error);
    if (status != TW_OK) return status;
    size_t count = (size_t)graph->n_parameters;
    const char **names = calloc(count + 1, sizeof *names);
    tw_tensor *tensors = calloc(count + 1, sizeof *tensors);
    if (!names || !tensors) status = tw_no_memory(error, count * sizeof *tensors, "a table of tensors");
    for (size_t i = 0; i < count && status == TW_OK; i++) {
        names[i] = all.of[graph->parameters[i]];
        tw_graph_parameter(graph, i, &tensors[i]);
    }
    if (status == TW_OK) status = tw_safetensors_write(path, names, tensors, count, error);
    free(tensors);
    free(names);
    tw_export_names_free(&all);
    return status;
}

typedef struct format {
    const char *ending; /* its name, after a dot */
    tw_status (*write)(const char *path, const tw_graph *graph, tw_error *error);
} format;

static const format formats[] = {{".onnx", tw_onnx_write}, {".safetensors", write_safetensors}};

/* Null after an error. */
static const format *find_format(const char *path, tw_error *error)
{
    for (size_t i = 0; i < sizeof formats / sizeof *formats; i++)
        if (cli_has_ending(path, formats[i].ending)) return &formats[i];
    tw_fail(error, TW_INVALID, "--output: %s: the name's ending chooses the format: expected .onnx or .safetensors",
            path);
    return NULL;
}

/* ---- the result ---- */

static double file_bytes(const char *path)
{
    struct stat info;
    return stat(path, &info) == 0 ? (double)info.st_size : 0;
}

static int report(const cli_options *options, const cli_model *model, const format *as)
{
    tw_error error;
    tw_results *results;
    tw_graph_info info;
    char size[32];
    double bytes = file_bytes(options->output);
    tw_graph_describe(model->graph, &info);
    if (options->format == TW_FORMAT_TABLE) {
        tw_format_bytes(bytes, size, sizeof size);
        printf("%s: %s: %zu layers, %zu parameters, %s\n", options->output, tw_graph_name(model->graph), info.nodes,
               info.parameter_count, size);
        return EXIT_DONE;
    }
    if (cli_results_open(options, TW_COLUMNS(columns), &results, &error) != TW_OK) return cli_fail(&error);
    cJSON *row = tw_row_create(&(tw_row_key){.model = model->name});
    tw_row_text(row, "output", options->output);
    tw_row_text(row, "format", as->ending + 1);
    tw_row_number(row, "layers", (double)info.nodes);
    tw_row_number(row, "parameters", (double)info.parameter_count);
    tw_row_number(row, "bytes", bytes);
    tw_results_add(results, row);
    return cli_results_close(results, EXIT_DONE);
}

static int run(const cli_options *options)
{
    tw_error error;
    cli_model model;
    if (!options->output) {
        cli_note("convert: --output FILE is needed");
        return EXIT_BAD_INPUT;
    }
    const format *as = find_format(options->output, &error);
    if (!as || cli_seed_check(options, options->arguments[0], &error) != TW_OK) return cli_fail(&error);
    if (cli_model_open(options, options->arguments[0], CLI_KEPT_WEIGHTS, &model, &error) != TW_OK)
        return cli_fail(&error);
    tw_status status = as->write(options->output, model.graph, &error);
    if (status == TW_OK && model.random)
        cli_note("the weights are random, by --seed %llu", (unsigned long long)options->seed);
    int code = status == TW_OK ? report(options, &model, as) : cli_fail(&error);
    cli_model_close(&model);
    return code;
}

const cli_command cli_convert = {
    .name = "convert",
    .summary = "write a network as ONNX, or its weights as safetensors",
    .usage = "MODEL --output FILE [OPTION...]",
    .text =
        "FILE ends in .onnx (opset 17, any batch) or .safetensors (the weights alone, for --weights). The weights are\n"
        "an ONNX file's own; a zoo network's are those of --weights, else of the data folder that 'make demo' fills,\n"
        "or random where --seed is given.",
    .examples = "  tilewise convert resnet18 --weights resnet18.pth --output resnet18.onnx\n"
                "  tilewise convert resnet18 --weights resnet18.pth --output resnet18.safetensors\n"
                "  tilewise convert lenet5 --seed 7 --output lenet5.onnx -o json",
    .options = CLI_BIT(CLI_OUTPUT) | CLI_BIT(CLI_WEIGHTS) | CLI_BIT(CLI_SEED) | CLI_BIT(CLI_IMAGE_SIZE) |
               CLI_BIT(CLI_FORMAT) | CLI_BIT(CLI_HELP),
    .min_arguments = 1,
    .max_arguments = 1,
    .takes_model = true,
    .run = run,
};
