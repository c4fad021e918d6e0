# SPDX-License-Identifier: BSD-2-Clause
"""fetch and capabilities: through the token, with two real key sources."""
import re
import unittest

from gateways import MODULE, GatewaysTest
from keysource import PSK, free_port


class Keys(GatewaysTest):
    def fetch(self, end, *words, **more):
        return self.ppkctl("fetch", "gateway", "--config", self.conf[end], "--module", MODULE, *words, **more)

    def shown(self, text):
        """What fetch printed, as a dict; nothing else may be there."""
        lines = dict(re.fullmatch(r"(PPK ID|peer|keyring|profile|remote|size|required|expires|hmac) +(.*)", line).groups()
                     for line in text.splitlines())
        self.assertRegex(lines["PPK ID"], r"^[0-9a-f]+( \(\".*\"\))?$")
        return lines

    def test_both_ends(self):
        a = self.shown(self.fetch("Alice", "--hmac", "a text")[0])
        self.assertEqual((a["peer"], a["keyring"], a["profile"], a["remote"], a["required"]),
                         ("gateway", "dynamic", "ks", "Bob", "yes"))
        self.assertEqual(a["size"], "256 bits")
        self.assertRegex(a["expires"], r"^in (3600|359\d) s$")
        b = self.shown(self.fetch("Bob", "--id", a["PPK ID"], "--hmac", "a text")[0])
        self.assertEqual(b["PPK ID"], a["PPK ID"])
        self.assertRegex(a["hmac"], "^[0-9a-f]{64}$")
        self.assertEqual(a["hmac"], b["hmac"])
        # it was delivered: the key source has it no more
        _, err = self.fetch("Bob", "--id", a["PPK ID"], status=1)
        self.assertIn("nobody has a PPK of this ID", err)
        # a new one every time
        other = self.shown(self.fetch("Alice", "--hmac", "a text")[0])
        self.assertNotEqual(other["PPK ID"], a["PPK ID"])
        self.assertNotEqual(other["hmac"], a["hmac"])

    def test_config_goes_before_the_environment(self):
        self.shown(self.fetch("Alice", PPK_CONF=self.write("bad.conf", "nonsense\n"))[0])
        _, err = self.ppkctl("fetch", "gateway", "--module", MODULE, status=1, PPK_CONF=self.write("bad.conf", "nonsense\n"))
        self.assertIn("bad.conf:1: unknown command", err)

    def test_size(self):
        self.assertEqual(self.shown(self.fetch("Alice", "--size", "512")[0])["size"], "512 bits")

    def test_wrong(self):
        _, err = self.fetch("Alice", "--keyring", "none", status=1)
        self.assertIn('there is no peer "gateway" in keyring "none"', err)
        _, err = self.ppkctl("fetch", "nobody", "--config", self.conf["Alice"], "--module", MODULE, status=1)
        self.assertIn('no keyring has a peer "nobody"', err)
        _, err = self.fetch("Alice", "--id", "00" * 16, status=1)
        self.assertIn("nobody has a PPK of this ID", err)
        _, err = self.ppkctl("fetch", "gateway", "--module", self.directory + "/none.so", status=1)
        self.assertIn("none.so", err)
        bad = self.write("bad.conf", "nonsense\n")
        _, err = self.ppkctl("fetch", "gateway", "--config", bad, "--module", MODULE, status=1)
        self.assertIn("C_Initialize", err)
        self.assertIn(f"{bad}:1: unknown command", err)

    def test_two_keyrings(self):
        self.conf["Alice"] = self.encryptor(self.alice, "Bob", more="keyring second\n peer gateway\n  ppk dynamic ks\n"
                                                                    "  remote-system-id Bob\n")
        _, err = self.fetch("Alice", status=1)
        self.assertIn('peer "gateway" is in keyring "dynamic" and in "second"', err)
        self.assertEqual(self.shown(self.fetch("Alice", "--keyring", "second")[0])["keyring"], "second")

    def test_key_source_down(self):
        with open(self.conf["Alice"], encoding="utf-8") as f:
            content = f.read()
        self.conf["Alice"] = self.write("down.conf", content.replace(f"port {self.alice.port}", f"port {free_port()}"))
        _, err = self.fetch("Alice", status=1)
        self.assertIn("CKR_DEVICE_ERROR", err)
        self.assertIn("sks profile ks", err)
        out, _ = self.ppkctl("capabilities", "--config", self.conf["Alice"], status=1)
        self.assertIn(" status: failed: ", out)

    def test_wrong_psk(self):
        self.conf["Alice"] = self.encryptor(self.alice, "Bob", psk="hex " + "ab" * 32)
        out, err = self.fetch("Alice", status=1)
        self.assertEqual(out, "")
        self.assertNotIn("ab" * 32, err)

    def test_capabilities(self):
        out, err = self.ppkctl("capabilities", "--config", self.conf["Alice"])
        self.assertEqual(err, "")
        self.assertIn(f"sks profile ks, server 127.0.0.1 port {self.alice.port}\n status: ok\n entropy: yes\n key: yes\n", out)
        self.assertIn(" local identifier: Alice\n remote identifier: Bob\n", out)
        self.assertEqual(self.ppkctl("capabilities", "ks", "--config", self.conf["Alice"])[0], out)
        _, err = self.ppkctl("capabilities", "none", "--config", self.conf["Alice"], status=1)
        self.assertIn('there is no sks profile "none"', err)

    def test_type6(self):
        """The PSK is of type 6, and the master key is the PIN."""
        key = self.write("token-master", "the token's master key\n")
        text = self.ppkctl("encrypt", "--hex", "--master-key-file", key, stdin=PSK)[0].strip()
        self.conf["Alice"] = self.encryptor(self.alice, "Bob", psk="6 " + text)
        self.assertIn("no master key is at hand", self.ppkctl("check", self.conf["Alice"])[0])
        _, err = self.fetch("Alice", status=1)
        self.assertIn("log in first", err)
        self.shown(self.fetch("Alice", "--master-key-file", key)[0])
        wrong = self.write("wrong", "wrong\n")
        _, err = self.fetch("Alice", "--master-key-file", wrong, status=1)
        self.assertIn("CKR_PIN_INCORRECT", err)
        _, err = self.ppkctl("capabilities", "--config", self.conf["Alice"], status=1)
        self.assertIn("no master key is at hand", err)


if __name__ == "__main__":
    unittest.main()
