/* relu and clip, vectorised on CUDA: a thread reads and writes four elements at once, 16 bytes, so that few threads keep
 * device memory busy; what is left over at the end goes one by one. */
#include "devices/cuda/kernel.h"
#include "ops/activation/activation.h"

enum { THREADS = 256 };

__device__ static inline float clip(float v, float low, float high)
{
    return v < low ? low : v > high ? high : v; /* NaN passes through */
}

__global__ static void vectorised(float low, float high, const float *x, float *y, size_t count)
{
    size_t first = (size_t)blockIdx.x * THREADS + threadIdx.x, step = (size_t)gridDim.x * THREADS;
    for (size_t i = first; i < count / 4; i += step) {
        float4 v = ((const float4 *)x)[i];
        ((float4 *)y)[i] =
            make_float4(clip(v.x, low, high), clip(v.y, low, high), clip(v.z, low, high), clip(v.w, low, high));
    }
    if (first < count % 4) y[count - 1 - first] = clip(x[count - 1 - first], low, high);
}

static tw_status run(const tw_step *step, tw_queue *queue)
{
    const tw_clip *p = (const tw_clip *)step->problem->params;
    size_t count = tw_problem_elements(step->problem, 0);
    vectorised<<<tw_cuda_blocks(count / 4 + 1, THREADS), THREADS, 0, tw_cuda_stream(queue)>>>(
        p->low, p->high, (const float *)step->in[0], (float *)step->out, count);
    return tw_cuda_launched();
}

static double cost(const tw_problem *problem, const tw_device *device)
{
    return tw_cuda_seconds(device, 0, 1, tw_problem_traffic(problem), 1);
}

extern "C" const tw_design tw_relu_cuda_vectorised = {
    .op = "relu",
    .device = "cuda",
    .name = "vectorised",
    .summary = "16 bytes a thread",
    .in_place = true,
    .supports = tw_cuda_plain,
    .cost = cost,
    .run = run,
};

extern "C" const tw_design tw_clip_cuda_vectorised = {
    .op = "clip",
    .device = "cuda",
    .name = "vectorised",
    .summary = "16 bytes a thread",
    .in_place = true,
    .supports = tw_cuda_plain,
    .cost = cost,
    .run = run,
};
