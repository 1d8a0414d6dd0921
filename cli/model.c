#include "model.h"
#include "cli.h"
#include "core/status.h"
#include "data.h"
#include "suggest.h"

#include <string.h>
#include <strings.h>
#include <unistd.h>

enum { MAX_ZOO = 128 };

bool cli_has_ending(const char *path, const char *ending)
{
    size_t length = strlen(path), wanted = strlen(ending);
    return length > wanted && strcasecmp(path + length - wanted, ending) == 0;
}

/* ---- graphs ---- */

static bool is_file(const char *name)
{
    return cli_has_ending(name, ".onnx");
}

static tw_status read_file(const cli_options *options, const char *path, tw_graph **graph, tw_error *error)
{
    if (options->weights)
        return tw_fail(error, TW_INVALID, "--weights: %s has weights of its own; others go with a zoo name", path);
    if (options->image_size) return tw_fail(error, TW_INVALID, "--image-size: that of %s is part of the file", path);
    return tw_onnx_read(path, NULL, graph, error);
}

/* Names that the zoo does not list may still be known to it: squeezenet is squeezenet1_1. */
static tw_status create_graph(const char *name, const tw_zoo_desc *desc, tw_graph **graph, tw_error *error)
{
    const char *names[MAX_ZOO];
    size_t count = tw_zoo_count() < MAX_ZOO ? tw_zoo_count() : MAX_ZOO;
    tw_preprocess known;
    if (tw_zoo_preprocess(name, NULL, &known, NULL) == TW_OK) return tw_zoo_create(name, desc, graph, error);
    if (strpbrk(name, "./"))
        return tw_fail(error, TW_INVALID, "%s: a model's file ends in .onnx, and no network of the zoo has that name",
                       name);
    for (size_t i = 0; i < count; i++) names[i] = tw_zoo_name(i);
    tw_error unknown;
    cli_unknown("network", name, (cli_names){names, count}, &unknown);
    return tw_fail(error, TW_INVALID, "%s (a file of yours ends in .onnx)", unknown.message);
}

/* ---- weights ---- */

/* The data folder's file for a network. */
static tw_status find_weights(const char *name, char path[CLI_PATH_SIZE], tw_error *error)
{
    if (cli_data_path(name, ".safetensors", path) && access(path, R_OK) == 0) return TW_OK;
    if (cli_data_path(name, ".pth", path) && access(path, R_OK) == 0) return TW_OK;
    return tw_fail(
        error, TW_INVALID,
        "%s: needs real weights: there is no %s (nor .safetensors); give --weights FILE, or 'make demo' gets "
        "those of efficientnet_lite0",
        name, cli_data_path(name, ".pth", path) ? path : "data folder");
}

static tw_status bind_file(tw_graph *graph, const char *path, tw_error *error)
{
    tw_weights *weights;
    tw_status status = tw_weights_open(path, &weights, error);
    if (status != TW_OK) return status;
    status = tw_graph_bind(graph, weights, error);
    if (status != TW_OK && !strstr(error->message, path)) tw_error_prefix(error, "%s", path);
    tw_weights_release(weights);
    return status;
}

static tw_status give_weights(const cli_options *options, cli_weights weights, cli_model *model, tw_error *error)
{
    char path[CLI_PATH_SIZE];
    if (options->weights) return bind_file(model->graph, options->weights, error);
    model->random = weights == CLI_RANDOM_WEIGHTS || (weights == CLI_KEPT_WEIGHTS && cli_given(options, CLI_SEED));
    if (!model->random) {
        tw_status status = find_weights(model->name, path, error);
        return status == TW_OK ? bind_file(model->graph, path, error) : status;
    }
    const tw_init_desc init = {.scheme = TW_INIT_KAIMING, .seed = options->seed, .random_statistics = true};
    return tw_graph_init(model->graph, &init, error);
}

/* ---- photographs ---- */

/* The input of a network that takes photographs. */
static tw_status input_shape(const cli_model *model, tw_shape *shape, tw_error *error)
{
    tw_graph_info info;
    tw_graph_describe(model->graph, &info);
    if (info.inputs != 1)
        return tw_fail(error, TW_INVALID, "%s: %zu inputs, of which a photograph could be one", model->name,
                       info.inputs);
    tw_status status = tw_graph_shape(model->graph, tw_graph_input_at(model->graph, 0), shape, error);
    if (status != TW_OK) return status;
    if (shape->rank != 4 || (shape->dims[1] != 1 && shape->dims[1] != 3))
        return tw_fail(error, TW_INVALID, "%s: its input is no photograph: expected 1 or 3 channels", model->name);
    if (shape->dims[2] != shape->dims[3] || shape->dims[2] > 65535)
        return tw_fail(error, TW_INVALID, "%s: takes images of %lldx%lld, but photographs are cut to squares",
                       model->name, (long long)shape->dims[3], (long long)shape->dims[2]);
    return TW_OK;
}

