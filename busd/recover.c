/* SPDX-License-Identifier: Apache-2.0 */
/*
 * recover.c - what a log's directory holds. See recover.h.
 */
#include "recover.h"

#include "base/crc32c.h"
#include "os/log_read.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>

/* No writer gives such numbers; a file that is named so does not decide where ours go on. */
#define NUMBER_MAX (UINT64_C(1) << 62)
#define BATCH      LOG_BATCH

static void remark(struct recovered *rec, const char *text)
{
	const size_t at = strlen(rec->remark);

	snprintf(rec->remark + at, sizeof(rec->remark) - at, "%s%s", at ? "; " : "", text);
}

static int sync_file(struct io *io, int fd, enum io_kind kind)
{
	struct io_request req;

	io_begin(&req, NULL, NULL);
	io_add(&req, kind, fd, NULL, 0, 0);
	return io_run(io, &req);
}

/* ---- the end ---- */

/*
 * What stands in the page cache is not on the disk, and after an fsync that failed, not even a second one that succeeds
 * says that it is. So it is synced, forgotten, and read again.
 */
static int find_end(struct recovered *rec, struct io *io, const struct log_segment *seg)
{
	struct log_buffer buf = { 0 };
	struct log_tail tail, again;
	uint64_t last;
	int error = log_segment_tail(seg, &buf, &tail);

	log_buffer_free(&buf);
	if (error < 0)
		return error;
	rec->past = bus_max_u64(rec->past, tail.seq);
	if (tail.found || tail.stop != LOG_UNWRITTEN) {
		/* Failed: not now. Once more, with what the disk then has, is for the caller's next attempt. */
		error = sync_file(io, seg->fd, IO_DATASYNC);
		if (error < 0)
			return error;
		(void)io->table->forget(io, seg->fd, 0, 0);
		buf = (struct log_buffer){ 0 };
		error = log_segment_tail(seg, &buf, &again);
		log_buffer_free(&buf);
		if (error < 0)
			return error;
		if (again.seq < tail.seq)
			rec->withdrawn = tail.seq - again.seq;
		tail = again;
	}
	rec->end_seq = tail.seq;
	rec->end_pos = tail.pos;
	rec->end_time = tail.time;
	/* a mark has the clock's time, and that may have been set back before */
	if (tail.seq > seg->header.base_seq &&
	    log_segment_time(seg, tail.seq - 1, tail.seq, &last) < tail.seq)
		rec->end_time = bus_max_u64(tail.time, last);
	rec->found = tail.found;
	rec->torn = tail.stop != LOG_UNWRITTEN && tail.stop != LOG_LIMIT;
	return 0;
}

/* ---- files ---- */

static bool is_ours_to_remove(const struct log_entry *e)
{
	static const char *const names[] = { "snapshot.new", LOG_SOURCES_NAME ".new",
					     LOG_NUMBERS_NAME ".new", LOG_POSITIONS_NAME ".new" };

	/*
	 * Under these names nothing ever counted: a segment is renamed before its first message, and only the directory's
	 * owner, who is dead, renames.
	 */
	if (e->kind == LOG_KIND_TEMPORARY)
		return true;
	for (size_t i = 0; i < BUS_ARRAY_LEN(names); i++) {
		if (strcmp(e->name, names[i]) == 0)
			return true;
	}
	return false;
}

static void look_at_others(struct recovered *rec, struct io *io, int dir, const struct log_dir *ld)
{
	for (size_t i = ld->segments; i < ld->count; i++) {
		const struct log_entry *e = &ld->entries[i];

		if (is_ours_to_remove(e)) {
			rec->temporaries += io->table->remove(io, dir, e->name) == 0;
			continue;
		}
		if (e->kind == LOG_KIND_QUARANTINED || e->kind == LOG_KIND_OTHER)
			continue;
		rec->strangers++;
		/* Whatever messages it may have had, their numbers are not given again. */
		if (e->named < NUMBER_MAX && e->named + e->file_bytes / RING_SLOT_BYTES > rec->past)
			rec->past = e->named + e->file_bytes / RING_SLOT_BYTES;
		if (e->named > rec->base_seq)
			rec->strangers_after++;
	}
	if (rec->strangers)
		remark(rec,
		       "files in place of segments are unreadable, or of another stream, and stay");
}

