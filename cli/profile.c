/* tilewise profile: where a network's time goes. */
#include "cli.h"
#include "layers.h"
#include "session.h"

static const tw_column columns[] = {
    {"layer", "layer", TW_COLUMN_TEXT},
    {"op", "op", TW_COLUMN_TEXT},
    {"design", "design", TW_COLUMN_TEXT},
    {"min_ms", "min ms", TW_COLUMN_NUMBER},
    {"median_ms", "median ms", TW_COLUMN_NUMBER},
    {"share_pct", "% of time", TW_COLUMN_NUMBER},
    {"predicted_ms", "predicted ms", TW_COLUMN_NUMBER},
    {"gflops", "GFLOP/s", TW_COLUMN_NUMBER},
    {"gbps", "GB/s", TW_COLUMN_NUMBER},
    {"roofline_pct", "% of roofline", TW_COLUMN_NUMBER},
};

/* Each step, then the whole run. */
static tw_status add_rows(tw_results *results, const tw_network *network, const tw_profile *profile,
                          const tw_row_key *key, tw_error *error)
{
    tw_device_info device;
    tw_device_describe(network->device, &device);
    tw_bench_row whole;
    tw_bench_row_init(&whole);
    whole.key = *key;
    whole.init_ms = network->init_ms;
    tw_network_work(network, &whole.flops, &whole.bytes);
    tw_bench_row_times(&whole, &profile->runs, &device);
    cJSON *rows;
    tw_status status = cli_layer_rows(network, profile, key, &rows, error);
    if (status != TW_OK) return status;
    tw_results_add_all(results, rows);
    tw_results_add(results, tw_bench_row_json(&whole));
    return TW_OK;
}

static tw_status measure(const cli_options *options, tw_network *network, const char *model, tw_results *results,
                         tw_error *error)
{
    tw_profile profile;
    tw_plan_info plan;
    tw_device_info device;
    tw_plan_describe(network->plan, &plan);
    tw_fill_random(&network->input, options->seed);
    cli_tell_launches(network->plan, model);
    tw_status status = tw_profile_measure(network, &options->timing, &profile, error);
    if (status != TW_OK) return status;
    tw_device_describe(network->device, &device);
    const tw_row_key key = cli_row_key(&device, model, plan.batch, plan.precision);
    status = add_rows(results, network, &profile, &key, error);
    if (status == TW_OK && options->trace) status = tw_trace_write(options->trace, network, &profile, error);
    tw_profile_free(&profile);
    return status;
}

static tw_status fill(const cli_options *options, tw_device *device, tw_results *results, tw_error *error)
{
    cli_model model;
    tw_network network = {0};
    tw_device_info info;
    const cli_setting setting = {device, options->precisions.items[0], options->batches.items[0],
                                 options->designs.items[0]};
    tw_status status = cli_model_open(options, options->arguments[0], CLI_RANDOM_WEIGHTS, &model, error);
    if (status == TW_OK) status = cli_network_open(options, &model, &setting, &network, error);
    if (status == TW_OK) status = tw_device_measure(device, error);
    tw_device_describe(device, &info);
    tw_results_device(results, &info);
    if (status == TW_OK) status = measure(options, &network, model.name, results, error);
    tw_network_close(&network);
    cli_model_close(&model);
    return status;
}

static int run(const cli_options *options)
{
    tw_error error;
    tw_device *device;
    tw_results *results;
    if (cli_device_open(options, options->devices.items[0], options->threads.items[0], &device, &error) != TW_OK)
        return cli_fail(&error);
    int code = EXIT_DONE;
    if (cli_results_open(options, TW_COLUMNS(columns), &results, &error) != TW_OK) {
        code = cli_fail(&error);
    } else if (fill(options, device, results, &error) != TW_OK) {
        code = cli_fail(&error);
        tw_results_destroy(results);
    } else {
        code = cli_results_close(results, EXIT_DONE);
    }
    tw_device_release(device);
    return code;
}

const cli_command cli_profile = {
    .name = "profile",
    .summary = "time each layer of a network, against the device's roofline",
    .usage = "MODEL [OPTION...]",
    .text =
        "The last row, without a layer, is the whole run. % of roofline is the least time that the layer's FLOPs\n"
        "(direct algorithm) and bytes (each tensor once) allow at the measured peaks, over the median time: an\n"
        "algorithm that computes less, and data that stays in a cache, may exceed 100. Layers that otherwise run as\n"
        "one launch are timed one by one here.",
    .examples = "  tilewise profile resnet50 --threads 2\n"
                "  tilewise profile mobilenet_v2 --iterations 100 --trace trace.json",
    .options = CLI_BIT(CLI_TRACE) | CLI_BIT(CLI_ITERATIONS) | CLI_BIT(CLI_WARM_UP) | CLI_BIT(CLI_DURATION) |
               CLI_BIT(CLI_DEVICE) | CLI_BIT(CLI_FAMILY) | CLI_BIT(CLI_DESIGN) | CLI_BIT(CLI_FALLBACK) |
               CLI_BIT(CLI_PRECISION) | CLI_BIT(CLI_THREADS) | CLI_BIT(CLI_BATCH) | CLI_BIT(CLI_WEIGHTS) |
               CLI_BIT(CLI_SEED) | CLI_BIT(CLI_IMAGE_SIZE) | CLI_BIT(CLI_FORMAT) | CLI_BIT(CLI_HELP),
    .min_arguments = 1,
    .max_arguments = 1,
    .takes_model = true,
    .run = run,
};
