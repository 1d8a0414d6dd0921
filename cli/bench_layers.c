/* bench of single layers: for each problem, every place, precision and batch, the designs against each other. */
#include "bench.h"
#include "bench/contest.h"
#include "bench/shapes.h"
#include "cli.h"
#include "core/status.h"
#include "session.h"
#include "suggest.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_DESIGNS = 64, MAX_OPS = 256 };

/* A problem of the sweep: what --layer said, or one of the shape file's. */
typedef struct subject {
    const tw_op *op;
    const char *text; /* the descriptor */
    const char *name; /* null: none */
} subject;

/* One contest under way. */
typedef struct match {
    bench *b;
    bench_place *place;
    int precision;
    tw_contest contest;
    tw_bench_row row; /* with its key and its layer; copied for each design */
} match;

/* ---- designs ---- */

static void device_kind(const bench_place *place, char kind[32])
{
    snprintf(kind, 32, "%.*s", (int)strcspn(place->info.id, ":"), place->info.id);
}

static tw_status enter(match *m, const tw_design *design, tw_error *error)
{
    char what[256];
    snprintf(what, sizeof what, "%s %s", m->contest.problem, design->name);
    bench_step(m->b, what);
    tw_bench_row row = m->row;
    tw_status status = tw_contest_enter(&m->contest, design, &m->b->options->timing, &row, error);
    if (status != TW_OK) {
        bench_refuse(m->b, &row, status, error->message);
        return status;
    }
    cJSON *json = bench_row_json(m->b, &row, &m->contest.samples);
    if (design->yardstick && cli_is_text(m->b->options)) cli_bracket_design(json, design->name);
    tw_results_add(m->b->results, json);
    if (strcmp(row.status, "incorrect") == 0) {
        cli_note("%s: %s is incorrect: %s", m->contest.problem, design->name, row.reason);
        m->b->code = cli_worse(m->b->code, EXIT_MISMATCH);
    }
    if (strcmp(row.status, "not_supported") != 0) return TW_OK;
    return tw_fail(error, TW_UNAVAILABLE, "%s: design %s refuses: %s", m->contest.problem, design->name, row.reason);
}

static tw_status enter_all(match *m, tw_error *error)
{
    const tw_design *designs[MAX_DESIGNS];
    char kind[32];
    device_kind(m->place, kind);
    size_t count = tw_designs(m->contest.op->name, kind, designs, MAX_DESIGNS);
    tw_status status = TW_OK;
    for (size_t i = 0; i < count && i < MAX_DESIGNS; i++) {
        status = enter(m, designs[i], error);
        if (status != TW_OK && status != TW_UNAVAILABLE) return status;
    }
    return TW_OK; /* refusals are rows; the user named none */
}

static tw_status enter_auto(match *m, tw_error *error)
{
    const tw_design *design = tw_contest_choose(&m->contest);
    if (!design) return tw_fail(error, TW_UNAVAILABLE, "%s: all designs refuse", m->contest.problem);
    return enter(m, design, error);
}

static tw_status enter_named(match *m, const char *name, tw_error *error)
{
    char kind[32];
    device_kind(m->place, kind);
    const tw_design *design = tw_design_find(m->contest.op->name, kind, name);
    tw_bench_row row = m->row;
    row.design = name;
    tw_status status = TW_OK;
    if (design)
        status = enter(m, design, error);
    else {
        status = tw_fail(error, TW_UNAVAILABLE, "%s: %s has no design %s on %s", m->contest.problem,
                         m->contest.op->name, name, kind);
        row.op = m->contest.op->name;
        row.problem = m->contest.problem;
        bench_refuse(m->b, &row, status, error->message);
    }
    if (status != TW_UNAVAILABLE || !m->b->options->fallback) return status;
    cli_note("%s; auto chooses instead", error->message);
    return enter_auto(m, error);
}

