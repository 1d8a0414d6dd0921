/* The cache of `tilewise tune`: one text file for a device, its threads and a precision, in $XDG_CACHE_HOME/tilewise
 * (XDG Base Directory Specification: else ~/.cache; a relative path counts as unset).
 *
 *     tilewise tuning 1
 *     version 0.1.0
 *     device NVIDIA H100 80GB HBM3
 *     features sm_90, 132 multiprocessors
 *     driver CUDA 13.0
 *     threads 1
 *     precision fp16
 *     17536 conv2d:mb1ic64ih56oc64oh56kh3ph1 implicit_gemm float16 nhwc float16 nhwc
 *     end 1
 *
 * A line is nanoseconds, problem, design, and the types of input and output. The name of the file has the device, threads and
 * precision; what else the numbers depend on stands in the head, so that a new driver or version is noticed: a file
 * with another head is refused with both lines, and so is one with a line that this library could not have written.
 * The reader takes nothing from a file that is not whole: `end` has the number of lines. */
#include "formats/tuning.h"
#include "core/status.h"
#include "devices/device.h"
#include "formats/file.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { MAX_BYTES = 16 << 20, HEAD = 512, LINE = 512 };
static const unsigned long long max_nanoseconds = 1000000000000000; /* eleven days */

/* ---- where ---- */

static char *default_folder(void)
{
    const char *cache = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    if (cache && *cache == '/') return tw_path_join(cache, "tilewise");
    return home && *home == '/' ? tw_path_join(home, ".cache/tilewise") : tw_strdup("");
}

/* "tune-cpu-AMD-EPYC-9654-8-fp32.txt" */
static void file_name(const tw_device *device, tw_precision precision, char *name, size_t size)
{
    const tw_device_info *info = &device->info;
    int length = snprintf(name, size, "tune-%s-%s-%d-%s.txt", device->backend->name, info->name, info->threads,
                          tw_precision_name(precision));
    size_t kept = 0;
    for (int i = 0; i < length && (size_t)i < size - 1; i++) {
        const bool plain = isalnum((unsigned char)name[i]) || name[i] == '.' || name[i] == '_';
        if (plain || (kept > 0 && name[kept - 1] != '-')) name[kept++] = plain ? name[i] : '-';
    }
    name[kept] = 0;
}

tw_status tw_tuning_path(const char *folder, const tw_device *device, tw_precision precision, char **path,
                         tw_error *error)
{
    char name[256];
    char *own = folder ? tw_strdup(folder) : default_folder();
    *path = NULL;
    if (own && !*own) {
        free(own);
        return tw_fail(error, TW_INVALID,
                       "no folder for the cache: neither XDG_CACHE_HOME nor HOME is an absolute path");
    }
    file_name(device, precision, name, sizeof name);
    if (own) *path = tw_path_join(own, name);
    free(own);
    return *path ? TW_OK : tw_no_memory(error, sizeof name, "a path");
}

/* ---- the head ---- */

static void print_head(const tw_device *device, tw_precision precision, char head[HEAD])
{
    const tw_device_info *info = &device->info;
    snprintf(head, HEAD, "tilewise tuning 1\nversion %s\ndevice %s\nfeatures %s\ndriver %s\nthreads %d\nprecision %s\n",
             tw_version(), info->name, info->features, *info->driver ? info->driver : "none", info->threads,
             tw_precision_name(precision));
}

/* What is read. */
typedef struct reader {
    const char *path, *at, *end;
    int line; /* that was read last, from 1 */
} reader;

/* The next line without its newline; false at the end, in a line without a newline, and where it is too long. */
static bool next_line(reader *r, char text[LINE])
{
    const size_t left = (size_t)(r->end - r->at);
    const char *newline = left ? memchr(r->at, '\n', left) : NULL;
    r->line++;
    if (!newline || newline - r->at >= LINE || memchr(r->at, 0, (size_t)(newline - r->at))) return false;
    memcpy(text, r->at, (size_t)(newline - r->at));
    text[newline - r->at] = 0;
    r->at = newline + 1;
    return true;
}

