/* The multiply-add rate of one core. Compiled once for each instruction set. Sums are single registers of its width:
 * gcc keeps a loop's v16 in memory where registers are narrower. */
#include "devices/cpu/simd.h"

#if defined(__AVX512F__)
enum { LANES = 16 };
#elif defined(__AVX2__)
enum { LANES = 8 };
#else
enum { LANES = 4 };
#endif
typedef float lanes __attribute__((vector_size(LANES * sizeof(float))));

void TW_JOIN(tw_fma_loop, TW_VARIANT)(long rounds, float *sums)
{
    enum { CHAINS = 12 }; /* independent, to cover the latency of every core so far */
    lanes a = 0.999f - (lanes){0}, b = 0.5f - (lanes){0}, acc[CHAINS];
    TW_UNROLL for (int i = 0; i < CHAINS; i++) acc[i] = (float)i - (lanes){0};
    for (long r = 0; r < rounds * (16 / LANES); r++) {
        TW_UNROLL for (int i = 0; i < CHAINS; i++) acc[i] = acc[i] * a + b;
    }
    TW_UNROLL for (int i = 1; i < CHAINS; i++) acc[0] += acc[i];
    memset(sums, 0, 16 * sizeof *sums);
    memcpy(sums, &acc[0], sizeof acc[0]);
}
