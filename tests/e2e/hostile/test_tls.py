#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
"""TLS, against four implementations of the other side: certificates (Python's ssl, nginx) and pre-shared keys (OpenSSL, stunnel, GnuTLS)."""
import os, secrets, shutil, subprocess, sys
from testbed import Testbed, free_port, wait_for

BAD_TLS = ["--ca", "ca.pem", "--remote", "Bob", "key", "counts"]


def certificates(b):
    port = b.serve()
    good = ["--ca", "ca.pem", "--remote", "Bob"]
    b.expect_key(b.probe(*good, "key", port=port)[0], "certificate, address")
    b.expect_key(b.probe(*good, "--server", "hostname:%d:localhost" % port, "key")[0], "certificate, name")
    six = b.serve("good", "server", False, None, "--address", "::1")
    b.expect_key(b.probe(*good, "--server", "ipv6:%d:::1" % six, "key")[0], "certificate, IPv6")
    b.expect_key(b.probe(*good, "key", port=b.serve("good", "server", False, None, "--tls12"))[0], "certificate, TLS 1.2")
    for cert, reason in (("wrong-name", "no alternative certificate subject name matches target host name '127.0.0.1'"),
                         ("stranger", "unable to get local issuer certificate|self.signed"), ("expired", "certificate has expired")):
        log = cert + ".log"
        at = b.serve("good", cert, False, log)
        lines = b.probe(*BAD_TLS, port=at)
        b.expect(lines[0], "UNREACHABLE", r"127\.0\.0\.1:%d: .*(%s)" % (at, reason), 3000, what=cert)
        b.check("key=1/0/1" in lines[1], "%s: counts %s" % (cert, lines[1]))
        b.check(not os.path.exists(b.path(log)) or b.log(log) == [], cert + ": nothing was asked")
    at = b.serve("good", "wrong-name")
    b.expect(b.probe(*good, "--server", "hostname:%d:localhost" % at, "key")[0], "UNREACHABLE", "target host name 'localhost'", what="wrong name")
    # The system's trust does not know our authority; a trustpoint replaces it.
    b.expect(b.probe("--remote", "Bob", "key", port=port)[0], "UNREACHABLE", "certificate", what="system's trust")
    b.expect(b.probe("--ca", "other-ca.pem", "--remote", "Bob", "key", port=port)[0], "UNREACHABLE", "certificate", what="other trustpoint")
    b.expect(b.probe("--ca", "missing.pem", "--remote", "Bob", "key", port=port)[0], "UNREACHABLE", "missing.pem", what="no trustpoint file")
    b.expect(b.probe(*BAD_TLS, port=b.serve(plain=True))[0], "UNREACHABLE", "", 3000, what="plain HTTP")
    for scenario, reason in (("tls-garbage", "wrong version|packet|SSL"), ("tls-closed", "SSL|Recv|eof|unexpected"), ("tls-hung", "no (connection|answer) after")):
        b.expect(b.probe("--timeout", 800, *BAD_TLS, port=b.serve(scenario))[0], "UNREACHABLE", reason, 2500, what=scenario)
    b.expect(b.probe(*BAD_TLS, port=free_port())[0], "UNREACHABLE", "cannot be connected to: Connection refused", 1500, what="nobody there")


def environment(b):
    """What a host's environment says changes nothing."""
    port = b.serve()
    proxy = "http://127.0.0.1:%d" % free_port()
    env = {k: proxy for k in ("https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY", "http_proxy")}
    env.update(SSLKEYLOGFILE=b.path("keylog"), SSL_CERT_FILE=b.path("ca.pem"), CURL_CA_BUNDLE=b.path("ca.pem"))
    b.expect_key(b.probe("--ca", "ca.pem", "--remote", "Bob", "key", port=port, env=env)[0], "environment")
    b.check(not os.path.exists(b.path("keylog")) or os.path.getsize(b.path("keylog")) == 0, "SSLKEYLOGFILE got secrets")


