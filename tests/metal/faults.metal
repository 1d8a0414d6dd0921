// Planted faults. Above each kernel stand the arguments of tools/metal/mslrun that show it; the line at fault ends in a
// comment with the mode that must find it and the words that it must say there. 'fails' in place of 'fault' is for what
// has no line. tests/metal_faults_test.py runs them all; the strict pass takes this file.
#include <metal_stdlib>
using namespace metal;

struct Args {
    uint n;
    float scale;
};
constant int tile [[function_constant(0)]];
constant float slope [[function_constant(1)]];
constant bool has_extra [[function_constant(2)]];

// ---- races ----

// run: --threads 64 --threadgroups 2 --buffer 0=zeros:float32:128 --buffer 1=iota:float32:128
kernel void missing_barrier(device float *out [[buffer(0)]], const device float *in [[buffer(1)]],
                            uint i [[thread_position_in_grid]], uint t [[thread_position_in_threadgroup]])
{
    threadgroup float shared[64];
    shared[t] = in[i]; // fault: tsan: data race
    out[i] = shared[63 - t]; // fault: tsan: data race
}

// run: --threads 64 --threadgroups 1 --buffer 0=zeros:float32:64 --buffer 1=iota:float32:64
kernel void missing_second_barrier(device float *out [[buffer(0)]], const device float *in [[buffer(1)]],
                                   uint t [[thread_position_in_threadgroup]])
{
    threadgroup float shared[64];
    float sum = 0.0f;
    for (int round = 0; round < 2; round++) {
        shared[t] = in[t] + float(round); // fault: tsan: data race
        threadgroup_barrier(mem_flags::mem_threadgroup);
        sum += shared[63 - t]; // fault: tsan: data race
    }
    out[t] = sum;
}

// run: --threads 64 --threadgroups 1 --buffer 0=zeros:float32:64 --buffer 1=iota:float32:64
kernel void barrier_of_no_memory(device float *out [[buffer(0)]], const device float *in [[buffer(1)]],
                                 uint t [[thread_position_in_threadgroup]])
{
    threadgroup float shared[64];
    shared[t] = in[t]; // fault: tsan: data race
    threadgroup_barrier(mem_flags::mem_none);
    out[t] = shared[63 - t]; // fault: tsan: data race
}

// run: --threads 64 --threadgroups 1 --buffer 0=zeros:float32:64 --buffer 1=iota:float32:64
kernel void barrier_of_other_memory(device float *out [[buffer(0)]], device float *scratch [[buffer(1)]],
                                    uint t [[thread_position_in_threadgroup]])
{
    scratch[t] = float(t); // fault: tsan: data race
    threadgroup_barrier(mem_flags::mem_threadgroup);
    out[t] = scratch[63 - t]; // fault: tsan: data race
}

// run: --threads 64 --threadgroups 1 --buffer 0=zeros:float32:64 --buffer 1=iota:float32:64
kernel void race_in_device_memory(device float *out [[buffer(0)]], const device float *in [[buffer(1)]],
                                  uint t [[thread_position_in_grid]])
{
    out[t / 2] += in[t]; // fault: tsan: data race
}

// run: --threads 32 --threadgroups 4 --buffer 0=zeros:float32:1 --buffer 1=iota:float32:128
kernel void race_between_groups(device float *out [[buffer(0)]], const device float *in [[buffer(1)]],
                                uint i [[thread_position_in_grid]], uint t [[thread_position_in_threadgroup]])
{
    float sum = simd_sum(in[i]);
    if (t == 0) out[0] += sum; // fault: tsan: data race
}

// run: --threads 64 --threadgroups 1 --buffer 0=zeros:float32:64 --buffer 1=iota:float32:64
kernel void lanes_in_step(device float *out [[buffer(0)]], const device float *in [[buffer(1)]],
                          uint t [[thread_position_in_threadgroup]])
{
    threadgroup float shared[64];
    shared[t] = in[t]; // fault: tsan: data race
    float sum = simd_sum(in[t]); // lanes meet here, but no memory is ordered
    out[t] = shared[t ^ 1] + sum; // fault: tsan: data race
}

