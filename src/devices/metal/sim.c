/* metal-sim: a Metal device whose kernels run on the CPU, translated by tools/metal.
 *
 * It answers as a GPU of some family would (--family: limits, what designs refuse, predicted times), so that auto
 * chooses as it would there; only its clock is the host's. Memory is the host's own. A queue runs each launch to its
 * end.
 *
 * TILEWISE_METAL_SIM=asan or tsan has kernels checked; TILEWISE_METAL_SEED=N draws the order of threads at random and
 * fills threadgroup memory with NaN, as the sanitizers do. */
#include "core/status.h"
#include "devices/cpu/cpu.h"
#include "devices/metal/library.h"
#include "devices/metal/metal.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* Kernels read vectors of 16 bytes; a core makes some 330 GFLOP/s on every family. */
enum { VECTOR_BYTES = 16, CORE_GFLOPS = 330 };

extern const tw_backend tw_metal_sim_backend;

/* Kernels built in one way. */
typedef struct kernels {
    tw_msl_tools tools;
    tw_msl_library *libraries;
} kernels;

typedef struct simulator {
    tw_metal metal;
    kernels usual, counting;
    uint64_t seed;
    pthread_mutex_t lock; /* of libraries, which several queues share */
} simulator;

struct tw_queue {
    tw_metal_queue head;
    simulator *device;
    tw_counts *counts; /* null: nobody wants them */
    size_t step;       /* that launches */
    tw_error error;    /* of the last launch that failed */
};

/* What a family's most usual chip has. */
static const struct chip {
    const char *name;
    int cores;
    double bytes; /* a second */
} chips[] = {
    [4] = {"A11", 3, 34e9},  [5] = {"A12", 4, 34e9},  [6] = {"A13", 4, 34e9},   [7] = {"M1", 8, 68e9},
    [8] = {"M2", 10, 100e9}, [9] = {"M4", 10, 120e9}, [10] = {"M5", 10, 153e9},
};

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* ---- the device ---- */

static tw_status read_seed(uint64_t *seed, tw_error *error)
{
    const char *text = getenv("TILEWISE_METAL_SEED");
    char *end;
    *seed = 0;
    if (!text || !*text) return TW_OK;
    errno = 0;
    const long number = strtol(text, &end, 10);
    if (*text < '0' || *text > '9' || *end || errno)
        return tw_fail(error, TW_INVALID, "metal-sim: TILEWISE_METAL_SEED=%s: expected a number from 0", text);
    *seed = (uint64_t)number;
    return TW_OK;
}

static void describe(simulator *s, const tw_device_desc *desc)
{
    const struct chip *chip = &chips[s->metal.family];
    tw_device_info *info = &s->metal.device.info;
    strcpy(info->id, "metal-sim");
    snprintf(info->name, sizeof info->name, "Metal kernels on the CPU, as on an Apple %s", chip->name);
    snprintf(info->features, sizeof info->features, "apple%d%s%s", s->metal.family,
             strcmp(s->usual.tools.mode, "plain") == 0 ? "" : " ",
             strcmp(s->usual.tools.mode, "plain") == 0 ? "" : s->usual.tools.mode);
    info->threads = desc->threads ? desc->threads : tw_cpu_available_cores();
    info->memory_bytes = (size_t)sysconf(_SC_PHYS_PAGES) * (size_t)sysconf(_SC_PAGESIZE);
    info->peak_flops = chip->cores * (CORE_GFLOPS * 1e9);
    info->peak_bytes = chip->bytes;
}

static tw_status sim_open(int index, const tw_device_desc *desc, tw_device **device, tw_error *error)
{
    if (index != 0) return tw_fail(error, TW_INVALID, "metal-sim:%d: there is one such device, metal-sim", index);
    simulator *s = calloc(1, sizeof *s);
    if (!s) return tw_no_memory(error, sizeof *s, "a device");
    tw_status status = tw_metal_read_family("metal-sim", desc->family, &s->metal.family, error);
    if (status == TW_OK) status = read_seed(&s->seed, error);
    if (status == TW_OK) status = tw_msl_find_tools(s->metal.family, &s->usual.tools, error);
    if (status == TW_OK && pthread_mutex_init(&s->lock, NULL) != 0)
        status = tw_fail(error, TW_FAILED, "metal-sim: no lock");
    if (status != TW_OK) {
        free(s);
        return status;
    }
    s->counting.tools = s->usual.tools;
    s->counting.tools.mode = "count";
    s->metal.device.backend = &tw_metal_sim_backend;
    s->metal.device.references = 1;
    s->metal.device.precisions = TW_IN_FP32 | TW_IN_FP16;
    describe(s, desc);
    *device = &s->metal.device;
    return TW_OK;
}

