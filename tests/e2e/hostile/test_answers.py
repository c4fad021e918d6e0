#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
"""Every way in which a key source can misbehave over a good TLS connection: what the client makes of it, for a new key and by ID."""
import sys
from testbed import Testbed

ID = "c0ffee00c0ffee00c0ffee00c0ffee00"
MANY = 8000  # ms: more than any of them may take


def patience(scenario):
    """The timeout, in ms: short where it is the answer, long enough for a busy machine elsewhere."""
    return 1000 if "hung" in scenario or "drip" in scenario else 5000


# scenario: (result of a new key, result by ID, pattern of the reason)
CASES = {
    "good": ("OK", "OK", ""), "upper": ("OK", "OK", ""), "more-members": ("OK", "OK", ""), "chunked": ("OK", "OK", ""),
    "close-after": ("OK", "OK", ""), "announced-close": ("OK", "OK", ""), "slow": ("OK", "OK", ""), "escaped-name": ("OK", "OK", ""),
    "hung": ("UNREACHABLE", "UNREACHABLE", "no (complete )?answer after"),
    "drip": ("UNREACHABLE", "UNREACHABLE", "no (complete )?answer after"),
    "drip-header": ("UNREACHABLE", "UNREACHABLE", "no (complete )?answer after"),
    "redirect": ("UNREACHABLE", "UNREACHABLE", "302, a redirection, which is not followed"),
    "redirect-plain": ("UNREACHABLE", "UNREACHABLE", "301, a redirection, which is not followed"),
    "status-201": ("UNREACHABLE", "UNREACHABLE", "status 201"), "status-204": ("UNREACHABLE", "UNREACHABLE", "status 204"),
    "status-206": ("UNREACHABLE", "UNREACHABLE", "status 206"), "status-300": ("UNREACHABLE", "UNREACHABLE", "status 300"),
    "status-400": ("REFUSED", "NO_SUCH_KEY", "status 400"), "status-401": ("REFUSED", "REFUSED", "status 401: we are not auth"),
    "status-403": ("REFUSED", "REFUSED", "status 403: we are not allowed"), "status-404": ("REFUSED", "NO_SUCH_KEY", "status 404"),
    "status-405": ("REFUSED", "REFUSED", "status 405"), "status-408": ("UNREACHABLE", "UNREACHABLE", "status 408"),
    "status-410": ("REFUSED", "NO_SUCH_KEY", "status 410"), "status-429": ("UNREACHABLE", "UNREACHABLE", "status 429: too many"),
    "status-500": ("UNREACHABLE", "UNREACHABLE", "status 500"), "status-502": ("UNREACHABLE", "UNREACHABLE", "status 502"),
    "status-503": ("UNREACHABLE", "UNREACHABLE", "status 503"), "status-504": ("UNREACHABLE", "UNREACHABLE", "status 504"),
    "error-text": ("REFUSED", "NO_SUCH_KEY", r'status 400 \("remote system unknown"\)'),
    "error-key": ("REFUSED", "NO_SUCH_KEY", "status 400 .with a text that is not shown"),
    "cut-json": ("UNREACHABLE", "UNREACHABLE", "not JSON"), "cut-length": ("UNREACHABLE", "UNREACHABLE", "cut off"),
    "cut-chunk": ("UNREACHABLE", "UNREACHABLE", "cut off|unexpected eof"), "cut-eof-json": ("UNREACHABLE", "UNREACHABLE", "not JSON|unexpected eof"),
    # Whole JSON tells its own end, so an end of the connection without TLS's close_notify is no harm.
    "cut-eof": ("OK", "OK", ""),
    "huge": ("UNREACHABLE", "UNREACHABLE", "longer than 65536 bytes"), "huge-chunked": ("UNREACHABLE", "UNREACHABLE", "longer than 65536 bytes"),
    "huge-valid": ("UNREACHABLE", "UNREACHABLE", "longer than 65536 bytes"),
    "huge-header": ("UNREACHABLE", "UNREACHABLE", "header of its answer is longer than 16384 bytes"),
    "early-answers": ("UNREACHABLE", "UNREACHABLE", "header of its answer is longer than 16384 bytes"),
    "deep-object": ("UNREACHABLE", "UNREACHABLE", "nested too deeply"), "deep-array": ("UNREACHABLE", "UNREACHABLE", "nested too deeply"),
    "empty": ("UNREACHABLE", "UNREACHABLE", "not JSON"), "html": ("UNREACHABLE", "UNREACHABLE", "not JSON"),
    "trailing": ("UNREACHABLE", "UNREACHABLE", "not JSON"), "array": ("UNREACHABLE", "UNREACHABLE", "no JSON object"),
    "string": ("UNREACHABLE", "UNREACHABLE", "not JSON"), "binary": ("UNREACHABLE", "UNREACHABLE", "not JSON"),
    "nul": ("UNREACHABLE", "UNREACHABLE", "not JSON"),
    "no-key": ("UNREACHABLE", "UNREACHABLE", 'no "key"'), "no-key-id": ("UNREACHABLE", "UNREACHABLE", 'no "keyId"'),
    "null-key": ("UNREACHABLE", "UNREACHABLE", '"key" of its answer is no string'),
    "number-key": ("UNREACHABLE", "UNREACHABLE", '"key" of its answer is no string'),
    "array-key": ("UNREACHABLE", "UNREACHABLE", '"key" of its answer is no string'),
    "object-key": ("UNREACHABLE", "UNREACHABLE", '"key" of its answer is no string'),
    "number-key-id": ("UNREACHABLE", "UNREACHABLE", '"keyId" of its answer is no string'),
    "empty-key": ("UNREACHABLE", "UNREACHABLE", '"key" of its answer is empty'),
    "empty-key-id": ("UNREACHABLE", "UNREACHABLE", "keyId of its answer is empty"),
    "long-key-id": ("UNREACHABLE", "UNREACHABLE", "keyId of its answer is empty, too long"),
    "dot-key-id": ("UNREACHABLE", "UNREACHABLE", "keyId of its answer"), "control-key-id": ("UNREACHABLE", "UNREACHABLE", "control characters"),
    "non-hex": ("UNREACHABLE", "UNREACHABLE", "no hex digit"), "prefix-hex": ("UNREACHABLE", "UNREACHABLE", "no hex digit"),
    "odd-hex": ("UNREACHABLE", "UNREACHABLE", "odd number of hex digits"), "escaped-hex": ("UNREACHABLE", "UNREACHABLE", "no hex digit|odd number"),
    "short-key": ("UNREACHABLE", "UNREACHABLE", "128 bits"), "long-key": ("UNREACHABLE", "OK", "512 bits where 256 were asked for"),
    "giant-key": ("UNREACHABLE", "UNREACHABLE", "longer than 4096 bytes"),
    "other-id": ("OK?", "UNREACHABLE", "not with the one that was asked for"),
    "duplicate-key": ("UNREACHABLE", "UNREACHABLE", "duplicate"), "duplicate-key-id": ("UNREACHABLE", "UNREACHABLE", "duplicate"),
    "duplicate-other": ("UNREACHABLE", "UNREACHABLE", "duplicate"),
    "opaque-id": ("OK", "UNREACHABLE", "not with the one that was asked for"),
    "deaf": ("UNREACHABLE", "UNREACHABLE", "Empty reply|closed the connection without an answer|Connection reset"),
    "once-then-deaf": ("OK", "UNREACHABLE", "a key is not asked for twice by its ID"),
    "http09": ("UNREACHABLE", "UNREACHABLE", "HTTP/0.9"),
}


