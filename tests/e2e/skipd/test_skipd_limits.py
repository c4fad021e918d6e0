# SPDX-License-Identifier: BSD-2-Clause
"""Big, slow and many."""
import http.client
import json
import os
import resource
import shutil
import signal
import socket
import ssl
import subprocess
import tempfile
import threading
import time
import unittest

from keysource import PairCase, SKIPD, psk_get


class Limits(PairCase):
    extra = "handshake-timeout 1\nidle-timeout 2\nmax-connections 40 per-client 8\n"

    def secure_socket(self, name="enc-a"):
        raw = socket.create_connection(("127.0.0.1", self.alice.port), timeout=10)
        s = self.client(name, self.alice).context.wrap_socket(raw, server_hostname="127.0.0.1")
        self.addCleanup(s.close)
        return s

    def rest(self, s):
        """What comes until the end of the connection, and how long that takes."""
        began, answer = time.monotonic(), b""
        try:
            while part := s.recv(65536):
                answer += part
        except (ConnectionError, ssl.SSLError):
            pass
        return answer, time.monotonic() - began

    def test_big_requests(self):
        for path, headers, body in (("/" + "x" * 20000, {}, None), ("/capabilities", {"X": "y" * 20000}, None),
                                    ("/capabilities", {}, b"z" * 100000)):
            client = self.client("enc-a", self.alice)
            try:
                status, _, _ = client.raw(path, "GET", body, headers)
                self.assertIn(status, (400, 413))
            except (OSError, http.client.HTTPException):
                pass
        self.assertEqual(self.a.get("/capabilities")[0], 200)

    def test_crowd_at_the_peers_door(self):
        """More connections to where peers come than are taken at once: keys go on over the link that stands, and a peer that comes later gets in."""
        crowd = []
        for _ in range(300):
            s = socket.socket()
            s.settimeout(1)
            try:
                s.connect(("127.0.0.1", self.alice.peers_port))
            except OSError:
                s.close()
                break
            crowd.append(s)
        self.assertGreater(len(crowd), 100) # 256 are taken at once; how many more get this far is the kernel's business
        for _ in range(5):
            status, new = self.b.new_key("Alice") # over the link that stands
            self.assertEqual(status, 200)
            self.assertEqual(self.a.by_id(new["keyId"], "Bob"), (200, new))
        self.bob.end()
        for s in crowd:
            s.close()
        self.bob.start()
        self.bob.wait_log("peer 'Alice': link is up")
        end = time.monotonic() + 20
        while self.b.new_key("Alice")[0] != 200:
            self.assertLess(time.monotonic(), end)
            time.sleep(0.05)

    def test_nonsense(self):
        for text in (b"\r\n\r\n", b"GET\r\n\r\n", b"GET /capabilities\r\n\r\n", b"GET /cap HTTP/9.9\r\n\r\n",
                     b"\x00\x01\x02\x03\r\n\r\n", b"GET http:// HTTP/1.1\r\n\r\n", b"GET /%zz?%zz HTTP/1.1\r\nHost: x\r\n\r\n",
                     b"GET * HTTP/1.1\r\n\r\n", b"BREW /key HTTP/1.1\r\n\r\n",
                     b"GET /key HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
                     b"GET /key HTTP/1.1\r\nContent-Length: -1\r\n\r\n"):
            s = self.secure_socket()
            s.sendall(text)
            answer, _ = self.rest(s)
            self.assertNotIn(b" 200 ", answer, text)
        self.assertEqual(self.a.get("/capabilities")[0], 200)

    def test_pipelined_requests(self):
        s = self.secure_socket()
        s.sendall(b"GET /key?remoteSystemID=Bob HTTP/1.1\r\nHost: x\r\n\r\n" * 5
                  + b"GET /entropy HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        answer, _ = self.rest(s)
        self.assertEqual((answer.count(b'"keyId"'), answer.count(b'"randomStr"')), (5, 1))

    def test_slow_handshake(self):
        with socket.create_connection(("127.0.0.1", self.alice.port), timeout=10) as s:
            s.sendall(b"\x16\x03\x01")
            self.assertLess(self.rest(s)[1], 5)

    def test_slow_request(self):
        # a byte now and then does not keep a connection open
        s = self.secure_socket()
        began = time.monotonic()
        try:
            for byte in b"GET /capabilities HTTP/1.1\r\nHost: " + b"x" * 100:
                s.sendall(bytes((byte,)))
                time.sleep(0.1)
                self.assertLess(time.monotonic() - began, 8)
        except (ConnectionError, ssl.SSLError):
            pass
        else:
            self.fail("it was never closed")

    def test_idle_connection(self):
        self.assertEqual(self.a.get("/capabilities")[0], 200)
        began = time.monotonic()
        self.a.connection.sock.settimeout(10)
        self.assertEqual(self.a.connection.sock.recv(1), b"")
        self.assertLess(time.monotonic() - began, 8)

    def test_many_connections_of_one_client(self):
        clients = [self.client("enc-a", self.alice) for _ in range(9)]
        answers = [c.get("/capabilities") for c in clients]
        self.assertEqual([a[0] for a in answers], [200] * 8 + [503])
        self.assertIn("too many connections", answers[8][1]["error"])
        # others are not kept out, and places become free
        other = self.client("stranger", self.alice)
        self.assertEqual(other.get("/capabilities")[0], 403)
        for c in clients:
            c.close()
        time.sleep(0.2)
        self.assertEqual(self.client("enc-a", self.alice).get("/capabilities")[0], 200)

    def test_many_connections_without_tls(self):
        held = [socket.create_connection(("127.0.0.1", self.alice.port), timeout=10) for _ in range(60)]
        # 40 take all places, for the second that a handshake may take
        self.assertEqual(self.client("enc-a", self.alice).get("/capabilities")[0], 200)
        for s in held:
            s.close()
        self.assertIn("no more are accepted for now", self.alice.log())

    def test_client_leaves_before_the_answer(self):
        # its key stays for it
        new = self.a.new_key("Bob")[1]
        raw = socket.create_connection(("127.0.0.1", self.bob.port), timeout=10)
        s = self.b.context.wrap_socket(raw, server_hostname="127.0.0.1")
        self.bob.process.send_signal(signal.SIGSTOP)
        s.sendall(f"GET /key/{new['keyId']}?remoteSystemID=Alice HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        s.close()
        self.bob.process.send_signal(signal.SIGCONT)
        end = time.monotonic() + 10
        while (answer := self.b.by_id(new["keyId"], "Alice"))[0] != 200 and time.monotonic() < end:
            time.sleep(0.05)
        self.assertEqual(answer, (200, new))
        self.bob.wait_log("the client is gone; it has not got the key")

    def test_client_asks_again_while_its_first_request_is_under_way(self):
        # it hangs up and asks again at once: the second request waits for what becomes of the first, and gets the key
        for _ in range(10):
            new = self.a.new_key("Bob")[1]
            path = f"/key/{new['keyId']}?remoteSystemID=Alice"
            first, second = self.client("enc-b", self.bob), self.client("enc-b", self.bob)
            for client in (first, second):
                self.assertEqual(client.get("/capabilities")[0], 200)
            self.bob.process.send_signal(signal.SIGSTOP)
            first.connection.request("GET", path)
            second.connection.request("GET", path)
            first.connection.sock.close()
            first.close()
            self.bob.process.send_signal(signal.SIGCONT)
            answer = second.connection.getresponse()
            self.assertEqual((answer.status, json.loads(answer.read())), (200, new))
            second.close()

    def test_of_many_requests_for_a_key_one_gets_it(self):
        new = self.a.new_key("Bob")[1]
        clients = [self.client("enc-b", self.bob) for _ in range(8)]
        for client in clients:
            self.assertEqual(client.get("/capabilities")[0], 200)
        self.bob.process.send_signal(signal.SIGSTOP)
        for client in clients:
            client.connection.request("GET", f"/key/{new['keyId']}?remoteSystemID=Alice")
        self.bob.process.send_signal(signal.SIGCONT)
        answers = []
        for client in clients:
            answer = client.connection.getresponse()
            answers.append((answer.status, answer.read()))
        self.assertEqual(sorted(status for status, _ in answers), [200] + [400] * 7)
        for status, body in answers:
            self.assertIn(new["key"].encode() if status == 200 else b"delivered already", body)

    def test_end_with_requests_under_way(self):
        answers = []

        def ask():
            client = self.client("enc-a", self.alice)
            try:
                while True:
                    answers.append(client.new_key("Bob"))
            except (OSError, http.client.HTTPException):
                pass

        threads = [threading.Thread(target=ask) for _ in range(4)]
        for t in threads:
            t.start()
        time.sleep(0.3)
        began = time.monotonic()
        self.assertEqual(self.alice.end(), 0)
        self.assertLess(time.monotonic() - began, 8)
        for t in threads:
            t.join(10)
        for status, new in answers:
            if status == 200:
                self.assertEqual(self.b.by_id(new["keyId"], "Alice"), (200, new))

    def test_no_descriptors_left(self):
        # connections are closed at once, not left waiting; those that are there are served
        self.assertEqual(self.a.get("/capabilities")[0], 200)
        pid = self.alice.process.pid
        before = resource.prlimit(pid, resource.RLIMIT_NOFILE)
        count = len(os.listdir(f"/proc/{pid}/fd"))
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (count + 3, before[1]))
        held = [socket.create_connection(("127.0.0.1", self.alice.port), timeout=10) for _ in range(30)]
        began = time.monotonic()
        self.assertEqual([s.recv(1) for s in held[4:]], [b""] * 26)
        self.assertLess(time.monotonic() - began, 5)
        status, new = self.a.new_key("Bob")
        self.assertEqual(status, 200)
        self.assertEqual(self.b.by_id(new["keyId"], "Alice"), (200, new))
        self.assertEqual(self.alice.log().count("could not be accepted"), 1)
        self.assertNotIn("[warn]", self.alice.log())
        for s in held:
            s.close()
        resource.prlimit(pid, resource.RLIMIT_NOFILE, before)
        self.assertEqual(self.client("enc-a", self.alice).get("/capabilities")[0], 200)

    def test_sighup_and_no_core(self):
        self.alice.process.send_signal(signal.SIGHUP)
        self.alice.wait_log("SIGHUP")
        self.assertEqual(self.a.get("/capabilities")[0], 200)
        with open(f"/proc/{self.alice.process.pid}/limits", encoding="ascii") as f:
            core = next(line for line in f if line.startswith("Max core file size"))
        self.assertEqual(core.split()[4:6], ["0", "0"])


class Silence(PairCase):
    """Whoever has proved who he is, and then says nothing, takes no more places than are his."""
    extra = "max-connections 20 per-client 5\n"  # and the timeouts by default, which are longer than what is waited here

    def more_configuration(self):
        self.alice.clients += "client other\n certificate subject CN=bob\n"

    def silent(self, name):
        """As many connections as are open at once in all."""
        context, held = self.client(name, self.alice).context, []
        for _ in range(20):
            raw = socket.create_connection(("127.0.0.1", self.alice.port), timeout=5)
            self.addCleanup(raw.close)
            try:
                held.append(context.wrap_socket(raw, server_hostname="127.0.0.1"))
            except (ConnectionError, ssl.SSLError):  # closed, before the end of the handshake was seen
                continue
            self.addCleanup(held[-1].close)
        return held

    def ask(self, s):
        s.settimeout(5)
        s.sendall(b"GET /capabilities HTTP/1.1\r\nHost: x\r\n\r\n")
        return s.recv(65536)

    def test_of_a_client(self):
        held = self.silent("enc-a")
        self.assertEqual(self.client("bob", self.alice, timeout=5).get("/capabilities")[0], 200)
        self.assertIn(" 200 ", psk_get(self.alice, "/capabilities")[0])
        # its own places are its own; a few more are told why there is none for them
        for s in held[:5]:
            self.assertTrue(self.ask(s).startswith(b"HTTP/1.1 200 "))
        self.assertIn(b"too many connections of this client", self.ask(held[5]))
        self.alice.wait_log("client 'enc-a' (127.0.0.1 port ")
        self.assertIn("connection closed: too many connections of this client", self.alice.log())

    def test_of_nobody(self):
        # a certificate of our CA that is no client's
        held = self.silent("stranger")
        self.assertEqual(self.client("enc-a", self.alice, timeout=5).get("/capabilities")[0], 200)
        self.assertIn(b"no client of this key source", self.ask(held[0]))


class Flood(PairCase):
    """One client floods; others are served."""
    extra = "max-connections 100 per-client 60\nmax-requests 20 per-second 200\nsync-timeout 3000\n"

    def test_requests_per_second(self):
        ending, statuses = threading.Event(), []

        def flood():
            client = self.client("enc-a", self.alice)
            while not ending.is_set():
                status, _, headers = client.raw("/entropy")
                statuses.append((status, headers["Retry-After"]))

        threads = [threading.Thread(target=flood) for _ in range(6)]
        began = time.monotonic()
        for t in threads:
            t.start()
        time.sleep(0.5)
        other = self.client("stranger", self.alice)
        for _ in range(50):
            status, new = other.new_key("Bob")
            self.assertEqual(status, 200)
            self.assertEqual(self.b.by_id(new["keyId"], "Alice"), (200, new))
            time.sleep(0.01)
        ending.set()
        for t in threads:
            t.join(10)
        self.assertEqual(set(statuses), {(200, None), (429, "1")})
        served = sum(status == 200 for status, _ in statuses)
        # a full bucket, and then as much as flows in
        self.assertLessEqual(served, 200 * (time.monotonic() - began + 1))
        self.assertGreaterEqual(served, 200)
        self.assertIn("429 too many requests of this client in a second", self.alice.log())
        # whoever waits, as he is told to, is served again
        time.sleep(1)
        self.assertEqual(self.a.get("/entropy")[0], 200)

    def test_requests_under_way(self):
        clients = [self.client("enc-a", self.alice) for _ in range(25)]
        for client in clients:
            self.assertEqual(client.get("/capabilities")[0], 200)
        self.bob.process.send_signal(signal.SIGSTOP)
        try:
            for client in clients:
                client.connection.request("GET", "/key?remoteSystemID=Bob")
            time.sleep(0.5)
            # another one has places of its own
            self.assertEqual(self.client("stranger", self.alice).get("/capabilities")[0], 200)
            self.assertEqual(self.a.get("/capabilities")[0], 429)
        finally:
            self.bob.process.send_signal(signal.SIGCONT)
        answers = [client.connection.getresponse() for client in clients]
        self.assertEqual(sorted(answer.status for answer in answers), [200] * 20 + [429] * 5)
        self.assertEqual({answer.headers["Retry-After"] for answer in answers if answer.status == 429}, {"1"})
        self.assertEqual(self.a.get("/capabilities")[0], 200)

    def more_configuration(self):
        self.alice.clients += "client other\n certificate san stranger\n max-requests 100 per-second 1000\n"

    def test_bounds_change_with_a_reload(self):
        self.alice.extra = "max-requests 20 per-second 1\n"
        self.alice.reload()
        self.assertEqual([self.a.get("/capabilities")[0] for _ in range(2)], [200, 429])
        self.alice.extra = ""
        self.alice.reload()
        time.sleep(0.1)
        self.assertEqual([self.a.get("/capabilities")[0] for _ in range(9)], [200] * 9)


class CommandLine(unittest.TestCase):
    def skipd(self, *words):
        return subprocess.run([SKIPD, *words], capture_output=True, text=True, timeout=30, check=False, stdin=subprocess.DEVNULL)

    def test_mistakes_are_told_all_at_once(self):
        with tempfile.TemporaryDirectory() as directory:
            path = os.path.join(directory, "skipd.conf")
            with open(path, "w", encoding="utf-8") as f:
                os.chmod(path, 0o600)
                f.write("system-id A*\nlisten ipv4 127.0.0.1 port 65536\nkey-size 100\nnonsense\n"
                        "client x\n permit everything\n tls psk id x key hex 00\nclient x\npeer p\n address ipv4 1.2.3 port 1\n")
            done = self.skipd("-t", "-c", path)
            self.assertEqual(done.returncode, 1)
            for line in (1, 2, 3, 4, 6, 7, 8, 10):
                self.assertIn(f"{path}:{line}: ", done.stderr)

    def test_sample(self):
        with tempfile.TemporaryDirectory() as directory:
            path = os.path.join(directory, "skipd.conf")
            shutil.copy(os.path.join(os.environ["PPK_SOURCE_DIR"], "conf", "skipd.conf"), path)
            os.chmod(path, 0o600)
            with open(os.path.join(directory, "skipd.master"), "w", encoding="ascii") as f:
                os.chmod(f.name, 0o600)
                f.write("0123456789abcdef\n")
            done = self.skipd("-t", "-c", path)
            self.assertEqual((done.returncode, done.stdout), (0, f"{path}: ok\n"), done.stderr)
            # nothing was made or opened
            self.assertEqual(sorted(os.listdir(directory)), ["skipd.conf", "skipd.master"])

    def test_manual_page(self):
        daemon = os.path.join(os.environ["PPK_SOURCE_DIR"], "src", "skipd", "skipd.8")
        lint = subprocess.run(["mandoc", "-Tlint", "-Wwarning", daemon], capture_output=True, text=True, timeout=30, check=False)
        self.assertEqual((lint.returncode, lint.stdout), (0, ""))
        page = self.skipd("--manual")
        self.assertEqual(page.returncode, 0, page.stderr)
        lint = subprocess.run(["mandoc", "-Tlint", "-Wwarning"], input=page.stdout, capture_output=True, text=True, timeout=30,
                              check=False)
        self.assertEqual((lint.returncode, lint.stdout), (0, ""))
        shown = subprocess.run(["mandoc", "-Tascii"], input=page.stdout, capture_output=True, text=True, timeout=30, check=True)
        self.assertGreater(len(shown.stdout.splitlines()), 100)
        for word in ("remote-system-id", "sync-timeout", "server-auth-only", "skipd-master-key"):
            self.assertIn(word, page.stdout)

    @unittest.skipUnless(shutil.which("systemd-analyze"), "systemd is not here")
    def test_unit_is_hardened(self):
        unit = os.path.join(os.environ["PPK_SOURCE_DIR"], "conf", "skipd@.service")
        done = subprocess.run(["systemd-analyze", "security", "--offline=true", "--threshold=20", unit], capture_output=True,
                              text=True, timeout=60, check=False)
        self.assertEqual(done.returncode, 0, done.stdout[-500:] + done.stderr)

    def test_no_configuration(self):
        done = self.skipd("-c", "/nonexistent/skipd.conf")
        self.assertEqual(done.returncode, 1)
        self.assertIn("/nonexistent/skipd.conf", done.stderr)

    def test_wrong_words(self):
        self.assertEqual(self.skipd("--nonsense").returncode, 2)
        self.assertEqual(self.skipd("word").returncode, 2)
        self.assertIn("usage", self.skipd("--help").stdout)


if __name__ == "__main__":
    unittest.main()
