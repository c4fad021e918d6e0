#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# fuzz.sh SECONDS [TARGET…]: runs each fuzz target (or those named) for so long, under ASan and UBSan, starting from its corpus in
# tests/fuzz/corpus. What crashes is left in build-fuzz/crashes.
set -eu
cd "$(dirname "$0")/.."
seconds=${1:?usage: scripts/fuzz.sh SECONDS [TARGET...]}
shift
[ -e build-fuzz/build.ninja ] || cmake --preset fuzz >/dev/null
targets=("$@")
[ $# -gt 0 ] || mapfile -t targets < <(find tests/fuzz -maxdepth 1 -name 'fuzz_*.c' -printf '%f\n' | sed 's/^fuzz_//; s/\.c$//' | sort)
cmake --build build-fuzz --target "${targets[@]/#/fuzz_}" >/dev/null
mkdir -p build-fuzz/crashes build-fuzz/corpus
for name in "${targets[@]}"; do
    mkdir -p "build-fuzz/corpus/$name"
    if ! PPK_LOG=none "build-fuzz/tests/fuzz_$name" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 -print_final_stats=1 \
        -artifact_prefix=build-fuzz/crashes/ "build-fuzz/corpus/$name" "tests/fuzz/corpus/$name" >build-fuzz/"$name".log 2>&1; then
        tail -n 60 build-fuzz/"$name".log
        exit 1
    fi
    printf '%-20s %s executions\n' "$name" "$(sed -n 's/^stat::number_of_executed_units: *//p' build-fuzz/"$name".log)"
done
