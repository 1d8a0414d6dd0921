// One kernel for each row of the table in docs/metal.md, which names it. Above each stand the arguments of
// tools/metal/mslrun and what buffer(0) must hold afterwards, its first values; tests/metal_kernels_test.py runs all
// under every check, none of which may complain.
#include <metal_stdlib>
#include <metal_atomic>
#include <metal_simdgroup_matrix>
#include "included.h"
using namespace metal;

// ---- types ----

// run: --threads 1 --threadgroups 1 --buffer 0=zeros:float32:8
// gives: -128 255 -32768 65535 4294967295 0.5 1.5 1
kernel void scalars(device float *out [[buffer(0)]])
{
    char c = char(-128);
    uchar u = uchar(255);
    short s = short(-32768);
    ushort w = ushort(65535);
    uint n = 0xffffffffu;
    long l = 1l << 40;
    ulong big = ulong(l) * 2ul;
    size_t size = sizeof(long);
    out[0] = float(c);
    out[1] = float(u);
    out[2] = float(s);
    out[3] = float(w);
    out[4] = float(n);
    out[5] = float(l) / float(big);
    out[6] = 1.5;
    out[7] = float(size == 8 && sizeof(half) == 2 && true);
}

// run: --threads 1 --threadgroups 1 --buffer 0=zeros:float32:6
// gives: 2049 2048 0.333251953125 65504 0.5 1
kernel void half_arithmetic(device float *out [[buffer(0)]])
{
    half x = 2048.0h, y = x + 1.0h; // no half is 2049: rounded after each operation
    out[0] = float(x) + 1.0f;
    out[1] = float(y);
    out[2] = float(1.0h / 3.0h);
    out[3] = float(HALF_MAX);
    half2 v = half2(0.25h);
    out[4] = float(v.x + v.y);
    out[5] = float(isinf(HALF_MAX * 2.0h));
}

// run: --threads 1 --threadgroups 1 --buffer 0=zeros:float32:4 --buffer 1=float16:2048,1,65504
// gives: 0 0 0 1
kernel void half_rounding(device float *out [[buffer(0)]], const device half *in [[buffer(1)]])
{
    out[0] = float(in[0] + in[1] - in[0]); // 2048 again, then 0
    out[1] = float((half4(in[0]) + half4(in[1]) - half4(in[0])).z);
    half sum = in[0];
    for (int i = 0; i < 3; i++) sum = sum + in[1];
    out[2] = float(sum) - 2048.0f;
    out[3] = float(isinf(in[2] + in[2] - in[2]));
}

// run: --threads 1 --threadgroups 1 --buffer 0=zeros:float32:2
// gives: 1 256
kernel void bfloat_values(device float *out [[buffer(0)]])
{
    bfloat b = bfloat(1.001f), c = bfloat(256.5f);
    out[0] = float(b);
    out[1] = float(c);
}

// run: --threads 1 --threadgroups 1 --buffer 0=zeros:float32:16
// gives: 1 2 3 4 4 3 1 1 7 8 3 4 2 4 9 5
kernel void vectors(device float *out [[buffer(0)]])
{
    float2 a = float2(1.0f, 2.0f);
    float4 v = float4(a, 3.0f, 4.0f), w(v.wzxx);
    device float4 *to = (device float4 *)out;
    to[0] = v;
    to[1] = w;
    v.xy = float2(7.0f, 8.0f);
    to[2] = v;
    v.rg = int4(2, 4, 0, 0).xy.x == 2 ? float2(2.0f, 4.0f) : a;
    v[2] = 9.0f;
    v.w += 1.0f;
    to[3] = v;
}

// run: --threads 1 --threadgroups 1 --buffer 0=zeros:float32:4 --buffer 1=iota:float32:4 --buffer 2=zeros:uint32:4
// gives: 9 8 7 6
kernel void swizzle_assignments(device float *out [[buffer(0)]], device float4 *in [[buffer(1)]],
                                device uint4 *bits [[buffer(2)]])
{
    float4 v = float4(1.0f, 2.0f, 3.0f, 4.0f);
    v.xyz.yx = float2(8.0f, 9.0f); // y, then x
    v.yz[1] = 6.0f;
    v.zw.x += 1.0f;
    device float4 *p = in;
    p->zw = p->xy + 5.0f;
    v.w = p->w;
    uint4 b = uint4(1u, 2u, 3u, 4u);
    b.xy |= uint2(8u, 8u);
    b.zw <<= 2u;
    b.wx ^= 1u;
    b.yz %= 7u;
    b.xw >>= 1u;
    b.xyzw &= 15u;
    bits[0] = b;
    out[0] = v.x;
    out[1] = b.x == 4u && b.y == 3u && b.z == 5u && b.w == 8u ? v.y : 0.0f;
    out[2] = v.z;
    out[3] = v.w;
}

