# SPDX-License-Identifier: BSD-2-Clause
"""SIGHUP: a changed skipd.conf takes effect without losing keys or connections; a wrong one changes nothing."""
import http.client
import os
import shutil
import signal
import socket
import ssl
import subprocess
import threading
import time
import unittest

from keysource import Authority, PairCase, PSK, free_port, psk_get

REFUSED = "the new configuration is refused, the old one stays"


class Reload(PairCase):
    @classmethod
    def more_files(cls):
        cls.authority.sign("carol", "DNS:localhost,IP:127.0.0.1")
        other = os.path.join(cls.directory, "other")
        os.mkdir(other)
        cls.other_authority = Authority(other)

    def test_nothing_changed(self):
        def seen():
            return [s.log().count(word) for s in (self.alice, self.bob) for word in ("link is", "gives us keys", "connection closed")]

        links = seen()
        self.assertEqual(self.a.get("/capabilities")[0], 200)
        connection, port = self.a.connection.sock, self.alice.port
        new = self.a.new_key("Bob")[1]
        for source in (self.alice, self.bob):
            source.reload()
        self.assertEqual(self.alice.port, port)
        self.assertEqual(self.b.by_id(new["keyId"], "Alice"), (200, new))
        self.assertEqual(self.a.new_key("Bob")[0], 200)
        self.assertIs(self.a.connection.sock, connection)
        self.assertEqual(seen(), links)

    def test_under_load(self):
        failures, count, ending = [], [0], threading.Event()

        def work():
            a, b = self.client("enc-a", self.alice), self.client("enc-b", self.bob)
            try:
                while not ending.is_set():
                    status, new = a.new_key("Bob")
                    got = b.by_id(new["keyId"], "Alice") if status == 200 else None
                    if got != (200, new):
                        failures.append((status, new, got))
                    count[0] += 1
            except (OSError, http.client.HTTPException) as e:
                failures.append(repr(e))

        threads = [threading.Thread(target=work) for _ in range(4)]
        for t in threads:
            t.start()
        peers_port = self.alice.peers_port
        for i in range(25):
            # what changes each time: a client comes and goes, and the limits
            self.alice.extra = f"lifetime {600 + i}\nmax-connections {500 + i}\n"
            self.bob.clients += f"client more-{i}\n tls psk id more-{i} key hex {PSK}\n"
            if i % 5 == 4:
                self.alice.listens += f"listen ipv4 127.0.0.1 port {free_port()}\n"
            self.alice.reload()
            self.bob.reload()
        ending.set()
        for t in threads:
            t.join(20)
        self.assertEqual(failures, [])
        self.assertGreater(count[0], 50)
        self.assertEqual(self.alice.peers_port, peers_port)

    def test_many_signals(self):
        before = self.alice.log().count("is in effect")
        for _ in range(100):
            self.alice.process.send_signal(signal.SIGHUP)
            time.sleep(0.005)
        self.alice.clients += "client guest\n certificate san stranger\n"
        self.alice.configure()
        self.alice.process.send_signal(signal.SIGHUP)
        guest, end = self.client("stranger", self.alice), time.monotonic() + 10
        while guest.get("/capabilities")[0] != 200:  # the last one counts
            self.assertLess(time.monotonic(), end, self.alice.log()[-2000:])
            time.sleep(0.01)
        self.assertLess(self.alice.log().count("is in effect") - before, 50)

    def test_wrong_file(self):
        self.alice.clients += "client x\n permit everything\nnonsense\n"
        said = self.alice.reload(REFUSED)
        self.assertEqual(said.count("alice.conf:"), 3, said)  # x has no proof of identity, either
        self.alice.configure = lambda: None
        os.unlink(self.alice.file("conf"))
        self.assertIn("alice.conf", self.alice.hang_up(REFUSED))
        new = self.a.new_key("Bob")[1]
        self.assertEqual(self.b.by_id(new["keyId"], "Alice"), (200, new))

    def test_what_cannot_change(self):
        with open(os.path.join(self.directory, "master2"), "w", encoding="ascii") as f:
            os.chmod(f.name, 0o600)
            f.write("another master key\n")
        with open(self.alice.file("conf"), encoding="utf-8") as f:
            good = f.read()
        new = self.a.new_key("Bob")[1]
        for old, changed, word in (("store sqlite alice.db", "store sqlite other.db", "the store"),
                                   ("master-key file master", "master-key file master2", "the master key"),
                                   ("system-id Alice", "system-id Alicia", "the system-id")):
            text = good.replace(old, changed)
            line = text.splitlines().index(changed) + 1
            with open(self.alice.file("conf"), "w", encoding="utf-8") as f:
                f.write(text)
            self.assertIn(f"alice.conf: line {line}: {word} cannot change", self.alice.hang_up(REFUSED))
        self.assertFalse(os.path.exists(os.path.join(self.directory, "other.db")))
        # the same key by another name is the same key
        shutil.copy(os.path.join(self.directory, "master"), os.path.join(self.directory, "master2"))
        with open(self.alice.file("conf"), "w", encoding="utf-8") as f:
            f.write(good.replace("master-key file master", "master-key file master2"))
        self.alice.hang_up()
        self.assertEqual(self.b.by_id(new["keyId"], "Alice"), (200, new))

    def closed(self, client):
        client.connection.sock.settimeout(5)
        try:
            self.assertEqual(client.connection.sock.recv(1), b"")
        except (ConnectionError, ssl.SSLError):
            pass

    def test_clients(self):
        # added
        self.alice.clients += "client guest\n certificate san stranger\n"
        guest = self.client("stranger", self.alice)
        self.assertEqual(guest.get("/capabilities")[0], 403)
        self.alice.reload()
        self.assertEqual(guest.get("/capabilities")[0], 200)  # by the connection that was there
        # its permissions, and its remote systems
        self.alice.clients += " permit capabilities\n permit key\n"
        self.alice.reload()
        self.assertEqual((guest.get("/entropy")[0], guest.new_key("Bob")[0]), (403, 200))
        self.alice.clients += " remote-system-id Nobody\n"
        self.alice.reload()
        self.assertEqual(guest.new_key("Bob")[0], 403)
        # gone; others stay
        self.assertEqual(self.a.get("/capabilities")[0], 200)
        connection = self.a.connection.sock
        self.alice.clients = self.alice.clients[:self.alice.clients.index("client guest")]
        self.alice.reload()
        self.closed(guest)
        self.assertEqual(self.client("stranger", self.alice).get("/capabilities")[0], 403)
        self.assertEqual(self.a.get("/capabilities")[0], 200)
        self.assertIs(self.a.connection.sock, connection)

    def test_client_whose_identity_changed(self):
        self.assertEqual(self.a.get("/capabilities")[0], 200)
        self.assertIn(" 200 ", psk_get(self.alice, "/capabilities")[0])
        changed = "ff" + PSK[2:]
        self.alice.clients = self.alice.clients.replace("certificate san enc-a", "certificate san stranger").replace(PSK, changed)
        self.alice.reload()
        self.closed(self.a)
        self.assertEqual(self.client("enc-a", self.alice).get("/capabilities")[0], 403)
        self.assertEqual(self.client("stranger", self.alice).get("/capabilities")[0], 200)
        self.assertNotIn(" 200 ", psk_get(self.alice, "/capabilities")[0])
        self.assertIn(" 200 ", psk_get(self.alice, "/capabilities", psk=changed)[0])

    def test_psk_of_one_hash(self):
        # `hash` is of TLS 1.3: in 1.2, such a client stays who it is
        self.alice.clients += f"client t\n tls psk id tt key hex {PSK} hash sha256\n"
        self.alice.reload()
        for options in (["-tls1_2", "-cipher", "DHE-PSK-AES256-GCM-SHA384"], ["-tls1_3"]):
            client = subprocess.Popen(["openssl", "s_client", "-quiet", "-connect", f"127.0.0.1:{self.alice.port}", "-psk_identity", "tt",
                                       "-psk", PSK, *options], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
            self.addCleanup(client.communicate)
            self.addCleanup(client.kill)
            for _ in range(2):
                client.stdin.write(b"GET /capabilities HTTP/1.1\r\nHost: x\r\n\r\n")
                client.stdin.flush()
                self.assertTrue(client.stdout.read1().startswith(b"HTTP/1.1 200 "), options)
                self.assertNotIn("connection closed", self.alice.reload())
            # in 1.3, it would not be let in any more by another hash
            self.alice.clients = self.alice.clients.replace("sha256", "sha384")
            said = self.alice.reload()
            self.assertEqual("client 't'" in said and "connection closed" in said, options == ["-tls1_3"], options)
            self.alice.clients = self.alice.clients.replace("sha384", "sha256")
            self.alice.reload()

    def test_connection_is_closed_after_its_answer(self):
        # Bob is stopped, so that the request is under way while its client goes
        self.assertEqual(self.a.get("/capabilities")[0], 200)
        self.alice.extra = "sync-timeout 8000\n"
        self.alice.reload()
        self.bob.process.send_signal(signal.SIGSTOP)
        try:
            self.a.connection.request("GET", "/key?remoteSystemID=Bob")
            time.sleep(0.3)
            self.alice.clients = f"client other\n tls psk id other key hex {PSK}\n"
            self.alice.reload()
        finally:
            self.bob.process.send_signal(signal.SIGCONT)
        answer = self.a.connection.getresponse()
        self.assertEqual((answer.status, answer.headers["Connection"]), (200, "close"))
        answer.read()

    def test_trustpoint_is_read_again(self):
        self.assertEqual(self.a.get("/capabilities")[0], 200)
        mine, other = self.authority.path("ca", "pem"), self.other_authority.path("ca", "pem")
        shutil.copy(mine, mine + ".kept")
        try:
            shutil.copy(other, mine)
            self.alice.reload()
            self.closed(self.a)
        finally:
            shutil.move(mine + ".kept", mine)
        self.alice.reload()
        self.assertEqual(self.client("enc-a", self.alice).get("/capabilities")[0], 200)

    def test_certificate_is_read_again(self):
        def serial():
            with ssl.create_default_context(cafile=self.authority.path("ca", "pem")).wrap_socket(
                    socket.create_connection(("127.0.0.1", self.alice.port)), server_hostname="127.0.0.1") as s:
                return s.getpeercert()["serialNumber"]

        before = self.client("enc-a", self.alice)
        self.assertEqual(before.get("/capabilities")[0], 200)
        connection, first = before.connection.sock, serial()
        self.authority.sign("alice", "DNS:localhost,IP:127.0.0.1")
        self.assertEqual(serial(), first)
        self.alice.reload()
        self.assertNotEqual(serial(), first)
        self.assertEqual(before.get("/capabilities")[0], 200)
        self.assertIs(before.connection.sock, connection)
        # one that cannot be used is refused
        with open(self.authority.path("alice", "key"), encoding="ascii") as f:
            key = f.read()
        with open(self.authority.path("alice", "key"), "w", encoding="ascii") as f:
            f.write("no key\n")
        self.alice.reload(REFUSED)
        with open(self.authority.path("alice", "key"), "w", encoding="ascii") as f:
            f.write(key)
        self.alice.reload()

    def test_listeners(self):
        self.assertEqual(self.a.get("/capabilities")[0], 200)
        first, second = self.alice.port, free_port()
        self.alice.listens = f"listen ipv4 127.0.0.1 port 0\nlisten ipv4 127.0.0.1 port {second}\n"
        self.alice.reload()
        self.assertEqual(self.alice.port, second)  # the last line
        self.assertEqual(self.client("enc-a", self.alice).get("/capabilities")[0], 200)
        self.assertEqual(self.a.connection.port, first)
        self.alice.listens = f"listen ipv4 127.0.0.1 port {second}\n"
        self.alice.reload()
        self.a.connection.request("GET", "/capabilities")  # the connection outlives its listener
        self.assertEqual(self.a.connection.getresponse().status, 200)
        with self.assertRaises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", first))
        # one that is somebody else's: all stays, nothing of the attempt is left
        third = free_port()
        self.alice.listens = (f"listen ipv4 127.0.0.1 port {third}\nlisten ipv4 127.0.0.1 port {second}\n"
                              f"listen ipv4 127.0.0.1 port {self.bob.port}\n")
        self.assertIn(f"listen at 127.0.0.1:{self.bob.port}: Address already in use", self.alice.reload(REFUSED))
        with self.assertRaises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", third))
        self.assertEqual(self.client("enc-a", self.alice).get("/capabilities")[0], 200)

    def test_listeners_of_peers_and_operators(self):
        plain, first, admin = self.alice.extra, self.alice.peers_port, free_port()
        self.alice.extra = plain + f"admin ipv4 127.0.0.1 port {admin}\nadmin unix other-admin.sock mode 600\n"
        self.alice.peers_port = free_port()
        self.alice.reload()
        for family, address in ((socket.AF_INET, ("127.0.0.1", admin)), (socket.AF_UNIX, os.path.join(self.directory, "other-admin.sock")),
                                (socket.AF_INET, ("127.0.0.1", self.alice.peers_port))):
            with socket.socket(family) as s:
                s.connect(address)
        with self.assertRaises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", first))
        # a Unix socket that cannot be there: all stays
        self.alice.extra = plain + f"admin ipv4 127.0.0.1 port {admin}\nadmin unix nowhere/admin.sock\n"
        self.assertIn("No such file", self.alice.reload(REFUSED))
        socket.create_connection(("127.0.0.1", admin)).close()
        self.alice.extra, self.alice.peers_port = plain, first
        self.alice.reload()
        with self.assertRaises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", admin))
        self.assertFalse(os.path.exists(os.path.join(self.directory, "other-admin.sock")))
        self.bob.end()
        self.bob.start()
        self.bob.wait_log("peer 'Alice': link is up")
        end = time.monotonic() + 20
        while self.b.new_key("Alice")[0] != 200:
            self.assertLess(time.monotonic(), end)
            time.sleep(0.05)

    def test_mode_of_a_socket(self):
        plain, path = self.alice.extra, os.path.join(self.directory, "adm.sock")
        for mode in (0o600, 0o660, 0o640):
            self.alice.extra = plain + f"admin unix adm.sock mode {mode:o}\n"
            self.alice.reload()
            self.assertEqual(os.stat(path).st_mode & 0o7777, mode)
            with socket.socket(socket.AF_UNIX) as s:
                s.connect(path)
        # not before all else is known to be right
        self.alice.extra = plain + f"admin unix adm.sock mode 666\nlisten ipv4 127.0.0.1 port {self.bob.port}\n"
        self.alice.reload(REFUSED)
        self.assertEqual(os.stat(path).st_mode & 0o7777, 0o640)

    def test_another_kind_at_the_same_address(self):
        port = free_port()
        etsi014 = self.client("enc-a", self.alice, listener="listen-etsi014")
        skip = f"listen ipv4 127.0.0.1 port {port}\n"
        other = f"listen ipv4 127.0.0.1 port 0\nlisten etsi014 ipv4 127.0.0.1 port {port}\n"
        for _ in range(2):
            self.alice.listens = skip
            self.alice.reload()
            self.assertEqual(self.client("enc-a", self.alice).get("/capabilities")[0], 200)
            self.alice.listens = other
            # what cannot be leaves all as it is
            self.alice.extra = f"listen ipv4 127.0.0.1 port {self.bob.port}\n"
            self.assertIn("Address already in use", self.alice.reload(REFUSED))
            self.assertEqual(self.client("enc-a", self.alice).get("/capabilities")[0], 200)
            self.alice.extra = ""
            self.alice.reload()
            self.assertEqual(self.alice.ports["listen-etsi014"], port)
            self.assertEqual(etsi014.get("/api/v1/keys/Bob/status")[0], 200)
            etsi014.close()
        # one address for two is none
        self.alice.listens = other + skip
        self.assertIn(f"listen at 127.0.0.1:{port}: Address already in use", self.alice.reload(REFUSED))
        self.assertEqual(etsi014.get("/api/v1/keys/Bob/status")[0], 200)

    def test_address_that_overlaps(self):
        port = free_port()
        self.alice.listens = f"listen ipv4 127.0.0.1 port {port}\n"
        self.alice.reload()
        self.alice.listens = f"listen ipv4 0.0.0.0 port {port}\n"
        self.assertIn(f"listen at 0.0.0.0:{port}: Address already in use, by a listener that is to go: that takes a restart",
                      self.alice.reload(REFUSED))
        self.assertEqual(self.client("enc-a", self.alice).get("/capabilities")[0], 200)

    def test_peers(self):
        # gone, and come again
        peers = self.alice.peers
        self.alice.peers = ""
        self.alice.reload()
        self.assertEqual(self.a.new_key("Bob")[0], 400)
        self.assertEqual(self.b.new_key("Alice")[0], 503)
        self.alice.peers = peers
        self.alice.reload()
        self.alice.wait_log("link is up")
        end = time.monotonic() + 10
        while self.a.new_key("Bob")[0] != 200 and time.monotonic() < end:
            time.sleep(0.05)
        new = self.a.new_key("Bob")[1]
        self.assertEqual(self.b.by_id(new["keyId"], "Alice"), (200, new))

    def test_peer_whose_psk_changed(self):
        self.alice.peers = self.alice.peers.replace("key hex f0", "key hex f1")
        self.bob.peers = self.bob.peers.replace("key hex f0", "key hex f1")
        self.alice.reload()
        self.alice.wait_log("the link is made anew")
        self.bob.reload()
        end = time.monotonic() + 10
        while self.a.new_key("Bob")[0] != 200 and time.monotonic() < end:
            time.sleep(0.05)
        new = self.a.new_key("Bob")[1]
        self.assertEqual(self.b.by_id(new["keyId"], "Alice"), (200, new))
        self.assertEqual(self.b.new_key("Alice")[0], 200)

    def test_key_on_its_way_to_a_peer_that_moves(self):
        # Bob is stopped; Alice learns that Carol's address is Bob's now, and what is on its way is sent there
        self.alice.extra = "sync-timeout 9000\n"
        self.alice.reload()
        self.bob.process.send_signal(signal.SIGSTOP)
        answers = []
        thread = threading.Thread(target=lambda: answers.append(self.a.new_key("Bob")))
        thread.start()
        time.sleep(0.3)
        port = free_port()
        self.alice.peers = self.alice.peers.replace(f"port {self.bob.peers_port}", f"port {port}\n address ipv4 127.0.0.1 port "
                                                    f"{self.bob.peers_port}")
        self.alice.reload()
        self.bob.process.send_signal(signal.SIGCONT)
        thread.join(15)
        self.assertEqual(answers[0][0], 200)
        new = answers[0][1]
        self.assertEqual(self.b.by_id(new["keyId"], "Alice"), (200, new))

    def test_limits(self):
        held = [self.client("enc-a", self.alice) for _ in range(3)]
        self.assertEqual([c.get("/capabilities")[0] for c in held], [200] * 3)
        self.alice.extra = "max-connections 100 per-client 2\nkey-size 512\n"
        self.alice.reload()
        self.assertEqual(self.client("enc-a", self.alice).get("/capabilities")[0], 503)
        held[0].close()
        held[1].close()
        time.sleep(0.2)
        new = held[2].new_key("Bob")
        self.assertEqual((new[0], len(new[1]["key"])), (200, 128))


if __name__ == "__main__":
    unittest.main()
