# SPDX-License-Identifier: GPL-2.0-or-later
"""A SKIP key source for one purpose: the test knows the keys. A key follows from its ID and a secret of the test, so that
both ends' sources agree without a link. TLS with PSK is psk_front's. Program: plainsource.py PSK_FRONT PORT PSK SECRET."""
import hashlib
import hmac
import http.server
import json
import secrets
import subprocess
import sys
import threading
import urllib.parse


def key_of(secret, key_id):
    """The key with this ID, both as bytes."""
    return hmac.new(secret, key_id, hashlib.sha256).digest()


def handler(secret):
    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = 'HTTP/1.1'

        def do_GET(self):
            path = urllib.parse.urlparse(self.path).path.split('/')[1:]
            if path == ['capabilities']:
                body = {'entropy': False, 'key': True, 'algorithm': 'test-known-keys', 'localSystemID': sys.argv[5],
                        'remoteSystemID': ['*']}
            elif path[0] == 'key' and len(path) <= 2:
                key_id = bytes.fromhex(path[1]) if len(path) == 2 else secrets.token_bytes(16)
                body = {'keyId': key_id.hex(), 'key': key_of(secret, key_id).hex()}
            else:
                self.send_error(404)
                return
            data = json.dumps(body).encode()
            self.send_response(200)
            self.send_header('Content-Type', 'application/json')
            self.send_header('Content-Length', str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_):
            pass

    return Handler


def main():
    front, port_file, psk, secret = sys.argv[1], sys.argv[2], sys.argv[3], bytes.fromhex(sys.argv[4])
    server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), handler(secret))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    process = subprocess.Popen(['setpriv', '--pdeathsig', 'KILL', front, '--backend', str(server.server_port), '--psk',
                                f'encryptor:{psk}'], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    port = process.stdout.readline().strip()
    with open(port_file, 'w', encoding='ascii') as out:
        out.write(port)
    process.wait()


if __name__ == '__main__':
    main()
