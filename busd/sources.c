/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sources.c - publishers' names and last numbers. See sources.h.
 *
 * The whole file is kept as it is in memory: after an error of the disk it is written anew, under another name that is
 * then renamed, unreadable records included.
 */
#include "sources.h"

#include "base/crc32c.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

/* How many nameless sources one write reserves. */
#define RESERVE      1024
#define IMAGE_MAX    ((size_t)(SOURCES_MAX + 65536) * LOG_SOURCE_BYTES)
#define NEW_NAME     LOG_SOURCES_NAME ".new"
#define CRC_OF(p, s) crc32c((p), offsetof(struct s, crc))

static int grow(struct sources *s, size_t need)
{
	uint8_t *image;

	if (need <= s->image_room)
		return 0;
	if (need > IMAGE_MAX)
		return -EFBIG;
	image = realloc(s->image, need * 2);
	if (!image)
		return -ENOMEM;
	s->image = image;
	s->image_room = need * 2;
	return 0;
}

static struct source *enter(struct sources *s, uint32_t src, const char *name, size_t len)
{
	struct source *source;

	if (s->count == s->room) {
		const size_t room = s->room ? s->room * 2 : 64;
		struct source **all = realloc(s->all, room * sizeof(struct source *));

		if (!all)
			return NULL;
		s->all = all;
		s->room = room;
	}
	source = calloc(1, sizeof(*source));
	if (!source || idmap_put(&s->by_src, src, source) < 0) {
		free(source);
		return NULL;
	}
	source->src = src;
	source->name_len = (uint32_t)len;
	memcpy(source->name, name, len);
	s->all[s->count++] = source;
	return source;
}

static int take_record(struct sources *s, const struct log_source *rec)
{
	if (rec->magic != LOG_SOURCE_MAGIC || memcmp(rec->uuid, s->uuid, sizeof(s->uuid)) != 0 ||
	    rec->crc != CRC_OF(rec, log_source) || rec->name_len > LOG_NAME_MAX || rec->src == 0 ||
	    (rec->name_len &&
	     (idmap_get(&s->by_src, rec->src) || sources_find(s, rec->name, rec->name_len)))) {
		s->bad++;
		return 0;
	}
	sources_raise(s, rec->name_len ? rec->src + 1 : rec->src);
	if (rec->name_len && !enter(s, rec->src, rec->name, rec->name_len))
		return -ENOMEM;
	return 0;
}

static int load(struct sources *s)
{
	struct log_source rec;
	ssize_t got;
	int error;

	do {
		error = grow(s, s->image_bytes + 64 * LOG_SOURCE_BYTES);
		if (error < 0)
			return error;
		got = io_read(s->io, s->fd, s->image + s->image_bytes, 64 * LOG_SOURCE_BYTES,
			      s->image_bytes);
		if (got < 0)
			return (int)got;
		s->image_bytes += (size_t)got;
	} while (got == 64 * LOG_SOURCE_BYTES);

	/* A torn last one is filled up, so that the next has a sector of its own. */
	error = grow(s, s->image_bytes + LOG_SOURCE_BYTES);
	if (error < 0)
		return error;
	while (s->image_bytes % LOG_SOURCE_BYTES)
		s->image[s->image_bytes++] = 0;
	for (size_t at = 0; error == 0 && at < s->image_bytes; at += LOG_SOURCE_BYTES) {
		memcpy(&rec, s->image + at, sizeof(rec));
		error = take_record(s, &rec);
	}
	/* Each one that is not known may have reserved so many. */
	sources_raise(s, s->src_limit + s->bad * RESERVE);
	return error;
}

/*
 * A predecessor may have died between a write and its sync. Its record stands in the page cache only, and whoever is given
 * that src would lose the name with the power. So it is synced, forgotten, and what the disk has is read.
 */
static int settle(struct sources *s)
{
	struct io_request req;
	int error;

	io_begin(&req, NULL, NULL);
	io_add(&req, IO_DATASYNC, s->fd, NULL, 0, 0);
	error = io_run(s->io, &req);
	if (error == 0)
		(void)s->io->table->forget(s->io, s->fd, 0, 0);
	return error;
}

