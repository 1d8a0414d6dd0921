// The types of the Metal Shading Language for a C++17 compiler (clang 18 or newer) and for nvcc.
//
// Vectors are structs of aligned components. Swizzles are not members here: the translator writes v.xy as
// v.lanes(::msl::lanes<0, 1>{}), and v.xy = e as v.refer(...) = e, so that no compiler has to see 340 names a type.
// half is the compiler's own 16-bit float, which rounds after every operation as Metal's does
// (-ffloat16-excess-precision=none). Names of our own begin with msl_: a program's are in the same namespace.
#pragma once
#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <type_traits>

#ifdef __CUDACC__
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#define MSL_FUNCTION __host__ __device__ inline
#define MSL_DEVICE_ONLY __device__
#else
#define MSL_FUNCTION inline __attribute__((always_inline))
#define MSL_DEVICE_ONLY
#endif

// Metal has M_PI_F and the like; these are names as others are.
#undef M_E
#undef M_LOG2E
#undef M_LOG10E
#undef M_LN2
#undef M_LN10
#undef M_PI
#undef M_PI_2
#undef M_PI_4
#undef M_1_PI
#undef M_2_PI
#undef M_2_SQRTPI
#undef M_SQRT2
#undef M_SQRT1_2

namespace msl {
template <int... I> struct lanes {
};
} // namespace msl

namespace metal {
using std::bool_constant;
using std::conditional;
using std::conditional_t;
using std::decay;
using std::decay_t;
using std::enable_if;
using std::enable_if_t;
using std::false_type;
using std::integral_constant;
using std::is_convertible;
using std::is_convertible_v;
using std::is_integral;
using std::is_integral_v;
using std::is_pointer;
using std::is_pointer_v;
using std::is_same;
using std::is_same_v;
using std::is_signed;
using std::is_signed_v;
using std::is_unsigned;
using std::is_unsigned_v;
using std::make_signed;
using std::make_signed_t;
using std::make_unsigned;
using std::make_unsigned_t;
using std::remove_const;
using std::remove_const_t;
using std::remove_cv;
using std::remove_cv_t;
using std::remove_pointer;
using std::remove_pointer_t;
using std::remove_reference;
using std::remove_reference_t;
using std::remove_volatile;
using std::remove_volatile_t;
using std::true_type;

typedef unsigned char uchar;
typedef unsigned short ushort;
typedef unsigned int uint;
typedef unsigned long ulong;
#ifdef __CUDACC__
typedef ::__half half;
typedef ::__nv_bfloat16 bfloat;
#else
typedef _Float16 half;
typedef __bf16 bfloat;
#endif

template <class T> struct is_floating_point : std::is_floating_point<T> {
};
template <> struct is_floating_point<half> : true_type {
};
template <> struct is_floating_point<bfloat> : true_type {
};
template <class T> constexpr bool is_floating_point_v = is_floating_point<T>::value;
// A constant computed from function constants is a struct that converts to its value.
template <class T, class = void> struct msl_is_derived : false_type {
};
template <class T> struct msl_is_derived<T, std::void_t<typename T::msl_value>> : true_type {
};
template <class T>
struct is_arithmetic : std::bool_constant<std::is_integral_v<T> || is_floating_point_v<T> || msl_is_derived<T>::value> {
};
template <class T> constexpr bool is_arithmetic_v = is_arithmetic<T>::value;

template <class To, class From> MSL_FUNCTION To as_type(From from)
{
    static_assert(sizeof(To) == sizeof(From), "as_type needs types of the same size");
    To to;
    memcpy((void *)&to, (const void *)&from, sizeof to);
    return to;
}

template <class T, int N> struct vec;
template <class T, int N> struct msl_packed_vec;

// A struct's member that is called xy, as the translator asks for it.
#define MSL_MEMBER(name, ...)                                                                                          \
    MSL_FUNCTION auto &lanes(::msl::lanes<__VA_ARGS__>) { return this->name; }                                         \
    MSL_FUNCTION const auto &lanes(::msl::lanes<__VA_ARGS__>) const { return this->name; }                             \
    MSL_FUNCTION auto &refer(::msl::lanes<__VA_ARGS__>) { return this->name; }

// What a vector is made of, packed or not: its components' type and their number; a scalar is one component.
template <class X> struct msl_shape {
    typedef X scalar;
    typedef X vector;
    static constexpr int count = 1;
    static constexpr bool is_vector = false;
};
template <class T, int N> struct msl_shape<vec<T, N>> {
    typedef T scalar;
    typedef vec<T, N> vector;
    static constexpr int count = N;
    static constexpr bool is_vector = true;
};
template <class T, int N> struct msl_shape<msl_packed_vec<T, N>> : msl_shape<vec<T, N>> {
};

// Of a vector of N, in the memory of more: one of three takes that of four, unless it is packed.
template <class T, int N, int STORED> struct msl_components;
template <class T, int STORED> struct msl_components<T, 2, STORED> {
    union {
        T at[STORED];
        struct {
            T x, y;
        };
        struct {
            T r, g;
        };
    };
};
template <class T, int STORED> struct msl_components<T, 3, STORED> {
    union {
        T at[STORED];
        struct {
            T x, y, z;
        };
        struct {
            T r, g, b;
        };
    };
};
template <class T, int STORED> struct msl_components<T, 4, STORED> {
    union {
        T at[STORED];
        struct {
            T x, y, z, w;
        };
        struct {
            T r, g, b, a;
        };
    };
};
constexpr int msl_stored(int count) { return count == 3 ? 4 : count; }

// v.xy on the left of an assignment, where v.xy.x and v.xy[0] are v's own x, too.
template <class V, class T, int... I> struct msl_lane_reference {
    V &target;
    typedef vec<T, sizeof...(I)> value;
    MSL_FUNCTION void operator=(const value &v) const
    {
        int i = 0;
        ((target.at[I] = v.at[i++]), ...);
    }
    MSL_FUNCTION value get() const { return value(target.at[I]...); }
    MSL_FUNCTION T &operator[](int i) const
    {
        const int places[] = {I...};
        return target.at[places[i]];
    }
    template <int... J> MSL_FUNCTION auto refer(::msl::lanes<J...>) const
    {
        constexpr int places[] = {I...};
        return msl_lane_reference<V, T, places[J]...>{target};
    }
#define MSL_ASSIGN(op)                                                                                                 \
    MSL_FUNCTION void operator op##=(const value &v) const { *this = get() op v; }
    MSL_ASSIGN(+)
    MSL_ASSIGN(-)
    MSL_ASSIGN(*)
    MSL_ASSIGN(/)
    MSL_ASSIGN(%)
    MSL_ASSIGN(&)
    MSL_ASSIGN(|)
    MSL_ASSIGN(^)
    MSL_ASSIGN(<<)
    MSL_ASSIGN(>>)
#undef MSL_ASSIGN
};

template <class T, int N>
struct alignas(msl_stored(N) * sizeof(T)) vec : msl_components<T, N, msl_stored(N)> {
    using msl_components<T, N, msl_stored(N)>::at;

