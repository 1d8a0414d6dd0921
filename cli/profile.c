/* tilewise profile: where a network's time goes. */
#include "bench/counters.h"
#include "cli.h"
#include "layers.h"
#include "session.h"

#include <math.h>

static const tw_column columns[] = {
    {"layer", "layer", TW_COLUMN_TEXT},
    {"op", "op", TW_COLUMN_TEXT},
    {"design", "design", TW_COLUMN_TEXT},
    {"min_ms", "min ms", TW_COLUMN_NUMBER},
    {"median_ms", "median ms", TW_COLUMN_NUMBER},
    {"share_pct", "% of time", TW_COLUMN_NUMBER},
    {"predicted_ms", "predicted ms", TW_COLUMN_NUMBER},
    {"tuned_ms", "tuned ms", TW_COLUMN_NUMBER},
    {"gflops", "GFLOP/s", TW_COLUMN_NUMBER},
    {"gbps", "GB/s", TW_COLUMN_NUMBER},
    {"roofline_pct", "% of roofline", TW_COLUMN_NUMBER},
};

static const tw_column counted_columns[] = {
    {"layer", "layer", TW_COLUMN_TEXT},
    {"design", "design", TW_COLUMN_TEXT},
    {"launches", "launches", TW_COLUMN_COUNT},
    {"device_read_bytes", "read", TW_COLUMN_BYTES},
    {"device_group_read_bytes", "once a group", TW_COLUMN_BYTES},
    {"device_unique_read_bytes", "once", TW_COLUMN_BYTES},
    {"device_written_bytes", "written", TW_COLUMN_BYTES},
    {"threadgroup_read_bytes", "group's read", TW_COLUMN_BYTES},
    {"threadgroup_written_bytes", "written", TW_COLUMN_BYTES},
    {"mflops", "MFLOP", TW_COLUMN_NUMBER},
    {"barriers", "barriers", TW_COLUMN_COUNT},
    {"simdgroup_operations", "simdgroup", TW_COLUMN_COUNT},
    {"threadgroup_memory_bytes", "group's memory", TW_COLUMN_BYTES},
    {"max_threadgroups_per_core", "a core", TW_COLUMN_COUNT},
};

/* A flat row of the table of counters. */
static cJSON *counted_row(const cJSON *row)
{
    cJSON *flat = cJSON_Duplicate(cJSON_GetObjectItemCaseSensitive(row, "counters"), true);
    const cJSON *flops = cJSON_GetObjectItemCaseSensitive(flat, "flops");
    tw_row_number(flat, "mflops", 1e-6 * cJSON_GetNumberValue(flops));
    tw_row_text(flat, "layer", cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(row, "layer")));
    tw_row_text(flat, "design", cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(row, "design")));
    return flat;
}

/* Runs once more and puts what was counted into the rows: one for each step, then one for all. */
static tw_status add_counters(tw_network *network, cJSON *rows, cJSON *counted, tw_error *error)
{
    tw_counts counts = {0};
    tw_status status = tw_run_count(network->run, &network->input, &network->output, &counts, error);
    cJSON *row;
    size_t step = 0;
    if (status == TW_OK) {
        cJSON_ArrayForEach(row, rows)
        {
            const bool whole = !row->next;
            cJSON_AddItemToObject(row, "counters", tw_counters_sum(&counts, whole ? TW_ALL_STEPS : step));
            if (!whole) cJSON_AddItemToObject(row, "kernels", tw_counters_launches(&counts, step++));
            cJSON_AddItemToArray(counted, counted_row(row));
        }
    }
    tw_counts_free(&counts);
    return status;
}

/* The whole run. Where the device has a clock of its own steps were timed one by one, each waited for: the run is then
 * measured again, as it is otherwise launched. */
static tw_status time_whole(tw_network *network, const tw_profile *profile, const tw_timing_desc *timing,
                            const tw_device_info *device, tw_bench_row *row, tw_error *error)
{
    tw_run_times times;
    tw_network_samples samples = {0};
    tw_status status = tw_run_measured(network->run, &times, error);
    if (status != TW_OK) return status;
    if (isnan(times.device)) {
        tw_bench_row_times(row, &profile->runs, device);
        return TW_OK;
    }
    status = tw_network_time(network, timing, &samples, error);
    if (status == TW_OK) tw_bench_row_network(row, &samples, device);
    tw_network_samples_free(&samples);
    return status;
}

