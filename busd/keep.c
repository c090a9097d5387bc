/* SPDX-License-Identifier: Apache-2.0 */
/* keep.c - the worker's side of the link to its keeper; see keep.h */
#include "keep.h"

#include "idmap.h"
#include "log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#define RETRY_US  500
#define RETRY_MAX 4000

#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 8u
#endif

static int link_fd = -1;
static struct idmap inherited; /* number -> descriptor + 1 */
static uint64_t *drops;
static size_t drop_count, drop_room;

int keep_memfd(const char *name)
{
	int fd = memfd_create(name, MFD_CLOEXEC | MFD_NOEXEC_SEAL);

	if (fd < 0 && errno == EINVAL) /* before Linux 6.3 */
		fd = memfd_create(name, MFD_CLOEXEC);
	return fd;
}

int keep_open(int table_fd)
{
	struct keep_entry entry;
	ssize_t len;

	if (lseek(table_fd, 0, SEEK_SET) < 0)
		return -errno;
	while ((len = read(table_fd, &entry, sizeof(entry))) == sizeof(entry)) {
		if (fcntl(entry.fd, F_SETFD, FD_CLOEXEC) < 0)
			return -errno;
		if (entry.id == KEEP_LINK)
			link_fd = entry.fd;
		else if (idmap_put(&inherited, entry.id, (void *)(intptr_t)(entry.fd + 1)) < 0)
			return -ENOMEM;
	}
	close(table_fd);
	return len == 0 && link_fd >= 0 ? 0 : -EPROTO;
}

int keep_take(uint64_t id)
{
	int fd = (int)(intptr_t)idmap_get(&inherited, id) - 1;

	if (fd >= 0)
		idmap_remove(&inherited, id);
	return fd;
}

int keep_look(uint64_t id)
{
	return (int)(intptr_t)idmap_get(&inherited, id) - 1;
}

/*
 * The keeper always reads, so this waits for no longer than that takes. The kernel may refuse a
 * descriptor while too many are under way: then it is tried again.
 */
static void tell(enum keep_op op, uint64_t id, int fd)
{
	struct keep_msg body = { .op = op, .id = id };
	union {
		struct cmsghdr align;
		char buf[CMSG_SPACE(sizeof(int))];
	} control;
	struct iovec iov = { .iov_base = &body, .iov_len = sizeof(body) };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
	int tries;

	if (link_fd < 0)
		return;
	if (fd >= 0) {
		memset(&control, 0, sizeof(control));
		msg.msg_control = &control;
		msg.msg_controllen = sizeof(control.buf);
		control.align.cmsg_level = SOL_SOCKET;
		control.align.cmsg_type = SCM_RIGHTS;
		control.align.cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(&control.align), &fd, sizeof(fd));
	}
	for (tries = 0; tries < RETRY_MAX; tries++) {
		if (sendmsg(link_fd, &msg, MSG_NOSIGNAL) >= 0)
			return;
		if (errno == EPIPE || errno == ECONNRESET)
			return; /* without a keeper this process is about to end */
		if (errno != EINTR)
			usleep(RETRY_US);
	}
	/* going on would be a promise that the next worker cannot keep */
	log_error("the keeper cannot be told of descriptor %d: %s", fd, strerror(errno));
	abort();
}

void keep_hold(uint64_t id, int fd)
{
	tell(KEEP_HOLD, id, fd);
}

void keep_drop(uint64_t id)
{
	if (link_fd < 0)
		return;
	if (drop_count == drop_room) {
		size_t room = drop_room ? drop_room * 2 : 64;
		uint64_t *larger = realloc(drops, room * sizeof(*drops));

		if (!larger)
			return; /* the next worker finds it unknown to the journal */
		drops = larger;
		drop_room = room;
	}
	drops[drop_count++] = id;
}

void keep_flush(void)
{
	size_t i;

	for (i = 0; i < drop_count; i++)
		tell(KEEP_DROP, drops[i], -1);
	drop_count = 0;
}

void keep_drop_rest(void)
{
	size_t i;

	for (i = 0; i < inherited.room; i++) {
		const struct idmap_slot *slot = &inherited.slots[i];

		if (slot->id == 0)
			continue;
		tell(KEEP_DROP, slot->id, -1);
		close((int)(intptr_t)slot->value - 1);
	}
	idmap_free(&inherited);
}

void keep_ready(void)
{
	tell(KEEP_READY, 0, -1);
}

int keep_copy(const char *path)
{
	int from = open(path, O_RDONLY | O_CLOEXEC);
	int to = from < 0 ? -1 : keep_memfd("configuration");
	char buf[4096];
	ssize_t len = -1;

	while (to >= 0 && (len = read(from, buf, sizeof(buf))) > 0)
		if (write(to, buf, (size_t)len) != len)
			break;
	if (from >= 0)
		close(from);
	if (to >= 0 && len != 0) {
		close(to);
		return -1;
	}
	return to;
}

void keep_config(const char *path)
{
	int fd = keep_copy(path);

	if (fd < 0) {
		log_warning("the keeper gets no copy of %s: a new worker starts with the former one",
			    path);
		return;
	}
	keep_hold(KEEP_CONFIG, fd);
	close(fd);
}
