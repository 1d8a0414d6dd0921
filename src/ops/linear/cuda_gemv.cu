/* linear, gemv on CUDA: for few images, where reading w bounds everything. A block of 128 threads computes one output
 * feature for up to 8 images: it streams that row of w, 16 bytes a thread where rows are aligned, multiplies each
 * number with the same place of every image (x lies in L1 and L2), and adds up by shuffles and shared memory. w crosses
 * device memory once for each 8 images. */
#include "devices/cuda/kernel.h"
#include "ops/linear/linear.h"

enum { THREADS = 128, IMAGES = 8, WARPS = THREADS / 32 };

template <int N> __device__ static void accumulate(const tw_linear &p, const float *x, const float *row, float *sums)
{
    int i = threadIdx.x * 4;
    if (p.ic % 4 == 0) { /* then all rows start on 16 bytes, since the tensors do */
        for (; i < p.ic; i += THREADS * 4) {
            float4 w = __ldg((const float4 *)(row + i));
#pragma unroll
            for (int n = 0; n < N; n++) {
                float4 v = *(const float4 *)(x + (size_t)n * p.ic + i);
                sums[n] = fmaf(w.x, v.x, fmaf(w.y, v.y, fmaf(w.z, v.z, fmaf(w.w, v.w, sums[n]))));
            }
        }
        return;
    }
    for (i = threadIdx.x; i < p.ic; i += THREADS)
#pragma unroll
        for (int n = 0; n < N; n++) sums[n] = fmaf(row[i], x[(size_t)n * p.ic + i], sums[n]);
}

template <int N>
__global__ static void __launch_bounds__(THREADS)
    gemv(tw_linear p, const float *x, const float *w, const float *bias, float *y)
{
    __shared__ float parts[N][WARPS];
    float sums[N] = {};
    const int oc = blockIdx.x;
    accumulate<N>(p, x, w + (size_t)oc * p.ic, sums);
#pragma unroll
    for (int n = 0; n < N; n++) {
        for (int lanes = 16; lanes > 0; lanes /= 2) sums[n] += __shfl_down_sync(0xffffffffu, sums[n], lanes);
        if (threadIdx.x % 32 == 0) parts[n][threadIdx.x / 32] = sums[n];
    }
    __syncthreads();
    if (threadIdx.x >= N) return;
    float sum = 0;
    for (int i = 0; i < WARPS; i++) sum += parts[threadIdx.x][i];
    if (p.has_bias) sum += bias[oc];
    y[(size_t)threadIdx.x * p.oc + oc] = tw_activate(sum, p.activation);
}

typedef void (*kernel)(tw_linear, const float *, const float *, const float *, float *);

static tw_status run(const tw_step *step, tw_queue *queue)
{
    static const kernel kernels[IMAGES] = {gemv<1>, gemv<2>, gemv<3>, gemv<4>, gemv<5>, gemv<6>, gemv<7>, gemv<8>};
    const tw_linear *p = (const tw_linear *)step->problem->params;
    const float *x = (const float *)step->in[0];
    float *y = (float *)step->out;
    for (int first = 0; first < p->n; first += IMAGES) {
        int images = p->n - first < IMAGES ? p->n - first : IMAGES;
        kernels[images - 1]<<<(unsigned)p->oc, THREADS, 0, tw_cuda_stream(queue)>>>(
            *p, x + (size_t)first * p->ic, (const float *)step->in[1], (const float *)step->in[2],
            y + (size_t)first * p->oc);
    }
    return tw_cuda_launched();
}

static double cost(const tw_problem *problem, const tw_device *device)
{
    const tw_linear *p = (const tw_linear *)problem->params;
    unsigned launches = tw_ceil_div((size_t)p->n, IMAGES);
    double weights = (double)p->ic * p->oc * sizeof(float) * launches;
    return tw_cuda_seconds(device, problem->op->flops(p), 0.2, weights * 1.2, (int)launches);
}

extern "C" const tw_design tw_linear_cuda_gemv = {
    .op = "linear",
    .device = "cuda",
    .name = "gemv",
    .summary = "for few images: a block streams one row of weights and adds up by shuffles",
    .supports = tw_cuda_plain,
    .cost = cost,
    .run = run,
};
