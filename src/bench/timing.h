/* Times of something repeated, and what may be said about them.
 *
 * Flags and their meaning follow trtexec: warm up for some milliseconds, then repeat until both a number of
 * iterations and a duration are reached. The clock is monotonic and read around each iteration on the host, so an
 * iteration must return only when its work is done. */
#ifndef TW_BENCH_TIMING_H
#define TW_BENCH_TIMING_H

#include "tilewise.h"

typedef struct tw_timing_desc {
    int iterations;    /* at least this many; 0: 10, or fewer once twice the duration has passed, but never none */
    double warm_up_ms; /* untimed iterations until this has passed; 0: none */
    double duration_s; /* timed iterations until this has passed; 0: as many as `iterations` says */
} tw_timing_desc;

/* 200 ms of warm-up, 3 s. */
extern const tw_timing_desc tw_timing_default;

/* Seconds of each iteration, in order. Starts as {0}; tw_samples_free() releases it. */
typedef struct tw_samples {
    double *seconds;
    size_t count, capacity;
} tw_samples;

/* Seconds from an arbitrary origin. */
double tw_now(void);

tw_status tw_samples_add(tw_samples *samples, double seconds, tw_error *error);
void tw_samples_free(tw_samples *samples);

/* One iteration; returns when the work is done. */
typedef tw_status tw_iteration(void *context, tw_error *error);

/* Appends to `samples`; ends at the first iteration that fails. */
tw_status tw_time(const tw_timing_desc *desc, tw_iteration *iteration, void *context, tw_samples *samples,
                  tw_error *error);

typedef struct tw_stats {
    size_t count;
    double min, median, mean, p90, p95, p99; /* seconds; NaN where there are no samples */
    double cv;                               /* standard deviation over mean; NaN below two samples */
} tw_stats;
tw_stats tw_samples_stats(const tw_samples *samples);

/* The p-th percentile (0 to 100), linear between neighbours, as NumPy's default. NaN where there are no samples. */
double tw_samples_percentile(const tw_samples *samples, double p);

#endif
