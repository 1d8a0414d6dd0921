/* Loading NVIDIA's driver for metal-cuda. */
#include "devices/metal/cuda_driver.h"
#include "core/status.h"

#include <dlfcn.h>
#include <string.h>

#define ELSEWHERE "metal-sim runs the same kernels on the CPU"

static tw_status find_functions(tw_cu_driver *driver, tw_error *error)
{
    void *symbol;
#define FIND(name, parameters)                                                                                         \
    symbol = dlsym(driver->handle, #name);                                                                             \
    if (!symbol) return tw_fail(error, TW_UNAVAILABLE, "metal-cuda: NVIDIA's driver has no " #name "; " ELSEWHERE);    \
    memcpy(&driver->name, &symbol, sizeof symbol);
    TW_CU_FUNCTIONS(FIND)
#undef FIND
    return TW_OK;
}

tw_status tw_cu_load(tw_cu_driver *driver, tw_error *error)
{
    *driver = (tw_cu_driver){.handle = dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL)};
    if (!driver->handle)
        return tw_fail(error, TW_UNAVAILABLE, "metal-cuda: no NVIDIA driver (libcuda.so.1) is installed; " ELSEWHERE);
    tw_status status = find_functions(driver, error);
    int count = 0, failure = status == TW_OK ? driver->cuInit(0) : 0;
    if (status == TW_OK && failure == TW_CU_SUCCESS) failure = driver->cuDeviceGetCount(&count);
    if (status == TW_OK && (failure != TW_CU_SUCCESS || count == 0)) {
        const char *text = NULL;
        if (failure != TW_CU_SUCCESS) driver->cuGetErrorString(failure, &text);
        status = tw_fail(error, TW_UNAVAILABLE, "metal-cuda: %s; " ELSEWHERE, text ? text : "no GPU of NVIDIA's");
    }
    if (status != TW_OK) tw_cu_unload(driver);
    return status;
}

void tw_cu_unload(tw_cu_driver *driver)
{
    if (driver->handle) dlclose(driver->handle);
    driver->handle = NULL;
}
