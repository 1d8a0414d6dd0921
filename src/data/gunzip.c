/* gzip through zlib, from a mapped file straight to where the bytes are wanted: no buffer of compressed or plain bytes
 * lies between. The background thread publishes its progress a piece at a time in one atomic number, so a reader that
 * is behind takes no lock. */
#include "data/gunzip.h"

#include <limits.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

/* Inflated at a time: small against what a reader waits for, large against the 32 KiB that zlib copies each time. */
#define PIECE_BYTES (256u << 10)

struct tw_gunzip {
    const tw_mapping *file;
    const char *path;
    z_stream stream;
    size_t fed; /* compressed bytes that zlib was given */
    bool ended; /* at the end of the last member */

    /* the background thread's */
    pthread_t thread;
    bool running;
    uint8_t *to;
    size_t bytes;
    atomic_size_t ready; /* bytes that may be read */
    atomic_bool cancelled;
    pthread_mutex_t lock; /* of `failure`, and for `moved` */
    pthread_cond_t moved;
    tw_error failure;
};

bool tw_is_gzip(const tw_mapping *file)
{
    return file->bytes >= 2 && file->data[0] == 0x1f && file->data[1] == 0x8b;
}

tw_status tw_gunzip_create(const tw_mapping *file, const char *path, tw_gunzip **gunzip, tw_error *error)
{
    tw_gunzip *made = calloc(1, sizeof *made);
    *gunzip = NULL;
    if (!made) return tw_no_memory(error, sizeof *made, path);
    made->file = file;
    made->path = path;
    if (inflateInit2(&made->stream, 16 + MAX_WBITS) != Z_OK) { /* 16: a gzip header */
        free(made);
        return tw_fail(error, TW_OUT_OF_MEMORY, "%s: zlib %s does not start", path, zlibVersion());
    }
    pthread_mutex_init(&made->lock, NULL);
    pthread_cond_init(&made->moved, NULL);
    *gunzip = made;
    return TW_OK;
}

void tw_gunzip_destroy(tw_gunzip *gunzip)
{
    if (!gunzip) return;
    atomic_store(&gunzip->cancelled, true);
    if (gunzip->running) pthread_join(gunzip->thread, NULL);
    inflateEnd(&gunzip->stream);
    pthread_cond_destroy(&gunzip->moved);
    pthread_mutex_destroy(&gunzip->lock);
    free(gunzip);
}

/* At the end of a member: another one follows, or nothing. */
static tw_status end_member(tw_gunzip *g, tw_error *error)
{
    size_t left = g->file->bytes - g->fed + g->stream.avail_in;
    const uint8_t *rest = g->file->data + (g->file->bytes - left);
    g->ended = left == 0;
    if (g->ended) return TW_OK;
    if (left < 2 || rest[0] != 0x1f || rest[1] != 0x8b)
        return tw_fail(error, TW_INVALID, "%s: %zu bytes after the end of the gzip data", g->path, left);
    inflateReset(&g->stream);
    return TW_OK;
}

/* Inflates up to `bytes`, fewer only at the file's end. */
static tw_status inflate_some(tw_gunzip *g, uint8_t *to, size_t bytes, size_t *done, tw_error *error)
{
    z_stream *z = &g->stream;
    z->next_out = to;
    z->avail_out = bytes < UINT_MAX ? (uInt)bytes : UINT_MAX;
    uInt asked = z->avail_out;
    while (z->avail_out > 0 && !g->ended) {
        if (z->avail_in == 0) {
            size_t left = g->file->bytes - g->fed;
            z->next_in = (z_const Bytef *)(g->file->data + g->fed);
            z->avail_in = left < UINT_MAX ? (uInt)left : UINT_MAX;
            g->fed += z->avail_in;
        }
        int code = inflate(z, Z_NO_FLUSH);
        tw_status status = TW_OK;
        if (code == Z_STREAM_END)
            status = end_member(g, error);
        else if (code == Z_BUF_ERROR)
            status = tw_fail(error, TW_INVALID, "%s: truncated gzip data", g->path);
        else if (code == Z_MEM_ERROR)
            status = tw_fail(error, TW_OUT_OF_MEMORY, "%s: not enough memory to inflate", g->path);
        else if (code != Z_OK)
            status = tw_fail(error, TW_INVALID, "%s: damaged gzip data (%s)", g->path, z->msg ? z->msg : "no reason");
        if (status != TW_OK) return status;
    }
    *done = asked - z->avail_out;
    return TW_OK;
}

