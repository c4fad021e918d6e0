# SPDX-License-Identifier: BSD-2-Clause
"""kill -9 at every system call that touches disk or network, of either key source, while a key is made at one end and fetched at the other:
before the call, and after it and before its result is seen. Then what died is started anew, and the two ends are compared.

  SKIPD=build/bin/skipd CRASH_AT=build/tests/crash_at python3 tests/e2e/skipd/test_skipd_crash_points.py

tries all points; with CRASH_POINTS=N, N of them, spread over all (so ctest does). It prints the points tried and the disagreements."""
import http.client
import os
import signal
import time
import unittest

import keysource
from keysource import PairCase

CRASH_AT = os.environ["CRASH_AT"]
POINTS = int(os.environ.get("CRASH_POINTS", "0"))
SECONDS = float(os.environ.get("CRASH_SECONDS", "0"))
BROKEN = (OSError, http.client.HTTPException)


class CrashPoints(PairCase):
    extra = "lifetime 600\nsync-timeout 600\n"
    start_both = False

    def start_traced(self, source, when, point, at_start=False):
        """Starts it so that it will die at this point."""
        plain, state = keysource.SKIPD, source.file("state")
        wrapper = source.file("sh")
        with open(wrapper, "w", encoding="ascii") as f:
            os.chmod(f.name, 0o700)
            f.write(f'#!/bin/sh\nexec {CRASH_AT} {state} {when} {point} {plain} "$@"\n')
        if os.path.exists(state):
            os.unlink(state)
        keysource.SKIPD = wrapper
        try:
            source.start(wait=False)
        finally:
            keysource.SKIPD = plain
        if at_start:
            self.arm(source)
        else:
            source.wait_ready()

    @staticmethod
    def arm(source):
        # not before the shell has become crash_at, for which the signal means something
        end = time.monotonic() + 10
        while time.monotonic() < end:
            with open(f"/proc/{source.process.pid}/status", encoding="ascii") as f:
                caught = [line for line in f if line.startswith("SigCgt:")]
            if int(caught[0].split()[1], 16) >> (signal.SIGUSR1 - 1) & 1:
                break
            time.sleep(0.001)
        source.process.send_signal(signal.SIGUSR1)
        time.sleep(0.01)

    def counted(self, source):
        """Waits for its end. (calls counted, name of the call it died at or "-")"""
        source.process.wait(10)
        keysource.living.discard(source.process)
        with open(source.file("state"), encoding="ascii") as f:
            count, name = f.read().split()
        return int(count), name

    def patiently(self, ask, done):
        end = time.monotonic() + 20
        while True:
            try:
                answer = ask()
                if done(answer):
                    return answer
            except BROKEN:
                answer = "no answer"
            self.assertLess(time.monotonic(), end, answer)
            time.sleep(0.01)

    def link_ready(self):
        self.patiently(lambda: self.a.new_key("Bob"), lambda answer: answer[0] == 200)

    def exchange(self, victim, when, point):
        """One key, with the victim's death on its way. Returns what happened: (calls, call, words of the outcome), and adds to self.wrong."""
        self.start_traced(victim, when, point)
        self.link_ready()
        self.patiently(lambda: self.b.get("/capabilities"), lambda answer: answer[0] == 200)
        held = self.a.new_key("Bob")[1]  # another key that the death must not touch
        self.arm(victim)
        new, got, outcome = None, None, "refused"
        try:
            status, answer = self.a.new_key("Bob")
            new = answer if status == 200 else None
        except BROKEN:
            outcome = "no answer at the first end"
        if new is not None:
            try:
                status, got = self.b.by_id(new["keyId"], "Alice")
                outcome = "both" if status == 200 else f"{status} at the second end"
                if status == 400 or (status == 200 and got != new):
                    self.wrong.append((victim.name, when, point, "the second end says", status))
                got = got if status == 200 else None
            except BROKEN:
                outcome = "no answer at the second end"
        if victim.process.poll() is None and point == 0:
            time.sleep(0.05)
        if victim.process.poll() is None:
            victim.process.send_signal(signal.SIGTERM)
        count, name = self.counted(victim)
        victim.start()
        outcome += self.compare(new, got, outcome, victim, (victim.name, when, point, name))
        if self.patiently(lambda: self.b.by_id(held["keyId"], "Alice"), lambda answer: answer[0] != 503) != (200, held):
            self.wrong.append((victim.name, when, point, name, "another key is gone"))
        victim.end()
        return count, name, outcome

    def compare(self, new, got, outcome, victim, where):
        """After the restart: a key that was delivered at the first end, and not at the second, is there; one that was is not."""
        if new is None:
            return ""
        first, again = (self.patiently(lambda: self.b.by_id(new["keyId"], "Alice"), lambda answer: answer[0] in (200, 400))
                        for _ in range(2))
        if again[0] != 400 or (got is not None and first[0] != 400):
            self.wrong.append((*where, "delivered twice"))
        if first[0] == 200 and first[1] != new:
            self.wrong.append((*where, "another value"))
        if got is None and first[0] != 200:
            # Only this may be: the answer's end died with it, after the erasure.
            if outcome != "no answer at the second end" or victim is not self.bob:
                self.wrong.append((*where, outcome, "and the key is gone"))
            return ", lost with its answer"
        return ", there after the restart" if got is None else ""

    def restart(self, victim, when, point):
        """A key waits (or, one more, is a tombstone) while Bob starts, and dies of it."""
        other = self.alice if victim is self.bob else self.bob
        victim.start()
        self.link_ready()
        keys = [self.a.new_key("Bob")[1] for _ in range(2)]
        if self.b.by_id(keys[0]["keyId"], "Alice") != (200, keys[0]):
            self.wrong.append((victim.name, "start", point, "a key is gone"))
        victim.kill9()
        self.start_traced(victim, when, point, at_start=True)
        end = time.monotonic() + 10
        while victim.process.poll() is None and not os.path.exists(victim.file("ready")) and time.monotonic() < end:
            time.sleep(0.005)
        if victim.process.poll() is None:
            victim.process.send_signal(signal.SIGTERM)
        count, name = self.counted(victim)
        victim.start()
        for key, status in zip(keys, (400, 200)):
            answer = self.patiently(lambda k=key: self.b.by_id(k["keyId"], "Alice"), lambda a: a[0] in (200, 400))
            if answer[0] != status or (status == 200 and answer[1] != key):
                self.wrong.append((victim.name, "start", when, point, name, answer[0]))
        victim.end()
        self.assertIsNone(other.process.poll())
        return count, name, "start"

    def test_all_points(self):
        self.wrong, outcomes, hit, tried, missed = [], {}, {}, 0, 0
        began = time.monotonic()
        scenarios = [(self.alice, self.exchange), (self.bob, self.exchange), (self.bob, self.restart)]
        points = []
        for number, (victim, scenario) in enumerate(scenarios):
            other = self.alice if victim is self.bob else self.bob
            other.start()
            # without a death: how many calls are there? the threads' calls interleave, so that it differs a little
            total = max(scenario(victim, "enter", 0)[0] for _ in range(2)) + 2
            other.end()
            self.assertGreater(total, 10)
            print(f"{victim.name}, {scenario.__name__}: {total - 2} calls")
            points += [(number, when, n) for n in range(1, total + 1) for when in ("enter", "exit")]
        print(f"{len(points)} points")
        if 0 < POINTS < len(points):
            points = [points[i * len(points) // POINTS] for i in range(POINTS)]
        running = None
        for number, when, n in points:
            if SECONDS and time.monotonic() - began > SECONDS:
                break
            victim, scenario = scenarios[number]
            other = self.alice if victim is self.bob else self.bob
            if running is not other:
                if running is not None:
                    running.end()
                other.start()
                running = other
            _, name, outcome = scenario(victim, when, n)
            tried += name != "-"
            missed += name == "-"
            hit[name] = hit.get(name, 0) + 1
            outcomes[outcome] = outcomes.get(outcome, 0) + 1
        print(f"crash points tried: {tried} ({missed} more were past the end), disagreements: {len(self.wrong)}")
        print("died at:", ", ".join(f"{n} {name}" for name, n in sorted(hit.items()) if name != "-"))
        print("outcomes:", "; ".join(f"{n} {what}" for what, n in sorted(outcomes.items())))
        self.assertEqual(self.wrong, [])
        self.assertGreater(tried, 0)
        self.assertGreater(tried, missed)


if __name__ == "__main__":
    unittest.main()
