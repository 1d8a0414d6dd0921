/* tilewise eval: how often a network is right about labelled images, and where it is not.
 *
 * Images are read, decoded and preprocessed by the loader's threads while the network runs. A small network does not
 * fill several threads with one batch, so it runs in lanes: each is a thread with a batch and buffers of its own, and
 * all share one plan. A large one runs in one lane, on all threads of the device. */
#include "bench/evaluate.h"
#include "cli.h"
#include "confusion.h"
#include "core/status.h"
#include "data.h"
#include "progress.h"
#include "session.h"

#include <inttypes.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    SMALL_BATCH = 32,
    LARGE_BATCH = 8,
    FEW_CLASSES = 20,
    MANY_CLASSES = 100,
    LARGEST_CONFUSIONS = 20,
    SHOWN_BAD = 20
};
static const double small_flops = 5e7; /* an image: below, a network runs in lanes */

typedef struct bad_image {
    size_t index;
    char *error;
} bad_image;

typedef struct lane {
    struct evaluation *e;
    tw_run *run;
    tw_tensor input, output;
    size_t *indices;
    int *labels; /* of the batch; -1: a bad image */
    int count;
    pthread_t thread;
} lane;

/* One device's pass over the data. */
typedef struct evaluation {
    const cli_options *options;
    const cli_model *model;
    tw_network network;
    tw_device_info info;
    int batch, lanes;
    bool probabilities; /* the network ends in softmax */
    lane *lane;         /* [lanes] */
    tw_dataset *dataset;
    tw_dataset_info data;
    tw_loader *loader;
    double seconds;
    cli_labels labels;

    pthread_mutex_t loading; /* of the loader */
    pthread_mutex_t scoring; /* of what follows */
    tw_score score;
    bad_image *bad;
    size_t bad_count, bad_capacity, done;
    cli_meter meter;
    tw_status status; /* the first failure of any lane */
    tw_error error;
} evaluation;

/* ---- lanes ---- */

static tw_status open_lane(evaluation *e, lane *l, tw_error *error)
{
    tw_shape in, out;
    l->e = e;
    l->indices = calloc((size_t)e->batch, sizeof *l->indices);
    l->labels = calloc((size_t)e->batch, sizeof *l->labels);
    if (!l->indices || !l->labels) return tw_no_memory(error, (size_t)e->batch * sizeof *l->indices, "a batch");
    tw_status status = tw_run_create(e->network.plan, &l->run, error);
    if (status == TW_OK) status = tw_plan_input_shape(e->network.plan, 0, &in, error);
    if (status == TW_OK) status = tw_plan_output_shape(e->network.plan, 0, &out, error);
    if (status == TW_OK) status = tw_tensor_create(TW_F32, &in, &l->input, error);
    if (status == TW_OK) status = tw_tensor_create(TW_F32, &out, &l->output, error);
    return status;
}

static void close_lane(lane *l)
{
    if (l->run) tw_run_release(l->run);
    tw_tensor_free(&l->input);
    tw_tensor_free(&l->output);
    free(l->indices);
    free(l->labels);
}

static tw_status fail_lane(evaluation *e, tw_status status, const tw_error *error)
{
    pthread_mutex_lock(&e->scoring);
    if (e->status == TW_OK) {
        e->status = status;
        e->error = *error;
    }
    pthread_mutex_unlock(&e->scoring);
    return status;
}

static tw_status keep_bad(evaluation *e, size_t index, const char *reason, tw_error *error)
{
    if (e->bad_count == e->bad_capacity) {
        size_t capacity = e->bad_capacity ? 2 * e->bad_capacity : 16;
        bad_image *grown = realloc(e->bad, capacity * sizeof *grown);
        if (!grown) return tw_no_memory(error, capacity * sizeof *grown, "bad images");
        e->bad = grown;
        e->bad_capacity = capacity;
    }
    char *copy = tw_strdup(reason);
    if (!copy) return tw_no_memory(error, strlen(reason), "a message");
    e->bad[e->bad_count++] = (bad_image){index, copy};
    return TW_OK;
}

