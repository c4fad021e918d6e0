# SPDX-License-Identifier: BSD-2-Clause
"""import, and show running-config --for: from routers, and for them."""
import os
import random
import unittest

from command import PpkctlTest

HEX = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
XE = f"""version 17.12
hostname R1
!
crypto skip-client SKIP
 server fqdn skip1.example port 443
 psk id skip1 key hex {HEX}
!
crypto skip-client TWO
 server ipv4 192.0.2.7 port 8443
 psk id two key 6 AAbbCCsecretSix
crypto ikev2 proposal P
 encryption aes-gcm-256
crypto ikev2 keyring KR
 peer one
  description the other one
  address 10.0.12.2 255.255.255.0
  identity fqdn skip2.example
  pre-shared-key local 0 secretLocal
  ppk dynamic SKIP required
 !
 peer two
  address 10.0.13.2
  pre-shared-key 7 secretSeven
  ppk manual id short key secretShort required
  ppk manual id good key hex {HEX} required
 peer three
  address 2001:db8::/64
  pre-shared-key secret!plain
  ppk dynamic NOWHERE required
!
crypto ikev2 profile PROFILE
 match identity remote address 10.0.12.2 255.255.255.255
 match fvrf any
 keyring local KR
 keyring ppk KR
 lifetime 3600
interface GigabitEthernet1
 ip address 10.0.12.1 255.255.255.0
 keyring nothing
end
"""
XE_OURS = f"""sks profile SKIP type remote
 kme server hostname skip1.example port 443
 tls psk id skip1 key hex {HEX}
sks profile TWO type remote
 kme server ipv4 192.0.2.7 port 8443
keyring KR
 peer one
  address 10.0.12.2 255.255.255.0
  ppk dynamic SKIP required
 peer two
  address 10.0.13.2
! left out: line 24 of the router's
  ppk manual id good key hex {HEX} required
 peer three
  address 2001:db8::/64
  pre-shared-key secret!plain
! left out: line 29 of the router's
ikev2 profile PROFILE
 match identity remote address 10.0.12.2 255.255.255.255
 keyring KR
 keyring ppk KR
"""
XE_LEFT_OUT = {10: "Type 6 secret is encrypted under the router's own", 15: "no descriptions", 17: "by address", 18: "another key for each direction",
               23: "Type 7 secret is obfuscated", 24: "the PPK has 11 bytes", 29: 'no sks profile "NOWHERE"', 33: "addresses only",
               36: "swanctl.conf"}
XR = """RP/0/RP0/CPU0:router
!! IOS XR Configuration 24.3.1
keyring dynamic
 peer peer1
  ppk dynamic qkd required
  pre-shared-key cisco123!cisco123
  address 10.0.0.1 255.0.0.0
 !
!
ikev2 profile test
 keyring dynamic
 keyring ppk dynamic
 match address 10.0.0.1 255.255.255.0
!
sks profile qkd type remote
 kme server ipv4 192.0.2.34 port 10001
!
end
"""


