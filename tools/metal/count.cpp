// What kernels read and write, for the build kind 'count'.
//
// The compiler calls a function before each load and store, as for its thread sanitizer; here those functions are ours.
// An address is told from the next by where it lies: in a buffer, in the worker's threadgroup memory, or else in a
// variable of the thread, which a GPU keeps in registers and which is not counted. Bytes are counted each time, once a
// launch (a bit a byte) and once a threadgroup (a mark every four bytes: what a cache without limits would load).
// What the lanes of a simdgroup ask for at once is taken from a few threadgroups: requests.h.
// Operations and instructions are added up a basic block at a time, by calls that translator/flops.py puts there.
#include "count.h"
#include "msl/runtime.h"
#include "requests.h"
#include <atomic>
#include <mutex>
#include <stdlib.h>
#include <string.h>
#include <vector>

namespace msl {
namespace {
struct range {
    uintptr_t begin, end;
    bool is_constant;
    std::vector<std::atomic<uint64_t>> read, written; // a bit a byte
};
std::vector<range> ranges; // of the launch; launches of a library take turns
uint64_t groups;           // of the launch
constexpr uint64_t SAMPLE = 4;

std::mutex sample_lock;
request_sums sampled_device, sampled_threadgroup;

struct worker_count {
    uintptr_t arena_begin, arena_end;
    range *last;
    uint64_t group;                           // number from 1
    std::vector<std::vector<uint32_t>> marks; // by range: the group that read these four bytes last
    msl_counters counts;
    request_trace trace;
};
thread_local worker_count *mine;

// The number of bytes from this on that were not seen before.
uint64_t see(std::vector<std::atomic<uint64_t>> &bits, size_t at, size_t bytes)
{
    uint64_t fresh = 0;
    while (bytes > 0) {
        size_t in_word = 64 - at % 64 < bytes ? 64 - at % 64 : bytes;
        uint64_t mask = (in_word == 64 ? ~0ull : (1ull << in_word) - 1) << at % 64;
        std::atomic<uint64_t> &word = bits[at / 64];
        if ((word.load(std::memory_order_relaxed) & mask) != mask)
            fresh += (uint64_t)__builtin_popcountll(mask & ~word.fetch_or(mask, std::memory_order_relaxed));
        at += in_word;
        bytes -= in_word;
    }
    return fresh;
}

range *find(worker_count &w, uintptr_t address)
{
    if (w.last && address >= w.last->begin && address < w.last->end) return w.last;
    for (range &r : ranges)
        if (address >= r.begin && address < r.end) return w.last = &r;
    return nullptr;
}

void mark(worker_count &w, const range &r, size_t at, size_t bytes)
{
    std::vector<uint32_t> &marks = w.marks[(size_t)(&r - ranges.data())];
    for (size_t cell = at / 4; cell <= (at + bytes - 1) / 4; cell++)
        if (marks[cell] != (uint32_t)w.group) {
            marks[cell] = (uint32_t)w.group;
            w.counts.device_group_read_bytes += 4;
        }
}

// As if each buffer began on a line of its own, wherever the host has it.
uintptr_t own_address(const range &r, size_t at) { return ((uintptr_t)(&r - ranges.data() + 1) << 40) + at; }

// `code`: where in the kernel.
void access(const void *code, const void *p, size_t bytes, bool reads, bool writes)
{
    worker_count *w = mine;
    if (!w || bytes == 0) return;
    uintptr_t address = (uintptr_t)p;
    msl_counters &c = w->counts;
    if (address >= w->arena_begin && address < w->arena_end) {
        if (w->trace.is_on()) w->trace.add(code, address, bytes, true);
        c.threadgroup_read_bytes += reads ? bytes : 0;
        c.threadgroup_written_bytes += writes ? bytes : 0;
        return;
    }
    range *r = find(*w, address);
    if (!r) return;
    if (bytes > r->end - address) bytes = r->end - address; // the address sanitizer's business
    size_t at = address - r->begin;
    if (r->is_constant) {
        c.constant_read_bytes += bytes;
        return;
    }
    if (w->trace.is_on()) w->trace.add(code, own_address(*r, at), bytes, false);
    if (reads) {
        c.device_read_bytes += bytes;
        c.device_unique_read_bytes += see(r->read, at, bytes);
        mark(*w, *r, at, bytes);
    }
    if (writes) {
        c.device_written_bytes += bytes;
        c.device_unique_written_bytes += see(r->written, at, bytes);
    }
}

// Evenly spread; all, where there are few.
bool is_sampled(uint64_t number)
{
    if (groups <= SAMPLE) return true;
    for (uint64_t i = 0; i < SAMPLE; i++)
        if (number == (2 * i + 1) * groups / (2 * SAMPLE)) return true;
    return false;
}

void end_trace(worker_count &w)
{
    if (!w.trace.is_on()) return;
    std::lock_guard<std::mutex> guard(sample_lock);
    w.trace.end(sampled_device, sampled_threadgroup);
}

// What a whole launch asks for, where `bytes` are moved in all.
request_sums scaled(const request_sums &sampled, uint64_t bytes)
{
    double share = sampled.bytes > 0 ? (double)bytes / sampled.bytes : 0;
    return {sampled.requests * share, sampled.cost * share, (double)bytes, sampled.busiest * share};
}

uint64_t whole(double x) { return (uint64_t)(x + 0.5); }
} // namespace

void count_launch(const msl_launch_desc &desc, const msl_kernel &kernel)
{
    groups = (uint64_t)desc.threadgroups[0] * desc.threadgroups[1] * desc.threadgroups[2];
    sampled_device = sampled_threadgroup = {};
    ranges.clear();
    for (uint32_t i = 0; i < kernel.argument_count; i++) {
        const msl_argument &a = kernel.arguments[i];
        if (a.space == MSL_THREADGROUP || !desc.buffers[a.index].data) continue;
        const msl_buffer &b = desc.buffers[a.index];
        size_t words = a.space == MSL_CONSTANT ? 0 : b.bytes / 64 + 1;
        ranges.push_back({(uintptr_t)b.data, (uintptr_t)b.data + b.bytes, a.space == MSL_CONSTANT,
                          std::vector<std::atomic<uint64_t>>(words), std::vector<std::atomic<uint64_t>>(words)});
    }
}

void count_worker(const void *arena, size_t bytes)
{
    mine = new worker_count();
    mine->arena_begin = (uintptr_t)arena;
    mine->arena_end = mine->arena_begin + bytes;
    for (const range &r : ranges) mine->marks.emplace_back(r.is_constant ? 0 : (r.end - r.begin) / 4 + 1, 0u);
}

void count_group(uint64_t number)
{
    mine->group = number + 1;
    end_trace(*mine);
    if (is_sampled(number)) mine->trace.begin(mine->arena_begin);
}

void count_thread(uint32_t index) { mine->trace.go_on(index); }

void count_end(msl_counters &to)
{
    end_trace(*mine);
    const msl_counters &c = mine->counts;
    to.device_read_bytes = c.device_read_bytes;
    to.device_written_bytes = c.device_written_bytes;
    to.device_unique_read_bytes = c.device_unique_read_bytes;
    to.device_unique_written_bytes = c.device_unique_written_bytes;
    to.device_group_read_bytes = c.device_group_read_bytes;
    to.constant_read_bytes = c.constant_read_bytes;
    to.threadgroup_read_bytes = c.threadgroup_read_bytes;
    to.threadgroup_written_bytes = c.threadgroup_written_bytes;
    to.flops = c.flops;
    to.special_functions = c.special_functions;
    to.atomics = c.atomics;
    to.instructions = c.instructions;
    delete mine;
    mine = nullptr;
}

void count_totals(msl_counters &totals)
{
    request_sums device = scaled(sampled_device, totals.device_read_bytes + totals.device_written_bytes);
    totals.device_requests = whole(device.requests);
    totals.device_lines = whole(device.cost);
    totals.device_busiest_requests = whole(device.busiest);
    request_sums threadgroup =
        scaled(sampled_threadgroup, totals.threadgroup_read_bytes + totals.threadgroup_written_bytes);
    totals.threadgroup_requests = whole(threadgroup.requests);
    totals.threadgroup_turns = whole(threadgroup.cost);
}

void count_atomic(const volatile void *p, size_t bytes)
{
    if (!mine) return;
    mine->counts.atomics++;
    access(__builtin_return_address(0), (const void *)p, bytes, true, true);
}
} // namespace msl

