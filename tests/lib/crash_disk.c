/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/crash_disk.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define SECTOR     512
#define MUST(cond) ((cond) ? (void)0 : disk_fail(__LINE__, #cond))

static void disk_fail(int line, const char *what)
{
	fprintf(stderr, "crash_disk.c:%d: %s does not hold (%s)\n", line, what, strerror(errno));
	abort();
}

uint64_t disk_random(struct crash_disk *d, uint64_t below)
{
	d->random ^= d->random << 13;
	d->random ^= d->random >> 7;
	d->random ^= d->random << 17;
	return below ? (d->random >> 11) % below : 0;
}

static struct crash_disk *disk_of(struct io *io)
{
	return BUS_CONTAINER_OF(io, struct crash_disk, io);
}

/* ---- files ---- */

static int file_of(struct crash_disk *d, int fd)
{
	struct stat st;

	MUST(fstat(fd, &st) == 0);
	for (int i = 0; i < d->file_count; i++) {
		if (d->files[i].ino == st.st_ino)
			return i;
	}
	return -1;
}

static int add_file(struct crash_disk *d, int fd)
{
	struct disk_file *f = &d->files[d->file_count];
	struct stat st;

	MUST(d->file_count < DISK_FILES);
	MUST(fstat(fd, &st) == 0);
	*f = (struct disk_file){ .ino = st.st_ino, .fd = fcntl(fd, F_DUPFD_CLOEXEC, 3) };
	MUST(f->fd >= 0);
	return d->file_count++;
}

static void to_platter(struct disk_file *f, uint64_t off, uint64_t len, const uint8_t *data)
{
	if (off + len > f->size) {
		f->platter = realloc(f->platter, off + len);
		MUST(f->platter);
		memset(f->platter + f->size, 0, off + len - f->size);
		f->size = off + len;
	}
	if (data)
		memcpy(f->platter + off, data, len);
}

static void drop_pending(struct crash_disk *d, int file, bool apply)
{
	unsigned kept = 0;

	for (unsigned i = 0; i < d->pending_count; i++) {
		struct disk_write *w = &d->pending[i];

		if (w->file != file) {
			d->pending[kept++] = *w;
			continue;
		}
		if (apply)
			to_platter(&d->files[file], w->off, w->len, w->data);
		free(w->data);
	}
	d->pending_count = kept;
}

static void apply_name(struct crash_disk *d, const struct disk_name *n)
{
	struct disk_file *f = &d->files[n->file];

	switch (n->kind) {
	case NAME_CREATE:
		f->named = true;
		snprintf(f->name, sizeof(f->name), "%s", n->to);
		break;
	case NAME_RENAME:
		/* what was created, but whose name never got there, has no name to change */
		for (int i = 0; i < d->file_count; i++) {
			if (i != n->file && d->files[i].named && strcmp(d->files[i].name, n->to) == 0)
				d->files[i].named = false;
		}
		f->named = true;
		snprintf(f->name, sizeof(f->name), "%s", n->to);
		break;
	case NAME_REMOVE:
		if (strcmp(f->name, n->from) == 0)
			f->named = false;
		break;
	}
}

static int note_name(struct crash_disk *d, enum disk_name_kind kind, int file, const char *from,
		     const char *to)
{
	struct disk_name *n = &d->names[d->name_count];

	MUST(d->name_count < DISK_NAMES);
	*n = (struct disk_name){ .kind = kind, .file = file };
	snprintf(n->from, sizeof(n->from), "%s", from);
	snprintf(n->to, sizeof(n->to), "%s", to);
	d->name_count++;
	return 0;
}

/* ---- operations ---- */

static enum disk_fault next_fault(struct crash_disk *d)
{
	d->ops++;
	if (d->fault_at == 0 || d->ops < d->fault_at || (d->ops > d->fault_at && !d->fault_stays))
		return DISK_SOUND;
	return d->fault;
}

