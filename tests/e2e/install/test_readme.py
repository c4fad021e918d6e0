# SPDX-License-Identifier: BSD-2-Clause
"""The README against the programs: its configurations load, what it says of commands and files is there, and its links lead somewhere."""

import os
import re
import subprocess
import tempfile
import unittest

BUILD, SOURCE = os.environ['PPK_BUILD'], os.environ['PPK_SOURCE']
PPKCTL = os.path.join(BUILD, 'bin', 'ppkctl')


def output(*words):
    return subprocess.run(words, capture_output=True, text=True, timeout=60, check=True).stdout


class Readme(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        with open(os.path.join(SOURCE, 'README.md'), encoding='utf-8') as f:
            cls.text = f.read()
        cls.blocks = re.findall(r'^```\n(.*?)^```$', cls.text, re.M | re.S)
        cls.prose = re.sub(r'(?ms)^```\n.*?^```$', '', cls.text)

    def check(self, text):
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, 'ppk.conf')
            with open(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600), 'w', encoding='utf-8') as f:
                f.write(text)
            done = subprocess.run([PPKCTL, 'check', path], capture_output=True, text=True, timeout=60, check=False)
            self.assertEqual(done.returncode, 0, f'{text}\n{done.stdout}{done.stderr}')

    def test_configurations_load(self):
        """As they stand, with what they leave out filled in. The one for ETSI 014 needs its certificates; its own tests have one like it."""
        loaded = 0
        for block in self.blocks:
            if not re.match(r'(!|keyring|sks profile)', block) or 'etsi014' in block:
                continue
            text = re.sub(r'key 6 …', 'key hex ' + 32 * '00', re.sub(r'\b[0-9a-f]+…[0-9a-f]+', 48 * '5b', block))
            if 'ppk dynamic qkd' in text and 'sks profile qkd' not in text:
                text += 'sks profile qkd type remote\n kme server ipv4 192.0.2.34 port 10001\n'
            with self.subTest(block):
                self.check(text)
                loaded += 1
        for text in re.findall(r'(?ms)^cat >ppk\.conf <<CONF\n(.*?)^CONF$', self.text):
            self.check(text.replace('$psk', 32 * 'ab'))
            loaded += 1
        self.assertGreaterEqual(loaded, 5)

    def test_commands_of_the_tables(self):
        """Each command that the tables of the configuration show is in ppk.conf(5)."""
        page = output(PPKCTL, 'manual')
        known = set(re.findall(r'^\.(?:It )?(?:Cm|Ic) ([a-z0-9-]+)', page, re.M))
        shown = re.findall(r'^\| (?:peer|sks profile|keyring|top) \| (.*?) \| ', self.text, re.M)
        self.assertGreater(len(shown), 8)
        for row in shown:
            for command in re.findall(r'`([a-z-]+)', row):
                self.assertIn(command, known)

    def test_commands_of_ppkctl(self):
        helps = {s: output(PPKCTL, s, '--help') for s in re.findall(r'^  (\w[\w-]*) ', output(PPKCTL, '--help'), re.M)}
        named = re.findall(r'ppkctl ((?!SUB)[a-z][\w-]*)([^`\n|]*)', self.text)
        self.assertGreater(len(named), 20)
        for subcommand, rest in named:
            self.assertIn(subcommand, helps)
            for option in re.findall(r'--[a-z-]+', rest):
                self.assertIn(f'  {option} ', helps[subcommand])
        table = re.findall(r'^\| `ppkctl (\w[\w-]*)', self.text, re.M)
        self.assertEqual(set(helps) - set(table) - {'connect-test', 'import', 'completion'}, set())

    def test_files_and_links(self):
        anchors = {re.sub(r'[^\w -]', '', title.lower()).replace(' ', '-') for title in re.findall(r'^#+ (.*)$', self.text, re.M)}
        for link in re.findall(r'\]\(([^)]+)\)', self.text):
            if link.startswith('#'):
                self.assertIn(link[1:], anchors)
            elif '://' not in link:
                self.assertTrue(os.path.exists(os.path.join(SOURCE, link)), link)
        for name in re.findall(r'\b(?:conf|scripts|docs|examples|include|tests|src)/[\w./@-]+\w', self.prose):
            self.assertTrue(os.path.exists(os.path.join(SOURCE, name)) or os.path.exists(os.path.join(BUILD, name)), name)

    def test_programs_and_units(self):
        """What the commands of the first hour call."""
        for name in ('skipd@', 'ppk-pkcs11-server.socket'):
            self.assertTrue([n for n in os.listdir(os.path.join(SOURCE, 'conf')) if n.startswith(name)], name)
        for mark in ('both', 'alice', 'bob', 'alice-gets', 'bob-gets', 'isolated'):
            self.assertEqual(self.text.count(f'<!-- first-hour: {mark} -->\n```\n'), 1, mark)


if __name__ == '__main__':
    unittest.main()
