#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# How much of p11/ and src/ the tests reach: builds the preset "coverage", runs its tests, and prints lines and branches of each room.
#   scripts/coverage.sh            all tests, from nothing (about fifteen minutes on two processors; as root, as the tests of charon need it)
#   scripts/coverage.sh -R NAME    only these tests (arguments of ctest), added to what is there
#   scripts/coverage.sh --report   no tests: the table of what is there, and build-coverage/coverage.html with each line
# Ends with 1 if a test fails or the total is below the goals: 95 % of the lines, 85 % of the branches.
#
# TORTURE=5, unless it is set: the tests of tests/e2e/torture let five times as many calls fail as they otherwise do.
#
# A branch that gcc makes only for what cannot be taken from outside (gcovr's "throw" and "unreachable" ones) does not count; nothing
# else is left out. What a process that was killed by SIGKILL has done is not seen: its counters are written when it ends.
set -eu
cd "$(dirname "$0")/.."
build=build-coverage
. scripts/packages.sh
packages_install gcovr
lines_goal=95
branches_goal=85
failed=0

gcda_each() {
    find "$build" -name '*.gcda' "$@"
}

# Tests also run the token as somebody else, who must be able to add to the counters, and must not be told on his standard error
# that he cannot. An empty file is as good as none to gcc's code, and is there for everybody.
counters_open() {
    find "$build" -name '*.gcno' -not -path '*/CMakeTmp/*' | while read -r notes; do
        local counters=${notes%.gcno}.gcda
        [ -e "$counters" ] || : >"$counters"
        chmod a+rw "$counters"
    done
}

tests_run() {
    local jobs
    jobs=$(nproc)
    [ -e "$build/build.ninja" ] || cmake --preset coverage
    cmake --build "$build" -j "$jobs"
    [ $# -gt 0 ] || gcda_each -delete
    counters_open
    # The model is not our code; and what is measured is not what is delivered, with its hardening.
    TORTURE=${TORTURE:-5} ctest --test-dir "$build" --output-on-failure -j "$jobs" --no-tests=error -E '^(model_|install_hardening)' "$@"
}

report() {
    gcda_each -empty -delete
    gcovr --root . --object-directory "$build" --filter '(p11|src)/' --exclude-throw-branches --exclude-unreachable-branches \
        --json-summary "$build/coverage.json" "$@" -j "$(nproc)" "$build" 2>"$build/gcovr.log" || { cat "$build/gcovr.log" >&2; return 1; }
    python3 - "$build/coverage.json" "$lines_goal" "$branches_goal" <<'PYTHON'
import collections
import json
import sys

with open(sys.argv[1], encoding='utf-8') as f:
    files = json.load(f)['files']
rooms = collections.defaultdict(collections.Counter)
for one in files:
    parts = one['filename'].split('/')
    for room in (parts[0] if parts[0] == 'p11' else '/'.join(parts[:2]), 'total'):
        for key in ('line_total', 'line_covered', 'branch_total', 'branch_covered'):
            rooms[room][key] += one[key]


def share(room, what):
    return 100.0 * rooms[room][f'{what}_covered'] / max(rooms[room][f'{what}_total'], 1)


print(f'{"":14} {"lines":>14} {"":8} {"branches":>14}')
for room in sorted(rooms, key=lambda name: (name == 'total', name)):
    n = rooms[room]
    print(f'{room:14} {n["line_covered"]:6} / {n["line_total"]:5} {share(room, "line"):6.1f} %'
          f' {n["branch_covered"]:6} / {n["branch_total"]:5} {share(room, "branch"):6.1f} %')
missed = [f'{what} below {goal} %' for what, goal in (('line', float(sys.argv[2])), ('branch', float(sys.argv[3]))) if share('total', what) < goal]
print(', '.join(missed), end='\n' if missed else '')
sys.exit(1 if missed else 0)
PYTHON
}

case ${1:-} in
--report)
    report --html-details "$build/coverage.html"
    ;;
*)
    tests_run "$@" || failed=1
    report || failed=1
    exit $failed
    ;;
esac
