# SPDX-License-Identifier: BSD-2-Clause
"""What makes a request, and what does not: counted by the key sources themselves."""

import json
import os
import re
import sys
import threading

import p11
import testbed


def mapped():
    """The files that are mapped into this process."""
    with open('/proc/self/maps') as f:
        return set(re.findall(r'(/\S+\.so[.0-9]*)$', f.read(), re.M))


def internet_sockets():
    """The inodes of this process's sockets that are TCP or UDP."""
    own = set()
    for fd in os.listdir('/proc/self/fd'):
        try:
            own.update(re.findall(r'^socket:\[(\d+)\]$', os.readlink('/proc/self/fd/' + fd)))
        except OSError:
            pass
    internet = set()
    for table in ('tcp', 'tcp6', 'udp', 'udp6'):
        try:
            with open('/proc/self/net/' + table) as f:
                internet.update(line.split()[9] for line in f.readlines()[1:])
        except FileNotFoundError:
            pass
    return own & internet


def state():
    return {'so': sorted(mapped()), 'sockets': len(internet_sockets()), 'threads': len(os.listdir('/proc/self/task'))}


def cold_start():
    """In a process of its own: what is loaded, open and running after an empty search; and after a fetch."""
    states = [state()]
    token = p11.Token()
    session = token.session()
    found = len(session.find({}))
    states.append(state())
    session.generate('gateway-b')
    states.append(state())
    token.finalize()
    states.append(state())
    print(json.dumps([found, states]))


