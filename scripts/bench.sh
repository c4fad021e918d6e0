#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# Measures everything that the project has goals for, on a fresh clone, Debian 12; installs what is missing, builds, and ends with
# the table of goals. Options go to ppk-bench (--json FILE, --svg PREFIX, --passes N ...). On a quiet machine, about three minutes.
set -euo pipefail
cd "$(dirname "$0")/.."

. scripts/packages.sh
packages_install build-essential cmake ninja-build pkg-config libssl-dev libcurl4-openssl-dev libjansson-dev \
    libp11-kit-dev libsqlite3-dev libpq-dev libevent-dev openssl python3 libnss3 softhsm2

build=${BUILD:-build}
mkdir -p "$build"
{
    [ -e "$build/CMakeCache.txt" ] || cmake -S . -B "$build" -G Ninja -DBUILD_TESTING=OFF
    cmake --build "$build" -j "$(nproc)" --target ppk-bench
} >"$build/bench.log" 2>&1 || { cat "$build/bench.log"; echo "the build failed"; exit 1; }
exec "$build/bin/ppk-bench" --all "$@"
