# SPDX-License-Identifier: GPL-2.0-or-later
"""pluto of Debian's libreswan in a host. The package conflicts with strongSwan's: it is unpacked, not installed."""
import os
import pathlib
import subprocess

from testbed import Failure, run, wait_for


def unpack(directory):
    """The unpacked package; PPK_LIBRESWAN_DEB names the file, else apt downloads it. None: it cannot be had."""
    target = directory / 'libreswan'
    deb = os.environ.get('PPK_LIBRESWAN_DEB')
    if not deb:
        done = subprocess.run(['apt-get', 'download', '-qq', 'libreswan'], cwd=directory, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, timeout=120, check=False)
        found = list(directory.glob('libreswan_*.deb'))
        if done.returncode != 0 or not found:
            return None
        deb = found[0]
    run('dpkg-deb', '-x', deb, target)
    programs = target / 'usr/libexec/ipsec'
    missing = [line.strip() for line in run('ldd', programs / 'pluto').splitlines() if 'not found' in line]
    if missing:
        raise Failure(f'pluto cannot run: {missing} (Debian packages libldns3 libunbound8 libcurl3-nss)')
    # pluto insists on the place of its helpers; this mount is seen by nobody outside of our namespace
    run('mount', '-t', 'overlay', 'overlay', '-o', f'lowerdir={target}/usr/libexec:/usr/libexec', '/usr/libexec')
    return pathlib.Path('/usr/libexec/ipsec')


class Pluto:
    """A pluto in a host, with one connection."""

    def __init__(self, host, programs):
        self.host, self.programs = host, programs
        self.dir = host.dir / 'pluto'
        self.log = self.dir / 'log'

    def start(self, other, ppk, ppk_id, value, psk, auto='ondemand'):
        """ppk: propose, insist or never; value: the PPK."""
        for name in ('run', 'nss', 'ipsec.d', 'ipsec.d/policies'):
            (self.dir / name).mkdir(parents=True, exist_ok=True)
        run('certutil', '-N', '-d', f'sql:{self.dir}/nss', '--empty-password')
        secrets = self.dir / 'ipsec.secrets'
        secrets.write_text(f'{self.host.outer} {other.outer} : PSK "{psk}"\n'
                           f'{self.host.outer} {other.outer} : PPKS "{ppk_id}" 0x{value.hex()}\n')
        secrets.chmod(0o600)
        conf = self.dir / 'ipsec.conf'
        conf.write_text(f'''config setup
\tlogfile={self.log}
\tnssdir={self.dir}/nss
\tsecretsfile={secrets}
\tipsecdir={self.dir}/ipsec.d
\tvirtual-private=
\tdnssec-enable=no

conn peer
\tikev2=insist
\tauthby=secret
\tleft={self.host.outer}
\tleftsubnet={self.host.inner}/32
\tright={other.outer}
\trightsubnet={other.inner}/32
\tike=aes128-sha256;dh31
\tesp=aes128-sha256
\tppk={ppk}
\tleftupdown=/bin/true
\tauto=ignore
''')
        self.process = self.host.bed.start(
            [self.programs / 'pluto', '--nofork', '--config', conf, '--nssdir', self.dir / 'nss', '--secretsfile', secrets,
             '--ipsecdir', self.dir / 'ipsec.d', '--rundir', self.dir / 'run', '--logfile', self.log, '--use-xfrm',
             '--no-dnssec', '--nhelpers', '0'], log=self.dir / 'out', prefix=self.host.inside())
        wait_for((self.dir / 'run/pluto.ctl').exists, 10, 'pluto listens:\n' + self.text())
        run(*self.host.inside(), self.programs / 'addconn', '--config', conf, '--ctlsocket', self.dir / 'run/pluto.ctl', 'peer')
        self.whack('--listen')
        self.whack('--rereadsecrets')
        return self

    def whack(self, *words, check=True):
        return run(*self.host.inside(), 'timeout', 20, self.programs / 'whack', '--rundir', self.dir / 'run', '--ctlsocket',
                   self.dir / 'run/pluto.ctl', *words, check=check, timeout=30)

    def initiate(self):
        return self.whack('--name', 'peer', '--initiate', check=False)

    def text(self):
        return self.log.read_text(errors='replace') if self.log.exists() else pathlib.Path(self.dir / 'out').read_text()

    def stop(self):
        self.host.bed.stop(self.process)
