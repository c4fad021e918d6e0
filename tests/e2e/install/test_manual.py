# SPDX-License-Identifier: BSD-2-Clause
"""The manual pages: right mdoc, and all that is in the program's tables is in them."""

import glob
import os
import re
import shutil
import subprocess
import sys
import unittest

BUILD, SOURCE = os.environ['PPK_BUILD'], os.environ['PPK_SOURCE']
MAN = os.path.join(BUILD, 'share', 'man')
PLUGIN = os.path.exists(os.path.join(BUILD, 'lib', 'libstrongswan-ppk.so'))


def source(*path):
    with open(os.path.join(SOURCE, *path), encoding='utf-8') as f:
        return f.read()


def shown(page):
    """A page as it is read, without line breaks."""
    out = subprocess.run(['mandoc', '-Tascii', '-Owidth=500', page], capture_output=True, text=True, check=True).stdout
    return re.sub(r'\s+', ' ', re.sub('.\b', '', out))


class Manual(unittest.TestCase):
    def setUp(self):
        self.pages = {os.path.basename(p): p for p in
                      [*glob.glob(f'{MAN}/man*/*'), os.path.join(SOURCE, 'src', 'skipd', 'skipd.8')]}

    def test_all_are_there(self):
        expected = {'ppk.conf.5', 'ppkctl.1', 'ppkctl.8', 'skipd.conf.5', 'skipd.8', 'ppk-pkcs11.7'}
        self.assertEqual(set(self.pages) - {'strongswan-ppk.5'}, expected)
        self.assertEqual('strongswan-ppk.5' in self.pages, PLUGIN)

    def test_lint(self):
        for name, page in self.pages.items():
            with self.subTest(name):
                done = subprocess.run(['mandoc', '-Tlint', '-Wwarning', os.path.realpath(page)], capture_output=True, text=True, check=False)
                self.assertEqual((done.returncode, done.stdout), (0, ''))

    def test_exit_codes(self):
        """Those of the program's help and of its header are in the page, which is found in section 8 as well."""
        page = shown(self.pages['ppkctl.8'])
        self.assertEqual(page, shown(self.pages['ppkctl.1']))
        page = page[page.index('EXIT STATUS'):]
        lines = re.findall(r'^  (\d) (.*)$', self.help('ppkctl', 'test'), re.M)
        self.assertEqual({int(code) for code, _ in lines},
                         {int(n) for n in re.findall(r'\bTEST_\w+ = (\d)', source('src', 'ppkctl', 'end.h'))} | {2})
        for code, meaning in lines:
            self.assertIn(f'{code} {meaning}', page)
        self.assertEqual(re.findall(r'^  (\d) (.*)$', self.help('ppkctl', 'connect-test'), re.M), lines)

    def test_references(self):
        """Each of our pages that another one refers to is there, in that section."""
        ours = set(self.pages) | {'strongswan-ppk.5'}
        names = {page.rsplit('.', 1)[0] for page in ours}
        for page in self.pages.values():
            with open(page, encoding='utf-8') as f:
                for name, section in re.findall(r'\bXr (\S+) (\d)', f.read()):
                    if name in names:
                        self.assertIn(f'{name}.{section}', ours, page)

    def test_token_tables(self):
        page = shown(self.pages['ppk-pkcs11.7'])
        table = source('p11', 'mechanism.c')
        mechanisms = re.findall(r'^    (?:HMAC|DERIVE)\((\w+),', table, re.M) + ['GENERIC_SECRET_KEY_GEN']
        self.assertGreater(len(mechanisms), 10)
        attributes = set(re.findall(r'^#define (CKA_PPK_\w+|PPK_KIND_\w+) ', source('include', 'ppk', 'ppk.h'), re.M))
        self.assertGreater(len(attributes), 10)
        for name in [*(f'CKM_{m}' for m in mechanisms), *attributes, 'PPK_CONF', 'PPK_LOG', 'CREDENTIALS_DIRECTORY']:
            with self.subTest(name):
                self.assertRegex(page, rf'\b{name}\b')

    def test_token_says_no_more(self):
        """No mechanism or vendor attribute in the page that the token does not have."""
        known = source('p11', 'mechanism.c') + source('include', 'ppk', 'ppk.h')
        for name in re.findall(r'\bCKM_(\w+)|\b(CKA_PPK_\w+|PPK_KIND_\w+)', shown(self.pages['ppk-pkcs11.7'])):
            self.assertRegex(known, rf'\b(CKM_)?{"".join(name)}\b')

    @unittest.skipUnless(PLUGIN, 'no strongSwan plugin in this build')
    def test_plugin_settings(self):
        with open(self.pages['strongswan-ppk.5'], encoding='utf-8') as f:
            page = f.read()
        code = source('src', 'charon', 'ppk_plugin.c')
        settings = set(re.findall(r'setting(?:_bool|_number)?\("(\w+)"', code))
        self.assertEqual(set(re.findall(r'^\.It Ic (\w+) Li =', page, re.M)) - {'load', 'ppk_id', 'ppk_required'}, settings)
        self.assertEqual(set(re.findall(r'^    (?:# )?(\w+) =', source('src', 'charon', 'ppk.conf.in'), re.M)) - {'load'}, settings)
        bounds = dict(re.findall(r'^#define (\w+) +(\d+)$', code, re.M))
        text = shown(self.pages['strongswan-ppk.5'])
        self.assertIn(f'1 to {bounds["TIMEOUT_MS_MAX"]}; by default {bounds["TIMEOUT_MS_DEFAULT"]}', text)
        self.assertIn(f'1 to {bounds["THREADS_MAX"]}; by default {bounds["THREADS_DEFAULT"]}', text)

    def test_options(self):
        """Every option that the programs' help shows is in their pages."""
        for program, page in (('skipd', 'skipd.8'), ('ppkctl', 'ppkctl.1')):
            text = shown(self.pages[page])
            words = [[]] if program == 'skipd' else [[w] for w in re.findall(r'^  (\w+) ', self.help('ppkctl'), re.M)]
            for word in words:
                for option in re.findall(r'--[a-z-]+', self.help(program, *word)):
                    with self.subTest(program=program, option=option):
                        self.assertIn(option, text)

    @staticmethod
    def help(program, *words):
        return subprocess.run([os.path.join(BUILD, 'bin', program), *words, '--help'], capture_output=True, text=True,
                              check=True).stdout


if __name__ == '__main__':
    if not shutil.which('mandoc'):
        print('skipped: no mandoc')
        sys.exit(77)
    unittest.main()
