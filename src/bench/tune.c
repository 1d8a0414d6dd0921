/* Tuning: which design is fastest for each layer, where it stands.
 *
 * A layer measured by itself, over and over, finds its weights and its input in a cache; in a network a convolution finds
 * its weights where the last run left them, behind everything else that ran since, and its input as the layer before
 * wrote it. Some designs gain by a factor from a warm cache and others nothing, so the order of designs changes. Here
 * nothing is measured outside the network: in trial k every layer takes its k-th best design and types by prediction
 * (those with fewer take their best one), the whole network runs, and each step's time is noted under its problem,
 * design and types. Reorders between layouts are steps like others. So as many plans as the longest list has candidates
 * measure all of them, weights as cold as they will be. What is predicted to take more than eight times as long as a
 * layer's best is left out.
 *
 * Trials are gone through in ROUNDS, so that a disturbance of a second (a neighbour, a clock) hits all candidates and
 * not one; a candidate's time is the median over rounds, runs and the layers that are the same problem. Then a plan is
 * chosen by these times. If it has reorders that no trial had, they are measured in it and the choice is made again.
 *
 * The sum of steps is not the network: a GPU starts a step while the one before ends, and profiled steps wait. Therefore
 * the tuned plan and the predicted one run in turns of many runs, as they always run, and measurements are kept only as
 * far as the whole is faster, by one percent at least (tw_tune_kept). Layers that the device launches as one are left as
 * predicted. */
#include "bench/tune.h"
#include "core/plan.h"
#include "core/status.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { ROUNDS = 3, DEFAULT_RUNS = 9, MAX_SETTLING = 8, TURNS = 6 };

typedef struct record {
    tw_measurement key;
    tw_samples samples;
} record;

typedef struct tuner {
    const tw_tune_desc *desc;
    record *records;
    size_t count, capacity;
    double *step_seconds;
    int total; /* of what is shown as progress */
    int without_memory;
} tuner;

static void show(const tuner *t, int done, const char *what)
{
    if (t->desc->progress) t->desc->progress(done, t->total, what);
}

/* ---- trials ---- */

static tw_status open_plan(const tuner *t, const tw_tuning *tuning, tw_network *network, tw_error *error)
{
    const tw_tune_desc *d = t->desc;
    const tw_network_desc desc = {
        d->graph, d->device, {.batch = d->batch, .precision = d->precision, .tuning = tuning}};
    tw_status status = tw_network_open(&desc, network, error);
    if (status == TW_OK) tw_fill_random(&network->input, d->seed);
    return status;
}

/* A step as it is measured; false where it is launched together with others, or its problem has no name. */
static bool describe_step(const tw_placed_step *step, tw_measurement *key)
{
    *key = (tw_measurement){.design = step->design->name, .in = step->problem.in[0], .out = step->problem.out};
    return step->together == 1 && !step->design->joins &&
           tw_tuning_name(step->problem.op, step->problem.params, key->problem);
}

static record *find_record(tuner *t, const tw_measurement *key)
{
    for (size_t i = 0; i < t->count; i++)
        if (tw_measurement_same(&t->records[i].key, key)) return &t->records[i];
    if (t->count == t->capacity) {
        size_t wanted = t->capacity ? 2 * t->capacity : 64;
        record *larger = realloc(t->records, wanted * sizeof *larger);
        if (!larger) return NULL;
        t->records = larger;
        t->capacity = wanted;
    }
    t->records[t->count] = (record){.key = *key};
    return &t->records[t->count++];
}

static tw_status note_steps(tuner *t, const tw_plan *plan, tw_error *error)
{
    tw_status status = TW_OK;
    for (size_t i = 0; i < plan->n_steps && status == TW_OK; i++) {
        tw_measurement key;
        if (!describe_step(&plan->steps[i], &key)) continue;
        record *r = find_record(t, &key);
        status = r ? tw_samples_add(&r->samples, t->step_seconds[i], error) : tw_no_memory(error, sizeof *r, "a trial");
    }
    return status;
}