static int do_write(struct crash_disk *d, int file, const struct io_op *op, uint64_t len)
{
	struct disk_write *w = &d->pending[d->pending_count];
	struct stat st;

	MUST(fstat(d->files[file].fd, &st) == 0);
	if (d->full && op->off + len > (uint64_t)st.st_size)
		return -ENOSPC;
	MUST(d->pending_count < DISK_PENDING);
	*w = (struct disk_write){ .file = file, .off = op->off, .len = len };
	if (op->kind == IO_WRITE) {
		w->data = malloc(len);
		MUST(w->data);
		memcpy(w->data, op->data, len);
		MUST(pwrite(d->files[file].fd, op->data, len, (off_t)op->off) == (ssize_t)len);
	} else if (op->off + len > (uint64_t)st.st_size) {
		MUST(ftruncate(d->files[file].fd, (off_t)(op->off + len)) == 0);
	}
	d->pending_count++;
	return op->kind == IO_WRITE ? (int)len : 0;
}

static int do_sync(struct crash_disk *d, int fd, bool lost)
{
	struct stat st;

	d->syncs++;
	MUST(fstat(fd, &st) == 0);
	if (S_ISDIR(st.st_mode)) {
		for (unsigned i = 0; i < d->name_count && !lost; i++)
			apply_name(d, &d->names[i]);
		if (!lost)
			d->name_count = 0;
	} else {
		drop_pending(d, file_of(d, fd), !lost);
	}
	return lost ? -EIO : 0;
}

/* Zeros, as far as what is read is concerned; never more of the file than there is. */
static int do_punch(struct crash_disk *d, int file, const struct io_op *op)
{
	struct io_op zeros = *op;
	struct stat st;
	int rc = 0;

	MUST(fstat(d->files[file].fd, &st) == 0);
	zeros.kind = IO_WRITE;
	zeros.len = bus_min_u64(op->len,
				(uint64_t)st.st_size - bus_min_u64((uint64_t)st.st_size, op->off));
	if (zeros.len == 0)
		return 0;
	zeros.data = calloc(1, zeros.len);
	MUST(zeros.data);
	rc = do_write(d, file, &zeros, zeros.len);
	free((void *)(uintptr_t)zeros.data);
	return rc < 0 ? rc : 0;
}

static int do_op(struct crash_disk *d, const struct io_op *op)
{
	const enum disk_fault fault = next_fault(d);
	const bool is_sync = op->kind == IO_DATASYNC || op->kind == IO_SYNC;
	const int file = is_sync ? -1 : file_of(d, op->fd);
	uint64_t part = op->len;

	switch (fault) {
	case DISK_SOUND:
		break;
	case DISK_EIO:
	case DISK_ENOSPC:
	case DISK_EINTR:
		d->fault_hits++;
		/* a write that fails has written, as likely as not */
		if (op->kind == IO_WRITE && disk_random(d, 2))
			do_write(d, file, op, 1 + disk_random(d, op->len));
		if (is_sync && fault != DISK_EINTR)
			return do_sync(d, op->fd, true), fault == DISK_EIO ? -EIO : -ENOSPC;
		return fault == DISK_EIO ? -EIO : fault == DISK_ENOSPC ? -ENOSPC : -EINTR;
	case DISK_SHORT:
		d->fault_hits += op->kind == IO_WRITE;
		part = op->kind == IO_WRITE && op->len > 1 ? 1 + disk_random(d, op->len - 1)
							   : op->len;
		break;
	case DISK_NOTHING:
		d->fault_hits += op->kind == IO_WRITE;
		if (op->kind == IO_WRITE)
			return 0;
		break;
	case DISK_SYNC_EIO:
		d->fault_hits += is_sync;
		if (is_sync)
			return do_sync(d, op->fd, true);
		break;
	}
	if (is_sync)
		return do_sync(d, op->fd, false);
	if (op->kind == IO_PUNCH)
		return disk_random(d, 4) ? do_punch(d, file, op) : -EOPNOTSUPP;
	return do_write(d, file, op, part);
}

