/* What a step's kernels moved and computed, as JSON of a row. */
#ifndef TW_BENCH_COUNTERS_H
#define TW_BENCH_COUNTERS_H

#include "core/counts.h"

#include <cjson/cJSON.h>

#define TW_ALL_STEPS SIZE_MAX

/* Sums over the step's launches: an object of integers. Of threadgroup memory the largest, of threadgroups a core the
 * fewest; null where nothing limits these. Unique bytes are those of each launch, summed. */
cJSON *tw_counters_sum(const tw_counts *counts, size_t step);
/* Each launch of the step by itself, with its kernel's name: an array. */
cJSON *tw_counters_launches(const tw_counts *counts, size_t step);

#endif
