/*
 * What a profile will do under a closed loop of equal requests, by closed form: an estimate to read
 * beside a measurement, not a simulation. Pure.
 *
 * N output tokens take N steps: the first computes the prompt (P tokens) and gives token 1. Of C
 * users B run at once; B is found by asking the policy itself. Alone and in company a step costs,
 * by the profile's formula, Td = decode of B sequences with the mean context P + N/2        Tm =
 * one prompt, and decode of B - 1 and of the N - 1 decode steps of a request B - 1 carry somebody
 * else's prompt: TPOT = ((B - 1) Tm + (N - B) Td) / (N - 1) TTFT = ingest + wait + Tm + egress E2EL
 * = TTFT + (N - 1) TPOT                                      tokens/s = C N / E2EL wait: a user who
 * asks again when a step has ended finds the next one running: TPOT - ((ingest + egress) mod TPOT);
 * none when alone. If users queue (B < C), Little's law gives E2EL = C (Tm + (N - 1) TPOT) / B, and
 * TTFT what is left. A policy whose requests share no batch (static) serves each as if it were
 * alone.
 */
#ifndef FAKEENGINE_PREDICT_H
#define FAKEENGINE_PREDICT_H

#include <stdint.h>

#include "profile.h"

struct prediction {
	int32_t running; /* B */
	double ttft_ns, tpot_ns, e2el_ns;
	double tokens_per_s;
};

/* users, prompt, output >= 1. RC_INPUT: the policy says that such a request can never run. */
enum rc predict(const struct profile *p, int32_t users, int32_t prompt, int32_t output,
		struct prediction *out, struct err *e);

#endif
