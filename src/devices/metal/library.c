/* How a .metal file becomes functions of this process.
 *
 * tools/metal/build makes a shared library of it, once: the library lies in $XDG_CACHE_HOME/tilewise/metal under a name
 * made of everything that it depends on (the file and what it includes, the tools, the compiler, the processor, the
 * family and the mode). The tool writes under a temporary name and renames, so that processes may race. */
#include "devices/metal/library.h"
#include "core/status.h"
#include "devices/metal/metal.h"

#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

/* One that is too long is cut: no such file. */
__attribute__((format(printf, 2, 3))) static void write_path(char path[PATH_MAX], const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    if (vsnprintf(path, PATH_MAX, format, arguments) >= PATH_MAX) *path = 0;
    va_end(arguments);
}

/* ---- keys ---- */

static uint64_t hash_bytes(uint64_t key, const void *bytes, size_t count)
{
    const unsigned char *at = bytes;
    for (size_t i = 0; i < count; i++) key = (key ^ at[i]) * UINT64_C(0x100000001b3); /* FNV-1a */
    return key;
}

static uint64_t hash_text(uint64_t key, const char *text)
{
    return hash_bytes(key, text, strlen(text) + 1);
}

/* The file's text, which the caller frees; null where it cannot be read. */
static char *read_text(const char *path)
{
    FILE *file = fopen(path, "rb");
    if (!file) return NULL;
    size_t used = 0, size = 1 << 14, got = 0;
    char *text = malloc(size + 1);
    while (text && (got = fread(text + used, 1, size - used, file)) > 0) {
        used += got;
        if (used < size) continue;
        char *larger = realloc(text, 2 * size + 1);
        if (!larger) free(text);
        text = larger;
        size *= 2;
    }
    fclose(file);
    if (text) text[used] = 0;
    return text;
}

