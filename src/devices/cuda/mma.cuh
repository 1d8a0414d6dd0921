/* Tensor cores as warps see them on compute capability 8.0 and later: fragments read from shared memory, the matrix
 * instruction mma.sync (PTX ISA, "Warp-level matrix instructions"), and storing what it left.
 *
 * Everything is counted in bytes, so that one code serves 2-byte types and tf32. A tile in shared memory has rows of
 * 128 bytes along k (64 numbers of 2 bytes, 32 of tf32) as 8 chunks of 16. Chunk c of row r lies at place c ^ (r % 8):
 * the 8 rows of a chunk that one phase of ldmatrix reads, and the 8 chunks of a row that 8 neighbouring threads write,
 * each cover all 32 banks. One step of mma takes 32 bytes of k: 16 numbers of 2 bytes or 8 of tf32. ldmatrix hands
 * lane l the 4 bytes at 4 (l % 4) of row l / 4 of each 8 x 16-byte matrix, which is where both m16n8k16 and m16n8k8.tf32
 * want them. */
#ifndef TW_DEVICES_CUDA_MMA_CUH
#define TW_DEVICES_CUDA_MMA_CUH

#include "devices/cuda/async.cuh"

#include <type_traits>

enum { TW_MMA_ROW = 128, TW_MMA_CHUNK = 16, TW_MMA_CHUNKS = TW_MMA_ROW / TW_MMA_CHUNK, TW_MMA_STEP = 32 };

/* Where a chunk of a row lies in a tile. */
__device__ static inline unsigned tw_mma_place(unsigned row, unsigned chunk)
{
    return row * TW_MMA_ROW + ((chunk ^ (row % TW_MMA_CHUNKS)) * TW_MMA_CHUNK);
}

#if __CUDA_ARCH__ >= 800

/* Four 8 x 16-byte matrices; lane l gives the address of row l % 8 of matrix l / 8. */
__device__ static inline void tw_load_matrices(unsigned (&to)[4], unsigned address)
{
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
                 : "r"(address)
                 : "memory");
}

/* ---- sum[16][8] += a[16][k] * b[8][k]^T, with 32 bytes of k ---- */

