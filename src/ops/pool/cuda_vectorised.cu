/* pool, vectorised on CUDA: channels-last. A thread computes one 16-byte group of channels of one output pixel; neighbouring
 * threads have neighbouring groups, so each step of the window is read in whole lines, and overlapping windows meet in L1
 * and L2: x crosses device memory about once.
 *
 * Windows of 2x2 and 3x3 without dilation have kernels of their own, which ask for a whole window at once: of one
 * image, one read after the other is what the layer would take.
 *
 * Where the whole image is averaged and there are few images, that leaves the device idle: a block of 8 rows of 32 groups
 * then shares each group's pixels among its rows and adds the eight sums up in shared memory, always in the same order. */
#include "ops/pool/cuda_window.cuh"

#include <type_traits>

enum { THREADS = 256, GROUPS = 32, SHARES = THREADS / GROUPS };

/* Enters a number of a window. */
__device__ static inline float enter(const tw_pool &p, float result, float v)
{
    if (p.kind != TW_POOL_MAX) return result + v;
    return v > result || v != v ? v : result; /* NaN enters, and no comparison removes it */
}

/* SIDE: the window's, 2 or 3, not dilated; or 0: any. */
template <class T, int SIDE>
__global__ static void __launch_bounds__(THREADS) vectorised(tw_pool p, const T *x, T *y, unsigned groups, size_t count)
{
    constexpr int width = tw_pack<T>::width;
    for (size_t i = (size_t)blockIdx.x * THREADS + threadIdx.x; i < count; i += (size_t)gridDim.x * THREADS) {
        const unsigned pixel = (unsigned)(i / groups), group = (unsigned)(i - (size_t)pixel * groups);
        const unsigned line = pixel / p.ow, image = line / p.oh;
        const int ox = (int)(pixel - line * p.ow), oy = (int)(line - image * p.oh);
        const tw_pool_window rows = tw_pool_rows(p, oy), columns = tw_pool_columns(p, ox);
        const T *from = x + (size_t)image * p.ih * p.iw * p.c + group * width;
        tw_pack<T> result;
        int found = 0;
        tw_cuda_wait(); /* once all divisions are done; at once from the second turn on */
        tw_cuda_release();
#pragma unroll
        for (int j = 0; j < width; j++) result.v[j] = p.kind == TW_POOL_MAX ? -INFINITY : 0.0f;
        if constexpr (SIDE > 0) {
            int4 window[SIDE * SIDE];
            bool there[SIDE * SIDE];
#pragma unroll
            for (int k = 0; k < SIDE * SIDE; k++) {
                const int iy = rows.begin + k / SIDE, ix = columns.begin + k % SIDE;
                there[k] = iy >= 0 && iy < rows.end && ix >= 0 && ix < columns.end;
                if (there[k]) window[k] = *(const int4 *)(from + ((size_t)iy * p.iw + ix) * p.c);
            }
#pragma unroll
            for (int k = 0; k < SIDE * SIDE; k++) {
                if (!there[k]) continue;
                const tw_pack<T> v = tw_pack<T>::load((const T *)&window[k]);
                found++;
#pragma unroll
                for (int j = 0; j < width; j++) result.v[j] = enter(p, result.v[j], v.v[j]);
            }
        } else {
            for (int iy = rows.begin; iy < rows.end; iy += rows.step)
                for (int ix = columns.begin; ix < columns.end; ix += columns.step) {
                    if (iy < 0 || ix < 0) continue;
                    const tw_pack<T> v = tw_pack<T>::load(from + ((size_t)iy * p.iw + ix) * p.c);
                    found++;
#pragma unroll
                    for (int j = 0; j < width; j++) result.v[j] = enter(p, result.v[j], v.v[j]);
                }
        }
        const float divisor = p.count_include_pad ? (float)rows.divisor * (float)columns.divisor : (float)found;
#pragma unroll
        for (int j = 0; j < width; j++)
            if (p.kind != TW_POOL_MAX) result.v[j] /= divisor;
        result.store(y + i * width);
    }
}