/* A file and, under `sources`, all that it includes in quotes; each as often as it is met. */
static bool hash_source(const char *sources, const char *path, int depth, uint64_t *key)
{
    enum { DEEPEST = 16 };
    char *text = depth < DEEPEST ? read_text(path) : NULL;
    if (!text) return false;
    *key = hash_text(*key, text);
    bool done = true;
    for (const char *at = text; done && (at = strstr(at, "#include \"")); at++) {
        const char *name = at + strlen("#include \"");
        char included[PATH_MAX];
        write_path(included, "%s/%.*s", sources, (int)strcspn(name, "\"\n"), name);
        done = hash_source(sources, included, depth + 1, key);
    }
    free(text);
    return done;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* All files of a folder, by name, and of those in it. */
static uint64_t hash_folder(uint64_t key, const char *path, int depth)
{
    enum { MOST = 256, DEEPEST = 8 };
    char *names[MOST];
    size_t count = 0;
    DIR *folder = depth < DEEPEST ? opendir(path) : NULL;
    if (!folder) return key;
    for (struct dirent *entry; count < MOST && (entry = readdir(folder));)
        if (entry->d_name[0] != '.' && strcmp(entry->d_name, "__pycache__") != 0 &&
            (names[count] = tw_strdup(entry->d_name)))
            count++;
    closedir(folder);
    qsort(names, count, sizeof *names, by_name);
    for (size_t i = 0; i < count; i++) {
        char inner[PATH_MAX];
        struct stat status;
        write_path(inner, "%s/%s", path, names[i]);
        const bool is_there = stat(inner, &status) == 0, is_folder = is_there && S_ISDIR(status.st_mode);
        char *text = is_there && !is_folder ? read_text(inner) : NULL;
        key = hash_text(key, names[i]);
        if (text) key = hash_text(key, text);
        if (is_folder) key = hash_folder(key, inner, depth + 1);
        free(text);
        free(names[i]);
    }
    return key;
}

/* What -march=native depends on. */
static uint64_t hash_processor(uint64_t key)
{
    FILE *file = fopen("/proc/cpuinfo", "r");
    char line[8192];
    while (file && fgets(line, sizeof line, file))
        if (strncmp(line, "flags", 5) == 0 || strncmp(line, "Features", 8) == 0 ||
            strncmp(line, "model name", 10) == 0) {
            key = hash_text(key, line);
            if (line[0] != 'm') break;
        }
    if (file) fclose(file);
    return key;
}

/* ---- finding the tools ---- */

/* Its path, or null where there is none. */
static const char *find_program(const char *name, char found[PATH_MAX])
{
    write_path(found, "%s", name);
    if (strchr(name, '/')) return access(name, X_OK) == 0 ? found : NULL;
    const char *path = getenv("PATH");
    for (const char *at = path ? path : "/usr/bin:/bin"; *at;) {
        const size_t length = strcspn(at, ":");
        write_path(found, "%.*s/%s", (int)length, at, name);
        if (access(found, X_OK) == 0) return found;
        at += length + (at[length] == ':');
    }
    return NULL;
}

/* A compiler that was replaced by another version is another file. */
static uint64_t hash_program(uint64_t key, const char *path)
{
    struct stat status;
    if (stat(path, &status) != 0) return key;
    const int64_t known[] = {(int64_t)status.st_size, (int64_t)status.st_mtime};
    return hash_bytes(hash_text(key, path), known, sizeof known);
}

/* Is there a translator in FOLDER/tools/metal, and sources beside it? */
static bool found_in(tw_msl_tools *tools, const char *folder)
{
    char build[PATH_MAX];
    if (snprintf(tools->tools, sizeof tools->tools, "%s/tools/metal", folder) >= (int)sizeof tools->tools) return false;
    snprintf(tools->sources, sizeof tools->sources, "%s/src", folder);
    write_path(build, "%s/build", tools->tools);
    return access(build, X_OK) == 0 && access(tools->sources, R_OK) == 0;
}

/* TILEWISE_METAL_TOOLS, else what was installed with the program, else where this was built from. */
static tw_status find_folder(tw_msl_tools *tools, tw_error *error)
{
    const char *given = getenv("TILEWISE_METAL_TOOLS");
    char folder[1000];
    if (given && *given) {
        if (snprintf(folder, sizeof folder, "%s/../..", given) < (int)sizeof folder && found_in(tools, folder))
            return TW_OK;
        return tw_fail(error, TW_UNAVAILABLE, "%s: TILEWISE_METAL_TOOLS=%s: expected tools/metal of Tilewise's sources",
                       tools->device, given);
    }
    const ssize_t length = readlink("/proc/self/exe", folder, sizeof folder - 64);
    if (length > 0) {
        folder[length] = 0;
        char *slash = strrchr(folder, '/');
        if (slash) strcpy(slash, "/../share/tilewise");
        if (slash && found_in(tools, folder)) return TW_OK;
    }
    if (found_in(tools, TILEWISE_METAL_INSTALLED) || found_in(tools, TILEWISE_METAL_SOURCE)) return TW_OK;
    return tw_fail(error, TW_UNAVAILABLE,
                   "%s: no tools/metal, which translates kernels; name it in TILEWISE_METAL_TOOLS", tools->device);
}

static tw_status find_cache(tw_msl_tools *tools, tw_error *error)
{
    const char *cache = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    const bool given = cache && *cache;
    if (!given && !(home && *home))
        return tw_fail(error, TW_UNAVAILABLE, "%s: no folder for compiled kernels: set XDG_CACHE_HOME or HOME",
                       tools->device);
    const int length = snprintf(tools->cache, sizeof tools->cache, "%s%s/tilewise/metal", given ? cache : home,
                                given ? "" : "/.cache");
    if (length >= (int)sizeof tools->cache)
        return tw_fail(error, TW_INVALID, "%s: the cache's name is too long", tools->device);
    for (char *slash = strchr(tools->cache + 1, '/');; slash = strchr(slash + 1, '/')) {
        if (slash) *slash = 0;
        const bool made = mkdir(tools->cache, 0777) == 0 || errno == EEXIST;
        if (!slash && !made)
            return tw_fail(error, TW_UNAVAILABLE, "%s: %s: %s", tools->device, tools->cache, strerror(errno));
        if (!slash) break;
        *slash = '/'; /* one that is not ours to make may be there all the same: the last tells */
    }
    return TW_OK;
}

/* A library under a sanitizer needs its runtime loaded before the program. */
static tw_status find_mode(tw_msl_tools *tools, tw_error *error)
{
    static const char *const modes[] = {"plain", "asan", "tsan"}, *const needed[] = {NULL, "__asan_init",
                                                                                     "__tsan_init"};
    const char *mode = getenv("TILEWISE_METAL_SIM");
    if (!mode || !*mode) mode = "plain";
    for (size_t i = 0; i < sizeof modes / sizeof *modes; i++) {
        if (strcmp(mode, modes[i]) != 0) continue;
        tools->mode = modes[i];
        if (!needed[i] || dlsym(RTLD_DEFAULT, needed[i])) return TW_OK;
        return tw_fail(error, TW_UNAVAILABLE,
                       "metal-sim: TILEWISE_METAL_SIM=%s needs LD_PRELOAD=$(clang++-19 "
                       "-print-file-name=libclang_rt.%s-x86_64.so)",
                       mode, mode);
    }
    return tw_fail(error, TW_INVALID, "metal-sim: TILEWISE_METAL_SIM=%s: expected plain, asan or tsan", mode);
}

tw_status tw_msl_find_tools(int family, tw_msl_tools *tools, tw_error *error)
{
    char found[PATH_MAX], python[PATH_MAX];
    const char *clang = getenv("MSL_CLANG");
    if (!clang || !*clang) clang = "clang++-19";
    tools->device = "metal-sim";
    tools->family = family;
    tw_status status = find_mode(tools, error);
    if (status == TW_OK) status = find_folder(tools, error);
    if (status != TW_OK) return status;
    if (!find_program(clang, found))
        return tw_fail(error, TW_UNAVAILABLE,
                       "metal-sim: no %s; install clang-19, or name a clang 18 or newer in MSL_CLANG", clang);
    if (!find_program("python3", python))
        return tw_fail(error, TW_UNAVAILABLE, "metal-sim: no python3, which translates kernels");
    status = find_cache(tools, error);
    tools->key = hash_processor(hash_program(UINT64_C(0xcbf29ce484222325), found));
    tools->key = hash_folder(hash_text(tools->key, tools->tools), tools->tools, 0);
    return status;
}

tw_status tw_msl_find_cuda_tools(int family, tw_msl_tools *tools, tw_error *error)
{
    tools->device = "metal-cuda";
    tools->mode = "cuda";
    tools->family = family;
    tw_status status = find_folder(tools, error);
    if (status == TW_OK) status = find_cache(tools, error);
    if (status == TW_OK) tools->key = hash_folder(UINT64_C(0xcbf29ce484222325), tools->tools, 0);
    return status;
}

tw_status tw_metal_read_family(const char *device, const char *text, int *family, tw_error *error)
{
    char *end = NULL;
    const bool named = text && strncmp(text, "apple", 5) == 0 && text[5] >= '1' && text[5] <= '9';
    const long number = named ? strtol(text + 5, &end, 10) : TW_METAL_FAMILY_DEFAULT;
    if (text && (!named || *end || number < TW_METAL_FAMILY_FIRST || number > TW_METAL_FAMILY_LAST))
        return tw_fail(error, TW_INVALID, "%s: family \"%s\": expected apple%d to apple%d", device, text,
                       TW_METAL_FAMILY_FIRST, TW_METAL_FAMILY_LAST);
    *family = (int)number;
    return TW_OK;
}

/* ---- building and opening ---- */

enum { WORDS = 1024 };

/* Reads to the end; keeps the beginning. */
static void read_words(int from, char said[WORDS])
{
    char rest[WORDS];
    size_t used = 0;
    for (;;) {
        const bool full = used == WORDS - 1;
        const ssize_t got = read(from, full ? rest : said + used, full ? sizeof rest : WORDS - 1 - used);
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) break;
        if (!full) used += (size_t)got;
    }
    said[used] = 0;
}

