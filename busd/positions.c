/* SPDX-License-Identifier: Apache-2.0 */
/* positions.c - see positions.h */
#include "positions.h"

#include "base/clock.h"
#include "base/crc32c.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#define NEW_NAME   LOG_POSITIONS_NAME ".new"
#define PAIR_BYTES ((size_t)2 * LOG_POSITION_BYTES)
#define FILE_MAX   (LOG_POSITIONS_MAX * PAIR_BYTES)
#define RETRY_NS   UINT64_C(1000000000)

/* ---- a record ---- */

static uint32_t crc_of(const struct log_position *rec)
{
	return crc32c(rec, offsetof(struct log_position, crc));
}

static uint32_t pair_of(const struct positions *p, const struct position *pos)
{
	return (uint32_t)(pos - p->all);
}

static void build(const struct positions *p, const struct position *pos, uint8_t *to)
{
	struct log_position rec = { .magic = LOG_POSITION_MAGIC,
				    .gen = pos->gen,
				    .seq = pos->seq,
				    .moved_ns = pos->moved_ns,
				    .created_ns = pos->created_ns,
				    .pair = pair_of(p, pos),
				    .uid = pos->uid,
				    .flags = pos->removed || !pos->set ? LOG_POSITION_REMOVED : 0,
				    .name_len = (uint32_t)strlen(pos->name) };

	memcpy(rec.uuid, p->uuid, sizeof(rec.uuid));
	memcpy(rec.name, pos->name, sizeof(rec.name));
	rec.crc = crc_of(&rec);
	memset(to, 0, LOG_POSITION_BYTES);
	memcpy(to, &rec, sizeof(rec));
}

static bool is_good(const struct positions *p, const struct log_position *rec, uint32_t pair)
{
	return rec->magic == LOG_POSITION_MAGIC && rec->crc == crc_of(rec) && rec->pair == pair &&
	       memcmp(rec->uuid, p->uuid, sizeof(rec->uuid)) == 0 && rec->gen > 0 &&
	       rec->name_len > 0 && rec->name_len <= LOG_POSITION_NAME &&
	       strnlen(rec->name, sizeof(rec->name)) == rec->name_len;
}

static bool is_zero(const uint8_t *bytes, size_t len)
{
	return bytes[0] == 0 && memcmp(bytes, bytes + 1, len - 1) == 0;
}

/* ---- what the file holds ---- */

static void take(struct position *pos, const struct log_position *rec)
{
	pos->gen = pos->written = pos->kept = rec->gen;
	if (rec->flags & LOG_POSITION_REMOVED)
		return;
	memcpy(pos->name, rec->name, sizeof(pos->name));
	pos->uid = rec->uid;
	pos->seq = pos->written_seq = pos->kept_seq = rec->seq;
	pos->moved_ns = rec->moved_ns;
	pos->created_ns = rec->created_ns;
	pos->set = true;
}

static void take_pair(struct positions *p, uint32_t pair)
{
	struct position *pos = &p->all[pair], *other;
	const uint8_t *bytes = p->image + pair * PAIR_BYTES;
	struct log_position rec[2];
	bool good[2];

	for (int i = 0; i < 2; i++) {
		memcpy(&rec[i], bytes + (size_t)i * LOG_POSITION_BYTES, sizeof(rec[i]));
		good[i] = is_good(p, &rec[i], pair);
	}
	if (!good[0] && !good[1]) {
		pos->bad = !is_zero(bytes, PAIR_BYTES);
		p->bad += pos->bad;
		return;
	}
	pos->good = good[1] && (!good[0] || rec[1].gen > rec[0].gen);
	if (!(good[0] && good[1]) && rec[pos->good].flags & LOG_POSITION_REMOVED &&
	    !is_zero(bytes + (pos->good ? 0 : LOG_POSITION_BYTES), LOG_POSITION_BYTES)) {
		/* the other one may be of a name that came after the removal: torn when it was begun, or rotten since */
		pos->bad = true;
		p->bad++;
		return;
	}
	other = positions_find(p, rec[pos->good].name);
	if (other && !(rec[pos->good].flags & LOG_POSITION_REMOVED)) {
		/* no writer of ours makes two; messages may come again, none is passed over */
		if (rec[pos->good].seq < other->seq)
			positions_move(other, rec[pos->good].seq, other->moved_ns);
		pos->bad = true;
		p->bad++;
		return;
	}
	take(pos, &rec[pos->good]);
}

static int load(struct positions *p, int fd)
{
	ssize_t got;
	int error = io_sync_and_forget(p->io, p->dir, fd);

	if (error < 0)
		return error;
	got = io_read(p->io, fd, p->image, FILE_MAX, 0);
	if (got < 0)
		return (int)got;
	p->image_bytes = (size_t)got;
	for (uint32_t pair = 0; pair * PAIR_BYTES < p->image_bytes; pair++)
		take_pair(p, pair);
	return 0;
}