static int read_numbers(struct recovered *rec, struct io *io, int dir)
{
	struct log_numbers numbers;
	ssize_t got;
	int fd = io->table->open(io, dir, LOG_NUMBERS_NAME, O_RDONLY);

	if (fd == -ENOENT)
		return 0;
	got = fd < 0 ? fd : io_read(io, fd, &numbers, sizeof(numbers), 0);
	if (fd >= 0)
		io->table->close(io, fd);
	if (got < 0)
		return (int)got;
	if (got == sizeof(numbers) && numbers.magic == LOG_NUMBERS_MAGIC &&
	    memcmp(numbers.uuid, rec->uuid, sizeof(rec->uuid)) == 0 && numbers.limit < NUMBER_MAX &&
	    numbers.crc == crc32c(&numbers, offsetof(struct log_numbers, crc))) {
		rec->past = bus_max_u64(rec->past, numbers.limit);
		return 0;
	}
	/* It said how far numbers may have gone: never so far. */
	rec->past += 4 * LOG_NUMBERS_STEP;
	remark(rec, "the file " LOG_NUMBERS_NAME " cannot be read: many numbers are passed over");
	return 0;
}

/* ---- last numbers ---- */

static bool read_snapshot(struct io *io, int dir, uint64_t base_seq, struct sources *sources)
{
	const size_t room =
		sizeof(struct log_snapshot) + (SOURCES_MAX + 1) * sizeof(struct log_snapshot_entry);
	void *buf = malloc(room);
	char name[64];
	ssize_t got = -ENOMEM;
	int fd;

	if (!buf)
		return false;
	snprintf(name, sizeof(name), LOG_SNAPSHOT_NAME, (unsigned long long)base_seq);
	fd = io->table->open(io, dir, name, O_RDONLY);
	if (fd >= 0) {
		got = io_read(io, fd, buf, room, 0);
		io->table->close(io, fd);
	}
	if (got >= 0 && sources_restore(sources, buf, (size_t)got, base_seq) < 0)
		got = -EBADMSG;
	free(buf);
	return got >= 0;
}

/* Notes the messages of segment i below `end`; what cannot be read is passed over, and said. */
static int note_segment(struct recovered *rec, const struct log_dir *ld, size_t i, uint64_t end,
			struct sources *sources)
{
	/* not on the stack, which is small, and not static: after a worker's death each stream's thread is here */
	struct log_message *msgs = malloc(BATCH * sizeof(*msgs));
	struct log_buffer buf = { 0 };
	struct log_segment seg;
	enum log_fault stop;
	uint64_t seq = ld->entries[i].base_seq;
	int error = msgs ? log_dir_segment(ld, i, &seg) : -ENOMEM;

	if (error < 0) {
		free(msgs);
		rec->sources_incomplete = true;
		return error == -ENOMEM ? error : 0;
	}
	end = bus_min_u64(end, seg.limit);
	while (error >= 0 && seq < end) {
		error = log_segment_read(&seg, &buf, seq, msgs, BATCH, &stop);
		for (int n = 0; n < error; n++) {
			if (msgs[n].seq < end)
				sources_note(sources, msgs[n].src, msgs[n].src_seq);
		}
		if (error == 0) {
			rec->sources_incomplete = true;
			seq = log_segment_skip(&seg, &buf, seq, end, stop);
		} else if (error > 0) {
			seq = msgs[error - 1].seq + 1;
		}
	}
	log_buffer_free(&buf);
	log_segment_close(&seg);
	free(msgs);
	return error < 0 ? error : 0;
}

/* Has anybody published yet? Before that there is no file with names. */
static bool was_used(const struct log_dir *ld, uint64_t end)
{
	if (ld->entries[0].base_seq > 0)
		return true;
	for (size_t i = 0; i + 1 < ld->segments; i++)
		if (ld->entries[i + 1].prev_end > ld->entries[i].base_seq)
			return true;
	return end > ld->entries[ld->segments - 1].base_seq;
}

static int find_last_numbers(struct recovered *rec, struct io *io, int dir,
			     const struct log_dir *ld, uint64_t end, struct sources *sources)
{
	size_t from = ld->segments;
	bool known;
	int error = 0;

	if (ld->segments == 0)
		return 0;
	/* The newest snapshot that is one; usually the last segment's. */
	do
		known = read_snapshot(io, dir, ld->entries[--from].base_seq, sources);
	while (!known && from > 0 && sources->count);
	rec->sources_from = ld->entries[from].base_seq;
	if (from == 0 && !known && sources->count && ld->entries[0].base_seq) {
		remark(rec,
		       "no file with last numbers of publishers can be read: what they publish again is recognised as far as the log reaches back");
		rec->sources_incomplete = true;
	}
	if ((sources->absent && was_used(ld, end)) || sources->bad) {
		remark(rec, "names of publishers cannot be read, or are not there");
		rec->sources_incomplete = rec->sources_incomplete || sources->bad;
	}
	/* Nobody has a name: nobody comes back. */
	for (size_t i = from; error == 0 && sources->count && i < ld->segments; i++)
		error = note_segment(rec, ld, i, end, sources);
	return error;
}

/* ---- all of it ---- */

