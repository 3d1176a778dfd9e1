/*
 * Owns a vocabulary's tables and reads it from GGUF's keys. Pure. Must not know how a text is cut.
 */
#include "vocab.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/die.h"
#include "vocab_build.h"

/* ---- the tables ---- */

static uint32_t hash_text(const char *text, size_t len)
{
	uint32_t h = 2166136261u;

	for (size_t i = 0; i < len; i++)
		h = (h ^ (unsigned char)text[i]) * 16777619u;
	return h ^ h >> 15;
}

void vocab_begin(struct vocab *v, int32_t n, size_t bytes)
{
	v->n = n;
	v->piece = xcalloc((size_t)n, sizeof(*v->piece));
	v->memory = xmalloc(bytes + 1);
	for (int32_t i = 0; i < n; i++)
		v->piece[i] = (struct piece){.text = "", .kind = PIECE_UNUSED};
}

void vocab_put(struct vocab *v, int32_t id, const char *text, size_t len, enum piece_kind kind)
{
	struct piece *p = &v->piece[id];

	memcpy(v->memory + v->memory_used, text, len);
	p->text = v->memory + v->memory_used;
	p->len = (int32_t)len;
	p->kind = kind;
	v->memory_used += len;
}

/* Where its id stands, or the empty slot where it would. */
static int32_t *find_slot(const struct vocab *v, const char *text, size_t len)
{
	for (uint32_t i = hash_text(text, len);; i++) {
		int32_t *slot = &v->slot[i & (v->n_slots - 1)];

		if (*slot < 0 || ((size_t)v->piece[*slot].len == len &&
				  memcmp(v->piece[*slot].text, text, len) == 0))
			return slot;
	}
}

void vocab_index(struct vocab *v)
{
	v->n_slots = 16;
	while (v->n_slots < 2 * (uint32_t)v->n)
		v->n_slots *= 2;
	v->slot = xreallocarray(NULL, v->n_slots, sizeof(*v->slot));
	for (uint32_t i = 0; i < v->n_slots; i++)
		v->slot[i] = -1;
	for (int32_t id = 0; id < v->n; id++) {
		const struct piece *p = &v->piece[id];
		int32_t *slot = find_slot(v, p->text, (size_t)p->len);

		/* Of a text that comes twice the last one counts. */
		if (p->len > 0)
			*slot = id;
	}
}

int32_t vocab_find(const struct vocab *v, const char *text, size_t len)
{
	return *find_slot(v, text, len);
}

enum rc vocab_put_merge(struct vocab *v, int32_t i, struct meta_string left,
			struct meta_string right, const char *where, struct err *e)
{
	struct merge *m = &v->merge[i];
	const size_t len = left.len + right.len;
	char small[256], *joined = len > sizeof(small) ? xmalloc(len) : small;
	struct meta_string missing = {NULL, 0};

	memcpy(joined, left.text, left.len);
	memcpy(joined + left.len, right.text, right.len);
	m->left = vocab_find(v, left.text, left.len);
	m->right = vocab_find(v, right.text, right.len);
	m->into = vocab_find(v, joined, len);
	if (m->left < 0)
		missing = left;
	else if (m->right < 0)
		missing = right;
	else if (m->into < 0)
		missing = (struct meta_string){joined, len};
	if (missing.text)
		err_set(e, RC_INPUT, "%s[%d]: \"%.*s\" is no piece of the vocabulary", where, i,
			(int)(missing.len < 64 ? missing.len : 64), missing.text);
	if (joined != small)
		free(joined);
	return missing.text ? RC_INPUT : RC_OK;
}

enum rc vocab_put_merge_text(struct vocab *v, int32_t i, struct meta_string both, const char *where,
			     struct err *e)
{
	const char *blank = both.len < 3 ? NULL : memchr(both.text + 1, ' ', both.len - 2);
	struct meta_string left, right;

	if (!blank)
		return err_set(e, RC_INPUT, "%s[%d]: got \"%.*s\", want two pieces and a blank",
			       where, i, (int)(both.len < 64 ? both.len : 64), both.text);
	left = (struct meta_string){both.text, (size_t)(blank - both.text)};
	right = (struct meta_string){blank + 1, both.len - left.len - 1};
	return vocab_put_merge(v, i, left, right, where, e);
}

