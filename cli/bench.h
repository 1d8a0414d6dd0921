/* What the two kinds of bench, of networks and of layers, share: the places of a sweep and its results. */
#ifndef CLI_BENCH_H
#define CLI_BENCH_H

#include "bench/results.h"
#include "bench/timing.h"
#include "options.h"

#include <stdio.h>

/* A device with a number of threads; without a device, `error` says why. */
typedef struct bench_place {
    tw_device *device;
    tw_device_info info;
    tw_error error;
} bench_place;

typedef struct bench {
    const cli_options *options;
    tw_results *results;
    bench_place *places;
    int place_count;
    int done, total; /* configurations */
    int code;        /* the worst so far */
    FILE *winners;   /* lines for standard error, below the results */
} bench;

/* One point of a sweep, apart from the design. */
typedef struct bench_point {
    bench_place *place;
    int precision, batch; /* batch 0: the layer's own */
} bench_point;

/* Both return an error only where going on is pointless; what one row tells is in the row. */
tw_status bench_networks(bench *b, tw_error *error);
tw_status bench_layers(bench *b, tw_error *error);

/* Measures a place's peaks, at its first use: bad input is refused before anything takes time. */
tw_status bench_measure(bench_place *place, tw_error *error);
/* A row that tells why there are no times, and the same on standard error where the user asked for this design. */
void bench_refuse(bench *b, tw_bench_row *row, tw_status status, const char *reason);
/* Moves the bar. */
void bench_step(bench *b, const char *what);
/* The row as JSON, with the percentiles that were asked for. */
cJSON *bench_row_json(const bench *b, const tw_bench_row *row, const tw_samples *samples);

#endif
