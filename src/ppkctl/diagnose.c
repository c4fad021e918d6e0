/* SPDX-License-Identifier: BSD-2-Clause */
#include "ppkctl/diagnose.h"

#include <errno.h>
#include <openssl/ssl.h>
#include <openssl/x509_vfy.h>
#include <string.h>
#include <time.h>

#define DATE_ROOM 32

static const char *date(int64_t when, char out[static DATE_ROOM])
{
    time_t t = (time_t)when;
    struct tm tm;

    if (gmtime_r(&t, &tm) == NULL || strftime(out, DATE_ROOM, "%Y-%m-%d %H:%M:%S UTC", &tm) == 0)
        memcpy(out, "?", 2);
    return out;
}

/* ---- addresses ---- */

static void name_advice(const struct kme_server *server, struct fault *advice)
{
    fault_set(advice,
              "Correct the name in `kme server hostname %s`, or make it known (DNS, /etc/hosts); \"getent "
              "hosts %s\" shows what this host knows.",
              server->host, server->host);
}

static void connect_advice(const struct kme_server *server, const struct skip_link *link,
                           struct fault *advice)
{
    const char *host = server->host;
    unsigned port = server->port;

    if (link->os_error == ECONNREFUSED)
        fault_set(advice,
                  "The host is there, but nothing listens on port %u: start the key source, or correct the "
                  "port in `kme server ... port %u`.",
                  port, port);
    else if (link->os_error == ENETUNREACH || link->os_error == EHOSTUNREACH)
        fault_set(advice, "This host has no way to %s: check the address and the routes (\"ip route get\").",
                  host);
    else if (link->timed_out)
        fault_set(advice,
                  "Nobody answers at all: a firewall that drops port %u, or a host that is down. Check the "
                  "address %s and the filters between.",
                  port, host);
    else
        fault_set(advice, "Check the address %s, the port %u, and the filters between.", host, port);
}

/* ---- TLS ---- */

#define PSK_ADVICE                                                                                           \
    "The key of this identity is another one at the key source: make `tls psk` the same at both (and the "   \
    "same format: text or hex)."

/* What a server's alert means to us (RFC 8446, section 6.2; RFC 4279, section 2). */
static const struct alert {
    unsigned number;
    const char *cause, *advice; /* where a PSK is configured; NULL: this alert says nothing special */
    const char *certificate_cause, *certificate_advice;
} alerts[] = {
    {SSL_AD_ILLEGAL_PARAMETER, "wrong PSK", PSK_ADVICE, NULL, NULL},
    {SSL_AD_DECRYPT_ERROR, "wrong PSK", PSK_ADVICE, "it does not accept our certificate's signature",
     "Check `tls certificate` and its key."},
    {SSL_AD_BAD_RECORD_MAC, "wrong PSK", PSK_ADVICE, NULL, NULL},
    {SSL_AD_UNKNOWN_PSK_IDENTITY, "unknown PSK identity",
     "The key source does not know this identity: correct `tls psk id`, or add it there (skipd.conf: a "
     "client with this `tls psk id`).",
     NULL, NULL},
    {SSL_AD_HANDSHAKE_FAILURE, "unknown PSK identity, or another hash",
     "The key source does not know this identity, or binds it to another hash: compare `tls psk id` and "
     "`hash` "
     "with its configuration (skipd.conf: a client with this `tls psk id`).",
     "no TLS parameters in common, or it wants something else than certificates",
     "If the key source authenticates by PSK, configure `tls psk`; if it wants our certificate, `tls "
     "certificate`."},
    {SSL_AD_INSUFFICIENT_SECURITY, "unknown PSK identity, or another hash",
     "Compare `tls psk id` and `hash` with the key source's configuration.", NULL, NULL},
    {SSL_AD_PROTOCOL_VERSION, "it speaks another version of TLS", "The key source needs TLS 1.2 or 1.3.",
     "it speaks another version of TLS", "The key source needs TLS 1.2 or 1.3."},
    {SSL_AD_CERTIFICATE_REQUIRED, NULL, NULL, "it wants a certificate of ours",
     "Add `tls certificate FILE key FILE` to the sks profile, or authenticate by `tls psk`."},
    {SSL_AD_UNKNOWN_CA, NULL, NULL, "it does not trust the CA of our certificate",
     "Let the CA that the key source trusts sign `tls certificate`, or add our CA to its `tls trustpoint`."},
    {SSL_AD_CERTIFICATE_EXPIRED, NULL, NULL, "our certificate has expired",
     "Renew the file of `tls certificate`; check the key source's clock."},
    {SSL_AD_BAD_CERTIFICATE, NULL, NULL, "it refuses our certificate",
     "Its log says why: compare `tls certificate` with what it expects."},
    {SSL_AD_ACCESS_DENIED, NULL, NULL, "it refuses our certificate",
     "Our certificate is good but not known there: add us as a client at the key source."},
};

