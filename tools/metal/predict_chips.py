"""What tools/metal/predict knows of each GPU: a table of published figures and, marked as such, of estimates.

A figure without a remark is published; sources are named by letter. [e] is an estimate of ours, and says from what;
[f] is fitted, to figures that predict names wherever it shows a prediction of them.

  a  cores, clocks and peaks of Apple's GPUs as tabulated by philipturner/metal-benchmarks (GitHub) and by hmc-tech.com:
     A13 256 lanes at 1.23 GHz, 630 GFLOP/s in fp32; A15 of five cores 1713; M1 2617;
     M4 1280 lanes at 1.47 GHz; A17 Pro 2147. From M1 and A15 on a core has 128 lanes, before that 64
  b  bandwidths of memory that Apple and its suppliers state: LPDDR4X-4266 on 64 bits 34.1 GB/s (A13, A15), on 128 68.3
     (M1); LPDDR5-6400 on 64 bits 51.2 (A17 Pro); LPDDR5X-7500 on 128 120 (M4)
  c  chipsandcheese.com, "iGPU Cache Setups Compared, Including M1" (2022), measured on M1: L1 8 KiB, L2 1 MiB at 384
     GB/s and 76 ns, system level cache 8 MiB at 134 GB/s and 266 ns, memory 311 ns, threadgroup memory 671 GB/s (64
     bytes a cycle and core) and 43 ns
  d  AnandTech's reviews: system level cache of A13 16 MB, of A15 32 MB
  g  metal-benchmarks: threads that a core holds 768 to 3072, by registers; on-core data 64 bytes a cycle
  h  NVIDIA's H100 whitepaper: 132 multiprocessors, 128 lanes, four schedulers, 2048 threads, 32 blocks, 256 KiB of L1
     and shared memory (227 for blocks), 50 MiB L2
  i  measured by tilewise on one H100 (docs/performance.md): 60.5 TFLOP/s of multiply-adds (1.79 GHz), copies 2,792 GB/s
  j  Luo et al., "Dissecting the NVIDIA Hopper Architecture" (arXiv 2402.13499, 2501.12084): latencies of some 30 cycles
     for shared memory, 40 for L1, 260 for L2, 480 for memory
  l  NVIDIA's Turing whitepaper: 46 multiprocessors of 64 lanes, 10.1 TFLOP/s, 16 load units each, 1024 threads, 96 KiB
     of L1 and shared memory, 4 MiB L2, 448 GB/s
  m  Jia et al., "Dissecting the NVidia Turing T4 GPU via Microbenchmarking" (arXiv 1903.07486): latencies of 19 cycles
     for shared memory, 32 for L1, 188 for L2; L2 at 1,270 GB/s on the T4
  n  NVIDIA's A100 whitepaper: L2 is two partitions, each of which caches what the multiprocessors beside it read. What all
     of them read lies in both, so half of its 50 MiB counts
  k  the study (15-618, 2022), table 2, iPhone 11: 141.74 ms naive, 188.71 tiled, 135.32 tiled without its barriers
"""

KIB, MIB = 1 << 10, 1 << 20

