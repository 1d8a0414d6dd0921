/* lrn, vectorised on CUDA, for windows of 3, 5 and 7 channels: each square is computed once where it is used, in registers,
 * and a window's sum is made of the squares in it; no sum is carried on by taking squares away, which would leave what a
 * large one rounded off, and NaN for good behind an infinity.
 *
 * Channels-last: a thread computes 16 bytes of channels of one pixel. It loads them and the 16 bytes on either side, which
 * its neighbours have asked for as well: two of three loads meet L1. Two such vectors are asked for before the first is used.
 *
 * Plain: a thread walks 8 channels of its pixel, or of 16 bytes of pixels where planes are whole multiples of that and
 * there are threads enough without; all 8 + window - 1 channels are asked for at once. A warp's loads are lines; the
 * window's overlap, half as much again for 5 channels, is met in L2.
 *
 * Nothing is staged in shared memory. The power is one logarithm and one exponential of the special function unit, so that
 * base and beta must be positive. x is read from device memory once and y written once, which bounds it; in the half
 * precisions some 25 instructions an element come close.
 *
 * Source: Krizhevsky et al. 2012, section 3.3, with PyTorch's alpha / size. */
#include "devices/cuda/kernel.h"
#include "ops/lrn/lrn.h"

#include <type_traits>

enum { THREADS = 256, AHEAD = 2, RUN = 8, THREADS_OF_ONE = 1024 /* of one multiprocessor */ };

/* y of COUNT channels; x begins SIZE / 2 channels before the first. */
template <int SIZE, int COUNT>
__device__ static inline void normalise(const tw_lrn &p, const float (&x)[COUNT + SIZE - 1], float (&y)[COUNT])
{
    float squares[COUNT + SIZE - 1];
#pragma unroll
    for (int j = 0; j < COUNT + SIZE - 1; j++) squares[j] = x[j] * x[j];
#pragma unroll
    for (int j = 0; j < COUNT; j++) {
        float sum = squares[j];
#pragma unroll
        for (int k = 1; k < SIZE; k++) sum += squares[j + k];
        y[j] = x[j + SIZE / 2] * exp2f(-p.beta * log2f(fmaf(p.alpha / SIZE, sum, p.k)));
    }
}

template <class T, int SIZE>
__global__ static void __launch_bounds__(THREADS)
    channels_last(tw_lrn p, const T *x, T *y, tw_divisor groups, size_t count)
{
    constexpr int width = tw_pack<T>::width, before = SIZE / 2, after = (SIZE - 1) / 2;
    static_assert(before <= width, "the window reaches beyond the neighbours");
    const size_t stride = (size_t)gridDim.x * THREADS;
    const int4 *from = (const int4 *)x;
    tw_cuda_wait();
    tw_cuda_release();
    for (size_t first = (size_t)blockIdx.x * THREADS + threadIdx.x; first < count; first += AHEAD * stride) {
        int4 own[AHEAD], previous[AHEAD], next[AHEAD];
#pragma unroll
        for (int k = 0; k < AHEAD; k++) {
            const size_t i = first + k * stride;
            previous[k] = next[k] = int4{0, 0, 0, 0};
            if (i >= count) break;
            const unsigned group = (unsigned)i - groups.quotient((unsigned)i) * groups.d;
            own[k] = from[i];
            if (group > 0) previous[k] = from[i - 1];
            if (group + 1 < groups.d) next[k] = from[i + 1];
        }
#pragma unroll
        for (int k = 0; k < AHEAD; k++) {
            const size_t i = first + k * stride;
            if (i >= count) break;
            const tw_pack<T> here = tw_pack<T>::load((const T *)&own[k]),
                             left = tw_pack<T>::load((const T *)&previous[k]),
                             right = tw_pack<T>::load((const T *)&next[k]);
            float window[width + SIZE - 1];
#pragma unroll
            for (int j = 0; j < before; j++) window[j] = left.v[width - before + j];
#pragma unroll
            for (int j = 0; j < width; j++) window[before + j] = here.v[j];
#pragma unroll
            for (int j = 0; j < after; j++) window[before + width + j] = right.v[j];
            tw_pack<T> result;
            normalise<SIZE, width>(p, window, result.v);
            result.store(y + i * width);
        }
    }
}