// run: --threads 64 --threadgroups 1 --buffer 0=zeros:float32:64 --buffer 1=iota:float32:64
kernel void simdgroup_barrier_for_all(device float *out [[buffer(0)]], const device float *in [[buffer(1)]],
                                      uint t [[thread_position_in_threadgroup]])
{
    threadgroup float shared[64];
    shared[t] = in[t]; // fault: tsan: data race
    simdgroup_barrier(mem_flags::mem_threadgroup);
    out[t] = shared[63 - t]; // fault: tsan: data race
}

// run: --threads 64 --threadgroups 1 --buffer 0=zeros:uint32:1 --buffer 1=zeros:uint32:64
kernel void plain_beside_atomic(device atomic_uint *count [[buffer(0)]], device uint *out [[buffer(1)]],
                                uint t [[thread_position_in_grid]])
{
    atomic_fetch_add_explicit(count, 1u, memory_order_relaxed); // fault: tsan: data race
    device uint *plain = (device uint *)count;
    out[t] = *plain; // fault: tsan: data race
}

// run: --threads 64 --threadgroups 1 --buffer 0=zeros:float32:128
kernel void race_through_store(device float *out [[buffer(0)]], uint g [[simdgroup_index_in_threadgroup]])
{
    simdgroup_float8x8 m = make_filled_simdgroup_matrix<float, 8>(float(g));
    simdgroup_store(m, out, 8); // fault: tsan: data race
}

// ---- threads that do not meet ----

// run: --threads 64 --threadgroups 1 --buffer 0=zeros:float32:64
kernel void divergent_barrier(device float *out [[buffer(0)]], uint t [[thread_position_in_threadgroup]])
{
    if (t < 40) threadgroup_barrier(mem_flags::mem_threadgroup); // fault: plain: divergence
    out[t] = 1.0f;
}

// run: --threads 64 --threadgroups 1 --buffer 0=zeros:float32:64
kernel void return_before_barrier(device float *out [[buffer(0)]], uint t [[thread_position_in_threadgroup]])
{
    if (t >= 60) return;
    threadgroup_barrier(mem_flags::mem_threadgroup); // fault: plain: divergence
    out[t] = 1.0f;
}

// run: --threads 64 --threadgroups 1 --buffer 0=zeros:float32:64
kernel void two_barriers(device float *out [[buffer(0)]], uint t [[thread_position_in_threadgroup]])
{
    if (t % 2 == 0) {
        threadgroup_barrier(mem_flags::mem_threadgroup); // fault: plain: divergence
        out[t] = 1.0f;
    } else {
        threadgroup_barrier(mem_flags::mem_threadgroup); // fault: plain: divergence
        out[t] = 2.0f;
    }
}

// run: --threads 64 --threadgroups 1 --buffer 0=zeros:float32:64
kernel void uneven_loop(device float *out [[buffer(0)]], uint t [[thread_position_in_threadgroup]])
{
    for (uint i = 0; i < 2 + t / 63; i++) {
        out[t] += 1.0f;
        threadgroup_barrier(mem_flags::mem_device); // fault: plain: divergence
    }
}

// run: --threads 32 --threadgroups 1 --buffer 0=zeros:float32:32
kernel void divergent_reductions(device float *out [[buffer(0)]], uint t [[thread_position_in_threadgroup]])
{
    if (t < 7) out[t] = simd_sum(1.0f); // fault: plain: divergence
    else out[t] = simd_max(1.0f); // fault: plain: divergence
}

// run: --threads 32 --threadgroups 1 --buffer 0=zeros:float32:32
kernel void reduction_beside_barrier(device float *out [[buffer(0)]], uint t [[thread_position_in_threadgroup]])
{
    if (t < 7) out[t] = simd_sum(1.0f); // fault: plain: divergence
    threadgroup_barrier(mem_flags::mem_device); // fault: plain: divergence
}

// run: --threads 16 --threadgroups 1 --buffer 0=zeros:float32:64
// fails: plain: a simdgroup matrix needs 32 threads
kernel void matrix_of_half_a_simdgroup(device float *out [[buffer(0)]])
{
    simdgroup_float8x8 m = make_filled_simdgroup_matrix<float, 8>(1.0f);
    simdgroup_multiply(m, m, m);
    simdgroup_store(m, out, 8);
}

// ---- out of bounds ----

