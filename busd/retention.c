/* SPDX-License-Identifier: Apache-2.0 */
/*
 * retention.c - which segments of a log go. See retention.h.
 */
#include "retention.h"

#include "os/log_read.h"

#include <fcntl.h>
#include <stdlib.h>

void retention_free(struct retention *r)
{
	free(r->segments);
	*r = (struct retention){ 0 };
}

/* What the messages below the next segment take: a page too much, where that begins in the midst of one. */
static uint64_t bytes_held(const struct retention_segment *seg, const struct log_made *next)
{
	const uint64_t slots = seg->messages;
	const uint64_t bytes = next->base_pos - bus_min_u64(next->base_pos, seg->base_pos);

	return BUS_ALIGN_UP(LOG_SLOTS_OFF + slots * RING_SLOT_BYTES, (uint64_t)LOG_AREA_ALIGN) +
	       bytes + LOG_AREA_ALIGN;
}

int retention_add(struct retention *r, const struct log_made *made, bool sealed)
{
	struct retention_segment *last = r->count ? &r->segments[r->count - 1] : NULL;

	/* one without a message was replaced */
	if (last && last->base_seq == made->base_seq) {
		r->count--;
	} else if (last) {
		const uint64_t end = bus_min_u64(made->prev_end, made->base_seq);

		last->end_seq = made->base_seq;
		last->messages = end - bus_min_u64(end, last->base_seq);
		last->last_ns = made->created_ns;
		/* one that was made while the clock was ahead says too much of those before it */
		for (size_t i = r->count - 1;
		     i > 0 && r->segments[i - 1].last_ns > made->created_ns; i--)
			r->segments[i - 1].last_ns = made->created_ns;
		if (last->sealed)
			last->bytes = bus_min_u64(last->bytes, bytes_held(last, made));
	}
	if (r->count == r->room) {
		const size_t room = r->room ? r->room * 2 : 64;
		struct retention_segment *more = realloc(r->segments, room * sizeof(*more));

		if (!more)
			return -ENOMEM;
		r->segments = more;
		r->room = room;
	}
	r->segments[r->count++] = (struct retention_segment){ .base_seq = made->base_seq,
							      .base_pos = made->base_pos,
							      .bytes = made->bytes,
							      .named = made->named,
							      .sealed = sealed };
	return 0;
}

void retention_set_bytes(struct retention *r, uint64_t base_seq, uint64_t bytes)
{
	for (size_t i = r->count; i > 0; i--) {
		if (r->segments[i - 1].base_seq == base_seq)
			r->segments[i - 1].bytes = bytes;
	}
}

int retention_pin(struct retention *r, uint64_t seq)
{
	unsigned i = 0;

	while (i < r->pin_count && r->pins[i])
		i++;
	if (i == RETENTION_PINS)
		return -ENOSPC;
	if (i == r->pin_count)
		r->pin_count++;
	r->pins[i] = seq + 1;
	return (int)i;
}

void retention_move(struct retention *r, int pin, uint64_t seq)
{
	assert(pin >= 0 && (unsigned)pin < r->pin_count && r->pins[pin]);
	r->pins[pin] = seq + 1;
}

void retention_unpin(struct retention *r, int pin)
{
	assert(pin >= 0 && (unsigned)pin < r->pin_count && r->pins[pin]);
	r->pins[pin] = 0;
	while (r->pin_count && !r->pins[r->pin_count - 1])
		r->pin_count--;
}

static uint64_t lowest_pin(const struct retention *r)
{
	uint64_t lowest = UINT64_MAX;

	for (unsigned i = 0; i < r->pin_count; i++) {
		if (r->pins[i])
			lowest = bus_min_u64(lowest, r->pins[i] - 1);
	}
	return lowest;
}

/* Whether a limit is kept only without this segment; bytes: of it and all younger ones, messages: of the younger ones. */
static bool is_too_much(const struct retention_limits *limits, const struct retention_segment *seg,
			uint64_t bytes, uint64_t messages, uint64_t now_ns)
{
	if (limits->age_ns && now_ns > seg->last_ns && now_ns - seg->last_ns > limits->age_ns)
		return true;
	if (limits->bytes && bytes > limits->bytes)
		return true;
	/* What is promised is so many messages, so those behind the segment must be enough. */
	return limits->messages && messages >= limits->messages;
}

size_t retention_due(struct retention *r, uint64_t end_seq, uint64_t now_ns)
{
	const uint64_t pin = lowest_pin(r);
	size_t due = 0, wanted = 0;
	uint64_t bytes = 0, messages = 0;

	for (size_t i = 0; i < r->count; i++) {
		bytes += r->segments[i].bytes;
		messages += r->segments[i].messages;
	}
	if (r->count)
		messages += end_seq - bus_min_u64(end_seq, r->segments[r->count - 1].base_seq);
	for (size_t i = 0; i + 1 < r->count; i++) {
		const struct retention_segment *seg = &r->segments[i];

		messages -= seg->messages;
		if (!is_too_much(&r->limits, seg, bytes, messages, now_ns))
			break;
		bytes -= seg->bytes;
		wanted++;
		if (due == i && pin >= seg->end_seq)
			due++;
	}
	r->held = wanted - due;
	return due;
}

/*
 * By the name under which it was found, unless another segment has that by now. What cannot be read goes, too: it was a
 * segment when it was listed, and its time has come.
 */
static int remove_segment(const struct retention_segment *s, struct io *io, int dir)
{
	struct log_segment seg;
	bool other = false;
	char name[64];
	int fd, error;

	snprintf(name, sizeof(name), LOG_SEGMENT_NAME, (unsigned long long)s->named);
	fd = io->table->open(io, dir, name, O_RDONLY);
	if (fd == -EMFILE || fd == -ENFILE || fd == -ENOMEM)
		return fd;
	if (fd >= 0) {
		error = log_segment_open(&seg, fd, io->table->pread, NULL);
		other = error == 0 && seg.header.base_seq != s->base_seq;
		io->table->close(io, fd);
	}
	error = other ? 0 : io->table->remove(io, dir, name);
	return error == -ENOENT ? 0 : error;
}

int retention_apply(struct retention *r, struct io *io, int dir, size_t count)
{
	size_t gone = 0;
	int error = 0;

	assert(count < r->count || count == 0);
	while (gone < count) {
		const unsigned long long base = r->segments[gone].base_seq;
		char name[64];

		/* The snapshot last: without its segment it is nobody's. */
		error = remove_segment(&r->segments[gone], io, dir);
		if (error < 0)
			break;
		snprintf(name, sizeof(name), LOG_SNAPSHOT_NAME, base);
		(void)io->table->remove(io, dir, name);
		r->removed++;
		r->removed_bytes += r->segments[gone].bytes;
		gone++;
	}
	for (size_t i = gone; i < r->count; i++)
		r->segments[i - gone] = r->segments[i];
	r->count -= gone;
	return error;
}