static bool alert_diagnose(const struct sks_profile *profile, const struct skip_link *link,
                           struct fault *cause, struct fault *advice)
{
    for (size_t i = 0; i < sizeof alerts / sizeof alerts[0]; i++) {
        const struct alert *a = &alerts[i];
        const char *text = profile->psk_id != NULL ? a->cause : a->certificate_cause;

        if (a->number != link->alert || text == NULL)
            continue;
        if (profile->psk_id != NULL)
            fault_set(cause, "%s: the key source refuses PSK identity \"%s\" (alert: %s)", text,
                      profile->psk_id, SSL_alert_desc_string_long((int)link->alert));
        else
            fault_set(cause, "%s (alert: %s)", text, SSL_alert_desc_string_long((int)link->alert));
        fault_set(advice, "%s", profile->psk_id != NULL ? a->advice : a->certificate_advice);
        return true;
    }
    return false;
}

/* A certificate of the server that does not stand the check. */
static void certificate_diagnose(const struct sks_profile *profile, const struct skip_link *link,
                                 struct fault *cause, struct fault *advice)
{
    char now[DATE_ROOM], then[DATE_ROOM];

    switch (link->verify) {
    case X509_V_ERR_CERT_HAS_EXPIRED:
        fault_set(cause, "expired certificate: \"%s\" was valid until %s; it is %s here", link->subject,
                  date(link->not_after, then), date((int64_t)time(NULL), now));
        fault_set(advice,
                  "Renew the key source's certificate; if it is not late, correct this host's clock.");
        break;
    case X509_V_ERR_CERT_NOT_YET_VALID:
        fault_set(cause, "clock: certificate \"%s\" is valid from %s on; it is %s here", link->subject,
                  date(link->not_before, then), date((int64_t)time(NULL), now));
        fault_set(advice, "Correct this host's clock (\"timedatectl\"), or that of the CA which made the "
                          "certificate.");
        break;
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
    case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
    case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
    case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
    case X509_V_ERR_CERT_SIGNATURE_FAILURE:
        fault_set(cause,
                  "wrong CA: certificate \"%.120s\" was issued by \"%.120s\", which %.120s does not have",
                  link->subject, link->issuer,
                  profile->trustpoint != NULL ? profile->trustpoint : "the system's store of CAs");
        fault_set(advice, "%s",
                  "Put the CA that issued the key source's certificate into the file of `tls "
                  "trustpoint`. If you did not expect this CA, somebody else may be answering.");
        break;
    default:
        fault_set(cause, "certificate \"%s\": %s", link->subject,
                  X509_verify_cert_error_string(link->verify));
        fault_set(advice, "Let the key source have a certificate that stands the check.");
    }
}

