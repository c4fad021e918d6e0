#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# Runs the README's commands, as they stand there, on two fresh Debian systems with systemd as PID 1: Alice and Bob, in containers
# (systemd-nspawn) on a network of their own, from the packages of scripts/packages-test.sh. Needs root; a few minutes, most of them for
# debootstrap. Not part of test.sh: what it needs (cgroups, namespaces, a Debian mirror) is not everywhere.
#   scripts/first-hour.sh [BUILD]      (default: build-packages)
set -euo pipefail
cd "$(dirname "$0")/.."
[ "$(id -u)" -eq 0 ] || { echo "needs root" >&2; exit 1; }
. scripts/packages.sh
packages_install systemd-container debootstrap util-linux iproute2
debs=${1:-build-packages}
ls "$debs"/skipd_*.deb >/dev/null 2>&1 || { echo "no packages in $debs: run scripts/packages-test.sh first" >&2; exit 1; }

work=$(mktemp -d)
base=$debs/first-hour-root
names=
declare -A container leader
finish() {
    local name pid
    for name in $names; do
        pid="shell_${name}_PID"
        { kill -KILL "${!pid:-}" && wait "${!pid}"; } 2>/dev/null || true
        kill -KILL "${leader[$name]:-}" "${container[$name]}" 2>/dev/null || true
        wait "${container[$name]}" 2>/dev/null || true
    done
    for name in $names; do
        umount -q "$work/$name/root" 2>/dev/null || true
    done
    for name in alice bob; do
        ip netns delete "ppkfh-$name" 2>/dev/null || true
        ip link delete "ppkfh-$name" 2>/dev/null || true
    done
    ip link delete ppkfh0 2>/dev/null || true
    rm -rf --one-file-system "$work"
}
trap finish EXIT

# What the README says: the lines of the block behind <!-- first-hour: NAME -->
readme() {
    awk -v mark="<!-- first-hour: $1 -->" '$0 == mark { on = 1; next } on && /^```/ { if (inside) exit; inside = 1; next } inside' README.md
}

if [ ! -e "$base/complete" ]; then
    mirror=$(apt-get indextargets --format '$(SITE)' | head -1)
    echo "making a fresh system ..."
    rm -rf --one-file-system "$base"
    mkdir -p "$base/root"
    # what apt would fetch for the packages is taken along, so that the containers need no way out
    needs=$(for deb in "$debs"/{libppk-pkcs11_,ppkctl,skipd,ppk-pkcs11-server}*.deb; do dpkg-deb -f "$deb" Depends; done |
        tr ',' '\n' | sed 's/ *(.*//; s/|.*//; s/ //g' | grep -v '^\(libppk-pkcs11\|ppkctl\|skipd\)$' | sort -u | paste -sd,)
    debootstrap --variant=minbase --include="systemd,systemd-sysv,dbus,iproute2,openssl,opensc,p11-kit-modules,$needs" \
        "$(. /etc/os-release && echo "$VERSION_CODENAME")" "$base/root" "$mirror" >"$base/log" 2>&1 || { tail -5 "$base/log"; exit 1; }
    touch "$base/complete"
fi

