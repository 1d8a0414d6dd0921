/* Metal in a build without it. */
#include "core/status.h"
#include "devices/device.h"

static tw_status open_absent(int index, const tw_device_desc *desc, tw_device **device, tw_error *error)
{
    (void)index;
    (void)desc;
    (void)device;
    return tw_fail(error, TW_UNAVAILABLE, "metal: this build has no Metal support, which needs an Apple system");
}

static tw_status open_absent_simulator(int index, const tw_device_desc *desc, tw_device **device, tw_error *error)
{
    (void)index;
    (void)desc;
    (void)device;
    return tw_fail(error, TW_UNAVAILABLE, "this build has no software Metal device");
}

const tw_backend tw_metal_backend = {.name = "metal", .open = open_absent};
const tw_backend tw_metal_sim_backend = {.name = "metal-sim", .open = open_absent_simulator};
const tw_backend tw_metal_cuda_backend = {.name = "metal-cuda", .open = open_absent_simulator};
