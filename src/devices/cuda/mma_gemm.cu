/* The implicit matrix product on tensor cores by mma.sync, for compute capability 8.0 and later: fp16, bf16 and tf32,
 * sums in float32.
 *
 *   out[row][column] = sum over k of a[row][k] * b[column][k]      row: a pixel of the output, column: a channel of it
 *
 * k runs over (ky, kx, c), c fastest, in chunks of 16 bytes that never straddle two pixels, because a group's channels
 * are whole chunks. a is never stored: a thread copies the same chunk of every 16th row of a tile, so it finds each of
 * its rows' windows once (two divisions, as multiplications), and going along k advances one (ky, kx, c) for all of
 * them. Padding, edges and the end of k are copies of no bytes, which write zeros. b is the packed weights, rows padded
 * with zeros to whole tiles of 128 bytes.
 *
 * Where a row of out needs just one pixel (1x1 at stride 1) none of that is needed: a thread goes straight along k.
 *
 * A block of 4 warps computes a tile of M x N in steps of 128 bytes of k (mma.cuh has the layout in shared memory).
 * 3 to 8 steps are under way at once by cp.async, one barrier a step; a warp's fragments are read by ldmatrix one mma
 * step ahead. At the end sums go through shared memory, so that each thread adds bias and residual and stores 16 bytes
 * of neighbouring channels.
 *
 * Of one image a layer is a chain of latencies: the end of the layer before, its output from L2, some steps, the
 * epilogue. What can be off this chain is: blocks start while the layer before still runs, work out their addresses,
 * and have their first weights and the bias in shared memory, and the other weights in L2, before they wait; residuals
 * are asked for with the first of a (in large tiles, which have no registers for them, after the product).
 *
 * Where tiles are too few to fill the device, k is split among blocks. On compute capability 9.0 those of a tile form a
 * cluster: each adds up a share of the tile's rows, which all blocks send to it, in their order, and waits until its own
 * mbarrier has counted them. They are received in memory of their own, or, where that would leave fewer blocks room on a
 * multiprocessor, over a and b, for which the cluster's blocks first wait for each other. On older devices partial sums
 * go through the workspace and a second kernel adds them. Either way two runs agree to the bit.
 *
 * Where a is what a depthwise layer would write and nobody else reads, it is not read but computed, in the same chunks:
 * a thread asks for a row of the window of all its pixels at once, or for the whole of small windows, multiplies, and
 * stores 16 bytes into the tile. Each tile of columns computes it again; in return a launch and the way through memory
 * are saved.
 *
 * First layers have few channels, plain float32: the gathering kind of kernel loads single numbers, neighbouring lanes
 * neighbouring pixels, converts them and stores 16 bytes into the tile; a table beside the weights says where each k
 * lies. It also serves rows that are not whole chunks.
 *
 * A step of k moves (M + N) * 128 bytes from L2 for 2 * M * N * 64 operations (32 in tf32), 64 a byte in the largest
 * tile, so L2 bounds large layers as much as the tensor cores do, and latency the small ones.
 * (Chetlur et al. 2014; NVIDIA's CUTLASS, "Efficient GEMM in CUDA"; split k: Osama et al. 2023, section 3.) */
#include "devices/cuda/mma.cuh"
#include "devices/cuda/mma_gemm.h"

extern "C" {
#include "core/half.h"
}

enum { THREADS = 128, MAX_CLUSTER = 8, OUTSIDE = 1 << 30 };
/* Blocks that a multiprocessor is to hold of a kernel that computes a: more would leave too few registers for a window. */
enum { MOST_COMPUTING_3 = 3, MOST_COMPUTING_5 = 2 };
/* 16 bytes of input that such a thread has under way at once, four registers each, where more than a row of taps. */
enum { MOST_TAPS = 27 };

/* ---- what a kernel is told ---- */

struct arguments {
    const void *x, *w;
    const int4 *table; /* gathering: of each k its offset in an image, its row and its column in the window */
    const float *bias;
    const void *residual;
    void *out;
    const float *partial; /* what add_parts() adds up */
    int rows, columns;    /* of a group */
    int channels;         /* of all groups: from a row of out to the next */
    int column_tiles, k_tiles, split;
    int share;              /* rows of a tile that a block of a cluster adds up */
    bool over;              /* and receives over its own a and b, when no block of the cluster reads any longer */
    bool cluster, parts;    /* how split blocks meet: in a cluster, or by parts of their own in out */
    bool wide_in, wide_out; /* float32 */
    bool whole;             /* 16 bytes of out never straddle rows or groups */
    bool ahead;             /* bring all of b into L2 before the layer before has ended */
    int activation;
    int ih, iw, sh, sw, pt, pl, dilh, dilw, kh, kw;
    size_t image;                 /* elements; gathering */
    int pixel_chunks, chunks;     /* of all channels and of a group's; not gathering */
    int step_ky, step_kx, step_c; /* 128 bytes of k further */
    tw_divisor pixels, width, by_chunks, by_kw, by_share;
    tw_mma_before before;
    int ring; /* where its weights go in shared memory */
};

/* Weights and bias of the channels in 128 bytes of k, by the element's size. */
static constexpr int slot_bytes(int size, int element)
{
    return (size * size + 1) * (TW_MMA_ROW / element) * (int)sizeof(float);
}

#if __CUDA_ARCH__ >= 800

/* ---- the epilogue ---- */

/* The residual of 16 bytes of a row of out, from `column` of a group on, where out is stored in whole 16 bytes. */
template <class Out> __device__ static int4 residual_of(const arguments &p, size_t row, int group, int column)
{
    return *(const int4 *)((const Out *)p.residual + row * p.channels + group * p.columns + column);
}

/* Bias, residual and activation of those 16 bytes; zeros are added for what there is not. */
template <class Out>
__device__ static void finish(const arguments &p, float (&v)[16 / sizeof(Out)], const float (&bias)[16 / sizeof(Out)],
                              const int4 &residual, size_t row, int group, int column)
{
    constexpr int width = 16 / sizeof(Out);
    const float low = tw_low(p.activation), high = tw_high(p.activation);
    const size_t at = row * p.channels + group * p.columns + column;
    Out *out = (Out *)p.out + at;
    if (p.whole) {
        tw_pack<Out> pack = tw_pack<Out>::load((const Out *)&residual);
#pragma unroll
        for (int i = 0; i < width; i++) pack.v[i] = tw_clamp(v[i] + bias[i] + pack.v[i], low, high);
        pack.store(out);
        return;
    }
#pragma unroll
    for (int i = 0; i < width; i++)
        if (i < p.columns - column) {
            float sum = v[i] + bias[i];
            if (p.residual) sum += tw_widen(((const Out *)p.residual + at)[i]);
            out[i] = tw_narrow<Out>(tw_clamp(sum, low, high));
        }
}