/* Starts the tool and hears what it says, through a pipe: where a disk is full there is still room for why. Its exit
 * status, or -1. */
static int run_tool(char *const *arguments, char said[WORDS])
{
    posix_spawn_file_actions_t actions;
    pid_t child;
    int ends[2], status = -1;
    *said = 0;
    if (pipe2(ends, O_CLOEXEC) != 0) return -1;
    if (posix_spawn_file_actions_init(&actions) != 0) {
        close(ends[0]);
        close(ends[1]);
        return -1;
    }
    const bool ready = posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0) == 0 &&
                       posix_spawn_file_actions_adddup2(&actions, ends[1], 1) == 0 &&
                       posix_spawn_file_actions_adddup2(&actions, ends[1], 2) == 0;
    const bool started = ready && posix_spawn(&child, arguments[0], &actions, NULL, arguments, environ) == 0;
    close(ends[1]);
    if (started) {
        read_words(ends[0], said);
        while (waitpid(child, &status, 0) < 0 && errno == EINTR) continue;
    }
    close(ends[0]);
    posix_spawn_file_actions_destroy(&actions);
    return status < 0 || !WIFEXITED(status) ? -1 : WEXITSTATUS(status);
}

static tw_status build(const tw_msl_tools *tools, const char *source, const char *output, tw_error *error)
{
    char program[PATH_MAX], family[16], input[PATH_MAX], said[WORDS];
    write_path(program, "%s/build", tools->tools);
    snprintf(family, sizeof family, "apple%d", tools->family);
    write_path(input, "%s/ops/%s.metal", tools->sources, source);
    char *arguments[] = {program, (char *)tools->mode, "--family", family, "-I", (char *)tools->sources, input,
                         "-o",    (char *)output,      NULL};
    if (run_tool(arguments, said) == 0) return TW_OK;
    return tw_fail(error, TW_FAILED, "%s: %s.metal could not be compiled: %.700s", tools->device, source,
                   *said ? said : "tools/metal/build did not run");
}

