#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
"""Two tokens with 200 peers and 8 threads each, two skipd, a flapping server in front of each, and everything that can be
restarted, hung, killed and reloaded, all the time: soak.py [SECONDS] (default 60). Every key that is found at one end is
the other's; nothing leaks; nobody waits longer than the bound. Needs PPK_TOKEN and PPK_SKIPD."""
import json, os, random, secrets, shutil, signal, subprocess, sys, tempfile, threading, time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "tools"))
import testbed

PEERS, THREADS, TIMEOUT_MS, MARGIN_MS, WARM_S = 200, 8, 2000, 1500, 20
GROWTH_KIB, LOCKED_KIB, MORE_DESCRIPTORS, MORE_THREADS = 24 * 1024, 256, 48, 2


class Source(testbed.KeySource):
    """A skipd that is started again with the same store."""

    def start(self, other, link_psk):
        if self.process is None and not os.path.exists(os.path.join(self.folder, self.name + ".conf")):
            return super().start(other, link_psk)
        ready = os.path.join(self.folder, self.name + ".ready")
        if os.path.exists(ready):
            os.unlink(ready)
        with open(self.log_path, "a") as log:
            self.process = subprocess.Popen([testbed.SKIPD, "-c", os.path.join(self.folder, self.name + ".conf"), "--ready-file", ready],
                                            stdin=subprocess.DEVNULL, stdout=log, stderr=log, env={**os.environ, "PPK_LOG": "stderr:notice"})
        self.wait(lambda: os.path.exists(ready), "did not start")

    def kill(self):
        self.process.kill()
        self.process.wait()


class End:
    """A key source, the flapping server in front of it, and the token's process."""

    def __init__(self, folder, source, remote, role):
        self.folder, self.source, self.remote, self.role = folder, source, remote, role
        self.proxy_port, self.proxy, self.stats, self.reloads, self.on_key = testbed.free_port(), None, [], 0, None

    def configure(self):
        self.reloads += 1
        text = "status directory off\nkeyring dynamic\n" + "".join(
            " peer peer%d\n  ppk dynamic ks required\n  remote-system-id %s\n" % (i, self.remote) for i in range(PEERS))
        text += " peer guest%d\n  pre-shared-key secret%d\n" % (self.reloads % 3, self.reloads)
        text += ("sks profile ks type remote\n kme server ipv4 127.0.0.1 port %d\n kme server ipv4 127.0.0.1 port %d\n"
                 " tls psk id encryptor-%s key hex %s\n timeout %d\n hedge 200\n prefetch 2\n lifetime %d\n"
                 % (self.proxy_port, self.source.port, self.source.name, self.source.psk, TIMEOUT_MS, 60 + self.reloads % 2))
        path = self.source.write("ppk.conf.new", text)
        os.rename(path, path[:-4])
        return path[:-4]

    def start(self):
        self.flap_start()
        self.log = open(os.path.join(self.folder, self.role + ".log"), "w")
        self.process = subprocess.Popen([sys.executable, os.path.join(HERE, "soak_gateway.py"), self.role, str(PEERS), str(THREADS)],
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.log, text=True,
                                        env={**os.environ, "PPK_CONF": self.configure(), "PPK_LOG": "file=%s:notice" % self.log.name})
        threading.Thread(target=self.read, daemon=True).start()

    def read(self):
        for line in self.process.stdout:
            word, rest = line.split(" ", 1)
            if word == "stat":
                self.stats.append(json.loads(rest))
            elif self.on_key:
                self.on_key(rest)

    def flap_start(self):
        self.proxy = subprocess.Popen([sys.executable, os.path.join(HERE, "soak_proxy.py"), str(self.proxy_port), str(self.source.port)],
                                      stderr=subprocess.DEVNULL)

    def flap_stop(self):
        self.proxy.kill()
        self.proxy.wait()

    def stop(self):
        self.process.kill()
        self.process.wait()
        self.flap_stop()
        self.source.stop()


def trouble(ends, link_psk, done):
    """One thing that goes wrong, and is put right."""
    end = random.choice(ends)
    what = random.choice(["refused", "hung", "kill -9", "restart", "reload token", "reload token", "reload skipd"])
    if what == "refused":
        end.flap_stop()
        time.sleep(random.random())
        end.flap_start()
    elif what == "hung":
        end.proxy.send_signal(signal.SIGSTOP)
        time.sleep(random.random() * 2)
        end.proxy.send_signal(signal.SIGCONT)
    elif what in ("kill -9", "restart"):
        (end.source.kill if what == "kill -9" else end.source.stop)()
        time.sleep(random.random() / 2)
        end.source.start(ends[1 - ends.index(end)].source, link_psk)
    elif what == "reload token":
        end.configure()
    else:
        end.source.process.send_signal(signal.SIGHUP)
    done[what] = done.get(what, 0) + 1


def judge(ends, errors):
    for end in ends:
        warm, last = end.stats[WARM_S], end.stats[-1]
        print("%s: %s" % (end.role, json.dumps(last)), "warm: rss_kib=%d locked_kib=%d descriptors=%d threads=%d"
              % (warm["rss_kib"], warm["locked_kib"], warm["descriptors"], warm["threads"]))
        if end.process.poll() is not None:
            errors.append(end.role + " ended")
        errors += [end.role + ": " + w for w in last["wrong"][:20]]
        for name, more in (("rss_kib", GROWTH_KIB), ("locked_kib", LOCKED_KIB), ("descriptors", MORE_DESCRIPTORS), ("threads", MORE_THREADS)):
            if last[name] > warm[name] + more:
                errors.append("%s: %s grew from %d to %d" % (end.role, name, warm[name], last[name]))
        if last["longest_ms"] > TIMEOUT_MS + MARGIN_MS:
            errors.append("%s: a call took %d ms" % (end.role, last["longest_ms"]))
        if last["good"] < 100:
            errors.append("%s: only %d keys" % (end.role, last["good"]))


def main():
    seconds = int(sys.argv[1]) if len(sys.argv) > 1 else 60
    folder, link_psk, errors, done = tempfile.mkdtemp(prefix="ppk-soak-"), secrets.token_hex(32), [], {}
    alice, bob = Source(folder, "Alice", "Bob"), Source(folder, "Bob", "Alice")
    ends = [End(folder, alice, "Bob", "initiator"), End(folder, bob, "Alice", "responder")]
    try:
        alice.start(bob, link_psk)
        bob.start(alice, link_psk)
        alice.wait_link()
        bob.wait_link()
        ends[1].start()

        def hand_on(line):
            ends[1].process.stdin.write(line)
            ends[1].process.stdin.flush()

        ends[0].on_key = hand_on
        ends[0].start()
        until = time.monotonic() + seconds
        while time.monotonic() < until - 5:
            time.sleep(random.random() * 2)
            trouble(ends, link_psk, done)
        time.sleep(5)
        judge(ends, errors)
        print("troubles: %s" % json.dumps(done))
        for end in ends:
            with open(end.log.name) as f:
                text = f.read()
            print("%s: the token reloaded %d times" % (end.role, text.count("has changed and is in effect")))
            if "has changed and is in effect" not in text or "cannot be used" in text or "Traceback" in text:
                errors.append(end.role + ": " + text[-1500:])
    finally:
        for end in ends:
            if end.proxy:
                end.stop()
        for source in (alice, bob):
            source.stop()
        shutil.rmtree(folder, True)
    print("\n".join(errors) or "all is well")
    return 1 if errors else 0


sys.exit(main())