    vec() = default;
    // A scalar fills all components, without being asked, as in Metal.
    template <class S, class = enable_if_t<is_arithmetic_v<S>>> MSL_FUNCTION vec(S value)
    {
        for (int i = 0; i < N; i++) at[i] = static_cast<T>(value);
    }
    // From another component type only when written out: int4(v).
    template <class S, class = enable_if_t<!is_same_v<S, T>>> explicit MSL_FUNCTION vec(const vec<S, N> &other)
    {
        for (int i = 0; i < N; i++) at[i] = static_cast<T>(other.at[i]);
    }
    // From parts that add up to N components: float4(v.xy, 0, 1).
    template <class A, class B, class... Rest,
              class = enable_if_t<msl_shape<A>::count + msl_shape<B>::count + (0 + ... + msl_shape<Rest>::count) == N>>
    MSL_FUNCTION vec(const A &a, const B &b, const Rest &...rest)
    {
        int i = 0;
        put(i, a);
        put(i, b);
        (put(i, rest), ...);
    }
    MSL_FUNCTION T &operator[](int i) { return at[within(i)]; }
    MSL_FUNCTION const T &operator[](int i) const { return at[within(i)]; }

    // const: what is assigned to it would be lost
    template <int... I> MSL_FUNCTION const vec<T, sizeof...(I)> lanes(::msl::lanes<I...>) const
    {
        return vec<T, sizeof...(I)>(at[I]...);
    }
    template <int... I> MSL_FUNCTION msl_lane_reference<vec, T, I...> refer(::msl::lanes<I...>) { return {*this}; }

