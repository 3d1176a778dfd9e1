/*
 * Owns the merge rules of a SentencePiece vocabulary. One a thread. Must not know special pieces
 * nor the blank in front of a text.
 */
#include "spm.h"

#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/die.h"
#include "base/utf8.h"
#include "merges.h"

struct spm {
	const struct vocab *v;
	struct merges merges;
	int32_t byte[256]; /* <0xXX>, or -1 */
	bool inner_blank;  /* a piece has a blank behind something else */
	bool any_unused;
	struct token_list scratch;
};

/* ---- rules ---- */

static bool may_merge(const struct piece *p)
{
	return p->kind == PIECE_NORMAL || p->kind == PIECE_UNUSED || p->kind == PIECE_USER;
}

static bool has_inner_blank(const struct piece *p)
{
	bool seen_other = false;

	for (int32_t i = 0; i < p->len; i++) {
		bool blank = p->len - i >= 3 && memcmp(p->text + i, SPM_BLANK, 3) == 0;

		if (blank && seen_other)
			return true;
		if (blank)
			i += 2;
		else
			seen_other = true;
	}
	return false;
}

/* All ways to make the piece `into` of two others. Returns how many; m may be NULL. */
static size_t add_splits(const struct vocab *v, int32_t into, int32_t rank, struct merges *m)
{
	const struct piece *p = &v->piece[into];
	size_t n = 0;

	for (int32_t i = 1; i < p->len; i++) {
		int32_t left, right;

		if ((p->text[i] & 0xc0) == 0x80) /* inside a character */
			continue;
		left = vocab_find(v, p->text, (size_t)i);
		right = left < 0 ? -1 : vocab_find(v, p->text + i, (size_t)(p->len - i));
		if (right < 0 || !may_merge(&v->piece[left]) || !may_merge(&v->piece[right]))
			continue;
		if (m)
			merges_add(m, left, right, rank, into);
		n++;
	}
	return n;
}

struct scored {
	float score;
	int32_t id;
};

static int by_score(const void *a, const void *b)
{
	const struct scored *x = a, *y = b;

	if (x->score != y->score)
		return x->score > y->score ? -1 : 1;
	return (x->id > y->id) - (x->id < y->id);
}

/* SentencePiece tries every adjacent pair whose text is a piece. Equal scores are one rank: then
 * the leftmost wins. */
static void rules_from_scores(struct spm *s)
{
	const struct vocab *v = s->v;
	struct scored *order = xreallocarray(NULL, (size_t)v->n, sizeof(*order));
	size_t n = 0, n_rules = 0;
	int32_t rank = 0;

	for (int32_t i = 0; i < v->n; i++) {
		if (!may_merge(&v->piece[i]) ||
		    vocab_find(v, v->piece[i].text, (size_t)v->piece[i].len) != i)
			continue;
		order[n++] = (struct scored){v->piece[i].score, i};
		n_rules += add_splits(v, i, 0, NULL);
	}
	if (n > 0)
		qsort(order, n, sizeof(*order), by_score);
	merges_init(&s->merges, n_rules);
	for (size_t i = 0; i < n; i++) {
		rank += i > 0 && order[i].score != order[i - 1].score;
		add_splits(v, order[i].id, rank, &s->merges);
	}
	free(order);
}

static void rules_from_list(struct spm *s)
{
	const struct vocab *v = s->v;

	merges_init(&s->merges, (size_t)v->n_merges);
	for (int32_t i = 0; i < v->n_merges; i++)
		merges_add(&s->merges, v->merge[i].left, v->merge[i].right, i, v->merge[i].into);
}

struct spm *spm_new(const struct vocab *v)
{
	struct spm *s = xcalloc(1, sizeof(*s));

	s->v = v;
	for (int i = 0; i < 256; i++) {
		char name[8];

		snprintf(name, sizeof(name), "<0x%02X>", (unsigned)i);
		s->byte[i] = vocab_find(v, name, 6);
	}
	for (int32_t i = 0; i < v->n; i++) {
		s->inner_blank = s->inner_blank ||
				 (may_merge(&v->piece[i]) && has_inner_blank(&v->piece[i]));
		s->any_unused = s->any_unused || v->piece[i].kind == PIECE_UNUSED;
	}
	if (v->n_merges > 0)
		rules_from_list(s);
	else
		rules_from_scores(s);
	return s;
}

void spm_free(struct spm *s)
{
	if (!s)
		return;
	merges_release(&s->merges);
	token_list_release(&s->scratch);
	free(s);
}

/* ---- a text ---- */

void spm_split(const struct spm *s, const char *text, size_t len,
	       void (*word)(void *arg, const char *s, size_t n), void *arg)
{
	const char *end = text + len, *from = text, *blank;

	for (const char *p = text; !s->inner_blank && p < end; p = blank + 3) {
		blank = memmem(p, (size_t)(end - p), SPM_BLANK, 3);
		if (!blank)
			break;
		/* A run of blanks stays together with the word behind it. */
		if (blank > p && blank > from) {
			word(arg, from, (size_t)(blank - from));
			from = blank;
		}
	}
	if (end > from)
		word(arg, from, (size_t)(end - from));
}

/* A piece that is not to be used is taken apart again, as it was joined. */
static void put(struct spm *s, int32_t id, int32_t before, struct token_list *out)
{
	if (s->v->piece[id].kind == PIECE_UNUSED) {
		for (int32_t i = before; i-- > 0;) {
			const struct merge_rule *r = &s->merges.done[i];

			if (r->into != id)
				continue;
			put(s, r->left, i, out);
			put(s, r->right, i, out);
			return;
		}
	}
	token_list_push(out, id);
}

/* A character that is no piece. Unknown ones that follow each other are one. */
static void put_unknown(const struct spm *s, const char *c, size_t n, struct token_list *out,
			bool follows)
{
	size_t known = 0;

	while (known < n && s->byte[(unsigned char)c[known]] >= 0)
		known++;
	if (known == n)
		for (size_t i = 0; i < n; i++)
			token_list_push(out, s->byte[(unsigned char)c[i]]);
	else if (s->v->unknown >= 0 && !follows)
		token_list_push(out, s->v->unknown);
}

void spm_encode(struct spm *s, const char *word, size_t len, struct token_list *out)
{
	bool unknown = false;
	uint32_t cp;
	int32_t n;

	/* A character that is no piece stands as minus its place, minus 1. */
	CHECK(len < INT32_MAX);
	s->scratch.n = 0;
	for (size_t at = 0, step; at < len; at += step) {
		int32_t id;

		step = utf8_decode(word + at, len - at, &cp);
		CHECK(step > 0);
		id = vocab_find(s->v, word + at, step);
		token_list_push(&s->scratch,
				id >= 0 && may_merge(&s->v->piece[id]) ? id : -(int32_t)at - 1);
	}
	n = merges_run(&s->merges, s->scratch.id, s->scratch.n);
	for (int32_t i = 0; i < n; i++) {
		int32_t id = s->scratch.id[i];

		if (id < 0) {
			const char *c = word + (-id - 1);

			put_unknown(s, c, utf8_decode(c, len - (size_t)(c - word), &cp), out,
				    unknown);
		} else {
			put(s, id, s->any_unused ? s->merges.n_done : 0, out);
		}
		unknown = id < 0;
	}
}
