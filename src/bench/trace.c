#include "bench/profile.h"
#include "core/status.h"
#include "formats/file.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PROCESS = 1, RUN_TRACK = 1, STEP_TRACK = 2, MAX_RUNS = 200 };

static void add_name(cJSON *events, const char *kind, int track, const char *name)
{
    cJSON *event = cJSON_CreateObject();
    tw_row_text(event, "ph", "M");
    tw_row_text(event, "name", kind);
    tw_row_number(event, "pid", PROCESS);
    if (track) tw_row_number(event, "tid", track);
    cJSON *args = cJSON_AddObjectToObject(event, "args");
    tw_row_text(args, "name", name);
    cJSON_AddItemToArray(events, event);
}

/* Times are microseconds. */
static cJSON *add_slice(cJSON *events, int track, const char *name, double start, double seconds)
{
    cJSON *event = cJSON_CreateObject();
    tw_row_text(event, "ph", "X");
    tw_row_text(event, "name", name);
    tw_row_number(event, "pid", PROCESS);
    tw_row_number(event, "tid", track);
    tw_row_number(event, "ts", 1e6 * start);
    tw_row_number(event, "dur", 1e6 * seconds);
    cJSON_AddItemToArray(events, event);
    return cJSON_AddObjectToObject(event, "args");
}

static void add_step(cJSON *events, const tw_step_info *step, double start, double seconds)
{
    cJSON *args = add_slice(events, STEP_TRACK, step->name, start, seconds);
    tw_row_text(args, "op", step->op);
    tw_row_text(args, "design", step->design);
    tw_row_text(args, "problem", step->problem);
    tw_row_number(args, "flops", step->flops);
    tw_row_number(args, "bytes", step->bytes);
    tw_row_number(args, "gflops", 1e-9 * step->flops / seconds);
    tw_row_number(args, "gbps", 1e-9 * step->bytes / seconds);
}

/* The steps of a run follow each other from its start. */
static void add_run(cJSON *events, const tw_network *network, const tw_profile *profile, size_t run)
{
    char name[32];
    snprintf(name, sizeof name, "run %zu", run);
    double at = profile->starts.seconds[run];
    add_slice(events, RUN_TRACK, name, at, profile->runs.seconds[run]);
    for (size_t i = 0; i < profile->steps; i++) {
        tw_step_info step;
        tw_plan_step(network->plan, i, &step);
        double seconds = profile->in_steps.seconds[run * profile->steps + i];
        add_step(events, &step, at, seconds);
        at += seconds;
    }
}

static tw_status write_file(const char *path, const char *text, tw_error *error)
{
    tw_file_writer file;
    tw_status status = tw_file_begin(&file, path, error);
    if (status == TW_OK) status = tw_file_write(&file, text, strlen(text), error);
    if (status == TW_OK) return tw_file_commit(&file, error);
    tw_file_discard(&file);
    return status;
}

tw_status tw_trace_write(const char *path, const tw_network *network, const tw_profile *profile, tw_error *error)
{
    tw_device_info device;
    tw_device_describe(network->device, &device);
    char label[192];
    snprintf(label, sizeof label, "%s: %s", device.id, device.name);

    cJSON *root = cJSON_CreateObject();
    cJSON *events = cJSON_AddArrayToObject(root, "traceEvents");
    tw_row_text(root, "displayTimeUnit", "ms");
    add_name(events, "process_name", 0, label);
    add_name(events, "thread_name", RUN_TRACK, "runs");
    add_name(events, "thread_name", STEP_TRACK, "steps");
    for (size_t run = 0; run < profile->runs.count && run < MAX_RUNS; run++) add_run(events, network, profile, run);

    char *text = cJSON_PrintUnformatted(root);
    tw_status status = text ? write_file(path, text, error) : tw_no_memory(error, 0, "the trace");
    free(text);
    cJSON_Delete(root);
    return status;
}
