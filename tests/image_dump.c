/* Runs the image functions on one file and writes raw results, for tests/oracle_images.py:
 *
 *   image_dump read FILE                         "WIDTH HEIGHT\n", then uint8 [height][width][3]
 *   image_dump resize FILE WIDTH HEIGHT FILTER   the same
 *   image_dump input FILE CHANNELS RESIZE CROP FILTER PAD MEAN0 STD0 [MEAN1 STD1 MEAN2 STD2]
 *                                                float32 [channels][crop + 2 pad][crop + 2 pad]
 *
 * FILTER is bilinear or bicubic. Errors go to stderr, with status 2. */
#include "tilewise.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static tw_interpolation filter_named(const char *name)
{
    return strcmp(name, "bicubic") == 0 ? TW_BICUBIC : TW_BILINEAR;
}

static void write_image(const tw_image *image)
{
    printf("%d %d\n", image->width, image->height);
    fwrite(image->rgb, 3, (size_t)image->width * (size_t)image->height, stdout);
}

static tw_status dump_resized(const tw_image *image, char **args, tw_error *error)
{
    tw_image resized;
    tw_status status = tw_image_resize(image, atoi(args[0]), atoi(args[1]), filter_named(args[2]), &resized, error);
    if (status != TW_OK) return status;
    write_image(&resized);
    tw_image_free(&resized);
    return TW_OK;
}

static tw_status dump_input(const tw_image *image, char **args, tw_error *error)
{
    tw_preprocess how = {.channels = atoi(args[0]),
                         .resize = atoi(args[1]),
                         .crop = atoi(args[2]),
                         .interpolation = filter_named(args[3]),
                         .pad = atoi(args[4])};
    for (int c = 0; c < how.channels; c++) {
        how.mean[c] = strtof(args[5 + 2 * c], NULL);
        how.std[c] = strtof(args[6 + 2 * c], NULL);
    }
    size_t side = (size_t)how.crop + 2 * (size_t)how.pad, count = (size_t)how.channels * side * side;
    float *out = malloc(count * sizeof *out);
    if (!out) return TW_OUT_OF_MEMORY;
    tw_status status = tw_image_preprocess(image, &how, out, error);
    if (status == TW_OK) fwrite(out, sizeof *out, count, stdout);
    free(out);
    return status;
}

int main(int argc, char **argv)
{
    const char *verb = argc > 2 ? argv[1] : "";
    bool resize = strcmp(verb, "resize") == 0 && argc == 6;
    bool input = strcmp(verb, "input") == 0 && argc >= 8 && argc == 8 + 2 * atoi(argv[3]);
    if (!resize && !input && !(strcmp(verb, "read") == 0 && argc == 3)) {
        fprintf(stderr, "image_dump: wrong arguments\n");
        return 2;
    }
    tw_error error = {0};
    tw_image image;
    tw_status status = tw_image_read(argv[2], 0, &image, &error);
    if (status == TW_OK) {
        if (resize)
            status = dump_resized(&image, argv + 3, &error);
        else if (input)
            status = dump_input(&image, argv + 3, &error);
        else
            write_image(&image);
        tw_image_free(&image);
    }
    if (status == TW_OK) return 0;
    fprintf(stderr, "%s\n", error.message);
    return 2;
}
