/* An implicit float32 matrix product for channels-last data on the plain multiply-add units, shared by conv2d's
 * implicit_gemm and linear's split_k: out[pixel][oc] = sum over k of x(pixel, k) * w[k][oc], k = (ky, kx, c), c fastest.
 *
 * A block computes TILE x TILE of it: 128 with 256 threads, or 64 with 128 where tiles are few. Steps of 16 k come
 * into shared memory by asynchronous copies, three stages under way: rows of x as they lie, 16 bytes of channels at a
 * time, and w, packed so that its rows lie as they are needed; what is outside the image is copied as zeros. A warp
 * has 32 x 64 (32 x 32) of the tile. A thread keeps 8 x 8 (8 x 4) sums; of its 8 rows, every fourth of the warp's, it
 * reads two k at a time and of w four columns: 12 (10) reads for 128 (64) multiply-adds. Rows of x are padded to 20
 * numbers, so that four rows miss each other's banks. Arithmetic bounds the large tile, latency the small one.
 *
 * Where tiles would leave multiprocessors idle (one image, deep layers), k is split over blockIdx.z: partial sums go to the
 * workspace, and a second kernel adds them up in order and finishes. tw_last_plan() predicts the time of each tile and
 * split and takes the least; workspace, run and cost all ask it.
 * (Volkov and Demmel 2008; NVIDIA's CUTLASS for the hierarchy of tiles and split-k.) */
#ifndef TW_DEVICES_CUDA_GEMM_LAST_CUH
#define TW_DEVICES_CUDA_GEMM_LAST_CUH

#include "devices/cuda/async.cuh"
#include "ops/conv2d/conv2d.h"

enum { TW_LAST_K = 16, TW_LAST_STAGES = 3, TW_LAST_FINISHING = 256, TW_LAST_SPLITS = 32 };

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

template <int TILE> struct tw_last_tile {
    static constexpr int threads = 2 * TILE, quads = TILE / 64; /* of columns that a thread has */
    static constexpr int x_row = TW_LAST_K + 4, x_floats = TILE * x_row, stage = x_floats + TW_LAST_K * TILE;
    static constexpr int shared = TW_LAST_STAGES * stage * (int)sizeof(float);
};

