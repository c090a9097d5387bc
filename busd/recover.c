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
#include <unistd.h>

/* No writer gives such numbers; a file that is named so does not decide where ours go on. */
#define NUMBER_MAX (UINT64_C(1) << 62)
#define BATCH      LOG_BATCH
/* A file that the disk cannot read is looked at so many times more, in the loop, too. */
#define LOOKS   3
#define LOOK_US 20000

static void remark(struct recovered *rec, const char *text)
{
	const size_t at = strlen(rec->remark);

	snprintf(rec->remark + at, sizeof(rec->remark) - at, "%s%s", at ? "; " : "", text);
}

/* For want of descriptors or memory: it says nothing of the file. */
static bool is_passing(int err)
{
	return err == EMFILE || err == ENFILE || err == ENOMEM;
}

static int sync_file(struct io *io, int fd, enum io_kind kind)
{
	struct io_request req;

	io_begin(&req, NULL, NULL);
	io_add(&req, kind, fd, NULL, 0, 0);
	return io_run(io, &req);
}

/* ---- the end ---- */

static int read_tail(const struct log_segment *seg, struct log_tail *tail)
{
	for (int looks = 0;; looks++) {
		struct log_buffer buf = { 0 };
		const int error = log_segment_tail(seg, &buf, tail);

		log_buffer_free(&buf);
		if (error < 0 || tail->stop != LOG_UNREADABLE || looks == LOOKS)
			return error;
		usleep(LOOK_US); /* what it cannot read now would be no message for ever */
	}
}

/*
 * What stands in the page cache is not on the disk, and after an fsync that failed, not even a second one that succeeds
 * says that it is. So it is synced, forgotten, and read again.
 */
