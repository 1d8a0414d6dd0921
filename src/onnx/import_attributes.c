/* Attributes of an ONNX node. A file may leave out an attribute's type only where its value tells it. */
#include "onnx/import.h"

#include <string.h>

#define KIND(name) ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__##name

const Onnx__AttributeProto *tw_onnx_attribute(const tw_onnx_node *n, const char *name)
{
    for (size_t i = 0; i < n->proto->n_attribute; i++)
        if (n->proto->attribute[i]->name && strcmp(n->proto->attribute[i]->name, name) == 0)
            return n->proto->attribute[i];
    return NULL;
}

/* The attribute, of this type; null where it is absent or wrong. */
static const Onnx__AttributeProto *typed(tw_onnx_node *n, const char *name, Onnx__AttributeProto__AttributeType type)
{
    const Onnx__AttributeProto *a = n->status == TW_OK ? tw_onnx_attribute(n, name) : NULL;
    if (!a) return NULL;
    if (a->ref_attr_name && *a->ref_attr_name) {
        tw_onnx_invalid(n, "attribute %.64s refers to a function's, and this is none", name);
        return NULL;
    }
    if (a->has_type && a->type != KIND(UNDEFINED) && a->type != type) {
        tw_onnx_invalid(n, "attribute %.64s is of type %d, expected %d", name, (int)a->type, (int)type);
        return NULL;
    }
    return a;
}

int64_t tw_onnx_int(tw_onnx_node *n, const char *name, int64_t otherwise)
{
    const Onnx__AttributeProto *a = typed(n, name, KIND(INT));
    return a ? a->i : otherwise;
}

float tw_onnx_float(tw_onnx_node *n, const char *name, float otherwise)
{
    const Onnx__AttributeProto *a = typed(n, name, KIND(FLOAT));
    return a ? a->f : otherwise;
}

bool tw_onnx_string(tw_onnx_node *n, const char *name, const char *otherwise, char text[32])
{
    const Onnx__AttributeProto *a = typed(n, name, KIND(STRING));
    size_t length = a ? a->s.len : strlen(otherwise);
    if (n->status != TW_OK) return false;
    if (length > 31) {
        tw_onnx_invalid(n, "attribute %.64s has %zu characters, expected at most 31", name, length);
        return false;
    }
    memset(text, 0, 32);
    if (length) memcpy(text, a ? (const char *)a->s.data : otherwise, length);
    return true;
}

int tw_onnx_ints(tw_onnx_node *n, const char *name, int64_t *values, int capacity)
{
    const Onnx__AttributeProto *a = typed(n, name, KIND(INTS));
    if (!a) return -1;
    if (a->n_ints > (size_t)capacity) {
        tw_onnx_invalid(n, "attribute %.64s has %zu numbers, expected at most %d", name, a->n_ints, capacity);
        return -1;
    }
    if (a->n_ints) memcpy(values, a->ints, a->n_ints * sizeof *values);
    return (int)a->n_ints;
}

int tw_onnx_axes(tw_onnx_node *n, int last, int index, int64_t axes[TW_MAX_RANK])
{
    if (n->import->opset <= last) return tw_onnx_ints(n, "axes", axes, TW_MAX_RANK);
    return tw_onnx_input(n, index) ? tw_onnx_integers(n, index, axes, TW_MAX_RANK) : -1;
}
