# SPDX-License-Identifier: BSD-2-Clause
"""Each allocation, each call that asks the kernel for something, and each call of OpenSSL and libcurl fails once, in the token and in its
transport: no crash, a CK_RV that says so, and then everything works; nothing is held at the end that would not be held without the
fault, neither memory nor a descriptor, and no key is left in the process."""

import os
import secrets
import sys
import threading
import unittest

sys.path.insert(0, os.path.join(os.environ['PPK_SOURCE'], 'tests', 'e2e', 'hosts'))
from hosts import BOUND, Case, key_of  # noqa: E402
from test_memory import forms  # noqa: E402
from torture import KINDS, environment, points, reported  # noqa: E402

NO_MEMORY = {'0x2', '0x31', '0x5', '0x6'}  # HOST_MEMORY, DEVICE_MEMORY, GENERAL_ERROR, FUNCTION_FAILED
NO_DEVICE = {'0x30'}  # DEVICE_ERROR
AFTER = {'0x60', '0x82', '0x190', '0xb3', '0x191'}  # what follows when the key, the session or C_Initialize is missing
MANUAL = secrets.token_bytes(32)


def written(pid):
    """All memory that the process can have written to."""
    with open(f'/proc/{pid}/maps', encoding='ascii', errors='replace') as maps, open(f'/proc/{pid}/mem', 'rb', buffering=0) as memory:
        for line in maps:
            place, rights = line.split()[:2]
            if rights.startswith('rw'):
                start, end = (int(word, 16) for word in place.split('-'))
                memory.seek(start)
                yield memory.read(end - start)


class Outcome:
    """What a host did: its lines, and what it held when all was over."""

    def __init__(self, host, keys):
        self.before, self.copies, self.descriptors = [], 0, 0
        bound = threading.Timer(BOUND, host.process.kill)
        bound.start()
        for line in host.process.stdout:
            words = line.split()
            if 'wait' in words:
                self.look(int(words[-1]), keys)
                break
            self.before.append(line.strip())
        rest, self.errors = host.process.communicate('\n', timeout=BOUND)
        self.status, self.after = host.process.returncode, rest.splitlines()
        bound.cancel()

    def look(self, pid, keys):
        self.descriptors = len(os.listdir(f'/proc/{pid}/fd'))
        self.copies = sum(content.count(form) for content in written(pid) for key in keys for form in forms(key))

    def hit(self):
        """The call that failed, if one did before all was over."""
        return next((line.split()[1] for line in self.before if line.startswith('FAULT ')), None)


