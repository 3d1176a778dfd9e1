/*
 * Owns the kernel's receive stamps and their way onto our timeline. Loop thread, once per read;
 * allocates nothing.
 */
#include "recv_stamp.h"

#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"

/* Both clocks are slewed alike; only a step of wall time moves one against the other. */
#define LOOK_UP_NS (200 * NS_PER_MS)

/* A stamp further back than this, or in the future, means that wall time has been stepped. */
#define BELIEVED_LAG_NS NS_PER_S

void recv_stamp_init(struct recv_stamp *s, bool kernel)
{
	memset(s, 0, sizeof(*s));
	s->kernel = kernel;
	s->keeper_fd = -1;
	if (!kernel)
		return;
	s->lag_ns = hist_new();
	s->wall_offset_ns = wall_minus_monotonic_ns();
	s->looked_up_ns = monotonic_now_ns();
	/* The kernel stamps packets only while some socket asks for it, and switches with a delay:
	 * without this one the first answer of a run would carry no stamp. */
	s->keeper_fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (s->keeper_fd >= 0)
		recv_stamp_enable(s, s->keeper_fd);
}

void recv_stamp_release(struct recv_stamp *s)
{
	hist_free(s->lag_ns);
	if (s->keeper_fd >= 0)
		close(s->keeper_fd);
}

void recv_stamp_enable(const struct recv_stamp *s, int fd)
{
	static const int on = 1;

	if (s->kernel)
		setsockopt(fd, SOL_SOCKET, SO_TIMESTAMPNS, &on, sizeof(on));
}

static void look_up_offset(struct recv_stamp *s, int64_t now_ns)
{
	s->wall_offset_ns = wall_minus_monotonic_ns();
	s->looked_up_ns = now_ns;
}

static int64_t on_our_timeline(struct recv_stamp *s, int64_t wall_ns, int64_t now_ns)
{
	int64_t t_ns;

	if (now_ns - s->looked_up_ns > LOOK_UP_NS)
		look_up_offset(s, now_ns);
	t_ns = wall_ns - s->wall_offset_ns;
	if (t_ns > now_ns || now_ns - t_ns > BELIEVED_LAG_NS) {
		look_up_offset(s, now_ns);
		t_ns = wall_ns - s->wall_offset_ns;
	}
	return t_ns < now_ns ? t_ns : now_ns;
}

ssize_t recv_stamp_read(struct recv_stamp *s, int fd, void *p, size_t n, int64_t *t_ns)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(sizeof(struct timespec))];
	} control;
	struct iovec io = {p, n};
	struct msghdr msg = {.msg_iov = &io,
			     .msg_iovlen = 1,
			     .msg_control = s->kernel ? &control : NULL,
			     .msg_controllen = s->kernel ? sizeof(control) : 0};
	ssize_t got = recvmsg(fd, &msg, 0);
	int64_t now_ns = monotonic_now_ns();

	*t_ns = s->now_ns = now_ns;
	if (got <= 0 || !s->kernel)
		return got;
	for (struct cmsghdr *c = CMSG_FIRSTHDR(&msg); c; c = CMSG_NXTHDR(&msg, c)) {
		struct timespec wall;

		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_TIMESTAMPNS)
			continue;
		memcpy(&wall, CMSG_DATA(c), sizeof(wall));
		*t_ns = on_our_timeline(s, (int64_t)wall.tv_sec * NS_PER_S + wall.tv_nsec, now_ns);
		hist_record(s->lag_ns, now_ns - *t_ns);
	}
	return got;
}
