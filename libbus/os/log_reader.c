/* SPDX-License-Identifier: Apache-2.0 */
/*
 * log_reader.c - a log's messages one after another: over segments, over what is missing, and on as the log
 * grows. Each number from where it began is either given as a message or told as part of a gap.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "os/log_own.h"

#define LOOKS_MAX 64 /* at a directory that changes, within one step */

/* Where reading may begin: the oldest message, or a broken file that is older. */
static uint64_t oldest(const struct log_dir *dir)
{
	uint64_t first = dir->segments ? dir->entries[0].base_seq : UINT64_MAX, named;

	if (log_dir_broken_between(dir, 0, first, &named))
		return named;
	return dir->segments ? first : 0;
}

static void leave_segment(struct log_reader *rd)
{
	if (rd->open)
		log_segment_close(&rd->seg);
	rd->open = false;
}

int log_reader_open(struct log_reader *ret, struct log_dir *dir)
{
	struct log_reader rd = { .dir = dir, .seg = { .fd = -1 }, .buf = { .fd = -1 } };

	rd.msgs = malloc(LOG_BATCH * sizeof(*rd.msgs));
	if (rd.msgs == NULL)
		return -ENOMEM;
	rd.seq = oldest(dir);
	*ret = rd;
	return 0;
}

void log_reader_close(struct log_reader *rd)
{
	leave_segment(rd);
	log_buffer_free(&rd->buf);
	free(rd->msgs);
	rd->msgs = NULL;
}

/* ---- moving to ---- */

void log_reader_seek(struct log_reader *rd, uint64_t seq)
{
	leave_segment(rd);
	rd->seq = seq;
	rd->told = false;
}

void log_reader_seek_oldest(struct log_reader *rd)
{
	log_reader_seek(rd, oldest(rd->dir));
}

/* Where the messages of segment i end, as far as is known. */
static int end_of(struct log_reader *rd, size_t i, uint64_t *ret)
{
	struct log_segment seg;
	struct log_tail tail;
	int err = log_dir_segment(rd->dir, i, &seg);

	if (err)
		return err;
	*ret = seg.limit;
	if (seg.attested < seg.limit) {
		err = log_segment_tail(&seg, &rd->buf, &tail);
		if (!err)
			*ret = tail.seq;
	}
	log_segment_close(&seg);
	return err;
}

/* The time of the first good message of segment i. 1; 0: it has none; -errno. */
static int first_time(struct log_reader *rd, size_t i, uint64_t *ret)
{
	struct log_segment seg;
	uint64_t end;
	int err = end_of(rd, i, &end);

	if (err)
		return err;
	err = log_dir_segment(rd->dir, i, &seg);
	if (err)
		return err;
	err = log_segment_time(&seg, seg.header.base_seq, end, ret) < end;
	log_segment_close(&seg);
	return err;
}

/* The last segment whose first message is older than `time`; 0 where none is. */
static size_t segment_at_time(struct log_reader *rd, uint64_t time)
{
	size_t low = 0, high = rd->dir->segments;

	/* segment low begins earlier (or is the first), those from high on do not, or say nothing */
	while (high - low > 1) {
		size_t middle = low + (high - low) / 2, at = middle;
		uint64_t when = 0;

		while (at < high && first_time(rd, at, &when) != 1)
			at++;
		if (at < high && when < time)
			low = at;
		else
			high = middle;
	}
	return low;
}

int log_reader_seek_time(struct log_reader *rd, uint64_t time)
{
	struct log_dir *dir = rd->dir;
	uint64_t before = oldest(dir);

	log_reader_seek(rd, before);
	if (dir->segments == 0)
		return 0;
	for (size_t i = segment_at_time(rd, time); i < dir->segments; i++) {
		const struct log_entry *e = &dir->entries[i];
		struct log_segment seg;
		uint64_t end, seq;

		if (end_of(rd, i, &end) < 0 || log_dir_segment(dir, i, &seg) < 0)
			continue;
		seq = log_segment_find_time(&seg, time, end);
		log_segment_close(&seg);
		/* what is missing before it may be as young */
		if (seq == e->base_seq && (i == 0 || e->index != e[-1].index + 1))
			seq = before;
		rd->seq = before = seq;
		if (seq < end)
			break;
	}
	return 0;
}