/* Pixels a thread: 16 bytes of them, or one. */
template <class T, int SIZE, bool WIDE>
__global__ static void __launch_bounds__(THREADS)
    plain(tw_lrn p, const T *x, T *y, tw_divisor chunks, tw_divisor runs, unsigned count)
{
    constexpr int width = WIDE ? tw_pack<T>::width : 1, before = SIZE / 2, channels = RUN + SIZE - 1;
    using chunk = std::conditional_t<WIDE, int4, T>;
    const unsigned thread = blockIdx.x * THREADS + threadIdx.x;
    const unsigned row = chunks.quotient(thread), image = runs.quotient(row);
    const int c0 = (int)(row - image * runs.d) * RUN;
    const size_t at = ((size_t)image * p.c + c0) * chunks.d + (thread - row * chunks.d); /* of channel c0 */
    const chunk *from = (const chunk *)x + at;
    chunk *to = (chunk *)y + at;
    tw_cuda_wait();
    tw_cuda_release();
    if (thread >= count) return;
    chunk raw[channels];
#pragma unroll
    for (int k = 0; k < channels; k++) {
        const int c = c0 - before + k;
        memset(&raw[k], 0, sizeof raw[k]);
        if (c >= 0 && c < p.c) raw[k] = from[(ptrdiff_t)(k - before) * (int)chunks.d];
    }
    chunk results[RUN];
#pragma unroll
    for (int j = 0; j < width; j++) {
        float column[channels], normalised[RUN];
#pragma unroll
        for (int k = 0; k < channels; k++) column[k] = tw_widen(((const T *)&raw[k])[j]);
        normalise<SIZE, RUN>(p, column, normalised);
#pragma unroll
        for (int k = 0; k < RUN; k++) ((T *)&results[k])[j] = tw_narrow<T>(normalised[k]);
    }
#pragma unroll
    for (int k = 0; k < RUN; k++)
        if (c0 + k < p.c) to[(size_t)k * chunks.d] = results[k];
}

template <class T, int SIZE> static tw_status launch(const tw_step *step, tw_queue *queue)
{
    constexpr int width = tw_pack<T>::width;
    const tw_lrn *p = (const tw_lrn *)step->problem->params;
    const T *x = (const T *)step->in[0];
    T *y = (T *)step->out;
    const size_t wave = (size_t)queue->device->multiprocessors * THREADS_OF_ONE, pixels = (size_t)p->h * p->w;
    if (step->problem->out.layout == TW_NHWC) {
        const size_t count = tw_problem_elements(step->problem, 0) / width;
        const tw_cuda_grid grid = {dim3(tw_ceil_div(count < wave ? count : wave, THREADS)), THREADS};
        return tw_cuda_launch(queue, channels_last<T, SIZE>, grid, *p, x, y, tw_make_divisor(p->c / width), count);
    }
    const size_t runs = tw_ceil_div((size_t)p->c, RUN), rows = p->n * runs;
    const bool wide = pixels % width == 0 && rows * (pixels / width) >= wave / 4;
    const size_t chunks = wide ? pixels / width : pixels;
    const tw_cuda_grid grid = {dim3(tw_ceil_div(rows * chunks, THREADS)), THREADS};
    return tw_cuda_launch(queue, wide ? plain<T, SIZE, true> : plain<T, SIZE, false>, grid, *p, x, y,
                          tw_make_divisor((int)chunks), tw_make_divisor((int)runs), (unsigned)(rows * chunks));
}

static tw_status run(const tw_step *step, tw_queue *queue)
{
    const tw_lrn *p = (const tw_lrn *)step->problem->params;
    return tw_cuda_with_type(step->problem->out.dtype, [&](auto *type) {
        using T = std::remove_pointer_t<decltype(type)>;
        return p->size == 3   ? launch<T, 3>(step, queue)
               : p->size == 5 ? launch<T, 5>(step, queue)
                              : launch<T, 7>(step, queue);
    });
}

static bool supports(const tw_problem *problem, const tw_device *device, const char **reason)
{
    const tw_lrn *p = (const tw_lrn *)problem->params;
    if (!tw_cuda_elementwise(problem, device, reason)) return false;
    *reason = "needs a window of 3, 5 or 7 channels";
    if (p->size != 3 && p->size != 5 && p->size != 7) return false;
    *reason = "needs k > 0, alpha >= 0 and beta > 0";
    if (!(p->k > 0 && p->alpha >= 0 && p->beta > 0)) return false;
    *reason = "more than 2^31 - 1 elements";
    if ((double)p->n * p->c * p->h * p->w >= INT_MAX) return false;
    *reason = "needs channels in whole 16 bytes";
    return problem->out.layout == TW_PLAIN || p->c % (16 / (int)tw_dtype_bytes(problem->out.dtype)) == 0;
}

static double cost(const tw_problem *problem, const tw_device *device)
{
    return tw_cuda_seconds(device, 0, 1, 1.05 * tw_problem_traffic(problem), 1);
}

extern "C" const tw_design tw_lrn_cuda_vectorised = {
    .op = "lrn",
    .device = "cuda",
    .name = "vectorised",
    .summary = "16 bytes of channels a thread, or 8 channels of its pixels; squares in registers",
    .precisions = TW_IN_ALL,
    .supports = supports,
    .cost = cost,
    .run = run,
};
