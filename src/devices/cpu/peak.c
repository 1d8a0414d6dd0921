/* The multiply-add rate of one core. Compiled once for each instruction set. */
#include "devices/cpu/simd.h"

void TW_JOIN(tw_fma_loop, TW_VARIANT)(long rounds, float *sums)
{
    enum { CHAINS = 12 }; /* independent, to cover the latency of every core so far */
    v16 a = v16_all(0.999f), b = v16_all(0.5f), acc[CHAINS];
    for (int i = 0; i < CHAINS; i++) acc[i] = v16_all((float)i);
    for (long r = 0; r < rounds; r++)
        for (int i = 0; i < CHAINS; i++) acc[i] = acc[i] * a + b;
    for (int i = 1; i < CHAINS; i++) acc[0] += acc[i];
    v16_store(sums, acc[0]);
}
