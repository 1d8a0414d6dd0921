/* The CPU: instruction set, threads, measured peaks, and the loop that runs a plan's steps. */
#include "devices/cpu/cpu.h"
#include "core/status.h"
#include "devices/cpu/simd.h"
#include "devices/cpu/threads.h"

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

struct tw_queue {
    tw_cpu *cpu;
    tw_threads *threads;
};

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* ---- instruction sets ---- */

static const char *const isa_names[] = {
    [TW_ISA_PORTABLE] = "portable", [TW_ISA_NEON] = "neon", [TW_ISA_AVX2] = "avx2", [TW_ISA_AVX512] = "avx512"};

static bool isa_present(tw_isa isa)
{
#if defined(__x86_64__)
    __builtin_cpu_init();
    bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    switch (isa) {
    case TW_ISA_PORTABLE: return true;
    case TW_ISA_NEON: return false;
    case TW_ISA_AVX2: return avx2;
    case TW_ISA_AVX512:
        return avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
               __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl");
    }
    return false;
#elif defined(__aarch64__)
    return isa == TW_ISA_NEON;
#else
    return isa == TW_ISA_PORTABLE;
#endif
}

static tw_status choose_isa(tw_isa *isa, tw_error *error)
{
    const char *forced = getenv("TILEWISE_ISA");
    if (!forced || !*forced) {
        for (int i = TW_ISA_AVX512; i >= 0; i--)
            if (isa_present((tw_isa)i)) {
                *isa = (tw_isa)i;
                return TW_OK;
            }
    }
    for (int i = 0; forced && i <= TW_ISA_AVX512; i++) {
        if (strcmp(forced, isa_names[i]) != 0) continue;
        if (!isa_present((tw_isa)i))
            return tw_fail(error, TW_UNAVAILABLE, "cpu: TILEWISE_ISA=%s: this processor or build lacks it", forced);
        *isa = (tw_isa)i;
        return TW_OK;
    }
    return tw_fail(error, TW_INVALID, "cpu: TILEWISE_ISA=%s: expected portable, neon, avx2 or avx512", forced);
}

/* ---- description ---- */

int tw_cpu_available_cores(void)
{
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) == 0) {
        int count = CPU_COUNT(&set);
        if (count > 0) return count;
    }
    long online = sysconf(_SC_NPROCESSORS_ONLN);
    return online > 0 ? (int)online : 1;
}

static void read_name(char *name, size_t size)
{
    snprintf(name, size, "unknown processor");
    FILE *file = fopen("/proc/cpuinfo", "r");
    if (!file) return;
    char line[256];
    while (fgets(line, sizeof line, file)) {
        char *colon = strchr(line, ':');
        if (strncmp(line, "model name", 10) != 0 || !colon) continue;
        colon[strcspn(colon, "\n")] = 0;
        snprintf(name, size, "%s", colon + 1 + strspn(colon + 1, " \t"));
        break;
    }
    fclose(file);
}

static size_t cache_bytes(int name, size_t otherwise)
{
    long bytes = sysconf(name);
    return bytes > 0 ? (size_t)bytes : otherwise;
}

/* Nominal peaks of one core, to choose designs by before anything is measured; what counts is their ratio. */
static double nominal_flops(tw_isa isa)
{
    static const double peaks[] = {
        [TW_ISA_PORTABLE] = 12e9, [TW_ISA_NEON] = 40e9, [TW_ISA_AVX2] = 80e9, [TW_ISA_AVX512] = 120e9};
    return peaks[isa];
}

static double nominal_bandwidth(int threads)
{
    return 13e9 * (threads < 2 ? 1 : threads < 8 ? 0.9 * threads : 7.2);
}

double tw_cpu_seconds(const tw_device *device, double flops, double efficiency, double bytes, int threads)
{
    const tw_cpu *cpu = tw_cpu_of(device);
    double compute = flops / (efficiency * nominal_flops(cpu->isa) * threads);
    double traffic = bytes / nominal_bandwidth(threads);
    return (compute > traffic ? compute : traffic) + (threads > 1 ? 1.5e-6 : 0.2e-6);
}

