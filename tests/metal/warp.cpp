// The simdgroup operations of metal-cuda on the CPU: include/msl/warp.h, whose shuffles and ballots are made here of 32
// threads that meet. Each operation's result is compared, in every lane, with a sum or a choice written out plainly; a
// product of matrices with the triple loop. A line a wrong result, then how many were right and wrong.
#include <pthread.h>
#include <stdio.h>
#include <thread>
#include <vector>

static thread_local unsigned my_lane;
static unsigned there = 32; // lanes of the simdgroup
static unsigned slots[32];
static pthread_barrier_t meeting;

static unsigned __shfl_sync(unsigned, unsigned value, int lane)
{
    slots[my_lane] = value;
    pthread_barrier_wait(&meeting);
    const unsigned other = slots[lane];
    pthread_barrier_wait(&meeting);
    return other;
}
static unsigned __ballot_sync(unsigned, int value)
{
    slots[my_lane] = value != 0;
    pthread_barrier_wait(&meeting);
    unsigned bits = 0;
    for (unsigned l = 0; l < there; l++) bits |= slots[l] << l;
    pthread_barrier_wait(&meeting);
    return bits;
}
static void __syncwarp(unsigned)
{
    pthread_barrier_wait(&meeting);
}

#include "msl/warp.h"

namespace msl
{
uint32_t lane()
{
    return my_lane;
}
uint32_t members()
{
    return there == 32 ? 0xffffffffu : (1u << there) - 1;
}
} // namespace msl

static int passed, failed;

template <class Body> static void simdgroup(unsigned lanes, Body body)
{
    there = lanes;
    pthread_barrier_init(&meeting, nullptr, lanes);
    std::vector<std::thread> threads;
    for (unsigned l = 0; l < lanes; l++)
        threads.emplace_back([=] {
            my_lane = l;
            body(l);
        });
    for (std::thread &t : threads) t.join();
    pthread_barrier_destroy(&meeting);
}

// got(lane) is run by all lanes together, wanted(lane) alone.
template <class Got, class Wanted> static void check(const char *what, unsigned lanes, Got got, Wanted wanted)
{
    double results[32];
    simdgroup(lanes, [&, got](unsigned l) { results[l] = double(got(l)); });
    for (unsigned l = 0; l < lanes; l++) {
        const bool right = results[l] == double(wanted(l));
        (right ? passed : failed)++;
        if (!right) printf("FAIL %s of %u: lane %u has %g, not %g\n", what, lanes, l, results[l], double(wanted(l)));
    }
}

// A value of each lane that no other has, small enough to be exact in sums.
static int value_of(unsigned lane)
{
    return int(lane * 7 % 32) - 11;
}

template <class F> static int over(unsigned begin, unsigned end, int start, F join)
{
    for (unsigned l = begin; l < end; l++) start = join(start, value_of(l));
    return start;
}

static void reductions(unsigned n)
{
    using namespace metal;
    auto plus = [](int a, int b) { return a + b; };
    auto larger = [](int a, int b) { return a > b ? a : b; };
    auto smaller = [](int a, int b) { return a < b ? a : b; };
    check(
        "simd_sum", n, [](unsigned l) { return simd_sum(float(value_of(l))); },
        [&](unsigned) { return over(0, n, 0, plus); });
    check(
        "simd_max", n, [](unsigned l) { return simd_max(value_of(l)); },
        [&](unsigned) { return over(0, n, -99, larger); });
    check(
        "simd_min", n, [](unsigned l) { return simd_min(float(value_of(l))); },
        [&](unsigned) { return over(0, n, 99, smaller); });
    check(
        "simd_or", n, [](unsigned l) { return simd_or(1u << l); }, [&](unsigned) { return uint(msl::members()); });
    check(
        "simd_and", n, [](unsigned l) { return simd_and(~(1u << l)); },
        [&](unsigned) { return ~uint(msl::members()); });
    check(
        "simd_xor", n, [](unsigned l) { return simd_xor(value_of(l)); },
        [&](unsigned) { return over(0, n, 0, [](int a, int b) { return a ^ b; }); });
    check(
        "simd_product", n, [](unsigned l) { return simd_product(l < 5 ? float(l + 1) : 1.0f); },
        [](unsigned) { return 120; });
    check(
        "simd_prefix_inclusive_sum", n, [](unsigned l) { return simd_prefix_inclusive_sum(value_of(l)); },
        [&](unsigned l) { return over(0, l + 1, 0, plus); });
    check(
        "simd_prefix_exclusive_sum", n, [](unsigned l) { return simd_prefix_exclusive_sum(value_of(l)); },
        [&](unsigned l) { return over(0, l, 0, plus); });
    check(
        "quad_sum", n, [](unsigned l) { return quad_sum(value_of(l)); },
        [&](unsigned l) { return over(l / 4 * 4, l / 4 * 4 + 4 < n ? l / 4 * 4 + 4 : n, 0, plus); });
    check(
        "quad_max", n, [](unsigned l) { return quad_max(value_of(l)); },
        [&](unsigned l) { return over(l / 4 * 4, l / 4 * 4 + 4 < n ? l / 4 * 4 + 4 : n, -99, larger); });
    check(
        "simd_any", n, [](unsigned l) { return simd_any(l == 3); }, [](unsigned) { return true; });
    check(
        "simd_all", n, [](unsigned l) { return simd_all(l != 3); }, [](unsigned) { return false; });
    check(
        "simd_is_first", n, [](unsigned) { return simd_is_first(); }, [](unsigned l) { return l == 0; });
}

