/* SPDX-License-Identifier: Apache-2.0 */
/*
 * log_seek.c - finding the place in a log where reading is to begin: by time, and by distance from its end.
 * Each step looks at one segment, and of an origin has only that: so segments are walked by their numbers.
 */
#include <errno.h>

#include "os/log_own.h"

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

/* ---- from one segment to its neighbours: 1; 0: there is none; -errno ---- */

static int to_segment(struct log_dir *dir, uint64_t seq, size_t *at)
{
	int err = log_dir_aim(dir, seq);
	ssize_t found = log_dir_find(dir, seq);

	if (err < 0)
		return err;
	*at = found < 0 ? 0 : (size_t)found;
	return dir->segments > 0;
}

static int to_next(struct log_dir *dir, size_t *at)
{
	if (*at + 1 >= dir->segments)
		return 0;
	return to_segment(dir, dir->entries[*at + 1].base_seq, at);
}

static int to_former(struct log_dir *dir, size_t *at)
{
	uint64_t base = dir->entries[*at].base_seq;
	int found;

	if (dir->origin == NULL)
		return *at > 0 ? (--*at, 1) : 0;
	if (base <= dir->known.oldest_seq)
		return 0;
	found = to_segment(dir, base - 1, at);
	return found == 1 ? dir->entries[*at].base_seq < base : found;
}

/* The same as segment_at_time() of an origin: by halves of its numbers. */
static int number_at_time(struct log_reader *rd, uint64_t time, uint64_t *ret)
{
	struct log_dir *dir = rd->dir;
	uint64_t low = log_dir_oldest(dir), high = dir->known.written_seq;

	*ret = low;
	while (low < high) {
		uint64_t middle = low + (high - low) / 2, when = 0, first;
		size_t at;
		int there = to_segment(dir, middle, &at);
		bool found;

		if (there != 1)
			return there;
		first = dir->entries[at].base_seq;
		while (!(found = first_time(rd, at, &when) == 1)) {
			there = to_next(dir, &at);
			if (there < 0)
				return there;
			if (there == 0 || dir->entries[at].base_seq >= high)
				break;
		}
		if (found && when < time) {
			*ret = dir->entries[at].base_seq;
			there = to_next(dir, &at);
			if (there < 0)
				return there;
			low = there ? dir->entries[at].base_seq : high;
		} else {
			high = bus_min_u64(first, middle);
		}
	}
	return 0;
}

/* Where the search for a time begins. 1; 0: there is no segment; -errno. */
static int begin_at_time(struct log_reader *rd, uint64_t time, size_t *at)
{
	uint64_t number;
	int err;

	if (rd->dir->origin == NULL) {
		*at = segment_at_time(rd, time);
		return rd->dir->segments > 0;
	}
	err = number_at_time(rd, time, &number);
	return err < 0 ? err : to_segment(rd->dir, number, at);
}

int log_reader_seek_time(struct log_reader *rd, uint64_t time)
{
	struct log_dir *dir = rd->dir;
	uint64_t before = log_dir_oldest(dir), index = UINT64_MAX;
	size_t i;
	int there;

	log_reader_seek(rd, before);
	for (there = begin_at_time(rd, time, &i); there == 1; there = to_next(dir, &i)) {
		const struct log_entry *e = &dir->entries[i];
		bool adjoins = index != UINT64_MAX && e->index == index + 1;
		struct log_segment seg;
		uint64_t end, seq;

		if (dir->origin == NULL && index == UINT64_MAX && i > 0)
			adjoins = e->index == e[-1].index + 1;
		index = e->index;
		if (end_of(rd, i, &end) < 0 || log_dir_segment(dir, i, &seg) < 0)
			continue;
		seq = log_segment_find_time(&seg, time, end);
		log_segment_close(&seg);
		/* what is missing before it may be as young */
		if (seq == e->base_seq && !adjoins)
			seq = before;
		rd->seq = before = seq;
		if (seq < end)
			break;
	}
	return there < 0 ? there : 0;
}

int log_reader_seek_end(struct log_reader *rd)
{
	return log_reader_seek_back(rd, 0);
}

int log_reader_seek_back(struct log_reader *rd, uint64_t n)
{
	return log_reader_seek_back_from(rd, UINT64_MAX, n);
}

int log_reader_seek_back_from(struct log_reader *rd, uint64_t from, uint64_t n)
{
	struct log_dir *dir = rd->dir;
	size_t i;
	int there;

	log_reader_seek(rd, log_dir_oldest(dir));
	for (there = to_segment(dir, from, &i); there == 1; there = to_former(dir, &i)) {
		uint64_t base = dir->entries[i].base_seq, end;
		int err = end_of(rd, i, &end);

		if (err == -ENOMEM)
			return err;
		if (err)
			continue;
		end = bus_max_u64(base, bus_min_u64(end, from));
		if (n <= end - base) {
			rd->seq = end - n;
			return 0;
		}
		n -= end - base;
	}
	return there < 0 ? there : 0;
}