ip link add ppkfh0 type bridge
ip link set ppkfh0 up
boot() { # NAME ADDRESS
    local name=$1 top=$work/$1/root pid='' i
    mkdir -p "$work/$name"/{upper,work,root}
    mount -t overlay overlay -o "lowerdir=$base/root,upperdir=$work/$name/upper,workdir=$work/$name/work" "$top"
    cp "$debs"/{libppk-pkcs11_,ppkctl,skipd,ppk-pkcs11-server}*.deb "$top/root"
    rm -f "$top/etc/machine-id"
    echo "$name" >"$top/etc/hostname"
    ip link add "ppkfh-$name" type veth peer name "ppkfi-$name"
    ip link set "ppkfh-$name" master ppkfh0 up
    ip netns add "ppkfh-$name"
    ip link set "ppkfi-$name" netns "ppkfh-$name" name host0
    ip -n "ppkfh-$name" address add "$2/24" dev host0
    ip -n "ppkfh-$name" link set host0 up
    ip -n "ppkfh-$name" link set lo up
    systemd-nspawn --quiet --register=no --keep-unit --machine="ppk-$name" -D "$top" --network-namespace-path="/run/netns/ppkfh-$name" --boot \
        --system-call-filter=@memlock --console=read-only </dev/null >"$work/$name/console" 2>&1 &
    container[$name]=$!
    names="$names $name"
    for i in $(seq 100); do
        pid=$(pgrep -P "${container[$name]}" -x systemd || true)
        [ -z "$pid" ] || ! grep -q 'Reached target.*multi-user' "$work/$name/console" || break
        sleep 0.3
    done
    [ -n "$pid" ] || { tail "$work/$name/console"; echo "$name did not boot"; exit 1; }
    leader[$name]=$pid
    echo "ok: $name has booted: $(inside "$name" systemctl is-system-running || true), $(inside "$name" systemctl --version | head -1)"
}
inside() { # NAME COMMAND...
    local name=$1
    shift
    nsenter -t "${leader[$name]}" -m -u -i -n -p -C -r -w env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8 \
        DEBIAN_FRONTEND=noninteractive "$@"
}
# Each host has one shell, as its operator would; a block's output ends with a line of its own.
declare -A to from
shell() {
    local name=$1
    coproc "shell_$name" { inside "$name" bash -c 'cd /root; exec bash -s 2>&1'; }
    local -n pipe="shell_$name"
    exec {from[$name]}<&"${pipe[0]}" {to[$name]}>&"${pipe[1]}"
}
run() { # NAME BLOCK [LINE FOR ITS read]: sets `output`
    local name=$1 block line
    block=$(readme "$2")
    [ -n "$block" ] || { echo "the README has no block $2"; exit 1; }
    [ $# -lt 3 ] || block=${block/read -r link/read -r link <<<\"$3\"}
    [ $# -lt 3 ] || block=${block/read -r id/read -r id <<<\"$3\"}
    printf '%s\nprintf "\\nexit status %%s\\n" $?\n' "$block" >&"${to[$name]}"
    output=
    while IFS= read -r -t 120 line <&"${from[$name]}"; do
        [[ $line != "exit status "* ]] || break
        output+=$line$'\n'
    done
    sed "s/^/    $name| /" <<<"$output"
    [ "$line" = "exit status 0" ] || { echo "$name, block $2: ${line:-no answer}"; inside "$name" journalctl -n 30 --no-pager || true; exit 1; }
}
said() { grep -q -- "$1" <<<"$output" || { echo "missing: $1"; exit 1; }; }
word() { sed -n "s/^$1  *\([^ ]*\).*/\1/p" <<<"$output"; }

boot alice 192.0.2.1
boot bob 192.0.2.2
began=$(date +%s)
for name in alice bob; do
    shell "$name"
    run "$name" both
done
run alice alice
run bob bob "$(sed -n 's/^for Bob: //p' <<<"$output")"
for i in $(seq 50); do
    ! inside alice journalctl -u skipd@main --no-pager | grep -q 'link is up' || break
    sleep 0.2
done
run alice alice-gets
said 'All is well'
hmac=$(word hmac)
run bob bob-gets "$(word 'PPK ID')"
[ -n "$hmac" ] && [ "$hmac" = "$(word hmac)" ] || { echo "the ends do not agree"; exit 1; }
echo "ok: both ends have the same PPK, $(($(date +%s) - began)) seconds after the first command"

for name in alice bob; do
    inside "$name" systemd-analyze security --no-pager skipd@main.service | tail -1
    inside "$name" systemctl show skipd@main -p DynamicUser -p User -p MainPID -p NRestarts | paste -sd' '
done
run alice isolated
client=$(inside alice sh -c 'ls /usr/lib/*/pkcs11/p11-kit-client.so')
output=$(inside alice env P11_KIT_SERVER_ADDRESS=unix:path=/run/ppk-pkcs11/pkcs11.socket pkcs11-tool --module "$client" -L)
said 'token label *: dynamic'
output=$(inside alice env P11_KIT_SERVER_ADDRESS=unix:path=/run/ppk-pkcs11/pkcs11.socket pkcs11-tool --module "$client" --keygen \
    --key-type GENERIC:32 --label bob)
said 'ID:'
echo "ok: the token in a process of its own, under real systemd, gets a PPK"
# what ppkctl's process has counted, and that of the token's user
for i in $(seq 50); do
    output=$(inside alice ppkctl show statistics)
    ! grep -q 'PPKs fetched, new *:2' <<<"$output" || break
    sleep 0.1
done
said 'PPKs fetched, new *:2'
output=$(inside alice sh -c 'stat -c "%U %G %a" /run/ppk-pkcs11/status/ended-*.txt')
said 'ppk-pkcs11 ppk-status 640'
echo "ok: both are counted after they have ended"
inside alice apt-get purge -y libppk-pkcs11 ppkctl skipd ppk-pkcs11-server >/dev/null
! inside alice systemctl is-active -q skipd@main || { echo "skipd runs on"; exit 1; }
echo "ok: removed"