static tw_status take_errors(lane *l, const tw_batch *batch, tw_error *error)
{
    tw_status status = TW_OK;
    for (int i = 0; i < batch->count && status == TW_OK; i++) {
        if (!batch->errors[i]) continue;
        l->labels[i] = -1;
        pthread_mutex_lock(&l->e->scoring);
        status = keep_bad(l->e, batch->indices[i], batch->errors[i], error);
        pthread_mutex_unlock(&l->e->scoring);
    }
    return status;
}

/* The loader's batch is valid until the next is asked for, perhaps by another lane: it is copied. */
static tw_status take_batch(lane *l, tw_error *error)
{
    evaluation *e = l->e;
    tw_batch batch;
    size_t image = 0;
    pthread_mutex_lock(&e->loading);
    tw_status status = tw_loader_next(e->loader, &batch, error);
    l->count = status == TW_OK ? batch.count : 0;
    if (l->count > 0) {
        tw_shape_count(&l->input.shape, TW_F32, &image, NULL);
        image /= (size_t)e->batch;
        memcpy(l->input.data, batch.pixels, (size_t)l->count * image * sizeof(float));
        memcpy(l->indices, batch.indices, (size_t)l->count * sizeof *l->indices);
        memcpy(l->labels, batch.labels, (size_t)l->count * sizeof *l->labels);
        status = take_errors(l, &batch, error);
    }
    pthread_mutex_unlock(&e->loading);
    return status;
}

static tw_status score_batch(lane *l, tw_error *error)
{
    evaluation *e = l->e;
    tw_status status = TW_OK;
    pthread_mutex_lock(&e->scoring);
    for (int i = 0; i < l->count && status == TW_OK; i++) {
        const float *outputs = (const float *)l->output.data + (size_t)i * e->model->classes;
        if (l->labels[i] < 0) continue;
        if (!tw_score_add(&e->score, &(tw_answer){l->indices[i], l->labels[i], outputs, e->probabilities}))
            status = keep_bad(e, l->indices[i], "the network's output is not finite", error);
    }
    e->done += (size_t)l->count;
    cli_meter_show(&e->meter, e->done);
    if (status == TW_OK) status = e->status; /* another lane's, which ends this one too */
    pthread_mutex_unlock(&e->scoring);
    return status;
}

static void *run_lane(void *context)
{
    lane *l = context;
    tw_error error = {0};
    for (;;) {
        tw_status status = take_batch(l, &error);
        if (status == TW_OK && l->count == 0) break;
        if (status == TW_OK) status = tw_run_execute(l->run, &l->input, &l->output, &error);
        if (status == TW_OK) status = score_batch(l, &error);
        if (status != TW_OK) {
            fail_lane(l->e, status, &error);
            break;
        }
    }
    return NULL;
}

/* The first lane is the caller's own thread. Where a thread cannot be had the others do its work. */
static tw_status run_lanes(evaluation *e, tw_error *error)
{
    int started = 1;
    while (started < e->lanes && pthread_create(&e->lane[started].thread, NULL, run_lane, &e->lane[started]) == 0)
        started++;
    run_lane(&e->lane[0]);
    for (int i = 1; i < started; i++) pthread_join(e->lane[i].thread, NULL);
    if (e->status != TW_OK) *error = e->error;
    return e->status;
}

/* ---- a device ---- */

/* The network on `device`, in one lane or several. */
static tw_status open_lanes(evaluation *e, tw_device *device, tw_error *error)
{
    const cli_options *options = e->options;
    const cli_setting setting = {device, options->precisions.items[0], e->batch, options->designs.items[0]};
    tw_status status = cli_network_open(options, e->model, &setting, &e->network, error);
    if (status != TW_OK) return status;
    e->probabilities = cli_ends_in_softmax(e->network.plan);
    e->lane = calloc((size_t)e->lanes, sizeof *e->lane);
    if (!e->lane) return tw_no_memory(error, (size_t)e->lanes * sizeof *e->lane, "lanes");
    for (int i = 0; i < e->lanes && status == TW_OK; i++) status = open_lane(e, &e->lane[i], error);
    return status;
}

