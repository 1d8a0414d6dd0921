/* What a design in CUDA includes: the core's types, its stream, and a few device functions that all epilogues share. */
#ifndef TW_DEVICES_CUDA_KERNEL_H
#define TW_DEVICES_CUDA_KERNEL_H

extern "C" {
#include "devices/cuda/cuda.h"
#include "ops/common/dims.h"
}

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>
#include <limits.h>
#include <math.h>

/* CUDA's limits (Programming Guide, "Compute Capabilities"): x to 2^31 - 1, y and z to 65,535. */
enum { TW_CUDA_MAX_GRID_YZ = 65535 };

static inline cudaStream_t tw_cuda_stream(tw_queue *queue)
{
    return queue->stream;
}

/* ---- launching ----
 *
 * Kernels follow one another in a stream, and half of what a small one costs is the gap before it. Launched by
 * tw_cuda_launch(), a kernel's blocks may start while the kernel before still drains (programmatic dependent launch,
 * compute capability 9.0). Such a kernel calls tw_cuda_wait() before it reads or writes anything that another step
 * touches, workspace included; weights and biases it may read earlier. It calls tw_cuda_release() after that, when the
 * next may start to be scheduled, which waits by itself. Where arithmetic bounds a kernel it should not come early: its
 * blocks take the places that are free first, crowd on few multiprocessors and stay there. tw_cuda_grid.after says so; on an
 * H100 in float32 it took ResNet-50 at batch 8 from 3.42 ms to 2.42. */
__device__ static inline void tw_cuda_wait(void)
{
#if __CUDA_ARCH__ >= 900
    asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}

__device__ static inline void tw_cuda_release(void)
{
#if __CUDA_ARCH__ >= 900
    asm volatile("griddepcontrol.launch_dependents;");
#endif
}

/* Asks for the 128 bytes around an address to be brought into L2. */
__device__ static inline void tw_prefetch(const void *from)
{
    asm volatile("prefetch.global.L2 [%0];" ::"l"(from));
}

/* Bytes of weights that may be brought into L2 at once, ahead of their layer, without driving out what is in use. */
enum { TW_CUDA_AHEAD = 16 << 20 };

typedef struct tw_cuda_grid {
    dim3 blocks;
    unsigned threads;
    size_t shared;    /* dynamic, bytes */
    unsigned cluster; /* blocks along z that form a cluster, 2 to 8, where the capability is 9.0; 0: none */
    size_t most;      /* dynamic bytes that any launch of this kernel asks for; 0: as this one */
    bool after;       /* not before the kernel before has ended: where arithmetic bounds it */
    bool as_shared;   /* wants the division of L1 and shared memory that its neighbours have: changing it takes time */
} tw_cuda_grid;

template <class... Parameters, class... Arguments>
static tw_status tw_cuda_launch(tw_queue *queue, void (*kernel)(Parameters...), const tw_cuda_grid &grid,
                                const Arguments &...arguments)
{
    /* A limit of the function and not of the launch: another launch, in a graph or a thread, must not find it lower. */
    const size_t most = grid.most > grid.shared ? grid.most : grid.shared;
    if (most > 48 * 1024 &&
        cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, (int)most) != cudaSuccess)
        return TW_FAILED;
    if (grid.as_shared && cudaFuncSetAttribute(kernel, cudaFuncAttributePreferredSharedMemoryCarveout,
                                               cudaSharedmemCarveoutMaxShared) != cudaSuccess)
        return TW_FAILED;
    cudaLaunchAttribute attributes[2] = {};
    attributes[0].id = cudaLaunchAttributeProgrammaticStreamSerialization;
    attributes[0].val.programmaticStreamSerializationAllowed = !grid.after;
    attributes[1].id = cudaLaunchAttributeClusterDimension;
    attributes[1].val.clusterDim.x = attributes[1].val.clusterDim.y = 1;
    attributes[1].val.clusterDim.z = grid.cluster;
    cudaLaunchConfig_t config = {};
    config.gridDim = grid.blocks;
    config.blockDim = dim3(grid.threads);
    config.dynamicSmemBytes = grid.shared;
    config.stream = queue->stream;
    config.attrs = attributes;
    config.numAttrs = queue->device->capability < 90 ? 0 : grid.cluster ? 2 : 1;
    return cudaLaunchKernelEx(&config, kernel, ((Parameters)arguments)...) == cudaSuccess ? TW_OK : TW_FAILED;
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

