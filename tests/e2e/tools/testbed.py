# SPDX-License-Identifier: BSD-2-Clause
"""Two key sources (Alice, Bob) on loopback, and a token's configuration for an encryptor at each."""

import os
import re
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest

sys.path.append(os.path.join(os.path.dirname(os.path.abspath(__file__)), '..'))
from ports import free_port  # noqa: E402

TOKEN = os.environ['PPK_TOKEN']
SKIPD = os.environ['PPK_SKIPD']

# How long anything may take before a test gives up on it.
BOUND = 30


def need(*programs):
    """Ends the test program as skipped where one of these is not installed."""
    for program in programs:
        if not shutil.which(program):
            print(f'skipped: no {program}')
            sys.exit(77)


class KeySource:
    """A skipd. Its log says which requests it got."""

    def __init__(self, folder, name, peer):
        self.folder, self.name, self.peer = folder, name, peer
        self.port, self.link_port = free_port(), free_port()
        self.psk = secrets.token_hex(48)
        self.log_path = os.path.join(folder, name + '.log')
        self.process = None

    def write(self, name, text):
        path = os.path.join(self.folder, f'{self.name}.{name}')
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), 'w') as f:
            f.write(text)
        return path

    def start(self, other, link_psk):
        master = self.write('master', secrets.token_hex(32) + '\n')
        conf = self.write('conf', f'''
system-id {self.name}
listen ipv4 127.0.0.1 port {self.port}
listen peers ipv4 127.0.0.1 port {self.link_port}
store sqlite {self.folder}/{self.name}.db
master-key file {master}
client encryptor-{self.name}
 tls psk id encryptor-{self.name} key hex {self.psk}
peer {other.name}
 tls psk id link key hex {link_psk}
 address ipv4 127.0.0.1 port {other.link_port}
''')
        ready = os.path.join(self.folder, self.name + '.ready')
        with open(self.log_path, 'a') as log:
            self.process = subprocess.Popen([SKIPD, '-c', conf, '--ready-file', ready], stdin=subprocess.DEVNULL,
                                            stdout=log, stderr=log, env={**os.environ, 'PPK_LOG': 'stderr:info'})
        self.wait(lambda: os.path.exists(ready), 'did not start')

    def wait(self, condition, what):
        until = time.monotonic() + BOUND
        while not condition():
            if self.process.poll() is not None or time.monotonic() > until:
                raise RuntimeError(f'key source {self.name} {what}:\n{self.log()}')
            time.sleep(0.01)

    def wait_link(self):
        self.wait(lambda: 'link is up' in self.log(), 'has no link')

    def stop(self):
        if self.process is None:
            return
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(BOUND)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process = None

    def log(self):
        with open(self.log_path, encoding='utf-8', errors='replace') as f:
            return f.read()

    def requests(self):
        """The kinds of requests of keys so far, in their order: "key" (a new one) and "key by ID"."""
        return re.findall(r"client '[^']*' \([^)]*\): (key by ID|key)\b", self.log())


class Testbed(unittest.TestCase):
    """A test case with both key sources. TOKEN's configuration is written for Alice's encryptor, whose peer is
    gateway-b (remote system Bob), and for Bob's (gateway-a, Alice)."""

    profile = ''  # more lines of the sks profile

    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.mkdtemp(prefix='ppk-tools-')
        cls.addClassCleanup(shutil.rmtree, cls.folder, True)
        cls.alice, cls.bob = KeySource(cls.folder, 'Alice', 'Bob'), KeySource(cls.folder, 'Bob', 'Alice')
        link_psk = secrets.token_hex(32)
        cls.addClassCleanup(cls.alice.stop)
        cls.addClassCleanup(cls.bob.stop)
        cls.alice.start(cls.bob, link_psk)
        cls.bob.start(cls.alice, link_psk)
        cls.alice.wait_link()
        cls.bob.wait_link()
        cls.alice_conf = cls.configure(cls.alice, 'gateway-b', 'Bob', '192.0.2.2')
        cls.bob_conf = cls.configure(cls.bob, 'gateway-a', 'Alice', '192.0.2.1')

    @classmethod
    def configure(cls, source, peer, remote, address):
        return source.write('ppk.conf', f'''
keyring dynamic
 peer {peer}
  ppk dynamic ks required
  remote-system-id {remote}
  pre-shared-key cisco123!cisco123
  address {address} 255.255.255.255
 peer manual
  ppk manual id m1 key hex {"5a" * 32}
sks profile ks type remote
 kme server ipv4 127.0.0.1 port {source.port}
 tls psk id encryptor-{source.name} key hex {source.psk}
 timeout 10000
 {cls.profile}
''')

    def setUp(self):
        self.before = {s: len(s.requests()) for s in (self.alice, self.bob)}

    def asked(self, source):
        """The requests that a key source got since the test, or the last call, began."""
        # skipd logs an answer before it sends it, so what a tool has got is in the log.
        new = source.requests()[self.before[source]:]
        self.before[source] += len(new)
        return new

    def run_tool(self, conf, *command, status=0, env=None, data=None):
        """Runs a tool on the token; returns its standard output and error, together, as text."""
        done = subprocess.run(command, stdin=subprocess.DEVNULL if data is None else None, input=data,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=BOUND,
                              env={**os.environ, 'PPK_CONF': conf, 'LC_ALL': 'C.UTF-8', 'PPK_LOG': 'none', **(env or {})})
        text = done.stdout.decode('utf-8', 'replace')
        if status is not None:
            self.assertEqual(done.returncode, status, f'{command}:\n{text}')
        return text


def main():
    unittest.main()