/* The first run is not noted: it loads what the others find loaded. */
static tw_status measure_steps(tuner *t, tw_network *network, int runs, tw_error *error)
{
    const tw_plan *plan = network->plan;
    double *larger = realloc(t->step_seconds, (plan->n_steps + 1) * sizeof *larger);
    if (!larger) return tw_no_memory(error, plan->n_steps * sizeof *larger, "times of steps");
    t->step_seconds = larger;
    tw_status status = TW_OK;
    for (int i = 0; i <= runs && status == TW_OK; i++) {
        status = tw_run_profile(network->run, &network->input, &network->output, t->step_seconds, error);
        if (status == TW_OK && i > 0) status = note_steps(t, plan, error);
    }
    return status;
}

/* *trials: of all the network's layers, the most candidates. */
static tw_status run_trial(tuner *t, int trial, int *trials, tw_error *error)
{
    const int runs = t->desc->iterations ? t->desc->iterations : DEFAULT_RUNS;
    const tw_tuning tuning = {.trial = trial};
    tw_network network;
    tw_status status = open_plan(t, &tuning, &network, error);
    if (status != TW_OK) return status;
    *trials = network.plan->trials;
    t->total = ROUNDS * *trials + 1;
    status = measure_steps(t, &network, (runs + ROUNDS - 1) / ROUNDS, error);
    tw_network_close(&network);
    return status;
}

static tw_status run_trials(tuner *t, int *trials, tw_error *error)
{
    tw_status status = TW_OK;
    *trials = 1;
    t->total = 1;
    for (int round = 0, done = 0; round < ROUNDS && status == TW_OK; round++)
        for (int trial = 1; trial <= *trials && status == TW_OK; trial++) {
            show(t, done++, "measuring designs");
            status = run_trial(t, trial, trials, error);
            if (status != TW_OUT_OF_MEMORY || trial == 1) continue;
            t->without_memory += round == 0;
            status = TW_OK;
        }
    return status;
}

/* ---- from samples to a plan ---- */

static tw_status fold_records(const tuner *t, tw_tuning *tuning, tw_error *error)
{
    tw_status status = TW_OK;
    tuning->count = 0;
    for (size_t i = 0; i < t->count && status == TW_OK; i++) {
        tw_measurement item = t->records[i].key;
        item.seconds = tw_samples_percentile(&t->records[i].samples, 50);
        if (item.seconds > 0) status = tw_tuning_add(tuning, &item, error);
    }
    return status;
}

static bool is_settled(const tw_plan *plan)
{
    tw_measurement key;
    for (size_t i = 0; i < plan->n_steps; i++)
        if (isnan(plan->steps[i].measured) && describe_step(&plan->steps[i], &key)) return false;
    return true;
}

/* Until the plan that is chosen by measurements has no step that was not measured. */
static tw_status settle(tuner *t, tw_tuning *tuning, tw_network *network, tw_error *error)
{
    const int runs = t->desc->iterations ? t->desc->iterations : DEFAULT_RUNS;
    tw_status status = fold_records(t, tuning, error);
    if (status == TW_OK) status = open_plan(t, tuning, network, error);
    for (int i = 0; status == TW_OK && i < MAX_SETTLING && !is_settled(network->plan); i++) {
        status = measure_steps(t, network, runs, error);
        tw_network_close(network);
        if (status == TW_OK) status = fold_records(t, tuning, error);
        if (status == TW_OK) status = open_plan(t, tuning, network, error);
    }
    return status;
}

/* ---- the whole network, before and after ---- */

static bool same_step(const tw_placed_step *a, const tw_placed_step *b)
{
    return a->design == b->design && memcmp(&a->problem.in[0], &b->problem.in[0], sizeof(tw_type)) == 0 &&
           memcmp(&a->problem.out, &b->problem.out, sizeof(tw_type)) == 0;
}

static bool same_plan(const tw_plan *a, const tw_plan *b)
{
    bool same = a->n_steps == b->n_steps;
    for (size_t i = 0; same && i < a->n_steps; i++) same = same_step(&a->steps[i], &b->steps[i]);
    return same;
}

static tw_status execute(tw_network *network, tw_samples *samples, tw_error *error)
{
    tw_run_times times;
    const double start = tw_now();
    tw_status status = tw_network_execute(network, error);
    const double host = tw_now() - start;
    if (status == TW_OK) status = tw_run_measured(network->run, &times, error);
    if (status != TW_OK || !samples) return status;
    return tw_samples_add(samples, isnan(times.device) ? host : times.device, error);
}

