/*
 * Vocabularies read and refused: GGUF's keys and tokenizer.json, what they mean by their ids, and
 * what the messages say.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../support/tiny_vocab.h"
#include "text/spm.h"

static bool ends(const struct vocab *v, int32_t id)
{
	for (int32_t i = 0; i < v->n_end; i++)
		if (v->end[i] == id)
			return true;
	return false;
}

/* ---- GGUF ---- */

static const char *const pieces[] = {"a", "b", "ab", "<|im_end|>", "<s>"};
static const int32_t kinds[] = {1, 1, 1, 4, 3}, odd_kinds[] = {1, 1, 7, 4, 3};
static const char *const good_merges[] = {"a b"}, *const no_piece[] = {"a b", "b a"},
			 *const no_blank[] = {"ab"};
static const float odd_scores[] = {0, 0, 0, 0, __builtin_nanf("")};

static void put_good(struct tiny_gguf *g)
{
	tiny_string(g, "tokenizer.ggml.model", "gpt2");
	tiny_string(g, "tokenizer.ggml.pre", "smollm");
	tiny_strings(g, "tokenizer.ggml.tokens", pieces, 5);
	tiny_ints(g, "tokenizer.ggml.token_type", kinds, 5);
	tiny_strings(g, "tokenizer.ggml.merges", good_merges, 1);
	tiny_uint(g, "tokenizer.ggml.bos_token_id", 4);
	tiny_uint(g, "tokenizer.ggml.eos_token_id", 4);
	tiny_bool(g, "tokenizer.ggml.add_bos_token", true);
	tiny_string(g, "tokenizer.chat_template", "{{ x }}");
}

static struct meta *found(struct tiny_gguf *g, const char *key)
{
	for (int i = 0; i < g->f.n_meta; i++)
		if (strcmp(g->meta[i].key.text, key) == 0)
			return &g->meta[i];
	fail_msg("no key %s", key);
	return NULL;
}

static void drop(struct tiny_gguf *g, const char *key)
{
	struct meta *m = found(g, key);

	if (m->type == META_ARRAY)
		free(m->a.string);
	*m = g->meta[--g->f.n_meta];
}

static void test_gguf(void **state)
{
	struct tiny_gguf g = {0};
	struct vocab *v;
	struct err e;

	(void)state;
	put_good(&g);
	if (tiny_gguf_load(&g, &v, NULL, &e) != RC_OK)
		fail_msg("%s", e.msg);
	assert_int_equal(v->kind, VOCAB_BYTE_BPE);
	assert_string_equal(v->pre, "smollm");
	assert_int_equal(v->n, 5);
	assert_int_equal(v->n_merges, 1);
	assert_int_equal(v->merge[0].into, 2);
	assert_int_equal(v->bos, 4);
	assert_true(v->add_bos && !v->add_space_prefix && !v->ignore_merges);
	assert_true(ends(v, 4) && ends(v, 3) && v->n_end == 2);
	assert_int_equal(v->piece[3].kind, PIECE_CONTROL); /* whatever the file calls it */
	assert_string_equal(v->chat_template, "{{ x }}");
	assert_int_equal(vocab_find(v, "ab", 2), 2);
	assert_int_equal(vocab_find(v, "ab", 1), 0);
	assert_int_equal(vocab_find(v, "x", 1), -1);
	assert_int_equal(vocab_find(v, "", 0), -1);
	vocab_free(v);

	put_good(&g);
	found(&g, "tokenizer.ggml.pre")->s = (struct meta_string){"llama-bpe", 9};
	drop(&g, "tokenizer.ggml.add_bos_token");
	assert_int_equal(tiny_gguf_load(&g, &v, NULL, &e), RC_OK);
	assert_true(v->add_bos && v->ignore_merges); /* what that kind wants */
	vocab_free(v);

	put_good(&g);
	assert_int_equal(tiny_gguf_load(&g, &v, "qwen2", &e), RC_OK);
	assert_string_equal(v->pre, "qwen2");
	vocab_free(v);
}

/* What is done to a good file, and what is said to it. */
static void odd_model(struct tiny_gguf *g)
{
	found(g, "tokenizer.ggml.model")->s = (struct meta_string){"bert", 4};
}

static void no_pre(struct tiny_gguf *g)
{
	drop(g, "tokenizer.ggml.pre");
}

