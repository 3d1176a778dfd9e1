/*
 * Lossy decoding, and canonical composition: by hand from the Unicode standard's own examples.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/check.h"
#include "text/nfc.h"
#include "text/utf8_lossy.h"

#define R "\xef\xbf\xbd"

static void test_lossy(void **state)
{
	static const struct {
		const char *bytes, *text;
	} row[] = {
		{"plain", "plain"},
		{"\xc3\xa9", "\xc3\xa9"},
		{"a\x80z", "a" R "z"},
		{"\xff\xfe", R R},
		{"\xc0\xaf", R R}, /* overlong: each byte */
		{"\xe0\x80\xaf", R R R},
		{"\xed\xa0\x80", R R R},       /* a surrogate */
		{"\xf4\x90\x80\x80", R R R R}, /* beyond U+10FFFF */
		{"\xe2\x82", R},	       /* cut short: one for the part */
		{"\xf0\x9f\x98 x", R " x"},
		{"\xf0\x9f\x98\xf0\x9f\x98\x80", R "\xf0\x9f\x98\x80"},
		{"\xe1\x80\xe2\xf0\x91\x92\xf1\xbf"
		 "A",
		 R R R R "A"}, /* Unicode's table 3-11 */
		{"12345678\xc3", "12345678" R},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(row); i++) {
		struct buf b;

		buf_init(&b, 256);
		utf8_lossy(&b, row[i].bytes, strlen(row[i].bytes));
		if (strcmp(buf_cstr(&b), row[i].text) != 0)
			fail_msg("row %zu: got \"%s\"", i, buf_cstr(&b));
		assert_int_equal(utf8_is_valid(row[i].bytes, strlen(row[i].bytes)),
				 strcmp(row[i].bytes, row[i].text) == 0);
		assert_true(utf8_is_valid(buf_head(&b), buf_size(&b)));
		buf_release(&b);
	}
}

static void test_composition(void **state)
{
	static const struct {
		const char *text, *composed;
	} row[] = {
		{"plain", "plain"},
		{"cafe\xcc\x81!", "caf\xc3\xa9!"},
		{"\xc3\xa9", "\xc3\xa9"},
		{"\xe2\x84\xab", "\xc3\x85"}, /* angstrom sign: A with ring */
		{"A\xcc\x8a", "\xc3\x85"},
		{"q\xcc\x87\xcc\xa3", "q\xcc\xa3\xcc\x87"},	  /* marks in order of class */
		{"\xe1\xb8\x8b\xcc\xa3", "\xe1\xb8\x8d\xcc\x87"}, /* d: dot below goes first */
		{"a\xcc\x81\xcc\x81", "\xc3\xa1\xcc\x81"},	  /* the second one is blocked */
		{"\xe0\xa5\x98", "\xe0\xa4\x95\xe0\xa4\xbc"},	  /* excluded from composition */
		{"\xef\xa8\x90", "\xe5\xa1\x9a"},		  /* a compatibility ideograph */
		{"\xe1\x84\x80\xe1\x85\xa1\xe1\x86\xa8", "\xea\xb0\x81"}, /* Hangul */
		{"\xea\xb0\x80\xe1\x86\xa8", "\xea\xb0\x81"},
		{"\xe0\xa7\x87\xe0\xa6\xbe", "\xe0\xa7\x8b"}, /* of two bases */
		{"\xcc\x81"
		 "e\xcc\x81",
		 "\xcc\x81\xc3\xa9"}, /* a mark without a base */
		{"e\xcc\x81"
		 "e\xcc\x81 e",
		 "\xc3\xa9\xc3\xa9 e"},
		{"\xf0\x9d\x85\x9e", "\xf0\x9d\x85\x97\xf0\x9d\x85\xa5"}, /* beyond U+FFFF */
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(row); i++) {
		struct buf once, twice;

		buf_init(&once, 256);
		buf_init(&twice, 256);
		nfc_compose(&once, row[i].text, strlen(row[i].text));
		if (strcmp(buf_cstr(&once), row[i].composed) != 0)
			fail_msg("row %zu: got \"%s\"", i, buf_cstr(&once));
		nfc_compose(&twice, buf_head(&once), buf_size(&once));
		assert_string_equal(buf_cstr(&twice), row[i].composed);
		if (nfc_is_composed(row[i].text, strlen(row[i].text)))
			assert_string_equal(row[i].text, row[i].composed);
		buf_release(&once);
		buf_release(&twice);
	}
}

/* A hundred thousand marks on one letter are sorted, not shuffled one by one. */
static void test_many_marks(void **state)
{
	struct buf text, out;

	(void)state;
	buf_init(&text, 1 << 20);
	buf_init(&out, 1 << 20);
	buf_putc(&text, 'q');
	for (int i = 0; i < 50000; i++)
		buf_puts(&text, "\xcc\x87\xcc\xa3");
	nfc_compose(&out, buf_head(&text), buf_size(&text));
	assert_int_equal(buf_size(&out), buf_size(&text));
	assert_memory_equal(buf_head(&out) + 1, "\xcc\xa3\xcc\xa3", 4);
	assert_memory_equal(buf_head(&out) + buf_size(&out) - 4, "\xcc\x87\xcc\x87", 4);
	buf_release(&text);
	buf_release(&out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_lossy),
		cmocka_unit_test(test_composition),
		cmocka_unit_test(test_many_marks),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
