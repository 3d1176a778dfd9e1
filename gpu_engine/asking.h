/*
 * Requests put to an engine in process, and waited for: what the commands do that do not serve.
 */
#ifndef GPU_ENGINE_ASKING_H
#define GPU_ENGINE_ASKING_H

#include <stdbool.h>
#include <stdint.h>

#include "session.h"

struct asking {
	struct session *s;
	struct engine *engine;
	int32_t n_open;
	uint64_t next_id;
	void (*on_token)(struct genreq *r, int32_t token, void *arg); /* or NULL */
	void *arg;
};

/* Starts the engine: here the weights are repacked. */
enum rc asking_open(struct asking *a, struct session *s, struct err *e);
void asking_close(struct asking *a);

/* Takes r, whose owner field becomes a; the caller frees it once asking_wait() is through with it.
 */
enum rc asking_submit(struct asking *a, struct genreq *r, struct err *e);

/* Until all that was submitted is done. */
void asking_wait(struct asking *a);

#endif
