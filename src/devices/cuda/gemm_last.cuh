/* An implicit float32 matrix product for channels-last data on the plain multiply-add units, shared by conv2d's
 * implicit_gemm and linear's split_k: out[pixel][oc] = sum over k of x(pixel, k) * w[k][oc], k = (ky, kx, c), c fastest.
 *
 * A block of 256 threads computes M x N of it (128 x 128, or 64 x 64 where tiles are few). In steps of 16 k it stages both
 * operands in shared memory: w is packed so that its rows lie as they are needed, x is read 16 bytes of channels at a time
 * and laid down transposed, so that the pixels of one k are neighbours. A thread keeps 8 x 8 (4 x 4) sums and reads 16 (8)
 * numbers as float4 for 64 (16) multiply-adds. The next step's global loads are in registers while this one is
 * multiplied; two stages, one barrier a step. Arithmetic bounds the large tile, shared memory's latency the small one.
 *
 * Where tiles would leave multiprocessors idle (one image, deep layers), k is split over blockIdx.z: partial sums go to the
 * workspace, and a second kernel adds them up in order and finishes. tw_last_plan() predicts the time of each tile and
 * split and takes the least; workspace, run and cost all ask it.
 * (Volkov and Demmel 2008; NVIDIA's CUTLASS for the hierarchy of tiles and split-k.) */
#ifndef TW_DEVICES_CUDA_GEMM_LAST_CUH
#define TW_DEVICES_CUDA_GEMM_LAST_CUH

#include "devices/cuda/kernel.h"
#include "ops/conv2d/conv2d.h"

enum { TW_LAST_K = 16, TW_LAST_THREADS = 256, TW_LAST_SPLITS = 32 };

typedef struct tw_last_gemm {
    tw_conv2d p; /* one group; a linear layer is a 1x1 window on images of one pixel */
    bool plain;  /* x [n][c][h][w], as a network's input: gathered number by number */
    int pixels, k;
    int columns;       /* oc, rounded up to 64: w's rows */
    int tile;          /* 128 or 64 */
    int splits, steps; /* of k: steps of 16 in each */
    double seconds;
} tw_last_gemm;

/* ---- the kernels ---- */

