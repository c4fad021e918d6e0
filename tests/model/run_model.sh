#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# run_model.sh: has spin search all states of skipd_sync.pml, and then of each variant with a rule left out, in which it has to find a
# fault; and, for some seconds, states with two keys. More: run_model.sh -DFAULTS=1 (commits that fail too: six million states), -DCRASHES=2.
set -eu
model=$(cd "$(dirname "$0")" && pwd)/skipd_sync.pml
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"

# search OPTIMIZATION OPTION…: the checker's report in ./report
search() {
    spin -a "${@:2}" "$model" >translation 2>&1 || { cat translation; exit 1; }
    gcc -w "$1" -DSAFETY -o pan pan.c
    ./pan -m500000 -w23 >report 2>&1
    if grep -qE 'max search depth too small|out of memory' report; then cat report; exit 1; fi
}

search -O2 "$@"
if ! grep -q 'errors: 0' report || ! grep -q 'states, stored' report || grep -q 'not completed' report; then cat report; exit 1; fi
echo "skipd_sync: no error, $(awk '/states, stored/ {print $1}' report) states explored"
variants=$(grep -oE 'BROKEN_[A-Z_]+$' "$model" | sort -u)
[ -n "$variants" ]
for variant in $variants; do
    search -O0 "-D$variant" "$@" # a fault is found soon
    if ! grep -qE 'errors: [1-9]' report; then
        echo "$variant: spin should have found a fault, and has not"
        exit 1
    fi
    echo "$variant: caught"
done

# Two keys have too many states to search them all: some, other ones each time.
spin -a -DKEYS=2 "$model" >translation 2>&1 || { cat translation; exit 1; }
gcc -w -O1 -DSAFETY -DBITSTATE -DRANDOMIZE -o pan pan.c
timeout -s INT 10 ./pan -m1000000 -w30 -RS$RANDOM >report 2>&1 || [ $? -eq 124 ]
if ! grep -q 'errors: 0' report; then cat report; exit 1; fi
echo "two keys: no error in $(awk '/states, stored/ {print $1}' report) of their states"
