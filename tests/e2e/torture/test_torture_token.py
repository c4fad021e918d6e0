# SPDX-License-Identifier: BSD-2-Clause
"""Each allocation of the token, of its transport and of ppkctl fails once: no crash, a CK_RV or a text that says so, and the next try
works. With TORTURE=all every one, else one in STEP, beginning somewhere else each time; prints how many."""

import os
import random
import secrets
import subprocess
import sys
import unittest

sys.path.insert(0, os.path.join(os.environ['PPK_SOURCE'], 'tests', 'e2e', 'hosts'))
from hosts import BOUND, HOST, TOKEN, Case  # noqa: E402

STEP = 1 if os.environ.get('TORTURE') == 'all' else 12
FAIL_ALLOC = os.path.join(os.environ['PPK_BUILD'], 'tests', 'libfail_alloc.so')
PPKCTL = os.path.join(os.environ['PPK_BUILD'], 'bin', 'ppkctl')
NO_MEMORY = {'0x2', '0x31', '0x5', '0x6'}  # HOST_MEMORY, DEVICE_MEMORY, GENERAL_ERROR, FUNCTION_FAILED
AFTER = {'0x60', '0x82', '0x190', '0xb3', '0x191'}  # what follows when the key, the session or C_Initialize is missing


class Allocations(Case):
    points = 0

    @classmethod
    def tearDownClass(cls):
        print(f'{cls.points} allocations failed', file=sys.stderr)

    def failing(self, command, name, at, conf):
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=BOUND, check=False,
                              env={**os.environ, 'PPK_CONF': conf, 'PPK_LOG': 'none', 'LD_PRELOAD': FAIL_ALLOC, 'FAIL_OBJECT': name,
                                   'FAIL_AT': str(at)})
        self.assertGreaterEqual(done.returncode, 0, f'{name}, allocation {at}: ended by a signal\n{done.stdout}{done.stderr}')
        return done

    def enumerate(self, one, step=STEP):
        """Calls one(N) until it says that there is no such allocation."""
        at = random.randrange(step)
        while one(at):
            type(self).points += 1
            at += step
        self.assertGreaterEqual(at, step)

    def token(self, name, key_kind='find'):
        def words():
            return ['init', 'list', f'{key_kind}={secrets.token_hex(16) if key_kind == "find" else "m1"}', 'derive', 'sign', 'list',
                    *(['destroy'] if key_kind == 'find' else []), 'finalize']

        def one(at):
            done = self.failing([HOST, TOKEN, *words(), *words()], name, at, conf)
            lines = done.stdout.splitlines()
            self.assertEqual(done.stderr, '')
            rounds = len(words())
            hit = 'FAULT' in lines[:rounds] # it comes before the word's own line
            first = rounds + 1
            for line in lines[:first] if hit else ():
                self.assertIn(line.split()[-1], {'0x0', 'FAULT', '0x30'} | NO_MEMORY | AFTER, done.stdout)
            # What failed for want of memory does not stay: the second round is whole. (An ID that could not be kept is another one there.)
            self.assertTrue(all(line.endswith('0x0') for line in lines[first:]) or not hit, f'{name}, allocation {at}:\n{done.stdout}')
            return hit

        conf = self.configure()
        self.enumerate(one)

    def test_token_manual(self):
        self.token('ppk-pkcs11.so', 'manual')

    def test_token_dynamic(self):
        self.token('ppk-pkcs11.so')

    def test_transport(self):
        self.token('ppk-skip.so')

    def test_ppkctl(self):
        conf = self.configure()
        for words in (['check'], ['show'], ['capabilities', 'ks'], ['fetch', 'b']):
            with self.subTest(words):
                where = ['--config', conf] if words[0] != 'fetch' else ['--config', conf, '--module', TOKEN]

                def one(at, words=words, where=where):
                    done = self.failing([PPKCTL, *words, *where], 'ppkctl', at, conf)
                    hit = 'FAULT' in done.stdout
                    if hit and done.returncode != 0:
                        self.assertTrue(done.stderr.strip(), f'{words}, allocation {at}: it says nothing')
                    return hit

                self.enumerate(one, 1 if STEP == 1 else 2)


if __name__ == '__main__':
    unittest.main()
