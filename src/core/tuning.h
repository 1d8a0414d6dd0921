/* Measured seconds of designs, by problem: what `tune` learns and plans choose by. One object is for one device, number
 * of threads and precision; see formats/tuning.c for its file. */
#ifndef TW_CORE_TUNING_H
#define TW_CORE_TUNING_H

#include "core/design.h"

/* A design on a problem in some types. */
typedef struct tw_measurement {
    char problem[192];  /* "conv2d:mb1ic64ih56oc64oh56kh3ph1" */
    const char *design; /* as in the registry */
    tw_type in, out;    /* of activations, as in tw_design_accepts() */
    double seconds;
} tw_measurement;

struct tw_tuning {
    tw_measurement *items; /* ordered by problem, design and types */
    size_t count, capacity;
    int trial; /* above 0: nothing is looked up; each step takes its trial-th best design by prediction, if it has one */
};

tw_tuning *tw_tuning_create(void);

/* A problem's name in a tuning: false where it does not fit. */
bool tw_tuning_name(const tw_op *op, const void *params, char text[192]);
/* The measurements of a problem. */
const tw_measurement *tw_tuning_find(const tw_tuning *tuning, const char *problem, size_t *count);
/* Same problem, design and types? */
bool tw_measurement_same(const tw_measurement *a, const tw_measurement *b);
/* In place of one of the same problem, design and types, if there is one. */
tw_status tw_tuning_add(tw_tuning *tuning, const tw_measurement *item, tw_error *error);
/* Many: appended in any order, then brought into order once. Of the same, the least seconds stay. */
tw_status tw_tuning_append(tw_tuning *tuning, const tw_measurement *item, tw_error *error);
void tw_tuning_sort(tw_tuning *tuning);
/* All of `newer`, which takes the place of everything that is known of its problems. */
tw_status tw_tuning_merge(tw_tuning *tuning, const tw_tuning *newer, tw_error *error);
/* Keeps those for which keep() is true. */
void tw_tuning_filter(tw_tuning *tuning, bool (*keep)(const tw_measurement *item, const void *context),
                      const void *context);

#endif
