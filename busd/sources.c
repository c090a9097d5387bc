/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sources.c - publishers' names and last numbers. See sources.h.
 *
 * The whole file is kept as it is in memory: after an error of the disk, and where it has grown to twice what it needs,
 * it is written anew, under another name that is then renamed: unreadable records included, since they are evidence, of
 * those without a name the newest alone.
 */
#include "sources.h"

#include "base/crc32c.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

/* How many nameless sources one write reserves. */
#define RESERVE 1024
/* By so much at most one record moves the limit: what is reserved, and what was passed over for a free entry. */
#define REACH UINT64_C(2048)
static_assert(REACH >= RESERVE + BOARD_SOURCES, "a lost record reserves no more");
/*
 * Who has no name stays away from the entries of names while so many are nobody's: with fewer each of them would cost
 * numbers by the hundred, and a stream has 2^32.
 */
#define SPARE_MIN    32
#define IMAGE_MAX    ((size_t)(SOURCES_MAX + 65536) * LOG_SOURCE_BYTES)
#define IMAGE_SLACK  (64 * LOG_SOURCE_BYTES)
#define CHUNK        ((size_t)(64 * LOG_SOURCE_BYTES))
#define NEW_NAME     LOG_SOURCES_NAME ".new"
#define CRC_OF(p, s) crc32c((p), offsetof(struct s, crc))

static uint32_t larger(uint32_t a, uint32_t b)
{
	return a > b ? a : b;
}

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

static uint32_t hash_of(const char *name, size_t len)
{
	return crc32c(name, len);
}

static struct source **bucket_of(const struct sources *s, uint32_t hash)
{
	return &s->buckets[hash & (s->room - 1)];
}

static int make_room(struct sources *s)
{
	const size_t room = s->room ? s->room * 2 : 64;
	struct source **buckets = calloc(room, sizeof(*buckets)), **all;

	all = buckets ? realloc(s->all, room * sizeof(*all)) : NULL;
	if (!all) {
		free(buckets);
		return -ENOMEM;
	}
	free(s->buckets);
	s->all = all;
	s->buckets = buckets;
	s->room = room;
	for (size_t i = 0; i < s->count; i++) {
		struct source **bucket = bucket_of(s, all[i]->hash);

		all[i]->same_bucket = *bucket;
		*bucket = all[i];
	}
	return 0;
}

/* By whose uid the name begins. */
static uint64_t user_of(const char *name, size_t len)
{
	uint64_t uid = 0;

	for (size_t i = 0; i < len && name[i] >= '0' && name[i] <= '9' && uid <= UINT32_MAX; i++)
		uid = uid * 10 + (uint64_t)(name[i] - '0');
	return uid + 1;
}

static size_t names_of(const struct sources *s, uint64_t user)
{
	return (size_t)(uintptr_t)idmap_get(&s->by_user, user);
}

static struct source *enter(struct sources *s, uint32_t src, const char *name, size_t len)
{
	const uint64_t user = user_of(name, len);
	const size_t names = names_of(s, user) + 1;
	struct source *source, **bucket;

	if (s->count == s->room && make_room(s) < 0)
		return NULL;
	source = calloc(1, sizeof(*source));
	if (!source || idmap_put(&s->by_src, src, source) < 0) {
		free(source);
		return NULL;
	}
	if (idmap_put(&s->by_user, user, (void *)(uintptr_t)names) < 0) {
		idmap_remove(&s->by_src, src);
		free(source);
		return NULL;
	}
	source->src = src;
	source->name_len = (uint32_t)len;
	source->hash = hash_of(name, len);
	memcpy(source->name, name, len);
	bucket = bucket_of(s, source->hash);
	source->same_bucket = *bucket;
	*bucket = source;
	s->all[s->count++] = source;
	s->at_entry[src % BOARD_SOURCES]++;
	return source;
}

/* ---- the file ---- */

static bool is_record(const struct sources *s, const struct log_source *rec)
{
	return rec->magic == LOG_SOURCE_MAGIC && memcmp(rec->uuid, s->uuid, sizeof(s->uuid)) == 0 &&
	       rec->crc == CRC_OF(rec, log_source) && rec->name_len <= LOG_NAME_MAX && rec->src != 0;
}

