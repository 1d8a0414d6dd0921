/* batchnorm, naive on CUDA: one thread an element, which computes its channel's scale anew; one read and one write of
 * device memory bound it, since the four numbers of a channel stay in L1. Plain or channels-last: all that differs is how
 * far apart channels are. */
#include "devices/cuda/kernel.h"
#include "ops/batchnorm/batchnorm.h"

#include <type_traits>

enum { THREADS = 256 };

template <class T>
__global__ static void __launch_bounds__(THREADS)
    naive(tw_batchnorm p, size_t apart, const T *x, const float *weight, const float *bias, const float *mean,
          const float *var, T *y, size_t count)
{
    tw_cuda_wait();
    for (size_t i = (size_t)blockIdx.x * THREADS + threadIdx.x; i < count; i += (size_t)gridDim.x * THREADS) {
        const size_t c = i / apart % p.c;
        y[i] = tw_narrow<T>((tw_widen(x[i]) - mean[c]) / sqrtf(var[c] + p.epsilon) * weight[c] + bias[c]);
    }
}

static tw_status run(const tw_step *step, tw_queue *queue)
{
    const tw_batchnorm *p = (const tw_batchnorm *)step->problem->params;
    const size_t count = tw_problem_elements(step->problem, 0);
    const size_t apart = step->problem->out.layout == TW_NHWC ? 1 : (size_t)p->h * p->w;
    const tw_cuda_grid grid = {dim3(tw_cuda_blocks(count, THREADS)), THREADS};
    return tw_cuda_with_type(step->problem->out.dtype, [&](auto *type) {
        using T = std::remove_pointer_t<decltype(type)>;
        return tw_cuda_launch(queue, naive<T>, grid, *p, apart, (const T *)step->in[0], (const float *)step->in[1],
                              (const float *)step->in[2], (const float *)step->in[3], (const float *)step->in[4],
                              (T *)step->out, count);
    });
}

extern "C" const tw_design tw_batchnorm_cuda_naive = {
    .op = "batchnorm",
    .device = "cuda",
    .name = "naive",
    .summary = "one thread an element",
    .precisions = TW_IN_ALL,
    .in_place = true,
    .supports = tw_cuda_elementwise,
    .cost = tw_cuda_naive_traffic,
    .run = run,
};
