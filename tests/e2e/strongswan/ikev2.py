# SPDX-License-Identifier: GPL-2.0-or-later
"""An IKEv2 initiator of our own (RFC 7296, 8784), independent of what is tested, that can also send what no good
initiator would. One suite: AES-CBC-128, HMAC-SHA2-256-128, PRF-HMAC-SHA2-256, X25519; PSK authentication.

Run as a program inside a network namespace it reads one JSON object from stdin and prints one to stdout.
"""
import hashlib
import hmac
import json
import os
import socket
import struct
import sys

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

SA, KE, IDI, IDR, AUTH, NONCE, NOTIFY, TSI, TSR, SK = 33, 34, 35, 36, 39, 40, 41, 44, 45, 46
USE_PPK, PPK_IDENTITY, NO_PPK_AUTH = 16435, 16436, 16437
IKE_SA_INIT, IKE_AUTH = 34, 35


def prf(key, data):
    return hmac.new(key, data, hashlib.sha256).digest()


def prf_plus(key, seed, length):
    """RFC 7296, 2.13"""
    out, block, count = b'', b'', 1
    while len(out) < length:
        block = prf(key, block + seed + bytes([count]))
        out, count = out + block, count + 1
    return out[:length]


def transform(last, kind, number, key_bits=None):
    attributes = struct.pack('>HH', 0x800e, key_bits) if key_bits else b''
    return struct.pack('>BBHBBH', 0 if last else 3, 0, 8 + len(attributes), kind, 0, number) + attributes


def proposal(protocol, spi, transforms):
    body = b''.join(transform(i == len(transforms) - 1, *t) for i, t in enumerate(transforms))
    return struct.pack('>BBHBBBB', 0, 0, 8 + len(spi) + len(body), 1, protocol, len(spi), len(transforms)) + spi + body


IKE_PROPOSAL = proposal(1, b'', [(1, 12, 128), (2, 5), (3, 12), (4, 31)])


def notify(kind, data=b'', length=None):
    """A notify payload's body; length, if given, lies about the payload's length."""
    return (NOTIFY, struct.pack('>BBH', 0, 0, kind) + data, length)


def chain(payloads):
    """Payloads as (type, body[, false length]); the first type and the bytes."""
    out = b''
    for index, item in enumerate(payloads):
        following = payloads[index + 1][0] if index + 1 < len(payloads) else 0
        length = item[2] if len(item) > 2 and item[2] is not None else 4 + len(item[1])
        out += struct.pack('>BBH', following, 0, length) + item[1]
    return payloads[0][0], out


def unchain(kind, data):
    """[(type, body)] of a chain."""
    found = []
    while kind:
        following, _, length = struct.unpack('>BBH', data[:4])
        found.append((kind, data[4:length]))
        kind, data = following, data[length:]
    return found


def notifies(payloads):
    """{type: data} of the notify payloads."""
    found = {}
    for kind, body in payloads:
        if kind == NOTIFY:
            found[struct.unpack('>H', body[2:4])[0]] = body[4 + body[1]:]
    return found


def identity(name):
    return struct.pack('>BBH', 2, 0, 0) + name.encode()


def selector(address):
    packed = socket.inet_aton(address)
    return struct.pack('>BBH', 1, 0, 0) + struct.pack('>BBHHH', 7, 0, 16, 0, 65535) + packed + packed


