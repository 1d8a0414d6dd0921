#include "onnx/external.h"

#include <errno.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool goes_up(const char *location)
{
    for (const char *at = location; *at;) {
        size_t length = strcspn(at, "/");
        if (length == 2 && at[0] == '.' && at[1] == '.') return true;
        at += length + (at[length] == '/');
    }
    return false;
}

static tw_status find_folder(tw_onnx_external *external, const char *model, tw_error *error)
{
    if (external->folder) return TW_OK;
    char *copy = tw_strdup(model);
    if (!copy) return tw_no_memory(error, strlen(model), "a path");
    external->folder = realpath(dirname(copy), NULL);
    free(copy);
    return external->folder ? TW_OK : tw_fail(error, TW_INVALID, "the model's folder: %s", strerror(errno));
}

/* The real path of the location, checked to lie below the folder; to be freed. */
static tw_status resolve(const char *folder, const char *location, char **path, tw_error *error)
{
    char wanted[PATH_MAX];
    *path = NULL;
    if (!*location || *location == '/' || goes_up(location))
        return tw_fail(error, TW_INVALID, "external data in \"%.200s\": expected a path inside the model's folder",
                       location);
    if (snprintf(wanted, sizeof wanted, "%s/%s", folder, location) >= (int)sizeof wanted)
        return tw_fail(error, TW_INVALID, "external data in \"%.200s\": no such path", location);
    *path = realpath(wanted, NULL);
    size_t length = strlen(folder);
    bool root = length == 1; /* "/" ends in a slash already */
    bool inside = *path && strncmp(*path, folder, length) == 0 && (root || (*path)[length] == '/');
    if (inside) return TW_OK;
    tw_status status = *path ? tw_fail(error, TW_INVALID,
                                       "external data in \"%.200s\": a link leads out of the model's folder", location)
                             : tw_fail(error, TW_INVALID, "external data in \"%.200s\": %s", location, strerror(errno));
    free(*path);
    *path = NULL;
    return status;
}

static tw_status grow(tw_onnx_external *external, tw_error *error)
{
    if (external->count < external->capacity) return TW_OK;
    size_t capacity = external->capacity ? 2 * external->capacity : 4;
    tw_onnx_external_file *larger = realloc(external->files, capacity * sizeof *larger);
    if (!larger) return tw_no_memory(error, capacity * sizeof *larger, "external data");
    external->files = larger;
    external->capacity = capacity;
    return TW_OK;
}

/* Maps one more file, whose path it takes over. */
static tw_status add_file(tw_onnx_external *external, char *path, tw_error *error)
{
    tw_onnx_external_file file = {.path = path};
    tw_status status = grow(external, error);
    if (status == TW_OK) status = tw_file_map(path, &file.mapping, error);
    if (status != TW_OK) {
        free(path);
        return status;
    }
    external->files[external->count++] = file;
    external->bytes += file.mapping.bytes;
    return tw_names_add(&external->by_path, path, (int)external->count - 1) ? TW_OK : tw_no_memory(error, 1, "names");
}

/* The file behind a location that is asked for the first time; locations may share one. */
static tw_status find_file(tw_onnx_external *external, const char *model, const char *location, int *index,
                           tw_error *error)
{
    char *path = NULL;
    tw_status status = find_folder(external, model, error);
    if (status == TW_OK) status = resolve(external->folder, location, &path, error);
    if (status != TW_OK) return status;
    *index = tw_names_find(&external->by_path, path);
    if (*index >= 0) {
        free(path);
    } else {
        *index = (int)external->count;
        status = add_file(external, path, error);
    }
    if (status == TW_OK && !tw_names_add(&external->by_location, location, *index))
        status = tw_no_memory(error, 1, "names");
    return status;
}

tw_status tw_onnx_external_open(tw_onnx_external *external, const char *model, const char *location, tw_mapping *file,
                                tw_error *error)
{
    int index = tw_names_find(&external->by_location, location);
    tw_status status = index < 0 ? find_file(external, model, location, &index, error) : TW_OK;
    if (status == TW_OK) *file = external->files[index].mapping;
    return status;
}

void tw_onnx_external_close(tw_onnx_external *external)
{
    for (size_t i = 0; i < external->count; i++) {
        tw_file_unmap(&external->files[i].mapping);
        free(external->files[i].path);
    }
    tw_names_free(&external->by_location);
    tw_names_free(&external->by_path);
    free(external->files);
    free(external->folder);
    *external = (tw_onnx_external){0};
}
