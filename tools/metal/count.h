// What runtime.cpp tells count.cpp; in the other build kinds there is nothing to tell.
#pragma once
#include "msl_abi.h"

namespace msl {
#ifdef MSL_COUNT
void count_launch(const msl_launch_desc &desc, const msl_kernel &kernel);
void count_worker(const void *arena, size_t bytes); // on the worker's own system thread, as the next two
void count_group(uint64_t number);
void count_end(msl_counters &to);
void count_totals(msl_counters &totals); // after all workers
#else
inline void count_launch(const msl_launch_desc &, const msl_kernel &) {}
inline void count_worker(const void *, size_t) {}
inline void count_group(uint64_t) {}
inline void count_end(msl_counters &) {}
inline void count_totals(msl_counters &) {}
#endif
} // namespace msl
