/* The names of classes: text with a line each, or JSON. */
#include "bench/text.h"
#include "cli.h"
#include "core/status.h"
#include "data.h"
#include "model.h"

#include <cjson/cJSON.h>
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { IMAGENET_CLASSES = 1000 };

static tw_status wrong_count(const char *path, size_t count, size_t classes, tw_error *error)
{
    return tw_fail(error, TW_INVALID, "%s: %zu labels, but the network has %zu classes", path, count, classes);
}

static tw_status set_label(cli_labels *labels, size_t index, const char *text, tw_error *error)
{
    labels->items[index] = tw_strdup(text);
    return labels->items[index] ? TW_OK : tw_no_memory(error, strlen(text), "a label");
}

static tw_status from_lines(const char *path, char *text, cli_labels *labels, tw_error *error)
{
    size_t count = 0, length = strlen(text);
    while (length && isspace((unsigned char)text[length - 1])) text[--length] = 0;
    for (char *line = length ? text : NULL; line; count++) {
        char *next = strchr(line, '\n');
        if (next) *next++ = 0;
        line[strcspn(line, "\r")] = 0;
        tw_status status = count < labels->count ? set_label(labels, count, line, error) : TW_OK;
        if (status != TW_OK) return status;
        line = next;
    }
    return count == labels->count ? TW_OK : wrong_count(path, count, labels->count, error);
}

static tw_status from_json(const char *path, const char *text, cli_labels *labels, tw_error *error)
{
    cJSON *root = cJSON_ParseWithOpts(text, NULL, true);
    if (!root) return tw_fail(error, TW_INVALID, "%s: not valid JSON", path);
    size_t count = (size_t)cJSON_GetArraySize(root);
    tw_status status = count == labels->count ? TW_OK : wrong_count(path, count, labels->count, error);
    const cJSON *item = root->child;
    for (size_t i = 0; i < count && status == TW_OK; i++) {
        char key[24];
        snprintf(key, sizeof key, "%zu", i);
        if (cJSON_IsObject(root)) item = cJSON_GetObjectItemCaseSensitive(root, key);
        if (cJSON_IsString(item))
            status = set_label(labels, i, item->valuestring, error);
        else
            status = tw_fail(error, TW_INVALID, "%s: class %s has no name: expected a string", path, key);
        if (cJSON_IsArray(root)) item = item->next;
    }
    cJSON_Delete(root);
    return status;
}

static tw_status from_file(const char *path, cli_labels *labels, tw_error *error)
{
    char *text;
    tw_status status = tw_text_read(path, "labels", &text, error);
    if (status != TW_OK) return status;
    char first = text[strspn(text, " \t\r\n")];
    if (first == '[' || first == '{')
        status = from_json(path, text, labels, error);
    else
        status = from_lines(path, text, labels, error);
    free(text);
    return status;
}

static tw_status from_numbers(size_t first, cli_labels *labels, tw_error *error)
{
    tw_status status = TW_OK;
    for (size_t i = first; i < labels->count && status == TW_OK; i++) {
        char number[24];
        snprintf(number, sizeof number, "%zu", i);
        status = set_label(labels, i, number, error);
    }
    return status;
}

tw_status cli_labels_open(const cli_options *options, size_t classes, cli_labels *labels, tw_error *error)
{
    char path[CLI_PATH_SIZE];
    *labels = (cli_labels){calloc(classes + 1, sizeof *labels->items), classes};
    if (!labels->items) return tw_no_memory(error, classes * sizeof *labels->items, "labels");
    tw_status status;
    if (options->labels)
        status = from_file(options->labels, labels, error);
    else if (classes == IMAGENET_CLASSES && cli_data_path("imagenet_classes", ".json", path) && access(path, R_OK) == 0)
        status = from_file(path, labels, error);
    else {
        if (classes == IMAGENET_CLASSES && cli_data_path("imagenet_classes", ".json", path))
            cli_note("no labels, as %s cannot be read: classes are shown by number", path);
        status = from_numbers(0, labels, error);
    }
    if (status != TW_OK) cli_labels_close(labels);
    return status;
}

tw_status cli_labels_extend(cli_labels *labels, size_t classes, tw_error *error)
{
    size_t first = labels->count;
    char **grown = realloc(labels->items, (classes + 1) * sizeof *grown);
    if (!grown) return tw_no_memory(error, classes * sizeof *grown, "labels");
    memset(grown + first, 0, (classes + 1 - first) * sizeof *grown);
    *labels = (cli_labels){grown, classes};
    return from_numbers(first, labels, error);
}

void cli_labels_close(cli_labels *labels)
{
    for (size_t i = 0; labels->items && i < labels->count; i++) free(labels->items[i]);
    free(labels->items);
    *labels = (cli_labels){0};
}
