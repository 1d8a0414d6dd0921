/* Measures what may do each layer of a network, inside the network: see tune.c. */
#ifndef TW_BENCH_TUNE_H
#define TW_BENCH_TUNE_H

#include "bench/network.h"
#include "core/tuning.h"

typedef struct tw_tune_desc {
    tw_graph *graph; /* parameters bound or initialised; one input, one output */
    tw_device *device;
    int batch;
    tw_precision precision;
    int iterations;                                          /* runs of each trial; 0: 9 */
    tw_timing_desc timing;                                   /* of the whole network, before and after */
    uint64_t seed;                                           /* of the input */
    void (*progress)(int done, int total, const char *what); /* may be null */
} tw_tune_desc;

/* What is kept: the first of these by which the whole network is at least 1 % faster than by prediction. */
typedef enum tw_tune_kept {
    TW_TUNE_ALL,      /* every measurement */
    TW_TUNE_LAYOUTS,  /* those in the layouts that the predicted plan has */
    TW_TUNE_PREDICTED /* those of the predicted plan's own designs: the plan stays what it was */
} tw_tune_kept;

/* A layer before and after. */
typedef struct tw_tuned_layer {
    char name[128], problem[192];
    const char *op, *design_before, *design;
    tw_type in_before, out_before, in, out;
    double before, after; /* median seconds by these designs; NaN where they were not measured */
} tw_tuned_layer;

typedef struct tw_tune_result {
    tw_tuned_layer *layers;
    size_t n_layers;
    size_t problems, measurements;
    int trials, without_memory; /* of them, those whose workspace and weights did not fit, which are left out */
    bool same;                  /* the plan is the predicted one */
    tw_tune_kept kept;
    double before, after; /* median seconds of the whole network, by the device's clock if it has one */
} tw_tune_result;

/* TW_UNAVAILABLE on a simulated device. */
tw_status tw_tune_check(const tw_device *device, tw_error *error);

/* Fills a tuning that is empty. */
tw_status tw_tune(const tw_tune_desc *desc, tw_tuning *tuning, tw_tune_result *result, tw_error *error);
void tw_tune_result_free(tw_tune_result *result);

#endif
