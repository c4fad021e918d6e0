# SPDX-License-Identifier: BSD-2-Clause
"""OpenSC's pkcs11-tool: lists the token, is a SKIP client, signs with a PPK that it names by its ID."""

import os
import re
import time

import p11
import testbed

TEXT = b'what both ends sign'


class Pkcs11Tool(testbed.Testbed):
    def tool(self, conf, *args, **more):
        return self.run_tool(conf, 'pkcs11-tool', '--module', testbed.TOKEN, *args, **more)

    def text_file(self):
        path = os.path.join(self.folder, 'text')
        with open(path, 'wb') as f:
            f.write(TEXT)
        return path

    def test_lists_without_a_request(self):
        slots = self.tool(self.alice_conf, '-L')
        self.assertRegex(slots, r'token label\s*: dynamic\n')
        mechanisms = self.tool(self.alice_conf, '-M')
        for name in ('mechtype-0x402E', 'mechtype-0x402F', 'mechtype-0xCE534372', 'mechtype-0xCE534373'):
            self.assertRegex(mechanisms, name + '.* derive')
        for name in ('SHA-1-HMAC', 'SHA256-HMAC', 'SHA384-HMAC', 'SHA512-HMAC'):
            self.assertRegex(mechanisms, name + '.* sign, verify')
        self.assertRegex(mechanisms, r'GENERIC-SECRET-KEY-GEN.* generate')
        for _ in range(2):
            objects = self.tool(self.alice_conf, '-O')
            self.assertRegex(objects, r"label:\s+'gateway-b'\s+application:\s+'ppk-peer'")
            self.assertIn('gateway-b/psk', objects)
            self.assertRegex(objects, r'ID:\s+6d31\n')
            # this tool says --id, and searches for everything
            self.tool(self.alice_conf, '-O', '--id', 'ab' * 16)
        self.assertEqual(self.asked(self.alice), [])

    def test_keygen_is_a_skip_client(self):
        ids = []
        for _ in range(2):
            out = self.tool(self.alice_conf, '--keygen', '--key-type', 'GENERIC:32', '--label', 'gateway-b')
            self.assertRegex(out, r'Secret Key Object; Generic secret length 32\s+label:\s+gateway-b')
            self.assertIn('never extractable', out)
            ids.append(re.search(r'ID:\s+([0-9a-f]{32})\n', out)[1])
            self.assertEqual(self.asked(self.alice), ['key'])
        self.assertNotEqual(*ids)
        out = self.tool(self.alice_conf, '--keygen', '--key-type', 'GENERIC:32', '--label', 'nobody', status=1)
        self.assertNotIn('Key generated', out)
        self.assertEqual(self.asked(self.alice), [])

    def test_sign_fetches_by_id(self):
        os.environ['PPK_CONF'] = self.alice_conf
        token = p11.Token()
        self.addCleanup(token.finalize)
        session = token.session()
        key = session.generate('gateway-b')
        key_id = session.attribute(key, p11.CKA_ID)
        expected = session.mac(key, 'sha256', TEXT)
        self.asked(self.alice)
        signature = os.path.join(self.folder, 'signature')
        self.tool(self.bob_conf, '--sign', '-m', 'SHA256-HMAC', '--id', key_id.hex(), '--input-file', self.text_file(),
                  '--output-file', signature)
        with open(signature, 'rb') as f:
            self.assertEqual(f.read(), expected)
        self.assertEqual(self.asked(self.bob), ['key by ID'])
        self.assertEqual(self.asked(self.alice), [])
        # it was delivered: nobody gets it again
        self.tool(self.bob_conf, '--sign', '-m', 'SHA256-HMAC', '--id', key_id.hex(), '--input-file', self.text_file(),
                  status=1)
        self.assertEqual(self.asked(self.bob), ['key by ID'])

    def test_sign_with_a_manual_ppk(self):
        import hmac
        signature = os.path.join(self.folder, 'signature-m1')
        self.tool(self.alice_conf, '--sign', '-m', 'SHA512-HMAC', '--id', b'm1'.hex(), '--input-file', self.text_file(),
                  '--output-file', signature)
        with open(signature, 'rb') as f:
            self.assertEqual(f.read(), hmac.new(b'\x5a' * 32, TEXT, 'sha512').digest())
        self.assertEqual(self.asked(self.alice), [])

    def test_value_is_refused(self):
        out = os.path.join(self.folder, 'value')
        text = self.tool(self.alice_conf, '--read-object', '--type', 'secrkey', '--id', b'm1'.hex(), '--output-file', out,
                         status=None)
        self.assertRegex(text, 'CKR_ATTRIBUTE_SENSITIVE|error')
        self.assertFalse(os.path.exists(out) and os.path.getsize(out))
        objects = self.tool(self.alice_conf, '-O')
        self.assertIn('CKR_ATTRIBUTE_SENSITIVE', objects)
        self.assertNotIn('5a5a5a', objects)

    def test_unreachable_key_source(self):
        conf = self.alice.write('down.conf', f'''
keyring dynamic
 peer gateway-b
  ppk dynamic ks
sks profile ks type remote
 kme server ipv4 127.0.0.1 port {testbed.free_port()}
 tls psk id a key hex {"11" * 32}
 timeout 500
''')
        self.assertIn('gateway-b', self.tool(conf, '-O'))
        from_ = time.monotonic()
        out = self.tool(conf, '--keygen', '--key-type', 'GENERIC:32', '--label', 'gateway-b', status=1)
        self.assertIn('CKR_DEVICE_ERROR', out)
        self.assertLess(time.monotonic() - from_, 5)


if __name__ == '__main__':
    testbed.need('pkcs11-tool')
    testbed.main()
