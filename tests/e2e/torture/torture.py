# SPDX-License-Identifier: BSD-2-Clause
"""What the tests of this folder share: which calls can be made to fail, and how many of them there is time for.

With TORTURE=all every call fails in turn; else as many as there is time for (TORTURE=N: N times as long; TORTURE_SEED=N: others). How many
it were is printed."""

import os
import random
import sys
import time

BUILD = os.environ['PPK_BUILD']
WISH = os.environ.get('TORTURE', '')
ALL = WISH == 'all'
ORDER = random.Random(int(os.environ.get('TORTURE_SEED', '0')))
# the kind of calls: library to be preloaded, variable with the number of the call, what tells how many there are
KINDS = {'memory': ('libfail_alloc.so', 'FAIL_AT', 'SEEN'),
         'io': ('libfail_io.so', 'FAIL_IO_AT', 'CALLS'),
         'library': ('libfail_library.so', 'FAIL_LIBRARY_AT', 'CALLED')}


def preloaded(name):
    return os.path.join(BUILD, 'tests', name)


def environment(kind, objects, at=None, **more):
    """Of a process whose call `at` of this kind fails, of those that these objects make."""
    library, variable, _ = KINDS[kind]
    libraries = {preloaded(library), preloaded('libfail_alloc.so')}
    env = {'LD_PRELOAD': ':'.join(sorted(libraries)), 'FAIL_OBJECT': ','.join(objects), 'FAIL_REPORT': '1', **more}
    if at is not None:
        env[variable] = str(at)
    return env


def reported(lines, word):
    """What a process said at its end."""
    for line in lines:
        if line.startswith(word + ' '):
            return int(line.split()[1])
    raise AssertionError(f'it never said {word}: {lines[-5:]}')


def points(what, total, seconds):
    """Numbers below `total`, each once, in any order, for as long as there is time."""
    began, done = time.monotonic(), 0
    seconds *= int(WISH) if WISH.isdigit() else 1
    for at in range(total) if ALL else ORDER.sample(range(total), total):
        if not ALL and time.monotonic() - began > seconds and done > 5:
            break
        yield at
        done += 1
    print(f'{what}: {done} of {total} calls failed in turn, {time.monotonic() - began:.0f} s', file=sys.stderr)
