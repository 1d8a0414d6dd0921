#include "bench/network.h"
#include "bench/roofline.h"
#include "core/status.h"

#include <math.h>
#include <string.h>

static tw_status check_ends(const tw_graph *graph, tw_error *error)
{
    tw_graph_info info;
    tw_graph_describe(graph, &info);
    if (info.inputs == 1 && info.outputs == 1) return TW_OK;
    return tw_fail(error, TW_INVALID, "%s: %zu inputs and %zu outputs, expected one of each", tw_graph_name(graph),
                   info.inputs, info.outputs);
}

static tw_status create_tensors(tw_network *network, tw_error *error)
{
    tw_shape in, out;
    tw_status status = tw_plan_input_shape(network->plan, 0, &in, error);
    if (status == TW_OK) status = tw_plan_output_shape(network->plan, 0, &out, error);
    if (status == TW_OK) status = tw_tensor_create(TW_F32, &in, &network->input, error);
    if (status == TW_OK) status = tw_tensor_create(TW_F32, &out, &network->output, error);
    return status;
}

tw_status tw_network_open(const tw_network_desc *desc, tw_network *network, tw_error *error)
{
    *network = (tw_network){.device = desc->device};
    tw_status status = check_ends(desc->graph, error);
    if (status != TW_OK) return status;
    double start = tw_now();
    status = tw_plan_create(desc->graph, desc->device, &desc->plan, &network->plan, error);
    if (status == TW_OK) status = tw_run_create(network->plan, &network->run, error);
    network->init_ms = 1e3 * (tw_now() - start);
    if (status == TW_OK) status = create_tensors(network, error);
    if (status != TW_OK) tw_network_close(network);
    return status;
}

void tw_network_close(tw_network *network)
{
    tw_tensor_free(&network->input);
    tw_tensor_free(&network->output);
    if (network->run) tw_run_release(network->run);
    if (network->plan) tw_plan_release(network->plan);
    *network = (tw_network){0};
}

tw_status tw_network_execute(tw_network *network, tw_error *error)
{
    return tw_run_execute(network->run, &network->input, &network->output, error);
}

/* Steele, Lea and Flood 2014, SplitMix64: element i is the i-th output of the stream that the seed starts. */
static uint64_t split_mix(uint64_t seed, uint64_t index)
{
    uint64_t z = seed + (index + 1) * 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

void tw_fill_random(tw_tensor *tensor, uint64_t seed)
{
    size_t count;
    if (tw_shape_count(&tensor->shape, TW_F32, &count, NULL) != TW_OK) return;
    float *data = tensor->data;
    for (size_t i = 0; i < count; i++) data[i] = (float)(split_mix(seed, i) >> 40) * 0x1p-23f - 1;
}

typedef struct iteration {
    tw_network *network;
    tw_network_samples *samples; /* null while it warms up */
} iteration;

static tw_status iterate(void *context, tw_error *error)
{
    return tw_network_execute(context, error);
}

static tw_status keep(tw_samples *samples, double seconds, tw_error *error)
{
    return isnan(seconds) ? TW_OK : tw_samples_add(samples, seconds, error);
}

static tw_status iterate_measured(void *context, tw_error *error)
{
    iteration *i = context;
    tw_run_times times;
    tw_status status = tw_network_execute(i->network, error);
    if (status == TW_OK) status = tw_run_measured(i->network->run, &times, error);
    if (status == TW_OK) status = keep(&i->samples->upload, times.upload, error);
    if (status == TW_OK) status = keep(&i->samples->device, times.device, error);
    if (status == TW_OK) status = keep(&i->samples->download, times.download, error);
    return status;
}

tw_status tw_network_time(tw_network *network, const tw_timing_desc *timing, tw_network_samples *samples,
                          tw_error *error)
{
    const tw_timing_desc warm = {.iterations = 1, .warm_up_ms = timing->warm_up_ms};
    const tw_timing_desc measured = {.iterations = timing->iterations, .duration_s = timing->duration_s};
    tw_samples unused = {0};
    iteration i = {network, samples};
    tw_status status = timing->warm_up_ms > 0 ? tw_time(&warm, iterate, network, &unused, error) : TW_OK;
    tw_samples_free(&unused);
    return status == TW_OK ? tw_time(&measured, iterate_measured, &i, &samples->host, error) : status;
}

void tw_network_samples_free(tw_network_samples *samples)
{
    tw_samples_free(&samples->host);
    tw_samples_free(&samples->upload);
    tw_samples_free(&samples->device);
    tw_samples_free(&samples->download);
}

void tw_bench_row_times(tw_bench_row *row, const tw_samples *samples, const tw_device_info *device)
{
    tw_stats stats = tw_samples_stats(samples);
    row->samples = (double)stats.count;
    row->min_ms = 1e3 * stats.min;
    row->median_ms = 1e3 * stats.median;
    row->mean_ms = 1e3 * stats.mean;
    row->p90_ms = 1e3 * stats.p90;
    row->p95_ms = 1e3 * stats.p95;
    row->p99_ms = 1e3 * stats.p99;
    row->cv = stats.cv;
    row->gflops = 1e-9 * row->flops / stats.median;
    row->gbps = 1e-9 * row->bytes / stats.median;
    row->roofline_pct = tw_roofline_percent(device, row->flops, row->bytes, stats.median);
}

void tw_bench_row_network(tw_bench_row *row, const tw_network_samples *samples, const tw_device_info *device)
{
    tw_bench_row_times(row, &samples->host, device);
    if (samples->device.count == 0) return;
    double seconds = tw_samples_percentile(&samples->device, 50);
    row->h2d_ms = 1e3 * tw_samples_percentile(&samples->upload, 50);
    row->device_ms = 1e3 * seconds;
    row->d2h_ms = 1e3 * tw_samples_percentile(&samples->download, 50);
    row->gflops = 1e-9 * row->flops / seconds;
    row->gbps = 1e-9 * row->bytes / seconds;
    row->roofline_pct = tw_roofline_percent(device, row->flops, row->bytes, seconds);
}

void tw_bench_row_step(tw_bench_row *row, const tw_step_info *step)
{
    row->layer = step->name;
    row->op = step->op;
    row->problem = step->problem;
    row->design = step->design;
    row->flops = step->flops;
    row->bytes = step->bytes;
}

void tw_network_work(const tw_network *network, double *flops, double *bytes)
{
    tw_plan_info info;
    tw_plan_describe(network->plan, &info);
    *flops = *bytes = 0;
    for (size_t i = 0; i < info.steps; i++) {
        tw_step_info step;
        tw_plan_step(network->plan, i, &step);
        *flops += step.flops;
        *bytes += step.bytes;
    }
}
