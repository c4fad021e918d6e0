#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# The main job, end to end, on one machine: two key sources (Alice, Bob), two encryptors with a token each; both ends mix the same
# new PPK into the same IKE keys, and nobody ever sees it. Debian 12; installs what is missing; ends what it started.
set -euo pipefail
cd "$(dirname "$0")"

. scripts/packages.sh
packages_install build-essential cmake ninja-build pkg-config libssl-dev libcurl4-openssl-dev libjansson-dev \
    libp11-kit-dev libsqlite3-dev libpq-dev libevent-dev opensc openssl

build=${BUILD:-build}
mkdir -p "$build"
echo "building in $build ..."
{
    [ -e "$build/CMakeCache.txt" ] || cmake -S . -B "$build" -G Ninja -DBUILD_TESTING="${BUILD_TESTING:-OFF}"
    cmake --build "$build" -j "$(nproc)"
} >"$build/quickstart.log" 2>&1 || { cat "$build/quickstart.log"; echo "the build failed"; exit 1; }
build=$(cd "$build" && pwd)
token=$build/lib/ppk-pkcs11.so
work=$(mktemp -d)
started=
finish() {
    local pid
    for pid in $started; do kill "$pid" 2>/dev/null || true; done
    wait 2>/dev/null || true
    rm -rf "$work"
}
trap finish EXIT
umask 077
random() { openssl rand -hex "$1"; }
title() { printf '\n\033[1m%s\033[0m\n' "$*" | if [ -t 1 ]; then cat; else sed 's/\x1b\[[01]m//g'; fi; }
run() {
    printf '$ %s\n' "$*"
    "$@"
}

# free_port: a TCP port of loopback that nobody listens on now; the kernel picks it
free_port() {
    perl -MIO::Socket::INET -e \
        'print IO::Socket::INET->new(LocalAddr => "127.0.0.1", Listen => 1)->sockport'
}

title "1. Two key sources. Each serves its own encryptor over TLS with a PSK; they share keys over a link with another PSK."
link_psk=$(random 32)
alice_port=$(free_port) bob_port=$(free_port) alice_link=$(free_port) bob_link=$(free_port)
key_source() { # NAME PORT LINK CLIENT-PSK PEER PEER-LINK
    random 32 >"$work/$1.master"
    cat >"$work/$1.conf" <<CONF
system-id $1
listen ipv4 127.0.0.1 port $2
listen peers ipv4 127.0.0.1 port $3
store sqlite $work/$1.db
master-key file $work/$1.master
client encryptor-$1
 tls psk id encryptor-$1 key hex $4
peer $5
 tls psk id link key hex $link_psk
 address ipv4 127.0.0.1 port $6
CONF
    "$build/bin/skipd" -c "$work/$1.conf" 2>"$work/$1.log" &
    started="$started $!"
}
linked() { # NAME: waits until the key source reaches its peer
    for _ in $(seq 100); do
        ! grep -q 'link is up' "$work/$1.log" || return 0
        sleep 0.1
    done
    cat "$work/$1.log"
    echo "the key source $1 did not come up"
    exit 1
}
alice_psk=$(random 48) bob_psk=$(random 48)
key_source Alice "$alice_port" "$alice_link" "$alice_psk" Bob "$bob_link"
key_source Bob "$bob_port" "$bob_link" "$bob_psk" Alice "$alice_link"
linked Alice
linked Bob
sed 's/key hex .*/key hex <removed>/' "$work/Alice.conf"

title "2. Two encryptors. This is what operators of routers know:"
encryptor() { # NAME PORT PSK PEER REMOTE ADDRESS
    cat >"$work/$1.ppk.conf" <<CONF
keyring dynamic
 peer $4
  ppk dynamic ks required
  remote-system-id $5
  pre-shared-key cisco123!cisco123
  address $6 255.255.255.255
ikev2 profile test
 keyring dynamic
 keyring ppk dynamic
 match address $6 255.255.255.255
sks profile ks type remote
 kme server ipv4 127.0.0.1 port $2
 local-system-id $1
 tls psk id encryptor-$1 key hex $3
CONF
    run "$build/bin/ppkctl" check "$work/$1.ppk.conf"
}
encryptor Alice "$alice_port" "$alice_psk" gateway-b Bob 192.0.2.2
encryptor Bob "$bob_port" "$bob_psk" gateway-a Alice 192.0.2.1
run "$build/bin/ppkctl" show keyring --config "$work/Alice.ppk.conf"

title "3. What a PKCS#11 tool sees of Alice's token, before any key was fetched:"
export PPK_CONF=$work/Alice.ppk.conf
run pkcs11-tool --module "$token" -L
run pkcs11-tool --module "$token" -M
run pkcs11-tool --module "$token" -O

title "4. Any PKCS#11 tool is a SKIP client: a new PPK for gateway-b"
run pkcs11-tool --module "$token" --keygen --key-type GENERIC:32 --label gateway-b

title "5. Both ends, as their IKE stacks would. What they have in common from IKE_SA_INIT (g^ir, Ni, Nr, SPIi, SPIr):"
for size in 32 32 32 8 8; do random $size; done >"$work/ike_sa_init"
sed '1s/.*/(g^ir)/' "$work/ike_sa_init"
echo
echo "The initiator takes a new PPK and mixes it into SK_d, SK_pi, SK_pr (shown: an HMAC over a fixed text with each):"
run "$build/examples/ike-mix" "$token" dynamic gateway-b <"$work/ike_sa_init" | tee "$work/initiator"
id=$(sed -n 's/^PPK_ID //p' "$work/initiator")
echo
echo "The responder, who got only the PPK ID over the wire, asks his own key source:"
PPK_CONF=$work/Bob.ppk.conf run "$build/examples/ike-mix" "$token" dynamic gateway-a "$id" <"$work/ike_sa_init" |
    tee "$work/responder"

title "6. Result"
if ! grep -q '^CKA_VALUE refused' "$work/initiator" || ! grep -q '^CKA_VALUE refused' "$work/responder"; then
    echo "a PPK could be read"
    exit 1
fi
if [ "$(grep -c '^SK_' "$work/initiator")" -ne 3 ] ||
    ! diff <(grep '^SK_' "$work/initiator") <(grep '^SK_' "$work/responder"); then
    echo "the ends do not agree"
    exit 1
fi
echo "Both ends have the same SK_d, SK_pi and SK_pr, and no PPK was readable on either."
