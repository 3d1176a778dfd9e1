/*
 * Owns run.json: what was run, on what, with which limits, how it ended. Main thread, at the start
 * and the end of a run. Must not tell who or where: no host name, no key, no address.
 */
#include "results_parts.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/die.h"
#include "base/jsonx.h"
#include "curve.h"
#include "find.h"
#include "search.h"

enum rc file_replace(const char *path, const struct buf *content, struct err *e)
{
	char *tmp = xasprintf("%s.tmp", path);
	FILE *f = fopen(tmp, "w");
	bool ok = f && fwrite(buf_head(content), 1, buf_size(content), f) == buf_size(content);
	enum rc rc = RC_OK;

	if (f && fclose(f) != 0)
		ok = false;
	if (!ok || rename(tmp, path) != 0) {
		rc = err_set(e, RC_IO, "%s: %s", path, strerror(errno));
		unlink(tmp);
	}
	free(tmp);
	return rc;
}

void format_utc(char *out, size_t cap, const char *format, int64_t wall_ns)
{
	time_t t = (time_t)(wall_ns / NS_PER_S);
	struct tm tm;

	gmtime_r(&t, &tm);
	strftime(out, cap, format, &tm);
}

static void add_int(cJSON *o, const char *key, int64_t v)
{
	char text[24];

	snprintf(text, sizeof(text), "%lld", (long long)v); /* exact, where a double is not */
	cJSON_AddRawToObject(o, key, text);
}

static void add_cpu_model(cJSON *o)
{
	FILE *f = fopen("/proc/cpuinfo", "r");
	char line[256];

	while (f && fgets(line, sizeof(line), f)) {
		char *value = strncmp(line, "model name", 10) == 0 ? strchr(line, ':') : NULL;

		if (!value)
			continue;
		value[strcspn(value, "\n")] = '\0';
		cJSON_AddStringToObject(o, "cpu_model", value + 2);
		break;
	}
	if (f)
		fclose(f);
}

/* What a reader needs to judge the client; who and where it is does not belong into a result. */
static void add_host(cJSON *root)
{
	cJSON *o = cJSON_AddObjectToObject(root, "host");
	struct utsname u;
	struct rlimit files;

	add_cpu_model(o);
	add_int(o, "cores", sysconf(_SC_NPROCESSORS_ONLN));
	add_int(o, "memory_bytes", (int64_t)sysconf(_SC_PHYS_PAGES) * sysconf(_SC_PAGESIZE));
	if (uname(&u) == 0) {
		cJSON_AddStringToObject(o, "kernel", u.release);
		cJSON_AddStringToObject(o, "machine", u.machine);
	}
	if (getrlimit(RLIMIT_NOFILE, &files) == 0)
		add_int(o, "rlimit_nofile", (int64_t)files.rlim_cur);
}

static void add_limits(cJSON *root, const struct limits *l)
{
	cJSON *o = cJSON_AddObjectToObject(root, "limits");

	add_int(o, "connect_ns", l->connect_ns);
	add_int(o, "timeout_ns", l->timeout_ns);
	add_int(o, "idle_ns", l->idle_ns);
	add_int(o, "grace_ns", l->grace_ns);
	add_int(o, "max_failures", l->max_failures);
}

static void add_versions(cJSON *root)
{
	cJSON *o = cJSON_AddObjectToObject(root, "versions");

	cJSON_AddStringToObject(o, "loadgen", PROJECT_VERSION);
	cJSON_AddStringToObject(o, "cjson", cJSON_Version());
	cJSON_AddStringToObject(o, "compiler", __VERSION__);
}

static void add_identities(cJSON *root, const struct run_story *y)
{
	cJSON *o = cJSON_AddObjectToObject(root, "identities");
	int64_t planned = 0, ok = 0, failed = 0, dropped = 0;

	for (size_t i = 0; i < y->n_points; i++) {
		planned += y->points[i].planned;
		ok += y->points[i].ok;
		failed += y->points[i].failed;
		dropped += y->points[i].dropped;
	}
	add_int(o, "planned", planned);
	add_int(o, "ok", ok);
	add_int(o, "failed", failed);
	add_int(o, "dropped", dropped);
	cJSON_AddBoolToObject(o, "balanced", planned == ok + failed + dropped);
}

static void add_verdicts(cJSON *root, const struct run_story *y)
{
	cJSON *list = cJSON_AddArrayToObject(root, "verdicts");

	for (size_t i = 0; i < y->n_points; i++) {
		const struct point *p = &y->points[i];
		cJSON *o = cJSON_CreateObject();

		add_int(o, "point", p->id);
		cJSON_AddStringToObject(o, "target", y->scenario->targets[p->target].name);
		add_int(o, "level", p->level);
		add_int(o, "repeat", p->repeat);
		cJSON_AddStringToObject(o, "verdict", verdict_name(p->verdict));
		cJSON_AddStringToObject(o, "why", p->verdict_text);
		cJSON_AddItemToArray(list, o);
	}
}

