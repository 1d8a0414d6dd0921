// Metal's mathematical, integer and relational functions in their 'safe' mode: NaN and infinity count, and max and min
// return the operand that is a number. Overloads are exact, so that max(x, 0) with x a float is ambiguous, as in Metal.
#pragma once
#include "msl/types.h"

namespace metal {
// One argument: float, half by way of float, and vectors component by component.
#define MSL_MATH_1(name, value)                                                                                        \
    MSL_FUNCTION float name(float x) { return value; }                                                                 \
    MSL_FUNCTION half name(half h) { return half(name(float(h))); }                                                    \
    MSL_EACH_1(name)
#define MSL_EACH_1(name)                                                                                               \
    template <class T, int N> MSL_FUNCTION vec<T, N> name(vec<T, N> v)                                                 \
    {                                                                                                                  \
        for (int i = 0; i < N; i++) v.at[i] = name(v.at[i]);                                                           \
        return v;                                                                                                      \
    }
// Below 1, however small a negative x is.
#define MSL_FRACT                                                                                                      \
    MSL_FUNCTION float fract(float x)                                                                                  \
    {                                                                                                                  \
        const float part = x - ::floorf(x);                                                                            \
        return part >= 1.0f ? 0x1.fffffep-1f : part;                                                                   \
    }                                                                                                                  \
    MSL_FUNCTION half fract(half h)                                                                                    \
    {                                                                                                                  \
        const float part = float(half(float(h) - ::floorf(float(h))));                                                 \
        return half(part >= 1.0f ? 0x1.ffcp-1f : part);                                                                \
    }                                                                                                                  \
    MSL_EACH_1(fract)
#define MSL_EACH_2(name)                                                                                               \
    template <class A, class B> MSL_FUNCTION msl_paired<A, B> name(const A &a, const B &b)                             \
    {                                                                                                                  \
        typedef typename msl_shape<msl_paired<A, B>>::scalar S;                                                        \
        msl_paired<A, B> r;                                                                                            \
        for (int i = 0; i < msl_shape<msl_paired<A, B>>::count; i++)                                                   \
            r.at[i] = name(msl_component<S>(a, i), msl_component<S>(b, i));                                            \
        return r;                                                                                                      \
    }
#define MSL_MATH_2(name, value)                                                                                        \
    MSL_FUNCTION float name(float x, float y) { return value; }                                                        \
    MSL_FUNCTION half name(half x, half y) { return half(name(float(x), float(y))); }                                  \
    MSL_EACH_2(name)
#define MSL_MATH                                                                                                       \
    MSL_MATH_1(acos, ::acosf(x))                                                                                       \
    MSL_MATH_1(acosh, ::acoshf(x))                                                                                     \
    MSL_MATH_1(asin, ::asinf(x))                                                                                       \
    MSL_MATH_1(asinh, ::asinhf(x))                                                                                     \
    MSL_MATH_1(atan, ::atanf(x))                                                                                       \
    MSL_MATH_1(atanh, ::atanhf(x))                                                                                     \
    MSL_MATH_1(ceil, ::ceilf(x))                                                                                       \
    MSL_MATH_1(cos, ::cosf(x))                                                                                         \
    MSL_MATH_1(cosh, ::coshf(x))                                                                                       \
    MSL_MATH_1(cospi, float(::cos(3.14159265358979323846 * ::fmodf(x, 2.0f))))                                         \
    MSL_MATH_1(exp, ::expf(x))                                                                                         \
    MSL_MATH_1(exp10, ::powf(10.0f, x))                                                                                \
    MSL_MATH_1(exp2, ::exp2f(x))                                                                                       \
    MSL_MATH_1(fabs, ::fabsf(x))                                                                                       \
    MSL_MATH_1(floor, ::floorf(x))                                                                                     \
    MSL_FRACT                                                                                                          \
    MSL_MATH_1(log, ::logf(x))                                                                                         \
    MSL_MATH_1(log10, ::log10f(x))                                                                                     \
    MSL_MATH_1(log2, ::log2f(x))                                                                                       \
    MSL_MATH_1(rint, ::rintf(x))                                                                                       \
    MSL_MATH_1(round, ::roundf(x))                                                                                     \
    MSL_MATH_1(rsqrt, 1.0f / ::sqrtf(x))                                                                               \
    MSL_MATH_1(saturate, ::fminf(::fmaxf(x, 0.0f), 1.0f))                                                              \
    MSL_MATH_1(sign, float((x > 0.0f) - (x < 0.0f)))                                                                   \
    MSL_MATH_1(sin, ::sinf(x))                                                                                         \
    MSL_MATH_1(sinh, ::sinhf(x))                                                                                       \
    MSL_MATH_1(sinpi, float(::sin(3.14159265358979323846 * ::fmodf(x, 2.0f))))                                         \
    MSL_MATH_1(sqrt, ::sqrtf(x))                                                                                       \
    MSL_MATH_1(tan, ::tanf(x))                                                                                         \
    MSL_MATH_1(tanh, ::tanhf(x))                                                                                       \
    MSL_MATH_1(tanpi, float(::tan(3.14159265358979323846 * ::fmodf(x, 1.0f))))                                         \
    MSL_MATH_1(trunc, ::truncf(x))                                                                                     \
    MSL_MATH_2(atan2, ::atan2f(x, y))                                                                                  \
    MSL_MATH_2(copysign, ::copysignf(x, y))                                                                            \
    MSL_MATH_2(divide, x / y)                                                                                          \
    MSL_MATH_2(fdim, ::fdimf(x, y))                                                                                    \
    MSL_MATH_2(fmax, ::fmaxf(x, y))                                                                                    \
    MSL_MATH_2(fmin, ::fminf(x, y))                                                                                    \
    MSL_MATH_2(fmod, ::fmodf(x, y))                                                                                    \
    MSL_MATH_2(pow, ::powf(x, y))                                                                                      \
    MSL_MATH_2(powr, ::powf(x, y))                                                                                     \
    MSL_MATH_2(step, y < x ? 0.0f : 1.0f)

MSL_MATH
namespace precise {
MSL_MATH
}
namespace fast {
MSL_MATH
}
#undef MSL_MATH

MSL_FUNCTION float fma(float a, float b, float c) { return ::fmaf(a, b, c); }
MSL_FUNCTION half fma(half a, half b, half c) { return half(::fmaf(float(a), float(b), float(c))); }
MSL_FUNCTION float ldexp(float x, int e) { return ::ldexpf(x, e); }
MSL_FUNCTION float frexp(float x, int &e) { return ::frexpf(x, &e); }
MSL_FUNCTION half ldexp(half x, int e) { return half(::ldexpf(float(x), e)); }
MSL_FUNCTION half frexp(half x, int &e) { return half(::frexpf(float(x), &e)); }
MSL_FUNCTION float mix(float a, float b, float t) { return a + (b - a) * t; }
MSL_FUNCTION half mix(half a, half b, half t) { return a + (b - a) * t; }
MSL_FUNCTION float smoothstep(float a, float b, float x)
{
    float t = saturate((x - a) / (b - a));
    return t * t * (3.0f - 2.0f * t);
}
MSL_FUNCTION half smoothstep(half a, half b, half x) { return half(smoothstep(float(a), float(b), float(x))); }
// Three arguments of which one at least is a vector; scalars stand for all components.
template <class A, class B, class C>
using msl_combined = enable_if_t<msl_shape<A>::is_vector || msl_shape<B>::is_vector || msl_shape<C>::is_vector,
                                 msl_wider<msl_wider<A, B>, C>>;
#define MSL_EACH_3(name)                                                                                               \
    template <class A, class B, class C> MSL_FUNCTION msl_combined<A, B, C> name(const A &a, const B &b, const C &c)   \
    {                                                                                                                  \
        typedef typename msl_shape<msl_combined<A, B, C>>::scalar S;                                                   \
        msl_combined<A, B, C> r;                                                                                       \
        for (int i = 0; i < msl_shape<msl_combined<A, B, C>>::count; i++)                                              \
            r.at[i] = name(msl_component<S>(a, i), msl_component<S>(b, i), msl_component<S>(c, i));                    \
        return r;                                                                                                      \
    }
MSL_EACH_3(fma)
MSL_EACH_3(mix)
MSL_EACH_3(smoothstep)
template <class T> MSL_FUNCTION T sincos(T x, T &cosine)
{
    cosine = cos(x);
    return sin(x);
}
template <class T> MSL_FUNCTION T modf(T x, T &whole)
{
    whole = trunc(x);
    return x - whole;
}

// max, min, clamp, abs: one overload a type. Of two floats the one that is a number wins.
#define MSL_ORDER(T, MAX, MIN)                                                                                         \
    MSL_FUNCTION T max(T a, T b) { return MAX; }                                                                       \
    MSL_FUNCTION T min(T a, T b) { return MIN; }                                                                       \
    MSL_FUNCTION T clamp(T x, T low, T high) { return min(max(x, low), high); }                                        \
    MSL_FUNCTION T max3(T a, T b, T c) { return max(max(a, b), c); }                                                   \
    MSL_FUNCTION T median3(T a, T b, T c) { return max(min(a, b), min(max(a, b), c)); }                                \
    MSL_FUNCTION T min3(T a, T b, T c) { return min(min(a, b), c); }
#define MSL_INTEGER(T)                                                                                                 \
    MSL_ORDER(T, a < b ? b : a, b < a ? b : a)                                                                         \
    MSL_FUNCTION T abs(T x) { return x < T(0) ? T(-x) : x; }                                                           \
    MSL_FUNCTION T select(T a, T b, bool c) { return c ? b : a; }
MSL_INTEGER(char)
MSL_INTEGER(uchar)
MSL_INTEGER(short)
MSL_INTEGER(ushort)
MSL_INTEGER(int)
MSL_INTEGER(uint)
MSL_INTEGER(long)
MSL_INTEGER(ulong)
#undef MSL_INTEGER
MSL_ORDER(float, a != a || a < b ? b : a, a != a || b < a ? b : a)
MSL_ORDER(half, half(max(float(a), float(b))), half(min(float(a), float(b))))
#undef MSL_ORDER
MSL_EACH_2(max)
MSL_EACH_2(min)
#undef MSL_EACH_2
#undef MSL_MATH_1
#undef MSL_EACH_1
#undef MSL_FRACT
#undef MSL_MATH_2
MSL_EACH_3(clamp)
MSL_EACH_3(max3)
MSL_EACH_3(median3)
MSL_EACH_3(min3)
#undef MSL_EACH_3
MSL_FUNCTION float abs(float x) { return ::fabsf(x); }
MSL_FUNCTION half abs(half x) { return half(::fabsf(float(x))); }
template <class T, int N> MSL_FUNCTION vec<T, N> abs(vec<T, N> v)
{
    for (int i = 0; i < N; i++) v.at[i] = abs(v.at[i]);
    return v;
}
MSL_FUNCTION float select(float a, float b, bool c) { return c ? b : a; }
MSL_FUNCTION half select(half a, half b, bool c) { return c ? b : a; }
// Scalars stand for all components of a and b; the condition has one a component.
template <class A, class B, int N> MSL_FUNCTION msl_paired<A, B> select(const A &a, const B &b, const vec<bool, N> &c)
{
    typedef typename msl_shape<msl_paired<A, B>>::scalar S;
    msl_paired<A, B> r;
    for (int i = 0; i < N; i++) r.at[i] = c.at[i] ? msl_component<S>(b, i) : msl_component<S>(a, i);
    return r;
}
template <class T, int N> MSL_FUNCTION vec<T, N> select(const vec<T, N> &a, const vec<T, N> &b, bool c)
{
    return c ? b : a;
}

// These must not be folded away: the compiler is told nothing about finite numbers.
MSL_FUNCTION bool isnan(float x) { return x != x; }
MSL_FUNCTION bool isinf(float x) { return ::fabsf(x) == __builtin_inff(); }
MSL_FUNCTION bool isfinite(float x) { return ::fabsf(x) < __builtin_inff(); }
MSL_FUNCTION bool signbit(float x) { return as_type<uint>(x) >> 31 != 0; }
MSL_FUNCTION bool isnan(half x) { return isnan(float(x)); }
MSL_FUNCTION bool isinf(half x) { return isinf(float(x)); }
MSL_FUNCTION bool isfinite(half x) { return isfinite(float(x)); }
MSL_FUNCTION bool signbit(half x) { return signbit(float(x)); }
MSL_FUNCTION bool isnormal(float x) { return isfinite(x) && ::fabsf(x) >= 1.175494351e-38f; }
MSL_FUNCTION bool isnormal(half x) { return isfinite(x) && ::fabsf(float(x)) >= 6.103515625e-5f; }
#define MSL_IS_EACH(name)                                                                                              \
    template <class T, int N> MSL_FUNCTION vec<bool, N> name(const vec<T, N> &v)                                       \
    {                                                                                                                  \
        vec<bool, N> r;                                                                                                \
        for (int i = 0; i < N; i++) r.at[i] = name(v.at[i]);                                                           \
        return r;                                                                                                      \
    }
MSL_IS_EACH(isnan)
MSL_IS_EACH(isinf)
MSL_IS_EACH(isfinite)
MSL_IS_EACH(isnormal)
MSL_IS_EACH(signbit)
#undef MSL_IS_EACH
template <int N> MSL_FUNCTION bool any(vec<bool, N> v)
{
    bool result = false;
    for (int i = 0; i < N; i++) result = result || v.at[i];
    return result;
}
template <int N> MSL_FUNCTION bool all(vec<bool, N> v)
{
    bool result = true;
    for (int i = 0; i < N; i++) result = result && v.at[i];
    return result;
}

template <class A, class B> MSL_FUNCTION typename msl_shape<msl_paired<A, B>>::scalar dot(const A &a, const B &b)
{
    typedef typename msl_shape<msl_paired<A, B>>::scalar T;
    T sum = T(0);
    for (int i = 0; i < msl_shape<msl_paired<A, B>>::count; i++) sum += msl_component<T>(a, i) * msl_component<T>(b, i);
    return sum;
}
template <class T, int N> MSL_FUNCTION T length_squared(const vec<T, N> &v) { return dot(v, v); }
template <class T, int N> MSL_FUNCTION T length(const vec<T, N> &v) { return sqrt(dot(v, v)); }
template <class T, int N> MSL_FUNCTION T distance(const vec<T, N> &a, const vec<T, N> &b) { return length(a - b); }
template <class T, int N> MSL_FUNCTION T distance_squared(const vec<T, N> &a, const vec<T, N> &b)
{
    return length_squared(a - b);
}
template <class T, int N> MSL_FUNCTION vec<T, N> normalize(const vec<T, N> &v) { return v / length(v); }
template <class T> MSL_FUNCTION vec<T, 3> cross(const vec<T, 3> &a, const vec<T, 3> &b)
{
    return vec<T, 3>(a.y * b.z - a.z * b.y, a.z * b.x - a.x * b.z, a.x * b.y - a.y * b.x);
}

// Bits of an integer of any width; the result has the operand's type.
template <class T> using msl_integer = enable_if_t<is_integral_v<T> && !is_same_v<T, bool>, T>;
template <class T> using msl_bits_of = std::make_unsigned_t<T>;
#ifdef __CUDA_ARCH__
#define MSL_POPCOUNT(x) __popcll(x)
#define MSL_CLZ(x) __clzll((long long)(x))
#define MSL_CTZ(x) (__ffsll((long long)(x)) - 1)
#else
#define MSL_POPCOUNT(x) __builtin_popcountll(x)
#define MSL_CLZ(x) __builtin_clzll(x)
#define MSL_CTZ(x) __builtin_ctzll(x)
#endif
template <class T> MSL_FUNCTION msl_integer<T> popcount(T x) { return T(MSL_POPCOUNT(msl_bits_of<T>(x))); }
template <class T> MSL_FUNCTION msl_integer<T> clz(T x)
{
    return T(x == 0 ? sizeof(T) * 8 : MSL_CLZ(msl_bits_of<T>(x)) - (64 - sizeof(T) * 8));
}
template <class T> MSL_FUNCTION msl_integer<T> ctz(T x)
{
    return T(x == 0 ? sizeof(T) * 8 : MSL_CTZ(msl_bits_of<T>(x)));
}
#undef MSL_POPCOUNT
#undef MSL_CLZ
#undef MSL_CTZ
template <class T> MSL_FUNCTION msl_integer<T> reverse_bits(T x)
{
    constexpr int WIDTH = int(sizeof(T) * 8);
    msl_bits_of<T> r = 0;
    for (int i = 0; i < WIDTH; i++)
        r = msl_bits_of<T>(r | msl_bits_of<T>((msl_bits_of<T>(x) >> i & 1) << (WIDTH - 1 - i)));
    return T(r);
}
template <class T> MSL_FUNCTION msl_integer<T> rotate(T x, T n)
{
    constexpr int WIDTH = int(sizeof(T) * 8);
    int by = int(n) & (WIDTH - 1);
    return T(by == 0 ? msl_bits_of<T>(x) : msl_bits_of<T>(msl_bits_of<T>(x) << by | msl_bits_of<T>(x) >> (WIDTH - by)));
}
template <class T> MSL_FUNCTION msl_bits_of<msl_integer<T>> absdiff(T a, T b)
{
    typedef msl_bits_of<T> U;
    return a < b ? U(U(b) - U(a)) : U(U(a) - U(b));
}
#define MSL_BITS_EACH(name)                                                                                            \
    template <class T, int N> MSL_FUNCTION vec<T, N> name(vec<T, N> v)                                                 \
    {                                                                                                                  \
        for (int i = 0; i < N; i++) v.at[i] = name(v.at[i]);                                                           \
        return v;                                                                                                      \
    }
MSL_BITS_EACH(popcount)
MSL_BITS_EACH(clz)
MSL_BITS_EACH(ctz)
MSL_BITS_EACH(reverse_bits)
#undef MSL_BITS_EACH
MSL_FUNCTION uint extract_bits(uint x, uint offset, uint bits)
{
    return bits == 0 ? 0 : (x >> offset) & (0xffffffffu >> (32 - bits));
}
MSL_FUNCTION int extract_bits(int x, uint offset, uint bits)
{
    return bits == 0 ? 0 : int(uint(x) << (32 - bits - offset)) >> (32 - bits);
}
MSL_FUNCTION uint insert_bits(uint base, uint insert, uint offset, uint bits)
{
    uint mask = bits == 0 ? 0 : (0xffffffffu >> (32 - bits)) << offset;
    return (base & ~mask) | ((insert << offset) & mask);
}
MSL_FUNCTION uint mulhi(uint a, uint b) { return uint(ulong(a) * b >> 32); }
MSL_FUNCTION int mulhi(int a, int b) { return int(long(a) * b >> 32); }
// The low 32 bits.
MSL_FUNCTION int mad24(int a, int b, int c) { return int(uint(a) * uint(b) + uint(c)); }
MSL_FUNCTION uint mad24(uint a, uint b, uint c) { return a * b + c; }
MSL_FUNCTION int mul24(int a, int b) { return int(uint(a) * uint(b)); }
MSL_FUNCTION uint mul24(uint a, uint b) { return a * b; }
} // namespace metal