static tw_status open_device(evaluation *e, const char *name, tw_error *error)
{
    tw_graph_info graph;
    tw_device *device;
    tw_graph_describe(e->model->graph, &graph);
    bool small = graph.flops < small_flops;
    e->batch = cli_given(e->options, CLI_BATCH) ? e->options->batches.items[0] : small ? SMALL_BATCH : LARGE_BATCH;
    tw_status status = cli_device_open(e->options, name, e->options->threads.items[0], &device, error);
    if (status != TW_OK) return status;
    tw_device_describe(device, &e->info);
    e->lanes = small && strcmp(e->info.id, "cpu") == 0 ? e->info.threads : 1;
    if (e->lanes > 1) { /* each on one thread of its own */
        tw_device_release(device);
        status = cli_device_open(e->options, name, 1, &device, error);
        if (status != TW_OK) return status;
    }
    status = open_lanes(e, device, error);
    tw_device_release(device); /* the plan keeps it */
    return status;
}

/* ---- the data ---- */

static tw_status check_data(const evaluation *e, tw_error *error)
{
    const char *path = e->options->data;
    if (e->data.whole && cli_given(e->options, CLI_SPLIT))
        return tw_fail(error, TW_INVALID, "--split: %s tells no training images from test ones", path);
    if (e->data.images == 0 || e->data.classes == 0) return tw_fail(error, TW_INVALID, "%s: no labelled images", path);
    if (e->data.classes > e->model->classes)
        return tw_fail(error, TW_INVALID, "%s: %zu classes, but %s has %zu outputs", path, e->data.classes,
                       e->model->name, e->model->classes);
    return TW_OK;
}

/* A file of --labels may name the network's classes, or only the data's, where those are fewer. */
static tw_status open_labels(evaluation *e, tw_error *error)
{
    size_t classes = e->model->classes;
    tw_error other;
    if (!e->options->labels && e->data.classes == classes && tw_dataset_class_name(e->dataset, 0)) return TW_OK;
    tw_status status = cli_labels_open(e->options, classes, &e->labels, error);
    if (status == TW_OK || !e->options->labels || e->data.classes >= classes) return status;
    if (cli_labels_open(e->options, e->data.classes, &e->labels, &other) != TW_OK) return status;
    return cli_labels_extend(&e->labels, classes, error);
}

static tw_status open_loader(evaluation *e, tw_error *error)
{
    size_t limit = (size_t)e->options->limit, images = e->data.images, *order = NULL;
    /* Pixels that lie in memory are a moment's work: one thread keeps up, and more would only take turns with lanes. */
    bool light = e->lanes > 1 && e->data.height > 0;
    tw_loader_desc desc = {.preprocess = e->model->preprocess,
                           .batch = e->batch,
                           .threads = light ? 1 : e->options->threads.items[0],
                           .ahead = e->lanes + 2};
    if (limit && limit < images) {
        order = calloc(limit, sizeof *order);
        if (!order) return tw_no_memory(error, limit * sizeof *order, "an order of images");
        for (size_t i = 0; i < limit; i++) order[i] = (size_t)((double)i * (double)images / (double)limit);
        desc.order = order;
        desc.count = images = limit;
    }
    cli_meter_start(&e->meter, images);
    tw_status status = tw_loader_create(e->dataset, &desc, &e->loader, error);
    free(order);
    return status;
}

static int by_index(const void *a, const void *b)
{
    const bad_image *x = a, *y = b;
    return (x->index > y->index) - (x->index < y->index);
}

