#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
"""One fault at each kind of request, through the token: fault_worker.py MODULE FOLDER FAULT PSK_PORT. Prints JSON: for each
kind the CK_RV, how many objects were found, the time in ms, and the log's lines of the kind's profile."""
import ctypes, json, os, sys, tempfile, time

from fault_source import ANSWERS, KEYS_ONLY, Source

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "tools"))
import p11

KINDS = ["capabilities", "new key", "key by ID", "entropy", "C_GenerateKey", "pooled search"]
TIMEOUT_MS = 1000


def profile(number, kind, fault, port, folder, psk_port):
    host = {"unknown DNS name": "hostname gone.example", "hung DNS": "hostname hung.example"}.get(fault, "ipv4 127.0.0.1")
    trust = " tls psk id fault key hex %s\n" % ("ab" * 32) if fault == "wrong PSK" else " tls trustpoint %s/ca.pem\n" % folder
    more = {"entropy": " entropy\n", "pooled search": " prefetch 2\n"}.get(kind, "")
    return ("keyring k%d\n peer p%d\n  ppk dynamic s%d\n  remote-system-id Bob\nsks profile s%d type remote\n kme server %s port %d\n timeout %d\n"
            % (number, number, number, number, host, psk_port if fault == "wrong PSK" else port, TIMEOUT_MS)) + trust + more


def request(session, kind, number):
    """Makes the request; the number of objects found."""
    if kind == "entropy":
        session.call("C_GenerateRandom", ctypes.create_string_buffer(16), 16)
        return 0
    if kind == "C_GenerateKey":
        return 1 if session.generate("p%d" % number) else 0
    if kind == "key by ID":
        return len(session.find({p11.CKA_CLASS: p11.CKO_SECRET_KEY, p11.CKA_ID: os.urandom(16)}))
    return len(session.find({p11.CKA_CLASS: p11.CKO_SECRET_KEY, p11.CKA_LABEL: b"p%d" % number}))


def fill(session, number, source):
    """Fills the pool, and leaves no other unused PPK of the peer."""
    label = {p11.CKA_CLASS: p11.CKO_SECRET_KEY, p11.CKA_LABEL: b"p%d" % number}
    handles = session.find(label)
    end = time.monotonic() + 10
    while source.keys < 3 and time.monotonic() < end:
        time.sleep(0.01)
    time.sleep(0.2)
    for handle in handles:
        session.call("C_DestroyObject", handle)


def main():
    module, folder, fault, psk_port = sys.argv[1:5]
    with tempfile.TemporaryDirectory() as own:
        conf, log = os.path.join(own, "ppk.conf"), os.path.join(own, "log")
        # A name that does not resolve, or another PSK, cannot come later than the pool was filled.
        never_good = fault in ("wrong PSK", "unknown DNS name", "hung DNS")
        kinds = [k for k in KEYS_ONLY.get(fault, KINDS) if k != "pooled search" or not never_good]
        sources = {k: Source(folder) for k in kinds}
        with open(os.open(conf, os.O_WRONLY | os.O_CREAT, 0o600), "w") as f:
            f.write("status directory off\n")
            for k in kinds:
                f.write(profile(KINDS.index(k), k, fault, sources[k].port, folder, int(psk_port)))
        os.environ.update(PPK_CONF=conf, PPK_LOG="file=%s:notice" % log)
        token = p11.Token(module)
        out = {}
        for slot, kind in enumerate(kinds):
            number, session = KINDS.index(kind), token.session(slot)
            if kind == "pooled search":
                fill(session, number, sources[kind])
            sources[kind].fail(fault, "new key" if kind in ("C_GenerateKey", "pooled search") else kind)
            for _ in range(2):
                began, rv, n = time.monotonic(), 0, 0
                try:
                    n = request(session, kind if kind != "capabilities" else "new key", number)
                except p11.P11Error as e:
                    rv = e.rv
                ms = (time.monotonic() - began) * 1000
                out.setdefault(kind, {"rv": rv, "found": n, "ms": []})["ms"].append(ms)
        time.sleep(0.1)  # a pool is being filled
        token.finalize()
        with open(log) as f:
            lines = f.read().splitlines()
        for kind in kinds:
            out[kind]["log"] = [line.split(": ", 1)[1] for line in lines if "sks profile s%d:" % KINDS.index(kind) in line]
        print(json.dumps(out))


main()