/* Refusals are told and the contest goes on. */
static tw_status enter_wanted(match *m, tw_error *error)
{
    const cli_texts *specs = &m->b->options->designs;
    for (int i = 0; i < specs->count; i++) {
        char name[TW_DESIGN_NAME], kind[32];
        tw_status status;
        device_kind(m->place, kind);
        tw_design_wanted(specs->items[i], m->contest.op->name, kind, name);
        if (strcmp(name, "all") == 0)
            status = enter_all(m, error);
        else if (strcmp(name, "auto") == 0)
            status = enter_auto(m, error);
        else
            status = enter_named(m, name, error);
        if (status == TW_UNAVAILABLE)
            m->b->code = cli_worse(m->b->code, cli_fail(error));
        else if (status != TW_OK)
            return status;
    }
    return TW_OK;
}

/* ---- who won ---- */

static void append_ratio(char *text, size_t size, double ms, double best_ms, const char *name)
{
    size_t used = strlen(text);
    if (isfinite(ms) && ms != best_ms)
        snprintf(text + used, size - used, "; %.1f times as fast as %s", ms / best_ms, name);
}

static void tell_winner(FILE *out, const char *layer, const tw_contest *contest, int designs)
{
    if (!contest->best || designs < 2) return;
    char text[512];
    double ms = contest->best_ms;
    snprintf(text, sizeof text, "%s: fastest is %s, %.4g ms", layer, contest->best->name, ms);
    append_ratio(text, sizeof text, contest->naive_ms, ms, "naive");
    append_ratio(text, sizeof text, contest->reference_ms, ms, "reference");
    if (contest->yardstick) append_ratio(text, sizeof text, contest->yardstick_ms, ms, contest->yardstick->name);
    fprintf(out, "%s\n", text);
}

/* ---- the sweep ---- */

static tw_status compete(match *m, const subject *s, const char *text, tw_error *error)
{
    const tw_contest_desc desc = {m->place->device, s->op, text, (tw_precision)m->precision, m->b->options->seed};
    char layer[192];
    tw_status status = tw_contest_open(&desc, &m->contest, error);
    if (status != TW_OK) return status;
    snprintf(layer, sizeof layer, "%s", s->name ? s->name : m->contest.problem);
    m->row.layer = layer;
    tw_shape out;
    s->op->operand_shape(m->contest.params, s->op->operands(m->contest.params), &out);
    m->row.key.batch = (int)out.dims[0];
    int entered = m->b->done;
    status = bench_measure(m->place, error);
    if (status == TW_OK) status = enter_wanted(m, error);
    if (status == TW_OK) tell_winner(m->b->winners, layer, &m->contest, m->b->done - entered);
    tw_contest_close(&m->contest);
    return status;
}

/* A place may not be there, or not have the precision. */
static bool unavailable(const bench_point *at, char *reason, size_t size)
{
    tw_error error = at->place->error;
    if (at->place->device && tw_device_check_precision(at->place->device, (tw_precision)at->precision, &error) == TW_OK)
        return false;
    snprintf(reason, size, "%s", error.message);
    return true;
}

static tw_status bench_subject(bench *b, const subject *s, const bench_point *at, tw_error *error)
{
    match m = {.b = b, .place = at->place, .precision = at->precision};
    char reason[sizeof error->message], *changed = NULL;
    tw_bench_row_init(&m.row);
    m.row.key = cli_row_key(&at->place->info, NULL, at->batch, at->precision);
    if (unavailable(at, reason, sizeof reason)) {
        m.row.layer = s->name ? s->name : s->text;
        m.row.op = s->op->name;
        bench_refuse(b, &m.row, TW_UNAVAILABLE, reason);
        if (at->place->device) cli_note("%s", reason);
        b->code = cli_worse(b->code, EXIT_UNAVAILABLE);
        return TW_OK;
    }
    tw_status status = TW_OK;
    if (at->batch) status = tw_descriptor_with_batch(s->text, at->batch, &changed, error);
    if (status == TW_OK) status = compete(&m, s, changed ? changed : s->text, error);
    free(changed);
    return status;
}