/* Timed from opening the data to the last result. */
static tw_status evaluate(evaluation *e, tw_error *error)
{
    double start = tw_now();
    const tw_dataset_desc desc = {.split = e->options->split};
    tw_status status = tw_dataset_open(e->options->data, &desc, &e->dataset, error);
    if (status != TW_OK) return status;
    tw_dataset_describe(e->dataset, &e->data);
    status = check_data(e, error);
    if (status == TW_OK) status = open_labels(e, error);
    if (status == TW_OK)
        status = tw_score_create(e->data.classes, e->model->classes, (size_t)e->options->worst, &e->score, error);
    if (status == TW_OK) status = open_loader(e, error);
    if (status == TW_OK) status = run_lanes(e, error);
    e->seconds = tw_now() - start;
    cli_progress_end();
    if (e->bad_count) qsort(e->bad, e->bad_count, sizeof *e->bad, by_index);
    return status;
}

static void close_evaluation(evaluation *e)
{
    if (e->loader) tw_loader_destroy(e->loader);
    for (int i = 0; e->lane && i < e->lanes; i++) close_lane(&e->lane[i]);
    free(e->lane);
    tw_network_close(&e->network);
    if (e->dataset) tw_dataset_release(e->dataset);
    for (size_t i = 0; i < e->bad_count; i++) free(e->bad[i].error);
    free(e->bad);
    tw_score_free(&e->score);
    cli_labels_close(&e->labels);
    pthread_mutex_destroy(&e->loading);
    pthread_mutex_destroy(&e->scoring);
}

/* ---- names ---- */

/* --labels first, then the data's own names, then the network's. */
static const char *class_name(const void *context, size_t index)
{
    const evaluation *e = context;
    const char *name = index < e->data.classes && !e->options->labels ? tw_dataset_class_name(e->dataset, index) : NULL;
    return name ? name : e->labels.items[index];
}

/* ---- what was found, as JSON ---- */

static double share(size_t part, size_t whole)
{
    return whole ? (double)part / (double)whole : NAN;
}

static void add_name(cJSON *row, const char *key, const evaluation *e, int class)
{
    tw_row_text(row, key, class < 0 ? NULL : class_name(e, (size_t) class));
}

static cJSON *class_rows(const evaluation *e)
{
    cJSON *rows = cJSON_CreateArray();
    for (size_t i = 0; i < e->score.labels; i++) {
        tw_class_score class = tw_score_class(&e->score, i);
        cJSON *row = cJSON_CreateObject();
        tw_row_number(row, "class", (double)i);
        add_name(row, "label", e, (int)i);
        tw_row_number(row, "images", (double)class.images);
        tw_row_number(row, "correct", (double)class.correct);
        tw_row_number(row, "accuracy", share(class.correct, class.images));
        tw_row_number(row, "mistaken_for", class.mistaken_for < 0 ? NAN : class.mistaken_for);
        add_name(row, "mistaken_for_label", e, class.mistaken_for);
        tw_row_number(row, "mistaken", (double)class.mistaken);
        cJSON_AddItemToArray(rows, row);
    }
    return rows;
}

static cJSON *worst_rows(const evaluation *e)
{
    cJSON *rows = cJSON_CreateArray();
    for (size_t i = 0; i < e->score.worst_count; i++) {
        const tw_mistake *mistake = &e->score.worst[i];
        char name[CLI_PATH_SIZE];
        cJSON *row = cJSON_CreateObject();
        tw_dataset_image_name(e->dataset, mistake->index, name, sizeof name);
        tw_row_text(row, "image", name);
        tw_row_number(row, "class", mistake->label);
        add_name(row, "label", e, mistake->label);
        tw_row_number(row, "predicted", mistake->predicted);
        add_name(row, "predicted_label", e, mistake->predicted);
        tw_row_number(row, "probability", mistake->probability);
        cJSON_AddItemToArray(rows, row);
    }
    return rows;
}

