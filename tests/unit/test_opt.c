/*
 * The option table: every way to write an option, what is refused and in which words, and the help
 * text.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/buf.h"
#include "base/check.h"
#include "base/opt.h"

static struct {
	bool verbose, quiet, seed_seen;
	const char *out;
	int64_t seed, any, timeout_ns;
	double rate;
	struct opt_list sets;
} o;

static const struct opt_spec specs[] = {
	{OPT_HEADING, NULL, 0, NULL, NULL, "What to do:", 0, 0, NULL},
	{OPT_STRING, "out", 'o', &o.out, "DIR", "where the files go", 0, 0, NULL},
	{OPT_LIST, "set", 0, &o.sets, "PATH=VALUE",
	 "override a key of the scenario; may be given several times", 0, 0, NULL},
	{OPT_INT, "seed", 's', &o.seed, "N", "first number of everything random", 0, 1000,
	 &o.seed_seen},
	{OPT_INT, "any", 0, &o.any, "N", "any integer", 0, 0, NULL},
	{OPT_NUM, "rate", 0, &o.rate, "R", "requests per second", 0.5, 100, NULL},
	{OPT_DURATION, "timeout", 0, &o.timeout_ns, "TIME", "for one request", 0, 0, NULL},
	{OPT_HEADING, NULL, 0, NULL, NULL, "How much is said:", 0, 0, NULL},
	{OPT_FLAG, "verbose", 'v', &o.verbose, NULL, "more lines", 0, 0, NULL},
	{OPT_FLAG, "quiet", 'q', &o.quiet, NULL, "fewer", 0, 0, NULL},
	{0},
};

#define ARGS_MAX 8

/* One line with every value that is set, then the operands. */
static void show(struct buf *b, const struct opt_list *operands)
{
	if (o.out)
		buf_printf(b, "out=%s ", o.out);
	for (size_t i = 0; i < o.sets.n; i++)
		buf_printf(b, "set=%s ", o.sets.item[i]);
	if (o.seed != -1)
		buf_printf(b, "seed=%lld%s ", (long long)o.seed, o.seed_seen ? "!" : "");
	if (o.any)
		buf_printf(b, "any=%lld ", (long long)o.any);
	if (o.rate > 0)
		buf_printf(b, "rate=%g ", o.rate);
	if (o.timeout_ns)
		buf_printf(b, "timeout=%lld ", (long long)o.timeout_ns);
	buf_printf(b, "%s%s|", o.verbose ? "v" : "", o.quiet ? "q" : "");
	for (size_t i = 0; i < operands->n; i++)
		buf_printf(b, " %s", operands->item[i]);
}

