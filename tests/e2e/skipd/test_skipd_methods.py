# SPDX-License-Identifier: BSD-2-Clause
"""SKIP's methods and status codes, to the letter of the draft."""
import json
import os
import unittest

from keysource import PairCase, PSK, psk_get


class Methods(PairCase):
    def more_configuration(self):
        self.alice.clients += (f"client narrow\n tls psk id narrow key hex {PSK}\n"
                               " system-id Alice-2\n permit capabilities\n permit key\n remote-system-id Nobody*\n")
        self.alice.peers += f"peer Site\n remote-system-id Site-*\n remote-system-id Depot\n tls psk id site key hex {PSK}\n"
        self.bob.clients += f"client second\n certificate subject CN=second\n system-id Bob-2\n"

    @classmethod
    def more_files(cls):
        cls.authority.sign("second", "DNS:something.else")

    def error(self, answer, status):
        self.assertEqual(answer[0], status, answer)
        self.assertEqual(list(answer[1]), ["error"])
        self.assertTrue(answer[1]["error"])
        return answer[1]["error"]

    def test_both_ends_get_the_same_key_once(self):
        for ours, theirs, here, there in ((self.a, self.b, "Alice", "Bob"), (self.b, self.a, "Bob", "Alice")):
            status, new = ours.new_key(there)
            self.assertEqual(status, 200)
            self.assertEqual(sorted(new), ["key", "keyId"])
            self.assertEqual((len(new["key"]), len(new["keyId"])), (64, 32))
            self.assertEqual(theirs.by_id(new["keyId"], here), (200, new))
            self.assertIn("delivered already", self.error(theirs.by_id(new["keyId"], here), 400))
            self.error(ours.by_id(new["keyId"], there), 400)

    def test_keys_and_ids_differ(self):
        answers = [self.a.new_key("Bob")[1] for _ in range(20)]
        self.assertEqual(len({x["key"] for x in answers}), 20)
        self.assertEqual(len({x["keyId"] for x in answers}), 20)

    def test_sizes_are_bits(self):
        for bits in (128, 256, 384, 512, 4096):
            status, new = self.a.new_key("Bob", size=bits)
            self.assertEqual((status, len(new["key"])), (200, bits // 4))
            self.assertEqual(self.b.by_id(new["keyId"], "Alice"), (200, new))
        for bits in ("0", "1", "127", "255", "120", "4104", "99999999999", "-256", "256.0", "0x100", "", "%20", "256&size=256"):
            self.error(self.a.new_key("Bob", size=bits), 400)

    def test_key_ids_in_any_case_and_encoded(self):
        new = self.a.new_key("Bob")[1]
        self.assertEqual(self.b.by_id(new["keyId"].upper(), "Alice")[1]["key"], new["key"])
        new = self.a.new_key("Bob")[1]
        mixed = "".join(c.upper() if i % 3 else c for i, c in enumerate(new["keyId"]))
        self.assertEqual(self.b.by_id(mixed, "Alice")[1]["key"], new["key"])
        new = self.a.new_key("Bob")[1]
        encoded = "".join(f"%{ord(c):02x}" for c in new["keyId"])
        self.assertEqual(self.b.by_id(encoded, "Al%69ce")[1]["key"], new["key"])

    def test_key_ids_that_are_none(self):
        for key_id in ("", "0", "xyz", "abc", "12345", "%00%00", "%zz", "a" * 258, "aa%20"):
            self.assertIn("malformed", self.error(self.b.by_id(key_id, "Alice"), 400))
        # well-formed, of other lengths than ours: not there
        for key_id in ("00", "1726e9AB8c2d" * 4, "f" * 256):
            self.assertIn("no such key", self.error(self.b.by_id(key_id, "Alice"), 400))

    def test_remote_system_ids(self):
        new = self.a.new_key("Bob")[1]
        for remote in ("Bob", "Carol", "alice", "Alice%2A", "*", "A*", "Alic%3F", "%5BA%5Dlice", "", "%00", "x" * 300, "Ali%FFce", "Alice%C3", "%C0%AF"):
            self.error(self.b.by_id(new["keyId"], remote), 400)
        self.error(self.b.get(f"/key/{new['keyId']}"), 400)
        self.error(self.b.get(f"/key/{new['keyId']}?remoteSystemID=Alice&remoteSystemID=Alice"), 400)
        for remote in ("Carol", "Alice", "*", "Bo?", "bob", "", "Bob%00", "x" * 300, "Bob%FF"):
            self.error(self.a.new_key(remote), 400)
        self.error(self.a.get("/key"), 400)
        self.error(self.a.get("/key?size=256"), 400)
        # none of these has used it up
        self.assertEqual(self.b.by_id(new["keyId"], "Alice"), (200, new))

    def test_a_key_is_for_one_system_only(self):
        second = self.client("second", self.bob)
        new = self.a.new_key("Bob")[1]
        self.error(second.by_id(new["keyId"], "Alice"), 400)
        self.assertEqual(self.b.by_id(new["keyId"], "Alice"), (200, new))

    def test_two_systems_of_one_key_source(self):
        second = self.client("second", self.bob)
        status, new = self.b.new_key("Bob-2")
        self.assertEqual(status, 200)
        self.error(self.b.by_id(new["keyId"], "Bob"), 400)
        self.assertEqual(second.by_id(new["keyId"], "Bob"), (200, new))

    def test_capabilities(self):
        status, c = self.a.get("/capabilities")
        self.assertEqual(status, 200)
        self.assertEqual((c["entropy"], c["key"], c["localSystemID"]), (True, True, "Alice"))
        self.assertIsInstance(c["algorithm"], str)
        self.assertEqual(c["remoteSystemID"], ["Bob", "Site-*", "Depot", "Alice-2"])

    def test_globs_of_peers(self):
        # a peer without an address cannot be given keys, and says so; others go on
        for remote in ("Site-1", "Depot"):
            self.assertIn("no address", self.error(self.a.new_key(remote), 503))
        self.error(self.a.new_key("Site"), 400)
        self.assertEqual(self.a.new_key("Bob")[0], 200)

    def test_what_a_client_may_ask(self):
        out, _ = psk_get(self.alice, "/capabilities", identity="narrow")
        self.assertIn('"localSystemID":"Alice-2","remoteSystemID":["Nobody*"]', out)
        self.assertIn('"entropy":false,"key":true', out)
        for path in ("/entropy", "/key/00?remoteSystemID=Bob", "/key?remoteSystemID=Bob"):
            self.assertIn(" 403 ", psk_get(self.alice, path, identity="narrow")[0].splitlines()[0])

    def test_entropy(self):
        for query, bits in (("", 256), ("?minentropy=8", 8), ("?minentropy=512", 512), ("?minentropy=8192", 8192), ("?minentropy=9", 16)):
            status, e = self.a.get("/entropy" + query)
            self.assertEqual((status, e["minentropy"], len(e["randomStr"])), (200, bits, bits // 4))
        self.assertNotEqual(self.a.get("/entropy")[1], self.a.get("/entropy")[1])
        for query in ("0", "x", "-1", ""):
            self.error(self.a.get("/entropy?minentropy=" + query), 400)
        self.error(self.a.get("/entropy?minentropy=8200"), 503)

    def test_paths_and_methods(self):
        for path in ("/", "/keys", "/key/00/11", "/Capabilities", "/capabilities/", "/key%2f00", "/../key", "//key"):
            self.error(self.a.get(path), 404)
        for method in ("POST", "PUT", "DELETE", "PATCH", "OPTIONS"):
            for path in ("/key?remoteSystemID=Bob", "/capabilities", "/entropy", "/key/00?remoteSystemID=Bob"):
                status, _, headers = self.a.raw(path, method)
                self.assertEqual((status, headers["Allow"]), (405, "GET"))
                self.a.close()
        self.assertEqual(self.a.raw("/key?remoteSystemID=Bob", "HEAD")[0], 405)

    def memory(self, source):
        """All that the process can read of its own memory."""
        found = b""
        with open(f"/proc/{source.process.pid}/maps", encoding="ascii") as maps, \
                open(f"/proc/{source.process.pid}/mem", "rb", buffering=0) as mem:
            for line in maps:
                area, rights = line.split()[:2]
                start, end = (int(x, 16) for x in area.split("-"))
                if not rights.startswith("rw") or end - start > 1 << 28:
                    continue
                try:
                    mem.seek(start)
                    found += mem.read(end - start)
                except (OSError, ValueError):
                    pass
        return found

    @unittest.skipIf(os.environ.get("SKIPD_SANITIZED"), "a sanitizer keeps freed memory")
    def test_nothing_secret_is_left_in_memory(self):
        keys = [self.a.new_key("Bob")[1] for _ in range(40)]
        for new in keys[:20]:
            self.assertEqual(self.b.by_id(new["keyId"], "Alice"), (200, new))
        keys += [json.loads(psk_get(self.alice, "/key?remoteSystemID=Bob", *options)[0].split("\r\n\r\n")[1])
                 for options in (["-tls1_3"], ["-tls1_2", "-cipher", "DHE-PSK-AES256-CBC-SHA384"])]
        for source in (self.alice, self.bob):
            content = self.memory(source)
            self.assertGreater(len(content), 100000)
            self.assertIn(source.name.encode(), content)  # it is this process's memory
            for new in keys:
                self.assertEqual((content.count(bytes.fromhex(new["key"])), content.count(new["key"].encode())), (0, 0),
                                 f"{source.name}: key {keys.index(new)}")

    def test_nothing_secret_on_disk_or_in_the_log(self):
        keys = [self.a.new_key("Bob")[1] for _ in range(30)]
        for new in keys[:15]:
            self.assertEqual(self.b.by_id(new["keyId"], "Alice"), (200, new))
        self.assertIn(keys[0]["keyId"], self.alice.log())
        self.assertIn(keys[0]["keyId"], self.bob.log())
        for name in os.listdir(self.directory):
            with open(os.path.join(self.directory, name), "rb") as f:
                content = f.read()
            for new in keys:
                self.assertNotIn(bytes.fromhex(new["key"]), content, name)
                self.assertNotIn(new["key"].encode(), content.lower(), name)
        for source in (self.alice, self.bob):
            self.assertEqual(os.stat(source.file("db")).st_mode & 0o77, 0)


if __name__ == "__main__":
    unittest.main()
