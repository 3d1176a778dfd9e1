/*
 * Owns how an address is written: http://host:port/prefix and its kin into the parts of a target.
 * Pure. Must not know where the text comes from: a scenario, or the line of an engine that was
 * launched.
 */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/check.h"
#include "base/die.h"
#include "base/units.h"
#include "scenario_read.h"

#define MAX_UNIX_PATH 107 /* sockaddr_un.sun_path less its NUL */

static enum rc bad_url(const char *url, const char *what, struct err *e)
{
	return err_set(
		e, RC_INPUT,
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
	if (!is_visible(url))
		return bad_url(url, "a character that no URL has", e);
	at = url + strlen(row[i].start);
	port = row[i].port;
	if (row[i].scheme == URL_UNIX) {
		if (*at != '/' || strlen(at) > MAX_UNIX_PATH)
			return bad_url(
				url, "a socket's path begins with / and has 107 bytes at most", e);
		host = xstrdup(at);
	} else {
		/* Passwords and keys stand there: not to be repeated. */
		if (strpbrk(at, "@?#"))
			return err_set(e, RC_INPUT,
				       "got an address with a user, query or fragment, want "
				       "http://host:port[/prefix] (for keys see api_key_env)");
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
