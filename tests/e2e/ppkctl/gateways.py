# SPDX-License-Identifier: BSD-2-Clause
"""Two gateways and their key sources Alice and Bob, for the tests of ppkctl."""
import os
import sys

sys.path.append(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "skipd"))
from command import PpkctlTest  # noqa: E402
from keysource import KeySource, PSK, free_port  # noqa: E402

MODULE = os.environ["PPK_MODULE"]


class GatewaysTest(PpkctlTest):
    start = True  # the key sources

    def setUp(self):
        super().setUp()
        self.write("master", "the key sources' master key")
        self.alice, self.bob = KeySource(self.directory, "Alice"), KeySource(self.directory, "Bob")
        for source, other in ((self.alice, self.bob), (self.bob, self.alice)):
            source.configure = self.configure_without_certificates(source)
            source.peer(other)
        for source in (self.alice, self.bob):
            source.port = free_port()
            if self.start:
                source.start()
                self.addCleanup(source.end)
        for source in (self.alice, self.bob) if self.start else ():
            source.wait_log("link is up")
        self.conf = {"Alice": self.encryptor(self.alice, "Bob"), "Bob": self.encryptor(self.bob, "Alice")}

    def configure_without_certificates(self, source):
        def configure():
            self.write(f"{source.name.lower()}.conf", f"""system-id {source.name}
listen ipv4 127.0.0.1 port 0
listen peers ipv4 127.0.0.1 port {source.peers_port}
store sqlite {source.name.lower()}.db
master-key file master
client encryptor
 tls psk id encryptor key hex {PSK}
{source.peers}
""")
        return configure

    def encryptor(self, source, remote, psk="hex " + PSK, more=""):
        return self.write(f"{source.name}.ppk.conf", f"""keyring dynamic
 peer gateway
  ppk dynamic ks required
  remote-system-id {remote}
{more}
sks profile ks type remote
 kme server ipv4 127.0.0.1 port {source.port}
 local-system-id {source.name}
 tls psk id encryptor key {psk}
""")
