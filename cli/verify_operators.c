/* verify of operators: every design of each on the operator's set of problems. */
#include "bench/contest.h"
#include "bench/verify.h"
#include "cli.h"
#include "core/status.h"
#include "progress.h"
#include "session.h"
#include "verify.h"

#include <stdio.h>
#include <string.h>

enum { MAX_DESIGNS = 64 };

/* What is known of one design when its operator's problems are through. */
typedef struct tally {
    const tw_design *design;
    int passed, incorrect, not_supported;
    double worst;
} tally;

typedef struct verification {
    const cli_options *options;
    tw_results *results;
    tw_device *device;
    tw_device_info info;
    tally tallies[MAX_DESIGNS]; /* of one operator */
    size_t designs, entered;    /* of this operator, of all */
    int code;
} verification;

static tw_precision precision_of(const verification *v)
{
    return (tw_precision)v->options->precisions.items[0];
}

/* --design NAME, OP=NAME, or all and auto, which are every design. */
static bool is_wanted(const cli_options *options, const tw_design *design)
{
    if (!cli_given(options, CLI_DESIGN)) return true;
    for (int i = 0; i < options->designs.count; i++) {
        const char *item = options->designs.items[i], *equals = strchr(item, '='), *name = equals ? equals + 1 : item;
        size_t length = equals ? (size_t)(equals - item) : 0;
        if (equals && (strlen(design->op) != length || strncmp(item, design->op, length) != 0)) continue;
        if (strcmp(name, design->name) == 0 || strcmp(name, "all") == 0 || strcmp(name, "auto") == 0) return true;
    }
    return false;
}

static void list_designs(verification *v, const char *op)
{
    const tw_design *designs[MAX_DESIGNS];
    char kind[32];
    snprintf(kind, sizeof kind, "%.*s", (int)strcspn(v->info.id, ":"), v->info.id);
    size_t count = tw_designs(op, kind, designs, MAX_DESIGNS);
    v->designs = 0;
    for (size_t i = 0; i < count && i < MAX_DESIGNS; i++)
        if (is_wanted(v->options, designs[i])) v->tallies[v->designs++] = (tally){.design = designs[i]};
}

static tw_status check_design(verification *v, tw_contest *contest, tally *t, tw_error *error)
{
    tw_bench_row row;
    tw_bench_row_init(&row);
    tw_status status = tw_contest_enter(contest, t->design, NULL, &row, error);
    if (status != TW_OK) return status;
    if (strcmp(row.status, "ok") == 0)
        t->passed++;
    else if (strcmp(row.status, "not_supported") == 0)
        t->not_supported++;
    else
        t->incorrect++;
    if (row.max_rel_err > t->worst) t->worst = row.max_rel_err;
    if (strcmp(row.status, "incorrect") == 0) {
        cli_note("%s: %s is incorrect: %s", contest->problem, t->design->name, row.reason);
        v->code = EXIT_MISMATCH;
    }
    tw_shape out;
    contest->op->operand_shape(contest->params, contest->op->operands(contest->params), &out);
    row.key = cli_row_key(&v->info, NULL, (int)out.dims[0], precision_of(v));
    row.layer = contest->problem;
    if (!cli_is_text(v->options))
        tw_results_add(v->results,
                       verify_row(&row, contest->mean_abs_err, tw_design_tolerance(t->design, precision_of(v))));
    return TW_OK;
}

static tw_status check_problem(verification *v, const tw_op *op, const char *text, tw_error *error)
{
    tw_contest contest;
    const tw_contest_desc desc = {v->device, op, text, precision_of(v), v->options->seed};
    tw_status status = tw_contest_open(&desc, &contest, error);
    if (status != TW_OK) return status;
    for (size_t i = 0; i < v->designs && status == TW_OK; i++)
        status = check_design(v, &contest, &v->tallies[i], error);
    tw_contest_close(&contest);
    return status;
}

/* Tables have a line for each design. */
static void add_tally(verification *v, const tw_op *op, const tally *t)
{
    cJSON *row = cJSON_CreateObject();
    tw_row_text(row, "op", op->name);
    tw_row_text(row, "device", v->info.id);
    tw_row_text(row, "design", t->design->name);
    tw_row_text(row, "status", t->incorrect ? "incorrect" : t->passed ? "ok" : "not_supported");
    tw_row_number(row, "passed", t->passed);
    tw_row_number(row, "incorrect", t->incorrect);
    tw_row_number(row, "not_supported", t->not_supported);
    tw_row_number(row, "max_rel_err", t->worst);
    tw_row_number(row, "tolerance", tw_design_tolerance(t->design, precision_of(v)));
    if (t->design->yardstick) cli_bracket_design(row, t->design->name);
    tw_results_add(v->results, row);
}

static tw_status check_operator(verification *v, const tw_op *op, tw_error *error)
{
    size_t count;
    const char *const *problems = tw_verify_problems(op->name, &count);
    list_designs(v, op->name);
    v->entered += v->designs;
    tw_status status = TW_OK;
    for (size_t i = 0; i < count && v->designs && status == TW_OK; i++) {
        cli_progress((int)i, (int)count, op->name);
        status = check_problem(v, op, problems[i], error);
    }
    for (size_t i = 0; i < v->designs && cli_is_text(v->options) && status == TW_OK; i++)
        add_tally(v, op, &v->tallies[i]);
    return status;
}

static tw_status check_device(verification *v, const char *name, const char *only, tw_error *error)
{
    tw_status status = cli_device_open(v->options, name, v->options->threads.items[0], &v->device, error);
    if (status != TW_OK) return status;
    tw_device_describe(v->device, &v->info);
    tw_results_device(v->results, &v->info);
    status = tw_device_check_precision(v->device, precision_of(v), error);
    for (size_t i = 0; i < tw_op_count() && status == TW_OK; i++) {
        const tw_op *op = tw_op_at(i);
        if (!only || strcmp(op->name, only) == 0) status = check_operator(v, op, error);
    }
    tw_device_release(v->device);
    return status;
}

/* Options that only mean something for networks. */
static const char *misplaced(const cli_options *options)
{
    static const struct {
        cli_option option;
        const char *name;
    } only[] = {{CLI_BATCH, "--batch"},
                {CLI_WEIGHTS, "--weights"},
                {CLI_IMAGE_SIZE, "--image-size"},
                {CLI_FALLBACK, "--fallback"}};
    for (size_t i = 0; i < sizeof only / sizeof *only; i++)
        if (cli_given(options, only[i].option)) return only[i].name;
    return NULL;
}

int verify_operators(const cli_options *options, const char *op, tw_results *results)
{
    tw_error error;
    const char *wrong = misplaced(options);
    if (wrong) {
        cli_note("verify: %s is for networks", wrong);
        return EXIT_BAD_INPUT;
    }
    verification v = {.options = options, .results = results};
    tw_status status = TW_OK;
    for (int i = 0; i < options->devices.count && status == TW_OK; i++)
        status = check_device(&v, options->devices.items[i], op, &error);
    cli_progress_end();
    if (status == TW_OK && v.entered == 0)
        status = tw_fail(&error, TW_UNAVAILABLE, "%s has no design of that name", op ? op : "no operator");
    return status == TW_OK ? v.code : cli_fail(&error);
}