/* One of the two networks; it has a run only while it is its turn. */
typedef struct side {
    tw_network *network;
    tw_samples samples;
} side;

/* A run of its own for each turn: a pool whose run is over spins for a while, on the very cores that the other network's
 * threads want, which with two threads on two cores made milliseconds of microseconds. */
static tw_status begin_turn(tw_network *network, tw_error *error)
{
    return network->run ? TW_OK : tw_run_create(network->plan, &network->run, error);
}

static void end_turn(tw_network *network)
{
    if (network->run) tw_run_release(network->run);
    network->run = NULL;
}

static tw_status execute_side(void *context, tw_error *error)
{
    side *s = context;
    return execute(s->network, &s->samples, error);
}

static tw_status execute_unmeasured(void *context, tw_error *error)
{
    return execute(((side *)context)->network, NULL, error);
}

static tw_status take_turn(side *s, const tw_timing_desc *warm, const tw_timing_desc *measured, tw_error *error)
{
    tw_samples ignored = {0};
    tw_status status = begin_turn(s->network, error);
    if (status == TW_OK) status = tw_time(warm, execute_unmeasured, s, &ignored, error);
    if (status == TW_OK) status = tw_time(measured, execute_side, s, &ignored, error);
    tw_samples_free(&ignored);
    end_turn(s->network);
    return status;
}

/* The first turn of one, the last of the other, and so on: TURNS of each. */
static tw_status compare(const tuner *t, tw_network *before, tw_network *after, tw_tune_result *result, tw_error *error)
{
    const tw_timing_desc *timing = &t->desc->timing;
    const tw_timing_desc warm = {.iterations = 1, .warm_up_ms = timing->warm_up_ms / TURNS};
    const tw_timing_desc measured = {.iterations = (timing->iterations + TURNS - 1) / TURNS,
                                     .duration_s = timing->duration_s / (2 * TURNS)};
    side sides[2] = {{.network = before}, {.network = after}};
    tw_status status = TW_OK;
    result->same = same_plan(before->plan, after->plan);
    for (int i = 0; i < 2; i++) end_turn(sides[i].network);
    for (int i = 0; i < 2 * TURNS && status == TW_OK; i++)
        status = take_turn(&sides[(i + i / 2) % 2], &warm, &measured, error);
    if (status == TW_OK) {
        result->before = tw_samples_percentile(&sides[0].samples, 50);
        result->after = result->same ? result->before : tw_samples_percentile(&sides[1].samples, 50);
    }
    for (int i = 0; i < 2; i++) tw_samples_free(&sides[i].samples);
    return status;
}

/* ---- what is kept ---- */

typedef struct wanted {
    const tw_plan *plan;
    bool design;
} wanted;

static bool has_step_like(const tw_measurement *item, const void *context)
{
    const wanted *w = context;
    for (size_t i = 0; i < w->plan->n_steps; i++) {
        tw_measurement key;
        if (!describe_step(&w->plan->steps[i], &key)) continue;
        if (!w->design) key.design = item->design;
        if (tw_measurement_same(&key, item)) return true;
    }
    return false;
}

/* By more than what two measurements of the same plan differ by. */
static bool is_faster(const tw_tune_result *result)
{
    return result->after <= 0.99 * result->before;
}

/* Tries all, then those in the predicted plan's layouts, then nothing but its own designs. */
static tw_status keep_gain(tuner *t, tw_network *before, tw_network *after, tw_tuning *tuning, tw_tune_result *result,
                           tw_error *error)
{
    tw_status status = compare(t, before, after, result, error);
    result->kept = TW_TUNE_ALL;
    for (int i = TW_TUNE_LAYOUTS; status == TW_OK && !result->same && !is_faster(result); i++) {
        const wanted w = {before->plan, i == TW_TUNE_PREDICTED};
        result->kept = (tw_tune_kept)i;
        tw_tuning_filter(tuning, has_step_like, &w);
        tw_network_close(after);
        status = open_plan(t, tuning, after, error);
        if (status == TW_OK) status = compare(t, before, after, result, error);
        if (i == TW_TUNE_PREDICTED) break;
    }
    /* Of a problem that the predicted plan solves in two ways, measurements may name the other one. */
    if (status != TW_OK || result->same || is_faster(result)) return status;
    tuning->count = 0;
    tw_network_close(after);
    status = open_plan(t, tuning, after, error);
    return status == TW_OK ? compare(t, before, after, result, error) : status;
}

