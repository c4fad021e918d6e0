#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# Gets the headers that libstrongswan-ppk.so is built against from Debian's strongSwan source package, which is
# the only place where Debian has them. Nothing of the machine's own apt configuration is changed.
#
#   scripts/strongswan-headers.sh [DIRECTORY]      (default: build/strongswan)
#
# DIRECTORY then holds libstrongswan/ and libcharon/ (headers only) and the file VERSION.
set -euo pipefail

say() { echo "strongswan-headers: $*" >&2; }
die() { say "$*"; exit 1; }

out=${1:-build/strongswan}
for tool in apt-get apt-cache apt-config dpkg-source dpkg; do
    command -v "$tool" >/dev/null || die "needs $tool (Debian: apt-get install apt dpkg-dev)"
done

tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
mkdir -p "$tmp/lists/partial" "$tmp/cache/archives/partial" "$tmp/parts"

# Both styles of apt's source lists, turned from deb into deb-src.
parts=/etc/apt/sources.list.d
for file in /etc/apt/sources.list "$parts"/*.list; do
    [ -r "$file" ] || continue
    sed -nE 's/^[[:space:]]*deb([[:space:]])/deb-src\1/p' "$file"
done >"$tmp/parts/src.list"
for file in "$parts"/*.sources; do
    [ -r "$file" ] || continue
    sed -E 's/^Types:.*/Types: deb-src/' "$file" >"$tmp/parts/$(basename "$file")"
done

apt=(-o "Dir::Etc::sourcelist=/dev/null" -o "Dir::Etc::sourceparts=$tmp/parts" -o "Dir::State::lists=$tmp/lists"
     -o "Dir::Cache=$tmp/cache" -o "APT::Sandbox::User=root" -o "Acquire::Retries=2" -o "Acquire::http::Timeout=30")
timeout 300 apt-get -qq "${apt[@]}" update || die "apt-get update of the deb-src entries failed"

# The installed daemon's version first; then whatever the archive has. The package index can be ahead of the pool
# (404): an older security update of the same upstream version has the same headers.
installed=$(dpkg-query -W -f '${source:Version}' libstrongswan 2>/dev/null || true)
mapfile -t known < <(apt-cache "${apt[@]}" showsrc strongswan 2>/dev/null | sed -n 's/^Version: //p' | sort -Vru)
[ "${#known[@]}" -gt 0 ] || die "no source package strongswan in the sources of this machine"
got=
for version in $installed "${known[@]}"; do
    [ "$version" != "$got" ] || continue
    upstream=${version%-*}
    [ -z "$installed" ] || [ "$upstream" = "${installed%-*}" ] || continue
    rm -rf "$tmp/src"
    mkdir "$tmp/src"
    if (cd "$tmp/src" && timeout 300 apt-get -qq "${apt[@]}" source --only-source "strongswan=$version") >"$tmp/log" 2>&1
    then
        got=$version
        break
    fi
    say "strongswan $version cannot be had ($(tail -n1 "$tmp/log")); trying the next one"
done
[ -n "$got" ] || die "no strongSwan source package could be fetched"

tree=$(find "$tmp/src" -maxdepth 1 -mindepth 1 -type d)
[ -f "$tree/src/libcharon/daemon.h" ] || die "the source package has no src/libcharon/daemon.h"
rm -rf "$out.new"
mkdir -p "$out.new"
(cd "$tree/src" && find libstrongswan libcharon -name '*.h' -print0 | tar --null -T - -cf -) | tar -C "$out.new" -xf -
cp "$tree/COPYING" "$out.new/"
echo "$got" >"$out.new/VERSION"
rm -rf "$out"
mv "$out.new" "$out"
say "headers of strongswan $got are in $out"
