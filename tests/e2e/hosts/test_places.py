# SPDX-License-Identifier: BSD-2-Clause
"""The token where it is not at home: hosts with an OpenSSL of their own mind, with libcurl's other flavour, without sockets."""

import os
import secrets
import shutil
import unittest

from hosts import TOKEN, Case

WORKS = ['find', 'derive', 'sign', 'destroy']
FOUND = ['find 1 0x0', 'derive 0x0', 'sign 0x0', 'destroy 0x0']


class Places(Case):
    def words(self):
        return ['init', 'digest', 'find=' + secrets.token_hex(16), *WORKS[1:], 'finalize', 'digest']

    def expect_works(self, digest='good', **how):
        self.assertEqual(self.run_host(self.configure(), *self.words(), **how),
                         ['init 0x0', f'digest {digest} 0x0', *FOUND, 'finalize 0x0', f'digest {digest} 0x0'])

    def openssl(self, text):
        path = self.bed.path(secrets.token_hex(4) + '.cnf')
        with open(path, 'w', encoding='ascii') as f:
            f.write('openssl_conf = init\n' + text)
        return {'OPENSSL_CONF': path}

    def test_plain(self):
        self.expect_works()

    def test_bind_now(self):
        self.expect_works(env={'LD_BIND_NOW': '1'})

    def test_openssl_wants_fips(self):
        """The host's algorithms must be of a provider that is not there: it gets none, and the token is not touched by it."""
        env = self.openssl('[init]\nalg_section = evp\n[evp]\ndefault_properties = fips=yes\n')
        self.expect_works('refused', env=env)

    def test_openssl_with_other_providers(self):
        env = self.openssl('[init]\nproviders = p\n[p]\nlegacy = l\n[l]\nactivate = 1\n')
        self.expect_works('refused', env=env)

    def test_openssl_conf_missing_or_broken(self):
        self.expect_works(env={'OPENSSL_CONF': self.bed.path('nowhere.cnf')})
        self.expect_works(env=self.openssl('[init\n'))

    def test_openssl_wants_old_tls(self):
        """A host that allows everything: the token's own TLS keeps its bounds, and its key source is good enough for them."""
        env = self.openssl('[init]\nssl_conf = s\n[s]\nsystem_default = d\n[d]\nMinProtocol = TLSv1\nCipherString = ALL@SECLEVEL=0\n')
        self.expect_works(env=env)

    def test_gnutls_flavour_of_libcurl(self):
        self.expect_works(env={'LD_PRELOAD': 'libcurl-gnutls.so.4'})

    def test_relative_path(self):
        """Loaded by a relative path, the token nevertheless finds its transport."""
        folder, name = os.path.split(TOKEN)
        self.expect_works(folder=folder, token='./' + name)

    def test_transport_is_not_there_or_no_transport(self):
        """A token that is by itself, or beside something else: what is held works, and the log says what was tried."""
        folder, log = self.bed.path('alone'), self.bed.path('loader.log')
        os.mkdir(folder)
        token = shutil.copy(os.path.realpath(TOKEN), folder)
        for content, told in ((None, 'ppk-skip.so: not there'), (b'', 'too short|invalid|file'), (b'garbage' * 1000, 'invalid ELF header'),
                              (os.path.join(os.environ['PPK_BUILD'], 'tests', 'libfail_alloc.so'), 'is not a SKIP transport')):
            with self.subTest(content):
                beside = os.path.join(folder, 'ppk-skip.so')
                if isinstance(content, str):
                    shutil.copy(content, beside)
                elif content is not None:
                    with open(beside, 'wb') as f:
                        f.write(content)
                open(log, 'w', encoding='ascii').close()
                lines = self.run_host(self.configure(), 'init', 'manual=m1', 'find=' + secrets.token_hex(16), 'manual=m1', 'derive', 'finalize',
                                      token=token, env={'PPK_LOG': f'file={log}:info'})
                self.assertEqual(lines, ['init 0x0', 'manual 1 0x0', 'find 0 0x30', 'manual 1 0x0', 'derive 0x0', 'finalize 0x0'])
                with open(log, encoding='ascii', errors='replace') as f:
                    self.assertRegex(f.read(), 'the SKIP transport cannot be loaded: .*(' + told + ')')

    def test_no_sockets(self):
        """A search that would have to ask somebody fails; everything that is held works."""
        lines = self.run_host(self.configure(), 'no-sockets', 'init', 'manual=m1', 'derive', 'sign', 'find=' + secrets.token_hex(16),
                              'manual=m1', 'derive', 'finalize')
        self.assertEqual(lines, ['no-sockets 0x0', 'init 0x0', 'manual 1 0x0', 'derive 0x0', 'sign 0x0', 'find 0 0x30',
                                 'manual 1 0x0', 'derive 0x0', 'finalize 0x0'])

    def test_killed_sockets(self):
        """Without a search that has to ask, no socket is ever made: who makes one is killed."""
        lines = self.run_host(self.configure(), 'killed-sockets', 'init', 'list', 'manual=m1', 'derive', 'sign', 'finalize')
        self.assertEqual(lines, ['killed-sockets 0x0', 'init 0x0', 'list 3 0x0', 'manual 1 0x0', 'derive 0x0', 'sign 0x0', 'finalize 0x0'])
        status, _, _ = self.host(self.configure(), 'killed-sockets', 'init', 'find=' + secrets.token_hex(16)).end()
        self.assertEqual(status, -31) # SIGSYS: the filter works

    def test_sockets_lost_while_held(self):
        """The key came before sockets were forbidden; then everything about it goes on."""
        lines = self.run_host(self.configure(), 'init', 'find=' + secrets.token_hex(16), 'no-sockets', *WORKS[1:], 'finalize')
        self.assertEqual(lines, ['init 0x0', FOUND[0], 'no-sockets 0x0', *FOUND[1:], 'finalize 0x0'])


if __name__ == '__main__':
    unittest.main()
