/*
 * Owns the bodies of /props and /slots, in the fields and order of a recorded llama-server. Loop
 * thread. Must not change the engine. Samplers are shown as that server's defaults, for nothing is
 * sampled here; a slot in which nothing has run has no task, as there.
 */
#include "api_slots.h"

#include <stdlib.h>
#include <string.h>

#include "answer.h"
#include "base/die.h"
#include "base/jsonx.h"
#include "engine_stats.h"

/* api_read_messages() as llama-server's template language has it. */
static const char chat_template[] =
	"{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + "
	"message['content'] + '<|im_end|>\n' }}{% endfor %}{% if add_generation_prompt %}{{ "
	"'<|im_start|>assistant\n' }}{% endif %}";

/* ---- sampling ---- */

struct params {
	int64_t seed;
	double temperature;
	int64_t max_tokens;
	bool ignore_eos, stream;
	const char *reasoning;
};

/* llama-server's defaults, and -1 for the rest of the context. */
static const struct params default_params = {UINT32_MAX, 0.8, -1, false, false, "none"};

static void put_params(struct buf *b, const struct params *p)
{
	buf_printf(b, "\"params\":{\"seed\":%lld,\"temperature\":%.9g,", (long long)p->seed,
		   p->temperature);
	buf_puts(b, "\"dynatemp_range\":0.0,\"dynatemp_exponent\":1.0,\"top_k\":40,\"top_p\":0.95,"
		    "\"min_p\":0.05,\"top_n_sigma\":-1.0,\"xtc_probability\":0.0,"
		    "\"xtc_threshold\":0.1,\"typical_p\":1.0,\"repeat_last_n\":64,"
		    "\"repeat_penalty\":1.0,\"presence_penalty\":0.0,\"frequency_penalty\":0.0,"
		    "\"dry_multiplier\":0.0,\"dry_base\":1.75,\"dry_allowed_length\":2,"
		    "\"dry_penalty_last_n\":64,\"mirostat\":0,\"mirostat_tau\":5.0,"
		    "\"mirostat_eta\":0.1,\"adaptive_target\":-1.0,\"adaptive_decay\":0.9,");
	buf_printf(b,
		   "\"max_tokens\":%lld,\"n_predict\":%lld,\"n_keep\":0,\"n_discard\":0,"
		   "\"ignore_eos\":%s,\"stream\":%s,\"n_probs\":0,\"min_keep\":0,",
		   (long long)p->max_tokens, (long long)p->max_tokens,
		   p->ignore_eos ? "true" : "false", p->stream ? "true" : "false");
	buf_printf(b,
		   "\"chat_format\":\"Content-only\",\"reasoning_format\":\"%s\","
		   "\"reasoning_in_content\":false,\"generation_prompt\":\"\",",
		   p->reasoning);
	buf_puts(b, "\"samplers\":[\"penalties\",\"dry\",\"top_n_sigma\",\"top_k\",\"typ_p\","
		    "\"top_p\",\"min_p\",\"xtc\",\"temperature\"],\"speculative.types\":\"none\","
		    "\"timings_per_token\":false,\"post_sampling_probs\":false,"
		    "\"backend_sampling\":false,\"lora\":[]}");
}

static void reply(struct api *a, struct http_exchange *x, struct buf *b)
{
	http_reply(x, 200, a->c.wire->json_type, NULL, buf_head(b), buf_size(b));
	buf_release(b);
}

/* ---- slots ---- */

/* Who runs, by slot. */
struct slots {
	const struct genreq **in;
	int32_t n, n_busy;
	bool numbered;
};

static bool runs(const struct genreq *r)
{
	return r->state == GENREQ_PREFILL || r->state == GENREQ_DECODE;
}

static void seat(const struct genreq *r, void *arg)
{
	struct slots *s = arg;
	int32_t at = s->numbered ? r->slot.place : s->n_busy;

	if (!runs(r) || at < 0 || at >= s->n)
		return;
	s->in[at] = r;
	s->n_busy++;
}

static void slots_find(struct slots *s, struct api *a)
{
	const struct sched_stats *stats = &engine_stats(a->engine)->sched;
	int32_t running = stats->running > 0 ? stats->running : 1;

	*s = (struct slots){.n = stats->slots ? stats->slots : running,
			    .numbered = stats->slots > 0};
	s->in = xcalloc((size_t)s->n, sizeof(struct genreq *));
	engine_visit(a->engine, seat, s);
}

