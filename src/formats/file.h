/* Files: read through a mapping, written through a temporary name. */
#ifndef TW_FORMATS_FILE_H
#define TW_FORMATS_FILE_H

#include "core/status.h"

#include <stdio.h>

/* A whole regular file, read-only. An empty file has no bytes and data that is not null. Another process that cuts
 * the file short while it is mapped kills the reader (SIGBUS); files that are replaced by renaming are safe. */
typedef struct tw_mapping {
    const uint8_t *data;
    size_t bytes;
} tw_mapping;

tw_status tw_file_map(const char *path, tw_mapping *file, tw_error *error);
void tw_file_unmap(tw_mapping *file);

/* A regular file to read as a stream; a pipe, which could hang, or a folder is refused. Null after an error. */
FILE *tw_file_open(const char *path, tw_error *error);

/* A file that appears under its own name when it is complete. Until then it has a name of its own in the same folder;
 * after a failure, or tw_file_discard(), nothing is left. Bytes may also be written to `stream`: tw_file_commit()
 * reports what failed there. */
typedef struct tw_file_writer {
    FILE *stream;
    char *path;      /* symbolic links resolved: a link stays one */
    char *temporary; /* in path's folder */
} tw_file_writer;

tw_status tw_file_begin(tw_file_writer *writer, const char *path, tw_error *error);
tw_status tw_file_write(tw_file_writer *writer, const void *data, size_t bytes, tw_error *error);
tw_status tw_file_commit(tw_file_writer *writer, tw_error *error);
/* After a failure of any of the above, or instead of tw_file_commit(); harmless a second time. */
void tw_file_discard(tw_file_writer *writer);

/* Waits until no other process holds the folder that the path lies in, and holds it until the descriptor is closed. -1
 * where there is no folder, or its file system knows no locks. */
int tw_file_lock_folder(const char *path);

/* "folder/name", or the name alone where the folder is ""; null without memory. */
char *tw_path_join(const char *folder, const char *name);
/* Is it a regular file? */
bool tw_file_exists(const char *folder, const char *name);

#endif
