# SPDX-License-Identifier: BSD-2-Clause
"""The token's log, from outside: where it goes, what its lines tell, and that no secret is in it, not in a full trace either."""
import os
import re
import subprocess
import unittest

from command import clean_environment
from gateways import MODULE, GatewaysTest
from keysource import PSK, psk_get

CLIENT = os.environ["STATUS_CLIENT"]
MANUAL, IKE_PSK = "5ecb0ea1" * 8, "an IKE pre-shared key"


class Log(GatewaysTest):
    def setUp(self):
        super().setUp()
        self.log = os.path.join(self.directory, "token.log")

    def conf_with(self, *lines):
        more = f"  ppk manual id manual key hex {MANUAL}\n  pre-shared-key \"{IKE_PSK}\"\n"
        path = self.encryptor(self.alice, "Bob", more=more)
        with open(path, "a", encoding="utf-8") as f:
            f.write("".join(line + "\n" for line in lines))
        return path

    def run_client(self, *commands, conf, **environment):
        """Runs commands in a process that uses the token; nothing but the answers may be written. Returns the log."""
        done = subprocess.run([CLIENT, MODULE], input="".join(c + "\n" for c in commands), capture_output=True, text=True,
                              timeout=60, check=True, env=clean_environment(PPK_CONF=conf, PPK_STATUS_DIR="off", **environment))
        self.assertEqual((done.stdout, done.stderr), ("".join(c + " ok\n" for c in commands), ""))
        return self.read()

    def read(self):
        if not os.path.exists(self.log):
            return ""
        with open(self.log, encoding="utf-8") as f:
            return f.read()

    def test_trace(self):
        conf = self.conf_with(f"log file {self.log}", "log level trace")
        log = self.run_client("open", "generate", "use", "find 00112233445566778899aabbccddeeff", "threads", "finalize", conf=conf)
        self.assertEqual(os.stat(self.log).st_mode & 0o777, 0o600)
        for line in log.splitlines():
            self.assertRegex(line, r"^20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z ppk-pkcs11\[\d+\] (error|warning|notice|info|debug|trace): ")
        traced = [re.sub(r"^.*? trace: (.*?)(?:, \d+ us)?$", r"\1", line) for line in log.splitlines() if " trace: " in line]
        session = re.search(r"C_OpenSession\(slot 0, flags 0x6, -> session (\d+)\) = CKR_OK", log).group(1)
        for wanted in (rf'C_GenerateKey\(session {session}, CKM_GENERIC_SECRET_KEY_GEN, \{{CKA_LABEL="gateway"\}}, -> object \d+\) = CKR_OK',
                       rf"C_SignInit\(session {session}, CKM_SHA256_HMAC, object \d+\) = CKR_OK",
                       rf"C_Sign\(session {session}, 5 bytes, -> 32\) = CKR_OK",
                       rf"C_FindObjectsInit\(session {session}, \{{CKA_CLASS=CKO_SECRET_KEY, CKA_ID=[0-9a-f]{{64}}\}}\) = CKR_OK",
                       rf"C_FindObjects\(session {session}, -> 0\) = CKR_OK", r"C_Finalize = CKR_OK"):
            self.assertTrue(any(re.fullmatch(wanted, line) for line in traced), f"{wanted}\n{log}")
        fetched = re.findall(r"info: sks profile ks: 127\.0\.0\.1:\d+: peer gateway: PPK ID ([0-9a-f]+) fetched\n", log)
        self.assertEqual(len(fetched), 21)
        self.assertIn(f"info: peer gateway: PPK ID {fetched[0]} used\n", log)
        # no secret: not what is configured, and no PPK, as the other end gets them
        secrets = [PSK, MANUAL, IKE_PSK, IKE_PSK.encode().hex(), "the key sources' master key"]
        for key_id in fetched[:5]:
            answer, err = psk_get(self.bob, f"/key/{key_id}?remoteSystemID=Alice", identity="encryptor")
            self.assertIn("200 OK", answer, err)
            secrets.append(re.search(r'"key": ?"([0-9a-fA-F]+)"', answer).group(1))
        for secret in secrets:
            forms = {secret, secret[:16], secret[-16:]}
            if re.fullmatch("([0-9a-fA-F]{2})+", secret):
                forms.add(bytes.fromhex(secret).decode("latin-1"))
            for form in forms:
                self.assertNotIn(form.lower(), log.lower())

    def test_levels_and_environment(self):
        quiet = self.conf_with(f"log file {self.log}")
        self.assertEqual(self.run_client("open", "generate", "finalize", conf=quiet), "")
        loud = self.conf_with(f"log file {self.log}", "log level info")
        self.assertRegex(self.run_client("open", "generate", "finalize", conf=loud), "PPK ID [0-9a-f]+ fetched")
        os.unlink(self.log)
        flood = self.run_client("open", "generate", "threads", "finalize", conf=loud)
        self.assertEqual(flood.count(" fetched\n"), 20)  # of 21: not more of a kind in ten seconds
        self.assertIn("1 more lines were held back", flood)
        os.unlink(self.log)
        other = os.path.join(self.directory, "other.log")
        self.assertEqual(self.run_client("open", "generate", "finalize", conf=loud, PPK_LOG=f"file={other}:trace"), "")
        self.assertIn("trace: C_OpenSession", open(other, encoding="utf-8").read())
        _, err = self.ppkctl("check", self.write("bad.conf", "log level loud\n"), status=1)
        self.assertIn("bad.conf:1: one of {error|warning|notice|info|debug|trace} is expected", err)
        out, _ = self.ppkctl("show", "run", "--config", loud)
        self.assertIn(f"log file {self.log}\nlog level info\n", out.replace("!\n", ""))

    def test_rotation_and_links(self):
        conf = self.conf_with(f"log file {self.log}", "log level info")
        with subprocess.Popen([CLIENT, MODULE], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                              env=clean_environment(PPK_CONF=conf, PPK_STATUS_DIR="off")) as client:
            def do(command):
                client.stdin.write(command + "\n")
                client.stdin.flush()
                self.assertEqual(client.stdout.readline(), command + " ok\n")
            do("open")
            do("generate")
            os.rename(self.log, self.log + ".1")
            do("generate")
            self.assertEqual(self.read().count("fetched"), 1)
            os.unlink(self.log)
            elsewhere = self.write("elsewhere", "")
            os.symlink(elsewhere, self.log)
            do("generate")
            self.assertEqual(os.path.getsize(elsewhere), 0)  # not led elsewhere
            client.stdin.close()
            client.wait(20)


if __name__ == "__main__":
    unittest.main()
