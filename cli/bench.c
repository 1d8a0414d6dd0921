/* tilewise bench: times networks or single layers, over all combinations of the lists that the options give. */
#include "bench.h"
#include "cli.h"
#include "core/status.h"
#include "progress.h"
#include "session.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- columns ---- */

enum { MAX_COLUMNS = CLI_MAX_LIST + 32 };

typedef struct column_list {
    tw_column items[MAX_COLUMNS];
    size_t count;
    char keys[CLI_MAX_LIST][24], headings[CLI_MAX_LIST][24]; /* of --percentile */
} column_list;

static void add_column(column_list *list, bool wanted, tw_column column)
{
    if (wanted) list->items[list->count++] = column;
}

static void percentile_key(double p, char key[24])
{
    snprintf(key, 24, "p%g_ms", p);
}

static void add_percentiles(column_list *list, const cli_options *options)
{
    for (int i = 0; i < options->percentiles.count; i++) {
        percentile_key(options->percentiles.items[i], list->keys[i]);
        snprintf(list->headings[i], sizeof list->headings[i], "p%g", options->percentiles.items[i]);
        add_column(list, true, (tw_column){list->keys[i], list->headings[i], TW_COLUMN_NUMBER});
    }
}

/* What is the same in all rows is left out of tables. */
static void choose_columns(const cli_options *options, bool layers, column_list *list)
{
    bool profile = cli_given(options, CLI_DUMP_PROFILE);
    list->count = 0;
    add_column(list, options->devices.count > 1, (tw_column){"device", "device", TW_COLUMN_TEXT});
    add_column(list, !layers, (tw_column){"model", "model", TW_COLUMN_TEXT});
    add_column(list, !layers || options->batches.count > 1, (tw_column){"batch", "batch", TW_COLUMN_COUNT});
    add_column(list, !layers || options->precisions.count > 1, (tw_column){"precision", "precision", TW_COLUMN_TEXT});
    add_column(list, !layers || options->threads.count > 1, (tw_column){"threads", "threads", TW_COLUMN_COUNT});
    add_column(list, layers || profile, (tw_column){"layer", "layer", TW_COLUMN_TEXT});
    add_column(list, profile, (tw_column){"op", "op", TW_COLUMN_TEXT});
    add_column(list, true, (tw_column){"design", "design", TW_COLUMN_TEXT});
    add_column(list, true, (tw_column){"status", "status", TW_COLUMN_TEXT});
    add_column(list, true, (tw_column){"samples", "runs", TW_COLUMN_COUNT});
    add_column(list, true, (tw_column){"min_ms", "min ms", TW_COLUMN_NUMBER});
    add_column(list, true, (tw_column){"median_ms", "median ms", TW_COLUMN_NUMBER});
    add_column(list, true, (tw_column){"p99_ms", "p99", TW_COLUMN_NUMBER});
    add_percentiles(list, options);
    add_column(list, true, (tw_column){"cv", "cv", TW_COLUMN_NUMBER});
    add_column(list, !layers, (tw_column){"init_ms", "init ms", TW_COLUMN_NUMBER});
    add_column(list, options->image, (tw_column){"preprocess_ms", "preprocess ms", TW_COLUMN_NUMBER});
    add_column(list, true, (tw_column){"gflops", "GFLOP/s", TW_COLUMN_NUMBER});
    add_column(list, layers, (tw_column){"gbps", "GB/s", TW_COLUMN_NUMBER});
    add_column(list, true, (tw_column){"roofline_pct", "% of roofline", TW_COLUMN_NUMBER});
    add_column(list, layers, (tw_column){"max_rel_err", "error", TW_COLUMN_ERROR});
    add_column(list, true, (tw_column){"reason", "reason", TW_COLUMN_TEXT});
}

/* ---- what both kinds use ---- */

cJSON *bench_row_json(const bench *b, const tw_bench_row *row, const tw_samples *samples)
{
    cJSON *json = tw_bench_row_json(row);
    for (int i = 0; i < b->options->percentiles.count; i++) {
        char key[24];
        double p = b->options->percentiles.items[i];
        percentile_key(p, key);
        if (!cJSON_HasObjectItem(json, key)) tw_row_number(json, key, 1e3 * tw_samples_percentile(samples, p));
    }
    return json;
}

tw_status bench_measure(bench_place *place, tw_error *error)
{
    if (place->info.measured) return TW_OK;
    tw_status status = tw_device_measure(place->device, error);
    tw_device_describe(place->device, &place->info);
    return status;
}

void bench_refuse(bench *b, tw_bench_row *row, tw_status status, const char *reason)
{
    const tw_samples none = {0};
    row->status = status == TW_UNAVAILABLE ? "not_supported" : "failed";
    row->reason = reason;
    tw_results_add(b->results, bench_row_json(b, row, &none));
}

void bench_step(bench *b, const char *what)
{
    cli_progress(b->done++, b->total, what);
}

/* ---- places ---- */

/* One that is not here is a place without a device, unless it is the only one. */
static tw_status open_place(bench *b, const char *name, int threads, tw_error *error)
{
    bench_place *place = &b->places[b->place_count];
    *place = (bench_place){0};
    tw_status status = cli_device_open(b->options, name, threads, &place->device, error);
    if (status == TW_OK) {
        b->place_count++;
        tw_device_describe(place->device, &place->info);
        return TW_OK;
    }
    bool only = b->options->devices.count * b->options->threads.count == 1;
    if (status != TW_UNAVAILABLE || only) return status;
    place->error = *error;
    snprintf(place->info.id, sizeof place->info.id, "%s", name);
    place->info.threads = threads;
    b->place_count++;
    b->code = cli_worse(b->code, cli_fail(error));
    return TW_OK;
}

