/* What `verify` checks: a fixed set of problems for each operator, and a network's values against the reference's. */
#ifndef TW_BENCH_VERIFY_H
#define TW_BENCH_VERIFY_H

#include "bench/network.h"

/* Descriptors that exercise an operator: usual sizes, odd and prime ones, one channel, one pixel, kernels larger than
 * the input, groups, strides, dilation, epilogues. *count receives how many. Null for operators without designs. */
const char *const *tw_verify_problems(const char *op, size_t *count);

/* Errors against a reference; relative to its largest magnitude. NaN and infinity match only themselves; a mismatch is
 * an infinite error. */
typedef struct tw_difference {
    double max_abs, mean_abs, max_rel;
} tw_difference;
tw_difference tw_compare(const float *values, const float *reference, size_t count);

/* The output of a step of `network` against the value of that name in `reference`, both with values kept and run on
 * the same input. TW_INVALID where the reference has no such value. */
tw_status tw_verify_step(const tw_network *network, const tw_network *reference, size_t step, tw_difference *difference,
                         tw_error *error);

#endif
