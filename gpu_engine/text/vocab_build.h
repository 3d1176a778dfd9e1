/*
 * What the two readers of vocabularies (GGUF's keys, tokenizer.json) have in common: the order is
 * begin, put every piece, index, merges, finish. Only they include this.
 */
#ifndef TEXT_VOCAB_BUILD_H
#define TEXT_VOCAB_BUILD_H

#include "pretok.h"
#include "vocab.h"

#define VOCAB_MAX_PIECES (1 << 22)

/* n pieces without a text, of the kind PIECE_UNUSED; bytes: of all the texts that will be put. */
void vocab_begin(struct vocab *v, int32_t n, size_t bytes);
void vocab_put(struct vocab *v, int32_t id, const char *text, size_t len, enum piece_kind kind);
void vocab_index(struct vocab *v);

/* Sets merge i (v->merge has room). `where` is what it is called in the message. */
enum rc vocab_put_merge(struct vocab *v, int32_t i, struct meta_string left,
			struct meta_string right, const char *where, struct err *e);

/* "left right", parted by the first blank behind the first character. */
enum rc vocab_put_merge_text(struct vocab *v, int32_t i, struct meta_string both, const char *where,
			     struct err *e);

bool vocab_is_byte_piece(const char *text, size_t len); /* <0xXX> */

void vocab_add_end(struct vocab *v, int32_t id); /* once each; -1 is passed over */

/* Takes the kind's name and what it wants where the file does not say. */
void vocab_set_pre(struct vocab *v, const struct pretok_kind *k);

/* The ends by their well-known names; marks become control pieces. */
void vocab_finish(struct vocab *v);

enum rc vocab_from_json(struct vocab *v, const struct model_file *f, const char *pre,
			struct err *e);

#endif
