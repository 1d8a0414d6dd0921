// Atomics, all relaxed, on the CPU and in CUDA: over atomic<T>, msl_value_of, msl_set_value and msl_replace_value of the
// file that includes this one, and its MSL_COUNT_ATOMIC.
#pragma once

namespace metal
{
typedef atomic<int> atomic_int;
typedef atomic<uint> atomic_uint;
typedef atomic<float> atomic_float;
template <class T> struct msl_exactly {
    typedef T type; // a value converts to the atomic's type
};
template <class T> MSL_DEVICE_ONLY T atomic_load_explicit(const volatile atomic<T> *a, memory_order)
{
    MSL_COUNT_ATOMIC(a);
    return msl_value_of(a);
}
template <class T>
MSL_DEVICE_ONLY void atomic_store_explicit(volatile atomic<T> *a, typename msl_exactly<T>::type value, memory_order)
{
    MSL_COUNT_ATOMIC(a);
    msl_set_value(a, value);
}
template <class T>
MSL_DEVICE_ONLY bool atomic_compare_exchange_weak_explicit(volatile atomic<T> *a, T *expected,
                                                           typename msl_exactly<T>::type value, memory_order,
                                                           memory_order)
{
    MSL_COUNT_ATOMIC(a);
    return msl_replace_value(a, expected, value);
}
// Integers wrap.
MSL_FUNCTION uint msl_added(uint x, uint y)
{
    return x + y;
}
MSL_FUNCTION int msl_added(int x, int y)
{
    return int(uint(x) + uint(y));
}
MSL_FUNCTION float msl_added(float x, float y)
{
    return x + y;
}
MSL_FUNCTION uint msl_negated(uint x)
{
    return 0u - x;
}
MSL_FUNCTION int msl_negated(int x)
{
    return int(0u - uint(x));
}
MSL_FUNCTION float msl_negated(float x)
{
    return -x;
}
#define MSL_ATOMIC(name, joined)                                                                                       \
    template <class T>                                                                                                 \
    MSL_DEVICE_ONLY T atomic_##name##_explicit(volatile atomic<T> *a, typename msl_exactly<T>::type y, memory_order)   \
    {                                                                                                                  \
        MSL_COUNT_ATOMIC(a);                                                                                           \
        T x = msl_value_of(a);                                                                                         \
        while (!msl_replace_value(a, &x, T(joined))) {                                                                 \
        }                                                                                                              \
        return x;                                                                                                      \
    }
MSL_ATOMIC(exchange, y)
#ifndef MSL_CUDA // which has an instruction for it
MSL_ATOMIC(fetch_add, msl_added(x, y))
#endif
MSL_ATOMIC(fetch_sub, msl_added(x, msl_negated(y)))
MSL_ATOMIC(fetch_max, max(x, y))
MSL_ATOMIC(fetch_min, min(x, y))
MSL_ATOMIC(fetch_and, x &y)
MSL_ATOMIC(fetch_or, x | y)
MSL_ATOMIC(fetch_xor, x ^ y)
#undef MSL_ATOMIC
} // namespace metal
