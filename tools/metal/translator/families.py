"""What Apple's GPU families have, by Apple's Metal feature set tables: simdgroup reductions and matrices came with
Apple7 (A14, M1), permutes with Apple6 (A13), shuffles that fill with Apple8; all have 32 KiB of threadgroup memory."""
from .unit import MATRICES

FAMILIES = {f"apple{n}": n for n in range(4, 11)}
REDUCTIONS = ("simd_sum", "simd_product", "simd_max", "simd_min", "simd_and", "simd_or", "simd_xor", "simd_prefix_",
              "quad_sum", "quad_max", "quad_min")
PERMUTES = ("simd_shuffle", "simd_broadcast", "simd_ballot", "simd_all", "simd_any", "simd_vote")


THREADGROUP_BYTES = 32768


def first_family(name):
    """The number of the first that has the function; 0: all."""
    if name.startswith("simd_shuffle_and_fill"):
        return 8
    return 7 if name in MATRICES or name.startswith(REDUCTIONS) else 6 if name.startswith(PERMUTES) else 0


def check_family(unit, family):
    number = FAMILIES[family]
    for kernel in unit.kernels:
        for name in sorted(unit.reaches(kernel)):
            needs = first_family(name)
            if needs > number:
                unit.refuse(unit.places.get(name),
                            f"GPU family: {name}, in kernel {kernel}, needs apple{needs} or newer, not {family}")
            if name == "atomic_float" and number < 7:
                unit.refuse(unit.places.get(name),
                            f"GPU family: atomic_float, in kernel {kernel}, needs apple7 or newer, not {family}")
