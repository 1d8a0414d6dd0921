/* The roofline (Williams, Waterman and Patterson 2009): work can't take less time than its FLOPs at the device's peak
 * rate or its bytes at the device's peak bandwidth. FLOPs are the direct algorithm's and each tensor's bytes count
 * once, so an algorithm that computes less (Winograd), and data that stays in a cache, may exceed 100 percent. */
#ifndef TW_BENCH_ROOFLINE_H
#define TW_BENCH_ROOFLINE_H

#include "tilewise.h"

/* The bound's seconds over the seconds taken, in percent. NaN where the peaks were not measured. */
double tw_roofline_percent(const tw_device_info *device, double flops, double bytes, double seconds);

#endif
