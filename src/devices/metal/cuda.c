/* metal-cuda: a Metal device whose kernels, translated to CUDA by tools/metal, run on a GPU of NVIDIA's.
 *
 * It answers as a GPU of some Apple family would where designs refuse (--family); its memory, its clock and its peaks
 * are the GPU's own. Of CUDA it needs the driver alone, and of tools/metal and nvcc nothing where the cache has the
 * kernels.
 *
 * All queues of a device share one stream: a file's function constants are variables of its loaded code, which a launch
 * sets in the stream's order. A lock keeps what belongs to one launch together. */
#include "core/status.h"
#include "devices/hold.h"
#include "devices/metal/cuda_driver.h"
#include "devices/metal/library.h"
#include "devices/metal/metal.h"

#include <ctype.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    OLDEST = 75, /* compute capability 7.5 */
    MAX_BLOCKS = 65535,
    MAX_DEPTH = 64, /* along y and z; threads along z */
    NOTHING_BYTES = 4096,
    EVENTS = 2,
    MAX_CONSTANTS = 32
};

extern const tw_backend tw_metal_cuda_backend;

/* One .metal file's code on the GPU. */
typedef struct module {
    tw_msl_library *library;
    tw_cu_module code;
    int32_t values[MAX_CONSTANTS]; /* of the function constants, as they were set last */
    bool is_set[MAX_CONSTANTS];
    struct module *next;
} module;

typedef struct translated {
    tw_metal metal;
    tw_msl_tools tools;
    tw_cu_driver driver;
    int index, number; /* the user's, the driver's */
    tw_cu_context context;
    tw_cu_stream stream;
    tw_cu_pointer nothing; /* what is bound where a design has no operand */
    module *modules;
    pthread_mutex_t lock; /* of modules, and of the stream for what must stay together */
} translated;

struct tw_queue {
    tw_metal_queue head;
    translated *device;
    tw_cu_event events[EVENTS];
    const char *kernel; /* launched last */
    tw_error error;     /* of the last launch that failed */
};

static translated *translated_of(tw_device *device)
{
    return (translated *)(void *)device;
}

static tw_status fail(const translated *t, int failure, const char *what, tw_error *error)
{
    const char *text = NULL;
    t->driver.cuGetErrorString(failure, &text);
    tw_status status = failure == TW_CU_OUT_OF_MEMORY ? TW_OUT_OF_MEMORY : TW_FAILED;
    (tw_fail)(error, status, "%s: %s: %s", t->metal.device.info.id, what, text ? text : "unknown error");
    return status;
}

/* ---- the device ---- */

static int attribute(const translated *t, int which)
{
    int value = 0;
    return t->driver.cuDeviceGetAttribute(&value, which, t->number) == TW_CU_SUCCESS ? value : 0;
}

static tw_status describe(translated *t, tw_error *error)
{
    tw_device_info *info = &t->metal.device.info;
    char name[96] = "";
    const int capability = 10 * attribute(t, TW_CU_MAJOR) + attribute(t, TW_CU_MINOR);
    t->driver.cuDeviceGetName(name, sizeof name, t->number);
    if (capability < OLDEST)
        return tw_fail(error, TW_UNAVAILABLE, "%s: %s has compute capability %d.%d, expected %d.%d or later", info->id,
                       name, capability / 10, capability % 10, OLDEST / 10, OLDEST % 10);
    /* Multiply-adds a cycle and multiprocessor in float32, as in the device cuda. */
    const double lanes = capability == OLDEST || capability == 80 ? 64 : 128;
    snprintf(info->name, sizeof info->name, "Metal kernels as CUDA on %.95s", name);
    snprintf(info->features, sizeof info->features, "apple%d, sm_%d", t->metal.family, capability);
    info->threads = 1;
    t->driver.cuDeviceTotalMem_v2(&info->memory_bytes, t->number);
    info->peak_flops = 2 * lanes * attribute(t, TW_CU_MULTIPROCESSORS) * attribute(t, TW_CU_CLOCK) * 1e3;
    info->peak_bytes = 2.0 * attribute(t, TW_CU_MEMORY_CLOCK) * 1e3 * attribute(t, TW_CU_MEMORY_BITS) / 8;
    t->metal.device.precisions = TW_IN_FP32 | TW_IN_FP16;
    return TW_OK;
}

