/* SPDX-License-Identifier: Apache-2.0 */
/*
 * disk_fault.c - a preloaded library (LD_PRELOAD) for scripts: a call that concerns the disk fails, or does not return.
 * A file $DISK_FAULT/CALL says which, by what the name that the call is given contains (fsync: by the path of what is
 * synced; write: by how the bytes begin; readdir: none), and what becomes of it:
 *
 *   echo 'sources EIO'  >$DISK_FAULT/openat     once: the file goes then
 *   echo '.log EROFS *' >$DISK_FAULT/unlinkat   as long as the file is there
 *   echo '.new hold'    >$DISK_FAULT/unlinkat   begins once the file is gone; $DISK_FAULT/held says that it waits
 *   echo 'busd short'   >$DISK_FAULT/write      half of it is written
 *
 * $DISK_FAULT_CLOCK: the time of day is so many seconds later.
 */
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define REAL(call) ((__typeof__(&call))dlsym(RTLD_NEXT, #call))

static const struct {
	const char *name;
	int error;
} errors[] = { { "EIO", EIO },     { "EMFILE", EMFILE }, { "ENOSPC", ENOSPC },
	       { "EROFS", EROFS }, { "EPERM", EPERM },   { "EACCES", EACCES } };

static int raw_open(const char *path, int flags)
{
	return (int)syscall(SYS_openat, AT_FDCWD, path, flags | O_CLOEXEC, 0600);
}

/* What is wanted of this call. false: nothing, or another one is meant. */
static bool wanted(const char *call, char *path, size_t size, char text[3][256])
{
	const char *dir = getenv("DISK_FAULT");
	char line[600];
	ssize_t len;
	int fd;

	if (!dir)
		return false;
	snprintf(path, size, "%s/%s", dir, call);
	fd = raw_open(path, O_RDONLY);
	if (fd < 0)
		return false;
	len = read(fd, line, sizeof(line) - 1);
	close(fd);
	line[len > 0 ? len : 0] = 0;
	text[2][0] = 0;
	return sscanf(line, "%255s %255s %255s", text[0], text[1], text[2]) >= 2;
}

static void hold(const char *path)
{
	const struct timespec moment = { .tv_nsec = 5000000 };
	char held[512];
	int fd;

	snprintf(held, sizeof(held), "%s/held", getenv("DISK_FAULT"));
	fd = raw_open(held, O_WRONLY | O_CREAT);
	if (fd >= 0)
		close(fd);
	while ((fd = raw_open(path, O_RDONLY)) >= 0) {
		close(fd);
		nanosleep(&moment, NULL);
	}
}

/* Is this the call that is to fail? errno says how then. */
static bool fails(const char *call, const char *what)
{
	char path[512], text[3][256];
	const int before = errno;
	size_t i;

	if (!wanted(call, path, sizeof(path), text) || !strstr(what, text[0])) {
		errno = before;
		return false;
	}
	if (strcmp(text[1], "hold") == 0) {
		hold(path);
		errno = before;
		return false;
	}
	if (text[2][0] != '*')
		syscall(SYS_unlinkat, AT_FDCWD, path, 0);
	for (i = 0; i < sizeof(errors) / sizeof(errors[0]); i++)
		if (strcmp(errors[i].name, text[1]) == 0)
			errno = errors[i].error;
	return true;
}

int openat(int dir, const char *name, int flags, ...)
{
	va_list args;
	int mode;

	va_start(args, flags);
	mode = va_arg(args, int);
	va_end(args);
	return fails("openat", name) ? -1 : REAL(openat)(dir, name, flags, mode);
}

int __openat_2(int dir, const char *name, int flags);
int __openat_2(int dir, const char *name, int flags)
{
	return openat(dir, name, flags, 0);
}

int unlinkat(int dir, const char *name, int flags)
{
	return fails("unlinkat", name) ? -1 : REAL(unlinkat)(dir, name, flags);
}

int renameat(int from_dir, const char *from, int to_dir, const char *to)
{
	char both[600];

	snprintf(both, sizeof(both), "%s>%s", from, to);
	return fails("renameat", both) ? -1 : REAL(renameat)(from_dir, from, to_dir, to);
}

int fsync(int fd)
{
	char link[64], path[512];
	ssize_t len;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	len = readlink(link, path, sizeof(path) - 2);
	path[len > 0 ? len : 0] = 0;
	strcat(path, "$");
	return fails("fsync", path) ? -1 : REAL(fsync)(fd);
}

struct dirent *readdir(DIR *dir)
{
	return fails("readdir", "any") ? NULL : REAL(readdir)(dir);
}

ssize_t write(int fd, const void *bytes, size_t len)
{
	const int before = errno;

	if (len > 11 && memcmp(bytes, "busd-stream", 11) == 0 && fails("write", "busd-stream")) {
		errno = before;
		len /= 2;
	}
	return syscall(SYS_write, fd, bytes, len);
}

int clock_gettime(clockid_t clock, struct timespec *ret)
{
	static long later = -1;
	const int rc = REAL(clock_gettime)(clock, ret);
	const char *said;

	if (later == -1) {
		said = getenv("DISK_FAULT_CLOCK");
		later = said ? atol(said) : 0;
	}
	if (clock == CLOCK_REALTIME)
		ret->tv_sec += later;
	return rc;
}
