/* A row for each step of a network's profile: what profile, bench --dumpProfile and classify --layers show. */
#ifndef CLI_LAYERS_H
#define CLI_LAYERS_H

#include "bench/profile.h"

/* A new array of rows, in the order of the steps. Shares are of the sum of the steps' medians. */
tw_status cli_layer_rows(const tw_network *network, const tw_profile *profile, const tw_row_key *key, cJSON **rows,
                         tw_error *error);

#endif