struct Corner {
    float2 xy;
    union {
        float ab;
        float ba;
    };
    int rgb[2];
    float2 moved() const { return xy + ba; }
    struct {
        int x, y;
    } bg;
};
// run: --threads 1 --threadgroups 1 --buffer 0=zeros:float32:5
// gives: 7 1 5 3 9
kernel void members_called_as_swizzles(device float *out [[buffer(0)]])
{
    Corner c = {float2(1.0f, 2.0f), {3.0f}, {4, 5}};
    c.xy.y = 4.0f;
    thread Corner *p = &c;
    out[0] = c.moved().y;
    out[1] = p->xy.x;
    out[2] = float(c.rgb[1]);
    out[3] = p->ab;
    c.xy.yx = float2(9.0f, 8.0f);
    c.rgb[0]++;
    c.bg.x = 5;
    out[4] = c.xy.x + 1.0f + float(c.rgb[0] - c.bg.x);
}

// run: --threads 1 --threadgroups 1 --buffer 0=zeros:float32:8
// gives: 5 8 -3 0.5 1 0 3 6
kernel void vector_arithmetic(device float *out [[buffer(0)]])
{
    int4 i = int4(1, 2, 3, 4) * 2 + int4(3, 4, 5, 6);
    out[0] = float(i.x);
    out[1] = float((i << 1).y / 2);
    out[2] = (-(+float3(1.0f, 3.0f, 5.0f))).y;
    out[3] = (float2(1.0f, 2.0f) / 4.0f).y;
    bool4 b = float4(1.0f, 2.0f, 3.0f, 4.0f) > 2.5f;
    out[4] = float(any(b));
    out[5] = float(all(b));
    uint2 n = uint2(7u, 9u) % 4u;
    out[6] = float(n.x);
    float4 s = 1.0f;
    s += float4(5.0f);
    out[7] = s.z;
}

// run: --threads 1 --threadgroups 1 --buffer 0=zeros:float32:6 --buffer 1=uint16:65535,255,3,4 --buffer 2=int32:5,6
// gives: 1 65025 6 5 7 5
kernel void vector_wrapping(device float *out [[buffer(0)]], const device ushort4 *in [[buffer(1)]],
                            const device int2 *numbers [[buffer(2)]])
{
    ushort4 square = in[0] * in[0]; // components wrap: no overflow of an int
    out[0] = float(square.x);
    out[1] = float(square.y);
    int2 n = numbers[0];
    int2 before = n++;
    ++n;
    n--;
    out[2] = float(n.x);
    out[3] = float(before.x);
    out[4] = float(n.y);
    out[5] = float((--n).x);
}

struct Packed {
    packed_float3 p;
    float q;
};
// run: --threads 1 --threadgroups 1 --buffer 0=zeros:float32:4 --buffer 1=iota:float32:8
// gives: 4 5 6 7
kernel void packed_vectors(device float *out [[buffer(0)]], const device Packed *in [[buffer(1)]])
{
    float3 p = in[1].p;
    out[0] = p.x;
    out[1] = in[1].p[1];
    out[2] = p.z;
    out[3] = in[1].q;
}

// run: --threads 1 --threadgroups 1 --buffer 0=zeros:float32:6 --buffer 1=iota:float32:6
// gives: 5 10 5 12 8 2
kernel void packed_arithmetic(device float *out [[buffer(0)]], device packed_float3 *in [[buffer(1)]])
{
    out[0] = in[1].z;
    float3 sum = in[0] * 2.0f + in[1] + in[0];
    out[1] = sum.y - in[0].x + in[0].y * 3.0f;
    out[2] = in[1].zyx.x;
    out[3] = dot(in[1], packed_float3(1.0f));
    in[0] += in[1];
    in[0].yz = float2(8.0f, 7.0f);
    out[4] = float4(in[0], 1.0f).y;
    out[5] = in[0].x - 1.0f;
}

// run: --threads 1 --threadgroups 1 --buffer 0=zeros:float32:4 --buffer 1=float32:1,2,3,4 --buffer 2=float32:5,6,7,8
// gives: 3 8 9 4
kernel void arrays(device float *out [[buffer(0)]], constant array<float, 4> &in [[buffer(1)]],
                   device const array<float, 4> &other [[buffer(2)]])
{
    array<float, 2> own;
    own[1] = 9;
    out[0] = in[2];
    out[1] = other[3];
    out[2] = own[1];
    out[3] = float(own.size()) * 2;
}

// run: --threads 1 --threadgroups 1 --buffer 0=zeros:float32:9
// gives: 14 32 50 1 0 2 30 3 11
kernel void matrices(device float *out [[buffer(0)]])
{
    float3x3 m = float3x3(float3(1.0f, 4.0f, 7.0f), float3(2.0f, 5.0f, 8.0f), float3(3.0f, 6.0f, 9.0f));
    float3 v = m * float3(1.0f, 2.0f, 3.0f);
    out[0] = v.x;
    out[1] = v.y;
    out[2] = v.z;
    float2x2 one = float2x2(1.0f);
    out[3] = one[0][0];
    out[4] = one[0][1];
    out[5] = (transpose(m))[0][1];
    out[6] = (m * m)[0][0];
    out[7] = (transpose(m) + m - m)[0].z;
    float2x2 wide = float2x2(half2x2(half2(1.0h, 2.0h), half2(3.0h, 4.0h)));
    out[8] = (static_cast<float2>(half2(1.0h, 2.0h)) * (2.0f * wide)).y / 2.0f;
}