/* What a block stores: rows of a tile whose sums lie in its shared memory, as so many parts to be added up. */
struct finished {
    const float *sums, *bias; /* from the first row and column on; of the tile's columns */
    int stride, parts, apart; /* in floats: from a row to the next, from a part to the next */
    int row, rows, column;    /* the first row and how many are there; the tile's first column */
    int group;
    size_t further; /* rows of out before this part's */
};

/* A thread has the same 16 bytes of columns in every so many rows. It asks for several residuals at once: the first may
 * be under way since before the product. */
template <class Out, int N> struct emitter {
    static constexpr int width = 16 / sizeof(Out), in_row = N / width, rows_apart = THREADS / in_row, together = 4;
    static_assert(THREADS % in_row == 0, "whole rows at once");
    int4 residual[together];

    __device__ void ask(const arguments &p, const finished &f, int first)
    {
        const int column = f.column + threadIdx.x % in_row * width;
#pragma unroll
        for (int i = 0; i < together; i++) {
            const int r = first + (int)threadIdx.x / in_row + i * rows_apart;
            residual[i] = make_int4(0, 0, 0, 0);
            if (p.residual && p.whole && r < f.rows && column < p.columns)
                residual[i] = residual_of<Out>(p, f.row + r, f.group, column);
        }
    }

    __device__ void emit(const arguments &p, const finished &f)
    {
        const int in_tile = threadIdx.x % in_row * width, column = f.column + in_tile;
        if (column >= p.columns) return;
        float bias[width];
#pragma unroll
        for (int i = 0; i < width; i++) bias[i] = f.bias[in_tile + i];
        for (int first = 0; first < f.rows; first += together * rows_apart) {
            if (first > 0) ask(p, f, first);
#pragma unroll
            for (int i = 0; i < together; i++) {
                const int r = first + (int)threadIdx.x / in_row + i * rows_apart;
                if (r >= f.rows) break;
                float v[width];
#pragma unroll
                for (int j = 0; j < width; j += 4) {
                    const float *from = f.sums + r * f.stride + in_tile + j;
                    float4 sum = *(const float4 *)from;
                    if (f.parts > 1) {
                        float4 part[MAX_CLUSTER] = {};
#pragma unroll
                        for (int k = 1; k < MAX_CLUSTER; k++)
                            if (k < f.parts) part[k] = *(const float4 *)(from + k * f.apart);
#pragma unroll
                        for (int k = 1; k < MAX_CLUSTER; k++)
                            sum.x += part[k].x, sum.y += part[k].y, sum.z += part[k].z, sum.w += part[k].w;
                    }
                    v[j] = sum.x, v[j + 1] = sum.y, v[j + 2] = sum.z, v[j + 3] = sum.w;
                }
                finish<Out>(p, v, bias, residual[i], f.further + f.row + r, f.group, column);
            }
        }
    }
};

#endif

/* Partial sums [split][rows][channels] in the workspace, added in order; a thread has 16 bytes of out. */
template <class Out> __global__ static void __launch_bounds__(THREADS) add_parts(const __grid_constant__ arguments p)
{
#if __CUDA_ARCH__ >= 800
    constexpr int width = 16 / sizeof(Out);
    const int vectors = (p.channels + width - 1) / width;
    const size_t item = (size_t)blockIdx.x * THREADS + threadIdx.x, row = item / vectors;
    tw_cuda_wait();
    tw_cuda_release();
    if (row >= (size_t)p.rows) return;
    const int channel = (int)(item % vectors) * width;
    float v[width] = {}, bias[width] = {};
    for (int part = 0; part < p.split; part++) {
        const float *from = p.partial + ((size_t)part * p.rows + row) * p.channels + channel;
#pragma unroll
        for (int i = 0; i < width; i++)
            if (channel + i < p.channels) v[i] += from[i];
    }
#pragma unroll
    for (int i = 0; i < width; i++)
        if (p.bias && channel + i < p.channels) bias[i] = p.bias[channel + i];
    const int4 residual = p.residual && p.whole ? residual_of<Out>(p, row, 0, channel) : make_int4(0, 0, 0, 0);
    finish<Out>(p, v, bias, residual, row, 0, channel);
#endif
}

#if __CUDA_ARCH__ >= 800

/* ---- where a tile of a comes from: four kinds ---- */

/* Channels-last, where a row of out needs just the pixel of the same number (1x1 windows at stride 1). */
template <class T, int M> struct straight {
    static constexpr int rows = M * TW_MMA_CHUNKS / THREADS;
    const char *from; /* the next chunk */
    size_t further[rows];
    bool there[rows];
    unsigned to;
    int left; /* chunks to the end of k */

    __device__ straight(const arguments &p, int first_row, int group, int k_tile)
    {
        const int chunk = threadIdx.x % TW_MMA_CHUNKS, first = threadIdx.x / TW_MMA_CHUNKS;
        const size_t pitch = (size_t)p.pixel_chunks * TW_MMA_CHUNK;
        left = p.chunks - k_tile * TW_MMA_CHUNKS - chunk;
        to = tw_mma_place(first, chunk);
        from = (const char *)p.x + (size_t)(group * p.chunks + k_tile * TW_MMA_CHUNKS + chunk) * TW_MMA_CHUNK;
#pragma unroll
        for (int i = 0; i < rows; i++) {
            const int row = first_row + first + i * (THREADS / TW_MMA_CHUNKS);
            there[i] = row < p.rows;
            further[i] = there[i] ? row * pitch : 0;
        }
    }

    template <int> __device__ void load(const arguments &p, unsigned char *tile, int)
    {
        const char *const at = left > 0 ? from : (const char *)p.x;
#pragma unroll
        for (int i = 0; i < rows; i++)
            tw_copy_async(tw_shared_address(tile) + to + i * (THREADS / TW_MMA_CHUNKS) * TW_MMA_ROW, at + further[i],
                          left > 0 && there[i]);
        from += TW_MMA_ROW;
        left -= TW_MMA_CHUNKS;
    }
};

