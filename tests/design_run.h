/* One problem by one design, on buffers of the caller: for tests that choose every byte themselves. */
#ifndef TESTS_DESIGN_RUN_H
#define TESTS_DESIGN_RUN_H

#include "core/design.h"

typedef struct design_run {
    tw_device *device;
    const tw_op *op;
    const void *params;
    const char *design;
    tw_layout in, out;
} design_run;

/* inputs: in the operator's order, null where absent, activations in layout `in`, parameters plain. TW_UNAVAILABLE and
 * the reason where the design refuses. */
tw_status design_run_once(const design_run *run, const void *const *inputs, void *output, tw_error *error);

#endif
