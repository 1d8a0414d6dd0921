/* conv2d, depthwise on CUDA: each output channel has one input channel. One thread computes one output; a block stays
 * within one plane, whose kh * kw weights it stages in shared memory. Neighbouring threads read overlapping windows, so
 * L1 serves all but the first read: x and y cross device memory about once and bandwidth bounds it. */
#include "devices/cuda/kernel.h"
#include "ops/conv2d/conv2d.h"

enum { THREADS = 256, MAX_WINDOW = 1024 };

__global__ static void __launch_bounds__(THREADS)
    depthwise(tw_conv2d p, const float *x, const float *w, const float *bias, const float *residual, float *y)
{
    __shared__ float weights[MAX_WINDOW];
    const int tiles = (p.oh * p.ow + THREADS - 1) / THREADS, multiple = p.oc / p.ic;
    const size_t plane = blockIdx.x / tiles; /* n * oc + channel */
    const int oc = (int)(plane % p.oc), pixel = blockIdx.x % tiles * THREADS + threadIdx.x;
    for (int i = threadIdx.x; i < p.kh * p.kw; i += THREADS) weights[i] = w[(size_t)oc * p.kh * p.kw + i];
    __syncthreads();
    if (pixel >= p.oh * p.ow) return;
    const float *image = x + (plane / p.oc * p.ic + oc / multiple) * p.ih * p.iw;
    const int top = pixel / p.ow * p.sh - p.pt, left = pixel % p.ow * p.sw - p.pl;
    float sum = p.has_bias ? bias[oc] : 0.0f;
    for (int ky = 0; ky < p.kh; ky++) {
        int iy = top + ky * p.dilh;
        if (iy < 0 || iy >= p.ih) continue;
        for (int kx = 0; kx < p.kw; kx++) {
            int ix = left + kx * p.dilw;
            if (ix >= 0 && ix < p.iw) sum = fmaf(image[(size_t)iy * p.iw + ix], weights[ky * p.kw + kx], sum);
        }
    }
    size_t at = plane * p.oh * p.ow + pixel;
    if (p.has_residual) sum += residual[at];
    y[at] = tw_activate(sum, p.activation);
}

static tw_status run(const tw_step *step, tw_queue *queue)
{
    const tw_conv2d *p = (const tw_conv2d *)step->problem->params;
    unsigned blocks = tw_ceil_div((size_t)p->oh * p->ow, THREADS) * (unsigned)p->n * (unsigned)p->oc;
    depthwise<<<blocks, THREADS, 0, tw_cuda_stream(queue)>>>(*p, (const float *)step->in[0], (const float *)step->in[1],
                                                             (const float *)step->in[2], (const float *)step->in[3],
                                                             (float *)step->out);
    return tw_cuda_launched();
}

static bool supports(const tw_problem *problem, const tw_device *device, const char **reason)
{
    if (!tw_cuda_plain(problem, device, reason)) return false;
    const tw_conv2d *p = (const tw_conv2d *)problem->params;
    *reason = "needs as many groups as input channels";
    if (p->groups != p->ic) return false;
    *reason = "a window of more than 1,024 weights";
    if ((double)p->kh * p->kw > MAX_WINDOW) return false;
    *reason = "more than 2^31 - 1 tiles of 256 outputs";
    return ((double)p->oh * p->ow / THREADS + 1) * p->n * p->oc < INT_MAX;
}

static double cost(const tw_problem *problem, const tw_device *device)
{
    return tw_cuda_seconds(device, problem->op->flops(problem->params), 0.15, 1.3 * tw_problem_bytes(problem), 1);
}

extern "C" const tw_design tw_conv2d_cuda_depthwise = {
    .op = "conv2d",
    .device = "cuda",
    .name = "depthwise",
    .summary = "one thread an output of one channel, weights in shared memory",
    .supports = supports,
    .cost = cost,
    .run = run,
};
