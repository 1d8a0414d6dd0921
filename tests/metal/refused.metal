// What the strict pass refuses. A line that must be refused ends in a comment that says as which feature; every other
// line must pass. tests/metal_strict_test.py compares.
#include <metal_stdlib>
using namespace metal;

struct Args {
    uint n;
    float scale;
};

// ---- address spaces ----

float first(const float *p) { return p[0]; } // refused: missing address space
float second(const device float *p) { return p[1]; }
float of_group(threadgroup const float *p) { return p[0]; }
void store(thread float &to, float value) { to = value; }
float by_reference(float &x) { return x; } // refused: missing address space
float *nowhere(device float *p); // refused: missing address space
struct Bag {
    device float *kept;
    float *lost; // refused: missing address space
};
typedef float *plain_pointer; // refused: missing address space

kernel void spaces(device float *out [[buffer(0)]], const device float *in [[buffer(1)]],
                   constant Args &args [[buffer(2)]], device Bag *bags [[buffer(3)]],
                   uint i [[thread_position_in_grid]], uint t [[thread_index_in_threadgroup]])
{
    threadgroup float tile[64];
    float local[4];
    tile[t] = in[i];
    device float *p = tile; // refused: wrong address space
    const float *q = in; // refused: missing address space
    thread float *r = &out[i]; // refused: wrong address space
    out[i] = of_group(in); // refused: no such function
    out[i] = second(tile); // refused: no such function
    out[i] = ((const float4 *)in)[i].x; // refused: missing address space
    threadgroup float *s = (threadgroup float *)out; // refused: wrong address space
    bags[0].kept = local; // refused: wrong address space
    store(out[i], 1.0f); // refused: no such function
    thread float &u = out[i]; // refused: wrong address space
    device float &v = local[0]; // refused: wrong address space
    constant Args *w = &args;
    constant Args *x = reinterpret_cast<constant Args *>(out); // refused: wrong address space
    out[i] = w->scale + x->scale + p[0] + q[0] + r[0] + s[0] + u + v;
}

// ---- constants ----

kernel void constants(device float *out [[buffer(0)]], const device float *in [[buffer(1)]],
                      constant Args &args [[buffer(2)]], constant float *table [[buffer(3)]],
                      uint i [[thread_position_in_grid]])
{
    args.scale = 2.0f; // refused: write to a constant
    table[i] = 1.0f; // refused: write to a constant
    in[i] = 1.0f; // refused: write to a constant
    const float k = 3.0f;
    k = 4.0f; // refused: write to a constant
    args.n++; // refused: write to a constant
    out[i] = k;
}

// ---- program scope ----

float mutable_global = 3.0f; // refused: program scope
constexpr int unspaced = 4; // refused: program scope
static const float table_of_none[2] = {1.0f, 2.0f}; // refused: program scope
constant float without_value; // refused: program scope
threadgroup float outside[16]; // refused: threadgroup variable
constant int spaced = 4;
static constant float good_table[2] = {1.0f, 2.0f};
inline constant int twice = 2; // refused: C++17
struct Limits {
    static constexpr int most = 4; // refused: program scope
    static constant constexpr int least = 1;
};

float in_function(uint t)
{
    threadgroup float wrong[8]; // refused: threadgroup variable
    static int count = 0; // refused: static local
    wrong[t] = 1.0f;
    count++;
    return wrong[t] + float(count);
}

kernel void threadgroup_variables(device float *out [[buffer(0)]], constant Args &args [[buffer(1)]],
                                  uint t [[thread_index_in_threadgroup]])
{
    threadgroup float first_half[4096];
    threadgroup float second_half[4096];
    threadgroup float too_much[4]; // refused: threadgroup memory
    threadgroup float given[4] = {1.0f, 2.0f, 3.0f, 4.0f}; // refused: threadgroup
    float variable[args.n]; // refused: variable length array
    first_half[t] = second_half[t] = too_much[t % 4] = variable[0] = given[0];
    out[t] = first_half[t] + good_table[0] + float(spaced) + Limits::least;
}

// ---- C++ that Metal has not ----

float plain_function(float x) { return x; }
typedef float (*function)(float); // as a template's parameter it may serve
struct Virtual {
    virtual float f() { return 1.0f; } // refused: virtual
};
template <int N> float choose(float x)
{
    if constexpr (N > 1) return x; // refused: C++17
    else return 2.0f;
}
template <class... T> float folded(T... t) { return (0.0f + ... + t); } // refused: C++17

struct Two {
    float a, b;
};

kernel void words(device float *out [[buffer(0)]], uint i [[thread_position_in_grid]])
{
    double d = 1.0; // refused: double
    long long big = 1; // refused: long long
    ulong bigger = 1ull; // refused: long long
    if (i > 3) goto end; // refused: goto
    auto doubled = [](float x) { return 2.0f * x; }; // refused: lambda
    thread float *heap = new float[3]; // refused: new and delete
    if (i == 7) throw 1; // refused: exceptions
    Two two = {1.0f, 2.0f};
    auto [a, b] = two; // refused: C++17
    float (*chosen)(float) = plain_function; // refused: function pointer
    out[i] = std::max(1.0f, 2.0f); // refused: C++ standard library
    register int counted = 1; // refused: storage class
    out[i] = float(d) + float(big + bigger) + doubled(1.0f) + heap[0] + a + b + chosen(1.0f) + counted;
end:;
}

