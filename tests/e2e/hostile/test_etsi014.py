# SPDX-License-Identifier: BSD-2-Clause
"""ETSI GS QKD 014 over mutual certificates: keys at both ends, and each wrong answer told as what it is."""
import os, re, subprocess, sys

from testbed import Testbed, free_port

MANY = 10000
ID = "00112233445566778899aabbccddeeff"
UUID = "00112233-4455-6677-8899-aabbccddeeff"
# scenario: result of a new key, of a key by its ID, and a pattern of the reason of both.
CASES = {
    "two-keys": ("UNREACHABLE", "UNREACHABLE", "2 members"), "no-keys": ("UNREACHABLE", "UNREACHABLE", "0 members"),
    "skip-answer": ("UNREACHABLE", "UNREACHABLE", "missing or no list"), "other-id": ("OK", "UNREACHABLE", "not with the one that was asked for"),
    "no-id": ("UNREACHABLE", "UNREACHABLE", 'no "key_ID"'), "hex-key": ("UNREACHABLE", "UNREACHABLE", "no base64"),
    "short-key": ("UNREACHABLE", "UNREACHABLE", "128 bits"), "not-json": ("UNREACHABLE", "UNREACHABLE", "not JSON"),
    "list": ("UNREACHABLE", "UNREACHABLE", "no JSON object"), "key-in-error": ("UNREACHABLE", "UNREACHABLE", "not shown"),
    "hung": ("UNREACHABLE", "UNREACHABLE", "no (complete )?answer"),
    "status-400": ("REFUSED", "NO_SUCH_KEY", "told as 400"), "status-401": ("REFUSED", "REFUSED", "told as 401"),
    "status-403": ("REFUSED", "REFUSED", "told as 403"), "status-404": ("REFUSED", "NO_SUCH_KEY", "told as 404"),
    "status-409": ("UNREACHABLE", "NO_SUCH_KEY", "told as 409"), "status-412": ("UNREACHABLE", "NO_SUCH_KEY", "told as 412"),
    "status-500": ("UNREACHABLE", "UNREACHABLE", "told as 500"), "status-503": ("UNREACHABLE", "UNREACHABLE", "told as 503"),
    "status-504": ("UNREACHABLE", "UNREACHABLE", "told as 504"),
}


def fields(line):
    return dict(w.split("=", 1) for w in line.split() if "=" in w)


def token(b, build, port, name, other, *words):
    """ppkctl fetch through the built token, at one end: what it printed, by name."""
    os.chmod(b.path(name + ".key"), 0o600)
    with open(b.path(name + ".conf"), "w", encoding="ascii") as f:
        os.chmod(f.name, 0o600)
        f.write("keyring k\n peer gateway\n  ppk dynamic qkd required\n  remote-system-id %s\nsks profile qkd type etsi014\n"
                " kme server ipv4 127.0.0.1 port %d\n local-system-id %s\n tls trustpoint ca.pem\n tls certificate %s.pem key %s.key\n"
                % (other, port, name, name, name))
    run = subprocess.run([os.path.join(build, "bin", "ppkctl"), "fetch", "gateway", "--config", f.name, "--module",
                          os.path.join(build, "lib", "ppk-pkcs11.so"), *words], capture_output=True, text=True, timeout=60, check=False)
    return {**dict(re.findall(r"^(PPK ID|size|hmac) +(.*)$", run.stdout, re.M)), "errors": run.stderr}


