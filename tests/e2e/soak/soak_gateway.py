#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
"""One end of the soak: soak_gateway.py {initiator|responder} PEERS THREADS. Says "key ID MAC" for each new PPK, or is told so
and finds it; "stat JSON" every second, until its standard input ends."""
import json, os, queue, random, sys, threading, time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "tools"))
import p11

DEVICE_ERROR, OBJECT_GONE, KEY_GONE = 0x30, 0x82, 0x60
lock, work = threading.Lock(), queue.Queue()
stat = {"good": 0, "failed": 0, "lost": 0, "wrong": [], "longest_ms": 0}


def timed(call, *args):
    """The call's result, or None if no key source could be asked."""
    began = time.monotonic()
    try:
        return call(*args)
    except p11.P11Error as e:
        if e.rv not in (DEVICE_ERROR, OBJECT_GONE, KEY_GONE):
            raise
        return None
    finally:
        with lock:
            stat["longest_ms"] = max(stat["longest_ms"], int((time.monotonic() - began) * 1000))


def count(what):
    with lock:
        stat[what] += 1


def initiate(session, peers):
    while True:
        peer = "peer%d" % random.randrange(peers)
        key = timed(session.generate, peer)
        if key is None:
            count("failed")
            time.sleep(0.05)
            continue
        line = "key %s %s" % (session.attribute(key, p11.CKA_ID).hex(), session.mac(key, "sha256", b"soak").hex())
        session.call("C_DestroyObject", key)
        count("good")
        with lock:
            print(line, flush=True)
        time.sleep(0.01)


def respond(session, _):
    while True:
        key_id, mac = work.get()
        failed = False
        for _ in range(40):
            found = timed(session.find, {p11.CKA_CLASS: p11.CKO_SECRET_KEY, p11.CKA_ID: bytes.fromhex(key_id)})
            if found is not None:
                break
            failed = True
            count("failed")
            time.sleep(0.1)
        if not found:
            # An answer that was lost on its way loses the key; but who was never in doubt must find it.
            with lock:
                stat["lost"] += 1
                if not failed:
                    stat["wrong"].append("not found: " + key_id)
            continue
        try:
            if session.mac(found[0], "sha256", b"soak").hex() != mac:
                with lock:
                    stat["wrong"].append("another key: " + key_id)
            session.call("C_DestroyObject", found[0])
            count("good")
        except p11.P11Error as e:
            with lock:
                stat["wrong"].append("%s: %s" % (key_id, e))


def guarded(function, *args):
    try:
        function(*args)
    except BaseException as e:  # a thread that ends is a failure
        with lock:
            stat["wrong"].append("%s: %r" % (function.__name__, e))


def tell():
    while True:
        time.sleep(1)
        with open("/proc/self/status") as f:
            fields = dict(line.split(":", 1) for line in f)
        with lock:
            stat.update(rss_kib=int(fields["VmRSS"].split()[0]), locked_kib=int(fields["VmLck"].split()[0]), threads=int(fields["Threads"]),
                        descriptors=len(os.listdir("/proc/self/fd")), waiting=work.qsize())
            print("stat " + json.dumps(stat), flush=True)


role, peers, threads = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
token = p11.Token()
for _ in range(threads):
    threading.Thread(target=guarded, args=(initiate if role == "initiator" else respond, token.session(), peers), daemon=True).start()
threading.Thread(target=tell, daemon=True).start()
for line in sys.stdin:
    work.put(line.split())
os._exit(0)
