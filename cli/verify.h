/* What the two kinds of verify, of operators and of networks, share. */
#ifndef CLI_VERIFY_H
#define CLI_VERIFY_H

#include "bench/results.h"
#include "options.h"

/* Both give the exit code; the results are the caller's. */
int verify_operators(const cli_options *options, const char *op, tw_results *results);
int verify_network(const cli_options *options, const char *name, tw_results *results);

/* The bench row with the statistics that only verify has. */
cJSON *verify_row(const tw_bench_row *row, double mean_abs_err, double tolerance);

#endif
