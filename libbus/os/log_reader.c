/* SPDX-License-Identifier: Apache-2.0 */
/*
 * log_reader.c - a log's messages one after another: over segments, over what is missing, and on as the log
 * grows. Each number from where it began is either given as a message or told as part of a gap.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "os/log_own.h"

#define LOOKS_MAX 64 /* at a directory that changes, within one step */

uint64_t log_dir_oldest(const struct log_dir *dir)
{
	uint64_t first = dir->segments ? dir->entries[0].base_seq : UINT64_MAX, named;

	if (dir->origin != NULL)
		return dir->known.oldest_seq;
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
	rd.seq = log_dir_oldest(dir);
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
	log_reader_seek(rd, log_dir_oldest(rd->dir));
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
		/* of an origin there may be one in hand that retention has taken since */
		bool gone = dir->origin != NULL && next->base_seq == dir->known.oldest_seq;

		return gap_found(rd, gone ? next->base_seq : next->prev_end,
				 gone ? LOG_GONE : LOG_MISSING, gone ? next->base_seq : rd->seq);
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
	int err = log_dir_aim(dir, rd->seq);
	ssize_t at = log_dir_find(dir, rd->seq);
	const struct log_entry *next =
		(size_t)(at + 1) < dir->segments ? &dir->entries[at < 0 ? 0 : at + 1] : NULL;

	if (err < 0)
		return err;
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
	rd->ended = false;
	return LOOK_OPEN;
}

/*
 * The writer may have put another file in this one's place, where nothing in it was durable: reading goes on
 * in that. 1: it has; 0; -errno.
 */
static int look_at_name(struct log_reader *rd, size_t at)
{
	struct log_segment now;
	struct stat was_st, now_st;
	int err = log_dir_segment(rd->dir, at, &now);

	if (err == -ENOMEM || err == -EMFILE || err == -ENFILE)
		return err;
	if (err < 0) /* it went at this moment, or rots: what is open still is good */
		return 0;
	if (fstat(rd->seg.fd, &was_st) < 0 || fstat(now.fd, &now_st) < 0 ||
	    (was_st.st_ino == now_st.st_ino && was_st.st_dev == now_st.st_dev)) {
		log_segment_close(&now);
		return 0;
	}
	log_segment_close(&rd->seg);
	rd->seg = now;
	return 1;
}

/* Lists again; of an origin that knows what follows this segment there is nothing to be asked. */
static int refresh(struct log_dir *dir, uint64_t base)
{
	ssize_t at = log_dir_find(dir, base);

	if (dir->origin != NULL && at >= 0 && dir->entries[at].base_seq == base &&
	    (size_t)at + 1 < dir->segments)
		return 0;
	dir->around = base;
	return log_dir_refresh(dir);
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
	bool there;
	ssize_t at;
	int err = log_segment_refresh(seg);

	if (seg->attested > attested)
		return LOOK_AGAIN;
	err = refresh(dir, base);
	if (err < 0)
		return err;
	at = log_dir_find(dir, base);
	there = at >= 0 && dir->entries[at].base_seq == base;
	next = (size_t)(at + 1) < dir->segments ? &dir->entries[at + 1] : NULL;
	if (there && next == NULL) {
		err = look_at_name(rd, (size_t)at);
		if (err != 0)
			return err < 0 ? err : LOOK_AGAIN;
	}
	if (there)
		log_dir_bound(dir, (size_t)at, seg);
	else if (next != NULL) /* retention, or somebody, took the file, and we still have it */
		seg->limit = bus_min_u64(limit, bus_max_u64(next->prev_end, base));
	seg->attested = bus_min_u64(bus_max_u64(seg->attested, attested), seg->limit);
	if (seg->attested > attested && rd->seq < seg->attested)
		return LOOK_AGAIN;
	if (next == NULL)
		return LOOK_NONE;
	/* what was written before the next one came, and after the last look, is there by now */
	if (!rd->ended) {
		rd->ended = true;
		return LOOK_AGAIN;
	}
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
