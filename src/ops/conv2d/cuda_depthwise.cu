/* conv2d, depthwise on CUDA: each output channel has one input channel.
 *
 * Channels-last (as many outputs as inputs, square windows of 3 or 5 at stride 1 or 2, dense): a thread computes one
 * 16-byte group of channels of OUTPUTS neighbouring pixels of a row. It walks the rows of the window; a row's weights lie
 * in registers while each group of inputs, read once, is added to all the outputs whose windows it is in. Neighbouring
 * threads have neighbouring channels, so all reads are whole lines; rows are read again from L1 and L2.
 *
 * Of few outputs (one image) latency is all: a thread computes one 16-byte group of one pixel, a block 32 pixels by 4
 * groups. It has its weights in shared memory before the layer before has ended, and then asks for a window at once.
 *
 * Plain float32, any window: one thread computes one output; a block stays within one plane, whose kh * kw weights it
 * stages in shared memory. Neighbouring threads read overlapping windows, so L1 serves all but the first read.
 *
 * In both, x and y cross device memory about once and bandwidth bounds them. */
#include "devices/cuda/kernel.h"
#include "ops/conv2d/conv2d.h"

#include <type_traits>

enum { THREADS = 256, MAX_WINDOW = 1024, LAST_THREADS = 128, OUTPUTS = 4 };
enum { FEW_GROUPS = 4, FEW_PIXELS = LAST_THREADS / FEW_GROUPS };
/* Groups of outputs up to which each has a thread: two rounds of blocks on 132 multiprocessors. */
enum { FEW = 1 << 17 };

/* ---- channels-last ---- */

template <class T> __device__ static inline void load_row(const float *w, float (&row)[tw_pack<T>::width])
{
#pragma unroll
    for (int i = 0; i < tw_pack<T>::width; i += 4) {
        const float4 v = __ldg((const float4 *)(w + i));
        row[i] = v.x, row[i + 1] = v.y, row[i + 2] = v.z, row[i + 3] = v.w;
    }
}

/* w [K][K][channels] float; thread: (image, row, OUTPUTS pixels, group), group fastest. */
template <class T, int K, int S>
__global__ static void __launch_bounds__(LAST_THREADS)
    channels_last(tw_conv2d p, const T *x, const float *w, const float *bias, const T *residual, T *y, unsigned threads)
{
    constexpr int width = tw_pack<T>::width;
    const unsigned thread = blockIdx.x * LAST_THREADS + threadIdx.x, groups = p.ic / width;
    tw_cuda_release();
    if (thread >= threads) return; /* and is through with waiting: it touches nothing */
    const unsigned strips = (p.ow + OUTPUTS - 1) / OUTPUTS, strip = thread / groups, line = strip / strips;
    const int c = (int)(thread - strip * groups) * width, first = (int)(strip - line * strips) * OUTPUTS;
    const int image = (int)(line / p.oh), oy = (int)(line - (unsigned)image * p.oh);
    const int top = oy * S - p.pt, left = first * S - p.pl;
    float sums[OUTPUTS][width], start[width] = {};
    if (p.has_bias) load_row<T>(bias + c, start);
#pragma unroll
    for (int i = 0; i < OUTPUTS; i++)
#pragma unroll
        for (int j = 0; j < width; j++) sums[i][j] = start[j];
    tw_cuda_wait();
#pragma unroll
    for (int ky = 0; ky < K; ky++) {
        const int iy = top + ky;
        if (iy < 0 || iy >= p.ih) continue;
        float weights[K][width];
#pragma unroll
        for (int kx = 0; kx < K; kx++) load_row<T>(w + (ky * K + kx) * p.ic + c, weights[kx]);
        const T *row = x + (((size_t)image * p.ih + iy) * p.iw) * p.ic + c;
#pragma unroll
        for (int column = 0; column < (OUTPUTS - 1) * S + K; column++) {
            const int ix = left + column;
            if (ix < 0 || ix >= p.iw) continue;
            const tw_pack<T> v = tw_pack<T>::load(row + (size_t)ix * p.ic);
#pragma unroll
            for (int i = 0; i < OUTPUTS; i++) {
                const int kx = column - i * S;
                if (kx < 0 || kx >= K) continue;
#pragma unroll
                for (int j = 0; j < width; j++) sums[i][j] = fmaf(v.v[j], weights[kx][j], sums[i][j]);
            }
        }
    }
#pragma unroll
    for (int i = 0; i < OUTPUTS; i++) {
        if (first + i >= p.ow) break;
        const size_t at = (((size_t)image * p.oh + oy) * p.ow + first + i) * p.oc + c;
        tw_pack<T> out, other;
        if (p.has_residual) other = tw_pack<T>::load(residual + at);
#pragma unroll
        for (int j = 0; j < width; j++)
            out.v[j] = tw_activate(p.has_residual ? sums[i][j] + other.v[j] : sums[i][j], p.activation);
        out.store(y + at);
    }
}

