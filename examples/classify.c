/* Classifies a photograph with EfficientNet-Lite0: the whole way through the public interface.
 *
 *   cc classify.c -o classify $(pkg-config --cflags --libs tilewise) -lm
 *   ./classify efficientnet_lite0.pth photo.jpg */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <tilewise.h>

static tw_error error;

static void must(tw_status status)
{
    if (status == TW_OK) return;
    fprintf(stderr, "classify: %s\n", error.message);
    exit(1);
}

static void print_top(const float *logits, int classes, int count)
{
    double sum = 0, last = INFINITY;
    for (int i = 0; i < classes; i++) sum += exp(logits[i]);
    for (int best = 0; count > 0; count--, last = logits[best], best = 0) {
        for (int i = 0; i < classes; i++)
            if (logits[i] < last && (logits[best] >= last || logits[i] > logits[best])) best = i;
        printf("class %3d  %5.2f %%\n", best, 100 * exp(logits[best]) / sum);
    }
}

int main(int argc, char **argv)
{
    if (argc != 3) return fprintf(stderr, "usage: classify WEIGHTS PHOTO\n"), 2;

    tw_weights *weights; /* what the network is: layers, and their numbers from a file */
    tw_graph *graph;
    must(tw_weights_open(argv[1], &weights, &error));
    must(tw_zoo_create("efficientnet_lite0", NULL, &graph, &error));
    must(tw_graph_bind(graph, weights, &error));

    tw_device *device; /* how this machine does it */
    tw_plan *plan;
    tw_run *run;
    must(tw_device_open("cpu", NULL, &device, &error));
    must(tw_plan_create(graph, device, NULL, &plan, &error));
    must(tw_run_create(plan, &run, &error));

    tw_image photo;
    tw_preprocess how;
    float in[3 * 224 * 224], out[1000];
    must(tw_image_read(argv[2], 0, &photo, &error));
    must(tw_zoo_preprocess("efficientnet_lite0", NULL, &how, &error));
    must(tw_image_preprocess(&photo, &how, in, &error));
    must(tw_run_execute(run, &(tw_tensor){TW_F32, {4, {1, 3, 224, 224}}, in}, &(tw_tensor){TW_F32, {2, {1, 1000}}, out},
                        &error));
    print_top(out, 1000, 5);

    tw_image_free(&photo), tw_run_release(run), tw_plan_release(plan), tw_device_release(device);
    tw_graph_release(graph), tw_weights_release(weights);
}