def main(build):
    with Testbed(build) as b:
        port = b.serve(log="requests")
        for name, (new, by_id, reason) in CASES.items():
            before = len(b.log("requests"))
            lines = b.probe("--ca", "ca.pem", "--remote", name, "--timeout", patience(name), "key", "id:" + ID, "counts", port=port)
            b.check(len(lines) == 3, name + ": three lines")
            for line, result in zip(lines, (new, by_id)):
                if result == "OK":
                    size = 512 if name == "long-key" else 256
                    b.expect_key(line, name, size) if name not in ("opaque-id",) else b.expect(line, "OK", what=name)
                elif result != "OK?":
                    b.expect(line, result, r"127\.0\.0\.1:%d: .*(%s)" % (port, reason), MANY, what=name)
            # A key is asked for once by its ID, whatever happens; a redirection is not followed.
            asked = [r for r in b.log("requests")[before:] if r.startswith("GET /key/")]
            b.check(asked == ["GET /key/%s?remoteSystemID=%s" % (ID, name)], "%s: asked for by ID: %s" % (name, asked))
            b.check("key-by-id=1/%d/%d" % (by_id == "OK", by_id != "OK") in lines[2], "%s: counts %s" % (name, lines[2]))

        # An ID that is not hex, verbatim, and back again.
        lines = b.probe("--ca", "ca.pem", "--remote", "opaque-id", "key", "id:KME/7 +&?#ü", port=port)
        b.expect_key(lines[1], "opaque ID")
        b.check("GET /key/KME%2F7%20%2B%26%3F%23%C3%BC?remoteSystemID=opaque-id" in b.log("requests"), "opaque ID is encoded")
        # IDs in upper and mixed case are sent as they are.
        lines = b.probe("--ca", "ca.pem", "--remote", "upper", "id:00aAbBcCdDeEfF00", port=port)
        b.expect_key(lines[0], "mixed case")
        for size in (128, 512, 1024, 8192):
            b.expect_key(b.probe("--ca", "ca.pem", "--remote", "Bob", "--size", size, "key", port=port)[0], "size", size)

        # Connections are kept: ten requests, one connection (seen by who closes after one).
        b.probe("--ca", "ca.pem", "--remote", "close-after", *["id:%032x" % i for i in range(10)], port=port)
        for i, line in enumerate(b.probe("--ca", "ca.pem", "--remote", "close-after", *["id:%032x" % i for i in range(10)], port=port)):
            b.expect_key(line, "closed after each answer, %d" % i)

        for scenario, command, result, reason in (
                ("entropy-503", "entropy:256", "UNREACHABLE", "status 503"), ("entropy-less", "entropy:256", "UNREACHABLE", "minentropy of 128 bits"),
                ("entropy-short", "entropy:256", "UNREACHABLE", "random string of 64 bits"), ("good", "entropy:256", "OK", "bits=256"),
                ("caps-no-entropy", "entropy:256", "REFUSED", "gives no entropy"), ("caps-no-key", "key", "REFUSED", "gives no keys"),
                ("caps-404", "key", "OK", ""), ("caps-403", "key", "REFUSED", "status 403"), ("caps-500", "key", "UNREACHABLE", "status 500"),
                ("caps-hung", "key", "UNREACHABLE", "no (complete )?answer"), ("caps-types", "key", "UNREACHABLE", '"key" of its answer is neither'),
                ("caps-remote-text", "key", "UNREACHABLE", "no list"), ("caps-remote-numbers", "key", "UNREACHABLE", "no text"),
                ("caps-none", "key", "REFUSED", r'remote system "Bob7" is not among those that it serves \(none\)'),
                ("caps-two", "key", "REFUSED", r"\(Bob, Carol\)"), ("caps-globs", "key", "OK", "")):
            at = b.serve(scenario)
            b.expect(b.probe("--ca", "ca.pem", "--remote", "Bob7", "--timeout", patience(scenario), command, port=at)[0], result, reason, MANY, what=scenario)
        at = b.serve("caps-one", log="one")
        b.expect_key(b.probe("--ca", "ca.pem", "key", port=at)[0], "the only remote system")
        b.check("GET /key?remoteSystemID=Bob&size=256" in b.log("one"), "the only remote system is named")
        b.expect(b.probe("--ca", "ca.pem", "key", port=port)[0], "REFUSED", "remote-system-id is not configured", what="glob as the only one")
        b.expect(b.probe("--ca", "ca.pem", "--local", "Eve", "--remote", "Bob", "key", port=port)[0], "REFUSED",
                 'takes us for system "Alice", but local-system-id is "Eve"', what="local system")
        return b.end()


sys.exit(main(sys.argv[1]))