// run: --threads 1 --threadgroups 1 --buffer 0=zeros:float32:6
// gives: 3 -2 -2 22 -3 20
kernel void matrix_arithmetic(device float *out [[buffer(0)]])
{
    float2x2 m = float2x2(1.0f, 2.0f, 3.0f, 4.0f), n(float2(1.0f, 2.0f), float2(3.0f, 4.0f));
    out[0] = m[1][0];
    out[1] = determinant(n);
    out[2] = (-m)[0][1];
    m *= n;
    out[3] = m[1].y;
    out[4] = determinant(float3x3(0.0f, 1.0f, 2.0f, 3.0f, 4.0f, 5.0f, 6.0f, 7.0f, 9.0f));
    m -= n;
    n *= 2.0f;
    out[5] = n[1].y + m[1].x;
}

// run: --threads 1 --threadgroups 1 --buffer 0=zeros:uint32:3
// gives: 1065353216 15360 64
kernel void reinterpreted_bits(device uint *out [[buffer(0)]])
{
    out[0] = as_type<uint>(1.0f);
    out[1] = uint(as_type<ushort>(1.0h));
    out[2] = uint(as_type<uchar4>(0x40302010u).w);
}

enum Kind { PLAIN, SPECIAL = 5 };
enum class Mode : uint { none, some };
struct Item {
    float value;
    int list[3];
    Kind kind;
};
union Bits {
    float f;
    uint u;
};
typedef Item Thing;
using Number = float;
// run: --threads 1 --threadgroups 1 --buffer 0=zeros:float32:5 --buffer 1=iota:int32:10
// gives: 6 5 1 8 0.5
kernel void structs(device float *out [[buffer(0)]], device Thing *items [[buffer(1)]])
{
    Thing one = items[1]; // a copy of device memory
    out[0] = Number(one.list[0]);
    one.kind = SPECIAL;
    items[0] = one;
    out[1] = float(items[0].kind);
    out[2] = float(uint(Mode::some));
    out[3] = float(items[0].list[2]);
    Bits bits;
    bits.u = 0x3f000000u;
    out[4] = bits.f;
}

// ---- address spaces ----

float third(const device float *p) { return p[2]; }
float third(const threadgroup float *p) { return p[2]; }
float third(const thread float *p) { return p[2]; }
float third(constant float *p) { return p[2]; }
void increase(thread float &x) { x += 1.0f; }
void increase(device float &x) { x += 1.0f; }
// run: --threads 1 --threadgroups 1 --buffer 0=zeros:float32:6 --buffer 1=iota:float32:4 --buffer 2=iota:float32:4
// gives: 2 2 2 12 2 1
kernel void address_spaces(device float *out [[buffer(0)]], const device float *in [[buffer(1)]],
                           constant float *fixed [[buffer(2)]])
{
    threadgroup float group[4];
    for (int i = 0; i < 4; i++) group[i] = in[i];
    float local[4] = {10.0f, 11.0f, 12.0f, 13.0f}, x = 1.0f;
    out[0] = third(in);
    out[1] = third(fixed);
    out[2] = third(group);
    out[3] = third(local);
    increase(x);
    out[4] = x;
    increase(out[5]);
}

struct Counter {
    float count;
    float next(float by) const thread { return count + by; }
    float twice() const device { return 2.0f * count; }
};
// run: --threads 1 --threadgroups 1 --buffer 0=zeros:float32:2 --buffer 1=float32:3
// gives: 4 6
kernel void methods_by_space(device float *out [[buffer(0)]], const device Counter *c [[buffer(1)]])
{
    Counter mine = c[0];
    out[0] = mine.next(1.0f);
    out[1] = c[0].twice();
}

// run: --threads 8 --threadgroups 1 --buffer 0=zeros:float32:8 --buffer 1=iota:float32:8
// gives: 0 1 2 3 4 5 6 7
kernel void pointer_casts(device float *out [[buffer(0)]], const device uint *in [[buffer(1)]],
                          uint i [[thread_position_in_grid]])
{
    const device float *p = reinterpret_cast<const device float *>(in);
    out[i] = i < 4 ? p[i] : ((const device float *)in)[i];
}

// ---- program scope ----

constant float table[4] = {1.0f, 2.0f, 4.0f, 8.0f};
constant int SIZE = 3;
static constant constexpr float half_of_pi = M_PI_F / 2.0f;
struct Fixed {
    static constant constexpr int width = 2;
};
// run: --threads 1 --threadgroups 1 --buffer 0=zeros:float32:4
// gives: 4 3 1.570796 2
kernel void program_constants(device float *out [[buffer(0)]])
{
    float local[SIZE] = {0.0f, 0.0f, 4.0f};
    out[0] = table[2] * local[2] / 4.0f;
    out[1] = float(SIZE);
    out[2] = half_of_pi;
    out[3] = float(Fixed::width);
}

