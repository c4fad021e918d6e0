# SPDX-License-Identifier: GPL-2.0-or-later
"""Two hosts, each with its own key source, token and charon: what the tests of dynamic PPKs begin with."""
import re
import unittest

import conf
import keysource
from testbed import Bed, Charon

FRESH = re.compile(r"ppk: new dynamic PPK '([0-9a-zA-Z]+)'")
TAKEN = re.compile(r"ppk: dynamic PPK '([0-9a-zA-Z]+)' is in the token")


class TwoEnds(unittest.TestCase):
    def setUp(self):
        self.bed = Bed()
        self.alice, self.bob = self.bed.net()
        self.ka, self.kb = keysource.pair(self.alice, self.bob)
        self.a = self.b = None

    def tearDown(self):
        try:
            for charon in (self.a, self.b):
                if charon:
                    charon.alive()
                    self.assertEqual(charon.stop(), 0)
        finally:
            self.bed.close()

    def start(self, mine=None, others=None, plugin=None, level=1, **settings):
        """Both charons; mine, others: arguments of the tokens."""
        self.ta = keysource.Token(self.alice, self.bob, self.ka, **{'remote': 'Bob', **(mine or {})})
        self.tb = keysource.Token(self.bob, self.alice, self.kb, **{'remote': 'Alice', **(others or {})})
        self.a = Charon(self.alice, self.ta.plugin(**(plugin or {})), env=self.ta.env, level=level, **settings).start()
        self.b = Charon(self.bob, self.tb.plugin(**(plugin or {})), env=self.tb.env, level=level, **settings).start()

    def load(self, mine=None, others=None):
        """swanctl.conf says nothing of PPKs."""
        self.a.load(conf.swanctl([conf.connection(self.alice, self.bob, **(mine or {}))]))
        self.b.load(conf.swanctl([conf.connection(self.bob, self.alice, **(others or {}))]))

    def check_ids(self, count):
        """As many different PPK IDs at both ends, the same ones."""
        fresh, taken = FRESH.findall(self.a.text()), TAKEN.findall(self.b.text())
        self.assertEqual(len(set(fresh)), count, self.a.text())
        self.assertEqual(sorted(fresh), sorted(taken))
        return fresh
