/* tilewise tune: measures the designs of every layer of a network and keeps what it found. */
#include "bench/tune.h"
#include "cli.h"
#include "core/status.h"
#include "formats/file.h"
#include "formats/tuning.h"
#include "progress.h"
#include "session.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const tw_column columns[] = {
    {"layer", "layer", TW_COLUMN_TEXT},
    {"op", "op", TW_COLUMN_TEXT},
    {"predicted_design", "by prediction", TW_COLUMN_TEXT},
    {"before_ms", "ms", TW_COLUMN_NUMBER},
    {"design", "by measurement", TW_COLUMN_TEXT},
    {"layouts", "layouts", TW_COLUMN_TEXT},
    {"after_ms", "ms", TW_COLUMN_NUMBER},
    {"gain_pct", "% gained", TW_COLUMN_NUMBER},
};

static double gain(double before, double after)
{
    return 100 * (before - after) / before;
}

static void add_times(cJSON *row, double before, double after)
{
    tw_row_number(row, "before_ms", 1e3 * before);
    tw_row_number(row, "after_ms", 1e3 * after);
    tw_row_number(row, "gain_pct", gain(before, after));
}

static void add_layouts(cJSON *row, const char *key, tw_type in, tw_type out)
{
    char text[40];
    snprintf(text, sizeof text, "%s -> %s", tw_layout_name(in.layout), tw_layout_name(out.layout));
    tw_row_text(row, key, text);
}

static void add_layer(tw_results *results, const tw_row_key *key, const tw_tuned_layer *layer)
{
    cJSON *row = tw_row_create(key);
    tw_row_text(row, "layer", layer->name);
    tw_row_text(row, "op", layer->op);
    tw_row_text(row, "problem", layer->problem);
    tw_row_text(row, "predicted_design", layer->design_before);
    add_layouts(row, "predicted_layouts", layer->in_before, layer->out_before);
    tw_row_text(row, "design", layer->design);
    add_layouts(row, "layouts", layer->in, layer->out);
    add_times(row, layer->before, layer->after);
    tw_results_add(results, row);
}

static void add_whole(tw_results *results, const tw_row_key *key, const tw_tune_result *result)
{
    static const char *const nothing[] = {"layer",  "op",     "problem", "predicted_design", "predicted_layouts",
                                          "design", "layouts"};
    cJSON *row = tw_row_create(key);
    for (size_t i = 0; i < sizeof nothing / sizeof *nothing; i++) tw_row_text(row, nothing[i], NULL);
    add_times(row, result->before, result->after);
    tw_results_add(results, row);
}

static void tell(const tw_tune_result *result, const char *model, const char *path)
{
    cli_note("%s: %zu problems, %zu measurements in %d trials", model, result->problems, result->measurements,
             result->trials);
    if (result->without_memory)
        cli_note("%s: there was no memory for %d of the trials, whose designs are left out", model,
                 result->without_memory);
    if (result->kept == TW_TUNE_PREDICTED)
        cli_note("%s: no plan by measurement was faster as a whole than the predicted one, %.4g ms, which stays", model,
                 1e3 * result->before);
    else if (result->same)
        cli_note("%s: the predicted plan, %.4g ms, is also the best by measurement", model, 1e3 * result->before);
    else
        cli_note("%s: %.4g ms, was %.4g ms: %.1f %% gained%s", model, 1e3 * result->after, 1e3 * result->before,
                 gain(result->before, result->after),
                 result->kept == TW_TUNE_LAYOUTS ? ", in the predicted plan's layouts" : "");
    cli_note("wrote %s", path);
}

static bool is_of_others(const tw_measurement *item, const void *context)
{
    const tw_tune_result *result = context;
    for (size_t i = 0; i < result->n_layers; i++)
        if (strcmp(item->problem, result->layers[i].problem) == 0) return false;
    return true;
}

/* What is in the cache stays, but for the problems that were measured now. */
static tw_status merge(const char *path, const tw_tune_desc *desc, const tw_tuning *measured,
                       const tw_tune_result *result, tw_error *error)
{
    tw_tuning *cache = NULL;
    tw_status status = tw_tuning_open(NULL, desc->device, desc->precision, &cache, error);
    if (status == TW_INVALID) {
        cli_note("%s; it is written anew", error->message);
        cache = tw_tuning_create();
        status = cache ? TW_OK : tw_no_memory(error, sizeof *measured, "a tuning");
    }
    if (status == TW_OK) {
        tw_tuning_filter(cache, is_of_others, result);
        status = tw_tuning_merge(cache, measured, error);
    }
    if (status == TW_OK) status = tw_tuning_write(path, cache, desc->device, desc->precision, error);
    tw_tuning_release(cache);
    return status;
}

