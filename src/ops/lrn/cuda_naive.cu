/* lrn, naive on CUDA: one thread an output, which sums the squares of its own window of channels: `size` reads, all but
 * one from the caches, and one power. Plain or channels-last: all that differs is how far apart channels are. */
#include "devices/cuda/kernel.h"
#include "ops/lrn/lrn.h"

#include <type_traits>

enum { THREADS = 256 };

template <class T>
__global__ static void __launch_bounds__(THREADS) naive(tw_lrn p, size_t apart, const T *x, T *y, size_t count)
{
    tw_cuda_wait();
    for (size_t i = (size_t)blockIdx.x * THREADS + threadIdx.x; i < count; i += (size_t)gridDim.x * THREADS) {
        const int c = (int)(i / apart % p.c), first = c - p.size / 2, last = c + (p.size - 1) / 2;
        const T *channel0 = x + (i - c * apart);
        float sum = 0;
        for (int j = first < 0 ? 0 : first; j <= last && j < p.c; j++) {
            const float v = tw_widen(channel0[j * apart]);
            sum = fmaf(v, v, sum);
        }
        y[i] = tw_narrow<T>(tw_widen(x[i]) / powf(p.k + p.alpha / p.size * sum, p.beta));
    }
}

static tw_status run(const tw_step *step, tw_queue *queue)
{
    const tw_lrn *p = (const tw_lrn *)step->problem->params;
    const size_t count = tw_problem_elements(step->problem, 0);
    const size_t apart = step->problem->out.layout == TW_NHWC ? 1 : (size_t)p->h * p->w;
    const tw_cuda_grid grid = {dim3(tw_cuda_blocks(count, THREADS)), THREADS};
    return tw_cuda_with_type(step->problem->out.dtype, [&](auto *type) {
        using T = std::remove_pointer_t<decltype(type)>;
        return tw_cuda_launch(queue, naive<T>, grid, *p, apart, (const T *)step->in[0], (T *)step->out, count);
    });
}

extern "C" const tw_design tw_lrn_cuda_naive = {
    .op = "lrn",
    .device = "cuda",
    .name = "naive",
    .summary = "one thread an output",
    .precisions = TW_IN_ALL,
    .supports = tw_cuda_elementwise,
    .cost = tw_cuda_naive_traffic,
    .run = run,
};
