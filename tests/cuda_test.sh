#!/usr/bin/env bash
# Every CUDA design against the reference, on the GPU of this machine; skipped where there is none.
set -u
TEST_DEVICE=cuda exec "$1/tests/ops_test"
