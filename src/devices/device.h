/* What the core knows of a device. One record per kind (tw_cpu_backend, ...); an absent kind is a stub whose open()
 * says why. Above this interface no file knows CUDA or Metal. */
#ifndef TW_DEVICES_DEVICE_H
#define TW_DEVICES_DEVICE_H

#include "core/counts.h"
#include "core/design.h"

typedef struct tw_backend {
    const char *name;    /* "cpu" */
    const char *records; /* the designs that it takes say this as their device; null: its name */
    /* index: 1 for "cuda:1". Sets *device on success. */
    tw_status (*open)(int index, const tw_device_desc *desc, tw_device **device, tw_error *error);
    void (*close)(tw_device *device);
    /* Its peaks, into info; null: they stay nominal, as of a GPU that is not there. */
    tw_status (*measure)(tw_device *device, tw_error *error);

    bool simulated; /* there is no such hardware: what a step takes here says nothing of it */

    /* Device memory. On the CPU host pointers are device pointers and `unified` is set: the plan copies nothing. */
    bool unified;
    tw_status (*alloc)(tw_device *device, size_t bytes, void **memory, tw_error *error);
    void (*free)(tw_device *device, void *memory);
    /* Bytes that are free now; null where memory is the machine's. */
    tw_status (*available)(tw_device *device, size_t *bytes, tw_error *error);
    tw_status (*upload)(tw_queue *queue, void *device_memory, const void *host, size_t bytes, tw_error *error);
    tw_status (*download)(tw_queue *queue, void *host, const void *device_memory, size_t bytes, tw_error *error);

    /* A queue belongs to one run context. run_steps() launches a whole step list (a device may capture it once and
     * replay it) and returns when it is done; with step_seconds, each step's device time is written. */
    tw_status (*queue_create)(tw_device *device, tw_queue **queue, tw_error *error);
    void (*queue_destroy)(tw_queue *queue);
    tw_status (*run_steps)(tw_queue *queue, const tw_design *const *designs, const tw_step *steps, size_t count,
                           double *step_seconds, tw_error *error);
    /* How many of a plan's steps, from the first of these on, the device launches as one, at least 1; null: always 1.
     * run_steps() with step_seconds launches and times them one by one all the same. */
    size_t (*together)(const tw_device *device, const tw_design *const *designs, const tw_problem *const *problems,
                       size_t count);
    /* What the device's own clock says of the queue's last uploads, steps and downloads; null where it has none. */
    tw_status (*times)(tw_queue *queue, tw_run_times *times, tw_error *error);
    /* From now on run_steps() adds what each launch moves and computes, which may take far longer; null: no longer.
     * A null function: the device cannot count. */
    void (*count)(tw_queue *queue, tw_counts *counts);
} tw_backend;

/* The head of every device; backends put their own fields behind it. */
struct tw_device {
    const tw_backend *backend;
    tw_device_info info;
    unsigned precisions; /* TW_IN_FP32 | ...; 0: fp32 */
    int references;      /* atomic */
};

void tw_device_retain(tw_device *device);

/* Every kind in the order of `tilewise devices`; *count receives how many. */
const tw_backend *const *tw_backends(size_t *count);

#endif