class Import(PpkctlTest):
    def load(self, text, status=0):
        """Imports; what comes out has to load."""
        path = self.write("router", text)
        out, err = self.ppkctl("import", path, status=status)
        if status == 0:
            self.ppkctl("check", self.write("ours.conf", out))
        return out, err.replace(path, "router")

    def ours_shown(self):
        return self.ppkctl("show", "running-config", "--config", os.path.join(self.directory, "ours.conf"))[0]

    def test_ios_xe(self):
        out, err = self.load(XE)
        self.assertEqual(out, XE_OURS)
        told = {int(line.split(":")[1]): line for line in err.splitlines() if line.split(":")[1].isdigit()}
        self.assertEqual(sorted(told), sorted(XE_LEFT_OUT))
        for line, reason in XE_LEFT_OUT.items():
            self.assertIn(reason, told[line])
        for line in (24, 29):
            self.assertIn("not be quantum-safe", told[line])
        self.assertIn("7 lines are about other things", err)
        self.assertNotIn("secret", err.replace("secret is", "").replace("the secret itself", ""))

    def test_ios_xr(self):
        out, err = self.load(XR)
        self.assertEqual(out.count("\n"), 11)
        for line in XR.splitlines()[3:]:
            if line.strip(" !") not in ("", "end") and "match" not in line:
                self.assertIn(line + "\n", out)
        self.assertIn(" match identity remote address 10.0.0.1 255.255.255.0\n", out)
        self.assertEqual(err, "router: 1 lines are about other things, and were not looked at\n")

    def test_without_indentation(self):
        """As a session is pasted."""
        pasted = "\n".join(line.strip() for line in XR.splitlines())
        self.assertEqual(self.load(pasted)[0], self.load(XR)[0])

    def test_keyring_behind_a_profile(self):
        """Its first words are also a command of the profile's."""
        keyring = "keyring d\n peer p\n  ppk dynamic q required\n  address 10.0.0.1 255.0.0.0\n"
        profile = "ikev2 profile t\n keyring d\n keyring ppk d\n match address 10.0.0.1 255.255.255.0\n"
        rest = "!\nsks profile q type remote\n kme server ipv4 192.0.2.34 port 10001\n"
        for before in (profile, profile + "!\n", "ikev2 profile t\n!\n", profile.replace("\n ", "\n") + "!\n",
                       profile.replace("\n ", "\n") + "exit\n", "ikev2 profile t\nexit\n"):
            out, err = self.load(before + keyring + rest)
            self.assertIn("keyring d\n peer p\n  address 10.0.0.1 255.0.0.0\n  ppk dynamic q required\n", self.ours_shown())
            self.assertEqual(out.count("peer p"), 1)
            self.assertEqual(err, "")
        pasted = (profile + "exit\n" + keyring + "exit\nexit\n" + rest).replace("\n ", "\n").replace("\n ", "\n")
        self.assertEqual(self.load(pasted)[0], self.load(profile + keyring + rest)[0])

    def test_keyring_behind_what_is_left_out(self):
        """It is not the profile's before that."""
        profile = "ikev2 profile t\n keyring ppk d\n match address 10.0.0.1 255.255.255.255\n"
        keyring = "keyring d\n peer p\n  pre-shared-key secret\n"
        for between, reason in ((profile, 'ikev2 profile "t" is already defined in line 1'),
                                ("sks profile q type remote\n local-system-id x\n", 'sks profile "q" has no kme server'),
                                ("keyring d d\n", "word 3 is too much")):
            out, err = self.load(profile + between + keyring)
            self.assertIn(keyring, out)
            self.assertIn("keyring d\n peer p\n", self.ours_shown())
            self.assertIn(f"router:4: left out: {reason}", err)

    def test_levels_left(self):
        """What stands in column 0 is not the peer's above it, if that one's commands are indented; what follows "exit" neither."""
        for router in ("keyring k\n peer p\n  pre-shared-key secret\nhostname R1\n address 10.0.0.1\n",
                       "keyring k\npeer p\npre-shared-key secret\nexit\nexit\naddress 10.0.0.1\n"):
            out, err = self.load(router)
            self.assertEqual(out, "keyring k\n peer p\n  pre-shared-key secret\n")
            self.assertRegex(err, r"^router: [12] lines are about other things, and were not looked at\n$")

    def test_banner(self):
        keyring = "keyring k\n peer p\n  pre-shared-key secret\n"
        text = "keyring k\n peer p\n  pre-shared-key of-the-banner\nikev2 profile t\n"
        for banner in (f"banner motd ^C\n{text}^C\n", f"banner login ^Chello\n{text} bye ^C\n", f"banner exec \x03\n{text}\x03\n",
                       f"banner motd #\n{text}#\n"):
            out, err = self.load(banner + keyring)
            self.assertEqual(out, keyring)
            self.assertEqual(err, "router: 6 lines are about other things, and were not looked at\n")
        for line in ("banner motd ^Chello^C", "banner motd", "banner motd ^C"):  # ended at once, or no banner
            self.assertEqual(self.load(line + "\n" + keyring)[0], keyring)

    def test_byte_order_mark(self):
        for text in (XE, XR, "keyring k\n peer p\n  pre-shared-key secret\n"):
            self.assertEqual(self.load("\ufeff" + text), self.load(text))

    def test_keyring_without_a_name(self):
        """Its peers are not the keyring's before it."""
        good = "keyring a\n peer x\n  pre-shared-key secret\n"
        out, err = self.load(good + "keyring\n peer y\n  pre-shared-key secret\n peer z\n  address 10.0.0.1\n")
        self.assertEqual(out, good)
        self.assertEqual([line.split(":")[1] for line in err.splitlines()], ["4", "5", "6", "7", "8"])
        self.assertIn("router:7: left out: peer: what it belongs to was left out\n", err)

    def test_output(self):
        target = os.path.join(self.directory, "new.conf")
        out, _ = self.ppkctl("import", self.write("router", XE), "--output", target)
        self.assertEqual(out, "")
        self.assertEqual(os.stat(target).st_mode & 0o777, 0o600)
        self.ppkctl("check", target)
        _, err = self.ppkctl("import", self.write("router", XR), "--output", target, status=1)
        self.assertIn("File exists", err)
        with open(target, encoding="utf-8") as f:
            self.assertEqual(f.read(), XE_OURS)
        self.assertEqual(self.ppkctl("import", "-", stdin=XE)[0], XE_OURS)

    def test_nothing(self):
        self.assertIn("there is no keyring", self.load("hostname x\n", status=1)[1])
        self.assertIn("there is no keyring", self.load("", status=1)[1])
        self.assertIn("No such file", self.ppkctl("import", self.directory + "/none", status=1)[1])

    def test_hostile(self):
        self.load("keyring k\n peer p\n  pre-shared-key \x1b[2Jx\n  address \xff\n  address\n peer\n  address 10.0.0.1\nkeyring\n peer q\n")
        self.load("crypto ikev2 keyring k\n peer p\n  description " + "x" * 20000 + "\n  pre-shared-key " + "y " * 300 + "\n")
        _, err = self.load('keyring k\n peer "p q\n  address 10.0.0.1\n peer \x1b[31mred\n')
        self.assertNotIn("\x1b", err)
        self.load("".join(f"keyring k{i}\n peer p\n  address 10.0.0.{i}\n" for i in range(300)))
        choice = random.Random(8784)
        lines = XE.splitlines() + XR.splitlines()
        for _ in range(20):
            text = "\n".join(choice.choice(lines)[choice.choice((0, 0, 0, 1)):] for _ in range(60))
            path = self.write("router", "keyring k\n" + text + "\n")
            self.ppkctl("check", self.write("ours.conf", self.ppkctl("import", path)[0]))


