# SPDX-License-Identifier: BSD-2-Clause
# For test.sh and quickstart.sh: packages_install NAME… installs those Debian packages of the list that are missing, and
# does nothing (needs no root, no network) where all are there.
packages_install() {
    local name missing='' as=''
    for name in "$@"; do
        [ "$(dpkg-query -W -f '${db:Status-Status}' "$name" 2>/dev/null)" = installed ] || missing="$missing $name"
    done
    [ -n "$missing" ] || return 0
    echo "installing:$missing"
    if [ "$(id -u)" -ne 0 ]; then
        as=sudo
        command -v sudo >/dev/null || { echo "not root and no sudo: install these packages first:$missing" >&2; return 1; }
    fi
    $as apt-get -q update >/dev/null || return 1
    # shellcheck disable=SC2086
    $as env DEBIAN_FRONTEND=noninteractive apt-get -q -y --no-install-recommends install $missing >/dev/null
}