/* Names may be there before the first segment is. */
static int new_uuid(struct recovered *rec, struct io *io, int dir)
{
	const int error = sources_uuid(io, dir, rec->uuid);

	if (error != -ENOENT && error != -ENODATA)
		return error;
	rec->new_uuid = error == -ENOENT;
	return getrandom(rec->uuid, sizeof(rec->uuid), 0) == sizeof(rec->uuid) ? 0 : -errno;
}

/* By what it takes of the disk: what it gave back, if it did. */
static int keep_segment(struct retention *retention, const struct log_entry *e)
{
	const struct log_made made = { .base_seq = e->base_seq,
				       .base_pos = e->base_pos,
				       .prev_end = e->prev_end,
				       .created_ns = e->created_ns,
				       .bytes = bus_min_u64(e->disk_bytes, e->file_bytes) };

	return retention_add(retention, &made, false);
}

/*
 * The time of the last message before segment i. Where that cannot be read: what the segment behind it says, than which
 * none is younger.
 */
static uint64_t time_before(const struct log_dir *ld, size_t i)
{
	struct log_segment seg;
	uint64_t time = 0;

	for (; i > 0 && time == 0; i--) {
		const struct log_entry *e = &ld->entries[i - 1], *next = &ld->entries[i];
		const uint64_t end = bus_min_u64(next->prev_end, next->base_seq);

		if (end <= e->base_seq)
			continue;
		if (log_dir_segment(ld, i - 1, &seg) < 0)
			return next->created_ns;
		if (log_segment_time(&seg, end - 1, end, &time) == end)
			time = next->created_ns;
		log_segment_close(&seg);
	}
	return time;
}

static int look_at_segments(struct recovered *rec, struct io *io, int dir, const struct log_dir *ld,
			    struct retention *retention)
{
	const struct log_entry *last;
	struct log_segment seg;
	int error = 0;

	if (ld->segments == 0) {
		rec->fresh = true;
		return new_uuid(rec, io, dir);
	}
	last = &ld->entries[ld->segments - 1];
	if (last->base_seq >= NUMBER_MAX)
		return -EOVERFLOW;
	memcpy(rec->uuid, ld->uuid, sizeof(rec->uuid));
	rec->oldest_seq = ld->entries[0].base_seq;
	rec->base_seq = last->base_seq;
	rec->base_prev_end = last->prev_end;
	rec->index = last->index;
	for (size_t i = 0; error == 0 && i < ld->segments; i++)
		error = keep_segment(retention, &ld->entries[i]);
	if (error == 0)
		error = log_dir_segment(ld, ld->segments - 1, &seg);
	if (error < 0)
		return error;
	rec->base_pos = seg.header.base_pos;
	rec->payload_off = seg.header.payload_off;
	rec->size = seg.header.size;
	error = find_end(rec, io, &seg);
	log_segment_close(&seg);
	if (error == 0 && rec->end_seq == rec->base_seq)
		rec->end_time = bus_max_u64(rec->end_time, time_before(ld, ld->segments - 1));
	return error;
}

static int open_dir(struct log_dir *ld, struct io *io, int dir, struct why *why)
{
	const int error = log_dir_open(ld, dir, NULL, io->table->pread);

	if (error == -EPROTONOSUPPORT)
		return because(
			why, EPROTONOSUPPORT,
			"the log has segments of a newer format than %d: use the busd that wrote them",
			LOG_VERSION);
	if (error < 0)
		return because(why, -error, "the log's directory cannot be read: %s",
			       strerror(-error));
	return 0;
}

int recover_log(struct recovered *ret, struct io *io, int dir, struct retention *retention,
		struct why *why)
{
	struct recovered rec = { 0 };
	struct log_dir ld;
	int error;

	*retention = (struct retention){ 0 };
	if (flock(dir, LOCK_EX | LOCK_NB) < 0)
		return errno == EWOULDBLOCK
			       ? because(why, EBUSY, "somebody else writes to this log")
			       : because(why, errno, "the log's directory cannot be locked: %s",
					 strerror(errno));
	error = open_dir(&ld, io, dir, why);
	if (error < 0)
		return error;
	error = look_at_segments(&rec, io, dir, &ld, retention);
	if (error == 0) {
		look_at_others(&rec, io, dir, &ld);
		error = read_numbers(&rec, io, dir);
		/* Names too: that of the last segment may be in memory only. */
		if (error == 0)
			error = sync_file(io, dir, IO_SYNC);
	}
	log_dir_close(&ld);
	if (error < 0) {
		retention_free(retention);
		return because(why, -error, "the log's end cannot be made out, or not synced: %s",
			       strerror(-error));
	}
	*ret = rec;
	return 0;
}

int recover_sources(struct recovered *rec, struct io *io, int dir, uint64_t ring_from,
		    struct sources *sources, struct why *why)
{
	struct log_dir ld;
	int error = sources_open(sources, io, dir, rec->uuid, why);

