/*
 * Owns the table of conversation shapes and the marks they are recognised by. Pure. Must not know
 * how text becomes ids.
 *
 * A turn is written in a small notation: %r the role, %c what is said, %e and %b the vocabulary's
 * end and begin pieces. Everything in it but %r and %c is the template's own and trusted.
 */
#include "chat.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/die.h"
#include "utf8_lossy.h"

struct chat_shape {
	const char *name;
	const char *system;  /* NULL: stands before what the first user says, as ... */
	const char *in_user; /* ... this */
	const char *user;    /* a role that the shape does not know is a user */
	const char *assistant;
	const char *answer;   /* where the assistant's turn begins */
	bool any_role;	      /* the turns are the same but for %r */
	bool trims;	      /* white space around what is said */
	bool begins_turns;    /* %b is in the turns, so none stands in front */
	const char *marks[3]; /* pieces that the vocabulary has to have */
};

static const struct chat_shape shapes[] = {
	{.name = "chatml",
	 .user = "<|im_start|>%r\n%c<|im_end|>\n",
	 .answer = "<|im_start|>assistant\n",
	 .any_role = true,
	 .marks = {"<|im_start|>", "<|im_end|>"}},
	{.name = "llama2",
	 .in_user = "<<SYS>>\n%c\n<</SYS>>\n\n",
	 .user = "%b[INST] %c [/INST]",
	 .assistant = " %c %e",
	 .answer = "",
	 .trims = true,
	 .begins_turns = true},
	{.name = "mistral-v1",
	 .in_user = "%c\n\n",
	 .user = "[INST] %c [/INST]",
	 .assistant = " %c%e",
	 .answer = ""},
	{.name = "mistral-v3",
	 .in_user = "%c\n\n",
	 .user = "[INST] %c[/INST]",
	 .assistant = " %c%e",
	 .answer = "",
	 .marks = {"[INST]", "[/INST]"}},
	{.name = "mistral-v3-tekken",
	 .in_user = "%c\n\n",
	 .user = "[INST]%c[/INST]",
	 .assistant = "%c%e",
	 .answer = "",
	 .marks = {"[INST]", "[/INST]"}},
	{.name = "mistral-v7",
	 .system = "[SYSTEM_PROMPT] %c[/SYSTEM_PROMPT]",
	 .user = "[INST] %c[/INST]",
	 .assistant = " %c%e",
	 .answer = "",
	 .marks = {"[INST]", "[/INST]", "[SYSTEM_PROMPT]"}},
	{.name = "mistral-v7-tekken",
	 .system = "[SYSTEM_PROMPT]%c[/SYSTEM_PROMPT]",
	 .user = "[INST]%c[/INST]",
	 .assistant = "%c%e",
	 .answer = "",
	 .marks = {"[INST]", "[/INST]", "[SYSTEM_PROMPT]"}},
	{.name = "llama3",
	 .user = "<|start_header_id|>%r<|end_header_id|>\n\n%c<|eot_id|>",
	 .answer = "<|start_header_id|>assistant<|end_header_id|>\n\n",
	 .any_role = true,
	 .trims = true,
	 .marks = {"<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"}},
	{.name = "gemma",
	 .in_user = "%c\n\n",
	 .user = "<start_of_turn>user\n%c<end_of_turn>\n",
	 .assistant = "<start_of_turn>model\n%c<end_of_turn>\n",
	 .answer = "<start_of_turn>model\n",
	 .trims = true,
	 .marks = {"<start_of_turn>", "<end_of_turn>"}},
	{.name = "zephyr",
	 .system = "<|system|>\n%c%e\n",
	 .user = "<|user|>\n%c%e\n",
	 .assistant = "<|assistant|>\n%c%e\n",
	 .answer = "<|assistant|>\n"},
	{.name = "phi3",
	 .system = "<|system|>\n%c<|end|>\n",
	 .user = "<|user|>\n%c<|end|>\n",
	 .assistant = "<|assistant|>\n%c<|end|>\n",
	 .answer = "<|assistant|>\n",
	 .marks = {"<|user|>", "<|assistant|>", "<|end|>"}},
	{.name = "vicuna",
	 .system = "%c ",
	 .user = "USER: %c ",
	 .assistant = "ASSISTANT: %c%e",
	 .answer = "ASSISTANT:"},
	{.name = "oasst",
	 .system = "<|system|>%c%e",
	 .user = "<|prompter|>%c%e",
	 .assistant = "<|assistant|>%c%e",
	 .answer = "<|assistant|>",
	 .marks = {"<|prompter|>", "<|assistant|>"}},
};