constant int repeat [[function_constant(0)]];
constant bool with_extra [[function_constant(1)]];
constant float scale [[function_constant(2)]];
constant int repeat_twice = repeat * 2;
constant float real_scale = is_function_constant_defined(scale) ? scale : 0.25f;
// run: --threads 1 --threadgroups 1 --buffer 0=zeros:float32:4 --constant repeat=int32:3 --constant with_extra=bool:0
// gives: 3 6 0.25 -1
kernel void function_constants(device float *out [[buffer(0)]],
                               const device float *extra [[buffer(1), function_constant(with_extra)]])
{
    for (int i = 0; i < repeat; i++) out[0] += 1.0f;
    out[1] = float(repeat_twice);
    out[2] = real_scale;
    out[3] = with_extra ? extra[0] : -1.0f;
}

enum Place { PLACE_OUT, PLACE_IN = 0x4, PLACE_COUNT, PLACE_FACTOR = 20 };
constant float factor [[function_constant(PLACE_FACTOR)]];
constant float twice_factor = is_function_constant_defined(factor) ? 2.0f * factor : 8.0f;
// run: --threads 1 --threadgroups 1 --buffer 0=zeros:float32:6 --constant factor=float32:3
// gives: 6 12 6 7 6 18
kernel void derived_constants(device float *out [[buffer(0)]])
{
    float3 v = float3(1.0f, 2.0f, 3.0f);
    out[0] = (v * twice_factor).x;
    out[1] = (twice_factor * v).y;
    out[2] = max(v, twice_factor).z;
    out[3] = (twice_factor + v).x;
    out[4] = float4(twice_factor).w;
    v *= twice_factor;
    out[5] = v.z;
}

// ---- threads and grids ----

// run: --threads 4,2,2 --threadgroups 2,2,1 --buffer 0=zeros:uint32:512
// gives: 0 0 0 0 0 0 0 0 1 0 0 1 0 0 1 0
kernel void positions(device uint *out [[buffer(0)]], uint3 grid [[thread_position_in_grid]],
                      uint3 local [[thread_position_in_threadgroup]], uint3 group [[threadgroup_position_in_grid]],
                      uint3 size [[threads_per_threadgroup]], uint3 groups [[threadgroups_per_grid]],
                      uint3 all [[threads_per_grid]], uint index [[thread_index_in_threadgroup]],
                      ushort lane [[thread_index_in_simdgroup]], ushort simdgroup [[simdgroup_index_in_threadgroup]])
{
    uint at = (grid.z * all.y + grid.y) * all.x + grid.x;
    bool right = all.x == groups.x * size.x && grid.x == group.x * size.x + local.x &&
                 index == (local.z * size.y + local.y) * size.x + local.x && lane == index % 32 && simdgroup == 0;
    out[at * 8] = right ? grid.x : 99u;
    out[at * 8 + 3] = right ? grid.x : 99u;
    out[at * 8 + 6] = right ? grid.x : 99u;
}

// run: --threads 8 --threadgroups 2 --grid 11 --buffer 0=zeros:uint32:11
// gives: 8 8 8 8 8 8 8 8 3 3 3
kernel void uneven_grid(device uint *out [[buffer(0)]], uint i [[thread_position_in_grid]],
                        uint size [[threads_per_threadgroup]])
{
    out[i] = size;
}

// run: --threads 4 --threadgroups 1 --buffer 0=zeros:float32:4 --buffer 1=iota:float32:4
// gives: 0 2 4 6
kernel void unnumbered_buffers(device float *out, const device float *in, uint i [[thread_position_in_grid]])
{
    out[i] = 2.0f * in[i];
}

// run: --threads 4 --threadgroups 1 --buffer 0=zeros:float32:4 --buffer 1=iota:float32:4 --buffer 2=uint32:3
// gives: 0 1 2 0
kernel void partly_numbered_buffers(device float *out [[buffer(0)]], constant uint &count [[buffer(2)]],
                                    const device float *in, uint i [[thread_position_in_grid]])
{
    if (i < count) out[i] = in[i];
}

// run: --threads 4 --threadgroups 1 --buffer 0=zeros:float32:3 --buffer 4=iota:float32:3 --buffer 5=uint32:3
// gives: 0 2 4
kernel void named_buffers(device float *out [[buffer(PLACE_OUT)]], const device float *in [[buffer(PLACE_IN)]],
                          constant uint &count [[buffer(PLACE_COUNT)]], uint i [[thread_position_in_grid]])
{
    if (i < count) out[i] = 2.0f * in[i];
}

// run: --threads 64 --threadgroups 2 --buffer 0=zeros:float32:128 --threadgroup 0=256
// gives: 63 62 61 60
kernel void threadgroup_memory(device float *out [[buffer(0)]], threadgroup float *given [[threadgroup(0)]],
                               uint i [[thread_position_in_grid]], uint t [[thread_position_in_threadgroup]])
{
    threadgroup float own[64], other[8][8];
    threadgroup Item item;
    given[t] = float(t);
    own[t] = given[t];
    other[t / 8][t % 8] = own[t];
    if (t == 0) item.value = 0.0f;
    threadgroup_barrier(mem_flags::mem_threadgroup);
    uint r = 63 - t;
    out[i] = (given[r] + own[r] + other[r / 8][r % 8]) / 3.0f + item.value;
}

