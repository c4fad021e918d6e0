# SPDX-License-Identifier: GPL-2.0-or-later
"""A keyring that says *required* is obeyed however the IKE_SA comes about: in IKEv1, while the token hangs, in a retry. And what is not
required comes up."""
import os
import subprocess
import time
import unittest

import conf
import keysource
from testbed import Charon, isolate, wait_for
from two_ends import TwoEnds

BOUND_MS = 1500


class Required(TwoEnds):
    def established(self):
        return [charon.sas().count('ESTABLISHED') for charon in (self.a, self.b)]

    def ikev1(self, required, version='version = 1'):
        """Alice initiates in IKEv1, where Bob's keyring may require a PPK."""
        self.start({'required': False}, {'required': required})
        self.a.load(conf.swanctl([conf.connection(self.alice, self.bob).replace('version = 2', 'version = 1')]))
        self.b.load(conf.swanctl([conf.connection(self.bob, self.alice).replace('version = 2', version)]))
        self.a.initiate(check=False)

    def test_ikev1_responder(self):
        self.ikev1(True)
        self.assertEqual(self.established(), [0, 0])
        self.assertIn("ppk: error: the keyring requires a PPK with peer 'to-alice'", self.b.text())

    def test_ikev1_responder_of_any_version(self):
        """swanctl.conf says nothing of versions."""
        self.ikev1(True, '')
        self.assertEqual(self.established(), [0, 0])
        self.assertIn("ppk: error: the keyring requires a PPK with peer 'to-alice'", self.b.text())

    def test_ikev1_responder_by_identity(self):
        """The peer is known by its name only, which comes late in main mode."""
        self.start({'required': False}, {'required': True, 'by': 'name', 'peer': 'alice'})
        for charon, me, other in ((self.a, self.alice, self.bob), (self.b, self.bob, self.alice)):
            charon.load(conf.swanctl([conf.connection(me, other).replace('version = 2', 'version = 1')]))
        self.a.initiate(check=False)
        self.assertEqual(self.established(), [0, 0])
        self.assertIn("ppk: error: the keyring requires a PPK with peer 'alice'", self.b.text())

    def test_ikev1_aggressive(self):
        self.start({'required': False}, {'required': True}, settings='i_dont_care_about_security_and_use_aggressive_mode_psk = yes')
        for charon, me, other in ((self.a, self.alice, self.bob), (self.b, self.bob, self.alice)):
            charon.load(conf.swanctl([conf.connection(me, other, extra='aggressive = yes').replace('version = 2', 'version = 1')]))
        self.a.initiate(check=False)
        wait_for(lambda: self.established() == [0, 0], 5, f'nothing is up: {self.established()}')
        self.assertIn("ppk: error: the keyring requires a PPK with peer 'to-alice'", self.b.text())

    def test_ikev1_not_required(self):
        self.ikev1(False)
        self.assertEqual(self.established(), [1, 1])

    def of_any_case(self, said, known, expected, version='version = 2'):
        """Alice says that she is `said`; Bob's keyring knows her as `known`, and his connection as `expected`."""
        self.start({'required': False, 'manual': ('x', b'5' * 32), 'by': 'name', 'peer': 'nobody'},
                   {'required': True, 'by': 'name', 'peer': known})
        for charon, me, other, ids in ((self.a, self.alice, self.bob, {'local_id': said}),
                                       (self.b, self.bob, self.alice, {'remote_id': expected})):
            charon.load(conf.swanctl([conf.connection(me, other, **ids).replace('version = 2', version)]))
        self.a.initiate(check=False)
        self.assertEqual(self.established(), [0, 0])
        self.assertIn(f"""ppk: error: the keyring requires a PPK with peer '{known.strip('"')}'""", self.b.text())

    def test_identity_in_another_case(self):
        self.of_any_case('ALICE', 'alice', 'alice')

    def test_identity_in_another_case_for_anybody(self):
        self.of_any_case('ALICE', 'alice', '%any')

    def test_identity_in_another_case_than_the_connection(self):
        """What the connection expects is how the keyring has it."""
        self.of_any_case('alicE', 'Alice', 'Alice')

    def test_identity_in_another_case_than_the_keyring_for_anybody(self):
        self.of_any_case('ALICE', 'Alice', '%any')

    def test_name_in_another_case_for_anybody(self):
        self.of_any_case('"C=DE, CN=ALICE"', '"C=DE, CN=alice"', '%any')

    def test_identity_in_another_case_ikev1(self):
        self.of_any_case('ALICE', 'alice', 'alice', 'version = 1')

    def test_responder_turns_out_to_be_in_the_keyring(self):
        """The initiator's connection takes anybody, and the keyring knows the responder by its name only."""
        self.start({'required': True, 'by': 'name', 'peer': 'bob'}, {'required': False, 'by': 'name', 'peer': 'nobody'})
        self.a.load(conf.swanctl([conf.connection(self.alice, self.bob, remote_id='%any')]))
        self.b.load(conf.swanctl([conf.connection(self.bob, self.alice)]))
        self.a.initiate(check=False)
        self.assertEqual(self.a.sas().count('ESTABLISHED'), 0)
        self.assertIn("ppk: error: the keyring requires a PPK with peer 'bob'", self.a.text())

    def faulty(self, required, timeout=BOUND_MS, ends=('peer',)):
        """Alice's token is behind a module that hangs on demand; Bob's keyring requires nothing."""
        self.control = self.bed.dir / 'control'
        self.control.write_text('')
        self.ta = keysource.Token(self.alice, self.bob, self.ka, remote='Bob', required=required)
        self.ta.publish()
        self.tb = keysource.Token(self.bob, self.alice, self.kb, remote='Alice', required=False)
        self.a = Charon(self.alice, {'module': os.environ['PPK_FAULTY'], 'token': 'dynamic', 'timeout': timeout},
                        env={**self.ta.env, 'FAULTY_MODULE': str(keysource.TOKEN), 'FAULTY_CONTROL': str(self.control)}).start()
        self.b = Charon(self.bob, self.tb.plugin(), env=self.tb.env).start()
        for charon, me, other in ((self.a, self.alice, self.bob), (self.b, self.bob, self.alice)):
            charon.load(conf.swanctl([conf.connection(me, other, name=name, childless=name != 'peer', extra='unique = never')
                                      for name in ends]))

    def test_token_hangs_and_peer_is_known(self):
        """What the keyring said of a peer before holds as long as the token does not answer."""
        for required, count in ((True, [0, 0]), (False, [1, 1])):
            self.faulty(required)
            self.a.initiate()
            self.assertIn('/PPK', self.a.sas())
            self.a.terminate()
            self.control.write_text('hang C_FindObjectsInit')
            self.a.initiate(check=False)
            self.assertEqual(self.established(), count, self.a.text()[-3000:])
            self.assertNotIn('/PPK', self.a.sas())
            self.assertIn('the token cannot be asked about this peer', self.a.text())
            self.control.write_text('')
            for charon in (self.a, self.b):
                self.assertEqual(charon.stop(), 0)
            (self.alice.dir / 'charon.log').unlink()
            (self.alice.dir / 'status').rename(self.bed.dir / f'status-{required}')
        self.a = self.b = None

    def test_token_hangs_and_peer_is_unknown(self):
        """The token was there, so there is a keyring; nobody knows what it says of this peer."""
        self.faulty(False)
        self.control.write_text('hang C_FindObjectsInit')
        self.a.initiate(check=False)
        self.assertEqual(self.established(), [0, 0])
        self.assertIn('the token cannot be asked about this peer', self.a.text())
        self.control.write_text('')
        wait_for(lambda: self.a.initiate(check=False) and '/PPK' in self.a.sas(), 10, 'up with a PPK again')

    def test_responders_token_hangs(self):
        """The other way round: the peer that knocks is not known, and the token hangs."""
        self.faulty(False)
        self.control.write_text('hang C_FindObjectsInit')
        self.b.initiate(check=False)
        self.assertEqual(self.established(), [0, 0])
        self.control.write_text('')

    def counted(self, what):
        return self.ta.counted().get(what)

    def test_ppk_is_destroyed_though_module_hangs(self):
        """An IKE_SA ends while a call of another one is overdue: its PPK goes when the module answers again."""
        self.faulty(True, 3000, ('peer', 'other'))
        self.a.swanctl('--initiate', '--ike', 'peer', '--timeout', '-1')
        self.a.expect('new dynamic PPK')
        self.b.process.send_signal(19)
        time.sleep(0.1)
        self.control.write_text('hang C_FindObjects')
        waiting = subprocess.Popen(['swanctl', '--initiate', '--ike', 'other', '--timeout', '8', '--uri', self.a.socket],
                                   env=self.a.env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.a.expect('did not answer within 3000 ms', seconds=8)
        self.a.terminate('peer', force=True)
        time.sleep(0.5)
        self.control.write_text('')
        self.b.process.send_signal(18)
        waiting.wait(20)
        self.a.terminate('other', force=True)
        wait_for(lambda: self.counted('ppks-held') == 0, 10, f'no PPK is held: {self.ta.counted()}')
        self.assertGreaterEqual(self.counted('ppks-destroyed'), 1)

    def test_retry_asks_the_keyring_anew(self):
        """ppk.conf changes while the peer is away: the retry goes by what it says now."""
        self.start({'manual': ('site-1', bytes(range(32)))})
        self.bob.ip('addr', 'del', f'{self.bob.outer}/24', 'dev', 'eth0')
        self.a.load(conf.swanctl([conf.connection(self.alice, self.bob, extra='keyingtries = 0')]))
        self.b.load(conf.swanctl([conf.connection(self.bob, self.alice)]))
        self.a.swanctl('--initiate', '--child', 'net', '--timeout', '-1')
        self.a.expect('retransmit 1')
        keysource.Token(self.alice, self.bob, self.ka, remote='Bob')
        time.sleep(2)
        self.bob.ip('addr', 'add', f'{self.bob.outer}/24', 'dev', 'eth0')
        for charon in (self.a, self.b):
            wait_for(lambda c=charon: '/PPK' in c.sas(), 30, f'up with the new PPK\n{self.a.text()[-3000:]}')
        self.assertIn('ppk: new dynamic PPK', self.a.text())


if __name__ == '__main__':
    isolate(os.environ['PPK_PLUGIN'])
    unittest.main(verbosity=2)
