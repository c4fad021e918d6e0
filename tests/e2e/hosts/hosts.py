# SPDX-License-Identifier: BSD-2-Clause
"""What the tests of this folder share: a key source whose keys are known beforehand, and the program `host`."""

import hashlib
import os
import re
import resource
import secrets
import subprocess
import sys
import unittest

sys.path.insert(0, os.path.join(os.environ['PPK_SOURCE'], 'tests', 'e2e', 'hostile'))
from testbed import Testbed  # noqa: E402

HOST = os.path.join(os.environ['PPK_BUILD'], 'tests', 'host')
TOKEN = os.environ['PPK_TOKEN']
NOBODY = 65534
BOUND = 30


def key_of(key_id):
    """The key that hostile_server.py gives under this ID (hex)."""
    return hashlib.sha256(bytes.fromhex(key_id)).digest()


class Host:
    """A running `host`. Its lines are read as they come."""

    def __init__(self, conf, words, env=None, user=None, memlock=None, core=None, folder=None, token=TOKEN):
        def prepare():
            if memlock is not None:
                resource.setrlimit(resource.RLIMIT_MEMLOCK, (memlock, memlock))
            resource.setrlimit(resource.RLIMIT_CORE, (core or 0, core or 0))
            if user is not None:
                os.setgroups([])
                os.setresgid(user, user, user)
                os.setresuid(user, user, user)

        self.process = subprocess.Popen([HOST, token, *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                        text=True, cwd=folder, preexec_fn=prepare,
                                        env={**os.environ, 'PPK_CONF': conf, 'PPK_LOG': 'none', **(env or {})})

    def until_wait(self):
        """The process ID of who waits; all lines before are results that must be good."""
        for line in self.process.stdout:
            words = line.split()
            if 'wait' in words and words[-1].isdigit():
                return int(words[-1])
            if words[-1] != '0x0':
                raise AssertionError(line)
        raise AssertionError('it ended: ' + self.process.stderr.read())

    def go_on(self):
        self.process.stdin.write('\n')
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        if not answer.split() or answer.split()[-1] != '0x0':
            raise AssertionError('it ended: ' + answer + self.process.stderr.read())

    def end(self):
        """Its exit status, and the rest of its lines; nothing may have been written to standard error."""
        out, errors = self.process.communicate(timeout=BOUND)
        return self.process.returncode, out.splitlines(), errors

    def kill(self):
        self.process.kill()
        self.process.communicate()


class Case(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.bed = cls.enterClassContext(Testbed(os.environ['PPK_BUILD']))
        cls.port = cls.bed.serve(log='requests')

    def configure(self, more='', user=None, keyring=''):
        name = self.bed.path(secrets.token_hex(4) + '.conf')
        with open(os.open(name, os.O_WRONLY | os.O_CREAT, 0o600), 'w', encoding='ascii') as f:
            f.write(f'keyring k\n{keyring} peer b\n  ppk dynamic ks\n  remote-system-id good\n peer m\n  ppk manual id m1 key hex {"5a" * 32}\n'
                    f'sks profile ks type remote\n kme server ipv4 127.0.0.1 port {self.port}\n timeout 5000\n'
                    f' tls trustpoint {self.bed.path("ca.pem")}\n{more}')
        if user is not None:
            os.chown(name, user, user)
            os.chmod(self.bed.dir, 0o711)
            os.chmod(self.bed.path('ca.pem'), 0o644)
        return name

    def host(self, conf, *words, **how):
        host = Host(conf, words, **how)
        self.addCleanup(host.kill)
        return host

    def run_host(self, conf, *words, **how):
        """Runs it to its end: the lines, without the words' values. Nothing goes to standard error."""
        status, lines, errors = self.host(conf, *words, **how).end()
        self.assertEqual((status, errors), (0, ''), lines)
        return [re.sub(r'=\S*', '', line) for line in lines]