template <int TILE>
__global__ static void __launch_bounds__(TW_LAST_THREADS, TILE == 128 ? 2 : 3)
    tw_last_multiply(const __grid_constant__ tw_last_gemm g, const float *x, const float *w, const float *bias,
                     const float *residual, float *y, float *partial)
{
    constexpr int loads = TILE / 64, sums_side = TILE / 16, K = TW_LAST_K;
    __shared__ __align__(16) float a_tile[2][K][TILE + 4], b_tile[2][K][TILE];
    const tw_conv2d &p = g.p;
    const int thread = threadIdx.x, first_pixel = blockIdx.x * TILE, first_column = blockIdx.y * TILE;
    const int chunk = thread % 4 * 4, a_row = thread / 4;                      /* of x: 4 k of pixels a_row + 64 i */
    const int b_column = thread % (TILE / 4) * 4, b_row = thread / (TILE / 4); /* of w: 4 columns of k b_row + ... */
    constexpr int b_rows = TW_LAST_THREADS / (TILE / 4);
    const int k_begin = blockIdx.z * g.steps * K, k_end = min(g.k, k_begin + g.steps * K);
    int tops[loads], lefts[loads];
    const float *images[loads];
#pragma unroll
    for (int i = 0; i < loads; i++) {
        const int pixel = first_pixel + a_row + 64 * i, n = pixel / (p.oh * p.ow), rest = pixel - n * p.oh * p.ow;
        const int oy = rest / p.ow;
        const bool inside = pixel < g.pixels;
        images[i] = x + (inside ? (size_t)n * p.ih * p.iw * p.ic : 0);
        tops[i] = inside ? oy * p.sh - p.pt : INT_MIN / 2;
        lefts[i] = (rest - oy * p.ow) * p.sw - p.pl;
    }
    /* This thread's k as (window row, window column, channel), moved on by 16 each step. */
    int k = k_begin + chunk, window = k / p.ic, c = k - window * p.ic, ky = window / p.kw, kx = window - ky * p.kw;
    float4 a_next[loads], b_next[loads];

    auto gather = [&](int i,
                      int at) { /* one number of a plain image */
                                const int window_ = at / p.ic, c_ = at - window_ * p.ic, ky_ = window_ / p.kw,
                                          kx_ = window_ - ky_ * p.kw;
                                const int iy = tops[i] + ky_ * p.dilh, ix = lefts[i] + kx_ * p.dilw;
                                if (at >= k_end || (unsigned)iy >= (unsigned)p.ih || (unsigned)ix >= (unsigned)p.iw)
                                    return 0.0f;
                                return __ldg(images[i] + ((size_t)c_ * p.ih + iy) * p.iw + ix);
    };
    auto load = [&](int k0) {
#pragma unroll
        for (int i = 0; i < loads; i++) {
            a_next[i] = make_float4(0, 0, 0, 0);
            if (g.plain) {
                a_next[i] = make_float4(gather(i, k), gather(i, k + 1), gather(i, k + 2), gather(i, k + 3));
                continue;
            }
            const int iy = tops[i] + ky * p.dilh, ix = lefts[i] + kx * p.dilw;
            if (k < k_end && (unsigned)iy < (unsigned)p.ih && (unsigned)ix < (unsigned)p.iw)
                a_next[i] = __ldg((const float4 *)(images[i] + ((size_t)iy * p.iw + ix) * p.ic + c));
        }
#pragma unroll
        for (int i = 0; i < loads; i++) {
            const int at = k0 + b_row + i * b_rows;
            b_next[i] = make_float4(0, 0, 0, 0);
            if (at < k_end && first_column + b_column < g.columns)
                b_next[i] = __ldg((const float4 *)(w + (size_t)at * g.columns + first_column + b_column));
        }
        k += K;
        c += K;
        while (c >= p.ic && !g.plain) {
            c -= p.ic;
            if (++kx == p.kw) kx = 0, ky++;
        }
    };
    auto store = [&](int stage) {
#pragma unroll
        for (int i = 0; i < loads; i++) {
            a_tile[stage][chunk][a_row + 64 * i] = a_next[i].x;
            a_tile[stage][chunk + 1][a_row + 64 * i] = a_next[i].y;
            a_tile[stage][chunk + 2][a_row + 64 * i] = a_next[i].z;
            a_tile[stage][chunk + 3][a_row + 64 * i] = a_next[i].w;
            *(float4 *)&b_tile[stage][b_row + i * b_rows][b_column] = b_next[i];
        }
    };

    const int row = thread / 16 * 4, column = thread % 16 * 4; /* of the sums, and 64 further */
    float sums[sums_side][sums_side] = {};
    tw_cuda_wait();
    load(k_begin);
    store(0);
    __syncthreads();
    for (int k0 = k_begin, stage = 0; k0 < k_end; k0 += K, stage ^= 1) {
        const bool more = k0 + K < k_end;
        if (more) load(k0 + K);
#pragma unroll
        for (int i = 0; i < K; i++) {
            float a[sums_side], b[sums_side];
#pragma unroll
            for (int half = 0; half < loads; half++) {
                *(float4 *)&a[4 * half] = *(const float4 *)&a_tile[stage][i][row + 64 * half];
                *(float4 *)&b[4 * half] = *(const float4 *)&b_tile[stage][i][column + 64 * half];
            }
#pragma unroll
            for (int r = 0; r < sums_side; r++)
#pragma unroll
                for (int j = 0; j < sums_side; j++) sums[r][j] = fmaf(a[r], b[j], sums[r][j]);
        }
        if (more) store(stage ^ 1);
        __syncthreads();
    }
    tw_cuda_release();
#pragma unroll
    for (int r = 0; r < sums_side; r++) {
        const int pixel = first_pixel + row + r % 4 + 64 * (r / 4);
        if (pixel >= g.pixels) continue;
#pragma unroll
        for (int half = 0; half < loads; half++) {
            const int oc = first_column + column + 64 * half;
            if (oc >= p.oc) continue;
            const size_t at = (size_t)pixel * p.oc + oc;
            float4 sum = *(float4 *)&sums[r][4 * half];
            if (g.splits > 1) {
                *(float4 *)(partial + (size_t)blockIdx.z * g.pixels * p.oc + at) = sum;
                continue;
            }
            float out[4] = {sum.x, sum.y, sum.z, sum.w};
#pragma unroll
            for (int j = 0; j < 4; j++) {
                if (p.has_bias) out[j] += __ldg(bias + oc + j);
                if (p.has_residual) out[j] += residual[at + j];
                out[j] = tw_activate(out[j], p.activation);
            }
            *(float4 *)(y + at) = make_float4(out[0], out[1], out[2], out[3]);
        }
    }
}