/* What a template's text has, and has not, if it is of a shape. The first row that fits counts. */
static const struct sign {
	const char *shape;
	const char *has[3];
	const char *has_not;
} signs[] = {
	{"chatml", {"<|im_start|>"}, "<|im_sep|>"},
	{"mistral-v7", {"[INST]", "[SYSTEM_PROMPT] "}, NULL},
	{"mistral-v7-tekken", {"[INST]", "[SYSTEM_PROMPT]"}, NULL},
	{"mistral-v1", {"[AVAILABLE_TOOLS]", " [INST]"}, NULL},
	{"mistral-v3-tekken", {"[AVAILABLE_TOOLS]", "\"[INST]\""}, NULL},
	{"mistral-v3", {"[AVAILABLE_TOOLS]", "[INST]"}, NULL},
	{"llama2", {"[INST]", "<<SYS>>"}, NULL},
	{"mistral-v1", {"[INST]"}, NULL},
	{"llama3", {"<|start_header_id|>"}, NULL},
	{"gemma", {"<start_of_turn>"}, NULL},
	{"phi3", {"<|user|>", "<|assistant|>", "<|end|>"}, NULL},
	{"oasst", {"<|prompter|>"}, NULL},
	{"zephyr", {"<|user|>", "<|endoftext|>"}, "[gMASK]"},
	{"zephyr", {"<|user|>", "eos_token"}, "[gMASK]"},
	{"vicuna", {"USER: ", "ASSISTANT:"}, NULL},
};

enum rc chat_shape_find(const struct chat_shape **out, const char *name, struct err *e)
{
	struct buf list;

	for (size_t i = 0; i < ARRAY_LEN(shapes); i++) {
		if (strcmp(shapes[i].name, name) == 0) {
			*out = &shapes[i];
			return RC_OK;
		}
	}
	buf_init(&list, 4096);
	for (size_t i = 0; i < ARRAY_LEN(shapes); i++)
		buf_printf(&list, "%s%s", i ? ", " : "", shapes[i].name);
	err_set(e, RC_INPUT, "no chat template \"%s\", nor such a file; there are %s", name,
		buf_cstr(&list));
	buf_release(&list);
	return RC_INPUT;
}

static bool fits(const struct sign *s, const char *text)
{
	for (size_t i = 0; i < ARRAY_LEN(s->has) && s->has[i]; i++)
		if (!strstr(text, s->has[i]))
			return false;
	return !s->has_not || !strstr(text, s->has_not);
}

const struct chat_shape *chat_shape_sniff(const char *text)
{
	const struct chat_shape *s = NULL;

	for (size_t i = 0; i < ARRAY_LEN(signs); i++) {
		if (fits(&signs[i], text)) {
			CHECK(chat_shape_find(&s, signs[i].shape, NULL) == RC_OK);
			break;
		}
	}
	return s;
}

const char *chat_shape_name(const struct chat_shape *s)
{
	return s->name;
}

const struct chat_shape *chat_shape_chatml(void)
{
	return &shapes[0];
}

const char *chat_shape_missing_mark(const struct chat_shape *s, const struct vocab *v)
{
	for (size_t i = 0; i < ARRAY_LEN(s->marks) && s->marks[i]; i++) {
		int32_t id = vocab_find(v, s->marks[i], strlen(s->marks[i]));

		if (id < 0 || v->piece[id].kind == PIECE_NORMAL)
			return s->marks[i];
	}
	return NULL;
}

/* A literal of the template language, from s to end, as what it stands for. */
static char *unescape(const char *s, const char *end)
{
	char *out = xmalloc((size_t)(end - s) + 1), *to = out;

	for (; s < end; s++) {
		if (*s == '\\' && s + 1 < end) {
			s++;
			*to++ = *s;
			if (*s == 'n')
				to[-1] = '\n';
			else if (*s == 't')
				to[-1] = '\t';
		} else {
			*to++ = *s;
		}
	}
	*to = '\0';
	return out;
}

/* '<|im_start|>system\nYou are ...<|im_end|>\n': a literal that is not put together of parts. */
char *chat_default_system(const struct chat_shape *s, const char *text)
{
	static const char opening[] = "<|im_start|>system", closing[] = "<|im_end|>";

	if (s != chat_shape_chatml())
		return NULL;
	for (const char *at = text; (at = strstr(at, opening)); at++) {
		char quote = at > text ? at[-1] : '\0';
		const char *from = at + strlen(opening), *to;

		if (*from == '\n')
			from++;
		else if (strncmp(from, "\\n", 2) == 0)
			from += 2;
		else
			continue;
		if (quote != '\'' && quote != '"')
			continue;
		for (to = from; *to && *to != quote && strncmp(to, closing, strlen(closing)) != 0;)
			to += *to == '\\' && to[1] ? 2 : 1;
		if (*to == '<' && to > from)
			return unescape(from, to);
	}
	return NULL;
}