// run: --threads 64 --threadgroups 1 --buffer 0=zeros:float32:64 --buffer 1=iota:float32:64
kernel void read_past_end(device float *out [[buffer(0)]], const device float *in [[buffer(1)]],
                          uint i [[thread_position_in_grid]])
{
    out[i] = in[i + 1]; // fault: asan: heap-buffer-overflow
}

// run: --threads 64 --threadgroups 1 --buffer 0=zeros:float32:64
kernel void write_before_start(device float *out [[buffer(0)]], uint i [[thread_position_in_grid]])
{
    out[int(i) - 1] = 1.0f; // fault: asan: heap-buffer-overflow
}

// run: --threads 64 --threadgroups 1 --buffer 0=zeros:float32:64 --buffer 1=iota:float32:8
kernel void constant_past_end(device float *out [[buffer(0)]], constant float *table [[buffer(1)]],
                              uint i [[thread_position_in_grid]])
{
    out[i] = table[i % 9]; // fault: asan: heap-buffer-overflow
}

// run: --threads 64 --threadgroups 1 --buffer 0=zeros:float32:64
kernel void threadgroup_past_end(device float *out [[buffer(0)]], uint t [[thread_position_in_threadgroup]])
{
    threadgroup float first[64];
    threadgroup float second[64];
    threadgroup float *p = first;
    p[t + 1] = 1.0f; // fault: asan: use-after-poison
    second[t] = 2.0f;
    threadgroup_barrier(mem_flags::mem_threadgroup);
    out[t] = first[t] + second[t];
}

// run: --threads 64 --threadgroups 1 --buffer 0=zeros:float32:64 --threadgroup 0=240
kernel void argument_past_end(device float *out [[buffer(0)]], threadgroup float *shared [[threadgroup(0)]],
                              uint t [[thread_position_in_threadgroup]])
{
    shared[t] = 1.0f; // fault: asan: use-after-poison
    threadgroup_barrier(mem_flags::mem_threadgroup);
    out[t] = shared[t];
}

// run: --threads 64 --threadgroups 1 --buffer 0=zeros:float32:64
kernel void row_past_end(device float *out [[buffer(0)]], uint t [[thread_position_in_threadgroup]])
{
    threadgroup float shared[8][8];
    shared[t / 8][t % 8 + 1] = 1.0f; // fault: asan: out of bounds
    threadgroup_barrier(mem_flags::mem_threadgroup);
    out[t] = shared[t / 8][t % 8];
}

// run: --threads 64 --threadgroups 1 --buffer 0=zeros:float32:64
kernel void thread_past_end(device float *out [[buffer(0)]], uint t [[thread_position_in_threadgroup]])
{
    float local[4] = {1.0f, 2.0f, 3.0f, 4.0f};
    out[t] = local[t % 5]; // fault: asan: out of bounds
}

// run: --threads 1 --threadgroups 1 --buffer 0=zeros:float32:4
kernel void variable_after_its_end(device float *out [[buffer(0)]], uint t [[thread_position_in_threadgroup]])
{
    thread float *p = nullptr;
    {
        float inner[4] = {1.0f, 2.0f, 3.0f, float(t)};
        p = inner;
    }
    out[t] = p[t + 3]; // fault: asan: stack-use-after-scope
}

// run: --threads 4 --threadgroups 1 --buffer 0=zeros:float32:4 --constant has_extra=bool:1
kernel void unbound_optional(device float *out [[buffer(0)]],
                             const device float *extra [[buffer(1), function_constant(has_extra)]],
                             uint t [[thread_position_in_grid]])
{
    out[t] = extra[t]; // fault: asan: null pointer
}

// run: --threads 8 --threadgroups 1 --buffer 0=zeros:float32:8 --buffer 1=iota:float32:64
kernel void misaligned_vector(device float *out [[buffer(0)]], const device float *in [[buffer(1)]],
                              uint t [[thread_position_in_grid]])
{
    const device float4 *v = (const device float4 *)(in + t);
    out[t] = v[0].x; // fault: asan: misaligned
}

// ---- undefined arithmetic ----