/* Adds the splits up; a thread has four channels of a pixel. */
__global__ static void __launch_bounds__(TW_LAST_THREADS)
    tw_last_finish(const __grid_constant__ tw_last_gemm g, const float *partial, const float *bias,
                   const float *residual, float *y)
{
    const size_t count = (size_t)g.pixels * g.p.oc, at = ((size_t)blockIdx.x * TW_LAST_THREADS + threadIdx.x) * 4;
    tw_cuda_wait();
    tw_cuda_release();
    if (at >= count) return;
    float4 sum = *(const float4 *)(partial + at);
#pragma unroll 4
    for (int split = 1; split < g.splits; split++) {
        const float4 v = *(const float4 *)(partial + split * count + at);
        sum.x += v.x, sum.y += v.y, sum.z += v.z, sum.w += v.w;
    }
    const int oc = (int)(at % g.p.oc);
    float out[4] = {sum.x, sum.y, sum.z, sum.w};
#pragma unroll
    for (int j = 0; j < 4; j++) {
        if (g.p.has_bias) out[j] += __ldg(bias + oc + j);
        if (g.p.has_residual) out[j] += residual[at + j];
        out[j] = tw_activate(out[j], g.p.activation);
    }
    *(float4 *)(y + at) = make_float4(out[0], out[1], out[2], out[3]);
}

/* ---- on the host ---- */

static inline bool tw_last_supports(const tw_conv2d *p, bool plain, const char **reason)
{
    *reason = "channels-last: needs channels in whole 16 bytes, and no groups";
    if (p->groups != 1 || p->oc % 4 || (!plain && p->ic % 4)) return false;
    *reason = "more than 2^31 - 1 pixels, weights or partial sums";
    return (double)p->n * p->oh * p->ow + 128 < INT_MAX && (double)p->kh * p->kw * p->ic + 16 < INT_MAX &&
           (double)p->ih + (double)p->kh * p->dilh + p->pt < INT_MAX / 4 && p->oc <= 64 * TW_CUDA_MAX_GRID_YZ;
}

/* A step of a block takes its arithmetic, shared by those on its multiprocessor, or the latency of its loads. */
static inline double tw_last_seconds(const tw_last_gemm *g, int tile, int splits, const tw_cuda *cuda)
{
    const double blocks =
        (double)tw_ceil_div((size_t)g->pixels, (size_t)tile) * tw_ceil_div((size_t)g->p.oc, (size_t)tile) * splits;
    const double rate = 0.67 * tw_cuda_rates_of(cuda).fma, latency = 0.6e-6;
    const double most = tile == 128 ? 2 : 4, each = ceil(blocks / cuda->multiprocessors);
    const double together = each < most ? each : most, waves = ceil(each / most);
    const double arithmetic = together * tile * tile * (2.0 * (int)TW_LAST_K) / rate * (tile == 128 ? 1 : 1.25);
    const double steps = tw_ceil_div(tw_ceil_div((size_t)g->k, TW_LAST_K), (size_t)splits);
    const double reduce = splits > 1 ? 1.5e-6 + 2.0 * splits * g->pixels * g->p.oc * sizeof(float) / 4e12 : 0;
    return waves * steps * (arithmetic > latency ? arithmetic : latency) + 2e-6 + reduce;
}