static tw_status open_places(bench *b, tw_error *error)
{
    const cli_options *options = b->options;
    b->places = calloc((size_t)options->devices.count * (size_t)options->threads.count, sizeof *b->places);
    if (!b->places) return tw_no_memory(error, sizeof *b->places, "devices");
    tw_status status = TW_OK;
    for (int d = 0; d < options->devices.count; d++)
        for (int t = 0; t < options->threads.count && status == TW_OK; t++)
            status = open_place(b, options->devices.items[d], options->threads.items[t], error);
    return status;
}

static void close_places(bench *b)
{
    for (int i = 0; i < b->place_count; i++) {
        if (!b->places[i].device) continue;
        tw_results_device(b->results, &b->places[i].info);
        tw_device_release(b->places[i].device);
    }
    free(b->places);
}

/* ---- the command ---- */

static bool check_subject(const cli_options *options)
{
    int subjects = (options->argument_count > 0) + (options->layer != NULL) + (options->shapes != NULL);
    const char *wrong = NULL;
    if (subjects != 1)
        wrong = "expected one of MODEL..., --layer OP:DESC, --shapes [OP:]FILE";
    else if (options->argument_count == 0 && options->image)
        wrong = "--image is for networks";
    else if (options->argument_count == 0 && cli_given(options, CLI_DUMP_PROFILE))
        wrong = "--dumpProfile is for networks";
    else if (options->argument_count == 0 && options->weights)
        wrong = "--weights is for networks";
    else if (options->argument_count == 0 && cli_given(options, CLI_IMAGE_SIZE))
        wrong = "--image-size is for networks";
    else if (options->argument_count > 1 && options->weights)
        wrong = "--weights is for one network";
    if (wrong) cli_note("bench: %s", wrong);
    return !wrong;
}

static int measure(bench *b, bool layers)
{
    tw_error error;
    tw_status status = open_places(b, &error);
    if (status == TW_OK) status = layers ? bench_layers(b, &error) : bench_networks(b, &error);
    cli_progress_end();
    close_places(b);
    if (status != TW_OK) b->code = cli_worse(b->code, cli_fail(&error));
    if (status != TW_INVALID) return cli_results_close(b->results, b->code); /* what was measured is not lost */
    tw_results_destroy(b->results);
    return b->code;
}

static int run(const cli_options *options)
{
    if (!check_subject(options)) return EXIT_BAD_INPUT;
    tw_error error;
    bench b = {.options = options};
    bool layers = options->argument_count == 0;
    column_list columns;
    char *winners = NULL;
    size_t size;
    choose_columns(options, layers, &columns);
    if (cli_results_open(options, (tw_columns){columns.items, columns.count}, &b.results, &error) != TW_OK)
        return cli_fail(&error);
    b.winners = open_memstream(&winners, &size);
    if (!b.winners) {
        tw_results_destroy(b.results);
        return cli_fail(&(tw_error){TW_OUT_OF_MEMORY, "out of memory"});
    }
    int code = measure(&b, layers);
    if (fclose(b.winners) == 0) fputs(winners, stderr);
    free(winners);
    return code;
}

const cli_command cli_bench = {
    .name = "bench",
    .summary = "time networks end to end, or the designs of a layer against each other",
    .usage = "MODEL...|--layer OP:DESC|--shapes [OP:]FILE [OPTION...]",
    .text =
        "Lists are swept in all combinations. A layer's designs are first checked against the reference: a wrong one\n"
        "is not timed, and the exit status is 1. Problems are benchdnn's descriptors after the operator's name; a\n"
        "shape file holds one or more a line. --design all runs every design and names the fastest.",
    .examples = "  tilewise bench resnet18 --threads 1,2 --batch 1,8\n"
                "  tilewise bench vgg16 --design auto,im2col_gemm,conv2d=winograd --fallback auto -o md\n"
                "  tilewise bench --layer conv2d:mb1ic64ih56oc64oh56kh3ph1 --design all\n"
                "  tilewise bench --shapes shapes_resnet_50 --batch 1 --design all -o jsonl",
    .options = CLI_BIT(CLI_LAYER) | CLI_BIT(CLI_SHAPES) | CLI_BIT(CLI_ITERATIONS) | CLI_BIT(CLI_WARM_UP) |
               CLI_BIT(CLI_DURATION) | CLI_BIT(CLI_PERCENTILE) | CLI_BIT(CLI_DUMP_PROFILE) | CLI_BIT(CLI_IMAGE) |
               CLI_BIT(CLI_DEVICE) | CLI_BIT(CLI_FAMILY) | CLI_BIT(CLI_DESIGN) | CLI_BIT(CLI_FALLBACK) |
               CLI_BIT(CLI_NO_TUNE) | CLI_BIT(CLI_PRECISION) | CLI_BIT(CLI_THREADS) | CLI_BIT(CLI_BATCH) |
               CLI_BIT(CLI_WEIGHTS) | CLI_BIT(CLI_SEED) | CLI_BIT(CLI_IMAGE_SIZE) | CLI_BIT(CLI_FORMAT) |
               CLI_BIT(CLI_HELP),
    .lists =
        CLI_BIT(CLI_DEVICE) | CLI_BIT(CLI_DESIGN) | CLI_BIT(CLI_PRECISION) | CLI_BIT(CLI_THREADS) | CLI_BIT(CLI_BATCH),
    .max_arguments = CLI_MAX_LIST,
    .takes_model = true,
    .run = run,
};
