/* linear, gemv on CUDA: for few images, where reading w bounds everything. A block of 128 threads computes ROWS output
 * features for up to 8 images: it streams those rows of w, 16 bytes a thread where rows are aligned, multiplies each number
 * with the same place of every image (x lies in L1 and L2), and adds up by shuffles and shared memory. w crosses device
 * memory once for each 8 images; in fp16 and bf16 it is packed to half of its bytes. Two rows a block double the loads in
 * flight and halve the reads of x, where there are features enough to fill the device all the same. Weights that fit
 * into L2 are on their way there before the layer before has ended. */
#include "devices/cuda/kernel.h"
#include "ops/linear/linear.h"

extern "C" {
#include "core/half.h"
}

#include <type_traits>

enum { THREADS = 128, IMAGES = 8, WARPS = THREADS / 32, MANY_FEATURES = 2048 };

/* 16 bytes of w, which nobody reads again soon. */
template <class T> __device__ static inline tw_pack<T> load_weights(const T *from)
{
    const int4 raw = __ldcs((const int4 *)from);
    T narrow[tw_pack<T>::width];
    memcpy(narrow, &raw, sizeof raw);
    tw_pack<T> pack;
#pragma unroll
    for (int i = 0; i < tw_pack<T>::width; i++) pack.v[i] = tw_widen(narrow[i]);
    return pack;
}

template <class T, int N, int ROWS>
__device__ static void accumulate(const tw_linear &p, const T *x, const T *w, int rows, float (&sums)[ROWS][N])
{
    constexpr int width = tw_pack<T>::width;
    if (p.ic % width == 0) { /* then all rows start on 16 bytes, since the tensors do */
#pragma unroll 4
        for (int i = threadIdx.x * width; i < p.ic; i += THREADS * width) {
            tw_pack<T> weights[ROWS];
#pragma unroll
            for (int r = 0; r < ROWS; r++) weights[r] = load_weights(w + (size_t)(r < rows ? r : 0) * p.ic + i);
#pragma unroll
            for (int n = 0; n < N; n++) {
                const tw_pack<T> v = tw_pack<T>::load(x + (size_t)n * p.ic + i);
#pragma unroll
                for (int r = 0; r < ROWS; r++)
#pragma unroll
                    for (int j = 0; j < width; j++) sums[r][n] = fmaf(weights[r].v[j], v.v[j], sums[r][n]);
            }
        }
        return;
    }
    for (int i = threadIdx.x; i < p.ic; i += THREADS)
#pragma unroll
        for (int n = 0; n < N; n++)
#pragma unroll
            for (int r = 0; r < ROWS; r++)
                sums[r][n] = fmaf(tw_widen(w[(size_t)(r < rows ? r : 0) * p.ic + i]), tw_widen(x[(size_t)n * p.ic + i]),
                                  sums[r][n]);
}

template <class T, class Out, int N, int ROWS>
__global__ static void __launch_bounds__(THREADS) gemv(tw_linear p, const T *x, const T *w, const float *bias, Out *y)
{
    __shared__ float parts[ROWS * N][WARPS];
    float sums[ROWS][N] = {};
    const int first = blockIdx.x * ROWS, rows = min(ROWS, p.oc - first);
    if ((size_t)p.oc * p.ic * sizeof(T) <= TW_CUDA_AHEAD) {
        const char *rows_of_w = (const char *)(w + (size_t)first * p.ic);
        for (size_t i = threadIdx.x * 128; i < (size_t)rows * p.ic * sizeof(T); i += THREADS * 128)
            tw_prefetch(rows_of_w + i);
    }
    tw_cuda_wait();
    tw_cuda_release();
    accumulate<T, N, ROWS>(p, x, w + (size_t)first * p.ic, rows, sums);
#pragma unroll
    for (int r = 0; r < ROWS; r++)
#pragma unroll
        for (int n = 0; n < N; n++) {
            float sum = sums[r][n];
            for (int lanes = 16; lanes > 0; lanes /= 2) sum += __shfl_down_sync(0xffffffffu, sum, lanes);
            if (threadIdx.x % 32 == 0) parts[r * N + n][threadIdx.x / 32] = sum;
        }
    __syncthreads();
    const int r = threadIdx.x / N, n = threadIdx.x % N;
    if (r >= rows) return;
    float sum = 0;
    for (int i = 0; i < WARPS; i++) sum += parts[threadIdx.x][i];
    if (p.has_bias) sum += bias[first + r];
    y[(size_t)n * p.oc + first + r] = tw_narrow<Out>(tw_activate(sum, p.activation));
}

