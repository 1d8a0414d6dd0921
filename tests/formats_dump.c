/* Shows tests/oracle_formats.py what the library reads:
 *
 *   formats_dump weights FILE DIR      a line "INDEX DTYPE NAME SIZE..." for each tensor, its bytes in DIR/INDEX
 *   formats_dump npy FILE OUT          reads FILE and writes it to OUT
 *   formats_dump convert FILE OUT      weights of any kind to safetensors
 *
 * Errors go to stderr, with status 2. */
#include "tilewise.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static size_t bytes_of(const tw_tensor *tensor)
{
    size_t count = 0;
    if (tw_shape_count(&tensor->shape, tensor->dtype, &count, NULL) != TW_OK) abort();
    return count * tw_dtype_bytes(tensor->dtype);
}

static void dump_tensor(const char *folder, size_t index, const char *name, const tw_tensor *tensor)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/%zu", folder, index);
    FILE *file = fopen(path, "wb");
    size_t bytes = bytes_of(tensor);
    if (!file || fwrite(tensor->data, 1, bytes, file) != bytes || fclose(file) != 0) abort();
    printf("%zu %s %s", index, tw_dtype_name(tensor->dtype), name);
    for (int i = 0; i < tensor->shape.rank; i++) printf(" %" PRId64, tensor->shape.dims[i]);
    printf("\n");
}

static tw_status dump_weights(const char *path, const char *folder, tw_error *error)
{
    tw_weights *weights;
    tw_status status = tw_weights_open(path, &weights, error);
    if (status != TW_OK) return status;
    for (size_t i = 0; i < tw_weights_count(weights); i++)
        dump_tensor(folder, i, tw_weights_name(weights, i), tw_weights_at(weights, i));
    tw_weights_release(weights);
    return TW_OK;
}

static tw_status copy_npy(const char *path, const char *out, tw_error *error)
{
    tw_tensor tensor;
    tw_status status = tw_npy_read(path, 0, &tensor, error);
    if (status != TW_OK) return status;
    status = tw_npy_write(out, &tensor, error);
    tw_tensor_free(&tensor);
    return status;
}

static tw_status convert(const char *path, const char *out, tw_error *error)
{
    tw_weights *weights;
    tw_status status = tw_weights_open(path, &weights, error);
    if (status != TW_OK) return status;
    size_t count = tw_weights_count(weights);
    const char **names = calloc(count + 1, sizeof *names);
    tw_tensor *tensors = calloc(count + 1, sizeof *tensors);
    if (!names || !tensors) abort();
    for (size_t i = 0; i < count; i++) {
        names[i] = tw_weights_name(weights, i);
        tensors[i] = *tw_weights_at(weights, i);
    }
    status = tw_safetensors_write(out, names, tensors, count, error);
    free(names);
    free(tensors);
    tw_weights_release(weights);
    return status;
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        tw_status (*run)(const char *path, const char *out, tw_error *error);
    } commands[] = {{"weights", dump_weights}, {"npy", copy_npy}, {"convert", convert}};
    for (size_t i = 0; argc == 4 && i < sizeof commands / sizeof *commands; i++) {
        tw_error error = {0};
        if (strcmp(argv[1], commands[i].name) != 0) continue;
        if (commands[i].run(argv[2], argv[3], &error) == TW_OK) return 0;
        fprintf(stderr, "%s\n", error.message);
        return 2;
    }
    fprintf(stderr, "usage: formats_dump weights|npy|convert FILE OUT\n");
    return 2;
}
