/* SPDX-License-Identifier: Apache-2.0 */
/*
 * epoll.c - a subscription in a program's own event loop: what comes on standard input (a pipe or a
 * terminal) is published on a topic, what anybody publishes there is printed. Ends with its input.
 *
 *	epoll TOPIC
 */
#include <bus.h>
#include <err.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

static void watch(int epoll_fd, int fd)
{
	struct epoll_event ev = { .events = EPOLLIN, .data.fd = fd };

	if (fd < 0)
		errx(1, "no descriptor: %s", strerror(-fd));
	if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &ev) < 0)
		err(1, "cannot watch descriptor %d", fd);
}

/* Peeks until nothing is there: only that makes the descriptor wait for the next message. */
static void print_messages(struct bus_sub *sub)
{
	struct bus_msg msgs[16];
	int n;

	while ((n = bus_sub_peek(sub, msgs, 16)) > 0) {
		for (int i = 0; i < n; i++)
			printf("%s: %.*s\n", msgs[i].from->name, (int)msgs[i].len,
			       (const char *)msgs[i].data);
		if (bus_sub_release(sub, n) < 0)
			warnx("evicted while reading: the lines above may be garbage");
	}
	if (n < 0)
		warnx("%s", strerror(-n));
	fflush(stdout);
}

/*
 * One message for what one read gives: on a terminal that is a line. Not more than one before the
 * descriptors are looked at again: this program waits for itself when the ring is full of what it
 * has not read. Returns 0 at the end of the input.
 */
static int publish_input(struct bus_pub *pub)
{
	char buf[4096];
	ssize_t got = read(STDIN_FILENO, buf, sizeof(buf));
	int r;

	if (got <= 0)
		return 0;
	if (buf[got - 1] == '\n')
		got--;
	r = bus_pub_send(pub, buf, (uint32_t)got);
	if (r < 0)
		warnx("cannot publish: %s", strerror(-r));
	return 1;
}

int main(int argc, char **argv)
{
	struct epoll_event ev;
	struct bus *bus;
	struct bus_pub *pub;
	struct bus_sub *sub;
	int epoll_fd = epoll_create1(EPOLL_CLOEXEC), bus_fd, more = 1;

	if (argc != 2)
		errx(2, "usage: epoll TOPIC");
	if (epoll_fd < 0)
		err(1, "epoll");
	if (bus_connect(&bus, NULL) < 0)
		errx(1, "%s", bus_why(NULL));
	if (bus_sub_open(&sub, bus, argv[1], NULL) < 0 || bus_pub_open(&pub, bus, argv[1], NULL) < 0)
		errx(1, "%s", bus_why(bus));
	bus_fd = bus_sub_fd(sub);
	watch(epoll_fd, bus_fd);
	watch(epoll_fd, STDIN_FILENO);
	while (more) {
		int n = epoll_wait(epoll_fd, &ev, 1, -1);

		if (n < 0 && errno != EINTR)
			err(1, "epoll_wait");
		if (n <= 0)
			continue; /* the wake-up behind bus_fd may interrupt it, without a signal */
		if (ev.data.fd == bus_fd)
			print_messages(sub);
		else
			more = publish_input(pub);
	}
	bus_close(bus);
	return 0;
}
