# SPDX-License-Identifier: BSD-2-Clause
"""A peer of ours speaks to skipd's link byte by byte: repeated, reordered, conflicting and malformed messages."""
import os
import socket
import ssl
import struct
import time
import unittest

from keysource import PairCase

HELLO, PUT, ACK, PING, PONG = 1, 2, 3, 4, 5
OK, CONFLICT, DELIVERED, UNKNOWN, FULL, FAILED = range(6)


def frame(kind, body, version=1):
    return struct.pack(">HBB", len(body), kind, version) + body


def text(s):
    octets = s if isinstance(s, bytes) else s.encode()
    return bytes((len(octets),)) + octets


def put(number, key_id, key, initiator="Alice", responder="Bob", ttl=600):
    return frame(PUT, struct.pack(">QI", number, ttl) + bytes((len(key_id),)) + key_id + text(initiator) + text(responder)
                 + struct.pack(">H", len(key)) + key)


class Peer:
    """Alice's end of a link to Bob."""

    def __init__(self, case, name="alice", hello="Alice"):
        context = ssl.create_default_context(cafile=os.path.join(case.directory, "ca.pem"))
        context.load_cert_chain(os.path.join(case.directory, name + ".pem"), os.path.join(case.directory, name + ".key"))
        raw = socket.create_connection(("127.0.0.1", case.bob.peers_port), timeout=10)
        self.socket = context.wrap_socket(raw, server_hostname="127.0.0.1")
        case.addCleanup(self.socket.close)
        if hello is not None:
            self.send(frame(HELLO, text(hello)))
            case.assertEqual(self.receive(), (HELLO, text("Bob")))

    def send(self, data):
        self.socket.sendall(data)

    def exactly(self, count):
        data = b""
        while len(data) < count:
            part = self.socket.recv(count - len(data))
            if not part:
                raise EOFError
            data += part
        return data

    def receive(self):
        length, kind, version = struct.unpack(">HBB", self.exactly(4))
        assert version == 1
        return kind, self.exactly(length)

    def acks(self, count):
        """{number: result} of so many ACKs."""
        found = {}
        for _ in range(count):
            kind, body = self.receive()
            assert kind == ACK, kind
            number, result = struct.unpack(">QB", body)
            assert number not in found
            found[number] = result
        return found