/* The context, the stream and what absent operands are bound to. */
static tw_status prepare(translated *t, tw_error *error)
{
    tw_cu_driver *cu = &t->driver;
    int failure = cu->cuDevicePrimaryCtxRetain(&t->context, t->number);
    if (failure != TW_CU_SUCCESS) return fail(t, failure, "opening", error);
    failure = cu->cuCtxSetCurrent(t->context);
    if (failure == TW_CU_SUCCESS) failure = cu->cuStreamCreate(&t->stream, TW_CU_STREAM_NON_BLOCKING);
    if (failure == TW_CU_SUCCESS) failure = cu->cuMemAlloc_v2(&t->nothing, NOTHING_BYTES);
    return failure == TW_CU_SUCCESS ? TW_OK : fail(t, failure, "opening", error);
}

static void free_module(const translated *t, module *m)
{
    if (m->code) t->driver.cuModuleUnload(m->code);
    tw_msl_close(m->library);
    free(m);
}

/* The driver stays loaded: it may have threads of its own. */
static void cuda_close(tw_device *device)
{
    translated *t = translated_of(device);
    if (t->context) {
        t->driver.cuCtxSetCurrent(t->context);
        for (module *m = t->modules, *next; m; m = next) {
            next = m->next;
            free_module(t, m);
        }
        if (t->nothing) t->driver.cuMemFree_v2(t->nothing);
        if (t->stream) t->driver.cuStreamDestroy_v2(t->stream);
        t->driver.cuDevicePrimaryCtxRelease_v2(t->number);
    }
    pthread_mutex_destroy(&t->lock);
    free(t);
}

static tw_status find_device(translated *t, tw_error *error)
{
    int count = 0;
    tw_status status = tw_cu_load(&t->driver, error);
    if (status != TW_OK) return status;
    t->driver.cuDeviceGetCount(&count);
    if (t->index >= count || t->driver.cuDeviceGet(&t->number, t->index) != TW_CU_SUCCESS)
        return tw_fail(error, TW_UNAVAILABLE, "metal-cuda:%d: there %s, numbered from 0", t->index,
                       count == 1 ? "is one device" : "are fewer devices");
    return TW_OK;
}

static tw_status cuda_open(int index, const tw_device_desc *desc, tw_device **device, tw_error *error)
{
    translated *t = calloc(1, sizeof *t);
    if (!t) return tw_no_memory(error, sizeof *t, "a device");
    if (pthread_mutex_init(&t->lock, NULL) != 0) {
        free(t);
        return tw_fail(error, TW_FAILED, "metal-cuda: no lock");
    }
    t->index = index;
    t->metal.device.backend = &tw_metal_cuda_backend;
    t->metal.device.references = 1;
    snprintf(t->metal.device.info.id, sizeof t->metal.device.info.id, "metal-cuda:%d", index);
    tw_status status = tw_metal_read_family("metal-cuda", desc->family, &t->metal.family, error);
    if (status == TW_OK) status = find_device(t, error);
    if (status == TW_OK) status = tw_msl_find_cuda_tools(t->metal.family, &t->tools, error);
    if (status == TW_OK) status = describe(t, error);
    if (status == TW_OK) status = prepare(t, error);
    if (status == TW_OK)
        *device = &t->metal.device;
    else
        cuda_close(&t->metal.device);
    return status;
}

/* ---- kernels ---- */

