# SPDX-License-Identifier: BSD-2-Clause
"""What is promised across two key sources: durable before it is answered, exactly once, until it expires."""
import os
import resource
import signal
import socket
import threading
import time
import unittest

from keysource import KeySource, PairCase, PSK, store_of


class Sync(PairCase):
    extra = "lifetime 600\nsync-timeout 700\n"

    def test_durable_before_the_answer(self):
        # the peer dies the moment that the answer is here: the key is on its disk
        for _ in range(5):
            status, new = self.a.new_key("Bob")
            self.bob.kill9()
            self.assertEqual(status, 200)
            self.bob.start()
            self.assertEqual(self.b.by_id(new["keyId"], "Alice"), (200, new))
            self.wait_up()

    def wait_up(self):
        end = time.monotonic() + 10
        while self.a.new_key("Bob")[0] != 200:
            self.assertLess(time.monotonic(), end)
            time.sleep(0.05)

    def test_once_also_after_a_crash(self):
        new = self.a.new_key("Bob")[1]
        self.assertEqual(self.b.by_id(new["keyId"], "Alice"), (200, new))
        self.bob.kill9()
        self.bob.start()
        status, answer = self.b.by_id(new["keyId"], "Alice")
        self.assertEqual((status, "delivered already" in answer["error"]), (400, True))

    def test_clean_restart_keeps_keys(self):
        new = [self.a.new_key("Bob")[1] for _ in range(10)]
        self.assertEqual(self.bob.end(), 0)
        self.bob.start()
        self.bob.wait_log("10 keys are waiting")
        for key in new:
            self.assertEqual(self.b.by_id(key["keyId"], "Alice"), (200, key))

    def test_peer_down(self):
        self.bob.end()
        self.alice.wait_log("peer 'Bob': link is down")
        began = time.monotonic()
        status, answer = self.a.new_key("Bob")
        self.assertEqual(status, 503)
        self.assertIn("'Bob' is down", answer["error"])
        self.assertLess(time.monotonic() - began, 5)
        self.assertEqual(self.a.get("/capabilities")[0], 200)
        self.bob.start()
        self.wait_up()

    def test_peer_hangs(self):
        # a peer that takes everything and says nothing: 503 within the bound; other requests do not wait for it
        self.bob.process.send_signal(signal.SIGSTOP)
        try:
            results = []
            other = self.client("enc-a", self.alice)
            ask = threading.Thread(target=lambda: results.append(self.a.new_key("Bob")))
            ask.start()
            for _ in range(20):
                self.assertEqual(other.get("/entropy")[0], 200)
            self.assertFalse(results)
            ask.join(10)
            self.assertEqual(results[0][0], 503)
            self.assertRegex(results[0][1]["error"], "did not confirm the key within 700 ms|does not answer")
        finally:
            self.bob.process.send_signal(signal.SIGCONT)
        self.wait_up()

    def test_peer_is_a_black_hole(self):
        # TCP connects, and then nothing: after the first attempt has failed, nobody waits for the next ones
        self.bob.end()
        with socket.socket() as hole:
            hole.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            hole.bind(("127.0.0.1", self.bob.peers_port))
            hole.listen(16)
            self.alice.wait_log("no connection within 3 seconds")
            for _ in range(30):
                began = time.monotonic()
                status, answer = self.a.new_key("Bob")
                self.assertEqual(status, 503)
                self.assertIn("no connection within 3 seconds", answer["error"])
                self.assertLess(time.monotonic() - began, 0.5)
                time.sleep(0.02)
        self.bob.start()
        self.wait_up()

    def test_full_disk(self):
        # files may not grow: new keys are refused with the reason, keys that are there are not lost, and then all goes on
        kept = [self.a.new_key("Bob")[1] for _ in range(5)]
        pid = self.bob.process.pid
        before = resource.prlimit(pid, resource.RLIMIT_FSIZE)
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (os.stat(self.bob.file("db-wal")).st_size, before[1]))
        status, answer = self.a.new_key("Bob")
        self.assertEqual(status, 503)
        self.assertIn("could not store the key", answer["error"])
        self.assertEqual(self.b.by_id(kept[0]["keyId"], "Alice")[0], 500)
        resource.prlimit(pid, resource.RLIMIT_FSIZE, before)
        for new in kept:
            self.assertEqual(self.b.by_id(new["keyId"], "Alice"), (200, new))
        self.assertEqual(self.a.new_key("Bob")[0], 200)
        self.assertIn("error: store: ", self.bob.log())

    def test_one_peer_down_others_go_on(self):
        carol = KeySource(self.directory, "Carol")
        self.assertIn("no such system", self.a.new_key("Carol")[1]["error"])
        self.alice.end()
        self.alice.peer(carol, f"tls psk id carol key hex {PSK}")
        self.alice.start()
        self.alice.wait_log("peer 'Carol': link is down")
        self.wait_up()
        self.assertEqual(self.a.new_key("Carol")[0], 503)
        self.assertEqual(self.a.new_key("Bob")[0], 200)

    def test_a_peer_speaks_for_its_own_systems_only(self):
        # Bob takes keys of Alice's for nobody but its own clients
        self.alice.end()
        self.alice.peers = self.alice.peers.replace("peer Bob\n", "peer Bob\n remote-system-id Bob\n remote-system-id Other\n")
        self.alice.clients = self.alice.clients.replace("certificate san enc-a\n", "certificate san enc-a\n system-id Foreign\n")
        self.alice.start()
        end = time.monotonic() + 10
        while "is down" in (answer := self.a.new_key("Bob"))[1].get("error", "") and time.monotonic() < end:
            time.sleep(0.05)
        self.assertEqual(answer[0], 400, answer)
        self.assertIn("does not serve this system", answer[1]["error"])

    def test_wrong_master_key(self):
        self.bob.end()
        other = os.path.join(self.directory, "master2")
        with open(other, "w", encoding="ascii") as f:
            os.chmod(f.name, 0o600)
            f.write("another\n")
        self.addCleanup(os.unlink, other)
        self.bob.configure()
        path = self.bob.file("conf")
        with open(path, encoding="utf-8") as f:
            text = f.read().replace("master-key file master", "master-key file master2")

        def configure():
            with open(path, "w", encoding="utf-8") as f:
                f.write(text)

        self.bob.configure = configure
        with self.assertRaises(AssertionError):
            self.bob.start()
        self.assertIn("made with another master key", self.bob.log())

    def test_one_process_per_store(self):
        twin = KeySource(self.directory, "Bob")
        twin.clients, twin.peers, twin.log_path = self.bob.clients, self.bob.peers, self.bob.file("twin.log")
        with self.assertRaises(AssertionError):
            twin.start()
        with open(twin.log_path, encoding="utf-8") as f:
            self.assertIn("database is locked", f.read())
        self.assertEqual(self.a.new_key("Bob")[0], 200)

    def test_damaged_store_is_refused(self):
        for _ in range(30):
            self.a.new_key("Bob")
        self.bob.end()
        with open(self.bob.file("db"), "r+b") as f:
            f.seek(4096 + 8)
            f.write(b"\xff" * 2000)
        with self.assertRaises(AssertionError):
            self.bob.start()
        self.assertIn("store: ", self.bob.log())


