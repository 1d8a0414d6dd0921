/* batchnorm, vectorised on CUDA: a thread normalises 16 bytes at a time, four such vectors asked for before the first is
 * used, `stride` vectors apart; in whatever layout x and y share.
 *
 * Channels-last (and rank 2, where a row is its channels): `stride` is a multiple of a pixel's vectors, so that all that a
 * thread meets belong to the same 4 or 8 channels. Their means, scales and biases are in registers before the kernel
 * waits for the one before it.
 *
 * Plain: a plane of one channel is a run of vectors; a vector's channel comes from its place by a multiplication, and a
 * channel's four numbers from L1. Where planes are no whole multiples of 16 bytes, a vector may end in the next plane, and
 * each element takes the numbers of its own. What is left over at the end goes one by one.
 *
 * Nothing is staged. x is read once and y written once, in lines of 512 bytes a warp, with 64 KiB of reads in flight on a
 * multiprocessor: device memory bounds it, a launch the small ones. y may be x itself.
 *
 * Source: Ioffe and Szegedy 2015, algorithm 2, with the scale computed once a channel. */
#include "devices/cuda/kernel.h"
#include "ops/batchnorm/batchnorm.h"

#include <type_traits>

enum { THREADS = 256, AHEAD = 4, THREADS_OF_ONE = 1024 /* of one multiprocessor */ };

typedef struct channel {
    float mean, scale, bias;
    __device__ float operator()(float v) const
    {
        return fmaf(v - mean, scale, bias);
    }
} channel;

typedef struct parameters {
    const float *weight, *bias, *mean, *var; /* [c] */
    float epsilon;
    __device__ channel of(unsigned c) const
    {
        return {mean[c], weight[c] / sqrtf(var[c] + epsilon), bias[c]};
    }
} parameters;

template <class T, class Normalise>
__device__ static inline void pass(const T *x, T *y, size_t stride, size_t count, const Normalise &normalise)
{
    constexpr int width = tw_pack<T>::width;
    for (size_t i = (size_t)blockIdx.x * THREADS + threadIdx.x; i < count; i += AHEAD * stride) {
        int4 ahead[AHEAD];
#pragma unroll
        for (int k = 0; k < AHEAD; k++)
            if (i + k * stride < count) ahead[k] = ((const int4 *)x)[i + k * stride];
#pragma unroll
        for (int k = 0; k < AHEAD; k++) {
            if (i + k * stride >= count) break;
            tw_pack<T> v = tw_pack<T>::load((const T *)&ahead[k]);
            normalise(v, (unsigned)(i + k * stride));
            v.store(y + (i + k * stride) * width);
        }
    }
}

/* `stride` is a multiple of `groups`, the vectors of a pixel. */
template <class T>
__global__ static void __launch_bounds__(THREADS)
    channels_last(parameters p, const T *x, T *y, unsigned groups, size_t stride, size_t count)
{
    constexpr int width = tw_pack<T>::width;
    const unsigned thread = blockIdx.x * THREADS + threadIdx.x;
    channel of[width];
#pragma unroll
    for (int j = 0; j < width; j++) of[j] = p.of(thread % groups * width + j);
    tw_cuda_wait();
    tw_cuda_release();
    if (thread >= stride) return;
    pass(x, y, stride, count, [&](tw_pack<T> &v, unsigned) {
#pragma unroll
        for (int j = 0; j < width; j++) v.v[j] = of[j](v.v[j]);
    });
}