class Mirror(PpkctlTest):
    conf = f"""keyring dynamic
 peer router
  address 192.0.2.2 255.255.255.255
  ppk dynamic qkd required
  remote-system-id Bob
  pre-shared-key topsecret-topsecret
  ppk manual id site key hex {HEX}
sks profile qkd type remote
 kme server ipv4 10.0.1.5 port 8443
 local-system-id Alice
 tls psk id encryptor key hex {HEX}
"""

    def mirror(self, kind, *words):
        out, err = self.ppkctl("show", "running-config", "--for", kind, *words, "--config", self.write("ppk.conf", self.conf))
        self.assertEqual(err, "")
        self.assertNotIn("topsecret", out)
        self.assertNotIn(HEX, out)
        return out

    def test_routers(self):
        for kind, keyring, source in (("ios-xr", "keyring dynamic", "sks profile qkd type remote\n kme server"),
                                      ("ios-xe", "crypto ikev2 keyring dynamic", "crypto skip-client qkd\n server")):
            out = self.mirror(kind, "--local-address", "192.0.2.1")
            self.assertIn(f"{keyring}\n peer Alice\n  address 192.0.2.1 255.255.255.255\n  ppk dynamic qkd required\n"
                          "  ppk manual id site key <the same PPK as here>\n  pre-shared-key <the same key as here>\n", out)
            self.assertIn(f"{source} ipv4 <address of its key source> port <its port>\n", out)
            self.assertIn('SKIP system "Bob"', out)
        self.assertIn("address <address of this host>", self.mirror("ios-xr"))

    def test_round_trip(self):
        """What is filled in for a router can be imported, and fits."""
        for kind in ("ios-xr", "ios-xe", "ppk.conf"):
            text = self.mirror(kind, "--local-address", "192.0.2.1")
            for what, filled in (("<the same PPK as here>", f"hex {HEX}"), ("<the same key as here>", "topsecret-topsecret"),
                                 ("<address of its key source>", "10.0.2.5"), ("<its port>", "8443"), ("<its identity there>", "enc"),
                                 ("<its PSK there>", HEX)):
                text = text.replace(what, filled)
            self.assertNotIn("<", text.replace("<>", ""))
            there = self.write("there.conf", text)
            if kind != "ppk.conf":
                out, err = self.ppkctl("import", there)
                self.assertEqual(err, "", kind)
                there = self.write("there.conf", out)
            self.assertIn("keyrings 1, peers 1, sks profiles 1", self.ppkctl("check", there)[0])
            if kind == "ppk.conf":
                self.assertIn("remote-system-id Alice\n", text)
                self.assertIn("local-system-id Bob\n", text)

    def test_wrong(self):
        conf = self.write("ppk.conf", self.conf)
        for words, text in ((("--for", "junos"), "none of ios-xr"), (("--for", "ios-xr", "--local-address", "nonsense"), "is not an address"),
                            (("--local-address", "10.0.0.1"), "goes with --for")):
            self.assertIn(text, self.ppkctl("show", "run", *words, "--config", conf, status=2)[1])
        self.assertIn("goes with show running-config", self.ppkctl("show", "keyring", "--for", "ios-xr", "--config", conf, status=2)[1])


if __name__ == "__main__":
    unittest.main()