def mutual(b):
    port = b.serve("good", "server", False, "mutual", "--client-ca", b.path("ca.pem"))
    good = ["--ca", "ca.pem", "--remote", "Bob"]
    b.expect_key(b.probe(*good, "--cert", "client.pem", "--key", "client.key", "key", port=port)[0], "mutual")
    asked = b.log("mutual")
    for extra in ([], ["--cert", "strange-client.pem", "--key", "strange-client.key"]):
        b.expect(b.probe(*good, *extra, "key", port=port)[0], "UNREACHABLE", "alert|SSL|Recv|Send|Empty|ended the connection", 3000, what="mutual, refused")
    b.check(b.log("mutual") == asked, "mutual: a stranger was served")
    b.expect(b.probe(*good, "--cert", "client.pem", "--key", "server.key", "key", port=port)[0], "UNREACHABLE", "client.pem|server.key|key",
             what="mutual, other key")
    # An encrypted key file is an error, not a question to whoever sits at the terminal.
    subprocess.run(["openssl", "rsa", "-aes256", "-passout", "pass:secret", "-in", b.path("client.key"), "-out", b.path("locked.key")],
                   check=True, capture_output=True, timeout=60)
    b.expect(b.probe(*good, "--cert", "client.pem", "--key", "locked.key", "key", port=port)[0], "UNREACHABLE", "locked.key|key", 3000, what="locked key")


