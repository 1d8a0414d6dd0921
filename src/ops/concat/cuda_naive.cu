/* concat, naive on CUDA: one copy kernel a part; one thread an element, coalesced on both sides since the parts of one
 * image are contiguous in the output. */
#include "devices/cuda/kernel.h"
#include "ops/concat/concat.h"

enum { THREADS = 256 };

/* x [n][size] to y [n][total], from `offset` on. */
__global__ static void naive(const float *x, float *y, size_t count, size_t size, size_t total, size_t offset)
{
    tw_cuda_wait();
    for (size_t i = (size_t)blockIdx.x * THREADS + threadIdx.x; i < count; i += (size_t)gridDim.x * THREADS)
        y[i / size * total + offset + i % size] = x[i];
}

static tw_status run(const tw_step *step, tw_queue *queue)
{
    const tw_concat *p = (const tw_concat *)step->problem->params;
    size_t pixels = (size_t)p->h * p->w, offset = 0;
    tw_status status = TW_OK;
    for (int i = 0; i < p->count && status == TW_OK; i++) {
        size_t size = p->c[i] * pixels, count = p->n * size;
        const tw_cuda_grid grid = {dim3(tw_cuda_blocks(count, THREADS)), THREADS};
        status = tw_cuda_launch(queue, naive, grid, (const float *)step->in[i], (float *)step->out, count, size,
                                p->oc * pixels, offset);
        offset += size;
    }
    return status;
}

extern "C" const tw_design tw_concat_cuda_naive = {
    .op = "concat",
    .device = "cuda",
    .name = "naive",
    .summary = "a copy kernel for each part",
    .precisions = TW_IN_ALL, /* from and to float32 */
    .supports = tw_cuda_plain,
    .cost = tw_cuda_naive_traffic,
    .run = run,
};
