/*
 * Owns answers that are known beforehand. Loop thread; pure. Must not know whose words they are,
 * nor how a text becomes tokens.
 */
#include "script.h"

#include <stdlib.h>

#include "base/check.h"
#include "base/die.h"

struct script *script_new(const char *text, size_t len, struct token_list *tokens,
			  struct token_list *ends)
{
	struct script *s = xcalloc(1, sizeof(*s));

	CHECK(tokens->n > 0 && tokens->n == ends->n && (size_t)ends->id[ends->n - 1] <= len);
	s->holders = 1;
	s->text = xstrndup(text, len);
	s->tokens = *tokens;
	s->ends = *ends;
	*tokens = *ends = (struct token_list){0};
	return s;
}

struct script *script_hold(struct script *s)
{
	s->holders++;
	return s;
}

void script_drop(struct script *s)
{
	if (!s || --s->holders > 0)
		return;
	token_list_release(&s->tokens);
	token_list_release(&s->ends);
	free(s->text);
	free(s);
}

bool script_put(const struct script *s, int32_t index, struct buf *b)
{
	int32_t at = index % s->tokens.n, from = at ? s->ends.id[at - 1] : 0;

	if (index > 0 && at == 0 && !buf_putc(b, ' '))
		return false;
	return buf_append(b, s->text + from, (size_t)(s->ends.id[at] - from));
}