def nginx(b):
    if not shutil.which("nginx"):
        return b.check(False, "nginx is not installed")
    backend, port = b.serve(plain=True), free_port()
    with open(b.path("nginx.conf"), "w") as f:
        f.write("""daemon off; master_process off; pid nginx.pid; error_log nginx.err;
events {}
http {
  access_log off;
  client_body_temp_path tmp; proxy_temp_path tmp; fastcgi_temp_path tmp; uwsgi_temp_path tmp; scgi_temp_path tmp;
  server {
    listen 127.0.0.1:%d ssl; ssl_certificate server.pem; ssl_certificate_key server.key;
    ssl_client_certificate ca.pem; ssl_verify_client on; ssl_protocols TLSv1.2 TLSv1.3;
    location / { proxy_pass http://127.0.0.1:%d; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_read_timeout 2s; }
  }
}
""" % (port, backend))
    b.start(["nginx", "-p", b.dir, "-c", b.path("nginx.conf"), "-e", b.path("nginx.err")], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_for(port)
    mine = ["--ca", "ca.pem", "--cert", "client.pem", "--key", "client.key"]
    for line in b.probe(*mine, "--remote", "Bob", "key", "id:00112233445566778899aabbccddeeff", port=port):
        b.expect_key(line, "nginx")
    b.expect(b.probe("--ca", "ca.pem", "--remote", "Bob", "key", port=port)[0], "REFUSED", "status 400", what="nginx, no certificate")
    b.expect(b.probe(*mine, "--remote", "deaf", "id:00ff", port=port)[0], "UNREACHABLE", "status 502", what="nginx, broken behind")


def psk(b):
    backend, key, other = b.serve(plain=True, log="psk"), secrets.token_hex(32), secrets.token_hex(32)
    mine = ["--remote", "Bob", "--psk", "alice:" + key]
    for bits, extra in (([], []), (["--hash", "sha256"], ["--psk-hash", "sha256"]),
                        *((["--tls", "1.2", "--suites", s], []) for s in ("DHE-PSK-AES256-CBC-SHA384", "DHE-PSK-AES256-CBC-SHA",
                                                                       "PSK-AES256-GCM-SHA384", "DHE-PSK-AES256-GCM-SHA384"))):
        at = b.front(backend, "alice:" + key, *bits)
        for line in b.probe(*mine, *extra, "key", "key", "id:00ff00ff", port=at):
            b.expect_key(line, "PSK %s" % bits)
        asked = len(b.log("psk"))
        b.expect(b.probe("--remote", "Bob", "--psk", "alice:" + other, *extra, "key", port=at)[0], "UNREACHABLE",
                 'TLS with PSK identity "alice" failed .is it the same key', 3000, what="wrong PSK %s" % bits)
        b.expect(b.probe("--remote", "Bob", "--psk", "eve:" + key, *extra, "key", port=at)[0], "UNREACHABLE",
                 'TLS with PSK identity "eve" failed .*know', 3000, what="wrong identity %s" % bits)
        b.check(len(b.log("psk")) == asked, "PSK: a stranger was served")
    suites = [line for line in b.log("front.log") if not line.startswith("failed")]
    for wanted in ("TLSv1.3 TLS_AES_256_GCM_SHA384", "TLSv1.3 TLS_AES_128_GCM_SHA256", "TLSv1.2 DHE-PSK-AES256-CBC-SHA384",
                   "TLSv1.2 DHE-PSK-AES256-CBC-SHA", "TLSv1.2 PSK-AES256-GCM-SHA384", "TLSv1.2 DHE-PSK-AES256-GCM-SHA384"):
        b.check(wanted in suites, wanted + " was not spoken")
    b.check(len(suites) == 6, "a connection for each request: %s" % suites)
    for length in (16, 48, 64):
        short = "alice:" + secrets.token_hex(length)
        b.expect_key(b.probe("--remote", "Bob", "--psk", short, "key", port=b.front(backend, short))[0], "PSK of %d bytes" % length)
    # A certificate is never good enough, not even one that a trustpoint would accept.
    asked = len(b.log("psk"))
    for identity in ("alice:" + other, "eve:" + key):
        at = b.front(backend, "alice:" + key, "--cert", b.path("server.pem"), "--key", b.path("server.key"))
        b.expect(b.probe("--remote", "Bob", "--ca", "ca.pem", "--psk", identity, "key", port=at)[0], "UNREACHABLE",
                 "shows a certificate, but a TLS PSK is configured|is it the same key", 3000, what="PSK or certificate")
    for more in ([], ["--tls12"]):
        b.expect(b.probe("--remote", "Bob", "--ca", "ca.pem", "--psk", "alice:" + key, "key", port=b.serve("good", "server", False, "psk", *more))[0],
                 "UNREACHABLE", "shows a certificate, but a TLS PSK is configured|handshake failure", 3000, what="certificate server")
    b.check(len(b.log("psk")) == asked, "PSK: something was asked of a server with a certificate")
    b.expect(b.probe("--remote", "Bob", "--sealed-psk", "alice", "key", port=backend)[0], "REFUSED", "log in first", what="sealed PSK")


def stunnel(b):
    if not shutil.which("stunnel4"):
        return b.check(False, "stunnel4 is not installed")
    # stunnel takes what is hex as hex.
    backend, key = b.serve(plain=True), secrets.token_hex(32)
    with open(b.path("psk.txt"), "w") as f:
        f.write("alice:%s\n" % key)
    os.chmod(b.path("psk.txt"), 0o600)
    for version, extra in (("TLSv1.2", []), ("TLSv1.3", ["--psk-hash", "sha256"])):
        port = free_port()
        with open(b.path("stunnel.conf"), "w") as f:
            f.write("foreground = yes\npid =\ndebug = 3\noutput = %s\n[skip]\naccept = 127.0.0.1:%d\nconnect = 127.0.0.1:%d\nciphers = PSK\n"
                    "PSKsecrets = %s\nsslVersion = %s\n" % (b.path("stunnel.log"), port, backend, b.path("psk.txt"), version))
        b.start(["stunnel4", b.path("stunnel.conf")], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_for(port)
        for line in b.probe("--remote", "Bob", "--psk", "alice:" + key, *extra, "key", "id:00ff", port=port):
            b.expect_key(line, "stunnel " + version)
        b.expect(b.probe("--remote", "Bob", "--psk", "alice:" + key[:-1] + "f0"[key[-1] == "f"], *extra, "key", port=port)[0], "UNREACHABLE", "PSK identity",
                 3000, what="stunnel, wrong PSK")


def gnutls(b):
    """gnutls-serv answers every GET with a page of its own: TLS has to work, and what comes is no SKIP message."""
    if not shutil.which("gnutls-serv"):
        return b.check(False, "gnutls-serv is not installed")
    key = secrets.token_hex(32)
    with open(b.path("gnutls.psk"), "w") as f:
        f.write("alice:%s\n" % key)
    for priority, extra in (("NORMAL:-VERS-ALL:+VERS-TLS1.3:-KX-ALL:+DHE-PSK:+PSK", ["--psk-hash", "sha256"]),
                            ("NORMAL:-VERS-ALL:+VERS-TLS1.2:-KX-ALL:+DHE-PSK", []), ("NORMAL:-VERS-ALL:+VERS-TLS1.2:-KX-ALL:+PSK", [])):
        port = free_port()
        b.start(["gnutls-serv", "--http", "--quiet", "--port", str(port), "--pskpasswd", "gnutls.psk", "--priority", priority],
                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_for(port)
        line = b.probe("--remote", "Bob", "--psk", "alice:" + key, *extra, "key", port=port)[0]
        b.expect(line, "UNREACHABLE", "its answer is not JSON", 3000, what="gnutls-serv " + priority)
        b.expect(b.probe("--remote", "Bob", "--psk", "alice:" + secrets.token_hex(32), *extra, "key", port=port)[0], "UNREACHABLE",
                 "PSK identity", 3000, what="gnutls-serv, wrong PSK " + priority)


def main(build):
    with Testbed(build) as b:
        for part in (certificates, environment, mutual, nginx, psk, stunnel, gnutls):
            part(b)
        return b.end()


sys.exit(main(sys.argv[1]))