/* Channels-last: chunk thread % 8 of rows thread / 8, + 16, + 32, ... by asynchronous copies. */
template <class T, int M> struct copied {
    static constexpr int rows = M * TW_MMA_CHUNKS / THREADS;
    unsigned from[rows], to; /* chunks from the beginning of x, modulo 2^32, and the place in a tile */
    int iy[rows], ix[rows];  /* of the window's first pixel */
    int ky, kx, c;           /* of the next chunk; c counts chunks */

    __device__ copied(const arguments &p, int first_row, int group, int k_tile)
    {
        const unsigned chunk = threadIdx.x % TW_MMA_CHUNKS, first = threadIdx.x / TW_MMA_CHUNKS;
        const unsigned k = k_tile * TW_MMA_CHUNKS + chunk, tap = p.by_chunks.quotient(k);
        c = (int)(k - tap * p.by_chunks.d);
        ky = (int)p.by_kw.quotient(tap);
        kx = (int)(tap - ky * p.by_kw.d);
        to = tw_mma_place(first, chunk);
#pragma unroll
        for (int i = 0; i < rows; i++) {
            const unsigned row = first_row + first + i * (THREADS / TW_MMA_CHUNKS);
            const unsigned n = p.pixels.quotient(row), pixel = row - n * p.pixels.d, oy = p.width.quotient(pixel);
            iy[i] = (int)oy * p.sh - p.pt;
            ix[i] = (int)(pixel - oy * p.width.d) * p.sw - p.pl;
            from[i] = ((n * p.ih + iy[i]) * p.iw + ix[i]) * p.pixel_chunks + group * p.chunks;
            if (row >= (unsigned)p.rows) iy[i] = INT_MIN; /* stays outside whatever is added */
        }
    }

    template <int> __device__ void load(const arguments &p, unsigned char *tile, int)
    {
        const int dy = ky < p.kh ? ky * p.dilh : OUTSIDE, dx = kx * p.dilw;
        const unsigned further = ((unsigned)dy * p.iw + dx) * p.pixel_chunks + c;
#pragma unroll
        for (int i = 0; i < rows; i++) {
            const bool there = (unsigned)(iy[i] + dy) < (unsigned)p.ih && (unsigned)(ix[i] + dx) < (unsigned)p.iw;
            const size_t chunk = there ? from[i] + further : 0;
            tw_copy_async(tw_shared_address(tile) + to + i * (THREADS / TW_MMA_CHUNKS) * TW_MMA_ROW,
                          (const char *)p.x + chunk * TW_MMA_CHUNK, there);
        }
        advance(p);
    }

    /* 128 bytes of k further. */
    __device__ void advance(const arguments &p)
    {
        c += p.step_c;
        kx += p.step_kx;
        ky += p.step_ky;
        if (c >= p.chunks) c -= p.chunks, kx++;
        if (kx >= p.kw) kx -= p.kw, ky++;
    }
};

/* The result of a depthwise layer before, computed: the same chunks and rows as of `copied`, whose window is 1x1 here, and
 * whose first pixel is that of the K x K taps. Weights and bias of a step's channels are copied, in float32, to a slot of a
 * ring in shared memory: of each tap the first four numbers of all chunks, then in 2-byte types the other four. */
template <class T, int M, int K> struct computed : copied<T, M> {
    static constexpr int rows = copied<T, M>::rows, numbers = TW_MMA_CHUNK / sizeof(T);
    static constexpr int slot = slot_bytes(K, sizeof(T)), tap = slot / (K * K + 1), vectors = tap / 16;
    static constexpr int at_once =
        rows * K * K <= MOST_TAPS ? K : 1; /* rows of taps whose inputs are under way together */
    unsigned char *ring;
    int begin;

    __device__ computed(const arguments &p, int first_row, int group, int k_tile)
        : copied<T, M>(p, first_row, group, k_tile), begin(k_tile)
    {
    }

    template <int slots> __device__ void ask_taps(const arguments &p, int k_tile)
    {
        const int channels = p.pixel_chunks * numbers, first = k_tile * (TW_MMA_ROW / (int)sizeof(T));
        const unsigned to = tw_shared_address(ring) + (k_tile - begin) % slots * slot;
        for (int i = threadIdx.x; i < (K * K + 1) * vectors; i += THREADS) {
            const int which = i / vectors, vector = i % vectors, channel = first + vector * 4;
            const float *from = which < K * K ? p.before.weights + which * channels : p.before.bias;
            const bool there = from && channel < channels;
            const int place = vector % (numbers / 4) * TW_MMA_CHUNKS + vector / (numbers / 4);
            tw_copy_async(to + which * tap + place * 16, there ? from + channel : p.before.weights, there);
        }
    }

    __device__ static void read_tap(const unsigned char *from, float (&to)[numbers])
    {
#pragma unroll
        for (int i = 0; i < numbers; i += 4) {
            const float4 v = *(const float4 *)(from + i / 4 * TW_MMA_ROW);
            to[i] = v.x, to[i + 1] = v.y, to[i + 2] = v.z, to[i + 3] = v.w;
        }
    }

    template <int slots> __device__ void load(const arguments &p, unsigned char *tile, int k_tile)
    {
        const bool within = this->ky == 0; /* not beyond the last channel, where weights are zeros too */
        const unsigned char *taps = ring + (k_tile - begin) % slots * slot + threadIdx.x % TW_MMA_CHUNKS * 16;
        float sums[rows][numbers], start[numbers];
        read_tap(taps + K * K * tap, start);
#pragma unroll
        for (int i = 0; i < rows; i++)
#pragma unroll
            for (int j = 0; j < numbers; j++) sums[i][j] = start[j];
#pragma unroll 1
        for (int y = 0; y < K; y += at_once, taps += at_once * K * tap) {
            int4 window[at_once][K][rows];
            const unsigned further = y * p.iw * p.pixel_chunks + this->c;
#pragma unroll
            for (int ky = 0; ky < at_once; ky++)
#pragma unroll
                for (int kx = 0; kx < K; kx++)
#pragma unroll
                    for (int i = 0; i < rows; i++) {
                        const bool there = within && (unsigned)(this->iy[i] + y + ky) < (unsigned)p.ih &&
                                           (unsigned)(this->ix[i] + kx) < (unsigned)p.iw;
                        const unsigned chunk = this->from[i] + further + (ky * p.iw + kx) * p.pixel_chunks;
                        window[ky][kx][i] = make_int4(0, 0, 0, 0);
                        if (there) window[ky][kx][i] = *((const int4 *)p.x + chunk);
                    }
#pragma unroll
            for (int ky = 0; ky < at_once; ky++)
#pragma unroll
                for (int kx = 0; kx < K; kx++) {
                    float weights[numbers];
                    read_tap(taps + (ky * K + kx) * tap, weights);
#pragma unroll
                    for (int i = 0; i < rows; i++) {
                        const tw_pack<T> v = tw_pack<T>::load((const T *)&window[ky][kx][i]);
#pragma unroll
                        for (int j = 0; j < numbers; j++) sums[i][j] = fmaf(v.v[j], weights[j], sums[i][j]);
                    }
                }
        }
#pragma unroll
        for (int i = 0; i < rows; i++) {
            tw_pack<T> out;
#pragma unroll
            for (int j = 0; j < numbers; j++) out.v[j] = tw_activate(sums[i][j], p.before.activation);
            out.store((T *)(tile + this->to + i * (THREADS / TW_MMA_CHUNKS) * TW_MMA_ROW));
        }
        this->advance(p);
    }
};