int positions_open(struct positions *p, struct io *io, int dir, const uint8_t *uuid, struct why *why)
{
	int fd, error = 0;

	memset(p, 0, sizeof(*p));
	p->io = io;
	p->dir = dir;
	p->fd = -1;
	memcpy(p->uuid, uuid, sizeof(p->uuid));
	p->image = calloc(1, FILE_MAX);
	if (!p->image)
		return because(why, ENOMEM, "no memory for the positions of durable subscriptions");
	fd = io->table->open(io, dir, LOG_POSITIONS_NAME, O_RDONLY);
	if (fd >= 0) {
		error = load(p, fd);
		/* what a predecessor opened is not written to: the first change makes a file of our own */
		io->table->close(io, fd);
	} else if (fd != -ENOENT) {
		error = fd;
	}
	if (error < 0) {
		free(p->image);
		p->image = NULL;
		return because(why, -error,
			       "the positions of durable subscriptions (file %s) cannot be read: %s",
			       LOG_POSITIONS_NAME, strerror(-error));
	}
	/*
	 * Generations of one life are above those of all before it, as far as the clock goes on: a block of a former file
	 * that a disk puts in place of a record is the older one.
	 */
	for (size_t i = 0; i < LOG_POSITIONS_MAX; i++)
		p->all[i].gen_floor = bus_realtime_ns();
	p->opened = true;
	return 0;
}

void positions_close(struct positions *p)
{
	if (!p->opened)
		return;
	while (p->busy)
		io_poll(p->io, 1000);
	if (p->fd >= 0)
		p->io->table->close(p->io, p->fd);
	free(p->image);
	p->image = NULL;
	p->opened = false;
}

/* ---- in memory ---- */

static bool is_there(const struct position *pos)
{
	return pos->name[0] && !pos->removed && !pos->bad;
}

struct position *positions_find(struct positions *p, const char *name)
{
	for (size_t i = 0; i < LOG_POSITIONS_MAX; i++)
		if (is_there(&p->all[i]) && strcmp(p->all[i].name, name) == 0)
			return &p->all[i];
	return NULL;
}

struct position *positions_after(struct positions *p, const char *name)
{
	struct position *next = NULL;

	for (size_t i = 0; i < LOG_POSITIONS_MAX; i++) {
		struct position *pos = &p->all[i];

		if (is_there(pos) && strcmp(pos->name, name) > 0 &&
		    (!next || strcmp(pos->name, next->name) < 0))
			next = pos;
	}
	return next;
}

unsigned positions_count(const struct positions *p, uint32_t uid)
{
	unsigned count = 0;

	for (size_t i = 0; i < LOG_POSITIONS_MAX; i++)
		count += is_there(&p->all[i]) && p->all[i].uid == uid;
	return count;
}

/* That of the same name where its removal is not on disk yet: there are never two of a name. */
static struct position *place(struct positions *p, const char *name)
{
	struct position *free_one = NULL;

	for (size_t i = 0; i < LOG_POSITIONS_MAX; i++) {
		struct position *pos = &p->all[i];

		if (!pos->bad && pos->removed && strcmp(pos->name, name) == 0)
			return pos;
		if (!pos->bad && !pos->name[0] && !free_one)
			free_one = pos;
	}
	return free_one;
}

struct position *positions_add(struct positions *p, const char *name, uint32_t uid, uint64_t now_ns)
{
	struct position *pos = place(p, name);

	if (!pos)
		return NULL;
	memset(pos->name, 0, sizeof(pos->name));
	strncpy(pos->name, name, sizeof(pos->name) - 1);
	pos->uid = uid;
	pos->set = pos->removed = false;
	pos->seq = pos->moved_ns = pos->written_seq = pos->kept_seq = 0;
	pos->created_ns = now_ns;
	return pos;
}

void positions_move(struct position *pos, uint64_t seq, uint64_t now_ns)
{
	if (pos->set && seq == pos->seq)
		return;
	pos->set = true;
	pos->seq = seq;
	pos->moved_ns = now_ns;
	pos->gen = bus_max_u64(pos->gen + 1, pos->gen_floor);
}

void positions_remove(struct position *pos)
{
	if (pos->gen == 0) { /* nothing of it was ever written */
		pos->name[0] = 0;
		return;
	}
	pos->removed = true;
	pos->gen = bus_max_u64(pos->gen + 1, pos->gen_floor);
}

