// Runs launches of a translated Metal library on the CPU.
//
// Workers, one a core, take threadgroups from a counter. A kernel whose threads never wait runs as a loop. Otherwise
// each thread of the threadgroup is a fiber: a stack of its own and a switch of six registers. The worker's own stack,
// called home here, resumes the fibers of one simdgroup after the other; a fiber that waits, at a barrier or at a
// simdgroup operation, switches back home. When all live lanes of a simdgroup wait at one operation it has happened,
// when all threads of the group wait at one barrier that has; anything else is divergence, and is reported. A fault
// switches home for good; its fibers are thrown away.
//
// With a seed the order of threads is drawn anew at each step. Under the address sanitizer variables of threadgroup
// memory have red zones between them. Under the thread sanitizer fibers are its fibers: only start, end, barriers
// that say which memory, and atomics order the accesses of two threads, so that a race shows in any schedule.
#include "count.h"
#include "msl/runtime.h"
#include <atomic>
#include <memory>
#include <mutex>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <thread>
#include <vector>

#ifdef MSL_ASAN
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif
#ifdef MSL_TSAN
#include <sanitizer/tsan_interface.h>
typedef unsigned long jptr;
extern "C" void __tsan_java_alloc(jptr begin, jptr bytes);
extern "C" void __tsan_java_free(jptr begin, jptr bytes);
#endif

