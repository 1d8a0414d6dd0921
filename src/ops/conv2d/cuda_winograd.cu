/* conv2d, winograd on CUDA, float32, channels-last: F(6x6, 3x3), F(4x4, 3x3) and F(4x4, 5x5). winograd.h has the algorithm
 * and its source, Lavin and Gray (2015).
 *
 * Outputs are cut into tiles of m x m; a slice of tiles goes through three kernels, V and M in the workspace:
 *
 *   V[e][tile / 4][ic][4] = B^T d B    e: one of alpha^2 elements. A thread transforms one window of one channel, alpha^2
 *                                      numbers in registers; lanes are 4 tiles by 8 channels, so that they read whole
 *                                      sectors of x and write whole lines of V.
 *   M[e][tile][oc] = V[e] * U[e]       alpha^2 matrix products in one launch, tiles x ic times ic x oc. U is the weights,
 *                                      transformed in double precision when they are packed, [e][ic][oc].
 *   y = A^T M A                        A thread has one tile of one channel, lanes are 32 channels; bias, residual and
 *                                      activation are added here.
 *
 * The product has almost all of the time. A block computes 128 x 128 (256 x 64 where channels are few, 64 x 128 where tiles
 * are) in steps of 16 k, of which three stages are under way by asynchronous copies. V's groups of four tiles are 16 bytes
 * that are neighbours in shared memory too, so that nothing is transposed. A thread keeps 8 x 8 sums and reads 16 numbers as
 * float4 for 64 multiply-adds.
 *
 * The slice is such that the blocks of its product come out as whole rounds on all multiprocessors. It need not fit L2:
 * with V and M of 36 MB VGG-16 took 40.5 ms at batch 128 on an H100, of 144 MB 39.2, of 288 MB 38.2, for a small slice's
 * transforms are too few to hide their loads. Multiply-adds bound it: alpha^2 / (m r)^2 of the direct algorithm's, over
 * what share of their peak the product reaches. */
#include "devices/cuda/async.cuh"
#include "ops/conv2d/conv2d.h"
#include "ops/conv2d/winograd.h"

enum { K = 16, STAGES = 3, TRANSFORMING = 256 };
static const double SLICE_BYTES = 268e6; /* that V and M may take */

/* What the kernels are told of a slice. */
struct slice {
    tw_conv2d p;
    int first, tiles; /* of all tiles; how many the workspace holds, whole blocks of the product */
    int total;
    tw_divisor an_image, a_row; /* tiles */
};

struct place {
    int n, y, x; /* of the tile; n: -1 where there is none */
};

__device__ static inline place place_of(const slice &s, int tile)
{
    const unsigned at = (unsigned)(s.first + tile);
    if (at >= (unsigned)s.total) return {-1, 0, 0};
    const unsigned n = s.an_image.quotient(at), rest = at - n * s.an_image.d, y = s.a_row.quotient(rest);
    return {(int)n, (int)y, (int)(rest - y * s.a_row.d)};
}

/* ---- V = B^T d B ---- */

template <int ALPHA> __device__ static inline void transform_input(const float *d, float *v)
{
    if constexpr (ALPHA == 8)
        tw_winograd_input6(d, v);
    else
        tw_winograd_input4(d, v);
}

/* Lanes: tile = lane % 4, channel = lane / 4; a block has 4 tiles of 64 channels. */
template <int ALPHA, int M>
__global__ static void __launch_bounds__(TRANSFORMING)
    transform_inputs(const __grid_constant__ slice s, const float *x, float *v)
{
    const tw_conv2d &p = s.p;
    const int tile = (int)blockIdx.x * 4 + threadIdx.x % 4, channel = (int)blockIdx.y * 64 + threadIdx.x / 4;
    tw_cuda_wait();
    tw_cuda_release();
    if (channel >= p.ic) return;
    const place at = place_of(s, tile);
    const int top = at.y * M - p.pt, left = at.x * M - p.pl;
    const float *from = x + (((ptrdiff_t)at.n * p.ih + top) * p.iw + left) * p.ic + channel;
    float t[ALPHA][ALPHA];
#pragma unroll
    for (int j = 0; j < ALPHA; j++) {
        float d[ALPHA], column[ALPHA];
#pragma unroll
        for (int i = 0; i < ALPHA; i++) {
            const bool there =
                at.n >= 0 && (unsigned)(top + i) < (unsigned)p.ih && (unsigned)(left + j) < (unsigned)p.iw;
            d[i] = there ? from[(i * p.iw + j) * p.ic] : 0.0f;
        }
        transform_input<ALPHA>(d, column);
#pragma unroll
        for (int i = 0; i < ALPHA; i++) t[i][j] = column[i];
    }
    const size_t plane = (size_t)s.tiles * p.ic;
    float *to = v + ((size_t)(tile / 4) * p.ic + channel) * 4 + tile % 4;
#pragma unroll
    for (int i = 0; i < ALPHA; i++) {
        float row[ALPHA];
        transform_input<ALPHA>(t[i], row);
#pragma unroll
        for (int j = 0; j < ALPHA; j++) to[(i * ALPHA + j) * plane] = row[j];
    }
}

