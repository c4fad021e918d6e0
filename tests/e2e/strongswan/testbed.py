# SPDX-License-Identifier: GPL-2.0-or-later
"""Two hosts in network namespaces, joined by a veth pair, each with a real charon (or pluto).

Everything lives in one temporary directory and in namespaces that end with their processes. Whoever uses it calls
isolate() first: the program runs itself again in a mount namespace of its own, where charon's plugin folder also has
libstrongswan-ppk.so.
"""
import atexit
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

PLUGIN_DIR = pathlib.Path('/usr/lib/ipsec/plugins')
CHARON = '/usr/sbin/charon-systemd'
STOCK_PLUGINS = ('random nonce openssl aes sha1 sha2 hmac kdf xcbc curve25519 gmp pem pkcs1 pkcs8 x509 pubkey constraints '
                 'kernel-libipsec kernel-netlink socket-default vici updown')
SWANCTL_FOLDERS = ('x509 x509ca x509ocsp x509aa x509ac x509crl pubkey private rsa ecdsa bliss pkcs8 pkcs12').split()
SKIPPED = 77 # for ctest
OURS = r'libstrongswan-ppk|ppk-pkcs11|ppk-skip'


class Failure(Exception):
    """A test saw something else than it has to see."""


def run(*command, timeout=30, check=True, env=None, stdin=None):
    """Runs a command; its output, and with check a Failure that shows it where it fails."""
    done = subprocess.run([str(c) for c in command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=timeout,
                          env=env, input=stdin, text=True, errors='replace')
    if check and done.returncode != 0:
        raise Failure(f'{" ".join(str(c) for c in command)} exits with {done.returncode}:\n{done.stdout}')
    return done.stdout


def isolate(plugin):
    """Runs this program again in a mount namespace where charon finds the plugin."""
    missing = [name for name in filter(None, (CHARON, '/usr/sbin/swanctl', '/dev/net/tun', plugin)) if not os.path.exists(name)]
    if os.geteuid() != 0 or missing:
        print('skipped: needs root' if not missing else f'skipped: there is no {missing}')
        sys.exit(SKIPPED)
    if os.environ.get('PPK_TESTBED') != '1':
        os.environ['PPK_TESTBED'] = '1'
        os.execvp('unshare', ['unshare', '--mount', '--propagation', 'private', sys.executable, *sys.argv])
    merged = pathlib.Path(tempfile.mkdtemp(prefix='ppk-plugins-'))
    atexit.register(lambda: (subprocess.run(['umount', str(PLUGIN_DIR)], check=False),
                             shutil.rmtree(merged, ignore_errors=True)))
    for file in PLUGIN_DIR.glob('*.so'):
        shutil.copy2(file, merged)
    if plugin:
        shutil.copy2(plugin, merged)
    run('mount', '--bind', merged, PLUGIN_DIR)


def with_sanitizer(env, directory):
    """What a program needs that loads our libraries when they are built with ASan (PPK_PRELOAD: its library)."""
    if 'PPK_PRELOAD' not in os.environ:
        return env
    return {**env, 'LD_PRELOAD': os.environ['PPK_PRELOAD'],
            'ASAN_OPTIONS': f'detect_leaks=1:exitcode=99:log_path={directory}/asan',
            'LSAN_OPTIONS': 'exitcode=0', 'UBSAN_OPTIONS': f'print_stacktrace=1:exitcode=99:log_path={directory}/ubsan'}


def sanitizer_reports(directory):
    """Errors in any code, and leaks of ours, that the sanitizers reported."""
    found = []
    for file in sorted(directory.glob('*san.*')):
        text = file.read_text(errors='replace')
        if 'ERROR: AddressSanitizer' in text or 'runtime error: ' in text:
            found.append(text)
        found += [block for block in text.split('\n\n') if 'leak of' in block and re.search(OURS, block)]
    return found


def wait_for(condition, seconds, what):
    """Polls until condition() is true; its value."""
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise Failure(f'not within {seconds} s: {what}')
        time.sleep(0.02)


class Bed:
    """The temporary directory, the processes and the two namespaces of one test."""

    def __init__(self):
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix='ppk-e2e-'))
        self.processes = []
        self.hosts = {}
        atexit.register(self.close)

    def start(self, command, env=None, log=None, prefix=()):
        """A process that ends with the bed."""
        out = open(log, 'ab') if log else subprocess.DEVNULL
        # whatever becomes of us, the kernel ends it
        process = subprocess.Popen(['setpriv', '--pdeathsig', 'KILL', *prefix, *[str(c) for c in command]], stdin=subprocess.DEVNULL, stdout=out, stderr=out,
                                   env=env)
        if log:
            out.close()
        self.processes.append(process)
        return process

    def stop(self, process, seconds=10, how=signal.SIGTERM):
        """Ends a process and waits; its exit status."""
        if process.poll() is None:
            process.send_signal(how)
            try:
                process.wait(seconds)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(10)
        if process in self.processes:
            self.processes.remove(process)
        return process.returncode

    def net(self, left='alice', right='bob', ipv6=False):
        """Two namespaces with a veth pair between them."""
        pair = []
        for number, name in ((1, left), (2, right)):
            holder = self.start(['unshare', '--net', 'sleep', '3600'])
            host = Host(self, name, number, holder)
            wait_for(lambda h=holder: os.readlink(f'/proc/{h.pid}/ns/net') != os.readlink('/proc/self/ns/net'), 5,
                     'network namespace')
            self.hosts[name] = host
            pair.append(host)
        one, two = pair
        one.ip('link', 'add', 'eth0', 'type', 'veth', 'peer', 'name', 'eth0', 'netns', two.holder.pid)
        for host in pair:
            host.ip('link', 'set', 'lo', 'up')
            host.ip('addr', 'add', f'{host.inner}/32', 'dev', 'lo')
            host.ip('addr', 'add', f'{host.outer}/24', 'dev', 'eth0')
            host.ip('link', 'set', 'eth0', 'up')
        return pair

    def close(self):
        for process in reversed(list(self.processes)):
            self.stop(process, 60 if 'PPK_PRELOAD' in os.environ else 10)
        reports = [report for host in self.hosts.values() for report in sanitizer_reports(host.dir)]
        if self.dir.exists():
            shutil.rmtree(self.dir, ignore_errors=True)
        if reports:
            raise Failure('sanitizer:\n' + '\n'.join(reports))


