# SPDX-License-Identifier: BSD-2-Clause
"""Each allocation, each call that asks the kernel for something, and each call of OpenSSL, SQLite and libevent fails once, in a key source
that starts, makes a key, gives one to its client, reads its configuration again and ends. If it cannot start it says why; a key that it
gives is the other key source's, too; and once the fault is over it does all of that again. Where it ends itself by abort() for want of
memory, which is a crash like any other, it does so when it has been started anew."""

import http.client
import os
import signal
import subprocess
import sys
import time
import unittest

sys.path.insert(0, os.path.join(os.environ['PPK_SOURCE'], 'tests', 'e2e', 'skipd'))
import keysource  # noqa: E402
from keysource import PairCase, living  # noqa: E402
from torture import environment, points  # noqa: E402

BROKEN = (OSError, http.client.HTTPException)
SKIPD = ['skipd']
SQLITE = ['libsqlite3.so.0']
EVENTS = ['libevent-2.1.so.7', 'libevent_core-2.1.so.7', 'libcrypto.so.3', 'libssl.so.3']


class Skipd(PairCase):
    start_both = False
    extra = 'lifetime 600\nsync-timeout 2000\n'

    def setUp(self):
        super().setUp()
        self.bob.start()
        self.bob.extra = self.alice.extra

    def asked(self, ask):
        """(status, answer), or a status of None if none came."""
        try:
            return ask()
        except (*BROKEN, AssertionError, ValueError): # such as an error's answer without a header or a body
            return None, None

    def aborted(self):
        """Has it ended itself for want of memory? A fault of any other kind is no reason to, but for libevent, which ends the process
        where it cannot read its own pipe for signals."""
        status = self.alice.process.poll()
        by_libevent = status == 1 and 'libevent: evsig_cb' in self.alice.log()
        if not by_libevent and (status != -signal.SIGABRT or self.kind == 'io'):
            return False
        living.discard(self.alice.process)
        self.aborts += 1
        return True

    def starts(self, where):
        """Does it? If not, it has said why, and ended by itself."""
        open(self.alice.log_path, 'wb').close()
        self.alice.start(wait=False)
        end = time.monotonic() + keysource.START_S
        while not os.path.exists(self.alice.file('ready')):
            status = self.alice.process.poll()
            if status is not None:
                living.discard(self.alice.process)
                said = [line for line in self.alice.log().splitlines() if not line.startswith(('FAULT ', 'SEEN ', 'HELD ', 'CALL'))]
                if not self.aborted():
                    self.assertGreater(status, 0, f'{where}: {self.alice.log()[-3000:]}')
                    self.assertTrue(said, f'{where}: it does not start, and does not say why')
                return False
            if time.monotonic() > end:
                raise AssertionError(f'{where}: it neither starts nor ends\n{self.alice.log()[-3000:]}')
            time.sleep(0.01)
        self.alice.read_ready()
        return True

    def life(self, where, again):
        """A key each way, and a reload. With `again`, until it is all right."""
        end = time.monotonic() + (15 if again else 0)
        while True:
            if self.aborted():
                self.alice.environment = {}
                self.assertTrue(self.starts(where))
            self.assertIsNone(self.alice.process.poll(), f'{where}: it has ended\n{self.alice.log()[-3000:]}')
            status, new = self.asked(lambda: self.a.new_key('Bob'))
            there, got = self.asked(lambda: self.b.by_id(new['keyId'], 'Alice')) if status == 200 else (None, None)
            if status == 200:
                self.assertEqual((there, got), (200, new), f'{where}: the other end\n{self.alice.log()[-3000:]}')
            back, other = self.asked(lambda: self.b.new_key('Alice'))
            mine, held = self.asked(lambda: self.a.by_id(other['keyId'], 'Bob')) if back == 200 else (None, None)
            if mine == 200:
                self.assertEqual(held, other, where)
            if (status, back, mine) == (200, 200, 200) or time.monotonic() > end:
                break
            time.sleep(0.02)
        if again:
            self.assertEqual((status, back, mine), (200, 200, 200), f'{where}: it does not recover\n{self.alice.log()[-3000:]}')

    def reload(self):
        """Until it says what it made of it, which may be the very line that could not be written."""
        before = len(self.alice.log())
        self.alice.process.send_signal(signal.SIGHUP)
        end = time.monotonic() + 2
        while 'SIGHUP: ' not in self.alice.log()[before:] and self.alice.process.poll() is None and time.monotonic() < end:
            time.sleep(0.01)

    def ended(self):
        """Its exit status, after a SIGTERM; libevent loses one that it cannot write to its own pipe for signals."""
        try:
            return self.alice.end()
        except subprocess.TimeoutExpired:
            self.assertRegex(self.alice.log(), 'FAULT (send|write)')
            return self.alice.end()

    def torture(self, kind, objects, seconds=5):
        self.kind, self.aborts = kind, 0
        self.alice.environment = environment(kind, objects)
        self.assertTrue(self.starts('no fault'))
        self.life('no fault', True)
        self.alice.reload()
        self.assertEqual(self.alice.end(), 0)
        word = {'memory': 'SEEN', 'io': 'CALLS', 'library': 'CALLED'}[kind]
        total = int(self.alice.log().split(word + ' ')[1].split()[0])
        self.assertGreater(total, 10)
        for at in points(f'{kind} of skipd, {", ".join(objects)}', total, seconds):
            where = f'{kind} of {objects}, call {at}'
            self.alice.environment = environment(kind, objects, at)
            if self.starts(where):
                self.life(where, False)
                self.reload()
                # libevent does not tell that it could not put a listener into the set that it waits for; and without
                # getsockname() nobody learns on which free port skipd listens
                self.life(where, not any(f'FAULT {call}' in self.alice.log() for call in ('epoll_ctl', 'getsockname')))
                self.assertEqual(self.ended(), 0, f'{where}:\n{self.alice.log()[-3000:]}')
        print(f'{self.aborts} of them ended it', file=sys.stderr)
        self.alice.environment = {}
        self.alice.start()
        self.life('after all', True)

    def test_memory(self):
        self.torture('memory', SKIPD)

    def test_io(self):
        self.torture('io', SKIPD)

    def test_io_store(self):
        self.torture('io', SQLITE)

    def test_io_network(self):
        self.torture('io', EVENTS)

    def test_library(self):
        self.torture('library', SKIPD)

    def test_memory_store(self):
        self.torture('memory', SQLITE)


if __name__ == '__main__':
    unittest.main()
