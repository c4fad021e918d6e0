# SPDX-License-Identifier: BSD-2-Clause
"""GnuTLS's p11tool, which speaks pkcs11: URIs, and searches twice for what it lists once."""

import os
import re

import p11
import testbed


def percent(octets):
    return ''.join(f'%{b:02x}' for b in octets)


class P11tool(testbed.Testbed):
    def tool(self, conf, *args, **more):
        return self.run_tool(conf, 'p11tool', '--provider', testbed.TOKEN, '--batch', *args, **more)

    def test_tokens_and_all(self):
        self.assertRegex(self.tool(self.alice_conf, '--list-tokens'), r'URL: pkcs11:.*;token=dynamic\n')
        listing = self.tool(self.alice_conf, '--list-all', 'pkcs11:token=dynamic')
        self.assertIn('gateway-b%2Fpsk', listing)
        self.assertRegex(listing, r'id=%6[dD]%31')
        self.assertEqual(self.asked(self.alice), [])

    def test_a_peer_is_one_request(self):
        listing = self.tool(self.alice_conf, '--list-all', 'pkcs11:token=dynamic;object=gateway-b')
        self.assertEqual(self.asked(self.alice), ['key'])
        urls = re.findall(r'URL: (pkcs11:.*object=gateway-b;type=secret-key)', listing)
        self.assertEqual(len(urls), 1)
        self.assertRegex(urls[0], r'id=(%[0-9a-fA-F]{2}){16};')

    def test_by_id_is_one_request(self):
        os.environ['PPK_CONF'] = self.alice_conf
        token = p11.Token()
        self.addCleanup(token.finalize)
        session = token.session()
        key_id = session.attribute(session.generate('gateway-b'), p11.CKA_ID)
        listing = self.tool(self.bob_conf, '--list-all', f'pkcs11:token=dynamic;id={percent(key_id)};type=secret-key')
        self.assertIn('object=gateway-a', listing)
        self.assertEqual(self.asked(self.bob), ['key by ID'])

    def test_export_is_refused(self):
        out = self.tool(self.alice_conf, '--export', f'pkcs11:token=dynamic;id={percent(b"m1")};type=secret-key', status=None)
        self.assertNotRegex(out.lower(), '5a5a|wlpa')


if __name__ == '__main__':
    testbed.need('p11tool')
    testbed.main()