// run: --threads 8 --threadgroups 1 --buffer 0=zeros:int32:8 --buffer 1=int32:29,30,31,32,33,34,35,36
kernel void shift_too_far(device int *out [[buffer(0)]], const device int *in [[buffer(1)]],
                          uint t [[thread_position_in_grid]])
{
    out[t] = 1 << in[t]; // fault: asan: shift exponent
}

// run: --threads 2 --threadgroups 1 --buffer 0=zeros:int32:2 --buffer 1=int32:2147483647,2147483647
kernel void signed_overflow(device int *out [[buffer(0)]], const device int *in [[buffer(1)]],
                            uint t [[thread_position_in_grid]])
{
    out[t] = in[t] + 1; // fault: asan: signed integer overflow
}

// run: --threads 2 --threadgroups 1 --buffer 0=zeros:int32:2 --buffer 1=float32:1e10,2e10
kernel void float_too_large(device int *out [[buffer(0)]], const device float *in [[buffer(1)]],
                            uint t [[thread_position_in_grid]])
{
    out[t] = int(in[t]); // fault: asan: outside the range
}

// run: --threads 2 --threadgroups 1 --buffer 0=zeros:int32:2 --buffer 1=int32:1,0
kernel void division_by_zero(device int *out [[buffer(0)]], const device int *in [[buffer(1)]],
                             uint t [[thread_position_in_grid]])
{
    out[t] = 100 / in[t]; // fault: asan: division by zero
}

// run: --threads 2 --threadgroups 1 --buffer 0=zeros:float32:2 --buffer 1=uint8:7,1
kernel void odd_bool(device float *out [[buffer(0)]], const device bool *in [[buffer(1)]],
                     uint t [[thread_position_in_grid]])
{
    out[t] = in[t] ? 1.0f : 0.0f; // fault: asan: not a valid value
}

// ---- what nobody wrote ----

// run: --poison --threads 64 --threadgroups 1 --buffer 0=zeros:float32:64
// fails: plain: buffer(0)[63] is NaN
kernel void threadgroup_unwritten(device float *out [[buffer(0)]], uint t [[thread_position_in_threadgroup]])
{
    threadgroup float shared[64];
    if (t < 63) shared[t] = 1.0f;
    threadgroup_barrier(mem_flags::mem_threadgroup);
    out[t] = shared[t];
}

// run: --poison --threads 4 --threadgroups 1 --buffer 0=zeros:float32:4
// fails: asan: buffer(0)[0] is NaN
kernel void variable_unwritten(device float *out [[buffer(0)]], uint t [[thread_position_in_grid]])
{
    float local[4];
    for (uint i = 0; i < t; i++) local[i] = 1.0f;
    out[t] = local[2];
}

// run: --poison --threads 32 --threadgroups 1 --buffer 0=zeros:float32:32
// fails: plain: buffer(0)[0] is NaN
kernel void value_of_absent_lane(device float *out [[buffer(0)]], uint t [[thread_position_in_grid]])
{
    if (t < 16) out[t] = simd_shuffle(float(t), ushort(t + 16));
}

// ---- launches ----

// run: --threads 4 --threadgroups 1 --buffer 0=zeros:float32:4
// fails: plain: buffer(1) is not bound
kernel void buffer_missing(device float *out [[buffer(0)]], constant Args &args [[buffer(1)]],
                           uint t [[thread_position_in_grid]])
{
    if (t < args.n) out[t] = args.scale;
}

// run: --threads 4 --threadgroups 1 --buffer 0=zeros:float32:4 --buffer 1=uint32:4
// fails: plain: buffer(1) is smaller than its type
kernel void buffer_too_small(device float *out [[buffer(0)]], constant Args &args [[buffer(1)]],
                             uint t [[thread_position_in_grid]])
{
    if (t < args.n) out[t] = args.scale;
}

// run: --threads 1025 --threadgroups 1 --buffer 0=zeros:float32:2000
// fails: plain: more than 1024 threads in a threadgroup
kernel void too_many_threads(device float *out [[buffer(0)]], uint t [[thread_position_in_grid]]) { out[t] = 1.0f; }

// run: --threads 1024 --threadgroups 4194304 --buffer 0=zeros:float32:2000
// fails: plain: dimension 0 of the grid is too large
kernel void too_many_threadgroups(device float *out [[buffer(0)]], uint t [[thread_position_in_grid]])
{
    out[t] = 1.0f;
}

