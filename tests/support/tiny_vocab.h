/*
 * Vocabularies small enough to see through, for tests of the text room: as a tokenizer.json, or as
 * GGUF's keys without the file. Included by one test program at a time; everything is static.
 *
 * Byte-level: id b is byte b, 256 + i is what merge i makes, then come the added pieces.
 */
#ifndef TESTS_TINY_VOCAB_H
#define TESTS_TINY_VOCAB_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/check.h"
#include "base/die.h"
#include "base/jsonx.h"
#include "text/tokenizer.h"

/* The pipelines as tokenizer.json files have them. */
#define TINY_LEVEL "{\"type\":\"ByteLevel\",\"add_prefix_space\":false,\"use_regex\":true}"
#define TINY_SMOLLM                                                                                \
	"{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"Digits\","                          \
	"\"individual_digits\":true}," TINY_LEVEL "]}"
#define TINY_SPLIT(regex)                                                                          \
	"{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"Split\",\"pattern\":{\"Regex\":"    \
	"\"" regex "\"},\"behavior\":\"Isolated\",\"invert\":false},{\"type\":\"ByteLevel\","      \
	"\"add_prefix_space\":false,\"use_regex\":false}]}"
#define TINY_LLAMA3                                                                                \
	TINY_SPLIT("(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\\\r\\\\n\\\\p{L}\\\\p{N}]?\\\\p{L}+|"         \
		   "\\\\p{N}{1,3}| ?[^\\\\s\\\\p{L}\\\\p{N}]+[\\\\r\\\\n]*|\\\\s*[\\\\r\\\\n]+|"   \
		   "\\\\s+(?!\\\\S)|\\\\s+")

/* A byte as byte-level vocabularies spell it, in UTF-8; written again, not shared with the code
 * that is tested. */
__attribute__((unused)) static const char *tiny_spell(int byte, char out[4])
{
	int c = byte;

	if (byte <= 0x20)
		c = 0x100 + byte;
	else if (byte >= 0x7f && byte <= 0xa0)
		c = 0x121 + byte - 0x7f;
	else if (byte == 0xad)
		c = 0x143;
	if (c < 0x80)
		snprintf(out, 4, "%c", c);
	else
		snprintf(out, 4, "%c%c", 0xc0 | c >> 6, 0x80 | (c & 0x3f));
	return out;
}

__attribute__((unused)) static void tiny_spell_text(struct buf *b, const char *s)
{
	char spelled[4];

	for (; *s; s++)
		buf_puts(b, tiny_spell((unsigned char)*s, spelled));
}

/* merges: "left right" as plain text, where '_' stands for a blank within a piece; NULL ends it.
 * pre, normalizer: JSON, or NULL. added: the members of added_tokens, ids from 256 + merges on. */
__attribute__((unused)) static char *tiny_json(const char *pre, const char *normalizer,
					       const char *const merges[], bool ignore_merges,
					       const char *added)
{
	struct buf b, left, right;
	char spelled[4];
	int id = 256;

	buf_init(&b, 1 << 20);
	buf_init(&left, 256);
	buf_init(&right, 256);
	buf_printf(&b, "{\"added_tokens\":[%s],\"normalizer\":%s,\"pre_tokenizer\":%s,", added,
		   normalizer ? normalizer : "null", pre);
	buf_printf(&b, "\"model\":{\"type\":\"BPE\",\"ignore_merges\":%s,\"vocab\":{",
		   ignore_merges ? "true" : "false");
	for (int i = 0; i < 256; i++) {
		buf_printf(&b, "%s", i ? ",\"" : "\"");
		if (i == '"' || i == '\\')
			buf_putc(&b, '\\');
		buf_printf(&b, "%s\":%d", tiny_spell(i, spelled), i);
	}
	for (int pass = 0; pass < 2; pass++) {
		if (pass)
			buf_puts(&b, "},\"merges\":[");
		for (int i = 0; merges[i]; i++) {
			char *text = xstrdup(merges[i]), *blank = strchr(text, ' ');

			CHECK(blank);
			*blank = '\0';
			for (char *p = text; p <= blank + strlen(blank + 1); p++)
				*p = (char)(*p == '_' ? ' ' : *p);
			buf_clear(&left);
			buf_clear(&right);
			tiny_spell_text(&left, text);
			tiny_spell_text(&right, blank + 1);
			if (pass)
				buf_printf(&b, "%s[\"%s\",\"%s\"]", i ? "," : "", buf_cstr(&left),
					   buf_cstr(&right));
			else
				buf_printf(&b, ",\"%s%s\":%d", buf_cstr(&left), buf_cstr(&right),
					   id++);
			free(text);
		}
	}
	buf_puts(&b, "]}}");
	buf_release(&left);
	buf_release(&right);
	return buf_take(&b);
}

