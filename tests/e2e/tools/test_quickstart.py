# SPDX-License-Identifier: BSD-2-Clause
"""quickstart.sh on the build at hand: what its reader sees, and that it leaves nothing behind."""

import os
import re
import subprocess
import unittest

BUILD, SOURCE = os.environ['PPK_BUILD'], os.environ['PPK_SOURCE']


def skipds():
    """The processes of this build's skipd."""
    found = set()
    for pid in os.listdir('/proc'):
        if pid.isdigit():
            try:
                if os.readlink(f'/proc/{pid}/exe') == os.environ['PPK_SKIPD']:
                    found.add(int(pid))
            except OSError:
                pass
    return found


class Quickstart(unittest.TestCase):
    def test_quickstart(self):
        temporary = os.path.join(BUILD, 'tests', 'quickstart')
        os.makedirs(temporary, exist_ok=True)
        env = {k: v for k, v in os.environ.items() if not k.startswith('PPK_')}
        done = subprocess.run([os.path.join(SOURCE, 'quickstart.sh')], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, timeout=150, env={**env, 'BUILD': BUILD, 'TMPDIR': temporary})
        out = done.stdout.decode()
        self.assertEqual(done.returncode, 0, out)
        self.assertRegex(out, r'token label\s*: dynamic\n')
        self.assertIn('mechtype-0x402E', out)
        self.assertIn('ppk-peer', out)
        for name in ('SK_d', 'SK_pi', 'SK_pr'):
            macs = re.findall(rf'^{name} ([0-9a-f]{{64}})$', out, re.M)
            self.assertEqual(len(macs), 2)
            self.assertEqual(macs[0], macs[1])
        self.assertEqual(len(re.findall(r'^CKA_VALUE refused: CKR_ATTRIBUTE_SENSITIVE$', out, re.M)), 2)
        self.assertEqual(os.listdir(temporary), [])
        # none that works on the folder that is gone
        for pid in skipds():
            try:
                with open(f'/proc/{pid}/cmdline') as f:
                    self.assertNotIn(temporary, f.read())
            except FileNotFoundError:
                pass


if __name__ == '__main__':
    unittest.main()
