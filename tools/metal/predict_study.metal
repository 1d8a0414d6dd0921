/* The study's products of matrices on Metal, as far as its report tells (15-618, 2022, table 2: batch 128, 4096 ->
 * 4096): a thread an output, without and with tiles of 16 x 16 in threadgroup memory. Its code is not published; these
 * are the plain forms of what it describes, here to be counted, not to be fast. y [m][n] = x [m][k] * w [k][n]; m, n
 * and k are multiples of 16.
 *
 * product_tiled without BARRIERS is a race, and its results are wrong: the study timed that to learn what barriers
 * cost. product_simdgroup is a right product without them: a simdgroup has a tile of 4 x 8 outputs of its own, and what
 * its lanes stage only they read, behind a simdgroup_barrier. */
#include <metal_stdlib>

using namespace metal;

struct Sizes {
    int m, n, k;
};

constant bool BARRIERS [[function_constant(0)]];

enum { TILE = 16, ROWS = 4, COLUMNS = 8, STEP = 8 };

kernel void product_naive(constant Sizes &s [[buffer(0)]], device const float *x [[buffer(1)]],
                          device const float *w [[buffer(2)]], device float *y [[buffer(3)]],
                          uint2 at [[thread_position_in_grid]])
{
    const int row = int(at.y), column = int(at.x);
    float sum = 0.0f;
    for (int i = 0; i < s.k; i++) sum = fma(x[row * s.k + i], w[i * s.n + column], sum);
    y[row * s.n + column] = sum;
}

kernel void product_tiled(constant Sizes &s [[buffer(0)]], device const float *x [[buffer(1)]],
                          device const float *w [[buffer(2)]], device float *y [[buffer(3)]],
                          uint2 at [[thread_position_in_grid]], uint2 own [[thread_position_in_threadgroup]])
{
    threadgroup float x_tile[TILE][TILE], w_tile[TILE][TILE];
    const int row = int(at.y), column = int(at.x);
    float sum = 0.0f;
    for (int k0 = 0; k0 < s.k; k0 += TILE) {
        x_tile[own.y][own.x] = x[row * s.k + k0 + int(own.x)];
        w_tile[own.y][own.x] = w[(k0 + int(own.y)) * s.n + column];
        if (BARRIERS) threadgroup_barrier(mem_flags::mem_threadgroup);
        for (int i = 0; i < TILE; i++) sum = fma(x_tile[own.y][i], w_tile[i][own.x], sum);
        if (BARRIERS) threadgroup_barrier(mem_flags::mem_threadgroup);
    }
    y[row * s.n + column] = sum;
}

kernel void product_simdgroup(constant Sizes &s [[buffer(0)]], device const float *x [[buffer(1)]],
                              device const float *w [[buffer(2)]], device float *y [[buffer(3)]],
                              uint2 group [[threadgroup_position_in_grid]], uint lane [[thread_index_in_threadgroup]])
{
    threadgroup float x_tile[ROWS][STEP], w_tile[STEP][COLUMNS];
    const int own_row = int(lane) / COLUMNS, own_column = int(lane) % COLUMNS;
    const int row = int(group.y) * ROWS + own_row, column = int(group.x) * COLUMNS + own_column;
    float sum = 0.0f;
    for (int k0 = 0; k0 < s.k; k0 += STEP) {
        x_tile[own_row][own_column] = x[row * s.k + k0 + own_column];
        for (int i = own_row; i < STEP; i += ROWS) w_tile[i][own_column] = w[(k0 + i) * s.n + column];
        simdgroup_barrier(mem_flags::mem_threadgroup);
        for (int i = 0; i < STEP; i++) sum = fma(x_tile[own_row][i], w_tile[i][own_column], sum);
        simdgroup_barrier(mem_flags::mem_threadgroup);
    }
    y[row * s.n + column] = sum;
}