class Initiator:
    """One attempt at one IKE_SA."""

    def __init__(self, me, other, my_id, other_id, psk):
        self.other, self.my_id, self.other_id = other, my_id, other_id
        self.psk_key = prf(psk.encode(), b'Key Pad for IKEv2')
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind((me, 500))
        self.socket.settimeout(4)
        self.spi_i, self.spi_r = os.urandom(8), bytes(8)

    def exchange(self, kind, number, first, body):
        header = self.spi_i + self.spi_r + struct.pack('>BBBBII', first, 0x20, kind, 0x08, number, 28 + len(body))
        self.socket.sendto(header + body, (self.other, 500))
        return header + body, self.socket.recv(65536)

    def init(self, use_ppk=b''):
        """IKE_SA_INIT; use_ppk: the notification's data, None: no USE_PPK. The notifications of the answer."""
        private = X25519PrivateKey.generate()
        public = private.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
        self.ni = os.urandom(32)
        payloads = [(SA, IKE_PROPOSAL), (KE, struct.pack('>HH', 31, 0) + public), (NONCE, self.ni)]
        if use_ppk is not None:
            payloads.append(notify(USE_PPK, use_ppk))
        self.message1, answer = self.exchange(IKE_SA_INIT, 0, *chain(payloads))
        self.message2 = answer
        self.spi_r = answer[8:16]
        found = unchain(answer[16], answer[28:])
        bodies = dict(found)
        if KE not in bodies:
            raise ValueError(f'IKE_SA_INIT is refused: {sorted(notifies(found))}')
        self.nr = bodies[NONCE]
        shared = private.exchange(X25519PublicKey.from_public_bytes(bodies[KE][4:]))
        seed = self.ni + self.nr + self.spi_i + self.spi_r
        keys = prf_plus(prf(self.ni + self.nr, shared), seed, 32 * 5 + 16 * 2)
        self.sk_d, self.sk_ai, self.sk_ar = keys[:32], keys[32:64], keys[64:96]
        self.sk_ei, self.sk_er = keys[96:112], keys[112:128]
        self.sk_pi, self.sk_pr = keys[128:160], keys[160:192]
        return notifies(found)

    def auth_value(self, sk_p, message, nonce, id_body):
        return prf(self.psk_key, message + nonce + prf(sk_p, id_body))

    def seal(self, number, payloads):
        first, inner = chain(payloads)
        pad = -(len(inner) + 1) % 16
        iv = os.urandom(16)
        encryptor = Cipher(algorithms.AES(self.sk_ei), modes.CBC(iv)).encryptor()
        body = iv + encryptor.update(inner + bytes(pad) + bytes([pad])) + encryptor.finalize()
        sk = struct.pack('>BBH', first, 0, 4 + len(body) + 16) + body
        header = self.spi_i + self.spi_r + struct.pack('>BBBBII', SK, 0x20, IKE_AUTH, 0x08, number, 28 + len(sk) + 16)
        icv = prf(self.sk_ai, header + sk)[:16]
        self.socket.sendto(header + sk + icv, (self.other, 500))
        return self.socket.recv(65536)

    def open(self, answer):
        if prf(self.sk_ar, answer[:-16])[:16] != answer[-16:]:
            raise ValueError('the answer is not authentic')
        first, body = answer[28], answer[32:-16]
        decryptor = Cipher(algorithms.AES(self.sk_er), modes.CBC(body[:16])).decryptor()
        plain = decryptor.update(body[16:]) + decryptor.finalize()
        return unchain(first, plain[:-1 - plain[-1]])

    def auth(self, ppk, ppk_identity, no_ppk_auth, inner, other_inner, lie=None):
        """IKE_AUTH. ppk: bytes, or None: none is mixed. ppk_identity: notification data, or None. no_ppk_auth: add it.
        lie: a false payload length of PPK_IDENTITY."""
        id_i, id_r = identity(self.my_id), identity(self.other_id)
        sk_pi = prf_plus(ppk, self.sk_pi, 32) if ppk is not None else self.sk_pi
        sk_pr = prf_plus(ppk, self.sk_pr, 32) if ppk is not None else self.sk_pr
        esp = proposal(3, os.urandom(4), [(1, 12, 128), (3, 12), (5, 0)])
        payloads = [(IDI, id_i), (IDR, id_r),
                    (AUTH, struct.pack('>BBH', 2, 0, 0) + self.auth_value(sk_pi, self.message1, self.nr, id_i))]
        if ppk_identity is not None:
            payloads.append(notify(PPK_IDENTITY, ppk_identity, lie))
        if no_ppk_auth:
            payloads.append(notify(NO_PPK_AUTH, self.auth_value(self.sk_pi, self.message1, self.nr, id_i)))
        payloads += [(SA, esp), (TSI, selector(inner)), (TSR, selector(other_inner))]
        found = self.open(self.seal(1, payloads))
        bodies, seen = dict(found), notifies(found)
        result = {'notifies': sorted(seen), 'auth': None}
        if AUTH in bodies:
            value, used_ppk = bodies[AUTH][4:], PPK_IDENTITY in seen
            expected = self.auth_value(sk_pr if used_ppk else self.sk_pr, self.message2, self.ni, bodies[IDR])
            result['auth'] = hmac.compare_digest(value, expected)
            result['ppk'] = used_ppk
            result['sk_d'] = (prf_plus(ppk, self.sk_d, 32) if used_ppk else self.sk_d).hex()
        return result


def main():
    ask = json.load(sys.stdin)
    initiator = Initiator(ask['me'], ask['other'], ask['my_id'], ask['other_id'], ask['psk'])
    use_ppk = ask.get('use_ppk', '')
    init = initiator.init(None if use_ppk is None else bytes.fromhex(use_ppk))
    result = {'init': sorted(init), 'use_ppk': init.get(USE_PPK, b'').hex(), 'sk_d_before': initiator.sk_d.hex()}
    if not ask.get('init_only'):
        given = {name: bytes.fromhex(ask[name]) if ask.get(name) is not None else None for name in ('ppk', 'ppk_identity')}
        try:
            result.update(initiator.auth(given['ppk'], given['ppk_identity'], ask.get('no_ppk_auth', False), ask['inner'],
                                         ask['other_inner'], ask.get('lie')))
        except socket.timeout:
            result['timeout'] = True
    json.dump(result, sys.stdout)


if __name__ == '__main__':
    main()
