# SPDX-License-Identifier: BSD-2-Clause
"""ETSI GS QKD 014 at skipd: its methods, its errors, and keys between it and SKIP, by curl and by the token."""
import base64
import json
import os
import re
import subprocess
import unittest
import uuid

from keysource import PairCase, SKIPD, psk_get

PPKCTL, MODULE = os.environ["PPKCTL"], os.environ["PPK_MODULE"]


class Etsi014(PairCase):
    extra = "listen etsi014 ipv4 127.0.0.1 port 0\n"

    @classmethod
    def more_files(cls):
        cls.authority.sign("narrow", "DNS:narrow")

    def more_configuration(self):
        self.alice.clients += ("client narrow\n certificate san narrow\n system-id Alice-2\n permit key\n remote-system-id Nobody*\n"
                               "client anybody\n tls server-auth-only\n system-id Alice-3\n")
        self.alice.peers += "peer Site\n tls psk id site key hex 000102030405060708090a0b0c0d0e0f\n"

    def setUp(self):
        super().setUp()
        self.ea, self.eb = self.client("enc-a", self.alice, listener="listen-etsi014"), self.client("enc-b", self.bob, listener="listen-etsi014")

    def ask(self, client, sae, method, query=None, body=None, verb=None):
        path = f"/api/v1/keys/{sae}/{method}" + (f"?{query}" if query else "")
        if body is not None and not isinstance(body, (bytes, str)):
            body = json.dumps(body)
        status, answer, headers = client.raw(path, verb or ("GET" if body is None else "POST"), body, {"Content-Type": "application/json"})
        self.assertEqual(headers["Content-Type"], "application/json")
        return status, json.loads(answer)

    def one(self, answer):
        """The key of a good answer: ID and bytes."""
        self.assertEqual(answer[0], 200, answer)
        self.assertEqual(list(answer[1]), ["keys"])
        (key,) = answer[1]["keys"]
        self.assertEqual(sorted(key), ["key", "key_ID"])
        self.assertEqual(str(uuid.UUID(key["key_ID"])), key["key_ID"])
        self.assertEqual(uuid.UUID(key["key_ID"]).version, 4)
        return key["key_ID"], base64.b64decode(key["key"], validate=True)

    def error(self, answer, status, text):
        self.assertEqual(answer[0], status, answer)
        self.assertEqual(list(answer[1]), ["message"])
        self.assertIn(text, answer[1]["message"])

    def test_keys_at_both_ends_by_get_and_post(self):
        wishes = ((None, None, 32), ("number=1&size=512", None, 64), (None, {}, 32), (None, {"number": 1, "size": 1024}, 128), (None, b"", 32),
                  (None, {"size": 136, "extension_mandatory": [], "extension_optional": [{"x": 1}], "additional_slave_SAE_IDs": None}, 17))
        for query, body, size in wishes:
            key_id, key = self.one(self.ask(self.ea, "Bob", "enc_keys", query, body, "POST" if body is not None else None))
            self.assertEqual(len(key), size)
            wish = {"body": {"key_IDs": [{"key_ID": key_id.upper()}]}} if body is not None else {"query": "key_ID=" + key_id}
            self.assertEqual(self.one(self.ask(self.eb, "Alice", "dec_keys", **wish)), (key_id, key))
            self.error(self.ask(self.eb, "Alice", "dec_keys", **wish), 400, "delivered already")

    def test_status(self):
        status, s = self.ask(self.ea, "Bob", "status")
        self.assertEqual((status, s), (200, {
            "source_KME_ID": "Alice", "target_KME_ID": "Bob", "master_SAE_ID": "Alice", "slave_SAE_ID": "Bob", "key_size": 256,
            "stored_key_count": 1000000, "max_key_count": 1000000, "max_key_per_request": 1, "max_key_size": 4096, "min_key_size": 128,
            "max_SAE_ID_count": 0}))
        self.error(self.ask(self.ea, "Nobody", "status"), 400, "no such system")
        self.assertEqual(self.ask(self.ea, "Site", "status")[1]["stored_key_count"], 0)  # no way to its key source
        self.bob.end()
        self.alice.wait_log("peer 'Bob': link is down")
        self.assertEqual(self.ask(self.ea, "Bob", "status")[1]["stored_key_count"], 0)
        self.error(self.ask(self.ea, "Bob", "enc_keys"), 503, "key source of 'Bob' is down")

    def test_wrong_requests(self):
        enc = ((dict(query="number=2"), "one key is given at a time"), (dict(query="number=0"), "one key"), (dict(query="number=x"), "number: malformed"),
               (dict(query="number=1&number=1"), "twice"), (dict(query="size=100"), "size"), (dict(query="size=99999999"), "size"), (dict(query="size="), "size"),
               (dict(body={"number": 2}), "one key"), (dict(body={"number": -1}), "number"), (dict(body={"number": 1.5}), "number"),
               (dict(body={"size": "256"}), "size"), (dict(body={"size": 1 << 40}), "size"), (dict(body={"size": 64}), "size"),
               (dict(body={"extension_mandatory": [{"abc": 1}]}), "not all extension_mandatory parameters are supported"),
               (dict(body={"extension_mandatory": {}}), "no list"), (dict(body={"additional_slave_SAE_IDs": ["x"]}), "one SAE"),
               (dict(body=[]), "no JSON object"), (dict(body="nonsense"), "not JSON"), (dict(body='{"size":256,"size":512}'), "not JSON"),
               (dict(body="[" * 4000), "not JSON"), (dict(body='{"size":256} x'), "not JSON"), (dict(body=b"\xff\xfe"), "not JSON"), (dict(body='{"a":"\\u0000"}'), "not JSON"))
        for words, text in enc:
            self.error(self.ask(self.ea, "Bob", "enc_keys", **words), 400, text)
        dec = ((dict(), "key_ID: missing"), (dict(query="key_ID=xyz"), "no UUID"), (dict(query="key_ID=" + "0" * 300), "no UUID"), (dict(body={}), "key_IDs"),
               (dict(body={"key_IDs": []}), "key_IDs"), (dict(body={"key_IDs": "x"}), "key_IDs"), (dict(body={"key_IDs": [1]}), "key_ID"),
               (dict(body={"key_IDs": [{"key_ID": 1}]}), "key_ID"), (dict(body={"key_IDs": [{"key_ID": "0-" * 18}]}), "no UUID"),
               (dict(body={"key_IDs": [{"key_ID": str(uuid.uuid4())}] * 2}), "one key"), (dict(query="key_ID=" + str(uuid.uuid4())), "no such key"),
               (dict(query=f"key_ID={uuid.uuid4()}&key_ID=x"), "twice"))
        for words, text in dec:
            self.error(self.ask(self.eb, "Alice", "dec_keys", **words), 400, text)
        for sae in ("", "%00", "*", "B%3f", "x" * 256, "%zz", "B[o]b", "B%FFb"):
            self.error(self.ask(self.ea, sae, "enc_keys"), 400, "SAE ID is malformed")
        for sae in ("Nobody", "Alice", "bob"):
            self.error(self.ask(self.ea, sae, "enc_keys"), 400, "no such system")
        for body in ("x" * 5000, '{"size":%s256}' % (" " * 8000)):  # more than is read
            status = self.ea.raw("/api/v1/keys/Bob/enc_keys", "POST", body)[0]
            self.assertEqual(status, 413)
            self.ea.close()
        # after all of that, it serves
        self.one(self.ask(self.ea, "Bob", "enc_keys"))

    def test_paths_and_methods(self):
        for path in ("/", "/api/v1/keys/Bob", "/api/v1/keys/Bob/", "/api/v1/keys/Bob/keys", "/api/v1/keys/Bob/enc_keys/", "/api/v2/keys/Bob/status",
                     "/api/v1/keys/B/ob/status", "/key?remoteSystemID=Bob", "/capabilities", "/entropy"):
            self.error((lambda r: (r[0], json.loads(r[1])))(self.ea.raw(path)), 404, "no such path")
        for method, verbs, allow in (("status", ("POST", "PUT", "DELETE"), "GET"), ("enc_keys", ("PUT", "DELETE", "PATCH"), "GET, POST"),
                                     ("dec_keys", ("PUT", "DELETE", "OPTIONS"), "GET, POST")):
            for verb in verbs:
                status, _, headers = self.ea.raw(f"/api/v1/keys/Bob/{method}", verb)
                self.assertEqual((status, headers["Allow"]), (405, allow))
                self.ea.close()
        # nor does the listener of SKIP speak it
        self.assertEqual(self.a.raw("/api/v1/keys/Bob/status")[0], 404)

    def test_who_is_served(self):
        narrow = self.client("narrow", self.alice, listener="listen-etsi014")
        self.error(self.ask(narrow, "Bob", "status"), 401, "may not use")
        self.error(self.ask(narrow, "Bob", "dec_keys", "key_ID=" + str(uuid.uuid4())), 401, "may not use")
        self.error(self.ask(narrow, "Bob", "enc_keys"), 401, "not for this client")
        stranger = self.client("stranger", self.alice, listener="listen-etsi014")
        self.error(self.ask(stranger, "Bob", "status"), 401, "no client of this key source")
        # no certificate, or a PSK: not even TLS, although SKIP's listener serves them
        with self.assertRaises(OSError):
            self.ask(self.client(None, self.alice, listener="listen-etsi014"), "Bob", "status")
        self.assertEqual(self.client(None, self.alice).get("/capabilities")[0], 200)

        class Etsi:
            port = self.alice.ports["listen-etsi014"]
        for options in (["-tls1_3"], ["-tls1_2", "-cipher", "PSK"]):
            self.assertNotIn("HTTP/1.1", psk_get(Etsi, "/api/v1/keys/Bob/status", *options)[0])
        self.assertIn(" 200 ", psk_get(self.alice, "/capabilities", "-tls1_3")[0])

    def test_bridging(self):
        for skip, etsi, here, there in ((self.a, self.eb, "Alice", "Bob"), (self.b, self.ea, "Bob", "Alice")):
            status, new = skip.new_key(there)
            self.assertEqual(status, 200)
            self.assertEqual(self.one(self.ask(etsi, here, "dec_keys", "key_ID=" + new["keyId"])), (str(uuid.UUID(new["keyId"])), bytes.fromhex(new["key"])))
            self.assertEqual(skip.by_id(new["keyId"], there)[0], 400)
            key_id, key = self.one(self.ask(etsi, here, "enc_keys"))
            self.assertEqual(skip.by_id(uuid.UUID(key_id).hex, there), (200, {"keyId": uuid.UUID(key_id).hex, "key": key.hex()}))
            self.error(self.ask(etsi, here, "dec_keys", "key_ID=" + key_id), 400, "key")

    def curl(self, name, source, path, *options):
        file = lambda ending: os.path.join(self.directory, f"{name}.{ending}")
        done = subprocess.run(["curl", "--silent", "--show-error", "--max-time", "10", "--cacert", os.path.join(self.directory, "ca.pem"), "--cert", file("pem"),
                               "--key", file("key"), f"https://127.0.0.1:{source.ports['listen-etsi014']}/api/v1/keys/{path}", *options],
                              capture_output=True, text=True, timeout=20, check=True)
        return json.loads(done.stdout)["keys"][0]

    def test_curl(self):
        new = self.curl("enc-a", self.alice, "Bob/enc_keys?number=1&size=256")
        self.assertEqual(self.curl("enc-b", self.bob, "Alice/dec_keys", "--json", json.dumps({"key_IDs": [{"key_ID": new["key_ID"]}]})), new)

    def token(self, name, source, other, kind, *words):
        """ppkctl fetch through the token, which speaks `kind`: what it printed."""
        path = os.path.join(self.directory, f"token-{name}.conf")
        with open(path, "w", encoding="ascii") as f:
            os.chmod(path, 0o600)
            f.write(f"keyring k\n peer gateway\n  ppk dynamic qkd required\n  remote-system-id {other}\nsks profile qkd{kind and ' type ' + kind}\n"
                    f" kme server ipv4 127.0.0.1 port {source.ports['listen-etsi014' if kind == 'etsi014' else 'listen']}\n local-system-id {source.name}\n"
                    f" tls trustpoint ca.pem\n tls certificate {name}.pem key {name}.key\n")
        done = subprocess.run([PPKCTL, "fetch", "gateway", "--config", path, "--module", MODULE, *words], capture_output=True, text=True, timeout=60, check=False)
        found = dict(re.findall(r"^(PPK ID|size|hmac) +(.*)$", done.stdout, re.M))
        self.assertIn("hmac", found, done.stdout + done.stderr + source.log()[-1000:])
        return found["PPK ID"].split()[0], found["hmac"]

    def test_the_token_at_both_ends(self):
        for first, second in (("etsi014", "etsi014"), ("etsi014", "remote"), ("remote", "etsi014")):
            key_id, hmac = self.token("enc-a", self.alice, "Bob", first, "--hmac", "a text")
            self.assertEqual(self.token("enc-b", self.bob, "Alice", second, "--id", key_id, "--hmac", "a text"), (key_id, hmac))
        self.assertIn("enc_keys", self.alice.log())

    def test_nothing_of_a_key_in_the_log(self):
        key_id, key = self.one(self.ask(self.ea, "Bob", "enc_keys"))
        self.one(self.ask(self.eb, "Alice", "dec_keys", "key_ID=" + key_id))
        self.error(self.ask(self.ea, "Bob", "enc_keys", "number=7"), 400, "")
        for source, kind in ((self.alice, "enc_keys"), (self.bob, "dec_keys")):
            self.assertRegex(source.log(), rf"{kind} remote '\w+' id {uuid.UUID(key_id).hex}: 200")
            for form in (key.hex(), base64.b64encode(key).decode()):
                self.assertNotIn(form, source.log())

    def test_configurations_that_cannot_be(self):
        for drop in ("tls certificate", "tls trustpoint"):
            path = os.path.join(self.directory, "wrong.conf")
            with open(self.alice.file("conf"), encoding="utf-8") as f, open(path, "w", encoding="utf-8") as g:
                os.chmod(path, 0o600)
                g.write("".join(line for line in f if not line.startswith(drop)))
            done = subprocess.run([SKIPD, "-t", "-c", path], capture_output=True, text=True, timeout=20, check=False)
            self.assertEqual(done.returncode, 1)
            self.assertRegex(done.stderr, r"wrong.conf:\d+: ETSI 014 is spoken with certificates on both sides")


if __name__ == "__main__":
    unittest.main()