int log_reader_seek_end(struct log_reader *rd)
{
	return log_reader_seek_back(rd, 0);
}

int log_reader_seek_back(struct log_reader *rd, uint64_t n)
{
	struct log_dir *dir = rd->dir;

	log_reader_seek(rd, oldest(dir));
	for (size_t i = dir->segments; i-- > 0;) {
		uint64_t base = dir->entries[i].base_seq, end;
		int err = end_of(rd, i, &end);

		if (err == -ENOMEM)
			return err;
		if (err)
			continue;
		if (n <= end - base) {
			rd->seq = end - n;
			return 0;
		}
		n -= end - base;
	}
	return 0;
}

/* ---- stepping ---- */

static int gap_found(struct log_reader *rd, uint64_t to, enum log_fault why, uint64_t file)
{
	rd->gap = (struct log_gap){ .from = rd->seq, .to = to, .why = why, .file = file };
	if (to != LOG_OPEN_END)
		rd->seq = to;
	return LOG_STEP_GAP;
}

/*
 * The numbers in front of segment `next` that no segment before it has: a gap; 0: there are none. at: the
 * segment before it, -1 where that is none.
 */
static int cross(struct log_reader *rd, ssize_t at, const struct log_entry *next)
{
	const struct log_dir *dir = rd->dir;
	uint64_t from = at < 0 ? 0 : dir->entries[at].base_seq + 1, named;

	if (log_dir_broken_between(dir, from, next->base_seq, &named)) {
		if (rd->seq < named && named < next->prev_end)
			return gap_found(rd, named, at < 0 ? LOG_GONE : LOG_MISSING, named);
		if (rd->seq < next->prev_end)
			return gap_found(rd, next->prev_end, LOG_BROKEN, named);
	} else if (at < 0 && rd->seq < next->base_seq) {
		return gap_found(rd, next->base_seq, LOG_GONE, next->base_seq);
	} else if (rd->seq < next->prev_end) {
		return gap_found(rd, next->prev_end, LOG_MISSING, rd->seq);
	}
	if (rd->seq < next->base_seq)
		return gap_found(rd, next->base_seq, LOG_HOLE, next->base_seq);
	return 0;
}

/* A file at the end of which nobody knows how many messages it had. Told once. */
static int broken_end(struct log_reader *rd, enum log_fault tail)
{
	const struct log_dir *dir = rd->dir;
	uint64_t from = dir->segments ? dir->entries[dir->segments - 1].base_seq + 1 : 0, named;

	rd->tail = tail;
	if (!log_dir_broken_between(dir, from, UINT64_MAX, &named))
		return LOG_STEP_END;
	rd->tail = LOG_BROKEN;
	if (rd->told)
		return LOG_STEP_END;
	rd->told = true;
	return gap_found(rd, LOG_OPEN_END, LOG_BROKEN, named);
}

/* What comes of a look: nothing there (for now), a segment is open, rd->gap is filled, look once more. */
enum { LOOK_NONE = 0, LOOK_OPEN, LOOK_GAP, LOOK_AGAIN };

/* Opens the segment with rd->seq. LOOK_..., -errno. */
static int open_at(struct log_reader *rd)
{
	struct log_dir *dir = rd->dir;
	ssize_t at = log_dir_find(dir, rd->seq);
	const struct log_entry *next =
		(size_t)(at + 1) < dir->segments ? &dir->entries[at < 0 ? 0 : at + 1] : NULL;
	int err;

	if (at < 0) {
		if (next == NULL)
			return LOOK_NONE;
		return cross(rd, -1, next) ? LOOK_GAP : LOOK_AGAIN;
	}
	err = log_dir_segment(dir, (size_t)at, &rd->seg);
	if (err == -ENOENT) {
		err = log_dir_refresh(dir);
		return err < 0 ? err : LOOK_AGAIN;
	}
	if (err == -ENOMEM || err == -EMFILE || err == -ENFILE)
		return err;
	if (err) {
		log_dir_spoil(dir, (size_t)at, err);
		return LOOK_AGAIN;
	}
	rd->open = true;
	return LOOK_OPEN;
}

