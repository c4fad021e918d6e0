# SPDX-License-Identifier: GPL-2.0-or-later
"""Dynamic PPKs with every way by which the ends of an IKE_SA prove who they are: the PPK goes into the AUTH payloads of each."""
import os
import sys
import pathlib
import unittest

import conf
from testbed import isolate, wait_for
from two_ends import TwoEnds

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent))
from authority import Authority  # pylint: disable=wrong-import-position

PASSWORD = 'a password of EAP'


class Authentication(TwoEnds):
    def certify(self, rsa=False):
        """A certificate for each end, where swanctl finds it."""
        self.authority = Authority(str(self.bed.dir))
        for host in (self.alice, self.bob):
            self.authority.sign(host.name, f'DNS:{host.name}', rsa=rsa)
            for folder, file in (('x509ca', 'ca.pem'), ('x509', f'{host.name}.pem'), ('private', f'{host.name}.key')):
                (host.dir / folder).mkdir(exist_ok=True)
                (host.dir / folder / file).write_bytes((self.bed.dir / file).read_bytes())

    def up(self, mine, others, my_token=None, others_token=None, eap=()):
        """Starts both, with these arguments of connection(), and initiates at Alice's."""
        self.start(my_token, others_token, modular=True)
        for charon, me, other, words in ((self.a, self.alice, self.bob, mine), (self.b, self.bob, self.alice, others)):
            charon.load(conf.swanctl([conf.connection(me, other, **words)], eap=eap))
        self.a.initiate(check=False)

    def check_up(self):
        """An IKE_SA with one PPK, and traffic; also after a reauthentication, with another PPK."""
        print('   ', self.check_ids(1)[0])
        for charon in (self.a, self.b):
            sas = charon.sas()
            self.assertEqual((sas.count('ESTABLISHED'), sas.count('/PPK')), (1, 1), charon.text()[-4000:])
        self.assertIn('0% packet loss', self.alice.ping(self.bob))
        self.a.swanctl('--rekey', '--ike', 'peer', '--reauth')
        self.a.expect('IKE_SA peer[2] established')
        self.check_ids(2)
        wait_for(lambda: self.b.sas().count('ESTABLISHED') == 1, 5, 'the old IKE_SA is gone')
        self.assertIn('/PPK', self.b.sas())

    @staticmethod
    def certificate(name):
        return f'auth = pubkey\n      certs = {name}.pem'

    def signers(self):
        return [{'local_auth': self.certificate(name), 'remote_auth': 'auth = pubkey'} for name in ('alice', 'bob')]

    def test_ecdsa(self):
        self.certify()
        self.up(*self.signers())
        self.check_up()

    def test_rsa(self):
        self.certify(rsa=True)
        self.up(*self.signers())
        self.check_up()

    def test_signatures_and_wrong_ppk(self):
        """A good signature over AUTH data without the right PPK is no proof."""
        self.certify()
        self.up(*self.signers(), {'manual': ('site', b'5' * 32)}, {'manual': ('site', b'6' * 32)})
        for charon in (self.a, self.b):
            self.assertNotIn('ESTABLISHED', charon.sas())
        self.b.expect('signature validation failed')

    def eap(self, method, *tokens):
        """The initiator by EAP, the responder by its certificate."""
        self.certify()
        self.up({'local_auth': f'auth = eap-{method}\n      eap_id = alice\n      certs = alice.pem', 'remote_auth': 'auth = pubkey'},
                {'local_auth': self.certificate('bob'), 'remote_auth': f'auth = eap-{method}\n      eap_id = %any'}, *tokens,
                eap=[('alice', PASSWORD)])

    def test_eap_md5(self):
        """A method without a key: AUTH is made of SK_pi and SK_pr (RFC 7296, section 2.16)."""
        self.eap('md5')
        self.check_up()

    def test_eap_tls(self):
        """A method with a key of its own."""
        self.eap('tls')
        self.check_up()

    def test_eap_and_wrong_ppk(self):
        self.eap('md5', {'manual': ('site', b'5' * 32)}, {'manual': ('site', b'6' * 32)})
        for charon in (self.a, self.b):
            self.assertNotIn('ESTABLISHED', charon.sas())
        self.b.expect('verification of AUTH payload without EAP MSK failed')

    def test_two_rounds(self):
        """The initiator by PSK and then by its certificate (RFC 4739): two AUTH payloads with one PPK."""
        self.certify()
        second = '{\n      auth = pubkey\n      certs = alice.pem\n      id = alice\n    }'
        self.up({'rounds': f'local-2 {second}'}, {'rounds': f'remote-2 {second}'.replace('certs = alice.pem', '')})
        self.check_up()
        self.assertIn("authentication of 'alice' with ECDSA", self.b.text())
        self.assertIn("authentication of 'alice' with pre-shared key", self.b.text())


if __name__ == '__main__':
    isolate(os.environ['PPK_PLUGIN'])
    unittest.main(verbosity=2)
