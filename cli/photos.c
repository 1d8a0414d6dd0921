#include "photos.h"
#include "core/status.h"
#include "formats/file.h"

#include <dirent.h>
#include <errno.h>
#include <glob.h>
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
    char *path = tw_path_join(folder, name);
    if (!path) return tw_no_memory(error, strlen(folder) + strlen(name), "a file name");
    photos->paths[photos->count++] = path;
    return TW_OK;
}

static bool is_folder(const char *path)
{
    struct stat info;
    return stat(path, &info) == 0 && S_ISDIR(info.st_mode);
}

static bool is_link(const char *path)
{
    struct stat info;
    return lstat(path, &info) == 0 && S_ISLNK(info.st_mode);
}

/* ---- folders ---- */

static tw_status add_folder(cli_photos *photos, const char *folder, bool recursive, tw_error *error);

/* A folder inside a folder is passed over, or entered unless it is a link, which may lead in a circle. */
static tw_status add_entry(cli_photos *photos, const char *folder, const char *name, bool recursive, tw_error *error)
{
    tw_status status = add(photos, folder, name, error);
    if (status != TW_OK || !is_folder(photos->paths[photos->count - 1])) return status;
    char *inner = photos->paths[--photos->count];
    if (recursive && !is_link(inner)) status = add_folder(photos, inner, true, error);
    free(inner);
    return status;
}

/* A file that is no photograph becomes a row that says so. */
static tw_status add_folder(cli_photos *photos, const char *folder, bool recursive, tw_error *error)
{
    struct dirent **entries;
    int count = scandir(folder, &entries, NULL, alphasort);
    if (count < 0) return tw_fail(error, TW_INVALID, "%s: %s", folder, strerror(errno));
    tw_status status = TW_OK;
    for (int i = 0; i < count; i++) {
        if (status == TW_OK && entries[i]->d_name[0] != '.')
            status = add_entry(photos, folder, entries[i]->d_name, recursive, error);
        free(entries[i]);
    }
    free(entries);
    return status;
}

/* ---- what one argument names ---- */

static tw_status add_named(cli_photos *photos, const char *path, bool recursive, tw_error *error)
{
    if (!is_folder(path)) return add(photos, "", path, error);
    size_t before = photos->count;
    photos->many = true;
    tw_status status = add_folder(photos, path, recursive, error);
    if (status == TW_OK && photos->count == before)
        status = tw_fail(error, TW_INVALID, "%s: the folder holds no files%s", path,
                         recursive ? "" : "; --recursive enters the folders in it");
    return status;
}

/* Does the pattern lead into a folder that may not be read? glob() passes over those unless it is told not to. */
static bool is_locked(const char *pattern)
{
    glob_t found;
    errno = 0;
    int code = glob(pattern, GLOB_ERR, NULL, &found);
    bool locked = code == GLOB_ABORTED && errno == EACCES;
    if (code == 0) globfree(&found);
    return locked;
}

static tw_status add_matches(cli_photos *photos, const char *pattern, bool recursive, tw_error *error)
{
    glob_t found;
    int code = glob(pattern, 0, NULL, &found);
    if (code == GLOB_NOMATCH && is_locked(pattern))
        return tw_fail(error, TW_INVALID, "%s: a folder may not be read: %s", pattern, strerror(EACCES));
    if (code == GLOB_NOMATCH) return tw_fail(error, TW_INVALID, "%s: no file has such a name", pattern);
    if (code != 0) return tw_fail(error, TW_FAILED, "%s: the folder cannot be searched", pattern);
    tw_status status = TW_OK;
    photos->many = true;
    for (size_t i = 0; i < found.gl_pathc && status == TW_OK; i++)
        status = add_named(photos, found.gl_pathv[i], recursive, error);
    globfree(&found);
    return status;
}

static tw_status add_argument(cli_photos *photos, const char *argument, bool recursive, tw_error *error)
{
    struct stat info;
    bool pattern = strpbrk(argument, "*?[") && lstat(argument, &info) != 0;
    return pattern ? add_matches(photos, argument, recursive, error) : add_named(photos, argument, recursive, error);
}

/* ---- lists ---- */

static tw_status read_list(cli_photos *photos, FILE *list, int end, tw_error *error)
{
    char *name = NULL;
    size_t size = 0;
    ssize_t length;
    tw_status status = TW_OK;
    while (status == TW_OK && (length = getdelim(&name, &size, end, list)) > 0) {
        if (name[length - 1] == end) name[--length] = 0;
        if (end == '\n' && length > 0 && name[length - 1] == '\r') name[--length] = 0; /* written on Windows */
        if (strlen(name) != (size_t)length)
            status = tw_fail(error, TW_INVALID, "a zero byte in a name: is it a list for --null?");
        else if (length > 0)
            status = add(photos, "", name, error);
    }
    if (status == TW_OK && ferror(list)) status = tw_fail(error, TW_FAILED, "%s", strerror(errno));
    free(name);
    return status;
}

static tw_status add_list(cli_photos *photos, const char *path, bool null, tw_error *error)
{
    bool standard = strcmp(path, "-") == 0;
    size_t before = photos->count;
    FILE *list = standard ? stdin : fopen(path, "r");
    photos->many = true;
    if (!list) return tw_fail(error, TW_INVALID, "--files-from: %s: %s", path, strerror(errno));
    tw_status status = read_list(photos, list, null ? 0 : '\n', error);
    if (status == TW_OK && photos->count == before) status = tw_fail(error, TW_INVALID, "no names of files");
    if (status != TW_OK) tw_error_prefix(error, "--files-from: %s", standard ? "standard input" : path);
    if (!standard) fclose(list);
    return status;
}

tw_status cli_photos_find(const cli_options *options, cli_photos *photos, tw_error *error)
{
    *photos = (cli_photos){0};
    tw_status status = TW_OK;
    for (int i = 1; i < options->argument_count && status == TW_OK; i++)
        status = add_argument(photos, options->arguments[i], cli_given(options, CLI_RECURSIVE), error);
    if (status == TW_OK && options->files_from)
        status = add_list(photos, options->files_from, cli_given(options, CLI_NULL), error);
    if (status != TW_OK) cli_photos_free(photos);
    return status;
}

void cli_photos_free(cli_photos *photos)
{
    for (size_t i = 0; i < photos->count; i++) free(photos->paths[i]);
    free(photos->paths);
    *photos = (cli_photos){0};
}
