// Simdgroup operations and products of simdgroup matrices as warps of CUDA make them, by shuffles alone. What it needs
// of CUDA is __shfl_sync, __ballot_sync and __syncwarp, so that a test can run the same text on the CPU.
//
// All lanes that the simdgroup has take part in an operation. Lanes that have returned are left out of reductions; one
// that only skips an operation that the others run is the kernel's fault, which metal-sim reports.
#pragma once
#include "msl/math.h"
#include "msl/matrix.h"

namespace msl
{
MSL_DEVICE_ONLY uint32_t lane();
MSL_DEVICE_ONLY inline uint32_t lane_of_32()
{
    return lane();
}
// The lanes that this thread's simdgroup has: all 32, or fewer in the last one of a threadgroup.
MSL_DEVICE_ONLY uint32_t members();

template <class T> MSL_DEVICE_ONLY T from_lane(const T &value, uint32_t lane)
{
    constexpr int WORDS = int((sizeof(T) + 3) / 4);
    uint32_t words[WORDS] = {};
    memcpy((void *)words, (const void *)&value, sizeof value);
    for (int i = 0; i < WORDS; i++) words[i] = __shfl_sync(members(), words[i], int(lane % 32));
    T other;
    memcpy((void *)&other, (const void *)words, sizeof other);
    return other;
}
MSL_DEVICE_ONLY inline uint32_t live()
{
    return __ballot_sync(members(), 1);
}
} // namespace msl

