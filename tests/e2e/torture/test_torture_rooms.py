# SPDX-License-Identifier: BSD-2-Clause
"""Single rooms, where what fails is not easily reached from outside: sealed secrets, prf, Type 6, skipd's stores. Each allocation, each call
to the kernel and each call of OpenSSL, SQLite and libpq fails once: no crash, nothing wrong, and the next time everything is right."""

import os
import subprocess
import sys
import tempfile
import unittest

from torture import BUILD, KINDS, environment, points, reported

ROOMS = os.path.join(BUILD, 'tests', 'rooms')


class Rooms(unittest.TestCase):
    def run_it(self, words, **env):
        done = subprocess.run([ROOMS, *words], capture_output=True, text=True, timeout=30, check=False,
                              env={**os.environ, 'PPK_LOG': 'none', **env})
        return done, done.stdout.splitlines()

    def torture(self, flow, argument=None, kinds=('memory', 'io', 'library'), objects=('rooms',), seconds=2):
        for kind in kinds:
            with self.subTest(kind):
                words = [flow, argument] if argument else [flow]
                plain, lines = self.run_it(words, **environment(kind, objects))
                self.assertEqual((plain.returncode, lines[:2]), (0, ['all', 'all']), plain.stderr)
                for at in points(f'{kind} of {flow}', reported(lines, KINDS[kind][2]), seconds):
                    done, lines = self.run_it(words, **environment(kind, objects, at))
                    told = f'{flow}, {kind} {at}:\n{done.stdout}{done.stderr}'
                    self.assertEqual(done.returncode, 0, told)
                    hit = next((i for i, line in enumerate(lines) if line.startswith('FAULT ')), None)
                    if hit == 0:
                        self.assertEqual(lines[2], 'all', told)

    def test_secret(self):
        self.torture('secret')

    def test_prf(self):
        self.torture('prf')

    def test_type6(self):
        self.torture('type6')

    def test_store_sqlite(self):
        with tempfile.TemporaryDirectory(prefix='ppk-rooms-') as folder:
            self.torture('store', os.path.join(folder, 'db'))

    def test_store_sqlite_io(self):
        with tempfile.TemporaryDirectory(prefix='ppk-rooms-') as folder:
            self.torture('store', os.path.join(folder, 'db'), kinds=('memory', 'io'), objects=('libsqlite3.so.0',))

    def test_store_postgresql(self):
        self.torture('store', os.environ['SKIPD_POSTGRESQL'])


if __name__ == '__main__':
    unittest.main()