class Token(Case):
    reload = False

    def words(self, key):
        if self.reload:
            return ['init', key, 'reload', 'list', key, 'derive', 'sign', 'finalize']
        name = key or 'find=' + (secrets.token_hex(16))
        return ['init', 'list', 'random', name, 'derive', 'sign', 'objects', *(['wrap=card'] if key else []), 'list', *([] if key else ['destroy']), 'finalize']

    def outcome(self, conf, key, **env):
        rounds = [self.words(key), self.words(key)]
        keys = [MANUAL, *(key_of(word[5:]) for words in rounds for word in words if word.startswith('find='))]
        env.setdefault('PPK_LOG', 'file=' + self.bed.path('log') + ':debug')
        return Outcome(self.host(conf, *rounds[0], *rounds[1], 'wait', env={'PPK_STATUS_DIR': self.status, **env}), keys)

    def setUp(self):
        self.status = self.bed.path('status')
        os.makedirs(self.status, 0o700, exist_ok=True)

    def expect(self, outcome, where, how, first):
        text = '\n'.join([where, *outcome.before, *outcome.after, outcome.errors])
        lines = outcome.before
        hit = next((i for i, line in enumerate(lines) if line.startswith('FAULT ')), None)
        self.assertGreaterEqual(outcome.status, 0, 'ended by a signal: ' + text)
        self.assertEqual(outcome.status, 0, text)
        if hit is None:
            return False # a thread was faster this time
        self.assertEqual(outcome.errors, '', text)
        results = [line.split()[-1] for line in lines if not line.startswith('FAULT ')]
        if how in ('short', 'signal'):
            allowed = [{'0x0'}] * len(results)
        elif how == 'onward' or hit >= first:
            allowed = [{'0x0'} | NO_MEMORY | NO_DEVICE | AFTER] * len(results)
        else:
            allowed = [{'0x0'} | NO_MEMORY | NO_DEVICE | AFTER] * first + [{'0x0'}] * first
            self.assertEqual(set(results[:hit]) | {'0x0'}, {'0x0'}, text) # nothing fails before its time
        for result, good in zip(results, allowed):
            self.assertIn(result, good, text)
        return True

    def torture(self, kind, objects, seconds=3, key=None, how=None, conf='', wiped=True, **more):
        conf = self.configure(conf, keyring=f' key-encryption-key card key hex {secrets.token_hex(32)}\n peer m2\n  ppk manual id m2 key hex {MANUAL.hex()}\n')
        if how:
            more['FAIL_HOW'] = how
        first = len(self.words(key))
        plain = self.outcome(conf, key, **environment(kind, objects, **more))
        self.assertEqual([line.split()[-1] for line in plain.before], ['0x0'] * 2 * first, plain.errors)
        self.assertEqual(plain.copies, 0)
        total, held = reported(plain.after, KINDS[kind][2]), reported(plain.after, 'HELD')
        self.assertGreater(total, 10)
        hits, ours = 0, all(name.startswith('ppk-') for name in objects)
        for at in points(f'{kind} of {", ".join(objects)}{" " + how if how else ""}', total, seconds):
            outcome = self.outcome(conf, key, **environment(kind, objects, at, **more))
            where = f'{kind} of {objects}, call {at}, {outcome.hit()}'
            if self.expect(outcome, where, how, first):
                hits += 1
                if wiped:
                    self.assertEqual(outcome.copies, 0, f'{where}: a key is left\n{outcome.before}')
                if ours: # what others hold after a fault is theirs
                    self.assertLessEqual(reported(outcome.after, 'HELD'), held, f'{where}: memory is not freed\n{outcome.before}')
                self.assertLessEqual(outcome.descriptors, plain.descriptors, f'{where}: a descriptor is left open\n{outcome.before}')
        self.assertGreater(hits, 0)

    def test_memory_manual(self):
        self.torture('memory', ['ppk-pkcs11.so'], key='manual=m2')

    def test_memory(self):
        self.torture('memory', ['ppk-pkcs11.so'])

    def test_reload(self):
        """A changed configuration that cannot be taken over for want of memory or because the file cannot be read is taken over later."""
        self.reload = True
        for kind in ('memory', 'io'):
            self.torture(kind, ['ppk-pkcs11.so'], seconds=8, key='manual=m2')

    def test_memory_transport(self):
        self.torture('memory', ['ppk-skip.so'])

    def test_memory_libcurl(self):
        """What libcurl asks for, on our behalf. An answer that it drops then is in its own buffer, which nobody can wipe."""
        self.torture('memory', ['libcurl.so.4'], wiped=False)

    def test_io(self):
        self.torture('io', ['ppk-pkcs11.so'])

    def test_io_syslog(self):
        self.torture('io', ['ppk-pkcs11.so'], seconds=3, key='manual=m2', PPK_LOG='debug')

    def test_io_transport(self):
        self.torture('io', ['ppk-skip.so', 'libcurl.so.4'])

    def test_io_openssl(self):
        self.torture('io', ['libcrypto.so.3', 'libssl.so.3'], seconds=3)

    def test_io_onward(self):
        """A disk that stays full, a network that is gone, descriptors that are used up: until the process ends."""
        self.torture('io', ['ppk-pkcs11.so', 'ppk-skip.so', 'libcurl.so.4'], how='onward')

    def test_io_short(self):
        """Reads and writes that carry one byte only are no fault at all."""
        self.torture('io', ['ppk-pkcs11.so', 'ppk-skip.so', 'libcurl.so.4'], seconds=4, how='short')

    def test_io_signal(self):
        """Nor are calls that the host's signals interrupt."""
        self.torture('io', ['ppk-pkcs11.so', 'ppk-skip.so'], seconds=4, how='signal')

    def test_library(self):
        self.torture('library', ['ppk-pkcs11.so'])

    def test_library_transport(self):
        self.torture('library', ['ppk-skip.so'])


if __name__ == '__main__':
    unittest.main()
