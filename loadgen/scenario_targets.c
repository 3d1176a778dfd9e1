/*
 * Owns the meaning of `targets:`: addresses, engines to launch, keys and headers. The only file that reads the
 * environment and key files. Main thread, before anything is opened. Must not let a secret into a message.
 */
#include "scenario_read.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/die.h"
#include "base/units.h"

#define MAX_TARGETS	 1000
#define MAX_KEY_BYTES	 4096
#define MAX_HEADER_BYTES 8192
#define MAX_UNIX_PATH	 107 /* sockaddr_un.sun_path less its NUL */

/* ---- addresses ---- */

static bool printable(const char *s)
{
	for (; *s; s++)
		if (*s <= ' ' || *s > '~')
			return false;
	return true;
}

static enum rc bad_url(const char *url, const char *what, struct err *e)
{
	return err_set(e, RC_INPUT,
		       "got \"%.200s\": %s; want http://host:port[/prefix], https://host[:port], or "
		       "unix:/path.sock",
		       url, what);
}

/* host or host:port or [v6]:port, up to a slash. *rest: the slash or the end. */
static enum rc split_authority(const char *url, const char *s, char **host, int *port,
			       const char **rest, struct err *e)
{
	size_t len = strcspn(s, "/"), n;
	char *authority = xstrndup(s, len), *colon;
	const char *name = authority;
	int64_t number = *port;
	enum rc rc = RC_OK;

	*rest = s + len;
	if (*name == '[') {
		name++;
		n = strcspn(name, "]");
		colon = name[n] ? authority + 1 + n + 1 : NULL;
		if (!colon || strspn(name, "0123456789abcdefABCDEF:.") != n ||
		    (*colon && *colon != ':'))
			rc = bad_url(url, "the address in brackets is not one", e);
		else if (!*colon)
			colon = NULL;
	} else {
		n = strcspn(name, ":");
		colon = name[n] ? authority + n : NULL;
		for (size_t i = 0; i < n && !rc; i++)
			if (!isalnum((unsigned char)name[i]) && !strchr("-._", name[i]))
				rc = bad_url(url, "a host name has letters, digits, - . and _", e);
	}
	if (!rc && !n)
		rc = bad_url(url, "the host is missing", e);
	if (!rc && colon && parse_int(colon + 1, 1, 65535, &number, NULL) != RC_OK)
		rc = bad_url(url, "a port is a number from 1 to 65535", e);
	if (!rc) {
		*host = xstrndup(name, n);
		*port = (int)number;
	}
	free(authority);
	return rc;
}

/* Without final slashes and without a final /v1: the dialect's own path begins with it. */
static char *clean_prefix(const char *path)
{
	size_t len = strlen(path);

	while (len && path[len - 1] == '/')
		len--;
	if (len >= 3 && strncmp(path + len - 3, "/v1", 3) == 0)
		len -= 3;
	while (len && path[len - 1] == '/')
		len--;
	return xstrndup(path, len);
}

enum rc target_set_url(struct target *t, const char *url, struct err *e)
{
	static const struct {
		const char *start;
		enum url_scheme scheme;
		int port;
	} row[] = {{"http://", URL_HTTP, 80}, {"https://", URL_HTTPS, 443}, {"unix:", URL_UNIX, 0}};
	const char *at, *rest = "";
	char *host = NULL;
	size_t i = 0;
	int port;
	enum rc rc;

	while (i < ARRAY_LEN(row) && strncasecmp(url, row[i].start, strlen(row[i].start)) != 0)
		i++;
	if (i == ARRAY_LEN(row))
		return bad_url(url, "no scheme that is known", e);
	if (!printable(url))
		return bad_url(url, "a character that no URL has", e);
	at = url + strlen(row[i].start);
	port = row[i].port;
	if (row[i].scheme == URL_UNIX) {
		if (*at != '/' || strlen(at) > MAX_UNIX_PATH)
			return bad_url(url, "a socket's path begins with / and has 107 bytes at most",
				       e);
		host = xstrdup(at);
	} else {
		if (strpbrk(at, "@?#"))
			return bad_url(url, "no user, query or fragment stands in it", e);
		rc = split_authority(url, at, &host, &port, &rest, e);
		if (rc)
			return rc;
	}
	free(t->host);
	free(t->prefix);
	t->scheme = row[i].scheme;
	t->host = host;
	t->port = port;
	t->prefix = clean_prefix(rest);
	at = xstrdup(url); /* url may be t->url itself */
	free(t->url);
	t->url = (char *)at;
	return RC_OK;
}

/* ---- what comes from the environment ---- */

