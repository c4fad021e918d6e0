# SPDX-License-Identifier: BSD-2-Clause
"""The isolated token: its units, and what they start, with clients that are other users. systemd-socket-activate stands for
systemd's part: it listens, and gives each connection to the unit's command."""

import ctypes
import hmac
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import unittest

BUILD, SOURCE, TOKEN = os.environ['PPK_BUILD'], os.environ['PPK_SOURCE'], os.environ['PPK_TOKEN']
CLIENT = f'/usr/lib/{os.environ["PPK_MULTIARCH"]}/pkcs11/p11-kit-client.so'
BOUND = 30
TOKEN_USER, CLIENT_USER = 65534, 1
KEY, TEXT = os.urandom(32), b'what is signed'


def as_user(uid):
    return ['setpriv', f'--reuid={uid}', f'--regid={uid}', '--clear-groups', '--no-new-privs']


class Units(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix='ppk-units-')
        self.addCleanup(shutil.rmtree, self.folder)
        # the programs where they are now, so that verify finds them
        for unit in (f'{SOURCE}/conf/skipd@.service', f'{SOURCE}/conf/ppk-pkcs11-server.socket',
                     f'{BUILD}/conf/ppk-pkcs11-server@.service'):
            with open(unit, encoding='utf-8') as f:
                text = f.read().replace('ExecStart=skipd', f'ExecStart={BUILD}/bin/skipd')
            with open(os.path.join(self.folder, os.path.basename(unit)), 'w', encoding='utf-8') as f:
                f.write(text)

    def analyze(self, *words):
        done = subprocess.run(['systemd-analyze', *words], cwd=self.folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              text=True, timeout=60, check=False)
        return done.returncode, done.stdout

    def test_verify(self):
        for unit in sorted(os.listdir(self.folder)):
            status, out = self.analyze('verify', '--man=no', f'./{unit}')
            ours = [line for line in out.splitlines() if 'skipd' in line or 'ppk-pkcs11' in line]
            self.assertEqual((status, ours), (0, []), out)

    def test_security(self):
        for unit in ('skipd@.service', 'ppk-pkcs11-server@.service'):
            status, out = self.analyze('security', '--offline=yes', '--threshold=19', f'./{unit}')
            self.assertEqual(status, 0, out)
            self.assertLess(float(re.search(r'level for \S+: ([0-9.]+)', out)[1]), 2.0)

    def test_socket_and_service_belong_together(self):
        with open(f'{self.folder}/ppk-pkcs11-server.socket', encoding='utf-8') as f:
            self.assertIn('\nAccept=yes\n', f.read())
        with open(f'{self.folder}/ppk-pkcs11-server@.service', encoding='utf-8') as f:
            self.assertIn('\nStandardInput=socket\n', f.read())


