/* What this GPU can do at most: multiply-adds in float32 from registers, and bytes read and written by a copy of two
 * buffers far larger than the L2 cache. Each is the best of several, since a clock that still rises only slows it. */
#include "devices/cuda/kernel.h"

enum { THREADS = 256, CHAINS = 8, STEPS = 4096, REPEATS = 8 };
static const size_t copied = (size_t)512 << 20;

/* Eight independent chains a thread: 2 * CHAINS * STEPS floating-point operations. */
__global__ static void multiply_add(float *out, float a, float b)
{
    float x[CHAINS];
#pragma unroll
    for (int i = 0; i < CHAINS; i++) x[i] = (float)(threadIdx.x + i);
    for (int s = 0; s < STEPS; s++)
#pragma unroll
        for (int i = 0; i < CHAINS; i++) x[i] = fmaf(x[i], a, b);
    float sum = 0;
#pragma unroll
    for (int i = 0; i < CHAINS; i++) sum += x[i];
    if (sum == 1.2345e30f) *out = sum; /* keeps the loop; never true */
}

__global__ static void copy_all(const float4 *from, float4 *to, size_t count)
{
    size_t step = (size_t)gridDim.x * blockDim.x;
    for (size_t i = (size_t)blockIdx.x * blockDim.x + threadIdx.x; i < count; i += step) to[i] = from[i];
}

static cudaError_t best_of(tw_cuda *cuda, cudaStream_t stream, char *memory, bool arithmetic, float *milliseconds)
{
    cudaEvent_t begin, end;
    cudaError_t failure = cudaEventCreate(&begin);
    if (failure != cudaSuccess) return failure;
    failure = cudaEventCreate(&end);
    *milliseconds = INFINITY;
    unsigned blocks = (unsigned)cuda->multiprocessors * 16;
    for (int i = 0; i < REPEATS && failure == cudaSuccess; i++) {
        float one = 0;
        cudaEventRecord(begin, stream);
        if (arithmetic)
            multiply_add<<<blocks, THREADS, 0, stream>>>((float *)memory, 0.999f, 0.001f);
        else
            copy_all<<<blocks, THREADS, 0, stream>>>((const float4 *)memory, (float4 *)(memory + copied),
                                                     copied / sizeof(float4));
        cudaEventRecord(end, stream);
        failure = cudaEventSynchronize(end);
        if (failure == cudaSuccess) failure = cudaEventElapsedTime(&one, begin, end);
        if (one < *milliseconds) *milliseconds = one;
    }
    cudaEventDestroy(begin);
    cudaEventDestroy(end);
    return failure;
}

extern "C" tw_status tw_cuda_measure(tw_cuda *cuda, cudaStream_t stream, tw_error *error)
{
    char *memory = NULL;
    float arithmetic, copying;
    cudaError_t failure = cudaMalloc((void **)&memory, 2 * copied);
    if (failure == cudaSuccess) failure = cudaMemsetAsync(memory, 1, 2 * copied, stream);
    if (failure == cudaSuccess) failure = best_of(cuda, stream, memory, true, &arithmetic);
    if (failure == cudaSuccess) failure = best_of(cuda, stream, memory, false, &copying);
    cudaFree(memory);
    if (failure != cudaSuccess) return tw_cuda_fail(cuda, failure, "measuring", error);
    double threads = (double)cuda->multiprocessors * 16 * THREADS;
    cuda->base.info.peak_flops = threads * 2.0 * CHAINS * STEPS / (arithmetic * 1e-3);
    cuda->base.info.peak_bytes = 2.0 * (double)copied / (copying * 1e-3);
    return TW_OK;
}
