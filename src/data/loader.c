/* Batches of preprocessed images, made ahead by worker threads in a ring of slots, one batch a slot.
 *
 * Workers take images (or, where an image is a moment's work, small groups) one after another, whatever batch they
 * belong to: so all threads finish one batch together before the next, and batches come in order. A batch's slot is
 * free again when the caller asks for the next one; then workers go on with the batch that takes its place:
 *
 *     given back | with the caller | ready or being made: `ahead` of them | not begun
 *                  ^ oldest                                  ^ next_image
 *
 * The lock guards the counters only. What a worker writes of a batch the caller sees by the lock under which it counts
 * the images that are left. */
#include "data/dataset.h"
#include "data/prepare.h"
#include "devices/cpu/cpu.h"
#include "formats/image.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define MAX_THREADS 1024
#define GROUP_FLOATS 32768 /* of output a group of stored images */

typedef struct slot {
    float *pixels; /* [batch][channels][side][side] */
    size_t *indices;
    int *labels;
    const char **errors;
    size_t left; /* images that are not done */
    double seconds;
    tw_error failure; /* of the data set, not of one image */
} slot;

typedef struct worker {
    tw_loader *loader;
    tw_preparer *preparer;
    pthread_t thread;
} worker;

struct tw_loader {
    tw_dataset *dataset;
    tw_preprocess preprocess;
    size_t *order; /* null: as they come */
    size_t count, batch, group;
    size_t image_floats;

    slot *slots;
    size_t n_slots;
    worker *workers;
    int n_workers, running;

    pthread_mutex_t lock;
    pthread_cond_t room, done; /* a slot became free; a batch is complete */
    size_t next_image;         /* of `count`: the first that no worker has taken */
    size_t oldest;             /* the batch that the caller has or, before its first, 0 */
    size_t asked;              /* batches asked for */
    atomic_bool stop;
};

static size_t batch_images(const tw_loader *loader, size_t batch)
{
    size_t left = loader->count - batch * loader->batch;
    return left < loader->batch ? left : loader->batch;
}

/* ---- workers ---- */

/* Processor time of this thread: waiting for data is not work. */
static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static tw_status prepare_image(worker *w, size_t index, const uint8_t *stored, float *out, tw_error *error)
{
    tw_dataset *dataset = w->loader->dataset;
    if (dataset->paths) return tw_prepare_file(w->preparer, dataset->paths[index], out, error);
    const tw_dataset_info *info = &dataset->info;
    tw_stored_pixels pixels = {stored, info->channels, info->height, info->width};
    return tw_prepare_pixels(w->preparer, &pixels, out, error);
}

/* Image `position` of the loader's order. False when the data set has failed or the loader stops. */
static bool prepare(worker *w, size_t position, slot *s, tw_error *failure)
{
    tw_loader *loader = w->loader;
    size_t at = position % loader->batch, index = loader->order ? loader->order[position] : position;
    float *out = s->pixels + at * loader->image_floats;
    const uint8_t *stored = NULL;
    tw_error error = {0};
    s->indices[at] = index;
    s->labels[at] = tw_dataset_label(loader->dataset, index);
    if (!loader->dataset->paths && tw_dataset_pixels(loader->dataset, index, &loader->stop, &stored, failure) != TW_OK)
        return false;
    if (atomic_load_explicit(&loader->stop, memory_order_relaxed)) return false;
    if (prepare_image(w, index, stored, out, &error) == TW_OK) return true;
    memset(out, 0, loader->image_floats * sizeof *out);
    s->errors[at] = tw_strdup(error.message);
    if (s->errors[at]) return true;
    tw_no_memory(failure, sizeof error.message, "an error message");
    return false;
}

/* The next images: [*first, returned value), all of one batch; none when the loader stops. Called with the lock. */
static size_t take(tw_loader *loader, size_t *first)
{
    while (!loader->stop && loader->next_image < loader->count &&
           loader->next_image / loader->batch - loader->oldest >= loader->n_slots)
        pthread_cond_wait(&loader->room, &loader->lock);
    *first = loader->next_image;
    if (loader->stop || loader->next_image == loader->count) return *first;
    size_t batch = *first / loader->batch, end = batch * loader->batch + batch_images(loader, batch);
    loader->next_image = end - *first < loader->group ? end : *first + loader->group;
    return loader->next_image;
}