/* Plain: one row a thread, M / 16 of its chunks number by number. */
template <class T, int M> struct gathered {
    const char *image;
    unsigned from;
    int iy, ix;

    __device__ gathered(const arguments &p, int first_row, int, int)
    {
        const unsigned row = first_row + threadIdx.x % M;
        const unsigned n = p.pixels.quotient(row), pixel = row - n * p.pixels.d, oy = p.width.quotient(pixel);
        const bool there = row < (unsigned)p.rows;
        iy = (int)oy * p.sh - p.pt;
        ix = (int)(pixel - oy * p.width.d) * p.sw - p.pl;
        from = (unsigned)iy * p.iw + ix;
        image = (const char *)p.x + (there ? n * p.image * (p.wide_in ? sizeof(float) : sizeof(T)) : 0);
        if (!there) iy = INT_MIN;
    }

    template <int> __device__ void load(const arguments &p, unsigned char *tile, int k_tile)
    {
        constexpr int numbers = TW_MMA_CHUNK / sizeof(T);
        for (int chunk = threadIdx.x / M; chunk < TW_MMA_CHUNKS; chunk += THREADS / M) {
            const int4 *entry = p.table + (k_tile * TW_MMA_CHUNKS + chunk) * numbers;
            tw_pack<T> pack;
#pragma unroll
            for (int i = 0; i < numbers; i++) {
                const int4 at = __ldg(entry + i);
                const bool there = (unsigned)(iy + at.y) < (unsigned)p.ih && (unsigned)(ix + at.z) < (unsigned)p.iw;
                pack.v[i] = !there      ? 0.0f
                            : p.wide_in ? ((const float *)image)[from + at.x]
                                        : tw_widen(((const T *)image)[from + at.x]);
            }
            pack.store((T *)(tile + tw_mma_place(threadIdx.x % M, chunk)));
        }
    }
};

#endif

/* ---- the kernel ---- */

enum source { COPIED, STRAIGHT, GATHERED, COMPUTED_3, COMPUTED_5 };

template <int M_, int N_, int WM_, int WN_, int STAGES_> struct tile {
    static constexpr int M = M_, N = N_, WM = WM_, WN = WN_, stages = STAGES_;
    static constexpr int slots = 2 * (stages - 1);                            /* of a ring of taps */
    static constexpr int stage = (M + N) * TW_MMA_ROW, bias = stages * stage; /* where the bias lies */
    static constexpr int counter = bias + N * 4, received = counter + 16, shared = counter;
    static constexpr int blocks = 232448 / shared;    /* on a multiprocessor, by 9.0's shared memory */
    static constexpr bool light = WM * WN <= 32 * 32; /* registers are left for residuals during the product */
    static_assert((M / WM) * (N / WN) * 32 == THREADS && WM % 16 == 0 && WN % 16 == 0, "4 warps of whole fragments");
    static_assert(M * (N + 8) * 4 <= bias && (M + MAX_CLUSTER) * N * 4 <= bias, "the sums fit");
};
typedef tile<128, 128, 64, 64, 3> square_tile;
typedef tile<128, 64, 64, 32, 4> tall_tile;
typedef tile<64, 64, 32, 32, 4> small_tile;
typedef tile<64, 32, 32, 16, 4> narrow_tile;
typedef tile<16, 128, 16, 32, 4> flat_tile;
/* Of few tiles each has a multiprocessor to itself, or half of one: more steps under way hide more of a load. */
typedef tile<64, 64, 32, 32, 6> deep_small_tile;
typedef tile<64, 32, 32, 16, 8> deep_narrow_tile;
/* Where a is computed only b is under way; fewer rows a block keep the window's latencies fewer. */
typedef tile<64, 64, 32, 32, 3> computed_small_tile;
typedef tile<64, 32, 32, 16, 3> computed_narrow_tile;
typedef tile<32, 64, 16, 32, 3> computed_low_tile;
typedef tile<16, 128, 16, 32, 3> computed_flat_tile;
typedef tile<16, 64, 16, 16, 3> computed_short_tile;

static constexpr int blocks_held(int fit, source from)
{
    const int most = from == COMPUTED_3 ? MOST_COMPUTING_3 : from == COMPUTED_5 ? MOST_COMPUTING_5 : fit;
    return fit < most ? fit : most;
}

#if __CUDA_ARCH__ >= 800
template <class T, int M, source from> struct rows_of {
    typedef copied<T, M> type;
};
template <class T, int M> struct rows_of<T, M, STRAIGHT> {
    typedef straight<T, M> type;
};
template <class T, int M> struct rows_of<T, M, GATHERED> {
    typedef gathered<T, M> type;
};
template <class T, int M> struct rows_of<T, M, COMPUTED_3> {
    typedef computed<T, M, 3> type;
};
template <class T, int M> struct rows_of<T, M, COMPUTED_5> {
    typedef computed<T, M, 5> type;
};
#endif