// run: --threads 64 --threadgroups 2 --buffer 0=zeros:float32:128 --buffer 1=zeros:float32:128
// gives: 63 62 61 60
kernel void device_barrier(device float *out [[buffer(0)]], device float *scratch [[buffer(1)]],
                           uint g [[threadgroup_position_in_grid]], uint t [[thread_position_in_threadgroup]])
{
    scratch[g * 64 + t] = float(t);
    threadgroup_barrier(mem_flags::mem_device);
    out[g * 64 + t] = scratch[g * 64 + 63 - t];
}

// run: --threads 64 --threadgroups 1 --buffer 0=zeros:float32:64
// gives: 31 30 29 28
kernel void simdgroup_barriers(device float *out [[buffer(0)]], uint t [[thread_position_in_threadgroup]],
                               uint lane [[thread_index_in_simdgroup]], uint g [[simdgroup_index_in_threadgroup]])
{
    threadgroup float shared[64];
    shared[t] = float(lane);
    simdgroup_barrier(mem_flags::mem_threadgroup);
    out[t] = shared[g * 32 + 31 - lane];
}

// run: --threads 96 --threadgroups 1 --buffer 0=zeros:float32:96
// gives: 3 3 3 3
kernel void early_return(device float *out [[buffer(0)]], uint t [[thread_position_in_threadgroup]])
{
    threadgroup float sums[3];
    float total = simd_sum(1.0f);
    if (t % 32 == 0) sums[t / 32] = total;
    threadgroup_barrier(mem_flags::mem_threadgroup);
    if (t >= 32) return; // after the last barrier
    out[t] = (sums[0] + sums[1] + sums[2]) / 32.0f;
}

// ---- simdgroups ----

// run: --threads 32 --threadgroups 1 --buffer 0=zeros:float32:16
// gives: 496 31 0 32 1 31 0 31 496 465 1 0
kernel void simd_reductions(device float *out [[buffer(0)]], uint lane [[thread_index_in_simdgroup]])
{
    float v = float(lane);
    float results[12] = {simd_sum(v), simd_max(v), simd_min(v), simd_sum(1.0f), simd_product(1.0f),
                         float(simd_or(lane)), float(simd_and(lane)), float(simd_xor(lane == 31 ? 31u : 0u)),
                         simd_prefix_inclusive_sum(v), simd_prefix_exclusive_sum(v),
                         simd_prefix_inclusive_product(1.0f), 0.0f};
    if (lane == 31)
        for (int i = 0; i < 12; i++) out[i] = results[i];
}

// run: --threads 32 --threadgroups 1 --buffer 0=zeros:float32:256
// gives: 3 2 1 0 7 6 5 4
kernel void simd_shuffles(device float *out [[buffer(0)]], uint lane [[thread_index_in_simdgroup]])
{
    float v = float(lane);
    out[lane] = simd_shuffle_xor(v, 3);
    bool right = simd_broadcast(v, 5) == 5.0f && simd_broadcast_first(v) == 0.0f &&
                 simd_shuffle(v, ushort(31 - lane)) == 31.0f - v &&
                 simd_shuffle_down(v, 1) == (lane < 31 ? v + 1.0f : v) && simd_shuffle_up(v,
                 1) == (lane > 0 ? v - 1.0f : v) &&
                 simd_shuffle_rotate_down(v, 1) == (lane < 31 ? v + 1.0f : 0.0f) &&
                 simd_shuffle_rotate_up(v, 1) == (lane > 0 ? v - 1.0f : 31.0f);
    if (!right) out[lane] = -1.0f;
    half2 pair = simd_shuffle(half2(half(lane), 1.0h), 4);
    if (pair.x != 4.0h || pair.y != 1.0h) out[lane] = -2.0f;
}

// run: --threads 32 --threadgroups 1 --buffer 0=zeros:float32:64
// gives: 2 3 4 5
kernel void simd_fills(device float *out [[buffer(0)]], uint lane [[thread_index_in_simdgroup]])
{
    float v = float(lane), fill = 100.0f + v;
    out[lane] = simd_shuffle_and_fill_down(v, fill, 2);
    float up = simd_shuffle_and_fill_up(v, fill, 2);
    bool right = out[lane] == (lane < 30 ? v + 2.0f : 70.0f + v) && up == (lane >= 2 ? v - 2.0f : 130.0f + v);
    if (!right) out[lane] = -1.0f;
}

// run: --threads 32 --threadgroups 1 --buffer 0=zeros:uint32:8
// gives: 7 1 0 1 6 3 5 1
kernel void simd_votes(device uint *out [[buffer(0)]], uint lane [[thread_index_in_simdgroup]])
{
    ulong ballot = ulong(simd_ballot(lane < 3));
    bool one = simd_any(lane == 9), every = simd_all(lane < 31), each = simd_all(lane < 32);
    uint sum = quad_sum(lane), top = quad_max(lane), near = quad_broadcast(lane, 1) + quad_shuffle_xor(lane, 1) * 4u;
    bool first = simd_is_first();
    if (lane == 0) {
        out[0] = uint(ballot);
        out[1] = uint(one);
        out[2] = uint(every);
        out[3] = uint(each);
        out[4] = sum;
        out[5] = top;
        out[6] = near;
        out[7] = uint(first);
    }
}