bool vocab_is_byte_piece(const char *text, size_t len)
{
	return len == 6 && memcmp(text, "<0x", 3) == 0 && text[5] == '>' &&
	       isxdigit((unsigned char)text[3]) && isxdigit((unsigned char)text[4]);
}

void vocab_add_end(struct vocab *v, int32_t id)
{
	if (id < 0)
		return;
	for (int32_t i = 0; i < v->n_end; i++)
		if (v->end[i] == id)
			return;
	v->end = xreallocarray(v->end, (size_t)v->n_end + 1, sizeof(*v->end));
	v->end[v->n_end++] = id;
}

void vocab_set_pre(struct vocab *v, const struct pretok_kind *k)
{
	snprintf(v->pre, sizeof(v->pre), "%s", k->name[0]);
	v->add_bos = k->add_bos;
	v->ignore_merges = k->ignore_merges;
	v->nfc = k->nfc;
}

/* A piece that has a meaning of its own is no text, whatever kind the file gives it. */
static void make_control(struct vocab *v, int32_t id)
{
	if (id >= 0 && !piece_is_control(&v->piece[id]))
		v->piece[id].kind = PIECE_CONTROL;
}

void vocab_finish(struct vocab *v)
{
	static const char *const names[] = {
		"<|im_end|>",	 "<|eot_id|>",	    "<|eom_id|>",
		"<end_of_turn>", "<|endoftext|>",   "<|end|>",
		"<|endofturn|>", "<|end_of_text|>", "<end_of_utterance>"};

	vocab_add_end(v, v->eos);
	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		int32_t id = vocab_find(v, names[i], strlen(names[i]));

		if (id >= 0 && v->piece[id].kind != PIECE_NORMAL)
			vocab_add_end(v, id);
	}
	make_control(v, v->bos);
	for (int32_t i = 0; i < v->n_end; i++)
		make_control(v, v->end[i]);
}

void vocab_free(struct vocab *v)
{
	if (!v)
		return;
	free(v->piece);
	free(v->merge);
	free(v->end);
	free(v->chat_template);
	free(v->memory);
	free(v->slot);
	free(v);
}

/* ---- GGUF ---- */

#define KEY(name) "tokenizer.ggml." name

/* Its array of n items (any number if n < 0); *out NULL if there is no such key. */
static enum rc get_array(const struct model_file *f, const char *key, bool strings, int64_t n,
			 const struct meta **out, struct err *e)
{
	const struct meta *m = model_file_meta(f, key);

	*out = m;
	if (!m)
		return RC_OK;
	if (m->type != META_ARRAY || (m->a.type == META_STRING) != strings ||
	    m->a.type == META_ARRAY || m->a.type == META_BOOL)
		return err_set(e, RC_INPUT, "%s: want an array of %s", key,
			       strings ? "strings" : "numbers");
	if (n >= 0 && m->a.n != (uint64_t)n)
		return err_set(e, RC_INPUT, "%s: %llu items, but there are %lld pieces", key,
			       (unsigned long long)m->a.n, (long long)n);
	return RC_OK;
}

static enum rc read_pieces(struct vocab *v, const struct model_file *f, struct err *e)
{
	const struct meta *tokens, *types, *scores;
	size_t bytes = 0;