/* INT32_MAX stands for no limit; llama-server has one always, and 0 is what it calls the model's
 * own. */
static int32_t context_of(const struct api *a)
{
	return a->terms.max_len == INT32_MAX ? 0 : a->terms.max_len;
}

static void put_task(struct buf *b, const struct genreq *r)
{
	const struct choice *c = r->owner;
	int32_t decoded = genreq_output_tokens(r);
	const struct params p = {
		.seed = c->answer->q.has_seed ? c->answer->q.seed : UINT32_MAX,
		.temperature = c->answer->q.temperature,
		.max_tokens = r->max_tokens,
		.ignore_eos = r->ignore_eos,
		.stream = c->answer->q.stream,
		.reasoning = "deepseek",
	};

	buf_printf(b,
		   ",\"id_task\":%llu,\"n_prompt_tokens\":%d,\"n_prompt_tokens_processed\":%d,"
		   "\"n_prompt_tokens_cache\":%d,",
		   (unsigned long long)r->id, r->n_tokens,
		   r->slot.computed < r->n_prompt ? r->slot.computed - r->cached_tokens
						  : r->n_prompt - r->cached_tokens,
		   r->cached_tokens);
	put_params(b, &p);
	buf_printf(b,
		   ",\"next_token\":[{\"has_next_token\":true,\"has_new_line\":false,"
		   "\"n_remain\":%d,\"n_decoded\":%d}]",
		   r->max_tokens - decoded, decoded);
}

void slots_list(struct api *a, struct http_exchange *x, const struct route *r)
{
	struct api_error e;
	struct slots s;
	struct buf b;

	(void)r;
	slots_find(&s, a);
	if (s.n_busy == s.n && strstr(http_query(x), "fail_on_no_slot=1")) {
		free(s.in);
		api_refuse(&e, REFUSE_UNREADY, NULL, "no slot available");
		api_error_reply(a, x, &e);
		return;
	}
	buf_init(&b, SIZE_MAX);
	buf_putc(&b, '[');
	for (int32_t i = 0; i < s.n; i++) {
		buf_printf(&b,
			   "%s{\"id\":%d,\"n_ctx\":%d,\"speculative\":false,\"is_processing\":%s",
			   i ? "," : "", i, context_of(a), s.in[i] ? "true" : "false");
		if (s.in[i])
			put_task(&b, s.in[i]);
		buf_putc(&b, '}');
	}
	buf_putc(&b, ']');
	free(s.in);
	reply(a, x, &b);
}

/* ---- settings ---- */

void slots_props(struct api *a, struct http_exchange *x, const struct route *r)
{
	struct slots s;
	struct buf b;

	(void)r;
	slots_find(&s, a);
	free(s.in);
	buf_init(&b, SIZE_MAX);
	buf_puts(&b, "{\"default_generation_settings\":{");
	put_params(&b, &default_params);
	buf_printf(&b, ",\"n_ctx\":%d},\"total_slots\":%d,\"model_alias\":", context_of(a), s.n);
	json_quote(&b, a->c.models[0]);
	buf_puts(&b, ",\"model_ftype\":\"\",\"model_path\":");
	json_quote(&b, a->c.models[0]);
	buf_puts(&b, ",\"modalities\":{\"vision\":false,\"video\":false,\"audio\":false},"
		     "\"media_marker\":\"<__media__>\",\"endpoint_slots\":true,"
		     "\"endpoint_props\":false,\"endpoint_metrics\":true,\"ui\":false,"
		     "\"ui_settings\":{},\"chat_template\":");
	json_quote(&b, chat_template);
	buf_puts(&b, ",\"chat_template_caps\":{\"supports_object_arguments\":false,"
		     "\"supports_parallel_tool_calls\":false,\"supports_preserve_reasoning\":false,"
		     "\"supports_reasoning_effort\":false,\"supports_string_content\":true,"
		     "\"supports_system_role\":true,\"supports_tool_calls\":false,"
		     "\"supports_tools\":false,\"supports_typed_content\":true},"
		     "\"bos_token\":\"<|im_start|>\",\"eos_token\":\"<|im_end|>\",\"build_info\":");
	json_quote(&b, a->fingerprint);
	buf_puts(&b, ",\"is_sleeping\":false,\"cors_proxy_enabled\":false}");
	reply(a, x, &b);
}
