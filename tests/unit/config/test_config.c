/* SPDX-License-Identifier: BSD-2-Clause */
/* The engine, with a small language of its own. */
#include "config/config.h"

// clang-format off
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
// clang-format on
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TOP, BOX, ITEM, LEVELS };

/* What was applied, as text: "NAME(value=…)" for each command. */
static struct text trace;

static void trace_value(struct config_call *call, const char *name)
{
    const struct config_value *v = config_get(call, name);

    if (v != NULL)
        text_printf(&trace, " %s=%s", name, v->text);
}

#define APPLY(command)                                                                                       \
    static void apply_##command(struct config_call *call)                                                    \
    {                                                                                                        \
        assert_ptr_equal(call->context, &trace);                                                             \
        text_printf(&trace, "%u:" #command, call->line);                                                     \
        trace_value(call, "NAME");                                                                           \
        trace_value(call, "N");                                                                              \
        trace_value(call, "ADDRESS");                                                                        \
        trace_value(call, "a|b");                                                                            \
        trace_value(call, "flag");                                                                           \
        trace_value(call, "red|green");                                                                      \
        trace_value(call, "HOST");                                                                           \
        trace_value(call, "IP");                                                                             \
        text_printf(&trace, "\n");                                                                           \
    }
APPLY(box)
APPLY(bottle)
APPLY(item)
APPLY(item_in_top)
APPLY(colour)
APPLY(number)
APPLY(net)
APPLY(link)
APPLY(link_to)
APPLY(host)
APPLY(ip)
APPLY(wide)

static void apply_secret(struct config_call *call)
{
    struct secret *value = NULL;
    char *sealed = NULL;

    text_printf(&trace, "%u:secret", call->line);
    if (config_secret_take(call, "KEY", "key", 4, 40, &value, &sealed)) {
        struct secret_view view = {0};

        if (value != NULL && secret_open(value, &view))
            text_printf(&trace, " [%.*s]", (int)view.len, (const char *)view.data);
        secret_close(&view);
        if (sealed != NULL)
            text_printf(&trace, " sealed");
    }
    trace_value(call, "flag");
    text_printf(&trace, "\n");
    secret_free(value);
    free(sealed);
}

static void apply_file(struct config_call *call)
{
    char *name = config_file_name(call, "FILE");

    text_printf(&trace, "%u:file %s\n", call->line, name);
    free(name);
}

static const struct config_level levels[LEVELS] = {
    {"", "top"}, {"box NAME", "a box"}, {"item NAME", "an item"}};
static const struct config_command commands[] = {
    {CONFIG_IN(TOP), "box <NAME:8>", BOX, 0, "A box.", apply_box, NULL},
    {CONFIG_IN(TOP), "bottle", 0, 0, "A bottle.", apply_bottle, NULL},
    {CONFIG_IN(TOP), "item <NAME> on top", 0, 0, "An item of the top.", apply_item_in_top, NULL},
    {CONFIG_IN(BOX), "item <NAME>", ITEM, 0, "An item.", apply_item, NULL},
    {CONFIG_IN(BOX) | CONFIG_IN(ITEM), "colour {red|green} [flag]", 0, CONFIG_ONCE, "Its colour.",
     apply_colour, NULL},
    {CONFIG_IN(BOX), "number <N:5-70000>", 0, 0, "Its number.", apply_number, NULL},
    {CONFIG_IN(BOX), "network <ADDRESS:group> [flag]", 0, 0, "Its network.", apply_net, NULL},
    {CONFIG_IN(BOX), "link <NAME>", 0, 0, "A link.", apply_link, NULL},
    {CONFIG_IN(BOX), "link to <NAME>", 0, 0, "A link to something.", apply_link_to, NULL},
    {CONFIG_IN(BOX), "host <HOST:host>", 0, 0, "A host.", apply_host, NULL},
    {CONFIG_IN(BOX), "ip {a|b} <IP:ipv6>", 0, 0, "An address.", apply_ip, NULL},
    {CONFIG_IN(BOX), "file <FILE:file>", 0, 0, "A file.", apply_file, NULL},
    {CONFIG_IN(BOX), "secret key [0|6|hex] <KEY:secret> [flag]", 0, 0, "A secret.", apply_secret, NULL},
    {CONFIG_IN(BOX), "wide <NAME> [with <N:1-9>]", 0, 0, "Wide.", apply_wide, NULL},
};
static const struct config_language language = {.name = "test.conf",
                                                .about = "a test",
                                                .intro = "",
                                                .outro = "",
                                                .levels = levels,
                                                .n_levels = LEVELS,
                                                .commands = commands,
                                                .n_commands = sizeof commands / sizeof commands[0]};

/* A Type 6 text of 3 bytes under a salt, nonce and tag of zeros: its shape is right. */
#define TYPE6_3 "AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"

static const struct {
    const char *title;
    const char *input;
    const char *applied;
    const char *errors;
} cases[] = {
    {"nothing", "", "", ""},
    {"blank lines and comments", "\n  \n!\n ! box a\n\t!x\n", "", ""},
    {"a command", "bottle\n", "1:bottle\n", ""},
    {"no line end", "bottle", "1:bottle\n", ""},
    {"DOS line ends", "bottle\r\nbox a\r\n", "1:bottle\n2:box NAME=a\n", ""},
    {"comment behind a command", "box a ! box\n", "1:box NAME=a\n", ""},
    {"! inside a word", "box a!b\n", "1:box NAME=a!b\n", ""},
    {"quotes", "box \"a b\"\nbox \"!x\"\nbox \"\\\"\\\\\"\nbox a\"b\nbox \"a\\b\"\n",
     "1:box NAME=a b\n2:box NAME=!x\n3:box NAME=\"\\\n4:box NAME=a\"b\n5:box NAME=a\\b\n", ""},
    {"quoted keywords are none", "box a\n colour \"red\"\n \"item\" x\n", "1:box NAME=a\n",
     "t:2: one of {red|green} is expected as word 2\n"
     "t:3: unknown command; in box NAME there are: item, colour, number, network, link, host, ip, file, "
     "secret, wide\n"},
    {"shortened keywords", "bo a\n", "", "t:1: word 1 is ambiguous: box, bottle\n"},
    {"shortened keywords", "bot\nbox a\n col g f\n num 70000\n",
     "1:bottle\n2:box NAME=a\n3:colour flag=f red|green=g\n4:number N=70000\n", ""},
    {"a keyword in full wins over an argument", "box a\n link to\n link to to\n link t\n link \"to\"\n",
     "1:box NAME=a\n3:link_to NAME=to\n4:link NAME=t\n5:link NAME=to\n",
     "t:2: NAME is missing; the command is \"link to NAME\"\n"},
    {"inner levels first", "box a\n item b\n  colour red\nbox c\nitem d\n",
     "1:box NAME=a\n2:item NAME=b\n3:colour red|green=red\n4:box NAME=c\n5:item NAME=d\n", ""},
    {"an outer level's command leaves the inner ones",
     "box a\nitem b\nnumber 7\nitem c\nbottle\nitem d on top\n",
     "1:box NAME=a\n2:item NAME=b\n3:number N=7\n4:item NAME=c\n5:bottle\n6:item_in_top NAME=d\n", ""},
    {"exit and end", "box a\nitem b\nexit\nitem c\nend\nitem d on top\nexit\nexit\nbox e\nexit\nbottle\n",
     "1:box NAME=a\n2:item NAME=b\n4:item NAME=c\n6:item_in_top NAME=d\n9:box NAME=e\n11:bottle\n", ""},
    {"a pasted session",
     "R/0:x#configure terminal\nR/0:x(config)#box a\nR/0:x(config-box)#  item "
     "b\nR/0:x(config)#commit\nx#end\n#\n",
     "2:box NAME=a\n3:item NAME=b\n", "t:6: unknown command (comments begin with !)\n"},
    {"once", "box a\n colour red\n colour green\nbox b\n colour red\n item c\n  colour red\n",
     "1:box NAME=a\n2:colour red|green=red\n4:box NAME=b\n5:colour red|green=red\n6:item NAME=c\n7:colour "
     "red|green=red\n",
     "t:3: \"colour\" is already given in line 2\n"},
    {"what is in a wrong level is checked, not applied",
     "box\n number 6\n number x\n item i\n  colour blue\nbottle\n", "6:bottle\n",
     "t:1: NAME is missing; the command is \"box NAME\"\n"
     "t:3: 'x' is not a number; N is a number of 5 to 70000\n"
     "t:5: one of {red|green} is expected as word 2\n"},
    {"numbers",
     "box a\n number 4\n number 70001\n number -5\n number 5x\n number 99999999999999999999\n number 00005\n",
     "1:box NAME=a\n7:number N=00005\n",
     "t:2: '4' is out of range; N is a number of 5 to 70000\n"
     "t:3: '70001' is out of range; N is a number of 5 to 70000\n"
     "t:4: '-5' is not a number; N is a number of 5 to 70000\n"
     "t:5: '5x' is not a number; N is a number of 5 to 70000\n"
     "t:6: '99999999999999999999' is not a number; N is a number of 5 to 70000\n"},
    {"names", "box 123456789\nbox \"\"\n", "",
     "t:1: NAME has 9 bytes; 1 to 8 are allowed\nt:2: NAME has 0 bytes; 1 to 8 are allowed\n"},
    {"groups",
     "box a\n network 10.0.0.1 255.0.0.0\n network 10.0.0.1 255.0.0.0 flag\n network 10.0.0.0/8 f\n network "
     "10.0.0.1 f\n network ::1\n",
     "1:box NAME=a\n2:net ADDRESS=10.0.0.1\n3:net ADDRESS=10.0.0.1 flag=flag\n4:net ADDRESS=10.0.0.0/8 "
     "flag=f\n6:net ADDRESS=::1\n",
     "t:5: 'f' is not a netmask (ones, then zeros, as 255.255.255.0)\n"},
    {"hosts and addresses",
     "box a\n host 10.0.0.1\n host kme.example\n ip b ::1\n ip a 10.0.0.1\n ip a ::1/64\n",
     "1:box NAME=a\n3:host HOST=kme.example\n4:ip a|b=b IP=::1\n",
     "t:2: '10.0.0.1' is not a host name\n"
     "t:5: '10.0.0.1' is not an IPv6 address\n"
     "t:6: '::1/64' is not an IPv6 address\n"},
    {"options with arguments", "box a\n wide x\n wide x with 3\n wide x w\n wide with with 2\n wide x y\n",
     "1:box NAME=a\n2:wide NAME=x\n3:wide NAME=x N=3\n5:wide NAME=with N=2\n",
     "t:4: N is missing; the command is \"wide NAME [with N]\"\n"
     "t:6: word 3 is too much; the command is \"wide NAME [with N]\"\n"},
    {"secrets",
     "box a\n secret key abcd\n secret key 0 abcd\n secret key hex 61626364\n secret key hex 0x61626364 "
     "flag\n secret key hexa\n"
     " secret key \"a b!\" fl\n secret key 0hex\n secret key a!b!\n",
     "1:box NAME=a\n2:secret [abcd]\n3:secret [abcd]\n4:secret [abcd]\n5:secret [abcd] flag=flag\n6:secret "
     "[hexa]\n"
     "7:secret [a b!] flag=fl\n8:secret [0hex]\n9:secret [a!b!]\n",
     ""},
    {"a type alone is the secret", "box a\n secret key hex\n secret key 6\n secret key 0 0\n",
     "1:box NAME=a\n2:secret\n3:secret\n4:secret\n",
     "t:2: the key has 3 bytes; 4 to 40 are allowed\nt:3: the key has 1 bytes; 4 to 40 are allowed\n"
     "t:4: the key has 1 bytes; 4 to 40 are allowed\n"},
    {"wrong secrets are not quoted",
     "box a\n secret key hex topsecret\n secret key hex 616\n secret key 6 topsecret\n secret key top "
     "secret\n"
     " secret kez topsecret\n secret key !topsecret\n topsecret\n secret topsecret\n secret key <removed>\n"
     " secret key 6 " TYPE6_3 "\n secret key hex 61\n",
     "1:box NAME=a\n2:secret\n3:secret\n4:secret\n10:secret\n11:secret\n12:secret\n",
     "t:2: the key is not an even number of hexadecimal digits\n"
     "t:3: the key is not an even number of hexadecimal digits\n"
     "t:4: the key is not a Type 6 text (\"ppkctl encrypt\" makes one)\n"
     "t:5: word 4 is too much; the command is \"secret key [0|6|hex] KEY [flag]\" (a secret with blanks has "
     "to be in quotes)\n"
     "t:6: word 2 has to be one of: key\n"
     "t:7: KEY is missing; the command is \"secret key [0|6|hex] KEY [flag]\" (a secret that begins with ! "
     "has to be in quotes)\n"
     "t:8: unknown command; in box NAME there are: item, colour, number, network, link, host, ip, file, "
     "secret, wide\n"
     "t:9: word 2 has to be one of: key\n"
     "t:10: the key was removed from here by \"ppkctl show\"\n"
     "t:11: the key has 3 bytes; 4 to 40 are allowed\n"
     "t:12: the key has 1 bytes; 4 to 40 are allowed\n"},
    {"commands of other levels", "number 6\nbox a\nexit\ncolour red\n", "2:box NAME=a\n",
     "t:1: 'number' belongs in a \"box NAME\", and this is the top level\n"
     "t:4: 'colour' belongs in a \"box NAME\", and this is the top level\n"},
    {"incomplete heads", "box a\n secret\n ip\n", "1:box NAME=a\n",
     "t:2: word 2 has to be one of: key\nt:3: a|b is missing; the command is \"ip {a|b} IP\"\n"},
    {"bytes",
     "bo\x01x a\nbox \xff\nbox \xc0\xaf\nbox \xed\xa0\x80\nbox \xf4\x90\x80\x80\nbox \xe2\x82\nbox "
     "a\x7f\nbox \xe2\x82\xac\n",
     "8:box NAME=\xe2\x82\xac\n",
     "t:1: column 3: control character 0x01\nt:2: column 5: not UTF-8\nt:3: column 5: not UTF-8\nt:4: column "
     "5: not UTF-8\n"
     "t:5: column 5: not UTF-8\nt:6: column 5: not UTF-8\nt:7: column 6: control character 0x7f\n"},
    {"open quotes", "box \"a\nbox \"a\\\"\nbox \"a\"b\n", "",
     "t:1: a quote is not closed\nt:2: a quote is not closed\nt:3: a blank has to follow the closing "
     "quote\n"},
};

static void check(const char *title, const char *input, size_t len, const char *applied, const char *expected)
{
    struct config_errors errors = {0};
    struct text out = {0};
    bool good;

    text_free(&trace);
    good = config_read_buffer(&language, &trace, "t", input, len, &errors);
    config_errors_print(&errors, "t", &out);
    config_errors_free(&errors);
    if (strcmp(trace.s != NULL ? trace.s : "", applied) != 0)
        fail_msg("%s: applied:\n%sinstead of:\n%s", title, trace.s != NULL ? trace.s : "", applied);
    if (strcmp(out.s != NULL ? out.s : "", expected) != 0)
        fail_msg("%s: errors:\n%sinstead of:\n%s", title, out.s != NULL ? out.s : "", expected);
    assert_int_equal(good, expected[0] == '\0');
    text_free(&out);
    text_free(&trace);
}

static void test_cases(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        check(cases[i].title, cases[i].input, strlen(cases[i].input), cases[i].applied, cases[i].errors);
}

static void test_nul(void **state)
{
    (void)state;
    check("a NUL", "bottle\0x\n", 9, "", "t:1: column 7: control character 0x00\n");
}

static void test_long_line(void **state)
{
    char *line = malloc(CONFIG_LINE_MAX + 16);

    (void)state;
    assert_non_null(line);
    memset(line, ' ', CONFIG_LINE_MAX + 16);
    memcpy(line, "bottle", 6);
    memcpy(line + CONFIG_LINE_MAX, "\nbottle\n", 8);
    check("the longest line", line, CONFIG_LINE_MAX + 8, "1:bottle\n2:bottle\n", "");
    memcpy(line + CONFIG_LINE_MAX, " \nbottle\n", 9);
    check("a line that is too long", line, CONFIG_LINE_MAX + 9, "2:bottle\n",
          "t:1: the line has more than 16000 bytes\n");
    check("a last line that is too long", line, CONFIG_LINE_MAX + 1, "",
          "t:1: the line has more than 16000 bytes\n");
    free(line);
}

static void test_many_words(void **state)
{
    char line[2 * CONFIG_WORDS_MAX + 8];

    (void)state;
    for (size_t i = 0; i < sizeof line; i++)
        line[i] = i % 2 == 0 ? 'a' : ' ';
    check("too many words", line, sizeof line, "", "t:1: more than 64 words\n");
}

static void test_many_errors(void **state)
{
    struct config_errors errors = {0};
    struct text input = {0}, out = {0};
    size_t lines = 0;

    (void)state;
    for (int i = 0; i < CONFIG_ERRORS_MAX + 50; i++)
        text_printf(&input, "nonsense\n");
    assert_false(config_read_buffer(&language, &trace, "t", input.s, input.len, &errors));
    assert_int_equal(errors.count, CONFIG_ERRORS_MAX + 50);
    config_errors_print(&errors, "t", &out);
    for (const char *s = out.s; (s = strchr(s, '\n')) != NULL; s++)
        lines++;
    assert_int_equal(lines, CONFIG_ERRORS_MAX + 1);
    assert_non_null(strstr(out.s, "t: and 50 more\n"));
    config_errors_free(&errors);
    text_free(&input);
    text_free(&out);
}

static void test_file_names(void **state)
{
    struct config_errors errors = {0};
    static const char input[] = "box a\n file /x/y\n file y\n";

    (void)state;
    text_free(&trace);
    assert_true(config_read_buffer(&language, &trace, "/usr/./lib/../t.conf", input, strlen(input), &errors));
    assert_string_equal(trace.s, "1:box NAME=a\n2:file /x/y\n3:file /usr/y\n");
    text_free(&trace);
}

static void test_language_check(void **state)
{
    static const struct config_command wrong[] = {
        {CONFIG_IN(0), "<NAME> first", 0, 0, "", apply_box, NULL},
        {CONFIG_IN(0), "open <NAME", 0, 0, "", apply_box, NULL},
        {CONFIG_IN(0), "open <NAME:x>", 0, 0, "", apply_box, NULL},
        {CONFIG_IN(0), "open <N:9-5>", 0, 0, "", apply_box, NULL},
        {CONFIG_IN(0), "open [a [b]]", 0, 0, "", apply_box, NULL},
        {CONFIG_IN(0), "open {a|b", 0, 0, "", apply_box, NULL},
        {CONFIG_IN(0), "", 0, 0, "", apply_box, NULL},
        {0, "open", 0, 0, "", apply_box, NULL},
        {CONFIG_IN(5), "open", 0, 0, "", apply_box, NULL},
        {CONFIG_IN(0), "open", 5, 0, "", apply_box, NULL},
        {CONFIG_IN(0), "open", 0, 0, "", NULL, NULL},
        {CONFIG_IN(0), "o <A> <B> <C> <D> <E> <F> <G> <H> <I> <J> <K> <L> <M>", 0, 0, "", apply_box, NULL},
    };

    (void)state;
    assert_true(config_language_check(&language, NULL));
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        struct config_language l = language;
        struct fault fault = {""};

        l.commands = &wrong[i];
        l.n_commands = 1;
        if (config_language_check(&l, &fault))
            fail_msg("\"%s\" is taken", wrong[i].syntax);
        assert_true(fault.text[0] != '\0');
    }
}

static void test_manual(void **state)
{
    struct text out = {0};

    (void)state;
    config_manual(&language, &out);
    assert_non_null(strstr(out.s, ".Dt TEST.CONF 5\n"));
    assert_non_null(strstr(out.s, ".Cm secret\n.Cm key\n.Oo\n.Cm 0\n|\n.Cm 6\n|\n.Cm hex\n.Oc\n.Ar "
                                  "KEY\n.Oo\n.Cm flag\n.Oc\n.Xc\nA secret.\n"));
    assert_non_null(strstr(out.s, ".Ar N\nis 5 to 70000.\n"));
    assert_non_null(strstr(out.s, ".Ar NAME\nhas 1 to 8 bytes.\n"));
    text_free(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cases),          cmocka_unit_test(test_nul),
        cmocka_unit_test(test_long_line),      cmocka_unit_test(test_many_words),
        cmocka_unit_test(test_many_errors),    cmocka_unit_test(test_file_names),
        cmocka_unit_test(test_language_check), cmocka_unit_test(test_manual),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
