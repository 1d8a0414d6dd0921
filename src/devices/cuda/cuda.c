/* The CUDA device: memory, streams, graphs. A queue is a stream; the first run of a step list is captured into a CUDA
 * graph, which the following runs replay with one call. Every entry point selects its device first, since the runtime
 * keeps the current device per host thread. Steps are launched within NVTX ranges of their layers' names, which Nsight
 * shows. */
#include "devices/cuda/cuda.h"
#include "core/status.h"
#include "devices/cuda/small.h"
#include "devices/hold.h"

#include <math.h>
#include <nvtx3/nvToolsExt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { OLDEST_MAJOR = 7, OLDEST_MINOR = 5 };

tw_status tw_cuda_fail(const tw_cuda *device, cudaError_t failure, const char *what, tw_error *error)
{
    cudaGetLastError(); /* clears it */
    tw_status status = failure == cudaErrorMemoryAllocation ? TW_OUT_OF_MEMORY : TW_FAILED;
    (tw_fail)(error, status, "%s: %s: %s", device->base.info.id, what, cudaGetErrorString(failure));
    return status;
}

static tw_cuda *cuda_of(tw_device *device)
{
    return (tw_cuda *)device;
}

/* ---- opening ---- */

/* Why there is no device at all. */
static tw_status explain_absence(int index, cudaError_t failure, tw_error *error)
{
    int driver = 0;
    cudaDriverGetVersion(&driver);
    cudaGetLastError();
    if (driver == 0) return tw_fail(error, TW_UNAVAILABLE, "cuda:%d: no NVIDIA driver is installed", index);
    if (failure == cudaErrorInsufficientDriver)
        return tw_fail(error, TW_UNAVAILABLE, "cuda:%d: the driver is for CUDA %d.%d, expected %d.%d or later", index,
                       driver / 1000, driver % 1000 / 10, CUDART_VERSION / 1000, CUDART_VERSION % 1000 / 10);
    return tw_fail(error, TW_UNAVAILABLE, "cuda:%d: %s", index, cudaGetErrorString(failure));
}

/* Multiply-adds a cycle and multiprocessor in float32 (Programming Guide, "Throughput of Native Arithmetic"). */
static double nominal_flops(const struct cudaDeviceProp *p, int kilohertz)
{
    int lanes = p->major == 7 || (p->major == 8 && p->minor == 0) ? 64 : 128;
    return 2.0 * lanes * p->multiProcessorCount * kilohertz * 1e3;
}

static tw_status fill_info(tw_cuda *cuda, tw_error *error)
{
    struct cudaDeviceProp p;
    int clock = 0, memory_clock = 0, driver = 0;
    cudaError_t failure = cudaGetDeviceProperties(&p, cuda->index);
    if (failure == cudaSuccess) failure = cudaDeviceGetAttribute(&clock, cudaDevAttrClockRate, cuda->index);
    if (failure == cudaSuccess)
        failure = cudaDeviceGetAttribute(&memory_clock, cudaDevAttrMemoryClockRate, cuda->index);
    if (failure == cudaSuccess) failure = cudaDriverGetVersion(&driver);
    if (failure != cudaSuccess) return tw_cuda_fail(cuda, failure, "properties", error);
    tw_device_info *info = &cuda->base.info;
    if (p.major < OLDEST_MAJOR || (p.major == OLDEST_MAJOR && p.minor < OLDEST_MINOR))
        return tw_fail(error, TW_UNAVAILABLE, "%s: %s has compute capability %d.%d, expected %d.%d or later", info->id,
                       p.name, p.major, p.minor, OLDEST_MAJOR, OLDEST_MINOR);
    snprintf(info->name, sizeof info->name, "%.127s", p.name);
    snprintf(info->features, sizeof info->features, "sm_%d%d, %d multiprocessors", p.major, p.minor,
             p.multiProcessorCount);
    snprintf(info->driver, sizeof info->driver, "CUDA %d.%d", driver / 1000, driver % 1000 / 10);
    info->threads = 1;
    info->memory_bytes = p.totalGlobalMem;
    info->peak_flops = nominal_flops(&p, clock);
    info->peak_bytes = 2.0 * memory_clock * 1e3 * p.memoryBusWidth / 8;
    cuda->multiprocessors = p.multiProcessorCount;
    cuda->capability = 10 * p.major + p.minor;
    cuda->shared_bytes = (int)p.sharedMemPerBlockOptin;
    cuda->base.precisions = TW_IN_FP32 | TW_IN_FP16 | (cuda->capability >= 80 ? TW_IN_TF32 | TW_IN_BF16 : 0);
    return TW_OK;
}

