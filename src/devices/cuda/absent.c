/* CUDA in a build without it: the device says so, and its designs are known by name. */
#include "core/status.h"
#include "devices/device.h"

static tw_status open_absent(int index, const tw_device_desc *desc, tw_device **device, tw_error *error)
{
    (void)desc;
    (void)device;
    return tw_fail(error, TW_UNAVAILABLE, "cuda:%d: this build has no CUDA support", index);
}

const tw_backend tw_cuda_backend = {.name = "cuda", .open = open_absent};

#define DESIGN(op, device, name) ABSENT_##device(op, name)
#define ABSENT_cpu(op, name)
#define ABSENT_metal(op, name)
#define ABSENT_cuda(operator, design)                                                                                  \
    extern const tw_design tw_##operator##_cuda_##design;                                                              \
    const tw_design tw_##operator##_cuda_##design = {                                                                  \
        .op = #operator, .device = "cuda", .name = #design, .summary = "this build has no CUDA support"};
#include "ops/designs.def"