static bool is_variable(const char *s, size_t n)
{
	if (!n || isdigit((unsigned char)*s))
		return false;
	for (size_t i = 0; i < n; i++)
		if (!isalnum((unsigned char)s[i]) && s[i] != '_')
			return false;
	return true;
}

/* text with each ${NAME} replaced. Without r->environment the names are checked and stay. */
static enum rc fill_in(const struct reader *r, const struct ynode *n, const char *text,
		       struct buf *out, struct err *e)
{
	const char *start;
	char name[128];
	bool fits = true;

	for (; (start = strstr(text, "${")); text = start + 1) {
		size_t len = strcspn(start + 2, "}");
		const char *value;

		fits &= buf_append(out, text, (size_t)(start - text));
		if (!start[2 + len] || len >= sizeof(name) || !is_variable(start + 2, len))
			return ynode_err(n, e,
					 "got \"${%.*s\", want ${NAME} with the name of an "
					 "environment variable",
					 (int)(len < 60 ? len : 60), start + 2);
		snprintf(name, sizeof(name), "%.*s", (int)len, start + 2);
		value = r->environment ? getenv(name) : NULL;
		if (r->environment && !value)
			return ynode_err(n, e, "environment variable %s is not set", name);
		fits &= value ? buf_puts(out, value) : buf_append(out, start, len + 3);
		start += len + 2;
	}
	if (!fits || !buf_puts(out, text))
		return ynode_err(n, e, "longer than %d bytes", MAX_HEADER_BYTES);
	return RC_OK;
}

static enum rc read_url(struct reader *r, const struct field *f, const struct ynode *n, void *out,
			struct err *e)
{
	struct target *t = out;
	const char *text;
	struct buf url;
	struct err why;
	enum rc rc = ynode_str(n, &text, e);
	bool filled = !rc && strstr(text, "${");

	(void)f;
	if (rc)
		return rc;
	buf_init(&url, MAX_HEADER_BYTES);
	rc = fill_in(r, n, text, &url, e);
	if (!rc && filled && !r->environment)
		t->url = xstrdup(text);
	else if (!rc && target_set_url(t, buf_cstr(&url), &why) != RC_OK)
		rc = filled ? ynode_err(n, e,
					"no URL once the variables are filled in, want "
					"http://host:port[/prefix], https://host[:port], or "
					"unix:/path.sock")
			    : ynode_err(n, e, "%s", why.msg);
	buf_release(&url);
	return rc;
}

/* A key goes into a header line: visible ASCII without blanks. White space around it is of the file. */
static enum rc set_key(struct target *t, const struct ynode *n, const char *text, size_t len,
		       struct err *e)
{
	while (len && isspace((unsigned char)text[len - 1]))
		len--;
	for (; len && isspace((unsigned char)*text); len--)
		text++;
	if (!len || len > MAX_KEY_BYTES)
		return ynode_err(n, e, "the key there is %s", len ? "too long" : "empty");
	t->api_key = xstrndup(text, len);
	if (strlen(t->api_key) != len || !printable(t->api_key))
		return ynode_err(n, e, "the key there has characters that no key has");
	return RC_OK;
}

static enum rc read_key_env(struct reader *r, const struct field *f, const struct ynode *n,
			    void *out, struct err *e)
{
	const char *name, *key;
	enum rc rc = ynode_str(n, &name, e);

	(void)f;
	if (rc)
		return rc;
	/* What is no name may be the key itself: not to be repeated. */
	if (!is_variable(name, strlen(name)))
		return ynode_err(n, e,
				 "want the name of an environment variable that holds the key, "
				 "not the key");
	if (!r->environment)
		return RC_OK;
	key = getenv(name);
	if (!key)
		return ynode_err(n, e, "environment variable %s is not set", name);
	return set_key(out, n, key, strlen(key), e);
}

static enum rc read_key_file(struct reader *r, const struct field *f, const struct ynode *n,
			     void *out, struct err *e)
{
	bool files = r->files;
	char *path = NULL;
	struct err why;
	struct buf key;
	enum rc rc;

	if (((struct target *)out)->api_key || ynode_get(n->parent, "api_key_env"))
		return ynode_err(n, e, "stands beside api_key_env, want one of them");
	r->files = r->environment;
	rc = field_file(r, f, n, &path, e);
	r->files = files;
	buf_init(&key, MAX_KEY_BYTES + 64);
	if (!rc && r->environment) {
		if (buf_read_file(&key, path, &why) != RC_OK)
			rc = ynode_err(n, e, "%s", why.msg);
		else
			rc = set_key(out, n, buf_head(&key), buf_size(&key), e);
	}
	if (buf_size(&key))
		explicit_bzero(key.data, key.len);
	buf_release(&key);
	free(path);
	return rc;
}

