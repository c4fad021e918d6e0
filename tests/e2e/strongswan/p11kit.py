# SPDX-License-Identifier: GPL-2.0-or-later
"""A PKCS#11 module in a process of its own, by p11-kit's remoting: what charon loads is only p11-kit's client."""
import os
import pathlib
import re
import shutil

from testbed import wait_for, with_sanitizer

CLIENT = '/usr/lib/x86_64-linux-gnu/pkcs11/p11-kit-client.so'


class Server:
    """p11-kit server in front of a module, for the tokens of that URI."""

    def __init__(self, host, module, uri, env):
        self.host = host
        self.socket = host.dir / 'p11-kit.socket'
        self.command = ['p11-kit', 'server', '--foreground', '--name', self.socket, '--provider', module, uri]
        self.server_env = with_sanitizer({**os.environ, **env}, host.dir)
        self.env = {'P11_KIT_SERVER_ADDRESS': f'unix:path={self.socket}'}

    def start(self):
        self.socket.unlink(missing_ok=True)
        self.process = self.host.bed.start(self.command, env=self.server_env, log=self.host.dir / 'p11-kit.out',
                                           prefix=self.host.inside())
        wait_for(self.socket.exists, 5, 'p11-kit server listens: ' + (self.host.dir / 'p11-kit.out').read_text())
        return self

    def stop(self):
        """Ends the server, and the children that it has made for its clients."""
        with open(f'/proc/{self.process.pid}/task/{self.process.pid}/children', encoding='ascii') as children_of:
            children = [int(pid) for pid in children_of.read().split()]
        self.host.bed.stop(self.process)
        for pid in children:
            try:
                os.kill(pid, 9)
            except ProcessLookupError:
                pass


class Isolated(Server):
    """The token as the unit ppk-pkcs11-server@.service runs it: its command for each client, at a socket of the service manager's kind,
    under a user of its own. Whoever can run charon can connect."""
    USER = 1

    def __init__(self, host, module, env):
        super().__init__(host, module, '', env)
        unit = pathlib.Path(os.environ['PPK_BUILD']) / 'conf' / 'ppk-pkcs11-server@.service'
        *command, installed = re.search(r'^ExecStart=(.*)$', unit.read_text(), re.M)[1].split()
        assert installed.endswith('/ppk-pkcs11.so')
        # what that user has to read may be where only root can
        for folder in (host.bed.dir, host.dir):
            folder.chmod(0o755)
        copy = [pathlib.Path(shutil.copy(file, host.dir)) for file in (module, pathlib.Path(module).parent / 'ppk-skip.so')]
        os.chown(env['PPK_CONF'], self.USER, self.USER)
        names = [f'-E{name}' for name in env]
        self.command = ['systemd-socket-activate', '--inetd', '--accept', '-l', self.socket, *names, 'setpriv', f'--reuid={self.USER}',
                        f'--regid={self.USER}', '--clear-groups', '--no-new-privs', *command, copy[0]]

    def clients(self):
        """The processes of the token, one for each connection."""
        with open(f'/proc/{self.process.pid}/task/{self.process.pid}/children', encoding='ascii') as children:
            return [int(pid) for pid in children.read().split()]
