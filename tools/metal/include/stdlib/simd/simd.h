#include <metal_stdlib>
namespace metal {}
namespace simd = metal;
