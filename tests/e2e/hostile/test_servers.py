#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
"""Several servers, many threads, forks, signals and interruptions: the client over real connections."""
import sys, time
from testbed import Testbed, free_port

BOB = ["--ca", "ca.pem", "--remote", "Bob"]


def at(*ports):
    return [x for p in ports for x in ("--server", "ipv4:%d:127.0.0.1" % p)]


def failover(b):
    good, dead = b.serve(log="good"), free_port()
    lines = b.probe(*BOB, *at(dead, good), "key", "key", "status")
    for line in lines[:2]:
        words = b.expect_key(line, "failover")
        b.check(words.get("server") == "127.0.0.1:%d" % good, "failover: " + line)
    b.check("failures=1" in lines[2] and "failures=0" in lines[3], "failover: status %s" % lines[2:])
    for scenario, by_id in (("status-503", "OK"), ("cut-json", "OK"), ("deaf", "OK"), ("huge", "OK"), ("status-403", "REFUSED"), ("status-400", "NO_SUCH_KEY")):
        line = b.probe("--ca", "ca.pem", "--remote", "Bob", *at(b.serve(scenario), good), "id:00ff")[0]
        b.expect(line, by_id, "", 2500, what="failover from " + scenario)
    # What a second server does not have may have been lost at the first.
    line = b.probe(*BOB, *at(b.serve("deaf"), b.serve("status-400")), "id:00ff")[0]
    b.expect(line, "UNREACHABLE", "(Empty reply|closed the connection).*no key of this ID", what="lost")
    line = b.probe(*BOB, *at(dead, b.serve("status-400")), "id:00ff")[0]
    b.expect(line, "NO_SUCH_KEY", "no key of this ID", what="not lost")
    # All the servers are named, each with its reason.
    line = b.probe(*BOB, *at(dead, b.serve("status-500"), b.serve("odd-hex")), "key")[0]
    b.expect(line, "UNREACHABLE", "127.0.0.1:%d: cannot be connected to: Connection refused; 127.0.0.1:.*status 500; .*odd number" % dead, what="three reasons")


def time_bound(b):
    good = b.serve()
    for scenario in ("hung", "drip", "drip-header", "tls-hung", "caps-hung"):
        hung = b.serve(scenario)
        b.expect(b.probe(*BOB, "--timeout", 600, "id:00ff", port=hung)[0], "UNREACHABLE", "no (complete answer|connection|answer) after", 1000, 550, what="bound, " + scenario)
        # Without hedging the two share the time; with it the second is asked at once.
        line = b.probe(*BOB, "--timeout", 1000, *at(hung, good), "key")[0]
        b.expect_key(line, "half the time, " + scenario)
        b.expect(line, "OK", "", 950, 450, what="half the time, " + scenario)
        lines = b.probe(*BOB, "--timeout", 3000, "--hedge", 100, *at(hung, good), "id:00ff", "id:00ee", "status")
        b.expect(lines[0], "OK", "", 1500, 95, what="hedged, " + scenario)
        b.expect(lines[1], "OK", "", 95, what="set aside, " + scenario)
        b.check("failures=1" in lines[2] and "no answer after" in lines[2], "hedged: status " + lines[2])


def threads(b):
    port = b.serve(log="threads")
    lines = b.probe(*BOB, "--timeout", 20000, "--threads", 64, *["key"] * 4, "counts", port=port)
    for line in lines[:-1]:
        b.expect_key(line, "64 threads")
    b.check(len(lines) == 257 and "capabilities=1/1/0 key=256/256/0" in lines[-1], "64 threads: %s" % lines[-1])
    b.check(b.log("threads").count("GET /capabilities") == 1, "64 threads asked for the capabilities once")
    ids = [line.partition(" id=")[2] for line in lines[:-1]]
    b.check(len(set(ids)) == 256, "64 threads: an ID came twice")


def forks(b):
    port = b.serve()
    lines = b.probe(*BOB, "fork", port=port)
    b.check(len(lines) == 3, "fork: %s" % lines)
    for line in lines:
        b.expect_key(line, "fork")


def interrupts(b):
    line = b.probe(*BOB, "--timeout", 20000, "--threads", 8, "sleep-interrupt:300", "key", "key", port=b.serve("hung"))
    b.check(len(line) == 16, "interrupt: %s" % line)
    for one in line:
        b.expect(one, "UNREACHABLE", "interrupted", 3000, what="interrupt")


def resets(b):
    """A server that goes away under a kept connection: no SIGPIPE (the probe would die of it), and the next answer is good."""
    port = b.serve("close-after")
    for line in b.probe(*BOB, *["key", "wait:20"] * 10, port=port):
        b.expect_key(line, "resets")
    first = b.start([sys.executable, b.here("hostile_server.py"), "--cert", "server.pem", "--key", "server.key", "--port", str(port := free_port())], stdout=-1)
    first.stdout.readline()
    probe = b.start([b.tests + "/skip_probe", *BOB, *at(port), "key", "wait:1500", "key", "wait:1500", "key"], stdout=-1)
    b.expect_key(probe.stdout.readline().strip(), "before its end")
    b.stop(first)
    b.expect(probe.stdout.readline().strip(), "UNREACHABLE", "cannot be connected to: Connection refused", what="while it is away")
    again = b.start([sys.executable, b.here("hostile_server.py"), "--cert", "server.pem", "--key", "server.key", "--port", str(port)], stdout=-1)
    again.stdout.readline()
    b.expect_key(probe.stdout.readline().strip(), "when it is back")
    b.check(probe.wait(10) == 0, "skip_probe ended with %s" % probe.returncode)


def main(build):
    with Testbed(build) as b:
        for part in (failover, time_bound, threads, forks, interrupts, resets):
            part(b)
        return b.end()


sys.exit(main(sys.argv[1]))
