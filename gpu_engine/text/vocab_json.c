/*
 * Owns the reading of tokenizer.json (the `tokenizers` library's format) with tokenizer_config.json
 * and config.json beside it. Its pipelines are programs; those of the vocabularies we know are
 * recognised by their structure, anything else is refused. Pure.
 */
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/die.h"
#include "base/jsonx.h"
#include "spm.h"
#include "vocab_build.h"

static const cJSON *get(const cJSON *o, const char *key)
{
	const cJSON *v = cJSON_GetObjectItemCaseSensitive(o, key);

	return cJSON_IsNull(v) ? NULL : v;
}

static bool is_string(const cJSON *v, const char *text)
{
	return cJSON_IsString(v) && strcmp(v->valuestring, text) == 0;
}

static bool is_type(const cJSON *o, const char *type)
{
	return is_string(get(o, "type"), type);
}

/* A member that says neither false, nor "", nor nothing. */
static bool is_set(const cJSON *o, const char *key)
{
	const cJSON *v = get(o, key);

	return v && !cJSON_IsFalse(v) && !is_string(v, "") &&
	       !(cJSON_IsNumber(v) && v->valuedouble == 0);
}

/* {"pattern": {kind: text}, ...}: the text, or NULL. */
static const char *pattern_of(const cJSON *o, const char *kind)
{
	const cJSON *v = get(get(o, "pattern"), kind);

	return cJSON_IsString(v) ? v->valuestring : NULL;
}

/* ---- the pipeline ---- */

#define MAX_STEPS 6

/* The steps of a normalizer or a pre_tokenizer, a Sequence taken apart; -1 = too many. */
static int steps_of(const cJSON *o, const char *list, const cJSON *step[MAX_STEPS])
{
	const cJSON *v;
	int n = 0;

	if (!o)
		return 0;
	if (!is_type(o, "Sequence")) {
		step[0] = o;
		return 1;
	}
	cJSON_ArrayForEach(v, get(o, list))
	{
		if (n == MAX_STEPS)
			return -1;
		step[n++] = v;
	}
	return n;
}

static bool is_byte_level(const cJSON *o, bool regex)
{
	const cJSON *use = get(o, "use_regex");

	return is_type(o, "ByteLevel") && !is_set(o, "add_prefix_space") &&
	       (use ? cJSON_IsTrue(use) : true) == regex;
}

static bool is_digits(const cJSON *o, bool individual)
{
	return is_type(o, "Digits") && is_set(o, "individual_digits") == individual;
}

static bool is_split(const cJSON *o)
{
	return is_type(o, "Split") && is_string(get(o, "behavior"), "Isolated") &&
	       !is_set(o, "invert") && pattern_of(o, "Regex");
}

/* Which of our pre-tokenisers a byte-level pipeline is; NULL = none. */
static const struct pretok_kind *recognise(const cJSON *const step[], int n)
{
	const struct pretok_kind *k = NULL;
	const char *name = NULL;

	if (n == 1 && is_byte_level(step[0], true))
		name = "gpt-2";
	else if (n == 2 && is_digits(step[0], true) && is_byte_level(step[1], true))
		name = "smollm";
	else if (n == 2 && is_split(step[0]) && is_byte_level(step[1], false))
		return pretok_by_pattern(pattern_of(step[0], "Regex"));
	else if (n == 4 && is_type(step[0], "Punctuation") &&
		 is_string(get(step[0], "behavior"), "Contiguous") &&
		 is_byte_level(step[1], true) && is_digits(step[2], false) && is_split(step[3]) &&
		 strcmp(pattern_of(step[3], "Regex"), "[0-9][0-9][0-9]") == 0)
		name = "falcon";
	if (name)
		CHECK(pretok_find(&k, name, NULL) == RC_OK);
	return k;
}

static enum rc refuse(const cJSON *o, const char *what, struct err *e)
{
	struct buf b;

	buf_init(&b, 4096);
	if (!json_print(&b, o, false))
		buf_puts(&b, "(long)");
	err_set(e, RC_INPUT, "tokenizer.json: %s: there is no such one here: %.300s", what,
		buf_cstr(&b));
	buf_release(&b);
	return RC_INPUT;
}

static bool replaces_blanks(const cJSON *o)
{
	const char *from = pattern_of(o, "String");

	return is_type(o, "Replace") && from && strcmp(from, " ") == 0 &&
	       is_string(get(o, "content"), SPM_BLANK);
}

