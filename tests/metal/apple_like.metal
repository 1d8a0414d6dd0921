// Kernels in the manner of Apple's samples and of C++ hosts: no [[buffer(n)]] at all, structs copied from and to device
// memory, reductions in threadgroup memory, two-dimensional grids, simdgroup matrix products.
#include <metal_stdlib>
#include <metal_simdgroup_matrix>
using namespace metal;

kernel void add_arrays(device const float *inA, device const float *inB, device float *result,
                       uint index [[thread_position_in_grid]])
{
    result[index] = inA[index] + inB[index];
}

struct Particle {
    packed_float3 position;
    float mass;
    float3 velocity;
};
struct Uniforms {
    float dt;
    uint count;
};
static float3 attraction(Particle one, Particle other)
{
    float3 away = float3(other.position) - float3(one.position);
    float square = dot(away, away) + 0.01f;
    return away * (other.mass * rsqrt(square) / square);
}
kernel void step_particles(device Particle *particles [[buffer(0)]], const device Particle *before [[buffer(1)]],
                           constant Uniforms &uniforms [[buffer(2)]], uint id [[thread_position_in_grid]])
{
    Uniforms u = uniforms;
    if (id >= u.count) return;
    Particle p = before[id];
    float3 force = float3(0.0);
    for (uint i = 0; i < u.count; i++) {
        if (i == id) continue;
        force += attraction(p, before[i]);
    }
    p.velocity += force * u.dt;
    p.position = float3(p.position) + p.velocity * u.dt;
    particles[id] = p;
}

kernel void reduce(const device float *input [[buffer(0)]], device atomic_float *total [[buffer(1)]],
                   constant uint &count [[buffer(2)]], threadgroup float *shared [[threadgroup(0)]],
                   uint gid [[thread_position_in_grid]], uint tid [[thread_position_in_threadgroup]],
                   uint size [[threads_per_threadgroup]])
{
    shared[tid] = gid < count ? input[gid] : 0.0;
    threadgroup_barrier(mem_flags::mem_threadgroup);
    for (uint s = size / 2; s > 0; s >>= 1) {
        if (tid < s) shared[tid] += shared[tid + s];
        threadgroup_barrier(mem_flags::mem_threadgroup);
    }
    if (tid == 0) atomic_fetch_add_explicit(total, shared[0], memory_order_relaxed);
}

kernel void histogram(const device uchar4 *pixels [[buffer(0)]], device atomic_uint *bins [[buffer(1)]],
                      uint2 at [[thread_position_in_grid]], uint2 size [[threads_per_grid]],
                      uint t [[thread_index_in_threadgroup]])
{
    threadgroup atomic_uint local_bins[16];
    if (t < 16) atomic_store_explicit(&local_bins[t], 0, memory_order_relaxed);
    threadgroup_barrier(mem_flags::mem_threadgroup);
    uchar4 pixel = pixels[at.y * size.x + at.x];
    uint luma = (uint(pixel.r) * 77 + uint(pixel.g) * 150 + uint(pixel.b) * 29) >> 8;
    atomic_fetch_add_explicit(&local_bins[luma / 16], 1u, memory_order_relaxed);
    threadgroup_barrier(mem_flags::mem_threadgroup);
    if (t < 16) {
        uint n = atomic_load_explicit(&local_bins[t], memory_order_relaxed);
        if (n != 0) atomic_fetch_add_explicit(bins + t, n, memory_order_relaxed);
    }
}

// c = a b, a of m x k and b of k x n, multiples of 16: each simdgroup makes 16x16 by four 8x8 products at a time.
constant constexpr int TILES = 2;
kernel void gemm(const device float *a [[buffer(0)]], const device float *b [[buffer(1)]],
                 device float *c [[buffer(2)]],
                 constant uint3 &mnk [[buffer(3)]], uint2 group [[threadgroup_position_in_grid]])
{
    simdgroup_float8x8 sums[TILES][TILES];
    for (int i = 0; i < TILES; i++)
        for (int j = 0; j < TILES; j++) sums[i][j] = make_filled_simdgroup_matrix<float, 8, 8>(0.0f);
    const uint n = mnk.y, k = mnk.z;
    a += group.y * 16 * k;
    b += group.x * 16;
    for (uint at = 0; at < k; at += 8) {
        simdgroup_float8x8 left[TILES], right[TILES];
        for (int i = 0; i < TILES; i++) {
            simdgroup_load(left[i], a + i * 8 * k + at, k);
            simdgroup_load(right[i], b, n, ulong2(i * 8, at));
        }
        for (int i = 0; i < TILES; i++)
            for (int j = 0; j < TILES; j++)
                simdgroup_multiply_accumulate(sums[i][j], left[i], right[j], sums[i][j]);
    }
    c += group.y * 16 * n + group.x * 16;
    for (int i = 0; i < TILES; i++)
        for (int j = 0; j < TILES; j++) simdgroup_store(sums[i][j], c + i * 8 * n + j * 8, n);
}

// The half of a matrix product through threadgroup memory, with a functor for the epilogue.
template <typename Out> struct Scale {
    float by;
    Out operator()(float x) const { return Out(x * by); }
};
template <typename T, int TILE>
kernel void tiled_gemm(const device T *a [[buffer(0)]], const device T *b [[buffer(1)]], device T *c [[buffer(2)]],
                       constant uint &n [[buffer(3)]], uint2 at [[thread_position_in_grid]],
                       uint2 t [[thread_position_in_threadgroup]])
{
    threadgroup T left[TILE][TILE + 1], right[TILE][TILE + 1];
    float sum = 0;
    for (uint k = 0; k < n; k += TILE) {
        left[t.y][t.x] = at.y < n && k + t.x < n ? a[at.y * n + k + t.x] : T(0);
        right[t.y][t.x] = k + t.y < n && at.x < n ? b[(k + t.y) * n + at.x] : T(0);
        threadgroup_barrier(mem_flags::mem_threadgroup);
        for (int i = 0; i < TILE; i++) sum = fma(float(left[t.y][i]), float(right[i][t.x]), sum);
        threadgroup_barrier(mem_flags::mem_threadgroup);
    }
    Scale<T> scale{1.0f};
    if (at.x < n && at.y < n) c[at.y * n + at.x] = scale(sum);
}
template [[host_name("tiled_gemm_f32")]] kernel void tiled_gemm<float, 8>(const device float *, const device float *,
                                                                          device float *, constant uint &, uint2,
                                                                          uint2);
template [[host_name("tiled_gemm_f16")]] kernel void tiled_gemm<half, 8>(const device half *, const device half *,
                                                                         device half *, constant uint &, uint2, uint2);
