/* The body of the micro-kernel of tile.h. tile.c includes this once for each width of register, with
 *
 *   LANES          floats in a register
 *   NAMED(name)    the name of this width's version
 *
 * A sum that stays in a register over a loop must have the register's own type: gcc keeps a v16 that is wider than
 * the machine's registers in memory from one iteration to the next. The loops over pixels and registers have constant
 * bounds where the body is inlined and unroll entirely, so that `sum` never becomes an array in memory. */

enum { NAMED(REGISTERS) = TW_TILE_MAX_VECTORS * TW_BLOCK / LANES };

typedef float NAMED(vec) __attribute__((vector_size(LANES * 4)));
typedef int32_t NAMED(mask) __attribute__((vector_size(LANES * 4)));

KERNEL_INLINE NAMED(vec) NAMED(load)(const float *p)
{
    NAMED(vec) v;
    memcpy(&v, p, sizeof v);
    return v;
}

KERNEL_INLINE void NAMED(store)(float *p, NAMED(vec) v)
{
    memcpy(p, &v, sizeof v);
}

/* NaN passes: v < 0 and v > 6 are false for it. */
KERNEL_INLINE NAMED(vec) NAMED(activate)(NAMED(vec) v, int activation)
{
    const NAMED(vec) zero = {0}, six = zero + 6.0f;
    v = (NAMED(vec))((NAMED(mask))v & ~(NAMED(mask))(v < zero));
    if (activation != TW_ACT_RELU6) return v;
    NAMED(mask) above = (NAMED(mask))(v > six);
    return (NAMED(vec))(((NAMED(mask))v & ~above) | ((NAMED(mask))six & above));
}

/* sum[p][r] += a[p * 16 + k] * b[k][r] for k < depth; returns where the next tap's rows begin. */
KERNEL_INLINE const float *NAMED(tap)(NAMED(vec) sum[][NAMED(REGISTERS)], const float *a, const float *b, int depth,
                                      tile_size size)
{
    int registers = size.vectors * TW_BLOCK / LANES;
    UNROLL_BY(4)
    for (int k = 0; k < depth; k++, b += registers * LANES) {
        NAMED(vec) row[NAMED(REGISTERS)];
        TW_UNROLL
        for (int r = 0; r < registers; r++) row[r] = NAMED(load)(b + r * LANES);
        TW_UNROLL
        for (int p = 0; p < size.pixels; p++) {
            TW_UNROLL
            for (int r = 0; r < registers; r++) sum[p][r] += row[r] * a[p * TW_BLOCK + k];
        }
    }
    return b;
}

/* The tile as it lies in memory: where register r of pixel p goes. */
KERNEL_INLINE ptrdiff_t NAMED(at)(const tw_tile *t, int p, int r)
{
    int vector = r * LANES / TW_BLOCK;
    return p * t->c_pixel + vector * t->c_vector + (r * LANES - vector * TW_BLOCK);
}

/* Adds source, which lies as c does. */
KERNEL_INLINE void NAMED(add)(NAMED(vec) sum[][NAMED(REGISTERS)], const tw_tile *t, const float *source, tile_size size)
{
    TW_UNROLL
    for (int p = 0; p < size.pixels; p++) {
        TW_UNROLL
        for (int r = 0; r < size.vectors * TW_BLOCK / LANES; r++) sum[p][r] += NAMED(load)(source + NAMED(at)(t, p, r));
    }
}

KERNEL_INLINE void NAMED(tile)(const tw_tile *t, tile_size size)
{
    const int registers = size.vectors * TW_BLOCK / LANES;
    NAMED(vec) sum[TW_TILE_MAX_PIXELS][NAMED(REGISTERS)] = {0};

    const float *b = t->b;
    for (int i = 0; i < t->full; i++) {
        const float *next = t->a + t->offsets[i + 1 < t->full ? i + 1 : i]; /* far away where a is in place */
        TW_UNROLL
        for (int p = 0; p < size.pixels; p++) __builtin_prefetch(next + p * TW_BLOCK);
        b = NAMED(tap)(sum, t->a + t->offsets[i], b, TW_BLOCK, size);
    }
    for (int i = t->full; i < t->full + t->tails; i++) b = NAMED(tap)(sum, t->a + t->offsets[i], b, t->tail, size);

    if (t->last < TW_BLOCK) { /* the sums in memory, for the epilogue that goes lane by lane */
        float sums[TW_TILE_MAX_PIXELS * TW_TILE_MAX_VECTORS * TW_BLOCK];
        TW_UNROLL
        for (int p = 0; p < size.pixels; p++) {
            TW_UNROLL
            for (int r = 0; r < registers; r++) NAMED(store)(sums + (r * TW_TILE_MAX_PIXELS + p) * LANES, sum[p][r]);
        }
        finish_part(t, sums, LANES);
        return;
    }
    if (t->accumulate) NAMED(add)(sum, t, t->c, size);
    if (t->bias) {
        TW_UNROLL
        for (int p = 0; p < size.pixels; p++) {
            TW_UNROLL
            for (int r = 0; r < registers; r++) sum[p][r] += NAMED(load)(t->bias + r * LANES);
        }
    }
    if (t->residual) NAMED(add)(sum, t, t->residual, size);
    if (t->activation != TW_ACT_NONE) {
        TW_UNROLL
        for (int p = 0; p < size.pixels; p++) {
            TW_UNROLL
            for (int r = 0; r < registers; r++) sum[p][r] = NAMED(activate)(sum[p][r], t->activation);
        }
    }
    TW_UNROLL
    for (int p = 0; p < size.pixels; p++) {
        TW_UNROLL
        for (int r = 0; r < registers; r++) NAMED(store)(t->c + NAMED(at)(t, p, r), sum[p][r]);
    }
}

#undef LANES
#undef NAMED