/* Of the variants that this build has. */
static void (*const fma_loops[])(long rounds, float *sums) = {
#if defined(__x86_64__)
    [TW_ISA_PORTABLE] = tw_fma_loop_portable,
    [TW_ISA_AVX2] = tw_fma_loop_avx2,
    [TW_ISA_AVX512] = tw_fma_loop_avx512,
#elif defined(__aarch64__)
    [TW_ISA_NEON] = tw_fma_loop_neon,
#else
    [TW_ISA_PORTABLE] = tw_fma_loop_portable,
#endif
};

static void cpu_close(tw_device *device)
{
    free(device);
}

static tw_status cpu_open(int index, const tw_device_desc *desc, tw_device **device, tw_error *error)
{
    if (index != 0) return tw_fail(error, TW_INVALID, "cpu:%d: there is one CPU device, cpu", index);
    tw_isa isa = TW_ISA_PORTABLE;
    tw_status status = choose_isa(&isa, error);
    if (status != TW_OK) return status;
    tw_cpu *cpu = calloc(1, sizeof *cpu);
    if (!cpu) return tw_no_memory(error, sizeof *cpu, "a device");
    tw_device_info *info = &cpu->device.info;
    cpu->device.backend = &tw_cpu_backend;
    cpu->device.references = 1;
    cpu->isa = isa;
    cpu->fma = fma_loops[isa];
    cpu->l2_bytes = cache_bytes(_SC_LEVEL2_CACHE_SIZE, 512 << 10);
    strcpy(info->id, "cpu");
    snprintf(info->features, sizeof info->features, "%s", isa_names[isa]);
    read_name(info->name, sizeof info->name);
    info->threads = desc->threads ? desc->threads : tw_cpu_available_cores();
    info->memory_bytes = (size_t)sysconf(_SC_PHYS_PAGES) * (size_t)sysconf(_SC_PAGESIZE);
    info->peak_flops = nominal_flops(isa) * info->threads;
    info->peak_bytes = nominal_bandwidth(info->threads);
    *device = &cpu->device;
    return TW_OK;
}

/* ---- queues and steps ---- */

static tw_status cpu_queue_create(tw_device *device, tw_queue **queue, tw_error *error)
{
    *queue = calloc(1, sizeof **queue);
    if (!*queue) return tw_no_memory(error, sizeof **queue, "a queue");
    (*queue)->cpu = (tw_cpu *)device;
    (*queue)->threads = tw_threads_create(device->info.threads);
    if (!(*queue)->threads) {
        free(*queue);
        *queue = NULL;
        return tw_fail(error, TW_FAILED, "cpu: cannot start %d threads", device->info.threads);
    }
    return TW_OK;
}

static void cpu_queue_destroy(tw_queue *queue)
{
    if (!queue) return;
    tw_threads_destroy(queue->threads);
    free(queue);
}

const tw_cpu *tw_queue_cpu(const tw_queue *queue)
{
    return queue->cpu;
}

static tw_status cpu_run_steps(tw_queue *queue, const tw_design *const *designs, const tw_step *steps, size_t count,
                               double *step_seconds, tw_error *error)
{
    for (size_t i = 0; i < count; i++) {
        double start = step_seconds ? now() : 0;
        tw_status status = designs[i]->run(&steps[i], queue);
        if (status != TW_OK) return tw_fail(error, status, "cpu: %s %s failed", designs[i]->op, designs[i]->name);
        if (step_seconds) step_seconds[i] = now() - start;
    }
    return TW_OK;
}

/* One loop shared by the pool's threads: each takes the next chunk until none is left. */
typedef struct loop {
    tw_task *task;
    const void *context;
    size_t items, chunk, next; /* next is atomic */
} loop;

static void take_chunks(void *context, size_t thread)
{
    loop *work = context;
    for (;;) {
        size_t begin = __atomic_fetch_add(&work->next, work->chunk, __ATOMIC_RELAXED);
        if (begin >= work->items) return;
        size_t end = begin + work->chunk < work->items ? begin + work->chunk : work->items;
        work->task(work->context, begin, end, (int)thread);
    }
}