/* Metaspace, which is Prepend and Replace in one; the blank is not doubled. */
static bool read_metaspace(struct vocab *v, const cJSON *o)
{
	const cJSON *scheme = get(o, "prepend_scheme");

	if (!is_string(get(o, "replacement"), SPM_BLANK) || !cJSON_IsFalse(get(o, "split")))
		return false;
	v->add_space_prefix = !is_string(scheme, "never");
	v->prefix_once = is_string(scheme, "first");
	v->prefix_unless_blank = true;
	return v->prefix_once || !v->add_space_prefix || is_string(scheme, "always");
}

/* The blank becomes U+2581 either as text is normalised or as it is cut. */
static enum rc read_spm_pipeline(struct vocab *v, const cJSON *t, struct err *e)
{
	const cJSON *norm = get(t, "normalizer"), *pre = get(t, "pre_tokenizer");
	const cJSON *step[MAX_STEPS];
	int n = steps_of(norm, "normalizers", step);
	const char *blank = pattern_of(pre, "String");
	bool prepends = n == 2 && is_type(step[0], "Prepend") &&
			is_string(get(step[0], "prepend"), SPM_BLANK);

	snprintf(v->pre, sizeof(v->pre), "spm");
	if (n == 0) {
		if (is_type(pre, "Metaspace") && read_metaspace(v, pre))
			return RC_OK;
		return refuse(pre, "pre_tokenizer", e);
	}
	if (n < 0 || !replaces_blanks(step[n - 1]) || (n == 2 && !prepends) || n > 2)
		return refuse(norm, "normalizer", e);
	/* After that there is no blank left to cut at. */
	if (pre && !(is_type(pre, "Split") && blank && strcmp(blank, " ") == 0))
		return refuse(pre, "pre_tokenizer", e);
	v->add_space_prefix = prepends;
	return RC_OK;
}

/* With `pre` the pipeline is not looked at, but for a normalizer that we have. */
static enum rc read_byte_pipeline(struct vocab *v, const cJSON *t, const char *pre, struct err *e)
{
	const struct pretok_kind *k = NULL;
	const cJSON *step[MAX_STEPS];
	int n;

	if (pre) {
		if (pretok_find(&k, pre, e) != RC_OK)
			return e->rc;
	} else {
		n = steps_of(get(t, "pre_tokenizer"), "pretokenizers", step);
		k = n < 0 ? NULL : recognise(step, n);
		if (!k)
			return refuse(get(t, "pre_tokenizer"), "pre_tokenizer", e);
	}
	vocab_set_pre(v, k);
	n = steps_of(get(t, "normalizer"), "normalizers", step);
	if (n == 0 || (n == 1 && is_type(step[0], "NFC")))
		v->nfc = n == 1;
	else if (!pre)
		return refuse(get(t, "normalizer"), "normalizer", e);
	/* These the file does say. */
	v->add_bos = false;
	v->ignore_merges = is_set(get(t, "model"), "ignore_merges");
	return RC_OK;
}

/* Byte-level vocabularies say so where they cut text, or where they put it together. */
static bool is_byte_vocabulary(const cJSON *t)
{
	const cJSON *step[MAX_STEPS];
	int n = steps_of(get(t, "pre_tokenizer"), "pretokenizers", step);

	for (int i = 0; i < n; i++)
		if (is_type(step[i], "ByteLevel"))
			return true;
	return is_type(get(t, "decoder"), "ByteLevel");
}

/* ---- pieces and merges ---- */

static bool read_id(const cJSON *v, int32_t *out)
{
	if (!cJSON_IsNumber(v) || v->valuedouble < 0 || v->valuedouble >= VOCAB_MAX_PIECES ||
	    v->valuedouble != (double)(int32_t)v->valuedouble)
		return false;
	*out = (int32_t)v->valuedouble;
	return true;
}

/* Checks the forms of both lists, and finds how many pieces and bytes there are. */
static enum rc measure(const cJSON *vocab, const cJSON *added, int32_t *n, size_t *bytes,
		       struct err *e)
{
	const cJSON *p;
	int32_t id, i = 0;

	*n = 0;
	*bytes = 0;
	cJSON_ArrayForEach(p, vocab)
	{
		if (!read_id(p, &id))
			return err_set(e, RC_INPUT, "model.vocab[\"%.64s\"]: want an id below %d",
				       p->string, VOCAB_MAX_PIECES);
		*n = id >= *n ? id + 1 : *n;
		*bytes += strlen(p->string);
	}
	cJSON_ArrayForEach(p, added)
	{
		if (!read_id(get(p, "id"), &id) || !cJSON_IsString(get(p, "content")))
			return err_set(e, RC_INPUT,
				       "added_tokens[%d]: want an id below %d and a content", i,
				       VOCAB_MAX_PIECES);
		if (is_set(p, "single_word"))
			return err_set(e, RC_INPUT, "added_tokens[%d]: single_word is not there",
				       i);
		*n = id >= *n ? id + 1 : *n;
		*bytes += strlen(get(p, "content")->valuestring);
		i++;
	}
	/* A few holes are common; a file of a few names and one huge id is none we know. */
	if (*n == 0 || (size_t)*n > 1024 + 64 * *bytes)
		return err_set(e, RC_INPUT, "model.vocab: %s",
			       *n ? "hardly an id below the last has a piece" : "has no pieces");
	return RC_OK;
}

