/*
 * Owns what a target takes from outside the scenario: ${NAME} in its url and headers, API keys. The
 * only file that reads the environment and key files. Main thread, before anything is opened. Must
 * not let a value of theirs into a message.
 */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/check.h"
#include "base/die.h"
#include "scenario_read.h"

#define MAX_KEY_BYTES	 4096
#define MAX_HEADER_BYTES 8192

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

READER(read_url)
{
	struct target *t = out;
	const char *text;
	struct buf url;
	struct err why;
	enum rc rc = ynode_str(n, &text, e);
	bool filled = !rc && strstr(text, "${");

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

/* A key goes into a header line: visible ASCII without blanks. White space around it is of the
 * file. */
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
	if (strlen(t->api_key) != len || !is_visible(t->api_key))
		return ynode_err(n, e, "the key there has characters that no key has");
	return RC_OK;
}

READER(read_key_env)
{
	const char *name, *key;
	enum rc rc = ynode_str(n, &name, e);

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

READER(read_key_file)
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
	static const char *const ours[] = {
		"host",		"content-length", "transfer-encoding", "connection",
		"content-type", "expect",	  "upgrade",	       "te",
		"trailer"};

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

READER(read_headers)
{
	struct target *t = out;
	enum rc rc = RC_OK;

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