extern "C" {
void msl_count_work(uint64_t flops, uint64_t special, uint64_t instructions)
{
    msl::worker_count *w = msl::mine;
    if (!w) return;
    w->counts.flops += flops;
    w->counts.special_functions += special;
    w->counts.instructions += instructions;
}
void __tsan_init(void) {}
#define MSL_HOOK(name, bytes, reads, writes)                                                                           \
    void __tsan_##name##bytes(const void *p) { msl::access(__builtin_return_address(0), p, bytes, reads, writes); }
#define MSL_HOOKS(bytes)                                                                                               \
    MSL_HOOK(read, bytes, true, false)                                                                                 \
    MSL_HOOK(write, bytes, false, true)                                                                                \
    MSL_HOOK(read_write, bytes, true, true)                                                                            \
    MSL_HOOK(unaligned_read, bytes, true, false)                                                                       \
    MSL_HOOK(unaligned_write, bytes, false, true)                                                                      \
    MSL_HOOK(unaligned_read_write, bytes, true, true)
MSL_HOOKS(1)
MSL_HOOKS(2)
MSL_HOOKS(4)
MSL_HOOKS(8)
MSL_HOOKS(16)
void *__tsan_memcpy(void *to, const void *from, size_t bytes)
{
    const char *code = (const char *)__builtin_return_address(0);
    msl::access(code, from, bytes, true, false);
    msl::access(code + 1, to, bytes, false, true);
    return memcpy(to, from, bytes);
}
void *__tsan_memmove(void *to, const void *from, size_t bytes)
{
    const char *code = (const char *)__builtin_return_address(0);
    msl::access(code, from, bytes, true, false);
    msl::access(code + 1, to, bytes, false, true);
    return memmove(to, from, bytes);
}
void *__tsan_memset(void *to, int value, size_t bytes)
{
    msl::access(__builtin_return_address(0), to, bytes, false, true);
    return memset(to, value, bytes);
}
}
