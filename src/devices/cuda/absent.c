/* CUDA in a build without it. */
#include "core/status.h"
#include "devices/device.h"

static tw_status open_absent(int index, const tw_device_desc *desc, tw_device **device, tw_error *error)
{
    (void)desc;
    (void)device;
    return tw_fail(error, TW_UNAVAILABLE, "cuda:%d: this build has no CUDA support", index);
}

const tw_backend tw_cuda_backend = {.name = "cuda", .open = open_absent};
