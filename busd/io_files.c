/* SPDX-License-Identifier: Apache-2.0 */
/*
 * io_files.c - what is done to files at once, by system calls: names, reading, and one operation of a request.
 */
#include "io.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

/* What one call may write, and less than an int's worth. */
#define WRITE_MAX (UINT64_C(1) << 30)

static int of(int result)
{
	return result < 0 ? -errno : result;
}

int io_do(const struct io_op *op)
{
	switch (op->kind) {
	case IO_WRITE:
		return of((int)pwrite(op->fd, op->data, (size_t)bus_min_u64(op->len, WRITE_MAX),
				      (off_t)op->off));
	case IO_DATASYNC:
		return of(fdatasync(op->fd));
	case IO_SYNC:
		return of(fsync(op->fd));
	case IO_ALLOCATE:
		return of(fallocate(op->fd, 0, (off_t)op->off, (off_t)op->len));
	case IO_PUNCH:
		return of(fallocate(op->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
				    (off_t)op->off, (off_t)op->len));
	}
	return -EINVAL;
}

int io_file_create(struct io *io, int dir, const char *name)
{
	(void)io;
	return of(openat(dir, name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600));
}

int io_file_open(struct io *io, int dir, const char *name, int flags)
{
	struct stat st;
	int fd;

	(void)io;
	/* a pipe in its place must not hold us up */
	fd = openat(dir, name, flags | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);
	if (fd < 0)
		return -errno;
	if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode))
		return fd;
	close(fd);
	return -EMEDIUMTYPE;
}

int io_file_rename(struct io *io, int dir, const char *from, const char *to, bool replace)
{
	struct stat st;

	(void)io;
	if (replace)
		return of(renameat(dir, from, dir, to));
	if (renameat2(dir, from, dir, to, RENAME_NOREPLACE) == 0)
		return 0;
	if (errno != EINVAL && errno != ENOSYS)
		return -errno;
	/* A file system without it. The directory is locked: nobody else makes names there. */
	if (fstatat(dir, to, &st, AT_SYMLINK_NOFOLLOW) == 0)
		return -EEXIST;
	return errno == ENOENT ? of(renameat(dir, from, dir, to)) : -errno;
}

int io_file_remove(struct io *io, int dir, const char *name)
{
	(void)io;
	return of(unlinkat(dir, name, 0));
}

ssize_t io_read(struct io *io, int fd, void *data, size_t len, uint64_t off)
{
	size_t got = 0;

	while (got < len) {
		ssize_t n = io->table->pread
				    ? io->table->pread(fd, (char *)data + got, len - got,
						       (off_t)(off + got))
				    : pread(fd, (char *)data + got, len - got, (off_t)(off + got));

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			break;
		got += (size_t)n;
	}
	return (ssize_t)got;
}

int io_file_forget(struct io *io, int fd, uint64_t off, uint64_t len)
{
	(void)io;
	return -posix_fadvise(fd, (off_t)off, (off_t)len, POSIX_FADV_DONTNEED);
}

void io_file_close(struct io *io, int fd)
{
	(void)io;
	close(fd);
}