template <class T, class Out, int ROWS> static tw_status launch(const tw_step *step, tw_queue *queue, const T *w)
{
    typedef void (*kernel)(tw_linear, const T *, const T *, const float *, Out *);
    static const kernel kernels[IMAGES] = {gemv<T, Out, 1, ROWS>, gemv<T, Out, 2, ROWS>, gemv<T, Out, 3, ROWS>,
                                           gemv<T, Out, 4, ROWS>, gemv<T, Out, 5, ROWS>, gemv<T, Out, 6, ROWS>,
                                           gemv<T, Out, 7, ROWS>, gemv<T, Out, 8, ROWS>};
    const tw_linear *p = (const tw_linear *)step->problem->params;
    const T *x = (const T *)step->in[0];
    Out *y = (Out *)step->out;
    tw_status status = TW_OK;
    for (int first = 0; first < p->n && status == TW_OK; first += IMAGES) {
        const int images = p->n - first < IMAGES ? p->n - first : IMAGES;
        const tw_cuda_grid grid = {dim3(tw_ceil_div((size_t)p->oc, ROWS)), THREADS};
        status = tw_cuda_launch(queue, kernels[images - 1], grid, *p, x + (size_t)first * p->ic, w,
                                (const float *)step->in[2], y + (size_t)first * p->oc);
    }
    return status;
}

template <class T, class Out> static tw_status launch_rows(const tw_step *step, tw_queue *queue)
{
    const T *w = (const T *)(step->packed ? step->packed : step->in[1]);
    return ((const tw_linear *)step->problem->params)->oc >= MANY_FEATURES ? launch<T, Out, 2>(step, queue, w)
                                                                           : launch<T, Out, 1>(step, queue, w);
}

static tw_status run(const tw_step *step, tw_queue *queue)
{
    return tw_cuda_with_type(step->problem->in[0].dtype, [&](auto *type) {
        using T = std::remove_pointer_t<decltype(type)>;
        return step->problem->out.dtype == TW_F32 ? launch_rows<T, float>(step, queue) : launch_rows<T, T>(step, queue);
    });
}

static bool supports(const tw_problem *problem, const tw_device *device, const char **reason)
{
    const tw_dtype own = tw_precision_dtype(problem->precision);
    (void)device;
    *reason = "reads the precision's own type and writes that or float32, plain";
    return problem->in[0].layout == TW_PLAIN && problem->out.layout == TW_PLAIN && problem->in[0].dtype == own &&
           (problem->out.dtype == own || problem->out.dtype == TW_F32);
}

static bool is_narrow(const tw_problem *problem)
{
    return tw_precision_dtype(problem->precision) != TW_F32;
}

static size_t packed_bytes(const tw_problem *problem, const tw_device *)
{
    const tw_linear *p = (const tw_linear *)problem->params;
    return is_narrow(problem) ? (size_t)p->ic * p->oc * 2 : 0;
}

static void pack(const tw_problem *problem, const tw_device *, const void *const *in, void *packed)
{
    const tw_linear *p = (const tw_linear *)problem->params;
    const float *w = (const float *)in[1];
    for (size_t i = 0; i < (size_t)p->ic * p->oc; i++)
        tw_write_element(packed, tw_precision_dtype(problem->precision), i, w[i]);
}

static double cost(const tw_problem *problem, const tw_device *device)
{
    const tw_linear *p = (const tw_linear *)problem->params;
    const unsigned launches = tw_ceil_div((size_t)p->n, IMAGES);
    const double weights = (double)p->ic * p->oc * (is_narrow(problem) ? 2 : 4) * launches;
    return tw_cuda_seconds(device, problem->op->flops(p), 0.2, weights * 1.1, (int)launches);
}

extern "C" const tw_design tw_linear_cuda_gemv = {
    .op = "linear",
    .device = "cuda",
    .name = "gemv",
    .summary = "for few images: a block streams rows of weights and adds up by shuffles",
    .precisions = TW_IN_ALL,
    .supports = supports,
    .packed_bytes = packed_bytes,
    .pack = pack,
    .cost = cost,
    .run = run,
};
