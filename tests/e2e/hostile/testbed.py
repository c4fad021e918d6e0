# SPDX-License-Identifier: BSD-2-Clause
"""What the tests of this folder start and ask: servers, TLS terminators, certificates, and skip_probe."""
import hashlib, os, re, shutil, socket, subprocess, sys, tempfile, time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.append(os.path.dirname(HERE))
from authority import Authority  # noqa: E402
from ports import free_port  # noqa: E402


def wait_for(port, seconds=10):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            time.sleep(0.05)
    raise RuntimeError("nobody listens at %d" % port)


class Testbed:
    """A temporary folder with certificates, and the processes that were started; ends them by their ID."""

    def __init__(self, build):
        self.tests = os.path.join(build, "tests")
        self.dir = tempfile.mkdtemp(prefix="ppk-hostile-")
        self.processes, self.failures, self.checks = [], 0, 0
        self.authority, other = Authority(self.dir), Authority(self.dir, "other-ca")
        names = "DNS:localhost,IP:127.0.0.1,IP:::1"
        self.authority.sign("server", names, rsa=True), other.sign("stranger", names)
        self.authority.sign("wrong-name", "DNS:elsewhere.example,IP:127.0.0.2")
        self.authority.sign("expired", names, days=-1)
        self.authority.sign("client", "DNS:client", rsa=True), other.sign("strange-client", "DNS:client")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for p in self.processes:
            if p.stdin:
                p.stdin.close()
            else:
                p.terminate()
        for p in self.processes:
            try:
                p.wait(5)
            except subprocess.TimeoutExpired:
                p.kill()
                p.wait()
        shutil.rmtree(self.dir)

    def path(self, name):
        return os.path.join(self.dir, name)

    def here(self, name):
        return os.path.join(HERE, name)

    def start(self, args, **kwargs):
        p = subprocess.Popen(args, stdin=subprocess.PIPE, cwd=self.dir, text=True, **kwargs)
        self.processes.append(p)
        return p

    def stop(self, process):
        process.kill()
        process.wait()

    def serve(self, scenario="good", cert="server", plain=False, log=None, *more):
        """A hostile_server.py; returns its port."""
        args = [sys.executable, os.path.join(HERE, "hostile_server.py"), "--scenario", scenario, *more]
        args += ["--plain"] if plain else ["--cert", cert + ".pem", "--key", cert + ".key"]
        args += ["--log", self.path(log)] if log else []
        p = self.start(args, stdout=subprocess.PIPE)
        return int(p.stdout.readline())

    def front(self, backend, psk, *more):
        """A psk_front; returns its port."""
        p = self.start([os.path.join(self.tests, "psk_front"), "--backend", str(backend), "--psk", psk, *more],
                       stdout=subprocess.PIPE, stderr=open(self.path("front.log"), "a"))
        return int(p.stdout.readline())

    def probe(self, *args, port=None, env=None, timeout=60):
        """Runs skip_probe; returns its lines."""
        command = [os.path.join(self.tests, "skip_probe")]
        if port:
            command += ["--server", "ipv4:%d:127.0.0.1" % port]
        command += [str(a) for a in args]
        run = subprocess.run(command, cwd=self.dir, capture_output=True, text=True, timeout=timeout, env={**os.environ, **(env or {})})
        if run.returncode != 0 or run.stderr:
            self.check(False, "skip_probe ended with %d: %s" % (run.returncode, run.stderr[-2000:]))
        return run.stdout.splitlines()

    def check(self, good, what):
        self.checks += 1
        if not good:
            self.failures += 1
            print("FAILED:", what, flush=True)

    def expect(self, line, result, reason="", most_ms=None, least_ms=0, what=""):
        """One line of skip_probe: its result, a pattern in its reason, its time; a key must be the SHA-256 of its ID."""
        words = dict(w.split("=", 1) for w in line.split(" fault=")[0].split() if "=" in w)
        fault = line.partition(" fault=")[2]
        good = line.split()[0] == result and (re.search(reason, fault if result != "OK" else line) is not None)
        ms = int(words.get("ms", "-1"))
        good = good and ms >= least_ms and (most_ms is None or ms <= most_ms)
        if result != "OK":
            good = good and fault.startswith("sks profile probe: ")
        self.check(good, "%s: wanted %s /%s/ within %s ms, got: %s" % (what, result, reason, most_ms, line))
        return words

    def expect_key(self, line, what, size=256):
        words = self.expect(line, "OK", what=what)
        if words.get("sha256"):
            key_id = line.partition(" id=")[2]
            try:
                raw = bytes.fromhex(key_id)
            except ValueError:
                raw = key_id.encode()
            key = hashlib.sha256(raw).digest()
            if size == 256:
                self.check(words["sha256"] == hashlib.sha256(key).hexdigest(), what + ": another key than was sent: " + line)
            self.check(words["bits"] == str(size), what + ": another size: " + line)
        return words

    def log(self, name):
        with open(self.path(name)) as f:
            return f.read().splitlines()

    def end(self):
        print("%d checks, %d failed" % (self.checks, self.failures), flush=True)
        return 1 if self.failures or not self.checks else 0