extern const tw_backend tw_cuda_backend;

static tw_status open_cuda(int index, const tw_device_desc *desc, tw_device **device, tw_error *error)
{
    (void)desc;
    int count = 0;
    cudaError_t failure = cudaGetDeviceCount(&count);
    if (failure != cudaSuccess || count == 0)
        return explain_absence(index, failure == cudaSuccess ? cudaErrorNoDevice : failure, error);
    if (index >= count)
        return tw_fail(error, TW_UNAVAILABLE, "cuda:%d: there %s, numbered from 0", index,
                       count == 1 ? "is one device" : "are fewer devices");
    tw_cuda *cuda = calloc(1, sizeof *cuda);
    if (!cuda) return tw_no_memory(error, sizeof *cuda, "a device");
    const char *graphs = getenv("TILEWISE_CUDA_GRAPHS");
    cuda->no_graphs = graphs && strcmp(graphs, "off") == 0;
    cuda->base.backend = &tw_cuda_backend;
    cuda->base.references = 1;
    cuda->index = index;
    snprintf(cuda->base.info.id, sizeof cuda->base.info.id, "cuda:%d", index);
    tw_status status = fill_info(cuda, error);
    if (status == TW_OK && (failure = cudaSetDevice(index)) != cudaSuccess)
        status = tw_cuda_fail(cuda, failure, "opening", error);
    if (status == TW_OK && !(cuda->vendor = tw_vendor_create())) status = tw_no_memory(error, 1, "a device");
    if (status != TW_OK)
        free(cuda);
    else
        *device = &cuda->base;
    return status;
}

static void close_cuda(tw_device *device)
{
    tw_vendor_destroy(cuda_of(device)->vendor, cuda_of(device)->index);
    free(device);
}

/* ---- memory ---- */

static tw_status alloc_memory(tw_device *device, size_t bytes, void **memory, tw_error *error)
{
    tw_cuda *cuda = cuda_of(device);
    *memory = NULL;
    cudaError_t failure = cudaSetDevice(cuda->index);
    if (failure == cudaSuccess) failure = cudaMalloc(memory, bytes ? bytes : 1);
    if (failure == cudaSuccess) return TW_OK;
    if (failure != cudaErrorMemoryAllocation) return tw_cuda_fail(cuda, failure, "allocating", error);
    size_t available = 0, total = 0;
    cudaGetLastError();
    cudaMemGetInfo(&available, &total);
    return tw_fail(error, TW_OUT_OF_MEMORY, "%s: out of memory: %zu bytes are wanted, %zu of %zu are free",
                   device->info.id, bytes, available, total);
}

static void free_memory(tw_device *device, void *memory)
{
    cudaSetDevice(cuda_of(device)->index);
    cudaFree(memory);
}

static tw_status available_memory(tw_device *device, size_t *bytes, tw_error *error)
{
    size_t total;
    cudaError_t failure = cudaSetDevice(cuda_of(device)->index);
    if (failure == cudaSuccess) failure = cudaMemGetInfo(bytes, &total);
    return failure == cudaSuccess ? TW_OK : tw_cuda_fail(cuda_of(device), failure, "asking for free memory", error);
}

static cudaError_t record(tw_queue *queue, int event)
{
    queue->recorded |= 1u << event;
    return cudaEventRecord(queue->events[event], queue->stream);
}

/* Into a graph that is being captured: the event is passed each time that the graph gets there. */
static cudaError_t capture_record(tw_queue *queue, int event)
{
    return cudaEventRecordWithFlags(queue->events[event], queue->stream, cudaEventRecordExternal);
}

/* Copies of one direction follow one another; the first starts the clock. Memory that is not pinned has been read, or
 * written, when cudaMemcpyAsync() returns (CUDA's "API synchronization behavior"). */
static tw_status copy(tw_queue *queue, void *to, const void *from, size_t bytes, int begin, tw_error *error)
{
    const bool first = !(queue->recorded & 1u << begin);
    cudaError_t failure = cudaSetDevice(queue->device->index);
    if (failure == cudaSuccess && first) failure = record(queue, begin);
    if (failure == cudaSuccess) failure = cudaMemcpyAsync(to, from, bytes, cudaMemcpyDefault, queue->stream);
    if (failure == cudaSuccess) failure = record(queue, begin + 1);
    return failure == cudaSuccess ? TW_OK : tw_cuda_fail(queue->device, failure, "copying", error);
}