/* At most `limit`. */
static cJSON *bad_rows(const evaluation *e, size_t limit)
{
    cJSON *rows = cJSON_CreateArray();
    for (size_t i = 0; i < e->bad_count && i < limit; i++) {
        char name[CLI_PATH_SIZE];
        cJSON *row = cJSON_CreateObject();
        tw_dataset_image_name(e->dataset, e->bad[i].index, name, sizeof name);
        tw_row_text(row, "image", name);
        tw_row_text(row, "error", e->bad[i].error);
        cJSON_AddItemToArray(rows, row);
    }
    return rows;
}

/* A thousand classes are a million numbers: a row is one piece of text. */
static cJSON *confusion_rows(const tw_score *score)
{
    cJSON *rows = cJSON_CreateArray();
    char *text = malloc(12 * score->classes + 3);
    for (size_t i = 0; text && i < score->labels; i++) {
        char *end = text;
        *end++ = '[';
        for (size_t j = 0; j < score->classes; j++)
            end += sprintf(end, j ? ", %" PRIu32 : "%" PRIu32, score->confusion[i * score->classes + j]);
        strcpy(end, "]");
        cJSON_AddItemToArray(rows, cJSON_CreateRaw(text));
    }
    free(text);
    return rows;
}

static cJSON *summary(const evaluation *e)
{
    tw_row_key key = cli_row_key(&e->info, e->model->name, e->batch, e->options->precisions.items[0]);
    cJSON *row = tw_row_create(&key);
    const tw_score *score = &e->score;
    tw_row_text(row, "data", e->options->data);
    tw_row_text(row, "split", e->options->split == TW_SPLIT_TEST ? "test" : "train");
    tw_row_number(row, "images", (double)score->images);
    tw_row_number(row, "bad", (double)e->bad_count);
    tw_row_number(row, "top1", share(score->top1, score->images));
    tw_row_number(row, "top5", share(score->top5, score->images));
    tw_row_number(row, "images_per_s", (double)(score->images + e->bad_count) / e->seconds);
    tw_row_number(row, "seconds", e->seconds);
    return row;
}

static cJSON *everything(const evaluation *e)
{
    cJSON *row = summary(e);
    if (e->options->format == TW_FORMAT_CSV) return row;
    cJSON_AddItemToObject(row, "per_class", class_rows(e));
    cJSON_AddItemToObject(row, "confusion", confusion_rows(&e->score));
    cJSON_AddItemToObject(row, "worst", worst_rows(e));
    cJSON_AddItemToObject(row, "errors", bad_rows(e, e->bad_count));
    return row;
}

/* ---- what was found, as tables ---- */

static const tw_column summary_columns[] = {
    {"device", "device", TW_COLUMN_TEXT}, {"images", "images", TW_COLUMN_COUNT},
    {"top1", "top-1", TW_COLUMN_NUMBER},  {"top5", "top-5", TW_COLUMN_NUMBER},
    {"bad", "bad", TW_COLUMN_COUNT},      {"threads", "threads", TW_COLUMN_COUNT},
    {"batch", "batch", TW_COLUMN_COUNT},  {"images_per_s", "images/s", TW_COLUMN_NUMBER},
};
static const tw_column class_columns[] = {
    {"class", "class", TW_COLUMN_COUNT},        {"label", "label", TW_COLUMN_TEXT},
    {"images", "images", TW_COLUMN_COUNT},      {"correct", "correct", TW_COLUMN_COUNT},
    {"accuracy", "accuracy", TW_COLUMN_NUMBER}, {"mistaken_for_label", "mostly mistaken for", TW_COLUMN_TEXT},
    {"mistaken", "times", TW_COLUMN_COUNT},
};
static const tw_column pair_columns[] = {
    {"label", "true", TW_COLUMN_TEXT},
    {"predicted_label", "predicted", TW_COLUMN_TEXT},
    {"images", "images", TW_COLUMN_COUNT},
    {"share", "of the class", TW_COLUMN_NUMBER},
};
static const tw_column worst_columns[] = {
    {"image", "image", TW_COLUMN_TEXT},
    {"label", "true", TW_COLUMN_TEXT},
    {"predicted_label", "predicted", TW_COLUMN_TEXT},
    {"probability", "probability", TW_COLUMN_NUMBER},
};
static const tw_column bad_columns[] = {{"image", "image", TW_COLUMN_TEXT}, {"error", "error", TW_COLUMN_TEXT}};

