# SPDX-License-Identifier: GPL-2.0-or-later
"""RFC 8784's cases, a charon with the plugin (PPKs in SoftHSM) against a stock charon, both directions, and against an
initiator of our own that also misbehaves."""
import hmac
import json
import os
import re
import sys
import unittest

import conf
from softhsm import SoftHsm
from testbed import Bed, Charon, isolate, run

HERE = os.path.dirname(os.path.abspath(__file__))
PPK = bytes(range(100, 132))
LONG_PPK = bytes(range(64))
AUTHENTICATION_FAILED, USE_PPK = 24, 16435


def keys_of(log, name='Sk_d secret'):
    """All values of a secret in a level 4 log, in order, as hex."""
    found = []
    lines = iter(log.splitlines())
    line = next(lines, None)
    while line is not None:
        match = re.search(re.escape(name) + r' => (\d+) bytes', line)
        line = next(lines, None)
        if not match:
            continue
        value = ''
        while line is not None and len(value) < 2 * int(match.group(1)):
            row = re.search(r'\s\d+: ((?:[0-9A-F]{2} )+)', line)
            if not row:
                break
            value += row.group(1).replace(' ', '').lower()
            line = next(lines, None)
        found.append(value)
    return found


class Pair(unittest.TestCase):
    """Alice has the plugin, Bob is a stock charon."""

    @classmethod
    def setUpClass(cls):
        cls.bed = Bed()
        cls.alice, cls.bob = cls.bed.net()
        cls.hsm = SoftHsm(cls.alice)
        cls.hsm.add(b'static-1', PPK)
        cls.hsm.add(b'long-1', LONG_PPK)
        cls.hsm.add(bytes.fromhex('00ff10203040506070'), PPK)
        cls.a = Charon(cls.alice, cls.hsm.plugin(), env=cls.hsm.env, level=4, settings='max_packet = 66000').start()
        cls.b = Charon(cls.bob, level=4).start()

    @classmethod
    def tearDownClass(cls):
        cls.bed.close()

    def setUp(self):
        self.marks = {c: c.mark() for c in (self.a, self.b)}

    def tearDown(self):
        for charon in (self.a, self.b):
            charon.terminate()
            charon.alive()

    def load(self, mine, others, ppks=(('static-1', PPK),)):
        """mine, others: arguments of connection() for Alice and for Bob."""
        self.a.load(conf.swanctl([conf.connection(self.alice, self.bob, **mine)]))
        self.b.load(conf.swanctl([conf.connection(self.bob, self.alice, **others)],
                                 [(name, value.hex()) for name, value in ppks]))

    def log(self, charon):
        return charon.since(self.marks[charon])

    def check_up(self, ppk=True):
        for charon in (self.a, self.b):
            sas = charon.sas()
            self.assertIn('ESTABLISHED', sas)
            self.assertEqual('/PPK' in sas, ppk, sas)

    def check_no_sa(self):
        for charon in (self.a, self.b):
            self.assertNotIn('ESTABLISHED', charon.sas())

    def check_mixed(self, ppk, digest='sha256'):
        """SK_d after mixing, in both logs, is prf(PPK, SK_d' | 1) as Python computes it."""
        for charon in (self.a, self.b):
            before, after = keys_of(self.log(charon))[:2]
            expected = hmac.new(ppk, bytes.fromhex(before) + b'\x01', digest).hexdigest()
            print(f"    {charon.host.name}: SK_d' {before[:16]}… SK_d {after[:16]}… expected {expected[:16]}…")
            self.assertEqual(after, expected)


