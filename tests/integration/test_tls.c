/*
 * Requests over real TLS on loopback: a server in a child process, with a certificate made here. A
 * good one carries a stream; one that does not fit is the outcome `tls`, before a byte of the
 * request is sent, and the look before a load says what to do about it; a cut that TLS did not
 * announce is no end of a body. Then a whole run, by several workers.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../support/child.h"
#include "base/check.h"
#include "base/clock.h"
#include "base/die.h"
#include "base/evloop.h"
#include "loadgen/preflight.h"
#include "loadgen/request.h"
#include "loadgen/run.h"

#define DAY_S (24L * 3600)

/* ---- a certificate ---- */

struct identity {
	EVP_PKEY *key;
	X509 *certificate;
	char path[64]; /* of the certificate as a file, to be trusted */
};

/* Signs itself; valid for `days` from yesterday on. */
static void identity_make(struct identity *id, const char *subject, int days)
{
	X509 *x = X509_new();
	X509_NAME *name = X509_get_subject_name(x);
	X509_EXTENSION *alt;
	FILE *f;
	int fd;

	id->key = EVP_EC_gen("P-256");
	assert_non_null(id->key);
	X509_set_version(x, X509_VERSION_3);
	ASN1_INTEGER_set(X509_get_serialNumber(x), 1);
	X509_gmtime_adj(X509_getm_notBefore(x), -DAY_S);
	X509_gmtime_adj(X509_getm_notAfter(x), (days - 1) * DAY_S);
	X509_set_pubkey(x, id->key);
	X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const unsigned char *)"test", -1, -1,
				   0);
	X509_set_issuer_name(x, name);
	alt = X509V3_EXT_conf_nid(NULL, NULL, NID_subject_alt_name, subject);
	assert_non_null(alt);
	X509_add_ext(x, alt, -1);
	X509_EXTENSION_free(alt);
	assert_true(X509_sign(x, id->key, EVP_sha256()) > 0);
	id->certificate = x;
	strcpy(id->path, "/tmp/test_tls.XXXXXX");
	fd = mkstemp(id->path);
	assert_true(fd >= 0);
	f = fdopen(fd, "w");
	assert_true(PEM_write_X509(f, x));
	fclose(f);
}

static void identity_release(struct identity *id)
{
	unlink(id->path);
	X509_free(id->certificate);
	EVP_PKEY_free(id->key);
}

/* ---- a server ---- */

enum goodbye { WITH_NOTICE, WITHOUT, PLAIN /* no TLS at all */ };

struct tls_server {
	int port;
	pid_t child;
};

static void answer_one(SSL *ssl, const char *answer, enum goodbye how)
{
	char request[8192];
	size_t len = 0;
	int n;

	while (len < sizeof(request) - 1) {
		n = SSL_read(ssl, request + len, (int)(sizeof(request) - 1 - len));
		if (n <= 0)
			return;
		len += (size_t)n;
		request[len] = '\0';
		if (strstr(request, "ignore_eos")) /* the last member of the body */
			break;
	}
	SSL_write(ssl, answer, (int)strlen(answer));
	if (how == WITH_NOTICE)
		SSL_shutdown(ssl);
}

static void answer_plainly(int peer)
{
	static const char refusal[] = "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n";
	char hello[1024];

	if (recv(peer, hello, sizeof(hello), 0) > 0)
		send(peer, refusal, strlen(refusal), MSG_NOSIGNAL);
}

static void serve(int fd, const struct identity *id, const char *answer, enum goodbye how)
{
	SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());

	SSL_CTX_use_certificate(ctx, id->certificate);
	SSL_CTX_use_PrivateKey(ctx, id->key);
	for (;;) {
		int peer = accept(fd, NULL, NULL);
		SSL *ssl = SSL_new(ctx);

		SSL_set_fd(ssl, peer);
		if (how == PLAIN)
			answer_plainly(peer);
		else if (SSL_accept(ssl) == 1)
			answer_one(ssl, answer, how);
		SSL_free(ssl);
		close(peer);
	}
}

static void server_start(struct tls_server *s, const struct identity *id, const char *answer,
			 enum goodbye how)
{
	struct sockaddr_in in = {.sin_family = AF_INET};
	socklen_t len = sizeof(in);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	assert_int_equal(bind(fd, (struct sockaddr *)&in, sizeof(in)), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&in, &len), 0);
	assert_int_equal(listen(fd, 16), 0);
	s->port = ntohs(in.sin_port);
	s->child = fork_bound();
	assert_true(s->child >= 0);
	if (s->child == 0) {
		signal(SIGPIPE, SIG_IGN);
		alarm(60);
		serve(fd, id, answer, how);
	}
	close(fd);
}