/* ---- M[e] = V[e] U[e] ---- */

/* A warp has 32 x 64 of the block's BM x BN; lane (y, x) = (lane / 8, lane % 8) the rows 4 y and 16 further, four each, and
 * the columns 4 x and 32 further. */
template <int BM, int BN> struct product {
    static constexpr int warps_along = BN / 64, threads = BM / 32 * warps_along * 32;
    static constexpr int a_row = BM + 4,
                         stage = K * (a_row + BN); /* floats; 4 more, and 8 lanes that copy miss no bank */
    static constexpr int shared = STAGES * stage * (int)sizeof(float);
};

template <int BM, int BN>
__global__ static void __launch_bounds__(product<BM, BN>::threads, 512 / product<BM, BN>::threads)
    multiply(const float *v, const float *u, float *m, int tiles, int ic, int oc)
{
    using P = product<BM, BN>;
    extern __shared__ __align__(16) float memory[];
    const int thread = threadIdx.x, lane = thread % 32, warp = thread / 32;
    const int first_row = (int)blockIdx.y * BM, first_column = (int)blockIdx.x * BN, element = blockIdx.z;
    const float *a_from = v + ((size_t)element * tiles + first_row) * ic;
    const float *b_from = u + (size_t)element * ic * oc + first_column;

    /* Copies of 16 bytes: of a, k thread % 16 of four rows; of b, four columns. */
    constexpr int a_copies = K * BM / 4 / P::threads, b_copies = K * BN / 4 / P::threads;
    constexpr int a_apart = P::threads / K, b_apart = P::threads / (BN / 4);
    const int a_k = thread % K, a_rows = thread / K, b_columns = thread % (BN / 4) * 4, b_k = thread / (BN / 4);
    const bool b_there = first_column + b_columns < oc;
    const unsigned base = tw_shared_address(memory);
    const unsigned a_to = base + (a_k * P::a_row + a_rows * 4) * 4,
                   b_to = base + (K * P::a_row + b_k * BN + b_columns) * 4;
    const float *a_next = a_from + ((size_t)a_rows * ic + a_k) * 4;
    const float *b_next = b_from + (b_there ? (size_t)b_k * oc + b_columns : 0);
    auto load_a = [&](int stage, int k) {
#pragma unroll
        for (int i = 0; i < a_copies; i++)
            tw_copy_async(a_to + (stage * P::stage + i * a_apart * 4) * 4, a_next + ((size_t)i * a_apart * ic + k) * 4,
                          true);
    };
    auto load_b = [&](int stage, int k) {
#pragma unroll
        for (int i = 0; i < b_copies; i++)
            tw_copy_async(b_to + (stage * P::stage + i * b_apart * BN) * 4,
                          b_next + (b_there ? (size_t)(k + i * b_apart) * oc : 0), b_there);
    };
    for (int s = 0; s < STAGES - 1; s++)
        if (s * K < ic) load_b(s, s * K);
    tw_cuda_wait();
    for (int s = 0; s < STAGES - 1; s++) {
        if (s * K < ic) load_a(s, s * K);
        tw_copy_commit();
    }

    const int row = warp / P::warps_along * 32 + lane / 8 * 4, column = warp % P::warps_along * 64 + lane % 8 * 4;
    float sums[8][8] = {};
    int stage = 0;
    for (int k = 0; k < ic; k += K) {
        tw_copy_wait<STAGES - 2>();
        __syncthreads();
        const int next = k + (STAGES - 1) * K, free_stage = stage == 0 ? STAGES - 1 : stage - 1;
        if (next < ic) {
            load_a(free_stage, next);
            load_b(free_stage, next);
        }
        tw_copy_commit();
        const float *a_at = memory + stage * P::stage + row, *b_at = memory + stage * P::stage + K * P::a_row + column;
#pragma unroll
        for (int i = 0; i < K; i++) {
            float a[8], b[8];
            *(float4 *)a = *(const float4 *)(a_at + i * P::a_row);
            *(float4 *)(a + 4) = *(const float4 *)(a_at + i * P::a_row + 16);
            *(float4 *)b = *(const float4 *)(b_at + i * BN);
            *(float4 *)(b + 4) = *(const float4 *)(b_at + i * BN + 32);
#pragma unroll
            for (int r = 0; r < 8; r++)
#pragma unroll
                for (int c = 0; c < 8; c++) sums[r][c] = fmaf(a[r], b[c], sums[r][c]);
        }
        stage = stage + 1 == STAGES ? 0 : stage + 1;
    }
    tw_cuda_release();
    float *to = m + ((size_t)element * tiles + first_row + row) * oc + first_column + column;
#pragma unroll
    for (int half = 0; half < 2; half++) {
        if (first_column + column + half * 32 >= oc) break;
#pragma unroll
        for (int r = 0; r < 8; r++)
            *(float4 *)(to + (size_t)(r % 4 + r / 4 * 16) * oc + half * 32) = *(const float4 *)(sums[r] + 4 * half);
    }
}

