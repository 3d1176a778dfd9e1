/*
 * Owns the order of a report and its blocks. Pure. Must not know how a block is printed.
 */
#include "report_body.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/die.h"
#include "report_shown.h"

static struct block *add_block(struct body *b, enum block_kind kind)
{
	b->blocks = xreallocarray(b->blocks, b->n + 1, sizeof(*b->blocks));
	b->blocks[b->n] = (struct block){.kind = kind};
	return &b->blocks[b->n++];
}

void body_say(struct body *b, enum block_kind kind, const char *fmt, ...)
{
	char text[2048];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	add_block(b, kind)->text = xstrdup(text);
}

/* Valid until the next block. */
struct table *body_table(struct body *b)
{
	struct block *block = add_block(b, BLOCK_TABLE);

	table_init(&block->table);
	return &block->table;
}

void body_drop_bare_heading(struct body *b)
{
	if (b->n && b->blocks[b->n - 1].kind == BLOCK_HEADING)
		free(b->blocks[--b->n].text);
}

void body_init(struct body *b, const struct report_input *in)
{
	const struct scenario *s = in->scenario;
	const char *started = in->started_utc && *in->started_utc ? in->started_utc : NULL;
	const char *ended = in->ended ? in->ended : "killed";
	struct shown shown;

	*b = (struct body){0};
	body_say(b, BLOCK_HEADING, "%s%s%s", s->name, s->description && *s->description ? ": " : "",
		 s->description ? s->description : "");
	if (s->clock == RUN_CLOCK_VIRTUAL)
		body_say(b, BLOCK_LINE, "simulated in virtual time, seed %llu, %s",
			 (unsigned long long)s->seed, ended);
	else
		body_say(b, BLOCK_LINE, "seed %llu, started %s, %s", (unsigned long long)s->seed,
			 started ? started : "at an unknown time", ended);
	shown_init(&shown, in);
	body_best(b, in);
	body_tables(b, &shown.in);
	body_judgement(b, in, &shown.in);
	body_words(b, in, &shown.in);
	shown_release(&shown);
}

void body_release(struct body *b)
{
	for (size_t i = 0; i < b->n; i++) {
		free(b->blocks[i].text);
		if (b->blocks[i].kind == BLOCK_TABLE)
			table_release(&b->blocks[i].table);
	}
	free(b->blocks);
	*b = (struct body){0};
}
