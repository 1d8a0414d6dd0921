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

/* The real path of the location, checked to lie below the model's folder; to be freed. */
static tw_status resolve(const char *model, const char *location, char **path, tw_error *error)
{
    char wanted[PATH_MAX], *copy = tw_strdup(model);
    *path = NULL;
    if (!copy) return tw_no_memory(error, strlen(model), "a path");
    if (!*location || *location == '/' || goes_up(location)) {
        free(copy);
        return tw_fail(error, TW_INVALID, "external data in \"%.200s\": expected a path inside the model's folder",
                       location);
    }
    char *folder = realpath(dirname(copy), NULL);
    free(copy);
    if (!folder || snprintf(wanted, sizeof wanted, "%s/%s", folder, location) >= (int)sizeof wanted) {
        free(folder);
        return tw_fail(error, TW_INVALID, "external data in \"%.200s\": no such path", location);
    }
    *path = realpath(wanted, NULL);
    size_t length = strlen(folder);
    bool root = length == 1; /* "/" ends in a slash already */
    bool inside = *path && strncmp(*path, folder, length) == 0 && (root || (*path)[length] == '/');
    free(folder);
    if (inside) return TW_OK;
    tw_status status = *path ? tw_fail(error, TW_INVALID,
                                       "external data in \"%.200s\": a link leads out of the model's folder", location)
                             : tw_fail(error, TW_INVALID, "external data in \"%.200s\": %s", location, strerror(errno));
    free(*path);
    *path = NULL;
    return status;
}

tw_status tw_onnx_external_open(tw_onnx_external **list, const char *model, const char *location, tw_mapping *file,
                                tw_error *error)
{
    char *path;
    tw_status status = resolve(model, location, &path, error);
    if (status != TW_OK) return status;
    for (tw_onnx_external *at = *list; at; at = at->next)
        if (strcmp(at->path, path) == 0) {
            *file = at->file;
            free(path);
            return TW_OK;
        }
    tw_onnx_external *opened = calloc(1, sizeof *opened);
    status = opened ? tw_file_map(path, &opened->file, error) : tw_no_memory(error, sizeof *opened, "external data");
    if (status != TW_OK) {
        free(opened);
        free(path);
        return status;
    }
    opened->path = path;
    opened->next = *list;
    *list = opened;
    *file = opened->file;
    return TW_OK;
}

void tw_onnx_external_close(tw_onnx_external *list)
{
    while (list) {
        tw_onnx_external *next = list->next;
        tw_file_unmap(&list->file);
        free(list->path);
        free(list);
        list = next;
    }
}
