/* Runs ONNX models for oracle_onnx.py and onnx_nodes.py, many in one process. A job is a line of the standard input,
 * its fields separated by tabs:
 *
 *   MODEL  DESIGN  FOLDER  INPUT.npy...
 *
 * Inputs may have any shape of as many elements as some number of images has; that number is the batch. Outputs are
 * written as FOLDER/0.npy and so on. With the design "values" every step's result is written too, as FOLDER/v0.npy and
 * so on, and FOLDER/values.txt has a name a line. The answer to a job is one line: "ok", "unavailable MESSAGE" where
 * the design refuses, or "error MESSAGE". */
#include "tilewise.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FIELDS = 32, MOST = FIELDS };

typedef struct job {
    const char *model, *design, *folder;
    char **inputs;
    size_t n_inputs;
} job;

/* Everything that a job holds until its end. */
typedef struct held {
    tw_graph *graph;
    tw_plan *plan;
    tw_run *run;
    tw_tensor in[MOST], out[MOST];
} held;

static size_t count_of(const tw_shape *shape)
{
    size_t count = 0;
    return tw_shape_count(shape, TW_F32, &count, NULL) == TW_OK ? count : 0;
}

static tw_status refuse(tw_error *error, const char *message)
{
    error->status = TW_INVALID;
    snprintf(error->message, sizeof error->message, "%s", message);
    return TW_INVALID;
}

static tw_status read_inputs(const job *j, held *h, int *batch, tw_error *error)
{
    tw_graph_info info;
    tw_graph_describe(h->graph, &info);
    if (info.inputs != j->n_inputs || info.inputs > MOST || info.outputs > MOST)
        return refuse(error, "the job has not as many inputs as the graph");
    *batch = 1;
    for (size_t i = 0; i < j->n_inputs; i++) {
        tw_shape shape;
        tw_status status = tw_npy_read(j->inputs[i], 0, &h->in[i], error);
        if (status == TW_OK) status = tw_graph_shape(h->graph, tw_graph_input_at(h->graph, i), &shape, error);
        if (status != TW_OK) return status;
        size_t image = count_of(&shape), all = count_of(&h->in[i].shape);
        if (!image || !all || all % image) return refuse(error, "an input is no whole number of images");
        *batch = (int)(all / image);
    }
    return TW_OK;
}

static tw_status write_values(const job *j, held *h, tw_error *error)
{
    char path[1024];
    tw_plan_info info;
    snprintf(path, sizeof path, "%s/values.txt", j->folder);
    FILE *names = fopen(path, "w");
    if (!names) return refuse(error, "cannot write values.txt");
    tw_plan_describe(h->plan, &info);
    tw_status status = TW_OK;
    for (size_t i = 0; status == TW_OK && i < info.steps; i++) {
        tw_step_info step;
        tw_tensor value;
        tw_plan_step(h->plan, i, &step);
        if (tw_run_value(h->run, step.output, &value, NULL) != TW_OK) continue;
        snprintf(path, sizeof path, "%s/v%zu.npy", j->folder, i);
        status = tw_npy_write(path, &value, error);
        tw_tensor_free(&value);
        fprintf(names, "v%zu\t%s\n", i, step.output);
    }
    fclose(names);
    return status;
}

static tw_status run_job(tw_device *device, const job *j, held *h, tw_error *error)
{
    bool values = strcmp(j->design, "values") == 0;
    tw_plan_desc desc = {.designs = values ? NULL : j->design, .keep_values = values, .no_fusion = values};
    tw_status status = tw_onnx_read(j->model, NULL, &h->graph, error);
    if (status == TW_OK) status = read_inputs(j, h, &desc.batch, error);
    if (status == TW_OK) status = tw_plan_create(h->graph, device, &desc, &h->plan, error);
    if (status == TW_OK) status = tw_run_create(h->plan, &h->run, error);
    if (status != TW_OK) return status;
    tw_graph_info info;
    tw_graph_describe(h->graph, &info);
    tw_tensor in[MOST];
    for (size_t i = 0; status == TW_OK && i < info.inputs; i++) {
        in[i] = h->in[i];
        status = tw_plan_input_shape(h->plan, i, &in[i].shape, error);
    }
    for (size_t i = 0; status == TW_OK && i < info.outputs; i++) {
        tw_shape shape;
        status = tw_plan_output_shape(h->plan, i, &shape, error);
        if (status == TW_OK) status = tw_tensor_create(TW_F32, &shape, &h->out[i], error);
    }
    if (status == TW_OK) status = tw_run_execute(h->run, in, h->out, error);
    for (size_t i = 0; status == TW_OK && i < info.outputs; i++) {
        char path[1024];
        snprintf(path, sizeof path, "%s/%zu.npy", j->folder, i);
        status = tw_npy_write(path, &h->out[i], error);
    }
    return status == TW_OK && values ? write_values(j, h, error) : status;
}

static void release(held *h)
{
    tw_run_release(h->run);
    tw_plan_release(h->plan);
    tw_graph_release(h->graph);
    for (int i = 0; i < MOST; i++) {
        tw_tensor_free(&h->in[i]);
        tw_tensor_free(&h->out[i]);
    }
}

static void answer(tw_device *device, char *line)
{
    char *fields[FIELDS];
    size_t count = 0;
    line[strcspn(line, "\n")] = 0;
    for (char *at = line; at && count < FIELDS; count++) {
        fields[count] = at;
        at = strchr(at, '\t');
        if (at) *at++ = 0;
    }
    if (count < 3) {
        puts("error a job has at least three fields");
        return;
    }
    job j = {fields[0], fields[1], fields[2], fields + 3, count - 3};
    held h = {0};
    tw_error error = {0};
    tw_status status = run_job(device, &j, &h, &error);
    release(&h);
    if (status == TW_OK)
        puts("ok");
    else
        printf("%s %s\n", status == TW_UNAVAILABLE ? "unavailable" : "error", error.message);
}

int main(void)
{
    tw_error error;
    tw_device *device;
    char *line = NULL;
    size_t size = 0;
    if (tw_device_open("cpu", NULL, &device, &error) != TW_OK) {
        fprintf(stderr, "%s\n", error.message);
        return 1;
    }
    while (getline(&line, &size, stdin) > 0) {
        answer(device, line);
        fflush(stdout);
    }
    free(line);
    tw_device_release(device);
    return 0;
}
