/* lrn, naive on CUDA: one thread an output, which sums the squares of its own window of channels: `size` reads, all but
 * one from the caches, and one power. */
#include "devices/cuda/kernel.h"
#include "ops/lrn/lrn.h"

enum { THREADS = 256 };

__global__ static void naive(tw_lrn p, const float *x, float *y, size_t count)
{
    const size_t pixels = (size_t)p.h * p.w;
    for (size_t i = (size_t)blockIdx.x * THREADS + threadIdx.x; i < count; i += (size_t)gridDim.x * THREADS) {
        int c = (int)(i / pixels % p.c), first = c - p.size / 2, last = c + (p.size - 1) / 2;
        const float *channel0 = x + (i - c * pixels);
        float sum = 0;
        for (int j = first < 0 ? 0 : first; j <= last && j < p.c; j++)
            sum = fmaf(channel0[j * pixels], channel0[j * pixels], sum);
        y[i] = x[i] / powf(p.k + p.alpha / p.size * sum, p.beta);
    }
}

static tw_status run(const tw_step *step, tw_queue *queue)
{
    const tw_lrn *p = (const tw_lrn *)step->problem->params;
    size_t count = tw_problem_elements(step->problem, 0);
    naive<<<tw_cuda_blocks(count, THREADS), THREADS, 0, tw_cuda_stream(queue)>>>(*p, (const float *)step->in[0],
                                                                                 (float *)step->out, count);
    return tw_cuda_launched();
}

extern "C" const tw_design tw_lrn_cuda_naive = {
    .op = "lrn",
    .device = "cuda",
    .name = "naive",
    .summary = "one thread an output",
    .precisions = TW_IN_ALL, /* from and to float32 */
    .supports = tw_cuda_plain,
    .cost = tw_cuda_naive_traffic,
    .run = run,
};
