/* Where a network's time goes: the seconds of each step over many runs, as rows and as a trace. */
#ifndef TW_BENCH_PROFILE_H
#define TW_BENCH_PROFILE_H

#include "bench/network.h"

typedef struct tw_profile {
    size_t steps;
    tw_samples runs;     /* host seconds of each run */
    tw_samples starts;   /* when each began, in seconds from the first */
    tw_samples in_steps; /* [runs][steps] */
} tw_profile;

tw_status tw_profile_measure(tw_network *network, const tw_timing_desc *timing, tw_profile *profile, tw_error *error);
void tw_profile_free(tw_profile *profile);

/* One step's seconds in every run; the caller frees them. */
tw_status tw_profile_step(const tw_profile *profile, size_t index, tw_samples *samples, tw_error *error);

/* Chrome's trace event format, which Perfetto (ui.perfetto.dev) and chrome://tracing open. A process is a device, its
 * first track has a slice for each run, the second one for each step with its design, problem and work. */
tw_status tw_trace_write(const char *path, const tw_network *network, const tw_profile *profile, tw_error *error);

#endif