/* The record is the image's, but for one without a name. */
static int put_record(struct sources *s, uint32_t src, const char *name, size_t len)
{
	struct log_source rec = { .magic = LOG_SOURCE_MAGIC, .src = src };
	const int error = grow(s, s->image_bytes + LOG_SOURCE_BYTES);

	if (error < 0)
		return error;
	memcpy(rec.uuid, s->uuid, sizeof(rec.uuid));
	rec.name_len = (uint32_t)len;
	memcpy(rec.name, name, len);
	rec.crc = CRC_OF(&rec, log_source);
	memset(s->image + s->image_bytes, 0, LOG_SOURCE_BYTES);
	memcpy(s->image + s->image_bytes, &rec, sizeof(rec));
	s->image_bytes += LOG_SOURCE_BYTES;
	return 0;
}

/* Leaves of those without a name the newest one: no src below its own is given again, so that it speaks for all. */
static int compact(struct sources *s)
{
	size_t to = 0;

	for (size_t at = 0; at < s->image_bytes; at += LOG_SOURCE_BYTES) {
		struct log_source rec;

		memcpy(&rec, s->image + at, sizeof(rec));
		if (is_record(s, &rec) && rec.name_len == 0)
			continue;
		memmove(s->image + to, s->image + at, LOG_SOURCE_BYTES);
		to += LOG_SOURCE_BYTES;
	}
	s->image_bytes = to;
	return s->reserved ? put_record(s, s->reserved, "", 0) : 0;
}

static int take_record(struct sources *s, const uint8_t *bytes)
{
	struct log_source rec;
	int error;

	memcpy(&rec, bytes, sizeof(rec));
	if (is_record(s, &rec) && rec.name_len == 0) {
		s->reserved = larger(s->reserved, rec.src);
		sources_raise(s, rec.src);
		return 0;
	}
	error = grow(s, s->image_bytes + LOG_SOURCE_BYTES);
	if (error < 0)
		return error;
	memcpy(s->image + s->image_bytes, bytes, LOG_SOURCE_BYTES);
	s->image_bytes += LOG_SOURCE_BYTES;
	if (!is_record(s, &rec) || idmap_get(&s->by_src, rec.src) ||
	    sources_find(s, rec.name, rec.name_len)) {
		s->bad++;
		return 0;
	}
	sources_raise(s, (uint64_t)rec.src + 1);
	return enter(s, rec.src, rec.name, rec.name_len) ? 0 : -ENOMEM;
}

static int load(struct sources *s)
{
	uint8_t *chunk = malloc(CHUNK);
	uint64_t at = 0;
	int error = chunk ? 0 : -ENOMEM;
	ssize_t got = CHUNK;

	while (error == 0 && got == CHUNK) {
		got = io_read(s->io, s->fd, chunk, CHUNK, at);
		if (got < 0)
			error = (int)got;
		/* A torn last one is filled up, so that the next has a sector of its own. */
		else
			memset(chunk + got, 0, CHUNK - (size_t)got);
		for (ssize_t i = 0; error == 0 && i < got; i += LOG_SOURCE_BYTES)
			error = take_record(s, chunk + i);
		at += CHUNK;
	}
	free(chunk);
	if (error == 0 && s->reserved)
		error = put_record(s, s->reserved, "", 0);
	/* Each one that is not known may have reserved so many. */
	sources_raise(s, s->src_limit + s->bad * REACH);
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
	error = s->fd < 0 ? s->fd : io_sync_and_forget(io, dir, s->fd);
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
	/* of the first good record */
	do {
		got = io_read(io, fd, &rec, sizeof(rec), at);
		at += LOG_SOURCE_BYTES;
	} while (got == sizeof(rec) &&
		 (rec.magic != LOG_SOURCE_MAGIC || rec.crc != CRC_OF(&rec, log_source)));
	io->table->close(io, fd);
	if (got != sizeof(rec))
		return got < 0 ? (int)got : -ENODATA;
	memcpy(uuid, rec.uuid, LOG_UUID_BYTES);
	return 0;
}

void sources_close(struct sources *s)
{
	for (size_t i = 0; i < s->count; i++)
		free(s->all[i]);
	free(s->all);
	free(s->buckets);
	free(s->image);
	idmap_free(&s->by_src);
	idmap_free(&s->by_user);
	if (s->fd >= 0)
		s->io->table->close(s->io, s->fd);
	*s = (struct sources){ .fd = -1 };
}

struct source *sources_find(const struct sources *s, const char *name, size_t len)
{
	const uint32_t hash = hash_of(name, len);
	struct source *source = s->room ? *bucket_of(s, hash) : NULL;