static void odd_pre(struct tiny_gguf *g)
{
	found(g, "tokenizer.ggml.pre")->s = (struct meta_string){"default", 7};
}

static void no_tokens(struct tiny_gguf *g)
{
	drop(g, "tokenizer.ggml.tokens");
}

static void fewer_tokens(struct tiny_gguf *g)
{
	found(g, "tokenizer.ggml.tokens")->a.n = 4;
}

static void tokens_are_text(struct tiny_gguf *g)
{
	drop(g, "tokenizer.ggml.tokens");
	tiny_string(g, "tokenizer.ggml.tokens", "a b");
}

static void odd_kind(struct tiny_gguf *g)
{
	found(g, "tokenizer.ggml.token_type")->a.at = odd_kinds;
}

static void odd_byte(struct tiny_gguf *g)
{
	static const int32_t byte[] = {6, 1, 1, 4, 3};

	found(g, "tokenizer.ggml.token_type")->a.at = byte;
}

static void odd_score(struct tiny_gguf *g)
{
	tiny_floats(g, "tokenizer.ggml.scores", odd_scores, 5);
}

static void no_merges(struct tiny_gguf *g)
{
	drop(g, "tokenizer.ggml.merges");
}

static void odd_merge(struct tiny_gguf *g)
{
	drop(g, "tokenizer.ggml.merges");
	tiny_strings(g, "tokenizer.ggml.merges", no_piece, 2);
}

static void merge_of_one(struct tiny_gguf *g)
{
	drop(g, "tokenizer.ggml.merges");
	tiny_strings(g, "tokenizer.ggml.merges", no_blank, 1);
}

static void odd_id(struct tiny_gguf *g)
{
	found(g, "tokenizer.ggml.eos_token_id")->u = 5;
}

static void no_bos(struct tiny_gguf *g)
{
	drop(g, "tokenizer.ggml.bos_token_id");
}

static void spm_without_scores(struct tiny_gguf *g)
{
	found(g, "tokenizer.ggml.model")->s = (struct meta_string){"llama", 5};
}

