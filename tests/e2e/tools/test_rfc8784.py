# SPDX-License-Identifier: BSD-2-Clause
"""Both ends' SK_d, SK_pi, SK_pr against a computation of RFC 8784 that shares nothing with the token: the PPK itself is taken from the
other key source by openssl s_client, which speaks SKIP as well as anybody, and prf+ is Python's hmac."""

import hmac
import json
import re
import subprocess
import sys

import p11
import testbed

LENGTH = {'sha1': 20, 'sha256': 32, 'sha384': 48, 'sha512': 64}
NAMES = ('SK_d', 'SK_pi', 'SK_pr')


def prf_plus(prf, key, seed, length):
    """RFC 7296, 2.13"""
    out = block = b''
    while len(out) < length:
        block = hmac.new(key, block + seed + bytes([len(out) // LENGTH[prf] + 1]), prf).digest()
        out += block
    return out[:length]


def seeds(prf):
    """SK_d', SK_pi', SK_pr' of an IKE_SA_INIT: anything of the prf's length."""
    return [bytes((17 * i + n) % 256 for n in range(LENGTH[prf])) for i in range(3)]


def end(peer, ids):
    """One end, in a process of its own: SK_* of a new PPK for each prf, or of the PPKs of these IDs."""
    token = p11.Token()
    session = token.session()
    result = []
    for i, prf in enumerate(LENGTH):
        if ids:
            ppk, = session.find({p11.CKA_CLASS: p11.CKO_SECRET_KEY, p11.CKA_ID: bytes.fromhex(ids[i])})
        else:
            ppk = session.generate(peer)
        keys = {'id': session.attribute(ppk, p11.CKA_ID).hex()}
        for name, seed in zip(NAMES, seeds(prf)):
            by_handle = session.prf_plus(ppk, prf, LENGTH[prf], seed_key=session.create(seed))
            by_bytes = session.prf_plus(ppk, prf, LENGTH[prf], seed=seed)
            keys[name] = session.attribute(by_handle, p11.CKA_VALUE).hex()
            if session.attribute(by_bytes, p11.CKA_VALUE).hex() != keys[name]:
                raise SystemExit(f'{prf} {name}: the seed as a handle and as bytes differ')
        keys['long'] = session.attribute(session.prf_plus(ppk, prf, 1000, seed=seeds(prf)[0]), p11.CKA_VALUE).hex()
        keys['mac'] = session.mac(ppk, prf, seeds(prf)[0] + b'\x01').hex()
        try:
            session.attribute(ppk, p11.CKA_VALUE)
            raise SystemExit('a PPK was read')
        except p11.P11Error as e:
            if e.rv != p11.CKR_ATTRIBUTE_SENSITIVE:
                raise
        result.append(keys)
    token.finalize()
    print(json.dumps(result))


class Rfc8784(testbed.Testbed):
    def end(self, conf, peer, *ids):
        out = self.run_tool(conf, sys.executable, __file__, 'end', peer, *ids)
        return json.loads(out.splitlines()[-1])

    def by_hand(self, source, key_id, remote):
        """GET /key/{keyId} without any code of this project: the key."""
        request = f'GET /key/{key_id}?remoteSystemID={remote} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n'
        done = subprocess.run(['openssl', 's_client', '-quiet', '-connect', f'127.0.0.1:{source.port}', '-tls1_2', '-cipher',
                               'DHE-PSK-AES256-GCM-SHA384:PSK-AES256-GCM-SHA384', '-psk_identity', 'encryptor-' + source.name,
                               '-psk', source.psk], input=request.encode(), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              timeout=testbed.BOUND)
        answer = done.stdout.decode()
        self.assertRegex(answer, r'^HTTP/1\.1 200 ', done.stderr.decode())
        body = json.loads(re.search(r'\{.*\}', answer, re.S)[0])
        self.assertEqual(body['keyId'].lower(), key_id)
        return bytes.fromhex(body['key'])

    def test_both_ends_agree(self):
        initiator = self.end(self.alice_conf, 'gateway-b')
        responder = self.end(self.bob_conf, 'gateway-a', *[keys['id'] for keys in initiator])
        self.assertEqual(initiator, responder)
        self.assertEqual(len({keys['SK_d'] for keys in initiator}), len(LENGTH))
        self.assertEqual(self.asked(self.alice), ['key'] * len(LENGTH))
        self.assertEqual(self.asked(self.bob), ['key by ID'] * len(LENGTH))

    def test_as_computed_independently(self):
        for conf, peer, other, remote in ((self.alice_conf, 'gateway-b', self.bob, 'Alice'),
                                          (self.bob_conf, 'gateway-a', self.alice, 'Bob')):
            for prf, keys in zip(LENGTH, self.end(conf, peer)):
                ppk = self.by_hand(other, keys['id'], remote)
                self.assertEqual(len(ppk), 32)
                for name, seed in zip(NAMES, seeds(prf)):
                    self.assertEqual(keys[name], prf_plus(prf, ppk, seed, LENGTH[prf]).hex(), f'{prf} {name}')
                self.assertEqual(keys['long'], prf_plus(prf, ppk, seeds(prf)[0], 1000).hex())
                self.assertEqual(keys['mac'], hmac.new(ppk, seeds(prf)[0] + b'\x01', prf).hexdigest())


if __name__ == '__main__':
    if sys.argv[1:2] == ['end']:
        end(sys.argv[2], sys.argv[3:])
        sys.exit(0)
    testbed.need('openssl')
    testbed.main()