static void close_libraries(tw_msl_library *library)
{
    while (library) {
        tw_msl_library *next = library->next;
        tw_msl_close(library);
        library = next;
    }
}

static void sim_close(tw_device *device)
{
    simulator *s = (simulator *)(void *)device;
    close_libraries(s->usual.libraries);
    close_libraries(s->counting.libraries);
    pthread_mutex_destroy(&s->lock);
    free(s);
}

/* ---- launches ---- */

static tw_status find_library(tw_queue *queue, const char *source, tw_msl_library **found)
{
    simulator *s = queue->device;
    kernels *built = queue->counts ? &s->counting : &s->usual;
    tw_status status = TW_OK;
    pthread_mutex_lock(&s->lock);
    *found = built->libraries;
    while (*found && strcmp((*found)->source, source) != 0) *found = (*found)->next;
    if (!*found) {
        status = tw_msl_open(&built->tools, source, found, &queue->error);
        if (status == TW_OK) {
            (*found)->next = built->libraries;
            built->libraries = *found;
        }
    }
    pthread_mutex_unlock(&s->lock);
    return status;
}

/* Buffers that kernels may read as vectors: those that do not lie on 16 bytes, as mapped weights and a caller's tensors
 * may not, are copied for the launch. */
typedef struct copies {
    void *memory[MSL_MAX_BUFFERS]; /* null: not copied */
} copies;

static tw_status bind(const tw_metal_dispatch *d, msl_launch_desc *desc, copies *copied, tw_error *error)
{
    desc->buffers[0] = (msl_buffer){(void *)d->args, d->args_bytes};
    for (int i = 0; i < d->n_buffers; i++) {
        const tw_metal_buffer *buffer = &d->buffers[i];
        void *data = (void *)buffer->pointer;
        if ((uintptr_t)data % VECTOR_BYTES) {
            data = copied->memory[i + 1] = tw_alloc(buffer->bytes);
            if (!data) return tw_no_memory(error, buffer->bytes, "an aligned buffer");
            memcpy(data, buffer->pointer, buffer->bytes);
        }
        desc->buffers[i + 1] = (msl_buffer){data, buffer->bytes};
    }
    return TW_OK;
}

static bool is_written(const msl_kernel *kernel, int index)
{
    for (uint32_t i = 0; i < kernel->argument_count; i++)
        if (kernel->arguments[i].space == MSL_DEVICE && (int)kernel->arguments[i].index == index)
            return kernel->arguments[i].writable;
    return false;
}

/* Copies back what the kernel may have written. */
static void unbind(const tw_metal_dispatch *d, const msl_kernel *kernel, const copies *copied)
{
    for (int i = 0; i < d->n_buffers; i++) {
        void *memory = copied->memory[i + 1];
        if (memory && is_written(kernel, i + 1)) memcpy((void *)d->buffers[i].pointer, memory, d->buffers[i].bytes);
        free(memory);
    }
}

static tw_counters counters_of(const msl_counters *c)
{
    return (tw_counters){
        .threadgroups = c->threadgroups,
        .threads = c->threads,
        .device_read_bytes = c->device_read_bytes,
        .device_written_bytes = c->device_written_bytes,
        .device_unique_read_bytes = c->device_unique_read_bytes,
        .device_unique_written_bytes = c->device_unique_written_bytes,
        .device_group_read_bytes = c->device_group_read_bytes,
        .constant_read_bytes = c->constant_read_bytes,
        .threadgroup_read_bytes = c->threadgroup_read_bytes,
        .threadgroup_written_bytes = c->threadgroup_written_bytes,
        .flops = c->flops,
        .special_functions = c->special_functions,
        .instructions = c->instructions,
        .barriers = c->barriers,
        .simdgroup_operations = c->simdgroup_operations,
        .simdgroup_matrix_operations = c->simdgroup_matrix_products,
        .atomics = c->atomics,
        .device_requests = c->device_requests,
        .device_lines = c->device_lines,
        .device_busiest_requests = c->device_busiest_requests,
        .threadgroup_requests = c->threadgroup_requests,
        .threadgroup_turns = c->threadgroup_turns,
        .threadgroup_memory_bytes = c->threadgroup_bytes,
        .max_threadgroups_per_core = c->threadgroup_bytes ? TW_METAL_THREADGROUP_BYTES / c->threadgroup_bytes : 0,
    };
}

static tw_status add_counts(tw_queue *queue, const tw_metal_dispatch *d, const msl_counters *counters)
{
    tw_counted_launch *added = tw_counts_add(queue->counts);
    if (!added) return tw_no_memory(&queue->error, sizeof *added, "counters");
    added->step = queue->step;
    snprintf(added->source, sizeof added->source, "%s", d->source);
    snprintf(added->kernel, sizeof added->kernel, "%s", d->kernel);
    memcpy(added->threads, d->threads, sizeof added->threads);
    added->counters = counters_of(counters);
    return TW_OK;
}