static void test_gguf_refused(void **state)
{
	static const struct {
		void (*change)(struct tiny_gguf *g);
		const char *pre, *says;
	} row[] = {
		{odd_model, NULL, "tokenizer.ggml.model: got \"bert\""},
		{no_pre, NULL, "tokenizer.ggml.pre: the key is missing"},
		{odd_pre, NULL, "no pre-tokeniser \"default\"; there are gpt-2,"},
		{odd_pre, "nope", "no pre-tokeniser \"nope\""},
		{no_tokens, NULL, "tokenizer.ggml.tokens: want 1 to"},
		{tokens_are_text, NULL, "tokenizer.ggml.tokens: want an array of strings"},
		{fewer_tokens, NULL, "tokenizer.ggml.token_type: 5 items, but there are 4"},
		{odd_kind, NULL, "tokenizer.ggml.token_type[2]: got 7"},
		{odd_byte, NULL, "tokenizer.ggml.tokens[0]: got \"a\", want a byte"},
		{odd_score, NULL, "tokenizer.ggml.scores[4]"},
		{no_merges, NULL, "tokenizer.ggml.merges: the key is missing"},
		{odd_merge, NULL, "tokenizer.ggml.merges[1]: \"ba\" is no piece"},
		{merge_of_one, NULL, "tokenizer.ggml.merges[0]: got \"ab\""},
		{odd_id, NULL, "tokenizer.ggml.eos_token_id: got 5, but there are 5 pieces"},
		{no_bos, NULL, "wants a first token and names none"},
		{spm_without_scores, NULL, "tokenizer.ggml.scores: the key is missing"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(row); i++) {
		struct tiny_gguf g = {0};
		struct vocab *v;
		struct err e;

		put_good(&g);
		row[i].change(&g);
		assert_int_equal(tiny_gguf_load(&g, &v, row[i].pre, &e), RC_INPUT);
		assert_null(v);
		if (!strstr(e.msg, row[i].says))
			fail_msg("row %zu says \"%s\", want \"%s\"", i, e.msg, row[i].says);
	}
}

/* ---- tokenizer.json ---- */

#define MODEL(more, vocab, merges)                                                                 \
	"\"model\":{\"type\":\"BPE\"," more "\"vocab\":{" vocab "},\"merges\":[" merges "]}"
#define AB    "\"a\":0,\"b\":1,\"ab\":2,\"</s>\":3"
#define LEVEL "\"pre_tokenizer\":" TINY_LEVEL ","
#define SPM_NORMALIZER                                                                             \
	"\"normalizer\":{\"type\":\"Sequence\",\"normalizers\":[{\"type\":\"Prepend\",\"prepend\"" \
	":\"" SPM_BLANK                                                                            \
	"\"},{\"type\":\"Replace\",\"pattern\":{\"String\":\" \"},\"content\":\"" SPM_BLANK        \
	"\"}]},"

static void test_json(void **state)
{
	struct vocab *v;
	struct err e;

	(void)state;
	/* merges in both spellings; a first token by the template behind the pieces */
	if (tiny_load(&v,
		      "{" LEVEL "\"added_tokens\":[{\"id\":3,\"content\":\"</s>\",\"special\":"
		      "true},{\"id\":5,\"content\":\"<tool>\",\"special\":false}],"
		      "\"post_processor\":{\"type\":\"TemplateProcessing\",\"single\":[{"
		      "\"SpecialToken\":{\"id\":\"</s>\",\"type_id\":0}},{\"Sequence\":{\"id\":"
		      "\"A\"}}]}," MODEL("", AB, "\"a b\"") "}",
		      "{\"eos_token\":{\"content\":\"</s>\"},\"chat_template\":[{\"name\":"
		      "\"tool\",\"template\":\"T\"},{\"name\":\"default\",\"template\":\"D\"}]}",
		      NULL, &e) != RC_OK)
		fail_msg("%s", e.msg);
	assert_string_equal(v->pre, "gpt-2");
	assert_int_equal(v->n, 6);
	assert_int_equal(v->piece[4].kind, PIECE_UNUSED); /* a hole */
	assert_int_equal(v->piece[5].kind, PIECE_USER);
	assert_int_equal(v->bos, 3);
	assert_true(v->add_bos && ends(v, 3) && v->n_end == 1);
	assert_string_equal(v->chat_template, "D");
	vocab_free(v);

	assert_int_equal(
		tiny_load(&v,
			  "{" SPM_NORMALIZER MODEL("\"byte_fallback\":true,", AB ",\"<0x0A>\":4",
						   "[\"a\",\"b\"]") "}",
			  "{\"add_bos_token\":false,\"bos_token\":\"</s>\"}", NULL, &e),
		RC_OK);
	assert_int_equal(v->kind, VOCAB_SPM);
	assert_int_equal(v->piece[4].kind, PIECE_BYTE);
	assert_true(v->add_space_prefix && !v->prefix_once && !v->add_bos);
	vocab_free(v);

	/* a pipeline that is not known, but named */
	assert_int_equal(tiny_load(&v,
				   "{\"pre_tokenizer\":" TINY_SPLIT("x") "," MODEL("", AB, "") "}",
				   NULL, "llama-bpe", &e),
			 RC_OK);
	assert_string_equal(v->pre, "llama-bpe");
	vocab_free(v);
}

static void test_end_ids(void **state)
{
	struct model_file f = {.format = MODEL_SAFETENSORS};
	static const char json[] = "{" LEVEL MODEL("", AB ",\"<|eot_id|>\":4", "") "}";
	static const char config[] = "{\"bos_token_id\":0,\"eos_token_id\":[3,2],"
				     "\"generation_config\":{\"eos_token_id\":1}}";
	struct vocab *v;
	struct err e;

	(void)state;
	assert_int_equal(json_parse(&f.tokenizer, json, strlen(json), &e), RC_OK);
	assert_int_equal(json_parse(&f.config, config, strlen(config), &e), RC_OK);
	assert_int_equal(vocab_load(&v, &f, NULL, &e), RC_OK);
	assert_int_equal(v->bos, 0);
	assert_int_equal(v->eos, 3);
	assert_true(ends(v, 3) && ends(v, 2) && ends(v, 1));
	assert_false(ends(v, 4)); /* a known name, but here it is an ordinary piece */
	vocab_free(v);
	cJSON_Delete(f.config);
	assert_int_equal(json_parse(&f.config, "{\"eos_token_id\":9}", 18, &e), RC_OK);
	assert_int_equal(vocab_load(&v, &f, NULL, &e), RC_INPUT);
	assert_string_equal(e.msg, "config.json: eos_token_id: want ids below 5");
	cJSON_Delete(f.config);
	cJSON_Delete(f.tokenizer);
}

static void test_json_refused(void **state)
{
	static const struct {
		const char *json, *pre, *says;
	} row[] = {
		{"[]", NULL, "there is no tokenizer.json"},
		{"{}", NULL, "model.type: got nothing"},
		{"{\"model\":{\"type\":\"Unigram\"}}", NULL, "model.type: got Unigram"},
		{"{" LEVEL MODEL("\"dropout\":0.1,", AB, "") "}", NULL, "model.dropout: cannot"},
		{"{" LEVEL MODEL("\"end_of_word_suffix\":\"</w>\",", AB, "") "}", NULL,
		 "model.end_of_word_suffix: cannot"},
		{"{\"pre_tokenizer\":" TINY_SPLIT("x+") "," MODEL("", AB, "") "}", NULL,
		 "tokenizer.json: pre_tokenizer: there is no such one here: "
		 "{\"type\":\"Sequence\""},
		{"{\"pre_tokenizer\":{\"type\":\"ByteLevel\",\"add_prefix_space\":true}," MODEL(
			 "", AB, "") "}",
		 NULL, "pre_tokenizer: there is no such one"},
		{"{\"normalizer\":{\"type\":\"Lowercase\"}," LEVEL MODEL("", AB, "") "}", NULL,
		 "normalizer: there is no such one here: {\"type\":\"Lowercase\"}"},
		{"{\"normalizer\":{\"type\":\"Lowercase\"}," MODEL("", AB, "") "}", NULL,
		 "normalizer: there is no such one"},
		{"{" MODEL("", AB, "") "}", NULL, "pre_tokenizer: there is no such one"},
		{"{" SPM_NORMALIZER MODEL("", AB, "") "}", "gpt-2",
		 "a SentencePiece vocabulary has no pre-tokeniser to name"},
		{"{" LEVEL MODEL("", "", "") "}", NULL, "model.vocab: has no pieces"},
		{"{" LEVEL MODEL("", "\"a\":-1", "") "}", NULL, "model.vocab[\"a\"]: want an id"},
		{"{" LEVEL MODEL("", "\"a\":1.5", "") "}", NULL, "model.vocab[\"a\"]: want an id"},
		{"{" LEVEL MODEL("", "\"a\":4000000", "") "}", NULL, "hardly an id below the last"},
		{"{" LEVEL MODEL("", AB, "\"a a\"") "}", NULL,
		 "model.merges[0]: \"aa\" is no piece"},
		{"{" LEVEL MODEL("", AB, "\"a x\"") "}", NULL,
		 "model.merges[0]: \"x\" is no piece"},
		{"{" LEVEL MODEL("", AB, "\"a b\",\"ab\"") "}", NULL,
		 "model.merges[1]: got \"ab\""},
		{"{" LEVEL MODEL("", AB, "[\"a\"]") "}", NULL, "model.merges[0]: want two pieces"},
		{"{" LEVEL MODEL("", AB, "7") "}", NULL, "model.merges[0]: want two pieces"},
		{"{" LEVEL MODEL("\"unk_token\":\"?\",", AB, "") "}", NULL,
		 "model.unk_token: \"?\" is no piece"},
		{"{" LEVEL "\"added_tokens\":[{\"id\":9}]," MODEL("", AB, "") "}", NULL,
		 "added_tokens[0]: want an id"},
		{"{" LEVEL
		 "\"added_tokens\":[{\"id\":9,\"content\":\"x\",\"single_word\":true}]," MODEL(
			 "", AB, "") "}",
		 NULL, "added_tokens[0]: single_word"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(row); i++) {
		struct vocab *v;
		struct err e;

		if (tiny_load(&v, row[i].json, NULL, row[i].pre, &e) != RC_INPUT)
			fail_msg("row %zu is taken", i);
		assert_null(v);
		if (!strstr(e.msg, row[i].says))
			fail_msg("row %zu says \"%s\", want \"%s\"", i, e.msg, row[i].says);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_gguf),	     cmocka_unit_test(test_gguf_refused),
		cmocka_unit_test(test_json),	     cmocka_unit_test(test_end_ids),
		cmocka_unit_test(test_json_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
