#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
"""Each fault of a key source at each kind of request, through the built module: test_faults.py BUILD [--write]. Prints the
table; docs/faults.md is made of it, and must be up to date. In a network namespace of its own, since it answers DNS."""
import concurrent.futures, json, os, re, socket, subprocess, sys, threading

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "hostile"))
from fault_source import ANSWERS, EARLIER
from testbed import Testbed

KINDS = ["capabilities", "new key", "key by ID", "entropy", "C_GenerateKey", "pooled search"]
DOC = os.path.join(HERE, "..", "..", "..", "docs", "faults.md")
TIMEOUT_MS, MARGIN_MS = 1000, 2000
FAULTS = EARLIER[:2] + list(ANSWERS) + EARLIER[2:]
NO_SUCH_KEY, REFUSALS = ("400", "404", "410"), ("400", "401", "403", "404", "410")


def dns():
    """Says that gone.example does not exist, and nothing of other names."""
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.bind(("127.0.0.1", 53))
    while True:
        query, at = s.recvfrom(512)
        if b"\4gone" in query:
            s.sendto(query[:2] + b"\x81\x83" + query[4:6] + b"\0\0\0\0\0\0" + query[12:], at)


def wanted(fault, kind):
    """CK_RV and number of objects."""
    if kind == "entropy":
        return 0, 0
    if kind == "pooled search":
        return 0, 1
    if kind == "key by ID" and fault in NO_SUCH_KEY:
        return 0, 0
    if kind == "capabilities" and fault in NO_SUCH_KEY:  # it tells none: the token goes on without
        return 0, 1
    return 0x30, 0


def check(bed, fault, kind, got):
    rv, found = wanted(fault, kind)
    what = "%s, %s: %s" % (fault, kind, got)
    bed.check(got["rv"] == rv and (rv != 0 or found == got["found"]), "CK_RV or objects: " + what)
    bed.check(max(got["ms"]) <= TIMEOUT_MS + MARGIN_MS, "time: " + what)
    aside = [line for line in got["log"] if line.endswith("; set aside")]
    bed.check(not any("interrupted" in line for line in got["log"]), "the end is no fault: " + what)
    bed.check(len(aside) <= 1, "one line per change: " + what)
    if rv != 0:
        bed.check(any(re.match(r"C_FindObjects|C_GenerateKey", line) for line in got["log"]), "no line: " + what)
    if rv != 0 and fault not in REFUSALS:
        bed.check(len(aside) == 1, "set aside: " + what)


def waits(got):
    """Did the first answer take the whole timeout? The second one has to say so, too, unless it was not asked: the machine may be slow."""
    first, second = got["ms"]
    return first >= TIMEOUT_MS * 0.95 and (second >= TIMEOUT_MS * 0.95 or second < 5)


def cell(fault, kind, got):
    if got is None:
        return "–"
    rv = "CKR_OK" if got["rv"] == 0 else "CKR_DEVICE_ERROR" if got["rv"] == 0x30 else hex(got["rv"])
    objects = ", none found" if kind == "key by ID" and got["rv"] == 0 else ""
    return rv + objects + (", waits" if waits(got) else "")


def reason(got):
    """The log's line, without what changes from run to run."""
    for line in got["log"]:
        m = re.match(r"(?:warning: )?sks profile s\d: \S+: (.*?)(?:; set aside)?$", line) or re.search(r"sks profile s\d: (.*)$", line)
        if m:
            text = re.sub(r"127\.0\.0\.1:\d+: |(gone|hung)\.example:\d+: | \([^)]*(timed out|timeout)[^)]*\)|: OpenSSL/.*", "", m.group(1))
            return re.sub(r"\b[0-9a-f]{32}\b", "ID", re.sub(r"\d+ ms", "N ms", text)).replace("|", "\\|")
    return ""


def table(results):
    lines = ["# What the token says when a key source fails", "",
             "Each fault at each kind of request, as `tests/e2e/faults/test_faults.py` sees it with one server and a timeout of one second; it fails if this page",
             "is out of date. *waits*: the answer comes when the timeout is over; all others come at once. The log's line comes once per change of state.", "",
             "| fault | " + " | ".join(KINDS) + " | the log's reason |", "|---" * (len(KINDS) + 2) + "|"]
    for fault in FAULTS:
        got = results[fault]
        told = got.get("new key") or got.get("key by ID")
        lines.append("| %s | %s | %s |" % (fault, " | ".join(cell(fault, k, got.get(k)) for k in KINDS), reason(told)))
    return "\n".join(lines) + "\n"


def main():
    build = os.path.abspath(sys.argv[1])
    if os.geteuid() != 0:
        print("needs root, for a network namespace")
        return 77
    if "--inside" not in sys.argv:
        return subprocess.run(["unshare", "--net", "--mount", sys.executable, *sys.argv, "--inside"]).returncode
    with Testbed(build) as bed:
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
        with open(bed.path("resolv.conf"), "w") as f:
            f.write("nameserver 127.0.0.1\n")
        subprocess.run(["mount", "--bind", bed.path("resolv.conf"), "/etc/resolv.conf"], check=True)
        threading.Thread(target=dns, daemon=True).start()
        psk = bed.front(bed.serve(plain=True), "fault:" + "cd" * 32)

        def run(fault):
            p = subprocess.run([sys.executable, os.path.join(HERE, "fault_worker.py"), os.path.join(build, "lib", "ppk-pkcs11.so"), bed.dir, fault, str(psk)],
                               capture_output=True, text=True, timeout=120)
            bed.check(p.returncode == 0, "%s: %s" % (fault, p.stderr[-1500:]))
            return fault, json.loads(p.stdout or "{}")

        with concurrent.futures.ThreadPoolExecutor(6) as pool:
            results = dict(pool.map(run, sorted(FAULTS, key=lambda f: "hung" not in f)))
        for fault in FAULTS:
            for kind, got in results[fault].items():
                check(bed, fault, kind, got)
                print("%-20s %-14s rv=0x%02x found=%d ms=%s %s" % (fault, kind, got["rv"], got["found"], ["%.0f" % m for m in got["ms"]], got["log"][:1]))
        text = table(results)
        if "--write" in sys.argv:
            with open(DOC, "w") as f:
                f.write(text)
        with open(DOC) as f:
            bed.check(f.read() == text, "docs/faults.md is out of date: run this test with --write\n" + text)
        return bed.end()


sys.exit(main())
