/*
 * Owns the order of a fit. One thread. Must not know files, nor how a result is told.
 */
#include "fit.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"

#define LEAST_ROWS    12
#define LEAST_GAPS    200  /* tokens after the first, over all requests */
#define TERM_GAIN     0.97 /* of the objective, for a term to be taken in */
#define TERM_GAIN_ABS 5e-4 /* and so much of it */
#define TRIAL_ROUNDS  6
#define REPLAYS	      160

/* ---- enough? ---- */

static enum rc check_enough(const struct fit_rows *r, struct err *e)
{
	int64_t gaps = 0;
	size_t n = 0;

	for (size_t i = 0; i < r->n; i++) {
		n += r->row[i].scored;
		gaps += r->row[i].scored ? r->row[i].output_tokens - 1 : 0;
	}
	if (n < LEAST_ROWS)
		return err_set(
			e, RC_INPUT,
			"too small to fit: %zu answered requests, at least %d are needed, and "
			"some hundred at several loads to tell the terms apart; "
			"scenarios/probe.yaml is a plan that has them",
			n, LEAST_ROWS);
	if (gaps < LEAST_GAPS)
		return err_set(e, RC_INPUT,
			       "too small to fit: %lld tokens after a first one, at least %d are "
			       "needed to see what a step costs; scenarios/probe.yaml is a plan "
			       "that has them",
			       (long long)gaps, LEAST_GAPS);
	return RC_OK;
}

static bool is_given(void *arg, const char *key)
{
	const struct fit_options *o = arg;

	if (o->knobs_given && strncmp(key, "scheduler.", strlen("scheduler.")) == 0)
		return true;
	for (const char *const *g = o->given; g && *g; g++)
		if (strcmp(*g, key) == 0)
			return true;
	return false;
}

/* ---- places ---- */

#define ATTENTION "cost.affine.per_attention_pair"
#define OVER_KNEE "cost.affine.per_token_over_knee"
#define KNEE	  "cost.affine.knee_tokens"
#define STEP	  "cost.affine.step"
#define PREFILL	  "cost.affine.per_prefill_token"
#define DECODE	  "cost.affine.per_decode_seq"
#define KV	  "cost.affine.per_kv_token"

static void set_free(struct fit_model *m, const char *key, bool on)
{
	int i = fit_param_find(m, key);

	CHECK(i >= 0);
	m->param[i].is_free = on && m->param[i].verdict != FIT_GIVEN;
}

static void set(struct fit_model *m, const char *key, double value)
{
	int i = fit_param_find(m, key);

	CHECK(i >= 0);
	if (m->param[i].verdict != FIT_GIVEN)
		fit_param_set(m, i, value);
}

/* Where a fit can go back to. */
struct place {
	double value[FIT_MAX_PARAMS];
	bool is_free[FIT_MAX_PARAMS];
	double objective;
};

static void remember(struct place *p, const struct fit_model *m, double objective)
{
	for (int i = 0; i < m->n_params; i++) {
		p->value[i] = fit_param_get(m, i);
		p->is_free[i] = m->param[i].is_free;
	}
	p->objective = objective;
}

static void go_back(const struct place *p, struct fit_model *m)
{
	for (int i = 0; i < m->n_params; i++) {
		fit_param_set(m, i, p->value[i]);
		m->param[i].is_free = p->is_free[i];
	}
}

/* ---- terms ---- */

static bool is_better(double objective, double than)
{
	return objective < TERM_GAIN * than && objective < than - TERM_GAIN_ABS;
}

static bool may_move(const struct fit_model *m, const char *key)
{
	return m->param[fit_param_find(m, key)].verdict != FIT_GIVEN;
}

/* A pair costs a token's price at a context of so many: a big model's, a small one's. */
static void try_attention(struct fit_model *m, struct place *best)
{
	static const double contexts[] = {20000, 1000};
	struct place before = *best;
	double token = fit_param_get(m, fit_param_find(m, PREFILL));

	for (size_t i = 0; i < ARRAY_LEN(contexts); i++) {
		struct place here = {0};

		go_back(&before, m);
		set_free(m, ATTENTION, true);
		set(m, ATTENTION, fmax(token / contexts[i], 1));
		remember(&here, m, fit_polish(m, TRIAL_ROUNDS));
		if (here.objective < best->objective && is_better(here.objective, before.objective))
			*best = here;
	}
	go_back(best, m);
}

/* The place of the knee is tried, and how much of a prompt token's price is beyond it. */
static void try_knee(struct fit_model *m, struct place *best)
{
	static const double knees[] = {48, 128, 320}, beyond[] = {0.5, 0.95};
	struct place before = *best, here = {0};

	for (int i = 0; i < 6; i++) {
		double price = before.value[fit_param_find(m, PREFILL)], share = beyond[i / 3];

		set_free(m, OVER_KNEE, true);
		set_free(m, KNEE, true);
		set(m, KNEE, knees[i % 3]);
		set(m, OVER_KNEE, price * share * (1 + share));
		set(m, PREFILL, price * (1 - share));
		remember(&here, m, fit_polish(m, TRIAL_ROUNDS));
		if (here.objective < best->objective && is_better(here.objective, before.objective))
			*best = here;
		go_back(&before, m);
	}
	go_back(best, m);
}