/* Text for a message, whatever the file holds. */
static const char *printable(char *text)
{
    for (char *c = text; *c; c++)
        if (!isprint((unsigned char)*c)) *c = '?';
    return text;
}

static tw_status check_head(reader *r, const tw_device *device, tw_precision precision, tw_error *error)
{
    char head[HEAD], line[LINE], *rest = head;
    print_head(device, precision, head);
    for (char *wanted; (wanted = strsep(&rest, "\n")) && *wanted;) {
        if (!next_line(r, line)) return tw_fail(error, TW_INVALID, "%s: not a tuning, or not a whole one", r->path);
        if (strcmp(line, wanted) == 0) continue;
        if (r->line == 1) return tw_fail(error, TW_INVALID, "%s: not a tuning of this version", r->path);
        return tw_fail(error, TW_INVALID, "%s: measured with another \"%.100s\", where this is \"%.100s\"", r->path,
                       printable(line), wanted);
    }
    return TW_OK;
}

/* ---- measurements ---- */

static bool read_type(const char *dtype, const char *layout, tw_type *type)
{
    static const tw_dtype dtypes[] = {TW_F32, TW_F16, TW_BF16};
    bool found = false;
    for (size_t i = 0; i < sizeof dtypes / sizeof *dtypes; i++)
        if (strcmp(dtype, tw_dtype_name(dtypes[i])) == 0) {
            type->dtype = dtypes[i];
            found = true;
        }
    for (int i = 0; found && i < TW_LAYOUTS; i++)
        if (strcmp(layout, tw_layout_name((tw_layout)i)) == 0) {
            type->layout = (tw_layout)i;
            return true;
        }
    return false;
}

/* Null, or what is wrong. */
static const char *read_measurement(char *line, const tw_device *device, tw_measurement *item)
{
    enum { WORDS = 7 };
    char *words[WORDS + 1] = {0}, *end;
    for (int i = 0; i <= WORDS; i++) words[i] = strsep(&line, " ");
    if (!words[WORDS - 1] || words[WORDS]) return "expected nanoseconds, problem, design and types";
    const unsigned long long nanoseconds = strtoull(words[0], &end, 10);
    if (!isdigit((unsigned char)words[0][0]) || *end || nanoseconds == 0 || nanoseconds > max_nanoseconds)
        return "expected nanoseconds, at least 1";
    item->seconds = 1e-9 * (double)nanoseconds;
    const char *colon = strchr(words[1], ':');
    char op[32];
    if (!colon || colon - words[1] >= (long)sizeof op || strlen(words[1]) + 1 >= sizeof item->problem)
        return "expected OPERATOR:DESCRIPTOR";
    snprintf(op, sizeof op, "%.*s", (int)(colon - words[1]), words[1]);
    const tw_design *design = tw_design_find(op, device->backend->name, words[2]);
    if (!design) return "unknown operator or design";
    item->design = design->name;
    snprintf(item->problem, sizeof item->problem, "%s", words[1]);
    if (!read_type(words[3], words[4], &item->in) || !read_type(words[5], words[6], &item->out)) return "unknown type";
    return NULL;
}

static tw_status read_all(reader *r, const tw_device *device, tw_tuning *tuning, tw_error *error)
{
    char line[LINE], copy[LINE], last[32];
    size_t count = 0;
    for (;;) {
        tw_measurement item = {.design = NULL};
        if (!next_line(r, line)) return tw_fail(error, TW_INVALID, "%s: not whole: its last line is missing", r->path);
        snprintf(last, sizeof last, "end %zu", count);
        if (strcmp(line, last) == 0) break;
        memcpy(copy, line, sizeof copy);
        const char *wrong = read_measurement(copy, device, &item);
        if (wrong) return tw_fail(error, TW_INVALID, "%s:%d: %s: \"%.100s\"", r->path, r->line, wrong, printable(line));
        tw_status status = tw_tuning_append(tuning, &item, error);
        if (status != TW_OK) return status;
        count++;
    }
    tw_tuning_sort(tuning);
    return r->at == r->end ? TW_OK : tw_fail(error, TW_INVALID, "%s: something follows its last line", r->path);
}