/* ---- the report ---- */

static double seconds_of(const tw_tuning *all, const tw_placed_step *step)
{
    tw_measurement key;
    size_t count;
    if (!describe_step(step, &key)) return NAN;
    const tw_measurement *items = tw_tuning_find(all, key.problem, &count);
    for (size_t i = 0; i < count; i++)
        if (tw_measurement_same(&items[i], &key)) return items[i].seconds;
    return NAN;
}

static const tw_placed_step *step_of(const tw_plan *plan, int node)
{
    for (size_t i = 0; i < plan->n_steps; i++)
        if (plan->steps[i].node == node) return &plan->steps[i];
    return NULL;
}

/* A row for each layer; reorders are no layers, and count in the whole. */
static tw_status report(const tw_network *before, const tw_network *after, const tw_tuning *all, tw_tune_result *result,
                        tw_error *error)
{
    result->layers = calloc(before->plan->n_steps + 1, sizeof *result->layers);
    if (!result->layers) return tw_no_memory(error, before->plan->n_steps * sizeof *result->layers, "a report");
    for (size_t i = 0; i < before->plan->n_steps; i++) {
        const tw_placed_step *old = &before->plan->steps[i];
        const tw_placed_step *new = old->node < 0 ? NULL : step_of(after->plan, old->node);
        if (!new) continue;
        tw_tuned_layer *layer = &result->layers[result->n_layers++];
        *layer = (tw_tuned_layer){.op = old->problem.op->name,
                                  .design_before = old->design->name,
                                  .design = new->design->name,
                                  .in_before = old->problem.in[0],
                                  .out_before = old->problem.out,
                                  .in = new->problem.in[0],
                                  .out = new->problem.out,
                                  .before = seconds_of(all, old),
                                  .after = seconds_of(all, new)};
        snprintf(layer->name, sizeof layer->name, "%s", old->name);
        tw_tuning_name(old->problem.op, old->problem.params, layer->problem);
    }
    return TW_OK;
}

static size_t count_problems(const tw_tuning *tuning)
{
    size_t count = 0;
    for (size_t i = 0; i < tuning->count; i++)
        count += i == 0 || strcmp(tuning->items[i].problem, tuning->items[i - 1].problem) != 0;
    return count;
}

tw_status tw_tune_check(const tw_device *device, tw_error *error)
{
    if (!device->backend->simulated) return TW_OK;
    return tw_fail(error, TW_UNAVAILABLE, "%s: there is no such hardware here: the times of a simulation say nothing",
                   device->info.id);
}

tw_status tw_tune(const tw_tune_desc *desc, tw_tuning *tuning, tw_tune_result *result, tw_error *error)
{
    tuner t = {.desc = desc};
    tw_network before = {0}, after = {0};
    *result = (tw_tune_result){0};
    tw_status status = tw_tune_check(desc->device, error);
    if (status != TW_OK) return status;
    tw_tuning *all = tw_tuning_create();
    status = all ? run_trials(&t, &result->trials, error) : tw_no_memory(error, sizeof *all, "a tuning");
    if (status == TW_OK) show(&t, t.total - 1, "comparing plans");
    if (status == TW_OK) status = settle(&t, tuning, &after, error);
    if (status == TW_OK) status = fold_records(&t, all, error);
    if (status == TW_OK) status = open_plan(&t, NULL, &before, error);
    if (status == TW_OK) status = keep_gain(&t, &before, &after, tuning, result, error);
    if (status == TW_OK) status = report(&before, &after, all, result, error);
    if (status == TW_OK) {
        result->problems = count_problems(all);
        result->measurements = all->count;
        result->without_memory = t.without_memory;
    } else {
        tw_tune_result_free(result);
    }
    tw_network_close(&before);
    tw_network_close(&after);
    for (size_t i = 0; i < t.count; i++) tw_samples_free(&t.records[i].samples);
    free(t.records);
    free(t.step_seconds);
    tw_tuning_release(all);
    return status;
}

void tw_tune_result_free(tw_tune_result *result)
{
    free(result->layers);
    result->layers = NULL;
    result->n_layers = 0;
}
