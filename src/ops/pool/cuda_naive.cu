/* pool, naive on CUDA: one thread an output walks its window; neighbouring threads' windows are neighbours, so x crosses
 * device memory about once. Global pooling leaves most of the device idle: one thread a plane. */
#include "devices/cuda/kernel.h"
#include "ops/pool/pool.h"

enum { THREADS = 256 };

/* Positions begin + i * step below end, clipped to the image, and what an average that counts its padding divides by. */
struct window {
    int begin, end, step, divisor;
};

__device__ static window adaptive(int in, int out, int at)
{
    return {(int)((long long)at * in / out), (int)(((long long)(at + 1) * in + out - 1) / out), 1, 0};
}

__device__ static window strided(int in, int begin, int dilation, int kernel, int padding_after)
{
    int end = begin + dilation * (kernel - 1) + 1;
    return {begin, min(end, in), dilation, min(end, in + padding_after) - begin};
}

__global__ static void naive(tw_pool p, const float *x, float *y, size_t outputs)
{
    for (size_t at = (size_t)blockIdx.x * THREADS + threadIdx.x; at < outputs; at += (size_t)gridDim.x * THREADS) {
        int ox = (int)(at % p.ow), oy = (int)(at / p.ow % p.oh);
        const float *plane = x + at / p.ow / p.oh * p.ih * p.iw;
        bool is_adaptive = p.kind == TW_POOL_ADAPTIVE_AVERAGE;
        window rows = is_adaptive ? adaptive(p.ih, p.oh, oy) : strided(p.ih, oy * p.sh - p.pt, p.dilh, p.kh, p.pb);
        window columns = is_adaptive ? adaptive(p.iw, p.ow, ox) : strided(p.iw, ox * p.sw - p.pl, p.dilw, p.kw, p.pr);
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
    naive<<<tw_cuda_blocks(outputs, THREADS), THREADS, 0, tw_cuda_stream(queue)>>>(*p, (const float *)step->in[0],
                                                                                   (float *)step->out, outputs);
    return tw_cuda_launched();
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