static int least_accurate_first(const void *a, const void *b)
{
    const tw_class_score *x = a, *y = b;
    double p = (double)x->correct * (double)y->images, q = (double)y->correct * (double)x->images;
    return (p > q) - (p < q);
}

/* Of very many classes only the least accurate: rows from class_rows() whose accuracy is not above the limit's. */
static cJSON *shown_classes(const evaluation *e)
{
    cJSON *rows = class_rows(e);
    size_t count = e->score.labels, found = 0;
    tw_class_score *sorted = count > MANY_CLASSES ? calloc(count, sizeof *sorted) : NULL;
    if (!sorted) return rows;
    for (size_t i = 0; i < count; i++) {
        sorted[found] = tw_score_class(&e->score, i);
        found += sorted[found].images > 0;
    }
    qsort(sorted, found, sizeof *sorted, least_accurate_first);
    const tw_class_score last =
        found > LARGEST_CONFUSIONS ? sorted[LARGEST_CONFUSIONS - 1] : (tw_class_score){1, 1, 0, 0};
    int kept = 0;
    for (cJSON *row = rows->child, *next; row; row = next) {
        next = row->next;
        double accuracy = cJSON_GetNumberValue(cJSON_GetObjectItemCaseSensitive(row, "accuracy"));
        if (accuracy <= share(last.correct, last.images) && kept < LARGEST_CONFUSIONS)
            kept++;
        else
            cJSON_Delete(cJSON_DetachItemViaPointer(rows, row));
    }
    free(sorted);
    return rows;
}

typedef struct pair {
    uint32_t images;
    size_t label, predicted;
} pair;

/* Into a list of the largest, in order. */
static void keep_pair(pair *pairs, int *count, pair candidate)
{
    int at = *count;
    while (at > 0 && pairs[at - 1].images < candidate.images) at--;
    if (at == LARGEST_CONFUSIONS) return;
    if (*count < LARGEST_CONFUSIONS) ++*count;
    memmove(&pairs[at + 1], &pairs[at], (size_t)(*count - 1 - at) * sizeof *pairs);
    pairs[at] = candidate;
}

static cJSON *largest_confusions(const evaluation *e)
{
    pair pairs[LARGEST_CONFUSIONS];
    int count = 0;
    const tw_score *score = &e->score;
    for (size_t i = 0; i < score->labels; i++)
        for (size_t j = 0; j < score->classes; j++) {
            uint32_t images = score->confusion[i * score->classes + j];
            if (i != j && images) keep_pair(pairs, &count, (pair){images, i, j});
        }
    cJSON *rows = cJSON_CreateArray();
    for (int i = 0; i < count; i++) {
        cJSON *row = cJSON_CreateObject();
        add_name(row, "label", e, (int)pairs[i].label);
        add_name(row, "predicted_label", e, (int)pairs[i].predicted);
        tw_row_number(row, "images", pairs[i].images);
        tw_row_number(row, "share", share(pairs[i].images, tw_score_class(score, pairs[i].label).images));
        cJSON_AddItemToArray(rows, row);
    }
    return rows;
}

static int print_matrix(const evaluation *e)
{
    const tw_score *score = &e->score;
    char keys[FEW_CLASSES][24];
    tw_column columns[FEW_CLASSES + 2] = {{"class", "true", TW_COLUMN_COUNT}, {"label", "label", TW_COLUMN_TEXT}};
    cJSON *rows = cJSON_CreateArray();
    for (size_t j = 0; j < score->classes; j++) {
        snprintf(keys[j], sizeof keys[j], "%zu", j);
        columns[j + 2] = (tw_column){keys[j], keys[j], TW_COLUMN_COUNT};
    }
    for (size_t i = 0; i < score->labels; i++) {
        cJSON *row = cJSON_CreateObject();
        tw_row_number(row, "class", (double)i);
        add_name(row, "label", e, (int)i);
        for (size_t j = 0; j < score->classes; j++)
            tw_row_number(row, keys[j], score->confusion[i * score->classes + j]);
        cJSON_AddItemToArray(rows, row);
    }
    return cli_print_table(e->options, "confusion matrix: true classes down, predicted classes across",
                           (tw_columns){columns, score->classes + 2}, rows);
}

