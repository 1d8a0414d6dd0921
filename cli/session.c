#include "session.h"
#include "cli.h"
#include "core/status.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

tw_status cli_device_open(const cli_options *options, const char *name, int threads, tw_device **device,
                          tw_error *error)
{
    const tw_device_desc desc = {.threads = threads, .family = options->family};
    return tw_device_open(name, &desc, device, error);
}

tw_row_key cli_row_key(const tw_device_info *device, const char *model, int batch, int precision)
{
    return (tw_row_key){device->id, model, cli_precision_name(precision), batch, device->threads};
}

static void tell_fallbacks(const tw_plan *plan)
{
    tw_plan_info info;
    tw_plan_describe(plan, &info);
    for (size_t i = 0; i < info.steps; i++) {
        tw_step_info step;
        tw_plan_step(plan, i, &step);
        if (step.note) cli_note("%s; %s runs it instead", step.note, step.design);
    }
}

/* A cache that is damaged or another's is no reason not to run: predictions are always there. */
static tw_tuning *open_tuning(const cli_options *options, const tw_network_desc *desc)
{
    tw_error error;
    tw_tuning *tuning;
    if (cli_given(options, CLI_NO_TUNE)) return NULL;
    if (tw_tuning_open(NULL, desc->device, desc->plan.precision, &tuning, &error) == TW_OK) return tuning;
    cli_note("%s; ignored, until 'tilewise tune' writes it anew", error.message);
    return NULL;
}

static void tell_tuned(const tw_plan *plan, const char *model)
{
    tw_plan_info info;
    size_t tuned = 0;
    tw_plan_describe(plan, &info);
    for (size_t i = 0; i < info.steps; i++) {
        tw_step_info step;
        tw_plan_step(plan, i, &step);
        tuned += !isnan(step.measured);
    }
    if (tuned) cli_note("%s: %zu of %zu steps chosen by what tune measured", model, tuned, info.steps);
}

tw_status cli_network_open_with(const cli_options *options, const cli_model *model, const tw_network_desc *wanted,
                                tw_network *network, tw_error *error)
{
    tw_network_desc desc = *wanted;
    tw_tuning *tuning = open_tuning(options, wanted);
    desc.graph = model->graph;
    desc.plan.tuning = tuning;
    tw_status status = tw_network_open(&desc, network, error);
    tw_tuning_release(tuning);
    if (status == TW_OK) tell_fallbacks(network->plan);
    if (status == TW_OK) tell_tuned(network->plan, model->name);
    /* A file's graph may have another name, which the user has never seen. */
    const char *name = tw_graph_name(model->graph);
    bool named = status != TW_OK && strncmp(error->message, name, strlen(name)) == 0;
    if (named && strcmp(name, model->name) != 0) tw_error_prefix(error, "%s", model->name);
    return status;
}

tw_status cli_network_open(const cli_options *options, const cli_model *model, const cli_setting *setting,
                           tw_network *network, tw_error *error)
{
    const tw_network_desc desc = {.device = setting->device,
                                  .plan = {.batch = setting->batch,
                                           .precision = (tw_precision)setting->precision,
                                           .designs = setting->design,
                                           .fallback = options->fallback}};
    return cli_network_open_with(options, model, &desc, network, error);
}

void cli_tell_launches(const tw_plan *plan, const char *model)
{
    tw_plan_info info;
    tw_step_info first, last;
    size_t pairs = 0;
    tw_plan_describe(plan, &info);
    for (size_t i = 0, next; i < info.steps; i = next) {
        tw_plan_step(plan, i, &first);
        last = first;
        for (next = i + 1; next < info.steps; next++) {
            tw_step_info step;
            tw_plan_step(plan, next, &step);
            if (step.launch != first.launch) break;
            last = step;
        }
        pairs += next - i == 2;
        if (next - i > 2)
            cli_note("%s: %s to %s, %zu layers, run as one launch", model, first.name, last.name, next - i);
    }
    if (pairs)
        cli_note("%s: %zu %s", model, pairs,
                 pairs == 1 ? "pair of layers runs as one launch" : "pairs of layers run as one launch each");
}

bool cli_ends_in_softmax(const tw_plan *plan)
{
    tw_plan_info info;
    tw_step_info step = {0};
    tw_plan_describe(plan, &info);
    for (size_t i = info.steps; i > 0; i--) {
        tw_plan_step(plan, i - 1, &step);
        if (strcmp(step.op, "reorder") != 0) break;
    }
    return info.steps > 0 && strcmp(step.op, "softmax") == 0;
}

bool cli_colour(void)
{
    const char *refused = getenv("NO_COLOR"), *terminal = getenv("TERM");
    return isatty(STDOUT_FILENO) && !(refused && *refused) && !(terminal && strcmp(terminal, "dumb") == 0);
}

bool cli_is_text(const cli_options *options)
{
    return options->format == TW_FORMAT_TABLE || options->format == TW_FORMAT_MD;
}

void cli_bracket_design(cJSON *row, const char *design)
{
    char text[80];
    snprintf(text, sizeof text, "(%s)", design);
    cJSON_ReplaceItemInObjectCaseSensitive(row, "design", cJSON_CreateString(text));
}

tw_status cli_results_open(const cli_options *options, tw_columns columns, tw_results **results, tw_error *error)
{
    const tw_results_desc desc = {.format = options->format,
                                  .out = stdout,
                                  .colour = cli_colour(),
                                  .command = options->command_line,
                                  .columns = columns};
    return tw_results_create(&desc, results, error);
}

int cli_results_close(tw_results *results, int code)
{
    tw_error error;
    if (tw_results_finish(results, &error) != TW_OK)
        code = tw_results_write_error(results) == EPIPE ? EXIT_BROKEN : cli_fail(&error);
    tw_results_destroy(results);
    return code;
}

int cli_print_table(const cli_options *options, const char *title, tw_columns columns, cJSON *rows)
{
    tw_error error;
    tw_results *table;
    if (!rows->child) {
        cJSON_Delete(rows);
        return EXIT_DONE;
    }
    printf(options->format == TW_FORMAT_MD ? "\n### %s\n\n" : "\n%s\n", title);
    if (cli_results_open(options, columns, &table, &error) != TW_OK) {
        cJSON_Delete(rows);
        return cli_fail(&error);
    }
    tw_results_add_all(table, rows);
    return cli_results_close(table, EXIT_DONE);
}
