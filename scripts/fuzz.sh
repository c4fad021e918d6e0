#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# fuzz.sh SECONDS [TARGET…]            runs each fuzz target (or those named) for so long, under ASan and UBSan, two at a time
# fuzz.sh --executions N [TARGET…]     the long run: each target N times (100000000 if N is "-"), in several processes, without
#                                      sanitizers but for every hundredth execution and all inputs that the others found; then a
#                                      table of executions and coverage
# fuzz.sh --coverage [TARGET…]         the table only, of what is in the corpora
# fuzz.sh --afl SECONDS [TARGET]       the same inputs under AFL++ (afl-clang-fast, persistent mode); skip_message if none is named
# fuzz.sh --minimize [TARGET…]         makes the corpora in tests/fuzz/corpus from all inputs that were found: the smallest set
#                                      that reaches the same edges
# Each starts from tests/fuzz/corpus and from what was found before (build-fuzz/corpus). What crashes is left in build-fuzz/crashes.
set -eu
cd "$(dirname "$0")/.."
jobs=$(nproc)
export PPK_LOG=none

# What each target tests, for the lines of the table: files under src/ and p11/.
tested() {
    case $1 in
    ppk_conf) echo src/config src/keyring ;;
    skip_message) echo src/skip/messages.c src/skip/dialect_skip.c src/skip/json_blank.c ;;
    etsi014) echo src/skip/messages.c src/skip/dialect_etsi014.c src/skip/json_blank.c ;;
    skip_http) echo src/skip/transport.c src/skip/line.c src/skip/line_told.c src/skip/messages.c src/skip/dialect_skip.c src/skip/dialect_etsi014.c ;;
    skipd_http) echo src/skipd/http.c src/skipd/http_*.c src/skipd/uri.c ;;
    skipd_uri) echo src/skipd/uri.c ;;
    sync_message) echo src/skipd/sync_message.c ;;
    router_import) echo src/ppkctl/router_import.c ;;
    p11_template) echo p11/template.c p11/attribute.c p11/find.c p11/search.c p11/manage.c p11/key.c p11/generate.c ;;
    p11_mechanism) echo p11/derive.c p11/sign.c p11/wrap.c p11/policy.c p11/mechanism.c ;;
    *) echo p11 ;;
    esac
}

# Longer inputs find little more, and take much longer.
length_max() {
    case $1 in
    ppk_conf) echo 256 ;;
    sync_message | skipd_uri) echo 1024 ;;
    skipd_http) echo 2048 ;;
    *) echo 600 ;;
    esac
}

# build PRESET TARGET…
build() {
    local preset=$1
    shift
    [ -e "build-$preset/build.ninja" ] || cmake --preset "$preset" >/dev/null
    cmake --build "build-$preset" --target "${@/#/fuzz_}" >/dev/null
}

# run PRESET TARGET ARGUMENT…: the log is build-fuzz/TARGET.log; prints it if it fails
run() {
    local preset=$1 name=$2 log=build-fuzz/$2.log
    shift 2
    mkdir -p "build-fuzz/corpus/$name" build-fuzz/crashes
    if ! "build-$preset/tests/fuzz_$name" -max_len="$(length_max "$name")" -timeout=10 -rss_limit_mb=2048 -print_final_stats=1 \
        -artifact_prefix="build-fuzz/crashes/$name-" "$@" >"$log" 2>&1; then
        tail -n 60 "$log"
        return 1
    fi
}

stat_of() {
    sed -n "s/^stat::$2: *//p" "build-fuzz/$1.log" | awk '{n += $1} END {print n + 0}'
}

short_run() {
    run fuzz "$2" -max_total_time="$1" "build-fuzz/corpus/$2" "tests/fuzz/corpus/$2" || return 1
    printf '%-16s %11s executions\n' "$2" "$(stat_of "$2" number_of_executed_units)"
}

# smallest TARGET OUT FOLDER…: the smallest set of inputs that reaches the same edges as those in the folders
smallest() {
    local name=$1 out=$2
    shift 2
    mkdir -p "$out"
    "build-fuzz-fast/tests/fuzz_$name" -set_cover_merge=1 -use_counters=0 -max_len="$(length_max "$name")" "$out" "$@" >/dev/null 2>&1
}

# A number of executions in ten parts, each in as many processes as there are processors. What was done is counted after each part,
# so that a run may be ended and another one goes on. Each part begins with few inputs, counts edges and not how often they were
# passed, and has no entropic schedule: what these cost grows with what was found, up to ten times of what an execution takes.
# A part that is ended by hand is not counted, but the next run begins with what it found.
long_run() {
    local total=$1 name=$2 build runs log
    local count=build-fuzz/$name.executions begin=build-fuzz/begin/$name found=build-fuzz/corpus/$name
    mkdir -p "$found" "$begin"
    for _ in {1..10}; do
        for build in fuzz-fast fuzz; do
            [ "$build" = fuzz ] && runs=$((total / 1000)) || runs=$((total * 99 / 1000))
            find "$begin" -type f -exec cp -n -t "$found" {} + # of a part that was ended by hand
            rm -rf "$begin"
            smallest "$name" "$begin" "tests/fuzz/corpus/$name" "$found" || return 1
            run "$build" "$name" -entropic=0 -use_counters=0 -runs=$((runs / jobs)) -jobs="$jobs" -workers="$jobs" "$begin" || return 1
            find "$begin" -type f -exec cp -n -t "$found" {} +
            for log in fuzz-[0-9]*.log; do
                sed -n 's/^stat::number_of_executed_units: *//p' "$log" | tail -n 1 >>"$count.parts"
                rm -f "$log"
            done
        done
        awk '{n += $1} END {print n}' "$count.parts" >"$count"
    done
}