class Link(PairCase):
    start_both = False
    link_certificates = True

    def setUp(self):
        super().setUp()
        self.bob.start()

    def closed(self, peer):
        with self.assertRaises((EOFError, ConnectionError, ssl.SSLError)):
            peer.receive()

    def test_repeated_messages(self):
        peer, key_id, key = Peer(self), os.urandom(16), os.urandom(32)
        peer.send(put(1, key_id, key) * 1 + put(2, key_id, key) + put(3, key_id, os.urandom(32)) + put(4, key_id, key[:31]))
        self.assertEqual(peer.acks(4), {1: OK, 2: OK, 3: CONFLICT, 4: CONFLICT})
        again = Peer(self)
        again.send(put(1, key_id, key))
        self.assertEqual(again.acks(1), {1: OK})
        self.assertEqual(self.b.by_id(key_id.hex(), "Alice"), (200, {"keyId": key_id.hex(), "key": key.hex()}))
        for p in (peer, again):
            p.send(put(9, key_id, key))
            self.assertEqual(p.acks(1), {9: DELIVERED})
        self.assertEqual(self.b.by_id(key_id.hex(), "Alice")[0], 400)

    def test_repeated_after_a_crash(self):
        peer, key_id, key = Peer(self), os.urandom(16), os.urandom(32)
        peer.send(put(1, key_id, key))
        self.assertEqual(peer.acks(1), {1: OK})
        self.bob.kill9()
        self.bob.start()
        peer = Peer(self)
        peer.send(put(1, key_id, key))
        self.assertEqual(peer.acks(1), {1: OK})
        self.assertEqual(self.b.by_id(key_id.hex(), "Alice")[1]["key"], key.hex())
        self.bob.kill9()
        self.bob.start()
        peer = Peer(self)
        peer.send(put(1, key_id, key))
        self.assertEqual(peer.acks(1), {1: DELIVERED})

    def test_acknowledged_is_durable(self):
        peer = Peer(self)
        keys = {n: (os.urandom(16), os.urandom(32)) for n in range(300)}
        peer.send(b"".join(put(n, *k) for n, k in keys.items()))
        acknowledged = peer.acks(100)
        self.bob.kill9()
        self.bob.start()
        self.assertEqual(set(acknowledged.values()), {OK})
        for number in acknowledged:
            key_id, key = keys[number]
            self.assertEqual(self.b.by_id(key_id.hex(), "Alice")[1].get("key"), key.hex())

    def test_ids_of_other_lengths(self):
        peer = Peer(self)
        for number, length in enumerate((1, 24, 128)):
            key_id, key = os.urandom(length), os.urandom(48)
            peer.send(put(number, key_id, key))
            self.assertEqual(peer.acks(1), {number: OK})
            self.assertEqual(self.b.by_id(key_id.hex().upper(), "Alice"), (200, {"keyId": key_id.hex(), "key": key.hex()}))

    def test_only_its_own_systems_and_only_ours(self):
        peer, key = Peer(self), os.urandom(32)
        for number, (initiator, responder) in enumerate((("Carol", "Bob"), ("Alice", "Carol"), ("Bob", "Bob"), ("Alice", "Alice"))):
            peer.send(put(number, os.urandom(16), key, initiator, responder))
            self.assertEqual(peer.acks(1), {number: UNKNOWN})

    def test_not_in_the_name_of_our_own_clients(self):
        # a peer for all other systems is none for those of this key source's clients
        self.bob.clients += "client third\n certificate san stranger\n system-id Bob-3\n"
        self.bob.peers += " remote-system-id *\n"
        self.bob.reload()
        peer, key_id, key = Peer(self, "carol", "Carol"), os.urandom(16), os.urandom(32)
        peer.send(put(1, key_id, key, "Bob-3", "Bob") + put(2, key_id, key, "Bob", "Bob-3"))
        self.assertEqual(peer.acks(2), {1: UNKNOWN, 2: UNKNOWN})
        self.assertEqual(self.b.by_id(key_id.hex(), "Bob-3")[0], 400)
        peer.send(put(3, key_id, key, "Dora", "Bob-3"))
        self.assertEqual(peer.acks(1), {3: OK})

    def test_in_pieces_and_with_pings(self):
        peer, key_id, key = Peer(self), os.urandom(16), os.urandom(32)
        data = frame(PING, struct.pack(">Q", 77)) + put(5, key_id, key)
        for i in range(len(data)):
            peer.send(data[i:i + 1])
        self.assertEqual(peer.receive(), (PONG, struct.pack(">Q", 77)))
        self.assertEqual(peer.acks(1), {5: OK})

    def test_malformed(self):
        good = put(1, os.urandom(16), os.urandom(32))
        for data in (frame(PING, b"1234567"), frame(PING, b"123456789"), frame(PING, b"12345678", version=2), frame(99, b""),
                     b"GET / HTTP/1.1\r\n\r\n", b"\xff" * 64, frame(PUT, good[4:-1]), frame(PUT, good[4:] + b"x"),
                     put(1, b"", b"k"), put(1, b"i", b""), put(1, b"i", b"k", ttl=0), put(1, b"i", b"k", ttl=1 << 31),
                     put(1, b"i" * 129, b"k"), put(1, b"i", b"k" * 1025), put(1, b"i", b"k", initiator="A*"),
                     put(1, b"i", b"k", responder="B\0b"),
                     put(1, b"i", b"k", initiator=b"Ali\xffce"), put(1, b"i", b"k", responder=b"Bob\xc3"), frame(HELLO, text("Alice")), frame(ACK, struct.pack(">QB", 1, 0))):
            peer = Peer(self)
            peer.send(data)
            self.closed(peer)
        peer = Peer(self)
        peer.send(good)
        self.assertEqual(peer.acks(1), {1: OK})

    def test_who_it_is_comes_first(self):
        for first in (put(1, b"i", b"k"), frame(PING, b"12345678")):
            peer = Peer(self, hello=None)
            peer.send(first)
            self.closed(peer)
        for name in ("Carol", "Bob", "alice"):
            peer = Peer(self, hello=None)
            peer.send(frame(HELLO, text(name)))
            self.closed(peer)
        for name in ("stranger", "enc-a", "bob"):
            peer = Peer(self, name=name, hello=None)
            peer.send(frame(HELLO, text("Alice")))
            self.closed(peer)
        self.bob.wait_log("no peer of ours: certificate 'CN=stranger'")

    def test_silence_is_not_waited_for(self):
        peer = Peer(self, hello=None)
        began = time.monotonic()
        self.closed(peer)
        self.assertLess(time.monotonic() - began, 9)

    def test_a_flood(self):
        # more than may be on its way at once, from a sender that reads nothing meanwhile: all is answered in the end
        peer = Peer(self)
        count = 6000
        ids = [os.urandom(16) for _ in range(count)]
        peer.socket.settimeout(60)
        sent = b"".join(put(n, key_id, key_id * 2) for n, key_id in enumerate(ids))
        for i in range(0, len(sent), 100000):
            peer.send(sent[i:i + 100000])
        self.assertEqual(set(peer.acks(count).values()), {OK})
        for key_id in ids[::500]:
            self.assertEqual(self.b.by_id(key_id.hex(), "Alice")[1]["key"], (key_id * 2).hex())

    def more_configuration(self):
        self.authority.sign("carol", "DNS:localhost,IP:127.0.0.1")
        self.bob.peers += "peer Carol\n certificate subject CN=carol\n"

    def test_one_peer_with_many_links(self):
        # it has some, and what it wants beyond is closed, whether or not it says HELLO: there is room for others
        links = [Peer(self) for _ in range(16)]
        for hello in ("Alice", None) * 5:
            with self.assertRaises((EOFError, ConnectionError, ssl.SSLError)):
                Peer(self, hello=hello).receive()
        self.bob.wait_log("connection closed: it has 16 connections already")
        Peer(self, name="carol", hello="Carol")
        for peer in links:
            peer.send(frame(PING, b"12345678"))
            self.assertEqual(peer.receive(), (PONG, b"12345678"))
        links[3].socket.close()
        end = time.monotonic() + 10
        while True:
            try:
                Peer(self)
                break
            except (EOFError, ConnectionError, ssl.SSLError):
                self.assertLess(time.monotonic(), end)

    def test_a_peer_that_does_not_read(self):
        # its answers are not kept without bound, also when it reads a little now and then
        def memory():
            with open(f"/proc/{self.bob.process.pid}/status", encoding="ascii") as f:
                return int(next(line for line in f if line.startswith("VmRSS")).split()[1])

        peer, before, sent = Peer(self), memory(), 0
        pings = frame(PING, b"12345678") * 20000
        with self.assertRaises((ConnectionError, ssl.SSLError)):
            while sent < 100 << 20:
                peer.send(pings)
                sent += len(pings)
                peer.socket.recv(4096)
        self.bob.wait_log("connection closed: it does not read what it is answered")
        if not os.environ.get("SKIPD_SANITIZED"):
            self.assertLess(memory() - before, 16 << 10)
        Peer(self)


if __name__ == "__main__":
    unittest.main()