// run: --threads 64,32 --threadgroups 1 --buffer 0=zeros:float32:4096
// fails: plain: more than 1024 threads in a threadgroup
kernel void too_many_threads_in_all(device float *out [[buffer(0)]], uint2 t [[thread_position_in_grid]])
{
    out[t.y * 64 + t.x] = 1.0f;
}

// run: --threads 128 --threadgroups 1 --buffer 0=zeros:float32:128
// fails: plain: more than 64 threads in a threadgroup
[[max_total_threads_per_threadgroup(64)]] kernel void more_threads_than_said(device float *out [[buffer(0)]],
                                                                             uint t [[thread_position_in_grid]])
{
    out[t] = 1.0f;
}

// run: --threads 4 --threadgroups 1 --buffer 0=zeros:float32:4 --threadgroup 0=32784
// fails: plain: more than 32768 bytes of threadgroup memory
kernel void threadgroup_too_large(device float *out [[buffer(0)]], threadgroup float *shared [[threadgroup(0)]],
                                  uint t [[thread_position_in_threadgroup]])
{
    shared[t] = 1.0f;
    out[t] = shared[t];
}

// run: --threads 4 --threadgroups 1 --buffer 0=zeros:float32:4
// fails: plain: threadgroup(0) wants a length
kernel void threadgroup_missing(device float *out [[buffer(0)]], threadgroup float *shared [[threadgroup(0)]],
                                uint t [[thread_position_in_threadgroup]])
{
    shared[t] = 1.0f;
    out[t] = shared[t];
}

// run: --threads 4 --threadgroups 1 --buffer 0=zeros:float32:4 --constant tile=float32:4
// fails: plain: function constant 'tile' is int, not float
kernel void constant_of_wrong_type(device float *out [[buffer(0)]], uint t [[thread_position_in_grid]])
{
    out[t] = float(tile);
}

// run: --threads 4 --threadgroups 1 --buffer 0=zeros:float32:4
// fails: plain: function constant 'slope' (index 1) has no value
kernel void constant_without_value(device float *out [[buffer(0)]], uint t [[thread_position_in_grid]])
{
    out[t] = slope;
}

// run: --threads 4 --threadgroups 1 --buffer 0=zeros:float32:4 --constant slop=float32:4
// fails: plain: no function constant 'slop'
kernel void constant_unknown(device float *out [[buffer(0)]], uint t [[thread_position_in_grid]]) { out[t] = 1.0f; }

// run: --threads 4 --threadgroups 2 --grid 3 --buffer 0=zeros:float32:4
// fails: plain: no kernel 'kernel_unknown_'
// as: kernel_unknown_
kernel void kernel_unknown(device float *out [[buffer(0)]], uint t [[thread_position_in_grid]]) { out[t] = 1.0f; }

// run: --threads 16 --threadgroups 1 --buffer 0=zeros:float32:64
// fails: plain: a simdgroup matrix needs 32 threads
kernel void matrix_of_sixteen(device float *out [[buffer(0)]])
{
    simdgroup_store(make_filled_simdgroup_matrix<float, 8, 8>(2.0f), out, 8);
}

// run: --threads 1 --threadgroups 1 --buffer 0=zeros:float32:4 --buffer 1=int32:3
kernel void fourth_of_three(device float *out [[buffer(0)]], const device int *at [[buffer(1)]])
{
    float3 v = float3(1.0f, 2.0f, 3.0f);
    out[0] = v[at[0]]; // fault: asan: stack-buffer-overflow
}

// run: --threads 32 --threadgroups 1 --buffer 0=zeros:uint32:32
kernel void operations_of_one_line(device uint *out [[buffer(0)]], uint t [[thread_position_in_grid]])
{
    out[t] = t < 16 ? simd_sum(t) : simd_max(t); // fault: plain: divergence
}

// run: --threads 64 --threadgroups 1 --buffer 0=zeros:uint32:64
kernel void barriers_of_one_line(device uint *out [[buffer(0)]], uint t [[thread_position_in_grid]])
{
    const mem_flags none = mem_flags::mem_none;
    t < 32 ? threadgroup_barrier(none) : threadgroup_barrier(none); // fault: plain: divergence
    out[t] = t;
}
