/* linear, gemv on CUDA: for few images, where reading w bounds everything; w crosses device memory once for each 8
 * of them. On tensor cores, where the precision has them (cuda_gemv_mma.cuh): w packed in the order of their
 * registers, in fp16 and bf16 to half of its bytes, in tf32 to 19/32.
 *
 * Otherwise, in fp32 and on devices before 8.0, a block of 128 threads computes ROWS output features for up to 8
 * images: it streams those rows of w, 16 bytes a thread where rows are aligned, multiplies each number with the same
 * place of every image (x lies in L1 and L2), and adds up by shuffles and shared memory; fp16 is packed, fp32 read
 * as it lies. Two rows a block double the loads in flight and halve the reads of x, where there are features enough
 * to fill the device all the same.
 *
 * Weights that fit into L2 are on their way there before the layer before has ended. */
#include "ops/linear/cuda_gemv_mma.cuh"

#include <type_traits>

enum { THREADS = 128, IMAGES = TW_GEMV_IMAGES, WARPS = THREADS / 32, MANY_FEATURES = 2048 };

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

/* A launch for each 8 images. */
template <class T, class Out, class F> static tw_status launch(const tw_step *step, int features, const F &enqueue)
{
    const tw_linear *p = (const tw_linear *)step->problem->params;
    const T *x = (const T *)step->in[0];
    Out *y = (Out *)step->out;
    tw_status status = TW_OK;
    for (int first = 0; first < p->n && status == TW_OK; first += IMAGES) {
        tw_linear part = *p;
        part.n = p->n - first < IMAGES ? p->n - first : IMAGES;
        status = enqueue(part, tw_ceil_div((size_t)p->oc, (size_t)features), x + (size_t)first * p->ic,
                         y + (size_t)first * p->oc);
    }
    return status;
}

template <class T, class Out, int ROWS> static tw_status launch_rows(const tw_step *step, tw_queue *queue)
{
    typedef void (*kernel)(tw_linear, const T *, const T *, const float *, Out *);
    static const kernel kernels[IMAGES] = {gemv<T, Out, 1, ROWS>, gemv<T, Out, 2, ROWS>, gemv<T, Out, 3, ROWS>,
                                           gemv<T, Out, 4, ROWS>, gemv<T, Out, 5, ROWS>, gemv<T, Out, 6, ROWS>,
                                           gemv<T, Out, 7, ROWS>, gemv<T, Out, 8, ROWS>};
    const T *w = (const T *)(step->packed ? step->packed : step->in[1]);
    return launch<T, Out>(step, ROWS, [&](const tw_linear &p, unsigned blocks, const T *x, Out *y) {
        return tw_cuda_launch(queue, kernels[p.n - 1], {dim3(blocks), THREADS}, p, x, w, (const float *)step->in[2], y);
    });
}

template <class T, class Out, int TILES> static tw_status launch_tiles(const tw_step *step, tw_queue *queue)
{
    const auto enqueue = [&](const tw_linear &p, unsigned blocks, const T *x, Out *y) {
        const tw_cuda_grid grid = {dim3(blocks), TW_GEMV_WARPS / TILES * 32};
        return tw_cuda_launch(queue, tw_gemv_mma<T, Out, TILES>, grid, p, x, (const uint8_t *)step->packed,
                              (const float *)step->in[2], y);
    };
    return launch<T, Out>(step, TILES * TW_GEMV_FEATURES, enqueue);
}

static bool is_narrow(const tw_problem *problem)
{
    return tw_precision_dtype(problem->precision) != TW_F32;
}

static bool on_tensor_cores(const tw_problem *problem, const tw_device *device)
{
    return problem->precision != TW_PRECISION_FP32 && ((const tw_cuda *)device)->capability >= 80;
}

template <class T, class Out> static tw_status launch_as(const tw_step *step, tw_queue *queue)
{
    const tw_linear *p = (const tw_linear *)step->problem->params;
    if (!on_tensor_cores(step->problem, &queue->device->base))
        return p->oc >= MANY_FEATURES ? launch_rows<T, Out, 2>(step, queue) : launch_rows<T, Out, 1>(step, queue);
    return tw_gemv_tiles_a_block(p, queue->device) == 2 ? launch_tiles<T, Out, 2>(step, queue)
                                                        : launch_tiles<T, Out, 1>(step, queue);
}

static tw_status run(const tw_step *step, tw_queue *queue)
{
    return tw_cuda_with_type(step->problem->in[0].dtype, [&](auto *type) {
        using T = std::remove_pointer_t<decltype(type)>;
        return step->problem->out.dtype == TW_F32 ? launch_as<T, float>(step, queue) : launch_as<T, T>(step, queue);
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

static size_t packed_bytes(const tw_problem *problem, const tw_device *device)
{
    const tw_linear *p = (const tw_linear *)problem->params;
    if (on_tensor_cores(problem, device)) return tw_gemv_bytes(p, problem->precision);
    return is_narrow(problem) ? (size_t)p->ic * p->oc * 2 : 0;
}

static void pack(const tw_problem *problem, const tw_device *device, const void *const *in, void *packed)
{
    const tw_linear *p = (const tw_linear *)problem->params;
    const float *w = (const float *)in[1];
    const tw_dtype dtype = tw_precision_dtype(problem->precision);
    if (on_tensor_cores(problem, device)) {
        tw_cuda_with_type(dtype, [&](auto *type) {
            using T = std::remove_pointer_t<decltype(type)>;
            tw_gemv_pack<T>(p, problem->precision, w, (uint8_t *)packed);
        });
        return;
    }
    for (size_t i = 0; i < (size_t)p->ic * p->oc; i++) tw_write_element(packed, dtype, i, w[i]);
}

/* Of tensor cores: all weights at the bandwidth, or what a warp waits for its pieces, one after the other, in as
 * many rounds as blocks need. */
static double cost(const tw_problem *problem, const tw_device *device)
{
    const tw_linear *p = (const tw_linear *)problem->params;
    const unsigned launches = tw_ceil_div((size_t)p->n, IMAGES);
    if (!on_tensor_cores(problem, device)) {
        const double weights = (double)p->ic * p->oc * (is_narrow(problem) ? 2 : 4) * launches;
        return tw_cuda_seconds(device, problem->op->flops(p), 0.2, weights * 1.1, (int)launches);
    }
    const tw_cuda *cuda = (const tw_cuda *)device;
    const int tiles = tw_gemv_tiles_a_block(p, cuda);
    const double rounds = tw_ceil_div(tw_gemv_tiles(p), (size_t)tiles * cuda->multiprocessors);
    const double waiting = rounds * tw_ceil_div(tw_gemv_pieces(p), TW_GEMV_WARPS / tiles) * 0.7e-6;
    const double reading = 1.15 * (double)tw_gemv_bytes(p, problem->precision) / device->info.peak_bytes;
    return launches * (1.5e-6 + fmax(reading, waiting));
}

extern "C" const tw_design tw_linear_cuda_gemv = {
    .op = "linear",
    .device = "cuda",
    .name = "gemv",
    .summary = "for few images: blocks stream rows of weights, on tensor cores in the order of their registers",
    .precisions = TW_IN_ALL,
    .supports = supports,
    .packed_bytes = packed_bytes,
    .pack = pack,
    .cost = cost,
    .run = run,
};