/* ---- the order of it ---- */

static void say(const struct fit_options *o, const struct fit_result *r, const char *what)
{
	if (o->progress)
		o->progress->say(o->progress->arg, what, r->objective, r->model.replays);
}

/* The affine formula begins at its closed form; others at what they are. */
static void begin(struct fit_result *r, const struct fit_rows *rows)
{
	static const char *const keys[N_LINEAR] = {
		[LINEAR_STEP] = STEP, [LINEAR_PREFILL] = PREFILL,     [LINEAR_DECODE] = DECODE,
		[LINEAR_KV] = KV,     [LINEAR_ATTENTION] = ATTENTION,
	};
	struct fit_model *m = &r->model;
	bool affine = m->profile->cost.type == &cost_affine;

	for (int i = 0; i < m->n_params; i++)
		if (m->param[i].kind != FIT_KNOB)
			m->param[i].is_free = m->param[i].verdict != FIT_GIVEN;
	if (!affine || !fit_linear(rows, false, &r->linear))
		return;
	set(m, KNEE, 0);
	set(m, OVER_KNEE, 0);
	set_free(m, ATTENTION, false);
	set_free(m, OVER_KNEE, false);
	set_free(m, KNEE, false);
	for (int i = 0; i < N_LINEAR; i++)
		set(m, keys[i], r->linear.coef_ns[i] * (double)PS_PER_NS);
	set(m, "cost.ingest", r->linear.ingest_ns);
}

/* Where a coefficient of 0 is begun with, a small change is one that matters. */
static void set_scales(struct fit_model *m)
{
	static const struct {
		const char *key;
		double share; /* of the step */
	} scales[] = {
		{STEP, 1e-2}, {PREFILL, 1e-4},	 {DECODE, 1e-3},
		{KV, 2e-6},   {OVER_KNEE, 1e-4}, {ATTENTION, 1e-8},
	};
	int step = fit_param_find(m, STEP);

	for (size_t i = 0; step >= 0 && i < sizeof(scales) / sizeof(scales[0]); i++) {
		int k = fit_param_find(m, scales[i].key);

		m->param[k].scale = fmax(scales[i].share * fit_param_get(m, step), 1);
	}
}

/*
 * Where the batch hardly changes, the closed form cannot tell the terms apart, and a search that
 * begins at the wrong end of the ridge stays there. So it begins at several places: shares of the
 * measured time that prompts take, and of the rest, the step by itself. The best few of them, and
 * the closed form, are taken a little further.
 */
#define N_STARTS   12
#define N_FOLLOWED 4

static void start_at(struct fit_result *r, double prefill, double step)
{
	const struct fit_linear *l = &r->linear;
	double ps = l->mean_ns * (double)PS_PER_NS, rest = (1 - prefill) * (1 - step) * ps;

	set(&r->model, PREFILL, prefill * ps / fmax(l->mean_of[LINEAR_PREFILL], 1));
	set(&r->model, STEP, (1 - prefill) * step * ps / fmax(l->mean_of[LINEAR_STEP], 1));
	set(&r->model, DECODE, 0.3 * rest / fmax(l->mean_of[LINEAR_DECODE], 1));
	set(&r->model, KV, 0.7 * rest / fmax(l->mean_of[LINEAR_KV], 1));
}

static int by_objective(const void *a, const void *b)
{
	const struct place *x = a, *y = b;

	return (x->objective > y->objective) - (x->objective < y->objective);
}

static void try_starts(struct fit_result *r)
{
	static const double prefill[] = {0.03, 0.12, 0.3}, step[] = {0.2, 0.5, 0.75, 0.95};
	struct fit_model *m = &r->model;
	struct place place[N_STARTS + 1] = {0};

	remember(&place[N_STARTS], m, fit_model_objective(m));
	for (int i = 0; i < N_STARTS; i++) {
		start_at(r, prefill[i % 3], step[i / 3]);
		remember(&place[i], m, fit_model_objective(m));
	}
	qsort(place, N_STARTS, sizeof(*place), by_objective);
	place[N_FOLLOWED] = place[N_STARTS];
	for (int i = 0; i <= N_FOLLOWED; i++) {
		go_back(&place[i], m);
		remember(&place[i], m, fit_polish(m, TRIAL_ROUNDS));
	}
	qsort(place, N_FOLLOWED + 1, sizeof(*place), by_objective);
	go_back(&place[0], m);
	r->objective = place[0].objective;
}

