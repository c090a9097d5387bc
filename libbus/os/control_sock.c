/* SPDX-License-Identifier: Apache-2.0 */
#include "os/control_sock.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

int control_connect(const char *path)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int fd, err;

	if (strlen(path) >= sizeof(addr.sun_path))
		return -ENAMETOOLONG;
	strcpy(addr.sun_path, path);
	fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	if (connect(fd, (struct sockaddr *)&addr, sizeof(addr)) != 0) {
		err = -errno;
		close(fd);
		return err;
	}
	return fd;
}

int control_send(int fd, const void *msg, const int *fds, int fd_count)
{
	const struct ctl_head *head = msg;
	struct iovec iov = { .iov_base = (void *)(uintptr_t)msg, .iov_len = head->len };
	union {
		char buf[CMSG_SPACE(CTL_MAX_FDS * sizeof(int))];
		struct cmsghdr align;
	} control = { 0 };
	struct msghdr mh = { .msg_iov = &iov, .msg_iovlen = 1 };
	ssize_t n;

	if (fd_count > 0) {
		struct cmsghdr *cmsg;

		mh.msg_control = control.buf;
		mh.msg_controllen = CMSG_SPACE((size_t)fd_count * sizeof(int));
		cmsg = CMSG_FIRSTHDR(&mh);
		cmsg->cmsg_level = SOL_SOCKET;
		cmsg->cmsg_type = SCM_RIGHTS;
		cmsg->cmsg_len = CMSG_LEN((size_t)fd_count * sizeof(int));
		memcpy(CMSG_DATA(cmsg), fds, (size_t)fd_count * sizeof(int));
	}
	do
		n = sendmsg(fd, &mh, MSG_DONTWAIT | MSG_NOSIGNAL);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return errno == ECONNRESET ? -EPIPE : -errno;
	return (size_t)n == head->len ? 0 : -EIO;
}

static void take_fds(struct msghdr *mh, struct control_packet *packet)
{
	for (struct cmsghdr *cmsg = CMSG_FIRSTHDR(mh); cmsg != NULL; cmsg = CMSG_NXTHDR(mh, cmsg)) {
		size_t count;

		if (cmsg->cmsg_level != SOL_SOCKET || cmsg->cmsg_type != SCM_RIGHTS)
			continue;
		count = (cmsg->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		for (size_t i = 0; i < count; i++) {
			int fd;

			memcpy(&fd, CMSG_DATA(cmsg) + i * sizeof(int), sizeof(fd));
			if (packet->fd_count < CTL_MAX_FDS)
				packet->fds[packet->fd_count++] = fd;
			else
				close(fd);
		}
	}
	packet->fds_lost = (mh->msg_flags & MSG_CTRUNC) != 0;
}

int control_recv(int fd, struct control_packet *packet)
{
	struct iovec iov = { .iov_base = packet->bytes, .iov_len = sizeof(packet->bytes) };
	union {
		char buf[CMSG_SPACE(CTL_MAX_FDS * sizeof(int))];
		struct cmsghdr align;
	} control;
	struct msghdr mh = { .msg_iov = &iov,
			     .msg_iovlen = 1,
			     .msg_control = control.buf,
			     .msg_controllen = sizeof(control.buf) };
	int resets = 0;
	ssize_t n;

	packet->fd_count = 0;
	packet->fds_lost = false;
	for (;;) {
		n = recvmsg(fd, &mh, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
		if (n >= 0)
			break;
		if (errno == EINTR)
			continue;
		if (errno == EAGAIN)
			return 0;
		/*
		 * A peer that closed with unread data of ours gives one ECONNRESET first, what it
		 * had sent after: read on.
		 */
		if (errno != ECONNRESET || ++resets > 2)
			return errno == ECONNRESET ? -EPIPE : -errno;
	}
	take_fds(&mh, packet);
	packet->len = (size_t)n;
	if (n == 0) {
		control_close_fds(packet);
		return -EPIPE;
	}
	if ((mh.msg_flags & MSG_TRUNC) || packet->len < sizeof(struct ctl_head) ||
	    packet->head.len != packet->len) {
		control_close_fds(packet);
		return -EPROTO;
	}
	return 1;
}

int control_wait(int fd, int other, uint64_t deadline_ns)
{
	struct pollfd p[2] = { { .fd = fd, .events = POLLIN }, { .fd = other, .events = POLLIN } };

	for (;;) {
		uint64_t now = bus_monotonic_ns();
		uint64_t left = deadline_ns > now ? deadline_ns - now : 0;
		int ms = deadline_ns == UINT64_MAX
				 ? -1
				 : (int)bus_min_u64((left + 999999) / 1000000, 1000000);
		int n = poll(p, 2, ms);

		if (n > 0)
			return 0;
		if (n < 0 && errno != EINTR)
			return -errno;
		if (n == 0 && left == 0)
			return -ETIMEDOUT;
	}
}

void control_close_fds(struct control_packet *packet)
{
	for (int i = 0; i < packet->fd_count; i++)
		close(packet->fds[i]);
	packet->fd_count = 0;
}

const char *control_versions(uint16_t min, uint16_t max, char text[CONTROL_VERSIONS_TEXT])
{
	if (min == 0 || min >= max)
		snprintf(text, CONTROL_VERSIONS_TEXT, "%u", max);
	else
		snprintf(text, CONTROL_VERSIONS_TEXT, "%u to %u", min, max);
	return text;
}
