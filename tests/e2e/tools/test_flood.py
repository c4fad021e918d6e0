# SPDX-License-Identifier: BSD-2-Clause
"""A flood of PPK IDs that nobody knows, as an IKE peer can cause before it is authenticated: the key source is not flooded, and who
has a right to a key gets it."""

import os
import sys
import threading
import time

import p11
import testbed

AT_ONCE, PER_SECOND, THREADS, KEYS = 8, 100, 16, 25


class Flood(testbed.Testbed):
    profile = f'max-lookups {AT_ONCE} per-second {PER_SECOND}'

    def setUp(self):
        super().setUp()
        self.log_path = os.path.join(self.folder, 'token.log')
        os.environ.update(PPK_CONF=self.alice_conf, PPK_LOG=f'file={self.log_path}:notice')
        self.token = p11.Token()
        self.addCleanup(self.token.finalize)
        self.session = self.token.session()

    def by_id(self, session, key_id):
        return session.find({p11.CKA_CLASS: p11.CKO_SECRET_KEY, p11.CKA_ID: key_id})

    def made_at_bob(self):
        """IDs of keys that wait at Alice's key source."""
        out = self.run_tool(self.bob_conf, sys.executable, __file__, 'generate', 'gateway-a', str(KEYS))
        return [bytes.fromhex(line) for line in out.split()]

    def test_flood(self):
        held = self.session.generate('gateway-b')
        held_id = self.session.attribute(held, p11.CKA_ID)
        known = self.made_at_bob()
        self.asked(self.alice)
        ending, answers = threading.Event(), []

        def flood():
            session = self.token.session()
            while not ending.is_set():
                try:
                    answers.append(len(self.by_id(session, os.urandom(16))))
                except p11.P11Error as e:
                    answers.append(e.rv)

        began = time.monotonic()
        threads = [threading.Thread(target=flood) for _ in range(THREADS)]
        for t in threads:
            t.start()
        while len(answers) < 2 * PER_SECOND:  # the limit holds them back by now
            self.assertLess(time.monotonic() - began, testbed.BOUND)
            time.sleep(0.01)
        longest = 0
        for key_id in known:
            at = time.monotonic()
            self.assertEqual(self.by_id(self.session, held_id), [held])
            longest = max(longest, time.monotonic() - at)
            self.assertEqual(len(self.by_id(self.session, key_id)), 1)
            self.assertNotEqual(self.session.generate('gateway-b'), 0)
        ending.set()
        for t in threads:
            t.join(testbed.BOUND)
        took, asked = time.monotonic() - began, self.asked(self.alice)
        print(f'{len(answers)} unknown IDs in {took:.1f} s; a held PPK was found within {longest * 1000:.1f} ms')
        self.assertEqual(set(answers), {0})
        self.assertLess(longest, 1)
        self.assertEqual(asked.count('key'), KEYS)
        self.assertEqual(asked.count('key by ID'), len(answers) + KEYS)
        self.assertLessEqual(len(answers), PER_SECOND * (took + 1) + AT_ONCE)
        with open(self.log_path, encoding='utf-8') as f:
            log = f.read()
        self.assertEqual(log.count('some have to wait'), 1, log[-2000:])
        self.assertNotIn('set aside', log)

    def test_the_same_unknown_id(self):
        self.session.generate('gateway-b')
        self.asked(self.alice)
        sessions = [self.token.session() for _ in range(THREADS)]
        for _ in range(3):
            key_id, found = os.urandom(16), []
            ready = threading.Barrier(THREADS)

            def ask(session, key_id=key_id, found=found, ready=ready):
                ready.wait()
                found.append(self.by_id(session, key_id))
            threads = [threading.Thread(target=ask, args=(s,)) for s in sessions]
            for t in threads:
                t.start()
            for t in threads:
                t.join(testbed.BOUND)
            self.assertEqual(found, [[]] * THREADS)
            self.assertEqual(self.asked(self.alice), ['key by ID'])


def generate(peer, number):
    token = p11.Token()
    session = token.session()
    for _ in range(number):
        print(session.attribute(session.generate(peer), p11.CKA_ID).hex())
    token.finalize()


if __name__ == '__main__':
    if sys.argv[1:2] == ['generate']:
        generate(sys.argv[2], int(sys.argv[3]))
    else:
        testbed.main()