static enum rc read_pieces(struct vocab *v, const cJSON *t, struct err *e)
{
	const cJSON *vocab = get(get(t, "model"), "vocab"), *added = get(t, "added_tokens"), *p;
	size_t bytes;
	int32_t n;

	if (!cJSON_IsObject(vocab))
		return err_set(e, RC_INPUT, "model.vocab: want an object");
	if (added && !cJSON_IsArray(added))
		return err_set(e, RC_INPUT, "added_tokens: want an array");
	if (measure(vocab, added, &n, &bytes, e) != RC_OK)
		return e->rc;
	vocab_begin(v, n, bytes);
	cJSON_ArrayForEach(p, vocab)
	{
		bool byte =
			v->kind == VOCAB_SPM && vocab_is_byte_piece(p->string, strlen(p->string));

		vocab_put(v, (int32_t)p->valuedouble, p->string, strlen(p->string),
			  byte ? PIECE_BYTE : PIECE_NORMAL);
	}
	cJSON_ArrayForEach(p, added)
	{
		const char *text = get(p, "content")->valuestring;
		int32_t id = (int32_t)get(p, "id")->valuedouble;

		vocab_put(v, id, text, strlen(text),
			  is_set(p, "special") ? PIECE_CONTROL : PIECE_USER);
		v->piece[id].strips_left = is_set(p, "lstrip");
		v->piece[id].strips_right = is_set(p, "rstrip");
	}
	vocab_index(v);
	return RC_OK;
}

static struct meta_string view(const cJSON *v)
{
	return (struct meta_string){v->valuestring, strlen(v->valuestring)};
}

static enum rc read_merges(struct vocab *v, const cJSON *t, struct err *e)
{
	const cJSON *merges = get(get(t, "model"), "merges"), *m;
	int32_t i = 0;
	enum rc rc = RC_OK;

	if (!cJSON_IsArray(merges) || cJSON_GetArraySize(merges) > VOCAB_MAX_PIECES)
		return err_set(e, RC_INPUT, "model.merges: want an array");
	v->n_merges = cJSON_GetArraySize(merges);
	v->merge = xcalloc((size_t)v->n_merges + 1, sizeof(*v->merge));
	cJSON_ArrayForEach(m, merges)
	{
		const cJSON *left = m->child, *right = left ? left->next : NULL;

		if (cJSON_IsString(m))
			rc = vocab_put_merge_text(v, i, view(m), "model.merges", e);
		else if (cJSON_IsString(left) && right && cJSON_IsString(right) && !right->next)
			rc = vocab_put_merge(v, i, view(left), view(right), "model.merges", e);
		else
			rc = err_set(e, RC_INPUT, "model.merges[%d]: want two pieces", i);
		if (rc != RC_OK)
			return rc;
		i++;
	}
	return RC_OK;
}

static enum rc read_model(struct vocab *v, const cJSON *t, const char *pre, struct err *e)
{
	static const char *const unserved[] = {"dropout", "continuing_subword_prefix",
					       "end_of_word_suffix"};
	const cJSON *model = get(t, "model"), *type = get(model, "type");
	const cJSON *unknown = get(model, "unk_token");

	if (!cJSON_IsObject(model) || (type && !is_string(type, "BPE")))
		return err_set(e, RC_INPUT, "model.type: got %.64s, want BPE: there is no other",
			       cJSON_IsString(type) ? type->valuestring : "nothing");
	for (size_t i = 0; i < ARRAY_LEN(unserved); i++)
		if (is_set(model, unserved[i]))
			return err_set(e, RC_INPUT, "model.%s: cannot be served", unserved[i]);
	v->kind = is_byte_vocabulary(t) ? VOCAB_BYTE_BPE : VOCAB_SPM;
	if (pre && v->kind == VOCAB_SPM)
		return err_set(e, RC_INPUT,
			       "a SentencePiece vocabulary has no pre-tokeniser to name");
	if ((v->kind == VOCAB_SPM ? read_spm_pipeline(v, t, e)
				  : read_byte_pipeline(v, t, pre, e)) != RC_OK ||
	    read_pieces(v, t, e) != RC_OK || read_merges(v, t, e) != RC_OK)
		return e->rc;
	if (cJSON_IsString(unknown)) {
		v->unknown = vocab_find(v, unknown->valuestring, strlen(unknown->valuestring));
		if (v->unknown < 0)
			return err_set(e, RC_INPUT, "model.unk_token: \"%.64s\" is no piece",
				       unknown->valuestring);
	}
	return RC_OK;
}

