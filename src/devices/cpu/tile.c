/* The micro-kernel of tile.h for each instruction set: tile_kernel.h compiled for every size of tile whose sums fit
 * the registers. AVX-512 has 32 of 16 floats (14 x 2 sums, 2 for b, 1 for a), AVX2 16 of 8 (6 x 2 halves, 2, 1), NEON
 * 32 of 4 (5 x 4 quarters, 4, and 5 so that gcc may load ahead), SSE2 16 of 4 (2 x 4, 4, 2). */
#include "devices/cpu/tile.h"
#include "devices/cpu/simd.h"

typedef struct tile_size {
    int pixels, vectors;
} tile_size;

/* The undefined-behaviour sanitizer would put checks into thousands of unrolled steps, at minutes of compiling; the
 * address sanitizer stays on. */
#define UNCHECKED __attribute__((no_sanitize("undefined")))
#define KERNEL_INLINE UNCHECKED TW_INLINE

#define PRAGMA(text) _Pragma(#text)
#if defined(__clang__)
#define UNROLL_BY(times) PRAGMA(unroll times)
#else
#define UNROLL_BY(times) PRAGMA(GCC unroll times)
#endif

static float activate(float v, int activation)
{
    if (activation == TW_ACT_NONE) return v;
    if (v < 0) return 0;
    return activation == TW_ACT_RELU6 && v > 6 ? 6 : v;
}

/* The epilogue where the last vector is stored in part: sums[register][TW_TILE_MAX_PIXELS][lanes]. (The other order
 * would be a copy of the registers' array, which clang makes a memcpy() of and so keeps in memory.) */
static __attribute__((noinline)) void finish_part(const tw_tile *t, const float *sums, int lanes)
{
    int used = (t->vectors - 1) * TW_BLOCK + t->last;
    for (int p = 0; p < t->pixels; p++)
        for (int i = 0; i < used; i++) {
            ptrdiff_t at = p * t->c_pixel + i / TW_BLOCK * t->c_vector + i % TW_BLOCK;
            float v = sums[(i / lanes * TW_TILE_MAX_PIXELS + p) * lanes + i % lanes];
            if (t->accumulate) v += t->c[at];
            if (t->bias) v += t->bias[i];
            if (t->residual) v += t->residual[at];
            t->c[at] = activate(v, t->activation);
        }
}

#if defined(__x86_64__)

#define LANES 16
#define NAMED(name) name##_avx512
#include "devices/cpu/tile_kernel.h"
#define LANES 8
#define NAMED(name) name##_avx2
#include "devices/cpu/tile_kernel.h"
#define LANES 4
#define NAMED(name) name##_sse2
#include "devices/cpu/tile_kernel.h"

/* clang-format off */
#define AVX512(p, v)                                                                                                   \
    TW_TARGET_AVX512 UNCHECKED static void avx512_##p##x##v(const tw_tile *t) { tile_avx512(t, (tile_size){p, v}); }
#define AVX512_BOTH(p) AVX512(p, 1) AVX512(p, 2)
#define AVX2(p)                                                                                                        \
    TW_TARGET_AVX2 UNCHECKED static void avx2_##p(const tw_tile *t) { tile_avx2(t, (tile_size){p, 1}); }
#define SSE2(p)                                                                                                        \
    UNCHECKED static void sse2_##p(const tw_tile *t) { tile_sse2(t, (tile_size){p, 1}); }

AVX512_BOTH(1) AVX512_BOTH(2) AVX512_BOTH(3) AVX512_BOTH(4) AVX512_BOTH(5) AVX512_BOTH(6) AVX512_BOTH(7)
AVX512_BOTH(8) AVX512_BOTH(9) AVX512_BOTH(10) AVX512_BOTH(11) AVX512_BOTH(12) AVX512_BOTH(13) AVX512_BOTH(14)
AVX2(1) AVX2(2) AVX2(3) AVX2(4) AVX2(5) AVX2(6)
SSE2(1) SSE2(2)

static void avx512(const tw_tile *t)
{
    static tw_tile_fn *const kernels[TW_TILE_MAX_VECTORS][TW_TILE_MAX_PIXELS] = {
        {avx512_1x1, avx512_2x1, avx512_3x1, avx512_4x1, avx512_5x1, avx512_6x1, avx512_7x1, avx512_8x1, avx512_9x1,
         avx512_10x1, avx512_11x1, avx512_12x1, avx512_13x1, avx512_14x1},
        {avx512_1x2, avx512_2x2, avx512_3x2, avx512_4x2, avx512_5x2, avx512_6x2, avx512_7x2, avx512_8x2, avx512_9x2,
         avx512_10x2, avx512_11x2, avx512_12x2, avx512_13x2, avx512_14x2}};
    kernels[t->vectors - 1][t->pixels - 1](t);
}

static void avx2(const tw_tile *t)
{
    static tw_tile_fn *const kernels[] = {avx2_1, avx2_2, avx2_3, avx2_4, avx2_5, avx2_6};
    kernels[t->pixels - 1](t);
}

static void sse2(const tw_tile *t)
{
    static tw_tile_fn *const kernels[] = {sse2_1, sse2_2};
    kernels[t->pixels - 1](t);
}
/* clang-format on */

tw_tile_fn *tw_tile_for(tw_isa isa)
{
    return isa == TW_ISA_AVX512 ? avx512 : isa == TW_ISA_AVX2 ? avx2 : sse2;
}

int tw_tile_pixels(tw_isa isa, int vectors)
{
    (void)vectors;
    return isa == TW_ISA_AVX512 ? 14 : isa == TW_ISA_AVX2 ? 6 : 2;
}

#else

#define LANES 4
#define NAMED(name) name##_neon
#include "devices/cpu/tile_kernel.h"

/* clang-format off */
#define NEON(p)                                                                                                        \
    UNCHECKED static void neon_##p(const tw_tile *t) { tile_neon(t, (tile_size){p, 1}); }

NEON(1) NEON(2) NEON(3) NEON(4) NEON(5)

static void neon(const tw_tile *t)
{
    static tw_tile_fn *const kernels[] = {neon_1, neon_2, neon_3, neon_4, neon_5};
    kernels[t->pixels - 1](t);
}
/* clang-format on */

tw_tile_fn *tw_tile_for(tw_isa isa)
{
    (void)isa;
    return neon;
}

int tw_tile_pixels(tw_isa isa, int vectors)
{
    (void)isa, (void)vectors;
    return 5;
}

#endif

int tw_tile_vectors(tw_isa isa)
{
    return isa == TW_ISA_AVX512 ? 2 : 1;
}
