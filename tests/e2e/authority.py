# SPDX-License-Identifier: BSD-2-Clause
"""Certificates for the tests, by the openssl command."""
import os
import subprocess


def run(*words):
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, timeout=60)


class Authority:
    """A CA and what it has signed, as PEM files in a directory."""

    def __init__(self, directory, name="ca"):
        self.directory, self.name = directory, name
        run("openssl", "req", "-x509", *self.key_options(), "-keyout", self.path(name, "key"), "-out",
            self.path(name, "pem"), "-days", "2", "-subj", f"/CN={name} of the test")

    @staticmethod
    def key_options(rsa=False):
        if rsa:
            return ["-newkey", "rsa:2048", "-nodes"]
        return ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]

    def path(self, name, ending):
        return os.path.join(self.directory, f"{name}.{ending}")

    def sign(self, name, san, subject=None, rsa=False, days=2):
        """Certifies `name` with a key of its own: PEM files name.key, name.csr and name.pem. RSA takes a processor some hundred
        milliseconds."""
        run("openssl", "req", *self.key_options(rsa), "-keyout", self.path(name, "key"), "-out", self.path(name, "csr"),
            "-subj", subject or f"/CN={name}")
        with open(self.path(name, "ext"), "w", encoding="ascii") as f:
            f.write(f"subjectAltName={san}\n")
        run("openssl", "x509", "-req", "-in", self.path(name, "csr"), "-CA", self.path(self.name, "pem"), "-CAkey",
            self.path(self.name, "key"), "-CAcreateserial", "-days", str(days), "-out", self.path(name, "pem"), "-extfile",
            self.path(name, "ext"))
        os.chmod(self.path(name, "key"), 0o600)