/* What is under way when the process dies: its memory goes with it, so it is copied. */
static void keep_late(struct crash_disk *d)
{
	for (unsigned i = 0; i < d->queued; i++) {
		const struct io_request *req = d->queue[i];
		const struct io_op *op = &req->ops[req->at];
		struct disk_write *w = &d->late[d->late_count];

		if (op->kind != IO_WRITE || d->late_count == DISK_LATE)
			continue;
		*w = (struct disk_write){ .file = file_of(d, op->fd), .off = op->off, .len = op->len };
		w->data = malloc(op->len);
		MUST(w->data);
		memcpy(w->data, op->data, op->len);
		d->late_count++;
	}
}

static bool dies(struct crash_disk *d)
{
	d->events++;
	if (!d->crashed && d->crash_at && d->events >= d->crash_at) {
		d->crashed = true;
		keep_late(d);
	}
	return d->crashed;
}

static void land_late(struct crash_disk *d, unsigned i)
{
	const struct disk_write *w = &d->late[i];

	MUST(d->pending_count < DISK_PENDING);
	if (w->data)
		MUST(pwrite(d->files[w->file].fd, w->data, w->len, (off_t)w->off) == (ssize_t)w->len);
	d->pending[d->pending_count++] = *w;
	d->late[i] = d->late[--d->late_count];
}

static void disk_submit(struct io *io, struct io_request *req)
{
	struct crash_disk *d = disk_of(io);

	MUST(d->queued < DISK_OPS);
	d->queue[d->queued++] = req;
}

static void end_request(struct crash_disk *d, unsigned i)
{
	struct io_request *req = d->queue[i];

	d->queue[i] = d->queue[--d->queued];
	io_finish(&d->io, req);
}

/* One operation of some request; all of them end at once when the process is dead. */
static int disk_poll(struct io *io, int timeout_ms)
{
	struct crash_disk *d = disk_of(io);
	struct io_request *req;
	unsigned i;

	(void)timeout_ms;
	if (d->late_count && disk_random(d, 4) == 0)
		land_late(d, (unsigned)disk_random(d, d->late_count));
	if (d->queued == 0)
		return 0;
	i = (unsigned)disk_random(d, d->queued);
	req = d->queue[i];
	if (dies(d)) {
		req->error = -ECANCELED;
		end_request(d, i);
		return 1;
	}
	req->results[req->at] = do_op(d, &req->ops[req->at]);
	for (unsigned k = req->at + 1; k < req->count; k++)
		req->results[k] = -ECANCELED;
	/* One that is done is followed by the next, at another time. */
	if (req->results[req->at] >= 0 && req->at + 1 < req->count &&
	    (req->ops[req->at].kind != IO_WRITE ||
	     (uint64_t)req->results[req->at] == req->ops[req->at].len)) {
		req->at++;
		req->idle = 0;
		return 0;
	}
	if (io_settle(req)) {
		end_request(d, i);
		return 1;
	}
	return 0;
}

/* ---- what is done at once ---- */

static int fail_at_once(struct crash_disk *d)
{
	enum disk_fault fault;

	if (dies(d))
		return -EIO;
	fault = next_fault(d);
	d->fault_hits += fault == DISK_EIO || fault == DISK_ENOSPC;
	return fault == DISK_EIO ? -EIO : fault == DISK_ENOSPC ? -ENOSPC : 0;
}

static int disk_create(struct io *io, int dir, const char *name)
{
	struct crash_disk *d = disk_of(io);
	int error = fail_at_once(d), fd;

	if (error == 0 && d->full)
		error = -ENOSPC;
	fd = error ? error : io_file_create(io, dir, name);
	if (fd >= 0)
		note_name(d, NAME_CREATE, add_file(d, fd), "", name);
	return fd;
}

static int disk_open_file(struct io *io, int dir, const char *name, int flags)
{
	int error = fail_at_once(disk_of(io));

	return error ? error : io_file_open(io, dir, name, flags);
}

static int disk_rename(struct io *io, int dir, const char *from, const char *to, bool replace)
{
	struct crash_disk *d = disk_of(io);
	int error = fail_at_once(d), fd;

	fd = error ? error : io_file_open(io, dir, from, O_RDONLY);
	if (fd < 0)
		return fd;
	error = io_file_rename(io, dir, from, to, replace);
	if (error == 0)
		note_name(d, NAME_RENAME, file_of(d, fd), from, to);
	close(fd);
	return error;
}