static void describe_launch(const simulator *s, const tw_metal_dispatch *d, msl_constant_value *values,
                            msl_launch_desc *desc)
{
    const bool checks = s->seed != 0 || strcmp(s->usual.tools.mode, "plain") != 0;
    *desc = (msl_launch_desc){.kernel = d->kernel, .constants = values, .constant_count = (uint32_t)d->n_constants};
    for (int i = 0; i < d->n_constants; i++)
        values[i] = (msl_constant_value){
            .name = d->constants[i].name, .value = &d->constants[i].value, .bytes = 4, .type = "int"};
    for (int i = 0; i < 3; i++) {
        desc->threadgroups[i] = d->threadgroups[i];
        desc->threads[i] = d->threads[i];
    }
    desc->threadgroup_bytes[0] = (uint32_t)d->threadgroup_bytes;
    desc->threadgroup_limit = TW_METAL_THREADGROUP_BYTES;
    desc->workers = (uint32_t)s->metal.device.info.threads;
    desc->flags = checks ? MSL_POISON : 0;
    desc->seed = s->seed;
}

static tw_status launch(tw_queue *queue, const tw_metal_dispatch *d, const tw_msl_library *library)
{
    tw_error *error = &queue->error;
    const msl_kernel *kernel = tw_msl_kernel(library, d->kernel);
    if (!kernel) return tw_fail(error, TW_FAILED, "metal-sim: %s.metal has no kernel %s", d->source, d->kernel);
    msl_constant_value values[TW_METAL_MAX_CONSTANTS];
    msl_launch_desc desc;
    msl_counters counters;
    char message[512] = "";
    copies copied = {0};
    describe_launch(queue->device, d, values, &desc);
    desc.counters = &counters;
    tw_status status = bind(d, &desc, &copied, error);
    if (status == TW_OK && library->launch(&desc, message, sizeof message) != MSL_OK)
        status = tw_fail(error, TW_FAILED, "metal-sim: %s.metal: %s", d->source, message);
    unbind(d, kernel, &copied);
    return status == TW_OK && queue->counts ? add_counts(queue, d, &counters) : status;
}

static tw_status find_and_launch(tw_queue *queue, const tw_metal_dispatch *dispatch)
{
    tw_msl_library *library;
    tw_status status = find_library(queue, dispatch->source, &library);
    return status == TW_OK ? launch(queue, dispatch, library) : status;
}

/* ---- queues, steps and memory ---- */

static tw_status sim_queue_create(tw_device *device, tw_queue **queue, tw_error *error)
{
    *queue = calloc(1, sizeof **queue);
    if (!*queue) return tw_no_memory(error, sizeof **queue, "a queue");
    (*queue)->head.launch = find_and_launch;
    (*queue)->device = (simulator *)(void *)device;
    return TW_OK;
}

static void sim_queue_destroy(tw_queue *queue)
{
    free(queue);
}

static tw_status sim_run_steps(tw_queue *queue, const tw_design *const *designs, const tw_step *steps, size_t count,
                               double *step_seconds, tw_error *error)
{
    for (size_t i = 0; i < count; i++) {
        const double start = step_seconds ? now() : 0;
        queue->step = i;
        tw_status status = designs[i]->run(&steps[i], queue);
        if (status != TW_OK) return tw_fail(error, status, "%s", queue->error.message);
        if (step_seconds) step_seconds[i] = now() - start;
    }
    return TW_OK;
}

static void sim_count(tw_queue *queue, tw_counts *counts)
{
    queue->counts = counts;
}

static tw_status sim_alloc(tw_device *device, size_t bytes, void **memory, tw_error *error)
{
    (void)device;
    *memory = tw_alloc(bytes);
    return *memory ? TW_OK : tw_no_memory(error, bytes, "the metal-sim device");
}

static void sim_free(tw_device *device, void *memory)
{
    (void)device;
    free(memory);
}

static tw_status sim_copy(tw_queue *queue, void *to, const void *from, size_t bytes, tw_error *error)
{
    (void)queue;
    (void)error;
    memcpy(to, from, bytes);
    return TW_OK;
}

const tw_backend tw_metal_sim_backend = {
    .name = "metal-sim",
    .records = "metal",
    .simulated = true,
    .unified = true,
    .open = sim_open,
    .close = sim_close,
    .alloc = sim_alloc,
    .free = sim_free,
    .upload = sim_copy,
    .download = sim_copy,
    .queue_create = sim_queue_create,
    .queue_destroy = sim_queue_destroy,
    .run_steps = sim_run_steps,
    .count = sim_count,
};