@unittest.skipUnless(os.getuid() == 0, 'needs root, for other users')
class Server(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix='ppk-server-')
        self.addCleanup(shutil.rmtree, self.folder)
        os.chmod(self.folder, 0o755)
        self.module = shutil.copy(TOKEN, self.folder)  # the build may be where others cannot read
        master = self.write('ppk-master-key', os.urandom(32).hex())
        sealed = subprocess.run([f'{BUILD}/bin/ppkctl', 'encrypt', '--hex', '--master-key-file', master], input=KEY.hex() + '\n',
                                capture_output=True, text=True, check=True).stdout.strip()
        conf = self.write('ppk.conf', f'keyring dynamic\n peer branch\n  ppk manual id m1 key 6 {sealed}\n')
        for path in (master, conf):
            os.chown(path, TOKEN_USER, TOKEN_USER)
        self.address = os.path.join(self.folder, 'pkcs11.socket')
        with open(f'{BUILD}/conf/ppk-pkcs11-server@.service', encoding='utf-8') as f:
            command = re.search(r'^ExecStart=(.*)$', f.read(), re.M)[1].split()
        self.assertTrue(command[-1].endswith('/ppk-pkcs11.so'))
        self.log = open(os.path.join(self.folder, 'log'), 'w+', encoding='utf-8')
        self.addCleanup(self.log.close)
        environment = {'PPK_CONF': conf, 'CREDENTIALS_DIRECTORY': self.folder, 'PPK_LOG': 'stderr:info'}
        self.server = subprocess.Popen(
            ['systemd-socket-activate', '--inetd', '--accept', '-l', self.address, *(f'-E{name}' for name in environment),
             *as_user(TOKEN_USER), *command[:-1], self.module],
            stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log, env={**os.environ, **environment})
        self.addCleanup(self.end)
        until = time.monotonic() + BOUND
        while not os.path.exists(self.address):
            self.assertIsNone(self.server.poll())
            self.assertLess(time.monotonic(), until)
            time.sleep(0.02)
        os.chown(self.address, 0, CLIENT_USER)  # as SocketGroup and SocketMode of the unit
        os.chmod(self.address, 0o660)

    def end(self):
        self.server.terminate()
        self.server.wait(BOUND)

    def write(self, name, text):
        path = os.path.join(self.folder, name)
        with open(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600), 'w', encoding='utf-8') as f:
            f.write(text)
        return path

    def tool(self, *words, data=None):
        environment = {k: v for k, v in os.environ.items() if k not in ('PPK_CONF', 'CREDENTIALS_DIRECTORY')}
        done = subprocess.run([*as_user(CLIENT_USER), 'pkcs11-tool', '--module', CLIENT, *words], input=data, cwd='/',
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=BOUND, check=False,
                              env={**environment, 'P11_KIT_SERVER_ADDRESS': f'unix:path={self.address}'})
        self.log.seek(0)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr + self.log.read().encode())
        return done.stdout

    def test_another_user_uses_it(self):
        """A client that can read neither configuration nor master key lists the token, and has it sign with the PPK, whose type 6
        secret the credential opened."""
        for name in ('ppk.conf', 'ppk-master-key'):
            self.assertNotEqual(subprocess.run([*as_user(CLIENT_USER), 'cat', os.path.join(self.folder, name)], check=False,
                                               capture_output=True).returncode, 0)
        self.assertIn(b'token label        : dynamic', self.tool('-L'))
        self.assertIn(b'sensitive, always sensitive', self.tool('-O'))
        signature = self.tool('--sign', '-m', 'SHA256-HMAC', '--id', b'm1'.hex(), data=TEXT)
        self.assertTrue(signature.endswith(hmac.new(KEY, TEXT, 'sha256').digest()), signature)

    def test_who_has_not_the_group_is_kept_out(self):
        done = subprocess.run([*as_user(2), 'pkcs11-tool', '--module', CLIENT, '-L'], stdout=subprocess.PIPE, check=False,
                              stderr=subprocess.STDOUT, timeout=BOUND, cwd='/',
                              env={**os.environ, 'P11_KIT_SERVER_ADDRESS': f'unix:path={self.address}'})
        self.assertIn(b'No slots', done.stdout)

    def test_it_is_another_process_of_another_user(self):
        """While a client is connected, its token runs under the token's user, and the client's user cannot look into it."""
        os.environ['P11_KIT_SERVER_ADDRESS'] = f'unix:path={self.address}'
        library, functions = ctypes.CDLL(CLIENT), ctypes.POINTER(ctypes.c_void_p)()
        self.assertEqual(library.C_GetFunctionList(ctypes.byref(functions)), 0)
        # behind the version: C_Initialize, C_Finalize
        initialize, finalize = (ctypes.CFUNCTYPE(ctypes.c_ulong, ctypes.c_void_p)(functions[i]) for i in (1, 2))
        self.assertEqual(initialize(None), 0)
        with open(f'/proc/{self.server.pid}/task/{self.server.pid}/children', encoding='utf-8') as f:
            (pid,) = f.read().split()
        self.assertEqual(os.stat(f'/proc/{pid}').st_uid, TOKEN_USER)
        with open(f'/proc/{pid}/maps', encoding='utf-8') as f:
            self.assertIn(self.module, f.read())
        with open('/proc/self/maps', encoding='utf-8') as f:
            self.assertNotIn('ppk-pkcs11.so', f.read())
        looked = subprocess.run([*as_user(CLIENT_USER), 'head', '-c1', f'/proc/{pid}/maps'], capture_output=True, check=False)
        self.assertIn(b'Permission denied', looked.stderr)
        self.assertEqual(finalize(None), 0)


if __name__ == '__main__':
    for program in ('systemd-analyze', 'systemd-socket-activate', 'setpriv', 'pkcs11-tool', 'p11-kit'):
        if not shutil.which(program):
            print(f'skipped: no {program}')
            sys.exit(77)
    if not os.path.exists(CLIENT):
        print(f'skipped: no {CLIENT}')
        sys.exit(77)
    unittest.main()