/* The mean of all pixels: blockIdx.x is image and 32 groups. */
template <class T>
__global__ static void __launch_bounds__(THREADS) average_all(const T *x, T *y, int c, int pixels, int blocks_an_image)
{
    constexpr int width = tw_pack<T>::width;
    __shared__ float sums[SHARES][GROUPS][width + 1];
    const int image = blockIdx.x / blocks_an_image, lane = threadIdx.x % GROUPS, share = threadIdx.x / GROUPS;
    const int channel = ((int)(blockIdx.x - image * blocks_an_image) * GROUPS + lane) * width;
    float sum[width] = {};
    tw_cuda_wait();
    tw_cuda_release();
    if (channel < c) {
        const T *from = x + (size_t)image * pixels * c + channel;
#pragma unroll 8
        for (int pixel = share; pixel < pixels; pixel += SHARES) {
            const tw_pack<T> v = tw_pack<T>::load(from + (size_t)pixel * c);
#pragma unroll
            for (int j = 0; j < width; j++) sum[j] += v.v[j];
        }
    }
#pragma unroll
    for (int j = 0; j < width; j++) sums[share][lane][j] = sum[j];
    __syncthreads();
    if (share > 0 || channel >= c) return;
    tw_pack<T> mean;
#pragma unroll
    for (int j = 0; j < width; j++) {
        float total = 0;
        for (int s = 0; s < SHARES; s++) total += sums[s][lane][j];
        mean.v[j] = total / (float)pixels;
    }
    mean.store(y + (size_t)image * c + channel);
}

static tw_status run(const tw_step *step, tw_queue *queue)
{
    const tw_pool *p = (const tw_pool *)step->problem->params;
    return tw_cuda_with_type(step->problem->out.dtype, [&](auto *type) {
        using T = std::remove_pointer_t<decltype(type)>;
        const int groups = p->c / tw_pack<T>::width;
        const T *x = (const T *)step->in[0];
        T *y = (T *)step->out;
        if (p->kind == TW_POOL_ADAPTIVE_AVERAGE && p->oh == 1 && p->ow == 1) {
            const int blocks = (int)tw_ceil_div((size_t)groups, GROUPS);
            const tw_cuda_grid grid = {dim3((unsigned)blocks * (unsigned)p->n), THREADS};
            return tw_cuda_launch(queue, average_all<T>, grid, x, y, p->c, p->ih * p->iw, blocks);
        }
        const size_t count = (size_t)p->n * p->oh * p->ow * groups;
        const tw_cuda_grid grid = {dim3(tw_cuda_blocks(count, THREADS)), THREADS};
        const bool dense = p->kind != TW_POOL_ADAPTIVE_AVERAGE && p->dilh == 1 && p->dilw == 1 && p->kh == p->kw;
        auto kernel = dense && p->kh == 2   ? vectorised<T, 2>
                      : dense && p->kh == 3 ? vectorised<T, 3>
                                            : vectorised<T, 0>;
        return tw_cuda_launch(queue, kernel, grid, *p, x, y, (unsigned)groups, count);
    });
}

static bool supports(const tw_problem *problem, const tw_device *device, const char **reason)
{
    const tw_pool *p = (const tw_pool *)problem->params;
    (void)device;
    *reason = "channels-last, one element type";
    if (problem->in[0].layout != TW_NHWC || problem->out.layout != TW_NHWC) return false;
    if (problem->in[0].dtype != problem->out.dtype) return false;
    *reason = "needs channels in whole 16 bytes";
    if (p->c % (16 / (int)tw_dtype_bytes(problem->out.dtype))) return false;
    *reason = "more than 2^31 - 1 pixels or groups of channels";
    return (double)p->n * p->oh * p->ow < INT_MAX && (double)p->n * p->c < INT_MAX;
}

static double cost(const tw_problem *problem, const tw_device *device)
{
    return tw_cuda_seconds(device, 0, 1, 1.05 * tw_problem_traffic(problem), 1);
}

extern "C" const tw_design tw_pool_cuda_vectorised = {
    .op = "pool",
    .device = "cuda",
    .name = "vectorised",
    .summary = "channels-last: 16 bytes of channels a thread; global averages shared by eight threads",
    .precisions = TW_IN_ALL,
    .supports = supports,
    .cost = cost,
    .run = run,
};
