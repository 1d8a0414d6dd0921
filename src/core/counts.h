/* What the launches of a run moved and computed, where a device can count it. */
#ifndef TW_CORE_COUNTS_H
#define TW_CORE_COUNTS_H

#include "tilewise.h"

#include <stdint.h>

/* Of one launch. Bytes of device memory each time, then each byte once; memory of threads is not counted. */
typedef struct tw_counters {
    uint64_t threadgroups, threads;
    uint64_t device_read_bytes, device_written_bytes;
    uint64_t device_unique_read_bytes, device_unique_written_bytes;
    uint64_t device_group_read_bytes; /* each byte once a threadgroup */
    uint64_t constant_read_bytes;
    uint64_t threadgroup_read_bytes, threadgroup_written_bytes;
    uint64_t flops;             /* as executed; a fused multiply-add is two */
    uint64_t special_functions; /* exp, sqrt and the like */
    uint64_t instructions;
    uint64_t barriers;                                          /* once a threadgroup */
    uint64_t simdgroup_operations, simdgroup_matrix_operations; /* once a simdgroup; the second among the first */
    uint64_t atomics;
    /* What simdgroups ask of memory at once: requests, and the cache lines or the turns of banks that serve them; of each
     * threadgroup's requests those of its busiest simdgroup. */
    uint64_t device_requests, device_lines, device_busiest_requests;
    uint64_t threadgroup_requests, threadgroup_turns;
    uint64_t threadgroup_memory_bytes;  /* of one threadgroup */
    uint64_t max_threadgroups_per_core; /* that its threadgroup memory leaves room for; 0: as many as there are */
} tw_counters;

typedef struct tw_counted_launch {
    size_t step;
    char source[64], kernel[64];
    uint32_t threads[3]; /* of a threadgroup */
    tw_counters counters;
} tw_counted_launch;

/* In the order of the launches. Freed by tw_counts_free. */
typedef struct tw_counts {
    tw_counted_launch *launches;
    size_t count, capacity;
} tw_counts;

/* A new launch at the end, all zero; null where there is no memory. */
tw_counted_launch *tw_counts_add(tw_counts *counts);
void tw_counts_free(tw_counts *counts);

/* Runs once as tw_run_execute() does and adds each launch. TW_UNAVAILABLE where the device cannot count. */
tw_status tw_run_count(tw_run *run, const tw_tensor *inputs, tw_tensor *outputs, tw_counts *counts, tw_error *error);
bool tw_device_counts(const tw_device *device);

#endif
