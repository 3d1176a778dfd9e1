/*
 * What a profile will do under a closed loop of equal requests, by closed form: an estimate to read
 * beside a measurement, not a simulation. Pure.
 *
 * N output tokens take N steps: the first computes the prompt of P tokens and gives token 1. Of C
 * users B run at once; B is found by asking the policy itself. By the profile's formula
 *
 *     Td = a step that decodes B sequences of the mean context P + N/2
 *     Tm = a step that computes one prompt and decodes B - 1
 *
 * and of a request's N - 1 decode steps B - 1 carry somebody else's prompt:
 *
 *     TPOT = ((B - 1) Tm + (N - B) Td) / (N - 1)
 *     TTFT = ingest + wait + Tm + egress
 *     E2EL = TTFT + (N - 1) TPOT
 *
 * wait: who asks again when a step has ended finds the next one running; in company it is
 * TPOT - ((ingest + egress) mod TPOT). If users queue (B < C), Little's law gives
 * E2EL = C (Tm + (N - 1) TPOT) / B, and TTFT is what is left of it. Where requests share no batch
 * (static), each is as if alone.
 *
 * Users are taken to be spread out. Those who start together and get equally long answers stay
 * together: their prompts share a step, and TTFT grows to the time of that step.
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
