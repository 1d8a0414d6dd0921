/* Mapping whole files and replacing whole files. A reader gets all bytes as one read-only array and checks bounds
 * against its length; a writer never leaves half a file under the name that was asked for. */
#include "formats/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* A path that can't be used is bad input; everything else is the system's failure. */
static tw_status system_failure(tw_error *error, const char *path, const char *what)
{
    int code = errno;
    bool input = code == ENOENT || code == ENOTDIR || code == EISDIR || code == EACCES || code == EPERM ||
                 code == ENAMETOOLONG || code == ELOOP;
    return tw_fail(error, input ? TW_INVALID : TW_FAILED, "%s: %s: %s", path, what, strerror(code));
}

static tw_status map_descriptor(int descriptor, const char *path, tw_mapping *file, tw_error *error)
{
    struct stat info;
    if (fstat(descriptor, &info) != 0) return system_failure(error, path, "cannot be read");
    if (S_ISDIR(info.st_mode)) return tw_fail(error, TW_INVALID, "%s: a folder, where a file was expected", path);
    if (!S_ISREG(info.st_mode)) return tw_fail(error, TW_INVALID, "%s: not a regular file", path);
    if (info.st_size == 0) {
        *file = (tw_mapping){(const uint8_t *)"", 0};
        return TW_OK;
    }
    if ((uintmax_t)info.st_size > SIZE_MAX) return tw_fail(error, TW_INVALID, "%s: too large to be mapped", path);
    size_t bytes = (size_t)info.st_size;
    void *data = mmap(NULL, bytes, PROT_READ, MAP_PRIVATE, descriptor, 0);
    if (data == MAP_FAILED) return system_failure(error, path, "cannot be mapped");
    madvise(data, bytes, MADV_WILLNEED); /* starts reading what is not in memory yet; only advice */
    *file = (tw_mapping){data, bytes};
    return TW_OK;
}

tw_status tw_file_map(const char *path, tw_mapping *file, tw_error *error)
{
    *file = (tw_mapping){0};
    int descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a pipe without a writer must not hang */
    if (descriptor < 0) return system_failure(error, path, "cannot be opened");
    tw_status status = map_descriptor(descriptor, path, file, error);
    close(descriptor);
    return status;
}

FILE *tw_file_open(const char *path, tw_error *error)
{
    struct stat info;
    int descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    FILE *file = NULL;
    if (descriptor < 0 || fstat(descriptor, &info) != 0)
        tw_fail(error, TW_INVALID, "%s: %s", path, strerror(errno));
    else if (S_ISDIR(info.st_mode))
        tw_fail(error, TW_INVALID, "%s: %s", path, strerror(EISDIR));
    else if (!S_ISREG(info.st_mode))
        tw_fail(error, TW_INVALID, "%s: not a regular file", path);
    else if (!(file = fdopen(descriptor, "rb")))
        tw_no_memory(error, sizeof *file, path);
    if (!file && descriptor >= 0) close(descriptor);
    return file;
}

void tw_file_unmap(tw_mapping *file)
{
    if (file->bytes) munmap((void *)file->data, file->bytes);
    *file = (tw_mapping){0};
}

/* Opens a name that nothing else has, in the folder of writer->path. Not mkstemp(): its files are private, these get
 * the permissions that any new file gets. */
