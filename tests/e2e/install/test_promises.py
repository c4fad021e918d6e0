# SPDX-License-Identifier: BSD-2-Clause
"""SECURITY.md names a test for each promise: each of them exists."""

import os
import re
import subprocess
import unittest


class Promises(unittest.TestCase):
    def test_names(self):
        with open(os.path.join(os.environ['PPK_SOURCE'], 'SECURITY.md'), encoding='utf-8') as f:
            named = set(re.findall(r'`((?:test|token|hosts|hostile|e2e|install|model)_\w+)`', f.read()))
        listed = subprocess.run(['ctest', '--test-dir', os.environ['PPK_BUILD'], '-N'], capture_output=True, text=True, timeout=60, check=True)
        there = set(re.findall(r'Test +#\d+: (\S+)', listed.stdout))
        self.assertGreater(len(named), 20)
        self.assertEqual(named - there, set())


if __name__ == '__main__':
    unittest.main()