/* What goes below the summary, for each device. */
static int print_details(const evaluation *e)
{
    const cli_options *options = e->options;
    char title[96];
    snprintf(title, sizeof title, "%s: %s", e->info.id,
             e->score.labels > MANY_CLASSES ? "the least accurate classes" : "classes");
    int code = cli_print_table(options, title, TW_COLUMNS(class_columns), shown_classes(e));
    if (code != EXIT_DONE) return code;
    if (e->score.classes <= FEW_CLASSES)
        code = print_matrix(e);
    else
        code = cli_print_table(options, "largest confusions", TW_COLUMNS(pair_columns), largest_confusions(e));
    if (code == EXIT_DONE) code = cli_print_table(options, "worst mistakes", TW_COLUMNS(worst_columns), worst_rows(e));
    if (e->bad_count > SHOWN_BAD)
        snprintf(title, sizeof title, "bad images: %d of %zu, all with --format json", SHOWN_BAD, e->bad_count);
    else
        snprintf(title, sizeof title, "bad images");
    if (code == EXIT_DONE) code = cli_print_table(options, title, TW_COLUMNS(bad_columns), bad_rows(e, SHOWN_BAD));
    return code;
}

/* ---- the command ---- */

/* A picture that cannot be written takes none of the results with it. */
static int draw(const evaluation *e)
{
    tw_error error;
    char title[160];
    snprintf(title, sizeof title, "%.60s: top-1 %.2f%% of %zu images", e->model->name,
             100 * share(e->score.top1, e->score.images), e->score.images);
    const cli_confusion picture = {.score = &e->score, .title = title, .name = class_name, .context = e};
    return cli_confusion_write(e->options->confusion, &picture, &error) == TW_OK ? EXIT_DONE : cli_fail(&error);
}

static tw_status evaluate_device(evaluation *e, int device, tw_results *results, tw_error *error)
{
    const cli_options *options = e->options;
    tw_status status = open_device(e, options->devices.items[device], error);
    if (status == TW_OK) status = evaluate(e, error);
    if (status != TW_OK) return status;
    tw_results_device(results, &e->info);
    tw_results_add(results, cli_is_text(options) ? summary(e) : everything(e));
    return TW_OK;
}

static tw_status evaluate_all(const cli_options *options, evaluation *all, tw_results *results, tw_error *error)
{
    tw_status status = TW_OK;
    for (int i = 0; i < options->devices.count && status == TW_OK; i++)
        status = evaluate_device(&all[i], i, results, error);
    return status;
}

static int report(const cli_options *options, evaluation *all, tw_results *results)
{
    int code = EXIT_DONE, count = options->devices.count;
    size_t bad = 0;
    for (int i = 0; i < count; i++) bad = all[i].bad_count > bad ? all[i].bad_count : bad;
    if (all[0].data.left_out)
        cli_note("%s: pictures that are neither JPEG nor PNG were left out: %zu", options->data, all[0].data.left_out);
    if (bad) {
        cli_note("%zu of %zu images could not be used", bad, all[0].score.images + all[0].bad_count);
        code = EXIT_BAD_INPUT;
    }
    if (count > 0 && options->confusion) code = cli_worse(code, draw(&all[0]));
    code = cli_results_close(results, code);
    if (!cli_is_text(options) || code == EXIT_BROKEN) return code;
    puts("\nimages/s counts from opening the data to the last result: reading, decoding, preprocessing, network.");
    for (int i = 0; i < count; i++) {
        int printed = print_details(&all[i]);
        if (printed != EXIT_DONE) return printed;
    }
    return code;
}

