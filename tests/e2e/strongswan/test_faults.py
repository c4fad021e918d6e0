# SPDX-License-Identifier: GPL-2.0-or-later
"""What is wrong with the module, the token, the PIN or the object: a clear line in the log, the connection as the RFC
says, nobody waits longer than the bound, and charon stays up."""
import os
import time
import unittest

import conf
from softhsm import MODULE, SoftHsm
from testbed import Bed, Charon, isolate

PPK = bytes(range(100, 132))
BOUND_MS = 1500


class Faults(unittest.TestCase):
    """Each test starts an Alice of its own with something wrong; Bob is stock, and has the PPK."""

    @classmethod
    def setUpClass(cls):
        cls.bed = Bed()
        cls.alice, cls.bob = cls.bed.net()
        cls.hsm = SoftHsm(cls.alice)
        cls.hsm.add(b'static-1', PPK)
        cls.b = Charon(cls.bob).start()
        cls.control = cls.bed.dir / 'control'

    @classmethod
    def tearDownClass(cls):
        cls.bed.close()

    def setUp(self):
        self.control.write_text('')
        self.a = None

    def tearDown(self):
        self.control.write_text('')
        if self.a:
            self.a.alive()
            begun = time.monotonic()
            self.assertEqual(self.a.stop(), 0, self.a.text()[-2000:])
            self.assertLess(time.monotonic() - begun, 9)
            (self.alice.dir / 'charon.log').unlink()
        self.b.terminate()

    def charon(self, **plugin):
        self.a = Charon(self.alice, self.hsm.plugin(**{'timeout': BOUND_MS, **plugin}),
                        env={**self.hsm.env, 'FAULTY_MODULE': MODULE, 'FAULTY_CONTROL': str(self.control)}).start()
        return self.a

    def faulty(self, **plugin):
        return self.charon(module=os.environ['PPK_FAULTY'], **plugin)

    def load(self, required):
        self.a.load(conf.swanctl([conf.connection(self.alice, self.bob, ppk_id='static-1', required=required)]))
        self.b.load(conf.swanctl([conf.connection(self.bob, self.alice, ppk_id='static-1')], [('static-1', PPK.hex())]))

    def initiate(self, required):
        self.load(required)
        begun = time.monotonic()
        self.a.initiate(check=False)
        self.seconds = time.monotonic() - begun
        sas = self.a.sas()
        self.a.alive()
        self.a.terminate()
        return 'without' if 'ESTABLISHED' in sas and '/PPK' not in sas else 'with' if '/PPK' in sas else 'none'

    def check_no_ppk(self, line):
        """The log has the line; mandatory: no SA; optional: an SA without PPK."""
        self.assertIn(line, self.a.text())
        self.assertEqual(self.initiate(True), 'none')
        self.assertEqual(self.initiate(False), 'without', self.a.text()[-3000:])
        print('    log:', next(text for text in self.a.text().splitlines() if line in text))

    def test_no_module(self):
        self.charon(module='')
        self.check_no_ppk('no PKCS#11 module is configured')

    def test_wrong_module_path(self):
        self.charon(module='/nowhere/module.so')
        self.check_no_ppk('cannot load the PKCS#11 module: /nowhere/module.so')

    def test_not_a_module(self):
        self.charon(module='libm.so.6')
        self.check_no_ppk('libm.so.6 is not a PKCS#11 module')

    def test_wrong_token(self):
        self.charon(token='another')
        self.check_no_ppk("no token 'another' in the module; it has 'ppk'")

    def test_wrong_pin_is_tried_once(self):
        self.charon(pin='9999999')
        self.check_no_ppk('C_Login: CKR_PIN_INCORRECT')
        self.assertEqual(self.a.text().count('CKR_PIN_INCORRECT'), 1)
        self.assertIn('the token refused the PIN before', self.a.text())

    def test_locked_pin(self):
        self.control.write_text('C_Login 0xA4')
        self.faulty()
        self.check_no_ppk('C_Login: CKR_PIN_LOCKED')

    def test_module_that_cannot_start_comes_back(self):
        self.control.write_text('C_Initialize 0x30')
        self.faulty()
        self.check_no_ppk('C_Initialize: CKR_DEVICE_ERROR')
        self.control.write_text('')
        time.sleep(2.5)
        self.assertEqual(self.initiate(True), 'with', self.a.text())

    def test_session_is_lost(self):
        self.faulty()
        self.assertEqual(self.initiate(True), 'with')
        self.control.write_text('C_SignInit 0xB3')
        self.assertEqual(self.initiate(True), 'none')
        self.assertIn("the token does not derive with PPK 'static-1': C_SignInit: CKR_SESSION_HANDLE_INVALID", self.a.text())
        self.control.write_text('')
        self.assertEqual(self.initiate(True), 'with')

    def test_device_error(self):
        self.faulty()
        self.control.write_text('C_FindObjects 0x30')
        self.assertEqual(self.initiate(True), 'none')
        self.assertIn('C_FindObjects: CKR_DEVICE_ERROR', self.a.text())
        self.control.write_text('')
        self.assertEqual(self.initiate(True), 'with')

    def test_object_is_gone(self):
        """The PPK vanishes between the search and the derivation."""
        self.faulty()
        self.control.write_text('C_SignInit 0x60')
        self.assertEqual(self.initiate(True), 'none')
        self.assertIn('C_SignInit: CKR_KEY_HANDLE_INVALID', self.a.text())
        self.assertEqual(self.initiate(False), 'none', 'an AUTH that cannot be made is not sent')
        self.control.write_text('')
        self.hsm.delete(b'static-1')
        try:
            self.assertEqual(self.initiate(True), 'none')
            self.assertIn("no PPK 'static-1'", self.a.text())
        finally:
            self.hsm.add(b'static-1', PPK)

    def check_hang(self, call):
        self.faulty()
        self.assertEqual(self.initiate(True), 'with')
        self.control.write_text(f'hang {call}')
        self.assertEqual(self.initiate(True), 'none')
        print(f'    hang in {call}: initiate failed after {self.seconds:.2f} s, bound {BOUND_MS} ms')
        self.assertLess(self.seconds, 2 * BOUND_MS / 1000 + 1)
        self.assertIn(f'the PKCS#11 module did not answer within {BOUND_MS} ms', self.a.text())
        begun = time.monotonic()
        for _ in range(5):
            self.assertEqual(self.initiate(True), 'none')
            self.a.sas()
        self.assertLess(time.monotonic() - begun, 5, 'a module known to hang must not be waited for again')
        self.assertIn('the PKCS#11 module hangs', self.a.text())

    def test_hang_in_search(self):
        self.check_hang('C_FindObjects')
        self.control.write_text('')
        time.sleep(0.3)
        self.assertEqual(self.initiate(True), 'with', self.a.text()[-3000:])

    def test_hang_in_derivation(self):
        self.check_hang('C_SignInit')

    def test_hang_at_start_and_end(self):
        """charon starts although the module does not, and ends although a call is still inside."""
        self.control.write_text('hang C_Initialize')
        begun = time.monotonic()
        self.faulty()
        self.assertLess(time.monotonic() - begun, BOUND_MS / 1000 + 3)
        self.assertIn(f'the PKCS#11 module did not answer within {BOUND_MS} ms', self.a.text())
        self.assertEqual(self.initiate(False), 'without')
        self.assertEqual(self.a.stop(), 0)
        (self.alice.dir / 'charon.log').unlink()
        self.a = None

    def test_others_go_on(self):
        """While the module hangs under one IKE_SA, another one that needs no PPK comes up."""
        self.faulty(timeout=6000)
        self.a.load(conf.swanctl([conf.connection(self.alice, self.bob, ppk_id='static-1', required=True),
                                  conf.connection(self.alice, self.bob, name='plain', childless=True, local_id='alice2',
                                                  remote_id='bob2')]))
        self.b.load(conf.swanctl([conf.connection(self.bob, self.alice),
                                  conf.connection(self.bob, self.alice, name='plain', childless=True, local_id='bob2',
                                                  remote_id='alice2')], [('static-1', PPK.hex())]))
        self.control.write_text('hang C_SignInit')
        waiting = self.bed.start(['swanctl', '--initiate', '--child', 'net', '--timeout', '20', '--uri', self.a.socket],
                                 env=self.a.env)
        self.a.expect("manual PPK 'static-1' is in the token")
        begun = time.monotonic()
        self.b.initiate_ike('plain')
        print(f'    up after {time.monotonic() - begun:.2f} s while another IKE_SA waits for the module')
        self.assertIsNone(waiting.poll(), 'the other IKE_SA no longer waits: this shows nothing')
        self.assertLess(time.monotonic() - begun, 3)
        waiting.wait(20)

    def test_no_pin(self):
        self.charon(pin='')
        self.assertEqual(self.initiate(True), 'none')
        self.assertIn("no PPK 'static-1' of peer '(not in the keyring)': no PPK with this ID in the token", self.a.text())


if __name__ == '__main__':
    isolate(os.environ['PPK_PLUGIN'])
    unittest.main(verbosity=2)
