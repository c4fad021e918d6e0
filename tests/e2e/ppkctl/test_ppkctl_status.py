# SPDX-License-Identifier: BSD-2-Clause
"""The status of the processes that use the token: what they publish, and what ppkctl shows of it."""
import fcntl
import glob
import json
import os
import pty
import random
import re
import select
import struct
import subprocess
import termios
import threading
import time

import unittest

from prometheus_client.openmetrics.parser import text_string_to_metric_families

from command import PPKCTL, clean_environment
from gateways import MODULE, GatewaysTest
from keysource import PSK, psk_get

CLIENT = os.environ["STATUS_CLIENT"]


class Client:
    """A process that uses the token."""

    def __init__(self, **environment):
        self.process = subprocess.Popen([CLIENT, MODULE], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                                        env=clean_environment(**environment))
        self.pid = self.process.pid

    def __call__(self, command):
        self.process.stdin.write(command + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline().strip()
        assert answer == command + " ok", answer

    def end(self):
        self.process.stdin.close()
        self.process.stdout.close()
        self.process.wait(20)

    def kill(self):
        self.process.kill()
        self.end()


class Status(GatewaysTest):
    def setUp(self):
        super().setUp()
        self.status = os.path.join(self.directory, "status")
        os.mkdir(self.status, 0o1777)
        self.environment = {"PPK_CONF": self.conf["Alice"], "PPK_STATUS_DIR": self.status}

    def client(self, **environment):
        client = Client(**{**self.environment, **environment})
        self.addCleanup(lambda: client.process.poll() is None and client.kill())
        return client

    def show(self, *words, status=0):
        return self.ppkctl("show", *words, status=status, **self.environment)[0]

    def json(self):
        return json.loads(self.show("clients", "--json"))

    def wait(self, what, true, seconds=20):
        """Waits until what the function makes of the JSON is true; returns the JSON."""
        end = time.monotonic() + seconds
        while True:
            got = self.json()
            if true(got):
                return got
            self.assertLess(time.monotonic(), end, f"{what}: {json.dumps(got)}")
            time.sleep(0.1)

    def number(self, got, name):
        return sum(keyring[name] for keyring in got["sum"]["keyrings"])

    # ---- life ----

    def test_life_of_a_process(self):
        self.assertEqual(self.json(), {"processes": [], "ended": {"processes": 0, "keyrings": [], "profiles": []},
                                       "sum": {"keyrings": [], "profiles": []}})
        for words in (["clients"], ["ppk"], ["statistics"], ["sks-profile"]):
            _, err = self.ppkctl("show", *words, **self.environment)
            self.assertIn(f"no process has used the token yet that publishes its status in {self.status} ", err)
        self.assertEqual(self.ppkctl("show", "statistics", "--openmetrics", **self.environment)[1], "")
        client = self.client()
        client("open")
        got = self.wait("a session", lambda s: len(s["processes"]) == 1 and self.number(s, "sessions") == 1)
        one = got["processes"][0]
        self.assertEqual((one["pid"], one["state"], one["uid"]), (client.pid, "live", os.getuid()))
        self.assertEqual(one["executable"], os.path.realpath(CLIENT))
        self.assertEqual(one["configuration"], self.conf["Alice"])
        self.assertEqual(one["keyrings"][0]["sessions"], 1)
        self.assertEqual(one["keyrings"][0]["peers-required"], 1)
        file, = glob.glob(self.status + "/*")
        self.assertRegex(os.path.basename(file), rf"^{client.pid}-[0-9a-f]{{8}}\.json$")
        self.assertEqual(os.stat(file).st_mode & 0o777, 0o640)

        client("generate")
        got = self.wait("a PPK", lambda s: self.number(s, "ppks-held") == 1)
        self.assertEqual(self.number(got, "ppks-unused"), 1)
        profile = got["sum"]["profiles"][0]
        self.assertEqual(profile["requests"]["key"]["total"], 1)
        self.assertEqual(profile["requests"]["key"]["passed"], 1)
        self.assertEqual(sum(profile["requests"]["key"]["latency"]), 1)
        self.assertEqual(profile["servers"][0]["state"], "up")
        self.assertEqual(profile["servers"][0]["capabilities"]["local-identifier"], "Alice")
        client("up")
        client("not authenticated")
        self.wait("the outcomes are counted", lambda s: [self.number(s, n) for n in ("ike-sas-dynamic", "ike-sas-manual", "ppk-authentication-failures",
                                                                                    "ppk-authentication-failures-required")] == [1, 0, 1, 1])
        self.assertRegex(self.show("statistics"), r"(?m)^IKE SAs, dynamic PPK  :1\nIKE SAs, manual PPK   :0\nPPK Auth Failure      :1\n  of required         :1$")
        client("use")
        got = self.wait("it is used", lambda s: self.number(s, "ppks-used") == 1)
        self.assertEqual(self.number(got, "ppks-unused"), 0)

        client("finalize")
        self.assertEqual(glob.glob(self.status + "/*"), [f"{self.status}/ended-{os.getuid()}.txt"])
        client("open")  # and again
        got = self.wait("a second life", lambda s: len(s["processes"]) == 1)
        self.assertEqual((self.number(got, "ppks-fetched"), self.number(got, "ppks-held")), (1, 0))
        client.end()

    def test_nothing_without_a_directory(self):
        for directory in (os.path.join(self.directory, "absent"), "off", "/proc"):
            client = self.client(PPK_STATUS_DIR=directory)
            client("open")
            client("generate")
            time.sleep(0.5)
            client("finalize")
            client.end()
        self.assertFalse(os.path.exists(os.path.join(self.directory, "absent")))

    def test_directory_of_the_configuration(self):
        with open(self.conf["Alice"], "a", encoding="utf-8") as f:
            f.write(f"status directory {self.status}\n")
        self.environment = {"PPK_CONF": self.conf["Alice"]}
        client = self.client()
        client("open")
        self.wait("a session", lambda s: len(s["processes"]) == 1)
        client.end()
        self.write("off.conf", "status directory off\n")
        _, err = self.ppkctl("show", "clients", "--config", os.path.join(self.directory, "off.conf"), status=1)
        self.assertIn("status is off", err)
        _, err = self.ppkctl("check", self.write("bad.conf", "status directory here\n"), status=1)
        self.assertIn("neither an absolute path nor off", err)

    def test_without_threads(self):
        client = self.client()
        client("open without threads")
        client("generate")
        got = self.wait("a PPK", lambda s: self.number(s, "ppks-fetched") == 1)
        self.assertEqual(got["processes"][0]["heartbeat"], 0)
        self.assertEqual(len(os.listdir(f"/proc/{client.pid}/task")), 1)
        client("finalize")
        self.assertEqual(glob.glob(self.status + "/[0-9]*"), [])
        self.assertEqual(self.number(self.json(), "ppks-fetched"), 1)
        client.end()

    def test_no_secret(self):
        """Neither a live process' file nor the ended ones' holds a PPK, a PSK, or an IKE pre-shared key."""
        manual, ike = "5ecb0ea1" * 8, "an IKE pre-shared key"
        conf = self.encryptor(self.alice, "Bob", more=f"  ppk manual id manual key hex {manual}\n  pre-shared-key \"{ike}\"\n")
        log = os.path.join(self.directory, "token.log")
        client = self.client(PPK_CONF=conf, PPK_LOG=f"file={log}:info")
        client("open")
        client("generate")
        client("use")
        client("up")
        self.wait("all", lambda s: self.number(s, "ike-sas-dynamic") == 1 and self.number(s, "ppks-used") == 1)
        with open(log, encoding="utf-8") as f:
            key_id = re.search("PPK ID ([0-9a-f]+) fetched", f.read())[1]
        answer, err = psk_get(self.bob, f"/key/{key_id}?remoteSystemID=Alice", identity="encryptor")
        key = re.search(r'"key": ?"([0-9a-fA-F]+)"', answer)
        self.assertTrue(key, err)
        secrets = [PSK, manual, ike, ike.encode().hex(), key[1]]
        for turn in range(2):
            files = glob.glob(self.status + "/*")
            self.assertEqual(len(files), 1)
            with open(files[0], "rb") as f:
                content = f.read()
            self.assertGreater(len(content), 100)
            shown = "".join(self.show(*words) for words in (["clients", "--json"], ["statistics", "--openmetrics"], ["sks-profile"]))
            for secret in secrets:
                forms = [secret, *([bytes.fromhex(secret).decode("latin-1")] if re.fullmatch("([0-9a-fA-F]{2})+", secret) else [])]
                for form in forms:
                    self.assertNotIn(form.lower(), content.decode("latin-1").lower())
                    self.assertNotIn(form.lower(), shown.lower())
            if turn == 0:
                client("finalize")
        client.end()

    def test_never_backwards(self):
        """However processes come and go, sums of what was counted do not sink, and miss nothing; what short-lived ones did is seen."""
        seen, stop, turns = [], threading.Event(), 12

        def look():
            while not stop.is_set():
                got = self.json()
                seen.append((self.number(got, "ppks-fetched"), sum(p["requests"]["key"]["total"] for p in got["sum"]["profiles"])))

        watcher = threading.Thread(target=look)
        watcher.start()
        try:
            for _ in range(turns):
                clients = [self.client() for _ in range(3)]
                for client in clients:
                    client("open")
                    client("generate")
                for client in clients[:2]:
                    client("finalize")
                    client.end()
                self.wait("the third has told", lambda s: [p["keyrings"][0]["ppks-fetched"] for p in s["processes"] if p["pid"] == clients[2].pid] == [1])
                clients[2].kill()
        finally:
            stop.set()
            watcher.join()
        self.assertGreater(len(seen), 5)
        for column in zip(*seen):
            self.assertEqual(sorted(column), list(column))
        got = self.json()
        self.assertEqual((self.number(got, "ppks-fetched"), got["ended"]["processes"]), (3 * turns, 2 * turns))
        # those that ended without a word are added to the others after ten minutes, by who looks
        for file in glob.glob(self.status + "/[0-9]*"):
            os.utime(file, (time.time() - 1000, time.time() - 1000))
        self.assertRegex(self.show("statistics"), rf"(?s)Clients +:0 live, {3 * turns} ended.*PPKs fetched, new +:{3 * turns}\n")
        self.assertEqual(glob.glob(self.status + "/*"), [f"{self.status}/ended-{os.getuid()}.txt"])
        self.ppkctl("fetch", "gateway", "--module", MODULE, **self.environment)
        self.assertIn(f"PPKs fetched, new     :{3 * turns + 1}\n", self.show("statistics"))

    @unittest.skipUnless(os.getuid() == 0, "needs root, for other users")
    def test_of_another_user(self):
        """Root adds what a dead process of another user counted to that user's, who goes on with it."""
        os.chmod(self.directory, 0o755)
        client = self.client()
        client("open")
        client("generate")
        self.wait("a PPK", lambda s: self.number(s, "ppks-fetched") == 1)
        client.kill()
        file, = glob.glob(self.status + "/[0-9]*")
        os.chown(file, 1, 1)
        os.utime(file, (time.time() - 1000, time.time() - 1000))
        self.assertEqual(self.number(self.json(), "ppks-fetched"), 1)
        self.assertEqual(os.listdir(self.status), ["ended-1.txt"])
        self.assertEqual(os.stat(f"{self.status}/ended-1.txt").st_uid, 1)

    # ---- many ----

    def test_many_processes(self):
        first, second = self.client(), self.client()
        first("open")
        second("open")
        first("threads")
        second("generate")
        first("fork")
        line = first.process.stdout.readline().split()
        self.assertEqual(line[:2], ["child", "ok"])
        child = int(line[2])
        got = self.wait("all", lambda s: self.number(s, "ppks-fetched") == 22)
        self.assertEqual({p["pid"]: p["keyrings"][0]["ppks-fetched"] for p in got["processes"]},
                         {first.pid: 20, second.pid: 1, child: 1})
        self.assertEqual(got["sum"]["profiles"][0]["requests"]["key"]["passed"], 22)
        self.assertEqual(self.number(got, "peers"), 1)
        for process in got["processes"]:
            for request in process["profiles"][0]["requests"].values():
                self.assertLessEqual(request["passed"] + request["failed"], request["total"])

        # one that cannot clean up
        second.kill()
        got = self.wait("death", lambda s: {p["pid"]: p["state"] for p in s["processes"]}[second.pid] == "dead")
        self.assertEqual(self.number(got, "ppks-fetched"), 22)  # never backwards
        self.assertEqual(self.number(got, "ppks-held"), 21)     # but what it held is gone
        self.assertEqual(self.number(got, "sessions"), 2)
        out = self.show("clients", "--process", str(second.pid))
        self.assertRegex(out, rf"(?m)^{second.pid} +dead ")
        self.assertNotRegex(out, rf"(?m)^{first.pid} ")
        self.show("clients", "--process", "1", status=1)
        # the next to come removes what nobody has looked at for a week
        file, = glob.glob(f"{self.status}/{second.pid}-*")
        os.utime(file, (time.time() - 8 * 24 * 3600, time.time() - 8 * 24 * 3600))
        third = self.client()
        third("open")
        until = time.monotonic() + 20
        while not glob.glob(f"{self.status}/{third.pid}-*"):
            self.assertLess(time.monotonic(), until)
            time.sleep(0.05)
        self.assertFalse(os.path.exists(file))
        for client in (first, third):
            client.kill()

    def test_a_failing_source(self):
        client = self.client()
        client("open")
        client("generate")
        client("find 00112233445566778899aabbccddeeff")
        self.alice.end()
        client.process.stdin.write("generate\n")
        client.process.stdin.flush()
        self.assertEqual(client.process.stdout.readline(), "generate failed\n")
        got = self.wait("the failure", lambda s: s["sum"]["profiles"][0]["servers"][0]["state"] == "down")
        self.assertEqual(self.number(got, "ppk-retrieve-failures"), 2)
        self.assertEqual(self.number(got, "ppk-identity-mismatches"), 1)
        self.assertEqual(self.number(got, "ppk-retrieve-failures-required"), 1)
        server = got["sum"]["profiles"][0]["servers"][0]
        self.assertLess(abs(server["last-error-at"] - time.time()), 60)
        out = self.show("sks-profile", "ks")
        self.assertRegex(out, r"(?m)^Profile Name +:ks$")
        self.assertRegex(out, rf"(?m)^Port +:{self.alice.port}$")
        self.assertRegex(out, r"(?m)^Status +:Failed \(\d+ in a row\)$")
        self.assertRegex(out, r"(?m)^Last error +:20\d\d-\d\d-\d\d \d\d:\d\d:\d\d UTC: .*127\.0\.0\.1")
        self.assertRegex(out, r"(?m)^Local identifier +:Alice$")
        self.assertRegex(out, r"(?m)^Remote identifier +:Bob$")
        self.assertRegex(out, r"(?m)^Key request +2 +1 +1 +\d+\.\d +\d+\.\d +\d+\.\d$")
        self.assertIn("no process uses", self.ppkctl("show", "sks-profile", "none", status=1, **self.environment)[1])
        self.assertRegex(self.show("ppk"), r"(?m)^Dynamic PPKs held +:1$")
        self.assertRegex(self.show("statistics"), r"(?m)^PPK Retrieve Failure +:2\n  of required +:1$")
        client.kill()

    # ---- for programs ----

    def test_openmetrics(self):
        client = self.client()
        client("open")
        client("threads")
        self.wait("all", lambda s: self.number(s, "ppks-fetched") == 20)
        text = self.show("statistics", "--openmetrics")
        self.assertTrue(text.endswith("# EOF\n"))
        families = {f.name: f for f in text_string_to_metric_families(text)}
        sample, = [s for s in families["ppk_keys_fetched"].samples]
        self.assertEqual((sample.name, sample.value, sample.labels),
                         ("ppk_keys_fetched_total", 20, {"keyring": "dynamic"}))
        passed = [s.value for s in families["ppk_requests_passed"].samples if s.labels["kind"] == "key"]
        self.assertEqual(passed, [20])
        counts = [s.value for s in families["ppk_request_duration_seconds"].samples
                  if s.name.endswith("_count") and s.labels["kind"] == "key"]
        self.assertEqual(counts, [20])
        up, = families["ppk_server_up"].samples
        self.assertEqual((up.value, up.labels["server"], up.labels["profile"]),
                         (1, f"127.0.0.1:{self.alice.port}", "ks"))
        self.assertTrue(all(name.startswith("ppk_") for name in families))
        # however it ends, and whoever comes next, each series is there once and does not sink
        client.kill()
        self.ppkctl("fetch", "gateway", "--module", MODULE, **self.environment)
        later = {f.name: f for f in text_string_to_metric_families(self.show("statistics", "--openmetrics"))}
        self.assertEqual([s.value for s in later["ppk_keys_fetched"].samples], [21])
        self.assertEqual([s.value for s in later["ppk_keys_held"].samples], [0])
        for name, family in families.items():
            self.assertEqual(len({(s.name, *sorted(s.labels.items())) for s in later[name].samples}), len(later[name].samples))
            if family.type != "gauge":
                for before, after in zip(family.samples, later[name].samples):
                    self.assertEqual((before.name, before.labels), (after.name, after.labels))
                    self.assertLessEqual(before.value, after.value)

    # ---- hostile files ----

    def hostile(self, name, content):
        path = os.path.join(self.status, name)
        with open(path, "wb") as f:
            f.write(content)
        return path

    def test_hostile_files(self):
        client = self.client()
        client("open")
        good = self.wait("a session", lambda s: len(s["processes"]) == 1)
        file, = glob.glob(self.status + "/*")
        with open(file, "rb") as f:
            text = f.read()
        name = "4{:05d}-{:08x}.json".format
        self.hostile(name(1, 1), b"")
        self.hostile(name(2, 1), text[:100])
        self.hostile(name(3, 1), text)  # of another process than it says
        self.hostile(name(4, 1), b"{" * 100000)
        self.hostile(name(5, 1), b" " * (2 << 20))
        self.hostile(name(6, 1), json.dumps({"ppk-status": 99}).encode())
        self.hostile(name(7, 1), text.replace(b'"sessions":1', b'"sessions":-1').replace(
            f'"pid":{client.pid}'.encode(), b'"pid":400007'))
        self.hostile(name(8, 1), text.replace(b'"sessions":1', b'"sessions":1e300').replace(
            f'"pid":{client.pid}'.encode(), b'"pid":400008'))
        os.symlink("/etc/passwd", os.path.join(self.status, name(9, 1)))
        os.mkfifo(os.path.join(self.status, name(10, 1)))
        os.mkdir(os.path.join(self.status, name(11, 1)))
        self.hostile("nonsense", b"x")
        out, err = self.ppkctl("show", "clients", "--json", **self.environment)
        self.assertEqual([p["pid"] for p in json.loads(out)["processes"]], [client.pid])
        for number, why in ((1, "not a status"), (2, "not a status"), (3, "not of the process"), (4, "not a status"),
                            (5, "too large"), (6, "of another version"), (7, "damaged"), (8, "damaged"),
                            (9, "a symbolic link"), (10, "not a regular file"), (11, "not a regular file")):
            self.assertIn(f"{name(number, 1)}: {why}", err)
        self.assertEqual(good["processes"][0]["pid"], client.pid)
        # numbers that add up to more than there are; text that a terminal must not see
        evil = json.loads(text)
        evil.update(pid=400012, executable="\u001b[2J\u0007evil", heartbeat=0)
        evil["keyrings"][0]["ppks-used"] = evil["keyrings"][0]["ppks-fetched"] = 2**63 - 1
        evil["keyrings"][0]["name"] = 'dyn"\\\n# EOF\u001b[31m'
        for pid in (400012, 400013, 400014):
            evil["pid"] = pid
            self.hostile(f"{pid}-00000001.json", json.dumps(evil).encode())
        for words in (["clients"], ["ppk"], ["statistics"], ["sks-profile"]):
            out = self.show(*words)
            self.assertNotIn("\x1b", out)
            self.assertNotIn("\x07", out)
        self.assertRegex(self.show("statistics"), r"(?m)^PPKs used +:18446744073709551615$")
        list(text_string_to_metric_families(self.show("statistics", "--openmetrics")))
        # a writer that finds its file gone, shortened, or the directory's way barred, goes on
        os.truncate(file, 0)
        client("generate")
        self.wait("it goes on", lambda s: self.number(s, "ppks-held") >= 1)
        client("finalize")
        client.end()

    def test_garbage(self):
        client = self.client()
        client("open")
        client("generate")
        self.wait("a PPK", lambda s: self.number(s, "ppks-held") == 1)
        with open(glob.glob(self.status + "/*")[0], "rb") as f:
            text = f.read().replace(f'"pid":{client.pid}'.encode(), b'"pid":400000')
        rng = random.Random(8784)
        for turn in range(4):
            for i in range(64):
                bad = bytearray(text)
                for _ in range(rng.randint(1, 8)):
                    at = rng.randrange(len(bad))
                    choice = rng.randrange(3)
                    if choice == 0:
                        bad[at] = rng.randrange(256)
                    elif choice == 1:
                        del bad[at:at + rng.randint(1, 40)]
                    else:
                        bad[at:at] = bad[rng.randrange(len(bad)):][:rng.randint(1, 40)]
                self.hostile(f"400000-{i:08x}.json", bytes(bad))
            words = (["clients"], ["sks-profile"], ["statistics", "--openmetrics"], ["clients", "--json"])[turn]
            out = subprocess.run([PPKCTL, "show", *words], capture_output=True, timeout=60, check=False,
                                 env=clean_environment(**self.environment))
            self.assertEqual(out.returncode, 0, out.stderr)
            out.stdout.decode()
        client.kill()

    # ---- monitor ----

    def test_monitor_without_terminal(self):
        client = self.client()
        client("open")
        self.wait("a session", lambda s: len(s["processes"]) == 1)
        out, _ = self.ppkctl("monitor", "--count", "2", "--interval", "1", **self.environment)
        self.assertNotIn("\x1b", out)
        self.assertEqual(out.count("PPKs  1 live, 0 ended"), 2)
        self.assertIn(str(client.pid), out)
        client.kill()

    def terminal(self, rows, columns, end, **environment):
        """Runs monitor on a terminal, resizes it, ends it by `end`; returns the status and what was written."""
        pid, fd = pty.fork()
        if pid == 0:
            os.execve(PPKCTL, [PPKCTL, "monitor", "--interval", "1"], clean_environment(**self.environment, **environment))
        fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        written, until, sent = b"", time.monotonic() + 15, False
        while time.monotonic() < until:
            if select.select([fd], [], [], 0.1)[0]:
                try:
                    got = os.read(fd, 65536)
                except OSError:
                    break
                if not got:
                    break
                written += got
            if written.count(b"\x1b[H") >= 3 and not sent:
                os.write(fd, end)
                sent = True
        os.close(fd)
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), written.decode()

    def test_monitor_on_a_terminal(self):
        client = self.client()
        client("open")
        client("generate")
        self.wait("a PPK", lambda s: self.number(s, "ppks-held") == 1)
        for end in (b"q", b"\x03"):
            status, written = self.terminal(12, 50, end)
            self.assertEqual(status, 0, written)
            self.assertTrue(written.startswith("\x1b[?1049h"))
            self.assertTrue(written.rstrip().endswith("\x1b[?1049l"))
            self.assertIn("\x1b[32m", written)
            last = written.split("\x1b[H")[-1].split("\x1b[?25h")[0]
            lines = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", last).split("\r\n")
            self.assertLessEqual(len(lines), 12)
            self.assertLessEqual(max(len(line) for line in lines), 50)
        _, written = self.terminal(24, 100, b"q", NO_COLOR="1")
        self.assertNotRegex(written, r"\x1b\[[0-9;]*m")
        client.kill()


if __name__ == "__main__":
    unittest.main()
