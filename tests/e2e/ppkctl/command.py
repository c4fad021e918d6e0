# SPDX-License-Identifier: BSD-2-Clause
"""Runs ppkctl, for the tests."""
import os
import shutil
import subprocess
import tempfile
import unittest

PPKCTL = os.environ["PPKCTL"]


def clean_environment(**more):
    environment = {k: v for k, v in os.environ.items() if k not in ("PPK_CONF", "PPK_LOG", "CREDENTIALS_DIRECTORY")}
    environment.update(more)
    return environment


class PpkctlTest(unittest.TestCase):
    def setUp(self):
        self.directory = tempfile.mkdtemp(prefix="ppkctl-")
        self.addCleanup(shutil.rmtree, self.directory)

    def write(self, name, content, mode=0o600):
        path = os.path.join(self.directory, name)
        with open(path, "w", encoding="utf-8") as f:
            f.write(content)
        os.chmod(path, mode)
        return path

    def ppkctl(self, *words, status=0, stdin="", **environment):
        """Runs it; returns what came on stdout and on stderr."""
        done = subprocess.run([PPKCTL, *words], input=stdin, capture_output=True, text=True, timeout=60, check=False,
                              env=clean_environment(**environment))
        self.assertEqual(done.returncode, status, f"{words}:\n{done.stdout}{done.stderr}")
        return done.stdout, done.stderr
