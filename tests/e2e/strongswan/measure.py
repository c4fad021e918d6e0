# SPDX-License-Identifier: GPL-2.0-or-later
"""IKE_SA set-up time with PPKs from the token against the same pair with a static PPK, in one run, in turn. Not a test.

    PPK_PLUGIN=… PPK_BUILD=… measure.py [ROUNDS]
"""
import os
import re
import statistics
import sys
import time

import conf
import keysource
from testbed import Bed, Charon, isolate

STAMP = re.compile(r'^(\d\d):(\d\d):(\d\d)\.(\d+) ')


def stamp(line):
    hours, minutes, seconds, fraction = STAMP.match(line).groups()
    return int(hours) * 3600 + int(minutes) * 60 + int(seconds) + float('0.' + fraction)


def set_up(charon):
    """One IKE_SA up and down again: seconds by charon's log, and by the clock around swanctl."""
    mark = charon.mark()
    begun = time.monotonic()
    charon.initiate_ike()
    whole = time.monotonic() - begun
    lines = charon.since(mark).splitlines()
    first = next(line for line in lines if 'initiating IKE_SA' in line)
    last = next(line for line in lines if 'established between' in line)
    if '/PPK' not in charon.sas():
        raise SystemExit('no PPK in use:\n' + charon.since(mark))
    charon.terminate()
    return stamp(last) - stamp(first), whole


def bed_of(kind, prefetch):
    """Two hosts: 'static' (both stock), 'manual' or 'dynamic' (both with plugin and token)."""
    bed = Bed()
    alice, bob = bed.net()
    charons = []
    settings = {'settings': 'dos_protection = no'}
    value = bytes(range(32))
    sources = keysource.pair(alice, bob) if kind == 'dynamic' else (None, None)
    for me, other, source, remote in ((alice, bob, sources[0], 'Bob'), (bob, alice, sources[1], 'Alice')):
        if kind == 'static':
            charon = Charon(me, **settings)
        else:
            token = keysource.Token(me, other, source, remote=remote, manual=None if source else ('static-1', value))
            if source and prefetch:
                token.conf.write_text(token.text + f' prefetch {prefetch}\n')
            charon = Charon(me, token.plugin(), env=token.env, **settings)
        charon.stamps = True
        charon.start()
        ppk = {'ppk_id': 'static-1', 'required': True} if kind == 'static' else {}
        charon.load(conf.swanctl([conf.connection(me, other, childless=True, **ppk)],
                                 [('static-1', value.hex())] if kind == 'static' else []))
        charons.append(charon)
    return bed, charons[0]


def main():
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 30
    beds = {'static PPK, stock charons': bed_of('static', 0), 'manual PPK in the token': bed_of('manual', 0),
            'dynamic PPK': bed_of('dynamic', 0), 'dynamic PPK, prefetch 4': bed_of('dynamic', 4)}
    times = {name: [] for name in beds}
    for turn in range(rounds + 2):
        for name, (_, charon) in beds.items():
            result = set_up(charon)
            if turn >= 2:
                times[name].append(result)
    base = [statistics.median(column) for column in zip(*times['static PPK, stock charons'])]
    print(f'{"median of " + str(rounds):28} {"IKE_SA ms":>10} {"ratio":>6} {"swanctl ms":>11} {"ratio":>6}')
    for name, values in times.items():
        log, whole = (statistics.median(column) for column in zip(*values))
        print(f'{name:28} {log * 1e3:10.2f} {log / base[0]:6.2f} {whole * 1e3:11.2f} {whole / base[1]:6.2f}')
    for bed, _ in beds.values():
        bed.close()


if __name__ == '__main__':
    isolate(os.environ['PPK_PLUGIN'])
    main()