cJSON *preflight_json(const char *target, const struct preflight_found *f)
{
	cJSON *o = cJSON_CreateObject(), *list;

	cJSON_AddStringToObject(o, "target", target);
	cJSON_AddBoolToObject(o, "reachable", f->reachable);
	add_int(o, "models_status", f->status);
	cJSON_AddStringToObject(o, "models", f->listed);
	if (!f->asked)
		return o;
	cJSON_AddStringToObject(o, "outcome", outcome_name(f->outcome));
	add_int(o, "http_status", f->http_status);
	cJSON_AddStringToObject(o, "error", f->error);
	cJSON_AddBoolToObject(o, "streams", f->streams);
	cJSON_AddBoolToObject(o, "usage", f->usage);
	add_int(o, "tokens", f->tokens);
	add_int(o, "events", f->events);
	cJSON_AddStringToObject(o, "finish_reason", f->finish_reason);
	list = cJSON_AddArrayToObject(o, "left_out");
	for (int i = 0; f->left_out[i]; i++)
		cJSON_AddItemToArray(list, cJSON_CreateString(f->left_out[i]));
	return o;
}

/* What a search found, a target an object. */
static void add_found(cJSON *root, const struct run_story *y)
{
	cJSON *list = cJSON_AddArrayToObject(root, "found");

	for (int t = 0; t < y->scenario->n_targets; t++) {
		const struct scenario *s = y->scenario;
		struct found f = find_state(s, y->points, y->n_points, t);
		cJSON *o = cJSON_CreateObject();
		char words[512];

		find_words(s, y->points, y->n_points, t, words, sizeof(words));
		cJSON_AddStringToObject(o, "target", s->targets[t].name);
		cJSON_AddStringToObject(o, "load_kind", load_kind_name(s->levels[0].kind));
		if (f.best >= 0)
			cJSON_AddNumberToObject(o, "highest_met", level_load(&s->levels[f.best]));
		else
			cJSON_AddNullToObject(o, "highest_met");
		if (f.missed < s->n_levels)
			cJSON_AddNumberToObject(o, "lowest_missed",
						level_load(&s->levels[f.missed]));
		else
			cJSON_AddNullToObject(o, "lowest_missed");
		cJSON_AddNumberToObject(o, "share_asked", s->slo.share);
		add_int(o, "probes", f.probes);
		cJSON_AddBoolToObject(o, "complete", f.next < 0);
		cJSON_AddStringToObject(o, "words", words);
		cJSON_AddItemToArray(list, o);
	}
}

/* What a search among settings found, a target of the file an object. */
static void add_searched(cJSON *root, const struct run_story *y)
{
	cJSON *list = cJSON_AddArrayToObject(root, "searched");
	const struct scenario *s = y->scenario;
	struct setting *of = settings_of_points(s, y->points, y->n_points);

	for (int first = 0; first < s->n_targets; first += sweep_places(s)) {
		struct searched x = search_state(s, of, first);
		cJSON *o = cJSON_CreateObject();
		char words[512];

		search_words(s, of, first, words, sizeof(words));
		if (x.best >= 0)
			cJSON_AddStringToObject(o, "best", s->targets[x.best].name);
		else
			cJSON_AddNullToObject(o, "best");
		add_int(o, "tried", x.tried);
		add_int(o, "settings", sweep_places(s));
		cJSON_AddBoolToObject(o, "complete", x.over);
		cJSON_AddStringToObject(o, "words", words);
		cJSON_AddItemToArray(list, o);
	}
	free(of);
}

enum rc run_json_write(const char *path, const struct run_story *y, struct err *e)
{
	const struct scenario *s = y->scenario;
	cJSON *root = cJSON_CreateObject();
	struct buf text;
	char utc[32], seed[24];
	enum rc rc;

	buf_init(&text, 64u << 20);
	add_int(root, "format", 1);
	cJSON_AddStringToObject(root, "name", s->name);
	cJSON_AddStringToObject(root, "description", s->description ? s->description : "");
	snprintf(seed, sizeof(seed), "%llu", (unsigned long long)s->seed);
	cJSON_AddRawToObject(root, "seed", seed);
	cJSON_AddStringToObject(root, "clock", s->clock == RUN_CLOCK_VIRTUAL ? "virtual" : "real");
	add_int(root, "workers", s->workers);
	add_versions(root);
	add_host(root);
	add_limits(root, &s->limits);
	format_utc(utc, sizeof(utc), UTC_FORMAT, y->start_ns + y->wall_offset_ns);
	cJSON_AddStringToObject(root, "started_utc", utc);
	add_int(root, "start_monotonic_ns", y->start_ns);
	add_int(root, "wall_minus_monotonic_ns", y->wall_offset_ns);
	cJSON_AddItemToObject(root, "preflight", cJSON_Duplicate(y->preflight, true));
	cJSON_AddItemToObject(root, "notes", cJSON_Duplicate(y->notes, true));
	cJSON_AddStringToObject(root, "percentiles", "linear interpolation between closest ranks");
	if (y->ended) {
		cJSON_AddStringToObject(root, "ended", y->ended);
		add_int(root, "ended_ns", y->ended_ns - y->start_ns);
		add_identities(root, y);
		add_verdicts(root, y);
		if (s->find)
			add_found(root, y);
		if (s->search)
			add_searched(root, y);
	}
	CHECK(json_print(&text, root, true) && buf_putc(&text, '\n'));
	rc = file_replace(path, &text, e);
	cJSON_Delete(root);
	buf_release(&text);
	return rc;
}