static int open_temporary(tw_file_writer *writer)
{
    const char *slash = strrchr(writer->path, '/');
    size_t folder = slash ? (size_t)(slash - writer->path) + 1 : 0, size = folder + 64;
    writer->temporary = malloc(size);
    if (!writer->temporary) return -1;
    memcpy(writer->temporary, writer->path, folder);
    for (int attempt = 0; attempt < 100; attempt++) {
        struct timespec now;
        clock_gettime(CLOCK_REALTIME, &now);
        snprintf(writer->temporary + folder, size - folder, ".tilewise-%ld-%09ld-%d.tmp", (long)getpid(), now.tv_nsec,
                 attempt);
        int descriptor = open(writer->temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
        if (descriptor >= 0 || errno != EEXIST) return descriptor;
    }
    return -1;
}

static tw_status begin_failed(tw_file_writer *writer, const char *path, tw_error *error)
{
    int code = errno;
    free(writer->temporary); /* never created: nothing to unlink */
    free(writer->path);
    *writer = (tw_file_writer){0};
    errno = code;
    if (code == ENOENT) return tw_fail(error, TW_INVALID, "%s: cannot be written: its folder does not exist", path);
    if (code == ENOMEM) return tw_no_memory(error, strlen(path) + 64, "a file name");
    return system_failure(error, path, "cannot be written");
}

tw_status tw_file_begin(tw_file_writer *writer, const char *path, tw_error *error)
{
    *writer = (tw_file_writer){0};
    struct stat info;
    bool exists = stat(path, &info) == 0;
    if (exists && S_ISDIR(info.st_mode)) return tw_fail(error, TW_INVALID, "%s: cannot be written: a folder", path);
    if (exists && !S_ISREG(info.st_mode))
        return tw_fail(error, TW_INVALID, "%s: cannot be replaced: not a regular file", path);
    writer->path = exists ? realpath(path, NULL) : tw_strdup(path);
    if (!writer->path) return begin_failed(writer, path, error);
    int descriptor = open_temporary(writer);
    if (descriptor < 0) return begin_failed(writer, path, error);
    writer->stream = fdopen(descriptor, "wb");
    if (!writer->stream) {
        close(descriptor);
        unlink(writer->temporary);
        errno = ENOMEM;
        return begin_failed(writer, path, error);
    }
    return TW_OK;
}

tw_status tw_file_write(tw_file_writer *writer, const void *data, size_t bytes, tw_error *error)
{
    if (bytes == 0 || fwrite(data, 1, bytes, writer->stream) == bytes) return TW_OK;
    return system_failure(error, writer->path, "cannot be written");
}

tw_status tw_file_commit(tw_file_writer *writer, tw_error *error)
{
    bool failed_before = ferror(writer->stream);
    bool closed = fclose(writer->stream) == 0;
    writer->stream = NULL;
    tw_status status = TW_OK;
    if (!closed)
        status = system_failure(error, writer->path, "cannot be written");
    else if (failed_before)
        status = tw_fail(error, TW_FAILED, "%s: cannot be written: a write failed", writer->path);
    else if (rename(writer->temporary, writer->path) != 0)
        status = system_failure(error, writer->path, "cannot be replaced");
    if (status == TW_OK) {
        free(writer->temporary);
        writer->temporary = NULL;
    }
    tw_file_discard(writer);
    return status;
}

void tw_file_discard(tw_file_writer *writer)
{
    if (writer->stream) fclose(writer->stream);
    if (writer->temporary) unlink(writer->temporary);
    free(writer->temporary);
    free(writer->path);
    *writer = (tw_file_writer){0};
}

int tw_file_lock_folder(const char *path)
{
    const char *slash = strrchr(path, '/');
    char *folder = slash ? tw_strdup(path) : NULL;
    if (folder) folder[slash - path + 1] = 0;
    int descriptor = slash && !folder ? -1 : open(folder ? folder : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    free(folder);
    if (descriptor < 0) return -1;
    int failure;
    while ((failure = flock(descriptor, LOCK_EX)) != 0 && errno == EINTR) continue;
    if (failure == 0) return descriptor;
    close(descriptor);
    return -1;
}

char *tw_path_join(const char *folder, const char *name)
{
    size_t length = strlen(folder), size = length + strlen(name) + 2;
    char *path = malloc(size);
    if (path) snprintf(path, size, "%s%s%s", folder, length > 0 && folder[length - 1] != '/' ? "/" : "", name);
    return path;
}

bool tw_file_exists(const char *folder, const char *name)
{
    struct stat info;
    char *path = tw_path_join(folder, name);
    bool exists = path && stat(path, &info) == 0 && S_ISREG(info.st_mode);
    free(path);
    return exists;
}