template <int TILE>
__global__ static void __launch_bounds__(tw_last_tile<TILE>::threads, TILE == 128 ? 2 : 5)
    tw_last_multiply(const __grid_constant__ tw_last_gemm g, const float *x, const float *w, const float *bias,
                     const float *residual, float *y, float *partial)
{
    using S = tw_last_tile<TILE>;
    constexpr int K = TW_LAST_K, stages = TW_LAST_STAGES, quads = S::quads;
    extern __shared__ __align__(16) float tw_last_memory[];
    const tw_conv2d &p = g.p;
    const int thread = threadIdx.x, lane = thread % 32, warp = thread / 32;
    const int first_pixel = blockIdx.x * TILE, first_column = blockIdx.y * TILE;
    const int k_begin = blockIdx.z * g.steps * K, k_end = min(g.k, k_begin + g.steps * K);
    const unsigned base = tw_shared_address(tw_last_memory);

    /* Of w: four columns of every few k. */
    constexpr int w_copies = K * TILE / 4 / S::threads, w_apart = S::threads / (TILE / 4);
    const int w_column = thread % (TILE / 4) * 4, w_k = thread / (TILE / 4);
    const bool w_there = first_column + w_column < g.columns;
    const unsigned w_to = base + (S::x_floats + w_k * TILE + w_column) * 4;
    auto load_w = [&](int stage, int k0) {
#pragma unroll
        for (int i = 0; i < w_copies; i++) {
            const int at = k0 + w_k + i * w_apart;
            const bool there = w_there && at < k_end;
            tw_copy_async(w_to + (stage * S::stage + i * w_apart * TILE) * 4,
                          w + (there ? (size_t)at * g.columns + first_column + w_column : 0), there);
        }
    };
    for (int s = 0; s < stages - 1; s++) load_w(s, k_begin + s * K);

    /* Of x: four k of two pixels. */
    const int chunk = thread % 4 * 4, x_row = thread / 4;
    int tops[2], lefts[2], images[2];
#pragma unroll
    for (int i = 0; i < 2; i++) {
        const int pixel = first_pixel + x_row + TILE / 2 * i, n = pixel / (p.oh * p.ow), rest = pixel - n * p.oh * p.ow;
        const int oy = rest / p.ow;
        const bool inside = pixel < g.pixels;
        images[i] = inside ? n : 0;
        tops[i] = inside ? oy * p.sh - p.pt : INT_MIN / 2;
        lefts[i] = (rest - oy * p.ow) * p.sw - p.pl;
    }
    /* This thread's k as (window row, window column, channel), moved on by 16 each step. */
    int k = k_begin + chunk, window = k / p.ic, c = k - window * p.ic, ky = window / p.kw, kx = window - ky * p.kw;
    const unsigned x_to = base + (x_row * S::x_row + chunk) * 4;
    auto load_x = [&](int stage) {
#pragma unroll
        for (int i = 0; i < 2; i++) {
            const unsigned to = x_to + (stage * S::stage + TILE / 2 * i * S::x_row) * 4;
            if (g.plain) {
#pragma unroll
                for (int j = 0; j < 4; j++) { /* one number of a plain image each */
                    const int at = k + j, tap = at / p.ic, c_ = at - tap * p.ic, ky_ = tap / p.kw;
                    const int iy = tops[i] + ky_ * p.dilh, ix = lefts[i] + (tap - ky_ * p.kw) * p.dilw;
                    const bool there = at < k_end && (unsigned)iy < (unsigned)p.ih && (unsigned)ix < (unsigned)p.iw;
                    tw_copy_async_4(to + 4 * j,
                                    x + (there ? (((size_t)images[i] * p.ic + c_) * p.ih + iy) * p.iw + ix : 0), there);
                }
                continue;
            }
            const int iy = tops[i] + ky * p.dilh, ix = lefts[i] + kx * p.dilw;
            const bool there = k < k_end && (unsigned)iy < (unsigned)p.ih && (unsigned)ix < (unsigned)p.iw;
            tw_copy_async(to, x + (there ? (((size_t)images[i] * p.ih + iy) * p.iw + ix) * p.ic + c : 0), there);
        }
        k += K;
        c += K;
        while (c >= p.ic && !g.plain) {
            c -= p.ic;
            if (++kx == p.kw) kx = 0, ky++;
        }
    };
    tw_cuda_wait();
    for (int s = 0; s < stages - 1; s++) {
        load_x(s);
        tw_copy_commit();
    }

    const int row = warp / 2 * 32 + lane / 8, column = warp % 2 * (TILE / 2) + lane % 8 * 4;
    float sums[8][4 * quads] = {};
    int stage = 0;
    for (int k0 = k_begin; k0 < k_end; k0 += K) {
        tw_copy_wait<stages - 2>();
        __syncthreads();
        const int free_stage = stage == 0 ? stages - 1 : stage - 1;
        if (k0 + (stages - 1) * K < k_end) {
            load_x(free_stage);
            load_w(free_stage, k0 + (stages - 1) * K);
        }
        tw_copy_commit();
        const float *x_at = tw_last_memory + stage * S::stage + row * S::x_row;
        const float *w_at = tw_last_memory + stage * S::stage + S::x_floats + column;
#pragma unroll 1 /* more would spill registers */
        for (int two = 0; two < K; two += 2) {
            float a[8][2];
#pragma unroll
            for (int r = 0; r < 8; r++) *(float2 *)a[r] = *(const float2 *)(x_at + 4 * r * S::x_row + two);
#pragma unroll
            for (int i = 0; i < 2; i++) {
                float b[4 * quads];
#pragma unroll
                for (int quad = 0; quad < quads; quad++)
                    *(float4 *)(b + 4 * quad) = *(const float4 *)(w_at + (two + i) * TILE + 32 * quad);
#pragma unroll
                for (int r = 0; r < 8; r++)
#pragma unroll
                    for (int j = 0; j < 4 * quads; j++) sums[r][j] = fmaf(a[r][i], b[j], sums[r][j]);
            }
        }
        stage = stage + 1 == stages ? 0 : stage + 1;
    }
    tw_cuda_release();
#pragma unroll
    for (int quad = 0; quad < quads; quad++) {
        const int oc = first_column + column + 32 * quad;
        if (oc >= p.oc) break;
        float shift[4] = {};
        const bool whole = g.splits == 1;
#pragma unroll
        for (int j = 0; j < 4; j++)
            if (whole && p.has_bias) shift[j] = __ldg(bias + oc + j);
#pragma unroll
        for (int half = 0; half < 8; half += 4) { /* the residuals of four rows are under way at once */
            const int first = first_pixel + row + 4 * half;
            float4 added[4] = {};
#pragma unroll
            for (int r = 0; r < 4; r++)
                if (whole && p.has_residual && first + 4 * r < g.pixels)
                    added[r] = *(const float4 *)(residual + (size_t)(first + 4 * r) * p.oc + oc);
#pragma unroll
            for (int r = 0; r < 4; r++) {
                if (first + 4 * r >= g.pixels) break;
                const size_t at = (size_t)(first + 4 * r) * p.oc + oc;
                const float *sum = &sums[half + r][4 * quad];
                float4 out = {sum[0], sum[1], sum[2], sum[3]};
                if (!whole) {
                    *(float4 *)(partial + (size_t)blockIdx.z * g.pixels * p.oc + at) = out;
                    continue;
                }
                out.x = tw_activate(out.x + shift[0] + added[r].x, p.activation);
                out.y = tw_activate(out.y + shift[1] + added[r].y, p.activation);
                out.z = tw_activate(out.z + shift[2] + added[r].z, p.activation);
                out.w = tw_activate(out.w + shift[3] + added[r].w, p.activation);
                *(float4 *)(y + at) = out;
            }
        }
    }
}

