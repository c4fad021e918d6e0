# SPDX-License-Identifier: BSD-2-Clause
"""Who is served, and over which TLS."""
import hashlib
import http.client
import os
import socket
import ssl
import subprocess
import unittest

from keysource import Authority, Client, PairCase, PSK, psk_get

SHORT_PSK = PSK[:32]


class Tls(PairCase):
    start_both = False

    @classmethod
    def more_files(cls):
        for name in ("sub", "rsa"):
            cls.authority.sign(name, f"DNS:{name}", subject="/O=Example, Inc./CN=sub" if name == "sub" else None, rsa=name == "rsa")
        cls.authority.sign("fp", "DNS:unnamed")
        cls.authority.sign("wild", "DNS:*.example")
        cls.others = Authority(cls.directory, "otherca")
        cls.others.sign("forged", "DNS:enc-a", subject="/CN=enc-a")

    def more_configuration(self):
        with open(os.path.join(self.directory, "fp.pem"), encoding="ascii") as f:
            der = ssl.PEM_cert_to_DER_cert(f.read())
        self.alice.clients += ("client by-subject\n certificate subject \"CN=sub,O=Example\\\\, Inc.\"\n"
                               f"client by-fingerprint\n certificate fingerprint {hashlib.sha256(der).hexdigest().upper()}\n"
                               "client by-rsa\n certificate san rsa\n"
                               "client under-wildcard\n certificate san host.example\n"
                               f"client only256\n tls psk id only256 key hex {PSK} hash sha256\n"
                               f"client only384\n tls psk id only384 key hex {PSK} hash sha384\n"
                               f"client short\n tls psk id short key hex {SHORT_PSK}\n"
                               "client text\n tls psk id text key a-text-as-a-key!\n")
        self.alice.start()

    def refused(self, client):
        """The handshake fails; no answer of any kind."""
        with self.assertRaises((ssl.SSLError, ConnectionError, http.client.HTTPException)):
            client.raw("/capabilities")

    def test_certificates(self):
        for name in ("enc-a", "sub", "fp", "rsa"):
            self.assertEqual(self.client(name, self.alice).get("/capabilities")[0], 200, name)
        # a certificate of our CA, of nobody that we know: 403, with who it is
        for name in ("stranger", "wild"):
            status, answer = self.client(name, self.alice).get("/capabilities")
            self.assertEqual(status, 403)
            self.assertIn(name, answer["error"])
            self.assertEqual(self.client(name, self.alice).get("/key?remoteSystemID=Bob")[0], 403)

    def test_no_certificate_and_forged_ones(self):
        self.refused(self.client(None, self.alice))
        self.refused(self.client("forged", self.alice))
        self.alice.wait_log(" refused: ")
        self.assertNotIn(": capabilities", self.alice.log())

    def test_psk_suites(self):
        capable = '"localSystemID":"Alice"'
        for options in (["-tls1_3"], ["-tls1_3", "-ciphersuites", "TLS_AES_128_GCM_SHA256"], [],
                        *(["-tls1_2", "-cipher", c] for c in (
                            "DHE-PSK-AES256-CBC-SHA384", "DHE-PSK-AES256-CBC-SHA", "PSK-AES256-GCM-SHA384",
                            "DHE-PSK-AES256-GCM-SHA384"))):
            out, err = psk_get(self.alice, "/capabilities", *options)
            self.assertIn(capable, out, (options, err))
        for identity, psk in (("only256", PSK), ("short", SHORT_PSK), ("text", b"a-text-as-a-key!".hex())):
            out, err = psk_get(self.alice, "/capabilities", identity=identity, psk=psk)
            self.assertIn(capable, out, err)
        # s_client's PSKs are of SHA-256
        out, err = psk_get(self.alice, "/capabilities", identity="only384")
        self.assertEqual(out, "")

    def test_psk_of_our_own_client(self):
        # SKIP's required suite is one of SHA-384, which s_client's PSKs cannot do
        for identity, rule, hash_words, works in (("enc-a-psk", "any", "", True), ("enc-a-psk", "any", "hash sha384", True),
                                                  ("enc-a-psk", "any", "hash sha256", True), ("only384", "384", "hash sha384", True),
                                                  ("only256", "256", "hash sha256", True)):
            path = os.path.join(self.directory, "ppk.conf")
            with open(path, "w", encoding="ascii") as f:
                os.chmod(path, 0o600)
                f.write(f"sks profile p type remote\n kme server ipv4 127.0.0.1 port {self.alice.port}\n"
                        f" tls psk id {identity} key hex {PSK} {hash_words}\n")
            done = subprocess.run([os.environ["PPKCTL"], "capabilities", "--config", path], stdin=subprocess.DEVNULL,
                                  capture_output=True, text=True, timeout=30, check=False)
            self.assertEqual("local identifier: Alice" in done.stdout, works, (rule, hash_words, done.stdout, done.stderr))

    def test_wrong_psk(self):
        for options in (["-tls1_3"], ["-tls1_2", "-cipher", "DHE-PSK-AES256-CBC-SHA384"]):
            for identity, psk in (("enc-a-psk", "ff" * 32), ("nobody", PSK), ("enc-b-psk", PSK), ("enc-a", PSK), ("", PSK)):
                out, _ = psk_get(self.alice, "/capabilities", *options, identity=identity, psk=psk)
                self.assertEqual(out, "", (options, identity))
        self.assertNotIn(": capabilities", self.alice.log())
        self.assertIn("PSK identity 'nobody' is nobody's", self.alice.log())

    def test_certificate_suites_of_tls12(self):
        for suite, works in (("ECDHE-ECDSA-AES256-GCM-SHA384", True), ("ECDHE-ECDSA-AES128-GCM-SHA256", False),
                             ("ECDHE-ECDSA-CHACHA20-POLY1305", False)):
            client = self.client("enc-a", self.alice)
            client.context.maximum_version = ssl.TLSVersion.TLSv1_2
            client.context.set_ciphers(suite)
            if works:
                self.assertEqual(client.get("/capabilities")[0], 200)
            else:
                self.refused(client)

    def test_old_tls_is_refused(self):
        done = subprocess.run(["openssl", "s_client", "-connect", f"127.0.0.1:{self.alice.port}", "-tls1_1", "-cipher", "ALL:@SECLEVEL=0"],
                              stdin=subprocess.DEVNULL, capture_output=True, timeout=20, check=False)
        self.assertNotEqual(done.returncode, 0)

    def test_no_tls_at_all(self):
        with socket.create_connection(("127.0.0.1", self.alice.port), timeout=10) as s:
            s.sendall(b"GET /capabilities HTTP/1.1\r\nHost: x\r\n\r\n")
            answer = b""
            try:
                while part := s.recv(4096):
                    answer += part
            except ConnectionError:
                pass
        self.assertNotIn(b"HTTP/", answer)
        self.assertNotIn(b"localSystemID", answer)

    def test_an_answer_is_one_record(self):
        for path in ("/key?remoteSystemID=Bob", "/capabilities", "/nothing"):
            with socket.create_connection(("127.0.0.1", self.alice.port), timeout=5) as plain, \
                    self.a.context.wrap_socket(plain, server_hostname="localhost") as tls:
                tls.sendall(f"GET {path} HTTP/1.1\r\nHost: skip\r\n\r\n".encode())
                answer = tls.recv(1 << 16)  # of one record at most
            self.assertTrue(answer.startswith(b"HTTP/1.1 ") and answer.endswith(b"}"), answer)

    def test_clean_close(self):
        # a client that asks for the end of the connection gets TLS's close_notify: no truncation
        client = self.client("enc-a", self.alice)
        client.context.options &= ~getattr(ssl, "OP_IGNORE_UNEXPECTED_EOF", 0)
        with socket.create_connection(("127.0.0.1", self.alice.port), timeout=10) as raw:
            with client.context.wrap_socket(raw, server_hostname="127.0.0.1", suppress_ragged_eofs=False) as s:
                s.sendall(b"GET /capabilities HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
                answer = b""
                while part := s.recv(4096):
                    answer += part
        self.assertIn(b"localSystemID", answer)


class ServerAuthOnly(PairCase):
    start_both = False

    def test_only_where_it_is_configured(self):
        self.alice.clients += "client anybody\n tls server-auth-only\n permit capabilities\n"
        self.alice.start()
        anybody = self.client(None, self.alice)
        self.assertEqual(anybody.get("/capabilities")[0], 200)
        self.assertEqual(anybody.get("/key?remoteSystemID=Bob")[0], 403)
        # a certificate that is of nobody does not make one anybody
        self.assertEqual(self.client("stranger", self.alice).get("/capabilities")[0], 403)
        self.assertEqual(self.client("enc-a", self.alice).get("/entropy")[0], 200)


class Links(PairCase):
    """Between key sources."""
    start_both = False

    def test_mutual_certificates(self):
        for source, other in ((self.alice, "bob"), (self.bob, "alice")):
            source.peers = source.peers.replace(f" tls psk id link key hex f0{PSK[2:]}\n", f" certificate subject CN={other}\n")
            source.start()
        self.bob.wait_log("peer 'Alice': link is up")
        self.alice.wait_log("peer 'Bob': link is up")
        status, new = self.a.new_key("Bob")
        self.assertEqual(status, 200)
        self.assertEqual(self.b.by_id(new["keyId"], "Alice"), (200, new))

    def test_by_name_and_by_ipv6(self):
        self.alice.peers = self.alice.peers.replace("address ipv4 127.0.0.1", "address hostname localhost")
        self.bob.peers = self.bob.peers.replace("address ipv4 127.0.0.1", "address ipv6 ::1")
        self.alice.extra += f"listen peers ipv6 ::1 port {self.alice.peers_port}\n"
        self.bob.start()
        self.alice.start()
        self.bob.wait_log("peer 'Alice': link is up")
        self.alice.wait_log("peer 'Bob': link is up")
        self.assertEqual(self.a.new_key("Bob")[0], 200)
        self.assertEqual(self.b.new_key("Alice")[0], 200)

    def down(self, alice, reason):
        self.alice.wait_log(reason)
        status, answer = self.a.new_key("Bob")
        self.assertEqual(status, 503, answer)
        self.assertIn("Bob", answer["error"])
        self.assertNotIn("link is up", alice.log())

    def test_another_certificate_of_the_same_ca(self):
        for source, other in ((self.alice, "mallory"), (self.bob, "alice")):
            source.peers = source.peers.replace(f" tls psk id link key hex f0{PSK[2:]}\n", f" certificate subject CN={other}\n")
            source.start()
        self.down(self.alice, "not this peer's certificate: certificate 'CN=bob'")

    def test_wrong_psk(self):
        self.bob.peers = self.bob.peers.replace("key hex f0", "key hex f1")
        self.bob.start()
        self.alice.start()
        self.down(self.alice, "peer 'Bob': link is down")

    def test_psk_expected_certificate_served(self):
        self.bob.peers = self.bob.peers.replace(f" tls psk id link key hex f0{PSK[2:]}\n", " certificate subject CN=alice\n")
        self.bob.start()
        self.alice.start()
        self.down(self.alice, "peer 'Bob': link is down")

    def test_led_back_to_itself(self):
        # with one PSK for both directions, whoever sits in between could lead our own connection back to us
        self.alice.peers = self.alice.peers.replace(f"port {self.bob.peers_port}", f"port {self.alice.peers_port}")
        self.alice.start()
        self.down(self.alice, "it says that it is 'Alice'")

    def test_a_client_is_no_peer(self):
        self.alice.start()
        out, _ = psk_get(self.alice, "/", identity="link", psk="f0" + PSK[2:])
        self.assertEqual(out, "")
        with self.assertRaises((OSError, http.client.HTTPException)):
            client = Client(self.directory, "enc-a", self.alice, timeout=3)
            client.source = type("peers", (), {"port": self.alice.peers_port})
            client.raw("/capabilities")
        self.alice.wait_log("no peer of ours")


if __name__ == "__main__":
    unittest.main()