/* CROSSES: a vector may lie in two planes, never in three. */
template <class T, bool CROSSES>
__global__ static void __launch_bounds__(THREADS)
    plain(parameters p, tw_divisor plane, tw_divisor channels, const T *x, T *y, size_t elements)
{
    constexpr int width = tw_pack<T>::width;
    const size_t thread = (size_t)blockIdx.x * THREADS + threadIdx.x;
    tw_cuda_wait();
    tw_cuda_release();
    pass(x, y, (size_t)gridDim.x * THREADS, elements / width, [&](tw_pack<T> &v, unsigned i) {
        const unsigned at = plane.quotient(i * width), c = at - channels.quotient(at) * channels.d;
        const int end = (int)((at + 1) * plane.d - i * width);
        const channel here = p.of(c), next = CROSSES ? p.of(c + 1 < channels.d ? c + 1 : 0) : here;
#pragma unroll
        for (int j = 0; j < width; j++) v.v[j] = !CROSSES || j < end ? here(v.v[j]) : next(v.v[j]);
    });
    if (thread < elements % width) { /* in the last plane */
        const size_t i = elements - 1 - thread;
        y[i] = tw_narrow<T>(p.of(channels.d - 1)(tw_widen(x[i])));
    }
}

static bool rows_of_channels(const tw_problem *problem)
{
    const tw_batchnorm *p = (const tw_batchnorm *)problem->params;
    return problem->out.layout == TW_NHWC || p->h * p->w == 1;
}

static tw_status run(const tw_step *step, tw_queue *queue)
{
    const tw_batchnorm *p = (const tw_batchnorm *)step->problem->params;
    const parameters of = {(const float *)step->in[1], (const float *)step->in[2], (const float *)step->in[3],
                           (const float *)step->in[4], p->epsilon};
    const size_t elements = tw_problem_elements(step->problem, 0);
    const size_t wave = (size_t)queue->device->multiprocessors * THREADS_OF_ONE;
    return tw_cuda_with_type(step->problem->out.dtype, [&](auto *type) {
        using T = std::remove_pointer_t<decltype(type)>;
        constexpr int width = tw_pack<T>::width;
        const size_t count = elements / width, threads = count < wave ? count : wave;
        const T *x = (const T *)step->in[0];
        T *y = (T *)step->out;
        if (rows_of_channels(step->problem)) {
            const size_t groups = (size_t)p->c / width, stride = threads < groups ? groups : threads / groups * groups;
            const tw_cuda_grid grid = {dim3(tw_ceil_div(stride, THREADS)), THREADS};
            return tw_cuda_launch(queue, channels_last<T>, grid, of, x, y, (unsigned)groups, stride, count);
        }
        const int pixels = p->h * p->w;
        auto kernel = pixels % width ? plain<T, true> : plain<T, false>;
        const tw_cuda_grid grid = {dim3(tw_ceil_div(threads + width, THREADS)), THREADS};
        return tw_cuda_launch(queue, kernel, grid, of, tw_make_divisor(pixels), tw_make_divisor(p->c), x, y, elements);
    });
}

static bool supports(const tw_problem *problem, const tw_device *device, const char **reason)
{
    const tw_batchnorm *p = (const tw_batchnorm *)problem->params;
    const int width = 16 / (int)tw_dtype_bytes(problem->out.dtype);
    if (!tw_cuda_elementwise(problem, device, reason)) return false;
    *reason = "more than 2^31 - 1 elements";
    if ((double)p->n * p->c * p->h * p->w >= INT_MAX) return false;
    *reason = "needs channels in whole 16 bytes";
    if (rows_of_channels(problem)) return p->c % width == 0;
    *reason = "needs planes of 16 bytes or more";
    return p->h * p->w >= width;
}

static double cost(const tw_problem *problem, const tw_device *device)
{
    return tw_cuda_seconds(device, 0, 1, tw_problem_traffic(problem), 1);
}

extern "C" const tw_design tw_batchnorm_cuda_vectorised = {
    .op = "batchnorm",
    .device = "cuda",
    .name = "vectorised",
    .summary = "16 bytes at a time, four in flight a thread; channels-last keeps its channels' numbers in registers",
    .precisions = TW_IN_ALL,
    .in_place = true,
    .supports = supports,
    .cost = cost,
    .run = run,
};