/* ---- headers ---- */

bool header_is_secret(const char *name, const char *value)
{
	static const char *const words[] = {"authorization", "key",    "token",
					    "cookie",	     "secret", "password"};

	for (size_t i = 0; i < ARRAY_LEN(words); i++)
		if (strcasestr(name, words[i]))
			return true;
	return strstr(value, "${") != NULL;
}

static bool is_header_name(const char *s)
{
	for (size_t i = 0; s[i]; i++)
		if (!isalnum((unsigned char)s[i]) && !strchr("!#$%&'*+-.^_`|~", s[i]))
			return false;
	return *s;
}

static enum rc check_header_name(const struct target *t, const struct ynode *n, struct err *e)
{
	/* How the message is framed is the transport's to say. */
	static const char *const ours[] = {"host",	 "content-length", "transfer-encoding",
					   "connection", "content-type",   "expect",
					   "upgrade",	 "te",		   "trailer"};

	if (!is_header_name(n->key))
		return ynode_err(n, e, "not the name of a header");
	for (size_t i = 0; i < ARRAY_LEN(ours); i++)
		if (strcasecmp(n->key, ours[i]) == 0)
			return ynode_err(n, e, "is set by loadgen itself");
	for (int i = 0; i < t->n_headers; i++)
		if (strcasecmp(n->key, t->headers[i].name) == 0)
			return ynode_err(n, e, "given twice");
	if (t->api_key && strcasecmp(n->key, "authorization") == 0)
		return ynode_err(n, e, "stands beside an API key, which is sent in this header");
	return RC_OK;
}

static enum rc read_headers(struct reader *r, const struct field *f, const struct ynode *n,
			    void *out, struct err *e)
{
	struct target *t = out;
	enum rc rc = RC_OK;

	(void)f;
	if (n->kind != YNODE_MAP)
		return ynode_err(n, e, "want a map of names and values, as in {X-Team: bench}");
	t->headers = xcalloc(n->n + 1, sizeof(*t->headers));
	for (size_t i = 0; i < n->n && !rc; i++) {
		const struct ynode *child = n->child[i];
		const char *text;
		struct buf value;

		rc = check_header_name(t, child, e);
		if (!rc)
			rc = ynode_str(child, &text, e);
		if (rc)
			break;
		buf_init(&value, MAX_HEADER_BYTES);
		rc = fill_in(r, child, text, &value, e);
		for (const char *p = buf_cstr(&value); *p && !rc; p++)
			if (iscntrl((unsigned char)*p))
				rc = ynode_err(child, e, "a control character in its value");
		if (!rc) {
			t->headers[t->n_headers].name = xstrdup(child->key);
			t->headers[t->n_headers++].value = buf_take(&value);
		}
		buf_release(&value);
	}
	return rc;
}

/* ---- engines to launch ---- */

static enum rc read_http_path(struct reader *r, const struct field *f, const struct ynode *n, void *out,
			  struct err *e)
{
	char **path = out;
	enum rc rc = field_str(r, f, n, path, e);

	if (!rc && (**path != '/' || !printable(*path)))
		return ynode_err(n, e, "got \"%.100s\", want a path that begins with /", *path);
	return rc;
}

/* A path with a slash is relative to the scenario; a bare name is looked up where launch.h says. */
static enum rc read_program(struct reader *r, const struct field *f, const struct ynode *n,
			    void *out, struct err *e)
{
	char **program = out, *given;
	enum rc rc = field_str(r, f, n, program, e);

	if (rc || !strchr(*program, '/'))
		return rc;
	given = *program;
	*program = path_join(r->s->folder, given);
	free(given);
	return RC_OK;
}

static struct launch_spec *launch_new(void)
{
	struct launch_spec *l = xcalloc(1, sizeof(*l));

	l->args = xcalloc(1, sizeof(*l->args));
	l->ready = xstrdup("/health");
	l->timeout_ns = 60 * NS_PER_S;
	return l;
}

static enum rc read_launch(struct reader *r, const struct field *f, const struct ynode *n,
			   void *out, struct err *e)
{
	static const struct field fields[] = {
		{"program", read_program, offsetof(struct launch_spec, program), .required = true},
		{"args", field_strings, offsetof(struct launch_spec, args)},
		{"ready", read_http_path, offsetof(struct launch_spec, ready)},
		{"timeout", field_duration, offsetof(struct launch_spec, timeout_ns),
		 .min = NS_PER_MS, .max = MAX_TIME_NS},
		{0},
	};
	struct target *t = out;

	(void)f;
	t->launch = launch_new();
	return read_map(r, n, fields, t->launch, e);
}

