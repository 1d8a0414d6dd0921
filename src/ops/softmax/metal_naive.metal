/* softmax, naive on Metal: a threadgroup of 128 threads for each pixel of each image: it finds the largest channel,
 * adds up the exponentials, and divides; three passes over the channels, the second and third from the caches.
 *
 * Sums and maxima meet in 512 bytes of threadgroup memory, in a tree of seven barriers. Channels are a plane apart, so
 * where there are many pixels the lanes read far apart; a classifier's single pixel reads whole lines. Latency bounds
 * it on every family: there is little to read. A NaN or infinity becomes NaN throughout its pixel. y may be x
 * itself. */
#include "ops/common/metal_kernel.h"
#include "ops/softmax/softmax.h"

enum { THREADS = 128 };

template <typename In, typename Out>
kernel void naive(constant tw_softmax &p [[buffer(0)]], device const In *x [[buffer(1)]], device Out *y [[buffer(2)]],
                  uint group [[threadgroup_position_in_grid]], uint at [[thread_position_in_threadgroup]])
{
    threadgroup float shared[THREADS];
    const int apart = p.h * p.w, pixel = int(group), image = pixel / apart;
    const int first = image * p.c * apart + (pixel - image * apart), own = int(at);
    float largest = -INFINITY, sum = 0.0f;
    for (int c = own; c < p.c; c += THREADS) largest = max(largest, float(x[first + c * apart]));
    shared[own] = largest;
    for (int half_way = THREADS / 2; half_way > 0; half_way /= 2) {
        threadgroup_barrier(mem_flags::mem_threadgroup);
        if (own < half_way) shared[own] = max(shared[own], shared[own + half_way]);
    }
    threadgroup_barrier(mem_flags::mem_threadgroup);
    largest = shared[0];
    threadgroup_barrier(mem_flags::mem_threadgroup);
    for (int c = own; c < p.c; c += THREADS) sum += exp(float(x[first + c * apart]) - largest);
    shared[own] = sum;
    for (int half_way = THREADS / 2; half_way > 0; half_way /= 2) {
        threadgroup_barrier(mem_flags::mem_threadgroup);
        if (own < half_way) shared[own] += shared[own + half_way];
    }
    threadgroup_barrier(mem_flags::mem_threadgroup);
    sum = shared[0];
    for (int c = own; c < p.c; c += THREADS)
        y[first + c * apart] = Out(exp(float(x[first + c * apart]) - largest) / sum);
}

template [[host_name("naive_f32")]] kernel decltype(naive<float, float>) naive<float, float>;
template [[host_name("naive_f16")]] kernel decltype(naive<half, half>) naive<half, half>;
template [[host_name("naive_f32_f16")]] kernel decltype(naive<float, half>) naive<float, half>;
template [[host_name("naive_f16_f32")]] kernel decltype(naive<half, float>) naive<half, float>;