	if (get_array(f, KEY("tokens"), true, -1, &tokens, e) != RC_OK)
		return e->rc;
	if (!tokens || tokens->a.n < 1 || tokens->a.n > VOCAB_MAX_PIECES)
		return err_set(e, RC_INPUT, KEY("tokens") ": want 1 to %d pieces",
			       VOCAB_MAX_PIECES);
	if (get_array(f, KEY("token_type"), false, (int64_t)tokens->a.n, &types, e) != RC_OK ||
	    get_array(f, KEY("scores"), false, (int64_t)tokens->a.n, &scores, e) != RC_OK)
		return e->rc;
	if (types && types->a.type == META_REAL)
		return err_set(e, RC_INPUT, KEY("token_type") ": want an array of integers");
	if (!scores && v->kind == VOCAB_SPM)
		return err_set(e, RC_INPUT, KEY("scores") ": the key is missing");
	for (uint64_t i = 0; i < tokens->a.n; i++)
		bytes += tokens->a.string[i].len;
	if (bytes > INT32_MAX)
		return err_set(e, RC_INPUT, KEY("tokens") ": more than 2 GiB of text");
	vocab_begin(v, (int32_t)tokens->a.n, bytes);
	for (int32_t i = 0; i < v->n; i++) {
		const struct meta_string *s = &tokens->a.string[i];
		int64_t kind = types ? meta_item_int(types, (uint64_t)i) : PIECE_NORMAL;

		if (kind < PIECE_NORMAL || kind > PIECE_BYTE)
			return err_set(e, RC_INPUT, KEY("token_type") "[%d]: got %lld, want 1 to 6",
				       i, (long long)kind);
		if (kind == PIECE_BYTE && !vocab_is_byte_piece(s->text, s->len))
			return err_set(e, RC_INPUT,
				       KEY("tokens") "[%d]: got \"%.*s\", want a byte: <0xXX>", i,
				       (int)(s->len < 64 ? s->len : 64), s->text);
		vocab_put(v, i, s->text, s->len, (enum piece_kind)kind);
		if (scores)
			v->piece[i].score = scores->a.type == META_REAL
						    ? (float)meta_item_real(scores, (uint64_t)i)
						    : (float)meta_item_int(scores, (uint64_t)i);
		if (v->piece[i].score != v->piece[i].score)
			return err_set(e, RC_INPUT, KEY("scores") "[%d]: is no number", i);
	}
	vocab_index(v);
	return RC_OK;
}

static enum rc read_merges(struct vocab *v, const struct model_file *f, struct err *e)
{
	const struct meta *m;

	if (get_array(f, KEY("merges"), true, -1, &m, e) != RC_OK)
		return e->rc;
	if (!m)
		return err_set(e, RC_INPUT, KEY("merges") ": the key is missing");
	if (m->a.n > VOCAB_MAX_PIECES)
		return err_set(e, RC_INPUT, KEY("merges") ": more than %d", VOCAB_MAX_PIECES);
	v->merge = xcalloc(m->a.n ? (size_t)m->a.n : 1, sizeof(*v->merge));
	v->n_merges = (int32_t)m->a.n;
	for (int32_t i = 0; i < v->n_merges; i++)
		if (vocab_put_merge_text(v, i, m->a.string[i], KEY("merges"), e) != RC_OK)
			return e->rc;
	return RC_OK;
}

static enum rc read_ids(struct vocab *v, const struct model_file *f, struct err *e)
{
	int64_t bos = v->bos, eos = v->eos, unknown = v->unknown, pad = -1, eot = -1, eom = -1;
	const struct {
		const char *key;
		int64_t *id;
	} row[] = {
		{KEY("bos_token_id"), &bos},	     {KEY("eos_token_id"), &eos},
		{KEY("unknown_token_id"), &unknown}, {KEY("padding_token_id"), &pad},
		{KEY("eot_token_id"), &eot},	     {KEY("eom_token_id"), &eom},
	};

	for (size_t i = 0; i < ARRAY_LEN(row); i++) {
		int64_t id = *row[i].id;

		if (meta_get_int(f, row[i].key, INT32_MIN, UINT32_MAX, &id, e) != RC_OK)
			return e->rc;
		if (id == UINT32_MAX || id < 0)
			id = -1; /* how some say "none" */
		if (id >= v->n)
			return err_set(e, RC_INPUT, "%s: got %lld, but there are %d pieces",
				       row[i].key, (long long)id, v->n);
		*row[i].id = id;
	}
	v->bos = (int32_t)bos;
	v->eos = (int32_t)eos;
	/* Of a byte-level vocabulary the key names a piece that text never becomes. */
	v->unknown = v->kind == VOCAB_SPM ? (int32_t)unknown : -1;
	v->pad = (int32_t)pad;
	vocab_add_end(v, v->eos);
	vocab_add_end(v, (int32_t)eot);
	vocab_add_end(v, (int32_t)eom);
	return RC_OK;
}

