/* SPDX-License-Identifier: BSD-2-Clause */
/* What is told of a line that failed, and of any line to an operator who looks for a fault. */
#include "skip/line.h"

#include "base/clock.h"

#include <stdio.h>
#include <string.h>

/* What a server's TLS alert most likely means where there is a PSK; the alerts are OpenSSL's and GnuTLS's. */
static const char *psk_hint(const char *error)
{
    static const struct {
        const char *alert, *hint;
    } hints[] = {
        {"alert illegal parameter", " (is it the same key at both ends?)"},
        {"alert decrypt error", " (is it the same key at both ends?)"},
        {"alert bad record mac", " (is it the same key at both ends?)"},
        {"alert unknown psk identity", " (it does not know the identity)"},
        {"alert handshake failure", " (does it know the identity, and the PSK's hash?)"},
        {"alert insufficient security", " (does it know the identity, and the PSK's hash?)"},
    };
    for (size_t i = 0; i < sizeof hints / sizeof hints[0]; i++) {
        if (strstr(error, hints[i].alert))
            return hints[i].hint;
    }
    return "";
}

void line_failed(const struct line *l, struct skip_answer *out)
{
    const struct sks_profile *p = l->wire->profile;
    const char *error = l->error[0] ? l->error : curl_easy_strerror(l->code);
    uint64_t took = clock_ms() - l->began;
    long os_error = 0;
    char os_text[128];
    /* libcurl keeps its first words, which may be of a dead connection that it tidied up on the way. */
    if (strncmp(error, "Send failure", 12) == 0 && l->code != CURLE_SEND_ERROR)
        error = curl_easy_strerror(l->code);
    if (l->code == CURLE_COULDNT_CONNECT &&
        curl_easy_getinfo(l->easy, CURLINFO_OS_ERRNO, &os_error) == CURLE_OK && os_error)
        error = strerror_r((int)os_error, os_text, sizeof os_text);
    /* Its words for a connection that ends just when it stands. */
    if (strncmp(error, "getpeername", 11) == 0)
        error = "it ended the connection behind the TLS handshake";
    out->result = l->no_memory || l->code == CURLE_OUT_OF_MEMORY ? SKIP_NO_MEMORY : SKIP_UNREACHABLE;
    if (l->no_memory)
        fault_set(&out->fault, "no locked memory left for its answer");
    else if (l->body_large)
        fault_set(&out->fault, "its answer is longer than %u bytes", SKIP_BODY_MAX);
    else if (l->headers_large)
        fault_set(&out->fault, "the header of its answer is longer than %u bytes", SKIP_HEADER_MAX);
    else if (l->resend_refused)
        fault_set(&out->fault,
                  "it closed the connection without an answer; a key is not asked for twice by its ID");
    else if (l->tls.certificate_seen)
        fault_set(&out->fault, "it shows a certificate, but a TLS PSK is configured: rejected");
    else if (l->tls.psk_missing)
        fault_set(&out->fault, "the TLS PSK could not be opened");
    else if (l->code == CURLE_OPERATION_TIMEDOUT && l->sent)
        fault_set(&out->fault, "no complete answer after %llu ms", (unsigned long long)took);
    else if (l->code == CURLE_OPERATION_TIMEDOUT)
        fault_set(&out->fault, "no connection after %llu ms (%s)", (unsigned long long)took, error);
    else if (strstr(error, "wrong version number") || strstr(error, "http request"))
        fault_set(&out->fault, "it does not speak TLS (is it the right port?): %s", error);
    else if (l->code == CURLE_SSL_CONNECT_ERROR && p->psk_id)
        fault_set(&out->fault, "TLS with PSK identity \"%.80s\" failed%s: %s", p->psk_id, psk_hint(error),
                  error);
    else if (l->code == CURLE_COULDNT_CONNECT)
        fault_set(&out->fault, "cannot be connected to: %s", error);
    else if (l->code == CURLE_PARTIAL_FILE)
        fault_set(&out->fault, "its answer was cut off: %s", error);
    else
        fault_set(&out->fault, "%s", error);
}

/* How far a request came that failed. */
static enum skip_stage line_stage(const struct line *l, const struct skip_link *link)
{
    if (l->code == CURLE_COULDNT_RESOLVE_HOST)
        return SKIP_STAGE_NAME;
    if (l->code == CURLE_COULDNT_CONNECT)
        return SKIP_STAGE_CONNECT;
    if (link->own_files || link->wrong_name || link->verify || link->alert ||
        link->certificate_instead_of_psk || l->code == CURLE_SSL_CONNECT_ERROR)
        return SKIP_STAGE_TLS;
    if (link->version[0])
        return SKIP_STAGE_ANSWER;
    if (l->tls.began)
        return SKIP_STAGE_TLS;
    curl_off_t resolved = 0;
    curl_easy_getinfo(l->easy, CURLINFO_NAMELOOKUP_TIME_T, &resolved);
    return resolved ? SKIP_STAGE_CONNECT : SKIP_STAGE_NAME;
}

void line_link(struct line *l, struct skip_link *out)
{
    char *address = NULL;
    long os_error = 0;
    *out = l->tls.seen;
    out->connect_ms = l->tls.began > l->began ? (uint32_t)(l->tls.began - l->began) : 0;
    if (curl_easy_getinfo(l->easy, CURLINFO_PRIMARY_IP, &address) == CURLE_OK && address)
        snprintf(out->address, sizeof out->address, "%s", address);
    if (l->code != CURLE_OK && curl_easy_getinfo(l->easy, CURLINFO_OS_ERRNO, &os_error) == CURLE_OK)
        out->os_error = (int)os_error;
    out->timed_out = l->code == CURLE_OPERATION_TIMEDOUT;
    out->own_files = l->code == CURLE_SSL_CERTPROBLEM || l->code == CURLE_SSL_CACERT_BADFILE;
    out->wrong_name = l->code == CURLE_PEER_FAILED_VERIFICATION && !out->verify && !l->wire->profile->psk_id;
    out->stage = l->code == CURLE_OK ? SKIP_STAGE_ANSWER : line_stage(l, out);
}
