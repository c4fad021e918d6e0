#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# Builds the Debian packages, checks them with lintian, and tries them in a throw-away root: an overlay of this system in a mount
# namespace of its own, which nothing leaves. Needs root. About a minute.
#   scripts/packages-test.sh [BUILD]      (default: build-packages; the packages stay there; a build with the prefix /usr is taken as it is)
set -euo pipefail
cd "$(dirname "$0")/.."
[ "$(id -u)" -eq 0 ] || { echo "skipped: needs root" >&2; exit 77; }
. scripts/packages.sh
packages_install lintian file dpkg-dev fakeroot cmake ninja-build opensc p11-kit mandoc strongswan-libcharon systemd

mkdir -p "${1:-build-packages}"
build=$(cd "${1:-build-packages}" && pwd)
rm -f "$build"/*.deb
echo "building the packages ..."
{
    if [ ! -e "$build/CMakeCache.txt" ]; then
        headers=$PWD/build/strongswan
        [ -e "$headers/VERSION" ] || scripts/strongswan-headers.sh "$headers"
        cmake -S . -B "$build" -G Ninja -DCMAKE_BUILD_TYPE=RelWithDebInfo -DCMAKE_INSTALL_PREFIX=/usr -DBUILD_TESTING=OFF \
            -DPPK_STRONGSWAN_INCLUDE="$headers"
    fi
    cmake --build "$build" -j "$(nproc)"
    (cd "$build" && cpack -G DEB)
} >"$build/packages.log" 2>&1 || { cat "$build/packages.log"; exit 1; }
[ "$(ls "$build"/*.deb | wc -l)" -eq 6 ] || { echo "there must be six packages"; exit 1; }

# The maintainer is nobody's address yet; the plugin's settings may hold a PIN; CPack's maintainer scripts call systemctl themselves.
lintian --fail-on error --suppress-tags bogus-mail-host,bogus-mail-host-in-debian-changelog,mail-address-loops-or-bounces,\
initial-upload-closes-no-bugs,non-standard-file-perm,maintainer-script-calls-systemctl "$build"/*.deb

root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
# What is done inside: mounts and processes end with the namespaces.
timeout -k 10 600 unshare --mount --pid --fork --kill-child --propagation private bash -euo pipefail -s "$root" "$build" <<'INSIDE'
root=$1 debs=$2
mount -t tmpfs root "$root"
mkdir "$root"/{upper,work,debs,top}
cp "$debs"/*.deb "$root/debs"
mount -t overlay overlay -o "lowerdir=/,upperdir=$root/upper,workdir=$root/work" "$root/top"
top=$root/top
mkdir -p "$top/debs"
mount --bind "$root/debs" "$top/debs"
mount -t proc proc "$top/proc"
mount --rbind /dev "$top/dev"
mount -t tmpfs run "$top/run" # no systemd to be told
in_root() { chroot "$top" env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8 DEBIAN_FRONTEND=noninteractive "$@"; }
files() { in_root find /etc /usr -xdev \( -path /etc/ppk-pkcs11/\* -o -name '*ppk*' -o -name '*skipd*' \) | sort; }
names='libppk-pkcs11 libppk-pkcs11-dev ppkctl skipd ppk-pkcs11-server strongswan-plugin-ppk'
check() { # WHAT PATTERN COMMAND...
    local what=$1 pattern=$2 out
    shift 2
    out=$("$@" 2>&1) || { printf '%s\n%s: failed\n' "$out" "$what"; exit 1; }
    grep -q -- "$pattern" <<<"$out" || { printf '%s\n%s: no "%s"\n' "$out" "$what" "$pattern"; exit 1; }
    echo "ok: $what"
}

before=$(files)
in_root sh -c 'dpkg --install /debs/*.deb' >/dev/null
check "all packages are configured" '^6$' in_root sh -c "dpkg-query -W -f '\${db:Status-Status}\n' $names | grep -c '^installed'"
lib=/usr/lib/$(dpkg-architecture -q DEB_HOST_MULTIARCH)/pkcs11
in_root install -m 600 /usr/share/doc/libppk-pkcs11/examples/ppk.conf /etc/ppk-pkcs11/ppk.conf
check "ppkctl check" 'ok: keyrings 1' in_root ppkctl check
check "pkcs11-tool lists the slot" 'token label  *: dynamic' in_root pkcs11-tool --module "$lib/ppk-pkcs11.so" -L
check "pkcs11-tool lists the keys" 'sensitive, always sensitive' in_root pkcs11-tool --module "$lib/ppk-pkcs11.so" -O
check "p11-kit list-modules" 'ppk-pkcs11: ' in_root p11-kit list-modules
check "p11-kit lists the token" 'token: dynamic' in_root p11-kit list-modules
in_root sh -c 'umask 077; openssl rand -hex 32 >/etc/ppk-pkcs11/skipd.master
    sed s,/var/lib/skipd,/tmp, /usr/share/doc/skipd/examples/skipd.conf >/etc/ppk-pkcs11/skipd.conf'
check "skipd -t" ': ok$' in_root skipd -t
for page in 1/ppkctl 8/ppkctl 5/ppk.conf 5/skipd.conf 5/strongswan-ppk 7/ppk-pkcs11 8/skipd; do
    check "the manual page ${page#*/}(${page%/*})" '^NAME' in_root sh -c \
        "zcat /usr/share/man/man${page%/*}/${page#*/}.${page%/*}.gz | mandoc -Tutf8 | col -b"
done
check "the system user" '^ppk-pkcs11:' in_root getent passwd ppk-pkcs11
check "the clients' group" '^ppk-clients:' in_root getent group ppk-clients
check "the settings are a configuration file" '/etc/strongswan.d/charon/ppk.conf' in_root dpkg-query -W -f '${Conffiles}' strongswan-plugin-ppk

# As on a host with a running systemd, which would be told this, with units that are enabled.
mkdir -p "$top"/run/systemd/system "$top/stub"
cat >"$top/stub/systemctl" <<'STUB'
#!/bin/sh
echo "$@" >>/stub/told
[ "$1" != disable ] || exec /usr/bin/systemctl "$@"
STUB
chmod +x "$top/stub/systemctl"
with_systemd() { : >"$top/stub/told"; in_root PATH=/stub:/usr/sbin:/usr/bin:/sbin:/bin "$@"; }
in_root systemctl --quiet enable skipd@main.service skipd@other.service ppk-pkcs11-server.socket
with_systemd sh -c 'dpkg --install /debs/skipd_*.deb' >/dev/null
check "an upgrade restarts skipd" 'try-restart skipd@\*.service' cat "$top/stub/told"
with_systemd dpkg --remove skipd ppk-pkcs11-server >/dev/null
check "removal stops skipd" 'stop skipd@\*.service' cat "$top/stub/told"
check "removal stops the token's socket" 'stop ppk-pkcs11-server.socket' cat "$top/stub/told"
links=$(in_root find /etc/systemd -name '*skipd*' -o -name '*ppk*')
[ -z "$links" ] || { echo "left enabled: $links"; exit 1; }
echo "ok: what is removed is not enabled any more"
rmdir "$top/run/systemd/system"

in_root rm /etc/ppk-pkcs11/ppk.conf /etc/ppk-pkcs11/skipd.conf /etc/ppk-pkcs11/skipd.master
in_root dpkg --purge $names >/dev/null
after=$(files)
[ "$before" = "$after" ] || { echo "left behind:"; diff <(echo "$before") <(echo "$after"); exit 1; }
echo "ok: nothing is left behind"
INSIDE
echo "the packages are in $build"
