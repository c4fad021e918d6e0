# SPDX-License-Identifier: BSD-2-Clause
"""skipd and PostgreSQL over TCP: by TLS, with certificates on both sides that are verified, or not at all."""
import os
import subprocess
import unittest

from keysource import SKIPD, Authority, PairCase
from postgresql import Database
from sharedsource import SharedSource


class DatabaseTls(PairCase):
    start_both = False

    @classmethod
    def more_files(cls):
        cls.authority.sign("database", "IP:127.0.0.1")
        cls.authority.sign("elsewhere", "DNS:db.example")
        cls.authority.sign("skipd", "DNS:skipd")  # the role's name is the certificate's CN
        other = os.path.join(cls.directory, "other")
        os.mkdir(other)
        Authority(other).sign("skipd", "DNS:skipd")
        cls.database = cls.new_database("database")

    @classmethod
    def new_database(cls, name):
        path = cls.authority.path
        database = Database(tls=(path(name, "pem"), path(name, "key"), path("ca", "pem")))
        cls.addClassCleanup(database.remove)
        return database

    def conninfo(self, extra="", root="ca.pem", client="skipd", database=None):
        def path(name):
            return os.path.join(self.directory, name)

        return (f"host=127.0.0.1 port={(database or self.database).port} user=skipd dbname=postgres sslrootcert={path(root)} "
                f"sslcert={path(client + '.pem')} sslkey={path(client + '.key')}{extra}")

    def more_configuration(self):
        self.bob.__class__ = SharedSource

    def start_bob(self, conninfo):
        self.bob.conninfo = conninfo
        self.bob.start()

    def refused(self, conninfo, *reasons):
        with self.assertRaises(AssertionError) as told:
            self.start_bob(conninfo)
        self.assertTrue(any(reason in str(told.exception) for reason in reasons), told.exception)

    def test_keys_by_tls(self):
        self.start_bob(self.conninfo())
        self.alice.start()
        self.alice.wait_log("peer 'Bob': link is up")
        for _ in range(20):
            status, new = self.a.new_key("Bob")
            self.assertEqual(status, 200)
            self.assertEqual(self.b.by_id(new["keyId"], "Alice"), (200, new))
        # by TCP, with TLS, and as whom the certificate names
        self.assertEqual(self.database.sql("SELECT DISTINCT usename, ssl, version, client_dn FROM pg_stat_ssl JOIN pg_stat_activity"
                                           " USING (pid) WHERE client_addr IS NOT NULL"), "skipd|t|TLSv1.3|/CN=skipd")

    def test_another_authority(self):
        # the database's certificate is not of the CA that skipd trusts
        self.refused(self.conninfo(root="other/ca.pem"), "certificate verify failed")

    def test_another_name(self):
        database = self.new_database("elsewhere")
        self.refused(self.conninfo(database=database), "does not match host name", "does not match")

    def test_no_trustpoint(self):
        self.refused(self.conninfo(root="nonexistent.pem"), "nonexistent.pem")

    def test_client_of_another_authority(self):
        self.refused(self.conninfo(client="other/skipd"), "unknown ca", "certificate")

    def test_database_without_tls(self):
        self.database.sql("ALTER SYSTEM SET ssl = off")
        self.database.sql("SELECT pg_reload_conf()")
        try:
            self.refused(self.conninfo(), "server does not support SSL")
        finally:
            self.database.sql("ALTER SYSTEM RESET ssl")
            self.database.sql("SELECT pg_reload_conf()")

    def test_weaker_modes_are_mistakes_of_the_configuration(self):
        for mode in ("disable", "allow", "prefer", "require", "verify-ca"):
            self.bob.conninfo = f"host=db.example.net user=skipd sslmode={mode}"
            self.bob.configure()
            done = subprocess.run([SKIPD, "-t", "-c", self.bob.file("conf")], capture_output=True, text=True, timeout=30, check=False)
            self.assertEqual(done.returncode, 1, mode)
            self.assertIn("verify-full", done.stderr)


if __name__ == "__main__":
    unittest.main()
