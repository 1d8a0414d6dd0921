// Refused for what the whole of a function does; clang looks at that only where nothing else is wrong.
#include <metal_stdlib>
using namespace metal;

float not_set(uint i)
{
    float never;
    return never + float(i); // refused: uninitialised variable
}
kernel void flow(device float *out [[buffer(0)]], uint i [[thread_position_in_grid]]) { out[i] = not_set(i); }
