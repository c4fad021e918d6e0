# SPDX-License-Identifier: BSD-2-Clause
"""Real skipd processes and their clients, for the tests. Everything is on loopback, in a temporary directory, and ends with the test."""
import atexit
import contextlib
import http.client
import json
import os
import shutil
import signal
import sqlite3
import ssl
import subprocess
import sys
import tempfile
import time
import unittest

sys.path.append(os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from authority import Authority  # noqa: E402
from ports import free_port  # noqa: E402

SKIPD = os.environ["SKIPD"]
PSK = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
LINK_PSK = "f0" + PSK[2:]
START_S = 20 if os.environ.get("SKIPD_SLOW") else 10

living = set()


@atexit.register
def end_all():
    for process in list(living):
        process.kill()
        process.wait()


class KeySource:
    """One skipd: its configuration, its process."""

    def __init__(self, directory, name):
        self.directory, self.name = directory, name
        self.peers_port = free_port()
        self.listens = "listen ipv4 127.0.0.1 port 0\n"
        self.port = None
        self.ports = {}  # of all listeners, by the word of the ready-file: the last one of each
        self.process = None
        self.extra = ""
        self.environment = {}
        self.clients = ""
        self.peers = ""
        self.log_path = self.file("log")

    def file(self, ending):
        return os.path.join(self.directory, f"{self.name.lower()}.{ending}")

    def peer(self, other, identity=None):
        self.peers += (f"peer {other.name}\n address ipv4 127.0.0.1 port {other.peers_port}\n"
                       f" {identity or 'tls psk id link key hex ' + LINK_PSK}\n")

    def configure(self):
        with open(self.file("conf"), "w", encoding="utf-8") as f:
            os.chmod(f.name, 0o600)
            f.write(f"""system-id {self.name}
{self.listens}
listen peers ipv4 127.0.0.1 port {self.peers_port}
tls certificate {self.name.lower()}.pem key {self.name.lower()}.key
tls trustpoint ca.pem
store sqlite {self.name.lower()}.db
master-key file master
{self.extra}
{self.clients}
{self.peers}
""")

    def start(self, wait=True):
        self.configure()
        if os.path.exists(self.file("ready")):
            os.unlink(self.file("ready"))
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen([SKIPD, "-f", "-c", self.file("conf"), "--ready-file", self.file("ready")],
                                            stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                            env=dict(os.environ, PPK_LOG="stderr:info", **self.environment))
        living.add(self.process)
        if wait:
            self.wait_ready()

    def wait_ready(self):
        end = time.monotonic() + START_S
        while not os.path.exists(self.file("ready")):
            if self.process.poll() is not None or time.monotonic() > end:
                if self.process.poll() is not None:
                    living.discard(self.process)
                raise AssertionError(f"{self.name} did not start: {self.log()[-2000:]}")
            time.sleep(0.01)
        self.read_ready()

    def read_ready(self):
        with open(self.file("ready"), encoding="ascii") as f:
            for line in f:
                word, address = line.split()
                if ":" in address:
                    self.ports[word] = int(address.rsplit(":", 1)[1])
        self.port = self.ports.get("listen")

    def reload(self, wanted="the new configuration is in effect"):
        """Writes the configuration, sends SIGHUP and waits for what the log says. Returns what was logged since."""
        self.configure()
        return self.hang_up(wanted)

    def hang_up(self, wanted="the new configuration is in effect"):
        before = len(self.log())
        self.process.send_signal(signal.SIGHUP)
        end = time.monotonic() + START_S
        while "SIGHUP: " not in self.log()[before:]:
            if time.monotonic() > end:
                raise AssertionError(f"{self.name} took no notice of SIGHUP:\n{self.log()[-3000:]}")
            time.sleep(0.01)
        said = self.log()[before:]
        if wanted not in said:
            raise AssertionError(f"{self.name} never logged {wanted!r}:\n{said}")
        self.read_ready()
        return said

    def end(self, number=signal.SIGTERM, timeout=START_S):
        """Ends it by a signal and returns the exit status."""
        self.process.send_signal(number)
        status = self.process.wait(timeout=timeout)
        living.discard(self.process)
        return status

    def kill9(self):
        return self.end(signal.SIGKILL)

    def log(self):
        with open(self.log_path, encoding="utf-8", errors="replace") as f:
            return f.read()

    def wait_log(self, text, timeout=START_S):
        end = time.monotonic() + timeout
        while text not in self.log():
            if time.monotonic() > end:
                raise AssertionError(f"{self.name} never logged {text!r}:\n{self.log()[-3000:]}")
            time.sleep(0.02)


@contextlib.contextmanager
def store_of(source):
    """Its SQLite database, while it does not run."""
    with contextlib.closing(sqlite3.connect(source.file("db"))) as db:
        yield db
        db.commit()


class Client:
    """An encryptor with a certificate; keeps its connection."""

    def __init__(self, directory, name, source, timeout=10, listener="listen"):
        self.context = ssl.create_default_context(cafile=os.path.join(directory, "ca.pem"))
        if name is not None:
            self.context.load_cert_chain(os.path.join(directory, name + ".pem"), os.path.join(directory, name + ".key"))
        self.source, self.timeout, self.connection, self.listener = source, timeout, None, listener

    def port(self):
        return self.source.port if self.listener == "listen" else self.source.ports[self.listener]

    def close(self):
        if self.connection is not None:
            self.connection.close()
        self.connection = None

    def raw(self, path, method="GET", body=None, headers=None):
        """Returns (status, body bytes, headers). Any failure of the connection is an OSError or HTTPException."""
        if self.connection is not None and self.connection.port != self.port():
            self.close()  # it has been started anew
        if self.connection is None:
            self.connection = http.client.HTTPSConnection("127.0.0.1", self.port(), context=self.context,
                                                          timeout=self.timeout)
        try:
            self.connection.request(method, path, body=body, headers=headers or {})
            answer = self.connection.getresponse()
            return answer.status, answer.read(), answer.headers
        except (OSError, http.client.HTTPException):
            self.close()
            raise

    def get(self, path):
        status, body, headers = self.raw(path)
        assert headers["Content-Type"] == "application/json", headers
        return status, json.loads(body)

    def new_key(self, remote, **query):
        extra = "".join(f"&{k}={v}" for k, v in query.items())
        return self.get(f"/key?remoteSystemID={remote}{extra}")

    def by_id(self, key_id, remote):
        return self.get(f"/key/{key_id}?remoteSystemID={remote}")


def psk_get(source, path, *options, identity="enc-a-psk", psk=PSK):
    """GET over TLS-PSK by openssl s_client. Returns what came, as text."""
    request = f"GET {path} HTTP/1.1\r\nHost: skip\r\nConnection: close\r\n\r\n"
    done = subprocess.run(["openssl", "s_client", "-quiet", "-no_ign_eof", "-ign_eof", "-connect",
                           f"127.0.0.1:{source.port}", "-psk_identity", identity, "-psk", psk, *options],
                          input=request.encode(), capture_output=True, timeout=20, check=False)
    return done.stdout.decode("utf-8", "replace"), done.stderr.decode("utf-8", "replace")


class PairCase(unittest.TestCase):
    """Alice and Bob, and a client each: enc-a at Alice, enc-b at Bob; both with a certificate, and as NAME-psk with a PSK."""
    extra = ""  # lines for both configurations
    link_certificates = False
    start_both = True

    @classmethod
    def setUpClass(cls):
        cls.directory = tempfile.mkdtemp(prefix="skipd-test-")
        cls.addClassCleanup(shutil.rmtree, cls.directory)
        cls.authority = Authority(cls.directory)
        for name in ("alice", "bob"):
            cls.authority.sign(name, "DNS:localhost,IP:127.0.0.1")
        for name in ("enc-a", "enc-b", "stranger"):
            cls.authority.sign(name, f"DNS:{name}")
        with open(os.path.join(cls.directory, "master"), "w", encoding="ascii") as f:
            os.chmod(f.name, 0o600)
            f.write("the master key of a test\n")
        cls.more_files()

    @classmethod
    def more_files(cls):
        """For subclasses."""

    def setUp(self):
        for name in ("alice", "bob"):
            for ending in ("db", "db-wal", "db-shm", "log"):
                path = os.path.join(self.directory, f"{name}.{ending}")
                if os.path.exists(path):
                    os.unlink(path)
        self.alice, self.bob = KeySource(self.directory, "Alice"), KeySource(self.directory, "Bob")
        for source, other, client in ((self.alice, self.bob, "enc-a"), (self.bob, self.alice, "enc-b")):
            source.clients = (f"client {client}\n certificate san {client}\n"
                              f"client {client}-psk\n tls psk id {client}-psk key hex {PSK}\n")
            source.extra = self.extra
            source.peer(other, f"certificate subject CN={other.name.lower()}" if self.link_certificates else None)
            self.addCleanup(self.end, source)
        self.more_configuration()
        if self.start_both:
            for source in (self.alice, self.bob):
                source.start(wait=False)
            for source in (self.alice, self.bob):
                source.wait_ready()
            self.alice.wait_log("peer 'Bob': link is up")
            self.bob.wait_log("peer 'Alice': link is up")
        self.a, self.b = self.client("enc-a", self.alice), self.client("enc-b", self.bob)

    def more_configuration(self):
        """For subclasses: changes the sources' extra, clients, peers."""

    def client(self, name, source, **options):
        client = Client(self.directory, name, source, **options)
        self.addCleanup(client.close)
        return client

    def end(self, source):
        if source.process is not None and source.process in living:
            status = source.end()
            self.assertEqual(status, 0, f"{source.name} ended with {status}:\n{source.log()[-4000:]}")
        for word in ("ERROR: AddressSanitizer", "runtime error:", "ERROR: LeakSanitizer", "ThreadSanitizer"):
            self.assertNotIn(word, source.log() if os.path.exists(source.log_path) else "")
