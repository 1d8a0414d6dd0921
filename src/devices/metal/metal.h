/* What the designs in Metal know of their device, whatever runs them: the GPU's family, and how a kernel is launched.
 *
 * The same records (device "metal") serve every kind that takes them: metal-sim runs their kernels on the CPU, metal-cuda
 * on a GPU of NVIDIA's. A record's run() fills a dispatch and launches it; a queue's launches run in order. */
#ifndef TW_DEVICES_METAL_METAL_H
#define TW_DEVICES_METAL_METAL_H

#include "devices/device.h"

#include <stdint.h>

/* Limits of every family from Apple4 on. */
enum {
    TW_METAL_FAMILY_FIRST = 4,   /* A11 */
    TW_METAL_FAMILY_DEFAULT = 7, /* A14, M1 */
    TW_METAL_FAMILY_LAST = 10,   /* A19, M5 */
    TW_METAL_MAX_THREADS = 1024,
    TW_METAL_THREADGROUP_BYTES = 32 << 10,
    TW_METAL_MAX_BUFFERS = 24,
    TW_METAL_MAX_CONSTANTS = 8
};

/* The head of every device that takes records of "metal". */
typedef struct tw_metal {
    tw_device device;
    int family; /* 7: Apple7 */
} tw_metal;

static inline int tw_metal_family(const tw_device *device)
{
    return ((const tw_metal *)(const void *)device)->family;
}

/* Bytes of threadgroup memory that a threadgroup may have. */
static inline size_t tw_metal_threadgroup_limit(const tw_device *device)
{
    (void)device;
    return TW_METAL_THREADGROUP_BYTES;
}

/* bytes: of the whole operand, which checks and bindings use */
typedef struct tw_metal_buffer {
    const void *pointer;
    size_t bytes;
} tw_metal_buffer;

/* A value of type int for a function constant. */
typedef struct tw_metal_constant {
    const char *name;
    int32_t value;
} tw_metal_constant;

/* dispatchThreadgroups of one kernel: src/ops/SOURCE.metal has it. `args` is buffer(0); the others follow from
 * buffer(1) on in their order. threadgroup_bytes is the dynamic memory of threadgroup(0), a multiple of 16. */
typedef struct tw_metal_dispatch {
    const char *source, *kernel; /* "conv2d/metal_naive", "naive_f32" */
    const void *args;
    size_t args_bytes;
    tw_metal_buffer buffers[TW_METAL_MAX_BUFFERS];
    int n_buffers;
    tw_metal_constant constants[TW_METAL_MAX_CONSTANTS];
    int n_constants;
    unsigned threadgroups[3], threads[3];
    size_t threadgroup_bytes;
} tw_metal_dispatch;

typedef tw_status tw_metal_launch_function(tw_queue *queue, const tw_metal_dispatch *dispatch);

/* The head of every such device's queue. */
typedef struct tw_metal_queue {
    tw_metal_launch_function *launch;
} tw_metal_queue;

/* What it points to need only last until it returns. Why it failed is kept in the queue. */
static inline tw_status tw_metal_launch(tw_queue *queue, const tw_metal_dispatch *dispatch)
{
    return ((const tw_metal_queue *)(const void *)queue)->launch(queue, dispatch);
}

#endif
