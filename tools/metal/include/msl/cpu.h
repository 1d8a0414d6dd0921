// Barriers, simdgroup operations, simdgroup matrices and atomics on the CPU's fibers.
#pragma once
#include "msl/runtime.h"
#include "msl/matrix.h"

// Reading what another lane has left is the runtime's business, no access of the kernel.
#define MSL_UNWATCHED __attribute__((no_sanitize("thread", "address")))
#define MSL_UNCHECKED __attribute__((no_sanitize("thread", "address"), noinline))
// The caller's place: the line is for reports, the column tells two operations of one line apart.
#define MSL_HERE ::msl::site here = {__builtin_FILE(), __builtin_LINE(), __builtin_COLUMN()}

#ifdef MSL_COUNT
namespace msl {
void count_atomic(const volatile void *p, size_t bytes);
} // namespace msl
#define MSL_COUNT_ATOMIC(pointer) ::msl::count_atomic(pointer, sizeof *(pointer))
#else
#define MSL_COUNT_ATOMIC(pointer) (void)0
#endif

namespace metal {
inline void threadgroup_barrier(mem_flags flags, MSL_HERE) { ::msl::barrier(uint32_t(flags), here); }
inline void simdgroup_barrier(mem_flags flags, MSL_HERE)
{
    ::msl::meet(nullptr, 0, ::msl::SIMD_BARRIER, flags != mem_flags::mem_none, here);
}

// One value of each lane of the simdgroup.
template <class T> struct msl_shared_values {
    ::msl::meeting m;
    static_assert(sizeof(T) <= ::msl::SLOT_BYTES, "a simdgroup operation on so large a type");
    msl_shared_values(const T &value, ::msl::site here)
        : m(::msl::meet((const void *)&value, sizeof value, ::msl::SIMD_EXCHANGE, false, here))
    {
    }
    MSL_UNWATCHED bool active(uint32_t lane) const { return lane < 32 && (m.active >> lane & 1) != 0; }
    // An inactive lane's value is undefined in Metal: here all bits are set, a NaN.
    MSL_UNCHECKED T of(uint32_t lane) const
    {
        T value;
        if (active(lane)) __builtin_memcpy((void *)&value, m.slot[lane], sizeof value);
        else __builtin_memset((void *)&value, 0xff, sizeof value);
        return value;
    }
};

template <class T> T simd_shuffle(T value, ushort lane, MSL_HERE) { return msl_shared_values<T>(value, here).of(lane); }
template <class T> T simd_broadcast(T value, ushort lane, MSL_HERE)
{
    return msl_shared_values<T>(value, here).of(lane);
}
template <class T> T simd_broadcast_first(T value, MSL_HERE)
{
    msl_shared_values<T> all(value, here);
    return all.of(uint(__builtin_ctz(all.m.active)));
}
template <class T> T simd_shuffle_xor(T value, ushort mask, MSL_HERE)
{
    msl_shared_values<T> all(value, here);
    return all.of(all.m.lane ^ mask);
}
template <class T> T simd_shuffle_down(T value, ushort delta, MSL_HERE)
{
    msl_shared_values<T> all(value, here);
    return all.m.lane + delta < 32 ? all.of(all.m.lane + delta) : value;
}
template <class T> T simd_shuffle_up(T value, ushort delta, MSL_HERE)
{
    msl_shared_values<T> all(value, here);
    return all.m.lane >= delta ? all.of(all.m.lane - delta) : value;
}
template <class T> T simd_shuffle_and_fill_down(T value, T fill, ushort delta, MSL_HERE)
{
    msl_shared_values<T> all(value, here), filling(fill, here);
    uint from = all.m.lane + delta;
    return from < 32 ? all.of(from) : filling.of(from % 32);
}
template <class T> T simd_shuffle_and_fill_up(T value, T fill, ushort delta, MSL_HERE)
{
    msl_shared_values<T> all(value, here), filling(fill, here);
    return all.m.lane >= delta ? all.of(all.m.lane - delta) : filling.of(all.m.lane + 32 - delta);
}
template <class T> T simd_shuffle_rotate_down(T value, ushort delta, MSL_HERE)
{
    msl_shared_values<T> all(value, here);
    return all.of((all.m.lane + delta) % 32);
}
template <class T> T simd_shuffle_rotate_up(T value, ushort delta, MSL_HERE)
{
    msl_shared_values<T> all(value, here);
    return all.of((all.m.lane - delta) % 32);
}
template <class T> T quad_shuffle_xor(T value, ushort mask, MSL_HERE)
{
    msl_shared_values<T> all(value, here);
    return all.of(all.m.lane ^ (mask & 3));
}
template <class T> T quad_broadcast(T value, ushort lane, MSL_HERE)
{
    msl_shared_values<T> all(value, here);
    return all.of(all.m.lane / 4 * 4 + lane);
}

// Reductions over the lanes that take part, in the order of the lanes.
template <class T, class F>
MSL_UNCHECKED T msl_fold(const msl_shared_values<T> &all, uint begin, uint end, T start, F join)
{
    T result = start;
    for (uint lane = begin; lane < end; lane++)
        if (all.active(lane)) result = join(result, all.of(lane));
    return result;
}
#define MSL_REDUCTION(name, begin, end, start, joined)                                                                 \
    template <class T> T name(T value, MSL_HERE)                                                                       \
    {                                                                                                                  \
        msl_shared_values<T> all(value, here);                                                                         \
        return msl_fold(all, begin, end, T(start), [](T a, T b) MSL_UNWATCHED { return T(joined); });                  \
    }
MSL_REDUCTION(simd_sum, 0, 32, 0, a + b)
MSL_REDUCTION(simd_product, 0, 32, 1, a *b)
MSL_REDUCTION(simd_max, 0, 32, value, max(a, b))
MSL_REDUCTION(simd_min, 0, 32, value, min(a, b))
MSL_REDUCTION(simd_and, 0, 32, value, a &b)
MSL_REDUCTION(simd_or, 0, 32, value, a | b)
MSL_REDUCTION(simd_xor, 0, 32, 0, a ^ b)
MSL_REDUCTION(simd_prefix_inclusive_sum, 0, all.m.lane + 1, 0, a + b)
MSL_REDUCTION(simd_prefix_exclusive_sum, 0, all.m.lane, 0, a + b)
MSL_REDUCTION(simd_prefix_inclusive_product, 0, all.m.lane + 1, 1, a *b)
MSL_REDUCTION(simd_prefix_exclusive_product, 0, all.m.lane, 1, a *b)
MSL_REDUCTION(quad_sum, all.m.lane / 4 * 4, all.m.lane / 4 * 4 + 4, 0, a + b)
MSL_REDUCTION(quad_max, all.m.lane / 4 * 4, all.m.lane / 4 * 4 + 4, value, max(a, b))
MSL_REDUCTION(quad_min, all.m.lane / 4 * 4, all.m.lane / 4 * 4 + 4, value, min(a, b))
#undef MSL_REDUCTION

struct simd_vote {
    ulong bits;
    explicit operator ulong() const { return bits; }
};
inline simd_vote simd_ballot(bool value, MSL_HERE)
{
    msl_shared_values<bool> all(value, here);
    ulong bits = 0;
    for (uint lane = 0; lane < 32; lane++)
        if (all.active(lane) && all.of(lane)) bits |= 1ul << lane;
    return {bits};
}
inline bool simd_is_first(MSL_HERE)
{
    msl_shared_values<bool> all(true, here);
    return all.m.lane == uint(__builtin_ctz(all.m.active));
}
inline bool simd_any(bool value, MSL_HERE) { return simd_ballot(value, here).bits != 0; }
inline bool simd_all(bool value, MSL_HERE) { return simd_ballot(!value, here).bits == 0; }

template <class A, class B> struct msl_matrix_operands {
    vec<A, 2> a;
    vec<B, 2> b;
};
// d = a * b + c, each product summed in float.
template <class D, class A, class B, class C>
MSL_UNCHECKED void simdgroup_multiply_accumulate(simdgroup_matrix<D, 8, 8> &d, const simdgroup_matrix<A, 8, 8> &a,
                                                 const simdgroup_matrix<B, 8, 8> &b, const simdgroup_matrix<C, 8, 8> &c,
                                                 MSL_HERE)
{
    typedef msl_matrix_operands<A, B> operands;
    operands given = {a.mine, b.mine};
    ::msl::meeting m = ::msl::meet((const void *)&given, sizeof given, ::msl::SIMD_MATRIX, false, here);
    uint row = msl_matrix_row(m.lane), column = msl_matrix_column(m.lane);
    float sum[2] = {float(c.mine.at[0]), float(c.mine.at[1])};
    for (uint k = 0; k < 8; k++) {
        float left = float(((const operands *)m.slot[msl_matrix_lane(row, k)])->a.at[k % 2]);
        const operands *right = (const operands *)m.slot[msl_matrix_lane(k, column)];
        sum[0] += left * float(right->b.at[0]);
        sum[1] += left * float(right->b.at[1]);
    }
    d.mine = vec<D, 2>(D(sum[0]), D(sum[1]));
}
template <class D, class A, class B>
void simdgroup_multiply(simdgroup_matrix<D, 8, 8> &d, const simdgroup_matrix<A, 8, 8> &a,
                        const simdgroup_matrix<B, 8, 8> &b, MSL_HERE)
{
    simdgroup_multiply_accumulate(d, a, b, make_filled_simdgroup_matrix<float, 8>(0.0f), here);
}

template <class T> struct atomic {
    T value;
};
typedef atomic<bool> atomic_bool;
template <class T> T msl_value_of(const volatile atomic<T> *a)
{
    T value;
    __atomic_load((const T *)&a->value, &value, __ATOMIC_RELAXED);
    return value;
}
template <class T> void msl_set_value(volatile atomic<T> *a, T value)
{
    __atomic_store((T *)&a->value, &value, __ATOMIC_RELAXED);
}
template <class T> bool msl_replace_value(volatile atomic<T> *a, T *expected, T value)
{
    return __atomic_compare_exchange((T *)&a->value, expected, &value, true, __ATOMIC_RELAXED, __ATOMIC_RELAXED);
}
} // namespace metal
#include "msl/atomics.h"

#define is_function_constant_defined(name) name##_msl_defined