// run: --threads 32 --threadgroups 1 --buffer 0=zeros:float32:64 --buffer 1=iota:float32:128 --buffer 2=iota:float16:64
// gives: 2912 3004 3096 3188 3280 3372 3464 3556 6496 6716
kernel void simdgroup_matrices(device float *out [[buffer(0)]], const device float *a [[buffer(1)]],
                               const device half *b [[buffer(2)]], uint lane [[thread_index_in_simdgroup]])
{
    threadgroup float shared[64];
    simdgroup_float8x8 left, transposed, sum = make_filled_simdgroup_matrix<float, 8, 8>(1.0f);
    simdgroup_half8x8 right;
    simdgroup_load(left, a, 16, ulong2(8, 0)); // columns 8 to 15 of 8 rows of 16
    simdgroup_load(right, b, 8, ulong2(0, 0), true);
    simdgroup_store(left, shared, 8);
    simdgroup_barrier(mem_flags::mem_threadgroup);
    simdgroup_load(transposed, shared, 8, 0, true);
    simdgroup_float8x8 one = simdgroup_float8x8(1.0f), product;
    simdgroup_multiply(product, left, one);
    simdgroup_load(right, b);
    simdgroup_multiply_accumulate(sum, product, right, sum);
    sum.thread_elements()[0] -= 1.0f;
    sum.thread_elements()[1] -= 1.0f;
    simdgroup_store(sum, out);
    if (lane == 99) out[0] = transposed.thread_elements()[0];
}

// ---- atomics ----

// run: --threads 64 --threadgroups 3 --buffer 0=int32:0,0,100,-100,-1,0,0,5,0 --buffer 1=zeros:float32:1
// gives: 192 -192 -63 63 0 63 0 64
kernel void atomics(device atomic_int *v [[buffer(0)]], device atomic_float *f [[buffer(1)]],
                    uint t [[thread_position_in_threadgroup]])
{
    threadgroup atomic_uint count;
    if (t == 0) atomic_store_explicit(&count, 0u, memory_order_relaxed);
    threadgroup_barrier(mem_flags::mem_threadgroup);
    atomic_fetch_add_explicit(&v[0], 1, memory_order_relaxed);
    atomic_fetch_sub_explicit(&v[1], 1, memory_order_relaxed);
    atomic_fetch_min_explicit(&v[2], -int(t), memory_order_relaxed);
    atomic_fetch_max_explicit(&v[3], int(t), memory_order_relaxed);
    atomic_fetch_and_explicit(&v[4], int(t), memory_order_relaxed);
    atomic_fetch_or_explicit(&v[5], int(t), memory_order_relaxed);
    atomic_fetch_xor_explicit(&v[6], 0, memory_order_relaxed);
    atomic_fetch_add_explicit(&count, 1u, memory_order_relaxed);
    atomic_fetch_add_explicit(f, 0.5f, memory_order_relaxed);
    threadgroup_barrier(mem_flags::mem_threadgroup);
    if (t == 0)
        atomic_exchange_explicit(&v[7], int(atomic_load_explicit(&count, memory_order_relaxed)), memory_order_relaxed);
}

// run: --threads 32 --threadgroups 2 --buffer 0=zeros:uint32:1
// gives: 64
kernel void compare_exchange(device atomic_uint *v [[buffer(0)]])
{
    uint seen = atomic_load_explicit(v, memory_order_relaxed);
    while (!atomic_compare_exchange_weak_explicit(v, &seen, seen + 1u, memory_order_relaxed, memory_order_relaxed)) {}
}

// ---- functions ----

// run: --threads 1 --threadgroups 1 --buffer 0=zeros:float32:40 --buffer 1=float32:0.5
// gives: 1.0471976 0.5235988 0.4636476 1 0.8775826 1.1276260 1.6487213 3.1622777 1.4142136 0.5 0 0.5 -0.6931472
// and: -0.3010300 -1 0 1 1.4142136 0.5 1 0.4794255 0.5210953 0.7071068 0.5463025 0.4621172 0
// and: 0.2449787 -0.5 0.25 0.5 0.5 1 0.25 0 0.5 1 0.5 0.5493061
kernel void mathematics(device float *out [[buffer(0)]], const device float *in [[buffer(1)]])
{
    float x = in[0], whole, part = modf(2.5f, whole), cosine, sine = sincos(0.0f, cosine);
    int exponent;
    float mantissa = frexp(4.0f, exponent);
    float values[38] = {acos(x), asin(x), atan(x), ceil(x), cos(x), cosh(x), exp(x), exp10(x), exp2(x), fabs(-x),
                        floor(x),
                        fract(2.5f), log(x), log10(x), log2(x), rint(0.4f), round(x), rsqrt(x), saturate(x), sign(x),
                        sin(x),
                        sinh(x), sqrt(x), tan(x), tanh(x), trunc(x), atan2(0.25f, 1.0f), copysign(x, -1.0f), pow(x,
                        2.0f),
                        fmod(2.5f, 1.0f), fdim(1.0f, x), step(0.25f, x), ldexp(x, -1), sine, part, cosine, mantissa,
                        atanh(x)};
    for (int i = 0; i < 38; i++) out[i] = values[i];
    if (whole != 2.0f || exponent != 3 || precise::exp(0.0f) != 1.0f || fast::log(1.0f) != 0.0f) out[0] = -1.0f;
}