/* A vocabulary from the text of a tokenizer.json; config: tokenizer_config.json's, or NULL. */
__attribute__((unused)) static enum rc tiny_load(struct vocab **v, const char *json,
						 const char *config, const char *pre, struct err *e)
{
	struct model_file f = {.format = MODEL_SAFETENSORS};
	cJSON *more = NULL;
	enum rc rc;

	CHECK(json_parse(&f.tokenizer, json, strlen(json), e) == RC_OK);
	if (config) {
		CHECK(json_parse(&more, config, strlen(config), e) == RC_OK);
		cJSON_AddItemToObject(f.tokenizer, "tokenizer_config", more);
	}
	rc = vocab_load(v, &f, pre, e);
	cJSON_Delete(f.tokenizer);
	return rc;
}

/* ---- GGUF's keys ---- */

struct tiny_gguf {
	struct model_file f;
	struct meta meta[24];
};

static int tiny_by_key(const void *a, const void *b)
{
	const struct meta *x = a, *y = b;

	return strcmp(x->key.text, y->key.text);
}

__attribute__((unused)) static struct meta *tiny_key(struct tiny_gguf *g, const char *key,
						     enum meta_type type)
{
	struct meta *m = &g->meta[g->f.n_meta++];

	CHECK(g->f.n_meta <= 24);
	*m = (struct meta){.key = {key, strlen(key)}, .type = type};
	return m;
}

__attribute__((unused)) static void tiny_string(struct tiny_gguf *g, const char *key,
						const char *value)
{
	tiny_key(g, key, META_STRING)->s = (struct meta_string){value, strlen(value)};
}

__attribute__((unused)) static void tiny_uint(struct tiny_gguf *g, const char *key, uint64_t value)
{
	tiny_key(g, key, META_UINT)->u = value;
}

__attribute__((unused)) static void tiny_bool(struct tiny_gguf *g, const char *key, bool value)
{
	tiny_key(g, key, META_BOOL)->b = value;
}

__attribute__((unused)) static void tiny_strings(struct tiny_gguf *g, const char *key,
						 const char *const value[], int n)
{
	struct meta *m = tiny_key(g, key, META_ARRAY);

	m->a.type = META_STRING;
	m->a.n = (uint64_t)n;
	m->a.string = xcalloc((size_t)n + 1, sizeof(*m->a.string));
	for (int i = 0; i < n; i++)
		m->a.string[i] = (struct meta_string){value[i], strlen(value[i])};
}

__attribute__((unused)) static void tiny_floats(struct tiny_gguf *g, const char *key,
						const float *value, int n)
{
	struct meta *m = tiny_key(g, key, META_ARRAY);

	m->a.type = META_REAL;
	m->a.width = 4;
	m->a.n = (uint64_t)n;
	m->a.at = value;
}

__attribute__((unused)) static void tiny_ints(struct tiny_gguf *g, const char *key,
					      const int32_t *value, int n)
{
	struct meta *m = tiny_key(g, key, META_ARRAY);

	m->a.type = META_INT;
	m->a.width = 4;
	m->a.n = (uint64_t)n;
	m->a.at = value;
}

/* Loads what was put, and forgets it. */
__attribute__((unused)) static enum rc tiny_gguf_load(struct tiny_gguf *g, struct vocab **v,
						      const char *pre, struct err *e)
{
	char path[] = "tiny.gguf";
	enum rc rc;

	g->f.format = MODEL_GGUF;
	g->f.path = path;
	g->f.meta = g->meta;
	qsort(g->meta, (size_t)g->f.n_meta, sizeof(*g->meta), tiny_by_key);
	rc = vocab_load(v, &g->f, pre, e);
	for (int i = 0; i < g->f.n_meta; i++)
		if (g->meta[i].type == META_ARRAY)
			free(g->meta[i].a.string);
	memset(g, 0, sizeof(*g));
	return rc;
}

#endif
