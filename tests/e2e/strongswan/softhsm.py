# SPDX-License-Identifier: GPL-2.0-or-later
"""SoftHSM 2 as the PKCS#11 module: any module whose PPKs somebody put there."""
import os
import sys

from testbed import run

MODULE = '/usr/lib/softhsm/libsofthsm2.so'
PIN = '1234567'

# In a process of its own: SOFTHSM2_CONF is read once per process.
CREATE = '''
import sys, PyKCS11
from PyKCS11 import *
lib = PyKCS11.PyKCS11Lib()
lib.load(sys.argv[1])
for slot in lib.getSlotList(tokenPresent=True):
    if lib.getTokenInfo(slot).label.strip("\\0 ") == "ppk":
        break
session = lib.openSession(slot, CKF_SERIAL_SESSION | CKF_RW_SESSION)
session.login(sys.argv[2])
value, ident, what = bytes.fromhex(sys.argv[3]), bytes.fromhex(sys.argv[4]), sys.argv[5]
if what == "delete":
    for o in session.findObjects([(CKA_CLASS, CKO_SECRET_KEY), (CKA_ID, ident)]):
        session.destroyObject(o)
else:
    session.createObject([(CKA_CLASS, CKO_SECRET_KEY), (CKA_KEY_TYPE, CKK_GENERIC_SECRET), (CKA_TOKEN, CK_TRUE),
        (CKA_PRIVATE, CK_TRUE), (CKA_SENSITIVE, CK_TRUE), (CKA_EXTRACTABLE, CK_FALSE), (CKA_SIGN, CK_TRUE),
        (CKA_VALUE, value), (CKA_ID, ident), (CKA_LABEL, "test ppk")])
'''


class SoftHsm:
    """A token 'ppk' of one host."""

    def __init__(self, host):
        self.host = host
        store = host.dir / 'softhsm'
        store.mkdir()
        conf = host.dir / 'softhsm2.conf'
        conf.write_text(f'directories.tokendir = {store}\nobjectstore.backend = file\nlog.level = ERROR\n')
        self.env = {'SOFTHSM2_CONF': str(conf)}
        run('softhsm2-util', '--init-token', '--free', '--label', 'ppk', '--pin', PIN, '--so-pin', 'so-pin-1',
            env={**os.environ, **self.env})

    def _call(self, value, ident, what):
        run(sys.executable, '-c', CREATE, MODULE, PIN, value.hex(), ident.hex(), what, env={**os.environ, **self.env})

    def add(self, ident, value):
        """Puts a PPK with this ID (bytes) into the token."""
        self._call(value, ident, 'create')

    def delete(self, ident):
        self._call(b'', ident, 'delete')

    def plugin(self, **more):
        """plugins.ppk for charon."""
        return {'module': MODULE, 'token': 'ppk', 'pin': PIN, **more}