static int run_model(const cli_options *options, const cli_model *model)
{
    tw_error error;
    tw_results *results = NULL;
    int count = options->devices.count;
    evaluation *all = calloc((size_t)count, sizeof *all);
    if (!all) return cli_fail(&(tw_error){TW_OUT_OF_MEMORY, "out of memory"});
    for (int i = 0; i < count; i++) {
        all[i].options = options;
        all[i].model = model;
        pthread_mutex_init(&all[i].loading, NULL);
        pthread_mutex_init(&all[i].scoring, NULL);
    }
    tw_status status = cli_results_open(options, TW_COLUMNS(summary_columns), &results, &error);
    if (status == TW_OK) status = evaluate_all(options, all, results, &error);
    int code = status == TW_OK ? report(options, all, results) : cli_fail(&error);
    if (status != TW_OK) tw_results_destroy(results);
    for (int i = 0; i < count; i++) close_evaluation(&all[i]);
    free(all);
    return code;
}

static int run(const cli_options *options)
{
    tw_error error;
    cli_model model;
    tw_status status = options->data ? TW_OK : tw_fail(&error, TW_INVALID, "eval: --data DIR is needed");
    if (status == TW_OK && options->confusion) status = cli_confusion_check(options->confusion, &error);
    if (status == TW_OK) status = cli_model_open(options, options->arguments[0], CLI_REAL_WEIGHTS, &model, &error);
    if (status != TW_OK) return cli_fail(&error);
    int code = run_model(options, &model);
    cli_model_close(&model);
    return code;
}

const cli_command cli_eval = {
    .name = "eval",
    .summary = "measure accuracy on labelled images: top-1, top-5, each class, the confusion matrix",
    .usage = "MODEL --data DIR [OPTION...]",
    .text =
        "DIR holds IDX files by MNIST's names (with or without .gz), the binary version of CIFAR-10 or CIFAR-100, or a\n"
        "folder of JPEG and PNG files for each class; class i of the data, its folders sorted by name, is output i.\n"
        "Images become input as in classify: grey is repeated for a network of three channels, colours become luma for\n"
        "one of grey, sizes are the preprocessing's; LeNet-5 gets 28x28 pixels of 0..1 within a frame of zeros.\n"
        "Weights are those of --weights, else of the data folder, as in classify; batches are 32 for small networks, 8\n"
        "for others unless --batch says. images_per_s counts from opening the data to the last result. JSON has\n"
        "everything; CSV has a line for each device. An image that cannot be read is listed, and the exit status is 2.",
    .examples = "  tilewise eval lenet5 --weights lenet5.safetensors --data /usr/share/datasets/fashion-mnist\n"
                "  tilewise eval efficientnet_lite0 --data imagenet/val --limit 1000 --confusion confusion.png\n"
                "  tilewise eval model.onnx --data photos --device cpu,cuda -o json",
    .options = CLI_BIT(CLI_DATA) | CLI_BIT(CLI_SPLIT) | CLI_BIT(CLI_LIMIT) | CLI_BIT(CLI_WORST) |
               CLI_BIT(CLI_CONFUSION) | CLI_BIT(CLI_LABELS) | CLI_BIT(CLI_WEIGHTS) | CLI_BIT(CLI_DEVICE) |
               CLI_BIT(CLI_FAMILY) | CLI_BIT(CLI_DESIGN) | CLI_BIT(CLI_FALLBACK) | CLI_BIT(CLI_NO_TUNE) |
               CLI_BIT(CLI_PRECISION) | CLI_BIT(CLI_THREADS) | CLI_BIT(CLI_BATCH) | CLI_BIT(CLI_IMAGE_SIZE) |
               CLI_PREPROCESSING | CLI_BIT(CLI_FORMAT) | CLI_BIT(CLI_HELP),
    .lists = CLI_BIT(CLI_DEVICE),
    .min_arguments = 1,
    .max_arguments = 1,
    .takes_model = true,
    .run = run,
};