static tw_status load_module(translated *t, const char *source, module **out, tw_error *error)
{
    module *m = calloc(1, sizeof *m);
    if (!m) return tw_no_memory(error, sizeof *m, "a Metal library");
    tw_status status = tw_msl_open(&t->tools, source, &m->library, error);
    if (status == TW_OK && !m->library->image)
        status = tw_fail(error, TW_FAILED, "metal-cuda: %s.metal: its library has no code for GPUs", source);
    if (status == TW_OK && m->library->table->constant_count > MAX_CONSTANTS)
        status = tw_fail(error, TW_FAILED, "metal-cuda: %s.metal: %u function constants, expected at most %d", source,
                         m->library->table->constant_count, MAX_CONSTANTS);
    const int failure = status == TW_OK ? t->driver.cuModuleLoadData(&m->code, m->library->image->code) : TW_CU_SUCCESS;
    if (failure != TW_CU_SUCCESS) status = fail(t, failure, source, error);
    if (status == TW_OK)
        *out = m;
    else
        free_module(t, m);
    return status;
}

static tw_status find_module(translated *t, const char *source, module **found, tw_error *error)
{
    for (*found = t->modules; *found; *found = (*found)->next)
        if (strcmp((*found)->library->source, source) == 0) return TW_OK;
    tw_status status = load_module(t, source, found, error);
    if (status != TW_OK) return status;
    (*found)->next = t->modules;
    t->modules = *found;
    return TW_OK;
}

/* The name in the code of the kernel that the table has here: msl_abi.h. */
static tw_status find_function(const translated *t, const module *m, const msl_kernel *kernel, tw_cu_function *function,
                               tw_error *error)
{
    char name[256];
    const int start = snprintf(name, sizeof name, "msl_%d_", (int)(kernel - m->library->table->kernels));
    snprintf(name + start, sizeof name - (size_t)start, "%s", kernel->name);
    for (char *at = name; *at; at++)
        if (!isalnum((unsigned char)*at)) *at = '_';
    const int failure = t->driver.cuModuleGetFunction(function, m->code, name);
    return failure == TW_CU_SUCCESS ? TW_OK : fail(t, failure, name, error);
}

static int set_variable(const translated *t, const module *m, const char *name, const void *value, size_t bytes)
{
    tw_cu_pointer memory;
    size_t size = 0;
    int failure = t->driver.cuModuleGetGlobal_v2(&memory, &size, m->code, name);
    if (failure == TW_CU_SUCCESS && size == bytes)
        failure = t->driver.cuMemcpyHtoDAsync_v2(memory, value, bytes, t->stream);
    return failure;
}

/* Values that the code has already are not copied again; a copy from memory that is not pinned has been read when the
 * call returns. */
static tw_status set_constants(const translated *t, module *m, const tw_metal_dispatch *d, tw_error *error)
{
    static const bool yes = true;
    const msl_library *table = m->library->table;
    for (int i = 0; i < d->n_constants; i++) {
        const tw_metal_constant *given = &d->constants[i];
        uint32_t k = 0;
        while (k < table->constant_count && strcmp(table->constants[k].name, given->name) != 0) k++;
        if (k == table->constant_count || table->constants[k].bytes != sizeof given->value)
            return tw_fail(error, TW_FAILED, "metal-cuda: %s.metal has no function constant int %s", d->source,
                           given->name);
        if (m->is_set[k] && m->values[k] == given->value) continue;
        char defined[128];
        snprintf(defined, sizeof defined, "%s_msl_defined", given->name);
        int failure = set_variable(t, m, given->name, &given->value, sizeof given->value);
        if (failure == TW_CU_SUCCESS) failure = set_variable(t, m, defined, &yes, sizeof yes);
        if (failure != TW_CU_SUCCESS) return fail(t, failure, given->name, error);
        m->values[k] = given->value;
        m->is_set[k] = true;
    }
    return TW_OK;
}