void tw_parallel(tw_queue *queue, tw_task *task, const void *context, size_t items, size_t grain)
{
    enum { CHUNKS_PER_THREAD = 4 }; /* evens out threads that other processes disturb */
    if (items == 0) return;
    if (grain == 0) grain = 1;
    size_t threads = (size_t)queue->cpu->device.info.threads;
    if (threads == 1 || items <= grain) {
        task(context, 0, items, 0);
        return;
    }
    size_t chunk = (items + threads * CHUNKS_PER_THREAD - 1) / (threads * CHUNKS_PER_THREAD);
    loop work = {task, context, items, chunk > grain ? chunk : grain, 0};
    tw_threads_run(queue->threads, take_chunks, &work);
}

/* ---- measured peaks ---- */

typedef struct measurement {
    const tw_cpu *cpu;
    long rounds;
    const float *memory;
    size_t floats; /* a thread */
    float *sink;   /* [threads][16] */
} measurement;

static void measure_fma(void *context, size_t thread)
{
    const measurement *m = context;
    m->cpu->fma(m->rounds, m->sink + thread * 16);
}

static void measure_read(void *context, size_t thread)
{
    const measurement *m = context;
    const float *p = m->memory + thread * m->floats;
    v16 sum[4] = {v16_zero(), v16_zero(), v16_zero(), v16_zero()};
    for (size_t i = 0; i + 64 <= m->floats; i += 64)
        for (int j = 0; j < 4; j++) sum[j] += v16_load(p + i + 16 * j);
    v16_store(m->sink + thread * 16, sum[0] + sum[1] + sum[2] + sum[3]);
}

static double best_of(tw_queue *queue, void (*body)(void *, size_t), measurement *m, int repeats)
{
    double best = 1e30;
    for (int i = 0; i < repeats; i++) {
        double start = now();
        tw_threads_run(queue->threads, body, m);
        double seconds = now() - start;
        if (seconds < best) best = seconds;
    }
    return best;
}

static tw_status cpu_measure(tw_device *device, tw_error *error)
{
    enum { BYTES = 256 << 20, ROUNDS = 2000000 };
    tw_queue *queue;
    tw_status status = cpu_queue_create(device, &queue, error);
    if (status != TW_OK) return status;
    size_t threads = (size_t)device->info.threads;
    measurement m = {tw_cpu_of(device), ROUNDS, tw_alloc_zero(BYTES), BYTES / sizeof(float) / threads,
                     tw_alloc_zero(threads * 64)};
    if (!m.memory || !m.sink) {
        status = tw_no_memory(error, BYTES, "measuring memory bandwidth");
    } else {
        device->info.peak_flops = (double)threads * ROUNDS * 12 * 16 * 2 / best_of(queue, measure_fma, &m, 8);
        device->info.peak_bytes = (double)BYTES / best_of(queue, measure_read, &m, 6);
        device->info.measured = true;
    }
    free((void *)m.memory);
    free(m.sink);
    cpu_queue_destroy(queue);
    return status;
}

/* ---- memory ---- */

static tw_status cpu_alloc(tw_device *device, size_t bytes, void **memory, tw_error *error)
{
    (void)device;
    *memory = tw_alloc(bytes);
    return *memory ? TW_OK : tw_no_memory(error, bytes, "the cpu device");
}

static void cpu_free(tw_device *device, void *memory)
{
    (void)device;
    free(memory);
}

static tw_status cpu_copy(tw_queue *queue, void *to, const void *from, size_t bytes, tw_error *error)
{
    (void)queue;
    (void)error;
    memcpy(to, from, bytes);
    return TW_OK;
}

const tw_backend tw_cpu_backend = {
    .name = "cpu",
    .unified = true,
    .open = cpu_open,
    .close = cpu_close,
    .measure = cpu_measure,
    .alloc = cpu_alloc,
    .free = cpu_free,
    .upload = cpu_copy,
    .download = cpu_copy,
    .queue_create = cpu_queue_create,
    .queue_destroy = cpu_queue_destroy,
    .run_steps = cpu_run_steps,
};
