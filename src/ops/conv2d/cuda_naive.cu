/* conv2d, naive on CUDA: the university study's first design. One thread computes one output; neighbouring threads
 * compute neighbouring pixels of one channel, so that x is read coalesced and each weight by the whole warp at once.
 * Nothing is staged: every thread reads ic * kh * kw of each from L1 and L2, 2 loads for a multiply-add, so the load
 * units bound it, at some 5 to 15 % of the arithmetic peak. Device memory sees x about once for each tile of channels
 * that the caches do not hold. */
#include "devices/cuda/kernel.h"
#include "ops/conv2d/conv2d.h"

enum { THREADS = 256 };

__global__ static void naive(tw_conv2d p, const float *x, const float *w, const float *bias, const float *residual,
                             float *y, size_t outputs)
{
    const int icg = p.ic / p.groups;
    tw_cuda_wait();
    for (size_t at = (size_t)blockIdx.x * THREADS + threadIdx.x; at < outputs; at += (size_t)gridDim.x * THREADS) {
        int ox = (int)(at % p.ow), oy = (int)(at / p.ow % p.oh);
        size_t plane = at / p.ow / p.oh;
        int oc = (int)(plane % p.oc), group = oc / (p.oc / p.groups);
        const float *image = x + (plane / p.oc * p.ic + (size_t)group * icg) * p.ih * p.iw; /* [icg][ih][iw] */
        const float *weights = w + (size_t)oc * icg * p.kh * p.kw;                          /* [icg][kh][kw] */
        float sum = 0;
        for (int c = 0; c < icg; c++)
            for (int ky = 0; ky < p.kh; ky++) {
                int iy = oy * p.sh - p.pt + ky * p.dilh;
                if (iy < 0 || iy >= p.ih) continue;
                for (int kx = 0; kx < p.kw; kx++) {
                    int ix = ox * p.sw - p.pl + kx * p.dilw;
                    if (ix < 0 || ix >= p.iw) continue;
                    sum = fmaf(image[((size_t)c * p.ih + iy) * p.iw + ix], weights[(c * p.kh + ky) * p.kw + kx], sum);
                }
            }
        if (p.has_bias) sum += bias[oc];
        if (p.has_residual) sum += residual[at];
        y[at] = tw_activate(sum, p.activation);
    }
}

static tw_status run(const tw_step *step, tw_queue *queue)
{
    const tw_conv2d *p = (const tw_conv2d *)step->problem->params;
    size_t outputs = (size_t)p->n * p->oc * p->oh * p->ow;
    const tw_cuda_grid grid = {dim3(tw_cuda_blocks(outputs, THREADS)), THREADS};
    return tw_cuda_launch(queue, naive, grid, *p, (const float *)step->in[0], (const float *)step->in[1],
                          (const float *)step->in[2], (const float *)step->in[3], (float *)step->out, outputs);
}

static double cost(const tw_problem *problem, const tw_device *device)
{
    const tw_conv2d *p = (const tw_conv2d *)problem->params;
    const double terms = (double)p->kh * p->kw * (p->ic / p->groups); /* one behind the other, each waits for L2 */
    return fmax(tw_cuda_seconds(device, problem->op->flops(p), 0.06, 3 * tw_problem_bytes(problem), 1),
                terms * 0.35e-6);
}

extern "C" const tw_design tw_conv2d_cuda_naive = {
    .op = "conv2d",
    .device = "cuda",
    .name = "naive",
    .summary = "one thread an output, nothing staged: the study's first design",
    .supports = tw_cuda_plain,
    .cost = cost,
    .run = run,
};
