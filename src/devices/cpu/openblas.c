/* Loads OpenBLAS. The library stays loaded: it keeps threads of its own, which must not lose their code. What this
 * file keeps is written once and then only read. */
#include "devices/cpu/openblas.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stddef.h>

static pthread_once_t once = PTHREAD_ONCE_INIT;
static tw_openblas loaded;

static void load(void)
{
    int (*processors)(void);
    void *library = dlopen("libopenblas.so.0", RTLD_NOW | RTLD_LOCAL);
    if (!library) return;
    *(void **)&processors = dlsym(library, "openblas_get_num_procs");
    *(void **)&loaded.set_threads = dlsym(library, "openblas_set_num_threads");
    *(void **)&loaded.sgemv = dlsym(library, "cblas_sgemv");
    if (!processors || !loaded.set_threads || !loaded.sgemv) return;
    loaded.most_threads = processors();
    *(void **)&loaded.sgemm = dlsym(library, "cblas_sgemm");
}

const tw_openblas *tw_openblas_load(const char **reason)
{
    *reason = "libopenblas.so.0 is not on this machine";
    pthread_once(&once, load);
    return loaded.sgemm ? &loaded : NULL;
}
