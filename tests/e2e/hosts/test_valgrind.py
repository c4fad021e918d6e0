# SPDX-License-Identifier: BSD-2-Clause
"""The token's main flows under valgrind's memcheck: no wrong access, no use of what was never written, no leak. What is still reachable when
the process ends is OpenSSL's and libcurl's, which are initialized once for good."""

import os
import re
import secrets
import subprocess
import unittest

from hosts import HOST, TOKEN, Case

VALGRIND = ['valgrind', '--quiet', '--error-exitcode=99', '--leak-check=full', '--show-leak-kinds=definite,indirect,possible',
            '--errors-for-leak-kinds=definite,indirect,possible', '--keep-debuginfo=yes']
BOUND = 100


class Valgrind(Case):
    def clean(self, command, log, **env):
        path = self.bed.path(log + '.valgrind')
        done = subprocess.run([*VALGRIND, f'--log-file={path}', *command], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                              timeout=BOUND, check=False, env={**os.environ, 'PPK_LOG': 'none', **env})
        with open(path, encoding='utf-8', errors='replace') as f:
            findings = f.read()
        self.assertEqual((done.returncode, findings), (0, ''), done.stdout[-3000:] + done.stderr[-3000:])
        return done.stdout.splitlines()

    def flow(self, *words, more='', keyring='', **env):
        conf = self.configure(more, keyring=keyring)
        with open(conf, encoding='ascii') as f:
            text = f.read().replace('timeout 5000', 'timeout 30000')
        with open(conf, 'w', encoding='ascii') as f:
            f.write(text)
        lines = self.clean([HOST, TOKEN, *words], 'host', PPK_CONF=conf, **env)
        self.assertEqual({line.split()[-1] for line in lines}, {'0x0'}, lines)
        return lines

    @staticmethod
    def life():
        return ['init', 'list', 'random', 'find=' + secrets.token_hex(16), 'derive', 'sign', 'list', 'destroy', 'finalize']

    def test_life(self):
        status = self.bed.path('status')
        os.makedirs(status, 0o700)
        self.flow(*self.life(), *self.life(), PPK_STATUS_DIR=status, PPK_LOG='file=' + self.bed.path('log') + ':trace')

    def test_no_finalize(self):
        self.flow('init', 'manual=m1', 'derive', 'sign', 'find=' + secrets.token_hex(16), 'derive')

    def test_wrap(self):
        self.flow('init', 'manual=m1', 'wrap=card', 'finalize', keyring=f' key-encryption-key card key hex {secrets.token_hex(32)}\n')

    def test_entropy(self):
        self.flow('init', 'random', 'random', 'finalize', more=' entropy\n')

    def test_hostile_calls(self):
        """Programs of tests/token whose calls are wrong in every way, and which do not look at the clock."""
        for name in ('sessions', 'objects', 'kek', 'create'):
            with self.subTest(name):
                out = self.clean([os.path.join(os.environ['PPK_BUILD'], 'tests', 'token_' + name)], name)
                self.assertFalse([line for line in out if re.search('FAILED', line)])


if __name__ == '__main__':
    unittest.main()