static int disk_remove(struct io *io, int dir, const char *name)
{
	struct crash_disk *d = disk_of(io);
	int error = fail_at_once(d), fd;

	fd = error ? error : io_file_open(io, dir, name, O_RDONLY);
	if (fd < 0)
		return fd;
	error = io_file_remove(io, dir, name);
	if (error == 0)
		note_name(d, NAME_REMOVE, file_of(d, fd), name, "");
	close(fd);
	return error;
}

static int disk_use_memory(struct io *io, void *base, uint64_t len)
{
	(void)io;
	(void)base;
	(void)len;
	return -EOPNOTSUPP;
}

static void disk_leave_memory(struct io *io, void *base, uint64_t len)
{
	(void)io;
	(void)base;
	(void)len;
}

/* What memory has of a file becomes what the platter has, and what is still to be written to it. */
static int disk_forget(struct io *io, int fd, uint64_t off, uint64_t len)
{
	struct crash_disk *d = disk_of(io);
	const int file = file_of(d, fd);
	struct disk_file *f = &d->files[file];
	struct stat st;

	(void)off;
	(void)len;
	MUST(file >= 0 && fstat(f->fd, &st) == 0);
	MUST(ftruncate(f->fd, 0) == 0 && ftruncate(f->fd, st.st_size) == 0);
	MUST(pwrite(f->fd, f->platter, f->size, 0) == (ssize_t)f->size);
	for (unsigned i = 0; i < d->pending_count; i++) {
		const struct disk_write *w = &d->pending[i];

		if (w->file == file && w->data)
			MUST(pwrite(f->fd, w->data, w->len, (off_t)w->off) == (ssize_t)w->len);
	}
	return 0;
}

static void disk_close_file(struct io *io, int fd)
{
	(void)io;
	close(fd);
}

static void disk_free(struct io *io)
{
	(void)io;
}

static const struct io_table disk_table = {
	.name = "crash disk",
	.submit = disk_submit,
	.poll = disk_poll,
	.use_memory = disk_use_memory,
	.leave_memory = disk_leave_memory,
	.create = disk_create,
	.open = disk_open_file,
	.rename = disk_rename,
	.remove = disk_remove,
	.forget = disk_forget,
	.close = disk_close_file,
	.free = disk_free,
};

/* ---- open, close, crash ---- */

static void take_files(struct crash_disk *d)
{
	DIR *list = opendir(d->path);
	struct dirent *e;
	struct stat st;

	MUST(list);
	while ((e = readdir(list))) {
		struct disk_file *f;
		int fd;

		if (e->d_name[0] == '.')
			continue;
		fd = openat(d->dir, e->d_name, O_RDWR | O_CLOEXEC);
		MUST(fd >= 0 && fstat(fd, &st) == 0);
		f = &d->files[add_file(d, fd)];
		f->named = true;
		snprintf(f->name, sizeof(f->name), "%.63s", e->d_name);
		f->size = (uint64_t)st.st_size;
		f->platter = malloc(f->size + 1);
		MUST(f->platter && pread(fd, f->platter, f->size, 0) == st.st_size);
		close(fd);
	}
	closedir(list);
}

void disk_open(struct crash_disk *d, const char *path, uint64_t seed)
{
	memset(d, 0, sizeof(*d));
	d->io.table = &disk_table;
	d->io.event_fd = -1;
	d->random = seed * UINT64_C(0x9e3779b97f4a7c15) + 88172645463325252u;
	snprintf(d->path, sizeof(d->path), "%s", path);
	MUST(mkdir(path, 0700) == 0 || errno == EEXIST);
	d->dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	MUST(d->dir >= 0);
	take_files(d);
}

