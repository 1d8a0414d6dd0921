/* verify of a network: the value of every layer against a run in which the reference did all, unfused. */
#include "bench/verify.h"
#include "cli.h"
#include "core/design.h"
#include "core/status.h"
#include "progress.h"
#include "session.h"
#include "verify.h"

#include <stdio.h>
#include <string.h>

enum { MAX_DESIGNS = 512 };

static const double fp32_tolerance = 1e-4; /* of the layer's scale: what rounding may add up to over a whole network */

typedef struct verification {
    const cli_options *options;
    tw_results *results;
    cli_model model;
    tw_device *device;
    tw_device_info info;
    tw_network reference;
    int layers, wrong;
} verification;

static tw_status open_kept(verification *v, tw_device *device, tw_plan_desc plan, tw_network *network, tw_error *error)
{
    plan.batch = v->options->batches.items[0];
    plan.keep_values = true;
    const tw_network_desc desc = {.device = device, .plan = plan};
    tw_status status = cli_network_open_with(v->options, &v->model, &desc, network, error);
    if (status != TW_OK) return status;
    tw_fill_random(&network->input, v->options->seed);
    status = tw_network_execute(network, error);
    if (status != TW_OK) tw_network_close(network);
    return status;
}

static tw_status check_step(verification *v, const tw_network *network, size_t index, tw_error *error)
{
    tw_step_info step;
    tw_difference difference;
    tw_plan_step(network->plan, index, &step);
    tw_status status = tw_verify_step(network, &v->reference, index, &difference, error);
    if (status != TW_OK) return status;
    tw_bench_row row;
    tw_bench_row_init(&row);
    row.key = cli_row_key(&v->info, v->model.name, v->options->batches.items[0], v->options->precisions.items[0]);
    tw_bench_row_step(&row, &step);
    row.max_abs_err = difference.max_abs;
    row.max_rel_err = difference.max_rel;
    v->layers++;
    if (!(difference.max_rel <= fp32_tolerance)) {
        v->wrong++;
        row.status = "incorrect";
        row.reason = "the error is larger than the tolerance";
        cli_note("%s: %s by %s is off by %.2g of its scale, tolerance %.2g", v->model.name, step.name, step.design,
                 difference.max_rel, fp32_tolerance);
    }
    tw_results_add(v->results, verify_row(&row, difference.mean_abs, fp32_tolerance));
    return TW_OK;
}

static tw_status check_design(verification *v, const char *design, bool fallback, tw_error *error)
{
    tw_network network;
    tw_plan_info plan;
    const tw_plan_desc desc = {
        .precision = (tw_precision)v->options->precisions.items[0], .designs = design, .fallback = fallback};
    cli_progress(0, 1, design);
    tw_status status = open_kept(v, v->device, desc, &network, error);
    if (status != TW_OK) return status;
    tw_plan_describe(network.plan, &plan);
    for (size_t i = 0; i < plan.steps && status == TW_OK; i++) status = check_step(v, &network, i, error);
    tw_network_close(&network);
    return status;
}

/* "all": every design of any operator; where it refuses a layer, auto chooses another. */
static tw_status check_all(verification *v, tw_error *error)
{
    const tw_design *designs[MAX_DESIGNS];
    char kind[32];
    snprintf(kind, sizeof kind, "%.*s", (int)strcspn(v->info.id, ":"), v->info.id);
    size_t count = tw_designs(NULL, kind, designs, MAX_DESIGNS);
    tw_status status = TW_OK;
    for (size_t i = 0; i < count && i < MAX_DESIGNS && status == TW_OK; i++) {
        bool repeated = strcmp(designs[i]->name, "reference") == 0;
        for (size_t j = 0; j < i && !repeated; j++) repeated = strcmp(designs[i]->name, designs[j]->name) == 0;
        if (!repeated) status = check_design(v, designs[i]->name, true, error);
    }
    return status;
}

/* The truth, on the CPU: other devices have no reference of their own. */
static tw_status open_reference(verification *v, tw_error *error)
{
    static const tw_plan_desc truth = {.designs = "reference", .no_fusion = true};
    tw_device *cpu;
    tw_status status = cli_device_open(v->options, "cpu", v->options->threads.items[0], &cpu, error);
    if (status != TW_OK) return status;
    status = open_kept(v, cpu, truth, &v->reference, error);
    tw_device_release(cpu); /* the plan keeps it */
    return status;
}

static tw_status check_device(verification *v, const char *name, tw_error *error)
{
    const cli_options *options = v->options;
    tw_status status = cli_device_open(options, name, options->threads.items[0], &v->device, error);
    if (status != TW_OK) return status;
    tw_device_describe(v->device, &v->info);
    tw_results_device(v->results, &v->info);
    cli_progress(0, 1, "reference");
    status = open_reference(v, error);
    for (int i = 0; i < options->designs.count && status == TW_OK; i++) {
        bool all = strcmp(options->designs.items[i], "all") == 0;
        status = all ? check_all(v, error) : check_design(v, options->designs.items[i], options->fallback, error);
    }
    tw_network_close(&v->reference);
    tw_device_release(v->device);
    return status;
}

int verify_network(const cli_options *options, const char *name, tw_results *results)
{
    tw_error error;
    verification v = {.options = options, .results = results};
    tw_status status = cli_model_open(options, name, CLI_RANDOM_WEIGHTS, &v.model, &error);
    for (int i = 0; i < options->devices.count && status == TW_OK; i++)
        status = check_device(&v, options->devices.items[i], &error);
    cli_progress_end();
    cli_model_close(&v.model);
    if (status != TW_OK) return cli_fail(&error);
    fprintf(stderr, "%s: %d of %d layers within %g of the reference\n", name, v.layers - v.wrong, v.layers,
            fp32_tolerance);
    return v.wrong ? EXIT_MISMATCH : EXIT_DONE;
}