static tw_status load(const tw_msl_tools *tools, const char *path, tw_msl_library *library, tw_error *error)
{
    msl_describe_function *describe = NULL;
    library->handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!library->handle) return tw_fail(error, TW_FAILED, "%s: %s", tools->device, dlerror());
    void *symbols[] = {dlsym(library->handle, "msl_describe"), dlsym(library->handle, "msl_launch")};
    memcpy(&describe, &symbols[0], sizeof describe);
    memcpy(&library->launch, &symbols[1], sizeof library->launch);
    library->image = dlsym(library->handle, "msl_image");
    library->table = describe && (library->launch || library->image) ? describe() : NULL;
    if (!library->table || library->table->abi_version != MSL_ABI_VERSION)
        return tw_fail(error, TW_FAILED, "%s: %s: not a library of this version", tools->device, path);
    return TW_OK;
}

static void unload(tw_msl_library *library)
{
    if (library->handle) dlclose(library->handle);
    library->handle = NULL;
}

tw_status tw_msl_open(const tw_msl_tools *tools, const char *source, tw_msl_library **out, tw_error *error)
{
    char path[PATH_MAX];
    uint64_t key = hash_text(hash_text(tools->key, tools->mode), source);
    key = hash_bytes(key, &tools->family, sizeof tools->family);
    write_path(path, "%s/ops/%s.metal", tools->sources, source);
    if (!hash_source(tools->sources, path, 0, &key))
        return tw_fail(error, TW_FAILED, "%s: %s, or a file that it includes, cannot be read", tools->device, path);
    const char *name = strrchr(source, '/');
    write_path(path, "%s/%.*s-%s-%s-%016llx.so", tools->cache, (int)(name ? name - source : 0), source,
               name ? name + 1 : source, tools->mode, (unsigned long long)key);
    tw_msl_library *library = calloc(1, sizeof *library);
    if (library) library->source = tw_strdup(source);
    tw_status status = TW_OK;
    if (!library || !library->source)
        status = tw_no_memory(error, sizeof *library, "a Metal library");
    else if (access(path, R_OK) != 0 || load(tools, path, library, error) != TW_OK) { /* not there, or damaged */
        unload(library);
        status = build(tools, source, path, error);
        if (status == TW_OK) status = load(tools, path, library, error);
    }
    if (status == TW_OK)
        *out = library;
    else
        tw_msl_close(library);
    return status;
}

void tw_msl_close(tw_msl_library *library)
{
    if (!library) return;
    unload(library);
    free(library->source);
    free(library);
}

const msl_kernel *tw_msl_kernel(const tw_msl_library *library, const char *name)
{
    for (uint32_t i = 0; i < library->table->kernel_count; i++)
        if (strcmp(library->table->kernels[i].name, name) == 0) return &library->table->kernels[i];
    return NULL;
}
