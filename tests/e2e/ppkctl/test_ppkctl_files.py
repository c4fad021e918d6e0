# SPDX-License-Identifier: BSD-2-Clause
"""check, show, encrypt, manual: with files, standard input and a terminal."""
import os
import pty
import re
import select
import shutil
import subprocess
import time
import unittest

from command import PPKCTL, PpkctlTest, clean_environment

SUBCOMMANDS = ("check", "show", "monitor", "encrypt", "fetch", "capabilities", "manual")
SECRET = "sEcReT-0123456789-0123456789-0123456789"
GOOD = f"""keyring dynamic
 peer peer1
  ppk dynamic qkd required
  pre-shared-key {SECRET}
  address 10.0.0.1 255.0.0.0
 peer peer2
  ppk manual id two key {SECRET}
keyring other
 key-encryption-key card1 key {SECRET[:32]}
ikev2 profile test
 keyring dynamic
 match address 10.0.0.1 255.255.255.0
sks profile qkd type remote
 kme server ipv4 127.0.0.1 port 10001
"""


class Usage(PpkctlTest):
    def test_help(self):
        out, _ = self.ppkctl("--help")
        for name in SUBCOMMANDS:
            self.assertIn(f"\n  {name} ", out)
            of_subcommand, _ = self.ppkctl(name, "--help")
            self.assertTrue(of_subcommand.startswith(f"usage: ppkctl {name} "))
        out, _ = self.ppkctl("fetch", "--help")
        for option in ("--config FILE", "--module FILE", "--keyring NAME", "--id ID", "--size BITS", "--hmac TEXT"):
            self.assertIn(f"  {option} ", out)
        self.assertRegex(self.ppkctl("--version")[0], r"^ppkctl \d+\.\d+\.\d+\n$")

    def test_wrong_usage(self):
        for words, text in (([], "usage: ppkctl"), (["chek"], "unknown subcommand 'chek'"), (["check", "a", "b"], "usage: ppkctl check"),
                            (["check", "--hex"], "unknown option --hex"), (["check", "--config"], "a value is missing for --config"),
                            (["check", "-xy"], "unknown option -x "), (["check", "-y", "-x"], "unknown option -y "),
                            (["check", "--config=x", "--nonsense=x"], "unknown option --nonsense=x "),
                            (["encrypt", "--hex", "-xy"], "unknown option -x "), (["encrypt", "--hex=y"], "no value belongs to --hex=y "),
                            (["show"], "usage: ppkctl show"), (["show", "nonsense"], "'nonsense' is none of running-config"),
                            (["show", ""], "'' is none of"), (["show", "running-config", "x"], "'x' is none of"),
                            (["fetch"], "usage: ppkctl fetch"), (["fetch", "p", "--size", "7"], "--size: '7'"),
                            (["fetch", "p", "--size", "-8"], "--size: '-8'"), (["fetch", "p", "--size", "99999999"], "--size"),
                            (["fetch", "p", "--id", "aa", "--size", "256"], "--size is for a new PPK"),
                            (["encrypt", SECRET], "usage: ppkctl encrypt"), (["manual", "x"], "'x' is none of")):
            with self.subTest(words=words):
                out, err = self.ppkctl(*words, status=2)
                self.assertEqual(out, "")
                self.assertIn(text, err)
                self.assertNotIn(SECRET, err)


class Output(PpkctlTest):
    def test_full(self):
        """What cannot be written is told, whichever subcommand writes."""
        conf = self.write("ppk.conf", GOOD)
        for words in (["--help"], ["--version"], ["check", "--help"], ["check", conf], ["manual"], ["completion"],
                      ["show", "run", "--config", conf], ["monitor", "--count", "1"]):
            with self.subTest(words=words), open("/dev/full", "w", encoding="ascii") as full:
                done = subprocess.run([PPKCTL, *words], stdout=full, stderr=subprocess.PIPE, text=True, timeout=60, check=False,
                                      env=clean_environment(PPK_STATUS_DIR=self.directory))
                self.assertEqual(done.returncode, 1, done.stderr)
                self.assertEqual(done.stderr.count("ppkctl: standard output: No space left on device\n"), 1, done.stderr)


class Check(PpkctlTest):
    def test_good(self):
        path = self.write("ppk.conf", GOOD)
        expected = f"{path}: ok: keyrings 2, peers 2, sks profiles 1, ikev2 profiles 1\n"
        self.assertEqual(self.ppkctl("check", path), (expected, ""))
        self.assertEqual(self.ppkctl("check", "--config", path), (expected, ""))
        self.assertEqual(self.ppkctl("check", PPK_CONF=path), (expected, ""))

    def test_bad(self):
        path = self.write("ppk.conf", GOOD + f" tls psk id i kez {SECRET}\n nonsense {SECRET}\n{SECRET}\n")
        out, err = self.ppkctl("check", path, status=1)
        self.assertEqual(out, "")
        self.assertEqual([line.split(": ")[0] for line in err.splitlines()], [f"{path}:{n}" for n in (15, 16, 17)])
        self.assertNotIn("sEcReT", err)

    def test_files(self):
        for mode, text in ((0o644, ":4: a secret in clear, and others can read the file"), (0o660, "its group can write it"),
                           (0o602, "others can write it")):
            _, err = self.ppkctl("check", self.write("ppk.conf", GOOD, mode), status=1)
            self.assertIn(text, err)
        _, err = self.ppkctl("check", self.directory, status=1)
        self.assertEqual(err, f"{self.directory}: is not a regular file\n")
        _, err = self.ppkctl("check", self.directory + "/none", status=1)
        self.assertEqual(err, f"{self.directory}/none: No such file or directory\n")

    def test_sample(self):
        path = os.path.join(self.directory, "ppk.conf")
        shutil.copy(os.path.join(os.environ["PPK_SOURCE_DIR"], "conf", "ppk.conf"), path)
        os.chmod(path, 0o640)
        self.ppkctl("check", path)


