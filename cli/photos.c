#include "photos.h"
#include "core/status.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static tw_status add(cli_photos *photos, const char *folder, const char *name, tw_error *error)
{
    if (photos->count == photos->capacity) {
        size_t capacity = photos->capacity ? 2 * photos->capacity : 64;
        char **grown = realloc(photos->paths, capacity * sizeof *grown);
        if (!grown) return tw_no_memory(error, capacity * sizeof *grown, "file names");
        photos->paths = grown;
        photos->capacity = capacity;
    }
    size_t size = strlen(folder) + strlen(name) + 2;
    char *path = malloc(size);
    if (!path) return tw_no_memory(error, size, "a file name");
    const char *slash = *folder && folder[strlen(folder) - 1] != '/' ? "/" : "";
    snprintf(path, size, "%s%s%s", folder, slash, name);
    photos->paths[photos->count++] = path;
    return TW_OK;
}

static bool is_folder(const char *path)
{
    struct stat info;
    return stat(path, &info) == 0 && S_ISDIR(info.st_mode);
}

/* Every file in it but hidden ones and folders; a file that is no photograph becomes a row that says so. */
static tw_status add_folder(cli_photos *photos, const char *folder, tw_error *error)
{
    struct dirent **entries;
    int count = scandir(folder, &entries, NULL, alphasort);
    if (count < 0) return tw_fail(error, TW_INVALID, "%s: %s", folder, strerror(errno));
    size_t before = photos->count;
    tw_status status = TW_OK;
    for (int i = 0; i < count; i++) {
        if (status == TW_OK && entries[i]->d_name[0] != '.') {
            status = add(photos, folder, entries[i]->d_name, error);
            if (status == TW_OK && is_folder(photos->paths[photos->count - 1])) free(photos->paths[--photos->count]);
        }
        free(entries[i]);
    }
    free(entries);
    if (status == TW_OK && photos->count == before)
        status = tw_fail(error, TW_INVALID, "%s: the folder holds no files", folder);
    return status;
}

tw_status cli_photos_find(char *const *arguments, int count, cli_photos *photos, tw_error *error)
{
    *photos = (cli_photos){0};
    tw_status status = TW_OK;
    for (int i = 0; i < count && status == TW_OK; i++) {
        bool folder = is_folder(arguments[i]);
        photos->from_folder |= folder;
        status = folder ? add_folder(photos, arguments[i], error) : add(photos, "", arguments[i], error);
    }
    if (status != TW_OK) cli_photos_free(photos);
    return status;
}

void cli_photos_free(cli_photos *photos)
{
    for (size_t i = 0; i < photos->count; i++) free(photos->paths[i]);
    free(photos->paths);
    *photos = (cli_photos){0};
}
