/* Tensor cores as warps see them on compute capability 8.0 and later: asynchronous 16-byte copies into shared memory,
 * fragments read from there, and the matrix instruction mma.sync (PTX ISA, "Warp-level matrix instructions").
 *
 * Everything is counted in bytes, so that one code serves 2-byte types and tf32. A tile in shared memory has rows of
 * 128 bytes along k (64 numbers of 2 bytes, 32 of tf32) as 8 chunks of 16. Chunk c of row r lies at place c ^ (r % 8):
 * the 8 rows of a chunk that one phase of ldmatrix reads, and the 8 chunks of a row that 8 neighbouring threads write,
 * each cover all 32 banks. One step of mma takes 32 bytes of k: 16 numbers of 2 bytes or 8 of tf32. ldmatrix hands
 * lane l the 4 bytes at 4 (l % 4) of row l / 4 of each 8 x 16-byte matrix, which is where both m16n8k16 and m16n8k8.tf32
 * want them. */
#ifndef TW_DEVICES_CUDA_MMA_CUH
#define TW_DEVICES_CUDA_MMA_CUH

#include "devices/cuda/kernel.h"

enum { TW_MMA_ROW = 128, TW_MMA_CHUNK = 16, TW_MMA_CHUNKS = TW_MMA_ROW / TW_MMA_CHUNK, TW_MMA_STEP = 32 };

/* Where a chunk of a row lies in a tile. */
__device__ static inline unsigned tw_mma_place(unsigned row, unsigned chunk)
{
    return row * TW_MMA_ROW + ((chunk ^ (row % TW_MMA_CHUNKS)) * TW_MMA_CHUNK);
}

__device__ static inline unsigned tw_shared_address(const void *pointer)
{
    return (unsigned)__cvta_generic_to_shared(pointer);
}

/* 16 bytes into shared memory, past L1; zeros where there is nothing to read (then `from` only has to be valid). */
__device__ static inline void tw_copy_async(unsigned to, const void *from, bool there)
{
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(to), "l"(from), "r"(there ? 16 : 0) : "memory");
}
__device__ static inline void tw_copy_commit(void)
{
    asm volatile("cp.async.commit_group;" ::: "memory");
}
/* Until at most `pending` of the groups committed last are under way. */
template <int pending> __device__ static inline void tw_copy_wait(void)
{
    asm volatile("cp.async.wait_group %0;" ::"n"(pending) : "memory");
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

/* A float read from shared memory becomes a tf32 number; 2-byte types are there already. */
template <class T> __device__ static inline void tw_mma_round(T, unsigned (&)[4])
{
}
__device__ static inline void tw_mma_round(float, unsigned (&a)[4])
{
#pragma unroll
    for (int i = 0; i < 4; i++) asm("cvt.rna.tf32.f32 %0, %0;" : "+r"(a[i]));
}

#endif

/* ---- fragments of sums, whose lane l has columns 2 (l % 4) and the next of each group of 8 ----
 *
 * Four neighbouring lanes exchange theirs of `groups` groups, 4 (2), so that each can store 16 bytes of 2-byte (4-byte)
 * numbers: lane l ends with the numbers of group l % groups, in the order of the lanes: with 4 groups all 8, with 2 the four
 * from column l / 2 % 2 * 4 on. */
template <int groups> __device__ static inline void tw_mma_exchange(float2 (&v)[groups])
{
#pragma unroll
    for (int bit = 1; bit < groups; bit *= 2) {
        const bool upper = threadIdx.x & bit;
#pragma unroll
        for (int low = 0; low < groups; low++) {
            if (low & bit) continue;
            const float2 mine = upper ? v[low] : v[low + bit];
            const float2 other = make_float2(__shfl_xor_sync(~0u, mine.x, bit), __shfl_xor_sync(~0u, mine.y, bit));
            if (upper)
                v[low] = other;
            else
                v[low + bit] = other;
        }
    }
}

/* ---- clusters: blocks that read one another's shared memory, compute capability 9.0 ---- */

/* All blocks of the cluster; what was written to shared memory before is seen by all after. */
__device__ static inline void tw_cluster_sync(void)
{
#if __CUDA_ARCH__ >= 900
    asm volatile("barrier.cluster.arrive.release.aligned;\n\tbarrier.cluster.wait.acquire.aligned;" ::: "memory");
#endif
}

/* 4 floats at the same place of a block's shared memory. */
__device__ static inline float4 tw_cluster_load(const float4 *from, unsigned rank)
{
    float4 v = {};
#if __CUDA_ARCH__ >= 900
    unsigned address;
    asm volatile("mapa.shared::cluster.u32 %0, %1, %2;" : "=r"(address) : "r"(tw_shared_address(from)), "r"(rank));
    asm volatile("ld.shared::cluster.v4.f32 {%0, %1, %2, %3}, [%4];"
                 : "=f"(v.x), "=f"(v.y), "=f"(v.z), "=f"(v.w)
                 : "r"(address)
                 : "memory");
#endif
    return v;
}

#endif
