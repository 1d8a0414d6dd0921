#include "bench/profile.h"
#include "core/status.h"

#include <stdlib.h>

typedef struct recorder {
    tw_network *network;
    tw_profile *profile;
    double *step_seconds;
    double origin;
} recorder;

static tw_status record(void *context, tw_error *error)
{
    recorder *r = context;
    double start = tw_now();
    tw_status status = tw_run_profile(r->network->run, &r->network->input, &r->network->output, r->step_seconds, error);
    if (status == TW_OK) status = tw_samples_add(&r->profile->starts, start - r->origin, error);
    for (size_t i = 0; i < r->profile->steps && status == TW_OK; i++)
        status = tw_samples_add(&r->profile->in_steps, r->step_seconds[i], error);
    return status;
}

static tw_status warm_up(void *context, tw_error *error)
{
    return tw_network_execute(context, error);
}

tw_status tw_profile_measure(tw_network *network, const tw_timing_desc *timing, tw_profile *profile, tw_error *error)
{
    tw_plan_info info;
    tw_plan_describe(network->plan, &info);
    *profile = (tw_profile){.steps = info.steps};
    double *step_seconds = calloc(info.steps + 1, sizeof *step_seconds);
    if (!step_seconds) return tw_no_memory(error, info.steps * sizeof *step_seconds, "step times");

    tw_samples unused = {0};
    const tw_timing_desc warm = {.iterations = 1, .warm_up_ms = timing->warm_up_ms};
    tw_status status = timing->warm_up_ms > 0 ? tw_time(&warm, warm_up, network, &unused, error) : TW_OK;
    tw_samples_free(&unused);

    const tw_timing_desc measured = {.iterations = timing->iterations, .duration_s = timing->duration_s};
    recorder r = {network, profile, step_seconds, tw_now()};
    if (status == TW_OK) status = tw_time(&measured, record, &r, &profile->runs, error);
    free(step_seconds);
    if (status != TW_OK) tw_profile_free(profile);
    return status;
}

void tw_profile_free(tw_profile *profile)
{
    tw_samples_free(&profile->runs);
    tw_samples_free(&profile->starts);
    tw_samples_free(&profile->in_steps);
}

tw_status tw_profile_step(const tw_profile *profile, size_t index, tw_samples *samples, tw_error *error)
{
    *samples = (tw_samples){0};
    tw_status status = TW_OK;
    for (size_t i = 0; i < profile->runs.count && status == TW_OK; i++)
        status = tw_samples_add(samples, profile->in_steps.seconds[i * profile->steps + index], error);
    if (status != TW_OK) tw_samples_free(samples);
    return status;
}
