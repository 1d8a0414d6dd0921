/* One operator's problem on one device, with seeded random operands: every design of it can be checked against the
 * reference and timed. Tests, verify, bench and tune stand on this. */
#ifndef TW_BENCH_LAYER_H
#define TW_BENCH_LAYER_H

#include "bench/timing.h"
#include "core/design.h"

typedef struct tw_layer tw_layer;

typedef struct tw_layer_desc {
    const tw_op *op;
    const void *params; /* copied */
    tw_precision precision;
    uint64_t seed;
} tw_layer_desc;

/* Operands in [-1, 1), parameters scaled by 1 / sqrt(fan in), variances in [0.5, 1.5), all rounded to the precision. The
 * reference's result, in double precision from the rounded operands, is computed at the first check. */
tw_status tw_layer_create(tw_device *device, const tw_layer_desc *desc, tw_layer **layer, tw_error *error);
void tw_layer_destroy(tw_layer *layer);

/* From now on on another device: one set of operands and one reference serve several. */
void tw_layer_use(tw_layer *layer, tw_device *device);
/* Only these types from now on, instead of the first that a design accepts. */
void tw_layer_force_types(tw_layer *layer, tw_type in, tw_type out);

typedef struct tw_layer_result {
    bool supported;
    const char *reason; /* why not */
    bool correct;       /* error within tolerance, guards whole, padding zero */
    const char *fault;  /* what else is wrong: "wrote beyond its output"; null where nothing is */
    double max_abs_err, mean_abs_err;
    double max_rel_err; /* relative to the layer's scale: the largest magnitude of the reference */
    double tolerance;   /* for max_rel_err */
    size_t workspace_bytes, packed_bytes;
    tw_type in, out;
    uint64_t hash; /* of the result's bits, in plain order */
} tw_layer_result;

/* Runs once, outputs, workspace and packed weights poisoned with NaN, guards behind each, and compares. */
tw_status tw_layer_check(tw_layer *layer, const tw_design *design, tw_layer_result *result, tw_error *error);

/* Seconds of a run of the layer. Where the device has a clock, its time of twenty in a row, as within a network, divided
 * by twenty. TW_UNAVAILABLE with the reason where the design refuses. */
tw_status tw_layer_time(tw_layer *layer, const tw_design *design, const tw_timing_desc *how, tw_samples *samples,
                        tw_error *error);

/* The largest error that a design may have, relative to the scale. */
double tw_design_tolerance(const tw_design *design, tw_precision precision);

#endif
