/* SPDX-License-Identifier: Apache-2.0 */
/*
 * log_roll.c - the segments of a log that is written: one is made ahead, preallocated and zeroed; it comes to count once
 * its header, then its name are on disk; the one before is sealed. What an error of the disk leads to.
 *
 *	ahead: create N.new, allocate, zero the beginning, fsync        "ready"; more zeros while there is time
 *	roll:  header + snapshot, fsync of both; rename; fsync of the directory      it counts
 *	seal:  the last mark; unused room given back; close
 */
#include "log_file_internal.h"

#include "log.h"

#include "base/clock.h"
#include "base/crc32c.h"
#include "os/log_read.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#define ZERO_BYTES   (UINT64_C(1) << 20)   /* at a time */
#define ZERO_FIRST   (UINT64_C(256) << 10) /* of slots and of payload, before a segment is ready */
#define BUSY_BYTES   (UINT64_C(256) << 10) /* commits of this size are not made cheaper by zeros */
#define BACKOFF_NS   10000000u
#define BACKOFF_MAX  1000000000u
#define NAME_TRIES   1000
#define ASIDE_TRIES  100
#define SNAPSHOT_NEW "snapshot.new"

static const uint8_t zeros[ZERO_BYTES] BUS_ALIGNED(4096);

static uint64_t back_off(struct log_file *log, int error)
{
	if (io_is_full(error))
		return log->now + FULL_RETRY_NS;
	log->backoff = log->backoff ? bus_min_u64(log->backoff * 2, BACKOFF_MAX) : BACKOFF_NS;
	return log->now + log->backoff;
}

/* ---- the segment ahead ---- */

/* It never came to count, so nothing is lost with it. 0, or what remove said. */
static int drop_ahead(struct log_file *log)
{
	const struct io_table *t = log->io->table;

	t->close(log->io, log->ahead.fd);
	log->ahead.fd = -1;
	log->ahead.ready = false;
	return t->remove(log->io, log->opts.dir, log->ahead.name);
}

static void ahead_failed(struct log_file *log, int error, const char *doing)
{
	log_file_complain(log, error, doing);
	log->full = io_is_full(error);
	log->ahead_retry_at = back_off(log, error);
	if (log->ahead.fd >= 0)
		(void)drop_ahead(log);
}

static void ahead_done(struct io_request *req)
{
	struct log_file *log = req->owner;
	struct log_out *ahead = &log->ahead;

	log->ahead_busy = false;
	if (req->error == -EOPNOTSUPP && req->ops[req->at].kind == IO_ALLOCATE)
		ahead->must_zero = true;
	else if (req->error < 0)
		ahead_failed(log, req->error, "making the next segment");
	else if (!ahead->must_zero || ahead->zeroed == log->size)
		ahead->ready = true;
	/* that is over before anybody had to wait; where a roll waits it is over once that is done */
	if (ahead->ready && log->roll == ROLL_NO && !log->failing)
		log->full = false;
}

static void create_ahead(struct log_file *log)
{
	struct log_out *ahead = &log->ahead;
	struct io_request *req = &log->ahead_req;
	int fd = -EEXIST;

	/* A name that a predecessor used is passed over, and so is its file. */
	for (int i = 0; i < NAME_TRIES && fd == -EEXIST; i++) {
		*ahead = (struct log_out){ .fd = -1 };
		snprintf(ahead->name, sizeof(ahead->name), LOG_TEMPORARY_NAME,
			 (unsigned long long)log->serial++);
		fd = log->io->table->create(log->io, log->opts.dir, ahead->name);
	}
	if (fd < 0) {
		ahead_failed(log, fd, "creating the next segment");
		return;
	}
	ahead->fd = fd;
	io_begin(req, ahead_done, log);
	io_add(req, IO_ALLOCATE, fd, NULL, 0, log->size);
	io_add(req, IO_WRITE, fd, zeros, LOG_SLOTS_OFF,
	       bus_min_u64(ZERO_FIRST, log->payload_off - LOG_SLOTS_OFF));
	io_add(req, IO_WRITE, fd, zeros, log->payload_off, bus_min_u64(ZERO_FIRST, log->opts.bytes));
	io_add(req, IO_SYNC, fd, NULL, 0, 0);
	log->ahead_busy = true;
	io_submit(log->io, req);
}

