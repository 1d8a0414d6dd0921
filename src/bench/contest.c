#include "bench/contest.h"
#include "bench/network.h"
#include "core/status.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_DESIGNS = 64 };

tw_status tw_contest_open(const tw_contest_desc *desc, tw_contest *contest, tw_error *error)
{
    const tw_op *op = desc->op;
    *contest = (tw_contest){.device = desc->device,
                            .op = op,
                            .precision = desc->precision,
                            .best_ms = NAN,
                            .naive_ms = NAN,
                            .reference_ms = NAN,
                            .yardstick_ms = NAN};
    contest->params = calloc(1, op->params_size);
    if (!contest->params) return tw_no_memory(error, op->params_size, "a problem");
    tw_status status = op->parse(desc->text, contest->params, error);
    if (status == TW_OK)
        status = tw_layer_create(desc->device, &(tw_layer_desc){op, contest->params, desc->precision, desc->seed},
                                 &contest->layer, error);
    if (status != TW_OK) {
        tw_contest_close(contest);
        return status;
    }
    int length = snprintf(contest->problem, sizeof contest->problem, "%s:", op->name);
    op->print(contest->params, contest->problem + length, sizeof contest->problem - (size_t)length);
    contest->flops = op->flops(contest->params);
    contest->bytes = tw_op_bytes(op, contest->params, tw_dtype_bytes(tw_precision_dtype(desc->precision)));
    return TW_OK;
}

void tw_contest_close(tw_contest *contest)
{
    tw_layer_destroy(contest->layer);
    tw_samples_free(&contest->samples);
    free(contest->params);
    contest->layer = NULL;
    contest->params = NULL;
}

const tw_design *tw_contest_choose(const tw_contest *contest)
{
    tw_device_info info;
    tw_device_describe(contest->device, &info);
    info.id[strcspn(info.id, ":")] = 0; /* the kind: designs are for "cuda", devices are "cuda:0" */
    const tw_design *designs[MAX_DESIGNS], *best = NULL;
    size_t count = tw_designs(contest->op->name, info.id, designs, MAX_DESIGNS);
    double least = INFINITY;
    for (size_t i = 0; i < count && i < MAX_DESIGNS; i++) {
        const tw_design *design = tw_design_on(designs[i], contest->device);
        tw_problem problem;
        const char *reason;
        tw_problem_init(&problem, contest->op, contest->params, contest->precision);
        if (design->yardstick || !tw_design_fit(design, &problem, contest->device, &reason)) continue;
        double cost = design->cost ? design->cost(&problem, contest->device) : 1;
        if (best && cost >= least) continue;
        least = cost;
        best = designs[i];
    }
    return best;
}

/* Keeps the times that the others are compared with. */
static void remember(tw_contest *contest, const tw_design *design, double ms)
{
    if (strcmp(design->name, "naive") == 0) contest->naive_ms = ms;
    if (strcmp(design->name, "reference") == 0) contest->reference_ms = ms;
    if (design->yardstick) {
        contest->yardstick = design;
        contest->yardstick_ms = ms;
    } else if (!contest->best || ms < contest->best_ms) {
        contest->best = design;
        contest->best_ms = ms;
    }
}

static void dispose(tw_contest *contest, const tw_layer_result *result, tw_bench_row *row)
{
    row->reason = NULL;
    if (!result->supported) {
        row->status = "not_supported";
        row->reason = result->reason;
        return;
    }
    contest->mean_abs_err = result->mean_abs_err;
    row->max_abs_err = result->max_abs_err;
    row->max_rel_err = result->max_rel_err;
    row->status = result->correct ? "ok" : "incorrect";
    if (result->correct) return;
    if (result->fault)
        snprintf(contest->reason, sizeof contest->reason, "%s", result->fault);
    else
        snprintf(contest->reason, sizeof contest->reason, "error %.2g of the layer's scale, tolerance %.2g",
                 result->max_rel_err, result->tolerance);
    row->reason = contest->reason;
}

tw_status tw_contest_enter(tw_contest *contest, const tw_design *design, const tw_timing_desc *timing,
                           tw_bench_row *row, tw_error *error)
{
    row->op = contest->op->name;
    row->problem = contest->problem;
    row->design = design->name;
    row->flops = contest->flops;
    row->bytes = contest->bytes;
    contest->samples.count = 0;
    contest->mean_abs_err = NAN;
    tw_layer_result result;
    tw_status status = tw_layer_check(contest->layer, design, &result, error);
    if (status != TW_OK) return status;
    dispose(contest, &result, row);
    if (!timing || !result.correct) return TW_OK;
    tw_device_info device;
    tw_device_describe(contest->device, &device);
    status = tw_layer_time(contest->layer, design, timing, &contest->samples, error);
    if (status != TW_OK) return status;
    tw_bench_row_times(row, &contest->samples, &device);
    remember(contest, design, row->median_ms);
    return TW_OK;
}
