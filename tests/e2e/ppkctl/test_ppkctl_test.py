# SPDX-License-Identifier: BSD-2-Clause
"""test and connect-test: in a good set-up with two real key sources, and in broken ones, each of which has to be called by its true cause."""
import contextlib
import http.server
import os
import pty
import re
import select
import socket
import sqlite3
import ssl
import subprocess
import threading
import time
import unittest

from command import PPKCTL, clean_environment
from gateways import MODULE, GatewaysTest
from keysource import PSK, Authority, free_port

CONFIGURATION, CONNECT, TLS, CAPABILITIES, KEY, OTHER_END = 1, 3, 4, 5, 6, 7


class Listener:
    """A server that takes connections and does with each what `serve` says, in a thread."""

    def __init__(self, test, serve, backlog=16):
        self.socket = socket.create_server(("127.0.0.1", 0), backlog=backlog)
        self.port = self.socket.getsockname()[1]
        self.serve, self.kept = serve, []
        thread = threading.Thread(target=self.run, daemon=True)
        thread.start()
        test.addCleanup(thread.join, 10)
        test.addCleanup(self.close)

    def close(self):
        self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()
        for connection in self.kept:
            connection.close()

    def run(self):
        while True:
            try:
                connection, _ = self.socket.accept()
            except OSError:
                return
            try:
                self.kept.append(self.serve(connection) or connection)
            except OSError:
                connection.close()