/* The same, few outputs: blockIdx.x is 32 pixels of all images, blockIdx.y 4 groups; a thread's group is fastest. */
template <class T, int K, int S>
__global__ static void __launch_bounds__(LAST_THREADS)
    few_outputs(tw_conv2d p, const T *x, const float *w, const float *bias, const T *residual, T *y, unsigned pixels)
{
    constexpr int width = tw_pack<T>::width, channels = FEW_GROUPS * width, vectors = channels / 4;
    __shared__ float4 weights[K * K + 1][vectors]; /* [ky][kx], then the bias */
    for (int i = threadIdx.x; i < (K * K + 1) * vectors; i += LAST_THREADS) {
        const int tap = i / vectors, channel = blockIdx.y * channels + i % vectors * 4;
        float4 v = make_float4(0, 0, 0, 0);
        if (channel < p.ic && tap < K * K) v = __ldg((const float4 *)(w + (size_t)tap * p.ic + channel));
        if (channel < p.ic && tap == K * K && p.has_bias) v = __ldg((const float4 *)(bias + channel));
        weights[tap][i % vectors] = v;
    }
    const unsigned pixel = blockIdx.x * FEW_PIXELS + threadIdx.x / FEW_GROUPS, line = pixel / p.ow, image = line / p.oh;
    const int group = threadIdx.x % FEW_GROUPS, c = blockIdx.y * channels + group * width;
    const int top = (int)(line - image * p.oh) * S - p.pt, left = (int)(pixel - line * p.ow) * S - p.pl;
    const bool mine = pixel < pixels && c < p.ic;
    const T *const corner = x + (((ptrdiff_t)image * p.ih + top) * p.iw + left) * p.ic + c;
    const size_t at = (size_t)pixel * p.oc + c;
    tw_cuda_wait();
    tw_cuda_release();
    int4 window[K][K], other = make_int4(0, 0, 0, 0);
#pragma unroll
    for (int ky = 0; ky < K; ky++)
#pragma unroll
        for (int kx = 0; kx < K; kx++) {
            const bool there = mine && (unsigned)(top + ky) < (unsigned)p.ih && (unsigned)(left + kx) < (unsigned)p.iw;
            window[ky][kx] = make_int4(0, 0, 0, 0);
            if (there) window[ky][kx] = *(const int4 *)(corner + ((ptrdiff_t)ky * p.iw + kx) * p.ic);
        }
    if (mine && p.has_residual) other = *(const int4 *)(residual + at);
    __syncthreads(); /* all is asked for before any of it is waited for; and the weights are there */
    if (!mine) return;
    float sums[width];
    auto weights_of = [&](int tap, float(&to)[width]) {
#pragma unroll
        for (int i = 0; i < width; i += 4) {
            const float4 v = weights[tap][(group * width + i) / 4];
            to[i] = v.x, to[i + 1] = v.y, to[i + 2] = v.z, to[i + 3] = v.w;
        }
    };
    weights_of(K * K, sums);
#pragma unroll
    for (int tap = 0; tap < K * K; tap++) {
        const tw_pack<T> v = tw_pack<T>::load((const T *)&window[tap / K][tap % K]);
        float row[width];
        weights_of(tap, row);
#pragma unroll
        for (int i = 0; i < width; i++) sums[i] = fmaf(v.v[i], row[i], sums[i]);
    }
    const tw_pack<T> added = tw_pack<T>::load((const T *)&other);
    tw_pack<T> out;
#pragma unroll
    for (int i = 0; i < width; i++)
        out.v[i] = tw_activate(p.has_residual ? sums[i] + added.v[i] : sums[i], p.activation);
    out.store(y + at);
}

static bool is_last(const tw_problem *problem)
{
    return problem->out.layout == TW_NHWC;
}

static size_t packed_bytes(const tw_problem *problem, const tw_device *)
{
    const tw_conv2d *p = (const tw_conv2d *)problem->params;
    return is_last(problem) ? (size_t)p->kh * p->kw * p->oc * sizeof(float) : 0;
}

/* [ky][kx][channel], from [channel][ky][kx] */
static void pack(const tw_problem *problem, const tw_device *, const void *const *in, void *packed)
{
    const tw_conv2d *p = (const tw_conv2d *)problem->params;
    const int window = p->kh * p->kw;
    for (int c = 0; c < p->oc; c++)
        for (int k = 0; k < window; k++)
            ((float *)packed)[(size_t)k * p->oc + c] = ((const float *)in[1])[(size_t)c * window + k];
}