static void server_stop(struct tls_server *s)
{
	kill(s->child, SIGKILL);
	waitpid(s->child, NULL, 0);
}

/* ---- requests ---- */

#define HEAD  "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
#define TOKEN "data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\n"
#define DONE  "data: [DONE]\n\n"

static const struct {
	const char *what;
	const char *subject; /* whom the certificate names */
	int days;	     /* 0: it has run out */
	bool trusted;
	const char *answer;
	enum goodbye goodbye;
	enum outcome outcome;
	int status, token_events;
	const char *error;
	const char *advice; /* where it is `tls` */
} cases[] = {
	{"a stream", "IP:127.0.0.1", 30, true, HEAD "\r\n" TOKEN TOKEN DONE, WITH_NOTICE,
	 OUTCOME_OK, 200, 2, "", ""},
	{"nobody vouches for it", "IP:127.0.0.1", 30, false, HEAD "\r\n" TOKEN DONE, WITH_NOTICE,
	 OUTCOME_TLS, 0, 0, "self-signed certificate", "name its file in CURL_CA_BUNDLE"},
	{"of somebody else", "DNS:elsewhere.invalid", 30, true, HEAD "\r\n" TOKEN DONE, WITH_NOTICE,
	 OUTCOME_TLS, 0, 0, "127.0.0.1", "want a url with a name that the certificate holds"},
	{"run out", "IP:127.0.0.1", 0, true, HEAD "\r\n" TOKEN DONE, WITH_NOTICE, OUTCOME_TLS, 0, 0,
	 "expired", "it has to be renewed"},
	{"plain HTTP", "IP:127.0.0.1", 30, true, "", PLAIN, OUTCOME_TLS, 0, 0,
	 "wrong version number", "want http://"},
	{"a body up to the close, with notice", "IP:127.0.0.1", 30, true, HEAD "\r\n" TOKEN,
	 WITH_NOTICE, OUTCOME_TRUNCATED, 200, 1, "without finish_reason or [DONE]", ""},
	{"a cut inside a chunk", "IP:127.0.0.1", 30, true,
	 HEAD "Transfer-Encoding: chunked\r\n\r\n50\r\n" TOKEN, WITHOUT, OUTCOME_TRUNCATED, 200, 1,
	 "", ""},
	{"a cut where the close is the end", "IP:127.0.0.1", 30, true, HEAD "\r\n" TOKEN, WITHOUT,
	 OUTCOME_TRUNCATED, 200, 1, "", ""},
	{"an answer that is none", "IP:127.0.0.1", 30, true, "hello\r\n\r\n", WITH_NOTICE,
	 OUTCOME_PROTOCOL, 0, 0, "", ""},
	{"no answer", "IP:127.0.0.1", 30, true, "", WITH_NOTICE, OUTCOME_CLOSED, 0, 0, "", ""},
};

struct stage {
	struct evloop *loop;
	struct record rec;
	bool ended;
};

static void on_request_end(struct request *q, void *arg)
{
	struct stage *g = arg;

	g->rec = request_take_record(q);
	g->ended = true;
	evloop_stop(g->loop);
}

static struct target target_at(int port)
{
	return (struct target){.name = (char *)"t",
			       .scheme = URL_HTTPS,
			       .host = (char *)"127.0.0.1",
			       .port = port,
			       .prefix = (char *)"",
			       .request = {.stream = true, .ignore_eos = true}};
}

static const struct limits limits = {.connect_ns = 10 * NS_PER_S, .timeout_ns = 20 * NS_PER_S};

static void ask(struct stage *g, int port)
{
	static const struct planned_request plan = {.text = "Hi", .len = 2, .output_tokens = 4};
	struct target t = target_at(port);
	struct request_env env = {.loop = g->loop,
				  .target = &t,
				  .model = "m",
				  .dialect = &dialect_openai_chat,
				  .transport_type = transport_for(&t),
				  .limits = &limits,
				  .keep_events = true,
				  .on_end = on_request_end,
				  .arg = g};
	struct record rec;
	struct err e;

	record_init(&rec);
	assert_int_equal(
		env.transport_type->open(&env.transport, g->loop, &t, limits.connect_ns, &e),
		RC_OK);
	request_start(&env, &plan, &rec, monotonic_now_ns());
	while (!g->ended)
		evloop_run(g->loop);
	env.transport_type->close(env.transport);
}

