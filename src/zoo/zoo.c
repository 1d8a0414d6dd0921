/* The zoo's table: what each network is called, who builds it, and how photographs become its input. */
#include "core/status.h"
#include "net.h"

#include <stdio.h>
#include <string.h>

/* How photographs become input, for all sizes of a network. */
typedef struct recipe {
    tw_interpolation interpolation;
    float mean[3], std[3];
    int pad;
} recipe;

static const recipe torchvision = {
    .interpolation = TW_BILINEAR,
    .mean = {0.485f, 0.456f, 0.406f},
    .std = {0.229f, 0.224f, 0.225f},
};
static const recipe tensorflow = {
    .interpolation = TW_BICUBIC,
    .mean = {127.0f / 255, 127.0f / 255, 127.0f / 255},
    .std = {128.0f / 255, 128.0f / 255, 128.0f / 255},
};
static const recipe cifar = {
    .interpolation = TW_BILINEAR,
    .mean = {0.4914f, 0.4822f, 0.4465f},
    .std = {0.2470f, 0.2435f, 0.2616f},
};
static const recipe digits = {.interpolation = TW_BILINEAR, .std = {1, 1, 1}, .pad = 2};

typedef struct network {
    const char *name;
    tw_value (*build)(tw_net *net, tw_value x);
    int variant;
    int channels, size, classes;
    int resize; /* of the shorter side, before the crop at the network's own size */
    const recipe *recipe;
} network;

#define IMAGENET 3, 224, 1000, 256, &torchvision

static const network networks[] = {
    {"lenet5", tw_zoo_lenet5, 0, 1, 32, 10, 28, &digits},
    {"alexnet", tw_zoo_alexnet, 0, IMAGENET},
    {"vgg11", tw_zoo_vgg, 11, IMAGENET},
    {"vgg11_bn", tw_zoo_vgg_bn, 11, IMAGENET},
    {"vgg13", tw_zoo_vgg, 13, IMAGENET},
    {"vgg13_bn", tw_zoo_vgg_bn, 13, IMAGENET},
    {"vgg16", tw_zoo_vgg, 16, IMAGENET},
    {"vgg16_bn", tw_zoo_vgg_bn, 16, IMAGENET},
    {"vgg19", tw_zoo_vgg, 19, IMAGENET},
    {"vgg19_bn", tw_zoo_vgg_bn, 19, IMAGENET},
    {"vgg_cifar", tw_zoo_vgg_cifar, 0, 3, 32, 10, 32, &cifar},
    {"resnet18", tw_zoo_resnet, 18, IMAGENET},
    {"resnet34", tw_zoo_resnet, 34, IMAGENET},
    {"resnet50", tw_zoo_resnet, 50, IMAGENET},
    {"resnet101", tw_zoo_resnet, 101, IMAGENET},
    {"resnet152", tw_zoo_resnet, 152, IMAGENET},
    {"mobilenet_v2", tw_zoo_mobilenet_v2, 0, IMAGENET},
    {"squeezenet1_0", tw_zoo_squeezenet, 10, IMAGENET},
    {"squeezenet1_1", tw_zoo_squeezenet, 11, IMAGENET},
    {"efficientnet_lite0", tw_zoo_efficientnet_lite, 0, 3, 224, 1000, 256, &tensorflow},
    {"efficientnet_lite1", tw_zoo_efficientnet_lite, 1, 3, 240, 1000, 272, &tensorflow},
    {"efficientnet_lite2", tw_zoo_efficientnet_lite, 2, 3, 260, 1000, 292, &tensorflow},
    {"efficientnet_lite3", tw_zoo_efficientnet_lite, 3, 3, 280, 1000, 312, &tensorflow},
    {"efficientnet_lite4", tw_zoo_efficientnet_lite, 4, 3, 300, 1000, 332, &tensorflow},
};
enum { NETWORKS = sizeof networks / sizeof *networks, MAX_SIZE = 65535 };

size_t tw_zoo_count(void)
{
    return NETWORKS;
}

const char *tw_zoo_name(size_t index)
{
    return index < NETWORKS ? networks[index].name : NULL;
}

static tw_status find(const char *name, const network **found, tw_error *error)
{
    const char *wanted = strcmp(name, "squeezenet") == 0 ? "squeezenet1_1" : name;
    for (size_t i = 0; i < NETWORKS; i++)
        if (strcmp(networks[i].name, wanted) == 0) {
            *found = &networks[i];
            return TW_OK;
        }
    char known[512] = "";
    for (size_t i = 0, length = 0; i < NETWORKS && length < sizeof known; i++)
        length += (size_t)snprintf(known + length, sizeof known - length, "%s%s", i ? ", " : "", networks[i].name);
    return tw_fail(error, TW_INVALID, "%s: no such network; there are %s", name, known);
}

/* The network, and the description with its defaults filled in. */
static tw_status resolve(const char *name, const tw_zoo_desc *desc, const network **found, tw_zoo_desc *full,
                         tw_error *error)
{
    tw_status status = find(name, found, error);
    if (status != TW_OK) return status;
    const network *n = *found;
    *full = desc ? *desc : (tw_zoo_desc){0};
    if (full->image_size == 0) full->image_size = n->size;
    if (full->classes == 0) full->classes = n->classes;
    if (full->image_size < 1 || full->image_size > MAX_SIZE)
        return tw_fail(error, TW_INVALID, "%s: image size %d, expected 1 to %d", n->name, full->image_size, MAX_SIZE);
    if (full->image_size <= 2 * n->recipe->pad)
        return tw_fail(error, TW_INVALID, "%s: image size %d is too small for its border of %d zeros on each side",
                       n->name, full->image_size, n->recipe->pad);
    if (full->classes < 1)
        return tw_fail(error, TW_INVALID, "%s: %d classes, expected at least 1", n->name, full->classes);
    return TW_OK;
}

tw_status tw_zoo_create(const char *name, const tw_zoo_desc *desc, tw_graph **graph, tw_error *error)
{
    tw_zoo_desc full;
    *graph = NULL;
    const network *n;
    tw_graph *g;
    tw_status status = resolve(name, desc, &n, &full, error);
    if (status == TW_OK) status = tw_graph_create(n->name, &g, error);
    if (status != TW_OK) return status;

    int size = full.image_size;
    tw_net net = {.graph = g, .classes = full.classes, .variant = n->variant};
    tw_value x = tw_graph_input(g, "input", &(tw_shape){4, {1, n->channels, size, size}});
    tw_graph_output(g, n->build(&net, x));
    status = tw_graph_check(g, error);
    if (status != TW_OK) {
        tw_error_prefix(error, "image size %d", size);
        tw_graph_release(g);
        return status;
    }
    *graph = g;
    return TW_OK;
}

tw_status tw_zoo_preprocess(const char *name, const tw_zoo_desc *desc, tw_preprocess *how, tw_error *error)
{
    tw_zoo_desc full;
    const network *n;
    tw_status status = resolve(name, desc, &n, &full, error);
    if (status != TW_OK) return status;
    const recipe *r = n->recipe;
    int crop = full.image_size - 2 * r->pad, own_crop = n->size - 2 * r->pad;
    *how = (tw_preprocess){
        .channels = n->channels,
        .resize = (2 * crop * n->resize + own_crop) / (2 * own_crop), /* rounded */
        .crop = crop,
        .interpolation = r->interpolation,
        .pad = r->pad,
    };
    memcpy(how->mean, r->mean, sizeof how->mean);
    memcpy(how->std, r->std, sizeof how->std);
    return TW_OK;
}
