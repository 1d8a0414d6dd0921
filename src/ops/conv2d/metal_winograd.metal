/* conv2d, winograd on Metal: F(4x4, 3x3), 36 multiplications for 144 of the direct algorithm; winograd.h says how.
 *
 *   transform  v [36][ic][tiles]: a thread has one tile of one input channel, reads its 6 x 6 window, zeros where the
 *              padding is, and transforms it in registers. Neighbouring lanes have neighbouring tiles: loads overlap in
 *              the cache, stores are whole lines.
 *   multiply   m [36][oc][tiles] = u [36][oc][ic] * v, 36 independent products: as in implicit_gemm, a thread has 8
 *              channels of 4 tiles in registers, a threadgroup 32 lanes by 4 simdgroups of 8 channels each; u is packed
 *              as [36][oc / 8][ic][8] and one read serves all lanes. Nothing is staged and nothing is waited for.
 *   finish     a thread has one tile of one output channel, transforms 36 sums back to 4 x 4 outputs and adds the
 *              epilogue.
 *
 * Tiles are those of the whole batch. v and m cross device memory twice each: 2.25 times as many numbers as x and as y.
 * So device memory bounds layers of few channels (then implicit_gemm is as good), the multiply-adds those of many. v, m
 * and u are float32 in every precision, since the transforms cancel. Where v and m of the batch exceed a limit that
 * suits a phone, the batch goes in slices of images.
 *
 * Source: Lavin and Gray 2015, with the points of winograd.h. */
#include "ops/common/metal_kernel.h"
#include "ops/conv2d/metal_slice.h"
#include "ops/conv2d/winograd.h"

enum { M = 4, ALPHA = M + 2, TILES = 4 }; /* TILES: of a thread of multiply */

template <typename In>
kernel void transform(constant tw_conv2d_slice &s [[buffer(0)]], device const In *x [[buffer(1)]],
                      device float *v [[buffer(2)]], uint3 at [[thread_position_in_grid]])
{
    constant tw_conv2d &p = s.p;
    const int down = tw_winograd_tiles(p.oh, M), along = tw_winograd_tiles(p.ow, M), tiles = s.images * down * along;
    const int tile = int(at.x), c = int(at.y);
    if (tile >= tiles) return;
    const int n = tile / (down * along), rest = tile - n * down * along, ty = rest / along;
    const int top = ty * M - p.pt, left = (rest - ty * along) * M - p.pl;
    device const In *plane = x + ((s.first + n) * p.ic + c) * p.ih * p.iw;
    float half_done[ALPHA][ALPHA]; /* [column][row]: columns of the window transformed */
    for (int i = 0; i < ALPHA; i++) {
        float column[ALPHA];
        for (int j = 0; j < ALPHA; j++) {
            const int iy = top + j, ix = left + i;
            const bool inside = iy >= 0 && iy < p.ih && ix >= 0 && ix < p.iw;
            column[j] = inside ? float(plane[iy * p.iw + ix]) : 0.0f;
        }
        tw_winograd_input4(column, half_done[i]);
    }
    for (int j = 0; j < ALPHA; j++) {
        float row[ALPHA], done[ALPHA];
        for (int i = 0; i < ALPHA; i++) row[i] = half_done[i][j];
        tw_winograd_input4(row, done);
        for (int i = 0; i < ALPHA; i++) v[((j * ALPHA + i) * p.ic + c) * tiles + tile] = done[i];
    }
}

kernel void multiply(constant tw_conv2d_slice &s [[buffer(0)]], device const float4 *u [[buffer(1)]],
                     device const float *v [[buffer(2)]], device float *m [[buffer(3)]],
                     uint3 group [[threadgroup_position_in_grid]], uint3 thread_at [[thread_position_in_threadgroup]])
{
    constant tw_conv2d &p = s.p;
    const int tiles = s.images * tw_winograd_tiles(p.oh, M) * tw_winograd_tiles(p.ow, M), blocks = (p.oc + 7) / 8;
    const int block = int(group.y) * 4 + int(thread_at.y), point = int(group.z);
    const int first = int(group.x) * 32 * TILES + int(thread_at.x);
    if (block >= blocks || first >= tiles) return;
    device const float4 *weights = u + (point * blocks + block) * p.ic * 2;
    device const float *from = v + point * p.ic * tiles;
    int at[TILES];
    float4 low[TILES], high[TILES];
    for (int j = 0; j < TILES; j++) {
        at[j] = min(first + j * 32, tiles - 1); /* what lies behind the last is computed twice and stored once */
        low[j] = high[j] = float4(0.0f);
    }
    for (int c = 0; c < p.ic; c++) {
        const float4 a = weights[2 * c], b = weights[2 * c + 1];
        for (int j = 0; j < TILES; j++) {
            const float4 d = float4(from[c * tiles + at[j]]);
            low[j] = fma(d, a, low[j]);
            high[j] = fma(d, b, high[j]);
        }
    }
    for (int j = 0; j < TILES && first + j * 32 < tiles; j++)
        for (int i = 0; i < 8 && block * 8 + i < p.oc; i++)
            m[(point * p.oc + block * 8 + i) * tiles + first + j * 32] = i < 4 ? low[j][i] : high[j][i - 4];
}

template <typename Out>
kernel void finish(constant tw_conv2d_slice &s [[buffer(0)]], device const float *m [[buffer(1)]],
                   device const float *bias [[buffer(2)]], device const Out *residual [[buffer(3)]],
                   device Out *y [[buffer(4)]], uint3 at [[thread_position_in_grid]])
{
    constant tw_conv2d &p = s.p;
    const int down = tw_winograd_tiles(p.oh, M), along = tw_winograd_tiles(p.ow, M), tiles = s.images * down * along;
    const int tile = int(at.x), oc = int(at.y);
    if (tile >= tiles) return;
    const int n = tile / (down * along), rest = tile - n * down * along, ty = rest / along;
    const int oy0 = ty * M, ox0 = (rest - ty * along) * M;
    float half_done[ALPHA][M]; /* [column][row] */
    for (int i = 0; i < ALPHA; i++) {
        float column[ALPHA];
        for (int j = 0; j < ALPHA; j++) column[j] = m[((j * ALPHA + i) * p.oc + oc) * tiles + tile];
        tw_winograd_output4(column, half_done[i]);
    }
    const float add = p.has_bias != 0 ? bias[oc] : 0.0f;
    for (int j = 0; j < M && oy0 + j < p.oh; j++) {
        float row[ALPHA], done[M];
        for (int i = 0; i < ALPHA; i++) row[i] = half_done[i][j];
        tw_winograd_output4(row, done);
        for (int i = 0; i < M && ox0 + i < p.ow; i++) {
            const int to = (((s.first + n) * p.oc + oc) * p.oh + oy0 + j) * p.ow + ox0 + i;
            float sum = done[i] + add;
            if (p.has_residual != 0) sum += float(residual[to]);
            y[to] = Out(tw_activate(sum, p.activation));
        }
    }
}

template [[host_name("transform_f32")]] kernel decltype(transform<float>) transform<float>;
template [[host_name("transform_f16")]] kernel decltype(transform<half>) transform<half>;
template [[host_name("finish_f32")]] kernel decltype(finish<float>) finish<float>;
template [[host_name("finish_f16")]] kernel decltype(finish<half>) finish<half>;