/* ---- y = A^T M A ---- */

template <int ALPHA, int M> __device__ static inline void transform_output(const float *v, float *y)
{
    if constexpr (M == 6)
        tw_winograd_output6(v, y);
    else if constexpr (ALPHA == 8)
        tw_winograd_output4_of8(v, y);
    else
        tw_winograd_output4(v, y);
}

/* A block has 4 tiles of 64 channels, lanes neighbouring channels. */
template <int ALPHA, int M>
__global__ static void __launch_bounds__(TRANSFORMING)
    transform_outputs(const __grid_constant__ slice s, const float *m, const float *bias, const float *residual,
                      float *y)
{
    const tw_conv2d &p = s.p;
    const int tile = (int)blockIdx.x * 4 + threadIdx.x / 64, channel = (int)blockIdx.y * 64 + threadIdx.x % 64;
    tw_cuda_wait();
    tw_cuda_release();
    const place at = place_of(s, tile);
    if (channel >= p.oc || at.n < 0) return;
    const size_t plane = (size_t)s.tiles * p.oc;
    const size_t first = (((size_t)at.n * p.oh + at.y * M) * p.ow + at.x * M) * p.oc + channel;
    const float *from = m + (size_t)tile * p.oc + channel;
    const float shift = bias ? bias[channel] : 0.0f;
    const auto there = [&](int i, int j) { return at.y * M + i < p.oh && at.x * M + j < p.ow; };
    float t[M][ALPHA], added[M][M]; /* to each output: all are under way at once */
#pragma unroll
    for (int i = 0; i < M; i++)
#pragma unroll
        for (int j = 0; j < M; j++) {
            added[i][j] = shift;
            if (residual && there(i, j)) added[i][j] += residual[first + (size_t)(i * p.ow + j) * p.oc];
        }
#pragma unroll
    for (int j = 0; j < ALPHA; j++) {
        float v[ALPHA], column[M];
#pragma unroll
        for (int i = 0; i < ALPHA; i++) v[i] = from[(i * ALPHA + j) * plane];
        transform_output<ALPHA, M>(v, column);
#pragma unroll
        for (int i = 0; i < M; i++) t[i][j] = column[i];
    }
#pragma unroll
    for (int i = 0; i < M; i++) {
        float row[M];
        transform_output<ALPHA, M>(t[i], row);
#pragma unroll
        for (int j = 0; j < M; j++)
            if (there(i, j)) y[first + (size_t)(i * p.ow + j) * p.oc] = tw_activate(row[j] + added[i][j], p.activation);
    }
}

/* ---- what to launch ---- */

typedef void (*input_kernel)(slice, const float *, float *);
typedef void (*output_kernel)(slice, const float *, const float *, const float *, float *);
typedef void (*product_kernel)(const float *, const float *, float *, int, int, int);

struct form {
    int m, r;
    int channels; /* of input, at most: its error stays below some half of the tolerance */
    input_kernel input;
    output_kernel output;
    int alpha() const
    {
        return m + r - 1;
    }
};
/* The error, relative to the output's scale, grows as the square root of the channels: F(6x6, 3x3) has 2.5e-5 at 512,
 * 4.8e-5 at 1,024 and 1.1e-4 at 8,192, F(4x4, 5x5) 4.6e-5 at 4,096, F(4x4, 3x3) 1.5e-5 at 8,192. */