template <class T, class Tile, source from>
__global__ static void __launch_bounds__(THREADS, blocks_held(Tile::blocks, from))
    multiply(const __grid_constant__ arguments p)
{
#if __CUDA_ARCH__ >= 800
    /* Stages of M rows of a and N of b, then the sums; the bias; a cluster's counter and what it counts. */
    extern __shared__ __align__(128) unsigned char shared[];
    constexpr int M = Tile::M, N = Tile::N, stages = Tile::stages, MI = Tile::WM / 16, NJ = Tile::WN / 8;
    const int thread = threadIdx.x, lane = thread % 32, warp = thread / 32;
    const int row_tile = blockIdx.x / p.column_tiles;
    const int first_row = row_tile * M, first_column = (blockIdx.x - row_tile * p.column_tiles) * N;
    const int group = blockIdx.z / p.split, part = blockIdx.z - group * p.split;
    const int begin = p.k_tiles * part / p.split, end = p.k_tiles * (part + 1) / p.split;

    constexpr bool computes = from >= COMPUTED_3;
    constexpr bool light = Tile::light && (!computes || M < 64); /* there, registers are full of windows */
    const bool other_out = sizeof(T) < sizeof(float) && p.wide_out;

    /* What this block will store: its tile, or of a cluster's tile a share of the rows. */
    const unsigned counter = tw_shared_address(shared) + Tile::counter;
    finished f = {(const float *)shared,
                  (const float *)(shared + Tile::bias),
                  N + 8,
                  1,
                  0,
                  first_row,
                  min(M, p.rows - first_row),
                  first_column,
                  group,
                  p.parts ? (size_t)part * p.rows : 0};
    if (p.cluster) {
        const int skipped = part * p.share, share = max(0, min(p.share, M - skipped)); /* of all M rows */
        f.sums = (const float *)(shared + (p.over ? 0 : Tile::received));
        f.stride = N, f.parts = p.split, f.apart = p.share * N;
        f.row += skipped, f.rows = min(share, f.rows - skipped);
        if (thread == 0) {
            tw_barrier_init(counter, 1);
            tw_barrier_publish();
            tw_barrier_expect(counter, p.split * share * N * 4);
        }
        __syncwarp();
        tw_cluster_arrive();
    }

    /* Chunk thread % 8 of b's rows thread / 8, + 16, + 32, ... */
    constexpr int b_apart = THREADS / TW_MMA_CHUNKS;
    const int b_row = thread / TW_MMA_CHUNKS, b_rows = p.columns - first_column - b_row; /* that are there */
    const unsigned b_to = tw_shared_address(shared) + M * TW_MMA_ROW + tw_mma_place(b_row, thread % TW_MMA_CHUNKS);
    const size_t b_stride = (size_t)p.k_tiles * TW_MMA_ROW;
    const char *b_from = (const char *)p.w + (size_t)(group * p.columns + first_column + b_row) * b_stride +
                         (thread % TW_MMA_CHUNKS) * TW_MMA_CHUNK;
    auto load_b = [&](int stage, int k_tile) {
#pragma unroll
        for (int i = 0; i < N / b_apart; i++) {
            const bool there = i * b_apart < b_rows;
            tw_copy_async(b_to + stage * Tile::stage + i * b_apart * TW_MMA_ROW,
                          there ? b_from + i * b_apart * b_stride + (size_t)k_tile * TW_MMA_ROW : (const char *)p.w,
                          there);
        }
    };
    typename rows_of<T, M, from>::type a_rows(p, first_row, group, begin);

    if (thread < N) {
        const bool there = p.bias && first_column + thread < p.columns;
        tw_copy_async_4(tw_shared_address(shared) + Tile::bias + thread * 4,
                        there ? p.bias + group * p.columns + first_column + thread : (const float *)p.w, there);
    }

    if constexpr (computes) { /* a group of their own, which is waited for before the first of a */
        a_rows.ring = shared + p.ring;
        for (int s = 0; s < Tile::slots; s++)
            if (begin + s < end) a_rows.template ask_taps<Tile::slots>(p, begin + s);
        tw_copy_commit();
    }
    for (int s = 0; s < stages - 1; s++)
        if (begin + s < end) load_b(s, begin + s);
    if (p.ahead) { /* what the first stages leave of b's rows, shared by the tiles that read them */
        const int row_tiles = gridDim.x / p.column_tiles;
        for (int line = row_tile * THREADS + thread; line < (end - begin - stages + 1) * N;
             line += row_tiles * THREADS) {
            const int row = line % N, k_tile = begin + stages - 1 + line / N;
            if (first_column + row < p.columns)
                tw_prefetch((const char *)p.w + (size_t)(group * p.columns + first_column + row) * b_stride +
                            (size_t)k_tile * TW_MMA_ROW);
        }
    }
    if (p.cluster) tw_cluster_wait();
    if constexpr (computes) {
        tw_copy_wait<0>();
        __syncthreads();
    }
    tw_cuda_wait();
    tw_cuda_release();
    for (int s = 0; s < stages - 1; s++) {
        if (begin + s < end) a_rows.template load<Tile::slots>(p, shared + s * Tile::stage, begin + s);
        tw_copy_commit();
    }
    emitter<T, N> out;
    if constexpr (light)
        if (!other_out) out.ask(p, f, 0);

    /* A warp's WM x WN of the tile. Lanes' addresses for ldmatrix: a's four matrices are rows 0..7 and 8..15 of the
     * first chunk, then of the second; b's are both chunks of rows 0..7, then of 8..15. */
    const int warp_row = warp / (N / Tile::WN) * Tile::WM, warp_column = warp % (N / Tile::WN) * Tile::WN;
    const unsigned a_at = tw_shared_address(shared) + tw_mma_place(warp_row + lane % 16, lane / 16);
    const unsigned b_at =
        tw_shared_address(shared) + M * TW_MMA_ROW + tw_mma_place(warp_column + lane / 16 * 8 + lane % 8, lane / 8 % 2);
    float sums[MI][NJ][4] = {};
    unsigned a[2][MI][4], b[2][NJ / 2][4];
    auto read = [&](int to, int stage,
                    int step) { /* the swizzle is a bitwise xor, so a step further is one too */
#pragma unroll
                                for (int i = 0; i < MI; i++)
                                    tw_load_matrices(a[to][i], (a_at ^ step * TW_MMA_STEP) + stage * Tile::stage +
                                                                   i * 16 * TW_MMA_ROW);
#pragma unroll
                                for (int j = 0; j < NJ / 2; j++)
                                    tw_load_matrices(b[to][j], (b_at ^ step * TW_MMA_STEP) + stage * Tile::stage +
                                                                   j * 16 * TW_MMA_ROW);
    };

    int stage = 0;
    for (int k_tile = begin; k_tile < end; k_tile++) {
        tw_copy_wait<stages - 2>();
        __syncthreads();
        const int next = k_tile + stages - 1, free_stage = stage == 0 ? stages - 1 : stage - 1;
        if (next < end) {
            if constexpr (computes) { /* first what takes no time to ask for */
                load_b(free_stage, next);
                if (next + stages - 1 < end) a_rows.template ask_taps<Tile::slots>(p, next + stages - 1);
            }
            a_rows.template load<Tile::slots>(p, shared + free_stage * Tile::stage, next);
            if constexpr (!computes) load_b(free_stage, next);
        }
        tw_copy_commit();
        read(0, stage, 0);
#pragma unroll
        for (int step = 0; step < TW_MMA_ROW / TW_MMA_STEP; step++) {
            const int now = step % 2;
            if ((step + 1) * TW_MMA_STEP < TW_MMA_ROW) read(1 - now, stage, step + 1);
#pragma unroll
            for (int i = 0; i < MI; i++) tw_mma_round(T(), a[now][i]);
#pragma unroll
            for (int i = 0; i < MI; i++)
#pragma unroll
                for (int j = 0; j < NJ; j++) tw_mma(T(), sums[i][j], a[now][i], b[now][j / 2] + j % 2 * 2);
        }
        stage = stage + 1 == stages ? 0 : stage + 1;
    }

    /* Lane l has columns 2 (l % 4) and the next of rows l / 4 and 8 further, in each 16 x 8. */
    emitter<float, N> wide;
    if (other_out)
        wide.ask(p, f, 0);
    else if constexpr (!light)
        out.ask(p, f, 0);
    const int in_tile = warp_column + lane % 4 * 2;
    if (p.cluster) {
        const unsigned receives = tw_shared_address(f.sums);
        if (p.over) {
            __syncthreads(); /* what has been read has arrived */
            tw_cluster_arrive();
            tw_cluster_wait();
        }
#pragma unroll
        for (int i = 0; i < MI; i++)
#pragma unroll
            for (int half = 0; half < 2; half++) {
                const unsigned row = warp_row + i * 16 + half * 8 + lane / 4, owner = p.by_share.quotient(row);
                if (owner >= (unsigned)p.split) continue; /* beyond the last row of out */
                const unsigned own = part * p.share + row - owner * p.share;
                const unsigned to = tw_cluster_place(receives + (own * N + in_tile) * 4, owner);
                const unsigned counts = tw_cluster_place(counter, owner);
#pragma unroll
                for (int j = 0; j < NJ; j++)
                    tw_cluster_send(to + j * 32, counts, sums[i][j][2 * half], sums[i][j][2 * half + 1]);
            }
        tw_cluster_receive(counter, 0);
    } else {
        tw_copy_wait<0>();
        __syncthreads(); /* nobody reads a and b any longer */
        float *tile_sums = (float *)shared;
#pragma unroll
        for (int i = 0; i < MI; i++)
#pragma unroll
            for (int j = 0; j < NJ; j++) {
                float *to = tile_sums + (warp_row + i * 16 + lane / 4) * (N + 8) + in_tile + j * 8;
                *(float2 *)to = make_float2(sums[i][j][0], sums[i][j][1]);
                *(float2 *)(to + 8 * (N + 8)) = make_float2(sums[i][j][2], sums[i][j][3]);
            }
        __syncthreads();
    }
    if (other_out)
        wide.emit(p, f);
    else
        out.emit(p, f);
#endif
}