void disk_close(struct crash_disk *d)
{
	DIR *list = opendir(d->path);
	struct dirent *e;

	MUST(list);
	while ((e = readdir(list))) {
		if (e->d_name[0] != '.')
			unlinkat(d->dir, e->d_name, 0);
	}
	closedir(list);
	rmdir(d->path);
	for (unsigned i = 0; i < d->pending_count; i++)
		free(d->pending[i].data);
	for (unsigned i = 0; i < d->late_count; i++)
		free(d->late[i].data);
	for (int i = 0; i < d->file_count; i++) {
		free(d->files[i].platter);
		close(d->files[i].fd);
	}
	close(d->dir);
}

/* Each sector of a write is new, old, or something that once stood elsewhere. */
static void apply_wild(struct crash_disk *d, const struct disk_write *w, struct disk_file *out)
{
	const unsigned odds = 1 + (unsigned)disk_random(d, 3);
	uint64_t end = w->off + w->len, at = w->off;

	if (!w->data) {
		if (disk_random(d, 2))
			to_platter(out, w->off, w->len, NULL);
		return;
	}
	while (at < end) {
		const uint64_t len = bus_min_u64(end - at, SECTOR - at % SECTOR);
		const uint8_t *data = w->data + (at - w->off);

		switch (disk_random(d, odds + 2)) {
		case 0:
			break; /* old */
		case 1:        /* stale: of another file, another place */
			if (disk_random(d, 3) == 0 && d->file_count) {
				const struct disk_file *f =
					&d->files[disk_random(d, (uint64_t)d->file_count)];
				uint8_t stale[SECTOR] = { 0 };

				/* copied: it may be of the file that grows */
				if (f->size >= 2 * SECTOR)
					memcpy(stale,
					       f->platter + disk_random(d, f->size / SECTOR - 1) *
								    SECTOR,
					       SECTOR);
				to_platter(out, at, len, stale + at % SECTOR);
				break;
			}
			/* fallthrough */
		default:
			to_platter(out, at, len, data);
		}
		at += len;
	}
}

static void write_out(const struct disk_file *f, const char *path)
{
	char name[192];
	int fd;

	snprintf(name, sizeof(name), "%s/%s", path, f->name);
	fd = open(name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	MUST(fd >= 0 && write(fd, f->platter, f->size) == (ssize_t)f->size);
	close(fd);
}

void disk_power_loss(struct crash_disk *d, const char *path, uint64_t choice, bool wild)
{
	struct disk_file *was = malloc(sizeof(d->files));
	unsigned names = d->name_count;
	struct disk_write w;

	MUST(was);
	memcpy(was, d->files, sizeof(d->files));
	for (int i = 0; i < d->file_count; i++) {
		d->files[i].platter = malloc(was[i].size + 1);
		MUST(d->files[i].platter);
		if (was[i].size)
			memcpy(d->files[i].platter, was[i].platter, was[i].size);
	}
	/* Names are journalled in order; how far the journal came is chance. */
	if (wild)
		names = (unsigned)disk_random(d, d->name_count + 1);
	else if (choice >> 63)
		names = 0;
	for (unsigned i = 0; i < names; i++)
		apply_name(d, &d->names[i]);
	for (unsigned i = 0; i < d->pending_count + d->late_count; i++) {
		w = i < d->pending_count ? d->pending[i] : d->late[i - d->pending_count];
		if (wild)
			apply_wild(d, &w, &d->files[w.file]);
		else if (choice >> (i % 63) & 1)
			to_platter(&d->files[w.file], w.off, w.len, w.data);
	}
	MUST(mkdir(path, 0700) == 0);
	for (int i = 0; i < d->file_count; i++) {
		if (d->files[i].named)
			write_out(&d->files[i], path);
		free(d->files[i].platter);
	}
	memcpy(d->files, was, sizeof(d->files));
	free(was);
}

void disk_revive(struct crash_disk *d)
{
	MUST(d->queued == 0);
	d->crashed = false;
	d->crash_at = 0;
	d->events = 0;
	/* Of what was under way some has landed by now. */
	for (unsigned i = d->late_count; i-- > 0;) {
		if (disk_random(d, 2))
			land_late(d, i);
	}
}
