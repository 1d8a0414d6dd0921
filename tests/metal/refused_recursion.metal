// Recursion, direct and by way of another function, beside calls that only look like it by their names.
#include <metal_stdlib>
using namespace metal;

int factorial(int n) { return n < 2 ? 1 : n * factorial(n - 1); } // refused: recursion
int odd(int n);
int even(int n) { return n == 0 ? 1 : odd(n - 1); } // refused: recursion
int odd(int n) { return n == 0 ? 0 : even(n - 1); } // refused: recursion

float sum(float x) { return x; }
float sum(float2 v) { return sum(v.x) + sum(v.y); }
float sum(float4 v) { return sum(v.xy) + sum(v.zw); }
template <int N> float power(float x) { return x * power<N - 1>(x); }
template <> float power<0>(float) { return 1.0f; }

kernel void calls(device float *out [[buffer(0)]], uint i [[thread_position_in_grid]])
{
    out[i] = sum(float4(1.0f, 2.0f, 3.0f, 4.0f)) + power<4>(2.0f) + float(factorial(int(i)) + even(int(i)));
}
