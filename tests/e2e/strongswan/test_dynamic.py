# SPDX-License-Identifier: GPL-2.0-or-later
"""Dynamic PPKs from end to end: two hosts, each with its own key source, token and charon."""
import os
import re
import shutil
import time
import unittest

import conf
import keysource
import memory
from p11kit import CLIENT, Isolated
from testbed import Charon, isolate, wait_for
from two_ends import TwoEnds

SPY = '/usr/lib/x86_64-linux-gnu/pkcs11/pkcs11-spy.so'


class Dynamic(TwoEnds):
    def reauthenticate(self):
        """Rekeys all that there is, then makes a new IKE_SA with a new PPK."""
        self.a.swanctl('--rekey', '--ike', 'peer')
        self.a.expect('rekeyed between')
        self.check_ids(1)
        self.a.swanctl('--rekey', '--child', 'net')
        self.assertIn('0% packet loss', self.alice.ping(self.bob))
        time.sleep(1.2)
        self.a.swanctl('--rekey', '--ike', 'peer', '--reauth')
        self.a.expect('IKE_SA peer[3] established')
        self.check_ids(2)
        time.sleep(0.5)

    def show(self, ppk_id):
        for charon in (self.a, self.b):
            sas = charon.sas()
            self.assertEqual(sas.count('ESTABLISHED'), 1, sas)
            line = next(text.strip() for text in sas.splitlines() if '/PPK' in text)
            print(f'    {charon.host.name}, PPK ID {ppk_id}: {line}')
        ping = self.alice.ping(self.bob)
        self.assertIn('0% packet loss', ping)
        print('   ', ping.splitlines()[1])

    def test_up_rekey_reauthenticate(self):
        """Up, ping, rekey, reauthenticate with a new ID, ping again."""
        self.start()
        self.load()
        self.a.initiate()
        self.show(self.check_ids(1)[0])
        self.reauthenticate()
        self.show(self.check_ids(2)[1])

    def check_absent(self, ppk, moment):
        for charon in (self.a, self.b):
            found, searched = memory.search(charon.process.pid, ppk)
            print(f'    {charon.host.name}, {moment}: {searched >> 20} MiB of charon searched for the PPK, found {len(found)} times')
            self.assertEqual(found, [])

    @unittest.skipIf('PPK_PRELOAD' in os.environ, "ASan's shadow memory cannot be searched")
    def test_must_show(self):
        """The token in processes of another user at both ends, as its units run it, and keys that this test knows: all of the above, and
        neither charon has the PPK in its memory, which the same search finds in a stock charon that is given it."""
        secret = os.urandom(32)
        self.ka, self.kb = (keysource.PlainSource(host, name, secret) for host, name in
                            ((self.alice, 'Alice'), (self.bob, 'Bob')))
        self.ta = keysource.Token(self.alice, self.bob, self.ka, remote='Bob')
        self.tb = keysource.Token(self.bob, self.alice, self.kb, remote='Alice')
        for token in (self.ta, self.tb):
            token.publish(Isolated.USER)
        servers = [Isolated(host, keysource.TOKEN, token.env).start()
                   for host, token in ((self.alice, self.ta), (self.bob, self.tb))]
        self.a, self.b = (Charon(server.host, {'module': CLIENT, 'token': 'dynamic'}, env=server.env).start()
                          for server in servers)
        self.load()
        self.a.initiate()
        first = self.check_ids(1)[0]
        self.show(first)
        for server, charon in zip(servers, (self.a, self.b)):
            self.assertGreater(len(server.clients()), 0)
            for pid in server.clients():
                self.assertEqual(os.stat(f'/proc/{pid}').st_uid, Isolated.USER)
            with open(f'/proc/{charon.process.pid}/maps', encoding='utf-8') as maps:
                self.assertNotIn('ppk-pkcs11.so', maps.read())
        self.check_absent(self.ka.key(bytes.fromhex(first)), 'before reauthentication')
        self.reauthenticate()
        second = self.check_ids(2)[1]
        self.show(second)
        for ppk_id in (first, second):
            self.check_absent(self.ka.key(bytes.fromhex(ppk_id)), f'after reauthentication, PPK {ppk_id[:8]}…')
        for token in (self.ta, self.tb):  # what became of the IKE_SAs passed p11-kit's wire, too
            wait_for(lambda t=token: t.counted().get('ike-sas-dynamic') == 2, 10, 'the token has counted both IKE_SAs')
        known = self.ka.key(bytes.fromhex(second))
        self.b.stop()
        self.b = Charon(self.bob).start()
        self.b.load(conf.swanctl([conf.connection(self.bob, self.alice)], [(second, known.hex())]))
        found, _ = memory.search(self.b.process.pid, known)
        print(f'    the same search in a stock charon with this PPK: {found}')
        self.assertNotEqual(found, [])

    def test_outcomes_are_counted(self):
        """What became of each IKE_SA with a PPK is in the status of the tokens at both ends."""
        def counted(token):
            numbers = token.counted()
            return [numbers.get(name) for name in ('ike-sas-dynamic', 'ike-sas-manual', 'ppk-authentication-failures',
                                                   'ppk-authentication-failures-required')]

        def pair(mine, others):
            for token, manual in ((self.ta, mine), (self.tb, others)):
                shutil.rmtree(token.status, ignore_errors=True)
            self.ta = keysource.Token(self.alice, self.bob, self.ka, manual=mine, required=True)
            self.tb = keysource.Token(self.bob, self.alice, self.kb, manual=others, required=False)
            for token in (self.ta, self.tb):
                token.publish()
            self.a, self.b = (Charon(host, token.plugin(), env=token.env).start()
                              for host, token in ((self.alice, self.ta), (self.bob, self.tb)))
            self.load()

        def end():
            for charon in (self.a, self.b):
                self.assertEqual(charon.stop(), 0)

        self.ta = self.tb = type('none', (), {'status': self.bed.dir / 'none'})
        pair(('site', b'5' * 32), ('site', b'5' * 32))
        self.a.initiate()
        for token in (self.ta, self.tb):
            wait_for(lambda t=token: counted(t) == [0, 1, 0, 0], 10, 'an IKE_SA with a manual PPK')
        self.a.terminate()
        end()
        for token in (self.ta, self.tb):
            self.assertEqual(counted(token), [0, 1, 0, 0])
        pair(('site', b'5' * 32), ('site', b'6' * 32))
        self.a.initiate(check=False)
        self.assertEqual(self.a.sas().count('ESTABLISHED'), 0)
        for token, required in ((self.ta, 1), (self.tb, 0)):
            wait_for(lambda t=token, r=required: counted(t) == [0, 0, 1, r], 10, f'{token.host.name} has counted a failure: {counted(token)}')

    def test_as_installed(self):
        """All plugins of Debian's packages, each by its own file; ours comes first by its priority."""
        self.start(modular=True)
        order = next(line for line in self.a.text().splitlines() if 'loaded plugins:' in line).split()
        self.assertLess(order.index('ppk'), order.index('openssl'))
        self.assertIn('pkcs11', order)
        self.load()
        self.a.initiate()
        self.check_ids(1)

    def test_loaded_too_late(self):
        """Behind openssl it would never be asked for a prf+: that is said."""
        self.start(late=True)
        print('   ', next(line for line in self.a.text().splitlines() if 'loaded plugins' in line)[:200])
        self.assertIn("plugin 'ppk' must be loaded before", self.a.text())

    def test_other_end_initiates(self):
        self.start()
        self.load()
        self.b.initiate()
        self.assertIn('/PPK', self.a.sas())
        self.assertIn('0% packet loss', self.bob.ping(self.alice))

    def test_system_ids_by_use_ppk(self):
        """No remote-system-id is configured: each learns it from the other's USE_PPK."""
        self.start({'remote': None}, {'remote': None})
        self.load()
        self.a.initiate()
        self.assertIn('/PPK', self.b.sas())
        self.assertIn("ppk: the peer's SKIP system ID is 'Bob'", self.a.text())
        self.assertIn("ppk: the peer's SKIP system ID is 'Alice'", self.b.text())

    def test_system_ids_turned_off(self):
        self.start(plugin={'send_system_id': 'no', 'accept_system_id': 'no'})
        self.load()
        self.a.initiate()
        self.assertIn('/PPK', self.b.sas())
        for charon in (self.a, self.b):
            self.assertNotIn('SKIP system ID', charon.text())

    def test_accept_turned_off(self):
        self.start(plugin={'accept_system_id': 'no'})
        self.load()
        self.a.initiate()
        self.assertIn('/PPK', self.b.sas())
        self.assertNotIn('SKIP system ID', self.a.text())

    def test_wrong_system_id_of_the_peer(self):
        """What the peer says is checked by the key source, and the IKE_SA fails."""
        self.start(others={'extra': ''}, mine={'remote': None})
        self.tb.conf.write_text(self.tb.text.replace('local-system-id Bob', 'local-system-id Mallory'))
        self.b.stop()
        self.b.start()
        self.load()
        self.a.initiate(check=False)
        self.assertNotIn('ESTABLISHED', self.a.sas())
        self.assertIn("SKIP system ID is 'Mallory'", self.a.text())
        self.assertIn("ppk: error: no PPK for peer 'to-bob'", self.a.text())

    def test_by_identity(self):
        """Peers of the keyring that have no address are known by the IKE identity."""
        self.start({'by': 'name', 'peer': 'bob'}, {'by': 'name', 'peer': 'alice'})
        self.load()
        self.a.initiate()
        self.check_ids(1)
        self.b.terminate()
        self.b.initiate()
        self.assertIn('/PPK', self.a.sas())

    def test_manual_ppk_of_the_keyring(self):
        manual = ('site-1', bytes(range(32)))
        self.start({'manual': manual}, {'manual': manual})
        self.load()
        self.a.initiate()
        self.assertIn("ppk: manual PPK 'site-1' for peer 'to-bob'", self.a.text())
        self.assertIn('/PPK', self.b.sas())
        self.a.terminate()
        self.a.initiate()
        self.assertIn('/PPK', self.b.sas())

    def test_no_key_source_required(self):
        self.start()
        self.load()
        self.ka.stop()
        begun = time.monotonic()
        self.a.initiate(check=False)
        print(f'    no key source, required: failed after {time.monotonic() - begun:.2f} s')
        self.assertLess(time.monotonic() - begun, 5)
        self.assertNotIn('ESTABLISHED', self.a.sas())
        self.assertIn("ppk: error: no PPK for peer 'to-bob'", self.a.text())

    def test_no_key_source_not_required(self):
        self.start({'required': False}, {'required': False})
        self.load()
        self.ka.stop()
        self.a.initiate()
        for charon in (self.a, self.b):
            self.assertIn('ESTABLISHED', charon.sas())
            self.assertNotIn('/PPK', charon.sas())
        self.assertIn("ppk: warning: no PPK for peer 'to-bob'", self.a.text())

    def test_responder_requires_and_initiator_has_none(self):
        """swanctl.conf is lax at both ends, the responder's keyring is not."""
        self.start({'required': False}, {'required': True})
        self.load()
        self.ka.stop()
        self.a.initiate(check=False)
        for charon in (self.a, self.b):
            self.assertNotIn('ESTABLISHED', charon.sas())
        self.assertIn("ppk: error: the keyring requires a PPK with peer 'to-alice'", self.b.text())

    def test_required_and_ikev1(self):
        """IKEv1 knows no PPKs: it is no way around the keyring."""
        self.start()
        for charon, me, other in ((self.a, self.alice, self.bob), (self.b, self.bob, self.alice)):
            charon.load(conf.swanctl([conf.connection(me, other).replace('version = 2', 'version = 1')]))
        self.a.initiate(check=False)
        for charon in (self.a, self.b):
            self.assertNotIn('ESTABLISHED', charon.sas())
        self.assertIn('ppk: error: the keyring requires a PPK', self.a.text() + self.b.text())

    def test_other_ends_key_source_is_down(self):
        """Then no key can be synchronized, and so the initiator gets none; until it is back."""
        self.start()
        self.load()
        self.kb.stop()
        self.a.initiate(check=False)
        for charon in (self.a, self.b):
            self.assertNotIn('ESTABLISHED', charon.sas())
        self.ka.mark = len(self.ka.log())
        self.kb.start()
        for source in (self.ka, self.kb):
            source.wait_link()
        self.a.initiate()
        self.assertIn('/PPK', self.b.sas())

    def test_responders_key_source_has_no_such_key(self):
        """It is there, and answers that it does not have the key."""
        third = keysource.KeySource(self.bob, 'Bob', port=9443)
        third.link(self.ka, '00' * 32)
        third.start()
        self.kb, self.linked = third, self.kb
        for required in (True, False):
            self.start({'required': required}, {'required': required})
            self.load()
            self.a.initiate(check=False)
            for charon in (self.a, self.b):
                self.assertEqual('ESTABLISHED' in charon.sas(), not required)
                self.assertNotIn('/PPK', charon.sas())
            self.assertRegex(self.b.text(), "ppk: warning: no PPK '[0-9a-f]{32}' of peer 'to-alice': no PPK with this ID")
            self.a.stop()
            self.b.stop()
        self.a = self.b = None

    def test_responder_has_no_such_key(self):
        """The initiator's peer revertibly uses what the responder's key source has not (not required: without PPK)."""
        manual = ('nobody-else', bytes(range(32)))
        self.start({'manual': manual, 'required': False}, {'required': False})
        self.load()
        self.a.initiate()
        for charon in (self.a, self.b):
            self.assertIn('ESTABLISHED', charon.sas())
            self.assertNotIn('/PPK', charon.sas())
        self.assertIn("ppk: warning: no PPK 'nobody-else' of peer 'to-alice'", self.b.text())

    def test_used_ppks_are_destroyed(self):
        """pkcs11-spy sees a C_DestroyObject of each PPK, after success and after failure."""
        self.ta = keysource.Token(self.alice, self.bob, self.ka, remote='Bob')
        self.tb = keysource.Token(self.bob, self.alice, self.kb, remote='Alice')
        charons = []
        for host, token in ((self.alice, self.ta), (self.bob, self.tb)):
            env = {**token.env, 'PKCS11SPY': str(keysource.TOKEN), 'PKCS11SPY_OUTPUT': str(host.dir / 'spy')}
            charons.append(Charon(host, {'module': SPY, 'token': 'dynamic'}, env=env).start())
        self.a, self.b = charons
        self.load()
        self.a.initiate()
        for host in (self.alice, self.bob):
            wait_for(lambda h=host: self.destroyed(h) == [1, 1], 5, f'{host.name} destroys its PPK')
        self.a.terminate()
        self.a.load(conf.swanctl([conf.connection(self.alice, self.bob)], psk='not the right one'))
        self.a.initiate(check=False)
        self.assertNotIn('ESTABLISHED', self.a.sas())
        for host in (self.alice, self.bob):
            wait_for(lambda h=host: self.destroyed(h) == [2, 2], 5, f'{host.name} destroys its PPK after a failure')
            print(f'    {host.name}: 2 PPKs made or fetched, 2 destroyed')

    @staticmethod
    def destroyed(host):
        """How many PPKs were used in derivations, and how many of those destroyed, by the spy's log."""
        used, gone = set(), set()
        for call in re.split(r'\n\n', (host.dir / 'spy').read_text(errors='replace')):
            if 'Returned:  0 CKR_OK' not in call:
                continue
            used.update(re.findall(r'hBaseKey = (0x[0-9a-f]+)', call))
            if 'C_DestroyObject' in call:
                gone.update(re.findall(r'hObject = (0x[0-9a-f]+)', call))
        return [len(used), len(used & gone)]

    def test_twenty_at_once(self):
        """20 IKE_SAs that are set up at the same time, each with a PPK of its own."""
        self.start()
        for charon, me, other in ((self.a, self.alice, self.bob), (self.b, self.bob, self.alice)):
            charon.load(conf.swanctl([conf.connection(me, other, name=f'c{n}', childless=True, extra='unique = never',
                                                      local_id=f'{me.name}{n}', remote_id=f'{other.name}{n}')
                                      for n in range(20)]))
        begun = time.monotonic()
        for n in range(20):
            self.a.swanctl('--initiate', '--ike', f'c{n}', '--timeout', '-1')
        for charon in (self.a, self.b):
            wait_for(lambda c=charon: c.sas().count('/PPK') == 20, 30, '20 IKE_SAs with PPK')
        print(f'    20 IKE_SAs at once: {time.monotonic() - begun:.2f} s')
        for charon in (self.a, self.b):
            self.assertEqual(charon.sas().count('/PPK'), 20, charon.text()[-6000:])
        self.check_ids(20)

    def test_key_source_down_does_not_stop_others(self):
        """The initiator's threads wait for a silent key source; charon goes on answering."""
        self.start({'timeout': 3000}, {'timeout': 3000})
        self.load()
        self.alice.ip('route', 'add', 'blackhole', '192.0.2.0/24')
        self.ka.process.send_signal(19)
        waiting = self.bed.start(['swanctl', '--initiate', '--child', 'net', '--timeout', '20', '--uri', self.a.socket],
                                 env=self.a.env)
        self.a.expect('received packet')
        begun = time.monotonic()
        self.a.swanctl('--stats')
        self.a.swanctl('--list-conns')
        self.assertLess(time.monotonic() - begun, 1)
        waiting.wait(20)
        self.ka.process.send_signal(18)
        self.assertIn("ppk: error: no PPK for peer 'to-bob'", self.a.text())


if __name__ == '__main__':
    isolate(os.environ['PPK_PLUGIN'])
    unittest.main(verbosity=2)
