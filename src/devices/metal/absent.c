/* The kinds of Metal device that this build has not. */
#include "core/status.h"
#include "devices/device.h"

static tw_status open_absent(int index, const tw_device_desc *desc, tw_device **device, tw_error *error)
{
    (void)index;
    (void)desc;
    (void)device;
    return tw_fail(
        error, TW_UNAVAILABLE,
        "metal: there is no host for Apple's GPUs yet, on no system; metal-sim runs the same kernels on the CPU");
}

const tw_backend tw_metal_backend = {.name = "metal", .open = open_absent};