/* Buffers by number; what lies in the constant address space goes with the launch. */
static tw_status bind(const translated *t, const tw_metal_dispatch *d, const msl_kernel *kernel,
                      msl_cuda_parameters *parameters, tw_error *error)
{
    for (uint32_t i = 0; i < kernel->argument_count; i++) {
        const msl_argument *a = &kernel->arguments[i];
        if (a->space == MSL_THREADGROUP) continue; /* threadgroup(0) at 0, the only one of a dispatch */
        if ((int)a->index > d->n_buffers) {
            if (a->optional) continue;
            return tw_fail(error, TW_FAILED, "metal-cuda: %s.metal: kernel %s: buffer(%u), %s, is not bound", d->source,
                           kernel->name, a->index, a->name);
        }
        const bool is_args = a->index == 0;
        const tw_metal_buffer given = is_args ? (tw_metal_buffer){d->args, d->args_bytes} : d->buffers[a->index - 1];
        if ((a->space == MSL_CONSTANT) != is_args || (is_args && given.bytes > sizeof parameters->constants))
            return tw_fail(error, TW_FAILED,
                           "metal-cuda: %s.metal: kernel %s: %s: buffer(0) alone is constant, of at most %d bytes",
                           d->source, kernel->name, a->name, (int)sizeof parameters->constants);
        if (is_args)
            memcpy(parameters->constants, given.pointer, given.bytes);
        else
            parameters->buffers[a->index] =
                given.pointer == d->args ? (void *)(uintptr_t)t->nothing : (void *)given.pointer;
    }
    return TW_OK;
}

/* What Metal, and then CUDA, would refuse. */
static tw_status check(const translated *t, const tw_metal_dispatch *d, tw_cu_function function, tw_error *error)
{
    int most = 0, fixed = 0;
    t->driver.cuFuncGetAttribute(&most, TW_CU_MAX_THREADS, function);
    t->driver.cuFuncGetAttribute(&fixed, TW_CU_SHARED_BYTES, function);
    const uint64_t threads = (uint64_t)d->threads[0] * d->threads[1] * d->threads[2];
    const size_t memory = (size_t)fixed + d->threadgroup_bytes;
    if (threads == 0 || threads > (uint64_t)most || d->threads[2] > MAX_DEPTH)
        return tw_fail(error, TW_FAILED,
                       "metal-cuda: %s.metal: kernel %s: %u x %u x %u threads a threadgroup, expected 1 to %d, and at "
                       "most %d along z",
                       d->source, d->kernel, d->threads[0], d->threads[1], d->threads[2], most, MAX_DEPTH);
    if (d->threadgroups[0] == 0 || d->threadgroups[0] > INT32_MAX || d->threadgroups[1] - 1 >= MAX_BLOCKS ||
        d->threadgroups[2] - 1 >= MAX_BLOCKS)
        return tw_fail(
            error, TW_FAILED,
            "metal-cuda: %s.metal: kernel %s: %u x %u x %u threadgroups, expected from 1 to 2^31 - 1 along x "
            "and to %d along y and z",
            d->source, d->kernel, d->threadgroups[0], d->threadgroups[1], d->threadgroups[2], MAX_BLOCKS);
    if (memory > TW_METAL_THREADGROUP_BYTES)
        return tw_fail(error, TW_FAILED,
                       "metal-cuda: %s.metal: kernel %s: %zu bytes of threadgroup memory, expected at most %d",
                       d->source, d->kernel, memory, TW_METAL_THREADGROUP_BYTES);
    return TW_OK;
}

static tw_status launch_kernel(tw_queue *queue, const tw_metal_dispatch *d)
{
    translated *t = queue->device;
    tw_error *error = &queue->error;
    module *m;
    tw_cu_function function;
    msl_cuda_parameters parameters = {0};
    tw_status status = find_module(t, d->source, &m, error);
    if (status != TW_OK) return status;
    const msl_kernel *kernel = tw_msl_kernel(m->library, d->kernel);
    if (!kernel) return tw_fail(error, TW_FAILED, "metal-cuda: %s.metal has no kernel %s", d->source, d->kernel);
    status = find_function(t, m, kernel, &function, error);
    if (status == TW_OK) status = check(t, d, function, error);
    if (status == TW_OK) status = bind(t, d, kernel, &parameters, error);
    if (status == TW_OK) status = set_constants(t, m, d, error);
    if (status != TW_OK) return status;
    queue->kernel = kernel->name;
    void *pointers[] = {&parameters};
    const int failure = t->driver.cuLaunchKernel(function, d->threadgroups[0], d->threadgroups[1], d->threadgroups[2],
                                                 d->threads[0], d->threads[1], d->threads[2],
                                                 (unsigned)d->threadgroup_bytes, t->stream, pointers, NULL);
    return failure == TW_CU_SUCCESS ? TW_OK : fail(t, failure, kernel->name, error);
}