  private:
    // The fourth component of three is in the array, and is none.
    static MSL_FUNCTION int within(int i)
    {
#ifdef MSL_ASAN
        return N == 3 && i == 3 ? 4 : i;
#else
        return i;
#endif
    }
    template <class A> MSL_FUNCTION void put(int &i, const A &part)
    {
        if constexpr (msl_shape<A>::is_vector) {
            for (int k = 0; k < msl_shape<A>::count; k++) at[i++] = static_cast<T>(part.at[k]);
        } else {
            at[i++] = static_cast<T>(part);
        }
    }
};

#define MSL_VECTORS(T)                                                                                                 \
    typedef vec<T, 2> T##2;                                                                                            \
    typedef vec<T, 3> T##3;                                                                                            \
    typedef vec<T, 4> T##4;
MSL_VECTORS(float)
MSL_VECTORS(half)
MSL_VECTORS(bfloat)
MSL_VECTORS(char)
MSL_VECTORS(uchar)
MSL_VECTORS(short)
MSL_VECTORS(ushort)
MSL_VECTORS(int)
MSL_VECTORS(uint)
MSL_VECTORS(long)
MSL_VECTORS(ulong)
MSL_VECTORS(bool)
#undef MSL_VECTORS

// Vectors without alignment; they compute as the aligned ones.
template <class T, int N> struct msl_packed_vec : msl_components<T, N, N> {
    using msl_components<T, N, N>::at;
    msl_packed_vec() = default;
    template <class S, class = enable_if_t<is_arithmetic_v<S>>>
    MSL_FUNCTION msl_packed_vec(S value) : msl_packed_vec(vec<T, N>(value))
    {
    }
    MSL_FUNCTION msl_packed_vec(const vec<T, N> &v)
    {
        for (int i = 0; i < N; i++) at[i] = v.at[i];
    }
    template <class A, class B, class... Rest>
    MSL_FUNCTION msl_packed_vec(const A &a, const B &b, const Rest &...rest) : msl_packed_vec(vec<T, N>(a, b, rest...))
    {
    }
    MSL_FUNCTION operator vec<T, N>() const
    {
        vec<T, N> v;
        for (int i = 0; i < N; i++) v.at[i] = at[i];
        return v;
    }
    MSL_FUNCTION T &operator[](int i) { return at[i]; }
    MSL_FUNCTION const T &operator[](int i) const { return at[i]; }
    template <int... I> MSL_FUNCTION const vec<T, sizeof...(I)> lanes(::msl::lanes<I...>) const
    {
        return vec<T, sizeof...(I)>(at[I]...);
    }
    template <int... I> MSL_FUNCTION msl_lane_reference<msl_packed_vec, T, I...> refer(::msl::lanes<I...>)
    {
        return {*this};
    }
};
#define MSL_PACKED(T)                                                                                                  \
    typedef msl_packed_vec<T, 2> packed_##T##2;                                                                        \
    typedef msl_packed_vec<T, 3> packed_##T##3;                                                                        \
    typedef msl_packed_vec<T, 4> packed_##T##4;
MSL_PACKED(float)
MSL_PACKED(half)
MSL_PACKED(bfloat)
MSL_PACKED(char)
MSL_PACKED(uchar)
MSL_PACKED(short)
MSL_PACKED(ushort)
MSL_PACKED(int)
MSL_PACKED(uint)
#undef MSL_PACKED

// A vector with one of its own kind, or with a scalar; never float4 with int4.
template <class A, class B>
constexpr bool msl_pairs = msl_shape<A>::is_vector && msl_shape<B>::is_vector
                               ? is_same_v<typename msl_shape<A>::vector, typename msl_shape<B>::vector>
                               : (msl_shape<A>::is_vector &&is_arithmetic_v<B>) ||
                                     (msl_shape<B>::is_vector && is_arithmetic_v<A>);
template <class A, class B>
using msl_wider = conditional_t<msl_shape<A>::is_vector, typename msl_shape<A>::vector, typename msl_shape<B>::vector>;
template <class A, class B> using msl_paired = enable_if_t<msl_pairs<A, B>, msl_wider<A, B>>;
template <class A, class B> using msl_paired_bool = vec<bool, msl_shape<msl_paired<A, B>>::count>;
template <class S, class X> MSL_FUNCTION S msl_component(const X &x, int i)
{
    if constexpr (msl_shape<X>::is_vector) return x.at[i];
    else return static_cast<S>(x);
}

// Components of 8 and 16 bits wrap; the product of two ushort would overflow int.
template <class S> using msl_operand = conditional_t<is_unsigned_v<S> && sizeof(S) < sizeof(uint), uint, S>;
#define MSL_ARITHMETIC(op)                                                                                             \
    template <class A, class B> MSL_FUNCTION msl_paired<A, B> operator op(const A &a, const B &b)                      \
    {                                                                                                                  \
        typedef typename msl_shape<msl_paired<A, B>>::scalar S;                                                        \
        msl_paired<A, B> r;                                                                                            \
        for (int i = 0; i < msl_shape<msl_paired<A, B>>::count; i++)                                                   \
            r.at[i] =                                                                                                  \
                static_cast<S>(msl_operand<S>(msl_component<S>(a, i)) op msl_operand<S>(msl_component<S>(b, i)));      \
        return r;                                                                                                      \
    }                                                                                                                  \
    template <class T, int N, class B, class = msl_paired<vec<T, N>, B>>                                               \
    MSL_FUNCTION vec<T, N> &operator op##=(vec<T, N> &a, const B &b)                                                   \
    {                                                                                                                  \
        return a = a op b;                                                                                             \
    }                                                                                                                  \
    template <class T, int N, class B, class = msl_paired<vec<T, N>, B>>                                               \
    MSL_FUNCTION msl_packed_vec<T, N> &operator op##=(msl_packed_vec<T, N> &a, const B &b)                             \
    {                                                                                                                  \
        return a = a op b;                                                                                             \
    }
MSL_ARITHMETIC(+)
MSL_ARITHMETIC(-)
MSL_ARITHMETIC(*)
MSL_ARITHMETIC(/)
MSL_ARITHMETIC(%)
MSL_ARITHMETIC(&)
MSL_ARITHMETIC(|)
MSL_ARITHMETIC(^)
MSL_ARITHMETIC(<<)
MSL_ARITHMETIC(>>)
#undef MSL_ARITHMETIC

#define MSL_COMPARISON(op)                                                                                             \
    template <class A, class B> MSL_FUNCTION msl_paired_bool<A, B> operator op(const A &a, const B &b)                 \
    {                                                                                                                  \
        typedef typename msl_shape<msl_paired<A, B>>::scalar S;                                                        \
        msl_paired_bool<A, B> r;                                                                                       \
        for (int i = 0; i < msl_shape<msl_paired<A, B>>::count; i++)                                                   \
            r.at[i] = msl_component<S>(a, i) op msl_component<S>(b, i);                                                \
        return r;                                                                                                      \
    }
MSL_COMPARISON(<)
MSL_COMPARISON(>)
MSL_COMPARISON(<=)
MSL_COMPARISON(>=)
MSL_COMPARISON(==)
MSL_COMPARISON(!=)
MSL_COMPARISON(&&)
MSL_COMPARISON(||)
#undef MSL_COMPARISON

template <class T, int N> MSL_FUNCTION vec<T, N> operator-(vec<T, N> a)
{
    for (int i = 0; i < N; i++) a.at[i] = -a.at[i];
    return a;
}
template <class T, int N> MSL_FUNCTION vec<T, N> operator+(vec<T, N> a) { return a; }
template <class T, int N> MSL_FUNCTION vec<T, N> &operator++(vec<T, N> &a) { return a += T(1); }
template <class T, int N> MSL_FUNCTION vec<T, N> &operator--(vec<T, N> &a) { return a -= T(1); }
template <class T, int N> MSL_FUNCTION vec<T, N> operator++(vec<T, N> &a, int)
{
    const vec<T, N> before = a;
    a += T(1);
    return before;
}
template <class T, int N> MSL_FUNCTION vec<T, N> operator--(vec<T, N> &a, int)
{
    const vec<T, N> before = a;
    a -= T(1);
    return before;
}
template <class T, int N> MSL_FUNCTION vec<T, N> operator~(vec<T, N> a)
{
    for (int i = 0; i < N; i++) a.at[i] = ~a.at[i];
    return a;
}
template <int N> MSL_FUNCTION vec<bool, N> operator!(vec<bool, N> a)
{
    for (int i = 0; i < N; i++) a.at[i] = !a.at[i];
    return a;
}

// Matrices of columns: matrix<T, columns, rows>.
template <class T, int C, int R> struct matrix {
    vec<T, R> column[C];
    matrix() = default;
    explicit MSL_FUNCTION matrix(T diagonal)
    {
        for (int c = 0; c < C; c++)
            for (int r = 0; r < R; r++) column[c].at[r] = r == c ? diagonal : T(0);
    }
    // Of scalars, column by column.
    template <class... V, class = enable_if_t<sizeof...(V) == C * R && (C * R > C)>, class = void>
    MSL_FUNCTION matrix(const V &...v)
    {
        int i = 0;
        ((column[i / R].at[i % R] = T(v), i++), ...);
    }
    template <class U> explicit MSL_FUNCTION matrix(const matrix<U, C, R> &other)
    {
        for (int c = 0; c < C; c++) column[c] = vec<T, R>(other.column[c]);
    }
    template <class... V, class = enable_if_t<sizeof...(V) == C && (C > 1)>> MSL_FUNCTION matrix(const V &...v)
    {
        int c = 0;
        ((column[c++] = v), ...);
    }
    MSL_FUNCTION vec<T, R> &operator[](int c) { return column[c]; }
    MSL_FUNCTION const vec<T, R> &operator[](int c) const { return column[c]; }
};
#define MSL_MATRICES(T)                                                                                                \
    typedef matrix<T, 2, 2> T##2x2;                                                                                    \
    typedef matrix<T, 2, 3> T##2x3;                                                                                    \
    typedef matrix<T, 2, 4> T##2x4;                                                                                    \
    typedef matrix<T, 3, 2> T##3x2;                                                                                    \
    typedef matrix<T, 3, 3> T##3x3;                                                                                    \
    typedef matrix<T, 3, 4> T##3x4;                                                                                    \
    typedef matrix<T, 4, 2> T##4x2;                                                                                    \
    typedef matrix<T, 4, 3> T##4x3;                                                                                    \
    typedef matrix<T, 4, 4> T##4x4;
MSL_MATRICES(float)
MSL_MATRICES(half)
#undef MSL_MATRICES

template <class T, int C, int R> MSL_FUNCTION matrix<T, C, R> operator+(matrix<T, C, R> a, const matrix<T, C, R> &b)
{
    for (int c = 0; c < C; c++) a.column[c] += b.column[c];
    return a;
}
template <class T, int C, int R> MSL_FUNCTION matrix<T, C, R> operator-(matrix<T, C, R> a, const matrix<T, C, R> &b)
{
    for (int c = 0; c < C; c++) a.column[c] -= b.column[c];
    return a;
}
template <class T, int C, int R> MSL_FUNCTION matrix<T, C, R> &operator+=(matrix<T, C, R> &a, const matrix<T, C, R> &b)
{
    return a = a + b;
}
template <class T, int C, int R> MSL_FUNCTION matrix<T, C, R> &operator-=(matrix<T, C, R> &a, const matrix<T, C, R> &b)
{
    return a = a - b;
}
template <class T, int C, int R> MSL_FUNCTION matrix<T, C, R> operator-(matrix<T, C, R> a)
{
    for (int c = 0; c < C; c++) a.column[c] = -a.column[c];
    return a;
}
template <class T, int C, int R> MSL_FUNCTION matrix<T, C, R> operator*(matrix<T, C, R> a, T s)
{
    for (int c = 0; c < C; c++) a.column[c] *= s;
    return a;
}
template <class T, int C, int R> MSL_FUNCTION vec<T, R> operator*(const matrix<T, C, R> &a, const vec<T, C> &v)
{
    vec<T, R> sum(T(0));
    for (int c = 0; c < C; c++) sum += a.column[c] * v.at[c];
    return sum;
}
template <class T, int C, int R> MSL_FUNCTION vec<T, C> operator*(const vec<T, R> &v, const matrix<T, C, R> &a)
{
    vec<T, C> sum(T(0));
    for (int c = 0; c < C; c++)
        for (int r = 0; r < R; r++) sum.at[c] += v.at[r] * a.column[c].at[r];
    return sum;
}
template <class T, int C, int R> MSL_FUNCTION matrix<T, C, R> operator*(T s, const matrix<T, C, R> &a) { return a * s; }
template <class T, int C, int R, int K>
MSL_FUNCTION matrix<T, C, R> operator*(const matrix<T, K, R> &a, const matrix<T, C, K> &b)
{
    matrix<T, C, R> product;
    for (int c = 0; c < C; c++) product.column[c] = a * b.column[c];
    return product;
}
template <class T, int C, int R> MSL_FUNCTION matrix<T, C, R> &operator*=(matrix<T, C, R> &a, T s) { return a = a * s; }
template <class T, int C, int R> MSL_FUNCTION matrix<T, C, R> &operator*=(matrix<T, C, R> &a, const matrix<T, C, C> &b)
{
    return a = a * b;
}
template <class T> MSL_FUNCTION T determinant(const matrix<T, 2, 2> &a)
{
    return a[0].at[0] * a[1].at[1] - a[1].at[0] * a[0].at[1];
}
// By the first column, each element with what is left without its row.
template <class T, int N> MSL_FUNCTION T determinant(const matrix<T, N, N> &a)
{
    T sum = T(0);
    for (int row = 0; row < N; row++) {
        matrix<T, N - 1, N - 1> rest;
        for (int c = 1; c < N; c++)
            for (int r = 0, to = 0; r < N; r++)
                if (r != row) rest[c - 1].at[to++] = a[c].at[r];
        sum += (row % 2 != 0 ? -a[0].at[row] : a[0].at[row]) * determinant(rest);
    }
    return sum;
}
template <class T, int C, int R> MSL_FUNCTION matrix<T, R, C> transpose(const matrix<T, C, R> &a)
{
    matrix<T, R, C> t;
    for (int c = 0; c < C; c++)
        for (int r = 0; r < R; r++) t.column[r].at[c] = a.column[c].at[r];
    return t;
}

template <class T, size_t N> struct array {
    T at[N];
    MSL_FUNCTION T &operator[](size_t i) { return at[i]; }
    MSL_FUNCTION const T &operator[](size_t i) const { return at[i]; }
    static constexpr size_t size() { return N; }
};

template <class T> struct numeric_limits {
    static_assert(is_integral_v<T>, "numeric_limits of this type");
    static constexpr bool is_signed = T(-1) < T(0);
    static MSL_FUNCTION constexpr T lowest() { return is_signed ? T(T(1) << (sizeof(T) * 8 - 1)) : T(0); }
    static MSL_FUNCTION constexpr T min() { return lowest(); }
    static MSL_FUNCTION constexpr T max() { return T(~lowest()); }
};
template <> struct numeric_limits<float> {
    static MSL_FUNCTION constexpr float lowest() { return -3.402823466e38f; }
    static MSL_FUNCTION constexpr float min() { return 1.175494351e-38f; }
    static MSL_FUNCTION constexpr float max() { return 3.402823466e38f; }
    static MSL_FUNCTION constexpr float epsilon() { return 1.192092896e-7f; }
    static MSL_FUNCTION constexpr float infinity() { return __builtin_inff(); }
    static MSL_FUNCTION constexpr float quiet_NaN() { return __builtin_nanf(""); }
};
#ifdef __CUDACC__
#define MSL_HALF_CONSTANT MSL_FUNCTION
#else
#define MSL_HALF_CONSTANT MSL_FUNCTION constexpr
#endif
template <> struct numeric_limits<half> {
    static MSL_HALF_CONSTANT half lowest() { return half(-65504.0f); }
    static MSL_HALF_CONSTANT half min() { return half(6.103515625e-5f); }
    static MSL_HALF_CONSTANT half max() { return half(65504.0f); }
    static MSL_HALF_CONSTANT half epsilon() { return half(9.765625e-4f); }
    static MSL_HALF_CONSTANT half infinity() { return half(__builtin_inff()); }
    static MSL_HALF_CONSTANT half quiet_NaN() { return half(__builtin_nanf("")); }
};
template <> struct numeric_limits<bfloat> {
    static MSL_HALF_CONSTANT bfloat lowest() { return bfloat(-3.3895314e38f); }
    static MSL_HALF_CONSTANT bfloat min() { return bfloat(1.175494351e-38f); }
    static MSL_HALF_CONSTANT bfloat max() { return bfloat(3.3895314e38f); }
    static MSL_HALF_CONSTANT bfloat epsilon() { return bfloat(7.8125e-3f); }
    static MSL_HALF_CONSTANT bfloat infinity() { return bfloat(__builtin_inff()); }
    static MSL_HALF_CONSTANT bfloat quiet_NaN() { return bfloat(__builtin_nanf("")); }
};
#undef MSL_HALF_CONSTANT

enum class mem_flags : uint { mem_none = 0, mem_device = 1, mem_threadgroup = 2, mem_texture = 4 };
MSL_FUNCTION constexpr mem_flags operator|(mem_flags a, mem_flags b) { return mem_flags(uint(a) | uint(b)); }
enum memory_order { memory_order_relaxed };
} // namespace metal