unsigned positions_lower(struct positions *p, uint64_t limit, uint64_t now_ns)
{
	unsigned count = 0;

	for (size_t i = 0; i < LOG_POSITIONS_MAX; i++) {
		struct position *pos = &p->all[i];

		if (!is_there(pos) || !pos->set || pos->seq <= limit)
			continue;
		positions_move(pos, limit, now_ns);
		count++;
	}
	return count;
}

/* ---- to disk ---- */

static bool is_dirty(const struct position *pos)
{
	return pos->gen > pos->written;
}

/* All that was given to the file before this sync is on disk: from here on the other record is written. */
static void keep(struct position *pos)
{
	if (pos->written == pos->kept)
		return;
	pos->kept = pos->written;
	pos->kept_seq = pos->written_seq;
	pos->good = !pos->good;
	if (pos->removed && pos->kept == pos->gen) {
		pos->name[0] = 0;
		pos->set = pos->removed = false;
	}
}

/* What became of the file is not known: nothing more is written to it, and no sync of it is tried twice. */
static void give_up_file(struct positions *p)
{
	if (p->fd >= 0)
		p->io->table->close(p->io, p->fd);
	p->fd = -1;
}

static void written(struct io_request *req)
{
	struct positions *p = req->owner;

	p->busy = false;
	p->error = req->error;
	if (req->error < 0) {
		give_up_file(p);
		return;
	}
	for (unsigned i = 0; i < p->count; i++) {
		p->under[i]->written = p->under_gen[i];
		p->under[i]->written_seq = p->under_seq[i];
	}
	for (size_t i = 0; p->syncs && i < LOG_POSITIONS_MAX; i++)
		keep(&p->all[i]);
}

/* The whole file under another name, which then takes this one. */
static int write_anew(struct positions *p)
{
	size_t len = 0;
	int fd;

	for (uint32_t i = 0; i < LOG_POSITIONS_MAX; i++) {
		struct position *pos = &p->all[i];
		uint8_t *at = p->image + i * PAIR_BYTES;

		if (!pos->bad)
			memset(at, 0, PAIR_BYTES);
		if (!pos->bad && pos->name[0] && pos->gen)
			build(p, pos, at);
		if (pos->bad || pos->gen)
			len = (i + 1) * PAIR_BYTES;
	}
	fd = io_write_anew(p->io, p->dir, NEW_NAME, LOG_POSITIONS_NAME, p->image, len);
	if (fd < 0)
		return fd;
	p->fd = fd;
	for (size_t i = 0; i < LOG_POSITIONS_MAX; i++) {
		struct position *pos = &p->all[i];

		pos->written = pos->gen;
		pos->written_seq = pos->seq;
		keep(pos);
		pos->good = 0;
	}
	return 0;
}

bool positions_wait(const struct positions *p, bool sync)
{
	for (size_t i = 0; i < LOG_POSITIONS_MAX; i++)
		if (is_dirty(&p->all[i]) || (sync && p->all[i].written > p->all[i].kept))
			return true;
	return false;
}

static void submit(struct positions *p, bool sync)
{
	p->count = 0;
	p->syncs = sync;
	io_begin(&p->req, written, p);
	for (uint32_t i = 0; i < LOG_POSITIONS_MAX && p->count < POSITIONS_AT_ONCE; i++) {
		struct position *pos = &p->all[i];
		const unsigned n = p->count;

		if (!is_dirty(pos))
			continue;
		build(p, pos, p->records[n]);
		p->under[n] = pos;
		p->under_gen[n] = pos->gen;
		p->under_seq[n] = pos->seq;
		io_add(&p->req, IO_WRITE, p->fd, p->records[n],
		       i * PAIR_BYTES + (pos->good ? 0 : LOG_POSITION_BYTES), LOG_POSITION_BYTES);
		p->count++;
	}
	if (sync)
		io_add(&p->req, IO_DATASYNC, p->fd, NULL, 0, 0);
	p->busy = true;
	io_submit(p->io, &p->req);
}

void positions_write(struct positions *p, bool sync, uint64_t now_ns)
{
	if (p->busy || now_ns < p->retry_at || !positions_wait(p, sync))
		return;
	if (p->fd >= 0) {
		submit(p, sync);
		return;
	}
	p->error = write_anew(p);
	p->retry_at = p->error < 0 ? now_ns + RETRY_NS : 0;
}

int positions_flush(struct positions *p, uint64_t now_ns)
{
	p->retry_at = 0;
	do {
		while (p->busy)
			io_poll(p->io, 1000);
		p->error = 0;
		positions_write(p, true, now_ns);
		while (p->busy)
			io_poll(p->io, 1000);
	} while (p->error == 0 && positions_wait(p, true));
	return p->error;
}
