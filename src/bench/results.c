#include "bench/results.h"
#include "core/status.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

struct tw_results {
    tw_results_desc desc;
    cJSON *root, *devices, *rows;
    cJSON *keys; /* of CSV that is written row by row: the header's, once there is one */
    bool same_fields, no_memory;
    int write_error; /* errno of the first write that failed */
};

/* ---- text ---- */

/* The length of the valid UTF-8 sequence at `text`, or 0. */
static size_t utf8_length(const unsigned char *text)
{
    size_t length = text[0] < 0x80                      ? 1
                    : text[0] >= 0xc2 && text[0] < 0xe0 ? 2
                    : text[0] >= 0xe0 && text[0] < 0xf0 ? 3
                    : text[0] >= 0xf0 && text[0] < 0xf5 ? 4
                                                        : 0;
    for (size_t i = 1; i < length; i++)
        if ((text[i] & 0xc0) != 0x80) return 0;
    bool surrogate = text[0] == 0xed && length == 3 && text[1] >= 0xa0;
    bool overlong = (text[0] == 0xe0 && length == 3 && text[1] < 0xa0) || (text[0] == 0xf0 && text[1] < 0x90);
    bool beyond = text[0] == 0xf4 && length == 4 && text[1] >= 0x90;
    return surrogate || overlong || beyond ? 0 : length;
}

/* File names are bytes; JSON is UTF-8. Bytes that are not become '?'. */
static char *valid_utf8(const char *text)
{
    char *copy = tw_strdup(text);
    if (!copy) return NULL;
    for (unsigned char *at = (unsigned char *)copy; *at;) {
        size_t length = utf8_length(at);
        if (length == 0) *at = '?';
        at += length ? length : 1;
    }
    return copy;
}

/* Columns on a terminal, taking every character as one wide. */
static int text_width(const char *text)
{
    int width = 0;
    for (; *text; text++) width += ((unsigned char)*text & 0xc0) != 0x80;
    return width;
}

void tw_format_number(double number, char *text, size_t size)
{
    double magnitude = fabs(number);
    int decimals = 3;
    if (!(magnitude < 1e15)) {
        snprintf(text, size, "%.3g", number);
        return;
    }
    if (magnitude > 0) {
        decimals = 3 - (int)floor(log10(magnitude));
        decimals = decimals < 0 ? 0 : decimals > 9 ? 9 : decimals;
    }
    snprintf(text, size, "%.*f", decimals, number);
}

void tw_format_bytes(double bytes, char *text, size_t size)
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
    int unit = 0;
    for (; bytes >= 1024 && unit < 4; unit++) bytes /= 1024;
    snprintf(text, size, unit == 0 ? "%.0f %s" : "%.1f %s", bytes, units[unit]);
}

/* ---- rows ---- */

void tw_row_text(cJSON *row, const char *key, const char *text)
{
    char *valid = text ? valid_utf8(text) : NULL;
    if (valid)
        cJSON_AddStringToObject(row, key, valid);
    else
        cJSON_AddNullToObject(row, key);
    free(valid);
}

void tw_row_number(cJSON *row, const char *key, double number)
{
    if (isfinite(number))
        cJSON_AddNumberToObject(row, key, number);
    else
        cJSON_AddNullToObject(row, key);
}

cJSON *tw_row_create(const tw_row_key *key)
{
    cJSON *row = cJSON_CreateObject();
    tw_row_text(row, "device", key->device);
    tw_row_text(row, "model", key->model);
    tw_row_number(row, "batch", key->batch ? key->batch : NAN);
    tw_row_text(row, "precision", key->precision);
    tw_row_number(row, "threads", key->threads ? key->threads : NAN);
    return row;
}

#define FIELD(name)                                                                                                    \
    {                                                                                                                  \
#name, offsetof(tw_bench_row, name)                                                                            \
    }
static const struct {
    const char *key;
    size_t offset;
} bench_numbers[] = {
    FIELD(samples), FIELD(min_ms),    FIELD(median_ms),    FIELD(mean_ms),     FIELD(p90_ms),
    FIELD(p95_ms),  FIELD(p99_ms),    FIELD(cv),           FIELD(init_ms),     FIELD(preprocess_ms),
    FIELD(h2d_ms),  FIELD(device_ms), FIELD(d2h_ms),       FIELD(flops),       FIELD(bytes),
    FIELD(gflops),  FIELD(gbps),      FIELD(roofline_pct), FIELD(max_abs_err), FIELD(max_rel_err),
};
#undef FIELD
static const size_t bench_number_count = sizeof bench_numbers / sizeof *bench_numbers;

