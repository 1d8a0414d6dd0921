/* linear, tiled on Metal: for many images, where gemv would read w again for each few of them.
 *
 * A threadgroup of 64 threads computes 32 features of 32 images. In steps of 16 k it stages 16 x 32 numbers of w and
 * of x in threadgroup memory, 4.1 KiB in all, as [k][row] with one column more, so that threads that write
 * neighbouring k of one row meet different banks; a thread keeps 4 x 4 sums in registers and reads 8 numbers of
 * threadgroup memory for 16 multiply-adds. w crosses memory once for each 32 images, x once for each 32 features.
 *
 * Threadgroup reads and two barriers a step bound it, at some quarter of the arithmetic peak, on every family from
 * Apple4 on; with few images most of a tile is empty, and gemv is for those. Half is widened where it is staged. */
#include "ops/common/metal_kernel.h"
#include "ops/linear/linear.h"

enum { TILE = 32, STEP = 16, SUMS = 4, SIDE = TILE / SUMS, STRIDE = TILE + 1 };

/* Numbers k0 to k0 + STEP of rows first to first + TILE of a matrix [rows][k]; zeros behind its ends. */
template <typename T>
static inline void stage(device const T *from, int first, int rows, int k0, int k, int thread_at, threadgroup float *to)
{
    for (int i = thread_at; i < STEP * TILE; i += SIDE * SIDE) {
        const int row = first + i / STEP, at = k0 + i % STEP;
        to[i % STEP * STRIDE + i / STEP] = row < rows && at < k ? float(from[row * k + at]) : 0.0f;
    }
}

template <typename In, typename W, typename Out>
kernel void tiled(constant tw_linear &p [[buffer(0)]], device const In *x [[buffer(1)]],
                  device const W *w [[buffer(2)]], device const float *bias [[buffer(3)]],
                  device Out *y [[buffer(4)]], uint3 tile [[threadgroup_position_in_grid]],
                  uint index [[thread_index_in_threadgroup]])
{
    threadgroup float w_tile[STEP * STRIDE], x_tile[STEP * STRIDE];
    const int oc0 = int(tile.x) * TILE, n0 = int(tile.y) * TILE, thread_at = int(index);
    const int down = thread_at / SIDE, along = thread_at % SIDE; /* of its first image, its first feature */
    float sums[SUMS][SUMS];
    for (int i = 0; i < SUMS; i++)
        for (int j = 0; j < SUMS; j++) sums[i][j] = 0.0f;
    for (int k0 = 0; k0 < p.ic; k0 += STEP) {
        stage(w, oc0, p.oc, k0, p.ic, thread_at, w_tile);
        stage(x, n0, p.n, k0, p.ic, thread_at, x_tile);
        threadgroup_barrier(mem_flags::mem_threadgroup);
        for (int at = 0; at < STEP; at++) {
            float weights[SUMS];
            for (int j = 0; j < SUMS; j++) weights[j] = w_tile[at * STRIDE + j * SIDE + along];
            for (int i = 0; i < SUMS; i++) {
                const float v = x_tile[at * STRIDE + i * SIDE + down];
                for (int j = 0; j < SUMS; j++) sums[i][j] = fma(v, weights[j], sums[i][j]);
            }
        }
        threadgroup_barrier(mem_flags::mem_threadgroup);
    }
    for (int j = 0; j < SUMS; j++) {
        const int oc = oc0 + j * SIDE + along;
        if (oc >= p.oc) continue;
        const float offset = p.has_bias != 0 ? bias[oc] : 0.0f;
        for (int i = 0; i < SUMS; i++) {
            const int n = n0 + i * SIDE + down;
            if (n < p.n) y[n * p.oc + oc] = Out(tw_activate(sums[i][j] + offset, p.activation));
        }
    }
}

template [[host_name("tiled_f32")]] kernel decltype(tiled<float, float, float>) tiled<float, float, float>;
template [[host_name("tiled_f16")]] kernel decltype(tiled<half, half, half>) tiled<half, half, half>;
template [[host_name("tiled_f32_f16")]] kernel decltype(tiled<float, half, half>) tiled<float, half, half>;
template [[host_name("tiled_f16_f32")]] kernel decltype(tiled<half, half, float>) tiled<half, half, float>;