namespace metal
{
MSL_DEVICE_ONLY inline void simdgroup_barrier(mem_flags)
{
    __syncwarp(::msl::members());
}

template <class T> MSL_DEVICE_ONLY T simd_shuffle(T value, ushort lane)
{
    return ::msl::from_lane(value, lane);
}
template <class T> MSL_DEVICE_ONLY T simd_broadcast(T value, ushort lane)
{
    return ::msl::from_lane(value, lane);
}
template <class T> MSL_DEVICE_ONLY T simd_broadcast_first(T value)
{
    return ::msl::from_lane(value, ctz(uint(::msl::live())));
}
template <class T> MSL_DEVICE_ONLY T simd_shuffle_xor(T value, ushort mask)
{
    return ::msl::from_lane(value, ::msl::lane() ^ mask);
}
template <class T> MSL_DEVICE_ONLY T simd_shuffle_down(T value, ushort delta)
{
    T other = ::msl::from_lane(value, ::msl::lane() + delta);
    return ::msl::lane() + delta < 32 ? other : value;
}
template <class T> MSL_DEVICE_ONLY T simd_shuffle_up(T value, ushort delta)
{
    T other = ::msl::from_lane(value, ::msl::lane() - delta);
    return ::msl::lane() >= delta ? other : value;
}
template <class T> MSL_DEVICE_ONLY T simd_shuffle_and_fill_down(T value, T fill, ushort delta)
{
    T other = ::msl::from_lane(value, ::msl::lane() + delta), filling = ::msl::from_lane(fill, ::msl::lane() + delta);
    return ::msl::lane() + delta < 32 ? other : filling;
}
template <class T> MSL_DEVICE_ONLY T simd_shuffle_and_fill_up(T value, T fill, ushort delta)
{
    T other = ::msl::from_lane(value, ::msl::lane() - delta), filling = ::msl::from_lane(fill, ::msl::lane() - delta);
    return ::msl::lane() >= delta ? other : filling;
}
template <class T> MSL_DEVICE_ONLY T simd_shuffle_rotate_down(T value, ushort delta)
{
    return ::msl::from_lane(value, ::msl::lane() + delta);
}
template <class T> MSL_DEVICE_ONLY T simd_shuffle_rotate_up(T value, ushort delta)
{
    return ::msl::from_lane(value, ::msl::lane() - delta);
}
template <class T> MSL_DEVICE_ONLY T quad_shuffle_xor(T value, ushort mask)
{
    return ::msl::from_lane(value, ::msl::lane() ^ (mask & 3));
}
template <class T> MSL_DEVICE_ONLY T quad_broadcast(T value, ushort lane)
{
    return ::msl::from_lane(value, ::msl::lane() / 4 * 4 + lane);
}

// Over the lanes from begin to end, which differ from lane to lane, in their order.
template <class T, class F> MSL_DEVICE_ONLY T msl_fold(T value, uint begin, uint end, T start, F join)
{
    const uint live = ::msl::live();
    T result = start;
#pragma unroll 1 // rarely run; unrolled, ptxas 13.0 runs out of registers for sm_90
    for (uint lane = 0; lane < 32; lane++) {
        T other = ::msl::from_lane(value, lane);
        if (lane >= begin && lane < end && (live >> lane & 1) != 0) result = join(result, other);
    }
    return result;
}
// Over all lanes: in five steps where there are 32 of them.
template <class T, class F> MSL_DEVICE_ONLY T msl_reduce(T value, T start, F join)
{
    if (::msl::live() != 0xffffffffu) return msl_fold(value, 0, 32, start, join);
    for (uint distance = 16; distance > 0; distance /= 2)
        value = join(value, ::msl::from_lane(value, ::msl::lane() ^ distance));
    return value;
}
#define MSL_REDUCTION(name, start, joined)                                                                             \
    template <class T> MSL_DEVICE_ONLY T name(T value)                                                                 \
    {                                                                                                                  \
        return msl_reduce(value, T(start), [](T a, T b) { return T(joined); });                                        \
    }
#define MSL_FOLD(name, begin, end, start, joined)                                                                      \
    template <class T> MSL_DEVICE_ONLY T name(T value)                                                                 \
    {                                                                                                                  \
        const uint mine = ::msl::lane();                                                                               \
        return msl_fold(value, begin, end, T(start), [](T a, T b) { return T(joined); });                              \
    }
MSL_REDUCTION(simd_sum, 0, a + b)
MSL_REDUCTION(simd_product, 1, a *b)
MSL_REDUCTION(simd_max, value, max(a, b))
MSL_REDUCTION(simd_min, value, min(a, b))
MSL_REDUCTION(simd_and, value, a &b)
MSL_REDUCTION(simd_or, value, a | b)
MSL_REDUCTION(simd_xor, 0, a ^ b)
MSL_FOLD(simd_prefix_inclusive_sum, 0, mine + 1, 0, a + b)
MSL_FOLD(simd_prefix_exclusive_sum, 0, mine, 0, a + b)
MSL_FOLD(simd_prefix_inclusive_product, 0, mine + 1, 1, a *b)
MSL_FOLD(simd_prefix_exclusive_product, 0, mine, 1, a *b)
MSL_FOLD(quad_sum, mine / 4 * 4, mine / 4 * 4 + 4, 0, a + b)
MSL_FOLD(quad_max, mine / 4 * 4, mine / 4 * 4 + 4, value, max(a, b))
MSL_FOLD(quad_min, mine / 4 * 4, mine / 4 * 4 + 4, value, min(a, b))
#undef MSL_REDUCTION
#undef MSL_FOLD

struct simd_vote {
    ulong bits;
    explicit MSL_DEVICE_ONLY operator ulong() const
    {
        return bits;
    }
};
MSL_DEVICE_ONLY inline simd_vote simd_ballot(bool value)
{
    return {ulong(__ballot_sync(::msl::members(), value))};
}
MSL_DEVICE_ONLY inline bool simd_is_first()
{
    return ::msl::lane() == ctz(uint(::msl::live()));
}
MSL_DEVICE_ONLY inline bool simd_any(bool value)
{
    return simd_ballot(value).bits != 0;
}
MSL_DEVICE_ONLY inline bool simd_all(bool value)
{
    return simd_ballot(!value).bits == 0;
}

// d = a * b + c, summed in float. A lane sums its two elements: four lanes hold the row of a, in pairs, and eight the
// two columns of b.
template <class D, class A, class B, class C>
MSL_DEVICE_ONLY void simdgroup_multiply_accumulate(simdgroup_matrix<D, 8, 8> &d, const simdgroup_matrix<A, 8, 8> &a,
                                                   const simdgroup_matrix<B, 8, 8> &b,
                                                   const simdgroup_matrix<C, 8, 8> &c)
{
    const uint row = msl_matrix_row(::msl::lane()), column = msl_matrix_column(::msl::lane());
    float sum[2] = {float(c.mine.at[0]), float(c.mine.at[1])};
    for (uint k = 0; k < 8; k += 2) {
        const vec<A, 2> left = ::msl::from_lane(a.mine, msl_matrix_lane(row, k));
        for (uint i = 0; i < 2; i++) {
            const vec<B, 2> right = ::msl::from_lane(b.mine, msl_matrix_lane(k + i, column));
            sum[0] += float(left.at[i]) * float(right.at[0]);
            sum[1] += float(left.at[i]) * float(right.at[1]);
        }
    }
    d.mine = vec<D, 2>(D(sum[0]), D(sum[1]));
}
template <class D, class A, class B>
MSL_DEVICE_ONLY void simdgroup_multiply(simdgroup_matrix<D, 8, 8> &d, const simdgroup_matrix<A, 8, 8> &a,
                                        const simdgroup_matrix<B, 8, 8> &b)
{
    simdgroup_multiply_accumulate(d, a, b, make_filled_simdgroup_matrix<float, 8>(0.0f));
}
} // namespace metal
