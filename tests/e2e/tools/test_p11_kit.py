# SPDX-License-Identifier: BSD-2-Clause
"""Through p11-kit: its list of modules, its proxy, and its server, which runs the token in a process of its own."""

import glob
import hmac
import os
import subprocess
import sys
import time
import unittest

import testbed

TEXT = b'what is signed'


MODULES = '/usr/share/p11-kit/modules'


def in_namespace(modules):
    return ['unshare', *([] if os.getuid() == 0 else ['--map-root-user']), '--mount', 'sh', '-c',
            f'mount --bind "$0" {MODULES} && exec "$@"', modules]


def library(name):
    found = glob.glob(f'/usr/lib/*/{name}') + glob.glob(f'/usr/lib/*/pkcs11/{name}')
    return found[0] if found else None


class P11Kit(testbed.Testbed):
    def setUp(self):
        super().setUp()
        self.modules = os.path.join(self.folder, 'modules')
        os.makedirs(self.modules, exist_ok=True)
        with open(os.path.join(self.modules, 'ppk-pkcs11.module'), 'w') as f:
            # the configuration's file by p11-kit's own way, not by the environment
            f.write(f'module: {testbed.TOKEN}\nx-init-reserved: config={self.alice_conf}\n'
                    'enable-in: p11-kit, pkcs11-tool, p11tool\n')
        self.text = os.path.join(self.folder, 'text')
        with open(self.text, 'wb') as f:
            f.write(TEXT)

    def sign(self, module, env, conf='/nonexistent', *more):
        out = os.path.join(self.folder, 'signature')
        self.run_tool(conf, 'pkcs11-tool', '--module', module, *more, '--sign', '-m', 'SHA256-HMAC', '--id', b'm1'.hex(),
                      '--input-file', self.text, '--output-file', out, env=env)
        with open(out, 'rb') as f:
            self.assertEqual(f.read(), hmac.new(b'\x5a' * 32, TEXT, 'sha256').digest())
        os.remove(out)

    def configured(self, *command, conf=None):
        """Runs a program where p11-kit's folder of modules is ours, in a mount namespace of its own."""
        env = {k: v for k, v in os.environ.items() if k != 'PPK_CONF'} | ({'PPK_CONF': conf} if conf else {})
        done = subprocess.run(in_namespace(self.modules) + list(command), stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              stdin=subprocess.DEVNULL, timeout=testbed.BOUND, env={**env, 'PPK_LOG': 'none'})
        return done.returncode, done.stdout.decode()

    def test_list_modules(self):
        status, out = self.configured('p11-kit', 'list-modules')
        self.assertEqual(status, 0, out)
        self.assertRegex(out, r'ppk-pkcs11: .*ppk-pkcs11\.so\n')
        self.assertRegex(out, r'token: dynamic\n')
        self.assertEqual(self.asked(self.alice), [])

    def test_uri_by_the_configured_module(self):
        # GnuTLS initializes p11-kit's modules with arguments of its own, without x-init-reserved
        status, out = self.configured('p11tool', '--batch', '--list-all', 'pkcs11:token=dynamic;object=gateway-b',
                                      conf=self.alice_conf)
        self.assertEqual(status, 0, out)
        self.assertIn('object=gateway-b;type=secret-key', out)
        self.assertEqual(self.asked(self.alice), ['key'])

    @unittest.skipUnless(library('p11-kit-proxy.so'), 'no p11-kit-proxy.so')
    def test_proxy(self):
        proxy = library('p11-kit-proxy.so')
        status, out = self.configured('pkcs11-tool', '--module', proxy, '-L')
        self.assertEqual(status, 0, out)
        self.assertRegex(out, r'token label\s*: dynamic\n')
        signature = os.path.join(self.folder, 'signature')
        status, out = self.configured('pkcs11-tool', '--module', proxy, '--token-label', 'dynamic', '--sign', '-m',
                                        'SHA256-HMAC', '--id', b'm1'.hex(), '--input-file', self.text, '--output-file', signature)
        self.assertEqual(status, 0, out)
        with open(signature, 'rb') as f:
            self.assertEqual(f.read(), hmac.new(b'\x5a' * 32, TEXT, 'sha256').digest())
        self.assertEqual(self.asked(self.alice), [])

    @unittest.skipUnless(library('p11-kit-client.so'), 'no p11-kit-client.so')
    def test_server(self):
        """The keys are in the server's process; an HMAC passes the wire, which is enough for RFC 8784."""
        address = os.path.join(self.folder, 'p11-kit.socket')
        server = subprocess.Popen(['p11-kit', 'server', '--foreground', '--name', address, '--provider', testbed.TOKEN,
                                   'pkcs11:token=dynamic'], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                  env={**os.environ, 'PPK_CONF': self.alice_conf, 'PPK_LOG': 'none'})

        def end():
            server.terminate()
            server.wait(testbed.BOUND)
        self.addCleanup(end)
        until = time.monotonic() + testbed.BOUND
        while not os.path.exists(address):
            self.assertIsNone(server.poll())
            self.assertLess(time.monotonic(), until)
            time.sleep(0.02)
        self.sign(library('p11-kit-client.so'), {'P11_KIT_SERVER_ADDRESS': f'unix:path={address}'})
        # and a PPK of the key source is fetched over there
        out = self.run_tool('/nonexistent', 'pkcs11-tool', '--module', library('p11-kit-client.so'), '--keygen', '--key-type',
                            'GENERIC:32', '--label', 'gateway-b', env={'P11_KIT_SERVER_ADDRESS': f'unix:path={address}'})
        self.assertIn('never extractable', out)
        self.assertEqual(self.asked(self.alice), ['key'])


if __name__ == '__main__':
    testbed.need('p11-kit', 'pkcs11-tool', 'p11tool', 'unshare')
    if not os.path.isdir(MODULES) or subprocess.run(in_namespace(MODULES) + ['true'], stderr=subprocess.DEVNULL).returncode:
        print(f'skipped: no mount namespace, or no {MODULES}')
        sys.exit(77)
    testbed.main()
