/* What a design in CUDA includes: the core's types, its stream, and a few device functions that all epilogues share. */
#ifndef TW_DEVICES_CUDA_KERNEL_H
#define TW_DEVICES_CUDA_KERNEL_H

extern "C" {
#include "devices/cuda/cuda.h"
#include "ops/common/dims.h"
}

#include <cuda_runtime.h>
#include <limits.h>
#include <math.h>

/* CUDA's limits (Programming Guide, "Compute Capabilities"): x to 2^31 - 1, y and z to 65,535. */
enum { TW_CUDA_MAX_GRID_YZ = 65535 };

static inline cudaStream_t tw_cuda_stream(tw_queue *queue)
{
    return queue->stream;
}

/* What a launch left behind: a configuration that the device refuses shows here, a fault in the kernel later. */
static inline tw_status tw_cuda_launched(void)
{
    return cudaGetLastError() == cudaSuccess ? TW_OK : TW_FAILED;
}

/* Blocks for one thread an element, as a grid-stride loop: enough to fill the device, few enough to be cheap. */
static inline unsigned tw_cuda_blocks(size_t elements, unsigned threads)
{
    size_t blocks = (elements + threads - 1) / threads;
    return (unsigned)(blocks > 65536 ? 65536 : blocks);
}

static inline unsigned tw_ceil_div(size_t a, size_t b)
{
    return (unsigned)((a + b - 1) / b);
}

/* A design's `supports`, where it takes every problem in the plain layout; others begin with it. */
static inline bool tw_cuda_plain(const tw_problem *problem, const tw_device *device, const char **reason)
{
    (void)device;
    *reason = "reads and writes plain float32 only";
    return problem->out.dtype == TW_F32 && problem->in[0].layout == TW_PLAIN && problem->out.layout == TW_PLAIN;
}

/* The larger of what arithmetic and memory take, at a share of the peak, and what a launch in a graph costs. */
static inline double tw_cuda_seconds(const tw_device *device, double flops, double efficiency, double bytes,
                                     int launches)
{
    double compute = flops / (device->info.peak_flops * efficiency), memory = bytes / device->info.peak_bytes;
    return (compute > memory ? compute : memory) + launches * 1.5e-6;
}

/* The `cost` of a naive design that memory bounds: four bytes a thread do not quite reach its bandwidth. */
static inline double tw_cuda_naive_traffic(const tw_problem *problem, const tw_device *device)
{
    return tw_cuda_seconds(device, 0, 1, 1.2 * tw_problem_traffic(problem), 1);
}

/* NaN passes through, as in the reference. */
__device__ static inline float tw_activate(float v, int activation)
{
    if (activation == TW_ACT_NONE) return v;
    if (v < 0) return 0;
    return activation == TW_ACT_RELU6 && v > 6 ? 6 : v;
}

#endif
