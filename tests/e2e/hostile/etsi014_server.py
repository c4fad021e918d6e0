#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
"""A key source that speaks ETSI GS QKD 014 over mutual certificates, and misbehaves on request.

    etsi014_server.py --cert CERT --key KEY --ca CA [--log FILE]

Prints its port and serves until its standard input ends. A client's SAE ID is the common name of its certificate. The
scenario of a request is the other SAE ID in its path, if that is the name of one, else "good": a new key goes to the pool,
and leaves it with dec_keys. Each request is a line "METHOD PATH BODY" in --log.
"""
import argparse, base64, http.server, json, secrets, ssl, sys, threading, time, urllib.parse, uuid

POOL, LOCK = {}, threading.Lock()


def container(key_id, key):
    return {"keys": [{"key_ID": key_id, "key": base64.b64encode(key).decode()}]}


# Status and body of each kind of wrong answer, from a good container.
SCENARIOS = {
    "two-keys": lambda c: (200, {"keys": c["keys"] * 2}), "no-keys": lambda c: (200, {"keys": []}),
    "skip-answer": lambda c: (200, {"keyId": secrets.token_hex(16), "key": secrets.token_hex(32)}),
    "other-id": lambda c: (200, {"keys": [{**c["keys"][0], "key_ID": str(uuid.uuid4())}]}),
    "no-id": lambda c: (200, {"keys": [{"key": c["keys"][0]["key"]}]}),
    "hex-key": lambda c: (200, {"keys": [{**c["keys"][0], "key": "zz-" + secrets.token_hex(32)}]}),
    "short-key": lambda c: (200, container(c["keys"][0]["key_ID"], bytes(16))),
    "not-json": lambda c: (200, "<html>"), "list": lambda c: (200, [c]),
    "key-in-error": lambda c: (503, {"message": c["keys"][0]["key"]}),
    **{"status-%d" % n: (lambda n: lambda c: (n, {"message": "told as %d" % n, **c}))(n) for n in (400, 401, 403, 404, 409, 412, 500, 503, 504)},
}


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def handle(self):
        try:
            super().handle()
        except OSError:
            pass

    def answer(self, status, body):
        data = (body if isinstance(body, str) else json.dumps(body).replace("/", "\\/")).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def do_GET(self):
        self.serve("")

    def do_POST(self):
        self.serve(self.rfile.read(int(self.headers["Content-Length"])).decode())

    def serve(self, body):
        with LOCK:
            if self.server.note:
                self.server.note.write("%s %s %s\n" % (self.command, self.path, body))
                self.server.note.flush()
        client = dict(x[0] for x in self.connection.getpeercert()["subject"])["commonName"]
        words = self.path.split("/")
        if len(words) != 6 or words[:4] != ["", "api", "v1", "keys"]:
            return self.answer(404, {"message": "no such path"})
        other, what = urllib.parse.unquote(words[4]), words[5]
        if self.command == "GET" and what == "status":
            return self.answer(200, {"source_KME_ID": "A", "target_KME_ID": "B", "master_SAE_ID": client, "slave_SAE_ID": other, "key_size": 256,
                                     "stored_key_count": 7, "max_key_count": 9, "max_key_per_request": 1, "max_key_size": 1024,
                                     "min_key_size": 64, "max_SAE_ID_count": 0})
        if self.command != "POST" or self.headers["Content-Type"] != "application/json" or what not in ("enc_keys", "dec_keys"):
            return self.answer(405, {"message": "not so"})
        wish = json.loads(body)
        key_id = str(uuid.uuid4()) if what == "enc_keys" else wish["key_IDs"][0]["key_ID"]
        key = secrets.token_bytes(wish.get("size", 256) // 8)
        if other == "hung":
            time.sleep(20)
        if other in SCENARIOS:
            return self.answer(*SCENARIOS[other](container(key_id, key)))
        with LOCK:
            if what == "enc_keys":
                POOL[client, other, key_id] = key
            else:
                key = POOL.pop((other, client, key_id), None)
        self.answer(*(200, container(key_id, key)) if key else (400, {"message": "one or more keys specified are not found on KME"}))


def main():
    p = argparse.ArgumentParser()
    for name in ("cert", "key", "ca", "log"):
        p.add_argument("--" + name, required=name != "log")
    o = p.parse_args()

    class Server(http.server.ThreadingHTTPServer):
        daemon_threads = True
        note = open(o.log, "a", encoding="utf-8") if o.log else None

        def handle_error(self, *_):
            pass

    server = Server(("127.0.0.1", 0), Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(o.cert, o.key)
    context.load_verify_locations(o.ca)
    context.verify_mode = ssl.CERT_REQUIRED
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(server.server_address[1], flush=True)
    sys.stdin.read()


main()
