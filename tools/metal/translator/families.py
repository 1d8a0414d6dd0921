"""What Apple's GPU families have, by Apple's Metal feature set tables: simdgroup reductions and matrices came with
Apple7 (A14, M1), permutes with Apple6 (A13); Apple4 (A11) has 16 KiB of threadgroup memory."""
from .unit import MATRICES

FAMILIES = {f"apple{n}": n for n in range(4, 11)}
REDUCTIONS = ("simd_sum", "simd_product", "simd_max", "simd_min", "simd_and", "simd_or", "simd_xor", "simd_prefix_",
              "quad_sum", "quad_max", "quad_min")
PERMUTES = ("simd_shuffle", "simd_broadcast", "simd_ballot", "simd_all", "simd_any", "simd_vote")


def threadgroup_limit(family):
    return 16384 if family == "apple4" else 32768


def check_family(unit, family):
    number = FAMILIES[family]
    for kernel in unit.kernels:
        for name in sorted(unit.reaches(kernel)):
            needs = 7 if name in MATRICES or name.startswith(REDUCTIONS) else 6 if name.startswith(PERMUTES) else 0
            if needs > number:
                unit.refuse(unit.places.get(name),
                            f"GPU family: {name}, in kernel {kernel}, needs apple{needs} or newer, not {family}")
            if name == "atomic_float" and number < 7:
                unit.refuse(unit.places.get(name),
                            f"GPU family: atomic_float, in kernel {kernel}, needs apple7 or newer, not {family}")
