# SPDX-License-Identifier: BSD-2-Clause
"""Starts two key sources and lets ppk-bench-net measure fetches from them: net.py BUILD-FOLDER [--quick]"""
import os
import shutil
import socket
import subprocess
import sys
import tempfile

BUILD = os.path.abspath(sys.argv[1])
os.environ["SKIPD"] = BUILD + "/bin/skipd"
sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../e2e/skipd"))
from keysource import Authority, KeySource, free_port  # noqa: E402

KEYRING = """keyring {name}
 peer peer
  ppk dynamic {name}
  remote-system-id {remote}
sks profile {name} type remote
{servers} tls trustpoint {folder}/ca.pem
 tls certificate {folder}/{client}.pem key {folder}/{client}.key
 timeout 10000
{more}"""


def keyring(folder, name, remote, client, ports, more=""):
    servers = "".join(f" kme server ipv4 127.0.0.1 port {port}\n" for port in ports)
    return KEYRING.format(name=name, remote=remote, client=client, servers=servers, folder=folder, more=more)


def main():
    folder = tempfile.mkdtemp(prefix="ppk-bench-net.")
    alice = bob = None
    hung = socket.create_server(("127.0.0.1", 0), backlog=1024)  # the kernel accepts, nobody answers
    try:
        authority = Authority(folder)
        for name in ("alice", "bob"):
            authority.sign(name, "DNS:localhost,IP:127.0.0.1")
        for name in ("enc-a", "enc-b"):
            authority.sign(name, f"DNS:{name}")
        with open(os.open(folder + "/master", os.O_WRONLY | os.O_CREAT, 0o600), "w", encoding="ascii") as f:
            f.write("the master key of a measurement\n")
        alice, bob = KeySource(folder, "Alice"), KeySource(folder, "Bob")
        for source, other, client in ((alice, bob, "enc-a"), (bob, alice, "enc-b")):
            source.clients = f"client {client}\n certificate san {client}\n"
            source.extra = "max-keys 1000000\nmax-connections 1000 per-client 500\nmax-requests 1000 per-second 1000000\n"
            source.peer(other)
        alice.start()
        bob.start()
        alice.wait_log("peer 'Bob': link is up")
        bob.wait_log("peer 'Alice': link is up")
        a, b = alice.port, bob.port
        with open(os.open(folder + "/ppk.conf", os.O_WRONLY | os.O_CREAT, 0o600), "w", encoding="ascii") as f:
            f.write(keyring(folder, "alice", "Bob", "enc-a", [a]) + keyring(folder, "bob", "Alice", "enc-b", [b]) +
                    keyring(folder, "pool", "Bob", "enc-a", [a], " prefetch 1000\n") +
                    keyring(folder, "healthy", "Bob", "enc-a", [a]) +
                    keyring(folder, "refused", "Bob", "enc-a", [free_port(), a]) +
                    keyring(folder, "hung", "Bob", "enc-a", [hung.getsockname()[1], a], " hedge 100\n"))
        return subprocess.run([BUILD + "/bin/ppk-bench-net", BUILD + "/lib/ppk-pkcs11.so", folder, str(a), str(b), *sys.argv[2:]],
                              check=False, timeout=300).returncode
    finally:
        for source in (alice, bob):
            if source is not None and source.process is not None and source.process.poll() is None:
                source.end()
        hung.close()
        shutil.rmtree(folder)


sys.exit(main())