/* ---- what to launch ---- */

typedef void (*kernel)(arguments);

struct kind {
    int m, n, stages, shared;
    kernel kernels[2][3]; /* COPIED, STRAIGHT, or COMPUTED_3, COMPUTED_5; fp16, bf16, tf32 */
};

#define KERNELS(Tile, from)                                                                                            \
    {                                                                                                                  \
        multiply<__half, Tile, from>, multiply<__nv_bfloat16, Tile, from>, multiply<float, Tile, from>                 \
    }
#define KIND(Tile, first, second)                                                                                      \
    {                                                                                                                  \
        Tile::M, Tile::N, Tile::stages, Tile::shared,                                                                  \
        {                                                                                                              \
            KERNELS(Tile, first), KERNELS(Tile, second)                                                                \
        }                                                                                                              \
    }
static const kind kinds[] = {KIND(square_tile, COPIED, STRAIGHT),     KIND(tall_tile, COPIED, STRAIGHT),
                             KIND(small_tile, COPIED, STRAIGHT),      KIND(narrow_tile, COPIED, STRAIGHT),
                             KIND(flat_tile, COPIED, STRAIGHT),       KIND(deep_small_tile, COPIED, STRAIGHT),
                             KIND(deep_narrow_tile, COPIED, STRAIGHT)};
static const kind gathering = {
    small_tile::M, small_tile::N, small_tile::stages, small_tile::shared, {KERNELS(small_tile, GATHERED)}};
static const kind computing[] = {
    KIND(computed_small_tile, COMPUTED_3, COMPUTED_5), KIND(computed_narrow_tile, COMPUTED_3, COMPUTED_5),
    KIND(computed_low_tile, COMPUTED_3, COMPUTED_5), KIND(computed_flat_tile, COMPUTED_3, COMPUTED_5),
    KIND(computed_short_tile, COMPUTED_3, COMPUTED_5)};
#undef KIND
#undef KERNELS

struct choice {
    const kind *how;
    int split;
    bool cluster; /* where split is more than 1: otherwise through the workspace */
    bool over;    /* a cluster's sums are received over a and b */
    double seconds;
};

static size_t element(const tw_mma_gemm *g)
{
    return tw_dtype_bytes(tw_precision_dtype(g->precision));
}

/* Whole chunks of channels that lie together? Then rows are copied, otherwise gathered. */
static bool copies(const tw_mma_gemm *g)
{
    const bool together = g->in.layout == TW_NHWC || (double)g->ih * g->iw == 1;
    return together && g->in.dtype == tw_precision_dtype(g->precision) &&
           g->ic / g->groups * element(g) % TW_MMA_CHUNK == 0;
}

/* One pixel in, one out, in the same order? Padding can't be, since sizes agree. */
static bool goes_straight(const tw_mma_gemm *g)
{
    return !g->before.size && copies(g) && g->kh == 1 && g->kw == 1 && g->sh == 1 && g->sw == 1 && g->oh == g->ih &&
           g->ow == g->iw;
}

static size_t k_tiles(const tw_mma_gemm *g)
{
    return ((size_t)(g->ic / g->groups) * g->kh * g->kw * element(g) + TW_MMA_ROW - 1) / TW_MMA_ROW;
}

static size_t row_count(const tw_mma_gemm *g)
{
    return (size_t)g->n * g->oh * g->ow;
}

static double unique_bytes(const tw_mma_gemm *g)
{
    return (double)g->n * g->ic * g->ih * g->iw * tw_dtype_bytes(g->in.dtype) +
           (double)g->oc * k_tiles(g) * TW_MMA_ROW +
           (double)row_count(g) * g->oc * tw_dtype_bytes(g->out) * (g->residual ? 2 : 1);
}

enum { COUNTER = 16 }; /* bytes of shared memory behind a kind's own, in a cluster */

/* After it, where a cluster's blocks send each other sums: a share of rows from each. */
static size_t received_bytes(const kind *how, int split)
{
    return tw_ceil_div((size_t)how->m, (size_t)split) * (size_t)split * how->n * sizeof(float);
}

/* Behind all that: the ring of taps. */
static size_t ring_bytes(const tw_mma_gemm *g, const kind *how)
{
    return g->before.size ? 2 * (how->stages - 1) * slot_bytes(g->before.size, (int)element(g)) : 0;
}

/* Whatever the split is: shares are rounded up to whole rows. */
static size_t most_received_bytes(const kind *how)
{
    return COUNTER + (size_t)(how->m + MAX_CLUSTER) * how->n * sizeof(float);
}

/* Clusters that find places at once where a multiprocessor holds one block. They lie within 16 multiprocessors, of which
 * one group is smaller: so many ran in one round on an H100, measured for clusters of 2 to 8. */
static double clusters_at_once(const tw_cuda *cuda, int split)
{
    if (split == 2) return floor(cuda->multiprocessors / 2.0);
    return fmax(1, (cuda->multiprocessors / 16 - 1) * floor(16.0 / split) + floor(14.0 / split));
}

/* What a block's threads ask for one after the other, of `computed`. */
static int rounds_of_taps(int size, int m)
{
    const int rows = m * TW_MMA_CHUNKS / THREADS;
    return rows * size * size <= MOST_TAPS ? 1 : size;
}

/* Seconds that a multiprocessor takes for the depthwise layer's part of a step: for each multiply-add about as much again
 * to convert, select and address. */
static double applying(const tw_mma_gemm *g, const tw_cuda_rates &r, int m)
{
    const double numbers = (double)m * TW_MMA_ROW / element(g);
    return 2.2 * 2 * numbers * g->before.size * g->before.size / r.fma;
}

/* Seconds of one way. Blocks that a multiprocessor holds at once share its tensor cores and its part of L2's bandwidth;
 * alone, a block waits for its own copies, of which all stages but one are under way, which also bounds the rate at which
 * b comes from memory. A round of blocks fills and drains once; a thread drains four times 16 bytes of out at once. What
 * memory takes is only partly hidden by the rest. The numbers are those that fit some 17,000 products best, the layers of
 * five networks in every tile and split on an H100: the choice takes 3 % longer than the best way, on average. */