void tw_bench_row_init(tw_bench_row *row)
{
    *row = (tw_bench_row){.status = "ok"};
    for (size_t i = 0; i < bench_number_count; i++) {
        double nothing = NAN;
        memcpy((char *)row + bench_numbers[i].offset, &nothing, sizeof nothing);
    }
}

cJSON *tw_bench_row_json(const tw_bench_row *row)
{
    cJSON *json = tw_row_create(&row->key);
    tw_row_text(json, "layer", row->layer);
    tw_row_text(json, "op", row->op);
    tw_row_text(json, "problem", row->problem);
    tw_row_text(json, "design", row->design);
    tw_row_text(json, "status", row->status);
    tw_row_text(json, "reason", row->reason);
    for (size_t i = 0; i < bench_number_count; i++) {
        double number;
        memcpy(&number, (const char *)row + bench_numbers[i].offset, sizeof number);
        tw_row_number(json, bench_numbers[i].key, number);
    }
    return json;
}

/* ---- one field as text ---- */

static void control_free(char *text)
{
    for (; *text; text++)
        if ((unsigned char)*text < ' ' || *text == 0x7f) *text = '?';
}

/* For people: numbers shortened, control characters of file names and labels harmless. */
static char *readable(const cJSON *value, tw_column_kind kind)
{
    char text[64];
    if (!value || cJSON_IsNull(value)) return tw_strdup("-");
    if (cJSON_IsString(value)) {
        char *copy = tw_strdup(value->valuestring);
        if (copy) control_free(copy);
        return copy;
    }
    if (cJSON_IsBool(value)) return tw_strdup(cJSON_IsTrue(value) ? "yes" : "no");
    if (!cJSON_IsNumber(value)) return cJSON_PrintUnformatted(value);
    double number = value->valuedouble;
    switch (kind) {
    case TW_COLUMN_COUNT: snprintf(text, sizeof text, "%.0f", number); break;
    case TW_COLUMN_ERROR: snprintf(text, sizeof text, number == 0 ? "0" : "%.1e", number); break;
    case TW_COLUMN_BYTES: tw_format_bytes(number, text, sizeof text); break;
    default: tw_format_number(number, text, sizeof text); break;
    }
    return tw_strdup(text);
}

/* ---- tables ---- */

typedef struct table {
    FILE *out;
    tw_columns columns;
    const cJSON *rows;
    int *widths; /* [columns] */
    bool colour, markdown;
} table;

static bool measure_columns(table *t)
{
    t->widths = calloc(t->columns.count + 1, sizeof *t->widths);
    if (!t->widths) return false;
    const cJSON *row;
    for (size_t i = 0; i < t->columns.count; i++) {
        const tw_column *column = &t->columns.items[i];
        t->widths[i] = text_width(column->heading);
        cJSON_ArrayForEach(row, t->rows)
        {
            char *text = readable(cJSON_GetObjectItemCaseSensitive(row, column->key), column->kind);
            int width = text ? text_width(text) : 0;
            if (width > t->widths[i]) t->widths[i] = width;
            free(text);
        }
    }
    return true;
}

/* A '|' inside a Markdown cell is escaped; cells of tables are printed as they are. */
static void print_cell_text(const table *t, const char *text)
{
    for (; *text; text++) {
        if (t->markdown && *text == '|') fputc('\\', t->out);
        fputc(*text, t->out);
    }
}

static const char *status_colour(const char *text)
{
    if (strcmp(text, "incorrect") == 0 || strcmp(text, "failed") == 0) return "\x1b[31m";
    if (strcmp(text, "not_supported") == 0) return "\x1b[2m";
    return "";
}

static void print_cell(const table *t, size_t index, const char *text, const char *style)
{
    bool last = index + 1 == t->columns.count, right = t->columns.items[index].kind != TW_COLUMN_TEXT;
    int space = t->widths[index] - text_width(text);
    if (t->markdown)
        fputs(index == 0 ? "| " : " | ", t->out);
    else if (index > 0)
        fputs("  ", t->out);
    if (right) fprintf(t->out, "%*s", space, "");
    if (t->colour) fputs(style, t->out);
    print_cell_text(t, text);
    if (t->colour && *style) fputs("\x1b[0m", t->out);
    if (!right && (!last || t->markdown)) fprintf(t->out, "%*s", space, "");
    if (last) fputs(t->markdown ? " |\n" : "\n", t->out);
}

static void print_rule(const table *t)
{
    for (size_t i = 0; i < t->columns.count; i++) {
        bool right = t->columns.items[i].kind != TW_COLUMN_TEXT;
        fputs(i == 0 ? "|" : "", t->out);
        for (int dash = 0; dash < t->widths[i] + 1 + !right; dash++) fputc('-', t->out);
        fputs(right ? ":|" : "|", t->out);
    }
    fputc('\n', t->out);
}

