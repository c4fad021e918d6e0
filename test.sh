#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# Builds and tests everything, on Debian 12. Installs what is missing (as root, or by sudo).
#   ./test.sh            all: gcc and clang, ASan+UBSan, TSan, format, clang-tidy, cppcheck
#   ./test.sh --quick    the release build and its tests only
# Ends with the summary of ctest. In CI (CI=true) a skipped test is a failure.
set -eu
cd "$(dirname "$0")"

tools='build-essential clang clang-format clang-tidy cppcheck cmake ninja-build pkg-config git'
libraries='libssl-dev libcurl4-openssl-dev libjansson-dev libp11-kit-dev libsqlite3-dev libpq-dev libevent-dev libcmocka-dev'
peers='opensc softhsm2 p11-kit p11-kit-modules gnutls-bin python3 python3-pykcs11 python3-prometheus-client chromium libnss3 libnss3-dev stunnel4 nginx-light openssl curl binutils iproute2 mandoc sqlite3 postgresql-15 systemd spin lintian file fakeroot'
daemons='charon-systemd strongswan-swanctl libcharon-extra-plugins libstrongswan-standard-plugins libstrongswan-extra-plugins
    strongswan-libcharon iputils-ping dpkg-dev python3-cryptography valgrind libnss3-tools libldns3 libunbound8 libcurl3-nss libcap-ng0'
. scripts/packages.sh
packages_install $tools $libraries $peers $daemons

quick=no
[ "${1:-}" != --quick ] || quick=yes
jobs=$(nproc)
log=$(mktemp)
trap 'rm -f "$log"' EXIT

# step TITLE COMMAND…: runs it, quietly unless it fails
step() {
    local title=$1 start=$SECONDS
    shift
    printf '%-60s ' "$title"
    if "$@" >"$log" 2>&1; then
        echo "ok ($((SECONDS - start)) s)"
    else
        echo FAILED
        cat "$log"
        exit 1
    fi
}

# tests DIR ARGUMENT…: ctest, shown; a skipped test counts as failed in CI. Two more at a time than there are processors, since
# many of them wait more than they compute.
tests() {
    local dir=$1
    shift
    ctest --test-dir "$dir" --output-on-failure -j $((jobs + 2)) --no-tests=error "$@" 2>&1 | tee "$log"
    [ "${PIPESTATUS[0]}" -eq 0 ] || exit 1
    if [ "${CI:-}" = true ] && grep -q '\*\*\*Skipped' "$log"; then
        echo "skipped tests are failures in CI"
        exit 1
    fi
}

[ -e build/strongswan/VERSION ] || step "headers of strongSwan" scripts/strongswan-headers.sh

if [ $quick = no ]; then
    step "clang-format" sh -c 'git ls-files "*.c" "*.h" | xargs clang-format --dry-run -Werror'
    step "clang's warnings, clang-tidy" sh -c "cmake --preset clang && git ls-files '*.c' | xargs -P $jobs -n 1 clang-tidy -p build-clang --quiet"
    step "cppcheck" scripts/cppcheck.sh build-clang
    step "configure and build: ASan+UBSan" sh -c "cmake --preset asan-ubsan && cmake --build build-asan-ubsan -j $jobs"
    tests build-asan-ubsan -LE 'native'
    step "configure and build: TSan" sh -c "cmake --preset tsan && cmake --build build-tsan -j $jobs"
    tests build-tsan -L threads
    step "fuzz targets, 5 s each" scripts/fuzz.sh 5
fi
step "configure and build: gcc, release" sh -c "cmake -S . -B build -G Ninja -DBUILD_TESTING=ON && cmake --build build -j $jobs"
tests build
