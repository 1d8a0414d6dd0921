#include "core/status.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { HUGE_PAGE = 2 << 20 };

const char *tw_version(void)
{
    return TW_VERSION;
}

static void one_line(char *text)
{
    for (; *text; text++)
        if ((unsigned char)*text < ' ') *text = ' ';
}

tw_status(tw_fail)(tw_error *error, tw_status status, const char *format, ...)
{
    if (!error) return status;
    va_list args;
    va_start(args, format);
    vsnprintf(error->message, sizeof error->message, format, args);
    va_end(args);
    one_line(error->message);
    error->status = status;
    return status;
}

tw_status(tw_no_memory)(tw_error *error, size_t bytes, const char *what)
{
    return tw_fail(error, TW_OUT_OF_MEMORY, "out of memory: %zu bytes for %s", bytes, what);
}

void tw_error_prefix(tw_error *error, const char *format, ...)
{
    if (!error) return;
    char prefix[256];
    va_list args;
    va_start(args, format);
    vsnprintf(prefix, sizeof prefix - 2, format, args);
    va_end(args);
    one_line(prefix);
    strcat(prefix, ": ");
    size_t length = strlen(prefix), rest = strlen(error->message), room = sizeof error->message - 1 - length;
    if (rest > room) rest = room;
    memmove(error->message + length, error->message, rest);
    memcpy(error->message, prefix, length);
    error->message[length + rest] = 0;
}

void *tw_alloc(size_t bytes)
{
    bool huge = bytes >= HUGE_PAGE;
    size_t alignment = huge ? HUGE_PAGE : TW_ALIGNMENT;
    if (bytes > SIZE_MAX - alignment) return NULL;
    void *memory = NULL;
    if (posix_memalign(&memory, alignment, tw_align(bytes ? bytes : 1)) != 0) return NULL;
    /* First touch of 4 KiB pages costs three times as much, and reads of weights by a quarter more. */
    if (huge) madvise(memory, bytes, MADV_HUGEPAGE);
    return memory;
}

void *tw_alloc_zero(size_t bytes)
{
    void *memory = tw_alloc(bytes);
    if (memory) memset(memory, 0, bytes);
    return memory;
}

char *tw_strdup(const char *text)
{
    size_t size = strlen(text) + 1;
    char *copy = malloc(size);
    if (copy) memcpy(copy, text, size);
    return copy;
}
