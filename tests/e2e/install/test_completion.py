# SPDX-License-Identifier: BSD-2-Clause
"""The completion of command lines, in a real bash."""

import os
import re
import subprocess
import tempfile
import unittest

BUILD = os.environ['PPK_BUILD']


class Completion(unittest.TestCase):
    def complete(self, *words, folder='/'):
        """What bash offers for the last of the words."""
        script = os.path.join(BUILD, 'share', 'bash-completion', 'completions', words[0])
        # compopt works only while bash itself completes
        code = ('compopt() { :; }; . "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); '
                'f=$(complete -p "$1"); f=${f#*-F }; "${f%% *}"; printf "%s\\n" "${COMPREPLY[@]}"')
        done = subprocess.run(['bash', '--norc', '-u', '-c', code, 'bash', script, *words], capture_output=True, text=True,
                              timeout=30, check=True, cwd=folder)
        self.assertEqual(done.stderr, '')
        return [line for line in done.stdout.split('\n') if line]

    @staticmethod
    def help(program, *words):
        return subprocess.run([os.path.join(BUILD, 'bin', program), *words, '--help'], capture_output=True, text=True,
                              check=True).stdout

    def test_subcommands(self):
        subcommands = re.findall(r'^  (\w[\w-]*) ', self.help('ppkctl'), re.M)
        self.assertIn('check', subcommands)
        self.assertEqual(sorted(self.complete('ppkctl', '')), sorted([*subcommands, '--help', '--version']))
        self.assertEqual(self.complete('ppkctl', 'enc'), ['encrypt'])
        self.assertEqual(self.complete('ppkctl', 'nothing'), [])

    def test_options(self):
        for subcommand in re.findall(r'^  (\w[\w-]*) ', self.help('ppkctl'), re.M):
            options = re.findall(r'^  (--[a-z-]+)', self.help('ppkctl', subcommand), re.M)
            self.assertEqual(sorted(self.complete('ppkctl', subcommand, '--')), sorted(options))

    def test_words(self):
        self.assertEqual(self.complete('ppkctl', 'show', 'k'), ['keyring'])
        self.assertEqual(self.complete('ppkctl', 'manual', 'ppk'), ['ppk.conf', 'ppkctl'])
        self.assertEqual(self.complete('ppkctl', 'fetch', '--id', ''), [])
        self.assertEqual(self.complete('ppkctl', 'show', 'running-config', '--for', 'ios'), ['ios-xr', 'ios-xe'])
        self.assertNotIn('NAME', self.complete('ppkctl', 'show', ''))

    def test_files(self):
        with tempfile.TemporaryDirectory() as folder:
            open(os.path.join(folder, 'two words.conf'), 'w', encoding='utf-8').close()
            for line in (('ppkctl', 'check', 'tw'), ('ppkctl', 'show', '--config', 'tw'), ('skipd', '-c', 'tw'),
                         ('skipd', '--ready-file', 'tw')):
                self.assertEqual(self.complete(*line, folder=folder), ['two words.conf'])
            self.assertNotIn('two words.conf', self.complete('ppkctl', 'capabilities', '', folder=folder))

    def test_skipd(self):
        options = re.findall(r'(--[a-z-]+)', self.help('skipd').split('\n', 1)[1])
        self.assertEqual(sorted(self.complete('skipd', '')), sorted({*options, '--help'}))
        self.assertEqual(self.complete('skipd', '--sys'), ['--syslog'])


if __name__ == '__main__':
    unittest.main()
