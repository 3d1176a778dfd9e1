/*
 * What a profile will do under a closed loop of equal requests, by closed form: an estimate to read
 * beside a measurement, not a simulation. Pure.
 *
 * N output tokens take N steps: the first computes the prompt of P tokens and gives token 1. Of C
 * users B run at once. By the profile's formula, with the mean context P + N/2,
 *
 *     Td     = a step that decodes B sequences
 *     Tm     = a step that computes a prompt and decodes B - 1
 *     Tp(n)  = a step that computes n prompts
 *     E2EL   = TTFT + (N - 1) TPOT
 *
 * Where k tokens are drafted for each sequence in every step, Td and Tm verify k B of them, a step
 * yields Y = 1 + a1 + a1 a2 + ... tokens of a sequence, N - 1 of them take (N - 1)/Y steps (for N
 * in the forms below), and TPOT is the mean step over Y.
 *
 * The policy itself is asked for B, and for what becomes of a newcomer while others decode:
 *
 *     beside    his prompt shares a step with them (vLLM V1, TGI 3, llama.cpp, Orca, Sarathi, HF):
 *                   TPOT = ((B - 1) Tm + (N - B) Td) / (N - 1)
 *                   TTFT = ingest + wait + Tm + egress
 *     instead   it has a step of its own, and they stand still (vLLM V0, SGLang, TGI 1):
 *                   TPOT = Td + (B - 1)/n Tp(n) / (N - 1)
 *                   TTFT = ingest + wait + Tp(n) + egress
 *               n is 1, unless he has to wait w decode steps for his turn; a user comes every N/B
 *               steps, so n = ceil(w B/N) share it, who waited (n - 1)/2 N/B steps on average
 *     together  he waits for the end of the batch (generate()):
 *                   TPOT = Td
 *                   TTFT = ingest + what the policy lets pass to fill the batch + Tp(B) + egress
 *     alone     each request has steps of its own (static): as together with B = 1
 *
 * wait, in the first two: who asks again when a step has ended finds the next one running, in
 * company TPOT - ((ingest + egress) mod TPOT). If users queue (B < C), Little's law gives
 * E2EL = C (first step + (N - 1) TPOT) / B, and TTFT is what is left of it.
 *
 * Users are taken to be spread out, but for `together`, where they come at once. Others: those who
 * start together and get equally long answers stay together, their prompts share a step, and TTFT
 * grows to the time of that step; and spread out over static batches, two groups take turns, and
 * each waits for the other.
 */
#ifndef FAKEENGINE_PREDICT_H
#define FAKEENGINE_PREDICT_H

#include <stdint.h>

#include "profile.h"

enum company {
	ALONE,	  /* each request has steps of its own */
	BESIDE,	  /* a prompt is computed in the step in which the others decode */
	INSTEAD,  /* a prompt has a step of its own; the others stand still */
	TOGETHER, /* a newcomer waits until the batch has ended, be it a batch of one */
};

struct prediction {
	enum company company;
	int32_t running; /* B */
	double yield;	 /* Y; 1 without drafts */
	double ttft_ns, tpot_ns, e2el_ns;
	double tokens_per_s;
};

/* users, prompt, output >= 1. RC_INPUT: the policy says that such a request can never run. */
enum rc predict(const struct profile *p, int32_t users, int32_t prompt, int32_t output,
		struct prediction *out, struct err *e);

#endif
