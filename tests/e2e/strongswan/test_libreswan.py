# SPDX-License-Identifier: GPL-2.0-or-later
"""Against libreswan with a static PPK from its secrets file, both directions. The kernel of the test bed may have no ESP:
then pluto's CHILD_SA fails, and what counts here is the IKE_SA."""
import os
import sys
import unittest

import conf
import libreswan
from softhsm import SoftHsm
from testbed import SKIPPED, Bed, Charon, isolate, wait_for

PPK = bytes(range(100, 132))


class Libreswan(unittest.TestCase):
    def setUp(self):
        self.bed = Bed()
        self.alice, self.bob = self.bed.net()
        self.hsm = SoftHsm(self.alice)
        self.hsm.add(b'ppk-of-bob', PPK)
        self.a = Charon(self.alice, self.hsm.plugin(), env=self.hsm.env).start()

    def tearDown(self):
        self.a.alive()
        self.bed.close()

    def load(self, **more):
        self.a.load(conf.swanctl([conf.connection(self.alice, self.bob, local_id=self.alice.outer, remote_id=self.bob.outer,
                                                  **more)], psk=conf.PSK))

    def pluto(self, value=PPK, ppk='insist'):
        return libreswan.Pluto(self.bob, PROGRAMS).start(self.alice, ppk, 'ppk-of-bob', value, conf.PSK)

    def test_plugin_initiates(self):
        pluto = self.pluto()
        self.load(ppk_id='ppk-of-bob', required=True)
        self.a.initiate(check=False)
        self.assertIn('/PPK', self.a.sas(), self.a.text() + pluto.text())
        self.assertIn('PPK', pluto.text())
        print('   ', *(line for line in pluto.text().splitlines() if 'PPK' in line or 'prf' in line), sep='\n    ')

    def test_libreswan_initiates(self):
        pluto = self.pluto()
        self.load(required=True)
        pluto.initiate()
        self.a.expect("using PPK for PPK_ID 'ppk-of-bob'")
        wait_for(lambda: 'established IKE SA' in pluto.text(), 5, 'pluto says that the IKE SA is up\n' + pluto.text())
        print('   ', *(line for line in pluto.text().splitlines() if 'PPK' in line or 'established' in line), sep='\n    ')

    def test_wrong_ppk(self):
        pluto = self.pluto(value=bytes(32))
        self.load(ppk_id='ppk-of-bob', required=True)
        self.a.initiate(check=False)
        self.assertNotIn('ESTABLISHED', self.a.sas())
        mark = self.a.mark()
        pluto.initiate()
        self.assertNotIn('ESTABLISHED', self.a.sas())
        self.assertNotIn('using PPK', self.a.since(mark))


if __name__ == '__main__':
    isolate(os.environ['PPK_PLUGIN'])
    home = Bed()
    PROGRAMS = libreswan.unpack(home.dir)
    if not PROGRAMS:
        print('skipped: the Debian package libreswan cannot be downloaded')
        sys.exit(SKIPPED)
    unittest.main(verbosity=2)