static void print_rows(table *t)
{
    if (!measure_columns(t)) return;
    for (size_t i = 0; i < t->columns.count; i++) print_cell(t, i, t->columns.items[i].heading, "\x1b[1m");
    if (t->markdown) print_rule(t);
    const cJSON *row;
    cJSON_ArrayForEach(row, t->rows)
    {
        for (size_t i = 0; i < t->columns.count; i++) {
            const tw_column *column = &t->columns.items[i];
            char *text = readable(cJSON_GetObjectItemCaseSensitive(row, column->key), column->kind);
            const char *shown = text ? text : "?";
            print_cell(t, i, shown, strcmp(column->key, "status") == 0 ? status_colour(shown) : "");
            free(text);
        }
    }
    free(t->widths);
}

void tw_table_print(FILE *out, tw_columns columns, const cJSON *rows, bool colour)
{
    print_rows(&(table){.out = out, .columns = columns, .rows = rows, .colour = colour});
}

/* ---- CSV, RFC 4180 ---- */

static void print_csv_field(FILE *out, const char *text)
{
    if (text[strcspn(text, ",\"\r\n")] == 0) {
        fputs(text, out);
        return;
    }
    fputc('"', out);
    for (; *text; text++) {
        if (*text == '"') fputc('"', out);
        fputc(*text, out);
    }
    fputc('"', out);
}

static void print_csv_value(FILE *out, const cJSON *value)
{
    if (!value || cJSON_IsNull(value)) return;
    if (cJSON_IsString(value)) {
        print_csv_field(out, value->valuestring);
        return;
    }
    char *text = cJSON_PrintUnformatted(value);
    if (text) print_csv_field(out, text);
    free(text);
}

/* "name", or "outer.name". */
static void add_key(cJSON *keys, const char *outer, const char *name)
{
    char key[128];
    snprintf(key, sizeof key, "%s%s%s", outer ? outer : "", outer ? "." : "", name);
    if (!cJSON_GetObjectItemCaseSensitive(keys, key)) cJSON_AddTrueToObject(keys, key);
}

static void add_keys(cJSON *keys, const cJSON *row)
{
    const cJSON *field, *inner;
    cJSON_ArrayForEach(field, row)
    {
        if (!cJSON_IsObject(field)) {
            add_key(keys, NULL, field->string);
            continue;
        }
        cJSON_ArrayForEach(inner, field) add_key(keys, field->string, inner->string);
    }
}

/* The field that a key of the header names; null where the row has none. */
static const cJSON *find_field(const cJSON *row, const char *key)
{
    const cJSON *field = cJSON_GetObjectItemCaseSensitive(row, key);
    const char *dot = strchr(key, '.');
    char outer[128];
    if (field || !dot) return field;
    snprintf(outer, sizeof outer, "%.*s", (int)(dot - key), key);
    return cJSON_GetObjectItemCaseSensitive(cJSON_GetObjectItemCaseSensitive(row, outer), dot + 1);
}

static void print_csv_header(FILE *out, const cJSON *keys)
{
    const cJSON *key;
    cJSON_ArrayForEach(key, keys)
    {
        print_csv_field(out, key->string);
        fputc(key->next ? ',' : '\n', out);
    }
}

static void print_csv_row(FILE *out, const cJSON *keys, const cJSON *row)
{
    const cJSON *key;
    cJSON_ArrayForEach(key, keys)
    {
        print_csv_value(out, find_field(row, key->string));
        fputc(key->next ? ',' : '\n', out);
    }
}

/* The header has every key of any row, in the order in which they first appear. */
static void print_csv(FILE *out, const cJSON *rows)
{
    cJSON *keys = cJSON_CreateObject();
    const cJSON *row;
    cJSON_ArrayForEach(row, rows) add_keys(keys, row);
    print_csv_header(out, keys);
    cJSON_ArrayForEach(row, rows) print_csv_row(out, keys, row);
    cJSON_Delete(keys);
}

/* ---- results ---- */

static cJSON *describe_host(void)
{
    cJSON *host = cJSON_CreateObject();
    struct utsname system;
    if (uname(&system) == 0) {
        tw_row_text(host, "name", system.nodename);
        tw_row_text(host, "system", system.sysname);
        tw_row_text(host, "release", system.release);
        tw_row_text(host, "machine", system.machine);
    }
    tw_row_number(host, "cores", (double)sysconf(_SC_NPROCESSORS_ONLN));
    tw_row_number(host, "memory_bytes", (double)sysconf(_SC_PHYS_PAGES) * (double)sysconf(_SC_PAGESIZE));
    return host;
}

