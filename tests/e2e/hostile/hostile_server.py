#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
"""A SKIP key source that misbehaves on request.

    hostile_server.py --cert CERT --key KEY [--client-ca CA] [--plain] [--scenario NAME] [--address ADDR] [--log FILE]

Prints its port and serves until its standard input ends. A request's scenario is its remoteSystemID, if that is the name
of one, so that one server plays them all; else --scenario (default "good"). The scenarios of TLS and of /capabilities
go by --scenario only. The value of a key is SHA-256 of the bytes of its keyId, so that whoever asks can check it without
being told. Each request is a line "METHOD PATH" in --log.
"""
import argparse, hashlib, json, os, secrets, socket, ssl, sys, threading, time, urllib.parse

HANG = 30


def key_of(key_id):
    """The key of an ID, in hex."""
    try:
        raw = bytes.fromhex(key_id)
    except ValueError:
        raw = key_id.encode()
    return hashlib.sha256(raw).hexdigest()


class Close(Exception):
    """Ends the connection."""


class Connection:
    def __init__(self, sock, server):
        self.sock, self.server, self.buffer = sock, server, b""

    def send(self, data):
        self.sock.sendall(data)

    def answer(self, body, status=200, headers=()):
        if isinstance(body, (dict, list)):
            body = json.dumps(body)
        if isinstance(body, str):
            body = body.encode()
        head = "HTTP/1.1 %d Whatever\r\nContent-Type: application/json\r\nContent-Length: %d\r\n" % (status, len(body))
        self.send((head + "".join(h + "\r\n" for h in headers) + "\r\n").encode() + body)

    def request(self):
        while b"\r\n\r\n" not in self.buffer:
            data = self.sock.recv(65536)
            if not data:
                raise Close
            self.buffer += data
        head, self.buffer = self.buffer.split(b"\r\n\r\n", 1)
        method, target, _ = head.split(b"\r\n")[0].decode().split(" ")
        self.server.note(method + " " + target)
        return method, urllib.parse.urlsplit(target)

    def serve(self):
        while True:
            _, url = self.request()
            query = dict(urllib.parse.parse_qsl(url.query))
            name = query.get("remoteSystemID", "")
            if url.path == "/capabilities":
                self.capabilities()
            elif url.path == "/entropy":
                self.entropy(int(query.get("minentropy", "256")))
            elif url.path == "/key" or url.path.startswith("/key/"):
                scenario = name if name in SCENARIOS else self.server.scenario
                if scenario.startswith(("caps-", "tls-", "entropy-")):
                    scenario = "good"
                key_id = urllib.parse.unquote(url.path[5:]) or secrets.token_hex(16)
                size = int(query.get("size", "256"))
                SCENARIOS.get(scenario, good)(self, key_id, size)
            else:
                self.answer({"error": "unknown path"}, 404)

    def capabilities(self):
        s = self.server.scenario
        c = {"entropy": True, "key": True, "algorithm": "hostile", "localSystemID": "Alice", "remoteSystemID": ["*"], "more": {"a": [1, None]}}
        if s in ("caps-404", "caps-403", "caps-500"):
            return self.answer({"detail": "no capabilities"}, int(s[5:]))
        if s == "caps-hung":
            time.sleep(HANG)
            raise Close
        c.update({
            "caps-globs": {"remoteSystemID": ["Bob[0-9]", "C?rol", "[!a-z]ave", "x*"]},
            "caps-one": {"remoteSystemID": ["Bob"]},
            "caps-none": {"remoteSystemID": []},
            "caps-two": {"remoteSystemID": ["Bob", "Carol"]},
            "caps-no-key": {"key": False},
            "caps-no-entropy": {"entropy": False},
            "caps-types": {"key": "true"},
            "caps-remote-text": {"remoteSystemID": "Bob"},
            "caps-remote-numbers": {"remoteSystemID": [1]},
        }.get(s, {}))
        self.answer(c)

    def entropy(self, bits):
        s = self.server.scenario
        text = secrets.token_hex(bits // 8)
        if s == "entropy-503":
            return self.answer({"error": "no entropy"}, 503, ["Retry-After: 7"])
        if s == "entropy-less":
            return self.answer({"randomStr": text, "minentropy": bits // 2})
        if s == "entropy-short":
            return self.answer({"randomStr": text[:16], "minentropy": bits})
        self.answer({"randomStr": text, "minentropy": bits})


def message(key_id, **changes):
    return {"keyId": key_id, "key": key_of(key_id), **changes}


def good(c, key_id, size):
    wanted = key_of(key_id)
    while len(wanted) * 4 < size:
        wanted += key_of(wanted)
    c.answer(message(key_id, key=wanted[:size // 4]))


def status(code, *headers):
    return lambda c, key_id, size: c.answer(message(key_id), code, headers)


def raw(make):
    """An answer made of message text by a function."""
    return lambda c, key_id, size: c.answer(make(json.dumps(message(key_id)), key_id))


def hung(c, key_id, size):
    time.sleep(HANG)
    raise Close


def drip(c, key_id, size):
    body = json.dumps(message(key_id))
    c.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body))
    for b in body.encode():
        c.send(bytes([b]))
        time.sleep(0.2)


def drip_header(c, key_id, size):
    for b in b"HTTP/1.1 200 OK\r\n" + b"X-Slow: 1\r\n" * 1000:
        c.send(bytes([b]))
        time.sleep(0.2)


def cut_length(c, key_id, size):
    body = json.dumps(message(key_id))
    c.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (len(body) + 10) + body.encode())
    raise Close


def cut_chunk(c, key_id, size):
    body = json.dumps(message(key_id)).encode()
    c.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n" % len(body) + body + b"\r\n")
    raise Close


def cut_eof(c, key_id, size):
    """Ended by the end of the connection, without TLS's close_notify."""
    c.send(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + json.dumps(message(key_id)).encode())
    raise Close


def cut_eof_json(c, key_id, size):
    c.send(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + json.dumps(message(key_id)).encode()[:-10])
    raise Close


def chunked(c, key_id, size):
    body = json.dumps(message(key_id)).encode()
    pieces = [body[i:i + 7] for i in range(0, len(body), 7)]
    c.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"".join(b"%x\r\n%s\r\n" % (len(p), p) for p in pieces) + b"0\r\n\r\n")


def huge(c, key_id, size):
    c.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n{\"keyId\":\"")
    for _ in range(1000):
        c.send(b"0" * 65536)


def huge_chunked(c, key_id, size):
    c.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    for _ in range(1000):
        c.send(b"10000\r\n" + b" " * 65536 + b"\r\n")


def huge_header(c, key_id, size):
    c.send(b"HTTP/1.1 200 OK\r\n")
    for i in range(10000):
        c.send(b"X-Header-%d: " % i + b"x" * 100 + b"\r\n")


def early_answers(c, key_id, size):
    for _ in range(100000):
        c.send(b"HTTP/1.1 103 Early\r\nX: y\r\n\r\n")


def close_after(c, key_id, size):
    """A good answer, and the connection closed behind it without a word in the header."""
    good(c, key_id, size)
    if isinstance(c.sock, ssl.SSLSocket):
        try:
            c.sock.unwrap()
        except OSError:
            pass
    raise Close


def announced_close(c, key_id, size):
    c.answer(message(key_id), 200, ["Connection: close"])
    raise Close


def deaf(c, key_id, size):
    """Takes the request and closes without an answer."""
    raise Close


def once_then_deaf(c, key_id, size):
    """Answers the first request of a connection, and closes on the second."""
    if getattr(c, "served", False):
        raise Close
    c.served = True
    good(c, key_id, size)


def slow(c, key_id, size):
    time.sleep(0.5)
    good(c, key_id, size)


def http09(c, key_id, size):
    c.send(json.dumps(message(key_id)).encode())
    raise Close


SCENARIOS = {
    "good": good,
    "upper": lambda c, i, s: c.answer(message(i.upper(), key=key_of(i).upper())),
    "more-members": lambda c, i, s: c.answer(message(i, extra={"x": [1, {"y": None}]}, note="é")),
    "chunked": chunked,
    "close-after": close_after,
    "announced-close": announced_close,
    "slow": slow,
    "hung": hung,
    "drip": drip,
    "drip-header": drip_header,
    "redirect": lambda c, i, s: c.answer(message(i), 302, ["Location: https://%s:%d/key" % c.server.at]),
    "redirect-plain": lambda c, i, s: c.answer(message(i), 301, ["Location: http://127.0.0.1:1/"]),
    "status-204": status(204), "status-201": status(201), "status-206": status(206), "status-300": status(300),
    "status-400": status(400), "status-401": status(401), "status-403": status(403), "status-404": status(404),
    "status-405": status(405), "status-408": status(408), "status-410": status(410), "status-429": status(429, "Retry-After: 3"),
    "status-500": status(500), "status-502": status(502), "status-503": status(503), "status-504": status(504),
    "error-text": lambda c, i, s: c.answer({"error": "remote system unknown"}, 400),
    "error-key": lambda c, i, s: c.answer({"error": "no: " + key_of(i)}, 400),
    "cut-json": raw(lambda t, i: t[:-20]),
    "cut-length": cut_length,
    "cut-chunk": cut_chunk,
    "cut-eof": cut_eof,
    "cut-eof-json": cut_eof_json,
    "huge": huge,
    "huge-chunked": huge_chunked,
    "huge-header": huge_header,
    "huge-valid": lambda c, i, s: c.answer(message(i, pad="x" * 70000)),
    "early-answers": early_answers,
    "deep-object": raw(lambda t, i: '{"a":' * 5000 + t + "}" * 5000),
    "deep-array": raw(lambda t, i: t[:-1] + ',"a":' + "[" * 20000 + "]" * 20000 + "}"),
    "empty": raw(lambda t, i: ""),
    "html": raw(lambda t, i: "<html><body>%s</body></html>" % t),
    "trailing": raw(lambda t, i: t + t),
    "array": raw(lambda t, i: "[" + t + "]"),
    "string": raw(lambda t, i: json.dumps(key_of(i))),
    "binary": lambda c, i, s: c.answer(b'{"keyId":"\xff\xfe","key":"\x00\x01"}'),
    "nul": lambda c, i, s: c.answer(b'{"keyId":"ab\\u0000cd","key":"' + key_of(i).encode() + b'"}'),
    "no-key": lambda c, i, s: c.answer({"keyId": i}),
    "no-key-id": lambda c, i, s: c.answer({"key": key_of(i)}),
    "null-key": lambda c, i, s: c.answer(message(i, key=None)),
    "number-key": lambda c, i, s: c.answer(message(i, key=12345)),
    "array-key": lambda c, i, s: c.answer(message(i, key=[key_of(i)])),
    "object-key": lambda c, i, s: c.answer(message(i, key={"key": key_of(i)})),
    "number-key-id": lambda c, i, s: c.answer(message(i, keyId=7)),
    "empty-key": lambda c, i, s: c.answer(message(i, key="")),
    "empty-key-id": lambda c, i, s: c.answer(message(i, keyId="")),
    "long-key-id": lambda c, i, s: c.answer(message(i, keyId="a" * 600)),
    "dot-key-id": lambda c, i, s: c.answer(message(i, keyId="..")),
    "control-key-id": lambda c, i, s: c.answer(message(i, keyId="a\r\nb")),
    "non-hex": lambda c, i, s: c.answer(message(i, key=key_of(i)[:-1] + "g")),
    "prefix-hex": lambda c, i, s: c.answer(message(i, key="0x" + key_of(i)[2:])),
    "odd-hex": lambda c, i, s: c.answer(message(i, key=key_of(i)[:-1])),
    "escaped-hex": raw(lambda t, i: t.replace('"key": "', '"key": "\\u0030')),
    "escaped-name": raw(lambda t, i: t.replace('"key"', '"\\u006bey"')),
    "short-key": lambda c, i, s: c.answer(message(i, key=key_of(i)[:32])),
    "long-key": lambda c, i, s: c.answer(message(i, key=key_of(i) * 2)),
    "giant-key": lambda c, i, s: c.answer(message(i, key=key_of(i) * 200)),
    "other-id": lambda c, i, s: c.answer(message("00" * 16)),
    "duplicate-key": raw(lambda t, i: t[:-1] + ',"key":"%s"}' % key_of("00")),
    "duplicate-key-id": raw(lambda t, i: t[:-1] + ',"keyId":"00"}'),
    "duplicate-other": raw(lambda t, i: t[:-1] + ',"a":1,"a":2}'),
    "opaque-id": lambda c, i, s: c.answer(message(i if i.startswith("KME/") else "KME/7 +&?#ü")),
    "deaf": deaf,
    "once-then-deaf": once_then_deaf,
    "http09": http09,
}


class Server:
    def __init__(self, options):
        self.scenario, self.lock = options.scenario, threading.Lock()
        self.log = open(options.log, "a", buffering=1) if options.log else None
        self.context = None
        if not options.plain:
            self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self.context.load_cert_chain(options.cert, options.key)
            if options.tls12:
                self.context.maximum_version = ssl.TLSVersion.TLSv1_2
            if options.client_ca:
                self.context.load_verify_locations(options.client_ca)
                self.context.verify_mode = ssl.CERT_REQUIRED
        family = socket.AF_INET6 if ":" in options.address else socket.AF_INET
        self.listener = socket.create_server((options.address, options.port), family=family, backlog=128)
        self.at = self.listener.getsockname()[:2]

    def note(self, line):
        if self.log:
            with self.lock:
                self.log.write(line + "\n")

    def handle(self, sock):
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self.scenario == "tls-hung":
                time.sleep(HANG)
                return
            if self.scenario == "tls-garbage":
                sock.sendall(b"SSH-2.0-hostile\r\n")
                return
            if self.scenario == "tls-closed":
                return
            if self.context:
                sock = self.context.wrap_socket(sock, server_side=True, suppress_ragged_eofs=True)
            Connection(sock, self).serve()
        except (Close, OSError, ValueError):
            pass
        finally:
            sock.close()

    def run(self):
        while True:
            sock, _ = self.listener.accept()
            threading.Thread(target=self.handle, args=(sock,), daemon=True).start()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--cert"), parser.add_argument("--key"), parser.add_argument("--client-ca")
    parser.add_argument("--plain", action="store_true"), parser.add_argument("--tls12", action="store_true")
    parser.add_argument("--scenario", default="good"), parser.add_argument("--address", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0), parser.add_argument("--log")
    server = Server(parser.parse_args())
    print(server.at[1], flush=True)
    threading.Thread(target=server.run, daemon=True).start()
    sys.stdin.read()
    os._exit(0)


if __name__ == "__main__":
    main()
