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
    size_t l1_bytes, l2_bytes; /* of one core */
} tw_cpu;

static inline const tw_cpu *tw_cpu_of(const tw_device *device)
{
    return (const tw_cpu *)device;
}

static inline int tw_cpu_threads(const tw_device *device)
{
    return device->info.threads;
}

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