/* Another tune that ends at the same time waits, so that neither writes over what the other found. */
static tw_status keep(const char *path, const tw_tune_desc *desc, const tw_tuning *measured,
                      const tw_tune_result *result, tw_error *error)
{
    const int lock = tw_file_lock_folder(path);
    tw_status status = merge(path, desc, measured, result, error);
    if (lock >= 0) close(lock);
    return status;
}

static void add_rows(tw_results *results, const cli_model *model, const tw_tune_desc *desc,
                     const tw_tune_result *result)
{
    tw_device_info info;
    tw_device_describe(desc->device, &info);
    const tw_row_key key = cli_row_key(&info, model->name, desc->batch, (int)desc->precision);
    tw_results_device(results, &info);
    for (size_t i = 0; i < result->n_layers; i++) add_layer(results, &key, &result->layers[i]);
    add_whole(results, &key, result);
}

/* Measures, keeps, and fills the results. */
static tw_status tune(const cli_options *options, const cli_model *model, tw_device *device, tw_results *results,
                      tw_error *error)
{
    const tw_tune_desc desc = {.graph = model->graph,
                               .device = device,
                               .batch = options->batches.items[0],
                               .precision = (tw_precision)options->precisions.items[0],
                               .iterations = options->timing.iterations,
                               .timing = options->timing,
                               .seed = options->seed,
                               .progress = cli_progress};
    char *path = NULL;
    tw_tune_result result = {0};
    tw_tuning *measured = tw_tuning_create();
    tw_status status = measured ? TW_OK : tw_no_memory(error, sizeof desc, "a tuning");
    if (status == TW_OK) status = tw_tune_check(device, error);
    if (status == TW_OK) status = tw_device_check_precision(device, desc.precision, error);
    if (status == TW_OK) status = tw_tuning_path(NULL, device, desc.precision, &path, error);
    if (status == TW_OK) status = tw_tuning_check(path, error);
    if (status == TW_OK) {
        status = tw_tune(&desc, measured, &result, error);
        cli_progress_end();
    }
    if (status == TW_OK) status = keep(path, &desc, measured, &result, error);
    if (status == TW_OK) {
        add_rows(results, model, &desc, &result);
        tell(&result, model->name, path);
    }
    tw_tune_result_free(&result);
    tw_tuning_release(measured);
    free(path);
    return status;
}

static int run(const cli_options *options)
{
    tw_error error;
    tw_device *device;
    cli_model model;
    tw_results *results = NULL;
    if (cli_device_open(options, options->devices.items[0], options->threads.items[0], &device, &error) != TW_OK)
        return cli_fail(&error);
    tw_status status = cli_model_open(options, options->arguments[0], CLI_RANDOM_WEIGHTS, &model, &error);
    if (status == TW_OK) status = cli_results_open(options, TW_COLUMNS(columns), &results, &error);
    if (status == TW_OK) status = tune(options, &model, device, results, &error);
    int code = EXIT_DONE;
    if (status == TW_OK) {
        code = cli_results_close(results, EXIT_DONE);
    } else {
        code = cli_fail(&error);
        tw_results_destroy(results);
    }
    cli_model_close(&model);
    tw_device_release(device);
    return code;
}

const cli_command cli_tune = {
    .name = "tune",
    .summary = "measure the designs of a network's layers; from then on plans choose by that",
    .usage = "MODEL [OPTION...]",
    .text =
        "Each design and layout that a layer may have, unless it is predicted to take 8 times as long as the best, is\n"
        "timed where it stands in the network, so that weights are as cold as they will be. What is measured is kept in\n"
        "$XDG_CACHE_HOME/tilewise (else ~/.cache/tilewise), for this device, driver, number of threads, precision and\n"
        "version; layers are known by their problem, batch included, whatever network they are in. Other commands choose\n"
        "by it unless --no-tune or --design says otherwise. It is kept as far as it makes the whole network faster.\n"
        "\n"
        "A layer's times are medians, GPU layers one by one; the last row is the whole network as it runs, with reorders.\n"
        "--iterations is of each trial too (default 9); --duration and --warmUp are of the whole network.",
    .examples = "  tilewise tune resnet50\n"
                "  tilewise tune mobilenet_v2 --threads 1 --batch 8\n"
                "  tilewise tune resnet18 --device cuda --precision fp16 -o json",
    .options = CLI_BIT(CLI_ITERATIONS) | CLI_BIT(CLI_WARM_UP) | CLI_BIT(CLI_DURATION) | CLI_BIT(CLI_DEVICE) |
               CLI_BIT(CLI_FAMILY) | CLI_BIT(CLI_PRECISION) | CLI_BIT(CLI_THREADS) | CLI_BIT(CLI_BATCH) |
               CLI_BIT(CLI_WEIGHTS) | CLI_BIT(CLI_SEED) | CLI_BIT(CLI_IMAGE_SIZE) | CLI_BIT(CLI_FORMAT) |
               CLI_BIT(CLI_HELP),
    .min_arguments = 1,
    .max_arguments = 1,
    .takes_model = true,
    .run = run,
};
