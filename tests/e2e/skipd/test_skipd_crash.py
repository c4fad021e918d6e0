# SPDX-License-Identifier: BSD-2-Clause
"""kill -9 at any moment: what was delivered at both ends is compared."""
import http.client
import os
import random
import threading
import time
import unittest

from keysource import PairCase

KILLS = int(os.environ.get("SKIPD_KILLS", "10" if os.environ.get("SKIPD_SANITIZED") else "25"))


class Load(threading.Thread):
    """A client that keeps asking, whatever fails."""

    def __init__(self, client, step):
        super().__init__()
        self.client, self.step, self.over = client, step, threading.Event()
        self.refused, self.broken, self.wrong = 0, 0, None

    def run(self):
        while not self.over.is_set() and self.wrong is None:
            try:
                if not self.step(self.client):
                    self.refused += 1
                    time.sleep(0.002)
            except (OSError, http.client.HTTPException):
                self.broken += 1
                time.sleep(0.01)
            except Exception as e:  # the test's own words
                self.wrong = e

    def end(self):
        self.over.set()
        self.join(20)
        if self.wrong is not None:
            raise self.wrong


class Crash(PairCase):
    extra = "lifetime 600\nsync-timeout 600\n"

    def setUp(self):
        super().setUp()
        seed = int(os.environ.get("SKIPD_SEED", random.randrange(1 << 32)))
        print(f"seed {seed}")
        self.random = random.Random(seed)

    def chaos(self, victims, kills, counts):
        """Kills one of them at a time; before each kill, each of `counts` has grown by two, however slow the machine is."""
        for _ in range(kills):
            victim = self.random.choice(victims)
            wanted, end = [count() + 2 for count in counts], time.monotonic() + 20
            while any(count() < n for count, n in zip(counts, wanted)) and time.monotonic() < end:
                time.sleep(0.002)
            time.sleep(self.random.uniform(0.0, 0.15))
            victim.kill9()
            time.sleep(self.random.uniform(0.0, 0.02))
            victim.start()

    def fetch_patiently(self, client, key_id, remote):
        end = time.monotonic() + 10
        while True:
            try:
                return client.by_id(key_id, remote)
            except (OSError, http.client.HTTPException):
                self.assertLess(time.monotonic(), end)

    def test_responder_dies_while_keys_are_made(self):
        """Every key that the initiator was given is at the other end: no exception."""
        given, lock = {}, threading.Lock()

        def ask(client):
            status, answer = client.new_key("Bob")
            if status != 200:
                return False
            with lock:
                self.assertNotIn(answer["keyId"], given)
                given[answer["keyId"]] = answer
            return True

        loads = [Load(self.client("enc-a", self.alice), ask) for _ in range(4)]
        for load in loads:
            load.start()
        self.chaos([self.bob, self.bob, self.alice], KILLS, [lambda: len(given)])
        for load in loads:
            load.end()
        self.assertGreater(len(given), KILLS)
        for key_id, answer in given.items():
            self.assertEqual(self.b.by_id(key_id, "Alice"), (200, answer))
            self.assertEqual(self.b.by_id(key_id, "Alice")[0], 400)

    def test_both_die_while_keys_are_made_and_fetched(self):
        """No key is ever delivered twice at the other end, or with another value. One whose delivery a crash cut off (the request had gone
        out, no answer came) may be gone; all others are there."""
        sides = []
        for source, other, name, far_name in ((self.alice, self.bob, "enc-a", "enc-b"), (self.bob, self.alice, "enc-b", "enc-a")):
            side = {"given": {}, "todo": [], "got": {}, "unclear": set(), "lock": threading.Lock()}
            sides.append((side, source, other, far_name))

            def ask(client, side=side, other=other):
                status, answer = client.new_key(other.name)
                if status != 200:
                    return False
                with side["lock"]:
                    side["given"][answer["keyId"]] = answer
                    side["todo"].append(answer["keyId"])
                return True

            def fetch(client, side=side, source=source):
                with side["lock"]:
                    if not side["todo"]:
                        return False
                    key_id = side["todo"].pop(self.random.randrange(len(side["todo"])))
                try:
                    status, answer = client.by_id(key_id, source.name)
                except (OSError, http.client.HTTPException):
                    with side["lock"]:
                        side["unclear"].add(key_id)
                    raise
                if status == 200:
                    with side["lock"]:
                        self.assertNotIn(key_id, side["got"])
                        side["got"][key_id] = answer
                    return True
                self.assertIn(status, (500, 503), (key_id, answer))
                with side["lock"]:
                    side["todo"].append(key_id)
                return False

            side["loads"] = [Load(self.client(name, source), ask) for _ in range(2)]
            side["loads"] += [Load(self.client(far_name, other), fetch) for _ in range(2)]
        for side, *_ in sides:
            for load in side["loads"]:
                load.start()
        self.chaos([self.alice, self.bob], KILLS,
                   [lambda what=what, side=side: len(side[what]) for side, *_ in sides for what in ("given", "got")])
        for side, *_ in sides:
            for load in side["loads"]:
                load.end()
        lost = 0
        for side, source, other, far_name in sides:
            client = self.client(far_name, other)
            self.assertGreater(len(side["given"]), KILLS)
            self.assertGreater(len(side["got"]), KILLS)
            for key_id, answer in side["given"].items():
                status, again = self.fetch_patiently(client, key_id, source.name)
                if key_id in side["got"]:
                    self.assertEqual(side["got"][key_id], answer)
                    self.assertEqual(status, 400, "delivered twice")
                elif status == 200:
                    self.assertEqual(again, answer)
                else:
                    self.assertIn(key_id, side["unclear"], again)
                    lost += 1
        print(f"{sum(len(s[0]['given']) for s in sides)} keys, {sum(len(s[0]['got']) for s in sides)} fetched between crashes, "
              f"{sum(len(s[0]['unclear']) for s in sides)} fetches cut off, {lost} of them lost")


if __name__ == "__main__":
    unittest.main()