/*
 * Nothing more is known to be in the open segment: looks for news. LOOK_AGAIN: there is some; LOOK_GAP;
 * LOOK_NONE: this is the end, for now.
 */
static int look_again(struct log_reader *rd)
{
	struct log_segment *seg = &rd->seg;
	struct log_dir *dir = rd->dir;
	uint64_t base = seg->header.base_seq, attested = seg->attested, limit = seg->limit;
	const struct log_entry *next;
	ssize_t at;
	int err = log_segment_refresh(seg);

	if (seg->attested > attested)
		return LOOK_AGAIN;
	err = log_dir_refresh(dir);
	if (err < 0)
		return err;
	at = log_dir_find(dir, base);
	next = (size_t)(at + 1) < dir->segments ? &dir->entries[at + 1] : NULL;
	if (at >= 0 && dir->entries[at].base_seq == base)
		log_dir_bound(dir, (size_t)at, seg);
	else if (next != NULL) /* retention, or somebody, took the file, and we still have it */
		seg->limit = bus_min_u64(limit, bus_max_u64(next->prev_end, base));
	seg->attested = bus_min_u64(bus_max_u64(seg->attested, attested), seg->limit);
	if (seg->attested > attested && rd->seq < seg->attested)
		return LOOK_AGAIN;
	if (next == NULL)
		return LOOK_NONE;
	leave_segment(rd);
	return cross(rd, at, next) ? LOOK_GAP : LOOK_AGAIN;
}

static int step_over(struct log_reader *rd, enum log_fault stop)
{
	int r;

	if (stop == LOG_UNSUPPORTED) {
		gap_found(rd, rd->seq + 1, stop, rd->seg.header.base_seq);
		return LOOK_GAP;
	}
	if (stop != LOG_LIMIT && rd->seq < rd->seg.attested) {
		gap_found(rd, log_segment_skip(&rd->seg, &rd->buf, rd->seq, rd->seg.attested, stop),
			  stop, rd->seg.header.base_seq);
		return LOOK_GAP;
	}
	r = look_again(rd);
	if (r != LOOK_NONE)
		return r;
	r = broken_end(rd, stop);
	return r == LOG_STEP_GAP ? LOOK_GAP : LOOK_NONE;
}

int log_reader_step(struct log_reader *rd, int max)
{
	rd->count = 0;
	for (int looks = 0; looks < LOOKS_MAX; looks++) {
		enum log_fault stop;
		int n, r = LOOK_OPEN;

		if (!rd->open)
			r = open_at(rd);
		if (r == LOOK_NONE) { /* no segment at all, yet */
			r = log_dir_refresh(rd->dir);
			if (r < 0)
				return r;
			if (rd->dir->segments == 0)
				return broken_end(rd, LOG_UNWRITTEN);
			continue;
		}
		if (r == LOOK_AGAIN)
			continue;
		if (r != LOOK_OPEN)
			return r == LOOK_GAP ? LOG_STEP_GAP : r;
		n = log_segment_read(&rd->seg, &rd->buf, rd->seq, rd->msgs, max, &stop);
		if (n < 0)
			return n;
		rd->count = n;
		if (n > 0) {
			rd->seq += (uint64_t)n;
			rd->told = false;
			return LOG_STEP_MESSAGES;
		}
		r = step_over(rd, stop);
		if (r == LOOK_NONE)
			return LOG_STEP_END;
		if (r != LOOK_AGAIN)
			return r == LOOK_GAP ? LOG_STEP_GAP : r;
	}
	rd->tail = LOG_UNREADABLE;
	return LOG_STEP_END;
}