class Requests(testbed.Testbed):
    def setUp(self):
        super().setUp()
        os.environ['PPK_CONF'] = self.alice_conf
        self.token = p11.Token()
        self.addCleanup(self.token.finalize)
        self.session = self.token.session()

    def test_cold_start(self):
        out = self.run_tool(self.alice_conf, sys.executable, __file__, 'cold-start')
        found, (before, searched, fetched, finalized) = json.loads(out.splitlines()[-1])
        self.assertGreaterEqual(found, 3)  # two peers' data objects, a pre-shared key, a manual PPK
        new = {os.path.basename(so) for so in set(searched['so']) - set(before['so'])}
        self.assertIn('ppk-pkcs11.so', new)
        for so in new:
            self.assertNotRegex(so, r'^(ppk-skip|libcurl|libssl|libjansson|libnghttp2|libgssapi|libldap)')
        self.assertEqual(searched['sockets'], 0)
        self.assertEqual(searched['threads'], before['threads'])
        # and at the first need they are there: this test would see them
        new = {os.path.basename(so) for so in set(fetched['so']) - set(before['so'])}
        self.assertIn('ppk-skip.so', new)
        self.assertTrue(any(so.startswith('libcurl') for so in new))
        self.assertEqual(finalized['sockets'], 0)
        self.assertEqual(finalized['threads'], before['threads'])
        self.assertEqual(self.asked(self.alice), ['key'])

    def test_searches_that_ask_nobody(self):
        for attributes in ({}, {p11.CKA_CLASS: p11.CKO_SECRET_KEY}, {p11.CKA_KEY_TYPE: p11.CKK_GENERIC_SECRET},
                           {p11.CKA_LABEL: b'no such peer'}, {p11.CKA_LABEL: b'manual'}, {p11.CKA_ID: b'm1'}, {p11.CKA_ID: b''},
                           {p11.CKA_CLASS: 0, p11.CKA_LABEL: b'gateway-b'},             # CKO_DATA
                           {p11.CKA_CLASS: 3, p11.CKA_ID: b'\xab' * 16},                # CKO_PRIVATE_KEY
                           {p11.CKA_KEY_TYPE: 0x1f, p11.CKA_ID: b'\xab' * 16}):         # CKK_AES
            self.session.find(attributes)
        self.assertEqual(self.asked(self.alice), [])

    def test_the_same_peer_again(self):
        first = self.session.find({p11.CKA_CLASS: p11.CKO_SECRET_KEY, p11.CKA_LABEL: b'gateway-b'})
        second = self.token.session().find({p11.CKA_CLASS: p11.CKO_SECRET_KEY, p11.CKA_LABEL: b'gateway-b'})
        self.assertEqual(first, second)
        self.assertEqual(self.asked(self.alice), ['key'])
        ppk, = [k for k in first if self.session.attribute(k, p11.CKA_ID)]
        self.session.mac(ppk, 'sha256', b'now it is used')
        third = self.session.find({p11.CKA_CLASS: p11.CKO_SECRET_KEY, p11.CKA_LABEL: b'gateway-b'})
        self.assertEqual(len(set(third) - set(first)), 1)
        self.assertEqual(self.asked(self.alice), ['key'])
        # by its ID it is found for a while yet, in either form, without a request
        key_id = self.session.attribute(ppk, p11.CKA_ID)
        self.assertEqual(self.session.find({p11.CKA_ID: key_id}), [ppk])
        self.assertEqual(self.session.find({p11.CKA_ID: key_id.hex().encode()}), [ppk])
        self.assertEqual(self.session.find({p11.CKA_ID: key_id.hex().upper().encode()}), [ppk])
        self.assertEqual(self.asked(self.alice), [])

    def threads(self, n, attributes):
        """The results of n threads that search for the same, all at once."""
        ready, results = threading.Barrier(n), [None] * n

        def search(i):
            session = self.token.session()
            ready.wait()
            results[i] = session.find(attributes(i))
        threads = [threading.Thread(target=search, args=(i,)) for i in range(n)]
        for t in threads:
            t.start()
        for t in threads:
            t.join(testbed.BOUND)
        return results

    def new_at_bob(self):
        """The ID of a key that is waiting at Alice's key source, made by Bob's end."""
        out = self.run_tool(self.bob_conf, sys.executable, __file__, 'generate', 'gateway-a')
        return bytes.fromhex(out.split()[-1])

    def test_two_threads_one_request(self):
        for n in (2, 2, 8):
            key_id = self.new_at_bob()
            self.asked(self.alice)
            results = self.threads(n, lambda _: {p11.CKA_ID: key_id, p11.CKA_CLASS: p11.CKO_SECRET_KEY})
            self.assertEqual(len(results[0]), 1)
            self.assertEqual(results, [results[0]] * n)
            self.assertEqual(self.asked(self.alice), ['key by ID'])

    def test_raw_and_text_one_request(self):
        key_id = self.new_at_bob()
        forms = [key_id, key_id.hex().encode(), key_id.hex().upper().encode()]
        results = self.threads(6, lambda i: {p11.CKA_ID: forms[i % 3], p11.CKA_CLASS: p11.CKO_SECRET_KEY})
        self.assertEqual(results, [results[0]] * 6)
        self.assertEqual(len(results[0]), 1)
        self.assertEqual(self.asked(self.alice), ['key by ID'])

    def test_threads_that_want_the_peers(self):
        self.session.find({p11.CKA_LABEL: b'gateway-b', p11.CKA_CLASS: p11.CKO_SECRET_KEY})
        self.asked(self.alice)
        results = self.threads(4, lambda _: {p11.CKA_LABEL: b'gateway-b', p11.CKA_CLASS: p11.CKO_SECRET_KEY})
        self.assertEqual(results, [results[0]] * 4)
        self.assertEqual(self.asked(self.alice), [])

    def test_unknown_id(self):
        for i in range(3):
            self.assertEqual(self.session.find({p11.CKA_ID: bytes([i]) + b'\xab' * 15}), [])
        self.assertEqual(self.asked(self.alice), ['key by ID'] * 3)


class KeySourceDown(testbed.Testbed):
    def test_device_error_and_recovery_of_what_is_held(self):
        os.environ['PPK_CONF'] = self.alice_conf
        token = p11.Token()
        self.addCleanup(token.finalize)
        session = token.session()
        key = session.generate('gateway-b')
        key_id = session.attribute(key, p11.CKA_ID)
        self.alice.stop()
        with self.assertRaises(p11.P11Error) as error:
            session.find({p11.CKA_ID: b'\xcd' * 16})
        self.assertEqual(error.exception.rv, p11.CKR_DEVICE_ERROR)
        with self.assertRaises(p11.P11Error) as error:
            session.generate('gateway-b')
        self.assertEqual(error.exception.rv, p11.CKR_DEVICE_ERROR)
        self.assertEqual(session.find({p11.CKA_ID: key_id}), [key])
        self.assertEqual(len(session.mac(key, 'sha384', b'text')), 48)


def generate(peer):
    token = p11.Token()
    session = token.session()
    print(session.attribute(session.generate(peer), p11.CKA_ID).hex())
    token.finalize()


if __name__ == '__main__':
    if sys.argv[1:2] == ['cold-start']:
        cold_start()
    elif sys.argv[1:2] == ['generate']:
        generate(sys.argv[2])
    else:
        testbed.main()
