# SPDX-License-Identifier: BSD-2-Clause
"""The token by ctypes, which lets other threads run during a call: just what the tests need of PKCS#11."""

import ctypes
import os
from ctypes import byref, c_ubyte, c_ulong, c_void_p

CKA_CLASS, CKA_LABEL, CKA_ID, CKA_KEY_TYPE, CKA_VALUE = 0x0, 0x3, 0x102, 0x100, 0x11
CKA_VALUE_LEN, CKA_SENSITIVE, CKA_EXTRACTABLE, CKA_DERIVE, CKA_SIGN, CKA_TOKEN = 0x161, 0x103, 0x162, 0x10c, 0x108, 0x1
CKO_SECRET_KEY, CKK_GENERIC_SECRET = 4, 0x10
CKM_GENERIC_SECRET_KEY_GEN, CKM_IKE2_PRF_PLUS_DERIVE = 0x350, 0x402e
CKM_HMAC = {'sha1': 0x221, 'sha256': 0x251, 'sha384': 0x261, 'sha512': 0x271}
CKR_ATTRIBUTE_SENSITIVE, CKR_DEVICE_ERROR = 0x11, 0x30
CKF_OS_LOCKING_OK, CKF_SERIAL_SESSION, CKF_RW_SESSION = 2, 4, 2
UNAVAILABLE = c_ulong(-1).value


class Attribute(ctypes.Structure):
    _fields_ = [('type', c_ulong), ('value', c_void_p), ('len', c_ulong)]


class Mechanism(ctypes.Structure):
    _fields_ = [('type', c_ulong), ('parameter', c_void_p), ('len', c_ulong)]


class InitializeArgs(ctypes.Structure):
    _fields_ = [('mutex', c_void_p * 4), ('flags', c_ulong), ('reserved', c_void_p)]


class PrfPlus(ctypes.Structure):
    """CK_IKE2_PRF_PLUS_DERIVE_PARAMS"""
    _fields_ = [('prf', c_ulong), ('has_seed_key', c_ubyte), ('seed_key', c_ulong), ('seed', c_void_p), ('seed_len', c_ulong)]


class P11Error(Exception):
    def __init__(self, function, rv):
        super().__init__(f'{function}: 0x{rv:x}')
        self.rv = rv


def octets(value):
    return value if isinstance(value, bytes) else bytes([value]) if isinstance(value, bool) else bytes(c_ulong(value))


def template(attributes):
    """A template of a dict; its buffers live as long as it does."""
    array = (Attribute * max(len(attributes), 1))()
    array.keep = []
    for i, (kind, value) in enumerate(attributes.items()):
        buffer = ctypes.create_string_buffer(octets(value), max(len(octets(value)), 1))
        array.keep.append(buffer)
        array[i] = Attribute(kind, ctypes.cast(buffer, c_void_p), len(octets(value)))
    return array


class Token:
    def __init__(self, path=None):
        self.module = ctypes.CDLL(path or os.environ['PPK_TOKEN'], mode=os.RTLD_NOW | os.RTLD_LOCAL)
        self.open = True
        self.call('C_Initialize', byref(InitializeArgs(flags=CKF_OS_LOCKING_OK)))

    def call(self, name, *args):
        function = getattr(self.module, name)
        function.restype = c_ulong
        rv = function(*[c_ulong(a) if isinstance(a, int) else a for a in args])
        if rv:
            raise P11Error(name, rv)

    def slots(self):
        n = c_ulong(64)
        slots = (c_ulong * 64)()
        self.call('C_GetSlotList', c_ubyte(1), slots, byref(n))
        return list(slots[:n.value])

    def session(self, slot=0):
        session = c_ulong()
        self.call('C_OpenSession', slot, CKF_SERIAL_SESSION | CKF_RW_SESSION, None, None, byref(session))
        return Session(self, session.value)

    def finalize(self):
        self.open = False
        self.call('C_Finalize', None)


class Session:
    def __init__(self, token, handle):
        self.token, self.handle = token, handle

    def call(self, name, *args):
        self.token.call(name, self.handle, *args)

    def find(self, attributes):
        array, found, n = template(attributes), (c_ulong * 64)(), c_ulong()
        self.call('C_FindObjectsInit', array, len(attributes))
        try:
            self.call('C_FindObjects', found, 64, byref(n))
        finally:
            self.call('C_FindObjectsFinal')
        return list(found[:n.value])

    def generate(self, peer):
        key = c_ulong()
        array = template({CKA_LABEL: peer.encode()})
        self.call('C_GenerateKey', byref(Mechanism(CKM_GENERIC_SECRET_KEY_GEN)), array, 1, byref(key))
        return key.value

    def create(self, value):
        key = c_ulong()
        attributes = {CKA_CLASS: CKO_SECRET_KEY, CKA_KEY_TYPE: CKK_GENERIC_SECRET, CKA_VALUE: value, CKA_TOKEN: False,
                      CKA_DERIVE: True}
        self.call('C_CreateObject', template(attributes), len(attributes), byref(key))
        return key.value

    def attribute(self, key, kind):
        buffer = ctypes.create_string_buffer(4096)
        array = (Attribute * 1)(Attribute(kind, ctypes.cast(buffer, c_void_p), 4096))
        self.call('C_GetAttributeValue', key, array, 1)
        return buffer.raw[:array[0].len]

    def prf_plus(self, base, prf, length, seed=b'', seed_key=None, extractable=True):
        data, key = ctypes.create_string_buffer(seed, max(len(seed), 1)), c_ulong()
        params = PrfPlus(CKM_HMAC[prf], seed_key is not None, seed_key or 0, ctypes.cast(data, c_void_p), len(seed))
        attributes = {CKA_CLASS: CKO_SECRET_KEY, CKA_KEY_TYPE: CKK_GENERIC_SECRET, CKA_VALUE_LEN: length, CKA_TOKEN: False,
                      CKA_SENSITIVE: not extractable, CKA_EXTRACTABLE: extractable, CKA_SIGN: True}
        self.call('C_DeriveKey', byref(Mechanism(CKM_IKE2_PRF_PLUS_DERIVE, ctypes.addressof(params), ctypes.sizeof(params))),
                  base, template(attributes), len(attributes), byref(key))
        return key.value

    def mac(self, key, prf, text):
        out, n = (c_ubyte * 64)(), c_ulong(64)
        self.call('C_SignInit', byref(Mechanism(CKM_HMAC[prf])), key)
        self.call('C_Sign', text, len(text), out, byref(n))
        return bytes(out[:n.value])
