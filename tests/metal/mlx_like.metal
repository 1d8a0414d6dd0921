// Kernels in the manner of array frameworks: operators as structs, templates with host names, strided loads.
#include <metal_stdlib>
#include <metal_simdgroup>
using namespace metal;

#define instantiate(name, type, op)                                                                                    \
    template [[host_name(name)]] [[kernel]] void binary<type, op>(device const type *a [[buffer(0)]],                  \
                                                                  device const type *b [[buffer(1)]],                  \
                                                                  device type *c [[buffer(2)]],                        \
                                                                  constant uint &size [[buffer(3)]],                   \
                                                                  uint index [[thread_position_in_grid]]);

struct Add {
    template <typename T> T operator()(T x, T y) const { return x + y; }
};
struct Maximum {
    template <typename T> T operator()(T x, T y) const { return metal::max(x, y); }
};
struct LogAddExp {
    template <typename T> T operator()(T x, T y) const
    {
        T high = metal::max(x, y), low = metal::min(x, y);
        return high + metal::log(T(1) + metal::exp(low - high));
    }
};

template <typename T, typename Op>
[[kernel]] void binary(device const T *a [[buffer(0)]], device const T *b [[buffer(1)]], device T *c [[buffer(2)]],
                       constant uint &size [[buffer(3)]], uint index [[thread_position_in_grid]])
{
    if (index < size) c[index] = Op()(a[index], b[index]);
}
instantiate("add_float32", float, Add)
instantiate("add_float16", half, Add)
instantiate("maximum_float32", float, Maximum)
instantiate("maximum_int32", int, Maximum)
instantiate("logaddexp_float32", float, LogAddExp)

template <typename U> struct Limits {
    static constant constexpr const U lowest = metal::numeric_limits<U>::lowest();
};

template <typename U> struct Max {
    static constexpr constant U init = Limits<U>::lowest;
    template <typename T> METAL_FUNC U operator()(T x, U y) thread const { return x > y ? x : y; }
    U simd_reduce(U value) { return simd_max(value); }
};
template <typename U> struct Sum {
    static constexpr constant U init = U(0);
    template <typename T> METAL_FUNC U operator()(T x, U y) thread const { return x + y; }
    U simd_reduce(U value) { return simd_sum(value); }
};

// One threadgroup a row; each thread takes N_READS values at a time, then simdgroups and a last simdgroup reduce.
template <typename T, typename U, typename Op, int N_READS = 4>
[[kernel]] void row_reduce(device const T *in [[buffer(0)]], device U *out [[buffer(1)]],
                           constant const uint &row_size [[buffer(2)]], uint gid [[threadgroup_position_in_grid]],
                           uint lid [[thread_position_in_threadgroup]], uint lsize [[threads_per_threadgroup]],
                           uint lane [[thread_index_in_simdgroup]], uint group [[simdgroup_index_in_threadgroup]],
                           uint groups [[simdgroups_per_threadgroup]])
{
    Op op;
    threadgroup U partial[32];
    U total = Op::init;
    in += gid * size_t(row_size);
    for (uint block = 0; block < row_size; block += lsize * N_READS) {
        uint start = block + lid * N_READS;
#pragma clang loop unroll(full)
        for (int i = 0; i < N_READS; i++)
            if (start + i < row_size) total = op(static_cast<U>(in[start + i]), total);
    }
    total = op.simd_reduce(total);
    if (lane == 0) partial[group] = total;
    threadgroup_barrier(mem_flags::mem_threadgroup);
    if (group == 0) {
        total = lane < groups ? partial[lane] : Op::init;
        total = op.simd_reduce(total);
        if (lid == 0) out[gid] = total;
    }
}
#define instantiate_reduce(name, T, U, op)                                                                             \
    template [[host_name(name)]] [[kernel]] void row_reduce<T, U, op<U>>(                                              \
        device const T *in [[buffer(0)]], device U *out [[buffer(1)]], constant const uint &row_size [[buffer(2)]],    \
        uint gid [[threadgroup_position_in_grid]], uint lid [[thread_position_in_threadgroup]],                        \
        uint lsize [[threads_per_threadgroup]], uint lane [[thread_index_in_simdgroup]],                               \
        uint group [[simdgroup_index_in_threadgroup]], uint groups [[simdgroups_per_threadgroup]]);
instantiate_reduce("row_reduce_sum_float32", float, float, Sum)
instantiate_reduce("row_reduce_sum_float16", half, float, Sum)
instantiate_reduce("row_reduce_max_float32", float, float, Max)

// A strided copy with the location found from shape and strides.
METAL_FUNC size_t location(uint3 at, constant const size_t strides[3])
{
    return at.x * strides[2] + at.y * strides[1] + at.z * strides[0];
}
template <typename T>
[[kernel]] void copy_strided(device const T *src [[buffer(0)]], device T *dst [[buffer(1)]],
                             constant const size_t strides[3] [[buffer(2)]], uint3 index [[thread_position_in_grid]],
                             uint3 grid [[threads_per_grid]])
{
    size_t to = index.x + size_t(grid.x) * (index.y + size_t(grid.y) * index.z);
    dst[to] = src[location(index, strides)];
}
template [[host_name("copy_strided_float32")]] [[kernel]] void
copy_strided<float>(device const float *src [[buffer(0)]], device float *dst [[buffer(1)]],
                    constant const size_t strides[3] [[buffer(2)]], uint3 index [[thread_position_in_grid]],
                    uint3 grid [[threads_per_grid]]);

// softmax of a row in one simdgroup's registers.
template <typename T, typename AccT = float>
[[kernel]] void softmax_row(const device T *in, device T *out, constant int &axis_size,
                            uint gid [[threadgroup_position_in_grid]], uint lane [[thread_index_in_simdgroup]])
{
    constexpr int N = 4;
    AccT ld[N];
    in += gid * uint(axis_size) + lane * N;
    out += gid * uint(axis_size) + lane * N;
    for (int i = 0; i < N; i++) ld[i] = int(lane) * N + i < axis_size ? AccT(in[i]) : Limits<AccT>::lowest;
    AccT top = Limits<AccT>::lowest;
    for (int i = 0; i < N; i++) top = (top < ld[i]) ? ld[i] : top;
    top = simd_max(top);
    AccT normalizer = 0;
    for (int i = 0; i < N; i++) {
        ld[i] = fast::exp(ld[i] - top);
        normalizer += ld[i];
    }
    normalizer = 1 / simd_sum(normalizer);
    for (int i = 0; i < N; i++)
        if (int(lane) * N + i < axis_size) out[i] = T(ld[i] * normalizer);
}
template [[host_name("softmax_float32")]] [[kernel]] decltype(softmax_row<float>) softmax_row<float>;
