# SPDX-License-Identifier: BSD-2-Clause
"""Two skipd of one site on one PostgreSQL, and a site with one on SQLite: each key goes out once, whichever is asked, whatever dies."""
import http.client
import os
import random
import signal
import threading
import time
import unittest

from keysource import LINK_PSK, PairCase
from postgresql import Database
from sharedsource import SharedSource

BROKEN = (OSError, http.client.HTTPException)


class Shared(PairCase):
    """Alice is one skipd on SQLite; the site Bob is Bob and Bob2 on PostgreSQL. Alice's link goes to one of them."""
    extra = "lifetime 600\nsync-timeout 1500\n"
    start_both = False

    @classmethod
    def more_files(cls):
        cls.authority.sign("bob2", "DNS:localhost,IP:127.0.0.1")
        cls.database = Database()
        cls.addClassCleanup(cls.database.remove)

    def more_configuration(self):
        if self.database.process is None:
            self.database.start()
        self.database.sql("DROP TABLE IF EXISTS skipd_value, skipd_key, skipd_fact")
        self.bob2 = SharedSource(self.directory, "Bob2")
        if os.path.exists(self.bob2.log_path):
            os.unlink(self.bob2.log_path)
        self.bob.__class__ = SharedSource
        self.bob.conninfo = self.bob2.conninfo = self.database.conninfo()
        self.bob2.clients, self.bob2.extra = self.bob.clients, self.extra
        self.bob2.peer(self.alice)
        self.alice.peers += f" address ipv4 127.0.0.1 port {self.bob2.peers_port}\n"
        self.addCleanup(self.end, self.bob2)
        self.alice.start()
        both = [threading.Thread(target=source.start) for source in (self.bob, self.bob2)]
        for thread in both:
            thread.start()
        for thread in both:
            thread.join()
        self.alice.wait_log("peer 'Bob': link is up")
        self.bob.wait_log("peer 'Alice': link is up")
        self.bob2.wait_log("peer 'Alice': link is up")

    def patiently(self, ask, good=(200, 400)):
        """Asks until there is an answer other than "not now"."""
        end = time.monotonic() + 20
        while True:
            try:
                status, answer = ask()
                if status in good:
                    return status, answer
                self.assertIn(status, (500, 503), answer)
            except BROKEN:
                pass
            self.assertLess(time.monotonic(), end)
            time.sleep(0.02)

    def test_each_key_once_whoever_asks_where(self):
        """8 clients ask for the same IDs at both."""
        given = [self.a.new_key("Bob")[1] for _ in range(60)]
        got, lock = {}, threading.Lock()
        wrong = []

        def ask(client, order):
            try:
                for n in order:
                    status, answer = client.by_id(given[n]["keyId"], "Alice")
                    if status == 200:
                        with lock:
                            got.setdefault(n, []).append(answer)
                    elif status != 400:
                        wrong.append((status, answer))
            except Exception as e:
                wrong.append(e)

        threads = []
        for i in range(8):
            order = list(range(len(given)))
            if i % 4 >= 2:
                random.shuffle(order)
            threads.append(threading.Thread(target=ask, args=(self.client("enc-b", (self.bob, self.bob2)[i % 2]), order)))
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(wrong, [])
        for n, answer in enumerate(given):
            self.assertEqual(got.get(n), [answer])
        self.assertEqual(self.database.sql("SELECT (SELECT count(*) FROM skipd_key), (SELECT count(*) FROM skipd_value)"), "60|0")

    def test_a_name_that_the_database_cannot_read(self):
        """It is refused before it gets there: else its transaction fails, with all that others ask for in it."""
        given = self.a.new_key("Bob")[1]
        for remote in ("Ali%FFce", "%C0%AF"):
            status, answer = self.b.by_id(given["keyId"], remote)
            self.assertEqual((status, answer), (400, {"error": "remoteSystemID is malformed"}))
        self.assertNotIn("error: store:", self.bob.log())
        # what is UTF-8 can be read by it: there is only no such key
        status, answer = self.b.by_id(given["keyId"], "%C3%84lice%F0%9F%94%91")
        self.assertEqual((status, answer), (400, {"error": "keyId: no such key"}))
        self.assertEqual(self.b.by_id(given["keyId"], "Alice"), (200, given))

    def test_both_directions(self):
        second = self.client("enc-b", self.bob2)
        for client in (self.b, second):
            status, answer = client.new_key("Alice")
            self.assertEqual(status, 200, answer)
            self.assertEqual(self.a.by_id(answer["keyId"], "Bob"), (200, answer))
        status, answer = self.a.new_key("Bob")
        self.assertEqual(status, 200, answer)
        self.assertEqual(second.by_id(answer["keyId"], "Alice"), (200, answer))
        self.assertEqual(self.b.by_id(answer["keyId"], "Alice")[0], 400)

    def test_no_other_master_key(self):
        with open(os.path.join(self.directory, "other"), "w", encoding="ascii") as f:
            os.chmod(f.name, 0o600)
            f.write("another master key\n")
        third = SharedSource(self.directory, "Bob2")
        third.log_path += "3"
        third.conninfo, third.clients = self.database.conninfo(), self.bob.clients
        configure = third.configure

        def changed():
            configure()
            with open(third.file("conf"), encoding="utf-8") as f:
                text = f.read()
            with open(third.file("conf"), "w", encoding="utf-8") as f:
                f.write(text.replace("master-key file master", "master-key file other"))

        third.configure = changed
        with self.assertRaises(AssertionError):
            third.start()
        self.assertIn("another master key", third.log())
        self.assertNotIn(LINK_PSK, third.log())

    def load(self, kill):
        """Keys are made at Alice, and fetched at both of the other site, while `kill` does its worst. No key goes out twice; all that was
        given, and not fetched by a request that got no answer, is there."""
        given, todo, got, unclear, wrong = {}, [], {}, set(), []
        over, lock = threading.Event(), threading.Lock()

        def make(client):
            while not over.is_set():
                try:
                    status, answer = client.new_key("Bob")
                except BROKEN:
                    continue
                if status != 200:
                    time.sleep(0.01)
                    continue
                with lock:
                    given[answer["keyId"]] = answer
                    todo.append(answer["keyId"])

        def fetch(client):
            while not over.is_set():
                with lock:
                    key_id = random.choice(todo) if todo else None
                if key_id is None:
                    time.sleep(0.005)
                    continue
                try:
                    status, answer = client.by_id(key_id, "Alice")
                except BROKEN:
                    with lock:
                        unclear.add(key_id)
                    time.sleep(0.01)
                    continue
                if status == 200:
                    with lock:
                        todo.remove(key_id)
                        if key_id in got:
                            wrong.append(f"{key_id} twice")
                        got[key_id] = answer
                elif status not in (400, 500, 503):  # 400: another one was faster
                    wrong.append((status, answer))

        def guarded(work, client):
            try:
                work(client)
            except Exception as e:
                wrong.append(e)

        threads = [threading.Thread(target=guarded, args=(make, self.client("enc-a", self.alice))) for _ in range(2)]
        threads += [threading.Thread(target=guarded, args=(fetch, self.client("enc-b", source)))
                    for source in (self.bob, self.bob2) for _ in range(2)]
        for thread in threads:
            thread.start()
        try:
            time.sleep(0.3)
            kill()
            time.sleep(0.3)
        finally:
            over.set()
            for thread in threads:
                thread.join()
        self.assertEqual(wrong, [])
        self.assertGreater(len(given), 30)
        self.assertGreater(len(got), 30)
        lost = 0
        for key_id, answer in given.items():
            status, again = self.patiently(lambda key_id=key_id: self.b.by_id(key_id, "Alice"))
            if key_id in got:
                self.assertEqual(got[key_id], answer)
                self.assertEqual(status, 400, "delivered twice")
            elif status == 200:
                self.assertEqual(again, answer)
            else:
                self.assertIn(key_id, unclear, again)
                lost += 1
        print(f"{len(given)} keys, {len(got)} fetched, {len(unclear)} fetches cut off, {lost} of them lost")
        return unclear, lost

    def test_database_is_restarted(self):
        def kill():
            for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGINT):
                self.database.stop(number)
                time.sleep(0.1)
                self.database.start()
                time.sleep(0.7)

        unclear, lost = self.load(kill)
        self.assertEqual((unclear, lost), (set(), 0))  # both skipd lived: nothing is unclear to them
        self.assertIn("the database can be reached again", self.bob.log() + self.bob2.log())

    def test_database_hangs(self):
        def hang():
            time.sleep(0.5)
            # longer than it is waited for (3 s) and than is tried to connect again (2 s)
            for number, seconds in ((signal.SIGSTOP, 7), (signal.SIGCONT, 4)):
                for pid in self.database.processes():
                    os.kill(pid, number)
                time.sleep(seconds)

        unclear, lost = self.load(hang)
        self.assertEqual((unclear, lost), (set(), 0))  # a commit that was not answered is undone, and its keys are there
        self.assertTrue(" error: store: " in self.bob.log() + self.bob2.log())

    def test_key_sources_are_killed(self):
        def kill():
            for _ in range(8):
                victim = random.choice((self.bob, self.bob2))
                time.sleep(random.uniform(0, 0.2))
                victim.kill9()
                time.sleep(random.uniform(0, 0.1))
                victim.start()

        self.load(kill)

    def test_link_goes_to_the_other_address(self):
        """One of the site is gone for good: the other one takes keys, and has those that the first one took."""
        before = self.a.new_key("Bob")[1]
        self.bob.kill9()
        second = self.client("enc-b", self.bob2)
        status, after = self.patiently(lambda: self.a.new_key("Bob"), good=(200,))
        for answer in (before, after):
            self.assertEqual(second.by_id(answer["keyId"], "Alice"), (200, answer))


if __name__ == "__main__":
    unittest.main()
