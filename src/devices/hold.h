/* Timing a step on a stream of NVIDIA's, for both devices that have one. */
#ifndef TW_DEVICES_HOLD_H
#define TW_DEVICES_HOLD_H

#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>

/* A host function in a stream, which waits here until *opened: the step's launches are in it by then, and its time has no
 * gap in which the host was late. A launch may itself have to wait for the stream (a kernel's first loads its code): so
 * not for long. */
static inline void tw_stream_hold(void *opened)
{
    for (int turns = 0; turns < 20000 && !atomic_load((atomic_bool *)opened); turns++) sched_yield();
}

#endif
