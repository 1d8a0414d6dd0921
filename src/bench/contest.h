/* One problem for which designs compete: each is checked first, then timed, and gets a row. */
#ifndef TW_BENCH_CONTEST_H
#define TW_BENCH_CONTEST_H

#include "bench/layer.h"
#include "bench/results.h"

typedef struct tw_contest_desc {
    tw_device *device;
    const tw_op *op;
    const char *text; /* the descriptor without the operator */
    tw_precision precision;
    uint64_t seed;
} tw_contest_desc;

typedef struct tw_contest {
    tw_device *device;
    const tw_op *op;
    void *params;
    tw_precision precision;
    tw_layer *layer;
    char problem[192]; /* "conv2d:mb1ic..." with all that was implied */
    double flops, bytes;
    char reason[192]; /* of the last row */
    double mean_abs_err;
    tw_samples samples;                                   /* of the last row */
    double best_ms, naive_ms, reference_ms, yardstick_ms; /* medians; NaN where there are none */
    const tw_design *best, *yardstick;
} tw_contest;

tw_status tw_contest_open(const tw_contest_desc *desc, tw_contest *contest, tw_error *error);
void tw_contest_close(tw_contest *contest);

/* The design that is predicted to be fastest; null where all refuse. Yardsticks are never chosen. */
const tw_design *tw_contest_choose(const tw_contest *contest);

/* Fills all of the row but its key and its layer. `timing` may be null: the check alone. A refusal and a wrong result
 * are dispositions of the row, not errors; a wrong design is not timed. */
tw_status tw_contest_enter(tw_contest *contest, const tw_design *design, const tw_timing_desc *timing,
                           tw_bench_row *row, tw_error *error);

#endif