tw_status tw_results_create(const tw_results_desc *desc, tw_results **results, tw_error *error)
{
    tw_results *made = calloc(1, sizeof *made);
    *results = made;
    if (!made) return tw_no_memory(error, sizeof *made, "results");
    made->desc = *desc;
    made->root = cJSON_CreateObject();
    tw_row_text(made->root, "tilewise", tw_version());
    cJSON_AddItemToObject(made->root, "host", describe_host());
    made->devices = cJSON_AddArrayToObject(made->root, "devices");
    tw_row_text(made->root, "command", desc->command);
    made->rows = cJSON_CreateArray();
    return TW_OK;
}

void tw_results_destroy(tw_results *results)
{
    if (!results) return;
    cJSON_Delete(results->root);
    cJSON_Delete(results->rows);
    cJSON_Delete(results->keys);
    free(results);
}

void tw_results_device(tw_results *results, const tw_device_info *device)
{
    const cJSON *known;
    cJSON_ArrayForEach(known, results->devices)
    {
        const char *id = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(known, "id"));
        double threads = cJSON_GetNumberValue(cJSON_GetObjectItemCaseSensitive(known, "threads"));
        if (id && strcmp(id, device->id) == 0 && threads == device->threads) return;
    }
    cJSON *json = cJSON_CreateObject();
    tw_row_text(json, "id", device->id);
    tw_row_text(json, "name", device->name);
    tw_row_text(json, "features", device->features);
    tw_row_text(json, "driver", *device->driver ? device->driver : NULL);
    tw_row_number(json, "threads", device->threads);
    tw_row_number(json, "memory_bytes", (double)device->memory_bytes);
    tw_row_number(json, "peak_flops", device->measured ? device->peak_flops : NAN);
    tw_row_number(json, "peak_bytes", device->measured ? device->peak_bytes : NAN);
    cJSON_AddItemToArray(results->devices, json);
}

void tw_results_field(tw_results *results, const char *name, cJSON *value)
{
    cJSON_AddItemToObject(results->root, name, value);
}

void tw_results_same_fields(tw_results *results)
{
    results->same_fields = true;
}

static void write_jsonl(tw_results *results, const cJSON *row)
{
    char *text = cJSON_PrintUnformatted(row);
    if (text)
        fprintf(results->desc.out, "%s\n", text);
    else
        results->no_memory = true;
    free(text);
}

static void write_csv(tw_results *results, const cJSON *row)
{
    if (!results->keys) {
        results->keys = cJSON_CreateObject();
        add_keys(results->keys, row);
        print_csv_header(results->desc.out, results->keys);
    }
    if (!row || !results->keys) results->no_memory = true;
    print_csv_row(results->desc.out, results->keys, row);
}

void tw_results_add(tw_results *results, cJSON *row)
{
    bool csv = results->desc.format == TW_FORMAT_CSV && results->same_fields;
    if (!csv && results->desc.format != TW_FORMAT_JSONL) {
        if (!row || !cJSON_AddItemToArray(results->rows, row)) results->no_memory = true;
        return;
    }
    if (csv)
        write_csv(results, row);
    else
        write_jsonl(results, row);
    if (fflush(results->desc.out) != 0 && !results->write_error) results->write_error = errno;
    cJSON_Delete(row);
}

void tw_results_add_all(tw_results *results, cJSON *rows)
{
    while (rows->child) tw_results_add(results, cJSON_DetachItemViaPointer(rows, rows->child));
    cJSON_Delete(rows);
}

static void print_json(tw_results *results)
{
    cJSON_AddItemToObject(results->root, "rows", results->rows);
    results->rows = NULL;
    char *text = cJSON_Print(results->root);
    if (text)
        fprintf(results->desc.out, "%s\n", text);
    else
        results->no_memory = true;
    free(text);
}

tw_status tw_results_finish(tw_results *results, tw_error *error)
{
    const tw_results_desc *desc = &results->desc;
    table t = {.out = desc->out, .columns = desc->columns, .rows = results->rows};
    errno = results->write_error;
    switch (desc->format) {
    case TW_FORMAT_JSON: print_json(results); break;
    case TW_FORMAT_JSONL: break;
    case TW_FORMAT_CSV:
        if (!results->same_fields) print_csv(desc->out, results->rows);
        break;
    case TW_FORMAT_MD:
        t.markdown = true;
        print_rows(&t);
        break;
    case TW_FORMAT_TABLE:
        t.colour = desc->colour;
        if (cJSON_GetArraySize(results->rows) > 0) print_rows(&t);
        break;
    }
    if (results->no_memory) return tw_fail(error, TW_OUT_OF_MEMORY, "out of memory: writing results");
    if (fflush(desc->out) == 0 && !ferror(desc->out)) return TW_OK;
    results->write_error = errno ? errno : EIO;
    return tw_fail(error, TW_FAILED, "writing results: %s", strerror(results->write_error));
}

int tw_results_write_error(const tw_results *results)
{
    return results->write_error;
}