/* What most networks trained on ImageNet, and most trained on grey digits, expect. */
static void guess_preprocess(int channels, int size, tw_preprocess *how)
{
    static const tw_preprocess colour = {.mean = {0.485f, 0.456f, 0.406f}, .std = {0.229f, 0.224f, 0.225f}},
                               grey = {.std = {1, 1, 1}};
    *how = channels == 3 ? colour : grey;
    how->channels = channels;
    how->crop = size;
    how->resize = channels == 3 ? (2 * 256 * size + 224) / (2 * 224) : size; /* rounded */
}

/* A network of the zoo that was written to a file still has its name. */
static bool ask_zoo(const cli_model *model, const tw_shape *shape, tw_preprocess *how)
{
    const tw_zoo_desc desc = {.image_size = (int)shape->dims[2]};
    return tw_zoo_preprocess(tw_graph_name(model->graph), &desc, how, NULL) == TW_OK && how->channels == shape->dims[1];
}

static tw_status apply_options(const cli_options *options, int size, cli_model *model, tw_error *error)
{
    const tw_preprocess *given = &options->preprocess;
    tw_preprocess *how = &model->preprocess;
    if (cli_given(options, CLI_RESIZE)) how->resize = given->resize;
    if (cli_given(options, CLI_INTERPOLATION)) how->interpolation = given->interpolation;
    if (cli_given(options, CLI_MEAN)) memcpy(how->mean, given->mean, sizeof how->mean);
    if (cli_given(options, CLI_STD)) memcpy(how->std, given->std, sizeof how->std);
    if (!cli_given(options, CLI_CROP)) return TW_OK;
    if (given->crop > size || (size - given->crop) % 2)
        return tw_fail(error, TW_INVALID, "--crop: %d pixels cannot lie in the middle of %s's %d", given->crop,
                       model->name, size);
    how->crop = given->crop;
    how->pad = (size - given->crop) / 2;
    return TW_OK;
}

static tw_status choose_preprocess(const cli_options *options, cli_model *model, tw_error *error)
{
    tw_shape shape = {0};
    tw_status status = input_shape(model, &shape, error);
    if (status != TW_OK) return status;
    int size = (int)shape.dims[2];
    if (!ask_zoo(model, &shape, &model->preprocess)) guess_preprocess((int)shape.dims[1], size, &model->preprocess);
    return apply_options(options, size, model, error);
}

static tw_status count_classes(cli_model *model, tw_error *error)
{
    tw_shape shape;
    tw_status status = tw_graph_shape(model->graph, tw_graph_output_at(model->graph, 0), &shape, error);
    if (status != TW_OK) return status;
    model->classes = 1;
    for (int i = 1; i < shape.rank; i++) model->classes *= (size_t)shape.dims[i];
    return TW_OK;
}

/* ---- the model ---- */

tw_status cli_seed_check(const cli_options *options, const char *name, tw_error *error)
{
    if (!is_file(name) || !cli_given(options, CLI_SEED)) return TW_OK;
    return tw_fail(error, TW_INVALID, "--seed: %s has weights of its own; random ones are for a zoo name", name);
}

tw_status cli_model_open(const cli_options *options, const char *name, cli_weights weights, cli_model *model,
                         tw_error *error)
{
    *model = (cli_model){.name = name};
    const tw_zoo_desc desc = {.image_size = options->image_size};
    bool file = is_file(name), photographs = weights == CLI_REAL_WEIGHTS || options->image;
    tw_status status =
        file ? read_file(options, name, &model->graph, error) : create_graph(name, &desc, &model->graph, error);
    if (status == TW_OK) status = tw_graph_check(model->graph, error);
    if (status == TW_OK && photographs) status = choose_preprocess(options, model, error);
    if (status == TW_OK) status = count_classes(model, error);
    if (status == TW_OK && !file) status = give_weights(options, weights, model, error);
    if (status != TW_OK) cli_model_close(model);
    return status;
}

void cli_model_close(cli_model *model)
{
    if (model->graph) tw_graph_release(model->graph);
    *model = (cli_model){0};
}