static tw_status cuda_launch(tw_queue *queue, const tw_metal_dispatch *dispatch)
{
    pthread_mutex_lock(&queue->device->lock);
    tw_status status = launch_kernel(queue, dispatch);
    pthread_mutex_unlock(&queue->device->lock);
    return status;
}

/* ---- queues and steps ---- */

static void cuda_queue_destroy(tw_queue *queue)
{
    translated *t = queue->device;
    t->driver.cuCtxSetCurrent(t->context);
    t->driver.cuStreamSynchronize(t->stream); /* what it launched uses memory that its owner may free */
    for (int i = 0; i < EVENTS; i++)
        if (queue->events[i]) t->driver.cuEventDestroy_v2(queue->events[i]);
    tw_device_release(&t->metal.device);
    free(queue);
}

static tw_status cuda_queue_create(tw_device *device, tw_queue **out, tw_error *error)
{
    translated *t = translated_of(device);
    tw_queue *queue = calloc(1, sizeof *queue);
    if (!queue) return tw_no_memory(error, sizeof *queue, "a queue");
    queue->head.launch = cuda_launch;
    queue->device = t;
    tw_device_retain(device);
    int failure = t->driver.cuCtxSetCurrent(t->context);
    for (int i = 0; i < EVENTS && failure == TW_CU_SUCCESS; i++)
        failure = t->driver.cuEventCreate(&queue->events[i], 0);
    if (failure == TW_CU_SUCCESS) {
        *out = queue;
        return TW_OK;
    }
    tw_status status = fail(t, failure, "creating a queue", error);
    cuda_queue_destroy(queue);
    return status;
}

/* Waits for what was launched; a fault of a kernel comes out here, of one launched since the last wait. */
static tw_status finish(tw_queue *queue, tw_error *error)
{
    const int failure = queue->device->driver.cuStreamSynchronize(queue->device->stream);
    char what[192];
    snprintf(what, sizeof what, "kernel %s or one before it", queue->kernel ? queue->kernel : "(none)");
    return failure == TW_CU_SUCCESS ? TW_OK : fail(queue->device, failure, what, error);
}

static tw_status run_timed(tw_queue *queue, const tw_design *design, const tw_step *step, double *seconds,
                           tw_error *error)
{
    const tw_cu_driver *cu = &queue->device->driver;
    float milliseconds = 0;
    atomic_bool opened = false;
    int failure = cu->cuLaunchHostFunc(queue->device->stream, tw_stream_hold, &opened);
    if (failure == TW_CU_SUCCESS) failure = cu->cuEventRecord(queue->events[0], queue->device->stream);
    const bool launched = failure != TW_CU_SUCCESS || design->run(step, queue) == TW_OK;
    if (failure == TW_CU_SUCCESS) failure = cu->cuEventRecord(queue->events[1], queue->device->stream);
    atomic_store(&opened, true);
    tw_status status = finish(queue, error);
    if (!launched) return tw_fail(error, TW_FAILED, "%s", queue->error.message);
    if (status != TW_OK) return status;
    if (failure == TW_CU_SUCCESS) failure = cu->cuEventElapsedTime(&milliseconds, queue->events[0], queue->events[1]);
    *seconds = milliseconds * 1e-3;
    return failure == TW_CU_SUCCESS ? TW_OK : fail(queue->device, failure, "timing", error);
}

