/* SPDX-License-Identifier: Apache-2.0 */
/*
 * log_dir.c - what a stream's directory holds: which files are its segments, in which order, and what the
 * others are. A header tells what a file is; its name only where it should be looked for.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "os/log_own.h"

#define DIGITS 20 /* of a number in a name */

/* ---- names ---- */

/* The number at the name's beginning; what follows it is at *rest. False: there is none. */
static bool name_number(const char *name, uint64_t *number, const char **rest)
{
	uint64_t n = 0;

	for (int i = 0; i < DIGITS; i++) {
		uint64_t digit = (uint64_t)(name[i] - '0');

		if (name[i] < '0' || name[i] > '9' || n > (UINT64_MAX - digit) / 10)
			return false;
		n = n * 10 + digit;
	}
	*number = n;
	*rest = name + DIGITS;
	return true;
}

/* LOG_KIND_SEGMENT: may be one. */
static enum log_kind name_kind(const char *name, uint64_t *named)
{
	const char *rest;

	*named = 0;
	if (!name_number(name, named, &rest))
		return LOG_KIND_OTHER;
	if (strcmp(rest, ".log") == 0)
		return LOG_KIND_SEGMENT;
	if (strcmp(rest, ".new") == 0)
		return LOG_KIND_TEMPORARY;
	return strstr(rest, LOG_BAD_SUFFIX) != NULL ? LOG_KIND_QUARANTINED : LOG_KIND_OTHER;
}

/* ---- one file ---- */

static int open_file(int dirfd, const char *name)
{
	/* a FIFO or a link in its place must neither hold us up nor lead us elsewhere */
	int fd = openat(dirfd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);

	return fd < 0 ? -errno : fd;
}

/* A descriptor of the entry's file. */
static int entry_open(const struct log_dir *dir, const struct log_entry *e)
{
	int fd;

	if (dir->origin == NULL)
		return open_file(dir->fd, e->name);
	fd = e->fd < 0 ? -1 : fcntl(e->fd, F_DUPFD_CLOEXEC, 0);
	return fd >= 0 ? fd : e->fd < 0 ? -EIO : -errno;
}

