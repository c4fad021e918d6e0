# SPDX-License-Identifier: BSD-2-Clause
"""Both ends at once, in eight threads each: every PPK that one end generates is found by the other by its ID, once, with the same value; one
request for each at either key source, whatever the threads do."""

import json
import os
import subprocess
import sys
import threading

import p11
import testbed

THREADS, KEYS = 8, 25


def in_threads(work):
    errors = []

    def run(i):
        try:
            work(i)
        except BaseException as e:  # a thread's failure is the program's
            errors.append(e)
    threads = [threading.Thread(target=run, args=(i,)) for i in range(THREADS)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    if errors:
        raise errors[0]


def initiator():
    """Says "ID MAC" of each key that it generates."""
    token, lock = p11.Token(), threading.Lock()

    def work(_):
        session = token.session()
        for _ in range(KEYS):
            key = session.generate('gateway-b')
            line = session.attribute(key, p11.CKA_ID).hex() + ' ' + session.mac(key, 'sha256', b'agreed').hex()
            with lock:
                print(line, flush=True)
            session.call('C_DestroyObject', key)
    in_threads(work)
    token.finalize()


def responder():
    """Reads that, line by line, and compares. Each ID is looked for by two threads at once."""
    token, lock = p11.Token(), threading.Lock()
    lines, seen = [], {}

    def work(i):
        session, n = token.session(), i // 2
        while True:
            with lock:
                while len(lines) <= n:
                    line = sys.stdin.readline()
                    if not line:
                        return
                    lines.append(line.split())
            key_id, expected = lines[n]
            key, = session.find({p11.CKA_CLASS: p11.CKO_SECRET_KEY, p11.CKA_ID: bytes.fromhex(key_id)})
            if session.mac(key, 'sha256', b'agreed').hex() != expected:
                raise SystemExit(f'{key_id}: the ends do not agree')
            with lock:
                seen.setdefault(key_id, set()).add(key)
            n += THREADS // 2
    in_threads(work)
    token.finalize()
    print(json.dumps({key_id: len(keys) for key_id, keys in seen.items()}))


class Agree(testbed.Testbed):
    def test_agree(self):
        env = {**os.environ, 'PPK_LOG': 'stderr:warning'}
        first = subprocess.Popen([sys.executable, __file__, 'initiator'], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                 env={**env, 'PPK_CONF': self.alice_conf})
        second = subprocess.Popen([sys.executable, __file__, 'responder'], stdin=first.stdout, stdout=subprocess.PIPE,
                                  env={**env, 'PPK_CONF': self.bob_conf})
        first.stdout.close()
        try:
            out, _ = second.communicate(timeout=120)
            self.assertEqual(first.wait(testbed.BOUND), 0)
        finally:
            for process in (first, second):
                if process.poll() is None:
                    process.kill()
                    process.wait()
        self.assertEqual(second.returncode, 0)
        found = json.loads(out)
        self.assertEqual(len(found), THREADS * KEYS)
        self.assertEqual(set(found.values()), {1})  # both threads got the same object
        self.assertEqual(self.asked(self.alice), ['key'] * THREADS * KEYS)
        self.assertEqual(self.asked(self.bob), ['key by ID'] * THREADS * KEYS)


if __name__ == '__main__':
    if sys.argv[1:2] == ['initiator']:
        initiator()
    elif sys.argv[1:2] == ['responder']:
        responder()
    else:
        testbed.main()
