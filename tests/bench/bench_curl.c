/*
 * Owns libcurl's multi handle on epoll: curl_multi_poll() walks every handle; the socket interface
 * is what a careful program uses.
 */
#include "bench_curl.h"

#include <errno.h>
#include <sys/epoll.h>

size_t throw_away(char *p, size_t size, size_t n, void *arg)
{
	(void)p;
	(void)arg;
	return size * n;
}

static int watch_socket(CURL *easy, curl_socket_t fd, int what, void *arg, void *socket)
{
	struct epoll_event e = {.data.fd = fd};
	int ep = *(int *)arg;

	(void)easy;
	e.events = (what & CURL_POLL_IN ? EPOLLIN : 0u) | (what & CURL_POLL_OUT ? EPOLLOUT : 0u);
	if (what == CURL_POLL_REMOVE)
		epoll_ctl(ep, EPOLL_CTL_DEL, fd, NULL);
	else if (epoll_ctl(ep, socket ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, fd, &e) && errno == EEXIST)
		epoll_ctl(ep, EPOLL_CTL_MOD, fd, &e);
	return 0;
}

static int set_timeout(CURLM *m, long ms, void *arg)
{
	(void)m;
	*(long *)arg = ms;
	return 0;
}

static bool tell_done(CURLM *m, bool (*on_done)(CURLM *m, CURL *easy, void *arg), void *arg)
{
	CURLMsg *msg;
	bool more = false;
	int left;

	while (on_done && (msg = curl_multi_info_read(m, &left)) != NULL)
		if (msg->msg == CURLMSG_DONE)
			more |= on_done(m, msg->easy_handle, arg);
	return more;
}

void drive_curl(CURLM *m, bool (*on_done)(CURLM *m, CURL *easy, void *arg), void *arg)
{
	struct epoll_event ready[256];
	int ep = epoll_create1(EPOLL_CLOEXEC), running = 1;
	long timeout_ms = 0;

	curl_multi_setopt(m, CURLMOPT_SOCKETFUNCTION, watch_socket);
	curl_multi_setopt(m, CURLMOPT_SOCKETDATA, &ep);
	curl_multi_setopt(m, CURLMOPT_TIMERFUNCTION, set_timeout);
	curl_multi_setopt(m, CURLMOPT_TIMERDATA, &timeout_ms);
	curl_multi_socket_action(m, CURL_SOCKET_TIMEOUT, 0, &running);
	while (running > 0) {
		int n = epoll_wait(ep, ready, 256, timeout_ms < 0 ? 1000 : (int)timeout_ms);

		if (n <= 0)
			curl_multi_socket_action(m, CURL_SOCKET_TIMEOUT, 0, &running);
		for (int i = 0; i < n; i++)
			curl_multi_socket_action(
				m, ready[i].data.fd,
				(ready[i].events & EPOLLOUT ? CURL_CSELECT_OUT : 0) |
					(ready[i].events & ~EPOLLOUT ? CURL_CSELECT_IN : 0),
				&running);
		if (tell_done(m, on_done, arg))
			running = 1;
	}
}
