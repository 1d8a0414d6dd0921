#include "model.h"
#include "core/status.h"
#include "data.h"
#include "suggest.h"

#include <string.h>
#include <unistd.h>

enum { MAX_ZOO = 128 };

/* Names that the zoo does not list may still be known to it: squeezenet is squeezenet1_1. */
static tw_status create_graph(const char *name, const tw_zoo_desc *desc, tw_graph **graph, tw_error *error)
{
    const char *names[MAX_ZOO];
    size_t count = tw_zoo_count() < MAX_ZOO ? tw_zoo_count() : MAX_ZOO, length = strlen(name);
    if (length > 5 && strcmp(name + length - 5, ".onnx") == 0)
        return tw_fail(error, TW_INVALID, "%s: ONNX models are not read by this version", name);
    tw_preprocess known;
    if (tw_zoo_preprocess(name, NULL, &known, NULL) == TW_OK) return tw_zoo_create(name, desc, graph, error);
    for (size_t i = 0; i < count; i++) names[i] = tw_zoo_name(i);
    return cli_unknown("network", name, (cli_names){names, count}, error);
}

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
    if (weights == CLI_REAL_WEIGHTS) {
        tw_status status = find_weights(model->name, path, error);
        return status == TW_OK ? bind_file(model->graph, path, error) : status;
    }
    model->random = true;
    const tw_init_desc init = {.scheme = TW_INIT_KAIMING, .seed = options->seed, .random_statistics = true};
    return tw_graph_init(model->graph, &init, error);
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

tw_status cli_model_open(const cli_options *options, const char *name, cli_weights weights, cli_model *model,
                         tw_error *error)
{
    *model = (cli_model){.name = name};
    const tw_zoo_desc desc = {.image_size = options->image_size};
    tw_status status = create_graph(name, &desc, &model->graph, error);
    if (status == TW_OK) status = tw_graph_check(model->graph, error);
    if (status == TW_OK) status = tw_zoo_preprocess(name, &desc, &model->preprocess, error);
    if (status == TW_OK) status = count_classes(model, error);
    if (status == TW_OK) status = give_weights(options, weights, model, error);
    if (status != TW_OK) cli_model_close(model);
    return status;
}

void cli_model_close(cli_model *model)
{
    if (model->graph) tw_graph_release(model->graph);
    *model = (cli_model){0};
}