static bool names_file(const char *profile)
{
	size_t len = strlen(profile);

	return strchr(profile, '/') || (len > 5 && strcmp(profile + len - 5, ".yaml") == 0) ||
	       (len > 4 && strcmp(profile + len - 4, ".yml") == 0);
}

/* A file, or the name of a profile that fakeengine has built in: which ones there are is for it to know. */
static enum rc read_profile(struct reader *r, const struct field *f, const struct ynode *n,
			    void *out, struct err *e)
{
	struct target *t = out;
	char *profile = NULL;
	enum rc rc;

	if (t->launch || t->url)
		return ynode_err(n, e, "stands beside %s, want one of them",
				 t->launch ? "launch" : "url");
	rc = field_str(r, f, n, &profile, e);
	if (!rc && names_file(profile))
		rc = field_file(r, f, n, &profile, e);
	if (rc) {
		free(profile);
		return rc;
	}
	t->launch = launch_new();
	t->launch->program = xstrdup("fakeengine");
	strings_push(&t->launch->args, xstrdup("--profile"));
	strings_push(&t->launch->args, profile);
	strings_push(&t->launch->args, xstrdup("--port"));
	strings_push(&t->launch->args, xstrdup("0"));
	return RC_OK;
}

/* Keys of the profile are not checked here: fakeengine does, and its message is shown. */
static enum rc read_profile_set(struct reader *r, const struct field *f, const struct ynode *n,
				void *out, struct err *e)
{
	struct target *t = out;
	enum rc rc = RC_OK;

	if (!ynode_get(n->parent, "profile"))
		return ynode_err(n, e, "changes a profile, and this target has none");
	if (n->kind != YNODE_MAP)
		return ynode_err(n, e, "want a map, as in {scheduler.max_num_seqs: 64}");
	for (size_t i = 0; i < n->n && !rc; i++) {
		char *value = NULL;

		rc = field_str(r, f, n->child[i], &value, e);
		if (!rc) {
			strings_push(&t->launch->args, xstrdup("--set"));
			strings_push(&t->launch->args, xasprintf("%s=%s", n->child[i]->key, value));
		}
		free(value);
	}
	return rc;
}

/* ---- a target ---- */

static enum rc read_dialect(struct reader *r, const struct field *f, const struct ynode *n,
			    void *out, struct err *e)
{
	static const char *const names[] = {"openai-chat", "openai-completions", NULL};
	char **dialect = out;
	int i;
	enum rc rc = ynode_choice(n, names, &i, e);

	(void)r;
	(void)f;
	if (!rc) {
		free(*dialect);
		*dialect = xstrdup(names[i]);
	}
	return rc;
}

/* url and launch before profile, profile before set, keys before headers: later ones look at earlier ones. */
static const struct field target_fields[] = {
	{"name", field_str, offsetof(struct target, name), .required = true},
	{"url", read_url, 0},
	{"dialect", read_dialect, offsetof(struct target, dialect)},
	{"model", field_str, offsetof(struct target, model)},
	{"endpoint", read_http_path, offsetof(struct target, endpoint)},
	{"launch", read_launch, 0},
	{"profile", read_profile, 0},
	{"set", read_profile_set, 0},
	{"api_key_env", read_key_env, 0},
	{"api_key_file", read_key_file, 0},
	{"headers", read_headers, 0},
	{"request", field_map, offsetof(struct target, request), .fields = request_fields},
	{"row", field_str, offsetof(struct target, row)},
	{"column", field_str, offsetof(struct target, column)},
	{"published_tokens_per_s", field_num, offsetof(struct target, published_tokens_per_s),
	 .min = 1e-6, .max = 1e9},
	{0},
};

/* A label must be one of the matrix's where there is one; without, the targets make it. */
static enum rc check_label(const struct ynode *target, const char *key, const char *label,
			   char ***list, bool listed, struct err *e)
{
	if (strings_have(*list, label))
		return RC_OK;
	if (listed)
		return ynode_err(ynode_get(target, key), e, "\"%.100s\" is not in matrix.%ss", label,
				 key);
	strings_push(list, xstrdup(label));
	return RC_OK;
}

static enum rc check_labels(struct scenario *s, const struct target *t, bool listed, struct err *e)
{
	enum rc rc;