/* a / d for 0 <= a < 2^31 as the high half of a product (Granlund and Montgomery 1994). */
typedef struct tw_divisor {
    unsigned d, multiplier, shift;
    __device__ unsigned quotient(unsigned a) const
    {
        return d == 1 ? a : __umulhi(a, multiplier) >> shift;
    }
} tw_divisor;

static inline tw_divisor tw_make_divisor(int d)
{
    unsigned shift = 0;
    while ((1ull << (shift + 1)) < (unsigned)d) shift++;
    return {(unsigned)d, (unsigned)(((1ull << (32 + shift)) + d - 1) / d), shift};
}

/* A design's `supports`, where it takes every problem in plain float32; others begin with it. */
static inline bool tw_cuda_plain(const tw_problem *problem, const tw_device *device, const char **reason)
{
    (void)device;
    *reason = "reads and writes plain float32 only";
    return problem->in[0].dtype == TW_F32 && problem->out.dtype == TW_F32 && problem->in[0].layout == TW_PLAIN &&
           problem->out.layout == TW_PLAIN;
}

/* The same, where each element of the output depends on the elements in its own place. */
static inline bool tw_cuda_elementwise(const tw_problem *problem, const tw_device *device, const char **reason)
{
    (void)device;
    *reason = "inputs and output in the same layout and type, plain or channels-last";
    return problem->in[0].dtype == problem->out.dtype && problem->in[0].layout == problem->out.layout &&
           problem->out.layout != TW_BLOCKED;
}

/* ---- element types ----
 *
 * Activations are float, __half or __nv_bfloat16. Kernels compute in float: 16 bytes at a time are tw_pack<T>::width
 * numbers, widened as they are loaded and narrowed, rounded to nearest, as they are stored. */
template <class T> __device__ static inline float tw_widen(T v)
{
    return (float)v;
}
template <class T> __device__ static inline T tw_narrow(float v)
{
    return (T)v;
}

template <class T> struct tw_pack {
    static constexpr int width = 16 / sizeof(T);
    float v[width];

    __device__ static tw_pack load(const T *from) /* 16-byte aligned */
    {
        const int4 raw = *(const int4 *)from;
        T narrow[width];
        memcpy(narrow, &raw, sizeof raw);
        tw_pack pack;
#pragma unroll
        for (int i = 0; i < width; i++) pack.v[i] = tw_widen(narrow[i]);
        return pack;
    }
    __device__ void store(T *to) const
    {
        T narrow[width];
        int4 raw;
#pragma unroll
        for (int i = 0; i < width; i++) narrow[i] = tw_narrow<T>(v[i]);
        memcpy(&raw, narrow, sizeof raw);
        *(int4 *)to = raw;
    }
};

/* Calls f with a null pointer to the type that a dtype stands for: `[&](auto *type) { using T = ...; }`. */
template <class F> static auto tw_cuda_with_type(tw_dtype dtype, const F &f)
{
    if (dtype == TW_F16) return f((__half *)nullptr);
    if (dtype == TW_BF16) return f((__nv_bfloat16 *)nullptr);
    return f((float *)nullptr);
}

/* What tiles are chosen by, a second: of one multiprocessor in float32 multiply-adds, on tensor cores by mma.sync in fp16,
 * and from L2; of the whole device from memory. By compute capability and not by measurement: what a plan packed and the
 * workspace that it asked for must fit its runs, and the device may be measured in between. On 9.0 mma.sync reaches some
 * 60% of what wgmma does; the small chips sum float32 at half rate. */
typedef struct tw_cuda_rates {
    double fma, tensor, l2, memory;
} tw_cuda_rates;

static inline tw_cuda_rates tw_cuda_rates_of(const tw_cuda *cuda)
{
    if (cuda->capability >= 90) return {4.6e11, 3.2e12, 45e9, 2.9e12};
    if (cuda->capability == 80) return {1.8e11, 2.4e12, 35e9, 1.5e12};
    return {cuda->capability > 80 ? 4.0e11 : 2.0e11, 0.9e12, 25e9, 0.7e12};
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

/* An activation as bounds. */
__host__ __device__ static inline float tw_low(int activation)
{
    return activation == TW_ACT_NONE ? -INFINITY : 0.0f;
}
__host__ __device__ static inline float tw_high(int activation)
{
    return activation == TW_ACT_RELU6 ? 6.0f : INFINITY;
}

#endif