static tw_status cuda_run_steps(tw_queue *queue, const tw_design *const *designs, const tw_step *steps, size_t count,
                                double *step_seconds, tw_error *error)
{
    const int failure = queue->device->driver.cuCtxSetCurrent(queue->device->context);
    if (failure != TW_CU_SUCCESS) return fail(queue->device, failure, "selecting the device", error);
    for (size_t i = 0; i < count; i++) {
        tw_status status = step_seconds ? run_timed(queue, designs[i], &steps[i], &step_seconds[i], error)
                                        : designs[i]->run(&steps[i], queue);
        if (status == TW_OK) continue;
        finish(queue, NULL); /* nothing of a list that failed goes on behind its owner's back */
        return step_seconds ? status : tw_fail(error, status, "%s", queue->error.message);
    }
    return finish(queue, error);
}

/* ---- memory ---- */

static tw_status cuda_alloc(tw_device *device, size_t bytes, void **memory, tw_error *error)
{
    translated *t = translated_of(device);
    tw_cu_pointer pointer = 0;
    int failure = t->driver.cuCtxSetCurrent(t->context);
    if (failure == TW_CU_SUCCESS) failure = t->driver.cuMemAlloc_v2(&pointer, bytes ? bytes : 1);
    *memory = (void *)(uintptr_t)pointer;
    if (failure != TW_CU_OUT_OF_MEMORY) return failure == TW_CU_SUCCESS ? TW_OK : fail(t, failure, "allocating", error);
    size_t available = 0, total = 0;
    t->driver.cuMemGetInfo_v2(&available, &total);
    return tw_fail(error, TW_OUT_OF_MEMORY, "%s: out of memory: %zu bytes are wanted, %zu of %zu are free",
                   device->info.id, bytes, available, total);
}

static void cuda_free(tw_device *device, void *memory)
{
    translated *t = translated_of(device);
    t->driver.cuCtxSetCurrent(t->context);
    t->driver.cuMemFree_v2((tw_cu_pointer)(uintptr_t)memory);
}

static tw_status cuda_available(tw_device *device, size_t *bytes, tw_error *error)
{
    translated *t = translated_of(device);
    size_t total;
    int failure = t->driver.cuCtxSetCurrent(t->context);
    if (failure == TW_CU_SUCCESS) failure = t->driver.cuMemGetInfo_v2(bytes, &total);
    return failure == TW_CU_SUCCESS ? TW_OK : fail(t, failure, "asking for free memory", error);
}

static tw_status cuda_upload(tw_queue *queue, void *device_memory, const void *host, size_t bytes, tw_error *error)
{
    translated *t = queue->device;
    int failure = t->driver.cuCtxSetCurrent(t->context);
    if (failure == TW_CU_SUCCESS && bytes > 0)
        failure = t->driver.cuMemcpyHtoDAsync_v2((tw_cu_pointer)(uintptr_t)device_memory, host, bytes, t->stream);
    return failure == TW_CU_SUCCESS ? TW_OK : fail(t, failure, "copying to the device", error);
}

static tw_status cuda_download(tw_queue *queue, void *host, const void *device_memory, size_t bytes, tw_error *error)
{
    translated *t = queue->device;
    int failure = t->driver.cuCtxSetCurrent(t->context);
    if (failure == TW_CU_SUCCESS && bytes > 0)
        failure = t->driver.cuMemcpyDtoHAsync_v2(host, (tw_cu_pointer)(uintptr_t)device_memory, bytes, t->stream);
    if (failure == TW_CU_SUCCESS) failure = t->driver.cuStreamSynchronize(t->stream);
    return failure == TW_CU_SUCCESS ? TW_OK : fail(t, failure, "copying from the device", error);
}

const tw_backend tw_metal_cuda_backend = {
    .name = "metal-cuda",
    .records = "metal",
    .open = cuda_open,
    .close = cuda_close,
    .alloc = cuda_alloc,
    .free = cuda_free,
    .available = cuda_available,
    .upload = cuda_upload,
    .download = cuda_download,
    .queue_create = cuda_queue_create,
    .queue_destroy = cuda_queue_destroy,
    .run_steps = cuda_run_steps,
};
