/* Stored entries of a zip archive in memory (PKWARE's APPNOTE, zip64 included). No library hands out where a stored
 * entry lies, which is what a view of a mapped file needs; entries that are compressed or encrypted are refused. */
#ifndef TW_FORMATS_ZIP_H
#define TW_FORMATS_ZIP_H

#include "core/status.h"

typedef struct tw_zip_entry {
    const char *name; /* not ended */
    size_t name_length;
    const uint8_t *data;
    size_t bytes;
} tw_zip_entry;

typedef struct tw_zip {
    tw_zip_entry *entries; /* by name */
    size_t count;
} tw_zip;

tw_status tw_zip_open(const char *path, const uint8_t *data, size_t bytes, tw_zip *zip, tw_error *error);
void tw_zip_free(tw_zip *zip);
/* Null: there is none of that name. */
const tw_zip_entry *tw_zip_find(const tw_zip *zip, const char *name, size_t length);

#endif
