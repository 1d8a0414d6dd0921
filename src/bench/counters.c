#include "bench/counters.h"
#include "bench/results.h"

#include <math.h>
#include <stddef.h>
#include <string.h>

#define FIELD(name)                                                                                                    \
    {                                                                                                                  \
#name, offsetof(tw_counters, name)                                                                             \
    }
/* Those that are summed. */
static const struct {
    const char *key;
    size_t offset;
} fields[] = {
    FIELD(threadgroups),
    FIELD(threads),
    FIELD(device_read_bytes),
    FIELD(device_written_bytes),
    FIELD(device_unique_read_bytes),
    FIELD(device_unique_written_bytes),
    FIELD(device_group_read_bytes),
    FIELD(constant_read_bytes),
    FIELD(threadgroup_read_bytes),
    FIELD(threadgroup_written_bytes),
    FIELD(flops),
    FIELD(special_functions),
    FIELD(instructions),
    FIELD(barriers),
    FIELD(simdgroup_operations),
    FIELD(simdgroup_matrix_operations),
    FIELD(atomics),
    FIELD(device_requests),
    FIELD(device_lines),
    FIELD(device_busiest_requests),
    FIELD(threadgroup_requests),
    FIELD(threadgroup_turns),
};
#undef FIELD
static const size_t field_count = sizeof fields / sizeof *fields;

static uint64_t *field_of(tw_counters *counters, size_t index)
{
    return (uint64_t *)(void *)((char *)counters + fields[index].offset);
}

static void add(tw_counters *to, const tw_counters *launch)
{
    tw_counters from = *launch;
    for (size_t i = 0; i < field_count; i++) *field_of(to, i) += *field_of(&from, i);
    if (from.threadgroup_memory_bytes > to->threadgroup_memory_bytes)
        to->threadgroup_memory_bytes = from.threadgroup_memory_bytes;
    const uint64_t most = from.max_threadgroups_per_core;
    if (most && (!to->max_threadgroups_per_core || most < to->max_threadgroups_per_core))
        to->max_threadgroups_per_core = most;
}

static void put(cJSON *json, const tw_counters *counters)
{
    tw_counters c = *counters;
    for (size_t i = 0; i < field_count; i++) tw_row_number(json, fields[i].key, (double)*field_of(&c, i));
    tw_row_number(json, "threadgroup_memory_bytes", (double)c.threadgroup_memory_bytes);
    const uint64_t most = c.max_threadgroups_per_core;
    tw_row_number(json, "max_threadgroups_per_core", most ? (double)most : NAN);
}

static bool is_of(const tw_counted_launch *launch, size_t step)
{
    return step == TW_ALL_STEPS || launch->step == step;
}

cJSON *tw_counters_sum(const tw_counts *counts, size_t step)
{
    tw_counters sum = {0};
    size_t launches = 0;
    for (size_t i = 0; i < counts->count; i++) {
        if (!is_of(&counts->launches[i], step)) continue;
        add(&sum, &counts->launches[i].counters);
        launches++;
    }
    cJSON *json = cJSON_CreateObject();
    tw_row_number(json, "launches", (double)launches);
    put(json, &sum);
    return json;
}

cJSON *tw_counters_launches(const tw_counts *counts, size_t step)
{
    cJSON *all = cJSON_CreateArray();
    for (size_t i = 0; i < counts->count; i++) {
        const tw_counted_launch *launch = &counts->launches[i];
        if (!is_of(launch, step)) continue;
        cJSON *json = cJSON_CreateObject();
        tw_row_text(json, "source", launch->source);
        tw_row_text(json, "kernel", launch->kernel);
        tw_row_number(json, "threads_per_threadgroup",
                      (double)launch->threads[0] * launch->threads[1] * launch->threads[2]);
        put(json, &launch->counters);
        cJSON_AddItemToArray(all, json);
    }
    return all;
}
