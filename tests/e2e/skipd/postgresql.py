# SPDX-License-Identifier: BSD-2-Clause
"""A PostgreSQL of the test's own: in a temporary directory, on a Unix socket only, gone with the test.
As a program: runs a command with SKIPD_POSTGRESQL, the connection string, in its environment."""
import atexit
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time

sys.path.append(os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from ports import free_port  # noqa: E402

PROGRAMS = os.environ["POSTGRESQL_PROGRAMS"]


class Database:
    """PostgreSQL does not run as root: there it is the user postgres, whom Debian's package makes."""

    def __init__(self, tls=None):
        """`tls`: (certificate, key, CA) as PEM files; then it listens on 127.0.0.1, too, by TLS and to clients with certificates."""
        self.port = None
        self.directory = tempfile.mkdtemp(prefix="skipd-pg-")
        self.process = None
        self.identity = {"user": "postgres", "group": "postgres", "extra_groups": []} if os.geteuid() == 0 else {}
        if self.identity:
            shutil.chown(self.directory, "postgres", "postgres")
        self.data = os.path.join(self.directory, "data")
        self.log_path = os.path.join(self.directory, "log")
        atexit.register(self.remove)
        subprocess.run([os.path.join(PROGRAMS, "initdb"), "-D", self.data, "-U", "skipd", "-A", "trust", "-E", "UTF8", "--no-locale",
                        "--no-sync"], check=True, stdout=subprocess.DEVNULL, timeout=60, cwd=self.directory, **self.identity)
        if tls is not None:
            self.configure_tls(*tls)
        self.start()

    def configure_tls(self, certificate, key, authority):
        self.port = free_port()
        for source, name in ((certificate, "server.crt"), (key, "server.key"), (authority, "root.crt")):
            path = os.path.join(self.data, name)
            shutil.copy(source, path)
            os.chmod(path, 0o600)
            if self.identity:
                shutil.chown(path, "postgres", "postgres")
        with open(os.path.join(self.data, "postgresql.conf"), "a", encoding="ascii") as f:
            f.write(f"ssl = on\nssl_ca_file = 'root.crt'\nport = {self.port}\n")
        with open(os.path.join(self.data, "pg_hba.conf"), "w", encoding="ascii") as f:
            f.write("local all all trust\nhostssl all all 127.0.0.1/32 cert\n")

    def conninfo(self, extra=""):
        port = f" port={self.port}" if self.port else ""
        return f"host={self.directory}{port} user=skipd dbname=postgres{extra}"

    def start(self):
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(
                [os.path.join(PROGRAMS, "postgres"), "-D", self.data, "-k", self.directory, "-c",
                 "listen_addresses=" + ("127.0.0.1" if self.port else ""), "-c", "max_connections=40"],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.directory, **self.identity)
        end = time.monotonic() + 20
        while subprocess.run([os.path.join(PROGRAMS, "pg_isready"), "-q", "-h", self.directory,
                              "-p", str(self.port or 5432)], check=False, timeout=20).returncode != 0:
            if self.process.poll() is not None or time.monotonic() > end:
                with open(self.log_path, encoding="utf-8", errors="replace") as f:
                    raise AssertionError(f"PostgreSQL did not start: {f.read()[-2000:]}")
            time.sleep(0.05)

    def stop(self, number=signal.SIGINT):
        """SIGINT: ends sessions, and then itself; SIGQUIT: as if it had crashed."""
        self.process.send_signal(number)
        self.process.wait(timeout=30)
        self.process = None

    def processes(self):
        """The PIDs of the server and of what it has started."""
        with open(f"/proc/{self.process.pid}/task/{self.process.pid}/children", encoding="ascii") as f:
            return [self.process.pid, *map(int, f.read().split())]

    def sql(self, text):
        done = subprocess.run([os.path.join(PROGRAMS, "psql"), "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-d", self.conninfo(), "-c",
                               text], check=True, capture_output=True, timeout=30)
        return done.stdout.decode().strip()

    def remove(self):
        if self.process is not None:
            self.stop(signal.SIGQUIT)
        shutil.rmtree(self.directory, ignore_errors=True)


if __name__ == "__main__":
    database = Database()
    sys.exit(subprocess.run(sys.argv[1:], env=dict(os.environ, SKIPD_POSTGRESQL=database.conninfo()), check=False).returncode)