class Handler(http.server.BaseHTTPRequestHandler):
    """A key source that answers /capabilities, and with `status` all else."""
    status, body = 500, b"{}"
    remotes = '["Bob"]'

    def do_GET(self):
        good = self.path == "/capabilities"
        body = (f'{{"entropy":false,"key":true,"algorithm":"x","localSystemID":"Alice","remoteSystemID":{self.remotes}}}'.encode()
                if good else self.body)
        self.send_response(200 if good else self.status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class ChainTest(GatewaysTest):
    def chain(self, *words, status=0, end="Alice", conf=None, **more):
        return self.ppkctl("test", "gateway", "--config", conf or self.conf[end], "--module", MODULE, *words, status=status, **more)

    @staticmethod
    def read(path):
        with open(path, encoding="utf-8") as f:
            return f.read()

    def changed(self, old, new, end="Alice", name="changed.conf", mode=0o600):
        """The configuration of an end with something else in it."""
        content = self.read(self.conf[end])
        self.assertIn(old, content)
        return self.write(name, content.replace(old, new), mode)

    def fails(self, step, cause, advice, status, *words, conf=None, **more):
        """One step fails, and is called so; what comes after it is skipped; no key is used up."""
        out, err = self.chain(*words, status=status, conf=conf, **more)
        if os.environ.get("PPKCTL_SHOW"):
            print(f"\n$ ppkctl test gateway {' '.join(words)}\n{out}{err}")
        failed = [line for line in out.splitlines() if line.startswith(" FAIL ")]
        self.assertEqual([line.split()[1] for line in failed], [step.split()[0]], out)
        said = re.sub(r"\n {10,}(?!->)", "\n", out)
        self.assertRegex(said, rf" FAIL {step} +[^\n]*{cause}", out)
        self.assertRegex(out, rf"-> [^\n]*{advice}", out)
        self.assertIn(f"Not well: exit code {status}.", out)
        out.encode("ascii")
        for secret in (PSK, PSK[:16]):
            self.assertNotIn(secret, out + err)
        return out

    def port_of(self, port):
        return self.changed(f"port {self.alice.port}", f"port {port}")


class Good(ChainTest):
    def test_whole(self):
        out, err = self.chain("--other-end", self.conf["Bob"])
        if os.environ.get("PPKCTL_SHOW"):
            print(out)
        self.assertEqual(err, "")
        steps = re.findall(r"^ (ok|note|skip|FAIL) +([a-z]+(?: [a-zA-Z]+)?)  ", out, re.M)
        steps.append(("ok", re.search(r" ok   (key by ID)  ", out)[1]))
        self.assertEqual([s for s, _ in steps], ["ok"] * len(steps), out)
        source = ["address", "tcp", "tls", "capabilities"]
        self.assertEqual([name for _, name in steps],
                         ["file", "peer", "token", *source, "file", "peer", *source[:3], source[3], "system IDs", "new key", "key by ID"])
        self.assertRegex(out, r'tls +TLSv1\.3, TLS_AES_256_GCM_SHA384, in \d+ ms; both ends by PSK "encryptor"')
        self.assertRegex(out, r'capabilities +it is "Alice" and shares keys with "Bob"; entropy yes')
        self.assertRegex(out, r"new key +ID [0-9a-f]{32}, 256 bits")
        self.assertIn("1 test key is used up, and destroyed here: no tunnel gets it.\nAll is well.\n", out)
        self.assertNotIn("\033", out)
        out.encode("ascii")

    def test_uses_up_what_it_says(self):
        """Bob's key source keeps what was not fetched there; and --no-key uses nothing up."""
        out, _ = self.chain()
        key_id = re.search(r"ID ([0-9a-f]{32}),", out)[1]
        self.assertIn(f'run there "ppkctl fetch PEER --id {key_id}"', out)
        self.ppkctl("fetch", "gateway", "--config", self.conf["Bob"], "--module", MODULE, "--id", key_id)
        out, _ = self.chain("--no-key", "--other-end", self.conf["Bob"])
        self.assertNotIn("used up", out)
        self.chain("--other-end", self.conf["Bob"])
        self.bob.end()
        self.bob.end = lambda: 0
        with contextlib.closing(sqlite3.connect(os.path.join(self.directory, "bob.db"))) as store:
            self.assertEqual(store.execute("SELECT count(*), count(value) FROM key").fetchone(), (2, 0), "had, not delivered")

    def test_output_full(self):
        for words, status in ((("test", "gateway", "--no-key", "--config", self.conf["Alice"]), 1),
                              (("connect-test", self.conf["Alice"], self.conf["Bob"], "--no-key"), 1),
                              (("test", "gateway", "--config", self.port_of(free_port())), CONNECT)):
            with open("/dev/full", "w", encoding="ascii") as full:
                done = subprocess.run([PPKCTL, *words, "--module", MODULE], stdout=full, stderr=subprocess.PIPE, text=True, timeout=60,
                                      check=False, env=clean_environment())
            self.assertEqual(done.returncode, status, done.stderr)
            self.assertEqual(done.stderr.count("ppkctl: standard output: "), 1 if status == 1 else 0, done.stderr)

    def test_quiet(self):
        self.assertEqual(self.chain("--quiet", "--other-end", self.conf["Bob"]), ("", ""))
        out, err = self.chain("--quiet", conf=self.port_of(free_port()), status=CONNECT)
        self.assertEqual(out, "")
        self.assertRegex(err, r"^ppkctl: key source 127\.0\.0\.1 port \d+ \(sks profile ks\): tcp: .*refused\n  -> .*nothing listens")

    def test_both_directions(self):
        out, err = self.ppkctl("connect-test", self.conf["Alice"], self.conf["Bob"], "--module", MODULE)
        self.assertEqual(err, "")
        self.assertEqual(len(re.findall(r"^== .*, peer gateway, to ", out, re.M)), 2)
        self.assertEqual(out.count("the other end has the same key"), 2)
        self.assertIn("2 test keys are used up", out)
        self.assertEqual(len(re.findall(r"(?m)^ *\n== ", out)), 1)
        lonely = self.changed("remote-system-id Bob", "remote-system-id Carol", name="lonely.conf")
        _, err = self.ppkctl("connect-test", lonely, self.conf["Bob"], "--module", MODULE, status=OTHER_END)
        self.assertIn("stand for each other", err)

    def test_two_servers(self):
        """One server of two is down: the key comes from the other, and the fault is told."""
        conf = self.changed(" kme server", f" kme server ipv4 127.0.0.1 port {free_port()}\n kme server")
        out, _ = self.chain("--other-end", self.conf["Bob"], conf=conf, status=CONNECT)
        self.assertEqual(out.count(" FAIL "), 1)
        self.assertIn("the other end has the same key", out)

    def test_manual(self):
        manual = "keyring k\n peer gateway\n  ppk manual id site key hex {}\n"
        one = self.write("one.conf", manual.format("ab" * 32))
        out, _ = self.chain("--other-end", self.write("two.conf", manual.format("ab" * 32)), conf=one)
        self.assertIn("site: the same at both ends", out)
        self.fails("manual PPK", "site: another key at the other end", "same ID and key", OTHER_END, "--other-end",
                   self.write("two.conf", manual.format("cd" * 32)), conf=one)
        self.fails("manual PPK", "site: missing at the other end", "same ID and key", OTHER_END, "--other-end",
                   self.write("two.conf", manual.replace("site", "other").format("ab" * 32)), conf=one)

    def terminal(self, *words, command=("test", "gateway", "--module", MODULE), **environment):
        pid, fd = pty.fork()
        if pid == 0:
            os.execve(PPKCTL, [PPKCTL, *command, *words],
                      clean_environment(LC_ALL="C.UTF-8", TERM="xterm", **environment))
        shown, end = b"", time.monotonic() + 30
        while time.monotonic() < end:
            if not select.select([fd], [], [], 0.1)[0]:
                continue
            try:
                got = os.read(fd, 4096)
            except OSError:
                break
            if not got:
                break
            shown += got
        os.close(fd)
        os.waitpid(pid, 0)
        return shown.decode()

    def test_terminal(self):
        shown = self.terminal("--config", self.conf["Alice"])
        self.assertIn("\033[32m✔\033[0m tls", shown)
        shown = self.terminal("--config", self.conf["Alice"], NO_COLOR="1")
        self.assertIn(" ✔ tls", shown)
        self.assertNotIn("\033", shown)
        silent = Listener(self, lambda connection: None)
        shown = self.terminal("--config", self.port_of(silent.port))
        self.assertRegex(shown, r"\.\.\. waiting for 127\.0\.0\.1 port \d+ \(1 s\)")
        self.assertIn("✘\033[0m tls", shown)

    def test_progress(self):
        """What else asks a key source tells so, too, when it takes more than a second; and only a terminal."""
        silent = Listener(self, lambda connection: None)
        conf = self.port_of(silent.port)
        for command, text in ((("capabilities",), "waiting for the key source"), (("fetch", "gateway", "--module", MODULE), "waiting for a key")):
            shown = self.terminal("--config", conf, command=command)
            self.assertIn(f"\r   ... {text} (1 s)", shown)
            self.assertIn("\r\033[K", shown)
            out, err = self.ppkctl(*command, "--config", conf, status=1)
            self.assertNotIn("...", out + err)
        shown = self.terminal("--config", self.conf["Alice"], command=("fetch", "gateway", "--module", MODULE))
        self.assertIn("PPK ID", shown)
        self.assertNotIn("\r ", shown)


class Configuration(ChainTest):
    def test_file(self):
        self.fails("file", "No such file", "--config", CONFIGURATION, conf=self.directory + "/none.conf")
        self.fails("file", r"changed\.conf:3: word 2 has to be", "Correct these lines", CONFIGURATION, conf=self.changed("ppk dynamic", "ppk dynamo"))
        self.fails("file", "others can read", "chmod 600", CONFIGURATION, conf=self.changed("ks", "ks", mode=0o644))
        self.fails("file", "group can write", "chmod go-w", CONFIGURATION, conf=self.changed("ks", "ks", mode=0o660))

    def test_peer(self):
        self.fails("peer", 'no keyring has a peer "gateway"', "lists the peers", CONFIGURATION,
                   conf=self.changed("peer gateway", "peer gatewya"))
        self.fails("peer", "no PPK at all", "ppk dynamic PROFILE", CONFIGURATION, conf=self.changed("  ppk dynamic ks required\n", ""))

    def test_master_key(self):
        key, wrong = self.write("token-master", "the token's master key\n"), self.write("wrong", "wrong\n")
        text = self.ppkctl("encrypt", "--hex", "--master-key-file", key, stdin=PSK)[0].strip()
        conf = self.changed(f"key hex {PSK}", f"key 6 {text}")
        self.fails("master key", "no master key is at hand", "--master-key-file", CONFIGURATION, conf=conf)
        self.fails("master key", "another master key", "restore it", CONFIGURATION, "--master-key-file", wrong, conf=conf)
        self.chain("--master-key-file", key, conf=conf)
        named = self.write("named.conf", f"master-key file {wrong}\n" + self.read(conf))
        self.fails("master key", "another master key", "restore it", CONFIGURATION, conf=named)

    def test_token(self):
        _, err = self.ppkctl("test", "gateway", "--config", self.conf["Alice"], "--module", self.directory + "/none.so", status=CONFIGURATION)
        self.assertIn("none.so", err)


class Connection(ChainTest):
    start = False

    def test_name(self):
        self.fails("address", "[Rr]esolve", "getent", CONNECT,
                   conf=self.changed("ipv4 127.0.0.1", "hostname keysource.invalid"))

    def test_nobody_listens(self):
        self.fails("tcp", "refused", "nothing listens on port", CONNECT, conf=self.port_of(free_port()))

    def test_filtered(self):
        """A listener whose queue is full lets further connections hang, as a filter does."""
        full = socket.create_server(("127.0.0.1", 0), backlog=0)
        self.addCleanup(full.close)
        for _ in range(8):
            s = socket.socket()
            s.setblocking(False)
            s.connect_ex(full.getsockname())
            self.addCleanup(s.close)
        self.fails("tcp", r"no connection after \d+ ms", "firewall", CONNECT, conf=self.port_of(full.getsockname()[1]))

    def test_hangs(self):
        self.fails("tls", r"no connection after \d+ ms", "does not speak TLS", TLS,
                   conf=self.port_of(Listener(self, lambda connection: None).port))

    def test_no_tls(self):
        def greet(connection):
            connection.recv(1)
            connection.sendall(b"220 mail.example ESMTP\r\n")
        self.fails("tls", "wrong version number", "correct the port", TLS, conf=self.port_of(Listener(self, greet).port))


class Psk(ChainTest):
    def test_wrong_key(self):
        self.fails("tls", 'wrong PSK: .*"encryptor"', "make `tls psk` the same", TLS, conf=self.changed(PSK, "ab" * 32))

    def test_unknown_identity(self):
        self.fails("tls", 'unknown PSK identity.*"nobody"', "does not know this identity", TLS,
                   conf=self.changed("psk id encryptor", "psk id nobody"))

    def test_certificate_there(self):
        Authority(self.directory).sign("server", "IP:127.0.0.1")
        self.fails("tls", "it shows a certificate", "has certificates only", TLS,
                   conf=self.port_of(tls_server(self, "server").port))


def tls_server(test, name, handler=None):
    """A TLS server with this certificate; `handler`: of HTTP."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(os.path.join(test.directory, f"{name}.pem"), os.path.join(test.directory, f"{name}.key"))

    def serve(connection):
        secure = context.wrap_socket(connection, server_side=True)
        if handler is not None:
            handler(secure, ("", 0), None)
        return secure
    return Listener(test, serve)


class Certificates(ChainTest):
    start = False

    def setUp(self):
        super().setUp()
        self.authority = Authority(self.directory)

    def sign(self, name, san, *validity):
        """Signs a certificate with a validity of its own."""
        self.authority.sign(name, san)
        path = self.authority.path
        self.write("index", "")
        self.write("ca.conf", f"[ca]\ndefault_ca=d\n[d]\ndatabase={self.directory}/index\nnew_certs_dir={self.directory}\nrand_serial=yes\n"
                              "default_md=sha256\npolicy=p\n[p]\ncommonName=supplied\n")
        subprocess.run(["openssl", "ca", "-batch", "-notext", "-config", path("ca", "conf"), "-cert", path("ca", "pem"), "-keyfile",
                        path("ca", "key"), "-in", path(name, "csr"), "-out", path(name, "pem"), "-extfile", path(name, "ext"),
                        "-startdate", validity[0], "-enddate", validity[1]], check=True, capture_output=True, timeout=60)

    def with_certificates(self, port, host="ipv4 127.0.0.1", more=""):
        content = self.read(self.conf["Alice"])
        content = re.sub(r"\n tls psk.*", f"\n tls trustpoint ca.pem{more}", content)
        return self.write("changed.conf", content.replace(f"ipv4 127.0.0.1 port {self.alice.port}", f"{host} port {port}"))

    def fails_with(self, name, cause, advice, host="ipv4 127.0.0.1"):
        self.fails("tls", cause, advice, TLS, conf=self.with_certificates(tls_server(self, name).port, host))

    def test_wrong_ca(self):
        other = Authority(self.directory, "other")
        other.sign("server", "IP:127.0.0.1")
        self.fails_with("server", 'wrong CA: certificate "/CN=server" was issued by "/CN=other of the test"', "`tls trustpoint`")

    def test_expired(self):
        self.sign("server", "IP:127.0.0.1", "20200101000000Z", "20210101000000Z")
        self.fails_with("server", 'expired certificate: "/CN=server" was valid until 2021-01-01 00:00:00 UTC', "Renew")

    def test_clock(self):
        self.sign("server", "IP:127.0.0.1", "20480101000000Z", "20490101000000Z")
        self.fails_with("server", 'clock: certificate "/CN=server" is valid from 2048-01-01 00:00:00 UTC on; it is 20', "this host's clock")

    def test_wrong_name(self):
        self.authority.sign("server", "DNS:keysource.example")
        self.fails_with("server", 'wrong host name: certificate "/CN=server" is not for 127.0.0.1', "subjectAltName")
        self.fails_with("server", 'wrong host name: certificate "/CN=server" is not for localhost', "subjectAltName", host="hostname localhost")

    def test_own_files(self):
        self.authority.sign("server", "IP:127.0.0.1")
        self.authority.sign("client", "DNS:client")
        self.authority.sign("another", "DNS:another")
        conf = self.with_certificates(tls_server(self, "server").port, more="\n tls certificate client.pem key another.key")
        self.fails("tls", "", "belonging together", TLS, conf=conf)

    def http(self, **attributes):
        self.authority.sign("server", "IP:127.0.0.1")
        handler = type("H", (Handler,), attributes)
        return self.with_certificates(tls_server(self, "server", handler).port)

    def test_answers(self):
        """By certificates; and what the key source answers instead of a key."""
        out, _ = self.chain(conf=self.http(status=200, body=b'{"keyId":"' + b"ab" * 16 + b'","key":"' + b"cd" * 32 + b'"}'))
        self.assertRegex(out, r'it is "/CN=server", by "/CN=ca of the test"; we are anonymous')
        self.assertNotIn("cd" * 8, out)
        for status, advice in ((401, "add this client there"), (403, "add this client there"), (500, "trouble of its own"),
                               (503, "peer key source is down"), (429, "too busy"), (302, "Is this a key source that speaks SKIP")):
            self.fails("new key", f"status {status}", advice, KEY, conf=self.http(status=status))
        self.fails("new key", "key size|`key-size`|status 400", "key-size", KEY, conf=self.http(status=400))
        self.fails("new key", "not JSON", "speaks SKIP", KEY, conf=self.http(status=200, body=b"<html>"))
        # what it does not serve, or has not told
        conf = self.http(status=404)
        with open(conf, encoding="utf-8") as f:
            asks = self.write("entropy.conf", f.read().replace(" kme server", " entropy\n kme server", 1))
        self.fails("capabilities", "gives no entropy", "`entropy`", CAPABILITIES, conf=asks)
        # escape sequences of somebody else's are not for our terminal
        out = self.fails("capabilities", "Bob", "remote-system-id", CAPABILITIES, conf=self.http(remotes='["\\u001b[2J"]'))
        self.assertNotIn("\033", out)

    def test_capabilities_for_a_terminal(self):
        """Whatever the key source says of itself, it forges no line, and a terminal obeys none of it."""
        said = b'{"entropy":false,"key":true,"algorithm":"x\\u001b]0;t\\u0007","localSystemID":"Alice\\n status: ok",' \
               b'"remoteSystemID":["Bob\\u009b8m"]}'

        def do_GET(handler):
            handler.send_response(200)
            handler.send_header("Content-Length", str(len(said)))
            handler.end_headers()
            handler.wfile.write(said)

        out, _ = self.ppkctl("capabilities", "--config", self.http(do_GET=do_GET))
        self.assertEqual(out.splitlines()[3:], [r" key: yes", r" algorithm: x\x1b]0;t\x07", r" local identifier: Alice\x0a status: ok",
                                                r" remote identifier: Bob\xc2\x9b8m", " note: the configured local-system-id is Alice"])


class KeySources(ChainTest):
    def test_entropy(self):
        conf = self.changed("local-system-id", "entropy\n local-system-id")
        self.assertRegex(self.chain(conf=conf)[0], r"entropy +256 bits came")

    def test_same_name_twice(self):
        conf = self.write("twice.conf", self.read(self.conf["Alice"]) + "keyring second\n peer gateway\n  address 192.0.2.9 255.255.255.255\n"
                          f"  ppk manual id other key hex {'3c' * 32}\n" + "".join(f"  address 198.51.100.{i} 255.255.255.255\n" for i in range(6)))
        self.fails("peer", 'is in keyring "[a-z]+" and in "second"', "--keyring NAME", CONFIGURATION, conf=conf)
        out = self.chain("--keyring", "second", conf=conf)[0]
        self.assertIn("in keyring second", out)
        self.assertIn("198.51.100.2", out)
        self.fails("peer", 'there is no peer "gateway" in keyring "third"', "lists the peers", CONFIGURATION, "--keyring", "third", conf=conf)

    def test_remote_system(self):
        self.fails("capabilities", 'remote system "Carol" is not among those that it serves', "Correct `remote-system-id` of peer gateway", CAPABILITIES,
                   conf=self.changed("remote-system-id Bob", "remote-system-id Carol"))
        self.fails("capabilities", 'takes us for system "Alice", but local-system-id is "Eve"', "say `local-system-id Alice` in sks profile ks", CAPABILITIES,
                   conf=self.changed("local-system-id Alice", "local-system-id Eve"))

    def test_peer_key_source_down(self):
        self.bob.end()
        self.bob.end = lambda: 0
        self.fails("new key", "status 503", "peer key source is down", KEY, conf=self.changed("local-system-id", "timeout 8000\n local-system-id"))

    def test_key_size(self):
        self.fails("new key", "", "key-size", KEY, conf=self.changed("local-system-id", "key-size 32768\n local-system-id"))

    def test_other_end(self):
        """The other end's own faults, and two ends that do not belong together."""
        self.fails("tls", "wrong PSK", "make `tls psk` the same", TLS, "--other-end", self.changed(PSK, "ab" * 32, "Bob"))
        self.fails("peer", 'no peer there stands for this end: system "Alice"', '`remote-system-id` of the peer has to be "Alice"', OTHER_END,
                   "--other-end", self.changed("remote-system-id Alice", "remote-system-id Eve", "Bob"))
        # it asks Alice's own key source
        there = self.changed(" local-system-id Bob\n", "", "Bob", "there.conf")
        there = self.write("there.conf", self.read(there).replace(f"port {self.bob.port}", f"port {self.alice.port}"))
        self.fails("capabilities", 'remote system "Alice" is not among', "remote-system-id", CAPABILITIES, "--other-end", there)


if __name__ == "__main__":
    unittest.main()
