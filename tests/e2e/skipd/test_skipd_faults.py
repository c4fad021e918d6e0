# SPDX-License-Identifier: BSD-2-Clause
"""What happens to a store and to time: damage in a value and in the file, a disk that hangs, a wall clock that jumps."""
import http.client
import os
import signal
import struct
import threading
import time
import unittest

from keysource import PairCase, store_of

DAY = 86400


class Damage(PairCase):
    def test_one_damaged_value(self):
        # it is told as such, once; the others go on, and no wrong key ever goes out
        new = [self.a.new_key("Bob")[1] for _ in range(3)]
        self.bob.end()
        with store_of(self.bob) as db:
            sealed = bytearray(db.execute("SELECT value FROM key WHERE id = ?", (bytes.fromhex(new[0]["keyId"]),)).fetchone()[0])
            sealed[len(sealed) // 2] ^= 1
            db.execute("UPDATE key SET value = ? WHERE id = ?", (bytes(sealed), bytes.fromhex(new[0]["keyId"])))
            # another key's value under this ID
            other = db.execute("SELECT value FROM key WHERE id = ?", (bytes.fromhex(new[2]["keyId"]),)).fetchone()[0]
            db.execute("UPDATE key SET value = ? WHERE id = ?", (other, bytes.fromhex(new[1]["keyId"])))
        self.bob.start()
        for damaged in new[:2]:
            status, answer = self.b.by_id(damaged["keyId"], "Alice")
            self.assertEqual((status, answer), (500, {"error": "the key could not be read"}))
        self.assertEqual(self.b.by_id(new[2]["keyId"], "Alice"), (200, new[2]))
        self.assertIn("store: a key is damaged, or of another master key", self.bob.log())

    def test_file_is_damaged_while_it_is_used(self):
        # requests may fail, but no key goes out that is not the one, and none twice
        new = [self.a.new_key("Bob")[1] for _ in range(200)]
        got = [self.b.by_id(key["keyId"], "Alice") for key in new[:20]]
        self.assertEqual(got, [(200, key) for key in new[:20]])
        for name in ("db", "db-wal"):
            path = self.bob.file(name)
            with open(path, "r+b") as f:
                f.seek(min(4096, os.path.getsize(path)))
                f.write(b"\xa5" * max(os.path.getsize(path) - 4096, 0))
        for key in new[:20]:
            self.assertIn(self.b.by_id(key["keyId"], "Alice")[0], (400, 500))
        for key in new[20:]:
            status, answer = self.b.by_id(key["keyId"], "Alice")
            self.assertIn(status, (200, 400, 500))
            if status == 200:
                self.assertEqual(answer, key)
        for _ in range(5):
            self.assertIn(self.a.new_key("Bob")[0], (200, 503))
        self.assertEqual(self.b.get("/capabilities")[0], 200)
        self.bob.end()
        with self.assertRaises(AssertionError):
            self.bob.start()
        self.assertIn("store: ", self.bob.log()[-600:])


@unittest.skipIf(os.environ.get("SKIPD_SANITIZED"), "the sanitizers want to be loaded first")
class SlowDisk(PairCase):
    start_both = False

    def test_end_while_the_disk_hangs(self):
        # a key whose erasing is done only when nobody can be answered any more stays for its client
        held = os.path.join(self.directory, "held")
        self.bob.environment = {"LD_PRELOAD": os.environ["HELD_SYNC_LIBRARY"], "HELD_SYNC": held}
        self.alice.start()
        self.bob.start()
        self.alice.wait_log("peer 'Bob': link is up")
        new, answers = self.a.new_key("Bob")[1], []
        client = self.client("enc-b", self.bob, timeout=30)
        self.assertEqual(client.get("/capabilities")[0], 200)
        with open(held, "wb"):
            pass

        def ask():
            try:
                answers.append(client.by_id(new["keyId"], "Alice"))
            except (OSError, http.client.HTTPException) as e:
                answers.append(e)

        asking = threading.Thread(target=ask)
        asking.start()
        end = time.monotonic() + 20
        while os.path.getsize(held) == 0:
            self.assertLess(time.monotonic(), end)
            time.sleep(0.01)
        self.bob.process.send_signal(signal.SIGTERM)
        while os.path.exists(self.bob.file("ready")):  # removed when no more is answered
            self.assertLess(time.monotonic(), end)
            time.sleep(0.01)
        os.unlink(held)
        self.assertEqual(self.bob.process.wait(timeout=20), 0)
        asking.join(20)
        self.assertEqual(len(answers), 1)
        self.assertIsInstance(answers[0], Exception)
        self.bob.start()
        self.assertEqual(self.b.by_id(new["keyId"], "Alice"), (200, new))


@unittest.skipIf(os.environ.get("SKIPD_SANITIZED"), "the sanitizers want to be loaded first")
class Clock(PairCase):
    extra = "lifetime 4\nsync-timeout 1000\n"
    start_both = False

    def jump(self, seconds):
        with open(self.path, "r+b") as f:
            f.write(struct.pack("=q", seconds))

    def setUp(self):
        super().setUp()
        self.path = os.path.join(self.directory, "jump")
        with open(self.path, "wb") as f:
            f.write(struct.pack("=q", 0))
        self.bob.environment = {"LD_PRELOAD": os.environ["CLOCK_JUMP_LIBRARY"], "CLOCK_JUMP": self.path}
        self.alice.start()
        self.bob.start()
        self.alice.wait_log("peer 'Bob': link is up")

    def test_wall_clock_jumps(self):
        # neither way do keys live longer or shorter, also not across a restart
        for seconds in (1000 * DAY, -1000 * DAY):
            self.jump(0)
            new = [self.a.new_key("Bob")[1] for _ in range(3)]
            self.jump(seconds)
            self.assertEqual(self.b.by_id(new[0]["keyId"], "Alice"), (200, new[0]))
            self.bob.kill9()
            self.bob.start()
            self.assertEqual(self.b.by_id(new[1]["keyId"], "Alice"), (200, new[1]))
            self.assertEqual(self.b.by_id(new[0]["keyId"], "Alice")[0], 400)
            time.sleep(7.5)
            self.assertEqual(self.b.by_id(new[2]["keyId"], "Alice")[0], 400)
            self.alice.wait_log("peer 'Bob': link is up")
        year = time.gmtime(time.time() - 1000 * DAY).tm_year
        self.assertIn(f"{year}-", self.bob.log())  # the jump was one


if __name__ == "__main__":
    unittest.main()