/* ---- writing ---- */

static bool is_white(char c)
{
	return c == ' ' || (c >= '\t' && c <= '\r');
}

static void trusted(struct chat_text *out, const char *s, size_t n)
{
	const size_t from = buf_size(&out->text);

	if (n == 0)
		return;
	CHECK(buf_append(&out->text, s, n));
	if (out->n_spans > 0 && out->span[out->n_spans - 1].to == from) {
		out->span[out->n_spans - 1].to += n;
		return;
	}
	out->span = xreallocarray(out->span, (size_t)out->n_spans + 1, sizeof(*out->span));
	out->span[out->n_spans++] = (struct text_span){from, from + n};
}

static void put_piece(struct chat_text *out, const struct vocab *v, int32_t id)
{
	if (id >= 0)
		trusted(out, v->piece[id].text, (size_t)v->piece[id].len);
}

/* System messages that wait for the user's turn they are a part of. */
struct waiting {
	const struct chat_message *m;
	int32_t n;
};

static void put_turn(struct chat_text *out, const struct chat_shape *s, const struct vocab *v,
		     const char *form, const struct chat_message *m, struct waiting *w)
{
	const char *said = m->text;
	size_t len = m->len;

	for (; s->trims && len > 0 && is_white(*said); len--)
		said++;
	while (s->trims && len > 0 && is_white(said[len - 1]))
		len--;
	for (const char *p = form, *mark; *p; p = mark + 2) {
		mark = strchrnul(p, '%');
		trusted(out, p, (size_t)(mark - p));
		if (!*mark)
			break;
		switch (mark[1]) {
		case 'b':
			put_piece(out, v, v->bos);
			break;
		case 'e':
			put_piece(out, v, v->eos);
			break;
		case 'r':
			utf8_lossy(&out->text, m->role, strlen(m->role));
			break;
		default:
			CHECK(mark[1] == 'c');
			for (; w && w->n > 0; w->m++, w->n--)
				put_turn(out, s, v, s->in_user, w->m, NULL);
			utf8_lossy(&out->text, said, len);
		}
	}
}

/* System messages that no user's turn follows are one of their own. */
static void put_waiting(struct chat_text *out, const struct chat_shape *s, const struct vocab *v,
			struct waiting *w)
{
	const struct chat_message nothing = {.role = "user", .text = "", .len = 0};

	if (w->n > 0)
		put_turn(out, s, v, s->user, &nothing, w);
}

static bool is_system(const char *role)
{
	return strcmp(role, "system") == 0 || strcmp(role, "developer") == 0;
}

static void put_message(struct chat_text *out, const struct chat_shape *s, const struct vocab *v,
			const struct chat_message *m, struct waiting *w)
{
	if (s->any_role) {
		put_turn(out, s, v, s->user, m, NULL);
	} else if (is_system(m->role) && s->system) {
		put_turn(out, s, v, s->system, m, NULL);
	} else if (is_system(m->role)) {
		w->m = w->n ? w->m : m;
		w->n++;
	} else if (strcmp(m->role, "assistant") == 0) {
		put_waiting(out, s, v, w);
		put_turn(out, s, v, s->assistant, m, NULL);
	} else {
		put_turn(out, s, v, s->user, m, w);
	}
}

void chat_write(const struct chat_shape *s, const struct vocab *v, const char *default_system,
		bool bos, const struct chat_message *m, int32_t n, struct chat_text *out)
{
	const struct chat_message first = {"system", default_system ? default_system : "",
					   default_system ? strlen(default_system) : 0};
	struct waiting w = {NULL, 0};

	memset(out, 0, sizeof(*out));
	buf_init(&out->text, SIZE_MAX);
	if (bos && !s->begins_turns)
		put_piece(out, v, v->bos);
	if (default_system && (n == 0 || !is_system(m[0].role)))
		put_message(out, s, v, &first, &w);
	for (int32_t i = 0; i < n; i++)
		put_message(out, s, v, &m[i], &w);
	put_waiting(out, s, v, &w);
	trusted(out, s->answer, strlen(s->answer));
}

void chat_text_release(struct chat_text *t)
{
	buf_release(&t->text);
	free(t->span);
	memset(t, 0, sizeof(*t));
}

void chat_encode(const struct chat_shape *s, const struct tokenizer *t, const char *default_system,
		 bool bos, const struct chat_message *m, int32_t n, struct token_list *out)
{
	struct chat_text written;

	chat_write(s, tokenizer_vocab(t), default_system, bos, m, n, &written);
	tokenizer_encode_spans(t, buf_head(&written.text), buf_size(&written.text), written.span,
			       written.n_spans, true, out);
	chat_text_release(&written);
}
