/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fail_nth.c - a preloaded library (LD_PRELOAD) that lets the Nth call of one kind fail, as the
 * kernel or libc would: to be told by another process, through a file that both map
 * ($FAIL_NTH_CONTROL, a struct fail_control). Once, unless `burst` says that those after it fail too.
 *
 * Calls that libc makes inside itself are not seen, but for those of malloc.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "lib/preload/fail_nth.h"

static struct fail_control *control;

__attribute__((constructor)) static void begin(void)
{
	const char *path = getenv("FAIL_NTH_CONTROL");
	void *map;
	int fd;

	if (!path)
		return;
	fd = (int)syscall(SYS_openat, AT_FDCWD, path, O_RDWR | O_CLOEXEC, 0);
	if (fd < 0)
		return;
	map = (void *)syscall(SYS_mmap, NULL, sizeof(*control), PROT_READ | PROT_WRITE, MAP_SHARED,
			      fd, 0);
	close(fd);
	if (map != MAP_FAILED)
		control = map;
}

/* Is this the call that is to fail? Only in the process that is meant. */
static int fails(enum fail_kind kind, int error)
{
	struct fail_control *c = control;
	long n;

	if (!c || atomic_load(&c->kind) != (int)kind)
		return 0;
	if (atomic_load(&c->only_pid) && atomic_load(&c->only_pid) != getpid())
		return 0;
	n = atomic_fetch_sub(&c->countdown, 1);
	if (n > 1 || n <= 1 - (long)atomic_load(&c->burst))
		return 0;
	atomic_fetch_add(&c->failed, 1);
	errno = error;
	return 1;
}

/* glibc's own names: dlsym() would need memory itself */
void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *old, size_t size);

void *malloc(size_t size)
{
	return fails(FAIL_MALLOC, ENOMEM) ? NULL : __libc_malloc(size);
}

void *calloc(size_t count, size_t size)
{
	return fails(FAIL_MALLOC, ENOMEM) ? NULL : __libc_calloc(count, size);
}

void *realloc(void *old, size_t size)
{
	return fails(FAIL_MALLOC, ENOMEM) ? NULL : __libc_realloc(old, size);
}

void *mmap(void *addr, size_t len, int prot, int flags, int fd, off_t offset)
{
	if (fails(FAIL_MMAP, ENOMEM))
		return MAP_FAILED;
	return (void *)syscall(SYS_mmap, addr, len, prot, flags, fd, offset);
}

int memfd_create(const char *name, unsigned flags)
{
	return fails(FAIL_MEMFD, EMFILE) ? -1 : (int)syscall(SYS_memfd_create, name, flags);
}

int fallocate(int fd, int mode, off_t offset, off_t len)
{
	return fails(FAIL_FALLOCATE, ENOSPC) ? -1
					     : (int)syscall(SYS_fallocate, fd, mode, offset, len);
}

int ftruncate(int fd, off_t len)
{
	return fails(FAIL_FALLOCATE, ENOSPC) ? -1 : (int)syscall(SYS_ftruncate, fd, len);
}

int socket(int domain, int type, int protocol)
{
	return fails(FAIL_SOCKET, EMFILE) ? -1 : (int)syscall(SYS_socket, domain, type, protocol);
}

int socketpair(int domain, int type, int protocol, int fds[2])
{
	return fails(FAIL_SOCKET, EMFILE)
		       ? -1
		       : (int)syscall(SYS_socketpair, domain, type, protocol, fds);
}

int accept4(int fd, struct sockaddr *addr, socklen_t *len, int flags)
{
	return fails(FAIL_ACCEPT, EMFILE) ? -1 : (int)syscall(SYS_accept4, fd, addr, len, flags);
}

int eventfd(unsigned count, int flags)
{
	return fails(FAIL_DESCRIPTOR, EMFILE) ? -1 : (int)syscall(SYS_eventfd2, count, flags);
}

int epoll_create1(int flags)
{
	return fails(FAIL_DESCRIPTOR, EMFILE) ? -1 : (int)syscall(SYS_epoll_create1, flags);
}

int epoll_ctl(int fd, int op, int other, struct epoll_event *event)
{
	/* what is taken away needs no memory */
	if (op == EPOLL_CTL_ADD && fails(FAIL_EPOLL, ENOSPC))
		return -1;
	return (int)syscall(SYS_epoll_ctl, fd, op, other, event);
}

int getsockopt(int fd, int level, int name, void *value, socklen_t *len)
{
	/* SO_PEERPIDFD makes a descriptor */
	if (name == 77 && fails(FAIL_DESCRIPTOR, EMFILE))
		return -1;
	return (int)syscall(SYS_getsockopt, fd, level, name, value, len);
}

int open(const char *path, int flags, ...)
{
	va_list args;
	int mode;

	va_start(args, flags);
	mode = flags & O_CREAT ? va_arg(args, int) : 0;
	va_end(args);
	return fails(FAIL_OPEN, EMFILE) ? -1 : (int)syscall(SYS_openat, AT_FDCWD, path, flags, mode);
}

ssize_t sendmsg(int fd, const struct msghdr *msg, int flags)
{
	return fails(FAIL_SEND, ENOBUFS) ? -1 : syscall(SYS_sendmsg, fd, msg, flags);
}

int pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*run)(void *), void *arg)
{
	static int (*real)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);

	if (!real)
		real = (__typeof__(real))(intptr_t)dlsym(RTLD_NEXT, "pthread_create");
	return fails(FAIL_THREAD, EAGAIN) ? EAGAIN : real(thread, attr, run, arg);
}
