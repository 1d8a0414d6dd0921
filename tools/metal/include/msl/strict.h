// Metal for the strict pass: declarations that clang only looks at. Address spaces are clang's own, vectors its own
// ext_vector_type, and every function is overloaded exactly as often as Metal's, so that what Apple's compiler finds
// ambiguous, inconvertible or missing is so here. Nothing in this file is ever run.
#pragma once
#define device __attribute__((address_space(1)))
#define constant const __attribute__((address_space(2)))
#define threadgroup __attribute__((address_space(3)))
#define thread
#define is_function_constant_defined(name) (sizeof(name) > 0)

typedef unsigned char uchar;
typedef unsigned short ushort;
typedef unsigned int uint;
typedef unsigned long ulong;
typedef unsigned long size_t;
typedef long ptrdiff_t;
typedef signed char int8_t;
typedef short int16_t;
typedef int int32_t;
typedef long int64_t;
typedef unsigned char uint8_t;
typedef unsigned short uint16_t;
typedef unsigned int uint32_t;
typedef unsigned long uint64_t;
typedef _Float16 half;
typedef __bf16 bfloat;

#define MSL_VECTORS(T)                                                                                                 \
    typedef T T##2 __attribute__((ext_vector_type(2)));                                                                \
    typedef T T##3 __attribute__((ext_vector_type(3)));                                                                \
    typedef T T##4 __attribute__((ext_vector_type(4)));
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
#define MSL_PACKED(T, bytes)                                                                                           \
    typedef T packed_##T##2 __attribute__((ext_vector_type(2), aligned(bytes)));                                       \
    typedef T packed_##T##3 __attribute__((ext_vector_type(3), aligned(bytes)));                                       \
    typedef T packed_##T##4 __attribute__((ext_vector_type(4), aligned(bytes)));
MSL_PACKED(float, 4)
MSL_PACKED(half, 2)
MSL_PACKED(bfloat, 2)
MSL_PACKED(char, 1)
MSL_PACKED(uchar, 1)
MSL_PACKED(short, 2)
MSL_PACKED(ushort, 2)
MSL_PACKED(int, 4)
MSL_PACKED(uint, 4)
#undef MSL_PACKED

