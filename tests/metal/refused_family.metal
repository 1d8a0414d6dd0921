// Refused on apple6, which has permutes but no reductions, matrices and floating-point atomics.
#include <metal_stdlib>
using namespace metal;

kernel void reduces(device float *out [[buffer(0)]], uint i [[thread_position_in_grid]])
{
    float v = simd_shuffle_xor(out[i], 1);
    out[i] = simd_sum(v); // refused: GPU family
}
kernel void multiplies(device float *out [[buffer(0)]])
{
    simdgroup_float8x8 m = make_filled_simdgroup_matrix<float, 8>(1.0f); // refused: GPU family
    simdgroup_multiply(m, m, m); // refused: GPU family
    simdgroup_store(m, out, 8); // refused: GPU family
}
kernel void adds(device float *out [[buffer(0)]], uint i [[thread_position_in_grid]])
{
    device atomic_float *sum = (device atomic_float *)out; // refused: GPU family
    atomic_fetch_add_explicit(&sum[i], 1.0f, memory_order_relaxed);
}