static void test_parse(void **state)
{
	static const struct {
		const char *args[ARGS_MAX];
		const char *want; /* as show() has it, or "! " and the message, of which a "*" at
				     the end is open */
	} cases[] = {
		{{NULL}, "|"},
		{{"--out", "d", "--seed", "3"}, "out=d seed=3! |"},
		{{"--out=d", "--seed=3"}, "out=d seed=3! |"},
		{{"-o", "d", "-s3", "-vq"}, "out=d seed=3! vq|"},
		{{"-vo", "d", "-qs", "4"}, "out=d seed=4! vq|"},
		{{"--out=", "x"}, "out= | x"},
		{{"--out=a=b"}, "out=a=b |"},
		{{"a", "--verbose", "b", "-", "c"}, "v| a b - c"},
		{{"--verbose", "--", "--quiet", "-s"}, "v| --quiet -s"},
		{{"--set", "a=1", "--set=b=2"}, "set=a=1 set=b=2 |"},
		{{"--seed", "1", "--seed", "2"}, "seed=2! |"},
		{{"--any", "-5"}, "any=-5 |"},
		{{"--any", "9223372036854775807"}, "any=9223372036854775807 |"},
		{{"--rate", "2.5", "--timeout", "1.5s"}, "rate=2.5 timeout=1500000000 |"},
		{{"--out", "-x"}, "out=-x |"},

		{{"--sed", "3"}, "! --sed: unknown option (did you mean --set?)"},
		{{"--verbos"}, "! --verbos: unknown option (did you mean --verbose?)"},
		{{"--zebra=3"}, "! --zebra: unknown option"},
		{{"-x"}, "! -x: unknown option"},
		{{"-vx"}, "! -x: unknown option"},
		{{"--ou", "d"}, "! --ou: unknown option (did you mean --out?)"},
		{{"--out"}, "! --out: a value is missing, want --out DIR"},
		{{"-o"}, "! -o: a value is missing, want -o DIR"},
		{{"--out", "--seed", "3"},
		 "! --out: got the option \"--seed\", want a value (DIR); --out=--seed passes it "
		 "all the same"},
		{{"--verbose=yes"}, "! --verbose: got \"yes\", but it takes no value"},
		{{"--seed", "many"}, "! --seed: *many"},
		{{"--seed=-1"}, "! --seed: *-1"},
		{{"-s", "1001"}, "! -s: *1001"},
		{{"--rate", "0.1"}, "! --rate: *0.1"},
		{{"--timeout", "5"}, "! --timeout: *5"},
		{{"--any", "9223372036854775808"}, "! --any: *9223372036854775808"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		char *argv[ARGS_MAX + 1] = {(char *)"prog"};
		struct opt_list operands = {0};
		struct buf got;
		struct err e;
		const char *open = strchr(cases[i].want, '*');
		int argc = 1;

		memset(&o, 0, sizeof(o));
		o.seed = -1;
		while (argc < ARGS_MAX && cases[i].args[argc - 1]) {
			argv[argc] = (char *)cases[i].args[argc - 1];
			argc++;
		}
		buf_init(&got, 4096);
		if (opt_parse(specs, argc, argv, &operands, &e) == RC_OK)
			show(&got, &operands);
		else
			buf_printf(&got, "! %s", e.msg);
		if (open) { /* the words are those of units.h: it must name the value */
			assert_memory_equal(buf_cstr(&got), cases[i].want,
					    (size_t)(open - cases[i].want));
			assert_non_null(strstr(buf_cstr(&got) + (open - cases[i].want), open + 1));
		} else {
			assert_string_equal(buf_cstr(&got), cases[i].want);
		}
		buf_release(&got);
		opt_list_release(&operands);
		opt_list_release(&o.sets);
	}
}

static void test_operands_may_be_refused(void **state)
{
	char *argv[] = {(char *)"prog", (char *)"-v", (char *)"file"};
	struct err e;

	(void)state;
	assert_int_equal(opt_parse(specs, 2, argv, NULL, &e), RC_OK);
	assert_int_equal(opt_parse(specs, 3, argv, NULL, &e), RC_INPUT);
	assert_string_equal(e.msg, "\"file\": not an option, and nothing else is expected");
	assert_int_equal(opt_parse(specs, 0, argv, NULL, &e), RC_OK);
}

static void test_help(void **state)
{
	static const char want[] = "usage: prog [OPTION ...] FILE\n"
				   "\n"
				   "What to do:\n"
				   "  -o, --out DIR         where the files go\n"
				   "      --set PATH=VALUE  override a key of the scenario; may be "
				   "given several times\n"
				   "  -s, --seed N          first number of everything random\n"
				   "      --any N           any integer\n"
				   "      --rate R          requests per second\n"
				   "      --timeout TIME    for one request\n"
				   "\n"
				   "How much is said:\n"
				   "  -v, --verbose         more lines\n"
				   "  -q, --quiet           fewer\n"
				   "\n"
				   "Example:\n  prog x\n";
	struct buf b;

	(void)state;
	buf_init(&b, 4096);
	assert_true(opt_help(&b, "usage: prog [OPTION ...] FILE", specs, "Example:\n  prog x"));
	assert_string_equal(buf_cstr(&b), want);
	buf_release(&b);
	for (size_t max = 0; max < strlen(want); max++) {
		buf_init(&b, max);
		assert_false(
			opt_help(&b, "usage: prog [OPTION ...] FILE", specs, "Example:\n  prog x"));
		assert_int_equal(buf_size(&b), 0);
		buf_release(&b);
	}
}

static void test_help_wraps(void **state)
{
	const struct opt_spec table[] = {
		{OPT_STRING, "base-url", 0, &o.out, "URL",
		 "where the engine listens; a /v1 at the end is not repeated when the path of the "
		 "dialect is appended "
		 "to it\nhttps and unix: as well",
		 0, 0, NULL},
		{OPT_STRING, "a-very-long-option-name", 0, &o.out, "WITH-ITS-VALUE", "below", 0, 0,
		 NULL},
		{OPT_FLAG, "caf\xc3\xa9", 0, &o.verbose, NULL, "aligned by characters", 0, 0, NULL},
		{OPT_FLAG, "bare", 0, &o.verbose, NULL, NULL, 0, 0, NULL},
		{0},
	};
	struct buf b;

	(void)state;
	buf_init(&b, 4096);
	assert_true(opt_help(&b, "usage: x", table, NULL));
	assert_string_equal(buf_cstr(&b), "usage: x\n"
					  "\n"
					  "  --base-url URL  where the engine listens; a /v1 at "
					  "the end is not repeated when the path of\n"
					  "                  the dialect is appended to it\n"
					  "                  https and unix: as well\n"
					  "  --a-very-long-option-name WITH-ITS-VALUE\n"
					  "                  below\n"
					  "  --caf\xc3\xa9          aligned by characters\n"
					  "  --bare\n");
	buf_release(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_parse),
		cmocka_unit_test(test_operands_may_be_refused),
		cmocka_unit_test(test_help),
		cmocka_unit_test(test_help_wraps),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