static const form forms[] = {{6, 3, 1024, transform_inputs<8, 6>, transform_outputs<8, 6>},
                             {4, 3, 1 << 16, transform_inputs<6, 4>, transform_outputs<6, 4>},
                             {4, 5, 4096, transform_inputs<8, 4>, transform_outputs<8, 4>}};
static const double TOLERANCE = 1e-4;

static bool serves(const form &f, const tw_conv2d *p)
{
    return f.r == p->kh && p->ic <= f.channels;
}

struct blocking {
    int bm, bn, threads, shared;
    product_kernel kernel;
};
#define BLOCKING(BM, BN)                                                                                               \
    {                                                                                                                  \
        BM, BN, product<BM, BN>::threads, product<BM, BN>::shared, multiply<BM, BN>                                    \
    }
static const blocking blockings[] = {BLOCKING(128, 128), BLOCKING(256, 64), BLOCKING(64, 128)};
#undef BLOCKING

struct choice {
    const form *f;
    const blocking *b;
    int tiles; /* of a slice */
    double seconds;
};

static int tiles_of(const tw_conv2d *p, const form *f)
{
    return p->n * tw_winograd_tiles(p->oh, f->m) * tw_winograd_tiles(p->ow, f->m);
}

/* Seconds with slices of so many tiles. A multiprocessor holds 512 threads of the product at once, and is busy with half
 * of them. */
static double predict(const tw_conv2d *p, const tw_cuda *cuda, const form *f, const blocking *b, int tiles)
{
    const tw_cuda_rates r = tw_cuda_rates_of(cuda);
    const int total = tiles_of(p, f), points = f->alpha() * f->alpha();
    const double slices = ceil((double)total / tiles), at_once = 512.0 / b->threads;
    const double blocks = (double)tiles / b->bm * ceil((double)p->oc / b->bn) * points;
    const double each = ceil(blocks / cuda->multiprocessors);
    const double product = fmax(each, at_once / 2) * 2.0 * b->bm * b->bn * p->ic / (0.8 * r.fma);
    const double moved = 4.0 * points * ((double)p->ic + p->oc) * tiles; /* each written once and read once */
    const double from_l2 = 2 * moved / (0.5 * r.l2 * cuda->multiprocessors);
    const double memory =
        4.0 * points * p->ic * p->oc + 4.0 * tiles * f->m * f->m * ((double)p->ic + p->oc * (p->has_residual ? 2 : 1));
    return slices * (product + ceil(each / at_once) * 2e-6 + fmax(from_l2, memory / (0.7 * r.memory)) + 3e-6);
}

/* The one place that decides. */
static choice choose(const tw_conv2d *p, const tw_device *device)
{
    const tw_cuda *cuda = (const tw_cuda *)device;
    choice best = {NULL, NULL, 0, 1e30};
    for (const form &f : forms)
        for (const blocking &b : blockings) {
            if (!serves(f, p) || b.shared > cuda->shared_bytes) continue;
            const double a_tile = 4.0 * f.alpha() * f.alpha() * ((double)p->ic + p->oc);
            const int total = tiles_of(p, &f), all = (int)tw_ceil_div((size_t)total, (size_t)b.bm);
            const int most = (int)fmax(1, fmin(all, floor(SLICE_BYTES / a_tile / b.bm)));
            for (int rows = 1; rows <= most; rows++) {
                const double seconds = predict(p, cuda, &f, &b, rows * b.bm);
                if (seconds < best.seconds) best = {&f, &b, rows * b.bm, seconds};
            }
        }
    return best;
}

static const tw_conv2d *params_of(const tw_problem *problem)
{
    return (const tw_conv2d *)problem->params;
}

static bool supports(const tw_problem *problem, const tw_device *device, const char **reason)
{
    const tw_conv2d *p = params_of(problem);
    (void)device;
    *reason = "reads and writes channels-last float32 only";
    if (problem->in[0].layout != TW_NHWC || problem->out.layout != TW_NHWC || problem->in[0].dtype != TW_F32 ||
        problem->out.dtype != TW_F32)
        return false;
    *reason = "needs a dense 3x3 or 5x5 kernel with stride 1 in one group";
    if (p->kh != p->kw || (p->kh != 3 && p->kh != 5) || p->sh != 1 || p->sw != 1 || p->dilh != 1 || p->dilw != 1 ||
        p->groups != 1)
        return false;
    *reason = "needs input channels in multiples of 16, output channels of 4";
    if (p->ic % K || p->oc % 4) return false;
    *reason = "more input channels than its error allows";
    bool served = false;
    for (const form &f : forms) served |= serves(f, p);
    if (!served) return false;
    *reason = "more output channels, or a larger image, than its launches reach";
    return p->oc <= 1 << 16 && (double)p->n * p->oh * p->ow < INT_MAX - 256 &&
           (double)p->ih * p->iw * p->ic < INT_MAX && (double)p->oh * p->ow * p->oc < INT_MAX;
}

