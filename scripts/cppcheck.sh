#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# cppcheck.sh BUILD: cppcheck over everything that BUILD/compile_commands.json compiles.
set -eu
cd "$(dirname "$0")/.."
exec cppcheck --quiet --error-exitcode=1 --inline-suppr --enable=warning,portability,performance \
    --suppress=missingIncludeSystem --suppress=unknownMacro \
    --project="$1/compile_commands.json" -j "$(nproc)"
