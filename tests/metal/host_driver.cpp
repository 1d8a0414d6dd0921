// What metal-cuda asks of NVIDIA's driver, answered by the CPU: as libcuda.so.1 in a folder of LD_LIBRARY_PATH it shows
// that what the device does and what tools/metal makes for CUDA fit each other, without a GPU. The code for GPUs in a
// library is left alone; beside it, in the folder HOST_CUDA_KERNELS, lies the same file compiled with host_cuda.h.
// Memory is unwritten until it is written: NaN.
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <string>
#include <time.h>

#define EXPORTED extern "C" __attribute__((visibility("default"))) int

enum { SUCCESS = 0, INVALID = 1, OUT_OF_MEMORY = 2, NOT_FOUND = 500 };
typedef unsigned long long pointer;
struct function {
    void *code;
    void (*run)(void *code, const unsigned *grid, const unsigned *block, const void *parameters);
};

EXPORTED cuInit(unsigned)
{
    return SUCCESS;
}
EXPORTED cuGetErrorString(int, const char **text)
{
    *text = "the CPU as a GPU refuses";
    return SUCCESS;
}
EXPORTED cuDeviceGetCount(int *count)
{
    *count = 1;
    return SUCCESS;
}
EXPORTED cuDeviceGet(int *device, int index)
{
    *device = index;
    return SUCCESS;
}
EXPORTED cuDeviceGetName(char *name, int bytes, int)
{
    snprintf(name, size_t(bytes), "the CPU");
    return SUCCESS;
}
EXPORTED cuDeviceTotalMem_v2(size_t *bytes, int)
{
    *bytes = size_t(8) << 30;
    return SUCCESS;
}
// Capability 9.0, and some clock, width and count.
EXPORTED cuDeviceGetAttribute(int *value, int attribute, int)
{
    *value = attribute == 75 ? 9 : attribute == 76 ? 0 : 1000;
    return SUCCESS;
}
EXPORTED cuDevicePrimaryCtxRetain(void **context, int)
{
    static int only;
    *context = &only;
    return SUCCESS;
}
EXPORTED cuDevicePrimaryCtxRelease_v2(int)
{
    return SUCCESS;
}
EXPORTED cuCtxSetCurrent(void *)
{
    return SUCCESS;
}
EXPORTED cuMemAlloc_v2(pointer *memory, size_t bytes)
{
    void *given = aligned_alloc(256, (bytes + 255) / 256 * 256);
    if (given) memset(given, 0xff, bytes);
    *memory = pointer(given);
    return given ? SUCCESS : OUT_OF_MEMORY;
}
EXPORTED cuMemFree_v2(pointer memory)
{
    free((void *)memory);
    return SUCCESS;
}
EXPORTED cuMemGetInfo_v2(size_t *available, size_t *total)
{
    *available = *total = size_t(8) << 30;
    return SUCCESS;
}
EXPORTED cuMemcpyHtoDAsync_v2(pointer to, const void *from, size_t bytes, void *)
{
    memcpy((void *)to, from, bytes);
    return SUCCESS;
}
EXPORTED cuMemcpyDtoHAsync_v2(void *to, pointer from, size_t bytes, void *)
{
    memcpy(to, (const void *)from, bytes);
    return SUCCESS;
}
EXPORTED cuStreamCreate(void **stream, unsigned)
{
    static int only;
    *stream = &only;
    return SUCCESS;
}
EXPORTED cuStreamDestroy_v2(void *)
{
    return SUCCESS;
}
EXPORTED cuStreamSynchronize(void *)
{
    return SUCCESS;
}
EXPORTED cuEventCreate(void **event, unsigned)
{
    *event = calloc(1, sizeof(timespec));
    return *event ? SUCCESS : OUT_OF_MEMORY;
}
EXPORTED cuEventDestroy_v2(void *event)
{
    free(event);
    return SUCCESS;
}
EXPORTED cuEventRecord(void *event, void *)
{
    clock_gettime(CLOCK_MONOTONIC, (timespec *)event);
    return SUCCESS;
}
EXPORTED cuEventElapsedTime(float *milliseconds, const timespec *begin, const timespec *end)
{
    *milliseconds = float((end->tv_sec - begin->tv_sec) * 1e3 + (end->tv_nsec - begin->tv_nsec) * 1e-6);
    return SUCCESS;
}
// For a stream whose work is done as it is asked for: what would wait for later work never ends.
EXPORTED cuLaunchHostFunc(void *, void (*)(void *), void *)
{
    return SUCCESS;
}
// conv2d-metal_naive-cuda-0123.so is the library whose image this is.
EXPORTED cuModuleLoadData(void **module, const void *image)
{
    const unsigned FATBIN = 0xba55ed50u;
    const char *folder = getenv("HOST_CUDA_KERNELS");
    unsigned begin;
    Dl_info found;
    memcpy(&begin, image, sizeof begin);
    if (begin != FATBIN || !folder || !dladdr(image, &found)) return INVALID;
    std::string name = found.dli_fname;
    name = name.substr(name.rfind('/') + 1);
    name = name.substr(0, name.find("-cuda-"));
    *module = dlopen((std::string(folder) + "/" + name + ".so").c_str(), RTLD_NOW | RTLD_LOCAL);
    if (!*module) fprintf(stderr, "%s\n", dlerror());
    return *module ? SUCCESS : INVALID;
}
EXPORTED cuModuleUnload(void *)
{
    return SUCCESS;
}
EXPORTED cuModuleGetFunction(function **found, void *module, const char *name)
{
    *found = new function{dlsym(module, name), nullptr};
    void *run = dlsym(module, "host_run");
    memcpy(&(*found)->run, &run, sizeof run);
    return (*found)->code && run ? SUCCESS : NOT_FOUND;
}
EXPORTED cuModuleGetGlobal_v2(pointer *memory, size_t *bytes, void *module, const char *name)
{
    *memory = pointer(dlsym(module, name));
    *bytes = strstr(name, "_msl_defined") ? 1 : 4;
    return *memory ? SUCCESS : NOT_FOUND;
}
// 1024 threads, and no static shared memory that anybody would know of.
EXPORTED cuFuncGetAttribute(int *value, int attribute, function *)
{
    *value = attribute == 0 ? 1024 : 0;
    return SUCCESS;
}
EXPORTED cuLaunchKernel(function *f, unsigned grid_x, unsigned grid_y, unsigned grid_z, unsigned block_x,
                        unsigned block_y, unsigned block_z, unsigned, void *, void **parameters, void **)
{
    const unsigned grid[3] = {grid_x, grid_y, grid_z}, block[3] = {block_x, block_y, block_z};
    f->run(f->code, grid, block, parameters[0]);
    return SUCCESS;
}