static tw_status read_file(const char *path, const tw_device *device, tw_precision precision, tw_tuning *tuning,
                           tw_error *error)
{
    tw_mapping file;
    tw_status status = tw_file_map(path, &file, error);
    if (status != TW_OK) return status;
    if (file.bytes > MAX_BYTES) {
        status = tw_fail(error, TW_INVALID, "%s: %zu bytes, expected at most %d", path, file.bytes, MAX_BYTES);
    } else {
        reader r = {path, (const char *)file.data, (const char *)file.data + file.bytes, 0};
        status = check_head(&r, device, precision, error);
        if (status == TW_OK) status = read_all(&r, device, tuning, error);
    }
    tw_file_unmap(&file);
    return status;
}

tw_status tw_tuning_open(const char *folder, const tw_device *device, tw_precision precision, tw_tuning **out,
                         tw_error *error)
{
    char *path;
    struct stat info;
    *out = NULL;
    if (precision > TW_PRECISION_BF16) return tw_fail(error, TW_INVALID, "unknown precision %d", (int)precision);
    tw_tuning *tuning = tw_tuning_create();
    if (!tuning) return tw_no_memory(error, sizeof *tuning, "a tuning");
    tw_status status = TW_OK;
    if (folder || tw_tuning_path(NULL, device, precision, &path, NULL) == TW_OK) {
        if (folder) status = tw_tuning_path(folder, device, precision, &path, error);
        const bool none = status == TW_OK && stat(path, &info) != 0 && (errno == ENOENT || errno == ENOTDIR);
        if (status == TW_OK && !none) status = read_file(path, device, precision, tuning, error);
        free(path);
    }
    if (status != TW_OK)
        tw_tuning_release(tuning);
    else
        *out = tuning;
    return status;
}

/* ---- writing ---- */

/* The folders that a path lies in. */
static void make_folders(const char *path)
{
    char *copy = tw_strdup(path);
    for (char *slash = copy ? strchr(copy + 1, '/') : NULL; slash; slash = strchr(slash + 1, '/')) {
        *slash = 0;
        mkdir(copy, 0700); /* where that fails, so does opening the file, with a message */
        *slash = '/';
    }
    free(copy);
}

tw_status tw_tuning_check(const char *path, tw_error *error)
{
    tw_file_writer writer;
    make_folders(path);
    tw_status status = tw_file_begin(&writer, path, error);
    tw_file_discard(&writer);
    return status;
}

tw_status tw_tuning_write(const char *path, const tw_tuning *tuning, const tw_device *device, tw_precision precision,
                          tw_error *error)
{
    tw_file_writer writer;
    char head[HEAD];
    make_folders(path);
    tw_status status = tw_file_begin(&writer, path, error);
    if (status != TW_OK) return status;
    print_head(device, precision, head);
    fputs(head, writer.stream);
    for (size_t i = 0; i < tuning->count; i++) {
        const tw_measurement *m = &tuning->items[i];
        const double nanoseconds = fmin(fmax(round(1e9 * m->seconds), 1), (double)max_nanoseconds);
        fprintf(writer.stream, "%.0f %s %s %s %s %s %s\n", nanoseconds, m->problem, m->design,
                tw_dtype_name(m->in.dtype), tw_layout_name(m->in.layout), tw_dtype_name(m->out.dtype),
                tw_layout_name(m->out.layout));
    }
    fprintf(writer.stream, "end %zu\n", tuning->count);
    return tw_file_commit(&writer, error);
}
