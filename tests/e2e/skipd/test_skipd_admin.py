# SPDX-License-Identifier: BSD-2-Clause
"""The admin listener, by curl over a Unix socket and loopback: metrics (read by Prometheus' own parser), health, and the page
in headless Chromium."""
import http.client
import json
import os
import re
import resource
import shutil
import signal
import socket
import stat
import subprocess
import time
import unittest
from html.parser import HTMLParser

from keysource import PairCase, SKIPD

from prometheus_client.openmetrics.parser import text_string_to_metric_families

CHROMIUM = shutil.which("chromium")
ODD = "<img src=x onerror=alert(1)> \\\"&'"  # a client's name


class Admin(PairCase):
    extra = "admin ipv4 127.0.0.1 port 0\nadmin unix admin.sock mode 600\n"

    def more_configuration(self):
        self.bob.extra = ""
        quoted = ODD.replace("\\", "\\\\").replace('"', '\\"')
        self.alice.clients += f'client "{quoted}"\n certificate san odd\n system-id Odd\n'
        self.alice.peers += "peer Site\n tls psk id site key hex 000102030405060708090a0b0c0d0e0f\n"

    def curl(self, path, *options, unix=True):
        """Status, headers and body."""
        way = ["--unix-socket", self.alice.file("sock").replace("alice.", "admin."), f"http://alice{path}"] if unix else \
            [f"http://127.0.0.1:{self.alice.ports['listen-admin']}{path}"]
        done = subprocess.run(["curl", "--silent", "--show-error", "--include", "--max-time", "10", *way, *options], capture_output=True, text=True,
                              timeout=20, check=True)
        head, _, body = done.stdout.partition("\n\n")
        lines = head.splitlines()
        return int(lines[0].split()[1]), dict(line.lower().split(": ", 1) for line in lines[1:]), body

    def metrics(self):
        """Samples by name and labels, from a text that Prometheus' parser has taken."""
        status, headers, body = self.curl("/metrics")
        self.assertEqual((status, headers["content-type"]), (200, "application/openmetrics-text; version=1.0.0; charset=utf-8"))
        self.assertTrue(body.endswith("\n# EOF\n"))
        samples = {}
        for family in text_string_to_metric_families(body):
            self.assertTrue(family.name.startswith("skipd_"), family.name)
            self.assertTrue(family.documentation)
            for s in family.samples:
                key = (s.name, *sorted(s.labels.items()))
                self.assertNotIn(key, samples)
                samples[key] = s.value
        return samples

    def value(self, samples, name, **labels):
        return samples[(name, *sorted(labels.items()))]

    def use(self):
        """Some of everything that is counted. The key IDs that were not fetched."""
        news = [self.a.new_key("Bob")[1] for _ in range(5)]
        for new in news[:3]:
            self.assertEqual(self.b.by_id(new["keyId"], "Alice")[0], 200)
        back = [self.b.new_key("Alice")[1] for _ in range(4)]
        self.assertEqual(self.a.by_id(back[0]["keyId"], "Bob")[0], 200)
        self.assertEqual(self.a.by_id(back[0]["keyId"], "Bob")[0], 400)
        self.assertEqual(self.a.new_key("Nobody")[0], 400)
        self.assertEqual(self.a.new_key("Site")[0], 503)
        self.assertEqual(self.a.get("/nonsense")[0], 404)
        self.assertEqual(self.a.get("/entropy")[0], 200)
        self.assertEqual(self.client("stranger", self.alice).get("/capabilities")[0], 403)
        with socket.create_connection(("127.0.0.1", self.alice.port)) as s:
            s.sendall(b"no TLS\r\n\r\n")
            s.settimeout(10)
            while s.recv(1000):
                pass
        return [new["keyId"] for new in news[3:] + back[1:]], [new["key"] for new in news + back]

    def test_metrics(self):
        self.use()
        m = self.metrics()
        for kind, outcome, n in (("key", "ok", 5), ("key", "rejected", 1), ("key", "unavailable", 1), ("key_by_id", "ok", 1), ("key_by_id", "rejected", 1),
                                 ("other", "not_found", 1), ("entropy", "ok", 1), ("entropy", "failed", 0)):
            self.assertEqual(self.value(m, "skipd_requests_total", client="enc-a", dialect="skip", kind=kind, outcome=outcome), n, (kind, outcome))
        self.assertEqual(self.value(m, "skipd_requests_total", client="", dialect="skip", kind="other", outcome="forbidden"), 1)
        self.assertEqual(self.value(m, "skipd_deliveries_total", client="enc-a", role="initiator"), 5)
        self.assertEqual(self.value(m, "skipd_deliveries_total", client="enc-a", role="responder"), 1)
        self.assertEqual(self.value(m, "skipd_keys_sent_total", peer="Bob", result="ok"), 5)
        self.assertEqual(self.value(m, "skipd_keys_received_total", peer="Bob", result="ok"), 4)
        self.assertEqual(self.value(m, "skipd_sync_seconds_count", peer="Bob"), 5)
        self.assertEqual(self.value(m, "skipd_sync_seconds_bucket", peer="Bob", le="+Inf"), 5)
        self.assertEqual(self.value(m, "skipd_link_up", peer="Bob"), 1)
        self.assertEqual(self.value(m, "skipd_keys_waiting"), 3)
        self.assertEqual(self.value(m, "skipd_store_up"), 1)
        self.assertEqual(self.value(m, "skipd_handshakes_failed_total"), 1)
        self.assertGreaterEqual(self.value(m, "skipd_connections_open"), 1)
        self.assertEqual(self.value(m, "skipd_build_info", version="0.1.0", system_id="Alice"), 1)
        # the peer goes: what was counted stays, and failures are counted
        self.bob.end()
        self.alice.wait_log("peer 'Bob': link is down")
        self.assertEqual(self.a.new_key("Bob")[0], 503)
        later = self.metrics()
        self.assertEqual(self.value(later, "skipd_link_up", peer="Bob"), 0)
        self.assertEqual(self.value(later, "skipd_keys_sent_total", peer="Bob", result="down"), 1)
        for key, value in m.items():
            if key[0].endswith(("_total", "_count", "_bucket", "_sum")):
                self.assertGreaterEqual(later[key], value, key)

    def test_the_dashboard(self):
        """Each metric and each label that Grafana is told to show is there."""
        with open(os.path.join(os.environ["PPK_SOURCE_DIR"], "conf", "grafana-ppk-pkcs11.json"), encoding="utf-8") as f:
            dashboard = json.load(f)
        wanted = [t["expr"] for p in dashboard["panels"] for t in p.get("targets", [])]
        self.assertGreater(len(wanted), 25)
        self.assertEqual(len({p["id"] for p in dashboard["panels"]}), len(dashboard["panels"]))
        self.use()
        samples = [(key[0], {label for label, _ in key[1:]}) for key in self.metrics()]
        status = os.path.join(self.directory, "status")
        os.mkdir(status)
        done = subprocess.run([os.environ["PPKCTL"], "show", "statistics", "--openmetrics"], capture_output=True, text=True, timeout=20, check=True,
                              env=dict(os.environ, PPK_STATUS_DIR=status))
        token = {family.name for family in text_string_to_metric_families(done.stdout)}
        for expr in wanted:
            names = re.findall(r"\b(?:skipd|ppk)_\w+", expr.replace("$skipd", ""))
            self.assertTrue(names, expr)
            labels = set(re.findall(r"(\w+)(?:=~|!=|=)\"", expr)) - {"job", "instance"}
            for by in re.findall(r"by \(([\w, ]*)\)", expr):
                labels |= set(by.split(", "))
            for name in names:
                if name.startswith("ppk_"):
                    self.assertIn(re.sub("_(total|bucket|sum|count)$", "", name), token, expr)
                else:
                    self.assertTrue([1 for n, have in samples if n == name and labels <= have], f"{name} {labels}: {expr}")

    def test_health(self):
        status, headers, body = self.curl("/health")
        health = json.loads(body)
        self.assertEqual((status, headers["content-type"], health["status"]), (200, "application/json", "ok"))
        self.assertEqual(health["links"][0], {"peer": "Bob", "up": True, "reason": ""})
        self.assertEqual(health["store"], {"ok": True, "reason": "", "queue": health["store"]["queue"], "keys": 0})
        self.bob.end()
        self.alice.wait_log("peer 'Bob': link is down")
        status, _, body = self.curl("/health", unix=False)
        health = json.loads(body)
        self.assertEqual((status, health["status"], health["links"][0]["up"]), (200, "degraded", False))
        self.assertIn("down", health["links"][0]["reason"])

    def test_health_without_a_store(self):
        resource.prlimit(self.alice.process.pid, resource.RLIMIT_FSIZE, (4096, 4096))  # as good as a full disk
        self.assertEqual(self.b.new_key("Alice")[0], 503)
        time.sleep(1.5)  # looking for what has expired needs no disk, and tells nothing
        status, _, body = self.curl("/health")
        self.assertEqual((status, json.loads(body)["status"]), (503, "failed"))
        self.assertFalse(json.loads(body)["store"]["ok"])
        self.assertTrue(json.loads(body)["store"]["reason"])
        self.assertIn("store failing", self.curl("/")[2])
        m = self.metrics()
        self.assertEqual(self.value(m, "skipd_store_up"), 0)
        self.assertEqual(self.value(m, "skipd_store_failures_total"), 1)
        self.assertEqual(self.value(m, "skipd_keys_received_total", peer="Bob", result="failed"), 1)

    def test_methods_paths_and_hosts(self):
        for verb in ("POST", "PUT", "DELETE", "OPTIONS", "PATCH"):
            status, headers, _ = self.curl("/", "-X", verb)
            self.assertEqual((status, headers["allow"]), (405, "get, head"))
        for path in ("/", "/metrics", "/health"):
            status, headers, body = self.curl(path, "--head")
            self.assertEqual((status, body), (200, ""))
            self.assertGreater(int(headers["content-length"]), 50)
            self.assertEqual((headers["cache-control"], headers["x-frame-options"], headers["connection"]), ("no-store", "deny", "close"))
            self.assertIn("default-src 'none'", headers["content-security-policy"])
        for path in ("/x", "//", "/metrics/", "/health/../", "/key?remoteSystemID=Bob"):
            self.assertEqual(self.curl(path, "--path-as-is")[0], 404)
        # over TCP only to those who meant this machine
        port = self.alice.ports["listen-admin"]
        for host in ("localhost", "LOCALHOST:1", f"127.0.0.1:{port}", "[::1]", "127.1.2.3"):
            self.assertEqual(self.curl("/health", "-H", f"Host: {host}", unix=False)[0], 200, host)
        for host in ("evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "127.evil", "localhostx", "[::2]", "[::1]x.evil", "1.2.3.4", ".", ""):
            self.assertEqual(self.curl("/health", "-H", f"Host: {host}" if host else "Host:", unix=False)[0], 421, host)
        self.assertEqual(self.curl("/health", "-H", "Host: evil.example")[0], 200)
        # nor is it the listener of SKIP, nor does that one serve this
        self.assertEqual(self.a.get("/metrics")[0], 404)

    def test_files_of_the_socket(self):
        path = os.path.join(self.directory, "admin.sock")
        self.assertEqual(stat.S_IMODE(os.stat(path).st_mode), 0o600)
        self.alice.end()
        self.assertFalse(os.path.exists(path))
        self.alice.start()
        self.alice.end(signal.SIGKILL)
        self.assertTrue(os.path.exists(path))  # nobody listens at it: it is taken over
        self.alice.start()
        self.assertEqual(self.curl("/health")[0], 200)

    def test_bounds(self):
        """More connections than are served at once, and none of them says anything."""
        held = [socket.create_connection(("127.0.0.1", self.alice.ports["listen-admin"]), timeout=15) for _ in range(30)]
        began = time.monotonic()
        self.assertEqual(self.a.new_key("Bob")[0], 200)  # clients do not notice
        descriptors = len(os.listdir(f"/proc/{self.alice.process.pid}/fd"))
        self.assertLess(descriptors, 60)
        self.assertEqual(held[0].recv(1), b"")  # ends in time
        self.assertLess(time.monotonic() - began, 10)
        for s in held:
            s.close()
        self.assertEqual(self.curl("/health")[0], 200)
        # headers and bodies that are too long
        connection = http.client.HTTPConnection("127.0.0.1", self.alice.ports["listen-admin"], timeout=10)
        connection.request("GET", "/", headers={"X": "x" * 6000})
        self.assertEqual(connection.getresponse().status, 400)
        connection.close()
        self.assertEqual(self.curl("/health", "--data", "x" * 100000)[0], 405)
        for nonsense in (b"GET / HTTP/9.9\r\n\r\n", b"GET\r\n\r\n", b"\0\r\n\r\n", b"\r\n\r\n", b"GET http://x/ HTTP/1.1\r\n\r\n", b"GET  / HTTP/1.1\r\n\r\n"):
            with socket.create_connection(("127.0.0.1", self.alice.ports["listen-admin"]), timeout=15) as s:
                s.sendall(nonsense)
                self.assertTrue(s.recv(100).startswith(b"HTTP/1.1 400 "), nonsense)
        with socket.create_connection(("127.0.0.1", self.alice.ports["listen-admin"]), timeout=15) as s:
            s.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\nhOST: evil.example\r\n\r\n")
            self.assertTrue(s.recv(100).startswith(b"HTTP/1.1 421 "))

    def test_the_page(self):
        ids, keys = self.use()
        status, headers, body = self.curl("/")
        self.assertEqual((status, headers["content-type"]), (200, "text/html; charset=utf-8"))
        for word in ids + keys:
            for text in (body, self.curl("/metrics")[2], self.curl("/health")[2]):
                self.assertNotIn(word, text)

        class Reader(HTMLParser):
            tags, text = [], ""

            def handle_starttag(self, tag, attributes):
                self.tags.append(tag)

            def handle_data(self, data):
                self.text += data + "\n"

        page = Reader()
        page.feed(body)
        self.assertFalse({"img", "script", "iframe", "form", "input", "object"} & set(page.tags))
        self.assertIn(ODD, page.text)
        self.assertIn("working", page.text)

    @unittest.skipIf(CHROMIUM is None or os.environ.get("SKIPD_SANITIZED"), "no chromium, or the page was looked at in another build")
    def test_the_page_in_a_browser(self):
        self.use()
        url = f"http://127.0.0.1:{self.alice.ports['listen-admin']}/"

        picture = os.environ.get("PPK_SCREENSHOT") or os.path.join(self.directory, "page.png")
        dom = subprocess.run([CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
                              "--disable-component-update", "--disable-sync",
                              f"--user-data-dir={os.path.join(self.directory, 'chromium')}", "--dump-dom", f"--screenshot={picture}",
                              "--window-size=1200,1000", "--hide-scrollbars", url], capture_output=True, text=True, timeout=60, check=True,
                             env=dict(os.environ, HOME=self.directory)).stdout
        rows = {re.sub("<[^>]*>", "", r[0]): [re.sub("<[^>]*>", "", c) for c in re.findall(r"<td[^>]*>(.*?)</td>", r[1], re.S)]
                for r in re.findall(r'<tr><th scope="row">(.*?)</th>(.*?)</tr>', dom, re.S)}
        self.assertEqual(rows["Bob"][:3], ["● up", "5", "0"])
        self.assertEqual(rows["enc-a"][:6], ["Alice", "5", "1", "3", "0", "1"])
        self.assertEqual(rows["nobody's"][4], "1")
        self.assertIn("&lt;img", [r for r in rows if "img" in r][0])
        self.assertRegex(dom, r'id="chart-delivered".*<rect class="delivered"')
        self.assertRegex(dom, r'id="chart-failed".*<rect class="failed"')
        with open(picture, "rb") as f:
            content = f.read()
        self.assertEqual((content[:8], content[16:24]), (b"\x89PNG\r\n\x1a\n", (1200).to_bytes(4, "big") + (1000).to_bytes(4, "big")))
        self.assertGreater(len(content), 20000)  # something is drawn

    def test_configurations_that_cannot_be(self):
        with open(self.alice.file("conf"), encoding="utf-8") as f:
            basis = f.read()
        for line, reason in (("admin ipv4 0.0.0.0 port 9000", "for this machine only"), ("admin ipv4 192.0.2.1 port 9000", "for this machine only"),
                             ("admin ipv6 :: port 9000", "for this machine only"), ("admin unix x mode 9", "octal"), ("admin unix x mode 7777", "octal"),
                             ("admin unix " + "x" * 120, "107 bytes"), (f"admin ipv6 ::1 port {self.alice.peers_port}", "no admin port")):
            path = os.path.join(self.directory, "wrong.conf")
            with open(path, "w", encoding="utf-8") as f:
                os.chmod(path, 0o600)
                f.write(basis + "\nend\n" + line + "\n")
            done = subprocess.run([SKIPD, "-t", "-c", path], capture_output=True, text=True, timeout=20, check=False)
            self.assertEqual(done.returncode, 1, line)
            self.assertRegex(done.stderr, r"wrong.conf:\d+: .*" + reason)


if __name__ == "__main__":
    unittest.main()
