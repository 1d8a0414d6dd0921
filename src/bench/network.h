/* One network on one device by one plan, with its buffers: what classify, run, bench, profile and verify start from. */
#ifndef TW_BENCH_NETWORK_H
#define TW_BENCH_NETWORK_H

#include "bench/results.h"
#include "bench/timing.h"

typedef struct tw_network {
    tw_device *device;
    tw_plan *plan;
    tw_run *run;
    tw_tensor input, output;
    double init_ms; /* from graph to ready: choosing, packing, placing */
} tw_network;

typedef struct tw_network_desc {
    tw_graph *graph; /* parameters bound or initialised; one input, one output */
    tw_device *device;
    tw_plan_desc plan;
} tw_network_desc;

tw_status tw_network_open(const tw_network_desc *desc, tw_network *network, tw_error *error);
void tw_network_close(tw_network *network);
tw_status tw_network_execute(tw_network *network, tw_error *error);

/* Fills a float32 tensor with numbers from -1 to 1 that depend on the seed alone. */
void tw_fill_random(tw_tensor *tensor, uint64_t seed);

/* Host seconds of each execution; where the device has a clock, also what it says (else those stay empty). */
typedef struct tw_network_samples {
    tw_samples host, upload, device, download;
} tw_network_samples;
tw_status tw_network_time(tw_network *network, const tw_timing_desc *timing, tw_network_samples *samples,
                          tw_error *error);
void tw_network_samples_free(tw_network_samples *samples);

/* Puts what samples say into a row: the statistics, and rates against the device's peaks where they were measured.
 * The row's flops and bytes are set before. */
void tw_bench_row_times(tw_bench_row *row, const tw_samples *samples, const tw_device_info *device);
/* The same of a network. Rates are the device's where it has a clock: copies are not its work. */
void tw_bench_row_network(tw_bench_row *row, const tw_network_samples *samples, const tw_device_info *device);
/* Puts what a step is into a row, which then refers to the step's texts. */
void tw_bench_row_step(tw_bench_row *row, const tw_step_info *step);
/* Sums of all steps. */
void tw_network_work(const tw_network *network, double *flops, double *bytes);

#endif
