#include "bench/timing.h"
#include "core/status.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

const tw_timing_desc tw_timing_default = {.iterations = 0, .warm_up_ms = 200, .duration_s = 3};

double tw_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

tw_status tw_samples_add(tw_samples *samples, double seconds, tw_error *error)
{
    if (samples->count == samples->capacity) {
        size_t capacity = samples->capacity ? 2 * samples->capacity : 256;
        double *grown = realloc(samples->seconds, capacity * sizeof *grown);
        if (!grown) return tw_no_memory(error, capacity * sizeof *grown, "timing samples");
        samples->seconds = grown;
        samples->capacity = capacity;
    }
    samples->seconds[samples->count++] = seconds;
    return TW_OK;
}

void tw_samples_free(tw_samples *samples)
{
    free(samples->seconds);
    *samples = (tw_samples){0};
}

/* Is one more iteration due, `elapsed` seconds after the first began? */
static bool due(const tw_timing_desc *desc, size_t done, double elapsed)
{
    enum { ITERATIONS = 10, PATIENCE = 2 };
    if (done == 0 || elapsed < desc->duration_s) return true;
    if (desc->iterations > 0) return done < (size_t)desc->iterations;
    return done < ITERATIONS && elapsed < PATIENCE * desc->duration_s;
}

tw_status tw_time(const tw_timing_desc *desc, tw_iteration *iteration, void *context, tw_samples *samples,
                  tw_error *error)
{
    double begin = tw_now();
    while (tw_now() - begin < 1e-3 * desc->warm_up_ms) {
        tw_status status = iteration(context, error);
        if (status != TW_OK) return status;
    }
    begin = tw_now();
    double start = begin;
    for (size_t done = 0; due(desc, done, start - begin); done++) {
        tw_status status = iteration(context, error);
        double end = tw_now();
        if (status == TW_OK) status = tw_samples_add(samples, end - start, error);
        if (status != TW_OK) return status;
        start = tw_now(); /* what storing the sample cost is nobody's time */
    }
    return TW_OK;
}

/* ---- statistics ---- */

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double percentile_of_sorted(const double *sorted, size_t count, double p)
{
    double at = p / 100 * (double)(count - 1);
    size_t below = (size_t)at;
    if (below + 1 >= count) return sorted[count - 1];
    return sorted[below] + (at - (double)below) * (sorted[below + 1] - sorted[below]);
}

/* A sorted copy; null where there is nothing to sort or no memory. */
static double *sorted_copy(const tw_samples *samples)
{
    if (samples->count == 0) return NULL;
    double *sorted = malloc(samples->count * sizeof *sorted);
    if (!sorted) return NULL;
    memcpy(sorted, samples->seconds, samples->count * sizeof *sorted);
    qsort(sorted, samples->count, sizeof *sorted, ascending);
    return sorted;
}

double tw_samples_percentile(const tw_samples *samples, double p)
{
    double *sorted = sorted_copy(samples);
    double value = sorted ? percentile_of_sorted(sorted, samples->count, p) : NAN;
    free(sorted);
    return value;
}

static double mean_of(const double *values, size_t count)
{
    double sum = 0;
    for (size_t i = 0; i < count; i++) sum += values[i];
    return sum / (double)count;
}

static double variation(const double *values, size_t count, double mean)
{
    if (count < 2) return NAN;
    double squares = 0;
    for (size_t i = 0; i < count; i++) squares += (values[i] - mean) * (values[i] - mean);
    return sqrt(squares / (double)(count - 1)) / mean;
}

tw_stats tw_samples_stats(const tw_samples *samples)
{
    tw_stats stats = {samples->count, NAN, NAN, NAN, NAN, NAN, NAN, NAN};
    double *sorted = sorted_copy(samples);
    if (!sorted) return stats;
    size_t count = samples->count;
    stats.min = sorted[0];
    stats.median = percentile_of_sorted(sorted, count, 50);
    stats.mean = mean_of(sorted, count);
    stats.p90 = percentile_of_sorted(sorted, count, 90);
    stats.p95 = percentile_of_sorted(sorted, count, 95);
    stats.p99 = percentile_of_sorted(sorted, count, 99);
    stats.cv = variation(sorted, count, stats.mean);
    free(sorted);
    return stats;
}
