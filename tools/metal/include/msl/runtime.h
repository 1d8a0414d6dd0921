// What translated kernels see of the runtime, and what the runtime sees of them. On the CPU a thread of a threadgroup
// is a fiber; kernels without barriers, simdgroup operations and threadgroup memory run as a plain loop instead.
#pragma once
#include "msl/math.h"
#include "msl_abi.h"
#include <tuple>

namespace msl {
struct triple {
    uint32_t x, y, z;
};

// One threadgroup of a launch, as its threads see it.
struct group {
#ifndef MSL_CUDA
    const msl_launch_desc *launch;
#endif
    triple position, size, full_size, count, grid; // size is smaller than full_size at the end of an uneven grid
#ifndef MSL_CUDA
    void **variables;       // of threadgroup memory, by the translator's number
    void *const *arguments; // [[threadgroup(n)]]
#endif
};

// Where one thread is; the names are those of the attributes.
struct thread {
    triple thread_position_in_grid, thread_position_in_threadgroup, threadgroup_position_in_grid, threadgroups_per_grid,
        threads_per_threadgroup, dispatch_threads_per_threadgroup, threads_per_grid;
    uint32_t thread_index_in_threadgroup, thread_index_in_simdgroup, simdgroup_index_in_threadgroup,
        simdgroups_per_threadgroup, dispatch_simdgroups_per_threadgroup, threads_per_simdgroup, thread_execution_width,
        thread_index_in_quadgroup, quadgroup_index_in_threadgroup, quadgroups_per_threadgroup;
};

MSL_FUNCTION thread thread_at(const group &g, uint32_t x, uint32_t y, uint32_t z)
{
    thread t;
    uint32_t index = (z * g.size.y + y) * g.size.x + x, threads = g.size.x * g.size.y * g.size.z;
    t.thread_position_in_threadgroup = {x, y, z};
    t.thread_position_in_grid = {g.position.x * g.full_size.x + x, g.position.y * g.full_size.y + y,
                                 g.position.z * g.full_size.z + z};
    t.threadgroup_position_in_grid = g.position;
    t.threadgroups_per_grid = g.count;
    t.threads_per_threadgroup = g.size;
    t.dispatch_threads_per_threadgroup = g.full_size;
    t.threads_per_grid = g.grid;
    t.thread_index_in_threadgroup = index;
    t.thread_index_in_simdgroup = index % 32;
    t.simdgroup_index_in_threadgroup = index / 32;
    t.simdgroups_per_threadgroup = (threads + 31) / 32;
    t.dispatch_simdgroups_per_threadgroup = (g.full_size.x * g.full_size.y * g.full_size.z + 31) / 32;
    t.threads_per_simdgroup = t.thread_execution_width = 32;
    t.thread_index_in_quadgroup = index % 4;
    t.quadgroup_index_in_threadgroup = index / 4;
    t.quadgroups_per_threadgroup = (threads + 3) / 4;
    return t;
}

template <class F> struct signature;
template <class... P> struct signature<void (*)(const group &, P...)> {
    template <int I> using parameter = std::tuple_element_t<I, std::tuple<P...>>;
};

template <class P> using pointee = std::remove_pointer_t<std::remove_reference_t<P>>;
template <class P> constexpr uint32_t pointee_bytes() // 1 of void
{
    if constexpr (std::is_void_v<pointee<P>>) return 1;
    else return (uint32_t)sizeof(pointee<P>);
}

// A kernel's parameter of type P from an address, and from a position.
template <class P> MSL_FUNCTION P from_address(void *address)
{
    if constexpr (std::is_reference_v<P>) return *static_cast<std::remove_reference_t<P> *>(address);
    else return (P)address;
}
template <class P> MSL_FUNCTION P from_position(const triple &v)
{
    if constexpr (metal::msl_shape<std::remove_cv_t<P>>::count == 3) return std::remove_cv_t<P>(v.x, v.y, v.z);
    else if constexpr (metal::msl_shape<std::remove_cv_t<P>>::count == 2) return std::remove_cv_t<P>(v.x, v.y);
    else return (P)v.x;
}
template <class P> MSL_FUNCTION P from_position(uint32_t v) { return (P)v; }

#ifndef MSL_CUDA
typedef void entry(const group &g, const thread &t);
typedef void group_loop(const group &g);

#ifdef MSL_COUNT
void count_thread(uint32_t index); // it goes on, or begins
#else
MSL_FUNCTION void count_thread(uint32_t) {}
#endif

// All threads of a group, one after the other; inlined into it, the kernel needs only the positions that it uses.
template <entry *Kernel> void each_thread(const group &g)
{
    for (uint32_t z = 0; z < g.size.z; z++)
        for (uint32_t y = 0; y < g.size.y; y++)
            for (uint32_t x = 0; x < g.size.x; x++) {
                count_thread((z * g.size.y + y) * g.size.x + x);
                Kernel(g, thread_at(g, x, y, z));
            }
}

struct code {
    entry *run;       // one thread, on a fiber
    group_loop *loop; // a whole group; NULL where threads have to wait for each other
    uint64_t needs;   // function constants without which it means nothing, a bit each
};
struct constant_storage {
    void *value;
    bool *defined;
};

// The translated file's tables, in the order of msl_library's.
extern const msl_library library;
extern const code codes[];
extern const constant_storage storages[];

void *threadgroup_allocate(const group &g, int number, size_t bytes, size_t alignment);
template <class T, int Number> inline T &threadgroup_variable(const group &g)
{
    void *p = g.variables[Number];
    if (!p) p = threadgroup_allocate(g, Number, sizeof(T), alignof(T));
    return *static_cast<T *>(p);
}

constexpr size_t SLOT_BYTES = 64;
struct site {
    const char *file;
    int line, column;
};
// What lanes of a simdgroup gave to an operation; valid until this lane's next one but one.
struct meeting {
    const unsigned char (*slot)[SLOT_BYTES];
    uint32_t active; // bit l: lane l takes part
    uint32_t lane;
};
enum kind { SIMD_EXCHANGE, SIMD_BARRIER, SIMD_MATRIX };
void barrier(uint32_t flags, site where); // of Metal's mem_flags
meeting meet(const void *value, size_t bytes, kind what, bool orders_memory, site where);
[[noreturn]] void fault(site where, const char *what);
uint32_t lane();
uint32_t lane_of_32();
#endif
} // namespace msl