class Show(PpkctlTest):
    def test_show(self):
        path = self.write("ppk.conf", GOOD)
        out, _ = self.ppkctl("show", "running-config", "--config", path)
        self.assertNotIn("sEcReT", out)
        self.assertEqual(out, """keyring dynamic
 peer peer1
  address 10.0.0.1 255.0.0.0
  ppk dynamic qkd required
  pre-shared-key <removed>
 peer peer2
  ppk manual id two key <removed>
!
keyring other
 key-encryption-key card1 key <removed>
!
sks profile qkd type remote
 kme server ipv4 127.0.0.1 port 10001
!
ikev2 profile test
 match identity remote address 10.0.0.1 255.255.255.0
 keyring dynamic
!
""")
        self.assertEqual(self.ppkctl("show", "run", PPK_CONF=path)[0], out)
        self.assertEqual(self.ppkctl("show", "keyring", "other", "--config", path)[0], "keyring other\n key-encryption-key card1 key <removed>\n!\n")
        self.assertEqual(self.ppkctl("show", "--config", path, "running-config", "sks-profile")[0],
                         "sks profile qkd type remote\n kme server ipv4 127.0.0.1 port 10001\n!\n")
        self.assertIn("keyring dynamic", self.ppkctl("show", "ikev2-profile", "test", "--config", path)[0])
        for what, title in ((["keyring"], "keyring"), (["running-config", "sks-profile"], "sks profile"),
                            (["ikev2-profile"], "ikev2 profile")):
            out, err = self.ppkctl("show", *what, "none", "--config", path, status=1)
            self.assertEqual((out, err), ("", f'ppkctl: {path}: there is no {title} "none"\n'))
        for part in ((), ("sks-profile",), ("sks-profile", "qkd"), ("keyring",)):
            for option in (("--json",), ("--openmetrics",), ("--process", "1")):
                out, err = self.ppkctl("show", "running-config", *part, *option, "--config", path, status=2, PPK_STATUS_DIR=self.directory)
                self.assertEqual((out, err), ("", "ppkctl: show running-config: --process, --json and --openmetrics are for what shows "
                                                  "the status\n"))
        # what show removed must not become a secret
        _, err = self.ppkctl("check", self.write("again.conf", self.ppkctl("show", "run", "--config", path)[0]), status=1)
        self.assertEqual(err.count("was removed from here"), 3)