	if (!t->row && !t->column)
		return RC_OK;
	if (!t->row || !t->column)
		return ynode_err(t->node, e, "%s is missing beside %s", t->row ? "column" : "row",
				 t->row ? "row" : "column");
	rc = check_label(t->node, "row", t->row, &s->rows, listed, e);
	if (!rc)
		rc = check_label(t->node, "column", t->column, &s->columns, listed, e);
	for (const struct target *o = s->targets; o < t && !rc; o++)
		if (o->row && strcmp(o->row, t->row) == 0 && strcmp(o->column, t->column) == 0)
			rc = ynode_err(t->node, e, "\"%.100s\" stands in the same row and column",
				       o->name);
	return rc;
}

/* Keys that need one another, and a name of its own. */
static enum rc check_target(const struct target *all, const struct target *t, struct err *e)
{
	if (!t->url && !t->launch)
		return ynode_err(t->node, e,
				 "url, launch or profile is missing: where is this engine?");
	for (const struct target *o = all; o < t; o++)
		if (strcmp(o->name, t->name) == 0)
			return ynode_err(ynode_get(t->node, "name"), e,
					 "\"%.100s\" is another target's name", t->name);
	return RC_OK;
}

void target_release(struct target *t)
{
	free(t->name);
	free(t->url);
	free(t->host);
	free(t->prefix);
	free(t->endpoint);
	free(t->dialect);
	free(t->model);
	if (t->api_key)
		explicit_bzero(t->api_key, strlen(t->api_key));
	free(t->api_key);
	for (int i = 0; i < t->n_headers; i++) {
		free(t->headers[i].name);
		free(t->headers[i].value);
	}
	free(t->headers);
	if (t->launch) {
		free(t->launch->program);
		strings_free(t->launch->args);
		free(t->launch->ready);
		free(t->launch);
	}
	free(t->request.extra_json);
	free(t->row);
	free(t->column);
}

static bool is_wanted(const struct opt_list *only, const char *name)
{
	for (size_t i = 0; only && i < only->n; i++)
		if (name && strcmp(only->item[i], name) == 0)
			return true;
	return !only || !only->n;
}

/* The next target into s->targets, also if it is not wanted. */
static enum rc read_target(struct reader *r, const struct ynode *n, struct err *e)
{
	struct target *t = &r->s->targets[r->s->n_targets++];
	const struct ynode *name = ynode_get(n, "name");
	bool environment = r->environment;
	enum rc rc;

	t->node = n;
	t->dialect = xstrdup("openai-chat");
	request_opts_copy(&t->request, &r->request);
	r->environment &= is_wanted(r->only, name ? name->text : NULL);
	rc = read_map(r, n, target_fields, t, e);
	r->environment = environment;
	return rc ? rc : check_target(r->s->targets, t, e);
}

/* Leaves the wanted ones, in the scenario's order. */
static enum rc choose(struct scenario *s, const struct opt_list *only, struct err *e)
{
	int kept = 0;

	for (size_t i = 0; only && i < only->n; i++) {
		bool found = false;
		char names[600];
		size_t at = 0;

		for (int k = 0; k < s->n_targets; k++) {
			found |= strcmp(s->targets[k].name, only->item[i]) == 0;
			if (at < sizeof(names))
				at += (size_t)snprintf(names + at, sizeof(names) - at, "%s%s",
						       k ? ", " : "", s->targets[k].name);
		}
		if (!found)
			return err_set(e, RC_INPUT, "--target %s: no such target, want %s",
				       only->item[i], names);
	}
	for (int i = 0; i < s->n_targets; i++) {
		if (is_wanted(only, s->targets[i].name))
			s->targets[kept++] = s->targets[i];
		else
			target_release(&s->targets[i]);
	}
	s->n_targets = kept;
	return RC_OK;
}

enum rc read_targets(struct reader *r, const struct field *f, const struct ynode *n, void *scenario,
		     struct err *e)
{
	struct scenario *s = scenario;
	bool listed = s->rows != NULL;
	enum rc rc = RC_OK;

	(void)f;
	if (n->kind != YNODE_SEQ || !n->n || n->n > MAX_TARGETS)
		return ynode_err(n, e, "want a list of 1 to %d targets, as in [{name: a, url: ...}]",
				 MAX_TARGETS);
	s->targets = xcalloc(n->n, sizeof(*s->targets));
	for (size_t i = 0; i < n->n && !rc; i++)
		rc = read_target(r, n->child[i], e);
	if (!rc)
		rc = choose(s, r->only, e);
	for (int i = 0; i < s->n_targets && !rc; i++)
		rc = check_labels(s, &s->targets[i], listed, e);
	return rc;
}
