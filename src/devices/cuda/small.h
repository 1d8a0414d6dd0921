/* Several layers of little work in a single launch. The designs called `small` of conv2d, linear, pool, relu, clip, add
 * and softmax share one kernel, small.cu, which does one step of them or a row of them. */
#ifndef TW_DEVICES_CUDA_SMALL_H
#define TW_DEVICES_CUDA_SMALL_H

#include "devices/cuda/cuda.h"

#ifdef __cplusplus
extern "C" {
#endif

/* A design's run() and supports(): all of them have the same. */
tw_status tw_small_run(const tw_step *step, tw_queue *queue);
bool tw_small_supports(const tw_problem *problem, const tw_device *device, const char **reason);
/* Seconds as one of several in a launch; work: of the whole batch, in multiply-adds. */
double tw_small_seconds(const tw_problem *problem, const tw_device *device, double work);

/* How many of these steps, from the first on, go into one launch; 1 where the first must be alone. */
size_t tw_small_together(const tw_device *device, const tw_design *const *designs, const tw_problem *const *problems,
                         size_t count);
/* Launches them. */
tw_status tw_small_run_all(const tw_step *steps, size_t count, tw_queue *queue);

#ifdef __cplusplus
}
#endif

#endif