int sources_open(struct sources *s, struct io *io, int dir, const uint8_t *uuid, struct why *why)
{
	int error;

	*s = (struct sources){ .io = io, .dir = dir, .fd = -1, .next_src = 1, .src_limit = 1 };
	memcpy(s->uuid, uuid, sizeof(s->uuid));
	s->fd = io->table->open(io, dir, LOG_SOURCES_NAME, O_RDONLY);
	if (s->fd == -ENOENT) {
		s->fd = -1;
		s->absent = true;
		return 0;
	}
	error = s->fd < 0 ? s->fd : settle(s);
	if (error == 0)
		error = load(s);
	if (s->fd >= 0)
		io->table->close(io, s->fd);
	/* What a predecessor opened is not written to: the first change makes a file of our own. */
	s->fd = -1;
	if (error < 0) {
		sources_close(s);
		return because(why, -error,
			       "the names of publishers (file %s) cannot be read: %s; restore it, or move it away "
			       "to begin without: what they publish again is not recognised then",
			       LOG_SOURCES_NAME, strerror(-error));
	}
	return 0;
}

int sources_uuid(struct io *io, int dir, uint8_t *uuid)
{
	struct log_source rec;
	uint64_t at = 0;
	ssize_t got;
	int fd = io->table->open(io, dir, LOG_SOURCES_NAME, O_RDONLY);

	if (fd < 0)
		return fd;
	do {
		got = io_read(io, fd, &rec, sizeof(rec), at);
		at += LOG_SOURCE_BYTES;
	} while (got == sizeof(rec) &&
		 (rec.magic != LOG_SOURCE_MAGIC || rec.crc != CRC_OF(&rec, log_source)));
	io->table->close(io, fd);
	if (got != sizeof(rec))
		return got < 0 ? (int)got : -ENOENT;
	memcpy(uuid, rec.uuid, LOG_UUID_BYTES);
	return 0;
}

void sources_close(struct sources *s)
{
	for (size_t i = 0; i < s->count; i++)
		free(s->all[i]);
	free(s->all);
	free(s->image);
	idmap_free(&s->by_src);
	if (s->fd >= 0)
		s->io->table->close(s->io, s->fd);
	*s = (struct sources){ .fd = -1 };
}

struct source *sources_find(const struct sources *s, const char *name, size_t len)
{
	for (size_t i = 0; i < s->count; i++) {
		if (s->all[i]->name_len == len && memcmp(s->all[i]->name, name, len) == 0)
			return s->all[i];
	}
	return NULL;
}

/* The whole image to a fresh file, which then takes the name. */
static int write_anew(struct sources *s)
{
	const struct io_table *t = s->io->table;
	struct io_request req;
	int fd, error;

	t->remove(s->io, s->dir, NEW_NAME); /* of one that did not get through */
	fd = t->create(s->io, s->dir, NEW_NAME);
	if (fd < 0)
		return fd;
	io_begin(&req, NULL, NULL);
	io_add(&req, IO_WRITE, fd, s->image, 0, s->image_bytes);
	io_add(&req, IO_SYNC, fd, NULL, 0, 0);
	error = io_run(s->io, &req);
	if (error == 0)
		error = t->rename(s->io, s->dir, NEW_NAME, LOG_SOURCES_NAME, true);
	if (error == 0) {
		io_begin(&req, NULL, NULL);
		io_add(&req, IO_SYNC, s->dir, NULL, 0, 0);
		error = io_run(s->io, &req);
	}
	if (error < 0)
		t->close(s->io, fd);
	else
		s->fd = fd;
	return error;
}

static int write_last(struct sources *s)
{
	const uint64_t at = s->image_bytes - LOG_SOURCE_BYTES;
	struct io_request req;

	io_begin(&req, NULL, NULL);
	io_add(&req, IO_WRITE, s->fd, s->image + at, at, LOG_SOURCE_BYTES);
	io_add(&req, IO_DATASYNC, s->fd, NULL, 0, 0);
	return io_run(s->io, &req);
}

static int append(struct sources *s, uint32_t src, const char *name, size_t len, struct why *why)
{
	struct log_source rec = { .magic = LOG_SOURCE_MAGIC, .src = src };
	const size_t before = s->image_bytes;
	int error = grow(s, s->image_bytes + LOG_SOURCE_BYTES);

	if (error == 0) {
		memcpy(rec.uuid, s->uuid, sizeof(rec.uuid));
		rec.name_len = (uint32_t)len;
		memcpy(rec.name, name, len);
		rec.crc = CRC_OF(&rec, log_source);
		memset(s->image + s->image_bytes, 0, LOG_SOURCE_BYTES);
		memcpy(s->image + s->image_bytes, &rec, sizeof(rec));
		s->image_bytes += LOG_SOURCE_BYTES;
		error = s->fd >= 0 ? write_last(s) : write_anew(s);
	}
	if (error < 0) {
		/*
		 * The record may be on disk or not: its src is used up, and no message counts under it. The next one
		 * goes to a fresh file, without it, since nothing is synced twice.
		 */
		if (s->fd >= 0)
			s->io->table->close(s->io, s->fd);
		s->fd = -1;
		if (s->image_bytes > before)
			s->image_bytes = before;
		return because(why, -error, "the names of publishers (file %s) cannot be written: %s",
			       LOG_SOURCES_NAME, strerror(-error));
	}
	return 0;
}

