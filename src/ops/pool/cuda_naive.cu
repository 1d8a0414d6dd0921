/* pool, naive on CUDA: one thread an output walks its window; neighbouring threads' windows are neighbours, so x crosses
 * device memory about once. Global pooling leaves most of the device idle: one thread a plane. */
#include "ops/pool/cuda_window.cuh"

enum { THREADS = 256 };

__global__ static void naive(tw_pool p, const float *x, float *y, size_t outputs)
{
    tw_cuda_wait();
    for (size_t at = (size_t)blockIdx.x * THREADS + threadIdx.x; at < outputs; at += (size_t)gridDim.x * THREADS) {
        int ox = (int)(at % p.ow), oy = (int)(at / p.ow % p.oh);
        const float *plane = x + at / p.ow / p.oh * p.ih * p.iw;
        const tw_pool_window rows = tw_pool_rows(p, oy), columns = tw_pool_columns(p, ox);
        float largest = -INFINITY, sum = 0;
        int count = 0;
        for (int iy = rows.begin; iy < rows.end; iy += rows.step)
            for (int ix = columns.begin; ix < columns.end; ix += columns.step) {
                if (iy < 0 || ix < 0) continue;
                float v = plane[(size_t)iy * p.iw + ix];
                if (v > largest || v != v) largest = v; /* NaN enters, and no comparison removes it */
                sum += v;
                count++;
            }
        float divisor = p.count_include_pad ? (float)rows.divisor * (float)columns.divisor : (float)count;
        y[at] = p.kind == TW_POOL_MAX ? largest : sum / divisor;
    }
}

static tw_status run(const tw_step *step, tw_queue *queue)
{
    const tw_pool *p = (const tw_pool *)step->problem->params;
    size_t outputs = (size_t)p->n * p->c * p->oh * p->ow;
    const tw_cuda_grid grid = {dim3(tw_cuda_blocks(outputs, THREADS)), THREADS};
    return tw_cuda_launch(queue, naive, grid, *p, (const float *)step->in[0], (float *)step->out, outputs);
}

extern "C" const tw_design tw_pool_cuda_naive = {
    .op = "pool",
    .device = "cuda",
    .name = "naive",
    .summary = "one thread an output",
    .precisions = TW_IN_ALL, /* from and to float32 */
    .supports = tw_cuda_plain,
    .cost = tw_cuda_naive_traffic,
    .run = run,
};
