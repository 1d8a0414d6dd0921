/* pool, vectorised on Metal, for dense windows: a thread computes four outputs below each other, so that a row which
 * several of their windows cover is read once and the index arithmetic is done once for four. A threadgroup is 256
 * neighbours in the order plane, group of four rows, column.
 *
 * Nothing is staged and nothing is waited for. Loads and stores are coalesced along rows, and x crosses device memory
 * about once, which bounds it on every family. NaN wins a maximum. */
#include "ops/common/metal_kernel.h"
#include "ops/pool/pool.h"

enum { ROWS = 4 };

template <typename In, typename Out>
kernel void vectorised(constant tw_pool &p [[buffer(0)]], device const In *x [[buffer(1)]], device Out *y [[buffer(2)]],
                    uint at [[thread_position_in_grid]])
{
    const uint strips = uint(p.oh + ROWS - 1) / uint(ROWS), strip_row = at / uint(p.ow), plane = strip_row / strips;
    if (plane >= uint(p.n) * uint(p.c)) return;
    const int ox = int(at - strip_row * uint(p.ow)), oy = int(strip_row - plane * strips) * ROWS;
    const int top = oy * p.sh - p.pt, left = ox * p.sw - p.pl, right = left + p.kw;
    const int begin = max(left, 0), end = min(right, p.iw);
    device const In *from = x + int(plane) * p.ih * p.iw;
    float results[ROWS];
    for (int j = 0; j < ROWS; j++) results[j] = p.kind == 0 ? -INFINITY : 0.0f;
    const int rows = (min(p.oh - oy, int(ROWS)) - 1) * p.sh + p.kh;
    for (int row = 0; row < rows; row++) {
        const int iy = top + row;
        if (iy < 0 || iy >= p.ih) continue;
        float largest = -INFINITY, sum = 0.0f; /* of the row's part of the window, which all of its windows share */
        for (int ix = begin; ix < end; ix++) {
            const float v = float(from[iy * p.iw + ix]);
            if (v > largest || isnan(v)) largest = v; /* NaN enters, and no comparison removes it */
            sum += v;
        }
        for (int j = 0; j < ROWS; j++) {
            const int ky = row - j * p.sh;
            if (ky < 0 || ky >= p.kh) continue;
            if (p.kind != 0) results[j] += sum;
            else if (largest > results[j] || isnan(largest)) results[j] = largest;
        }
    }
    for (int j = 0; j < ROWS && oy + j < p.oh; j++) {
        const int first = top + j * p.sh, last = first + p.kh;
        const int inside = (min(last, p.ih) - max(first, 0)) * (end - begin);
        const int padded = (min(last, p.ih + p.pb) - first) * (min(right, p.iw + p.pr) - left);
        const float divisor = float(p.count_include_pad != 0 ? padded : inside);
        y[(int(plane) * p.oh + oy + j) * p.ow + ox] = Out(p.kind == 0 ? results[j] : results[j] / divisor);
    }
}

template [[host_name("vectorised_f32")]] kernel decltype(vectorised<float, float>) vectorised<float, float>;
template [[host_name("vectorised_f16")]] kernel decltype(vectorised<half, half>) vectorised<half, half>;
template [[host_name("vectorised_f32_f16")]] kernel decltype(vectorised<float, half>) vectorised<float, half>;
template [[host_name("vectorised_f16_f32")]] kernel decltype(vectorised<half, float>) vectorised<half, float>;