class Encrypt(PpkctlTest):
    def test_lines(self):
        key = self.write("master", "the master key\n")
        out, err = self.ppkctl("encrypt", "--master-key-file", key, stdin=f"{SECRET}\n{SECRET}\r\nanother one that has blanks and more")
        texts = out.splitlines()
        self.assertEqual((len(texts), len(set(texts)), err), (3, 3, ""))
        self.assertEqual(len({t[:22] for t in texts}), 1, "they do not share a salt")
        conf = self.write("ppk.conf", f"""master-key file master
keyring k
 peer p
  ppk manual id a key 6 {texts[0]}
  ppk manual id b key 6 {texts[2]}
  pre-shared-key 6 {texts[1]}
""", 0o644)
        self.assertIn("ok: keyrings 1", self.ppkctl("check", conf)[0])
        self.assertIn(f"  pre-shared-key 6 {texts[1]}\n", self.ppkctl("show", "run", "--config", conf)[0])
        # the configuration's master key, and its salt
        more, _ = self.ppkctl("encrypt", "--config", conf, stdin=SECRET)
        self.assertEqual(more[:22], texts[0][:22])
        # another master key is noticed
        other = self.write("other", "another master key\n")
        out, err = self.ppkctl("encrypt", "--config", conf, "--master-key-file", other, stdin=SECRET, status=1)
        self.assertEqual(out, "")
        self.assertIn(f"{conf}:6: the Type 6 secret is damaged, or was encrypted under another master key", err)
        self.write("master", "a changed master key\n")
        _, err = self.ppkctl("check", conf, status=1)
        self.assertIn(f"{conf}:6: the Type 6 secret is damaged, or was encrypted under another master key", err)

    def test_hex(self):
        key = self.write("master", "k")
        out, _ = self.ppkctl("encrypt", "--master-key-file", key, "--hex", stdin="00" * 31 + "\n" + "fF" * 32 + "\n")
        short, good = out.splitlines()
        conf = f"master-key file master\nkeyring k\n peer p\n  ppk manual id a key 6 {good}\n"
        self.ppkctl("check", self.write("ppk.conf", conf))
        _, err = self.ppkctl("check", self.write("ppk.conf", conf + f"  ppk manual id b key 6 {short}\n"), status=1)
        self.assertIn("ppk.conf:5: the PPK has 31 bytes; 32 to 4096 are allowed", err)

    def test_wrong_input(self):
        key = self.write("master", "k")
        for stdin, options, text in (("", (), "standard input is empty"), (f"{SECRET}\n\n", (), "line 2: the secret is empty"),
                                     (f"{SECRET}\n", ("--hex",), "line 1: not an even number of hexadecimal digits"),
                                     ("aa\nabc\n", ("--hex",), "line 2: not an even number of hexadecimal digits"),
                                     ("x" * 4097, (), "line 1: the secret is too long"),
                                     ("x\n" + "x" * 20000, (), "line 2: the secret is too long")):
            out, err = self.ppkctl("encrypt", "--master-key-file", key, *options, stdin=stdin, status=1)
            self.assertEqual(out, "")
            self.assertIn(text, err)
            self.assertNotIn("sEcReT", err)

    def test_longest(self):
        key = self.write("master", "k")
        out, _ = self.ppkctl("encrypt", "--master-key-file", key, stdin="x" * 4096 + "\n" + "y" * 4096)
        self.assertEqual(len(out.splitlines()), 2)
        out, _ = self.ppkctl("encrypt", "--master-key-file", key, "--hex", stdin="ab" * 4096)
        self.assertEqual(len(out.splitlines()), 1)

    def test_master_key(self):
        conf = self.write("ppk.conf", GOOD)
        _, err = self.ppkctl("encrypt", "--config", conf, stdin=SECRET, status=1)
        self.assertIn("no master key", err)
        for name, content, mode, text in (("a", "x", 0o644, "others can read it"), ("b", "", 0o600, "1 to 512 bytes"),
                                          ("c", "x" * 513, 0o600, "1 to 512 bytes")):
            _, err = self.ppkctl("encrypt", "--master-key-file", self.write(name, content, mode), stdin=SECRET, status=1)
            self.assertIn(text, err)
        credentials = os.path.join(self.directory, "credentials")
        os.mkdir(credentials)
        self.write("credentials/ppk-master-key", "k")
        out, _ = self.ppkctl("encrypt", "--config", conf, stdin=SECRET, CREDENTIALS_DIRECTORY=credentials)
        self.assertEqual(len(out.splitlines()), 1)

    def terminal(self, answers):
        """Runs encrypt on a terminal of its own, types the answers at its prompts; returns exit status and all that was shown."""
        key = self.write("master", "k")
        pid, fd = pty.fork()
        if pid == 0:
            os.execve(PPKCTL, [PPKCTL, "encrypt", "--master-key-file", key], clean_environment())
        shown, end, answers = b"", time.monotonic() + 30, list(answers)
        while time.monotonic() < end:
            if not select.select([fd], [], [], 0.1)[0]:
                continue
            try:
                got = os.read(fd, 4096)
            except OSError:
                break
            if not got:
                break
            shown += got
            if shown.endswith(b"Secret: ") and answers:
                time.sleep(0.05)  # it turns off the echo after the prompt
                os.write(fd, answers.pop(0).encode() + b"\n")
        os.close(fd)
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), shown.decode()

    def test_terminal(self):
        status, shown = self.terminal([SECRET, SECRET])
        self.assertEqual(status, 0, shown)
        self.assertNotIn("sEcReT", shown)
        self.assertEqual(shown.count("Secret: "), 2)
        self.assertRegex(shown, r"(?m)^A[A-Za-z0-9_-]{80,}\r?$")
        status, shown = self.terminal([SECRET, SECRET + "x"])
        self.assertEqual(status, 1, shown)
        self.assertNotIn("sEcReT", shown)


class Manual(PpkctlTest):
    def test_pages(self):
        conf, _ = self.ppkctl("manual")
        self.assertEqual(conf, self.ppkctl("manual", "ppk.conf")[0])
        self.assertIn(".Dt PPK.CONF 5\n", conf)
        for command in ("master-key", "derived-keys", "remote-system-id", "kme", "tls", "ppk-id", "entropy", "hedge"):
            self.assertIn(f".Cm {command}\n", conf)
        ctl, _ = self.ppkctl("manual", "ppkctl")
        for name in SUBCOMMANDS:
            self.assertIn(f".It Cm {name}\n", ctl)
        if shutil.which("mandoc") is None:
            self.skipTest("mandoc is not installed")
        for name, page in (("ppk.conf.5", conf), ("ppkctl.1", ctl)):
            done = subprocess.run(["mandoc", "-Tlint", "-Wwarning", self.write(name, page)], capture_output=True, text=True, check=False)
            self.assertEqual(done.stdout, "")


if __name__ == "__main__":
    unittest.main()
