# SPDX-License-Identifier: BSD-2-Clause
"""cmake --install with the prefix /usr: everything is where Debian expects it, and nothing else is there."""

import os
import re
import shutil
import subprocess
import tempfile
import unittest

BUILD, SOURCE, ARCH = os.environ['PPK_BUILD'], os.environ['PPK_SOURCE'], os.environ['PPK_MULTIARCH']
PLUGIN = os.path.exists(os.path.join(BUILD, 'lib', 'libstrongswan-ppk.so'))

FILES = {
    'libppk-pkcs11': [f'usr/lib/{ARCH}/pkcs11/ppk-pkcs11.so', f'usr/lib/{ARCH}/pkcs11/ppk-skip.so', 'usr/share/man/man5/ppk.conf.5',
                      'usr/share/man/man7/ppk-pkcs11.7', 'usr/share/p11-kit/modules/ppk-pkcs11.module',
                      'usr/share/doc/libppk-pkcs11/examples/ppk.conf', 'usr/lib/sysusers.d/libppk-pkcs11.conf',
                      'usr/lib/tmpfiles.d/libppk-pkcs11.conf'],
    'libppk-pkcs11-dev': ['usr/include/ppk/ppk.h', 'usr/include/ppk/pkcs11-3.h'],
    'ppkctl': ['usr/bin/ppkctl', 'usr/share/man/man1/ppkctl.1', 'usr/share/man/man8/ppkctl.8',
               'usr/share/bash-completion/completions/ppkctl'],
    'skipd': ['usr/sbin/skipd', 'usr/share/man/man5/skipd.conf.5', 'usr/share/man/man8/skipd.8',
              'usr/share/bash-completion/completions/skipd', 'usr/lib/systemd/system/skipd@.service',
              'usr/share/doc/skipd/examples/skipd.conf', 'usr/share/doc/skipd/examples/grafana-ppk-pkcs11.json'],
    'ppk-pkcs11-server': ['usr/lib/systemd/system/ppk-pkcs11-server.socket', 'usr/lib/systemd/system/ppk-pkcs11-server@.service',
                          'usr/lib/sysusers.d/ppk-pkcs11.conf'],
    'strongswan-plugin-ppk': ['usr/lib/ipsec/plugins/libstrongswan-ppk.so', 'etc/strongswan.d/charon/ppk.conf',
                              'usr/share/man/man5/strongswan-ppk.5'] if PLUGIN else [],
}
for name, files in FILES.items():
    files += [f'usr/share/doc/{name}/{file}' for file in ('copyright', 'changelog.Debian.gz') if files]


class Layout(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix='ppk-layout-')
        self.addCleanup(shutil.rmtree, self.folder)
        # paths such as the module's are decided when a build is configured: a build of its own, which compiles nothing
        with open(os.path.join(BUILD, 'CMakeCache.txt'), encoding='utf-8') as f:
            cache = dict(re.findall(r'^(\w+):\w+=(.*)$', f.read(), re.M))
        build = os.path.join(self.folder, 'build')
        subprocess.run(['cmake', '-S', SOURCE, '-B', build, '-DCMAKE_INSTALL_PREFIX=/usr', '-DBUILD_TESTING=OFF',
                        f'-DCMAKE_C_COMPILER={cache["CMAKE_C_COMPILER"]}',
                        f'-DPPK_STRONGSWAN_INCLUDE={cache.get("PPK_STRONGSWAN_INCLUDE", "")}'],
                       capture_output=True, timeout=120, check=True)
        for name in ('lib', 'bin', 'share/man/man1', 'share/man/man5', 'share/bash-completion'):
            shutil.copytree(os.path.join(BUILD, name), os.path.join(build, name), dirs_exist_ok=True)
        self.build = build

    def install(self, *words):
        root = os.path.join(self.folder, 'root')
        shutil.rmtree(root, ignore_errors=True)
        subprocess.run(['cmake', '--install', self.build, *words], env={**os.environ, 'DESTDIR': root}, capture_output=True,
                       timeout=60, check=True)
        found = {os.path.relpath(os.path.join(folder, file), root) for folder, _, files in os.walk(root) for file in files}
        return root, found

    def test_components(self):
        for component, files in FILES.items():
            with self.subTest(component):
                self.assertEqual(self.install('--component', component)[1], set(files))

    def test_all(self):
        root, found = self.install()
        self.assertEqual(found, {f for files in FILES.values() for f in files})
        self.assertTrue(os.path.isdir(os.path.join(root, 'etc', 'ppk-pkcs11')))
        with open(f'{root}/usr/share/p11-kit/modules/ppk-pkcs11.module', encoding='utf-8') as f:
            self.assertIn(f'\nmodule: /usr/lib/{ARCH}/pkcs11/ppk-pkcs11.so\n', f.read())
        with open(f'{root}/usr/lib/systemd/system/ppk-pkcs11-server@.service', encoding='utf-8') as f:
            unit = f.read()
        self.assertIn(f'\nExecStart=p11-kit remote /usr/lib/{ARCH}/pkcs11/ppk-pkcs11.so\n', unit)
        self.assertIn('\nLoadCredential=ppk.conf:/etc/ppk-pkcs11/ppk.conf\n', unit)
        for path in found:
            mode = os.stat(os.path.join(root, path)).st_mode & 0o7777
            program = '/bin/' in path or '/sbin/' in path
            self.assertEqual(mode & 0o022, 0, path)
            self.assertEqual(bool(mode & 0o111), program, path)
            if path.startswith('etc/strongswan.d'):
                self.assertEqual(mode, 0o600)


if __name__ == '__main__':
    unittest.main()
