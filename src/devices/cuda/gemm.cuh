/* A float32 matrix product on the plain multiply-add units, shared by the designs that are one: C = A * B with
 * A [m][k], B [k][columns].
 *
 * A block computes a tile of M x N of C. In steps of K it stages M x K of A and K x N of B in shared memory, each
 * element once; each of its THREADS threads keeps TM x TN sums in registers and reads TM + TN numbers for TM * TN
 * multiply-adds. Two stages in shared memory: the next step's loads are in flight while this one is multiplied, one
 * barrier a step. Shared reads, not arithmetic, bound it: (TM + TN) loads of 4 bytes against TM * TN multiply-adds.
 * (Volkov and Demmel 2008; Simon Boehm's and CUTLASS's hierarchy of tiles.)
 *
 * Where A and B come from and where C goes are the caller's: Source has the sizes m, k and columns, a(row, k), a type
 * Column made once for each column that a thread loads, and b(column, k); Sink is called with (row, column, sum). */
#ifndef TW_DEVICES_CUDA_GEMM_CUH
#define TW_DEVICES_CUDA_GEMM_CUH

#include "devices/cuda/kernel.h"

template <int M_, int N_, int K_, int TM_, int TN_> struct tw_gemm_tile {
    static constexpr int M = M_, N = N_, K = K_, TM = TM_, TN = TN_;
    static constexpr int threads = (M / TM) * (N / TN);
    static_assert(M * K % threads == 0 && threads % N == 0 && K * N % threads == 0, "whole loads");
};
typedef tw_gemm_tile<64, 64, 16, 8, 4> tw_gemm_small;   /* 128 threads */
typedef tw_gemm_tile<128, 128, 16, 8, 8> tw_gemm_large; /* 256 threads */

template <class Tile, class Source, class Sink>
__device__ static inline void tw_gemm(const Source &source, const Sink &sink, int first_row, int first_column)
{
    constexpr int threads = Tile::threads;
    constexpr int a_loads = Tile::M * Tile::K / threads, b_loads = Tile::K * Tile::N / threads;
    __shared__ float a_tile[2][Tile::K][Tile::M + 4]; /* padded: stores go down a column */
    __shared__ float b_tile[2][Tile::K][Tile::N];
    const int thread = threadIdx.x;
    const int b_column = thread % Tile::N, b_row = thread / Tile::N;
    constexpr int b_rows = threads / Tile::N;
    const int tile_row = thread / (Tile::N / Tile::TN), tile_column = thread % (Tile::N / Tile::TN);
    const bool inside = first_column + b_column < source.columns;
    const typename Source::Column column(source, inside ? first_column + b_column : 0);
    float sums[Tile::TM][Tile::TN] = {}, a_next[a_loads], b_next[b_loads];

    auto load = [&](int k0) {
#pragma unroll
        for (int i = 0; i < a_loads; i++) {
            int at = thread + i * threads, row = first_row + at / Tile::K, k = k0 + at % Tile::K;
            a_next[i] = row < source.m && k < source.k ? source.a(row, k) : 0.0f;
        }
#pragma unroll
        for (int i = 0; i < b_loads; i++) {
            int k = k0 + b_row + i * b_rows;
            b_next[i] = inside && k < source.k ? source.b(column, k) : 0.0f;
        }
    };
    auto store = [&](int stage) {
#pragma unroll
        for (int i = 0; i < a_loads; i++) {
            int at = thread + i * threads;
            a_tile[stage][at % Tile::K][at / Tile::K] = a_next[i];
        }
#pragma unroll
        for (int i = 0; i < b_loads; i++) b_tile[stage][b_row + i * b_rows][b_column] = b_next[i];
    };

    load(0);
    store(0);
    __syncthreads();
    for (int k0 = 0, stage = 0; k0 < source.k; k0 += Tile::K, stage ^= 1) {
        const bool more = k0 + Tile::K < source.k;
        if (more) load(k0 + Tile::K);
#pragma unroll
        for (int k = 0; k < Tile::K; k++) {
            float a[Tile::TM], b[Tile::TN];
#pragma unroll
            for (int i = 0; i < Tile::TM; i++) a[i] = a_tile[stage][k][tile_row * Tile::TM + i];
#pragma unroll
            for (int j = 0; j < Tile::TN; j++) b[j] = b_tile[stage][k][j * (Tile::N / Tile::TN) + tile_column];
#pragma unroll
            for (int i = 0; i < Tile::TM; i++)
#pragma unroll
                for (int j = 0; j < Tile::TN; j++) sums[i][j] = fmaf(a[i], b[j], sums[i][j]);
        }
        if (more) store(stage ^ 1);
        __syncthreads();
    }
#pragma unroll
    for (int i = 0; i < Tile::TM; i++)
#pragma unroll
        for (int j = 0; j < Tile::TN; j++) {
            int row = first_row + tile_row * Tile::TM + i;
            int to = first_column + j * (Tile::N / Tile::TN) + tile_column;
            if (row < source.m && to < source.columns) sink(row, to, sums[i][j]);
        }
}

#endif
