# SPDX-License-Identifier: BSD-2-Clause
"""PyKCS11: both ends' tokens in two processes' worth of Python, mixed by an HMAC and by C_DeriveKey with the mechanism's raw parameters."""

import ctypes
import json
import sys
import unittest

import testbed

try:
    import PyKCS11
except ImportError:
    PyKCS11 = None

SEED = bytes(range(32))
CKM_IKE2_PRF_PLUS_DERIVE = 0x402e


class PrfPlus(ctypes.Structure):
    _fields_ = [('prf', ctypes.c_ulong), ('has_seed_key', ctypes.c_ubyte), ('seed_key', ctypes.c_ulong),
                ('seed', ctypes.c_char_p), ('seed_len', ctypes.c_ulong)]


def find_attribute(session, key, kind):
    return bytes(session.getAttributeValue(key, [kind])[0])


def end(key_id):
    """One end, in a process of its own: the initiator generates, the responder finds. Says what it can, as JSON."""
    lib = PyKCS11.PyKCS11Lib()
    lib.load(testbed.TOKEN)
    slots = [s for s in lib.getSlotList(tokenPresent=True) if lib.getTokenInfo(s).label.strip() == 'dynamic']
    session = lib.openSession(slots[0], PyKCS11.CKF_SERIAL_SESSION | PyKCS11.CKF_RW_SESSION)
    everything = len(session.findObjects([]))
    if key_id is None:
        mechanism = PyKCS11.Mechanism(PyKCS11.CKM_GENERIC_SECRET_KEY_GEN)
        key = session.generateKey([(PyKCS11.CKA_LABEL, 'gateway-b')], mechanism)
    else:
        key, = session.findObjects([(PyKCS11.CKA_CLASS, PyKCS11.CKO_SECRET_KEY), (PyKCS11.CKA_ID, bytes.fromhex(key_id))])
    raw = bytes(PrfPlus(PyKCS11.CKM_SHA256_HMAC, 0, 0, SEED, len(SEED)))
    derived = session.deriveKey(key, [(PyKCS11.CKA_CLASS, PyKCS11.CKO_SECRET_KEY),
                                      (PyKCS11.CKA_KEY_TYPE, PyKCS11.CKK_GENERIC_SECRET),
                                      (PyKCS11.CKA_VALUE_LEN, 32), (PyKCS11.CKA_SIGN, True),
                                      (PyKCS11.CKA_SENSITIVE, True), (PyKCS11.CKA_EXTRACTABLE, False)],
                                PyKCS11.Mechanism(CKM_IKE2_PRF_PLUS_DERIVE, raw))
    value = session.getAttributeValue(key, [PyKCS11.CKA_VALUE])[0]
    hmac = PyKCS11.Mechanism(PyKCS11.CKM_SHA256_HMAC)
    # with an HMAC prf, one block of prf+(PPK, seed) is also HMAC(PPK, seed | 0x01)
    result = {'id': find_attribute(session, key, PyKCS11.CKA_ID).hex(), 'value': None if value is None else 'shown',
              'mac_of_derived': bytes(session.sign(derived, b'fixed text', hmac)).hex(),
              'prf': bytes(session.sign(key, SEED + b'\x01', hmac)).hex(), 'everything': everything}
    session.destroyObject(key)
    session.closeSession()
    lib.lib.C_Finalize()
    print(json.dumps(result))


@unittest.skipUnless(PyKCS11, 'no PyKCS11')
class PyKcs11(testbed.Testbed):
    def end(self, conf, *args):
        out = self.run_tool(conf, sys.executable, __file__, 'end', *args)
        return json.loads(out.splitlines()[-1])

    def test_both_ends_mix_the_same(self):
        import hmac
        initiator = self.end(self.alice_conf)
        responder = self.end(self.bob_conf, initiator['id'])
        self.assertEqual(initiator['id'], responder['id'])
        self.assertEqual(len(initiator['id']), 32)
        for what in ('mac_of_derived', 'prf'):
            self.assertEqual(initiator[what], responder[what])
        self.assertIsNone(initiator['value'])
        self.assertIsNone(responder['value'])
        derived = bytes.fromhex(initiator['prf'])
        self.assertEqual(hmac.new(derived, b'fixed text', 'sha256').hexdigest(), initiator['mac_of_derived'])
        self.assertEqual(self.asked(self.alice), ['key'])
        self.assertEqual(self.asked(self.bob), ['key by ID'])


if __name__ == '__main__':
    if sys.argv[1:2] == ['end']:
        end(sys.argv[2] if len(sys.argv) > 2 else None)
        sys.exit(0)
    testbed.need('skip' if PyKCS11 is None else 'true')
    testbed.main()
