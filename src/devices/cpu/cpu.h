/* What CPU designs may use: the instruction set in force, threads, caches. */
#ifndef TW_DEVICES_CPU_CPU_H
#define TW_DEVICES_CPU_CPU_H

#include "devices/device.h"

/* In ascending order of width. TILEWISE_ISA=portable|neon|avx2|avx512 in the environment forces one (tests do); a set
 * that the processor lacks is refused when the device is opened. */
typedef enum tw_isa { TW_ISA_PORTABLE, TW_ISA_NEON, TW_ISA_AVX2, TW_ISA_AVX512 } tw_isa;

extern const tw_backend tw_cpu_backend;

typedef struct tw_cpu {
    tw_device device; /* first: a tw_device * of the CPU is a tw_cpu * */
    tw_isa isa;
    size_t l2_bytes; /* of one core */
    void (*fma)(long rounds, float *sums);
} tw_cpu;

static inline const tw_cpu *tw_cpu_of(const tw_device *device)
{
    return (const tw_cpu *)device;
}

static inline int tw_cpu_threads(const tw_device *device)
{
    return device->info.threads;
}

/* Cores that this process may use. */
int tw_cpu_available_cores(void);

/* Every cpu_*.c in src/ops, and src/devices/cpu/peak.c, is compiled once for each instruction set, with TW_VARIANT set to
 * portable, neon, avx2 or avx512 and the compiler's flags to match; the registry picks the device's own variant. So a
 * design defines its record by this macro, and everything else in its file is static:
 *
 *   const tw_design TW_CPU_DESIGN(conv2d, naive) = { ... };
 *
 * TW_VARIANT_ISA is the instruction set that the file is being compiled for, a constant. */
#ifndef TW_VARIANT
#if defined(__aarch64__)
#define TW_VARIANT neon
#else
#define TW_VARIANT portable
#endif
#endif
#define TW_JOIN_EXPANDED(a, b) a##_##b
#define TW_JOIN(a, b) TW_JOIN_EXPANDED(a, b)
#define TW_CPU_DESIGN(op, name) TW_JOIN(tw_##op##_cpu_##name, TW_VARIANT)
#define TW_ISA_portable TW_ISA_PORTABLE
#define TW_ISA_neon TW_ISA_NEON
#define TW_ISA_avx2 TW_ISA_AVX2
#define TW_ISA_avx512 TW_ISA_AVX512
#define TW_VARIANT_ISA TW_JOIN(TW_ISA, TW_VARIANT)

/* peak.c: rounds * 12 * 16 independent multiply-adds, to measure the peak with; sums[16] keeps them from being dropped. */
void tw_fma_loop_portable(long rounds, float *sums);
void tw_fma_loop_neon(long rounds, float *sums);
void tw_fma_loop_avx2(long rounds, float *sums);
void tw_fma_loop_avx512(long rounds, float *sums);

/* Predicted seconds for the cost model: work at a fraction of peak, or traffic at a fraction of bandwidth, whichever
 * bounds; `threads` of 1 for sequential designs, else the device's. */
double tw_cpu_seconds(const tw_device *device, double flops, double efficiency, double bytes, int threads);

/* ---- inside run() ---- */

const tw_cpu *tw_queue_cpu(const tw_queue *queue);

/* Calls task(context, begin, end, thread) until [0, items) is covered, from up to as many threads as the queue has;
 * returns when all is done. Chunks are handed out dynamically in pieces of at least `grain` items. `thread` is in
 * [0, threads) and no two concurrent calls share it: it indexes scratch. */
typedef void tw_task(const void *context, size_t begin, size_t end, int thread);
void tw_parallel(tw_queue *queue, tw_task *task, const void *context, size_t items, size_t grain);

#endif
