/* Which device a name means. */
#include "devices/device.h"
#include "core/status.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

extern const tw_backend tw_cpu_backend, tw_cuda_backend, tw_metal_backend, tw_metal_sim_backend, tw_metal_cuda_backend;

static const tw_backend *const backends[] = {&tw_cpu_backend, &tw_cuda_backend, &tw_metal_backend,
                                             &tw_metal_sim_backend, &tw_metal_cuda_backend};

const tw_backend *const *tw_backends(size_t *count)
{
    *count = sizeof backends / sizeof *backends;
    return backends;
}

tw_status tw_device_open(const char *name, const tw_device_desc *desc, tw_device **device, tw_error *error)
{
    static const tw_device_desc defaults;
    *device = NULL;
    if (!desc) desc = &defaults;
    if (desc->threads < 0 || desc->threads > 1024)
        return tw_fail(error, TW_INVALID, "device %s: %d threads, expected 1 to 1024, or 0 for one a core", name,
                       desc->threads);
    size_t length = strcspn(name, ":");
    for (size_t i = 0; i < sizeof backends / sizeof *backends; i++) {
        const tw_backend *backend = backends[i];
        if (strlen(backend->name) != length || strncmp(backend->name, name, length) != 0) continue;
        int index = 0;
        if (name[length]) {
            char *end;
            long parsed = strtol(name + length + 1, &end, 10);
            if (!isdigit((unsigned char)name[length + 1]) || *end || parsed > 1023)
                return tw_fail(error, TW_INVALID, "device \"%s\": expected a number after the colon, as in %s:0", name,
                               backend->name);
            index = (int)parsed;
        }
        return backend->open(index, desc, device, error);
    }
    return tw_fail(error, TW_INVALID,
                   "unknown device \"%s\": expected cpu, cuda, cuda:N, metal, metal-sim or metal-cuda", name);
}

void tw_device_retain(tw_device *device)
{
    __atomic_add_fetch(&device->references, 1, __ATOMIC_RELAXED);
}

void tw_device_release(tw_device *device)
{
    if (device && __atomic_sub_fetch(&device->references, 1, __ATOMIC_ACQ_REL) == 0) device->backend->close(device);
}

void tw_device_describe(const tw_device *device, tw_device_info *info)
{
    *info = device->info;
}

tw_status tw_device_measure(tw_device *device, tw_error *error)
{
    return device->backend->measure ? device->backend->measure(device, error) : TW_OK;
}

const char *tw_precision_name(tw_precision precision)
{
    static const char *const names[] = {"fp32", "tf32", "fp16", "bf16"};
    return (size_t)precision < sizeof names / sizeof *names ? names[precision] : "unknown";
}

tw_status tw_device_check_precision(const tw_device *device, tw_precision precision, tw_error *error)
{
    unsigned in = device->precisions ? device->precisions : TW_IN_FP32;
    if (in & 1u << precision) return TW_OK;
    if (in == TW_IN_FP32)
        return tw_fail(error, TW_UNAVAILABLE, "%s: precision %s: this device's designs compute in fp32",
                       device->info.id, tw_precision_name(precision));
    return tw_fail(error, TW_UNAVAILABLE, "%s: precision %s: %s (%s) has no such arithmetic", device->info.id,
                   tw_precision_name(precision), device->info.name, device->info.features);
}