/* Zeros keep in step with how full the present one is: the disk is not flooded with them. */
static bool zeros_are_due(const struct log_file *log)
{
	const struct log_out *cur = &log->cur;
	uint64_t used;

	if (log->ahead.zeroed >= log->size)
		return false;
	if (log->ahead.must_zero)
		return true;
	if (cur->fd < 0 || log->roll != ROLL_NO || log->last_commit_bytes >= BUSY_BYTES)
		return false;
	used = bus_max_u64((log->next - cur->base_seq) * log->size / log->opts.slots,
			   (log->next_pos - cur->base_pos) * (log->size / LOG_AREA_ALIGN) /
				   (log->opts.bytes / LOG_AREA_ALIGN));
	return log->ahead.zeroed < used + log->size / 8;
}

static void make_ahead(struct log_file *log)
{
	struct log_out *ahead = &log->ahead;
	struct io_request *req = &log->ahead_req;
	uint64_t len;

	if (log->ahead_busy || log->roll > ROLL_WANTED)
		return;
	if (ahead->fd < 0) {
		if (log->now >= log->ahead_retry_at)
			create_ahead(log);
		return;
	}
	if (!zeros_are_due(log))
		return;
	len = bus_min_u64(ZERO_BYTES, log->size - ahead->zeroed);
	io_begin(req, ahead_done, log);
	io_add(req, IO_WRITE, ahead->fd, zeros, ahead->zeroed, len);
	io_add(req, ahead->must_zero && ahead->zeroed + len == log->size ? IO_SYNC : IO_DATASYNC,
	       ahead->fd, NULL, 0, 0);
	ahead->zeroed += len;
	log->counts.zeroed += len;
	log->ahead_busy = true;
	io_submit(log->io, req);
}

/* ---- it comes to count ---- */

static void roll_done(struct io_request *req)
{
	((struct log_file *)req->owner)->roll_busy = false;
}

static void drop_snapshot(struct log_file *log)
{
	if (log->snapshot_fd >= 0)
		log->io->table->close(log->io, log->snapshot_fd);
	log->snapshot_fd = -1;
	free(log->snapshot);
	log->snapshot = NULL;
}

static void roll_failed(struct log_file *log, int error, const char *doing)
{
	log_file_complain(log, error, doing);
	log->full = io_is_full(error);
	drop_snapshot(log);
	log->roll = ROLL_WANTED;
	log->retry_at = back_off(log, error);
	/*
	 * Gone under its temporary name: it may have its new one, and then that file holds nothing that counts. With
	 * -EEXIST it is not ours.
	 */
	if (drop_ahead(log) == -ENOENT && error != -EEXIST)
		log->start.replace = true;
}

static void fill_front(struct log_file *log)
{
	struct log_out *ahead = &log->ahead;
	struct log_header header = {
		.magic = LOG_MAGIC,
		.version = LOG_VERSION,
		.index = ahead->index,
		.base_seq = ahead->base_seq,
		.base_pos = ahead->base_pos,
		.prev_end = ahead->prev_end,
		.slots = log->opts.slots,
		.bytes = log->opts.bytes,
		.payload_off = log->payload_off,
		.size = log->size,
		/* the clock may have been set back: what age is told by is no less than that of any message before */
		.created_ns = bus_max_u64(bus_realtime_ns(), log->time_ns),
	};

	log->created_ns = header.created_ns;
	memcpy(header.uuid, log->opts.uuid, sizeof(header.uuid));
	snprintf(header.topic, sizeof(header.topic), "%s", log->opts.topic);
	header.crc = crc32c(&header, offsetof(struct log_header, crc));
	memset(log->front, 0, FRONT_BYTES);
	memcpy(log->front, &header, sizeof(header));
	memcpy(log->front + LOG_COPY_OFF, &header, sizeof(header));
}