tw_status tw_gunzip_read(tw_gunzip *g, void *to, size_t bytes, tw_error *error)
{
    for (size_t at = 0, done; at < bytes; at += done) {
        tw_status status = inflate_some(g, (uint8_t *)to + at, bytes - at, &done, error);
        if (status != TW_OK) return status;
        if (done == 0) return tw_fail(error, TW_INVALID, "%s: the gzip data ends %zu bytes early", g->path, bytes - at);
    }
    return TW_OK;
}

tw_status tw_gunzip_finish(tw_gunzip *g, tw_error *error)
{
    uint8_t more;
    size_t done;
    tw_status status = inflate_some(g, &more, 1, &done, error);
    if (status == TW_OK && done > 0)
        status = tw_fail(error, TW_INVALID, "%s: the gzip data holds more than its header says", g->path);
    return status;
}

/* ---- in the background ---- */

static void publish(tw_gunzip *g, size_t ready)
{
    pthread_mutex_lock(&g->lock);
    atomic_store_explicit(&g->ready, ready, memory_order_release);
    pthread_cond_broadcast(&g->moved);
    pthread_mutex_unlock(&g->lock);
}

static void *run(void *argument)
{
    tw_gunzip *g = argument;
    tw_error error = {0};
    tw_status status = TW_OK;
    size_t done = 0;
    while (status == TW_OK && done < g->bytes && !atomic_load(&g->cancelled)) {
        if (done > 0) publish(g, done);
        size_t piece = g->bytes - done < PIECE_BYTES ? g->bytes - done : PIECE_BYTES;
        status = tw_gunzip_read(g, g->to + done, piece, &error);
        done += piece;
    }
    if (status == TW_OK && done == g->bytes) status = tw_gunzip_finish(g, &error);
    if (status == TW_OK) {
        publish(g, done);
        return NULL;
    }
    pthread_mutex_lock(&g->lock);
    g->failure = error;
    pthread_cond_broadcast(&g->moved);
    pthread_mutex_unlock(&g->lock);
    return NULL;
}

tw_status tw_gunzip_start(tw_gunzip *g, uint8_t *to, size_t bytes, tw_error *error)
{
    g->to = to;
    g->bytes = bytes;
    int code = pthread_create(&g->thread, NULL, run, g);
    if (code != 0) return tw_fail(error, TW_FAILED, "%s: no thread to inflate it: %s", g->path, strerror(code));
    g->running = true;
    return TW_OK;
}

tw_status tw_gunzip_wait(tw_gunzip *g, size_t bytes, const atomic_bool *stop, tw_error *error)
{
    if (atomic_load_explicit(&g->ready, memory_order_acquire) >= bytes) return TW_OK;
    pthread_mutex_lock(&g->lock);
    while (atomic_load(&g->ready) < bytes && g->failure.status == TW_OK && !atomic_load(stop))
        pthread_cond_wait(&g->moved, &g->lock);
    tw_status status = TW_OK;
    if (atomic_load(&g->ready) < bytes && g->failure.status != TW_OK) {
        status = g->failure.status;
        if (error) *error = g->failure;
    }
    pthread_mutex_unlock(&g->lock);
    return status;
}

void tw_gunzip_interrupt(tw_gunzip *g)
{
    pthread_mutex_lock(&g->lock);
    pthread_cond_broadcast(&g->moved);
    pthread_mutex_unlock(&g->lock);
}