__device__ static inline void tw_mma(__half, float (&sum)[4], const unsigned (&a)[4], const unsigned *b)
{
    asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
        "{%0, %1, %2, %3};"
        : "+f"(sum[0]), "+f"(sum[1]), "+f"(sum[2]), "+f"(sum[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}
__device__ static inline void tw_mma(__nv_bfloat16, float (&sum)[4], const unsigned (&a)[4], const unsigned *b)
{
    asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
        "{%0, %1, %2, %3};"
        : "+f"(sum[0]), "+f"(sum[1]), "+f"(sum[2]), "+f"(sum[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}
__device__ static inline void tw_mma(float, float (&sum)[4], const unsigned (&a)[4], const unsigned *b)
{
    asm("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
        "{%0, %1, %2, %3};"
        : "+f"(sum[0]), "+f"(sum[1]), "+f"(sum[2]), "+f"(sum[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

/* The tensor core drops a float's lower 13 bits, so what it is given is half a unit of tf32 more, as near as one
 * multiplication comes to that: 0.35 units for a mantissa of 1, 0.7 for one of 2, half on average over sizes, so that sums of
 * positive numbers do not shrink from layer to layer. Numbers of tf32 stay as they are. cvt.rna would be exact, but costs
 * a comparison and a predicated addition each, one after the other, as long as the products of a small tile. */
template <class T> __device__ static inline void tw_mma_round(T, unsigned (&)[4])
{
}
__device__ static inline void tw_mma_round(float, unsigned (&a)[4])
{
#pragma unroll
    for (int i = 0; i < 4; i++) a[i] = __float_as_uint(__uint_as_float(a[i]) * (1 + 0.7f * 0x1p-11f));
}

#endif

/* ---- storing a warp's sums ----
 *
 * A warp has 16 rows (pixels) of NJ fragments of 8 columns (channels), as mma.sync and wgmma leave them: lane l has columns
 * 2 (l % 4) and the next of rows l / 4 and 8 further. Rows of 128 bytes go through 2 KiB of shared memory, swizzled as
 * above, so that neighbouring lanes store 16 bytes each of one row. Where a residual is added, what goes through is
 * float. */
enum { TW_MMA_STAGING = 16 * TW_MMA_ROW };

template <class T> struct tw_mma_out {
    T *to;             /* the first row's first column */
    const T *residual; /* the same place, or null */
    size_t pitch;      /* from a row to the next */
    size_t second;     /* from the first row to the ninth */
    int upper, lower;  /* rows that are there, of the first eight and of the last */
    int columns;       /* that are there; whole 16 bytes */
    float low, high;   /* of the activation */
};

#if __CUDA_ARCH__ >= 800

/* NaN stays. */
__device__ static inline float tw_clamp(float v, float low, float high)
{
    asm("max.NaN.f32 %0, %0, %1;\n\tmin.NaN.f32 %0, %0, %2;" : "+f"(v) : "f"(low), "f"(high));
    return v;
}

__device__ static inline void tw_stage(unsigned at, float x, float y, float)
{
    asm volatile("st.shared.v2.f32 [%0], {%1, %2};" ::"r"(at), "f"(x), "f"(y) : "memory");
}
template <class T> __device__ static inline void tw_stage(unsigned at, float x, float y, T)
{
    const T pair[2] = {tw_narrow<T>(x), tw_narrow<T>(y)};
    unsigned bits;
    memcpy(&bits, pair, sizeof bits);
    asm volatile("st.shared.u32 [%0], %1;" ::"r"(at), "r"(bits) : "memory");
}
__device__ static inline int4 tw_staged(unsigned at)
{
    int4 v;
    asm volatile("ld.shared.v4.s32 {%0, %1, %2, %3}, [%4];"
                 : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w)
                 : "r"(at)
                 : "memory");
    return v;
}

/* `staging`: the shared address of the warp's 2 KiB. Places are found anew in each turn, since registers are full of sums. */
template <class T, bool adds, int NJ>
__device__ static inline void tw_mma_store(const float (&sums)[NJ][4], unsigned staging, const tw_mma_out<T> &out)
{
    using S = typename std::conditional<adds, float, T>::type;
    constexpr int most = 16 / (int)sizeof(S), J = NJ < most ? NJ : most; /* fragments in a row of 128 bytes */
    constexpr int width = 16 / (int)sizeof(T), in_row = J * 8 / width, items = 16 * in_row / 32;
    constexpr int rows_apart = 32 / in_row; /* of a lane's items; divides 8 */
    const int lane = threadIdx.x % 32;
    unsigned row = lane / in_row, column = lane % in_row * width; /* of the first item */
    auto there = [&](int i, int first) {
        const int line = (int)row + i * rows_apart % 8;
        return line < (i * rows_apart < 8 ? out.upper : out.lower) && first + (int)column < out.columns;
    };
    auto place = [&](int i, int first) {
        return (row + i * rows_apart % 8) * out.pitch + (i * rows_apart < 8 ? 0 : out.second) + first + column;
    };
#pragma unroll
    for (int turn = 0; turn < NJ / J; turn++) {
        const int first = turn * J * 8;
        asm volatile("" : "+r"(staging), "+r"(row), "+r"(column));
        if (turn > 0) __syncwarp();
        int4 residual[items] = {};
        if constexpr (adds) {
#pragma unroll
            for (int i = 0; i < items; i++)
                if (there(i, first)) residual[i] = *(const int4 *)(out.residual + place(i, first));
        }
#pragma unroll
        for (int half = 0; half < 2; half++) {
            /* Chunk c of a row lies at c ^ (row % 8): in the address, bits 4 to 6. */
            const unsigned to = staging + tw_mma_place(lane / 4 + 8 * half, 0);
#pragma unroll
            for (int j = 0; j < J; j++) {
                float x = sums[turn * J + j][2 * half], y = sums[turn * J + j][2 * half + 1];
                if (!adds) x = tw_clamp(x, out.low, out.high), y = tw_clamp(y, out.low, out.high);
                const unsigned at = (j * 8 + lane % 4 * 2) * sizeof(S);
                tw_stage((to ^ (at & 0x70)) + at % 16, x, y, S());
            }
        }
        __syncwarp();
#pragma unroll
        for (int i = 0; i < items; i++) {
            T *const at = out.to + place(i, first);
            const unsigned from = staging + tw_mma_place(row + i * rows_apart, 0), chunk = column * sizeof(S);
            if constexpr (adds) {
                tw_pack<T> sum = tw_pack<T>::load((const T *)&residual[i]);
#pragma unroll
                for (int k = 0; k < width; k += 4) {
                    const int4 v = tw_staged(from ^ (chunk + k * 4));
                    sum.v[k] += __int_as_float(v.x), sum.v[k + 1] += __int_as_float(v.y);
                    sum.v[k + 2] += __int_as_float(v.z), sum.v[k + 3] += __int_as_float(v.w);
                }
#pragma unroll
                for (int k = 0; k < width; k++) sum.v[k] = tw_clamp(sum.v[k], out.low, out.high);
                if (there(i, first)) sum.store(at);
            } else {
                const int4 raw = tw_staged(from ^ chunk);
                if (there(i, first)) *(int4 *)at = raw;
            }
        }
    }
    __syncwarp();
}

#endif

#endif