/* Each step, then the whole run. */
static tw_status make_rows(tw_network *network, const tw_profile *profile, const tw_timing_desc *timing,
                           const tw_row_key *key, cJSON **rows, tw_error *error)
{
    tw_device_info device;
    tw_device_describe(network->device, &device);
    tw_bench_row whole;
    tw_bench_row_init(&whole);
    whole.key = *key;
    whole.init_ms = network->init_ms;
    tw_network_work(network, &whole.flops, &whole.bytes);
    tw_status status = time_whole(network, profile, timing, &device, &whole, error);
    if (status == TW_OK) status = cli_layer_rows(network, profile, key, rows, error);
    if (status == TW_OK) cJSON_AddItemToArray(*rows, tw_bench_row_json(&whole));
    return status;
}

typedef struct output {
    tw_results *results;
    cJSON *counted; /* rows of the table of counters */
} output;

static tw_status measure(const cli_options *options, tw_network *network, const char *model, output *out,
                         tw_error *error)
{
    tw_profile profile;
    tw_plan_info plan;
    tw_device_info device;
    cJSON *rows = NULL;
    tw_plan_describe(network->plan, &plan);
    tw_fill_random(&network->input, options->seed);
    cli_tell_launches(network->plan, model);
    tw_status status = tw_profile_measure(network, &options->timing, &profile, error);
    if (status != TW_OK) return status;
    tw_device_describe(network->device, &device);
    const tw_row_key key = cli_row_key(&device, model, plan.batch, plan.precision);
    status = make_rows(network, &profile, &options->timing, &key, &rows, error);
    if (status == TW_OK && tw_device_counts(network->device)) status = add_counters(network, rows, out->counted, error);
    if (status == TW_OK && options->trace) status = tw_trace_write(options->trace, network, &profile, error);
    if (status == TW_OK)
        tw_results_add_all(out->results, rows);
    else
        cJSON_Delete(rows);
    tw_profile_free(&profile);
    return status;
}

static tw_status fill(const cli_options *options, tw_device *device, output *out, tw_error *error)
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
    tw_results_device(out->results, &info);
    if (status == TW_OK) status = measure(options, &network, model.name, out, error);
    tw_network_close(&network);
    cli_model_close(&model);
    return status;
}

static int run(const cli_options *options)
{
    tw_error error;
    tw_device *device;
    if (cli_device_open(options, options->devices.items[0], options->threads.items[0], &device, &error) != TW_OK)
        return cli_fail(&error);
    output out = {.counted = cJSON_CreateArray()};
    int code = EXIT_DONE;
    if (cli_results_open(options, TW_COLUMNS(columns), &out.results, &error) != TW_OK) {
        code = cli_fail(&error);
    } else if (fill(options, device, &out, &error) != TW_OK) {
        code = cli_fail(&error);
        tw_results_destroy(out.results);
    } else {
        code = cli_results_close(out.results, EXIT_DONE);
        if (cli_is_text(options) && code == EXIT_DONE) {
            code = cli_print_table(options, "counted", TW_COLUMNS(counted_columns), out.counted);
            out.counted = NULL;
        }
    }
    cJSON_Delete(out.counted);
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
        "algorithm that computes less, and data that stays in a cache, may exceed 100. A GPU's layers are timed one\n"
        "by one, by its own clock, also those that otherwise run as one launch; its last row is measured apart.\n"
        "\n"
        "A device that can count (metal-sim) runs the network once more and adds what each layer's kernels moved and\n"
        "computed: bytes read from device memory each time, once a threadgroup and once a launch; bytes of\n"
        "threadgroup memory; operations as executed; how many threadgroups' memory a core holds at once. JSON has\n"
        "them all, as \"counters\", and each launch's in \"kernels\".",
    .examples = "  tilewise profile resnet50 --threads 2\n"
                "  tilewise profile lenet5 --device metal-sim --family apple6 -o json\n"
                "  tilewise profile mobilenet_v2 --iterations 100 --trace trace.json",
    .options = CLI_BIT(CLI_TRACE) | CLI_BIT(CLI_ITERATIONS) | CLI_BIT(CLI_WARM_UP) | CLI_BIT(CLI_DURATION) |
               CLI_BIT(CLI_DEVICE) | CLI_BIT(CLI_FAMILY) | CLI_BIT(CLI_DESIGN) | CLI_BIT(CLI_FALLBACK) |
               CLI_BIT(CLI_NO_TUNE) | CLI_BIT(CLI_PRECISION) | CLI_BIT(CLI_THREADS) | CLI_BIT(CLI_BATCH) |
               CLI_BIT(CLI_WEIGHTS) | CLI_BIT(CLI_SEED) | CLI_BIT(CLI_IMAGE_SIZE) | CLI_BIT(CLI_FORMAT) |
               CLI_BIT(CLI_HELP),
    .min_arguments = 1,
    .max_arguments = 1,
    .takes_model = true,
    .run = run,
};
