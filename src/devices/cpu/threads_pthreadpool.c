#include "devices/cpu/threads.h"

#include <pthreadpool.h>
#include <stdlib.h>

/* The thread sanitizer does not see into an uninstrumented pthreadpool: tell it what the pool orders. */
#if defined(__SANITIZE_THREAD__)
#define TW_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define TW_TSAN 1
#endif
#endif
#ifdef TW_TSAN
void __tsan_acquire(void *address);
void __tsan_release(void *address);
#define ACQUIRE(address) __tsan_acquire(address)
#define RELEASE(address) __tsan_release(address)
#else
#define ACQUIRE(address) (void)(address)
#define RELEASE(address) (void)(address)
#endif

struct tw_threads {
    pthreadpool_t pool;
    int count;
    void (*body)(void *context, size_t index);
    void *context;
    char begun, ended; /* addresses to order by */
};

tw_threads *tw_threads_create(int count)
{
    tw_threads *threads = calloc(1, sizeof *threads);
    if (!threads) return NULL;
    threads->count = count;
    if (count > 1) {
        threads->pool = pthreadpool_create((size_t)count);
        if (!threads->pool || pthreadpool_get_threads_count(threads->pool) != (size_t)count) {
            tw_threads_destroy(threads);
            return NULL;
        }
    }
    return threads;
}

void tw_threads_destroy(tw_threads *threads)
{
    if (!threads) return;
    if (threads->pool) pthreadpool_destroy(threads->pool);
    free(threads);
}

static void call(void *context, size_t index)
{
    tw_threads *threads = context;
    ACQUIRE(&threads->begun);
    threads->body(threads->context, index);
    RELEASE(&threads->ended);
}

void tw_threads_run(tw_threads *threads, void (*body)(void *context, size_t index), void *context)
{
    if (threads->count == 1) {
        body(context, 0);
        return;
    }
    threads->body = body;
    threads->context = context;
    RELEASE(&threads->begun);
    pthreadpool_parallelize_1d(threads->pool, call, threads, (size_t)threads->count, 0);
    ACQUIRE(&threads->ended);
}