class Rfc8784(Pair):
    def test_both_mandatory_plugin_initiates(self):
        self.load({'ppk_id': 'static-1', 'required': True}, {'ppk_id': 'static-1', 'required': True})
        self.a.initiate()
        self.check_up()
        self.check_mixed(PPK)
        self.assertIn('0% packet loss', self.alice.ping(self.bob))
        self.a.swanctl('--rekey', '--ike', 'peer')
        self.a.expect('rekeyed', self.marks[self.a])
        self.a.swanctl('--rekey', '--child', 'net')
        self.assertIn('0% packet loss', self.alice.ping(self.bob))

    def test_both_mandatory_plugin_responds(self):
        self.load({'required': True}, {'ppk_id': 'static-1', 'required': True})
        self.b.initiate()
        self.check_up()
        self.check_mixed(PPK)
        self.assertIn('0% packet loss', self.bob.ping(self.alice))

    def test_other_prfs(self):
        for digest in ('sha1', 'sha384', 'sha512'):
            with self.subTest(digest):
                self.setUp()
                suite = f'aes128-sha256-prf{digest}-curve25519'
                self.load({'ppk_id': 'long-1', 'required': True, 'proposals': suite},
                          {'ppk_id': 'long-1', 'required': True, 'proposals': suite}, [('long-1', LONG_PPK)])
                self.a.initiate()
                self.check_up()
                self.check_mixed(LONG_PPK, digest)
                self.a.terminate()

    def test_128_bit_prf_is_refused(self):
        suite = 'aes128-sha256-prfaesxcbc-curve25519'
        self.load({'ppk_id': 'static-1', 'required': True, 'proposals': suite},
                  {'ppk_id': 'static-1', 'required': True, 'proposals': suite})
        self.a.initiate(check=False)
        self.check_no_sa()
        self.assertIn('a PPK is not used with', self.log(self.a))

    def test_initiator_optional_responder_without(self):
        self.load({'ppk_id': 'static-1'}, {}, [])
        self.a.initiate()
        self.check_up(ppk=False)

    def test_initiator_mandatory_responder_without(self):
        self.load({'ppk_id': 'static-1', 'required': True}, {}, [])
        self.assertIn('PPK required but peer does not support PPK', self.a.initiate(check=False))
        self.check_no_sa()

    def test_initiator_optional_responder_knows_another(self):
        """No PPK_IDENTITY in the answer: revert, by NO_PPK_AUTH."""
        self.load({'ppk_id': 'static-1'}, {}, [('another', LONG_PPK)])
        self.a.initiate()
        self.check_up(ppk=False)
        self.assertIn('N(NO_PPK)', self.log(self.a))

    def test_initiator_mandatory_responder_knows_another(self):
        self.load({'ppk_id': 'static-1', 'required': True}, {}, [('another', LONG_PPK)])
        self.a.initiate(check=False)
        self.check_no_sa()
        self.assertNotIn('N(NO_PPK)', self.log(self.a))

    def test_initiator_has_no_such_ppk(self):
        self.load({'ppk_id': 'nobody-knows', 'required': True}, {'required': True})
        self.a.initiate(check=False)
        self.check_no_sa()
        self.assertIn("no PPK 'nobody-knows'", self.log(self.a))

    def test_initiator_optional_has_no_such_ppk(self):
        self.load({'ppk_id': 'nobody-knows'}, {})
        self.a.initiate()
        self.check_up(ppk=False)
        self.assertIn("warning: no PPK 'nobody-knows'", self.log(self.a))

    def test_responder_mandatory_initiator_without(self):
        self.load({'required': True}, {})
        self.b.initiate(check=False)
        self.check_no_sa()
        self.assertIn('PPK required but peer does not support PPK', self.log(self.a))

    def test_responder_optional_initiator_without(self):
        self.load({}, {})
        self.b.initiate()
        self.check_up(ppk=False)

    def test_responder_unknown_id_optional_both(self):
        self.load({}, {'ppk_id': 'unknown'}, [('unknown', LONG_PPK)])
        self.b.initiate()
        self.check_up(ppk=False)
        self.assertIn('N(NO_PPK)', self.log(self.a))

    def test_responder_unknown_id_initiator_mandatory(self):
        self.load({}, {'ppk_id': 'unknown', 'required': True}, [('unknown', LONG_PPK)])
        self.b.initiate(check=False)
        self.check_no_sa()
        self.assertIn("no PPK 'unknown'", self.log(self.a))

    def test_wrong_ppk_either_way(self):
        self.load({'ppk_id': 'static-1', 'required': True}, {'ppk_id': 'static-1', 'required': True},
                  [('static-1', LONG_PPK)])
        for charon in (self.a, self.b):
            self.assertIn('AUTH_FAILED', charon.initiate(check=False))
            self.check_no_sa()

    def test_id_in_the_other_form(self):
        """The PPK's ID in the token is raw bytes; the peer sends hex text."""
        self.load({'required': True}, {'ppk_id': '00FF10203040506070', 'required': True}, [('00FF10203040506070', PPK)])
        self.b.initiate()
        self.check_up()
        self.check_mixed(PPK)

    def test_two_rounds_of_authentication(self):
        self.load({'ppk_id': 'static-1', 'required': True, 'extra': 'local-2 {\n auth = psk\n id = alice2\n }'},
                  {'ppk_id': 'static-1', 'required': True, 'extra': 'remote-2 {\n auth = psk\n id = alice2\n }'})
        self.a.initiate()
        self.check_up()