	if (error < 0)
		return error;
	error = open_dir(&ld, io, dir, why);
	if (error == 0) {
		error = find_last_numbers(rec, io, dir, &ld, bus_min_u64(ring_from, rec->end_seq),
					  sources);
		if (error < 0)
			because(why, -error, "the publishers' last numbers cannot be made out: %s",
				strerror(-error));
		log_dir_close(&ld);
	}
	if (error < 0)
		sources_close(sources);
	return error;
}

int recover_open(struct recovered *ret, struct io *io, int dir, uint64_t ring_from,
		 struct sources *sources, struct retention *retention, struct why *why)
{
	struct recovered rec;
	int error;

	*sources = (struct sources){ .fd = -1 };
	error = recover_log(&rec, io, dir, retention, why);
	if (error == 0) {
		error = recover_sources(&rec, io, dir, ring_from, sources, why);
		if (error < 0)
			retention_free(retention);
	}
	if (error == 0)
		*ret = rec;
	return error;
}

/* Files that may have been segments have a place of their own. */
static uint64_t next_index(const struct recovered *rec)
{
	return rec->index + (rec->fresh ? 0 : 1) + rec->strangers_after;
}

void recover_start(const struct recovered *rec, uint64_t slot_count, struct log_start *ret)
{
	*ret = (struct log_start){ .index = next_index(rec) };
	if (rec->fresh && rec->past == 0)
		return;
	/*
	 * Readers may have seen as many messages as a ring holds beyond what is on disk. The next page: no byte of the
	 * log has two messages.
	 */
	ret->seq = bus_max_u64(rec->past, rec->end_seq) + slot_count;
	ret->prev_end = rec->end_seq;
	ret->pos = BUS_ALIGN_UP(rec->end_pos, (uint64_t)LOG_AREA_ALIGN);
	if (rec->fresh)
		ret->prev_end = ret->seq;
}

int recover_start_at(const struct recovered *rec, uint64_t seq, uint64_t pos, struct log_start *ret,
		     struct why *why)
{
	if (!rec->fresh && seq < rec->base_seq)
		return because(
			why, ESTALE,
			"the log's last segment begins with message %llu, and the ring with %llu: the log is "
			"of another ring; move its directory away, or let all of busd start anew",
			(unsigned long long)rec->base_seq, (unsigned long long)seq);
	*ret = (struct log_start){ .seq = seq, .pos = pos, .prev_end = seq, .index = next_index(rec) };
	if (rec->fresh)
		return 0;
	/* It was said to be there, and is not: declared, so that readers report it. */
	if (rec->end_seq < seq)
		ret->prev_end = rec->end_seq;
	if (seq == rec->base_seq) {
		/* A segment without a message of its own. */
		ret->replace = true;
		ret->index = rec->index;
		ret->prev_end = rec->base_prev_end;
	}
	return 0;
}

/* ---- once there is a new segment ---- */

int64_t recover_give_back(const struct recovered *rec, struct io *io, int dir, uint64_t ring_from)
{
	const uint64_t slots_end =
		BUS_ALIGN_UP(LOG_SLOTS_OFF + (rec->end_seq - rec->base_seq) * RING_SLOT_BYTES,
			     (uint64_t)LOG_AREA_ALIGN);
	const uint64_t bytes_end = BUS_ALIGN_UP(rec->payload_off + (rec->end_pos - rec->base_pos),
						(uint64_t)LOG_AREA_ALIGN);
	struct io_request req;
	char name[64];
	int fd, error;

	/* without a message of its own it was replaced: the name is another file's by now */
	if (rec->fresh || ring_from == rec->base_seq)
		return 0;
	/*
	 * What stands behind the end comes again from the ring, if that is there and begins no later. Without a ring, what
	 * is torn may be all that there is of it.
	 */
	if (ring_from == RECOVER_NO_RING ? rec->torn : ring_from > rec->end_seq)
		return 0;
	snprintf(name, sizeof(name), LOG_SEGMENT_NAME, (unsigned long long)rec->base_seq);
	fd = io->table->open(io, dir, name, O_RDWR);
	if (fd < 0)
		return fd == -ENOENT ? 0 : fd;
	io_begin(&req, NULL, NULL);
	if (slots_end < rec->payload_off)
		io_add(&req, IO_PUNCH, fd, NULL, slots_end, rec->payload_off - slots_end);
	if (bytes_end < rec->size)
		io_add(&req, IO_PUNCH, fd, NULL, bytes_end, rec->size - bytes_end);
	error = req.count ? io_run(io, &req) : 0;
	io->table->close(io, fd);
	if (error < 0)
		return error;
	return (int64_t)(slots_end + bytes_end - rec->payload_off);
}
