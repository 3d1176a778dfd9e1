/*
 * Owns the making of sessions that have no text. Must not know what they are asked.
 */
#include "sessions.h"

#include <string.h>

#define PAGE_TOKENS 16

enum rc bare_session_open(struct session *s, const struct bare_model *m, const char *device,
			  const struct bare_sizes *sizes, bool prefix_caching, struct err *e)
{
	int32_t max_len = m->model->config.max_len;

	memset(s, 0, sizeof(*s));
	s->loop = evloop_new();
	s->model = (struct model *)(uintptr_t)m->model; /* only read, and taken out again */
	s->wish = (struct device_wish){
		.loop = s->loop,
		.model = m->model,
		.file = m->file,
		.max_len = sizes->max_len < max_len ? sizes->max_len : max_len,
		.max_seqs = sizes->max_seqs,
		.max_tokens = sizes->max_tokens,
		.block_size = PAGE_TOKENS,
		.seed = 1,
	};
	return session_plan(s, device, -1, prefix_caching, e);
}

void bare_session_close(struct session *s)
{
	s->model = NULL;
	session_close(s);
}
