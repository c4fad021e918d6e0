# SPDX-License-Identifier: BSD-2-Clause
"""Two skipd whose link leads through somebody who repeats, delays and so reorders, loses and replays what they say to each other, and
cuts their connections: he has both their certificates. Each key that one end delivered is at the other, once, and the same."""
import collections
import heapq
import os
import random
import select
import socket
import ssl
import struct
import threading
import time
import unittest

from keysource import PairCase, free_port

PUT, ACK = 2, 3


class Disorder:
    """What leads to a key source's peers port, and what it did."""

    def __init__(self, directory, port, target):
        self.target, self.ending, self.done, self.lock = target, False, collections.Counter(), threading.Lock()
        self.random = random.Random(0)
        self.puts = []  # of all connections: a stopped process or a slow network may bring them late
        self.server = self.context(directory, "bob", ssl.PROTOCOL_TLS_SERVER)
        self.client = self.context(directory, "alice", ssl.PROTOCOL_TLS_CLIENT)
        self.listener = socket.create_server(("127.0.0.1", port))
        self.threads = [threading.Thread(target=self.accept, daemon=True)]
        self.threads[0].start()

    @staticmethod
    def context(directory, name, protocol):
        context = ssl.SSLContext(protocol)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(os.path.join(directory, "ca.pem"))
        context.load_cert_chain(os.path.join(directory, name + ".pem"), os.path.join(directory, name + ".key"))
        return context

    def end(self):
        self.ending = True
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        for thread in list(self.threads):
            thread.join(10)

    def accept(self):
        while not self.ending:
            try:
                raw, _ = self.listener.accept()
            except OSError:
                return
            thread = threading.Thread(target=self.serve, args=(raw,), daemon=True)
            self.threads.append(thread)
            thread.start()

    def serve(self, raw):
        try:
            raw.settimeout(5)
            with self.server.wrap_socket(raw, server_side=True) as near, \
                    self.client.wrap_socket(socket.create_connection(("127.0.0.1", self.target), timeout=5)) as far:
                Connection(self, near, far).run()
        except (OSError, EOFError):
            pass

    def luck(self, what, chance):
        with self.lock:
            if self.random.random() >= chance:
                return False
            self.done[what] += 1
            return True


class Connection:
    """One connection of the initiator's (near), and his own one to the responder (far)."""

    def __init__(self, disorder, near, far):
        self.disorder, self.other, self.unread = disorder, {near: far, far: near}, {near: b"", far: b""}
        self.later, self.count, self.acks = [], 0, []

    def send_later(self, to, frame, delay):
        self.count += 1
        heapq.heappush(self.later, (time.monotonic() + delay, self.count, to, frame))

    def delay(self):
        return random.random() * 0.1 if self.disorder.luck("delayed", 0.3) else 0

    def message(self, to, frame):
        kind, luck = frame[2], self.disorder.luck
        if kind not in (PUT, ACK):
            self.send_later(to, frame, 0)
            return
        before = self.disorder.puts if kind == PUT else self.acks
        before.append(frame)
        name = "put" if kind == PUT else "ack"
        if luck(f"{name} lost", 0.01):
            return
        self.send_later(to, frame, self.delay())
        if luck(f"{name} repeated", 0.2):
            self.send_later(to, frame, self.delay())
        if luck(f"{name} replayed", 0.1):
            self.send_later(to, random.choice(before), self.delay())

    def read(self, source):
        data = source.recv(65536)
        if not data:
            raise EOFError
        self.unread[source] += data
        while (data := self.unread[source])[4:] and len(data) >= (length := 4 + struct.unpack(">H", data[:2])[0]):
            self.message(self.other[source], data[:length])
            self.unread[source] = data[length:]

    def run(self):
        while not self.disorder.ending:
            wait = max(0, min(0.05, self.later[0][0] - time.monotonic())) if self.later else 0.05
            for source in [s for s in self.other if s.pending()] or select.select(list(self.other), [], [], wait)[0]:
                self.read(source)
            while self.later and self.later[0][0] <= time.monotonic():
                _, _, to, frame = heapq.heappop(self.later)
                to.sendall(frame)
                if self.disorder.luck("cut", 0.002):
                    return


class DisorderCase(PairCase):
    extra = "lifetime 600\nsync-timeout 2000\nmax-requests 1000 per-second 100000\n"
    link_certificates = True
    start_both = False
    THREADS, KEYS = 8, 60

    def more_configuration(self):
        port = free_port()
        self.disorder = Disorder(self.directory, port, self.bob.peers_port)
        self.addCleanup(self.disorder.end)
        self.alice.peers = self.alice.peers.replace(f"port {self.bob.peers_port}", f"port {port}")

    def settle(self, ask):
        """The answer when the key source is there, and not busy."""
        end = time.monotonic() + 20
        while True:
            status, answer = ask()
            if status in (200, 400) or time.monotonic() > end:
                return status, answer
            time.sleep(0.05)

    def work(self, number):
        """New keys at one end, each then asked for twice at the other, some at once, some later."""
        try:
            a, b, later = self.client("enc-a", self.alice), self.client("enc-b", self.bob), []
            for _ in range(self.KEYS):
                status, new = a.new_key("Bob")
                self.statuses[status] += 1
                if status == 200:
                    later.append(new)
                elif status != 503:
                    self.wrong.append((status, new))
                while later and (len(later) > 10 or random.random() < 0.5):
                    self.fetch(b, later.pop(random.randrange(len(later))))
            for new in later:
                self.fetch(b, new)
            a.close()
            b.close()
        except Exception as e:  # a thread that ends is a failure
            self.wrong.append((number, repr(e)))

    def fetch(self, client, new):
        got = self.settle(lambda: client.by_id(new["keyId"], "Alice"))
        if got != (200, new):
            self.wrong.append(("not the key that the other end has", new["keyId"], got[0]))
        if (status := self.settle(lambda: client.by_id(new["keyId"], "Alice"))[0]) != 400:
            self.wrong.append(("twice", new["keyId"], status))
        self.fetched.append(new)

    def test_messages_repeated_reordered_lost_replayed(self):
        self.bob.start()
        self.alice.start()
        self.alice.wait_log("peer 'Bob': link is up")
        self.statuses, self.wrong, self.fetched = collections.Counter(), [], []
        threads = [threading.Thread(target=self.work, args=(n,)) for n in range(self.THREADS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(120)
        # whatever still comes late brings nothing back
        for new in random.sample(self.fetched, min(50, len(self.fetched))):
            if self.settle(lambda: self.b.by_id(new["keyId"], "Alice"))[0] != 400:
                self.wrong.append(("there again", new["keyId"]))
        print(f"new keys: {dict(self.statuses)}, fetched: {len(self.fetched)}, disorder: {dict(self.disorder.done)}, wrong: {len(self.wrong)}")
        self.assertEqual(self.wrong, [])
        self.assertEqual(len(self.fetched), self.statuses[200])
        self.assertGreater(len(self.fetched), self.THREADS * self.KEYS // 2)
        for what in ("delayed", "put repeated", "ack repeated", "put replayed", "ack replayed"):
            self.assertGreater(self.disorder.done[what], 5, what)


if __name__ == "__main__":
    unittest.main()
