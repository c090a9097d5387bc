/* SPDX-License-Identifier: Apache-2.0 */
/* peer.c - see peer.h */
#include "peer.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <fcntl.h>

#ifndef SO_PEERPIDFD
#define SO_PEERPIDFD 77
#endif
#ifndef SO_PEERGROUPS
#define SO_PEERGROUPS 59
#endif

/* Reads a small file of /proc/PID whole; its length or -errno. */
static ssize_t read_proc(uint32_t pid, const char *name, char *buf, size_t size)
{
	char path[64];
	ssize_t len;
	int fd;

	snprintf(path, sizeof(path), "/proc/%u/%s", pid, name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	len = read(fd, buf, size - 1);
	if (len < 0)
		len = -errno;
	else
		buf[len] = 0;
	close(fd);
	return len;
}

/*
 * The tick at which the process began: field 22 of stat, counted behind the command, which may
 * contain anything.
 */
static int start_time(uint32_t pid, unsigned long long *ret)
{
	char buf[1024];
	ssize_t len = read_proc(pid, "stat", buf, sizeof(buf));
	const char *p;
	int field;

	if (len < 0)
		return (int)len;
	p = strrchr(buf, ')');
	for (field = 2; p && field < 22; field++)
		p = strchr(p + 1, ' ');
	if (!p)
		return -EPROTO;
	*ret = strtoull(p + 1, NULL, 10);
	return 0;
}

/*
 * Before Linux 6.5 a pidfd can only be had by number, and numbers are used again. What is opened
 * is the peer if a process of this number was there before and after with the same start, and the
 * peer's credentials still name it: the connection was made by a process that had the number, and
 * it was alive when it connected. What remains is a peer that died and was replaced before the
 * first look; then the socket is hung up as well, which ends the client too.
 */
static int open_by_number(uint32_t pid, int *ret)
{
	unsigned long long before = 0, after = 1;
	int rc = start_time(pid, &before);
	int fd;

	if (rc < 0)
		return -ESRCH;
	fd = (int)syscall(SYS_pidfd_open, (pid_t)pid, 0);
	if (fd < 0)
		return -errno;
	rc = start_time(pid, &after);
	if (rc < 0 || before != after) {
		close(fd);
		return -ESRCH;
	}
	*ret = fd;
	return 0;
}

static int read_groups(int fd, struct peer_identity *ret)
{
	socklen_t size = 0;

	if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, NULL, &size) == 0 || errno != ERANGE)
		return 0; /* none */
	ret->groups = malloc(size);
	if (!ret->groups)
		return -ENOMEM;
	if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, ret->groups, &size) < 0)
		return -errno;
	ret->group_count = size / sizeof(gid_t);
	return 0;
}

int peer_identify(int fd, struct peer_identity *ret, struct why *why)
{
	struct ucred cred;
	socklen_t size = sizeof(cred);
	int pidfd = -1;
	ssize_t len;
	int rc = 0;

	memset(ret, 0, sizeof(*ret));
	ret->pidfd = -1;
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &size) < 0)
		return because(why, errno, "the kernel does not say who connected: %s",
			       strerror(errno));
	ret->pid = cred.pid > 0 ? (uint32_t)cred.pid : 0;
	ret->uid = cred.uid;
	ret->gid = cred.gid;
	/* the descriptor says who it is in whatever pid namespace; the number only in busd's */
	size = sizeof(pidfd);
	if (getsockopt(fd, SOL_SOCKET, SO_PEERPIDFD, &pidfd, &size) < 0) {
		if (errno != ENOPROTOOPT)
			rc = ret->pid ? -errno : 0; /* of a stranger the hang-up must do */
		else if (ret->pid)
			rc = open_by_number(ret->pid, &pidfd);
		if (rc < 0)
			return because(why, -rc, "process %u cannot be watched: %s", ret->pid,
				       strerror(-rc));
	}
	ret->pidfd = pidfd;
	if (ret->pid) {
		len = read_proc(ret->pid, "comm", ret->command, sizeof(ret->command));
		if (len > 0 && ret->command[len - 1] == '\n')
			ret->command[len - 1] = 0;
		if (len < 0)
			ret->command[0] = 0;
	}
	rc = read_groups(fd, ret);
	if (rc < 0) {
		free(ret->groups);
		if (ret->pidfd >= 0)
			close(ret->pidfd);
		return because(why, -rc, "the groups of process %u cannot be read: %s", ret->pid,
			       strerror(-rc));
	}
	return 0;
}
