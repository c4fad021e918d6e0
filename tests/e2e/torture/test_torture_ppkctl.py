# SPDX-License-Identifier: BSD-2-Clause
"""Each allocation, each call that asks the kernel for something, and each call of OpenSSL fails once in ppkctl, whatever it was asked to do:
no crash, and either it does it as always or it ends with a status that says that it has not, and with a text that says why."""

import os
import secrets
import subprocess
import sys
import unittest

sys.path.insert(0, os.path.join(os.environ['PPK_SOURCE'], 'tests', 'e2e', 'hosts'))
from hosts import BOUND, TOKEN, Case  # noqa: E402
from torture import BUILD, KINDS, environment, points, reported  # noqa: E402

PPKCTL = os.path.join(BUILD, 'bin', 'ppkctl')
ROUTER = '''crypto ikev2 keyring k
 peer b
  address 192.0.2.2
  pre-shared-key abc
  ppk manual id x key abcdefghijklmnopqrstuvwxyz0123456789
 peer c
  address 192.0.2.3
  ppk manual id y key too-short
'''
REPORTS = ('FAULT ', 'SEEN ', 'HELD ', 'CALLS ', 'CALLED ')


class Ppkctl(Case):
    maxDiff = 300

    def setUp(self):
        self.conf = self.configure()
        self.status = self.bed.path('status')
        os.makedirs(self.status, 0o700, exist_ok=True)
        self.router = self.write('router', ROUTER)
        self.master = self.write('master', 'a master key of a test')

    def write(self, name, text):
        path = self.bed.path(name)
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), 'w', encoding='ascii') as f:
            f.write(text)
        return path

    def commands(self):
        """Words, and what it gets to read."""
        conf, module = ['--config', self.conf], ['--module', TOKEN]
        return [(['check', self.conf], ''), (['show', 'running-config', *conf], ''), (['manual'], ''),
                (['manual', 'ppkctl'], ''), (['completion'], ''), (['show', 'keyring', *conf], ''), (['show', 'ikev2-profile', *conf], ''),
                (['show', 'running-config', *conf, '--for', 'ios-xr'], ''),
                (['capabilities', 'ks', *conf], ''), (['fetch', 'b', *conf, *module, '--hmac', 'text'], ''),
                (['fetch', 'b', *conf, *module, '--id', secrets.token_hex(16)], ''), (['test', 'b', *conf, *module], ''),
                (['show', 'statistics', *conf], ''), (['show', 'statistics', *conf, '--json'], ''), (['show', 'ppk', *conf], ''),
                (['show', 'statistics', *conf, '--openmetrics'], ''), (['show', 'clients', *conf], ''),
                (['show', 'sks-profile', *conf], ''), (['encrypt', '--master-key-file', self.master], 'a secret\n'),
                (['import', self.router], '')]

    def run_it(self, words, text, **env):
        done = subprocess.run([PPKCTL, *words], input=text, capture_output=True, text=True, timeout=BOUND, check=False,
                              env={**os.environ, 'PPK_LOG': 'none', 'PPK_STATUS_DIR': self.status, **env})
        lines = done.stdout.splitlines()
        return done, [line for line in lines if not line.startswith(REPORTS)], lines

    def torture(self, kind, objects, seconds=0.8):
        host = self.host(self.conf, 'init', 'manual=m1', 'derive', 'wait', env={'PPK_STATUS_DIR': self.status})
        host.until_wait() # somebody to be shown
        for words, text in self.commands():
            with self.subTest(words):
                plain, output, lines = self.run_it(words, text, **environment(kind, objects))
                self.assertIn(plain.returncode, (0, 1), plain.stderr)
                total = reported(lines, KINDS[kind][2])
                for at in points(f'{kind} of ppkctl {" ".join(words[:2])}', total, seconds):
                    done, now, lines = self.run_it(words, text, **environment(kind, objects, at))
                    told = f'{words}, {kind} {at}: {lines[-20:]}\n{done.stderr}'
                    self.assertGreaterEqual(done.returncode, 0, told)
                    if done.returncode != plain.returncode:
                        self.assertTrue(done.stderr.strip() or len(now) > 0, 'it says nothing: ' + told)
                        self.assertNotEqual(done.returncode, 0, told)
                        if kind == 'memory' and words[0] == 'import':
                            self.assertIn('memory left', done.stderr, told)
                    elif words[0] in ('check', 'completion', 'manual', 'import') or words[1] == 'running-config':
                        self.assertEqual(now, output, told)

    def test_memory(self):
        self.torture('memory', ['ppkctl'])

    def test_io(self):
        self.torture('io', ['ppkctl'])

    def test_library(self):
        self.torture('library', ['ppkctl'])


if __name__ == '__main__':
    unittest.main()
