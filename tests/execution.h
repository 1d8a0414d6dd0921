/* A graph planned for a device and a run of it, with tensors for its first input and its outputs, of which there are
 * at most two: for tests that compare devices. */
#ifndef TESTS_EXECUTION_H
#define TESTS_EXECUTION_H

#include "tilewise.h"

#include <stdbool.h>

typedef struct execution {
    tw_plan *plan;
    tw_run *run;
    tw_tensor in, out[2];
    size_t count; /* of the first output */
} execution;

/* The input is filled with numbers between -1 and 1, always the same. False: the running case has failed. */
bool execution_open(tw_graph *graph, tw_device *device, const tw_plan_desc *desc, execution *e);
void execution_close(execution *e);

size_t execution_elements(const tw_shape *shape);
size_t execution_launches(const tw_plan *plan);
/* The largest difference over the largest value; NaN where one is. */
double execution_difference(const float *a, const float *b, size_t count);
/* Runs both. The running case fails where outputs differ from the reference's by more than the tolerance, of two runs or of
 * one layer by layer, or where the second run differs from the first; where `exact`, also where the run layer by layer does. */
void execution_compare(execution *e, execution *reference, double tolerance, bool exact);

#endif
