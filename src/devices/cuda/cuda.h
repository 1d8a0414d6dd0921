/* The CUDA device as its own files see it. Kernels include kernel.h instead. */
#ifndef TW_DEVICES_CUDA_H
#define TW_DEVICES_CUDA_H

#include "devices/device.h"

#include <cuda_runtime_api.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct tw_vendor tw_vendor;

typedef struct tw_cuda {
    tw_device base;
    int index; /* the runtime's */
    int multiprocessors;
    int capability;    /* 90 for 9.0 */
    int shared_bytes;  /* of a block, at most */
    tw_vendor *vendor; /* handles of NVIDIA's libraries, for the yardsticks: vendor.cuh */
    bool no_graphs; /* TILEWISE_CUDA_GRAPHS=off: every kernel is launched by itself, for tools that want to see them */
} tw_cuda;

/* Around the last copies to the device, the last step or steps, the last copies back. */
enum {
    TW_CUDA_UPLOAD,
    TW_CUDA_UPLOADED,
    TW_CUDA_BEGIN,
    TW_CUDA_END,
    TW_CUDA_DOWNLOAD,
    TW_CUDA_DOWNLOADED,
    TW_CUDA_EVENTS
};

struct tw_queue {
    tw_cuda *device;
    cudaStream_t stream;
    cudaEvent_t events[TW_CUDA_EVENTS];
    unsigned recorded; /* bits of events */

    /* The step list that was run last, captured between two events; replayed while the same list is asked for. */
    cudaGraphExec_t graph;
    const tw_step *steps;
    size_t count;
};

/* Measured rates, by loops of multiply-adds and a copy: peak.cu. */
tw_status tw_cuda_measure(tw_cuda *device, cudaStream_t stream, tw_error *error);
/* Nothing is loaded before it is asked for. Null: no memory. */
tw_vendor *tw_vendor_create(void);
void tw_vendor_destroy(tw_vendor *vendor, int device_index);
/* Writes "cuda:0: what: CUDA's own message" and gives the status that fits. */
tw_status tw_cuda_fail(const tw_cuda *device, cudaError_t failure, const char *what, tw_error *error);

#ifdef __cplusplus
}
#endif

#endif