static void shuffles()
{
    using namespace metal;
    check(
        "simd_shuffle", 32, [](unsigned l) { return simd_shuffle(float(value_of(l)), ushort(31 - l)); },
        [](unsigned l) { return value_of(31 - l); });
    check(
        "simd_shuffle of a half", 32,
        [](unsigned l) { return float(simd_shuffle(half(float(value_of(l))), ushort(l / 2))); },
        [](unsigned l) { return value_of(l / 2); });
    check(
        "simd_shuffle of a long", 32, [](unsigned l) { return simd_shuffle(long(value_of(l)) << 33, ushort(l / 2)); },
        [](unsigned l) { return double(value_of(l / 2)) * 8589934592.0; });
    check(
        "simd_shuffle_xor", 32, [](unsigned l) { return simd_shuffle_xor(value_of(l), ushort(5)); },
        [](unsigned l) { return value_of(l ^ 5); });
    check(
        "simd_shuffle_down", 32, [](unsigned l) { return simd_shuffle_down(value_of(l), ushort(3)); },
        [](unsigned l) { return value_of(l + 3 < 32 ? l + 3 : l); });
    check(
        "simd_shuffle_up", 32, [](unsigned l) { return simd_shuffle_up(value_of(l), ushort(3)); },
        [](unsigned l) { return value_of(l >= 3 ? l - 3 : l); });
    check(
        "simd_shuffle_and_fill_down", 32,
        [](unsigned l) { return simd_shuffle_and_fill_down(value_of(l), 100 + int(l), ushort(3)); },
        [](unsigned l) { return l + 3 < 32 ? value_of(l + 3) : 100 + int(l + 3 - 32); });
    check(
        "simd_shuffle_and_fill_up", 32,
        [](unsigned l) { return simd_shuffle_and_fill_up(value_of(l), 100 + int(l), ushort(3)); },
        [](unsigned l) { return l >= 3 ? value_of(l - 3) : 100 + int(l + 32 - 3); });
    check(
        "simd_shuffle_rotate_down", 32, [](unsigned l) { return simd_shuffle_rotate_down(value_of(l), ushort(9)); },
        [](unsigned l) { return value_of((l + 9) % 32); });
    check(
        "simd_shuffle_rotate_up", 32, [](unsigned l) { return simd_shuffle_rotate_up(value_of(l), ushort(9)); },
        [](unsigned l) { return value_of((l + 23) % 32); });
    check(
        "simd_broadcast", 32, [](unsigned l) { return simd_broadcast(value_of(l), ushort(17)); },
        [](unsigned) { return value_of(17); });
    check(
        "quad_broadcast", 32, [](unsigned l) { return quad_broadcast(value_of(l), ushort(2)); },
        [](unsigned l) { return value_of(l / 4 * 4 + 2); });
    check(
        "quad_shuffle_xor", 32, [](unsigned l) { return quad_shuffle_xor(value_of(l), ushort(3)); },
        [](unsigned l) { return value_of(l ^ 3); });
}

// d = a b + c of 8x8 parts of larger matrices; a is read transposed, and d is stored so where `turned` says it.
template <class T> static void product(const char *name, bool turned)
{
    using namespace metal;
    enum { STRIDE = 11, ROW = 2, COLUMN = 1, SIZE = STRIDE * 12 };
    T a[SIZE], b[SIZE];
    float c[64], d[SIZE];
    for (int i = 0; i < SIZE; i++) {
        a[i] = T(float(i * 13 % 29 - 14));
        b[i] = T(float(i * 7 % 23 - 11));
        d[i] = 0.5f;
    }
    for (int i = 0; i < 64; i++) c[i] = float(i * 5 % 17);
    simdgroup(32, [&](unsigned) {
        simdgroup_matrix<T, 8, 8> left, right;
        simdgroup_float8x8 sum;
        simdgroup_load(left, a, ulong(STRIDE), ulong2(COLUMN, ROW), turned);
        simdgroup_load(right, b + ROW * STRIDE + COLUMN, ulong(STRIDE));
        simdgroup_load(sum, c);
        simdgroup_multiply_accumulate(sum, left, right, sum);
        simdgroup_store(sum, d, ulong(STRIDE), ulong2(COLUMN, ROW), turned);
    });
    int wrong = 0;
    for (int i = 0; i < SIZE; i++) {
        const int y = i / STRIDE - ROW, x = i % STRIDE - COLUMN, row = turned ? x : y, column = turned ? y : x;
        const bool inside = y >= 0 && y < 8 && x >= 0 && x < 8;
        float wanted = inside ? c[row * 8 + column] : 0.5f;
        for (int k = 0; inside && k < 8; k++) {
            const int at = turned ? (k + ROW) * STRIDE + COLUMN + row : (row + ROW) * STRIDE + COLUMN + k;
            wanted += float(a[at]) * float(b[(k + ROW) * STRIDE + COLUMN + column]);
        }
        wrong += d[i] != wanted;
    }
    (wrong ? failed : passed)++;
    if (wrong) printf("FAIL product of %s%s: %d elements\n", name, turned ? ", transposed" : "", wrong);
}

int main()
{
    reductions(32);
    reductions(13);
    shuffles();
    for (bool turned : {false, true}) {
        product<float>("float", turned);
        product<metal::half>("half", turned);
    }
    printf("%d right, %d wrong\n", passed, failed);
    return failed != 0;
}