# lanes           multiply-adds in fp32 a cycle and core; kernels in fp16 sum in fp32 too
# issue           instructions of whole simdgroups a cycle and core
# width           bytes a cycle and core between L1 or threadgroup memory and registers
# l1, l2, slc     bytes (l1 of each core); l2_rate, slc_rate, memory_rate in GB/s
# latencies       in ns: l1, l2, memory; group (threadgroup memory); the system level cache counts as memory
# threads, groups that a core holds; group_bytes: threadgroup memory of a core
# barrier_cycles  that a barrier takes each simdgroup of its threadgroup; barrier_ns: how long one waits in it alone
# matrix_cycles   of a core for a simdgroup matrix product of 8 x 8 x 8; None: the family has none
# launch_us       of a kernel within a command buffer or graph; frame_us: a command buffer and waiting for its end
# share           of memory_rate that streaming reaches; overlap: of what bounds less, the part that the largest hides
CHIPS = {
    "A13": {
        "name": "A13 (iPhone 11)", "family": 6, "cores": 4, "ghz": 1.23, "lanes": 64,  # a
        "issue": 2,  # [e] one a 32 lanes
        "width": 64,  # [e] as M1: 64 bytes a cycle (c, g)
        "l1": 8 * KIB, "l2": 512 * KIB, "slc": 16 * MIB,  # d; [e] l1, l2: half of M1's cores, half of its l2
        "l2_rate": 185, "slc_rate": 67, "memory_rate": 34.1,  # b; [e] M1's rates (c) by cores and memory
        "l1_ns": 50, "l2_ns": 80, "memory_ns": 320, "group_ns": 45,  # [e] M1's (c), a slower clock
        "threads": 1024, "groups": 16, "group_bytes": 32 * KIB,  # [e] g
        "barrier_cycles": 31, "barrier_ns": 60,  # [f] k: 53.39 ms for 2^20 barriers of 8 simdgroups on 4 cores; [e]
        "matrix_cycles": None, "launch_us": 6, "frame_us": 250, "share": 0.8, "overlap": 0.3,  # [e]
    },
    "A15": {
        "name": "A15 (iPhone 13 Pro)", "family": 8, "cores": 5, "ghz": 1.338, "lanes": 128,  # a
        "issue": 4, "width": 64,  # [e] as M1
        "l1": 8 * KIB, "l2": 1 * MIB, "slc": 32 * MIB,  # d; [e] as M1
        "l2_rate": 250, "slc_rate": 90, "memory_rate": 34.1,  # b; [e] M1's l2 by cores and clock
        "l1_ns": 40, "l2_ns": 76, "memory_ns": 311, "group_ns": 43,  # [e] M1's (c)
        "threads": 1536, "groups": 24, "group_bytes": 60 * KIB,  # [e] g
        "barrier_cycles": 16, "barrier_ns": 50,  # [e] half of A13's: twice the lanes
        # [e]; a matrix product is 512 multiply-adds on 128 lanes
        "matrix_cycles": 5, "launch_us": 5, "frame_us": 200, "share": 0.8, "overlap": 0.4,
    },
    "A17": {
        "name": "A17 Pro (iPhone 15 Pro)", "family": 9, "cores": 6, "ghz": 1.398, "lanes": 128,  # a
        "issue": 4, "width": 64,  # [e] as M1
        "l1": 32 * KIB, "l2": 1 * MIB, "slc": 24 * MIB,  # [e]
        "l2_rate": 315, "slc_rate": 110, "memory_rate": 51.2,  # b; [e]
        "l1_ns": 40, "l2_ns": 76, "memory_ns": 300, "group_ns": 43,  # [e]
        "threads": 2048, "groups": 24, "group_bytes": 60 * KIB,  # [e] registers are allotted as used from Apple9 on
        "barrier_cycles": 16, "barrier_ns": 50,  # [e]
        "matrix_cycles": 5, "launch_us": 4, "frame_us": 150, "share": 0.8, "overlap": 0.5,  # [e]
    },
    "M1": {
        "name": "M1", "family": 7, "cores": 8, "ghz": 1.278, "lanes": 128,  # a
        "issue": 4, "width": 64,  # c, g: 64 bytes a cycle; issue [e]
        "l1": 8 * KIB, "l2": 1 * MIB, "slc": 8 * MIB,  # c
        "l2_rate": 384, "slc_rate": 134, "memory_rate": 68.3,  # b, c
        "l1_ns": 40, "l2_ns": 76, "memory_ns": 311, "group_ns": 43,  # c; l1 [e]
        "threads": 1536, "groups": 24, "group_bytes": 60 * KIB,  # g: the middle of its range
        "barrier_cycles": 16, "barrier_ns": 50,  # [e]
        "matrix_cycles": 5, "launch_us": 5, "frame_us": 200, "share": 0.8, "overlap": 0.4,  # [e]
    },
    "M4": {
        "name": "M4", "family": 9, "cores": 10, "ghz": 1.47, "lanes": 128,  # a
        "issue": 4, "width": 64,  # [e] as M1
        "l1": 32 * KIB, "l2": 2 * MIB, "slc": 8 * MIB,  # [e]
        "l2_rate": 550, "slc_rate": 200, "memory_rate": 120,  # b; [e]
        "l1_ns": 40, "l2_ns": 76, "memory_ns": 300, "group_ns": 43,  # [e]
        "threads": 2048, "groups": 24, "group_bytes": 60 * KIB,  # [e]
        "barrier_cycles": 16, "barrier_ns": 50,  # [e]
        "matrix_cycles": 5, "launch_us": 4, "frame_us": 150, "share": 0.8, "overlap": 0.5,  # [e]
    },
    "RTX2080": {
        "name": "GeForce RTX 2080 (the study's)", "family": 9, "cores": 46, "ghz": 1.71, "lanes": 64,  # l
        "issue": 4, "width": 64,  # l, m
        "l1": 64 * KIB, "l2": 4 * MIB, "slc": 0,  # l, m
        "l2_rate": 1270, "slc_rate": 0, "memory_rate": 448,  # m; l
        "l1_ns": 19, "l2_ns": 110, "memory_ns": 250, "group_ns": 12,  # m
        "threads": 1024, "groups": 16, "group_bytes": 64 * KIB,  # l
        "barrier_cycles": 2, "barrier_ns": 20,  # [e] as H100
        "matrix_cycles": 26, "launch_us": 2.0, "frame_us": 10, "share": 0.85, "overlap": 0.7,  # [e] as H100
    },
    "H100": {
        "name": "H100 (metal-cuda)", "family": 9, "cores": 132, "ghz": 1.79, "lanes": 128,  # h, i
        "issue": 4, "width": 128,  # h: 128 bytes a cycle
        "l1": 128 * KIB, "l2": 25 * MIB, "slc": 0,  # h, n; l1 [e]: what blocks leave of 256 KiB
        "l2_rate": 5500, "slc_rate": 0, "memory_rate": 2792,  # i; [e] l2, between 7,100 resident and less across halves
        "l1_ns": 23, "l2_ns": 146, "memory_ns": 270, "group_ns": 17,  # j
        "threads": 1024, "groups": 32, "group_bytes": 227 * KIB,  # h; threads [e]: 64 registers each
        "barrier_cycles": 2, "barrier_ns": 20,  # [e]
        "matrix_cycles": 26,  # [e]: metal-cuda makes 24 shuffles of it, one a cycle (h), and 16 multiply-adds a lane
        "launch_us": 1.0, "frame_us": 10, "share": 1.0, "overlap": 0.7,  # i: launches in a graph, a copy's rate; [e]
    },
}
