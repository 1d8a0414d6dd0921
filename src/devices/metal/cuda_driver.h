/* What metal-cuda needs of NVIDIA's driver, loaded when the device is opened: no toolkit is needed to build this, and a
 * machine without the driver runs the same program. Names, types and numbers are those of CUDA's driver interface
 * ("CUDA Driver API"), whose binary form does not change. */
#ifndef TW_DEVICES_METAL_CUDA_DRIVER_H
#define TW_DEVICES_METAL_CUDA_DRIVER_H

#include "tilewise.h"

#include <stddef.h>
#include <stdint.h>

typedef struct tw_cu_context *tw_cu_context;
typedef struct tw_cu_module *tw_cu_module;
typedef struct tw_cu_function *tw_cu_function;
typedef struct tw_cu_stream *tw_cu_stream;
typedef struct tw_cu_event *tw_cu_event;
typedef unsigned long long tw_cu_pointer;

enum {
    TW_CU_SUCCESS = 0,
    TW_CU_OUT_OF_MEMORY = 2,
    TW_CU_STREAM_NON_BLOCKING = 1,
    /* of a device */
    TW_CU_CLOCK = 13,
    TW_CU_MULTIPROCESSORS = 16,
    TW_CU_MEMORY_CLOCK = 36,
    TW_CU_MEMORY_BITS = 37,
    TW_CU_MAJOR = 75,
    TW_CU_MINOR = 76,
    /* of a function */
    TW_CU_MAX_THREADS = 0,
    TW_CU_SHARED_BYTES = 1
};

/* The name that libcuda exports, what it returns is an error's number, and its parameters. */
#define TW_CU_FUNCTIONS(F)                                                                                             \
    F(cuInit, (unsigned flags))                                                                                        \
    F(cuGetErrorString, (int error, const char **text))                                                                \
    F(cuDeviceGetCount, (int *count))                                                                                  \
    F(cuDeviceGet, (int *device, int index))                                                                           \
    F(cuDeviceGetName, (char *name, int bytes, int device))                                                            \
    F(cuDeviceTotalMem_v2, (size_t * bytes, int device))                                                               \
    F(cuDeviceGetAttribute, (int *value, int attribute, int device))                                                   \
    F(cuDevicePrimaryCtxRetain, (tw_cu_context * context, int device))                                                 \
    F(cuDevicePrimaryCtxRelease_v2, (int device))                                                                      \
    F(cuCtxSetCurrent, (tw_cu_context context))                                                                        \
    F(cuMemAlloc_v2, (tw_cu_pointer * memory, size_t bytes))                                                           \
    F(cuMemFree_v2, (tw_cu_pointer memory))                                                                            \
    F(cuMemGetInfo_v2, (size_t * available, size_t * total))                                                           \
    F(cuMemcpyHtoDAsync_v2, (tw_cu_pointer to, const void *from, size_t bytes, tw_cu_stream stream))                   \
    F(cuMemcpyDtoHAsync_v2, (void *to, tw_cu_pointer from, size_t bytes, tw_cu_stream stream))                         \
    F(cuStreamCreate, (tw_cu_stream * stream, unsigned flags))                                                         \
    F(cuStreamDestroy_v2, (tw_cu_stream stream))                                                                       \
    F(cuStreamSynchronize, (tw_cu_stream stream))                                                                      \
    F(cuEventCreate, (tw_cu_event * event, unsigned flags))                                                            \
    F(cuEventDestroy_v2, (tw_cu_event event))                                                                          \
    F(cuEventRecord, (tw_cu_event event, tw_cu_stream stream))                                                         \
    F(cuEventElapsedTime, (float *milliseconds, tw_cu_event begin, tw_cu_event end))                                   \
    F(cuLaunchHostFunc, (tw_cu_stream stream, void (*function)(void *data), void *data))                               \
    F(cuModuleLoadData, (tw_cu_module * module, const void *image))                                                    \
    F(cuModuleUnload, (tw_cu_module module))                                                                           \
    F(cuModuleGetFunction, (tw_cu_function * function, tw_cu_module module, const char *name))                         \
    F(cuModuleGetGlobal_v2, (tw_cu_pointer * memory, size_t * bytes, tw_cu_module module, const char *name))           \
    F(cuFuncGetAttribute, (int *value, int attribute, tw_cu_function function))                                        \
    F(cuLaunchKernel,                                                                                                  \
      (tw_cu_function function, unsigned grid_x, unsigned grid_y, unsigned grid_z, unsigned block_x, unsigned block_y, \
       unsigned block_z, unsigned shared_bytes, tw_cu_stream stream, void **parameters, void **extra))

typedef struct tw_cu_driver {
    void *handle;
#define TW_CU_FIELD(name, parameters) int(*name) parameters;
    TW_CU_FUNCTIONS(TW_CU_FIELD)
#undef TW_CU_FIELD
} tw_cu_driver;

/* TW_UNAVAILABLE and why, where there is no driver or no GPU. */
tw_status tw_cu_load(tw_cu_driver *driver, tw_error *error);
void tw_cu_unload(tw_cu_driver *driver);

#endif