class OwnInitiator(Pair):
    """The plugin responds to an initiator that can do wrong. It sits where Bob's charon was."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.b.stop()
        cls.ids = {'1 byte': b'x', '64 bytes': bytes(range(1, 65)), '255 bytes': bytes(range(255)),
                   'NULs': b'\0a\0b\0', 'looks like an address': b'10.1.2.3', 'looks like a DN': b'C=CH, O=x',
                   '65000 bytes': b'L' * 65000}
        for ident in cls.ids.values():
            cls.hsm.add(ident, PPK)

    def tearDown(self):
        self.a.alive()
        self.a.terminate(force=True)

    def attempt(self, required=True, **ask):
        self.a.load(conf.swanctl([conf.connection(self.alice, self.bob, required=required)]))
        self.marks[self.a] = self.a.mark()
        ask = {'me': self.bob.outer, 'other': self.alice.outer, 'my_id': 'bob', 'other_id': 'alice', 'psk': conf.PSK,
               'inner': self.bob.inner, 'other_inner': self.alice.inner, **ask}
        out = run(*self.bob.inside(), sys.executable, f'{HERE}/ikev2.py', stdin=json.dumps(ask), timeout=40)
        result = json.loads(out)
        self.a.alive()
        return result

    def check_refused(self, result):
        self.assertIsNone(result.get('auth'), result)
        self.assertIn(AUTHENTICATION_FAILED, result['notifies'], result)

    def test_good(self):
        result = self.attempt(ppk=PPK.hex(), ppk_identity=(b'\2static-1').hex())
        self.assertEqual((result['auth'], result['ppk']), (True, True), result)
        self.assertEqual(keys_of(self.log(self.a))[:2], [result['sk_d_before'], result['sk_d']])
        print('    SK_d of charon and of our own initiator:', result['sk_d'][:16] + '…')

    def test_ids_of_all_kinds(self):
        for name, ident in self.ids.items():
            with self.subTest(name):
                result = self.attempt(ppk=PPK.hex(), ppk_identity=(b'\2' + ident).hex())
                self.assertEqual((result.get('auth'), result.get('ppk')), (True, True), self.log(self.a)[-2000:])
                self.a.terminate(force=True)

    def test_unusable_identities_are_refused(self):
        cases = {'no data': b'', 'type only': b'\2', 'OPAQUE': b'\1static-1', 'type 7': b'\7static-1'}
        for name, data in cases.items():
            for required in (True, False):
                with self.subTest(name, required=required):
                    self.check_refused(self.attempt(required, ppk=PPK.hex(), ppk_identity=data.hex()))
                    self.assertIn('ppk: warning: the peer\'s PPK_IDENTITY', self.log(self.a))

    def test_unusable_identity_with_no_ppk_auth(self):
        result = self.attempt(False, ppk=PPK.hex(), ppk_identity=b'\1static-1'.hex(), no_ppk_auth=True)
        self.assertEqual((result['auth'], result['ppk']), (True, False), result)

    def test_false_notify_length(self):
        for lie in (4, 7, 9, 60000):
            with self.subTest(lie):
                result = self.attempt(ppk=PPK.hex(), ppk_identity=b'\2static-1'.hex(), lie=lie)
                self.assertIsNone(result.get('auth'), result)

    def test_unknown_id(self):
        data = b'\2unknown'.hex()
        self.check_refused(self.attempt(False, ppk=PPK.hex(), ppk_identity=data))
        self.check_refused(self.attempt(True, ppk=PPK.hex(), ppk_identity=data, no_ppk_auth=True))
        result = self.attempt(False, ppk=PPK.hex(), ppk_identity=data, no_ppk_auth=True)
        self.assertEqual((result['auth'], result['ppk']), (True, False), result)

    def test_wrong_ppk_does_not_fall_back(self):
        self.check_refused(self.attempt(False, ppk=LONG_PPK.hex(), ppk_identity=b'\2static-1'.hex(), no_ppk_auth=True))

    def test_no_use_ppk_but_identity(self):
        self.check_refused(self.attempt(True, use_ppk=None, ppk=PPK.hex(), ppk_identity=b'\2static-1'.hex()))

    def test_junk_in_use_ppk(self):
        for junk in (b'a b', b'x' * 256, b'\0', b'nl\n', bytes(range(1, 40)), b'Ali\xffce', b'\xc0\xaf',
                     b'cut\xe2\x82', b'\xed\xa0\x80', b'\xf4\x90\x80\x80'):
            with self.subTest(junk):
                result = self.attempt(use_ppk=junk.hex(), ppk=PPK.hex(), ppk_identity=b'\2static-1'.hex())
                self.assertTrue(result['auth'], result)
                self.assertIn('which are no SKIP system ID', self.log(self.a))
                self.a.terminate(force=True)
        self.assertIn(USE_PPK, result['init'])

    def test_static_secret_is_no_reference(self):
        """A secret of 40 bytes under our ID in swanctl.conf is not taken for a reference, and goes to software."""
        secret = bytes(range(40))
        self.a.load(conf.swanctl([conf.connection(self.alice, self.bob, required=True)], [('mine', secret.hex())]))
        ask = {'me': self.bob.outer, 'other': self.alice.outer, 'my_id': 'bob', 'other_id': 'alice', 'psk': conf.PSK,
               'inner': self.bob.inner, 'other_inner': self.alice.inner, 'ppk': secret.hex(),
               'ppk_identity': b'\2mine'.hex()}
        result = json.loads(run(*self.bob.inside(), sys.executable, f'{HERE}/ikev2.py', stdin=json.dumps(ask), timeout=40))
        self.assertEqual((result.get('auth'), result.get('ppk')), (True, True), result)


if __name__ == '__main__':
    isolate(os.environ['PPK_PLUGIN'])
    unittest.main(verbosity=2)
