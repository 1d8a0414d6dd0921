/* linear's gemv on tensor cores, for tf32, fp16 and bf16 from compute capability 8.0: up to 8 images are the 8
 * columns of mma.sync, 16 output features its rows, and weights go from memory straight into the registers that it
 * wants them in.
 *
 * Weights are packed in pieces of 16 features by 64 k, in the order in which a warp reads one: four times 16 bytes a
 * lane, 8 numbers' 16 high bits each. Lane l holds rows l / 4 and 8 further, and of the 64 k the 16 that make whole
 * 16 bytes of x for lane l % 4; since a sum may run in any order, x is read as it lies, and once for 16 features. In
 * fp16 and bf16 these are the weights. In tf32, which has 19 bits, 12 more bytes a lane hold the other 3 bits of its
 * 32 numbers: 19/32 of what float32 takes from memory, rounded to nearest once. Three bits lie at the top of some
 * byte of a word after at most one shift for four numbers, and then one permutation of bytes makes a float: 41
 * instructions for 32 weights, and 8 mma. What else it leaves in the lower 13 bits the tensor core drops.
 *
 * A block of 32 warps computes a tile of 16 features, or one of 16 warps two tiles, where there are more tiles than
 * multiprocessors; that halves the reads of x from L2, to 1 byte for 8 images and a weight. Warps take pieces of k
 * in turn, each with its own sums, which are added in order through shared memory. Each loads its first piece before
 * the layer before has ended. Memory bounds it: an H100 has issue slots for some 23 instructions a weight in the
 * time that 19 bits take to arrive, and this takes 3 (1 in the 2-byte types), for one image or eight. The warps of a
 * multiprocessor ask for 78 KB at once (64 in the 2-byte types), three times what hides memory's latency; so all
 * blocks of 4096 features run at once, and as those that are served faster end, the others' requests still keep
 * memory busy. */
#ifndef TW_OPS_LINEAR_CUDA_GEMV_MMA_CUH
#define TW_OPS_LINEAR_CUDA_GEMV_MMA_CUH

#include "devices/cuda/mma.cuh"
#include "ops/linear/linear.h"

extern "C" {
#include "core/half.h"
}

enum {
    TW_GEMV_FEATURES = 16, /* of a tile */
    TW_GEMV_K = 64,        /* of a piece */
    TW_GEMV_IMAGES = 8,
    TW_GEMV_WARPS = 32,         /* of a multiprocessor, divided by the tiles of a block */
    TW_GEMV_HIGH = 4 * 32 * 16, /* bytes of a piece: the 16 high bits of each number */
    TW_GEMV_LOW = 3 * 32 * 4    /* and in tf32 the 3 low ones: three words of each lane */
};

template <class T> struct tw_gemv_piece {
    static constexpr int width = 16 / sizeof(T), units = sizeof(T); /* of x, 16 bytes each, in a lane's 16 k */
    static constexpr bool split = sizeof(T) == 4;
    static constexpr int bytes = TW_GEMV_HIGH + (split ? TW_GEMV_LOW : 0);
};

static inline size_t tw_gemv_tiles(const tw_linear *p)
{
    return tw_ceil_div((size_t)p->oc, TW_GEMV_FEATURES);
}

/* Two where blocks of one would not all run at once. */
static inline int tw_gemv_tiles_a_block(const tw_linear *p, const tw_cuda *cuda)
{
    return tw_gemv_tiles(p) > (size_t)cuda->multiprocessors ? 2 : 1;
}

static inline size_t tw_gemv_pieces(const tw_linear *p)
{
    return tw_ceil_div((size_t)p->ic, TW_GEMV_K);
}

static inline size_t tw_gemv_bytes(const tw_linear *p, tw_precision precision)
{
    const size_t piece = precision == TW_PRECISION_TF32 ? tw_gemv_piece<float>::bytes : tw_gemv_piece<__half>::bytes;
    return tw_gemv_tiles(p) * tw_gemv_pieces(p) * piece;
}

/* ---- packing ---- */

/* A lane's three words as bytes: bits 5 to 7 of byte b of word w are of group w, bits 2 to 4 of group 3 + w. Of
 * groups 6 and 7, bits 0 and 1 of words 0 and 1 have the upper two, bits 1 and 0 of word 2 the third. */
