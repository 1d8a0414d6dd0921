/* conv2d, tiled on CUDA: shared memory saves the repeated reads that naive makes. A block of 256 threads computes a
 * tile of 16 x 16 pixels in 8 output channels of one image; a thread computes one pixel in all 8. Channel by channel of
 * the input, the block stages the patch that its windows cover and the 8 windows of weights, then multiplies: each
 * number of the patch is read once from memory and kh * kw * 8 times from shared memory, each read serving 8
 * multiply-adds. Two barriers a channel, and 9 shared reads for 8 multiply-adds, bound it. */
#include "devices/cuda/kernel.h"
#include "ops/conv2d/conv2d.h"

enum { SIDE = 16, CHANNELS = 8, SHARED_LIMIT = 48 << 10 };

/* The patch's height and width, and the shared floats: patch, then weights [CHANNELS][kh][kw]. */
static __host__ __device__ inline int patch_height(const tw_conv2d &p)
{
    return (SIDE - 1) * p.sh + (p.kh - 1) * p.dilh + 1;
}

static __host__ __device__ inline int patch_width(const tw_conv2d &p)
{
    return (SIDE - 1) * p.sw + (p.kw - 1) * p.dilw + 1;
}

static double shared_bytes(const tw_conv2d &p)
{
    double height = (SIDE - 1.0) * p.sh + (p.kh - 1.0) * p.dilh + 1;
    double width = (SIDE - 1.0) * p.sw + (p.kw - 1.0) * p.dilw + 1;
    return sizeof(float) * (height * width + (double)CHANNELS * p.kh * p.kw);
}

__global__ static void __launch_bounds__(SIDE *SIDE)
    tiled(tw_conv2d p, const float *x, const float *w, const float *bias, const float *residual, float *y)
{
    extern __shared__ float shared[];
    const int icg = p.ic / p.groups, ocg = p.oc / p.groups, height = patch_height(p), width = patch_width(p);
    const int parts = (ocg + CHANNELS - 1) / CHANNELS, window = p.kh * p.kw;
    const int columns = (p.ow + SIDE - 1) / SIDE;
    const int group = blockIdx.y / parts, first = blockIdx.y % parts * CHANNELS; /* within the group */
    const int oy0 = blockIdx.x / columns * SIDE, ox0 = blockIdx.x % columns * SIDE;
    const int thread = threadIdx.x, oy = oy0 + thread / SIDE, ox = ox0 + thread % SIDE;
    float *patch = shared, *weights = shared + height * width;
    tw_cuda_wait();
    for (size_t n = blockIdx.z; n < (size_t)p.n; n += gridDim.z) {
        float sums[CHANNELS] = {};
        for (int c = 0; c < icg; c++) {
            const float *plane = x + (n * p.ic + (size_t)group * icg + c) * p.ih * p.iw;
            for (int i = thread; i < height * width; i += SIDE * SIDE) {
                int iy = oy0 * p.sh - p.pt + i / width, ix = ox0 * p.sw - p.pl + i % width;
                bool inside = iy >= 0 && iy < p.ih && ix >= 0 && ix < p.iw;
                patch[i] = inside ? plane[(size_t)iy * p.iw + ix] : 0.0f;
            }
            for (int i = thread; i < CHANNELS * window; i += SIDE * SIDE) {
                int oc = first + i / window;
                size_t row = ((size_t)group * ocg + oc) * icg + c;
                weights[i] = oc < ocg ? w[row * window + i % window] : 0.0f;
            }
            __syncthreads();
            const float *corner = patch + thread / SIDE * p.sh * width + thread % SIDE * p.sw;
            for (int ky = 0; ky < p.kh; ky++)
                for (int kx = 0; kx < p.kw; kx++) {
                    float v = corner[ky * p.dilh * width + kx * p.dilw];
#pragma unroll
                    for (int j = 0; j < CHANNELS; j++) sums[j] = fmaf(v, weights[j * window + ky * p.kw + kx], sums[j]);
                }
            __syncthreads();
        }
        if (oy >= p.oh || ox >= p.ow) continue;
#pragma unroll
        for (int j = 0; j < CHANNELS; j++) {
            int oc = group * ocg + first + j;
            if (first + j >= ocg) continue;
            size_t at = ((n * p.oc + oc) * p.oh + oy) * p.ow + ox;
            float v = sums[j];
            if (p.has_bias) v += bias[oc];
            if (p.has_residual) v += residual[at];
            y[at] = tw_activate(v, p.activation);
        }
    }
}

static tw_status run(const tw_step *step, tw_queue *queue)
{
    const tw_conv2d *p = (const tw_conv2d *)step->problem->params;
    unsigned parts = tw_ceil_div((size_t)p->oc / p->groups, CHANNELS);
    const dim3 blocks(tw_ceil_div((size_t)p->oh, SIDE) * tw_ceil_div((size_t)p->ow, SIDE), (unsigned)p->groups * parts,
                      (unsigned)(p->n < TW_CUDA_MAX_GRID_YZ ? p->n : TW_CUDA_MAX_GRID_YZ));
    const tw_cuda_grid grid = {blocks, SIDE * SIDE, (size_t)shared_bytes(*p)};
    return tw_cuda_launch(queue, tiled, grid, *p, (const float *)step->in[0], (const float *)step->in[1],
                          (const float *)step->in[2], (const float *)step->in[3], (float *)step->out);
}

static bool supports(const tw_problem *problem, const tw_device *device, const char **reason)
{
    if (!tw_cuda_plain(problem, device, reason)) return false;
    const tw_conv2d *p = (const tw_conv2d *)problem->params;
    *reason = "its windows' patch takes more than 48 KiB of shared memory";
    if (shared_bytes(*p) > SHARED_LIMIT) return false;
    *reason = "more than 65,535 groups of 8 output channels";
    if ((double)p->groups * tw_ceil_div((size_t)p->oc / p->groups, CHANNELS) > TW_CUDA_MAX_GRID_YZ) return false;
    *reason = "more than 2^31 tiles of 16 x 16 outputs";
    return ((double)p->oh / SIDE + 1) * ((double)p->ow / SIDE + 1) < INT_MAX;
}

static double cost(const tw_problem *problem, const tw_device *device)
{
    const tw_conv2d *p = (const tw_conv2d *)problem->params;
    const double channels = p->ic / p->groups, outputs = p->oc / p->groups; /* of a block's 8, the rest idle */
    const double busy = outputs < 8 ? outputs / 8 : 1;
    return fmax(tw_cuda_seconds(device, problem->op->flops(p), 0.1 * busy, 3 * tw_problem_bytes(problem), 1),
                channels * 0.5e-6); /* each is staged behind a barrier */
}

extern "C" const tw_design tw_conv2d_cuda_tiled = {
    .op = "conv2d",
    .device = "cuda",
    .name = "tiled",
    .summary = "tiles of 16 x 16 pixels in 8 channels, patches and weights staged in shared memory",
    .supports = supports,
    .cost = cost,
    .run = run,
};
