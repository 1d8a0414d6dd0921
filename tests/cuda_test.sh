#!/usr/bin/env bash
# Every CUDA design against the reference in every precision, on the GPU of this machine; skipped where there is none.
set -u
if [ -n "${TEST_PRECISION:-}" ]; then
    TEST_DEVICE=cuda exec "$1/tests/ops_test"
fi
passed=0 failed=0 skipped=0 status=0
for precision in fp32 tf32 fp16 bf16; do
    output=$(TEST_DEVICE=cuda TEST_PRECISION=$precision "$1/tests/ops_test") || status=1
    sed '$d' <<<"$output" | sed "s/^/$precision: /"
    if [[ ${output##*$'\n'} =~ ^([0-9]+)\ passed,\ ([0-9]+)\ failed,\ ([0-9]+)\ skipped$ ]]; then
        passed=$((passed + BASH_REMATCH[1])) failed=$((failed + BASH_REMATCH[2])) skipped=$((skipped + BASH_REMATCH[3]))
    else
        echo "$precision: ops_test ended without a count"
        failed=$((failed + 1)) status=1
    fi
done
echo "$passed passed, $failed failed, $skipped skipped"
exit $status