static tw_status sweep(bench *b, const subject *s, tw_error *error)
{
    const cli_options *options = b->options;
    bool batches = cli_given(options, CLI_BATCH); /* else the descriptor's own */
    tw_status status = TW_OK;
    for (int p = 0; p < b->place_count; p++)
        for (int i = 0; i < options->precisions.count; i++)
            for (int j = 0; j < options->batches.count && status == TW_OK; j++) {
                const bench_point at = {&b->places[p], options->precisions.items[i],
                                        batches ? options->batches.items[j] : 0};
                status = bench_subject(b, s, &at, error);
            }
    return status;
}

/* ---- subjects ---- */

static tw_status find_op(const char *name, const tw_op **op, tw_error *error)
{
    const char *names[MAX_OPS];
    size_t count = tw_op_count() < MAX_OPS ? tw_op_count() : MAX_OPS;
    for (size_t i = 0; i < count; i++) names[i] = tw_op_at(i)->name;
    *op = tw_op_find(name);
    return *op ? TW_OK : cli_unknown("operator", name, (cli_names){names, count}, error);
}

static tw_status split_op(const char *text, const tw_op **op, const char **rest, tw_error *error)
{
    char name[64];
    size_t length = strcspn(text, ":");
    if (!text[length]) return tw_fail(error, TW_INVALID, "\"%s\": expected OP:DESC, as conv2d:mb1ic3ih8oc4kh3", text);
    snprintf(name, sizeof name, "%.*s", (int)length, text);
    *rest = text + length + 1;
    return find_op(name, op, error);
}

static tw_status bench_one(bench *b, tw_error *error)
{
    subject s = {0};
    char *name = NULL;
    tw_status status = split_op(b->options->layer, &s.op, &s.text, error);
    if (status == TW_OK) status = tw_descriptor_name(s.text, &name, error);
    s.name = name;
    if (status == TW_OK) status = sweep(b, &s, error);
    free(name);
    if (status == TW_INVALID) tw_error_prefix(error, "--layer");
    return status;
}

/* Every line is checked before the first is timed. */
static tw_status check_shapes(const tw_op *op, const char *path, const tw_shape_file *file, tw_error *error)
{
    void *params = calloc(1, op->params_size);
    tw_status status = params ? TW_OK : tw_no_memory(error, op->params_size, "a problem");
    for (size_t i = 0; i < file->count && status == TW_OK; i++) {
        status = op->parse(file->items[i].text, params, error);
        if (status != TW_OK) tw_error_prefix(error, "%s:%d", path, file->items[i].line);
    }
    free(params);
    return status;
}

/* [OP:]FILE: conv2d unless an operator stands before the colon. */
static const tw_op *shapes_op(const char *text, const char **path)
{
    const char *colon = strchr(text, ':');
    char name[64];
    snprintf(name, sizeof name, "%.*s", colon ? (int)(colon - text) : 0, text);
    const tw_op *op = tw_op_find(name);
    *path = op ? colon + 1 : text;
    return op ? op : tw_op_find("conv2d");
}

static tw_status bench_file(bench *b, tw_error *error)
{
    const char *path;
    const tw_op *op = shapes_op(b->options->shapes, &path);
    tw_shape_file file;
    tw_status status = tw_shape_file_read(path, &file, error);
    if (status == TW_OK) status = check_shapes(op, path, &file, error);
    b->total = (int)file.count * b->total;
    for (size_t i = 0; i < file.count && status == TW_OK; i++) {
        const subject s = {op, file.items[i].text, file.items[i].name};
        status = sweep(b, &s, error);
    }
    tw_shape_file_free(&file);
    return status;
}

tw_status bench_layers(bench *b, tw_error *error)
{
    const cli_options *options = b->options;
    b->total = b->place_count * options->precisions.count * options->batches.count * options->designs.count;
    return options->layer ? bench_one(b, error) : bench_file(b, error);
}
