// What simdgroups ask of memory at once: for the build kind 'count', a trace of a few threadgroups.
//
// Lanes run one after the other here; on a GPU they run together. The accesses that one instruction makes in all lanes
// of a simdgroup are put together again by their place in the code and by how often the lane has been there: exact where
// lanes go the same way, close to it where some skip a turn of a loop. Of each place the first 256 turns are kept, and
// stand for the rest. Neighbours within 16 bytes that a thread asks for one after the other are one request, as of a
// vector: clang takes those apart. A request in device memory costs as many lines of 128 bytes as its lanes touch; one in
// threadgroup memory takes as many turns as its busiest bank of 32, four bytes wide, has different words.
#pragma once
#include <algorithm>
#include <stddef.h>
#include <stdint.h>
#include <unordered_map>
#include <vector>

namespace msl {
struct request_sums {
    double requests, cost, bytes; // cost: lines, or turns of the banks
    double busiest;               // device memory: of each threadgroup's requests, those of its busiest simdgroup
};

class request_trace {
  public:
    void begin(uintptr_t base)
    {
        threadgroup_memory = base;
        places.clear();
        on = true;
    }
    bool is_on() const { return on; }
    void go_on(uint32_t thread_index)
    {
        thread = thread_index;
        last = {};
    }

    void add(const void *code, uintptr_t address, size_t bytes, bool in_threadgroup)
    {
        if (in_threadgroup) address += LINE - threadgroup_memory;
        bool goes_on = last.where && last.code != code && last.end == address && address % VECTOR != 0 &&
                       address / VECTOR == (address + bytes - 1) / VECTOR;
        if (!goes_on) {
            last.where = &places[{code, thread / 32, in_threadgroup}];
            last.turn = last.where->turns[thread % 32]++;
        }
        last.code = code;
        last.end = address + bytes;
        place &p = *last.where;
        p.bytes += bytes;
        if (last.turn >= KEPT) return;
        if (p.kept.size() <= last.turn) p.kept.resize(last.turn + 1);
        request &r = p.kept[last.turn];
        if (!goes_on) r.address[thread % 32] = address;
        r.bytes = std::max(r.bytes, (uint32_t)(last.end - r.address[thread % 32]));
    }

    // Adds the threadgroup's to the sums of device and of threadgroup memory.
    void end(request_sums &device, request_sums &threadgroup)
    {
        double by_simdgroup[32] = {};
        for (const auto &[key, p] : places) {
            request_sums &to = key.in_threadgroup ? threadgroup : device;
            double turns = *std::max_element(p.turns, p.turns + 32), cost = 0;
            for (const request &r : p.kept) cost += (double)(key.in_threadgroup ? bank_turns(r) : lines(r));
            to.requests += turns;
            if (!key.in_threadgroup) by_simdgroup[key.simdgroup] += turns;
            to.cost += cost * turns / (double)p.kept.size();
            to.bytes += (double)p.bytes;
        }
        device.busiest += *std::max_element(by_simdgroup, by_simdgroup + 32);
        places.clear();
        on = false;
    }

  private:
    static constexpr uint32_t KEPT = 256, LINE = 128, BANKS = 32, WORD = 4, VECTOR = 16;
    struct request {
        uintptr_t address[32]; // 0: the lane is not there
        uint32_t bytes;
    };
    struct place {
        uint32_t turns[32];
        uint64_t bytes;
        std::vector<request> kept;
    };
    struct key {
        const void *code;
        uint32_t simdgroup;
        bool in_threadgroup;
        bool operator==(const key &o) const
        {
            return code == o.code && simdgroup == o.simdgroup && in_threadgroup == o.in_threadgroup;
        }
    };
    struct hash {
        size_t operator()(const key &k) const { return (size_t)k.code * 64 + k.simdgroup * 2 + k.in_threadgroup; }
    };

    // The different units of so many bytes that a request touches, in order.
    static std::vector<uintptr_t> units(const request &r, uint32_t size)
    {
        std::vector<uintptr_t> found;
        for (uintptr_t address : r.address) {
            if (address == 0) continue;
            for (uintptr_t unit = address / size; unit <= (address + r.bytes - 1) / size; unit++) found.push_back(unit);
        }
        std::sort(found.begin(), found.end());
        found.erase(std::unique(found.begin(), found.end()), found.end());
        return found;
    }
    static size_t lines(const request &r) { return units(r, LINE).size(); }
    static size_t bank_turns(const request &r)
    {
        uint32_t words[BANKS] = {};
        for (uintptr_t word : units(r, WORD)) words[word % BANKS]++;
        return *std::max_element(words, words + BANKS);
    }

    struct step { // the thread's access before this one
        place *where;
        const void *code;
        uintptr_t end;
        uint32_t turn;
    };

    std::unordered_map<key, place, hash> places;
    step last = {};
    uintptr_t threadgroup_memory = 0;
    uint32_t thread = 0;
    bool on = false;
};
} // namespace msl