static void tls_diagnose(const struct sks_profile *profile, const struct kme_server *server,
                         const struct skip_link *link, const struct skip_answer *answer, struct fault *cause,
                         struct fault *advice)
{
    if (link->certificate_instead_of_psk) {
        fault_set(cause, "unknown PSK identity, or no PSK there: it shows a certificate, \"%s\" is not used",
                  profile->psk_id);
        fault_set(advice, "The key source does not know this identity or its hash, or has certificates only: "
                          "correct `tls psk id`, add the client there, or use `tls trustpoint`.");
    } else if (link->own_files) {
        fault_set(advice,
                  "Check the files of `tls trustpoint`, `tls certificate` and its key: PEM, readable, "
                  "and belonging together.");
    } else if (link->verify != 0) {
        certificate_diagnose(profile, link, cause, advice);
    } else if (link->wrong_name) {
        fault_set(cause, "wrong host name: certificate \"%s\" is not for %s", link->subject, server->host);
        fault_set(advice,
                  "Name the server as its certificate does (subjectAltName) in `kme server`, or let its "
                  "certificate have \"%s\".",
                  server->host);
    } else if (link->alert != 0 && alert_diagnose(profile, link, cause, advice)) {
        return;
    } else if (link->timed_out) {
        fault_set(advice,
                  "The port is open but does not speak TLS: another service listens on port %u, or the "
                  "key source hangs.",
                  server->port);
    } else if (strstr(answer->fault.text, "wrong version number") != NULL) {
        fault_set(advice, "What listens on port %u does not speak TLS: correct the port.", server->port);
    } else {
        fault_set(advice, "The key source's log says what it did not like; compare `tls ...` at both.");
    }
}

void diagnose_link(const struct sks_profile *profile, const struct kme_server *server,
                   const struct skip_link *link, const struct skip_answer *answer, struct fault *cause,
                   struct fault *advice)
{
    fault_set(cause, "%s", answer->fault.text);
    fault_set(advice, "%s", "");
    if (link->stage == SKIP_STAGE_NAME)
        name_advice(server, advice);
    else if (link->stage == SKIP_STAGE_CONNECT)
        connect_advice(server, link, advice);
    else if (link->stage == SKIP_STAGE_TLS)
        tls_diagnose(profile, server, link, answer, cause, advice);
}

/* ---- answers ---- */

void diagnose_answer(const struct sks_profile *profile, const struct skip_call *call,
                     const struct skip_answer *answer, struct fault *advice)
{
    bool new_key = call->request == SKIP_REQUEST_KEY;

    if (answer->status == 401 || answer->status == 403)
        fault_set(advice, "The key source does not serve us: add this client there, or allow it this remote "
                          "system.");
    else if (answer->status == 503 && new_key)
        fault_set(advice,
                  "The key source cannot give \"%s\" its half: the peer key source is down, or the link "
                  "between them is. Start it; look into the key source's log for the link.",
                  call->remote != NULL ? call->remote : "the peer");
    else if (answer->status == 429 || answer->status == 503)
        fault_set(advice, "The key source is too busy: try again later.");
    else if (answer->result == SKIP_REFUSED && new_key)
        fault_set(advice,
                  "The key source does not give such a key: %u bits (`key-size`) for remote system \"%s\" "
                  "(`remote-system-id`). Choose another size, or allow it there.",
                  call->size, call->remote != NULL ? call->remote : "");
    else if (answer->result == SKIP_NO_SUCH_KEY)
        fault_set(advice,
                  "The two key sources do not share keys: do they belong together? Look at both system "
                  "IDs and at the link between them.");
    else if (answer->status >= 500)
        fault_set(advice, "The key source has a trouble of its own: look into its log.");
    else if (answer->status == 0)
        fault_set(advice, "The key source is slow or hangs: look into its log; `timeout` is %u ms.",
                  profile->timeout_ms);
    else
        fault_set(advice, "Is this a key source that speaks %s? Check the address and the port.",
                  profile->type == SKS_ETSI014 ? "ETSI GS QKD 014" : "SKIP");
}

const char *diagnose_configuration(const char *errors)
{
    static const struct {
        const char *text, *advice;
    } table[] = {
        {"others can read", "chmod 600 the file; or encrypt its secrets: \"ppkctl encrypt\"."},
        {"can write it", "chmod go-w the file, and let root own it."},
        {"belongs to", "chown the file to root, or to the user who runs this."},
        {"another master key",
         "The master key is not the one that these secrets were encrypted under: restore it, "
         "or encrypt them again (\"ppkctl encrypt\")."},
        {"No such file", "Name the file with --config or $PPK_CONF, or write it: \"man ppk.conf\"."},
        {"Permission denied", "Run this as the user whom the file belongs to (root?)."},
    };

    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        if (strstr(errors, table[i].text) != NULL)
            return table[i].advice;
    }
    return "Correct these lines; \"man ppk.conf\" has all commands.";
}
