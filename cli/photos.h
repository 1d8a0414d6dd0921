/* The IMAGE arguments: files, and folders whose files are taken in the order of their names. */
#ifndef CLI_PHOTOS_H
#define CLI_PHOTOS_H

#include "tilewise.h"

typedef struct cli_photos {
    char **paths;
    size_t count, capacity;
    bool from_folder; /* one of the arguments was a folder */
} cli_photos;

tw_status cli_photos_find(char *const *arguments, int count, cli_photos *photos, tw_error *error);
void cli_photos_free(cli_photos *photos);

#endif