/* ---- what the ids mean ---- */

/* "bos_token": a text, or an added token with a content; -1 if there is none or it is no piece. */
static int32_t named_token(const struct vocab *v, const cJSON *config, const char *key)
{
	const cJSON *t = get(config, key);

	if (cJSON_IsObject(t))
		t = get(t, "content");
	return cJSON_IsString(t) ? vocab_find(v, t->valuestring, strlen(t->valuestring)) : -1;
}

/* "eos_token_id": an id, or a list of them, all of which end an answer; the first is returned. */
static enum rc end_ids(struct vocab *v, const cJSON *config, const char *what, int32_t *first,
		       struct err *e)
{
	const cJSON *ids = get(config, "eos_token_id"), *id;
	int32_t i;

	if (!ids)
		return RC_OK;
	for (id = cJSON_IsArray(ids) ? ids->child : ids; id;
	     id = cJSON_IsArray(ids) ? id->next : NULL) {
		if (!read_id(id, &i) || i >= v->n)
			return err_set(e, RC_INPUT, "%s: eos_token_id: want ids below %d", what,
				       v->n);
		if (*first < 0)
			*first = i;
		vocab_add_end(v, i);
	}
	return RC_OK;
}

/* The special token that a template puts in front of a text, or NULL. */
static const cJSON *template_start(const cJSON *post)
{
	const cJSON *v;

	if (is_type(post, "TemplateProcessing"))
		return get(get(get(post, "single") ? get(post, "single")->child : NULL,
			       "SpecialToken"),
			   "id");
	cJSON_ArrayForEach(v, get(post, "processors"))
	{
		const cJSON *start = is_type(v, "TemplateProcessing") ? template_start(v) : NULL;

		if (start)
			return start;
	}
	return NULL;
}

static enum rc read_ids(struct vocab *v, const struct model_file *f, struct err *e)
{
	const cJSON *config = get(f->tokenizer, "tokenizer_config");
	const cJSON *start = template_start(get(f->tokenizer, "post_processor"));
	int32_t id, first = -1;

	v->bos = named_token(v, config, "bos_token");
	v->eos = named_token(v, config, "eos_token");
	v->pad = named_token(v, config, "pad_token");
	if (v->bos < 0 && read_id(get(f->config, "bos_token_id"), &id) && id < v->n)
		v->bos = id;
	if (cJSON_IsString(start)) {
		v->bos = vocab_find(v, start->valuestring, strlen(start->valuestring));
		v->add_bos = v->bos >= 0;
	}
	vocab_add_end(v, v->eos);
	if (end_ids(v, f->config, "config.json", &first, e) != RC_OK ||
	    end_ids(v, get(f->config, "generation_config"), "generation_config.json", &first, e) !=
		    RC_OK)
		return e->rc;
	if (v->eos < 0)
		v->eos = first;
	if (json_get_bool(config, "tokenizer_config", "add_bos_token", &v->add_bos, e) != RC_OK ||
	    json_get_bool(config, "tokenizer_config", "add_eos_token", &v->add_eos, e) != RC_OK)
		return e->rc;
	return RC_OK;
}

/* A template, or the one called "default" of several. */
static void read_chat_template(struct vocab *v, const cJSON *config)
{
	const cJSON *t = get(config, "chat_template"), *one = cJSON_IsArray(t) ? t->child : NULL;

	for (; one; one = one->next)
		if (is_string(get(one, "name"), "default"))
			t = get(one, "template");
	if (cJSON_IsString(t))
		v->chat_template = xstrdup(t->valuestring);
}

enum rc vocab_from_json(struct vocab *v, const struct model_file *f, const char *pre, struct err *e)
{
	if (!cJSON_IsObject(f->tokenizer))
		return err_set(e, RC_INPUT, "there is no tokenizer.json beside the model");
	if (read_model(v, f->tokenizer, pre, e) != RC_OK || read_ids(v, f, e) != RC_OK)
		return e->rc;
	read_chat_template(v, get(f->tokenizer, "tokenizer_config"));
	return RC_OK;
}
