/* SPDX-License-Identifier: Apache-2.0 */
/*
 * io.h - the one seam between busd and the disk: all that log_file.c, sources.c, recover.c and retention.c do to
 * files goes through a table of functions. Three of them exist: io_uring (io_uring.c), threads that call pwrite and
 * fdatasync (io_thread.c) where io_uring is refused, and a disk of the tests' that crashes and fails
 * (tests/lib/faulty_disk.c).
 *
 * What takes the disk's time (writing, syncing, allocating) is a request: some operations that are done one after
 * another, the next only if the one before succeeded in full. It is submitted, and its `done` is called by
 * io_poll(), in the thread that calls that: one thread serves many streams. A request ends once: short writes, EINTR
 * and EAGAIN are dealt with in io_settle(), nobody else sees them. **A sync that failed is not tried again here or
 * anywhere**: the kernel would say that all is well the second time, with data missing.
 *
 * What only changes names (create, rename, remove, list) is done at once, by the caller's thread.
 */
#ifndef BUSD_IO_H
#define BUSD_IO_H

#include "base/base.h"
#include "why.h"

#include <errno.h>
#include <sys/types.h>

enum io_kind {
	IO_WRITE,    /* data, len at off */
	IO_DATASYNC, /* fdatasync */
	IO_SYNC,     /* fsync, of a file or a directory */
	IO_ALLOCATE, /* the file gets blocks for off to off + len, and that size */
	IO_PUNCH,    /* gives blocks back; the bytes are zeros from then on, the size stays */
};

struct io_op {
	enum io_kind kind;
	int fd;
	const void *data; /* stays as it is until the request is done */
	uint64_t off, len;
};

#define IO_OPS_MAX 8

struct io_request {
	struct io_op ops[IO_OPS_MAX]; /* written ones are changed by short writes */
	unsigned count;
	void (*done)(struct io_request *req);
	void *owner;
	/* when it is done */
	int error; /* 0, or -errno of the operation that failed */
	unsigned at; /* that one; those after it were not begun, those before are done. count: all are */
	/* of the implementation */
	int results[IO_OPS_MAX];
	unsigned waits_for; /* operations under way */
	unsigned idle;      /* times in a row that nothing was done */
	struct io_request *next;
};

struct io;

struct io_table {
	const char *name;
	void (*submit)(struct io *io, struct io_request *req);
	/* Calls `done` of what has ended; waits up to timeout_ms for the first. How many, or -errno. */
	int (*poll)(struct io *io, int timeout_ms);
	/* Data in here will be written often; 0, or -errno: it is written all the same, a little slower. */
	int (*use_memory)(struct io *io, void *base, uint64_t len);
	/* Before that memory goes. */
	void (*leave_memory)(struct io *io, void *base, uint64_t len);
	/* At once. Directories are descriptors, names have no slash. 0 or a descriptor, or -errno. */
	int (*create)(struct io *io, int dir, const char *name); /* -EEXIST: never an old file */
	int (*open)(struct io *io, int dir, const char *name, int flags);
	/* replace: whether a file that has the new name may lose it; else -EEXIST */
	int (*rename)(struct io *io, int dir, const char *from, const char *to, bool replace);
	int (*remove)(struct io *io, int dir, const char *name);
	ssize_t (*pread)(int fd, void *data, size_t len, off_t off); /* as pread(2); NULL: that */
	/* Forgets what memory holds of a file that was synced: what is read then comes from the disk. */
	int (*forget)(struct io *io, int fd, uint64_t off, uint64_t len);
	void (*close)(struct io *io, int fd);
	void (*free)(struct io *io);
};

struct io {
	const struct io_table *table;
	int event_fd;       /* readable when something has ended; -1: only poll says so */
	unsigned in_flight; /* requests */
	char why[160];      /* why it is not io_uring, if so */
};

enum io_choice { IO_BEST, IO_URING, IO_THREAD };

/*
 * IO_BEST: io_uring, or threads where it is refused (io->why says why). depth: requests under way at a time that are
 * to be expected; more are possible. 0 or -errno with a sentence.
 */
int io_open(struct io **ret, enum io_choice choice, unsigned depth, struct why *why);
/* Nothing may be in flight. NULL: nothing */
void io_free(struct io *io);

static inline void io_submit(struct io *io, struct io_request *req)
{
	io->in_flight++;
	io->table->submit(io, req);
}

static inline int io_poll(struct io *io, int timeout_ms)
{
	return io->table->poll(io, timeout_ms);
}

/* Adds an operation to a request. */
void io_add(struct io_request *req, enum io_kind kind, int fd, const void *data, uint64_t off,
	    uint64_t len);
/* Begins a request over. */
void io_begin(struct io_request *req, void (*done)(struct io_request *), void *owner);
/* Submits one and waits for its end, serving others meanwhile. 0 or -errno. For start-up and control calls. */
int io_run(struct io *io, struct io_request *req);
/* As much as there is of len bytes: how many, or -errno. At once. */
ssize_t io_read(struct io *io, int fd, void *data, size_t len, uint64_t off);
/*
 * A whole file in place of another, if there is one: written and synced as `tmp`, renamed to `name`, the directory synced. Its
 * descriptor, or -errno: then `name` is the former file, or the new one, and which of them a loss of power leaves is open.
 * Waits. (io_whole.c)
 */
int io_write_anew(struct io *io, int dir, const char *tmp, const char *name, const void *data,
		  uint64_t len);
/*
 * A predecessor may have died between a write, or a rename, and its sync: what the page cache has may go with the power, and
 * who is told of it would lose it. The file and its name are synced, and its pages forgotten: what is read next is
 * what the disk has. 0, -errno. Waits.
 */
int io_sync_and_forget(struct io *io, int dir, int fd);
/*
 * Whether the file system could give this now and later (ENOSPC, EDQUOT), that is: waiting may help, and nothing is
 * wrong with the disk.
 */
static inline bool io_is_full(int error)
{
	return error == -ENOSPC || error == -EDQUOT || error == -EFBIG;
}

/*
 * For implementations: results[at...] are those of the operations that were begun together (bytes of a write, 0, or
 * -errno; -ECANCELED: not begun, since one before it failed). Brings the request forward. True: it has ended (and
 * error, at say how); false: the operations from `at` on are to be begun again.
 */
bool io_settle(struct io_request *req);
/* Does one operation in the calling thread: its result, as in results[]. */
int io_do(const struct io_op *op);
/* Takes it from the account and calls done. */
void io_finish(struct io *io, struct io_request *req);

/* The ones that open makes, and what both do at once (io_files.c). */
int io_uring_open(struct io **ret, unsigned depth);
int io_thread_open(struct io **ret);
int io_file_create(struct io *io, int dir, const char *name);
int io_file_open(struct io *io, int dir, const char *name, int flags);
int io_file_rename(struct io *io, int dir, const char *from, const char *to, bool replace);
int io_file_remove(struct io *io, int dir, const char *name);
int io_file_forget(struct io *io, int fd, uint64_t off, uint64_t len);
void io_file_close(struct io *io, int fd);

#endif