# TARGET  EXECUTIONS  EDGES  LINES: edges as libFuzzer counts them, lines of what is tested as llvm-cov does
table() {
    build fuzz-fast "$@"
    build fuzz-coverage "$@"
    local module=build-fuzz-coverage/lib/ppk-pkcs11.so
    printf '%-16s %12s %8s %8s  %s\n' target executions edges lines 'of'
    for name; do
        mkdir -p "build-fuzz/corpus/$name"
        local edges executions lines profile=build-fuzz/$name.profile
        edges=$("build-fuzz-fast/tests/fuzz_$name" -runs=0 "build-fuzz/corpus/$name" "tests/fuzz/corpus/$name" 2>&1 |
            sed -n 's/.*DONE *cov: \([0-9]*\).*/\1/p')
        LLVM_PROFILE_FILE=$profile-%m.raw "build-fuzz-coverage/tests/fuzz_$name" "build-fuzz/corpus/$name" "tests/fuzz/corpus/$name" >/dev/null
        llvm-profdata merge -o "$profile" "$profile"-*.raw
        rm -f "$profile"-*.raw
        # shellcheck disable=SC2046 # a list of files
        lines=$(llvm-cov report -instr-profile="$profile" "build-fuzz-coverage/tests/fuzz_$name" \
            $([ "${name#p11_}" = "$name" ] || echo -object=$module) $(tested "$name") 2>/dev/null | awk '/^TOTAL/ {print $10}')
        executions=$(cat "build-fuzz/$name.executions" 2>/dev/null || echo -)
        printf '%-16s %12s %8s %8s  %s\n' "$name" "$executions" "$edges" "$lines" "$(tested "$name")"
    done
}

minimize() {
    build fuzz-fast "$@"
    for name; do
        local old
        old=$(mktemp -d)
        mv "tests/fuzz/corpus/$name" "$old/seed"
        mkdir -p "build-fuzz/corpus/$name"
        smallest "$name" "tests/fuzz/corpus/$name" "$old/seed" "build-fuzz/corpus/$name"
        rm -r "$old"
        printf '%-16s %5s inputs\n' "$name" "$(find "tests/fuzz/corpus/$name" -type f | wc -l)"
    done
}

afl() {
    local seconds=$1 name=${2:-skip_message}
    . scripts/packages.sh
    packages_install afl++
    build fuzz-afl "$name"
    mkdir -p build-fuzz/afl
    AFL_AUTORESUME=1 AFL_NO_UI=1 AFL_SKIP_CPUFREQ=1 AFL_I_DONT_CARE_ABOUT_MISSING_CRASHES=1 AFL_NO_AFFINITY=1 \
        afl-fuzz -V "$seconds" -i "tests/fuzz/corpus/$name" -o "build-fuzz/afl/$name" -- "build-fuzz-afl/tests/fuzz_$name" >build-fuzz/afl/"$name".log 2>&1 ||
        { tail -n 30 build-fuzz/afl/"$name".log; return 1; }
    sed -n 's/^\(execs_done\|edges_found\|saved_crashes\|saved_hangs\) *: /\1 /p' "build-fuzz/afl/$name/default/fuzzer_stats"
    ! grep -q '^saved_crashes *: [1-9]' "build-fuzz/afl/$name/default/fuzzer_stats"
}

mode=${1:?usage: scripts/fuzz.sh SECONDS | --executions N | --coverage | --afl SECONDS | --minimize  [TARGET...]}
shift
number=$mode
case $mode in
--executions | --afl)
    number=${1:?a number is missing}
    shift
    ;;
esac
[ "$number" != - ] || number=100000000
targets=("$@")
[ $# -gt 0 ] || mapfile -t targets < <(find tests/fuzz -maxdepth 1 -name 'fuzz_*.c' -printf '%f\n' | sed 's/^fuzz_//; s/\.c$//' | sort)

mkdir -p build-fuzz
case $mode in
--coverage) table "${targets[@]}" ;;
--minimize) minimize "${targets[@]}" ;;
--afl) afl "$number" "$@" ;;
--executions)
    build fuzz "${targets[@]}"
    build fuzz-fast "${targets[@]}"
    for name in "${targets[@]}"; do
        long_run "$number" "$name"
    done
    table "${targets[@]}"
    ;;
*)
    build fuzz "${targets[@]}"
    export -f short_run run length_max stat_of
    printf '%s\n' "${targets[@]}" | xargs -P 2 -I TARGET bash -c "short_run $number TARGET"
    ;;
esac
