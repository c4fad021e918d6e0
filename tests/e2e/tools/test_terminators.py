#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
"""Independent TLS terminators in front of skipd: the initiator comes through nginx (certificates), the responder through stunnel (PSK)."""

import os
import secrets
import socket
import subprocess
import time

from testbed import BOUND, Testbed, TOKEN, free_port, main, need

PPKCTL = os.path.join(os.environ['PPK_BUILD'], 'bin', 'ppkctl')

NGINX = '''daemon off; master_process off; pid {folder}/nginx.pid; error_log {folder}/nginx.err;
events {{}}
http {{
  access_log off;
  client_body_temp_path {folder}/t1; proxy_temp_path {folder}/t2; fastcgi_temp_path {folder}/t3; uwsgi_temp_path {folder}/t4;
  scgi_temp_path {folder}/t5;
  server {{
    listen 127.0.0.1:{port} ssl; ssl_certificate {folder}/nginx.pem; ssl_certificate_key {folder}/nginx.key;
    location / {{ proxy_pass http://127.0.0.1:{behind}; proxy_http_version 1.1; proxy_set_header Connection ""; }}
  }}
}}
'''


class Terminators(Testbed):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.nginx_port, cls.stunnel_port = free_port(), free_port()
        cls.front_psk = secrets.token_hex(32)
        cls.front(cls.alice, cls.behind(cls.alice))
        behind = cls.behind(cls.bob)
        cls.bob.write('front.psk', f'front:{cls.front_psk}\n')
        cls.stunnel(cls.bob, 'front', f'accept = 127.0.0.1:{cls.stunnel_port}\nconnect = 127.0.0.1:{behind}\n'
                    f'ciphers = PSK\nPSKsecrets = {cls.folder}/Bob.front.psk\n', cls.stunnel_port)
        cls.alice_conf = cls.profile_of(cls.alice, cls.alice_conf, cls.nginx_port, f' tls trustpoint {cls.folder}/nginx.pem')
        cls.bob_conf = cls.profile_of(cls.bob, cls.bob_conf, cls.stunnel_port,
                                      f' tls psk id front key hex {cls.front_psk} hash sha256')

    @classmethod
    def run_daemon(cls, command, port):
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        cls.addClassCleanup(process.wait)
        cls.addClassCleanup(process.terminate)
        until = time.monotonic() + BOUND
        while True:
            with socket.socket() as s:
                if s.connect_ex(('127.0.0.1', port)) == 0:
                    return
            if process.poll() is not None or time.monotonic() > until:
                raise RuntimeError(f'{command} does not listen')
            time.sleep(0.02)

    @classmethod
    def stunnel(cls, source, name, service, port):
        conf = source.write(name + '.stunnel', f'foreground = yes\npid =\ndebug = err\n[{name}]\n{service}')
        cls.run_daemon(['stunnel4', conf], port)

    @classmethod
    def behind(cls, source):
        """A plain port of loopback that stunnel takes to skipd, as the key source's client."""
        port = free_port()
        source.write('behind.psk', f'encryptor-{source.name}:{source.psk}\n')
        cls.stunnel(source, 'behind', f'client = yes\naccept = 127.0.0.1:{port}\nconnect = 127.0.0.1:{source.port}\n'
                    f'PSKidentity = encryptor-{source.name}\nPSKsecrets = {cls.folder}/{source.name}.behind.psk\n', port)
        return port

    @classmethod
    def front(cls, source, behind):
        subprocess.run(['openssl', 'req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '2',
                        '-subj', '/CN=key source', '-addext', 'subjectAltName=IP:127.0.0.1', '-keyout', f'{cls.folder}/nginx.key',
                        '-out', f'{cls.folder}/nginx.pem'], check=True, capture_output=True, timeout=BOUND)
        os.chmod(f'{cls.folder}/nginx.pem', 0o600)
        conf = source.write('nginx', NGINX.format(folder=cls.folder, port=cls.nginx_port, behind=behind))
        cls.run_daemon(['nginx', '-p', cls.folder, '-c', conf, '-e', f'{cls.folder}/nginx.err'], cls.nginx_port)

    @classmethod
    def profile_of(cls, source, conf, port, tls):
        with open(conf, encoding='utf-8') as f:
            lines = f.read().splitlines()
        lines = [f' kme server ipv4 127.0.0.1 port {port}' if ' kme server' in line else tls if ' tls psk' in line else line
                 for line in lines]
        return source.write('ppk.conf', '\n'.join(lines) + '\n')

    def fetch(self, conf, peer, *words, status=0):
        return self.run_tool(conf, PPKCTL, 'fetch', peer, '--module', TOKEN, '--hmac', 'both ends', *words, status=status)

    def test_a_key_through_both(self):
        new = self.fetch(self.alice_conf, 'gateway-b')
        self.assertEqual(self.asked(self.alice), ['key'])
        key_id = next(word for word in new.split() if len(word) == 32 and set(word) <= set('0123456789abcdef'))
        same = self.fetch(self.bob_conf, 'gateway-a', '--id', key_id)
        self.assertEqual(self.asked(self.bob), ['key by ID'])
        macs = [[word for word in text.split() if len(word) == 64] for text in (new, same)]
        self.assertEqual(len(macs[0]), 1, new)
        self.assertEqual(macs[0], macs[1])
        self.fetch(self.bob_conf, 'gateway-a', '--id', key_id, status=1)  # given once

    def test_a_stranger_gets_nothing(self):
        wrong = self.profile_of(self.bob, self.bob_conf, self.stunnel_port, f' tls psk id front key hex {secrets.token_hex(32)} hash sha256')
        self.addCleanup(self.profile_of, self.bob, self.bob_conf, self.stunnel_port,
                        f' tls psk id front key hex {self.front_psk} hash sha256')
        self.fetch(wrong, 'gateway-a', '--id', '00' * 16, status=1)
        self.assertEqual(self.asked(self.bob), [])


if __name__ == '__main__':
    need('nginx', 'stunnel4', 'openssl')
    main()