/* Adds the splits up; a thread has four channels of a pixel. */
__global__ static void __launch_bounds__(TW_LAST_FINISHING)
    tw_last_finish(const __grid_constant__ tw_last_gemm g, const float *partial, const float *bias,
                   const float *residual, float *y)
{
    const size_t count = (size_t)g.pixels * g.p.oc, at = ((size_t)blockIdx.x * TW_LAST_FINISHING + threadIdx.x) * 4;
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

template <int TILE> static tw_cuda_grid tw_last_grid(const tw_last_gemm *g)
{
    tw_cuda_grid grid = {
        dim3(tw_ceil_div((size_t)g->pixels, TILE), tw_ceil_div((size_t)g->p.oc, TILE), (unsigned)g->splits),
        tw_last_tile<TILE>::threads, (size_t)tw_last_tile<TILE>::shared};
    grid.after = true;
    return grid;
}

static inline tw_status tw_last_run(const tw_last_gemm *g, const tw_step *step, const float *residual, tw_queue *queue)
{
    const float *x = (const float *)step->in[0], *w = (const float *)step->packed, *bias = (const float *)step->in[2];
    float *y = (float *)step->out, *partial = (float *)step->workspace;
    tw_status status =
        g->tile == 128
            ? tw_cuda_launch(queue, tw_last_multiply<128>, tw_last_grid<128>(g), *g, x, w, bias, residual, y, partial)
            : tw_cuda_launch(queue, tw_last_multiply<64>, tw_last_grid<64>(g), *g, x, w, bias, residual, y, partial);
    if (status != TW_OK || g->splits == 1) return status;
    const tw_cuda_grid all = {dim3(tw_ceil_div((size_t)g->pixels * g->p.oc / 4, TW_LAST_FINISHING)), TW_LAST_FINISHING};
    return tw_cuda_launch(queue, tw_last_finish, all, *g, (const float *)partial, bias, residual, y);
}

#endif