static int add_snapshot(struct log_file *log, struct io_request *req)
{
	const struct io_table *t = log->io->table;
	const size_t bytes = sources_snapshot_bytes(log->opts.sources);

	log->snapshot = malloc(bytes);
	if (!log->snapshot)
		return -ENOMEM;
	/* What has this name never got through: it is not read by anybody. */
	t->remove(log->io, log->opts.dir, SNAPSHOT_NEW);
	log->snapshot_fd = t->create(log->io, log->opts.dir, SNAPSHOT_NEW);
	if (log->snapshot_fd < 0)
		return log->snapshot_fd;
	/* Noted are all messages below base_seq, and no other: durable is there, and what lies above is not. */
	sources_snapshot(log->opts.sources, log->ahead.base_seq, log->snapshot);
	io_add(req, IO_WRITE, log->snapshot_fd, log->snapshot, 0, bytes);
	io_add(req, IO_SYNC, log->snapshot_fd, NULL, 0, 0);
	return 0;
}

static void begin_header(struct log_file *log)
{
	struct log_out *ahead = &log->ahead;
	struct io_request *req = &log->roll_req;
	int error = 0;

	ahead->index = log->start.index;
	ahead->base_seq = ahead->marked = log->start.seq;
	ahead->base_pos = log->start.pos & ~(uint64_t)(LOG_AREA_ALIGN - 1);
	ahead->prev_end = log->start.prev_end;
	fill_front(log);
	io_begin(req, roll_done, log);
	io_add(req, IO_WRITE, ahead->fd, log->front, 0, FRONT_BYTES);
	io_add(req, IO_SYNC, ahead->fd, NULL, 0, 0);
	if (log->opts.sources)
		error = add_snapshot(log, req);
	if (error < 0) {
		roll_failed(log, error, "writing down the publishers' last numbers");
		return;
	}
	log->roll = ROLL_HEADER;
	log->roll_busy = true;
	io_submit(log->io, req);
}

/* Whether the file is a segment of this log: 1, 0, or -errno: that cannot be told now. */
static int is_segment(struct log_file *log, const char *name)
{
	const struct io_table *t = log->io->table;
	struct log_segment seg = { .fd = -1 };
	int fd = t->open(log->io, log->opts.dir, name, O_RDONLY);
	int error = fd < 0 ? fd : log_segment_open(&seg, fd, t->pread, NULL);
	const bool ours = error == 0 && memcmp(seg.header.uuid, log->opts.uuid, LOG_UUID_BYTES) == 0;

	if (fd >= 0)
		t->close(log->io, fd);
	if (error == -EMFILE || error == -ENFILE || error == -ENOMEM || error == -ENOENT)
		return error;
	return ours || error == -EPROTONOSUPPORT;
}

/*
 * The name is taken. By a file that cannot be read, or is of another stream: a start found that it holds nothing that
 * counts, or it came since; it gets the name that bus-fsck --repair would give it, or the log would stand still for
 * ever. By a segment of this log: somebody else writes here, and has it.
 */
static int set_aside(struct log_file *log, const char *name)
{
	char to[NAME_BYTES + 16];
	int error = log->start.aside ? 0 : is_segment(log, name);

	if (error)
		return error < 0 ? error : -EEXIST;
	error = -EEXIST;
	for (int i = 0; i < ASIDE_TRIES && error == -EEXIST; i++) {
		if (i == 0)
			snprintf(to, sizeof(to), "%s" LOG_BAD_SUFFIX, name);
		else
			snprintf(to, sizeof(to), "%s" LOG_BAD_SUFFIX ".%d", name, i);
		error = log->io->table->rename(log->io, log->opts.dir, name, to, false);
	}
	if (error == 0)
		log_warning("stream \"%s\": the file %s is no segment of it, and stood in the next one's place: it is %s now",
			    log->opts.topic, name, to);
	return error;
}

