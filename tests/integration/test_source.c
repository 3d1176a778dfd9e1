/*
 * Where connections to a loopback address leave from: one address until its ports run low, each
 * worker its own.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/check.h"
#include "base/evloop.h"
#include "loadgen/transport.h"

/* The address that a connection of this transport comes from. */
static uint32_t source_of(int first_source)
{
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
	struct xfer_spec get = {.method = "GET", .path = "/", .headers = "", .keep_alive = true};
	struct evloop *loop = evloop_new();
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), peer;
	struct pollfd p = {.fd = fd, .events = POLLIN};
	socklen_t len = sizeof(at);
	struct transport *t;
	struct target target = {.scheme = URL_HTTP, .host = (char *)"127.0.0.1"};
	struct err e;

	assert_int_equal(bind(fd, (struct sockaddr *)&at, sizeof(at)), 0);
	assert_int_equal(listen(fd, 4), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&at, &len), 0);
	target.port = ntohs(at.sin_port);
	target.first_source = first_source;
	assert_int_equal(transport_http1.open(&t, loop, &target, NS_PER_S, &e), RC_OK);
	transport_http1.start(t, &get, &xfer_silent, NULL);
	assert_int_equal(poll(&p, 1, 10000), 1);
	len = sizeof(at);
	peer = accept(fd, (struct sockaddr *)&at, &len);
	assert_true(peer >= 0);
	transport_http1.close(t);
	evloop_free(loop);
	close(peer);
	close(fd);
	return ntohl(at.sin_addr.s_addr);
}

static void test_sources(void **state)
{
	(void)state;
	assert_int_equal(source_of(0), INADDR_LOOPBACK);
	assert_int_equal(source_of(16), INADDR_LOOPBACK + 16);
	assert_int_equal(source_of(1000), INADDR_LOOPBACK + 1000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_sources),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
