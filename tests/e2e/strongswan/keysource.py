# SPDX-License-Identifier: GPL-2.0-or-later
"""The real thing: a skipd at each end, with a link between them over the veth, and a ppk-pkcs11 token per host."""
import json
import os
import pathlib
import secrets
import sys

import plainsource
from testbed import run, wait_for, with_sanitizer

BUILD = pathlib.Path(os.environ['PPK_BUILD'])
TOKEN = BUILD / 'lib/ppk-pkcs11.so'
SKIP_PORT = 8443  # and the next one for the link


class KeySource:
    """A skipd in a host's namespace, for that host's token, with one peer."""

    def __init__(self, host, system_id, port=SKIP_PORT):
        self.host, self.system_id, self.port = host, system_id, port
        self.psk = secrets.token_hex(48)
        self.dir = host.dir / f'skipd-{port}'
        self.dir.mkdir()
        self.process = None

    def link(self, other, link_psk):
        (self.dir / 'master').write_text(secrets.token_hex(32) + '\n')
        (self.dir / 'master').chmod(0o600)
        conf = self.dir / 'skipd.conf'
        conf.write_text(f'''system-id {self.system_id}
listen ipv4 127.0.0.1 port {self.port}
listen peers ipv4 {self.host.outer} port {self.port + 1}
store sqlite {self.dir}/keys.db
master-key file {self.dir}/master
client encryptor
 tls psk id encryptor key hex {self.psk}
peer {other.system_id}
 tls psk id link key hex {link_psk}
 address ipv4 {other.host.outer} port {other.port + 1}
''')
        conf.chmod(0o600)

    def start(self):
        ready = self.dir / 'ready'
        self.mark = len(self.log())
        ready.unlink(missing_ok=True)
        self.process = self.host.bed.start([BUILD / 'bin/skipd', '-c', self.dir / 'skipd.conf', '--ready-file', ready],
                                           log=self.dir / 'log', prefix=self.host.inside())
        wait_for(lambda: ready.exists() and ready.stat().st_size, 10, 'skipd starts: ' + (self.dir / 'log').read_text())
        return self

    def log(self):
        file = self.dir / 'log'
        return file.read_text(errors='replace') if file.exists() else ''

    def wait_link(self):
        """Until then it answers no request for a new key."""
        wait_for(lambda: 'link is up' in self.log()[self.mark:], 10, 'the link of the key sources: ' + self.log())

    def stop(self):
        self.host.bed.stop(self.process)


class PlainSource:
    """A key source whose keys the test knows (plainsource.py)."""

    def __init__(self, host, system_id, secret):
        self.host, self.system_id, self.secret = host, system_id, secret
        self.psk = secrets.token_hex(48)
        port = host.dir / 'plainsource.port'
        self.process = host.bed.start(
            [sys.executable, pathlib.Path(__file__).parent / 'plainsource.py', BUILD / 'tests/psk_front', port, self.psk,
             secret.hex(), system_id], log=host.dir / 'plainsource.log', prefix=host.inside())
        wait_for(lambda: port.exists() and port.read_text(), 10, 'the plain key source starts')
        self.port = int(port.read_text())

    def key(self, key_id):
        return plainsource.key_of(self.secret, key_id)


def pair(one, two, names=('Alice', 'Bob')):
    """Two linked key sources, started."""
    sources = KeySource(one, names[0]), KeySource(two, names[1])
    link_psk = secrets.token_hex(32)
    sources[0].link(sources[1], link_psk)
    sources[1].link(sources[0], link_psk)
    for source in sources:
        source.start()
    for source in sources:
        source.wait_link()
    return sources


class Token:
    """ppk.conf of a host, whose keyring has the other host as its peer."""

    def __init__(self, host, other, source, required=True, remote=None, extra='', manual=None, by='address',
                 timeout=2000, peer=None, local=True):
        self.host = host
        self.conf = host.dir / 'ppk.conf'
        kind = f'ppk manual id {manual[0]} key hex {manual[1].hex()}' if manual else 'ppk dynamic ks'
        self.text = f'''keyring dynamic
 peer {peer or 'to-' + other.name}
  {kind}{' required' if required else ''}
  {f'remote-system-id {remote}' if remote else ''}
  {f'address {other.outer} 255.255.255.255' if by == 'address' else ''}
{extra}
'''
        if source:
            self.text += f'''sks profile ks type remote
 kme server ipv4 127.0.0.1 port {source.port}
 {f'local-system-id {source.system_id}' if local else ''}
 tls psk id encryptor key hex {source.psk}
 timeout {timeout}
'''
        self.conf.write_text(self.text)
        self.conf.chmod(0o600)
        run(BUILD / 'bin/ppkctl', 'check', self.conf)
        self.env = {'PPK_CONF': str(self.conf)}

    def publish(self, user=0):
        """Lets the token of this configuration, which runs as that user, publish its status."""
        self.status = self.host.dir / 'status'
        self.status.mkdir()
        os.chown(self.status, user, user)
        self.env['PPK_STATUS_DIR'] = str(self.status)

    def counted(self):
        """The sums of the keyring's numbers."""
        shown = run(BUILD / 'bin/ppkctl', 'show', 'statistics', '--json', env={**os.environ, **self.env})
        keyrings = json.loads(shown)['sum']['keyrings']
        return keyrings[0] if keyrings else {}

    def plugin(self, **more):
        return {'module': TOKEN, 'token': 'dynamic', **more}

    def find(self, *words):
        """pkcs11-tool on the same configuration (a process of its own)."""
        return run(*self.host.inside(), 'pkcs11-tool', '--module', TOKEN, *words, 
                   env=with_sanitizer({**os.environ, **self.env}, self.host.dir), check=False)