static double predict(const tw_mma_gemm *g, const tw_cuda *cuda, const kind *how, int split, bool over)
{
    const tw_cuda_rates r = tw_cuda_rates_of(cuda);
    const bool cluster = split > 1 && cuda->capability >= 90;
    const double gathered = how == &gathering ? (double)TW_MMA_CHUNK / element(g) : 0; /* numbers of a chunk */
    const double rows = ceil((double)row_count(g) / how->m);
    const double blocks = rows * ceil((double)(g->oc / g->groups) / how->n) * g->groups;
    const double steps = ceil((double)k_tiles(g) / split);
    const double shared = how->shared + (cluster && !over ? received_bytes(how, split) : 0) + (cluster ? COUNTER : 0) +
                          ring_bytes(g, how);
    const bool computed = g->before.size > 0;
    const double held = fmax(1, floor((cuda->shared_bytes + 1024.0) / (shared + 1024.0)));
    const double fit = computed ? fmin(held, g->before.size == 3 ? MOST_COMPUTING_3 : MOST_COMPUTING_5) : held;
    const double each = ceil(cluster ? blocks / clusters_at_once(cuda, split) : blocks * split / cuda->multiprocessors);
    const double multiply = 2.0 * how->m * how->n * (TW_MMA_ROW / 2) / r.tensor; /* half the numbers, half the rate */
    const double apply = computed ? applying(g, r, how->m) : 0;
    const double a_bytes = (double)how->m * TW_MMA_ROW * (computed ? g->before.size : 1); /* rows of taps: from L2 */
    const double busy = fmax(multiply + apply, (a_bytes + how->n * TW_MMA_ROW) / (2 * r.l2) * fmax(1, 0.75 * gathered));
    const double asked = computed ? 0.4e-6 * rounds_of_taps(g->before.size, how->m) : 0;
    const double alone = 0.16e-6 / (how->stages - 1) + 1.1 * multiply + gathered * 0.19e-6 + asked + 1.2 * apply;
    const double sent = cluster ? (double)how->m * how->n * sizeof(float) * (split - 1) / split / 13e9 : 0;
    const double drained = ceil((double)how->m * how->n * tw_dtype_bytes(g->out) / (16.0 * THREADS * 4) / split);
    const double round = 1.2e-6 + drained * 0.43e-6 + (drained - 1) * (g->residual ? 0.25e-6 : 0);
    const double full = floor(each / fit), rest = each - full * fit;
    double seconds = full * (steps * fmax(fit * busy, alone) + fit * sent) + ceil(each / fit) * round;
    if (rest > 0) seconds += steps * fmax(rest * busy, alone) + rest * sent;
    if (cluster) seconds += 0.2e-6 + (over ? 0.17e-6 : 0);
    const double reading = fmin(blocks * split, cuda->multiprocessors * fit) / rows;
    const double ahead = reading * (how->stages - 1) * how->n * TW_MMA_ROW;
    const double rate = 1.15 * r.memory;
    const double memory =
        fmax(unique_bytes(g) / rate, (double)g->oc * k_tiles(g) * TW_MMA_ROW / fmin(rate, ahead / 0.8e-6));
    return 0.1e-6 + fmax(seconds, memory) + 0.45 * fmin(seconds, memory);
}

/* The one place that decides on tile and split. */
static choice choose(const tw_mma_gemm *g, const tw_device *device)
{
    static const int splits[] = {1, 2, 3, 4, 5, 6, 8, 12, 16};
    const tw_cuda *cuda = (const tw_cuda *)device;
    const bool cluster = cuda->capability >= 90;
    const kind *const first = g->before.size ? computing : copies(g) ? kinds : &gathering;
    const size_t count = first == computing ? sizeof computing / sizeof *computing
                         : first == kinds   ? sizeof kinds / sizeof *kinds
                                            : 1;
    const double sums = (double)row_count(g) * g->oc * sizeof(float);
    choice best = {NULL, 1, cluster, false, 1e30};
    for (size_t i = 0; i < count; i++)
        for (size_t j = 0; j < sizeof splits / sizeof *splits; j++) {
            const kind *how = &first[i];
            const int split = splits[j];
            if (how->shared + ring_bytes(g, how) > (size_t)cuda->shared_bytes || (size_t)split > k_tiles(g) ||
                (cluster && split > MAX_CLUSTER) || (double)g->groups * split > TW_CUDA_MAX_GRID_YZ ||
                (split > 1 && sums * split > 1e9) ||
                (split > 1 && !cluster && g->before.size)) /* the workspace is the product's alone */
                continue;
            for (int over = 0; over <= (cluster && split > 1); over++) {
                double seconds = predict(g, cuda, how, split, over);
                if (split > 1 && !cluster) seconds += 2e-6 + sums * split / tw_cuda_rates_of(cuda).memory;
                if (seconds < best.seconds) best = {how, split, cluster, over > 0, seconds};
            }
        }
    return best;
}

/* ---- the interface ---- */

extern "C" bool tw_mma_gemm_supports(const tw_mma_gemm *g, const tw_device *device, const char **reason)
{
    const int group = g->ic / g->groups;
    *reason = "needs tensor cores and asynchronous copies, compute capability 8.0 or later";
    if (((const tw_cuda *)device)->capability < 80) return false;
    *reason = "needs channels in whole 16 bytes, or a plain input in one group";
    if (!copies(g) && (g->in.layout != TW_PLAIN || g->groups != 1)) return false;
    *reason = "an image of more than 2^31 - 1 elements";
    if ((double)g->ic * g->ih * g->iw > INT_MAX) return false;
    *reason = "an input of more than 32 GiB";
    if ((double)g->n * g->ic * g->ih * g->iw * element(g) / TW_MMA_CHUNK > INT_MAX) return false;
    *reason = "more than 2^31 - 129 pixels of output";
    if ((double)g->n * g->oh * g->ow > INT_MAX - 128) return false;
    *reason = "a window of more than 2^31 - 129 weights";
    if ((double)group * g->kh * g->kw > INT_MAX - 128) return false;
    *reason = "more than 2^31 - 1 tiles, or more than 65,535 groups";
    return ceil((double)row_count(g) / 16) * ceil((double)g->oc / g->groups / 32) < INT_MAX &&
           g->groups <= TW_CUDA_MAX_GRID_YZ;
}

extern "C" size_t tw_mma_gemm_workspace(const tw_mma_gemm *g, const tw_device *device)
{
    const choice how = choose(g, device);
    return how.split == 1 || how.cluster ? 0 : row_count(g) * g->oc * how.split * sizeof(float);
}

extern "C" double tw_mma_gemm_cost(const tw_mma_gemm *g, const tw_device *device)
{
    return choose(g, device).seconds;
}

static size_t weight_bytes(const tw_mma_gemm *g)
{
    return (size_t)g->oc * k_tiles(g) * TW_MMA_ROW;
}

static size_t padded_k(const tw_mma_gemm *g)
{
    return k_tiles(g) * (TW_MMA_ROW / element(g));
}

