/*
 * A model in memory as a session of gpu_engine, without text: what the phases put questions to.
 */
#ifndef CARD_SESSIONS_H
#define CARD_SESSIONS_H

#include "gpu_engine/session.h"

struct bare_model {
	const char *name;
	const struct model *model;
	const struct model_file *file;
	double same_nats; /* how near the logprobs of two devices must be */
};

struct bare_sizes {
	int32_t max_len, max_seqs, max_tokens;
};

/* The model stays the caller's and outlives it. bare_session_close() also after a failure. */
enum rc bare_session_open(struct session *s, const struct bare_model *m, const char *device,
			  const struct bare_sizes *sizes, bool prefix_caching, struct err *e);
void bare_session_close(struct session *s);

#endif
