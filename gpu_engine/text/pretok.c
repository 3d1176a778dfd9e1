/*
 * Owns the table of pre-tokenisers and their compiled patterns. Any thread, one pretok each: the
 * match data is scratch. Must not know vocabularies.
 */
#define PCRE2_CODE_UNIT_WIDTH 8

#include "pretok.h"

#include <pcre2.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/check.h"
#include "base/die.h"

#define GPT2 "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+"
#define LLAMA3(digits)                                                                             \
	"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|" digits                       \
	"| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"

static const struct pretok_kind kinds[] = {
	{.name = {"gpt-2", "mpt", "opt", "olmo", "phi-2"}, .stage = {GPT2}},
	{.name = {"smollm", "starcoder", "refact", "codeshell"}, .stage = {"\\p{N}", GPT2}},
	{.name = {"command-r"}, .stage = {"\\p{N}", GPT2}, .nfc = true},
	{.name = {"llama-bpe", "llama3", "llama-v3", "falcon3"},
	 .stage = {LLAMA3("\\p{N}{1,3}")},
	 .add_bos = true,
	 .ignore_merges = true},
	{.name = {"qwen2", "deepseek-r1-qwen"}, .stage = {LLAMA3("\\p{N}")}, .nfc = true},
	{.name = {"stablelm2"}, .stage = {LLAMA3("\\p{N}")}},
	{.name = {"falcon"}, .stage = {"[\\p{P}\\$\\+<=>\\^~\\|`]+", GPT2, "[0-9][0-9][0-9]"}},
};

enum rc pretok_find(const struct pretok_kind **out, const char *name, struct err *e)
{
	struct buf list;

	for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
		for (int k = 0; kinds[i].name[k]; k++) {
			if (strcmp(kinds[i].name[k], name) == 0) {
				*out = &kinds[i];
				return RC_OK;
			}
		}
	}
	buf_init(&list, 4096);
	for (size_t i = 0; i < ARRAY_LEN(kinds); i++)
		for (int k = 0; kinds[i].name[k]; k++)
			buf_printf(&list, "%s%s", buf_size(&list) ? ", " : "", kinds[i].name[k]);
	err_set(e, RC_INPUT, "no pre-tokeniser \"%s\"; there are %s", name, buf_cstr(&list));
	buf_release(&list);
	return RC_INPUT;
}

const struct pretok_kind *pretok_by_pattern(const char *pattern)
{
	for (size_t i = 0; i < ARRAY_LEN(kinds); i++)
		if (!kinds[i].stage[1] && strcmp(kinds[i].stage[0], pattern) == 0)
			return &kinds[i];
	return NULL;
}

/* ---- compiled ---- */

struct stage {
	pcre2_code *code;
	pcre2_match_data *data; /* one a stage: a later stage matches inside a match of this one */
};

struct pretok {
	struct stage stage[PRETOK_MAX_STAGES];
	int n;
	pcre2_match_context *limits;
};

/* \s and \S spelled out (pretok.h says why). */
static char *spell_out(const char *pattern)
{
#define WHITE "\\t-\\r\\x{85}\\p{Z}"
	bool in_class = false;
	struct buf b;

	buf_init(&b, 4096);
	for (const char *p = pattern; *p; p++) {
		if (*p == '[' || *p == ']')
			in_class = *p == '[';
		if (p[0] == '\\' && (p[1] == 's' || p[1] == 'S')) {
			CHECK(!in_class || p[1] == 's');
			CHECK(buf_puts(&b, in_class	 ? WHITE
					   : p[1] == 's' ? "[" WHITE "]"
							 : "[^" WHITE "]"));
			p++;
			continue;
		}
		CHECK(buf_putc(&b, *p));
		if (*p == '\\')
			CHECK(buf_putc(&b, *++p));
	}
	return buf_take(&b);
#undef WHITE
}

static void compile(struct stage *s, const char *pattern)
{
	char *spelled = spell_out(pattern);
	PCRE2_SIZE at;
	int why;

	s->code = pcre2_compile((PCRE2_SPTR)spelled, PCRE2_ZERO_TERMINATED, PCRE2_UTF | PCRE2_UCP,
				&why, &at, NULL);
	CHECK(s->code); /* the patterns are ours */
	free(spelled);
	/* Where there is no JIT, pcre2_match() interprets. */
	pcre2_jit_compile(s->code, PCRE2_JIT_COMPLETE);
	s->data = pcre2_match_data_create(1, NULL);
	if (!s->data)
		die("out of memory");
}

struct pretok *pretok_new(const struct pretok_kind *k)
{
	struct pretok *p = xcalloc(1, sizeof(*p));

	for (; k->stage[p->n]; p->n++)
		compile(&p->stage[p->n], k->stage[p->n]);
	p->limits = pcre2_match_context_create(NULL);
	if (!p->limits)
		die("out of memory");
	/* The patterns take time linear in a match; a run of a million blanks is no attack. */
	pcre2_set_match_limit(p->limits, UINT32_MAX);
	return p;
}

void pretok_free(struct pretok *p)
{
	if (!p)
		return;
	for (int i = 0; i < p->n; i++) {
		pcre2_match_data_free(p->stage[i].data);
		pcre2_code_free(p->stage[i].code);
	}
	pcre2_match_context_free(p->limits);
	free(p);
}

struct sink {
	void (*word)(void *arg, const char *s, size_t n);
	void *arg;
};

static void cut(const struct pretok *p, int i, const char *s, size_t n, const struct sink *to)
{
	size_t at = 0;

	if (i == p->n) {
		to->word(to->arg, s, n);
		return;
	}
	while (at < n) {
		const PCRE2_SIZE *match = pcre2_get_ovector_pointer(p->stage[i].data);
		int rc = pcre2_match(p->stage[i].code, (PCRE2_SPTR)s, n, at, PCRE2_NO_UTF_CHECK,
				     p->stage[i].data, p->limits);
		size_t from = n, end = n;

		/* Other errors want more memory than there is: then the rest is one piece. */
		if (rc > 0) {
			from = match[0];
			end = match[1];
			CHECK(end > from); /* no pattern matches nothing */
		}
		if (from > at)
			cut(p, i + 1, s + at, from - at, to);
		if (end > from)
			cut(p, i + 1, s + from, end - from, to);
		at = end;
	}
}

void pretok_split(const struct pretok *p, const char *text, size_t len,
		  void (*word)(void *arg, const char *s, size_t n), void *arg)
{
	const struct sink to = {word, arg};

	cut(p, 0, text, len, &to);
}
