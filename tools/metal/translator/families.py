"""What Apple's GPU families have, by Apple's Metal feature set tables: simdgroup reductions and matrices came with
Apple7 (A14, M1), permutes with Apple6 (A13); Apple4 (A11) has 16 KiB of threadgroup memory."""
from .tokens import Refused
from .unit import MATRICES

FAMILIES = {f"apple{n}": n for n in range(4, 11)}
REDUCTIONS = ("simd_sum", "simd_product", "simd_max", "simd_min", "simd_and", "simd_or", "simd_xor", "simd_prefix_",
              "quad_sum", "quad_max", "quad_min")
PERMUTES = ("simd_shuffle", "simd_broadcast", "simd_ballot", "simd_all", "simd_any", "simd_vote")


def check_family(unit, family):
    if family not in FAMILIES:
        raise Refused(None, f"no GPU family {family}; there are {', '.join(FAMILIES)}")
    number = FAMILIES[family]
    for kernel in unit.kernels:
        for name in sorted(unit.reaches(kernel)):
            needs = 7 if name in MATRICES or name.startswith(REDUCTIONS) else 6 if name.startswith(PERMUTES) else 0
            if needs > number:
                raise Refused(None, f"kernel {kernel}: {name} needs apple{needs} or newer; the family is {family}")
            if name == "atomic_float" and number < 7:
                raise Refused(None, f"kernel {kernel}: atomic_float needs apple7 or newer; the family is {family}")