static void *work(void *argument)
{
    worker *w = argument;
    tw_loader *loader = w->loader;
    size_t first, end;
    pthread_mutex_lock(&loader->lock);
    while ((end = take(loader, &first)) > first) {
        pthread_mutex_unlock(&loader->lock);
        slot *s = &loader->slots[first / loader->batch % loader->n_slots];
        tw_error failure = {0};
        double start = now();
        for (size_t i = first; i < end && prepare(w, i, s, &failure);) i++;
        double seconds = now() - start;
        pthread_mutex_lock(&loader->lock);
        if (failure.status != TW_OK) s->failure = failure;
        s->seconds += seconds;
        s->left -= end - first;
        if (s->left == 0) pthread_cond_signal(&loader->done);
    }
    pthread_mutex_unlock(&loader->lock);
    return NULL;
}

/* ---- making and ending ---- */

static tw_status check(const tw_loader_desc *desc, tw_error *error)
{
    if (desc->batch < 0 || desc->ahead < 0 || desc->threads < 0 || desc->threads > MAX_THREADS)
        return tw_fail(error, TW_INVALID,
                       "loader: batch %d, ahead %d, threads %d: expected 0 or more, and at most %d "
                       "threads",
                       desc->batch, desc->ahead, desc->threads, MAX_THREADS);
    return tw_preprocess_check(&desc->preprocess, error);
}

static tw_status set_order(tw_loader *loader, const tw_loader_desc *desc, tw_error *error)
{
    size_t images = loader->dataset->info.images;
    loader->count = desc->order || (desc->count > 0 && desc->count < images) ? desc->count : images;
    if (!desc->order) return TW_OK;
    for (size_t i = 0; i < desc->count; i++)
        if (desc->order[i] >= images)
            return tw_fail(error, TW_INVALID, "loader: image %zu is asked for; the data set has %zu", desc->order[i],
                           images);
    size_t bytes;
    if (!tw_checked_mul(desc->count, sizeof *loader->order, &bytes) || !(loader->order = tw_alloc(bytes)))
        return tw_no_memory(error, desc->count, "the order of images");
    if (bytes) memcpy(loader->order, desc->order, bytes);
    return TW_OK;
}

static void reset_slot(tw_loader *loader, size_t batch)
{
    slot *s = &loader->slots[batch % loader->n_slots];
    for (size_t i = 0; i < loader->batch; i++) {
        free((char *)s->errors[i]);
        s->errors[i] = NULL;
    }
    s->left = batch * loader->batch < loader->count ? batch_images(loader, batch) : 0;
    s->seconds = 0;
    s->failure = (tw_error){0};
}

static tw_status make_slots(tw_loader *loader, tw_error *error)
{
    size_t batch_bytes = 0;
    loader->slots = calloc(loader->n_slots, sizeof *loader->slots);
    bool fits = loader->slots && tw_checked_mul(loader->image_floats * sizeof(float), loader->batch, &batch_bytes);
    for (size_t i = 0; i < loader->n_slots && fits; i++) {
        slot *s = &loader->slots[i];
        s->pixels = tw_alloc_zero(batch_bytes);
        s->indices = calloc(loader->batch, sizeof *s->indices);
        s->labels = calloc(loader->batch, sizeof *s->labels);
        s->errors = calloc(loader->batch, sizeof *s->errors);
        fits = s->pixels && s->indices && s->labels && s->errors;
        if (fits) reset_slot(loader, i);
    }
    if (fits) return TW_OK;
    return tw_no_memory(error, batch_bytes, "a batch of images");
}

static tw_status start_workers(tw_loader *loader, tw_error *error)
{
    loader->workers = calloc((size_t)loader->n_workers, sizeof *loader->workers);
    if (!loader->workers) return tw_no_memory(error, sizeof *loader->workers, "threads");
    for (int i = 0; i < loader->n_workers; i++) {
        worker *w = &loader->workers[i];
        w->loader = loader;
        tw_status status = tw_preparer_create(&loader->preprocess, &w->preparer, error);
        if (status != TW_OK) return status;
        int code = pthread_create(&w->thread, NULL, work, w);
        if (code != 0) return tw_fail(error, TW_FAILED, "loader: no thread: %s", strerror(code));
        loader->running++;
    }
    return TW_OK;
}

