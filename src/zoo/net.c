#include "net.h"

#include <stdarg.h>
#include <stdio.h>

void tw_net_enter(tw_net *net, const char *module, ...)
{
    va_list args;
    va_start(args, module);
    vsnprintf(net->module, sizeof net->module, module, args);
    va_end(args);
}

const char *tw_net_name(tw_net *net, const char *layer, ...)
{
    int length = snprintf(net->name, sizeof net->name, "%s", net->module);
    va_list args;
    va_start(args, layer);
    vsnprintf(net->name + length, sizeof net->name - (size_t)length, layer, args);
    va_end(args);
    return net->name;
}
