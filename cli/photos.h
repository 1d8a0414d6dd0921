/* The photographs that a command names: files, folders, patterns that the shell did not expand, and lists in files. */
#ifndef CLI_PHOTOS_H
#define CLI_PHOTOS_H

#include "options.h"

typedef struct cli_photos {
    char **paths;
    size_t count, capacity;
    bool many; /* a folder, a pattern or a list named them, however few: a bad one is no reason to stop */
} cli_photos;

/* From the arguments after the first, then --files-from. Of a folder all files but hidden ones, in the order of their
 * names; with --recursive those of the folders inside it too. */
tw_status cli_photos_find(const cli_options *options, cli_photos *photos, tw_error *error);
void cli_photos_free(cli_photos *photos);

#endif
