# SPDX-License-Identifier: GPL-2.0-or-later
"""With the token behind p11-kit server, charon never holds the PPK: its whole memory is searched for it at several
moments. The same search finds the PPK in a stock charon. And what happens when that server dies."""
import os
import secrets
import time
import unittest

import conf
import memory
from p11kit import CLIENT, Server
from softhsm import MODULE, PIN, SoftHsm
from testbed import Bed, Charon, isolate


class Remote(unittest.TestCase):
    """Alice: plugin, p11-kit's client, server, SoftHSM. Bob: stock charon with the PPK in swanctl.conf."""

    @classmethod
    def setUpClass(cls):
        cls.bed = Bed()
        cls.alice, cls.bob = cls.bed.net()
        cls.hsm = SoftHsm(cls.alice)
        cls.ppk = secrets.token_bytes(32)
        cls.hsm.add(b'static-1', cls.ppk)
        cls.control = cls.bed.dir / 'control'
        cls.control.write_text('')
        cls.server = Server(cls.alice, os.environ['PPK_FAULTY'], 'pkcs11:token=ppk',
                            {**cls.hsm.env, 'FAULTY_MODULE': MODULE, 'FAULTY_CONTROL': str(cls.control)}).start()
        cls.a = Charon(cls.alice, {'module': CLIENT, 'token': 'ppk', 'pin': PIN, 'timeout': 8000}, env=cls.server.env).start()
        cls.b = Charon(cls.bob).start()

    @classmethod
    def tearDownClass(cls):
        cls.bed.close()

    def setUp(self):
        self.control.write_text('')
        self.a.load(conf.swanctl([conf.connection(self.alice, self.bob, ppk_id='static-1', required=True)]))
        self.b.load(conf.swanctl([conf.connection(self.bob, self.alice, ppk_id='static-1', required=True)],
                                 [('static-1', self.ppk.hex())]))

    def tearDown(self):
        self.control.write_text('')
        self.a.terminate()

    def check_absent(self, moment):
        found, searched = memory.search(self.a.process.pid, self.ppk)
        print(f'    charon with the plugin, {moment}: {searched >> 20} MiB searched, found {len(found)} times')
        self.assertGreater(searched, 1 << 20)
        self.assertEqual(found, [])

    def test_charon_never_holds_the_ppk(self):
        self.check_absent('before')
        self.control.write_text('hang C_SignInit')
        waiting = self.bed.start(['swanctl', '--initiate', '--child', 'net', '--timeout', '30', '--uri', self.a.socket],
                                 env=self.a.env)
        self.a.expect("manual PPK 'static-1' is in the token")
        time.sleep(0.2)
        self.check_absent('while the token derives')
        self.control.write_text('')
        waiting.wait(20)
        self.assertIn('/PPK', self.a.sas(), self.a.text())
        self.assertIn('0% packet loss', self.alice.ping(self.bob))
        self.check_absent('with the IKE_SA up')
        self.a.swanctl('--rekey', '--ike', 'peer', '--reauth')
        self.a.expect('IKE_SA peer[2] established')
        self.check_absent('after reauthentication')
        self.a.terminate()
        self.check_absent('with the IKE_SA gone')
        found, searched = memory.search(self.b.process.pid, self.ppk)
        print(f'    stock charon with the same PPK: {searched >> 20} MiB searched, found {len(found)} times: {found[:2]}')
        self.assertNotEqual(found, [], 'the search finds nothing: it shows nothing')

    def test_responder(self):
        self.b.initiate()
        self.assertIn('/PPK', self.a.sas())
        self.check_absent('as responder, with the IKE_SA up')

    def test_server_dies_and_comes_back(self):
        self.a.initiate()
        self.a.terminate()
        mark = self.a.mark()
        self.server.stop()
        self.a.initiate(check=False)
        self.assertNotIn('ESTABLISHED', self.a.sas())
        self.a.alive()
        print('   ', next(line for line in self.a.since(mark).splitlines() if 'ppk: ' in line))
        self.server.start()
        time.sleep(2.2)
        self.a.initiate()
        self.assertIn('/PPK', self.a.sas())

    def test_server_dies_while_it_derives(self):
        self.control.write_text('hang C_SignInit')
        mark = self.a.mark()
        waiting = self.bed.start(['swanctl', '--initiate', '--child', 'net', '--timeout', '30', '--uri', self.a.socket],
                                 env=self.a.env)
        self.a.expect("manual PPK 'static-1' is in the token", mark)
        self.server.stop()
        waiting.wait(20)
        self.a.alive()
        self.assertNotIn('ESTABLISHED', self.a.sas())
        self.a.expect("the token does not derive with PPK 'static-1'", mark)
        self.control.write_text('')
        self.server.start()
        time.sleep(2.2)
        self.a.initiate()
        self.assertIn('/PPK', self.a.sas())


if __name__ == '__main__':
    isolate(os.environ['PPK_PLUGIN'])
    unittest.main(verbosity=2)
