/* SPDX-License-Identifier: BSD-2-Clause */
#include "config/config.h"
#include "config/type6.h"
#include "ppkctl/ppkctl.h"

#include <errno.h>
#include <openssl/evp.h>
#include <string.h>
#include <unistd.h>

#define LINE_MAX_BYTES (2 * SECRET_MAX)

struct encryption {
    struct type6 *type6;
    bool hex;
    unsigned line; /* of standard input, or 0 */
    struct text out;
};

static bool line_wrong(const struct encryption *e, const char *why)
{
    if (e->line > 0)
        say("encrypt: line %u: %s", e->line, why);
    else
        say("encrypt: %s", why);
    return false;
}

/* Encrypts one line (in secret memory; hexadecimal is decoded in place). */
static bool line_encrypt(struct encryption *e, char *line, size_t len)
{
    struct fault fault = {""};

    if (len == 0)
        return line_wrong(e, "the secret is empty");
    if (e->hex) {
        uint8_t *bytes = hex_is(line, len) ? secmem_alloc(len / 2) : NULL;
        bool decoded = bytes != NULL && hex_decode(bytes, line, len);

        if (decoded)
            memcpy(line, bytes, len / 2);
        secmem_free(bytes);
        if (!decoded)
            return line_wrong(e, "not an even number of hexadecimal digits");
        len /= 2;
    }
    if (len > SECRET_MAX)
        return line_wrong(e, "the secret is too long");
    if (!type6_seal(e->type6, line, len, &e->out, &fault))
        return line_wrong(e, fault.text);
    text_append(&e->out, "\n", 1);
    return true;
}

/* Every line of standard input. It is read by read(), since stdio would keep a copy. */
static bool input_encrypt(struct encryption *e, char *line)
{
    bool good = true;
    size_t len = 0;

    while (good) {
        char *end;
        ssize_t n = read(STDIN_FILENO, line + len, LINE_MAX_BYTES + 1 - len);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0) {
            say("encrypt: standard input: %s", strerrordesc_np(errno));
            return false;
        }
        if (n == 0)
            break;
        len += (size_t)n;
        while (good && (end = memchr(line, '\n', len)) != NULL) {
            size_t used = (size_t)(end - line) + 1;

            e->line++;
            good = line_encrypt(e, line, used - 1 - (used > 1 && end[-1] == '\r' ? 1 : 0));
            memmove(line, line + used, len - used);
            len -= used;
        }
        if (good && len > LINE_MAX_BYTES) {
            e->line++;
            return line_wrong(e, "the secret is too long");
        }
    }
    if (good && len > 0) {
        e->line++;
        good = line_encrypt(e, line, len);
    }
    if (good && e->line == 0)
        good = line_wrong(e, "standard input is empty");
    return good;
}

static bool terminal_encrypt(struct encryption *e, char *line)
{
    char prompt[] = "Secret: ";

    /* OpenSSL's reader: without echo, restores the terminal on signals, wipes its buffer; asks twice. It
     * takes BUFSIZ at most. */
    if (EVP_read_pw_string_min(line, 1, LINE_MAX_BYTES, prompt, 1) != 0)
        return line_wrong(e, "no secret was given, or not twice the same");
    return line_encrypt(e, line, strlen(line));
}

/* The master key at work: of the option, or of the configuration, whose secrets it then has to open. NULL:
 * told. */
static struct type6 *type6_find(const struct options *o)
{
    struct configuration *c = NULL;
    struct fault fault = {""};
    struct secret *key = NULL;
    struct secret_view view = {0};
    struct type6 *t = NULL;

    if (o->master_key_file == NULL || o->config_given) {
        c = load(o->config);
        if (c == NULL)
            return NULL;
    }
    if (o->master_key_file != NULL)
        key = config_master_key_read(o->master_key_file, &fault);
    else
        key = configuration_master_key(c, &fault);
    if (key == NULL) {
        say("encrypt: %s", fault.text[0] != '\0'
                               ? fault.text
                               : "no master key: give --master-key-file, or \"master-key file\" in "
                                 "the configuration");
        goto out;
    }
    if (secret_open(key, &view))
        t = type6_new(view.data, view.len);
    secret_close(&view);
    if (t == NULL)
        say("encrypt: no memory left");
    if (t != NULL && c != NULL && !configuration_type6_join(c, t, &fault)) {
        say("encrypt: %s", fault.text);
        type6_free(t);
        t = NULL;
    }
out:
    secret_free(key);
    configuration_free(c);
    return t;
}

int encrypt_run(const struct options *o, int argc, char **argv)
{
    struct encryption e = {.hex = o->hex};
    char *line = NULL;
    bool good;

    (void)argc;
    (void)argv;
    e.type6 = type6_find(o);
    if (e.type6 == NULL)
        return PPKCTL_FAILED;
    line = secmem_alloc(LINE_MAX_BYTES + 1);
    if (line == NULL)
        say("encrypt: no secret memory left");
    good = line != NULL && (isatty(STDIN_FILENO) ? terminal_encrypt(&e, line) : input_encrypt(&e, line));
    secmem_free(line);
    type6_free(e.type6);
    if (!good) {
        text_free(&e.out);
        return PPKCTL_FAILED;
    }
    return put(&e.out);
}
