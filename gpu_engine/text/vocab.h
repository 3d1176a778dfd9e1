/*
 * A vocabulary as data: the pieces, their kinds and scores, the merges, and which ids mean what.
 * From a GGUF file's keys or from a tokenizer.json. Owns its strings. Pure.
 */
#ifndef TEXT_VOCAB_H
#define TEXT_VOCAB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "model/model_file.h"

enum vocab_kind {
	VOCAB_BYTE_BPE, /* GPT-2's: bytes as printable characters, merges by rank */
	VOCAB_SPM, /* SentencePiece's BPE: U+2581 for blanks, merges by score, <0xXX> for bytes */
};

enum piece_kind {
	PIECE_NORMAL = 1, /* GGUF's numbers */
	PIECE_UNKNOWN,
	PIECE_CONTROL, /* never comes from a user's text */
	PIECE_USER,    /* split out of any text, longest first */
	PIECE_UNUSED,
	PIECE_BYTE,
};

struct piece {
	const char *text; /* as the vocabulary spells it; owned by the vocab */
	int32_t len;
	float score;
	enum piece_kind kind;
	bool strips_left, strips_right; /* takes the white space before, behind it along */
};

struct merge {
	int32_t left, right, into; /* ids; rank = its place in the list */
};

struct vocab {
	enum vocab_kind kind;
	char pre[32]; /* the pre-tokeniser's name: "smollm", "llama-bpe" */
	struct piece *piece;
	int32_t n;
	struct merge *merge;
	int32_t n_merges;
	int32_t bos, eos, unknown, pad; /* -1 = none */
	int32_t *end; /* all that end an answer: eos, eot, eom and the well-known names */
	int32_t n_end;
	bool add_bos, add_eos, add_space_prefix, ignore_merges;
	bool prefix_once;	  /* the blank stands before the first text only, ... */
	bool prefix_unless_blank; /* ... and not before another one */
	bool nfc;		  /* text is composed (Unicode's NFC) before it is cut */
	char *chat_template;	  /* or NULL */
	char *memory;		  /* the strings; */
	size_t memory_used;	  /* ... so many bytes of them */
	int32_t *slot;		  /* of vocab_find()'s table: ids, or -1 */
	uint32_t n_slots;
};

/* Of two pieces of one text the later one is found. JSON's \u0000 reads as U+FFFD (jsonx.h).
 * pre: a name that overrides the file's, or NULL. RC_INPUT: a kind or pre-tokeniser we do not have
 * (with the list), ids out of range, a merge of pieces that do not exist, ... with the key. */
enum rc vocab_load(struct vocab **out, const struct model_file *f, const char *pre, struct err *e);
void vocab_free(struct vocab *v);

int32_t vocab_find(const struct vocab *v, const char *text, size_t len); /* or -1 */

/* It is no part of anybody's text: neither read from it nor shown in it. */
static inline bool piece_is_control(const struct piece *p)
{
	return p->kind == PIECE_CONTROL || p->kind == PIECE_UNKNOWN;
}

#endif