	while (source && (source->hash != hash || source->name_len != len ||
			  memcmp(source->name, name, len) != 0))
		source = source->same_bucket;
	return source;
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
	const size_t need = (s->count + s->bad + 1) * LOG_SOURCE_BYTES;
	size_t before;
	int error = 0;

	if (s->fd >= 0 && s->image_bytes > 2 * need + IMAGE_SLACK) {
		s->io->table->close(s->io, s->fd);
		s->fd = -1;
	}
	/* before the new one, which may have to be taken back */
	if (s->fd < 0)
		error = compact(s);
	before = s->image_bytes;
	if (error == 0)
		error = put_record(s, src, name, len);
	if (error == 0 && s->fd >= 0)
		error = write_last(s);
	else if (error == 0)
		error = s->fd = io_write_anew(s->io, s->dir, NEW_NAME, LOG_SOURCES_NAME, s->image,
					      s->image_bytes);
	if (error < 0) {
		/*
		 * The record may be on disk or not: its src is used up, and no message counts under it. The next one
		 * goes to a fresh file, without it, since nothing is synced twice.
		 */
		if (s->fd >= 0)
			s->io->table->close(s->io, s->fd);
		s->fd = -1;
		s->image_bytes = before;
		return because(why, -error, "the names of publishers (file %s) cannot be written: %s",
			       LOG_SOURCES_NAME, strerror(-error));
	}
	if (len == 0)
		s->reserved = larger(s->reserved, src);
	return 0;
}

static bool may_be_given(const struct sources *s, const uint64_t *free, uint32_t i, bool spare)
{
	return free[i / 64] >> (i % 64) & 1 && !(spare && s->at_entry[i]);
}

void sources_pick(struct sources *s, const uint64_t *free, bool named)
{
	uint32_t i, spare = 0;

	for (i = 0; i < BOARD_SOURCES; i++)
		spare += may_be_given(s, free, i, true);
	for (i = 0; i < BOARD_SOURCES && s->next_src < UINT32_MAX; i++) {
		if (may_be_given(s, free, s->next_src % BOARD_SOURCES,
				 spare >= (named ? 1 : SPARE_MIN)))
			break;
		s->next_src++;
	}
}

/* One that was not given yet, and a way beyond it. */
static int check_left(const struct sources *s, struct why *why)
{
	if (s->next_src <= UINT32_MAX - REACH)
		return 0;
	return because(why, EDQUOT,
		       "the stream has had as many publishers as it may, 2^32; make another one");
}

/* As many as are free: one user alone gets half of them, two get three quarters, and there is always one left. */
static int check_names(const struct sources *s, const char *name, size_t len, struct why *why)
{
	const uint64_t user = user_of(name, len);
	const size_t left = SOURCES_MAX - bus_min_u64(SOURCES_MAX, s->count);
	const size_t names = names_of(s, user);

	if (left == 0)
		return because(why, EDQUOT,
			       "the stream knows %d names of publishers, the most that it may",
			       SOURCES_MAX);
	if (names < left)
		return 0;
	return because(
		why, EDQUOT,
		"user %llu has %zu names of publishers in this stream for ever, and each may have as many as are left (%zu of %d): publish under a name that is there, or without one",
		(unsigned long long)user - 1, names, left, SOURCES_MAX);
}

int sources_add(struct sources *s, const char *name, size_t len, struct source **ret, struct why *why)
{
	struct source *source;
	uint32_t src;
	int error;

	if (len == 0 || len > LOG_NAME_MAX)
		return because(why, EINVAL, "a publisher's name has 1 to %d bytes", LOG_NAME_MAX);
	source = sources_find(s, name, len);
	if (!source) {
		error = check_names(s, name, len, why);
		if (error == 0)
			error = check_left(s, why);
		if (error < 0)
			return error;
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
	int error = check_left(s, why);

	if (error == 0 && s->next_src >= s->src_limit) {
		error = append(s, s->next_src + RESERVE, "", 0, why);
		if (error == 0)
			s->src_limit = s->next_src + RESERVE;
	}
	if (error < 0)
		return error;
	*src = s->next_src++;
	return 0;
}

void sources_raise(struct sources *s, uint64_t limit)
{
	const uint32_t to = (uint32_t)bus_min_u64(limit, UINT32_MAX);

	s->src_limit = larger(s->src_limit, to);
	s->next_src = larger(s->next_src, to);
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