/* Of one that is not opened. 0: that cannot be told either. */
static uint64_t size_by_name(const struct log_dir *dir, const struct log_entry *e)
{
	struct stat st;

	if (dir->origin != NULL || fstatat(dir->fd, e->name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return 0;
	return S_ISREG(st.st_mode) && st.st_size > 0 ? (uint64_t)st.st_size : 0;
}

static void entry_header(struct log_entry *e, const struct log_segment *seg)
{
	const struct log_header *h = &seg->header;

	e->flaws = seg->flaws | (e->named != h->base_seq ? LOG_FLAW_NAME : 0);
	e->file_bytes = seg->file_bytes;
	e->disk_bytes = seg->disk_bytes;
	e->index = h->index;
	e->base_seq = h->base_seq;
	e->base_pos = h->base_pos;
	e->prev_end = h->prev_end;
	e->slots = h->slots;
	e->bytes = h->bytes;
	e->created_ns = h->created_ns;
	memcpy(e->uuid, h->uuid, sizeof(e->uuid));
}

void log_entry_look(const struct log_dir *dir, struct log_entry *e)
{
	struct log_hints hints = { .named = e->named, .uuid = dir->uuid_known ? dir->uuid : NULL };
	int fd = entry_open(dir, e);
	struct log_segment seg;
	int err;

	if (fd < 0) {
		e->kind = fd == -ELOOP ? LOG_KIND_BROKEN : LOG_KIND_UNREADABLE;
		e->why = fd == -ELOOP ? "it is a symbolic link" : NULL;
		e->err = -fd;
		e->file_bytes = size_by_name(dir, e);
		return;
	}
	err = log_segment_open_as(&seg, fd, dir->pread, &hints, &e->why);
	if (err) {
		off_t size = lseek(fd, 0, SEEK_END);

		e->kind = err == -EBADMSG           ? LOG_KIND_BROKEN
			  : err == -EPROTONOSUPPORT ? LOG_KIND_TOO_NEW
						    : LOG_KIND_UNREADABLE;
		e->err = -err;
		e->file_bytes = size > 0 ? (uint64_t)size : 0;
		close(fd);
		return;
	}
	entry_header(e, &seg);
	log_segment_close(&seg);
}

/* ---- the list ---- */

static int by_name(const void *a, const void *b)
{
	return strcmp(((const struct log_entry *)a)->name, ((const struct log_entry *)b)->name);
}

/* Segments first, by number; of two with one number the one with the right name first. */
static int by_place(const void *a, const void *b)
{
	const struct log_entry *x = a, *y = b;
	bool x_is = x->kind == LOG_KIND_SEGMENT, y_is = y->kind == LOG_KIND_SEGMENT;

	if (x_is != y_is)
		return x_is ? -1 : 1;
	if (x_is && x->base_seq != y->base_seq)
		return x->base_seq < y->base_seq ? -1 : 1;
	if (x_is && (x->flaws & LOG_FLAW_NAME) != (y->flaws & LOG_FLAW_NAME))
		return x->flaws & LOG_FLAW_NAME ? 1 : -1;
	return by_name(a, b);
}

static int by_uuid(const void *a, const void *b)
{
	const struct log_entry *x = *(const struct log_entry *const *)a;
	const struct log_entry *y = *(const struct log_entry *const *)b;
	int order = memcmp(x->uuid, y->uuid, sizeof(x->uuid));

	return order ? order : x->base_seq < y->base_seq ? -1 : x->base_seq > y->base_seq;
}

void log_entries_free(struct log_entry *entries, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		free(entries[i].name);
		if (entries[i].fd >= 0)
			close(entries[i].fd);
	}
	free(entries);
}

/* Names only. */
static int list_names(int dirfd, struct log_entry **ret, size_t *ret_count)
{
	int fd = openat(dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	struct log_entry *list = NULL;
	size_t count = 0, room = 0;
	struct dirent *d;
	int err = 0;

	if (dir == NULL) {
		err = -errno;
		if (fd >= 0)
			close(fd);
		return err;
	}
	while (errno = 0, err == 0 && (d = readdir(dir)) != NULL) {
		if (strcmp(d->d_name, ".") == 0 || strcmp(d->d_name, "..") == 0)
			continue;
		if (count == room) {
			struct log_entry *more;

			room = room ? room * 2 : 64;
			more = room > LOG_DIR_MAX ? NULL : realloc(list, room * sizeof(*list));
			if (more == NULL) {
				err = room > LOG_DIR_MAX ? -EFBIG : -ENOMEM;
				break;
			}
			list = more;
		}
		list[count] = (struct log_entry){ .name = strdup(d->d_name), .fd = -1 };
		if (list[count].name == NULL)
			err = -ENOMEM;
		else
			count++;
	}
	if (err == 0 && errno != 0)
		err = -errno;
	closedir(dir);
	if (err) {
		log_entries_free(list, count);
		return err;
	}
	*ret = list;
	*ret_count = count;
	return 0;
}

/* Whose log this is: most segments' stream; of two with as many the one with the newest segment. */
static int choose_uuid(struct log_dir *dir)
{
	const struct log_entry **list = malloc((dir->count + 1) * sizeof(*list)), *best = NULL;
	size_t n = 0, best_run = 0, run = 0;

	if (list == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < dir->count; i++)
		if (dir->entries[i].kind == LOG_KIND_SEGMENT)
			list[n++] = &dir->entries[i];
	qsort(list, n, sizeof(*list), by_uuid);
	for (size_t i = 0; i < n; i++) {
		run = i > 0 && memcmp(list[i]->uuid, list[i - 1]->uuid, LOG_UUID_BYTES) == 0 ? run + 1
											     : 1;
		if (run > best_run || (run == best_run && list[i]->base_seq > best->base_seq)) {
			best_run = run;
			best = list[i];
		}
	}
	if (best != NULL) {
		memcpy(dir->uuid, best->uuid, sizeof(dir->uuid));
		dir->uuid_known = true;
	}
	free(list);
	return 0;
}

static bool goes_on(const struct log_entry *a, const struct log_entry *b)
{
	return b->index > a->index && b->prev_end >= a->base_seq && b->base_pos >= a->base_pos &&
	       (b->index != a->index + 1 || b->prev_end <= a->base_seq + a->slots);
}

/* Says what each file is, and sorts them. */
int log_dir_arrange(struct log_dir *dir)
{
	struct log_entry *e = dir->entries;
	int err = dir->uuid_known ? 0 : choose_uuid(dir);

	if (err)
		return err;
	for (size_t i = 0; i < dir->count; i++) {
		if (e[i].kind != LOG_KIND_SEGMENT ||
		    memcmp(e[i].uuid, dir->uuid, sizeof(dir->uuid)) == 0)
			continue;
		/* its header may be a stranger's, and the copy ours */
		if (dir->uuid_known)
			log_entry_look(dir, &e[i]);
		if (e[i].kind == LOG_KIND_SEGMENT &&
		    memcmp(e[i].uuid, dir->uuid, sizeof(dir->uuid)) != 0)
			e[i].kind = LOG_KIND_STRANGER;
	}
	if (dir->count > 0)
		qsort(e, dir->count, sizeof(*e), by_place);
	dir->segments = 0;
	for (size_t i = 0; i < dir->count && e[i].kind == LOG_KIND_SEGMENT; i++) {
		if (i > 0 && e[i].base_seq == e[i - 1].base_seq)
			e[i].kind = LOG_KIND_DOUBLE;
		dir->segments++;
	}
	if (dir->count > 0)
		qsort(e, dir->count, sizeof(*e), by_place);
	while (dir->segments > 0 && e[dir->segments - 1].kind != LOG_KIND_SEGMENT)
		dir->segments--;
	for (size_t i = 0; i < dir->segments; i++) {
		e[i].flaws &= ~LOG_FLAW_ORDER;
		if (i > 0 && !goes_on(&e[i - 1], &e[i]))
			e[i].flaws |= LOG_FLAW_ORDER;
	}
	return 0;
}

static struct log_entry *find_name(struct log_entry *sorted, size_t count, const char *name)
{
	struct log_entry key = { .name = (char *)(uintptr_t)name };

	return count ? bsearch(&key, sorted, count, sizeof(*sorted), by_name) : NULL;
}

static void learn_topic(struct log_dir *dir)
{
	struct log_segment seg;

	if (log_dir_segment(dir, dir->segments - 1, &seg) < 0)
		return;
	memcpy(dir->topic, seg.header.topic, sizeof(dir->topic));
	log_segment_close(&seg);
}

/* What was a segment remains one: headers never change. Everything else is looked at again. */
static bool keeps(const struct log_entry *old)
{
	return old->kind == LOG_KIND_SEGMENT || old->kind == LOG_KIND_STRANGER ||
	       old->kind == LOG_KIND_DOUBLE;
}

static int list_again(struct log_dir *dir)
{
	struct log_entry *old = dir->entries, *list = NULL;
	size_t old_count = dir->count, count = 0;
	int err = list_names(dir->fd, &list, &count);

	if (err)
		return err;
	if (old_count > 0)
		qsort(old, old_count, sizeof(*old), by_name);
	dir->entries = list;
	dir->count = 0;
	for (size_t i = 0; i < count; i++) {
		struct log_entry e = list[i];
		const struct log_entry *was = find_name(old, old_count, e.name);

		if (was != NULL && keeps(was)) {
			e = *was;
			e.name = list[i].name;
			e.kind = LOG_KIND_SEGMENT; /* a stranger or double is found out again */
		} else {
			e.kind = name_kind(e.name, &e.named);
			if (e.kind == LOG_KIND_SEGMENT)
				log_entry_look(dir, &e);
			else if (e.kind == LOG_KIND_QUARANTINED)
				e.file_bytes = size_by_name(dir, &e);
		}
		if (e.kind == LOG_KIND_UNREADABLE && e.err == ENOENT)
			free(e.name); /* it went in between */
		else
			list[dir->count++] = e;
	}
	log_entries_free(old, old_count);
	err = log_dir_arrange(dir);
	if (!err && dir->segments > 0 && dir->topic[0] == 0)
		learn_topic(dir);
	return err;
}

/*
 * A directory that is written while it is listed may show a new file and not the one before it, which is as
 * new. The second list began after both were there.
 */
static int list_settled(struct log_dir *dir)
{
	int err = list_again(dir);

	for (size_t i = 1; !err && i < dir->segments; i++)
		if (dir->entries[i].index > dir->entries[i - 1].index + 1)
			return list_again(dir);
	return err;
}

/* ---- open, refresh, close ---- */

int log_dir_list(struct log_dir *ret, int dirfd, const uint8_t *uuid, log_pread_fn *read)
{
	struct log_dir dir = { .fd = openat(dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC),
			       .pread = read,
			       .any_version = true };
	int err;

	if (dir.fd < 0)
		return -errno;
	if (uuid != NULL) {
		memcpy(dir.uuid, uuid, sizeof(dir.uuid));
		dir.uuid_known = true;
	}
	err = list_settled(&dir);
	if (err) {
		log_dir_close(&dir);
		return err;
	}
	*ret = dir;
	return 0;
}

static bool too_new(const struct log_dir *dir)
{
	for (size_t i = dir->segments; i < dir->count; i++)
		if (dir->entries[i].kind == LOG_KIND_TOO_NEW)
			return true;
	return false;
}

int log_dir_open(struct log_dir *ret, int dirfd, const uint8_t *uuid, log_pread_fn *read)
{
	struct log_dir dir;
	int err = log_dir_list(&dir, dirfd, uuid, read);

	if (err)
		return err;
	if (too_new(&dir)) {
		log_dir_close(&dir);
		return -EPROTONOSUPPORT;
	}
	dir.any_version = false;
	*ret = dir;
	return 0;
}

void log_dir_close(struct log_dir *dir)
{
	log_entries_free(dir->entries, dir->count);
	if (dir->fd >= 0)
		close(dir->fd);
	*dir = (struct log_dir){ .fd = -1 };
}

int log_dir_refresh(struct log_dir *dir)
{
	size_t segments = dir->segments, others = dir->count - segments;
	uint64_t first = segments ? dir->entries[0].base_seq : 0;
	uint64_t last = segments ? dir->entries[segments - 1].base_seq : 0;
	int err;

	if (dir->origin != NULL)
		return log_dir_ask_again(dir);
	err = list_settled(dir);
	if (err)
		return err;
	if (!dir->any_version && too_new(dir))
		return -EPROTONOSUPPORT;
	return dir->segments != segments || dir->count - dir->segments != others ||
	       (segments > 0 &&
		(dir->entries[0].base_seq != first || dir->entries[segments - 1].base_seq != last));
}

/* ---- segments ---- */

ssize_t log_dir_find(const struct log_dir *dir, uint64_t seq)
{
	size_t low = 0, high = dir->segments;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (dir->entries[middle].base_seq <= seq)
			low = middle + 1;
		else
			high = middle;
	}
	return (ssize_t)low - 1;
}

bool log_dir_broken_between(const struct log_dir *dir, uint64_t from, uint64_t to, uint64_t *named)
{
	bool found = false;

	for (size_t i = dir->segments; i < dir->count; i++) {
		const struct log_entry *e = &dir->entries[i];

		if ((e->kind != LOG_KIND_BROKEN && e->kind != LOG_KIND_UNREADABLE &&
		     e->kind != LOG_KIND_STRANGER && e->kind != LOG_KIND_TOO_NEW) ||
		    e->named < from || e->named >= to)
			continue;
		if (!found || e->named < *named)
			*named = e->named;
		found = true;
	}
	return found;
}

void log_dir_bound(const struct log_dir *dir, size_t i, struct log_segment *seg)
{
	uint64_t base = seg->header.base_seq, full = base + seg->header.slots, named;
	const struct log_entry *next = i + 1 < dir->segments ? &dir->entries[i + 1] : NULL;

	seg->limit = full;
	if (next != NULL)
		seg->limit = bus_max_u64(base, bus_min_u64(full, next->prev_end));
	seg->attested = bus_min_u64(seg->mark.seq, seg->limit);
	/* its writer lives, and says more than the newest mark */
	if (next == NULL && dir->origin != NULL)
		seg->attested =
			bus_min_u64(bus_max_u64(seg->attested, dir->known.written_seq), seg->limit);
	if (next != NULL && next->index == seg->header.index + 1)
		seg->attested = seg->limit;
	else if (log_dir_broken_between(dir, base + 1, next ? next->base_seq : UINT64_MAX, &named)) {
		seg->limit = bus_min_u64(seg->limit, named);
		seg->attested = bus_min_u64(seg->attested, seg->limit);
	}
}

int log_dir_segment(const struct log_dir *dir, size_t i, struct log_segment *ret)
{
	const struct log_entry *e = &dir->entries[i];
	struct log_hints hints = { .named = e->named, .uuid = dir->uuid };
	int fd = entry_open(dir, e);
	struct log_segment seg;
	int err;

	if (fd < 0)
		return fd;
	err = log_segment_open_as(&seg, fd, dir->pread, &hints, NULL);
	if (!err && (seg.header.base_seq != e->base_seq ||
		     memcmp(seg.header.uuid, e->uuid, sizeof(e->uuid)) != 0))
		err = -EBADMSG;
	if (err) {
		close(fd);
		return err;
	}
	log_dir_bound(dir, i, &seg);
	*ret = seg;
	return 0;
}

void log_dir_spoil(struct log_dir *dir, size_t i, int err)
{
	dir->entries[i].kind = LOG_KIND_UNREADABLE;
	dir->entries[i].err = -err;
	log_dir_arrange(dir);
}
