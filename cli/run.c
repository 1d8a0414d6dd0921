/* tilewise run: raw tensors in and out, and every intermediate one on request. */
#include "cli.h"
#include "core/status.h"
#include "data.h"
#include "session.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { MAX_BATCH = 65536 };

static void print_shape(const tw_tensor *tensor, char *text, size_t size)
{
    int used = snprintf(text, size, "%s", tw_dtype_name(tensor->dtype));
    for (int i = 0; i < tensor->shape.rank && (size_t)used < size; i++)
        used += snprintf(text + used, size - (size_t)used, "%s%lld", i ? "x" : " ", (long long)tensor->shape.dims[i]);
}

/* The input must be float32 and of the graph's shape in all but the batch, which is its first dimension. */
static tw_status check_input(const cli_options *options, const cli_model *model, const tw_tensor *input,
                             tw_error *error)
{
    tw_tensor wanted = {.dtype = TW_F32};
    tw_status status = tw_graph_shape(model->graph, tw_graph_input_at(model->graph, 0), &wanted.shape, error);
    if (status != TW_OK) return status;
    bool same = input->dtype == TW_F32 && input->shape.rank == wanted.shape.rank;
    for (int i = 1; same && i < wanted.shape.rank; i++) same = input->shape.dims[i] == wanted.shape.dims[i];
    char is[160], expected[160];
    print_shape(input, is, sizeof is);
    if (!same) {
        print_shape(&wanted, expected, sizeof expected);
        return tw_fail(error, TW_INVALID, "%s: %s, but %s takes %s for each image of a batch", options->input, is,
                       model->name, expected);
    }
    if (input->shape.dims[0] < 1 || input->shape.dims[0] > MAX_BATCH)
        return tw_fail(error, TW_INVALID, "%s: %s: expected a batch of 1 to %d", options->input, is, MAX_BATCH);
    if (cli_given(options, CLI_BATCH) && options->batches.items[0] != input->shape.dims[0])
        return tw_fail(error, TW_INVALID, "--batch: %d, but %s holds a batch of %lld", options->batches.items[0],
                       options->input, (long long)input->shape.dims[0]);
    return TW_OK;
}

/* DIR/NAME.npy; what can't stand in a file's name becomes '_'. */
static tw_status dump_value(const char *folder, const tw_run *run, const char *name, tw_error *error)
{
    char path[CLI_PATH_SIZE];
    int length = snprintf(path, sizeof path, "%s/%s.npy", folder, name);
    if (length < 0 || (size_t)length >= sizeof path)
        return tw_fail(error, TW_INVALID, "--dump-layers: %s: the path is too long", folder);
    for (char *at = path + strlen(folder) + 1; *at; at++)
        if (*at == '/' || (unsigned char)*at < ' ') *at = '_';
    tw_tensor value;
    tw_status status = tw_run_value(run, name, &value, error);
    if (status == TW_OK) status = tw_npy_write(path, &value, error);
    tw_tensor_free(&value);
    return status;
}

/* Before anything takes time. */
static tw_status make_folder(const char *folder, tw_error *error)
{
    struct stat info;
    if (mkdir(folder, 0777) == 0) return TW_OK;
    int code = errno;
    if (code == EEXIST && stat(folder, &info) == 0 && S_ISDIR(info.st_mode)) return TW_OK;
    if (code == EEXIST) return tw_fail(error, TW_INVALID, "--dump-layers: %s: not a folder", folder);
    return tw_fail(error, code == ENOSPC || code == EIO ? TW_FAILED : TW_INVALID,
                   "--dump-layers: %s: cannot make the folder: %s", folder, strerror(code));
}

static tw_status dump_layers(const char *folder, const tw_network *network, tw_error *error)
{
    tw_plan_info info;
    tw_plan_describe(network->plan, &info);
    tw_status status = TW_OK;
    for (size_t i = 0; i < info.steps && status == TW_OK; i++) {
        tw_step_info step;
        tw_plan_step(network->plan, i, &step);
        status = dump_value(folder, network->run, step.output, error);
    }
    return status;
}

static tw_status execute(const cli_options *options, const cli_model *model, tw_device *device, const tw_tensor *input,
                         tw_error *error)
{
    const tw_network_desc desc = {.device = device,
                                  .plan = {.batch = (int)input->shape.dims[0],
                                           .precision = (tw_precision)options->precisions.items[0],
                                           .designs = options->designs.items[0],
                                           .fallback = options->fallback,
                                           .keep_values = options->dump_layers}};
    tw_network network;
    tw_status status = cli_network_open_with(options, model, &desc, &network, error);
    if (status != TW_OK) return status;
    if (options->dump_layers) status = make_folder(options->dump_layers, error);
    if (status == TW_OK) status = tw_run_execute(network.run, input, &network.output, error);
    if (status == TW_OK) status = tw_npy_write(options->output, &network.output, error);
    if (status == TW_OK && options->dump_layers) status = dump_layers(options->dump_layers, &network, error);
    tw_network_close(&network);
    return status;
}

static int run(const cli_options *options)
{
    tw_error error;
    if (!options->input || !options->output) {
        cli_note("run: --input FILE and --output FILE are needed");
        return EXIT_BAD_INPUT;
    }
    tw_device *device;
    cli_model model;
    tw_tensor input = {0};
    if (cli_seed_check(options, options->arguments[0], &error) != TW_OK) return cli_fail(&error);
    if (cli_device_open(options, options->devices.items[0], options->threads.items[0], &device, &error) != TW_OK)
        return cli_fail(&error);
    tw_status status = cli_model_open(options, options->arguments[0], CLI_RANDOM_WEIGHTS, &model, &error);
    if (status == TW_OK) status = tw_npy_read(options->input, 0, &input, &error);
    if (status == TW_OK) status = check_input(options, &model, &input, &error);
    if (status == TW_OK) status = execute(options, &model, device, &input, &error);
    tw_tensor_free(&input);
    cli_model_close(&model);
    tw_device_release(device);
    return status == TW_OK ? EXIT_DONE : cli_fail(&error);
}

const cli_command cli_run = {
    .name = "run",
    .summary = "run a network on a tensor from a file",
    .usage = "MODEL --input x.npy --output y.npy [OPTION...]",
    .text =
        "The batch is the input's first dimension. Zoo graphs end in logits. Without --weights they are random, by\n"
        "--seed. --dump-layers writes what each step computes; values that fusion removed are not there.",
    .examples = "  tilewise run resnet18 --weights resnet18.pth --input x.npy --output logits.npy\n"
                "  tilewise run lenet5 --seed 7 --input x.npy --output y.npy --dump-layers layers",
    .options = CLI_BIT(CLI_INPUT) | CLI_BIT(CLI_OUTPUT) | CLI_BIT(CLI_DUMP_LAYERS) | CLI_BIT(CLI_DEVICE) |
               CLI_BIT(CLI_FAMILY) | CLI_BIT(CLI_DESIGN) | CLI_BIT(CLI_FALLBACK) | CLI_BIT(CLI_NO_TUNE) |
               CLI_BIT(CLI_PRECISION) | CLI_BIT(CLI_THREADS) | CLI_BIT(CLI_BATCH) | CLI_BIT(CLI_WEIGHTS) |
               CLI_BIT(CLI_SEED) | CLI_BIT(CLI_IMAGE_SIZE) | CLI_BIT(CLI_HELP),
    .min_arguments = 1,
    .max_arguments = 1,
    .takes_model = true,
    .run = run,
};
