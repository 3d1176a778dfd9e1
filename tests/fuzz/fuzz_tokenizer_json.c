/*
 * Any bytes as a tokenizer.json, its tokenizer_config among its members: what is taken tokenizes a
 * text, and its ids stay within the vocabulary.
 */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/check.h"
#include "base/jsonx.h"
#include "text/tokenizer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_tokenizer(const struct vocab *v)
{
	static const char text[] = "ab <s> it's 12\xe4\xb8\xad\n";
	static const struct chat_message m = {"user", text, sizeof(text) - 1};
	const struct textcodec *c;
	struct token_list l = {0};
	struct tokenizer *t;
	char warning[256];
	struct err e;
	struct buf b;

	CHECK(tokenizer_new(&t, v, NULL, warning, &e) == RC_OK);
	c = tokenizer_codec(t);
	buf_init(&b, 1 << 20);
	c->encode(c, text, sizeof(text) - 1, &l);
	c->chat(c, &m, 1, &l);
	for (int32_t i = 0; i < l.n; i++) {
		CHECK(l.id[i] >= 0 && l.id[i] < v->n);
		c->decode(c, l.id[i], i, &b);
	}
	buf_release(&b);
	token_list_release(&l);
	tokenizer_free(t);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct model_file f = {.format = MODEL_SAFETENSORS};
	struct vocab *v;
	struct err e;

	if (json_parse(&f.tokenizer, (const char *)data, size, &e) != RC_OK)
		return 0;
	f.config = f.tokenizer; /* its keys are other ones */
	if (vocab_load(&v, &f, NULL, &e) == RC_OK) {
		check_tokenizer(v);
		vocab_free(v);
	} else {
		CHECK(!v && *e.msg);
	}
	cJSON_Delete(f.tokenizer);
	return 0;
}