/* The first upload after a run begins another. */
static tw_status upload(tw_queue *queue, void *device_memory, const void *host, size_t bytes, tw_error *error)
{
    if (queue->recorded & 1u << TW_CUDA_BEGIN) queue->recorded = 0;
    return copy(queue, device_memory, host, bytes, TW_CUDA_UPLOAD, error);
}

static tw_status download(tw_queue *queue, void *host, const void *device_memory, size_t bytes, tw_error *error)
{
    tw_status status = copy(queue, host, device_memory, bytes, TW_CUDA_DOWNLOAD, error);
    cudaError_t failure = status == TW_OK ? cudaStreamSynchronize(queue->stream) : cudaSuccess;
    return failure == cudaSuccess ? status : tw_cuda_fail(queue->device, failure, "copying", error);
}

/* ---- queues ---- */

static void destroy_queue(tw_queue *queue)
{
    cudaSetDevice(queue->device->index);
    if (queue->graph) cudaGraphExecDestroy(queue->graph);
    for (int i = 0; i < TW_CUDA_EVENTS; i++)
        if (queue->events[i]) cudaEventDestroy(queue->events[i]);
    if (queue->stream) {
        cudaStreamSynchronize(queue->stream); /* what it copied, other streams may read */
        cudaStreamDestroy(queue->stream);
    }
    tw_device_release(&queue->device->base);
    free(queue);
}

static tw_status create_queue(tw_device *device, tw_queue **out, tw_error *error)
{
    tw_queue *queue = calloc(1, sizeof *queue);
    if (!queue) return tw_no_memory(error, sizeof *queue, "a stream");
    queue->device = cuda_of(device);
    tw_device_retain(device);
    cudaError_t failure = cudaSetDevice(queue->device->index);
    if (failure == cudaSuccess) failure = cudaStreamCreateWithFlags(&queue->stream, cudaStreamNonBlocking);
    for (int i = 0; i < TW_CUDA_EVENTS && failure == cudaSuccess; i++) failure = cudaEventCreate(&queue->events[i]);
    if (failure == cudaSuccess) {
        *out = queue;
        return TW_OK;
    }
    tw_status status = tw_cuda_fail(queue->device, failure, "creating a stream", error);
    destroy_queue(queue);
    return status;
}

/* ---- running ---- */

static tw_status launch(tw_queue *queue, const tw_design *const *designs, const tw_step *steps, size_t count)
{
    if (count == 1) return designs[0]->run(steps, queue);
    if (count == 2 && designs[1]->run_pair) return designs[1]->run_pair(steps, queue);
    return tw_small_run_all(steps, count, queue);
}

static tw_status enqueue(tw_queue *queue, const tw_design *const *designs, const tw_step *steps, size_t count,
                         tw_error *error)
{
    for (size_t i = 0, together; i < count; i += together) {
        together = steps[i].together > 1 && steps[i].together <= count - i ? steps[i].together : 1;
        nvtxRangePushA(steps[i].name ? steps[i].name : designs[i]->op);
        tw_status status = launch(queue, &designs[i], &steps[i], together);
        nvtxRangePop();
        if (status != TW_OK)
            return tw_fail(error, status, "%s: %s %s could not be launched", queue->device->base.info.id,
                           designs[i]->op, designs[i]->name);
    }
    return TW_OK;
}

static tw_status capture(tw_queue *queue, const tw_design *const *designs, const tw_step *steps, size_t count,
                         tw_error *error)
{
    cudaGraph_t graph = NULL;
    if (queue->graph) cudaGraphExecDestroy(queue->graph);
    queue->graph = NULL;
    cudaError_t failure = cudaStreamBeginCapture(queue->stream, cudaStreamCaptureModeThreadLocal);
    if (failure != cudaSuccess) return tw_cuda_fail(queue->device, failure, "capturing", error);
    failure = capture_record(queue, TW_CUDA_BEGIN);
    tw_status status = enqueue(queue, designs, steps, count, error);
    if (failure == cudaSuccess) failure = capture_record(queue, TW_CUDA_END);
    cudaError_t ended = cudaStreamEndCapture(queue->stream, &graph);
    if (failure == cudaSuccess) failure = ended;
    if (status == TW_OK && failure == cudaSuccess) failure = cudaGraphInstantiate(&queue->graph, graph, 0);
    if (graph) cudaGraphDestroy(graph);
    if (status == TW_OK && failure != cudaSuccess) status = tw_cuda_fail(queue->device, failure, "capturing", error);
    queue->steps = steps;
    queue->count = count;
    return status;
}

