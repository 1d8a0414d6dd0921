/* A pool of threads, one to a run context: pthreadpool serialises callers that share a pool. */
#ifndef TW_DEVICES_CPU_THREADS_H
#define TW_DEVICES_CPU_THREADS_H

#include <stddef.h>

typedef struct tw_threads tw_threads;

/* Null when there is no memory or no thread to be had. */
tw_threads *tw_threads_create(int count);
void tw_threads_destroy(tw_threads *threads);
/* Runs body(context, 0 .. count - 1), each on a thread of its own, and waits for all. */
void tw_threads_run(tw_threads *threads, void (*body)(void *context, size_t index), void *context);

#endif
