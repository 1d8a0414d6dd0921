#include "bench/shapes.h"
#include "bench/text.h"
#include "core/status.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

tw_status tw_descriptor_name(const char *text, char **name, tw_error *error)
{
    *name = NULL;
    const char *start = strstr(text, "n\"");
    if (!start) return TW_OK;
    start += 2;
    const char *end = strchr(start, '"');
    if (!end || end[1]) return tw_fail(error, TW_INVALID, "problem \"%s\": the name must end in a quote, last", text);
    *name = strndup(start, (size_t)(end - start));
    return *name ? TW_OK : tw_no_memory(error, strlen(start), "a problem's name");
}

tw_status tw_descriptor_with_batch(const char *text, int batch, char **changed, tw_error *error)
{
    size_t size = strlen(text) + 16;
    *changed = malloc(size);
    if (!*changed) return tw_no_memory(error, size, "a problem");
    const char *name = strstr(text, "n\""), *at = strstr(text, "mb");
    bool dims = isdigit((unsigned char)text[0]);
    if (dims) at = text;
    if (at && !dims && name && at > name) at = NULL;
    const char *rest = at ? at + (dims ? 0 : 2) : text;
    while (at && isdigit((unsigned char)*rest)) rest++;
    snprintf(*changed, size, "%.*s%s%d%s", at ? (int)(at - text) : 0, text, dims ? "" : "mb", batch, rest);
    return TW_OK;
}

static tw_status add_line(tw_shape_file *file, const char *text, int line, tw_error *error)
{
    if (file->count == file->capacity) {
        size_t capacity = file->capacity ? 2 * file->capacity : 64;
        tw_shape_line *grown = realloc(file->items, capacity * sizeof *grown);
        if (!grown) return tw_no_memory(error, capacity * sizeof *grown, "shapes");
        file->items = grown;
        file->capacity = capacity;
    }
    tw_shape_line *item = &file->items[file->count];
    *item = (tw_shape_line){.text = tw_strdup(text), .line = line};
    if (!item->text) return tw_no_memory(error, strlen(text), "a shape");
    file->count++;
    return tw_descriptor_name(text, &item->name, error);
}

static tw_status add_text_line(tw_shape_file *file, char *text, int line, tw_error *error)
{
    char *rest = NULL;
    for (char *word = strtok_r(text, " \t\r", &rest); word; word = strtok_r(NULL, " \t\r", &rest)) {
        if (word[0] == '#') return TW_OK;
        if (word[0] == '-')
            return tw_fail(error, TW_INVALID, "\"%s\" is an option; expected problem descriptors only", word);
        tw_status status = add_line(file, word, line, error);
        if (status != TW_OK) return status;
    }
    return TW_OK;
}

tw_status tw_shape_file_read(const char *path, tw_shape_file *file, tw_error *error)
{
    *file = (tw_shape_file){0};
    char *text;
    tw_status status = tw_text_read(path, "problem shapes", &text, error);
    char *next = text;
    for (int line = 1; status == TW_OK && next; line++) {
        char *start = next;
        next = strchr(start, '\n');
        if (next) *next++ = 0;
        status = add_text_line(file, start, line, error);
        if (status != TW_OK) tw_error_prefix(error, "%s:%d", path, line);
    }
    if (status == TW_OK && file->count == 0) status = tw_fail(error, TW_INVALID, "%s: holds no shapes", path);
    free(text);
    if (status != TW_OK) tw_shape_file_free(file);
    return status;
}

void tw_shape_file_free(tw_shape_file *file)
{
    for (size_t i = 0; i < file->count; i++) {
        free(file->items[i].text);
        free(file->items[i].name);
    }
    free(file->items);
    *file = (tw_shape_file){0};
}
