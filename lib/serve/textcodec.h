/*
 * Text <-> token ids, a contract. Deterministic and stateless per call but for what the codec
 * caches.
 */
#ifndef SERVE_TEXTCODEC_H
#define SERVE_TEXTCODEC_H

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"

struct token_list {
	int32_t *id;
	int32_t n, cap;
};

void token_list_reserve(struct token_list *l, int32_t n); /* room for n more */
void token_list_push(struct token_list *l, int32_t id);
void token_list_append(struct token_list *l, const int32_t *id, int32_t n); /* id lies not in l */
void token_list_release(struct token_list *l);

struct chat_message {
	const char *role; /* "system", "user", "assistant", or what the client calls it */
	const char *text;
	size_t len;
};

struct textcodec {
	const char *name;
	int32_t vocab_size;
	int32_t eos_token;	/* -1 = none */
	const int32_t *end_ids; /* all that end an answer, eos_token among them; or NULL */
	int32_t n_end_ids;

	/* Appends the ids of text (any bytes) to out. */
	void (*encode)(const struct textcodec *c, const char *text, size_t len,
		       struct token_list *out);

	/* Appends the bytes of one output token, as they follow the tokens before it (a leading
	 * blank included). `index` is the token's place in the output, from 0. False at the cap of
	 * b. */
	bool (*decode)(const struct textcodec *c, int32_t token, int32_t index, struct buf *b);

	/* Appends a conversation, to where the assistant's turn begins. NULL: the ChatML form of it
	 * goes through encode(). */
	void (*chat)(const struct textcodec *c, const struct chat_message *m, int32_t n,
		     struct token_list *out);
};

#endif