// run: --threads 1 --threadgroups 1 --buffer 0=zeros:float32:5 --buffer 1=float32:-1e-9,1,0.5
// gives: 1 1 0 0 1
kernel void near_whole_numbers(device float *out [[buffer(0)]], const device float *in [[buffer(1)]])
{
    out[0] = float(fract(in[0]) < 1.0f);
    out[1] = float(fract(half(in[0] * 100.0f)) < 1.0h);
    out[2] = 1e6f * sinpi(in[1]);
    out[3] = 1e6f * cospi(in[2]);
    out[4] = float(isnan(fract(NAN)));
}

// run: --threads 1 --threadgroups 1 --buffer 0=zeros:float32:16
// gives: 3 1 2 3 1 2 2.5 0.5 2.5 3 7 2 1 0 1 1
kernel void common_functions(device float *out [[buffer(0)]])
{
    float values[16] = {max(1.0f, 3.0f), min(1.0f, 3.0f), clamp(5.0f, 1.0f, 2.0f), max3(1.0f, 2.0f, 3.0f),
                        min3(1.0f, 2.0f, 3.0f), median3(1.0f, 2.0f, 3.0f), mix(1.0f, 4.0f, 0.5f), smoothstep(0.0f,
                        1.0f, 0.5f),
                        mix(float2(1.0f), float2(4.0f), 0.5f).y, max(float4(1.0f), 3.0f).w, fma(2.0f, 3.0f, 1.0f),
                        select(1.0f, 2.0f, true), float(abs(-1)), select(float2(0.0f), float2(1.0f), bool2(false,
                        true)).x,
                        clamp(float3(5.0f), 0.0f, 1.0f).z, fabs(float2(-1.0f)).y};
    for (int i = 0; i < 16; i++) out[i] = values[i];
}

// run: --threads 1 --threadgroups 1 --buffer 0=zeros:float32:8 --buffer 1=float32:nan,inf
// gives: 1 1 1 0 0 1 1 1
kernel void not_a_number(device float *out [[buffer(0)]], const device float *in [[buffer(1)]])
{
    float n = in[0];
    float values[8] = {max(n, 1.0f), min(1.0f, n), float(isnan(n)), float(isnan(1.0f)), float(isfinite(in[1])),
                       float(isinf(in[1])), float(n != n), float(any(isnan(float2(1.0f, n))))};
    for (int i = 0; i < 8; i++) out[i] = values[i];
}

// run: --threads 1 --threadgroups 1 --buffer 0=zeros:float32:8
// gives: 11 5 25 5 -3 1 0.6 28
kernel void geometry(device float *out [[buffer(0)]])
{
    float2 a = float2(1.0f, 2.0f), b = float2(3.0f, 4.0f);
    float3 c = cross(float3(1.0f, 2.0f, 3.0f), float3(4.0f, 5.0f, 6.0f));
    float values[8] = {dot(a, b), length(b), length_squared(b), distance(b, float2(0.0f)), c.z, length(normalize(b)),
                       normalize(b).x, distance_squared(b, float2(0.0f)) + dot(a, 1)};
    for (int i = 0; i < 8; i++) out[i] = values[i];
}

// run: --threads 1 --threadgroups 1 --buffer 0=zeros:int32:16
// gives: 3 29 1 -2147483648 12 1 3 6 2 7 1 -1 5 8 24 8
kernel void integers(device int *out [[buffer(0)]])
{
    int values[16] = {int(popcount(7u)), int(clz(7u)), int(ctz(6u)), int(reverse_bits(1u)), int(rotate(3u, 2u)),
                      int(mulhi(0x80000000u, 2u)), absdiff(2, 5), mad24(1, 2, 4), min(2, 3), max(7, -1),
                      popcount(int2(1, 3)).x, extract_bits(0xf0, 4u, 4u), int(extract_bits(0x50u, 4u, 4u)),
                      int(clz(ushort(0x00ff))), int(clz(uint2(0x00ffu)).y), int(insert_bits(0u, 1u, 3u, 2u))};
    for (int i = 0; i < 16; i++) out[i] = values[i];
}

// run: --threads 1 --threadgroups 1 --buffer 0=zeros:float32:5 --buffer 1=int32:8388607,2147483647
// gives: 255 -16777215 -16777210 -2147483648 4294967295
kernel void integer_ends(device float *out [[buffer(0)]], device atomic_int *in [[buffer(1)]])
{
    int a = atomic_load_explicit(&in[0], memory_order_relaxed);
    out[0] = float(absdiff(char(-128), char(127)));
    out[1] = float(mul24(a, a));
    out[2] = float(mad24(a, a, 5));
    atomic_fetch_add_explicit(&in[1], 1, memory_order_relaxed); // wraps
    out[3] = float(atomic_load_explicit(&in[1], memory_order_relaxed));
    out[4] = float(absdiff(a - 8388607 - 2147483647 - 1, 2147483647));
}

// ---- C++ ----

