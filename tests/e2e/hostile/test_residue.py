#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
"""What is left in the process of keys that were fetched, refused or cut off, and of TLS PSKs: the program `residue` scans itself."""
import secrets, subprocess, sys
from testbed import Testbed

# Those that give no key come first, so that the connection of the last good one is open during the scan.
REFUSED = ["non-hex", "odd-hex", "escaped-hex", "cut-json", "cut-length", "cut-chunk", "status-400", "status-500", "error-key", "duplicate-key",
           "other-id", "short-key", "html", "string", "array-key", "trailing"]
GOOD = ["escaped-name", "chunked", "upper", "more-members", "good"]


def run(b, port, how, what, scenarios=(*REFUSED, *GOOD)):
    r = subprocess.run([b.tests + "/residue", str(port), how, "3", *scenarios], cwd=b.dir, capture_output=True, text=True, timeout=120)
    b.check(r.returncode == 0 and "held: %d keys, 0 with another number" % (15 if len(scenarios) > 1 else 3) in r.stdout, "%s:\n%s%s" % (what, r.stdout[-3000:], r.stderr[-2000:]))


def main(build):
    with Testbed(build) as b:
        run(b, b.serve(), "ca=ca.pem", "certificate")
        run(b, b.serve("good", "server", False, None, "--tls12"), "ca=ca.pem", "certificate, TLS 1.2")
        run(b, b.serve(), "ca=ca.pem", "connections that end", ["close-after"])
        backend = b.serve(plain=True)
        for bits in ([], ["--tls", "1.2", "--suites", "DHE-PSK-AES256-CBC-SHA384"], ["--tls", "1.2", "--suites", "PSK-AES256-GCM-SHA384"]):
            psk = "alice:" + secrets.token_hex(32)
            run(b, b.front(backend, psk, *bits), "psk=" + psk, "PSK %s" % bits)
        return b.end()


sys.exit(main(sys.argv[1]))