int main() { return 0; } // refused: main

// ---- conversions and calls ----

kernel void conversions(device float *out [[buffer(0)]], const device float *in [[buffer(1)]],
                        device half4 *halves [[buffer(2)]], device atomic_uint *counter [[buffer(3)]],
                        uint i [[thread_position_in_grid]])
{
    float4 v = float4(1.0f, 2.0f); // refused: vector constructor
    float3 narrow = float3(v); // refused: vector constructor
    float3 cut = v; // refused: vector conversion
    int4 whole = int4(2);
    float4 product = v * whole; // refused: vector conversion
    float4 implicit = whole; // refused: vector conversion
    half4 h = v; // refused: vector conversion
    float scalar = v; // refused: vector conversion
    halves[i] = v; // refused: vector conversion
    out[i] = max(in[i], 0); // refused: ambiguous call
    out[i] = clamp(in[i], 0, 6); // refused: ambiguous call
    uint least = min(i, 3); // refused: ambiguous call
    out[i] = expf(in[i]); // refused: unknown name
    out[i] = erf(in[i]); // refused: unknown name
    printf("%d", i); // refused: unknown name
    __syncthreads(); // refused: unknown name
    out[i] = in.x; // refused
    out[i] = as_type<half>(in[i]); // refused: as_type
    atomic_fetch_add(counter, 1u); // refused: unknown name
    atomic_fetch_add_explicit(counter, 1u, memory_order_seq_cst); // refused: unknown name
    uint counted = counter[0]; // refused
    out[i] = narrow.x + cut.x + product.x + implicit.x + float(h.x) + scalar + float(least + counted);
}

kernel void groups(device float *out [[buffer(0)]], threadgroup half *shared [[threadgroup(0)]],
                   uint t [[thread_index_in_threadgroup]])
{
    threadgroup atomic_float sum;
    atomic_fetch_add_explicit(&sum, 1.0f, memory_order_relaxed); // refused: no such function
    threadgroup_barrier(); // refused: no such function
    simdgroup_float8x8 m;
    simdgroup_load(m, shared, 8); // refused: no such function
    simdgroup_matrix<float, 16, 16> large; // refused: simdgroup_matrix
    simdgroup_matrix<int, 8, 8> counts; // refused: simdgroup_matrix
    simdgroup_store(m, out, 8);
    out[t] = 1.0f;
}

// ---- a kernel's parameters ----

kernel float result(device float *out [[buffer(0)]]) // refused: kernel's result
{
    return out[0];
}
kernel void no_attribute(device float *out [[buffer(0)]], uint n) { out[n] = 1.0f; } // refused: missing attribute
kernel void by_value(device float *out [[buffer(0)]], uint n [[buffer(1)]]) // refused: parameter type
{ out[n] = 1.0f; }
kernel void twice_bound(device float *a [[buffer(0)]], device float *b [[buffer(0)]]) // refused: duplicate index
{ a[0] = b[0]; }
kernel void too_large(device float *out [[buffer(31)]]) { out[0] = 1.0f; } // refused: buffer
kernel void no_space(float *out [[buffer(0)]]) { out[0] = 1.0f; } // refused: wrong address space
kernel void thread_buffer(thread float *out [[buffer(0)]]) { out[0] = 1.0f; } // refused: wrong address space
kernel void wrong_group(device float *out [[threadgroup(0)]]) { out[0] = 1.0f; } // refused: wrong address space
kernel void odd(device float *out, float i [[thread_position_in_grid]]) { out[0] = i; } // refused: parameter type
kernel void wide(device float *out, uint4 i [[thread_position_in_grid]]) { out[0] = i.x; } // refused: parameter type
kernel void mixed(device float *out [[buffer(0)]], // refused: mixed positions
                  uint2 i [[thread_position_in_grid]], uint t [[thread_position_in_threadgroup]])
{
    out[i.x] = t;
}
kernel void unknown(device float *out, uint i [[thread_position_in_universe]]) { out[i] = 1; } // refused: unknown attribute
kernel void textured(texture2d<float> image [[texture(0)]], device float *out) { out[0] = 1; } // refused: not in the subset
kernel void sampled(sampler s [[sampler(0)]], device float *out [[buffer(0)]]) // refused: not in the subset
{ out[0] = 1.0f; }
kernel void overloaded(device float *out [[buffer(0)]]) { out[0] = 1.0f; }
kernel void overloaded(device half *out [[buffer(0)]]) { out[0] = 1.0h; } // refused: overloaded kernel
template [[host_name("absent")]] kernel void absent<float>(device float *); // refused: kernel instance
vertex float4 position(uint i [[vertex_id]]) { return float4(0.0f); } // refused: not in the subset

// ---- positions that have one component, long double ----

kernel void lane_of_three(device float *to, uint3 lane [[thread_index_in_simdgroup]]) // refused: parameter type
{
    to[lane.x] = 1.0f;
}
kernel void long_double(device float *out [[buffer(0)]])
{
    out[0] = 1.0L; // refused: double
}