/* Somebody is there, and that is what is said. */
static void check_advice(struct evloop *loop, size_t i, int port)
{
	static const volatile sig_atomic_t never = 0;
	struct target t = target_at(port);
	const struct request_env env = {.loop = loop,
					.target = &t,
					.dialect = &dialect_openai_chat,
					.transport_type = transport_for(&t),
					.limits = &limits};
	struct preflight_found found;
	struct err e;

	preflight_found_init(&found);
	assert_int_equal(preflight(&env, true, &never, &found, &e), RC_OK);
	assert_true(found.tls_failed);
	assert_false(found.asked);
	assert_true(preflight_is_hopeless(&found));
	if (!strstr(found.why, cases[i].error) ||
	    !strstr(preflight_tls_advice(&found), cases[i].advice))
		fail_msg("%s: %s%s", cases[i].what, found.why, preflight_tls_advice(&found));
	preflight_found_release(&found);
}

static void test_cases(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct stage g = {.loop = evloop_new()};
		struct identity id, other;
		struct tls_server s;

		identity_make(&id, cases[i].subject, cases[i].days);
		identity_make(&other, "DNS:other.invalid", 30);
		setenv("SSL_CERT_FILE", cases[i].trusted ? id.path : other.path, 1);
		server_start(&s, &id, cases[i].answer, cases[i].goodbye);
		ask(&g, s.port);
		if (g.rec.outcome != cases[i].outcome || !strstr(g.rec.error, cases[i].error))
			fail_msg("%s: %s, \"%s\"", cases[i].what, outcome_name(g.rec.outcome),
				 g.rec.error);
		assert_int_equal(g.rec.http_status, cases[i].status);
		assert_int_equal(g.rec.n_events, cases[i].token_events);
		assert_int_equal(g.rec.written_ns >= 0, cases[i].outcome != OUTCOME_TLS);
		if (cases[i].outcome == OUTCOME_TLS)
			check_advice(g.loop, i, s.port);
		record_release(&g.rec);
		server_stop(&s);
		identity_release(&id);
		identity_release(&other);
		evloop_free(g.loop);
	}
}

/* Each worker has connections of its own; all requests are answered, and all rows come back. */
static void test_workers(void **state)
{
	static const char text[] = "name: w\nworkers: 3\n"
				   "targets: [{name: t, url: 'https://127.0.0.1:%d', model: m}]\n"
				   "workload: {prompts: {text: [hello]}, output_tokens: 2, "
				   "request: {ignore_eos: true}}\n"
				   "load: {closed: {concurrency: 4, requests: 12}}\n"
				   "output: {plots: [], scrape: 0}\n";
	char dir[] = "/tmp/test_tls.XXXXXX", *run_dir, *remove, *yaml;
	struct run_opts opts = {.progress = PROGRESS_NONE};
	struct scenario *scenario = NULL;
	struct run_done done = {0};
	int rows[3] = {0};
	struct tls_server s;
	struct identity id;
	struct err e = {0};

	(void)state;
	identity_make(&id, "IP:127.0.0.1", 30);
	setenv("SSL_CERT_FILE", id.path, 1);
	server_start(&s, &id, HEAD "\r\n" TOKEN TOKEN DONE, WITH_NOTICE);
	assert_non_null(mkdtemp(dir));
	run_dir = xasprintf("%s/r", dir);
	yaml = xasprintf(text, s.port);
	opts.out_dir = run_dir;
	if (scenario_parse(&scenario, "s.yaml", yaml, strlen(yaml), NULL, NULL, &e) != RC_OK ||
	    run_scenario(scenario, &opts, &done, &e) != RC_OK)
		fail_msg("%s", e.msg);
	assert_int_equal(done.n_records, 12);
	for (size_t i = 0; i < done.n_records; i++) {
		const struct record *r = &done.records[i];

		if (r->outcome != OUTCOME_OK)
			fail_msg("%s: %s", outcome_name(r->outcome), r->error);
		assert_int_equal(r->n_events, 2);
		rows[r->worker]++;
	}
	for (int w = 0; w < 3; w++)
		assert_int_equal(rows[w], 4);
	run_done_release(&done);
	scenario_free(scenario);
	server_stop(&s);
	identity_release(&id);
	remove = xasprintf("rm -rf '%s'", dir);
	assert_int_equal(system(remove), 0);
	free(remove);
	free(run_dir);
	free(yaml);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_cases),
		cmocka_unit_test(test_workers),
	};

	unsetenv("CURL_CA_BUNDLE"); /* it would go before SSL_CERT_FILE */
	alarm(60);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
