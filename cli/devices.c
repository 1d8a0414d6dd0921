/* tilewise devices: what this machine has, and why the rest is not here. */
#include "cli.h"
#include "session.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { MAX_INDEX = 64 };

static const tw_column columns[] = {
    {"device", "device", TW_COLUMN_TEXT},           {"name", "name", TW_COLUMN_TEXT},
    {"features", "features", TW_COLUMN_TEXT},       {"threads", "threads", TW_COLUMN_COUNT},
    {"memory_bytes", "memory", TW_COLUMN_BYTES},    {"precisions", "precisions", TW_COLUMN_TEXT},
    {"peak_gflops", "GFLOP/s", TW_COLUMN_NUMBER},   {"peak_gbps", "GB/s", TW_COLUMN_NUMBER},
    {"reason", "why it is absent", TW_COLUMN_TEXT},
};

static void list_precisions(tw_device *device, char *text, size_t size)
{
    text[0] = 0;
    for (int p = TW_PRECISION_FP32; p <= TW_PRECISION_BF16; p++) {
        if (tw_device_check_precision(device, (tw_precision)p, NULL) != TW_OK) continue;
        size_t used = strlen(text);
        snprintf(text + used, size - used, "%s%s", used ? " " : "", cli_precision_name(p));
    }
}

static void add_present(tw_results *results, tw_device *device)
{
    tw_device_info info;
    char precisions[32];
    tw_device_describe(device, &info);
    list_precisions(device, precisions, sizeof precisions);
    tw_results_device(results, &info);
    const tw_row_key key = {.device = info.id, .threads = info.threads};
    cJSON *row = tw_row_create(&key);
    cJSON_AddBoolToObject(row, "available", true);
    tw_row_text(row, "name", info.name);
    tw_row_text(row, "features", info.features);
    tw_row_number(row, "memory_bytes", (double)info.memory_bytes);
    tw_row_text(row, "precisions", precisions);
    tw_row_number(row, "peak_gflops", info.measured ? 1e-9 * info.peak_flops : NAN);
    tw_row_number(row, "peak_gbps", info.measured ? 1e-9 * info.peak_bytes : NAN);
    tw_row_text(row, "reason", NULL);
    tw_results_add(results, row);
}

static void add_absent(tw_results *results, const char *name, const tw_error *why)
{
    const tw_row_key key = {.device = name};
    cJSON *row = tw_row_create(&key);
    cJSON_AddBoolToObject(row, "available", false);
    static const char *const nothing[] = {"name", "features", "memory_bytes", "precisions", "peak_gflops", "peak_gbps"};
    for (size_t i = 0; i < sizeof nothing / sizeof *nothing; i++) cJSON_AddNullToObject(row, nothing[i]);
    tw_row_text(row, "reason", why->message);
    tw_results_add(results, row);
}

/* One device; *present tells whether it opened. */
static tw_status describe(const cli_options *options, tw_results *results, const char *name, tw_error *error)
{
    tw_device *device;
    tw_status status = cli_device_open(options, name, options->threads.items[0], &device, error);
    if (status != TW_OK) return status;
    if (cli_given(options, CLI_MEASURE)) status = tw_device_measure(device, error);
    if (status == TW_OK) add_present(results, device);
    tw_device_release(device);
    return status;
}

/* All devices of a kind: NAME, NAME:1, NAME:2, ... until one is not there. */
static int describe_kind(const cli_options *options, tw_results *results, const char *kind)
{
    tw_error error;
    tw_status status = describe(options, results, kind, &error);
    if (status == TW_UNAVAILABLE)
        add_absent(results, kind, &error);
    else if (status != TW_OK)
        return cli_fail(&error);
    for (int i = 1; status == TW_OK && i < MAX_INDEX; i++) {
        char name[32];
        snprintf(name, sizeof name, "%s:%d", kind, i);
        status = describe(options, results, name, &error);
        if (status == TW_OUT_OF_MEMORY || status == TW_FAILED) return cli_fail(&error);
    }
    return EXIT_DONE;
}

static int run(const cli_options *options)
{
    static const char *const kinds[] = {"cpu", "cuda", "metal", "metal-sim", "metal-cuda"};
    tw_results *results;
    tw_error error;
    if (cli_results_open(options, TW_COLUMNS(columns), &results, &error) != TW_OK) return cli_fail(&error);
    int code = EXIT_DONE;
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        code = cli_worse(code, describe_kind(options, results, kinds[i]));
    return cli_results_close(results, code);
}

const cli_command cli_devices = {
    .name = "devices",
    .summary = "list the devices, with measured peaks, and why others are absent",
    .usage = "[--measure]",
    .examples = "  tilewise devices\n"
                "  tilewise devices --measure -o json",
    .options =
        CLI_BIT(CLI_FAMILY) | CLI_BIT(CLI_MEASURE) | CLI_BIT(CLI_THREADS) | CLI_BIT(CLI_FORMAT) | CLI_BIT(CLI_HELP),
    .run = run,
};
