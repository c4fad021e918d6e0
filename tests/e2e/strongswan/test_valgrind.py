# SPDX-License-Identifier: GPL-2.0-or-later
"""Both charons under valgrind, with plugin and token inside: no error of ours, no leak of ours."""
import os
import re
import sys
import unittest

import conf
import keysource
from testbed import OURS, SKIPPED, Bed, Charon, isolate


def complaints(text):
    """valgrind's blocks that have one of our libraries in a stack."""
    blocks = re.split(r'^==\d+== *$', text, flags=re.M)
    return [block for block in blocks if re.search(OURS, block)
            and not re.search('HEAP SUMMARY|still reachable|Warning: noted but unhandled|unhandled .*syscall', block)]


class Valgrind(unittest.TestCase):
    def test_life_of_an_ike_sa(self):
        bed = Bed()
        alice, bob = bed.net()
        sources = keysource.pair(alice, bob)
        charons = []
        for me, other, source, remote in ((alice, bob, sources[0], 'Bob'), (bob, alice, sources[1], 'Alice')):
            token = keysource.Token(me, other, source, remote=remote, timeout=10000)
            charons.append(Charon(me, token.plugin(timeout=30000), env=token.env, settings='retransmit_tries = 6', wrapper=[
                'valgrind', '--quiet', '--leak-check=full', '--show-leak-kinds=definite', '--keep-debuginfo=yes',
                f'--log-file={me.dir}/valgrind']).start(120))
            charons[-1].load(conf.swanctl([conf.connection(me, other)]))
        one, two = charons
        one.initiate()
        self.assertIn('/PPK', two.sas(), one.text())
        one.swanctl('--rekey', '--ike', 'peer', '--reauth')
        one.expect('IKE_SA peer[2] established', seconds=30)
        sources[0].stop()
        one.terminate()
        one.initiate(check=False)
        self.assertNotIn('ESTABLISHED', one.sas())
        for charon in charons:
            self.assertEqual(charon.stop(), 0)
            text = (charon.host.dir / 'valgrind').read_text(errors='replace')
            ours = complaints(text)
            print(f'    {charon.host.name}: {len(text.splitlines())} lines of valgrind, {len(ours)} blocks about us')
            self.assertEqual(ours, [])
        bed.close()


if __name__ == '__main__':
    if 'PPK_PRELOAD' in os.environ:
        print('skipped: ASan and valgrind do not go together')
        sys.exit(SKIPPED)
    isolate(os.environ['PPK_PLUGIN'])
    unittest.main(verbosity=2)