static tw_status set_up(tw_loader *loader, const tw_loader_desc *desc, tw_error *error)
{
    tw_status status = set_order(loader, desc, error);
    if (status != TW_OK) return status;
    size_t side = (size_t)desc->preprocess.crop + 2 * (size_t)desc->preprocess.pad;
    loader->image_floats = side * side * (size_t)desc->preprocess.channels;
    loader->batch = desc->batch ? (size_t)desc->batch : 1;
    loader->n_slots = (desc->ahead ? (size_t)desc->ahead : 2) + 1;
    loader->group = loader->dataset->paths ? 1 : GROUP_FLOATS / loader->image_floats + 1;
    size_t threads = desc->threads ? (size_t)desc->threads : (size_t)tw_cpu_available_cores();
    if (threads > loader->count) threads = loader->count;
    loader->n_workers = (int)threads;
    status = make_slots(loader, error);
    if (status == TW_OK && threads > 0) status = start_workers(loader, error);
    return status;
}

tw_status tw_loader_create(tw_dataset *dataset, const tw_loader_desc *desc, tw_loader **loader, tw_error *error)
{
    *loader = NULL;
    tw_status status = check(desc, error);
    if (status != TW_OK) return status;
    tw_loader *made = calloc(1, sizeof *made);
    if (!made) return tw_no_memory(error, sizeof *made, "a loader");
    made->dataset = tw_dataset_share(dataset);
    made->preprocess = desc->preprocess;
    pthread_mutex_init(&made->lock, NULL);
    pthread_cond_init(&made->room, NULL);
    pthread_cond_init(&made->done, NULL);
    status = set_up(made, desc, error);
    if (status == TW_OK)
        *loader = made;
    else
        tw_loader_destroy(made);
    return status;
}

tw_status tw_loader_create_files(const char *const *paths, size_t count, const tw_loader_desc *desc, tw_loader **loader,
                                 tw_error *error)
{
    tw_dataset *files;
    *loader = NULL;
    tw_status status = tw_dataset_of_files(paths, count, &files, error);
    if (status != TW_OK) return status;
    status = tw_loader_create(files, desc, loader, error);
    tw_dataset_release(files); /* the loader keeps it */
    return status;
}

static void stop_workers(tw_loader *loader)
{
    pthread_mutex_lock(&loader->lock);
    atomic_store(&loader->stop, true);
    pthread_cond_broadcast(&loader->room);
    pthread_mutex_unlock(&loader->lock);
    if (loader->dataset->gunzip) tw_gunzip_interrupt(loader->dataset->gunzip);
    for (int i = 0; i < loader->running; i++) pthread_join(loader->workers[i].thread, NULL);
    for (int i = 0; i < loader->n_workers && loader->workers; i++) tw_preparer_destroy(loader->workers[i].preparer);
    free(loader->workers);
}

void tw_loader_destroy(tw_loader *loader)
{
    if (!loader) return;
    stop_workers(loader);
    for (size_t i = 0; i < loader->n_slots && loader->slots; i++) {
        slot *s = &loader->slots[i];
        for (size_t j = 0; j < loader->batch && s->errors; j++) free((char *)s->errors[j]);
        free(s->pixels);
        free(s->indices);
        free(s->labels);
        free(s->errors);
    }
    free(loader->slots);
    free(loader->order);
    pthread_cond_destroy(&loader->done);
    pthread_cond_destroy(&loader->room);
    pthread_mutex_destroy(&loader->lock);
    tw_dataset_release(loader->dataset);
    free(loader);
}

/* ---- the caller's side ---- */

/* Gives the slot of the batch that the caller had to the batch that comes `n_slots` later. Called with the lock. */
static void give_back(tw_loader *loader)
{
    if (loader->asked == loader->oldest) return; /* it has none */
    reset_slot(loader, loader->oldest + loader->n_slots);
    loader->oldest++;
    pthread_cond_broadcast(&loader->room);
}

tw_status tw_loader_next(tw_loader *loader, tw_batch *batch, tw_error *error)
{
    *batch = (tw_batch){0};
    pthread_mutex_lock(&loader->lock);
    give_back(loader);
    if (loader->asked * loader->batch >= loader->count) {
        pthread_mutex_unlock(&loader->lock);
        return TW_OK;
    }
    slot *s = &loader->slots[loader->asked % loader->n_slots];
    while (s->left > 0) pthread_cond_wait(&loader->done, &loader->lock);
    tw_status status = s->failure.status;
    if (status == TW_OK)
        *batch = (tw_batch){.count = (int)batch_images(loader, loader->asked++),
                            .pixels = s->pixels,
                            .indices = s->indices,
                            .labels = s->labels,
                            .errors = s->errors,
                            .decode_seconds = s->seconds};
    else if (error)
        *error = s->failure;
    pthread_mutex_unlock(&loader->lock);
    return status;
}
