/* Philox4x32-10: a counter-based random generator (Salmon, Moraes, Dror and Shaw 2011, "Parallel random numbers: as
 * easy as 1, 2, 3"). A pure function from 128 bits of counter and 64 of key to 128 random bits: no state, so that any
 * element of any tensor can be computed alone, in any order, on any device. */
#ifndef TW_CORE_PHILOX_H
#define TW_CORE_PHILOX_H

#include <stdint.h>

typedef struct tw_philox {
    uint32_t word[4];
} tw_philox;

/* The counter is low and high, the key is key; the least significant words come first. */
static inline tw_philox tw_philox_at(uint64_t low, uint64_t high, uint64_t key)
{
    uint32_t c0 = (uint32_t)low, c1 = (uint32_t)(low >> 32), c2 = (uint32_t)high, c3 = (uint32_t)(high >> 32);
    uint32_t k0 = (uint32_t)key, k1 = (uint32_t)(key >> 32);
    for (int round = 0; round < 10; round++) {
        uint64_t a = (uint64_t)c0 * 0xd2511f53u, b = (uint64_t)c2 * 0xcd9e8d57u;
        c0 = (uint32_t)(b >> 32) ^ c1 ^ k0;
        c1 = (uint32_t)b;
        c2 = (uint32_t)(a >> 32) ^ c3 ^ k1;
        c3 = (uint32_t)a;
        k0 += 0x9e3779b9u; /* the golden ratio */
        k1 += 0xbb67ae85u; /* sqrt(3) - 1 */
    }
    return (tw_philox){{c0, c1, c2, c3}};
}

#endif
