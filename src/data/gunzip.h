/* Inflates a gzip file (RFC 1952): its first bytes on demand, the rest on a thread that runs ahead of its readers. */
#ifndef TW_DATA_GUNZIP_H
#define TW_DATA_GUNZIP_H

#include "formats/file.h"

#include <stdatomic.h>

typedef struct tw_gunzip tw_gunzip;

bool tw_is_gzip(const tw_mapping *file);

/* `file` and `path` must outlive it. */
tw_status tw_gunzip_create(const tw_mapping *file, const char *path, tw_gunzip **gunzip, tw_error *error);
/* Stops the thread and forgets the rest. */
void tw_gunzip_destroy(tw_gunzip *gunzip);

/* The next bytes, all of them or an error. */
tw_status tw_gunzip_read(tw_gunzip *gunzip, void *to, size_t bytes, tw_error *error);
/* There must be no more, and the checksum must be right. */
tw_status tw_gunzip_finish(tw_gunzip *gunzip, tw_error *error);

/* Reads `bytes` to `to` and finishes, in the background. */
tw_status tw_gunzip_start(tw_gunzip *gunzip, uint8_t *to, size_t bytes, tw_error *error);
/* Returns when the first `bytes` of them are there, or there is an error, or *stop (which tw_gunzip_interrupt() looks
 * at again) is true. The last of them come only when the whole file has been found good. May be called by many
 * threads. */
tw_status tw_gunzip_wait(tw_gunzip *gunzip, size_t bytes, const atomic_bool *stop, tw_error *error);
void tw_gunzip_interrupt(tw_gunzip *gunzip);

#endif
