# SPDX-License-Identifier: BSD-2-Clause
"""Where a PPK is in the process that holds it: once, in the arena, as long as it is held; in no child and in no core dump."""

import hmac
import os
import re
import secrets
import time
import unittest

from hosts import NOBODY, Case, key_of

KEYS = 8


def mappings(pid):
    """Readable mappings: (start, end, VmFlags)."""
    found = []
    with open(f'/proc/{pid}/smaps', encoding='ascii', errors='replace') as f:
        for line in f:
            head = re.match(r'([0-9a-f]+)-([0-9a-f]+) (\S+) \S+ \S+ \S+ *(.*)', line)
            if head:
                found.append([int(head[1], 16), int(head[2], 16), head[3], head[4].strip(), set()])
            elif line.startswith('VmFlags:'):
                found[-1][4] = set(line.split()[1:])
    return [(m[0], m[1], m[4]) for m in found if 'r' in m[2] and m[3] not in ('[vvar]', '[vsyscall]', '[vvar_vclock]')]


def regions(pid):
    """All readable memory: (bytes, flags)."""
    with open(f'/proc/{pid}/mem', 'rb', buffering=0) as memory:
        for start, end, flags in mappings(pid):
            content = bytearray()
            try:
                memory.seek(start)
                while len(content) < end - start and (part := memory.read(end - start - len(content))):
                    content += part
            except OSError:
                pass # such as device memory
            yield content, flags


def forms(value):
    """Of halves, since half of a key is bad enough: the bytes, and hex in both cases. A whole copy counts once in each half."""
    for half in (value[:16], value[16:]):
        yield half
        yield half.hex().encode()
        yield half.hex().upper().encode()


class Memory(Case):
    def setUp(self):
        self.ids = [secrets.token_hex(16) for _ in range(KEYS)]
        self.keys = [key_of(i) for i in self.ids]
        self.marker = secrets.token_hex(16)
        self.words = ['marker=' + self.marker[::-1], 'init', *('find=' + i for i in self.ids)]

    def scan(self, pid, copies):
        """Every key is there so many times, in memory that is locked, not dumped, and wiped in a child; the marker is found."""
        counts, hexes, marked = [0] * len(self.keys), 0, 0
        for content, flags in regions(pid):
            marked += content.count(self.marker.encode())
            for i, key in enumerate(self.keys):
                for form in forms(key):
                    n = content.count(form)
                    if n and len(form) == 16:
                        self.assertLessEqual({'lo', 'dd', 'wf'}, flags)
                    counts[i] += n if len(form) == 16 else 0
                    hexes += n if len(form) != 16 else 0
        self.assertGreater(marked, 0, 'the scan finds nothing')
        self.assertEqual((counts, hexes), ([2 * copies] * len(self.keys), 0))

    def test_life(self):
        host = self.host(self.configure(), *self.words, 'wait', 'derive', 'sign', 'list', 'wait', 'finalize', 'wait')
        for copies in (1, 1, 0):
            self.scan(host.until_wait(), copies)
            host.go_on()

    def test_destroyed(self):
        destroyed = [word for i in self.ids for word in ('find=' + i, 'derive', 'destroy')]
        host = self.host(self.configure(), *self.words, *destroyed, 'wait')
        self.scan(host.until_wait(), 0)

    def test_expired(self):
        host = self.host(self.configure(' lifetime 1\n'), *self.words, 'wait', 'list', 'wait')
        host.until_wait()
        time.sleep(1.2)
        host.go_on()
        self.scan(host.until_wait(), 0)

    def test_child(self):
        host = self.host(self.configure(), *self.words, 'fork', 'wait')
        child = host.until_wait()
        self.assertNotEqual(child, host.process.pid)
        self.scan(child, 0)
        host.go_on()
        self.scan(host.until_wait(), 1)

    def test_sealed(self):
        """What cannot be locked is nowhere in the clear, not even after its use."""
        ids = [secrets.token_hex(16) for _ in range(200)]
        for memlock in (8 * 1024, 64 * 1024):
            host = self.host(self.configure(user=NOBODY), 'init', *('find=' + i for i in ids), 'derive', 'sign', 'wait', user=NOBODY,
                             memlock=memlock)
            clear = 0
            for content, flags in regions(host.until_wait()):
                if not {'lo', 'dd', 'wf'} <= flags:
                    clear += sum(content.count(half) for i in ids for half in (key_of(i)[:16], key_of(i)[16:]))
            self.assertEqual(clear, 0)

    def test_wrapping(self):
        """A line card's key, and the session key that was wrapped for it, and came back as a key-encryption key."""
        kek = secrets.token_bytes(32)
        self.keys = [kek, hmac.digest(bytes.fromhex('5a' * 32), b'\1' + bytes(31) + b'\1', 'sha256')]
        conf = self.configure(keyring=f' key-encryption-key card key hex {kek.hex()}\n')
        host = self.host(conf, self.words[0], 'init', 'manual=m1', 'wrap=card', 'wait', 'finalize', 'wait')
        for copies in (1, 0):
            pid = host.until_wait()
            self.scan(pid, copies)
            # key wrap works in pieces of 8 bytes: none is left behind either
            pieces = [key[i:i + 8] for key in self.keys for i in range(0, 32, 8)]
            left = [piece.hex() for content, flags in regions(pid) if 'dd' not in flags for piece in pieces if piece in content]
            self.assertEqual(left, [])
            host.go_on()

    def test_core(self):
        with open('/proc/sys/kernel/core_pattern', encoding='ascii') as f:
            pattern = f.read().strip()
        if pattern.startswith('|') or '/' in pattern:
            self.skipTest(f'core dumps go elsewhere ({pattern})')
        folder = self.bed.path(secrets.token_hex(4))
        os.mkdir(folder)
        host = self.host(self.configure(), *self.words, 'derive', 'abort', core=1 << 32, folder=folder)
        self.assertEqual(host.end()[0], -6)
        core, = os.listdir(folder)
        with open(os.path.join(folder, core), 'rb') as f:
            content = f.read()
        self.assertIn(self.marker.encode(), content)
        for key in self.keys:
            for form in forms(key):
                self.assertNotIn(form, content)


if __name__ == '__main__':
    unittest.main()
