/* add, vectorised on CUDA: a thread reads 16 bytes of each operand, adds in float32, applies the activation and writes 16
 * bytes, in whatever layout all three share; what is left over at the end goes one by one. Bandwidth bounds it. */
#include "devices/cuda/kernel.h"
#include "ops/add/add.h"

#include <type_traits>

enum { THREADS = 256 };

template <class T>
__global__ static void __launch_bounds__(THREADS) vectorised(int activation, const T *a, const T *b, T *y, size_t count)
{
    constexpr int width = tw_pack<T>::width;
    const size_t first = (size_t)blockIdx.x * THREADS + threadIdx.x, step = (size_t)gridDim.x * THREADS;
    tw_cuda_wait();
    tw_cuda_release();
    for (size_t i = first; i < count / width; i += step) {
        tw_pack<T> sum = tw_pack<T>::load(a + i * width), other = tw_pack<T>::load(b + i * width);
#pragma unroll
        for (int j = 0; j < width; j++) sum.v[j] = tw_activate(sum.v[j] + other.v[j], activation);
        sum.store(y + i * width);
    }
    if (first < count % width) {
        const size_t i = count - 1 - first;
        y[i] = tw_narrow<T>(tw_activate(tw_widen(a[i]) + tw_widen(b[i]), activation));
    }
}

static tw_status run(const tw_step *step, tw_queue *queue)
{
    const tw_add *p = (const tw_add *)step->problem->params;
    const size_t count = tw_problem_elements(step->problem, 0);
    return tw_cuda_with_type(step->problem->out.dtype, [&](auto *type) {
        using T = std::remove_pointer_t<decltype(type)>;
        const tw_cuda_grid grid = {dim3(tw_cuda_blocks(count / tw_pack<T>::width + tw_pack<T>::width, THREADS)),
                                   THREADS};
        return tw_cuda_launch(queue, vectorised<T>, grid, p->activation, (const T *)step->in[0], (const T *)step->in[1],
                              (T *)step->out, count);
    });
}

static double cost(const tw_problem *problem, const tw_device *device)
{
    return tw_cuda_seconds(device, 0, 1, tw_problem_traffic(problem), 1);
}

extern "C" const tw_design tw_add_cuda_vectorised = {
    .op = "add",
    .device = "cuda",
    .name = "vectorised",
    .summary = "16 bytes a thread",
    .precisions = TW_IN_ALL,
    .in_place = true,
    .supports = tw_cuda_elementwise,
    .cost = cost,
    .run = run,
};
