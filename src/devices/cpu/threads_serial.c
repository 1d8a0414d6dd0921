/* For builds without pthreadpool: each index in turn. */
#include "devices/cpu/threads.h"

#include <stdlib.h>

struct tw_threads {
    int count;
};

tw_threads *tw_threads_create(int count)
{
    tw_threads *threads = calloc(1, sizeof *threads);
    if (threads) threads->count = count;
    return threads;
}

void tw_threads_destroy(tw_threads *threads)
{
    free(threads);
}

void tw_threads_run(tw_threads *threads, void (*body)(void *context, size_t index), void *context)
{
    for (int i = 0; i < threads->count; i++) body(context, (size_t)i);
}