static inline void tw_gemv_pack_low(uint8_t *low, size_t lane, unsigned group, unsigned byte, unsigned bits)
{
    const auto at = [&](unsigned word) -> uint8_t & { return low[(word * 32 + lane) * 4 + byte]; };
    if (group < 6) {
        at(group % 3) |= (uint8_t)(bits << (group < 3 ? 5 : 2));
    } else {
        at(group - 6) |= (uint8_t)(bits >> 1);
        at(2) |= (uint8_t)((bits & 1) << (7 - group));
    }
}

/* One feature's part of a piece, `count` numbers of it; the others are zero already. */
template <class T>
static inline void tw_gemv_pack_row(const float *w, size_t count, tw_precision precision, unsigned row, uint8_t *piece)
{
    using P = tw_gemv_piece<T>;
    for (unsigned k = 0; k < count; k++) {
        const unsigned lane = row % 8 * 4 + k / P::width % 4, m = k / (4 * P::width) * P::width + k % P::width;
        const unsigned load = m / 4, word = row / 8 + m % 4 / 2 * 2, half = m % 2;
        const size_t at = (load * 32 + lane) * 8 + word * 2 + half;
        if constexpr (P::split) {
            uint32_t bits = tw_bits_of(tw_round_tf32(w[k]));
            if (w[k] != w[k]) bits |= 0x400000; /* so that NaN stays one without its lower bits */
            const uint16_t high = (uint16_t)(bits >> 16);
            memcpy(piece + at * 2, &high, sizeof high);
            tw_gemv_pack_low(piece + TW_GEMV_HIGH, lane, load * 2 + half, word, bits >> 13 & 7);
        } else {
            tw_write_element(piece, tw_precision_dtype(precision), at, w[k]);
        }
    }
}

template <class T>
static inline void tw_gemv_pack(const tw_linear *p, tw_precision precision, const float *w, uint8_t *packed)
{
    const size_t ic = (size_t)p->ic, pieces = tw_gemv_pieces(p);
    memset(packed, 0, tw_gemv_bytes(p, precision));
    for (size_t feature = 0; feature < (size_t)p->oc; feature++) {
        uint8_t *const tile = packed + feature / TW_GEMV_FEATURES * pieces * tw_gemv_piece<T>::bytes;
        for (size_t i = 0; i < pieces; i++) {
            const size_t first = i * TW_GEMV_K, rest = ic - first;
            tw_gemv_pack_row<T>(w + feature * ic + first, rest < TW_GEMV_K ? rest : (size_t)TW_GEMV_K, precision,
                                feature % TW_GEMV_FEATURES, tile + i * tw_gemv_piece<T>::bytes);
        }
    }
}

/* ---- the kernel ---- */

#if __CUDA_ARCH__ >= 800

/* A lane's part of a piece, which nobody reads again soon. */
template <class T> struct tw_gemv_weights {
    unsigned high[4][4], low[3];

    __device__ void load(const uint8_t *piece)
    {
        const int lane = threadIdx.x % 32;
#pragma unroll
        for (int i = 0; i < 4; i++) {
            const int4 raw = __ldcs((const int4 *)piece + i * 32 + lane);
            memcpy(high[i], &raw, sizeof raw);
        }
#pragma unroll
        for (int i = 0; i < 3; i++)
            if constexpr (tw_gemv_piece<T>::split)
                low[i] = __ldcs((const unsigned *)(piece + TW_GEMV_HIGH) + i * 32 + lane);
    }
};

/* Each group has its 3 bits at the top of each byte. */
__device__ static inline void tw_gemv_groups(const unsigned (&low)[3], unsigned (&groups)[8])
{
    constexpr unsigned third = 0x20202020;
#pragma unroll
    for (int i = 0; i < 3; i++) groups[i] = low[i], groups[3 + i] = low[i] << 3;
    groups[6] = (low[0] << 6 & ~third) | (low[2] << 4 & third);
    groups[7] = (low[1] << 6 & ~third) | (low[2] << 5 & third);
}

/* A lane's 16 k of one image, zeros where there is none; `whole`: all rows of x start on 16 bytes. */
template <class T>
__device__ static inline void tw_gemv_load_x(const T *x, int k, int ic, bool there, bool whole,
                                             unsigned (&to)[tw_gemv_piece<T>::units][4])
{
    using P = tw_gemv_piece<T>;
#pragma unroll
    for (int i = 0; i < P::units; i++, k += 4 * P::width) {
        int4 raw = make_int4(0, 0, 0, 0);
        if (whole) {
            if (there && k < ic) raw = *(const int4 *)(x + k);
        } else if (there) {
            T one[P::width];
#pragma unroll
            for (int j = 0; j < P::width; j++) one[j] = k + j < ic ? x[k + j] : tw_narrow<T>(0);
            memcpy(&raw, one, sizeof raw);
        }
        memcpy(to[i], &raw, sizeof raw);
        tw_mma_round(T(), to[i]);
    }
}