static int name_segment(struct log_file *log, const char *name)
{
	const struct io_table *t = log->io->table;
	int error = t->rename(log->io, log->opts.dir, log->ahead.name, name, log->start.replace);

	if (error != -EEXIST)
		return error;
	error = set_aside(log, name);
	return error ? error : t->rename(log->io, log->opts.dir, log->ahead.name, name, false);
}

static void begin_names(struct log_file *log)
{
	const struct io_table *t = log->io->table;
	char name[NAME_BYTES];
	int error = 0;

	if (log->opts.sources) {
		snprintf(name, sizeof(name), LOG_SNAPSHOT_NAME,
			 (unsigned long long)log->ahead.base_seq);
		error = t->rename(log->io, log->opts.dir, SNAPSHOT_NEW, name, true);
	}
	drop_snapshot(log);
	snprintf(name, sizeof(name), LOG_SEGMENT_NAME, (unsigned long long)log->ahead.base_seq);
	if (error == 0)
		error = name_segment(log, name);
	if (error < 0) {
		roll_failed(log, error, "naming a segment");
		return;
	}
	io_begin(&log->roll_req, roll_done, log);
	io_add(&log->roll_req, IO_SYNC, log->opts.dir, NULL, 0, 0);
	log->roll = ROLL_NAMES;
	log->roll_busy = true;
	io_submit(log->io, &log->roll_req);
}

static void close_old(struct log_file *log)
{
	log->io->table->close(log->io, log->old.fd);
	log->old.fd = -1;
}

static void seal_done(struct io_request *req)
{
	struct log_file *log = req->owner;

	/* All in it is on disk: an error here costs room, or a mark that the next header stands for. */
	log->seal_busy = false;
	if (req->error < 0 && req->error != -EOPNOTSUPP)
		log_file_complain(log, req->error, "sealing a segment");
	close_old(log);
}

static uint64_t page_up(uint64_t off)
{
	return BUS_ALIGN_UP(off, (uint64_t)LOG_AREA_ALIGN);
}

static void seal(struct log_file *log)
{
	struct log_out *old = &log->old;
	struct io_request *req = &log->seal_req;
	const uint64_t slots_end =
		page_up(LOG_SLOTS_OFF + (old->end_seq - old->base_seq) * RING_SLOT_BYTES);
	const uint64_t bytes_end = page_up(log->payload_off + (old->end_pos - old->base_pos));

	io_begin(req, seal_done, log);
	if (!old->poisoned)
		log_file_add_mark(log, old, req, log->seal_mark);
	if (log->opts.punch && slots_end < log->payload_off)
		io_add(req, IO_PUNCH, old->fd, NULL, slots_end, log->payload_off - slots_end);
	if (log->opts.punch && bytes_end < log->size)
		io_add(req, IO_PUNCH, old->fd, NULL, bytes_end, log->size - bytes_end);
	if (req->count == 0) {
		close_old(log);
		return;
	}
	log->seal_busy = true;
	io_submit(log->io, req);
}

static void come_to_count(struct log_file *log)
{
	log->old = log->cur;
	log->cur = log->ahead;
	log->ahead = (struct log_out){ .fd = -1 };
	log->roll = ROLL_NO;
	log->begun = true;
	log->full = false;
	log->backoff = 0;
	log->durable = log->cur.base_seq;
	log->durable_pos = log->start.pos;
	log->counts.segments++;
	if (log->old.fd >= 0)
		seal(log);
	if (log->opts.made) {
		const struct log_made made = { .base_seq = log->cur.base_seq,
					       .named = log->cur.base_seq,
					       .base_pos = log->cur.base_pos,
					       .prev_end = log->cur.prev_end,
					       .created_ns = log->created_ns,
					       .bytes = log->size };

		log->opts.made(log->opts.owner, &made);
	}
}

