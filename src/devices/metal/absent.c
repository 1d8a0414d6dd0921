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

const tw_backend tw_metal_backend = {.name = "metal", .open = open_absent};
