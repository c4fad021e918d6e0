# SPDX-License-Identifier: BSD-2-Clause
"""The life of a dynamic PPK in the token: fetched ahead, found in either form of its ID, expired, destroyed; through a key source's outage."""

import os
import time

import p11
import testbed

PPK = {p11.CKA_CLASS: p11.CKO_SECRET_KEY}


class Life(testbed.Testbed):
    def token(self, conf):
        os.environ['PPK_CONF'] = conf
        token = p11.Token()
        self.addCleanup(lambda: token.open and token.finalize())
        return token

    def key_id(self, session, key):
        return session.attribute(key, p11.CKA_ID)

    def wait_asked(self, source, n):
        """The requests until there are n, and a moment more, in which there should be no others."""
        asked, until = [], time.monotonic() + testbed.BOUND
        while len(asked) < n and time.monotonic() < until:
            time.sleep(0.02)
            asked += self.asked(source)
        time.sleep(0.3)
        return asked + self.asked(source)


class Prefetch(Life):
    profile = 'prefetch 3'

    def test_pool(self):
        token = self.token(self.alice_conf)
        session = token.session()
        session.find({})
        time.sleep(0.2)
        self.assertEqual(self.asked(self.alice), [])  # nothing before the first use of a peer
        keys = {session.generate('gateway-b')}
        self.assertEqual(self.wait_asked(self.alice, 4), ['key'] * 4)
        # those are not shown
        found = session.find({**PPK})
        self.assertEqual([k for k in found if len(self.key_id(session, k)) == 16], list(keys))
        # the key source fails: three set-ups go on
        self.alice.stop()
        for _ in range(3):
            keys.add(session.generate('gateway-b'))
        self.assertEqual(len({self.key_id(session, k) for k in keys}), 4)
        with self.assertRaises(p11.P11Error) as error:
            session.generate('gateway-b')
        self.assertEqual(error.exception.rv, p11.CKR_DEVICE_ERROR)
        # and ending does not wait for what is not there
        from_ = time.monotonic()
        token.finalize()
        self.assertLess(time.monotonic() - from_, 5)


class Text(Life):
    profile = 'ppk-id format text'

    def test_text_ids(self):
        alice = self.token(self.alice_conf)
        session = alice.session()
        ids = [self.key_id(session, session.generate('gateway-b')) for _ in range(2)]
        for key_id in ids:
            self.assertRegex(key_id.decode(), '^[0-9a-fA-F]{32}$')
        alice.finalize()
        bob = self.token(self.bob_conf)
        session = bob.session()
        for form in (ids[0], bytes.fromhex(ids[1].decode())):
            key, = session.find({**PPK, p11.CKA_ID: form})
            self.assertEqual(self.key_id(session, key), ids[0] if form == ids[0] else ids[1])
        self.assertEqual(self.asked(self.bob), ['key by ID'] * 2)


class Lifetime(Life):
    profile = 'lifetime 60'

    def test_seconds_left_and_destroy(self):
        session = self.token(self.alice_conf).session()
        key = session.generate('gateway-b')
        left = int.from_bytes(session.attribute(key, 0x80000000 | 0x50504b07), 'little')  # CKA_PPK_SECONDS_LEFT
        self.assertTrue(55 <= left <= 60, left)
        key_id = self.key_id(session, key)
        session.call('C_DestroyObject', key)
        with self.assertRaises(p11.P11Error) as error:
            self.key_id(session, key)
        self.assertEqual(error.exception.rv, 0x82)  # CKR_OBJECT_HANDLE_INVALID
        self.asked(self.alice)
        self.assertEqual(session.find({**PPK, p11.CKA_ID: key_id}), [])
        self.assertEqual(self.asked(self.alice), ['key by ID'])


class Expiry(Life):
    profile = 'lifetime 2'

    def test_expired(self):
        session = self.token(self.alice_conf).session()
        key = session.generate('gateway-b')
        key_id = self.key_id(session, key)
        self.assertEqual(session.find({**PPK, p11.CKA_ID: key_id}), [key])
        time.sleep(2.2)
        self.assertNotIn(key, session.find({}))
        with self.assertRaises(p11.P11Error):
            session.mac(key, 'sha256', b'too late')


class SeveralSources(Life):
    """Without a peer, each of the keyring's key sources is tried: one that is down does not hide the one that has the key."""

    @classmethod
    def configure(cls, source, peer, remote, address):
        return source.write('ppk.conf', f'''
keyring dynamic
 peer other
  ppk dynamic down
 peer {peer}
  ppk dynamic ks
  remote-system-id {remote}
sks profile down type remote
 kme server ipv4 127.0.0.1 port {testbed.free_port()}
 tls psk id x key hex {"22" * 32}
sks profile ks type remote
 kme server ipv4 127.0.0.1 port {testbed.free_port()}
 kme server ipv4 127.0.0.1 port {source.port}
 tls psk id encryptor-{source.name} key hex {source.psk}
''')

    def test_found_though_one_is_down(self):
        alice = self.token(self.alice_conf)
        session = alice.session()
        key_id = self.key_id(session, session.generate('gateway-b'))
        alice.finalize()
        bob = self.token(self.bob_conf)
        session = bob.session()
        key, = session.find({**PPK, p11.CKA_ID: key_id})
        self.assertEqual(session.attribute(key, p11.CKA_LABEL), b'gateway-a')
        self.assertEqual(self.asked(self.bob), ['key by ID'])
        # nobody has this one, as far as can be said: one could not be asked
        with self.assertRaises(p11.P11Error) as error:
            session.find({**PPK, p11.CKA_ID: b'\xee' * 16})
        self.assertEqual(error.exception.rv, p11.CKR_DEVICE_ERROR)
        # that peer's key source has it not, definitely
        self.assertEqual(session.find({**PPK, p11.CKA_ID: b'\xef' * 16, p11.CKA_LABEL: b'gateway-a'}), [])


if __name__ == '__main__':
    testbed.main()