void log_roll_run(struct log_file *log)
{
	make_ahead(log);
	if (log->roll_busy)
		return;
	switch (log->roll) {
	case ROLL_NO:
		break;
	case ROLL_WANTED:
		/* One is sealed at a time. */
		if (log->now >= log->retry_at && log->ahead.ready && !log->ahead_busy &&
		    !log->seal_busy)
			begin_header(log);
		break;
	case ROLL_HEADER:
		if (log->roll_req.error < 0)
			roll_failed(log, log->roll_req.error, "writing a segment's header");
		else
			begin_names(log);
		break;
	case ROLL_NAMES:
		if (log->roll_req.error < 0)
			roll_failed(log, log->roll_req.error, "syncing the log's directory");
		else
			come_to_count(log);
		break;
	}
}

void log_roll_begin(struct log_file *log)
{
	log->start = (struct log_start){
		.seq = log->next,
		.pos = log->opts.view.slots[log->next & (log->opts.view.slot_count - 1)].pos,
		.prev_end = log->next,
		.index = log->cur.index + 1
	};
	log->cur.end_seq = log->next;
	log->cur.end_pos = log->next_pos;
	log->roll = ROLL_WANTED;
	log->retry_at = log->now;
}

void log_roll_give_up(struct log_file *log)
{
	struct log_out *cur = &log->cur;
	const uint64_t gate = log_file_gate(log);

	log->counts.poisoned++;
	log->counts.written_again += log->next - gate;
	log->counts.lost += gate - log->durable;
	log->start.seq = gate;
	log->start.pos = gate < log->offered
				 ? log->opts.view.slots[gate & (log->opts.view.slot_count - 1)].pos
				 : log->next_pos;
	/*
	 * Without a message that counts its file is replaced, and what it declared is declared again. Else it stays,
	 * valid below the next one's prev_end.
	 */
	log->start.replace = cur->base_seq == gate;
	log->start.index = cur->index + (log->start.replace ? 0 : 1);
	log->start.prev_end = log->start.replace ? cur->prev_end : log->durable;
	if (log->start.replace) {
		log->io->table->close(log->io, cur->fd);
		cur->fd = -1;
	}
	/* what it holds else goes once the next header says so: seal() */
	cur->end_seq = log->durable;
	cur->end_pos = log->durable_pos;
	cur->poisoned = true;
	/* durable: what is lost (policy none) is passed over once that is declared on disk */
	log->next = log->written = gate;
	log->next_pos = log->written_pos = log->start.pos;
	log->failing = false;
	log->sync_busy = false;
	log->roll = ROLL_WANTED;
	log->retry_at = back_off(log, log->full ? -ENOSPC : -EIO);
}

uint64_t log_roll_due(const struct log_file *log)
{
	uint64_t due = UINT64_MAX;

	if (log->ahead.fd < 0 && !log->ahead_busy)
		due = log->ahead_retry_at;
	if (log->roll == ROLL_WANTED && log->ahead.ready && !log->ahead_busy && !log->seal_busy)
		due = bus_min_u64(due, log->retry_at);
	if (log->opts.policy == LOG_SYNC_NONE && !log->numbers_busy &&
	    log->offered + log->opts.numbers_step / 2 >= log->number_limit)
		due = bus_min_u64(due, log->number_retry_at);
	return due;
}

void log_roll_close(struct log_file *log)
{
	const struct io_table *t = log->io->table;

	drop_snapshot(log);
	if (log->ahead.fd >= 0)
		(void)drop_ahead(log);
	if (log->cur.fd >= 0)
		t->close(log->io, log->cur.fd);
	if (log->old.fd >= 0)
		t->close(log->io, log->old.fd);
	if (log->numbers_fd >= 0)
		t->close(log->io, log->numbers_fd);
}
