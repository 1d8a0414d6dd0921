#include "bench/text.h"
#include "core/status.h"
#include "formats/file.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { MAX_BYTES = 16 << 20 };

static tw_status read_stream(FILE *file, const char *path, const char *what, char *text, tw_error *error)
{
    size_t size = fread(text, 1, MAX_BYTES, file);
    if (ferror(file)) return tw_fail(error, TW_INVALID, "%s: %s", path, strerror(errno));
    if (size == MAX_BYTES)
        return tw_fail(error, TW_INVALID, "%s: %d bytes or more, expected %s", path, MAX_BYTES, what);
    if (memchr(text, 0, size)) return tw_fail(error, TW_INVALID, "%s: not a text file, expected %s", path, what);
    text[size] = 0;
    return TW_OK;
}

tw_status tw_text_read(const char *path, const char *what, char **text, tw_error *error)
{
    *text = NULL;
    FILE *file = tw_file_open(path, error);
    if (!file) return TW_INVALID;
    *text = malloc(MAX_BYTES + 1);
    tw_status status =
        *text ? read_stream(file, path, what, *text, error) : tw_no_memory(error, MAX_BYTES, "a text file");
    fclose(file);
    if (status != TW_OK) {
        free(*text);
        *text = NULL;
    }
    return status;
}
