// An 8x8 matrix spread over the lanes of a simdgroup, on the CPU and in CUDA: where its elements are, loads and stores.
// Products are the business of cpu.h and warp.h.
#pragma once
#include "msl/types.h"

namespace msl
{
MSL_DEVICE_ONLY uint32_t lane_of_32(); // as lane(), of a simdgroup that must have all its lanes
} // namespace msl

namespace metal
{
// An 8x8 matrix spread over the 32 lanes, two neighbours of a row to a lane, as Apple's GPUs keep it: with lane bits
// edcba, the row is e c b, the first column d a 0.
MSL_FUNCTION uint msl_matrix_row(uint lane)
{
    return (lane >> 4 & 1) << 2 | (lane >> 1 & 3);
}
MSL_FUNCTION uint msl_matrix_column(uint lane)
{
    return (lane >> 3 & 1) << 2 | (lane & 1) << 1;
}
MSL_FUNCTION uint msl_matrix_lane(uint row, uint column)
{
    return (row >> 2) << 4 | (column >> 2) << 3 | (row & 3) << 1 | (column >> 1 & 1);
}

template <class T, int Columns, int Rows> struct simdgroup_matrix {
    static_assert(Columns == 8 && Rows == 8, "simdgroup_matrix is 8x8");
    vec<T, 2> mine;
    simdgroup_matrix() = default;
    explicit MSL_DEVICE_ONLY simdgroup_matrix(T diagonal)
    {
        uint row = msl_matrix_row(::msl::lane_of_32()), column = msl_matrix_column(::msl::lane_of_32());
        mine = vec<T, 2>(row == column ? diagonal : T(0), row == column + 1 ? diagonal : T(0));
    }
    MSL_DEVICE_ONLY vec<T, 2> &thread_elements()
    {
        return mine;
    }
};
typedef simdgroup_matrix<float, 8, 8> simdgroup_float8x8;
typedef simdgroup_matrix<half, 8, 8> simdgroup_half8x8;
typedef simdgroup_matrix<bfloat, 8, 8> simdgroup_bfloat8x8;

template <class T, int C, int R = C> MSL_DEVICE_ONLY simdgroup_matrix<T, C, R> make_filled_simdgroup_matrix(T value)
{
    simdgroup_matrix<T, C, R> m;
    m.mine = vec<T, 2>(value);
    return m;
}
// Loads and stores let no lane wait: order between lanes comes from the barriers around them, as on the GPU.
template <class T, class P>
MSL_DEVICE_ONLY void simdgroup_load(simdgroup_matrix<T, 8, 8> &m, P *from, ulong stride = 8, ulong2 origin = 0,
                                    bool transposed = false)
{
    static_assert(is_same_v<T, remove_cv_t<P>>, "simdgroup_load from memory of another type");
    for (uint k = 0; k < 2; k++) {
        ulong row = msl_matrix_row(::msl::lane_of_32()), column = msl_matrix_column(::msl::lane_of_32()) + k;
        m.mine.at[k] = transposed ? from[(origin.y + column) * stride + origin.x + row]
                                  : from[(origin.y + row) * stride + origin.x + column];
    }
}
template <class T, class P>
MSL_DEVICE_ONLY void simdgroup_store(const simdgroup_matrix<T, 8, 8> &m, P *to, ulong stride = 8, ulong2 origin = 0,
                                     bool transposed = false)
{
    static_assert(is_same_v<T, P>, "simdgroup_store to memory of another type");
    for (uint k = 0; k < 2; k++) {
        ulong row = msl_matrix_row(::msl::lane_of_32()), column = msl_matrix_column(::msl::lane_of_32()) + k;
        (transposed ? to[(origin.y + column) * stride + origin.x + row]
                    : to[(origin.y + row) * stride + origin.x + column]) = m.mine.at[k];
    }
}
} // namespace metal