extern "C" size_t tw_mma_gemm_packed_bytes(const tw_mma_gemm *g)
{
    return weight_bytes(g) + (copies(g) ? 0 : padded_k(g) * sizeof(int4));
}

/* Gathering: k as in w, (c, ky, kx), and where each is; those beyond the end are outside of any image. */
static void pack_table(const tw_mma_gemm *g, int4 *table)
{
    const int window = g->kh * g->kw;
    const size_t count = (size_t)g->ic * window;
    for (size_t k = 0; k < padded_k(g); k++) {
        const int c = (int)(k / window), dy = (int)(k % window) / g->kw * g->dilh, dx = (int)(k % g->kw) * g->dilw;
        table[k] = make_int4(0, OUTSIDE, 0, 0);
        if (k < count) table[k] = make_int4((int)((unsigned)(c * g->ih + dy) * g->iw + dx), dy, dx, 0);
    }
}

/* [oc][k padded with zeros]: k = (ky, kx, c) where rows are copied. */
extern "C" void tw_mma_gemm_pack(const tw_mma_gemm *g, const float *w, void *packed)
{
    const size_t window = copies(g) ? (size_t)g->kh * g->kw : 1, row = padded_k(g);
    const size_t count = (size_t)(g->ic / g->groups) * g->kh * g->kw, channels = count / window;
    const tw_dtype dtype = tw_precision_dtype(g->precision);
    memset(packed, 0, weight_bytes(g));
    for (size_t oc = 0; oc < (size_t)g->oc; oc++)
        for (size_t tap = 0; tap < window; tap++)
            for (size_t c = 0; c < channels; c++)
                tw_write_element(packed, dtype, oc * row + tap * channels + c,
                                 tw_round_to(g->precision, w[oc * count + c * window + tap]));
    if (!copies(g)) pack_table(g, (int4 *)((char *)packed + weight_bytes(g)));
}

static arguments make_arguments(const tw_mma_gemm *whole, const tw_step *step, const choice &how)
{
    const tw_mma_gemm g = *whole;
    const bool copied = copies(&g);
    arguments p = {};
    p.x = step->in[0];
    p.w = step->packed;
    p.table = copied ? NULL : (const int4 *)((const char *)step->packed + weight_bytes(whole));
    p.bias = g.bias ? (const float *)step->in[2] : NULL;
    p.residual = g.residual ? step->in[3] : NULL;
    p.out = step->out;
    p.rows = (int)row_count(&g);
    p.columns = g.oc / g.groups;
    p.channels = g.oc;
    p.column_tiles = (int)tw_ceil_div((size_t)p.columns, (size_t)how.how->n);
    p.k_tiles = (int)k_tiles(&g);
    p.split = how.split;
    p.share = (int)tw_ceil_div((size_t)(p.rows < how.how->m ? p.rows : how.how->m), (size_t)how.split);
    p.by_share = tw_make_divisor(p.share);
    p.wide_in = g.in.dtype == TW_F32;
    p.wide_out = g.out == TW_F32;
    p.whole = p.columns * tw_dtype_bytes(g.out) % 16 == 0;
    p.activation = g.activation;
    p.before = g.before;
    p.ih = g.ih, p.iw = g.iw, p.sh = g.sh, p.sw = g.sw, p.pt = g.pt, p.pl = g.pl;
    p.dilh = g.dilh, p.dilw = g.dilw, p.kh = g.kh, p.kw = g.kw;
    p.image = (size_t)g.ic * g.ih * g.iw;
    p.pixels = tw_make_divisor(g.oh * g.ow);
    p.width = tw_make_divisor(g.ow);
    p.by_kw = tw_make_divisor(g.kw);
    const int chunk = (int)(TW_MMA_CHUNK / element(&g));
    p.pixel_chunks = g.ic / chunk;
    p.chunks = copied ? g.ic / g.groups / chunk : 1;
    p.by_chunks = tw_make_divisor(p.chunks);
    p.step_c = TW_MMA_CHUNKS % p.chunks;
    p.step_kx = TW_MMA_CHUNKS / p.chunks % g.kw;
    p.step_ky = TW_MMA_CHUNKS / p.chunks / g.kw;
    return p;
}

/* The product's parts into the workspace, bare; then their sum. */
static tw_status run_in_parts(kernel multiply, const tw_cuda_grid &grid, arguments p, const tw_step *step,
                              tw_queue *queue)
{
    arguments bare = p;
    bare.bias = NULL;
    bare.residual = NULL;
    bare.activation = TW_ACT_NONE;
    bare.out = step->workspace;
    bare.parts = bare.wide_out = true;
    bare.whole = p.columns % 4 == 0;
    tw_status status = tw_cuda_launch(queue, multiply, grid, bare);
    if (status != TW_OK) return status;
    p.partial = (const float *)step->workspace;
    p.columns = p.channels; /* groups are one from here on */
    const tw_dtype out = step->problem->out.dtype;
    const size_t width = 16 / tw_dtype_bytes(out);
    p.whole = (size_t)p.channels % width == 0;
    const size_t items = (size_t)p.rows * tw_ceil_div((size_t)p.channels, width);
    const tw_cuda_grid adding = {dim3(tw_ceil_div(items, THREADS)), THREADS, 0};
    return tw_cuda_with_type(out, [&](auto *type) {
        return tw_cuda_launch(queue, add_parts<std::remove_pointer_t<decltype(type)>>, adding, p);
    });
}

extern "C" tw_status tw_mma_gemm_run(const tw_mma_gemm *g, const tw_step *step, tw_queue *queue)
{
    const choice how = choose(g, &queue->device->base);
    arguments p = make_arguments(g, step, how);
    const int type = g->precision == TW_PRECISION_FP16 ? 0 : g->precision == TW_PRECISION_BF16 ? 1 : 2;
    const kernel multiply = how.how->kernels[g->before.size ? g->before.size == 5 : goes_straight(g)][type];
    const unsigned row_tiles = tw_ceil_div((size_t)p.rows, (size_t)how.how->m);
    tw_cuda_grid grid = {dim3(row_tiles * (unsigned)p.column_tiles, 1, (unsigned)(g->groups * how.split)), THREADS,
                         (size_t)how.how->shared};
    if (how.cluster) grid.most = how.how->shared + most_received_bytes(how.how) + ring_bytes(g, how.how);
    if (how.split > 1 && !how.cluster) return run_in_parts(multiply, grid, p, step, queue);
    p.cluster = how.split > 1;
    p.over = how.over;
    p.ahead = (double)grid.blocks.x * grid.blocks.z <= 2.0 * queue->device->multiprocessors &&
              weight_bytes(g) <= TW_CUDA_AHEAD;
    if (p.cluster) {
        grid.cluster = (unsigned)how.split;
        grid.shared += COUNTER + (how.over ? 0 : received_bytes(how.how, how.split));
    }
    p.ring = (int)grid.shared;
    grid.shared += ring_bytes(g, how.how);
    return tw_cuda_launch(queue, multiply, grid, p);
}