static void fit_terms(struct fit_result *r, const struct fit_options *o)
{
	struct fit_model *m = &r->model;
	struct place best = {0};
	int attention = fit_param_find(m, ATTENTION);

	remember(&best, m, r->objective);
	if (may_move(m, ATTENTION))
		try_attention(m, &best);
	r->objective = best.objective;
	say(o, r, "with the attention term");
	if (may_move(m, OVER_KNEE))
		try_knee(m, &best);
	/* What is over a knee's bend may have hidden that longer prompts cost more. */
	if (may_move(m, ATTENTION) && !m->param[attention].is_free &&
	    m->param[fit_param_find(m, OVER_KNEE)].is_free)
		try_attention(m, &best);
	r->objective = best.objective;
	say(o, r, "with a knee");
}

/*
 * A bound that is a little wrong bends the costs until they fit it, and from there it looks right.
 * So its neighbours are given the costs' answer, too.
 */
static void settle_bounds(struct fit_result *r)
{
	static const double shares[] = {-0.08, -0.03, 0, 0.03, 0.08};
	struct fit_model *m = &r->model;
	struct place best = {0}, here = {0};

	remember(&best, m, r->objective);
	for (int b = 0; b < FIT_N_BOUNDS; b++) {
		double at = r->knobs.met[b] ? fit_param_get(m, r->knobs.param[b]) : 0;

		for (size_t i = 0; at > 0 && i < 2 * sizeof(shares) / sizeof(shares[0]); i++) {
			double v = round(at * (1 + shares[i / 2])) + (i % 2 ? 1 : -1);

			go_back(&best, m);
			fit_param_set(m, r->knobs.param[b], v);
			remember(&here, m, fit_polish(m, 2));
			if (here.objective < best.objective)
				best = here;
		}
	}
	go_back(&best, m);
	r->objective = best.objective;
}

/* Of two bounds one may have been taken in while the costs were still wrong: it stays only if the
 * run is explained worse without it. */
static void drop_needless_bound(struct fit_result *r)
{
	struct fit_model *m = &r->model;
	struct place best = {0}, without = {0};

	if (!r->knobs.met[FIT_SEQS] || !r->knobs.met[FIT_MEMORY])
		return;
	remember(&best, m, r->objective);
	for (int b = 0; b < FIT_N_BOUNDS; b++) {
		go_back(&best, m);
		fit_knobs_open_wide(&r->knobs, m, b);
		remember(&without, m, fit_polish(m, TRIAL_ROUNDS));
		if (!is_better(r->objective, without.objective)) {
			r->knobs.met[b] = false;
			r->objective = without.objective;
			return;
		}
	}
	go_back(&best, m);
}

static void finish(struct fit_result *r, const struct fit_options *o)
{
	struct fit_model *m = &r->model;

	if (o->intervals) {
		say(o, r, "how sure");
		fit_intervals(m, o->seed, FIT_IDENTIFIABLE);
		fit_knobs_intervals(&r->knobs, m, o->seed, FIT_IDENTIFIABLE);
	}
	for (int i = 0; i < m->n_params; i++)
		if (m->param[i].kind != FIT_KNOB && !m->param[i].is_free &&
		    m->param[i].verdict == FIT_NOT_LOOKED_AT)
			m->param[i].verdict = FIT_LEFT_OUT;
	r->objective = fit_model_objective(m);
	r->level_error = fit_level_error(m);
	r->level = fit_level(m, FIT_IDENTIFIABLE);
	r->objective = fit_model_objective(m);
}

enum rc fit(struct fit_result *out, struct profile *p, const struct fit_rows *rows,
	    const struct fit_options *o, struct err *e)
{
	struct fit_model *m = &out->model;
	int replays = o->replays ? o->replays : REPLAYS;
	enum rc rc = check_enough(rows, e);

	*out = (struct fit_result){.objective = HUGE_VAL, .level = 1};
	fit_model_init(m, p, rows);
	if (rc)
		return rc;
	for (int i = 0; i < m->n_params; i++)
		if (is_given((void *)o, m->param[i].key))
			m->param[i].verdict = FIT_GIVEN;
	begin(out, rows);
	set_scales(m);
	fit_knobs_open(&out->knobs, m, is_given, (void *)o);
	rc = fit_model_check(m, e);
	if (rc)
		return rc;
	fit_knobs_search(&out->knobs, m, false, o->progress);
	if (out->linear.equations > 0)
		try_starts(out);
	else
		out->objective = fit_polish(m, TRIAL_ROUNDS);
	say(o, out, "starts");
	fit_knobs_search(&out->knobs, m, false, o->progress);
	out->objective = fit_model_objective(m);
	settle_bounds(out);
	if (p->cost.type == &cost_affine)
		fit_terms(out, o);
	settle_bounds(out);
	drop_needless_bound(out);
	out->objective = fit_refine(m, replays, o->progress);
	settle_bounds(out);
	finish(out, o);
	return RC_OK;
}

void fit_result_release(struct fit_result *r)
{
	fit_model_release(&r->model);
}