/* The 2-byte types: a lane's registers as they came. */
template <class T>
__device__ static inline void tw_gemv_multiply(float (&sum)[4], const tw_gemv_weights<T> &w, const unsigned (&x)[2][4])
{
#pragma unroll
    for (int i = 0; i < 4; i++) tw_mma(T(), sum, w.high[i], &x[i / 2][i % 2 * 2]);
}
/* tf32: the lower halves of four registers, then the upper ones. */
__device__ static inline void tw_gemv_multiply(float (&sum)[4], const tw_gemv_weights<float> &w,
                                               const unsigned (&x)[4][4])
{
    unsigned groups[8];
    tw_gemv_groups(w.low, groups);
#pragma unroll
    for (int i = 0; i < 4; i++)
#pragma unroll
        for (int half = 0; half < 2; half++) {
            unsigned a[4];
#pragma unroll
            for (int j = 0; j < 4; j++)
                a[j] = __byte_perm(w.high[i][j], groups[2 * i + half], (half ? 0x3200 : 0x1000) | (4 + j) << 4);
            const unsigned b[2] = {x[i][half], x[i][2 + half]};
            tw_mma(0.0f, sum, a, b);
        }
}

#endif

template <class T, class Out, int TILES>
__global__ static void __launch_bounds__(TW_GEMV_WARPS / TILES * 32, 1)
    tw_gemv_mma(tw_linear p, const T *x, const uint8_t *w, const float *bias, Out *y)
{
#if __CUDA_ARCH__ >= 800
    using P = tw_gemv_piece<T>;
    constexpr int features = TILES * TW_GEMV_FEATURES, warps = TW_GEMV_WARPS / TILES;
    /* Lanes two images apart are 8 banks apart, so that a warp's sums meet no bank twice. */
    __shared__ float parts[warps][TW_GEMV_IMAGES][features + 4];
    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    const int tiles = (p.oc - 1) / TW_GEMV_FEATURES + 1, pieces = (p.ic - 1) / TW_GEMV_K + 1;
    const int first = blockIdx.x * TILES, last = min(first + TILES, tiles) - 1;
    tw_gemv_weights<T> weights[TILES];
    const size_t tile_bytes = (size_t)pieces * P::bytes;
    auto load = [&](int piece) {
#pragma unroll
        for (int t = 0; t < TILES; t++) /* a tile beyond the last is the last, for nothing */
            weights[t].load(w + min(first + t, last) * tile_bytes + (size_t)piece * P::bytes);
    };
    if (warp < pieces) load(warp);
    if (tiles * tile_bytes <= TW_CUDA_AHEAD)
        for (int tile = first; tile <= last; tile++)
            for (size_t i = warps * P::bytes + threadIdx.x * 128; i < tile_bytes; i += warps * 32 * 128)
                tw_prefetch(w + tile * tile_bytes + i);
    tw_cuda_wait();
    tw_cuda_release();
    float sums[TILES][4] = {};
    const bool there = lane / 4 < p.n, whole = p.ic % P::width == 0;
    const T *const image = x + (size_t)(there ? lane / 4 : 0) * p.ic;
    for (int piece = warp; piece < pieces;) {
        unsigned values[P::units][4];
        tw_gemv_load_x(image, piece * TW_GEMV_K + lane % 4 * P::width, p.ic, there, whole, values);
#pragma unroll
        for (int t = 0; t < TILES; t++) tw_gemv_multiply(sums[t], weights[t], values);
        piece += warps;
        if (piece < pieces) load(piece);
    }
    const int n = threadIdx.x / features, feature = threadIdx.x % features;
    const size_t oc = (size_t)first * TW_GEMV_FEATURES + feature, features_there = p.oc;
    float sum = p.has_bias && oc < features_there ? bias[oc] : 0;
#pragma unroll
    for (int t = 0; t < TILES; t++)
#pragma unroll
        for (int i = 0; i < 4; i++)
            parts[warp][lane % 4 * 2 + i % 2][t * TW_GEMV_FEATURES + lane / 4 + i / 2 * 8] = sums[t][i];
    __syncthreads();
    if (n >= p.n || oc >= features_there) return;
#pragma unroll
    for (int i = 0; i < warps; i++) sum += parts[i][n][feature];
    y[n * features_there + oc] = tw_narrow<Out>(tw_activate(sum, p.activation));
#endif
}

#endif