static size_t workspace(const tw_problem *problem, const tw_device *device)
{
    const tw_conv2d *p = params_of(problem);
    const choice how = choose(p, device);
    return (size_t)how.f->alpha() * how.f->alpha() * how.tiles * ((size_t)p->ic + p->oc) * sizeof(float);
}

static size_t packed_bytes(const tw_problem *problem, const tw_device *device)
{
    const tw_conv2d *p = params_of(problem);
    const choice how = choose(p, device);
    return (size_t)how.f->alpha() * how.f->alpha() * p->ic * p->oc * sizeof(float);
}

/* U[e][ic][oc] = G g G^T, in double precision. */
static void pack(const tw_problem *problem, const tw_device *device, const void *const *in, void *packed)
{
    const tw_conv2d *p = params_of(problem);
    const form &f = *choose(p, device).f;
    const int alpha = f.alpha(), r = f.r;
    const size_t plane = (size_t)p->ic * p->oc;
    double G[TW_WINOGRAD_MAX_ALPHA][TW_WINOGRAD_MAX_KERNEL], u[TW_WINOGRAD_MAX_ALPHA * TW_WINOGRAD_MAX_ALPHA];
    tw_winograd_kernel_matrix(f.m, r, G);
    for (int oc = 0; oc < p->oc; oc++)
        for (int ic = 0; ic < p->ic; ic++) {
            tw_winograd_transform_kernel(f.m, r, G, (const float *)in[1] + ((size_t)oc * p->ic + ic) * r * r, u);
            float *to = (float *)packed + (size_t)ic * p->oc + oc;
            for (int e = 0; e < alpha * alpha; e++) to[e * plane] = (float)u[e];
        }
}

static double cost(const tw_problem *problem, const tw_device *device)
{
    return choose(params_of(problem), device).seconds;
}

static tw_status run(const tw_step *step, tw_queue *queue)
{
    const tw_conv2d *p = params_of(step->problem);
    const choice how = choose(p, &queue->device->base);
    const int points = how.f->alpha() * how.f->alpha(), across = tw_winograd_tiles(p->ow, how.f->m);
    float *v = (float *)step->workspace, *m = v + (size_t)points * how.tiles * p->ic;
    slice s = {*p,
               0,
               how.tiles,
               tiles_of(p, how.f),
               tw_make_divisor(across * tw_winograd_tiles(p->oh, how.f->m)),
               tw_make_divisor(across)};
    const unsigned fours = (unsigned)how.tiles / 4;
    const tw_cuda_grid in = {dim3(fours, tw_ceil_div((size_t)p->ic, 64)), TRANSFORMING},
                       out = {dim3(fours, tw_ceil_div((size_t)p->oc, 64)), TRANSFORMING};
    tw_cuda_grid product = {
        dim3(tw_ceil_div((size_t)p->oc, (size_t)how.b->bn), (unsigned)(how.tiles / how.b->bm), (unsigned)points),
        (unsigned)how.b->threads, (size_t)how.b->shared};
    product.after = true;
    tw_status status = TW_OK;
    for (; s.first < s.total && status == TW_OK; s.first += how.tiles) {
        status = tw_cuda_launch(queue, how.f->input, in, s, (const float *)step->in[0], v);
        if (status == TW_OK)
            status = tw_cuda_launch(queue, how.b->kernel, product, (const float *)v, (const float *)step->packed, m,
                                    how.tiles, p->ic, p->oc);
        if (status == TW_OK)
            status = tw_cuda_launch(queue, how.f->output, out, s, (const float *)m,
                                    p->has_bias ? (const float *)step->in[2] : nullptr,
                                    p->has_residual ? (const float *)step->in[3] : nullptr, (float *)step->out);
    }
    return status;
}

extern "C" const tw_design tw_conv2d_cuda_winograd = {
    .op = "conv2d",
    .device = "cuda",
    .name = "winograd",
    .summary = "3x3 and 5x5 kernels with stride 1: tiles transformed, multiplied in one batch, and transformed back",
    .tolerance = TOLERANCE,
    .supports = supports,
    .workspace = workspace,
    .packed_bytes = packed_bytes,
    .pack = pack,
    .cost = cost,
    .run = run,
};