static enum rc read_pre(struct vocab *v, const struct model_file *f, const char *pre, struct err *e)
{
	struct meta_string name = {NULL, 0};
	const struct pretok_kind *k;
	char text[64];

	if (v->kind == VOCAB_SPM) {
		if (pre)
			return err_set(e, RC_INPUT,
				       "a SentencePiece vocabulary has no pre-tokeniser to name");
		snprintf(v->pre, sizeof(v->pre), "spm");
		return RC_OK;
	}
	if (!pre) {
		if (meta_get_string(f, KEY("pre"), &name, e) != RC_OK)
			return e->rc;
		if (!name.text)
			return err_set(e, RC_INPUT,
				       KEY("pre") ": the key is missing; name a pre-tokeniser");
		snprintf(text, sizeof(text), "%.*s", (int)(name.len < 60 ? name.len : 60),
			 name.text);
		if (pretok_find(&k, text, e) != RC_OK)
			return err_prefix(e, KEY("pre") ": ");
	} else if (pretok_find(&k, pre, e) != RC_OK) {
		return e->rc;
	}
	vocab_set_pre(v, k);
	return RC_OK;
}

static enum rc vocab_from_gguf(struct vocab *v, const struct model_file *f, const char *pre,
			       struct err *e)
{
	struct meta_string model = {"", 0}, chat = {NULL, 0};

	if (meta_get_string(f, KEY("model"), &model, e) != RC_OK)
		return e->rc;
	if (model.len == 4 && memcmp(model.text, "gpt2", 4) == 0)
		v->kind = VOCAB_BYTE_BPE;
	else if (model.len == 5 && memcmp(model.text, "llama", 5) == 0)
		v->kind = VOCAB_SPM;
	else
		return err_set(
			e, RC_INPUT,
			KEY("model") ": got \"%.*s\", want gpt2 or llama: there are no others",
			(int)(model.len < 64 ? model.len : 64), model.text);
	if (read_pieces(v, f, e) != RC_OK || read_pre(v, f, pre, e) != RC_OK)
		return e->rc;
	if (v->kind == VOCAB_SPM) {
		v->add_bos = v->add_space_prefix = true;
		v->bos = v->n > 1 ? 1 : -1;
		v->eos = v->n > 2 ? 2 : -1;
		v->unknown = 0;
	} else if (read_merges(v, f, e) != RC_OK) {
		return e->rc;
	}
	if (read_ids(v, f, e) != RC_OK ||
	    meta_get_bool(f, KEY("add_bos_token"), &v->add_bos, e) != RC_OK ||
	    meta_get_bool(f, KEY("add_eos_token"), &v->add_eos, e) != RC_OK ||
	    meta_get_string(f, "tokenizer.chat_template", &chat, e) != RC_OK)
		return e->rc;
	/* Byte-level vocabularies carry the key as well, to no effect. */
	if (v->kind == VOCAB_SPM &&
	    meta_get_bool(f, KEY("add_space_prefix"), &v->add_space_prefix, e) != RC_OK)
		return e->rc;
	if (chat.text)
		v->chat_template = xstrndup(chat.text, chat.len);
	return RC_OK;
}

enum rc vocab_load(struct vocab **out, const struct model_file *f, const char *pre, struct err *e)
{
	struct vocab *v = xcalloc(1, sizeof(*v));
	enum rc rc;

	v->bos = v->eos = v->unknown = v->pad = -1;
	rc = f->format == MODEL_GGUF ? vocab_from_gguf(v, f, pre, e)
				     : vocab_from_json(v, f, pre, e);
	if (rc == RC_OK)
		vocab_finish(v);
	if (rc == RC_OK && v->add_bos && v->bos < 0)
		rc = err_set(e, RC_INPUT, "the vocabulary wants a first token and names none");
	if (rc != RC_OK) {
		vocab_free(v);
		v = NULL;
	}
	*out = v;
	return rc;
}
