/* pool, naive on Metal: a thread computes one output and walks its window; a threadgroup is 256 neighbours in y's
 * order.
 *
 * Nothing is staged. Neighbouring threads' windows are neighbours, so x crosses device memory about once and what
 * windows share comes from the cache: device memory bounds it on every family, but for global pooling, where a thread
 * has a whole plane to itself and few threads keep the device busy. An average that counts its padding divides by the
 * window clipped to the padded image, as in PyTorch; NaN wins a maximum.
 *
 * Source: definition as cpu_reference.c; the study's pooling is this. */
#include "ops/common/metal_kernel.h"
#include "ops/pool/pool.h"

/* Positions begin + i * step below end, clipped to the image at its end alone, and what an average that counts its
 * padding divides by. */
struct range {
    int begin, end, step, divisor;
};

static inline range adaptive(int in, int out, int at)
{
    range r;
    r.begin = int(long(at) * long(in) / long(out));
    r.end = int((long(at + 1) * long(in) + long(out - 1)) / long(out));
    r.step = 1;
    r.divisor = r.end - r.begin;
    return r;
}

static inline range strided(int in, int begin, int dilation, int kernel_size, int padding_after)
{
    const int end = begin + dilation * (kernel_size - 1) + 1;
    range r;
    r.begin = begin;
    r.end = min(end, in);
    r.step = dilation;
    r.divisor = min(end, in + padding_after) - begin;
    return r;
}

template <typename In, typename Out>
kernel void naive(constant tw_pool &p [[buffer(0)]], device const In *x [[buffer(1)]], device Out *y [[buffer(2)]],
                  uint at [[thread_position_in_grid]])
{
    const uint plane_size = uint(p.oh) * uint(p.ow), plane = at / plane_size; /* n * c + channel */
    if (plane >= uint(p.n) * uint(p.c)) return;
    const int pixel = int(at - plane * plane_size), oy = pixel / p.ow, ox = pixel - oy * p.ow;
    const bool is_adaptive = p.kind == 2;
    const range rows = is_adaptive ? adaptive(p.ih, p.oh, oy) : strided(p.ih, oy * p.sh - p.pt, p.dilh, p.kh, p.pb);
    const range columns = is_adaptive ? adaptive(p.iw, p.ow, ox) : strided(p.iw, ox * p.sw - p.pl, p.dilw, p.kw, p.pr);
    device const In *from = x + int(plane) * p.ih * p.iw;
    float largest = -INFINITY, sum = 0.0f;
    int count = 0;
    for (int iy = rows.begin; iy < rows.end; iy += rows.step) {
        for (int ix = columns.begin; ix < columns.end; ix += columns.step) {
            if (iy < 0 || ix < 0) continue;
            const float v = float(from[iy * p.iw + ix]);
            if (v > largest || isnan(v)) largest = v; /* NaN enters, and no comparison removes it */
            sum += v;
            count++;
        }
    }
    const float divisor = p.count_include_pad != 0 ? float(rows.divisor) * float(columns.divisor) : float(count);
    y[at] = Out(p.kind == 0 ? largest : sum / divisor);
}

template [[host_name("naive_f32")]] kernel decltype(naive<float, float>) naive<float, float>;
template [[host_name("naive_f16")]] kernel decltype(naive<half, half>) naive<half, half>;
template [[host_name("naive_f32_f16")]] kernel decltype(naive<float, half>) naive<float, half>;
template [[host_name("naive_f16_f32")]] kernel decltype(naive<half, float>) naive<half, float>;