namespace metal {
using ::bfloat;
using ::half;
using ::int16_t;
using ::int32_t;
using ::int64_t;
using ::int8_t;
using ::ptrdiff_t;
using ::size_t;
using ::uchar;
using ::uint;
using ::uint16_t;
using ::uint32_t;
using ::uint64_t;
using ::uint8_t;
using ::ulong;
using ::ushort;
#define MSL_USING(T)                                                                                                   \
    using ::T##2;                                                                                                      \
    using ::T##3;                                                                                                      \
    using ::T##4;
MSL_USING(float)
MSL_USING(half)
MSL_USING(bfloat)
MSL_USING(char)
MSL_USING(uchar)
MSL_USING(short)
MSL_USING(ushort)
MSL_USING(int)
MSL_USING(uint)
MSL_USING(long)
MSL_USING(ulong)
MSL_USING(bool)
MSL_USING(packed_float)
MSL_USING(packed_half)
MSL_USING(packed_uint)
MSL_USING(packed_int)
#undef MSL_USING

template <class T, int N> using vec = T __attribute__((ext_vector_type(N)));

// ---- what the type traits say ----

template <class T, T v> struct integral_constant {
    static constexpr T value = v;
    typedef T value_type;
    constexpr operator T() const { return v; }
};
template <bool B> using bool_constant = integral_constant<bool, B>;
typedef integral_constant<bool, true> true_type;
typedef integral_constant<bool, false> false_type;
template <class A, class B> struct is_same : false_type {
};
template <class A> struct is_same<A, A> : true_type {
};
template <class A, class B> constexpr bool is_same_v = is_same<A, B>::value;
template <bool B, class T = void> struct enable_if {
};
template <class T> struct enable_if<true, T> {
    typedef T type;
};
template <bool B, class T = void> using enable_if_t = typename enable_if<B, T>::type;
template <bool B, class T, class F> struct conditional {
    typedef T type;
};
template <class T, class F> struct conditional<false, T, F> {
    typedef F type;
};
template <bool B, class T, class F> using conditional_t = typename conditional<B, T, F>::type;
#define MSL_CHANGE(name, builtin)                                                                                      \
    template <class T> struct name {                                                                                   \
        typedef builtin(T) type;                                                                                       \
    };                                                                                                                 \
    template <class T> using name##_t = builtin(T);
MSL_CHANGE(remove_const, __remove_const)
MSL_CHANGE(remove_volatile, __remove_volatile)
MSL_CHANGE(remove_cv, __remove_cv)
MSL_CHANGE(remove_reference, __remove_reference_t)
MSL_CHANGE(remove_pointer, __remove_pointer)
MSL_CHANGE(make_unsigned, __make_unsigned)
MSL_CHANGE(make_signed, __make_signed)
MSL_CHANGE(decay, __decay)
#undef MSL_CHANGE
template <class T> struct is_integral : integral_constant<bool, __is_integral(T)> {
};
template <class T> struct is_floating_point : integral_constant<bool, __is_floating_point(T)> {
};
template <class T> struct is_arithmetic : integral_constant<bool, __is_arithmetic(T)> {
};
template <class T> struct is_signed : integral_constant<bool, __is_signed(T)> {
};
template <class T> struct is_unsigned : integral_constant<bool, __is_unsigned(T)> {
};
template <class T> struct is_pointer : integral_constant<bool, __is_pointer(T)> {
};
template <class A, class B> struct is_convertible : integral_constant<bool, __is_convertible_to(A, B)> {
};
template <class A, class B> constexpr bool is_convertible_v = is_convertible<A, B>::value;
template <class T> constexpr bool is_pointer_v = is_pointer<T>::value;
template <class T> constexpr bool is_integral_v = is_integral<T>::value;
template <class T> constexpr bool is_floating_point_v = is_floating_point<T>::value;
template <class T> constexpr bool is_arithmetic_v = is_arithmetic<T>::value;
template <class T> constexpr bool is_signed_v = is_signed<T>::value;
template <class T> constexpr bool is_unsigned_v = is_unsigned<T>::value;

template <class T> struct msl_shape {
    static constexpr int count = 1;
    static constexpr bool is_vector = false;
};
template <class T, int N> struct msl_shape<T __attribute__((ext_vector_type(N)))> {
    static constexpr int count = N;
    static constexpr bool is_vector = true;
};
constexpr int msl_total() { return 0; }
template <class... Rest> constexpr int msl_total(int first, Rest... rest) { return first + msl_total(rest...); }

// float4(a.xy, 0, 1) and (float4)x: the parts add up, or one scalar fills all.
template <class T, class... A> constexpr enable_if_t<msl_shape<T>::is_vector, T> msl_make(A...)
{
    static_assert(msl_total(msl_shape<A>::count...) == msl_shape<T>::count || sizeof...(A) == 0 ||
                      (sizeof...(A) == 1 && msl_total(msl_shape<A>::count...) == 1),
                  "vector constructor: the parts have more or fewer components than the vector");
    return T{};
}
template <class T, class... A> constexpr enable_if_t<!msl_shape<T>::is_vector, T> msl_make(A... a) { return T(a...); }
template <class To, class From> constexpr To as_type(From)
{
    static_assert(sizeof(To) == sizeof(From), "as_type: the types have different sizes");
    return To{};
}

template <class T> struct numeric_limits {
    static constexpr T lowest() { return T(0); }
    static constexpr T min() { return T(0); }
    static constexpr T max() { return T(0); }
    static constexpr T epsilon() { return T(0); }
    static constexpr T infinity() { return T(0); }
    static constexpr T quiet_NaN() { return T(0); }
};
template <class T, size_t N> struct array {
    T at[N];
    T &operator[](size_t);
    const T &operator[](size_t) const;
    static constexpr size_t size() { return N; }
};

// ---- mathematics ----

#define MSL_WITH_VECTORS(M, T, name) M(T, name) M(T##2, name) M(T##3, name) M(T##4, name)
#define MSL_FLOATS(M, name) MSL_WITH_VECTORS(M, float, name) MSL_WITH_VECTORS(M, half, name)
#define MSL_INTS(M, name)                                                                                              \
    MSL_WITH_VECTORS(M, char, name)                                                                                    \
    MSL_WITH_VECTORS(M, uchar, name)                                                                                   \
    MSL_WITH_VECTORS(M, short, name)                                                                                   \
    MSL_WITH_VECTORS(M, ushort, name)                                                                                  \
    MSL_WITH_VECTORS(M, int, name) MSL_WITH_VECTORS(M, uint, name) MSL_WITH_VECTORS(M, long, name)                     \
        MSL_WITH_VECTORS(M, ulong, name)
#define MSL_ALL(M, name) MSL_FLOATS(M, name) MSL_INTS(M, name)
#define MSL_SCALARS(M, name)                                                                                           \
    M(char, name) M(uchar, name) M(short, name) M(ushort, name) M(int, name) M(uint, name) M(long, name) M(ulong, name)
#define MSL_1(T, name) T name(T);
#define MSL_2(T, name) T name(T, T);
#define MSL_3(T, name) T name(T, T, T);
#define MSL_OUT(T, name) T name(T, T &);

#define MSL_MATH                                                                                                       \
    MSL_FLOATS(MSL_1, acos)                                                                                            \
    MSL_FLOATS(MSL_1, acosh)                                                                                           \
    MSL_FLOATS(MSL_1, asin)                                                                                            \
    MSL_FLOATS(MSL_1, asinh)                                                                                           \
    MSL_FLOATS(MSL_1, atan)                                                                                            \
    MSL_FLOATS(MSL_1, atanh)                                                                                           \
    MSL_FLOATS(MSL_1, ceil)                                                                                            \
    MSL_FLOATS(MSL_1, cos)                                                                                             \
    MSL_FLOATS(MSL_1, cosh)                                                                                            \
    MSL_FLOATS(MSL_1, cospi)                                                                                           \
    MSL_FLOATS(MSL_1, exp)                                                                                             \
    MSL_FLOATS(MSL_1, exp10)                                                                                           \
    MSL_FLOATS(MSL_1, exp2)                                                                                            \
    MSL_FLOATS(MSL_1, fabs)                                                                                            \
    MSL_FLOATS(MSL_1, floor)                                                                                           \
    MSL_FLOATS(MSL_1, fract)                                                                                           \
    MSL_FLOATS(MSL_1, log)                                                                                             \
    MSL_FLOATS(MSL_1, log10)                                                                                           \
    MSL_FLOATS(MSL_1, log2)                                                                                            \
    MSL_FLOATS(MSL_1, rint)                                                                                            \
    MSL_FLOATS(MSL_1, round)                                                                                           \
    MSL_FLOATS(MSL_1, rsqrt)                                                                                           \
    MSL_FLOATS(MSL_1, saturate)                                                                                        \
    MSL_FLOATS(MSL_1, sign)                                                                                            \
    MSL_FLOATS(MSL_1, sin)                                                                                             \
    MSL_FLOATS(MSL_1, sinh)                                                                                            \
    MSL_FLOATS(MSL_1, sinpi)                                                                                           \
    MSL_FLOATS(MSL_1, sqrt)                                                                                            \
    MSL_FLOATS(MSL_1, tan)                                                                                             \
    MSL_FLOATS(MSL_1, tanh)                                                                                            \
    MSL_FLOATS(MSL_1, tanpi)                                                                                           \
    MSL_FLOATS(MSL_1, trunc)                                                                                           \
    MSL_FLOATS(MSL_2, atan2)                                                                                           \
    MSL_FLOATS(MSL_2, copysign)                                                                                        \
    MSL_FLOATS(MSL_2, divide)                                                                                          \
    MSL_FLOATS(MSL_2, fdim)                                                                                            \
    MSL_FLOATS(MSL_2, fmax)                                                                                            \
    MSL_FLOATS(MSL_2, fmin)                                                                                            \
    MSL_FLOATS(MSL_2, fmod)                                                                                            \
    MSL_FLOATS(MSL_2, pow)                                                                                             \
    MSL_FLOATS(MSL_2, powr)                                                                                            \
    MSL_FLOATS(MSL_2, step)                                                                                            \
    MSL_FLOATS(MSL_OUT, modf)                                                                                          \
    MSL_FLOATS(MSL_OUT, sincos)

MSL_MATH
namespace precise {
MSL_MATH
}
namespace fast {
MSL_MATH
MSL_FLOATS(MSL_2, max)
MSL_FLOATS(MSL_2, min)
MSL_FLOATS(MSL_3, clamp)
} // namespace fast
MSL_FLOATS(MSL_3, fma)
MSL_FLOATS(MSL_3, mix)
MSL_FLOATS(MSL_3, smoothstep)
MSL_ALL(MSL_1, abs)
MSL_ALL(MSL_2, max)
MSL_ALL(MSL_2, min)
MSL_ALL(MSL_3, clamp)
MSL_ALL(MSL_3, max3)
MSL_ALL(MSL_3, median3)
MSL_ALL(MSL_3, min3)
MSL_INTS(MSL_1, clz)
MSL_INTS(MSL_1, ctz)
MSL_INTS(MSL_1, popcount)
MSL_INTS(MSL_1, reverse_bits)
#define MSL_DIFFERENCE(T, name) make_unsigned_t<T> name(T, T);
MSL_SCALARS(MSL_DIFFERENCE, absdiff)
int mulhi(int, int);
uint mulhi(uint, uint);
MSL_SCALARS(MSL_2, rotate)
int mad24(int, int, int);
uint mad24(uint, uint, uint);
int mul24(int, int);
uint mul24(uint, uint);
int extract_bits(int, uint, uint);
uint extract_bits(uint, uint, uint);
uint insert_bits(uint, uint, uint, uint);
float ldexp(float, int);
half ldexp(half, int);
float frexp(float, int &);
half frexp(half, int &);

// A comparison of clang's vectors yields integers where Metal's yields bool: both are taken.
#define MSL_SELECT(T, name) template <class I> enable_if_t<msl_shape<I>::count == msl_shape<T>::count, T> name(T, T, I);
MSL_ALL(MSL_SELECT, select)
template <class I, int N> bool any(vec<I, N>);
template <class I, int N> bool all(vec<I, N>);
#define MSL_IS(T, name)                                                                                                \
    bool name(T);                                                                                                      \
    bool##2 name(T##2);                                                                                                \
    bool##3 name(T##3);                                                                                                \
    bool##4 name(T##4);
#define MSL_IS_EACH(name) MSL_IS(float, name) MSL_IS(half, name)
MSL_IS_EACH(isnan)
MSL_IS_EACH(isinf)
MSL_IS_EACH(isfinite)
MSL_IS_EACH(isnormal)
MSL_IS_EACH(signbit)

#define MSL_GEOMETRY(T, V)                                                                                             \
    T dot(V, V);                                                                                                       \
    T length(V);                                                                                                       \
    T length_squared(V);                                                                                               \
    T distance(V, V);                                                                                                  \
    T distance_squared(V, V);                                                                                          \
    V normalize(V);
#define MSL_GEOMETRIES(T) MSL_GEOMETRY(T, T##2) MSL_GEOMETRY(T, T##3) MSL_GEOMETRY(T, T##4) T##3 cross(T##3, T##3);
MSL_GEOMETRIES(float)
MSL_GEOMETRIES(half)

template <class T, int C, int R> struct matrix {
    vec<T, R> columns[C];
    matrix() = default;
    explicit matrix(T);
    template <class U> explicit matrix(matrix<U, C, R>);
    template <class... V, class = enable_if_t<sizeof...(V) == C * R && (C * R > C)>, class = void> matrix(V...);
    template <class... V, class = enable_if_t<sizeof...(V) == C>> matrix(V...);
    vec<T, R> &operator[](int);
    const vec<T, R> &operator[](int) const;
};
#define MSL_MATRIX(T, C, R) typedef matrix<T, C, R> T##C##x##R;
#define MSL_MATRICES(T)                                                                                                \
    MSL_MATRIX(T, 2, 2)                                                                                                \
    MSL_MATRIX(T, 2, 3)                                                                                                \
    MSL_MATRIX(T, 2, 4)                                                                                                \
    MSL_MATRIX(T, 3, 2)                                                                                                \
    MSL_MATRIX(T, 3, 3) MSL_MATRIX(T, 3, 4) MSL_MATRIX(T, 4, 2) MSL_MATRIX(T, 4, 3) MSL_MATRIX(T, 4, 4)
MSL_MATRICES(float)
MSL_MATRICES(half)
template <class T, int C, int R> matrix<T, C, R> operator+(matrix<T, C, R>, matrix<T, C, R>);
template <class T, int C, int R> matrix<T, C, R> operator-(matrix<T, C, R>, matrix<T, C, R>);
template <class T, int C, int R> matrix<T, C, R> &operator+=(matrix<T, C, R> &, matrix<T, C, R>);
template <class T, int C, int R> matrix<T, C, R> &operator-=(matrix<T, C, R> &, matrix<T, C, R>);
template <class T, int C, int R> matrix<T, C, R> operator-(matrix<T, C, R>);
template <class T, int C, int R> matrix<T, C, R> operator*(matrix<T, C, R>, T);
template <class T, int C, int R> matrix<T, C, R> &operator*=(matrix<T, C, R> &, T);
template <class T, int C, int R> matrix<T, C, R> &operator*=(matrix<T, C, R> &, matrix<T, C, C>);
template <class T, int N> T determinant(matrix<T, N, N>);
template <class T, int C, int R> matrix<T, C, R> operator*(T, matrix<T, C, R>);
template <class T, int C, int R> vec<T, R> operator*(matrix<T, C, R>, vec<T, C>);
template <class T, int C, int R> vec<T, C> operator*(vec<T, R>, matrix<T, C, R>);
template <class T, int C, int R, int K> matrix<T, C, R> operator*(matrix<T, K, R>, matrix<T, C, K>);
template <class T, int C, int R> matrix<T, R, C> transpose(matrix<T, C, R>);

// ---- threads ----

enum class mem_flags : uint { mem_none = 0, mem_device = 1, mem_threadgroup = 2, mem_texture = 4 };
constexpr mem_flags operator|(mem_flags a, mem_flags b) { return mem_flags(uint(a) | uint(b)); }
void threadgroup_barrier(mem_flags);
void simdgroup_barrier(mem_flags);

#define MSL_LANE(T, name) T name(T, ushort);
#define MSL_FILL(T, name) T name(T, T, ushort);
#define MSL_SIMD(M, name)                                                                                              \
    MSL_FLOATS(M, name)                                                                                                \
    MSL_WITH_VECTORS(M, char, name)                                                                                    \
    MSL_WITH_VECTORS(M, uchar, name)                                                                                   \
    MSL_WITH_VECTORS(M, short, name)                                                                                   \
    MSL_WITH_VECTORS(M, ushort, name) MSL_WITH_VECTORS(M, int, name) MSL_WITH_VECTORS(M, uint, name)
#define MSL_BITS(M, name)                                                                                              \
    MSL_WITH_VECTORS(M, char, name)                                                                                    \
    MSL_WITH_VECTORS(M, uchar, name)                                                                                   \
    MSL_WITH_VECTORS(M, short, name)                                                                                   \
    MSL_WITH_VECTORS(M, ushort, name) MSL_WITH_VECTORS(M, int, name) MSL_WITH_VECTORS(M, uint, name)
MSL_SIMD(MSL_1, simd_sum)
MSL_SIMD(MSL_1, simd_product)
MSL_SIMD(MSL_1, simd_max)
MSL_SIMD(MSL_1, simd_min)
MSL_BITS(MSL_1, simd_and)
MSL_BITS(MSL_1, simd_or)
MSL_BITS(MSL_1, simd_xor)
MSL_SIMD(MSL_1, simd_broadcast_first)
MSL_SIMD(MSL_1, simd_prefix_inclusive_sum)
MSL_SIMD(MSL_1, simd_prefix_exclusive_sum)
MSL_SIMD(MSL_1, simd_prefix_inclusive_product)
MSL_SIMD(MSL_1, simd_prefix_exclusive_product)
MSL_SIMD(MSL_1, quad_sum)
MSL_SIMD(MSL_1, quad_max)
MSL_SIMD(MSL_1, quad_min)
MSL_SIMD(MSL_LANE, simd_shuffle)
MSL_SIMD(MSL_LANE, simd_broadcast)
MSL_SIMD(MSL_LANE, simd_shuffle_down)
MSL_SIMD(MSL_LANE, simd_shuffle_up)
MSL_SIMD(MSL_LANE, simd_shuffle_xor)
MSL_SIMD(MSL_LANE, simd_shuffle_rotate_down)
MSL_SIMD(MSL_LANE, simd_shuffle_rotate_up)
MSL_SIMD(MSL_FILL, simd_shuffle_and_fill_down)
MSL_SIMD(MSL_FILL, simd_shuffle_and_fill_up)
MSL_SIMD(MSL_LANE, quad_broadcast)
MSL_SIMD(MSL_LANE, quad_shuffle_xor)
struct simd_vote {
    explicit operator ulong() const;
};
simd_vote simd_ballot(bool);
bool simd_any(bool);
bool simd_all(bool);
bool simd_is_first();

template <class T, int Columns, int Rows> struct simdgroup_matrix {
    static_assert(Columns == 8 && Rows == 8, "simdgroup_matrix: only 8x8");
    static_assert(is_same_v<T, float> || is_same_v<T, half> || is_same_v<T, bfloat>,
                  "simdgroup_matrix: only of float, half and bfloat");
    simdgroup_matrix() = default;
    explicit simdgroup_matrix(T);
    vec<T, 2> &thread_elements();

  private:
    T mine[2];
};
typedef simdgroup_matrix<float, 8, 8> simdgroup_float8x8;
typedef simdgroup_matrix<half, 8, 8> simdgroup_half8x8;
typedef simdgroup_matrix<bfloat, 8, 8> simdgroup_bfloat8x8;
template <class T, int C, int R = C> simdgroup_matrix<T, C, R> make_filled_simdgroup_matrix(T);
#define MSL_MATRIX_MEMORY(space)                                                                                       \
    template <class T>                                                                                                 \
    void simdgroup_load(simdgroup_matrix<T, 8, 8> &, const space T *, ulong = 8, ulong2 = 0, bool = false);            \
    template <class T> void simdgroup_store(simdgroup_matrix<T, 8, 8>, space T *, ulong = 8, ulong2 = 0, bool = false);
MSL_MATRIX_MEMORY(device)
MSL_MATRIX_MEMORY(threadgroup)
template <class D, class A, class B, class C>
void simdgroup_multiply_accumulate(simdgroup_matrix<D, 8, 8> &, simdgroup_matrix<A, 8, 8>, simdgroup_matrix<B, 8, 8>,
                                   simdgroup_matrix<C, 8, 8>);
template <class D, class A, class B>
void simdgroup_multiply(simdgroup_matrix<D, 8, 8> &, simdgroup_matrix<A, 8, 8>, simdgroup_matrix<B, 8, 8>);

// ---- atomics: float ones only in device memory ----

enum memory_order { memory_order_relaxed };
template <class T> struct atomic {
  private:
    T value;
};
typedef atomic<int> atomic_int;
typedef atomic<uint> atomic_uint;
typedef atomic<bool> atomic_bool;
typedef atomic<float> atomic_float;
#define MSL_ATOMIC_ANY(space, T)                                                                                       \
    T atomic_load_explicit(const volatile space atomic<T> *, memory_order);                                            \
    void atomic_store_explicit(volatile space atomic<T> *, T, memory_order);                                           \
    T atomic_exchange_explicit(volatile space atomic<T> *, T, memory_order);                                           \
    bool atomic_compare_exchange_weak_explicit(volatile space atomic<T> *, T *, T, memory_order, memory_order);
#define MSL_ATOMIC_SUM(space, T)                                                                                       \
    MSL_ATOMIC_ANY(space, T)                                                                                           \
    T atomic_fetch_add_explicit(volatile space atomic<T> *, T, memory_order);                                          \
    T atomic_fetch_sub_explicit(volatile space atomic<T> *, T, memory_order);
#define MSL_ATOMIC_INT(space, T)                                                                                       \
    MSL_ATOMIC_SUM(space, T)                                                                                           \
    T atomic_fetch_max_explicit(volatile space atomic<T> *, T, memory_order);                                          \
    T atomic_fetch_min_explicit(volatile space atomic<T> *, T, memory_order);                                          \
    T atomic_fetch_and_explicit(volatile space atomic<T> *, T, memory_order);                                          \
    T atomic_fetch_or_explicit(volatile space atomic<T> *, T, memory_order);                                           \
    T atomic_fetch_xor_explicit(volatile space atomic<T> *, T, memory_order);
MSL_ATOMIC_INT(device, int)
MSL_ATOMIC_INT(device, uint)
MSL_ATOMIC_INT(threadgroup, int)
MSL_ATOMIC_INT(threadgroup, uint)
MSL_ATOMIC_ANY(device, bool)
MSL_ATOMIC_ANY(threadgroup, bool)
MSL_ATOMIC_SUM(device, float)
} // namespace metal
using metal::as_type;
using metal::msl_make;
using metal::vec;
