/* operator_run OPERATOR:PROBLEM OUTPUT.npy INPUT.npy...: the reference design of one problem, from files to a file, so
 * that another program can judge it. Inputs are those that the operator has, in its order, absent ones left out.
 *
 *   operator_run pool:mb1ic3ih8kh2sh2 y.npy x.npy */
#include "core/status.h"
#include "design_run.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool same_shape(const tw_shape *a, const tw_shape *b)
{
    return a->rank == b->rank && memcmp(a->dims, b->dims, (size_t)a->rank * sizeof *a->dims) == 0;
}

static tw_status read_input(const char *path, const tw_shape *shape, tw_tensor *tensor, tw_error *error)
{
    tw_status status = tw_npy_read(path, 0, tensor, error);
    if (status != TW_OK) return status;
    if (tensor->dtype != TW_F32 || !same_shape(&tensor->shape, shape))
        return tw_fail(error, TW_INVALID, "%s: not float32 or not of the problem's shape", path);
    return TW_OK;
}

static tw_status run_problem(const design_run *run, char **paths, int path_count, tw_error *error)
{
    tw_tensor inputs[TW_MAX_OPERANDS] = {0}, output = {0};
    const void *data[TW_MAX_OPERANDS] = {0};
    int operands = run->op->operands(run->params), used = 1;
    tw_status status = TW_OK;
    for (int i = 0; i < operands && status == TW_OK; i++) {
        tw_shape shape;
        run->op->operand_shape(run->params, i, &shape);
        if (shape.rank < 0) continue;
        if (used == path_count)
            status = tw_fail(error, TW_INVALID, "%s: too few inputs", run->op->name);
        else
            status = read_input(paths[used++], &shape, &inputs[i], error);
        data[i] = inputs[i].data;
    }
    if (status == TW_OK && used < path_count) status = tw_fail(error, TW_INVALID, "%s: too many inputs", run->op->name);
    tw_shape shape;
    run->op->operand_shape(run->params, operands, &shape);
    if (status == TW_OK) status = tw_tensor_create(TW_F32, &shape, &output, error);
    if (status == TW_OK) status = design_run_once(run, data, output.data, error);
    if (status == TW_OK) status = tw_npy_write(paths[0], &output, error);
    for (int i = 0; i < operands; i++) tw_tensor_free(&inputs[i]);
    tw_tensor_free(&output);
    return status;
}

static tw_status run_text(const char *text, char **paths, int path_count, tw_error *error)
{
    char name[32];
    size_t length = strcspn(text, ":");
    if (!text[length] || length >= sizeof name)
        return tw_fail(error, TW_INVALID, "\"%s\": expected OPERATOR:PROBLEM", text);
    memcpy(name, text, length);
    name[length] = 0;
    design_run run = {.op = tw_op_find(name), .design = "reference", .in = TW_PLAIN, .out = TW_PLAIN};
    if (!run.op) return tw_fail(error, TW_INVALID, "there is no operator %s", name);
    void *params = calloc(1, run.op->params_size);
    if (!params) return tw_no_memory(error, run.op->params_size, "parameters");
    run.params = params;
    tw_status status = run.op->parse(text + length + 1, params, error);
    if (status == TW_OK) status = tw_device_open("cpu", &(tw_device_desc){.threads = 1}, &run.device, error);
    if (status == TW_OK) status = run_problem(&run, paths, path_count, error);
    if (run.device) tw_device_release(run.device);
    free(params);
    return status;
}

int main(int argc, char **argv)
{
    tw_error error = {0};
    if (argc < 4) {
        fprintf(stderr, "usage: operator_run OPERATOR:PROBLEM OUTPUT.npy INPUT.npy...\n");
        return 2;
    }
    if (run_text(argv[1], argv + 2, argc - 2, &error) == TW_OK) return 0;
    fprintf(stderr, "operator_run: %s\n", error.message);
    return 2;
}
