/* bench of whole networks: for each, every place, precision, batch and design. */
#include "bench.h"
#include "cli.h"
#include "core/design.h"
#include "layers.h"
#include "session.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { MAX_DESIGNS = 512 };

/* ---- preprocessing ---- */

typedef struct preprocessing {
    const tw_preprocess *how;
    const char *path;
    float *out;
} preprocessing;

/* From the file to the network's input: what each photograph costs. */
static tw_status preprocess_once(void *context, tw_error *error)
{
    const preprocessing *p = context;
    tw_image image;
    tw_status status = tw_image_read(p->path, 0, &image, error);
    if (status != TW_OK) return status;
    status = tw_image_preprocess(&image, p->how, p->out, error);
    tw_image_free(&image);
    return status;
}

/* The median, for one photograph. */
static tw_status time_preprocessing(const cli_options *options, const cli_model *model, double *ms, tw_error *error)
{
    static const tw_timing_desc timing = {.iterations = 10, .warm_up_ms = 50};
    int side = model->preprocess.crop + 2 * model->preprocess.pad;
    tw_tensor out;
    tw_samples samples = {0};
    tw_status status = tw_tensor_create(TW_F32, &(tw_shape){3, {model->preprocess.channels, side, side}}, &out, error);
    if (status != TW_OK) return status;
    preprocessing p = {&model->preprocess, options->image, out.data};
    status = tw_time(&timing, preprocess_once, &p, &samples, error);
    *ms = 1e3 * tw_samples_percentile(&samples, 50);
    tw_samples_free(&samples);
    tw_tensor_free(&out);
    return status;
}

/* ---- one configuration ---- */

static tw_status dump_profile(bench *b, tw_network *network, const tw_row_key *key, tw_error *error)
{
    tw_profile profile;
    cJSON *rows;
    const tw_timing_desc timing = {.iterations = b->options->timing.iterations,
                                   .duration_s = b->options->timing.duration_s};
    tw_status status = tw_profile_measure(network, &timing, &profile, error);
    if (status != TW_OK) return status;
    status = cli_layer_rows(network, &profile, key, &rows, error);
    tw_profile_free(&profile);
    if (status == TW_OK) tw_results_add_all(b->results, rows);
    return status;
}

static tw_status measure(bench *b, tw_network *network, tw_bench_row *row, tw_error *error)
{
    tw_network_samples samples = {0};
    tw_device_info device;
    tw_device_describe(network->device, &device);
    tw_fill_random(&network->input, b->options->seed);
    tw_status status = tw_network_time(network, &b->options->timing, &samples, error);
    if (status == TW_OK) {
        row->init_ms = network->init_ms;
        tw_network_work(network, &row->flops, &row->bytes);
        tw_bench_row_network(row, &samples, &device);
        tw_results_add(b->results, bench_row_json(b, row, &samples.host));
    }
    tw_network_samples_free(&samples);
    if (status == TW_OK && cli_given(b->options, CLI_DUMP_PROFILE)) status = dump_profile(b, network, &row->key, error);
    return status;
}

static tw_status try_design(bench *b, const cli_model *model, const bench_point *at, tw_bench_row *row, tw_error *error)
{
    if (!at->place->device) {
        *error = at->place->error;
        return error->status;
    }
    tw_network network;
    const cli_setting setting = {at->place->device, at->precision, at->batch, row->design};
    tw_status status = cli_network_open(b->options, model, &setting, &network, error);
    if (status != TW_OK) return status;
    cli_tell_launches(network.plan, model->name);
    status = bench_measure(at->place, error);
    if (status == TW_OK) status = measure(b, &network, row, error);
    tw_network_close(&network);
    return status;
}

/* `named`: the user asked for this design, and is told where it refuses. */
static void bench_design(bench *b, const cli_model *model, const bench_point *at, tw_bench_row row, bool named)
{
    tw_error error;
    char what[128];
    snprintf(what, sizeof what, "%s %s", model->name, row.design);
    bench_step(b, what);
    tw_status status = try_design(b, model, at, &row, &error);
    if (status == TW_OK) return;
    bench_refuse(b, &row, status, error.message);
    if (at->place->device && (named || status != TW_UNAVAILABLE)) b->code = cli_worse(b->code, cli_fail(&error));
}

/* ---- the sweep ---- */

/* "all": auto, then every name that a design of any operator has on this kind of device, each once. */
static void bench_all_designs(bench *b, const cli_model *model, const bench_point *at, tw_bench_row row)
{
    const tw_design *designs[MAX_DESIGNS];
    char kind[32];
    snprintf(kind, sizeof kind, "%.*s", (int)strcspn(at->place->info.id, ":"), at->place->info.id);
    size_t count = tw_designs(NULL, kind, designs, MAX_DESIGNS);
    row.design = "auto";
    bench_design(b, model, at, row, false);
    for (size_t i = 0; i < count && i < MAX_DESIGNS; i++) {
        bool repeated = false;
        for (size_t j = 0; j < i && !repeated; j++) repeated = strcmp(designs[i]->name, designs[j]->name) == 0;
        row.design = designs[i]->name;
        if (!repeated) bench_design(b, model, at, row, false);
    }
}

static void bench_point_designs(bench *b, const cli_model *model, const bench_point *at, double preprocess_ms)
{
    tw_bench_row row;
    tw_bench_row_init(&row);
    row.key = cli_row_key(&at->place->info, model->name, at->batch, at->precision);
    row.preprocess_ms = preprocess_ms;
    for (int i = 0; i < b->options->designs.count; i++) {
        row.design = b->options->designs.items[i];
        if (strcmp(row.design, "all") == 0)
            bench_all_designs(b, model, at, row);
        else
            bench_design(b, model, at, row, true);
    }
}

static tw_status bench_model(bench *b, const char *name, tw_error *error)
{
    cli_model model;
    double preprocess_ms = NAN;
    tw_status status = cli_model_open(b->options, name, CLI_RANDOM_WEIGHTS, &model, error);
    if (status == TW_OK && b->options->image) status = time_preprocessing(b->options, &model, &preprocess_ms, error);
    for (int p = 0; p < b->place_count && status == TW_OK; p++)
        for (int i = 0; i < b->options->precisions.count; i++)
            for (int j = 0; j < b->options->batches.count; j++) {
                const bench_point at = {&b->places[p], b->options->precisions.items[i], b->options->batches.items[j]};
                bench_point_designs(b, &model, &at, preprocess_ms);
            }
    cli_model_close(&model);
    return status;
}

tw_status bench_networks(bench *b, tw_error *error)
{
    const cli_options *options = b->options;
    b->total = options->argument_count * b->place_count * options->precisions.count * options->batches.count *
               options->designs.count;
    tw_status status = TW_OK;
    for (int i = 0; i < options->argument_count && status == TW_OK; i++)
        status = bench_model(b, options->arguments[i], error);
    return status;
}