class Host:
    """One end: a namespace (that of its holder process), its addresses, and a directory."""

    def __init__(self, bed, name, number, holder):
        self.bed, self.name, self.holder = bed, name, holder
        self.outer, self.inner = f'10.99.0.{number}', f'10.{number}.0.1'
        self.dir = bed.dir / name
        self.dir.mkdir()

    def inside(self):
        return ['nsenter', '--net', '--target', str(self.holder.pid)]

    def ip(self, *words):
        return run(*self.inside(), 'ip', *words)

    def ping(self, other, count=3):
        """Pings the other's inner address from ours; the text that ping prints."""
        return run(*self.inside(), 'ping', '-c', count, '-i', '0.2', '-W', '2', '-I', self.inner, other.inner, check=False)


class Charon:
    """A charon-systemd in a host. plugin: the settings of plugins.ppk as a dict, or None for a stock charon."""

    def __init__(self, host, plugin=None, env=None, level=1, settings='', wrapper=(),
                 modular=False, late=False):
        self.host, self.bed = host, host.bed
        self.log = host.dir / 'charon.log'
        self.socket = f'unix://{host.dir}/vici'
        self.plugin, self.level, self.settings = plugin, level, settings
        self.env = dict(os.environ, STRONGSWAN_CONF=str(host.dir / 'strongswan.conf'), **(env or {}))
        self.daemon_env = with_sanitizer(self.env, host.dir) if plugin is not None else self.env
        self.wrapper, self.modular, self.late = wrapper, modular, late
        self.stamps = False  # milliseconds in the log
        self.process = None

    def start(self, seconds=20):
        ours = ''
        if self.plugin is not None:
            priority = 100 if self.modular else 'yes'
            ours = f'ppk {{\n      load = {priority}\n' + ''.join(f'      {key} = "{value}"\n' for key, value in self.plugin.items()) + '    }'
        load = 'load_modular = yes' if self.modular else (
            'load_modular = no\n  load = ' + ' '.join(self.plugins()))
        (self.host.dir / 'strongswan.conf').write_text(f'''
charon-systemd {{
  {load}
  install_virtual_ip = no
  dos_protection = no
  delete_rekeyed_delay = 1
  retransmit_timeout = 1
  retransmit_tries = 2
  {self.settings}
  plugins {{
    {'include /etc/strongswan.d/charon/*.conf' if self.modular else ''}
    vici {{
      socket = {self.socket}
    }}
    kernel-libipsec {{
      load = yes
      allow_peer_ts = yes
    }}
    {ours}
  }}
  journal {{
    default = -1
  }}
  filelog {{
    file {{
      path = {self.log}
      time_format = %H:%M:%S
      time_add_ms = {'yes' if self.stamps else 'no'}
      ike_name = yes
      flush_line = yes
      default = 1
      ike = {self.level}
    }}
  }}
}}
# swanctl is started some hundred times, mostly where nothing has a certificate
swanctl {{
  load = random pem pkcs1 x509 pubkey {'pkcs8 openssl' if self.modular else ''}
}}
''')
        (self.host.dir / 'strongswan.conf').chmod(0o600)
        self.process = self.bed.start([CHARON], env=self.daemon_env, log=self.host.dir / 'charon.out',
                                      prefix=[*self.host.inside(), *self.wrapper])
        wait_for(self.is_up, seconds, f'charon of {self.host.name} answers:\n{self.text()}')
        return self

    def plugins(self):
        """The list of load; ours first, as it has to be, or late."""
        ours = ['ppk'] if self.plugin is not None else []
        return [*STOCK_PLUGINS.split(), *ours] if self.late else [*ours, *STOCK_PLUGINS.split()]

    def is_up(self):
        if self.process.poll() is not None:
            raise Failure(f'charon of {self.host.name} ended with {self.process.returncode}:\n{self.text()}\n'
                          + (self.host.dir / 'charon.out').read_text(errors='replace'))
        done = subprocess.run(['swanctl', '--stats', '--uri', self.socket], env=self.env, stdout=subprocess.DEVNULL,
                              stderr=subprocess.DEVNULL, timeout=60, check=False)
        return done.returncode == 0

    def alive(self):
        if self.process.poll() is not None:
            raise Failure(f'charon of {self.host.name} is dead ({self.process.returncode}):\n{self.text()[-3000:]}')

    def stop(self):
        """Ends charon; its exit status. What sanitizers found is a Failure."""
        status = self.bed.stop(self.process, 60 if self.wrapper or 'PPK_PRELOAD' in os.environ else 10)
        reports = sanitizer_reports(self.host.dir)
        if reports:
            raise Failure('sanitizer:\n' + '\n'.join(reports))
        return status

    def load(self, conf):
        """Loads a swanctl.conf."""
        for folder in SWANCTL_FOLDERS:
            (self.host.dir / folder).mkdir(exist_ok=True)
        file = self.host.dir / 'swanctl.conf'
        file.write_text(conf)
        file.chmod(0o600)
        return self.swanctl('--load-all', '--file', file)

    def swanctl(self, *words, check=True, timeout=60):
        return run('swanctl', *words, '--uri', self.socket, env=self.env, check=check, timeout=timeout)

    def initiate(self, child='net', check=True, timeout=60):
        return self.swanctl('--initiate', '--child', child, '--timeout', 30, check=check, timeout=timeout)

    def initiate_ike(self, name='peer', check=True, timeout=60):
        return self.swanctl('--initiate', '--ike', name, '--timeout', 30, check=check, timeout=timeout)

    def terminate(self, name='peer', force=False):
        """force: without waiting for the peer, which may have gone."""
        words = ['--timeout', 1, '--force'] if force else ['--timeout', 10]
        return self.swanctl('--terminate', '--ike', name, *words, check=False)

    def sas(self):
        return self.swanctl('--list-sas')

    def text(self):
        return self.log.read_text(errors='replace') if self.log.exists() else ''

    def mark(self):
        """Where the log ends now, for since()."""
        return len(self.text())

    def since(self, mark):
        return self.text()[mark:]

    def expect(self, what, mark=0, seconds=5):
        """Waits until the log has this line since mark."""
        wait_for(lambda: what in self.since(mark), seconds, f"{self.host.name}'s log says: {what}\n{self.since(mark)}")
