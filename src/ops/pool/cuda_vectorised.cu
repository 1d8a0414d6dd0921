/* pool, vectorised on CUDA: channels-last. A thread computes one 16-byte group of channels of one output pixel; neighbouring
 * threads have neighbouring groups, so each step of the window is read in whole lines, and overlapping windows meet in L1
 * and L2: x crosses device memory about once.
 *
 * Windows of 2x2 and 3x3 without dilation have kernels of their own, which ask for a whole window at once: of one
 * image, one read after the other is what the layer would take. Maxima stay in the type they come in, two halves an
 * instruction, and places are found by multiplications: with few registers and instructions a multiprocessor holds as many
 * threads as it can, and a block asks for its window soon after it starts, which is what small layers wait for.
 *
 * Where the whole image is averaged and there are few images, that leaves the device idle: a block of 8 rows of 32 groups
 * then shares each group's pixels among its rows and adds the eight sums up in shared memory, always in the same order. */
#include "ops/pool/cuda_window.cuh"

#include <type_traits>

enum { THREADS = 256, GROUPS = 32, SHARES = THREADS / GROUPS };

/* What a window is gathered into: of 16 bytes of channels the largest, in T itself, where nothing is rounded. NaN enters,
 * and stays. */
template <class T> struct largest {
    int4 v = nothing();

    __device__ static int4 nothing()
    {
        tw_pack<T> pack;
        int4 raw;
#pragma unroll
        for (int i = 0; i < tw_pack<T>::width; i++) pack.v[i] = -INFINITY;
        pack.store((T *)&raw);
        return raw;
    }
    __device__ void enter(const int4 &other)
    {
        if constexpr (sizeof(T) == sizeof(float)) {
            const float *from = (const float *)&other;
            float *to = (float *)&v;
#pragma unroll
            for (int i = 0; i < 4; i++) to[i] = from[i] > to[i] || from[i] != from[i] ? from[i] : to[i];
        } else {
            using pair = std::conditional_t<std::is_same_v<T, __half>, __half2, __nv_bfloat162>;
#pragma unroll
            for (int i = 0; i < 4; i++) ((pair *)&v)[i] = __hmax2_nan(((pair *)&v)[i], ((const pair *)&other)[i]);
        }
    }
    __device__ void store(T *to, float) const
    {
        *(int4 *)to = v;
    }
};

/* Or their mean. */
template <class T> struct mean {
    tw_pack<T> v = {};

    __device__ static int4 nothing()
    {
        return make_int4(0, 0, 0, 0);
    }
    __device__ void enter(const int4 &other)
    {
        const tw_pack<T> entering = tw_pack<T>::load((const T *)&other);
#pragma unroll
        for (int i = 0; i < tw_pack<T>::width; i++) v.v[i] += entering.v[i];
    }
    __device__ void store(T *to, float divisor)
    {
#pragma unroll
        for (int i = 0; i < tw_pack<T>::width; i++) v.v[i] /= divisor;
        v.store(to);
    }
};

/* A pixel's groups, a line's pixels, an image's lines. */
typedef struct places {
    tw_divisor groups, pixels, lines;
} places;

/* SIDE: the window's, 2 or 3, not dilated; or 0: any. */
template <class T, class Result, int SIDE>
__global__ static void __launch_bounds__(THREADS) vectorised(tw_pool p, const T *x, T *y, places by, size_t count)
{
    constexpr int width = tw_pack<T>::width;
    for (size_t i = (size_t)blockIdx.x * THREADS + threadIdx.x; i < count; i += (size_t)gridDim.x * THREADS) {
        const unsigned pixel = by.groups.quotient((unsigned)i), group = (unsigned)i - pixel * by.groups.d;
        const unsigned line = by.pixels.quotient(pixel), image = by.lines.quotient(line);
        const int ox = (int)(pixel - line * by.pixels.d), oy = (int)(line - image * by.lines.d);
        const tw_pool_window rows = tw_pool_rows(p, oy), columns = tw_pool_columns(p, ox);
        const T *from = x + (size_t)image * p.ih * p.iw * p.c + group * width;
        Result result;
        int found = 0;
        tw_cuda_wait(); /* once all is known of where to read; at once from the second turn on */
        tw_cuda_release();
        if constexpr (SIDE > 0) {
            int4 window[SIDE * SIDE];
#pragma unroll
            for (int k = 0; k < SIDE * SIDE; k++) {
                const int iy = rows.begin + k / SIDE, ix = columns.begin + k % SIDE;
                const bool there = iy >= 0 && iy < rows.end && ix >= 0 && ix < columns.end;
                window[k] = Result::nothing();
                if (there) window[k] = *(const int4 *)(from + ((size_t)iy * p.iw + ix) * p.c);
                found += there;
            }
#pragma unroll
            for (int k = 0; k < SIDE * SIDE; k++) result.enter(window[k]);
        } else {
            for (int iy = rows.begin; iy < rows.end; iy += rows.step)
                for (int ix = columns.begin; ix < columns.end; ix += columns.step) {
                    if (iy < 0 || ix < 0) continue;
                    result.enter(*(const int4 *)(from + ((size_t)iy * p.iw + ix) * p.c));
                    found++;
                }
        }
        result.store(y + i * width, p.count_include_pad ? (float)rows.divisor * (float)columns.divisor : (float)found);
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

template <class T, class Result> static auto of_side(int side)
{
    return side == 2 ? vectorised<T, Result, 2> : side == 3 ? vectorised<T, Result, 3> : vectorised<T, Result, 0>;
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
        const int side = dense && (p->kh == 2 || p->kh == 3) ? p->kh : 0;
        auto kernel = p->kind == TW_POOL_MAX ? of_side<T, largest<T>>(side) : of_side<T, mean<T>>(side);
        const places by = {tw_make_divisor(groups), tw_make_divisor(p->ow), tw_make_divisor(p->oh)};
        return tw_cuda_launch(queue, kernel, grid, *p, x, y, by, count);
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
    *reason = "an output of more than 2^31 - 1 groups of 16 bytes, or as many channels of all images";
    return (double)p->n * p->oh * p->ow * p->c * (int)tw_dtype_bytes(problem->out.dtype) / 16 < INT_MAX &&
           (double)p->n * p->c < INT_MAX;
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
