#include "bench/roofline.h"

#include <math.h>

double tw_roofline_percent(const tw_device_info *device, double flops, double bytes, double seconds)
{
    if (!device->measured) return NAN;
    double compute = flops / device->peak_flops, memory = bytes / device->peak_bytes;
    return 100 * (compute > memory ? compute : memory) / seconds;
}
