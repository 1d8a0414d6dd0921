/* batchnorm, naive on CUDA: one thread an element, which computes its channel's scale anew; one read and one write of
 * device memory bound it, since the four numbers of a channel stay in L1. */
#include "devices/cuda/kernel.h"
#include "ops/batchnorm/batchnorm.h"

enum { THREADS = 256 };

__global__ static void naive(tw_batchnorm p, const float *x, const float *weight, const float *bias, const float *mean,
                             const float *var, float *y, size_t count)
{
    const size_t pixels = (size_t)p.h * p.w;
    for (size_t i = (size_t)blockIdx.x * THREADS + threadIdx.x; i < count; i += (size_t)gridDim.x * THREADS) {
        size_t c = i / pixels % p.c;
        y[i] = (x[i] - mean[c]) / sqrtf(var[c] + p.epsilon) * weight[c] + bias[c];
    }
}

static tw_status run(const tw_step *step, tw_queue *queue)
{
    const tw_batchnorm *p = (const tw_batchnorm *)step->problem->params;
    size_t count = tw_problem_elements(step->problem, 0);
    naive<<<tw_cuda_blocks(count, THREADS), THREADS, 0, tw_cuda_stream(queue)>>>(
        *p, (const float *)step->in[0], (const float *)step->in[1], (const float *)step->in[2],
        (const float *)step->in[3], (const float *)step->in[4], (float *)step->out, count);
    return tw_cuda_launched();
}

extern "C" const tw_design tw_batchnorm_cuda_naive = {
    .op = "batchnorm",
    .device = "cuda",
    .name = "naive",
    .summary = "one thread an element",
    .precisions = TW_IN_ALL, /* from and to float32 */
    .in_place = true,
    .supports = tw_cuda_plain,
    .cost = tw_cuda_naive_traffic,
    .run = run,
};