namespace project {
namespace metal {
template <typename T> inline T larger(T a, T b) { return ::metal::max(a, b); }
} // namespace metal
} // namespace project
// run: --threads 1 --threadgroups 1 --buffer 0=zeros:float32:1
// gives: 7
kernel void inner_metal(device float *out [[buffer(0)]]) { out[0] = project::metal::larger(7.0f, 3.0f); }

template <typename T, int N = 2> struct Ring {
    T data[N];
    Ring() thread { for (int i = 0; i < N; i++) data[i] = T(i + 1); }
    thread T &operator[](int i) thread { return data[i % N]; }
    template <typename F> T fold(F f) const thread
    {
        T result = data[0];
        for (int i = 1; i < N; i++) result = f(result, data[i]);
        return result;
    }
};
struct Plus {
    template <typename T> T operator()(T a, T b) const { return a + b; }
};
template <typename T> METAL_FUNC enable_if_t<is_integral_v<T>, int> kind_of(T) { return 1; }
template <typename T> METAL_FUNC enable_if_t<is_floating_point_v<T>, int> kind_of(T) { return 2; }
template <typename... Rest> int count_of(Rest... rest) { return int(sizeof...(rest)); }
constexpr int square(int x) { return x * x; }
typedef float (*Unary)(float);
template <Unary f> float twice(float x) { return f(f(x)); }
static float plus_one(float x) { return x + 1.0f; }
static float product_of(float2 v) { return v.x * v.y; }
struct Shape {
    float side;
};
struct Square : Shape {
    float area() const thread { return side * side; }
};
namespace inner {
static float shifted(float x, float by = 0.5f) { return x + by; }
} // namespace inner
// run: --threads 1 --threadgroups 1 --buffer 0=zeros:float32:12
// gives: 10 1 1 2 3 1.5 9 2 4 3 6 25
kernel void templates(device float *out [[buffer(0)]])
{
    Ring<float, 4> ring;
    float local[square(3)];
    out[0] = ring.fold(Plus());
    out[1] = ring[4];
    out[2] = float(kind_of(1));
    out[3] = float(kind_of(1.0h));
    out[4] = float(count_of(1, 2.0f, true));
    out[5] = inner::shifted(1.0f);
    out[6] = float(sizeof(local) / sizeof(float));
    auto deduced = conditional_t<is_same_v<float, half>, int, float>(2.0f);
    out[7] = deduced;
    out[9] = twice<plus_one>(1.0f);
    out[10] = product_of({2.0f, 3.0f});
    Square s;
    s.side = 5.0f;
    out[11] = s.area();
    switch (int(deduced)) {
    case 2: out[8] += 4.0f; break;
    default: out[8] = -1.0f;
    }
}

template <typename T> kernel void doubled(device T *out [[buffer(0)]], uint i [[thread_position_in_grid]])
{
    out[i] = T(2) * out[i];
}
// as: doubled_float
// run: --threads 3 --threadgroups 1 --buffer 0=float32:1,2,3
// gives: 2 4 6
template [[host_name("doubled_float")]] kernel void doubled<float>(device float *, uint);
// as: doubled_half
// run: --threads 3 --threadgroups 1 --buffer 0=float16:1,2,3
// gives: 2 4 6
template [[host_name("doubled_half")]] kernel void doubled<half>(device half *, uint);

// run: --threads 2 --threadgroups 1 --buffer 0=float32:0,1
// gives: -1 -2.718281828
kernel void exp(device float *out [[buffer(0)]], uint i [[thread_position_in_grid]]) { out[i] = -metal::exp(out[i]); }

#define TIMES(n, x) ((n) * (x))
#if defined(__METAL_VERSION__) && __METAL_VERSION__ >= 300
// run: --threads 1 --threadgroups 1 --buffer 0=zeros:float32:3
// gives: 42 6 1
kernel void preprocessed(device float *out [[buffer(0)]])
{
    out[0] = INCLUDED_VALUE;
#pragma unroll
    for (int i = 0; i < 3; i++) out[1] += TIMES(2.0f, 1.0f);
    static_assert(sizeof(IncludedArgs) == 8, "as in C");
    out[2] = out[0] > 0 ? 1 : 0;
}
#endif

// run: --threads 4 --threadgroups 1 --buffer 0=float32:1,2,3,4
// gives: 1 2 6 24
[[kernel, max_total_threads_per_threadgroup(4)]] void control_flow(device float *out [[buffer(0)]],
                                                                   uint i [[thread_position_in_grid]])
{
    float product = 1.0f;
    int n = int(i) + 1;
    do {
        product *= float(n--);
        if (n > 100) continue;
    } while (n > 0);
    while (true) break;
    out[i] = i > 100 ? 0.0f : product;
}

// Names that are no names of Metal's are a program's own.
struct shape {
    int width, height;
};
struct components {
    int count;
};
static inline int component(int i) { return i + 1; }
static inline int fold(int i) { return 2 * i; }
constant float M_PI = 3.0f;
// run: --threads 1 --threadgroups 1 --buffer 0=zeros:float32:1
// gives: 19
kernel void names_of_its_own(device float *out [[buffer(0)]])
{
    shape s = {1, 2};
    components c = {3};
    int pairs = 4;
    out[0] = float(s.width + s.height + c.count + fold(component(pairs))) + M_PI;
}
