# SPDX-License-Identifier: BSD-2-Clause
"""TCP ports for the tests, several of which run at a time."""
import random
import socket

held = []  # a lock for each port that this process was given; the kernel lets go of them when it ends


def free_port():
    """A port on which nothing listens at 127.0.0.1. It stays this process's until it ends: no other test is given it, nor does the
    kernel give it to a socket that asks for any port, because those are above 32767."""
    while True:
        port = random.randrange(10000, 32768)
        lock = socket.socket(socket.AF_UNIX)
        try:
            lock.bind(f"\0ppk-pkcs11 test port {port}")
            with socket.socket() as s:
                s.bind(("127.0.0.1", port))
        except OSError:
            lock.close()
            continue
        held.append(lock)
        return port