// void msl_switch_stack(void **save, void *to): keeps the callee's registers on this stack, goes on with the other.
#if defined(__x86_64__)
asm(R"(
    .text
    .globl msl_switch_stack
    .hidden msl_switch_stack
    .type msl_switch_stack, @function
msl_switch_stack:
    pushq %rbp
    pushq %rbx
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %rsp, (%rdi)
    movq %rsi, %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbx
    popq %rbp
    retq
    .size msl_switch_stack, . - msl_switch_stack
)");
static constexpr int SAVED_WORDS = 6;
#elif defined(__aarch64__)
asm(R"(
    .text
    .globl msl_switch_stack
    .hidden msl_switch_stack
    .type msl_switch_stack, %function
msl_switch_stack:
    stp d8, d9, [sp, #-160]!
    stp d10, d11, [sp, #16]
    stp d12, d13, [sp, #32]
    stp d14, d15, [sp, #48]
    stp x19, x20, [sp, #64]
    stp x21, x22, [sp, #80]
    stp x23, x24, [sp, #96]
    stp x25, x26, [sp, #112]
    stp x27, x28, [sp, #128]
    stp x29, x30, [sp, #144]
    mov x9, sp
    str x9, [x0]
    mov sp, x1
    ldp d10, d11, [sp, #16]
    ldp d12, d13, [sp, #32]
    ldp d14, d15, [sp, #48]
    ldp x19, x20, [sp, #64]
    ldp x21, x22, [sp, #80]
    ldp x23, x24, [sp, #96]
    ldp x25, x26, [sp, #112]
    ldp x27, x28, [sp, #128]
    ldp x29, x30, [sp, #144]
    ldp d8, d9, [sp], #160
    ret
    .size msl_switch_stack, . - msl_switch_stack
)");
static constexpr int SAVED_WORDS = 20, RETURN_WORD = 19;
#else
#error "no context switch for this processor"
#endif
extern "C" void msl_switch_stack(void **save, void *to);

namespace msl {
namespace {
constexpr uint32_t MAX_THREADS = 1024, MAX_VARIABLES = 1024, THREADGROUP_MEMORY = 2; // of Metal's mem_flags
constexpr size_t ARENA_BYTES = 1 << 20, PAGE = 4096;
#if defined(MSL_ASAN) || defined(MSL_TSAN)
constexpr size_t STACK_BYTES = 512 << 10;
#else
constexpr size_t STACK_BYTES = 128 << 10;
#endif

enum state : uint8_t { READY, AT_BARRIER, AT_SIMD, DONE };

struct worker;
struct fiber {
    worker *owner;
    uint32_t index; // in the threadgroup
    state at;
    uint8_t parity; // of its next exchange: a lane is at most one exchange ahead of another
    kind what;
    uint32_t flags; // of its barrier
    site where;
    void *stack_pointer;
    char *stack;
    void *sanitizer; // the thread sanitizer's fiber
    void *fake_stack;
};

struct simdgroup {
    alignas(16) unsigned char slot[2][32][SLOT_BYTES];
    uint32_t active;
    char order_key[2]; // their addresses name the orders that its barriers make
    uint8_t phase;
};

struct launch {
    const msl_launch_desc *desc;
    const msl_kernel *kernel;
    const code *body;
    triple count, grid;
    uint64_t groups, workers;
    uint32_t limit;
    std::atomic<uint64_t> next{0};
    std::atomic<bool> stopped{false};
    std::mutex lock; // of message and totals
    char *message;
    size_t message_bytes, threadgroup_bytes = 0;
    msl_counters totals = {};
};

struct worker {
    std::vector<std::unique_ptr<fiber>> fibers;
    std::vector<simdgroup> simdgroups;
    std::vector<uint32_t> order;
    void *variables[MAX_VARIABLES];
    void *arguments[MSL_MAX_BUFFERS];
    char *arena;
    size_t arena_used, limit_used;
    void *home;
    void *home_sanitizer, *home_fake_stack;
    const void *home_bottom;
    size_t home_bytes;
    fiber *running;
    launch *run;
    group g;
    uint32_t threads;
    uint64_t number; // of this worker
    uint64_t random;
    bool broken;
    char order_key[2], start_key, end_key;
    uint8_t phase; // of the barrier's key
    msl_counters counts;
};

std::mutex library_lock;
std::vector<std::unique_ptr<worker>> idle_workers; // kept between launches with their stacks, under library_lock

thread_local worker *current;
// Not inlined: a fiber's stack outlives the system thread whose variable it would remember.
__attribute__((noinline)) worker *here() { return current; }

// ---- switching ----

void switch_to(worker &w, fiber &f)
{
    w.running = &f;
    count_thread(f.index);
#ifdef MSL_ASAN
    __sanitizer_start_switch_fiber(&w.home_fake_stack, f.stack, STACK_BYTES);
#endif
#ifdef MSL_TSAN
    __tsan_switch_to_fiber(f.sanitizer, __tsan_switch_to_fiber_no_sync);
#endif
    msl_switch_stack(&w.home, f.stack_pointer);
#ifdef MSL_ASAN
    __sanitizer_finish_switch_fiber(w.home_fake_stack, nullptr, nullptr);
#endif
}

void switch_home(fiber &f)
{
    worker &w = *f.owner;
#ifdef MSL_ASAN
    __sanitizer_start_switch_fiber(&f.fake_stack, w.home_bottom, w.home_bytes);
#endif
#ifdef MSL_TSAN
    __tsan_switch_to_fiber(w.home_sanitizer, __tsan_switch_to_fiber_no_sync);
#endif
    msl_switch_stack(&f.stack_pointer, w.home);
#ifdef MSL_ASAN
    __sanitizer_finish_switch_fiber(f.fake_stack, &w.home_bottom, &w.home_bytes);
#endif
}

void order_before(char *key)
{
#ifdef MSL_TSAN
    __tsan_release(key);
#else
    (void)key;
#endif
}

void order_after(char *key)
{
#ifdef MSL_TSAN
    __tsan_acquire(key);
#else
    (void)key;
#endif
}

void fiber_main()
{
    fiber &f = *here()->running;
    worker &w = *f.owner;
#ifdef MSL_ASAN
    __sanitizer_finish_switch_fiber(nullptr, &w.home_bottom, &w.home_bytes);
#endif
    for (;;) {
        order_after(&w.start_key);
        uint32_t x = f.index % w.g.size.x, y = f.index / w.g.size.x % w.g.size.y, z = f.index / w.g.size.x / w.g.size.y;
        w.run->body->run(w.g, thread_at(w.g, x, y, z));
        order_before(&w.end_key);
        f.at = DONE;
        switch_home(f);
    }
}

std::unique_ptr<fiber> make_fiber(worker &w, uint32_t index)
{
    void *memory = mmap(nullptr, STACK_BYTES + PAGE, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) return nullptr;
    mprotect(memory, PAGE, PROT_NONE); // a stack that grows too far ends the program, it does not spoil its neighbour
    std::unique_ptr<fiber> f(new fiber());
    f->owner = &w;
    f->index = index;
    f->stack = (char *)memory + PAGE;
#ifdef MSL_ASAN
    __asan_unpoison_memory_region(f->stack, STACK_BYTES); // another fiber's stack may have been here
#endif
    // Tops at different places in their pages: else all stacks meet in the same few sets of the cache.
    void **top = (void **)(f->stack + STACK_BYTES - index % 31 * 128);
#if defined(__x86_64__)
    *--top = nullptr; // fiber_main finds the stack as after a call
    *--top = (void *)fiber_main;
    top -= SAVED_WORDS;
#else
    top -= SAVED_WORDS;
    top[RETURN_WORD] = (void *)fiber_main;
#endif
    f->stack_pointer = top;
#ifdef MSL_TSAN
    f->sanitizer = __tsan_create_fiber(0);
#endif
    return f;
}

void drop_fibers(worker &w)
{
    for (auto &f : w.fibers) {
#ifdef MSL_TSAN
        __tsan_destroy_fiber(f->sanitizer);
#endif
        munmap(f->stack - PAGE, STACK_BYTES + PAGE);
    }
    w.fibers.clear();
}

// ---- faults ----

void report(worker &w, const char *what)
{
    launch &run = *w.run;
    std::lock_guard<std::mutex> guard(run.lock);
    if (!run.stopped.exchange(true) && run.message_bytes > 0)
        snprintf(run.message, run.message_bytes, "kernel %s, threadgroup (%u, %u, %u): %s", run.kernel->name,
                 w.g.position.x, w.g.position.y, w.g.position.z, what);
    w.broken = true;
}

const char *verb(const fiber &f) { return f.at == AT_BARRIER ? "threadgroup_barrier" : "simdgroup operation"; }

// Two threads that should have met: 'divergence: thread 3 ...; thread 40 ...'.
void report_divergence(worker &w, const fiber &a, const fiber &b)
{
    char text[512], side[2][200];
    const fiber *both[2] = {&a, &b};
    for (int i = 0; i < 2; i++) {
        const fiber &f = *both[i];
        if (f.at == DONE) snprintf(side[i], sizeof side[i], "thread %u has returned", f.index);
        else
            snprintf(side[i], sizeof side[i], "thread %u waits at the %s of %s:%d", f.index, verb(f), f.where.file,
                     f.where.line);
    }
    snprintf(text, sizeof text, "divergence: %s, %s", side[0], side[1]);
    report(w, text);
}

bool same_site(const fiber &a, const fiber &b)
{
    return a.at == b.at && a.where.line == b.where.line && a.where.column == b.where.column &&
           strcmp(a.where.file, b.where.file) == 0;
}

// ---- one threadgroup ----

uint32_t draw(worker &w, uint32_t below)
{
    w.random = w.random * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)((w.random >> 33) % below);
}

void shuffle(worker &w, uint32_t *values, uint32_t count)
{
    for (uint32_t i = count; i > 1; i--) {
        uint32_t j = draw(w, i), kept = values[i - 1];
        values[i - 1] = values[j];
        values[j] = kept;
    }
}

// After a round of a simdgroup's lanes: if all that live wait at one operation, it happens. False after a fault.
bool complete_simdgroup(worker &w, uint32_t number)
{
    uint32_t first = number * 32, end = first + 32 < w.threads ? first + 32 : w.threads, active = 0;
    fiber *waiting = nullptr, *elsewhere = nullptr;
    for (uint32_t i = first; i < end; i++) {
        fiber &f = *w.fibers[i];
        if (f.at == READY) return true;
        if (f.at == AT_SIMD) active |= 1u << (i - first);
        if (f.at == AT_SIMD && !waiting) waiting = &f;
        if (f.at == AT_BARRIER) elsewhere = &f;
    }
    if (!waiting) return true;
    for (uint32_t i = first; i < end; i++)
        if (w.fibers[i]->at == AT_SIMD && !same_site(*w.fibers[i], *waiting)) elsewhere = w.fibers[i].get();
    if (!elsewhere && waiting->what == SIMD_MATRIX && active != 0xffffffffu) {
        for (uint32_t i = first; i < end; i++)
            if (w.fibers[i]->at == DONE) elsewhere = w.fibers[i].get();
        if (!elsewhere) {
            report(w, "a simdgroup matrix needs 32 threads in the simdgroup");
            return false;
        }
    }
    if (elsewhere) {
        report_divergence(w, *waiting, *elsewhere);
        return false;
    }
    simdgroup &s = w.simdgroups[number];
    s.active = active;
    s.phase ^= 1;
    w.counts.simdgroup_operations++;
    if (waiting->what == SIMD_MATRIX) w.counts.simdgroup_matrix_products++;
    for (uint32_t i = first; i < end; i++)
        if (w.fibers[i]->at == AT_SIMD) w.fibers[i]->at = READY;
    return true;
}

// Runs lanes of a simdgroup until none is ready, or, with a random schedule, for a few rounds.
bool run_simdgroup(worker &w, uint32_t number, bool random)
{
    uint32_t first = number * 32, lanes = first + 32 < w.threads ? 32 : w.threads - first, order[32];
    for (uint32_t i = 0; i < lanes; i++) order[i] = first + i;
    for (uint32_t rounds = random ? 1 + draw(w, 3) : UINT32_MAX; rounds > 0; rounds--) {
        bool ran = false;
        if (random) shuffle(w, order, lanes);
        for (uint32_t i = 0; i < lanes; i++) {
            fiber &f = *w.fibers[order[i]];
            if (f.at != READY) continue;
            ran = true;
            switch_to(w, f);
            if (w.broken) return false;
        }
        if (!complete_simdgroup(w, number)) return false;
        if (!ran) break;
    }
    return true;
}

// What a barrier of threadgroup memory alone does for the thread sanitizer, which can't order one memory and not the
// other: accesses to this group's threadgroup memory before it can't race with later ones. Device memory keeps its own.
void forget_accesses(worker &w)
{
#ifdef MSL_TSAN
    if (w.arena_used == 0) return;
    __tsan_java_free((jptr)w.arena, w.arena_used);
    __tsan_java_alloc((jptr)w.arena, w.arena_used);
#else
    (void)w;
#endif
}

// All threads wait or have ended: the barrier happens if all wait at the same one. False after a fault.
bool complete_barrier(worker &w)
{
    const fiber &first = *w.fibers[0];
    for (uint32_t i = 1; i < w.threads; i++)
        if (!same_site(first, *w.fibers[i])) {
            report_divergence(w, first, *w.fibers[i]);
            return false;
        }
    for (uint32_t i = 0; i < w.threads; i++) w.fibers[i]->at = READY;
    w.phase ^= 1;
    w.counts.barriers++;
    if (first.flags == THREADGROUP_MEMORY) forget_accesses(w);
    return true;
}

void run_fibers(worker &w)
{
    uint32_t simdgroups = (w.threads + 31) / 32;
    bool random = w.run->desc->seed != 0;
    while (w.fibers.size() < w.threads) {
        auto f = make_fiber(w, (uint32_t)w.fibers.size());
        if (!f) return report(w, "no memory for the threads' stacks");
        w.fibers.push_back(std::move(f));
    }
    while (w.simdgroups.size() < simdgroups) w.simdgroups.emplace_back();
    for (uint32_t i = 0; i < w.threads; i++) {
        w.fibers[i]->at = READY;
        w.fibers[i]->parity = 0;
    }
    w.order.resize(simdgroups);
    for (uint32_t i = 0; i < simdgroups; i++) {
        w.order[i] = i;
        w.simdgroups[i].phase = 0;
    }
    order_before(&w.start_key);
    for (;;) {
        bool ready = false, live = false;
        if (random) shuffle(w, w.order.data(), simdgroups);
        for (uint32_t i = 0; i < simdgroups; i++)
            if (!run_simdgroup(w, w.order[i], random)) return;
        for (uint32_t i = 0; i < w.threads; i++) {
            ready = ready || w.fibers[i]->at == READY;
            live = live || w.fibers[i]->at != DONE;
        }
        if (!live) break;
        if (!ready && !complete_barrier(w)) return;
    }
    order_after(&w.end_key);
}

uint32_t cut(uint32_t grid, uint32_t at, uint32_t size)
{
    uint32_t left = grid - at * size;
    return left < size ? left : size;
}

void run_group(worker &w, uint64_t number)
{
    launch &run = *w.run;
    const uint32_t *size = run.desc->threads;
    w.g.position = {(uint32_t)(number % run.count.x), (uint32_t)(number / run.count.x % run.count.y),
                    (uint32_t)(number / run.count.x / run.count.y)};
    w.g.size = {cut(run.grid.x, w.g.position.x, size[0]), cut(run.grid.y, w.g.position.y, size[1]),
                cut(run.grid.z, w.g.position.z, size[2])};
    w.threads = w.g.size.x * w.g.size.y * w.g.size.z;
    count_group(number);
    w.counts.threads += w.threads;
    w.counts.threadgroups++;
#ifndef MSL_TSAN // threads in a loop are ordered, and their races hidden
    if (run.body->loop) return run.body->loop(w.g);
#endif
    if (run.desc->flags & MSL_POISON) {
        // Byte by byte, unseen by the sanitizers.
        volatile char *arena = w.arena;
#ifdef MSL_ASAN
        for (size_t i = 0; i < w.arena_used; i++)
            if (!__asan_address_is_poisoned((char *)arena + i)) arena[i] = (char)0xff;
#else
        for (size_t i = 0; i < w.arena_used; i++) arena[i] = (char)0xff;
#endif
    }
    w.random = run.desc->seed * 0x9e3779b97f4a7c15u ^ number;
    run_fibers(w);
}

// ---- threadgroup memory ----

char *arena_take(worker &w, size_t bytes, size_t alignment)
{
    size_t space = (bytes + 15) / 16 * 16, gap = 0;
    if (alignment < 16) alignment = 16;
#ifdef MSL_ASAN
    gap = 64; // a red zone
#endif
    size_t at = (w.arena_used + gap + alignment - 1) / alignment * alignment;
    w.limit_used += space;
    if (w.limit_used > w.run->limit || at + space + gap > ARENA_BYTES) return nullptr;
    w.arena_used = at + space;
#ifdef MSL_ASAN
    __asan_unpoison_memory_region(w.arena + at, bytes);
#endif
    if (w.run->desc->flags & MSL_POISON) {
        volatile char *fresh = w.arena + at;
        for (size_t i = 0; i < bytes; i++) fresh[i] = (char)0xff;
    }
    return w.arena + at;
}

bool begin(worker &w, launch &run)
{
    const msl_launch_desc &desc = *run.desc;
    w.run = &run;
    w.counts = {};
    w.broken = false;
    w.arena_used = w.limit_used = 0;
    memset(w.variables, 0, sizeof w.variables);
    memset(w.arguments, 0, sizeof w.arguments);
    if (!w.arena) {
        void *memory = mmap(nullptr, ARENA_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        w.arena = memory == MAP_FAILED ? nullptr : (char *)memory;
        if (!w.arena) return report(w, "no memory for threadgroup memory"), false;
    }
#ifdef MSL_ASAN
    __asan_poison_memory_region(w.arena, ARENA_BYTES);
#endif
#ifdef MSL_TSAN
    w.home_sanitizer = __tsan_get_current_fiber();
#endif
    w.g = {&desc, {0, 0, 0}, {0, 0, 0}, {desc.threads[0], desc.threads[1], desc.threads[2]}, run.count, run.grid,
           w.variables, w.arguments};
    for (int i = 0; i < MSL_MAX_BUFFERS; i++) {
        if (desc.threadgroup_bytes[i] == 0) continue;
        w.arguments[i] = arena_take(w, desc.threadgroup_bytes[i], 16);
        if (!w.arguments[i]) {
            char text[128];
            snprintf(text, sizeof text, "more than %u bytes of threadgroup memory", run.limit);
            return report(w, text), false;
        }
    }
    return true;
}

void add(msl_counters &to, const msl_counters &from)
{
    uint64_t *sums = (uint64_t *)&to;
    const uint64_t *added = (const uint64_t *)&from;
    static_assert(sizeof to % sizeof *sums == 0, "counters are numbers of one size");
    for (size_t i = 0; i < sizeof to / sizeof *sums; i++) sums[i] += added[i];
}

void work(worker &w, launch &run)
{
    current = &w;
    if (begin(w, run)) {
        count_worker(w.arena, ARENA_BYTES);
#ifdef MSL_TSAN
        // In turn, so that neighbours are never ordered by chance and their races always show.
        for (uint64_t number = w.number; number < run.groups && !run.stopped.load(std::memory_order_relaxed);
             number += run.workers)
            run_group(w, number);
#else
        uint64_t number;
        while (!run.stopped.load(std::memory_order_relaxed) && (number = run.next.fetch_add(1)) < run.groups)
            run_group(w, number);
#endif
        count_end(w.counts);
    }
#ifdef MSL_TSAN
    drop_fibers(w); // every library of a process has workers, and the sanitizer knows 8000 fibers in all
#else
    if (w.broken) drop_fibers(w);
#endif
    current = nullptr;
    std::lock_guard<std::mutex> guard(run.lock);
    add(run.totals, w.counts);
    if (w.limit_used > run.threadgroup_bytes) run.threadgroup_bytes = w.limit_used;
}

// ---- a launch ----

int invalid(launch &run, const char *format, const char *name, unsigned long value)
{
    if (run.message_bytes > 0) snprintf(run.message, run.message_bytes, format, name, value);
    return MSL_INVALID;
}

int check_arguments(launch &run)
{
    const msl_launch_desc &desc = *run.desc;
    const msl_kernel &kernel = *run.kernel;
    for (uint32_t i = 0; i < kernel.argument_count; i++) {
        const msl_argument &a = kernel.arguments[i];
        if (a.space == MSL_THREADGROUP) {
            if (desc.threadgroup_bytes[a.index] == 0 || desc.threadgroup_bytes[a.index] % 16 != 0)
                return invalid(run, "kernel %s: threadgroup(%lu) wants a length that is a multiple of 16 and not 0",
                               kernel.name, a.index);
        } else if (!desc.buffers[a.index].data) {
            if (!a.optional) return invalid(run, "kernel %s: buffer(%lu) is not bound", kernel.name, a.index);
        } else if (desc.buffers[a.index].bytes < a.element_bytes) {
            return invalid(run, "kernel %s: buffer(%lu) is smaller than its type", kernel.name, a.index);
        }
    }
    return MSL_OK;
}

int check_grid(launch &run)
{
    const msl_launch_desc &desc = *run.desc;
    const uint32_t *t = desc.threads, *n = desc.threadgroups, *g = desc.grid;
    uint64_t threads = 1, limit = run.kernel->max_total_threads ? run.kernel->max_total_threads : MAX_THREADS;
    for (int i = 0; i < 3; i++) {
        if (t[i] == 0 || n[i] == 0)
            return invalid(run, "kernel %s: dimension %lu of the grid is 0", run.kernel->name, i);
        if (t[i] > limit)
            return invalid(run, "kernel %s: more than %lu threads in a threadgroup", run.kernel->name, limit);
        if ((uint64_t)t[i] * n[i] > UINT32_MAX)
            return invalid(run, "kernel %s: dimension %lu of the grid is too large", run.kernel->name, i);
        if (g[i] != 0 && (g[i] > t[i] * n[i] || g[i] <= t[i] * (n[i] - 1)))
            return invalid(run, "kernel %s: dimension %lu of the exact grid does not fit its threadgroups",
                           run.kernel->name, i);
        threads *= t[i];
    }
    if (threads > limit)
        return invalid(run, "kernel %s: more than %lu threads in a threadgroup", run.kernel->name, limit);
    run.count = {n[0], n[1], n[2]};
    run.grid = {g[0] ? g[0] : t[0] * n[0], g[1] ? g[1] : t[1] * n[1], g[2] ? g[2] : t[2] * n[2]};
    run.groups = (uint64_t)n[0] * n[1] * n[2];
    run.limit = desc.threadgroup_limit ? desc.threadgroup_limit : 32768;
    return MSL_OK;
}

int set_constants(launch &run)
{
    const msl_launch_desc &desc = *run.desc;
    for (uint32_t c = 0; c < library.constant_count; c++) *storages[c].defined = false;
    for (uint32_t i = 0; i < desc.constant_count; i++) {
        const msl_constant_value &given = desc.constants[i];
        uint32_t c = 0;
        while (c < library.constant_count && (given.name ? strcmp(given.name, library.constants[c].name) != 0
                                                         : given.index != library.constants[c].index))
            c++;
        if (c == library.constant_count)
            return invalid(run, "no function constant '%s' (or index %lu)", given.name ? given.name : "", given.index);
        if (given.type && strcmp(given.type, library.constants[c].type) != 0) {
            if (run.message_bytes > 0)
                snprintf(run.message, run.message_bytes, "function constant '%s' is %s, not %s",
                         library.constants[c].name, library.constants[c].type, given.type);
            return MSL_INVALID;
        }
        if (given.bytes != library.constants[c].bytes)
            return invalid(run, "function constant '%s' has %lu bytes", library.constants[c].name,
                           library.constants[c].bytes);
        memcpy(storages[c].value, given.value, given.bytes);
        *storages[c].defined = true;
    }
    for (uint32_t c = 0; c < library.constant_count && c < 64; c++)
        if ((run.body->needs >> c & 1) != 0 && !*storages[c].defined)
            return invalid(run, "function constant '%s' (index %lu) has no value", library.constants[c].name,
                           library.constants[c].index);
    return MSL_OK;
}

std::unique_ptr<worker> take_worker()
{
    if (idle_workers.empty()) return std::unique_ptr<worker>(new worker());
    std::unique_ptr<worker> w = std::move(idle_workers.back());
    idle_workers.pop_back();
    return w;
}

void run_workers(launch &run)
{
    uint64_t count = run.desc->workers ? run.desc->workers : std::thread::hardware_concurrency();
#ifdef MSL_TSAN
    count = count < 2 ? 2 : count < 4 ? count : 4; // one would order all groups
#endif
    if (count > run.groups) count = run.groups;
    if (count < 1) count = 1;
    std::vector<std::unique_ptr<worker>> workers;
    std::vector<std::thread> threads;
    for (uint64_t i = 0; i < count; i++) {
        workers.push_back(take_worker());
        workers[i]->number = i;
    }
    run.workers = count;
    for (uint64_t i = 1; i < count; i++) threads.emplace_back(work, std::ref(*workers[i]), std::ref(run));
    work(*workers[0], run);
    for (auto &t : threads) t.join();
    for (auto &w : workers) idle_workers.push_back(std::move(w));
}
} // namespace

// ---- what kernels call ----

void *threadgroup_allocate(const group &g, int number, size_t bytes, size_t alignment)
{
    worker &w = *here();
    (void)g;
    w.variables[number] = arena_take(w, bytes, alignment);
    if (!w.variables[number]) {
        char text[128];
        snprintf(text, sizeof text, "more than %u bytes of threadgroup memory", w.run->limit);
        report(w, text);
        switch_home(*w.running);
    }
    return w.variables[number];
}

void fault(site where, const char *what)
{
    worker &w = *here();
    char text[512];
    snprintf(text, sizeof text, "%s, %s:%d", what, where.file, where.line);
    report(w, text);
    switch_home(*w.running);
    abort(); // home never comes back to a broken group
}

uint32_t lane() { return here()->running->index % 32; }

uint32_t lane_of_32()
{
    worker &w = *here();
    if (w.running->index / 32 * 32 + 32 > w.threads) {
        report(w, "a simdgroup matrix needs 32 threads in the simdgroup");
        switch_home(*w.running);
    }
    return w.running->index % 32;
}

void barrier(uint32_t flags, site where)
{
    worker &w = *here();
    fiber &f = *w.running;
    bool orders_memory = (flags & ~THREADGROUP_MEMORY) != 0;
    f.flags = flags;
    // Two keys in turn: with one, a thread that is a barrier ahead would hide a race with one that is behind.
    char *key = &w.order_key[w.phase];
    if (orders_memory) order_before(key);
    f.at = AT_BARRIER;
    f.where = where;
    switch_home(f);
    if (orders_memory) order_after(key);
}

meeting meet(const void *value, size_t bytes, kind what, bool orders_memory, site where)
{
    worker &w = *here();
    fiber &f = *w.running;
    simdgroup &s = w.simdgroups[f.index / 32];
    char *key = &s.order_key[s.phase];
    const unsigned char (*slots)[SLOT_BYTES] = s.slot[f.parity];
    volatile unsigned char *mine = s.slot[f.parity][f.index % 32];
    f.parity ^= 1;
    if (bytes % 4 == 0)
        for (size_t i = 0; i < bytes; i += 4) *(volatile uint32_t *)(mine + i) = ((const uint32_t *)value)[i / 4];
    else
        for (size_t i = 0; i < bytes; i++) mine[i] = ((const unsigned char *)value)[i];
    if (orders_memory) order_before(key);
    f.at = AT_SIMD;
    f.what = what;
    f.where = where;
    switch_home(f);
    if (orders_memory) order_after(key);
    return {slots, s.active, f.index % 32};
}
} // namespace msl

#define MSL_EXPORT extern "C" __attribute__((visibility("default")))

MSL_EXPORT const msl_library *msl_describe(void) { return &msl::library; }

MSL_EXPORT int msl_launch(const msl_launch_desc *desc, char *message, size_t message_bytes)
{
    using namespace msl;
    std::lock_guard<std::mutex> guard(library_lock);
    launch run;
    run.desc = desc;
    run.message = message;
    run.message_bytes = message_bytes;
    run.kernel = nullptr;
    if (message_bytes > 0) message[0] = '\0';
    for (uint32_t i = 0; i < library.kernel_count; i++)
        if (desc->kernel && strcmp(library.kernels[i].name, desc->kernel) == 0) {
            run.kernel = &library.kernels[i];
            run.body = &codes[i];
        }
    if (!run.kernel) return invalid(run, "no kernel '%s' in the library", desc->kernel ? desc->kernel : "", 0);
    int status = check_grid(run);
    if (status == MSL_OK) status = check_arguments(run);
    if (status == MSL_OK) status = set_constants(run);
    if (status != MSL_OK) return status;
    count_launch(*desc, *run.kernel);
    run_workers(run);
    run.totals.threadgroup_bytes = run.threadgroup_bytes;
#ifdef MSL_COUNT
    run.totals.flops += 1024 * run.totals.simdgroup_matrix_products;
#endif
    count_totals(run.totals);
    if (desc->counters) *desc->counters = run.totals;
    return run.stopped.load() ? MSL_FAULT : MSL_OK;
}