static inline tw_last_gemm tw_last_plan(const tw_conv2d *p, bool plain, const tw_device *device)
{
    tw_last_gemm g = {};
    g.p = *p;
    g.plain = plain;
    g.pixels = p->n * p->oh * p->ow;
    g.k = p->kh * p->kw * p->ic;
    g.columns = (p->oc + 63) / 64 * 64;
    const int most = (int)tw_ceil_div((size_t)g.k, 4 * TW_LAST_K); /* four steps each at least */
    for (int tile = 64; tile <= 128; tile += 64)
        for (int splits = 1; splits <= TW_LAST_SPLITS && (splits == 1 || splits <= most); splits++) {
            const double seconds = tw_last_seconds(&g, tile, splits, (const tw_cuda *)device);
            if (g.tile && seconds >= g.seconds) continue;
            g.tile = tile;
            g.steps = (int)tw_ceil_div(tw_ceil_div((size_t)g.k, TW_LAST_K), (size_t)splits);
            g.splits = (int)tw_ceil_div(tw_ceil_div((size_t)g.k, TW_LAST_K), (size_t)g.steps);
            g.seconds = seconds;
        }
    return g;
}

static inline size_t tw_last_workspace(const tw_last_gemm *g)
{
    return g->splits > 1 ? (size_t)g->splits * (size_t)g->pixels * (size_t)g->p.oc * sizeof(float) : 0;
}

static inline size_t tw_last_packed_bytes(const tw_conv2d *p)
{
    return (size_t)p->kh * p->kw * p->ic * (size_t)((p->oc + 63) / 64 * 64) * sizeof(float);
}

/* [ky][kx][c][oc, zeros behind] from [oc][c][ky][kx] */
static inline void tw_last_pack(const tw_conv2d *p, const float *w, float *packed)
{
    const size_t window = (size_t)p->kh * p->kw, columns = (size_t)(p->oc + 63) / 64 * 64;
    memset(packed, 0, tw_last_packed_bytes(p));
    for (size_t oc = 0; oc < (size_t)p->oc; oc++)
        for (size_t c = 0; c < (size_t)p->ic; c++)
            for (size_t i = 0; i < window; i++)
                packed[(i * p->ic + c) * columns + oc] = w[(oc * p->ic + c) * window + i];
}

static inline tw_status tw_last_run(const tw_last_gemm *g, const tw_step *step, const float *residual, tw_queue *queue)
{
    const float *x = (const float *)step->in[0], *w = (const float *)step->packed, *bias = (const float *)step->in[2];
    float *y = (float *)step->out, *partial = (float *)step->workspace;
    const tw_cuda_grid grid = {dim3(tw_ceil_div((size_t)g->pixels, (size_t)g->tile),
                                    tw_ceil_div((size_t)g->p.oc, (size_t)g->tile), (unsigned)g->splits),
                               TW_LAST_THREADS};
    tw_status status = g->tile == 128
                           ? tw_cuda_launch(queue, tw_last_multiply<128>, grid, *g, x, w, bias, residual, y, partial)
                           : tw_cuda_launch(queue, tw_last_multiply<64>, grid, *g, x, w, bias, residual, y, partial);
    if (status != TW_OK || g->splits == 1) return status;
    const tw_cuda_grid all = {dim3(tw_ceil_div((size_t)g->pixels * g->p.oc / 4, TW_LAST_THREADS)), TW_LAST_THREADS};
    return tw_cuda_launch(queue, tw_last_finish, all, *g, (const float *)partial, bias, residual, y);
}

#endif
