/* relu and clip, vectorised on CUDA: a thread reads and writes 16 bytes at once, in whatever layout both share, so that few
 * threads keep device memory busy; what is left over at the end goes one by one. */
#include "devices/cuda/kernel.h"
#include "ops/activation/activation.h"

#include <type_traits>

enum { THREADS = 256 };

__device__ static inline float clip(float v, float low, float high)
{
    return v < low ? low : v > high ? high : v; /* NaN passes through */
}

template <class T>
__global__ static void __launch_bounds__(THREADS) vectorised(float low, float high, const T *x, T *y, size_t count)
{
    constexpr int width = tw_pack<T>::width;
    const size_t first = (size_t)blockIdx.x * THREADS + threadIdx.x, step = (size_t)gridDim.x * THREADS;
    tw_cuda_wait();
    tw_cuda_release();
    for (size_t i = first; i < count / width; i += step) {
        tw_pack<T> pack = tw_pack<T>::load(x + i * width);
#pragma unroll
        for (int j = 0; j < width; j++) pack.v[j] = clip(pack.v[j], low, high);
        pack.store(y + i * width);
    }
    if (first < count % width) y[count - 1 - first] = tw_narrow<T>(clip(tw_widen(x[count - 1 - first]), low, high));
}

static tw_status run(const tw_step *step, tw_queue *queue)
{
    const tw_clip *p = (const tw_clip *)step->problem->params;
    const size_t count = tw_problem_elements(step->problem, 0);
    return tw_cuda_with_type(step->problem->out.dtype, [&](auto *type) {
        using T = std::remove_pointer_t<decltype(type)>;
        const tw_cuda_grid grid = {dim3(tw_cuda_blocks(count / tw_pack<T>::width + tw_pack<T>::width, THREADS)),
                                   THREADS};
        return tw_cuda_launch(queue, vectorised<T>, grid, p->low, p->high, (const T *)step->in[0], (T *)step->out,
                              count);
    });
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
    .precisions = TW_IN_ALL,
    .in_place = true,
    .supports = tw_cuda_elementwise,
    .cost = cost,
    .run = run,
};

extern "C" const tw_design tw_clip_cuda_vectorised = {
    .op = "clip",
    .device = "cuda",
    .name = "vectorised",
    .summary = "16 bytes a thread",
    .precisions = TW_IN_ALL,
    .in_place = true,
    .supports = tw_cuda_elementwise,
    .cost = cost,
    .run = run,
};