int sources_add(struct sources *s, const char *name, size_t len, struct source **ret, struct why *why)
{
	struct source *source;
	uint32_t src;
	int error;

	if (len == 0 || len > LOG_NAME_MAX)
		return because(why, EINVAL, "a publisher's name has 1 to %d bytes", LOG_NAME_MAX);
	if (s->count >= SOURCES_MAX)
		return because(why, ENFILE, "the stream has %d named publishers already",
			       SOURCES_MAX);
	source = sources_find(s, name, len);
	if (!source) {
		/* From the reserved ones too: whichever record is lost, the other is not doubled. */
		src = s->next_src++;
		error = append(s, src, name, len, why);
		if (error < 0)
			return error;
		if (src >= s->src_limit)
			s->src_limit = src + 1;
		source = enter(s, src, name, len);
		if (!source)
			return because(why, ENOMEM, "no memory for a publisher's name");
	}
	*ret = source;
	return 0;
}

int sources_nameless(struct sources *s, uint32_t *src, struct why *why)
{
	if (s->next_src >= s->src_limit) {
		const int error = append(s, s->next_src + RESERVE, "", 0, why);

		if (error < 0)
			return error;
		s->src_limit = s->next_src + RESERVE;
	}
	*src = s->next_src++;
	return 0;
}

void sources_raise(struct sources *s, uint32_t limit)
{
	if (limit > s->src_limit)
		s->src_limit = limit;
	if (limit > s->next_src)
		s->next_src = limit;
}

void sources_note(struct sources *s, uint32_t src, uint64_t src_seq)
{
	if (!s->newest || s->newest->src != src) {
		struct source *source = src == s->nameless ? NULL : idmap_get(&s->by_src, src);

		if (!source) {
			s->nameless = src;
			return;
		}
		s->newest = source;
	}
	if (src_seq >= s->newest->next)
		s->newest->next = src_seq + 1;
}

size_t sources_snapshot_bytes(const struct sources *s)
{
	return sizeof(struct log_snapshot) + s->count * sizeof(struct log_snapshot_entry);
}

static uint32_t snapshot_crc(const struct log_snapshot *snap)
{
	return crc32c_extend(CRC_OF(snap, log_snapshot), snap->entries,
			     snap->count * sizeof(snap->entries[0]));
}

void sources_snapshot(const struct sources *s, uint64_t base_seq, void *buf)
{
	struct log_snapshot *snap = buf;

	*snap = (struct log_snapshot){ .magic = LOG_SNAPSHOT_MAGIC,
				       .base_seq = base_seq,
				       .src_limit = s->src_limit,
				       .count = (uint32_t)s->count };
	memcpy(snap->uuid, s->uuid, sizeof(snap->uuid));
	for (size_t i = 0; i < s->count; i++)
		snap->entries[i] = (struct log_snapshot_entry){ .src = s->all[i]->src,
								.next = s->all[i]->next };
	snap->crc = snapshot_crc(snap);
}

int sources_restore(struct sources *s, const void *buf, size_t len, uint64_t base_seq)
{
	const struct log_snapshot *snap = buf;

	if (len < sizeof(*snap) || snap->magic != LOG_SNAPSHOT_MAGIC ||
	    memcmp(snap->uuid, s->uuid, sizeof(s->uuid)) != 0 || snap->base_seq != base_seq ||
	    (len - sizeof(*snap)) / sizeof(snap->entries[0]) != snap->count ||
	    snap->crc != snapshot_crc(snap))
		return -EBADMSG;
	for (uint32_t i = 0; i < snap->count; i++) {
		struct source *source = idmap_get(&s->by_src, snap->entries[i].src);

		if (source)
			source->next = bus_max_u64(source->next, snap->entries[i].next);
	}
	sources_raise(s, snap->src_limit);
	return 0;
}
