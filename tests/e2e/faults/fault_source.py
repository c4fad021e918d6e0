#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
"""A key source in a thread of its own that begins to fail when it is told to, and where: for fault_worker.py."""
import json, os, socket, ssl, struct, sys, threading, time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "hostile"))
import hostile_server as hostile

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"


def hung_after_headers(c, key_id, size):
    c.send(HEAD % 200)
    time.sleep(hostile.HANG)


def reset_mid_answer(c, key_id, size):
    c.send(HEAD % 200 + b'{"keyId": "')
    c.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    os.close(c.sock.detach())
    raise hostile.Close


S = hostile.SCENARIOS
# What a request is answered with.
ANSWERS = {
    "hung after TLS": hostile.hung, "hung after headers": hung_after_headers, "a byte now and then": S["drip"], "reset mid-answer": reset_mid_answer,
    **{str(code): S["status-%d" % code] for code in (400, 401, 403, 404, 410, 500, 503)},
    "429, Retry-After": S["status-429"], "redirect": S["redirect-plain"], "malformed JSON": S["cut-json"], "wrong key size": S["short-key"], "wrong keyId": S["other-id"],
    "truncated body": S["cut-length"], "oversize answer": S["huge-valid"],
}
# What happens before there is a request.
EARLIER = ["refused", "hung accept", "no TLS", "wrong CA", "wrong name", "wrong PSK", "expired certificate", "unknown DNS name", "hung DNS"]
# What means nothing but for a key, or for a key that was asked for by its ID.
KEYS_ONLY = {"wrong key size": ("new key", "key by ID", "C_GenerateKey", "pooled search"), "wrong keyId": ("key by ID",)}
KIND_OF_PATH = {"/capabilities": "capabilities", "/key": "new key", "/entropy": "entropy"}


class Connection(hostile.Connection):
    def serve(self):
        while True:
            _, url = self.request()
            where = KIND_OF_PATH.get(url.path, "key by ID")
            if self.server.fault in ANSWERS and where == self.server.where:
                ANSWERS[self.server.fault](self, url.path[5:] or "ab" * 16, 256)
            elif where == "capabilities":
                self.capabilities()
            elif where == "entropy":
                self.entropy(256)
            else:
                hostile.good(self, url.path[5:] or hostile.secrets.token_hex(16), 256)
                self.server.keys += 1


class Source:
    def __init__(self, folder):
        self.fault = self.where = None
        self.keys = 0  # given
        self.folder, self.scenario, self.sockets = folder, "good", []
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=16)
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.run, daemon=True).start()

    def note(self, line):
        pass

    def fail(self, fault, where):
        """From now on: connections from before are closed."""
        self.fault, self.where = fault, where
        if fault == "refused":
            self.listener.shutdown(socket.SHUT_RDWR)
            self.listener.close()
        for sock in self.sockets:
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def handle(self, sock):
        try:
            if self.fault == "hung accept":
                time.sleep(hostile.HANG)
            if self.fault == "no TLS":
                sock.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
                return
            name = {"wrong CA": "stranger", "wrong name": "wrong-name", "expired certificate": "expired"}.get(self.fault, "server")
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(os.path.join(self.folder, name + ".pem"), os.path.join(self.folder, name + ".key"))
            sock = context.wrap_socket(sock, server_side=True, suppress_ragged_eofs=True)
            self.sockets.append(sock)
            Connection(sock, self).serve()
        except (hostile.Close, OSError, ValueError):
            pass
        finally:
            sock.close()

    def run(self):
        while True:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=self.handle, args=(sock,), daemon=True).start()