static int find_end(struct recovered *rec, struct io *io, const struct log_segment *seg)
{
	struct log_tail tail, again;
	uint64_t last;
	int error = read_tail(seg, &tail);

	if (error < 0)
		return error;
	rec->past = bus_max_u64(rec->past, tail.seq);
	if (tail.found || tail.stop != LOG_UNWRITTEN) {
		/* Failed: not now. Once more, with what the disk then has, is for the caller's next attempt. */
		error = sync_file(io, seg->fd, IO_DATASYNC);
		if (error < 0)
			return error;
		(void)io->table->forget(io, seg->fd, 0, 0);
		error = read_tail(seg, &again);
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

/* So many numbers a file may have had: it may be cut, so no less than a segment of this log. */
static uint64_t numbers_of(const struct recovered *rec, const struct log_entry *e)
{
	if (e->kind == LOG_KIND_UNREADABLE && e->file_bytes == 0)
		return LOG_MAX_SLOTS;
	return bus_max_u64(e->file_bytes / RING_SLOT_BYTES, rec->slots);
}

/* Whether it may be a segment of this log all the same, with messages that are to be had again one day. */
static bool may_be_ours(const struct recovered *rec, struct io *io, int dir,
			const struct log_entry *e)
{
	struct log_segment seg;
	bool others = false;
	int fd;

	if (e->kind == LOG_KIND_UNREADABLE || e->kind == LOG_KIND_BROKEN)
		return true;
	if (e->kind != LOG_KIND_QUARANTINED)
		return false;
	/* most are, and one that is not says so itself */
	fd = io->table->open(io, dir, e->name, O_RDONLY);
	if (fd < 0)
		return true;
	if (log_segment_open(&seg, fd, io->table->pread, NULL) == 0)
		others = memcmp(seg.header.uuid, rec->uuid, sizeof(rec->uuid)) != 0;
	io->table->close(io, fd);
	return !others;
}

/* Whatever messages it may have had, their numbers are not given again. */
static void pass_over(struct recovered *rec, const struct log_entry *e, bool ours)
{
	const uint64_t end = e->named + numbers_of(rec, e);

	if (e->named >= NUMBER_MAX)
		return;
	rec->past = bus_max_u64(rec->past, end);
	if (!rec->fresh && e->named <= rec->base_seq)
		return;
	rec->strangers_after++;
	if (ours)
		rec->others_end = bus_max_u64(rec->others_end, end);
}

static void look_at_others(struct recovered *rec, struct io *io, int dir, const struct log_dir *ld)
{
	for (size_t i = ld->segments; i < ld->count; i++) {
		const struct log_entry *e = &ld->entries[i];

		if (is_ours_to_remove(e)) {
			rec->temporaries += io->table->remove(io, dir, e->name) == 0;
			continue;
		}
		if (e->kind == LOG_KIND_OTHER)
			continue;
		/* put aside, by people or by us: no news, and its numbers are as good as given */
		rec->strangers += e->kind != LOG_KIND_QUARANTINED;
		pass_over(rec, e, may_be_ours(rec, io, dir, e));
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

/* 1; 0: there is none that is one; -errno: not now. */
static int read_snapshot(struct io *io, int dir, uint64_t base_seq, struct sources *sources)
{
	const size_t room =
		sizeof(struct log_snapshot) + (SOURCES_MAX + 1) * sizeof(struct log_snapshot_entry);
	void *buf = malloc(room);
	char name[64];
	ssize_t got;
	int fd;

	if (!buf)
		return -ENOMEM;
	snprintf(name, sizeof(name), LOG_SNAPSHOT_NAME, (unsigned long long)base_seq);
	fd = io->table->open(io, dir, name, O_RDONLY);
	if (fd >= 0) {
		got = io_read(io, fd, buf, room, 0);
		io->table->close(io, fd);
	} else {
		got = fd;
	}
	if (got >= 0 && sources_restore(sources, buf, (size_t)got, base_seq) < 0)
		got = -EBADMSG;
	free(buf);
	return got >= 0 ? 1 : is_passing((int)-got) ? (int)got : 0;
}

/* 1; 0: it cannot be read; -errno: not now. */
static int open_to_note(const struct log_dir *ld, size_t i, struct log_segment *seg)
{
	int error = log_dir_segment(ld, i, seg);

	for (int looks = 0; error == -EIO && looks < LOOKS; looks++) {
		usleep(LOOK_US);
		error = log_dir_segment(ld, i, seg);
	}
	return error == 0 ? 1 : is_passing(-error) ? error : 0;
}

/* Notes the messages of segment i below `end`; what cannot be read is passed over, and said: sources_incomplete. */
static int note_segment(struct recovered *rec, const struct log_dir *ld, size_t i, uint64_t end,
			struct sources *sources)
{
	/* not on the stack, which is small, and not static: after a worker's death each stream's thread is here */
	struct log_message *msgs = malloc(BATCH * sizeof(*msgs));
	struct log_buffer buf = { 0 };
	struct log_segment seg;
	enum log_fault stop;
	uint64_t seq = ld->entries[i].base_seq;
	int count, error = msgs ? open_to_note(ld, i, &seg) : -ENOMEM;

	if (error <= 0) {
		free(msgs);
		rec->sources_incomplete = true;
		return error;
	}
	end = bus_min_u64(end, seg.limit);
	while (error >= 0 && seq < end) {
		error = log_segment_read(&seg, &buf, seq, msgs, BATCH, &stop);
		/* whole, though not for us to deliver: its publisher has it in the log */
		count = error + (error == 0 && stop == LOG_UNSUPPORTED);
		for (int n = 0; n < count; n++) {
			if (msgs[n].seq < end)
				sources_note(sources, msgs[n].src, msgs[n].src_seq);
		}
		if (error < 0)
			break;
		if (count > 0) {
			seq = msgs[count - 1].seq + 1;
			continue;
		}
		if (stop == LOG_UNWRITTEN && seq >= seg.attested)
			break; /* its messages end here */
		rec->sources_incomplete = true;
		seq = log_segment_skip(&seg, &buf, seq, end, stop);
	}
	log_buffer_free(&buf);
	log_segment_close(&seg);
	free(msgs);
	return error < 0 ? error : 0;
}

/* Whether a file behind this number may have messages that are in no snapshot. */
static bool is_unread_from(const struct log_dir *ld, uint64_t base_seq)
{
	for (size_t i = ld->segments; i < ld->count; i++) {
		const struct log_entry *e = &ld->entries[i];

		if (e->named >= base_seq &&
		    (e->kind == LOG_KIND_UNREADABLE || e->kind == LOG_KIND_BROKEN ||
		     e->kind == LOG_KIND_QUARANTINED))
			return true;
	}
	return false;
}

static int tell_incomplete(struct recovered *rec, const struct sources *sources)
{
	if (rec->sources_incomplete && sources->count)
		remark(rec,
		       "messages are damaged, or in files that are not read: if their publishers publish them again, they are taken again");
	return 0;
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
	int known = 0, error = 0;

	/* The newest snapshot that is one; usually the last segment's. */
	while (known == 0 && from > 0 && (from == ld->segments || sources->count))
		known = read_snapshot(io, dir, ld->entries[--from].base_seq, sources);
	if (known < 0)
		return known;
	if (sources->count && is_unread_from(ld, ld->segments ? ld->entries[from].base_seq : 0))
		rec->sources_incomplete = true;
	if (ld->segments == 0)
		return tell_incomplete(rec, sources);
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
	return error < 0 ? error : tell_incomplete(rec, sources);
}

/* ---- all of it ---- */

/* Names may be there before the first segment is. */
static int new_uuid(struct recovered *rec, struct io *io, int dir)
{
	const int error = sources_uuid(io, dir, rec->uuid);

	if (error != -ENOENT && error != -ENODATA)
		return error;
	rec->new_uuid = error == -ENOENT;
	if (log_settings_uuid(dir, rec->uuid) == 0)
		return 0;
	return getrandom(rec->uuid, sizeof(rec->uuid), 0) == sizeof(rec->uuid) ? 0 : -errno;
}

/*
 * By what it takes of the disk: what it gave back, if it did. Where a file is missing between the two, nobody knows how
 * many messages the former has: none of them counts towards what is to be kept.
 */
static int keep_segment(struct retention *retention, const struct log_entry *e,
			const struct log_entry *former)
{
	const bool known = !former || e->index == former->index + 1;
	const struct log_made made = { .base_seq = e->base_seq,
				       .named = e->named,
				       .base_pos = e->base_pos,
				       .prev_end = known ? e->prev_end : former->base_seq,
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
	rec->named = last->named;
	rec->base_prev_end = last->prev_end;
	rec->index = last->index;
	rec->slots = last->slots;
	for (size_t i = 0; i < ld->segments; i++)
		rec->misnamed += ld->entries[i].named != ld->entries[i].base_seq;
	if (rec->misnamed)
		remark(rec,
		       "segments are named after other numbers than their first: stop busd and run bus-fsck --repair");
	for (size_t i = 0; error == 0 && i < ld->segments; i++)
		error = keep_segment(retention, &ld->entries[i], i ? &ld->entries[i - 1] : NULL);
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

static const struct log_entry *unreadable(const struct log_dir *ld)
{
	const struct log_entry *found = NULL;

	for (size_t i = ld->segments; i < ld->count; i++) {
		const struct log_entry *e = &ld->entries[i];

		if (e->kind == LOG_KIND_UNREADABLE && (!found || is_passing(e->err)))
			found = e;
	}
	return found;
}

/*
 * A segment that cannot be read now, and is passed over, takes what it has along. For want of descriptors or memory
 * that is for the caller's next attempt; a disk is asked some times.
 */
static int look_again(struct log_dir *ld, struct why *why)
{
	for (int looks = 0;; looks++) {
		const struct log_entry *e = unreadable(ld);
		int error;

		if (e && is_passing(e->err))
			return because(why, e->err, "the log's file %s cannot be opened now: %s",
				       e->name, strerror(e->err));
		if (!e || looks == LOOKS)
			return 0;
		usleep(LOOK_US);
		error = log_dir_refresh(ld);
		if (error < 0)
			return because(why, -error, "the log's directory cannot be read: %s",
				       strerror(-error));
	}
}

/* All segments may be another stream's, and this one's be gone, or still to be made. */
static bool are_others(const struct log_dir *ld)
{
	for (size_t i = 0; i < ld->count; i++) {
		if (ld->segments > 0 || ld->entries[i].kind == LOG_KIND_STRANGER)
			return ld->segments == 0;
	}
	return false;
}

static int open_dir(struct log_dir *ld, struct io *io, int dir, struct why *why)
{
	uint8_t uuid[LOG_UUID_BYTES];
	int error = log_settings_uuid(dir, uuid);

	if (is_passing(-error))
		return because(why, -error, "the file " LOG_SETTINGS_NAME " cannot be read now: %s",
			       strerror(-error));
	error = log_dir_open(ld, dir, error == 0 ? uuid : NULL, io->table->pread);
	if (error == -EPROTONOSUPPORT)
		return because(
			why, EPROTONOSUPPORT,
			"the log has segments of a newer format than %d: use the busd that wrote them",
			LOG_VERSION);
	if (error < 0)
		return because(why, -error, "the log's directory cannot be read: %s",
			       strerror(-error));
	error = look_again(ld, why);
	if (error == 0 && are_others(ld))
		error = because(why, ESTALE, "the segments in its directory are of another stream");
	if (error < 0)
		log_dir_close(ld);
	return error;
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