class Expiry(PairCase):
    extra = "lifetime 1\nsync-timeout 500\n"

    def test_expiry(self):
        new = [self.a.new_key("Bob")[1] for _ in range(3)]
        self.assertEqual(self.b.by_id(new[0]["keyId"], "Alice"), (200, new[0]))
        time.sleep(1)  # the lifetime counts from the answer
        self.assertEqual(self.b.by_id(new[1]["keyId"], "Alice"), (200, new[1]))
        time.sleep(3.5)
        status, answer = self.b.by_id(new[2]["keyId"], "Alice")
        self.assertEqual((status, "no such key" in answer["error"]), (400, True))
        # nothing is left but the tombstone of the first (and second), for a minute
        self.bob.end()
        with store_of(self.bob) as db:
            self.assertEqual(db.execute("SELECT count(*), count(value) FROM key").fetchone(), (2, 0))

    def test_reboot(self):
        # after a reboot the wall clock decides, but never for more than the lifetime
        new = [self.a.new_key("Bob")[1] for _ in range(3)]
        self.bob.end()
        with store_of(self.bob) as db:
            db.execute("UPDATE fact SET value = ? WHERE name = 'boot'", (b"0" * 36,))
            rows = db.execute("SELECT hex(id) FROM key").fetchall()
            self.assertEqual(len(rows), 3)
            db.execute("UPDATE key SET wall = wall + 100000000 WHERE id = ?", (bytes.fromhex(new[0]["keyId"]),))
            db.execute("UPDATE key SET wall = wall - 100000000 WHERE id = ?", (bytes.fromhex(new[1]["keyId"]),))
            db.execute("UPDATE key SET expires = 1 WHERE id = ?", (bytes.fromhex(new[2]["keyId"]),))
        self.bob.start()
        self.assertEqual(self.b.by_id(new[1]["keyId"], "Alice")[0], 400)
        self.assertEqual(self.b.by_id(new[2]["keyId"], "Alice"), (200, new[2]))
        self.bob.end()
        with store_of(self.bob) as db:
            left, ttl = db.execute("SELECT expires, ttl FROM key WHERE id = ?", (bytes.fromhex(new[0]["keyId"]),)).fetchone()
        self.assertLessEqual(left - time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1000000, ttl)


class Full(PairCase):
    extra = "max-keys 5\n"

    def test_no_room(self):
        new = [self.a.new_key("Bob")[1] for _ in range(5)]
        status, answer = self.a.new_key("Bob")
        self.assertEqual(status, 503)
        self.assertIn("holds as many keys as it can", answer["error"])
        self.assertEqual(self.b.by_id(new[0]["keyId"], "Alice"), (200, new[0]))
        # what was fetched makes room, however often
        for _ in range(7):
            status, new[0] = self.a.new_key("Bob")
            self.assertEqual(status, 200)
            self.assertEqual(self.a.new_key("Bob")[0], 503)
            self.assertEqual(self.b.by_id(new[0]["keyId"], "Alice"), (200, new[0]))


if __name__ == "__main__":
    unittest.main()