template <class T, int K, int S> static tw_status launch_last(const tw_step *step, tw_queue *queue)
{
    const tw_conv2d *p = (const tw_conv2d *)step->problem->params;
    const T *x = (const T *)step->in[0], *residual = (const T *)step->in[3];
    const float *w = (const float *)step->packed, *bias = (const float *)step->in[2];
    const unsigned groups = (unsigned)(p->ic / tw_pack<T>::width), pixels = (unsigned)p->n * p->oh * p->ow;
    if ((double)pixels * groups <= FEW) {
        tw_cuda_grid grid = {dim3(tw_ceil_div(pixels, FEW_PIXELS), tw_ceil_div(groups, FEW_GROUPS)), LAST_THREADS};
        grid.as_shared = true;
        return tw_cuda_launch(queue, few_outputs<T, K, S>, grid, *p, x, w, bias, residual, (T *)step->out, pixels);
    }
    const unsigned threads = (unsigned)p->n * p->oh * tw_ceil_div((size_t)p->ow, OUTPUTS) * groups;
    tw_cuda_grid grid = {dim3(tw_ceil_div(threads, LAST_THREADS)), LAST_THREADS};
    grid.as_shared = true;
    return tw_cuda_launch(queue, channels_last<T, K, S>, grid, *p, x, w, bias, residual, (T *)step->out, threads);
}

template <class T> static tw_status run_last(const tw_step *step, tw_queue *queue)
{
    const tw_conv2d *p = (const tw_conv2d *)step->problem->params;
    if (p->kh == 3) return p->sh == 1 ? launch_last<T, 3, 1>(step, queue) : launch_last<T, 3, 2>(step, queue);
    return p->sh == 1 ? launch_last<T, 5, 1>(step, queue) : launch_last<T, 5, 2>(step, queue);
}

static bool supports_last(const tw_problem *problem, const char **reason)
{
    const tw_conv2d *p = (const tw_conv2d *)problem->params;
    *reason = "channels-last in and out, one element type";
    if (problem->in[0].layout != TW_NHWC || problem->in[0].dtype != problem->out.dtype) return false;
    *reason = "channels-last: needs as many outputs as inputs, in whole 16 bytes";
    if (p->groups != p->ic || p->oc != p->ic || p->ic % (16 / (int)tw_dtype_bytes(problem->out.dtype))) return false;
    *reason = "channels-last: needs a dense 3x3 or 5x5 window at stride 1 or 2";
    if ((p->kh != 3 && p->kh != 5) || p->kw != p->kh || p->sh != p->sw || p->sh > 2) return false;
    if (p->dilh != 1 || p->dilw != 1) return false;
    *reason = "more than 2^31 - 1 elements";
    return (double)p->n * p->oh * (p->ow + OUTPUTS) * p->oc < INT_MAX && (double)p->n * p->ih * p->iw * p->ic < INT_MAX;
}

/* ---- plain ---- */

__global__ static void __launch_bounds__(THREADS)
    depthwise(tw_conv2d p, const float *x, const float *w, const float *bias, const float *residual, float *y)
{
    __shared__ float weights[MAX_WINDOW];
    const int tiles = (p.oh * p.ow + THREADS - 1) / THREADS, multiple = p.oc / p.ic;
    const size_t plane = blockIdx.x / tiles; /* n * oc + channel */
    const int oc = (int)(plane % p.oc), pixel = blockIdx.x % tiles * THREADS + threadIdx.x;
    for (int i = threadIdx.x; i < p.kh * p.kw; i += THREADS) weights[i] = w[(size_t)oc * p.kh * p.kw + i];
    tw_cuda_wait();
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
    if (is_last(step->problem))
        return tw_cuda_with_type(step->problem->out.dtype, [&](auto *type) {
            return run_last<std::remove_pointer_t<decltype(type)>>(step, queue);
        });
    unsigned blocks = tw_ceil_div((size_t)p->oh * p->ow, THREADS) * (unsigned)p->n * (unsigned)p->oc;
    const tw_cuda_grid grid = {dim3(blocks), THREADS};
    return tw_cuda_launch(queue, depthwise, grid, *p, (const float *)step->in[0], (const float *)step->in[1],
                          (const float *)step->in[2], (const float *)step->in[3], (float *)step->out);
}

static bool supports(const tw_problem *problem, const tw_device *device, const char **reason)
{
    if (is_last(problem)) return supports_last(problem, reason);
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
    const bool last = is_last(problem);
    return tw_cuda_seconds(device, problem->op->flops(problem->params), last ? 0.11 : 0.02,
                           (last ? 1.15 : 5) * tw_problem_bytes(problem), 1); /* as measured */
}

extern "C" const tw_design tw_conv2d_cuda_depthwise = {
    .op = "conv2d",
    .device = "cuda",
    .name = "depthwise",
    .summary = "channels-last: 16 bytes of channels of four pixels a thread; plain: one output of one channel a thread",
    .precisions = TW_IN_ALL,
    .supports = supports,
    .packed_bytes = packed_bytes,
    .pack = pack,
    .cost = cost,
    .run = run,
};
