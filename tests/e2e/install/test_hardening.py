# SPDX-License-Identifier: BSD-2-Clause
"""Every built object is hardened: full RELRO, position independent, no executable stack, stack protector, FORTIFY, CET; and exports
no more than it must."""

import os
import platform
import re
import subprocess
import unittest

BUILD = os.environ['PPK_BUILD']
LIBRARIES = [os.path.join(BUILD, 'lib', name) for name in sorted(os.listdir(os.path.join(BUILD, 'lib'))) if name.endswith('.so')]
PROGRAMS = [os.path.join(BUILD, 'bin', name) for name in sorted(os.listdir(os.path.join(BUILD, 'bin')))]
EXPORTS = {'ppk-pkcs11.so': r'C_\w+', 'ppk-skip.so': 'ppk_skip_transport', 'libstrongswan-ppk.so': 'ppk_plugin_create'}


def output(*command):
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout


class Hardening(unittest.TestCase):
    def each(self):
        self.assertGreaterEqual(len(LIBRARIES + PROGRAMS), 5)
        for path in LIBRARIES + PROGRAMS:
            with self.subTest(os.path.basename(path)):
                yield path

    def test_relro_pie_stack(self):
        for path in self.each():
            dynamic, segments = output('readelf', '-dW', path), output('readelf', '-lW', path)
            self.assertRegex(dynamic, r'FLAGS\).*BIND_NOW')
            self.assertIn('GNU_RELRO', segments)
            self.assertRegex(segments, r'GNU_STACK\s+(0x0+\s+)+(\S+\s+){0,2}RW\s')
            self.assertNotRegex(segments, r'LOAD\s.*\sRWE\s')
            self.assertNotRegex(dynamic, r'TEXTREL|RPATH')
            self.assertRegex(output('readelf', '-hW', path), r'Type:\s+DYN')
            if path in PROGRAMS:
                self.assertRegex(dynamic, r'FLAGS_1\).*PIE')

    def test_stack_protector(self):
        for path in self.each():
            self.assertIn('__stack_chk_fail', output('nm', '-D', '--undefined-only', path))

    def test_fortify(self):
        """Level 3 is asked for; what shows it in an object is that it calls functions that check."""
        with open(os.path.join(BUILD, 'CMakeCache.txt'), encoding='utf-8') as f:
            if re.search(r'^CMAKE_BUILD_TYPE:\w+=Debug$', f.read(), re.M):
                self.skipTest('not optimized')
        with open(os.path.join(BUILD, 'compile_commands.json'), encoding='utf-8') as f:
            commands = re.findall(r'"command": "(.*)"', f.read())
        self.assertGreater(len(commands), 100)
        self.assertEqual([c for c in commands if '-D_FORTIFY_SOURCE=3' not in c], [])
        for path in self.each():
            self.assertRegex(output('nm', '-D', '--undefined-only', path), r'__\w+_chk@')

    @unittest.skipUnless(platform.machine() == 'x86_64', 'CET is a thing of x86')
    def test_cet(self):
        """Shadow stacks by the object's note. Debian 12's crti.o has no endbr64, so no object can promise indirect branch tracking;
        ours begin each function that is called from outside with one."""
        for path in self.each():
            self.assertRegex(output('readelf', '-nW', path), r'x86 feature: .*SHSTK')
        for path in LIBRARIES:
            with self.subTest(os.path.basename(path)):
                code = output('objdump', '-d', '--no-show-raw-insn', path)
                names = [line.split()[2].split('@')[0] for line in output('nm', '-D', '--defined-only', path).splitlines()
                         if line.split()[1] == 'T']
                self.assertTrue(names or path.endswith('ppk-skip.so')) # which exports a table
                for name in names:
                    self.assertRegex(code, rf'<{name}>:\n\s*[0-9a-f]+:\s+endbr64')

    def test_exports(self):
        self.assertEqual({os.path.basename(path) for path in LIBRARIES} - set(EXPORTS), set())
        for path in LIBRARIES:
            with self.subTest(os.path.basename(path)):
                names = [line.split()[-1].split('@')[0] for line in output('nm', '-D', '--defined-only', path).splitlines()]
                self.assertTrue(names)
                for name in names:
                    self.assertRegex(name, rf'^{EXPORTS[os.path.basename(path)]}$')


if __name__ == '__main__':
    unittest.main()
