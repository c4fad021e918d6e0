#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
"""A server that can be stopped, hung and refused: hands connections on. soak_proxy.py PORT TARGET-PORT."""
import socket, sys, threading


def copy(a, b):
    try:
        while data := a.recv(65536):
            b.sendall(data)
    except OSError:
        pass
    for s in (a, b):
        try:
            s.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass


def serve(client):
    try:
        with client, socket.create_connection(("127.0.0.1", int(sys.argv[2]))) as server:
            back = threading.Thread(target=copy, args=(server, client), daemon=True)
            back.start()
            copy(client, server)
            back.join()
    except OSError:
        pass


listener = socket.create_server(("127.0.0.1", int(sys.argv[1])), backlog=128)
while True:
    threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()