def main(build):
    with Testbed(build) as b:
        for name in ("sae-a", "sae-b"):
            b.authority.sign(name, "DNS:" + name)

        def serve(log):
            p = b.start([sys.executable, b.here("etsi014_server.py"), "--cert", "server.pem", "--key", "server.key", "--ca", "ca.pem",
                         "--log", b.path(log)], stdout=subprocess.PIPE)
            return int(p.stdout.readline())

        def ask(name, remote, *commands, at, more=()):
            return b.probe("--type", "etsi014", "--ca", "ca.pem", "--cert", name + ".pem", "--key", name + ".key", "--remote", remote,
                           "--timeout", 2000, *more, *commands, port=at)

        port = serve("requests")
        # A new key at one end is the key of its ID at the other, once.
        for size in (256, 512, 1024):
            a = ask("sae-a", "sae-b", "key", at=port, more=("--size", size))[0]
            b.check(a.startswith("OK ") and fields(a)["bits"] == str(size) and len(fields(a)["id"]) == 32, "new key: " + a)
            other, again = ask("sae-b", "sae-a", "id:" + fields(a)["id"], "id:" + fields(a)["id"], at=port)
            b.check(other.startswith("OK ") and all(fields(other)[f] == fields(a)[f] for f in ("bits", "sha256", "id")), "the other end: " + other)
            b.expect(again, "NO_SUCH_KEY", "not found on KME", MANY, what="a second time")
        # By the UUID as text too, as an IKE stack may send it.
        a = fields(ask("sae-a", "sae-b", "key", at=port)[0])
        text = "-".join((a["id"][:8], a["id"][8:12], a["id"][12:16], a["id"][16:20], a["id"][20:]))
        other = fields(ask("sae-b", "sae-a", "id:" + text, at=port)[0])
        b.check(other.get("sha256") == a["sha256"] and other["id"] == text, "by the UUID's text")
        requests = b.log("requests")
        b.check('POST /api/v1/keys/sae-b/enc_keys {"number":1,"size":512}' in requests, "enc_keys: %s" % requests)
        b.check('POST /api/v1/keys/sae-a/dec_keys {"key_IDs":[{"key_ID":"%s"}]}' % text in requests, "dec_keys: %s" % requests)

        # The same through the token: one MAC at both ends, and nobody has the key any more.
        new = token(b, build, port, "sae-a", "sae-b", "--hmac", "a text")
        key_id = new.get("PPK ID", "").split(" ")[0]
        b.check(len(key_id) == 32 and new.get("size") == "256 bits", "token, new: %s" % new)
        old = token(b, build, port, "sae-b", "sae-a", "--id", key_id, "--hmac", "a text")
        b.check(re.fullmatch("[0-9a-f]{64}", new.get("hmac", "")) and new["hmac"] == old.get("hmac"), "token, by ID: %s" % old)
        gone = token(b, build, port, "sae-b", "sae-a", "--id", key_id)
        b.check("nobody has a PPK of this ID" in gone["errors"], "token, again: %s" % gone)

        # The status: what it tells, and what it forbids.
        caps = ask("sae-a", "sae-b", "caps", at=port)[0]
        b.check(caps.startswith("OK ") and "local=sae-a remote=sae-b" in caps and "entropy=0 key=1" in caps, "status: " + caps)
        b.expect(ask("sae-a", "sae-b", "key", at=port, more=("--size", 2048))[0], "REFUSED", "at most 1024 bits", MANY, what="size")
        b.expect(ask("sae-a", "sae-b", "key", at=port, more=("--local", "Eve"))[0], "REFUSED", 'takes us for system "sae-a"', MANY, what="local")
        b.expect(ask("sae-a", "sae-b", "entropy:256", at=port)[0], "REFUSED", "gives no entropy", MANY, what="entropy")

        # Nobody without a certificate of the right authority, on either side.
        b.expect(b.probe("--type", "etsi014", "--ca", "ca.pem", "--remote", "sae-b", "--timeout", 1000, "key", port=port)[0], "UNREACHABLE", "",
                 MANY, what="no certificate")
        b.expect(ask("strange-client", "sae-b", "key", at=port)[0], "UNREACHABLE", "", MANY, what="a stranger's certificate")
        b.expect(b.probe("--type", "etsi014", "--ca", "other-ca.pem", "--cert", "sae-a.pem", "--key", "sae-a.key", "--remote", "sae-b",
                         "--timeout", 1000, "key", port=port)[0], "UNREACHABLE", "certificate", MANY, what="a server of another authority")

        for name, (new, by_id, reason) in CASES.items():
            before = len(b.log("requests"))
            lines = ask("sae-a", name, "key", "id:" + ID, at=port)
            for line, result in zip(lines, (new, by_id)):
                b.expect(line, result, "" if result == "OK" else reason, MANY, what=name)
            # A key is asked for once by its ID, whatever happens.
            asked = [r for r in b.log("requests")[before:] if "dec_keys" in r]
            b.check(asked == ['POST /api/v1/keys/%s/dec_keys {"key_IDs":[{"key_ID":"%s"}]}' % (name, UUID)], "%s: asked: %s" % (name, asked))

        # A dead server first: the next one is asked.
        line = ask("sae-a", "sae-b", "key", at=free_port(), more=("--server", "ipv4:%d:127.0.0.1" % port))[0]
        b.check(line.startswith("OK ") and "server=127.0.0.1:%d " % port in line, "failover: " + line)
        return b.end()


sys.exit(main(sys.argv[1]))