static cudaError_t seconds_between(tw_queue *queue, int begin, int end, double *seconds)
{
    float milliseconds = 0;
    cudaError_t failure = cudaEventSynchronize(queue->events[end]);
    if (failure == cudaSuccess) failure = cudaEventElapsedTime(&milliseconds, queue->events[begin], queue->events[end]);
    *seconds = milliseconds * 1e-3;
    return failure;
}

static tw_status times(tw_queue *queue, tw_run_times *times, tw_error *error)
{
    double *const parts[] = {&times->upload, &times->device, &times->download};
    cudaError_t failure = cudaSetDevice(queue->device->index);
    for (int i = 0; i < 3 && failure == cudaSuccess; i++) {
        *parts[i] = NAN;
        if (queue->recorded & 2u << 2 * i) failure = seconds_between(queue, 2 * i, 2 * i + 1, parts[i]);
    }
    return failure == cudaSuccess ? TW_OK : tw_cuda_fail(queue->device, failure, "timing", error);
}

static tw_status run_timed(tw_queue *queue, const tw_design *const *designs, const tw_step *steps, size_t count,
                           double *step_seconds, tw_error *error)
{
    tw_status status = TW_OK;
    for (size_t i = 0; i < count && status == TW_OK; i++) {
        atomic_bool opened = false;
        cudaError_t failure = cudaLaunchHostFunc(queue->stream, tw_stream_hold, &opened), waited;
        if (failure == cudaSuccess) failure = record(queue, TW_CUDA_BEGIN);
        if (failure == cudaSuccess) status = enqueue(queue, &designs[i], &steps[i], 1, error);
        if (failure == cudaSuccess) failure = record(queue, TW_CUDA_END);
        atomic_store(&opened, true);
        waited = cudaStreamSynchronize(queue->stream);
        if (failure == cudaSuccess) failure = waited;
        if (failure == cudaSuccess) failure = seconds_between(queue, TW_CUDA_BEGIN, TW_CUDA_END, &step_seconds[i]);
        if (status == TW_OK && failure != cudaSuccess)
            status = tw_cuda_fail(queue->device, failure, designs[i]->name, error);
    }
    return status;
}

static tw_status run_steps(tw_queue *queue, const tw_design *const *designs, const tw_step *steps, size_t count,
                           double *step_seconds, tw_error *error)
{
    cudaError_t failure = cudaSetDevice(queue->device->index);
    if (failure != cudaSuccess) return tw_cuda_fail(queue->device, failure, "selecting the device", error);
    if (step_seconds) return run_timed(queue, designs, steps, count, step_seconds, error);
    tw_status status = TW_OK;
    const bool graphs = !queue->device->no_graphs;
    if (graphs && (!queue->graph || queue->steps != steps || queue->count != count))
        status = capture(queue, designs, steps, count, error);
    if (status != TW_OK) return status;
    if (graphs) {
        failure = cudaGraphLaunch(queue->graph, queue->stream);
        queue->recorded |= 1u << TW_CUDA_BEGIN | 1u << TW_CUDA_END;
    } else {
        failure = record(queue, TW_CUDA_BEGIN);
        status = enqueue(queue, designs, steps, count, error);
        if (status != TW_OK) return status;
        if (failure == cudaSuccess) failure = record(queue, TW_CUDA_END);
    }
    if (failure == cudaSuccess) failure = cudaStreamSynchronize(queue->stream);
    return failure == cudaSuccess ? TW_OK : tw_cuda_fail(queue->device, failure, "running", error);
}

static tw_status measure(tw_device *device, tw_error *error)
{
    tw_queue *queue;
    tw_status status = create_queue(device, &queue, error);
    if (status != TW_OK) return status;
    status = tw_cuda_measure(cuda_of(device), queue->stream, error);
    destroy_queue(queue);
    if (status == TW_OK) device->info.measured = true;
    return status;
}

const tw_backend tw_cuda_backend = {
    .name = "cuda",
    .open = open_cuda,
    .close = close_cuda,
    .measure = measure,
    .alloc = alloc_memory,
    .free = free_memory,
    .available = available_memory,
    .upload = upload,
    .download = download,
    .queue_create = create_queue,
    .queue_destroy = destroy_queue,
    .run_steps = run_steps,
    .together = tw_small_together,
    .times = times,
};
