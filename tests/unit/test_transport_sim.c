/*
 * A prompt that comes as words beside its body is to the engine what it is when it is spelled in
 * it: as many tokens, and the same ones, for each finds what the other has left in the prefix
 * cache.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/buf.h"
#include "base/die.h"
#include "base/evloop.h"
#include "loadgen/scenario.h"
#include "loadgen/transport.h"
#include "loadgen/workload.h"

#define N_WORDS 100

struct heard {
	struct evloop *loop;
	int status;
	int32_t prompt_tokens;
	struct buf page;
};

static void on_time(void *owner, int64_t t_ns)
{
	(void)owner;
	(void)t_ns;
}

static void on_head(void *owner, const struct xfer_head *h, int64_t t_ns)
{
	(void)t_ns;
	((struct heard *)owner)->status = h->status;
}

static void on_body(void *owner, const char *bytes, size_t n, int64_t t_ns)
{
	(void)t_ns;
	assert_true(buf_append(&((struct heard *)owner)->page, bytes, n));
}

static void on_end(void *owner, enum xfer_end how, const char *why, int64_t t_ns)
{
	(void)why;
	(void)t_ns;
	assert_int_equal(how, XFER_COMPLETE);
	evloop_stop(((struct heard *)owner)->loop);
}

static void on_tokens(void *owner, const int64_t *t_ns, int32_t n)
{
	(void)owner;
	(void)t_ns;
	(void)n;
}

static void on_answered(void *owner, const struct xfer_answer *a, int64_t t_ns)
{
	(void)t_ns;
	((struct heard *)owner)->prompt_tokens = a->prompt_tokens;
}

static const struct xfer_handler handler = {on_time, on_time,	on_head,    on_body,
					    on_end,  on_tokens, on_answered};

static void ask(struct transport *t, struct heard *h, const struct xfer_spec *spec)
{
	buf_clear(&h->page);
	transport_sim.start(t, spec, &handler, h);
	evloop_run(h->loop);
	assert_int_equal(h->status, 200);
}

/* In tokens, of vLLM's page. */
static int prefix_hits(struct transport *t, struct heard *h)
{
	struct xfer_spec spec = {.method = "GET", .path = "/metrics", .headers = "", .body = ""};
	const char *name = "vllm:prefix_cache_hits_total", *at;

	ask(t, h, &spec);
	at = strstr(buf_cstr(&h->page), name);
	assert_non_null(at);
	return (int)strtol(strchr(at, ' '), NULL, 10);
}

static struct scenario *scenario(const char *sets)
{
	struct scenario *s;
	struct err e;
	char *text = xasprintf("clock: virtual\ntargets: [{name: a, profile: kind-vllm-a100}]\n"
			       "sweep: {target.profile.%s}\nload: {serial: {requests: 1}}\n"
			       "workload: {prompts: {synthetic: {input_tokens: 9}}}\n",
			       sets);

	if (scenario_parse(&s, "s.yaml", text, strlen(text), NULL, NULL, &e) != RC_OK)
		fail_msg("%s\n%s", text, e.msg);
	free(text);
	return s;
}

static char *body(const char *path, const char *prompt)
{
	return strstr(path, "chat") ? xasprintf("{\"messages\":[{\"role\":\"user\",\"content\":"
						"\"%s\"}],\"max_tokens\":2,\"stream\":true}",
						prompt)
				    : xasprintf("{\"prompt\":\"%s\",\"max_tokens\":2,"
						"\"stream\":true}",
						prompt);
}

static void test_same_prompt(void **state)
{
	static const char *const paths[] = {"/v1/chat/completions", "/v1/completions"};
	struct scenario *s = scenario("scheduler.max_num_seqs: [8]");
	struct heard h = {.loop = evloop_new_virtual(0)};
	struct transport *t;
	uint8_t word[N_WORDS];
	struct buf text;
	struct err e;

	(void)state;
	buf_init(&h.page, 1 << 20);
	buf_init(&text, 1 << 20);
	if (transport_sim.open(&t, h.loop, &s->targets[0], 0, &e) != RC_OK)
		fail_msg("%s", e.msg);
	assert_true(transport_sim.takes_words(t));
	for (size_t p = 0; p < sizeof(paths) / sizeof(paths[0]); p++) {
		struct xfer_spec spec = {.method = "POST", .path = paths[p], .headers = ""};
		char *spelled, *marked = body(paths[p], "\\u0001");
		int32_t tokens;
		int before;

		/* every word is in one of the prompts */
		for (int i = 0; i < N_WORDS; i++)
			word[i] = (uint8_t)((i + 64 * (int)p) % WORKLOAD_WORDS);
		buf_clear(&text);
		assert_true(workload_spell(word, N_WORDS, &text));
		spelled = body(paths[p], buf_cstr(&text));
		spec.body = spelled;
		spec.body_len = strlen(spelled);
		before = prefix_hits(t, &h);
		ask(t, &h, &spec);
		tokens = h.prompt_tokens;
		assert_true(tokens >= N_WORDS);
		assert_int_equal(prefix_hits(t, &h), before);

		spec.body = marked;
		spec.body_len = strlen(marked);
		spec.word = word;
		spec.n_words = N_WORDS;
		ask(t, &h, &spec);
		assert_int_equal(h.prompt_tokens, tokens);
		assert_int_equal(prefix_hits(t, &h) - before, (tokens - 1) / 16 * 16);
		free(spelled);
		free(marked);
	}
	transport_sim.close(t);
	buf_release(&text);
	buf_release(&h.page);
	evloop_free(h.loop);
	scenario_free(s);
}

/* Who repeats what was said has to hear it. */
static void test_echo_wants_text(void **state)
{
	struct scenario *s = scenario("text: [echo]");
	struct evloop *loop = evloop_new_virtual(0);
	struct transport *t;
	struct err e;

	(void)state;
	if (transport_sim.open(&t, loop, &s->targets[0], 0, &e) != RC_OK)
		fail_msg("%s", e.msg);
	assert_false(transport_sim.takes_words(t));
	transport_sim.close(t);
	evloop_free(loop);
	scenario_free(s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_same_prompt),
		cmocka_unit_test(test_echo_wants_text),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
