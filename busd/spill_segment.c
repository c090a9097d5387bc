/* SPDX-License-Identifier: Apache-2.0 */
/*
 * spill_segment.c - a reader's segment, found and opened by the stream's own thread: the list of segments is in
 * memory, and opening a file may take the disk's time. Nothing removes one meanwhile, since that is this thread's, too.
 */
#include "spill_disk_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct spill_ask *spill_ask_new(enum spill_ask_kind kind, struct job *job)
{
	struct spill_ask *ask = calloc(1, sizeof(*ask));

	if (!ask)
		return NULL;
	list_init(&ask->link);
	ask->kind = kind;
	ask->job = job;
	ask->segment.fd = -1;
	return ask;
}

void spill_ask_free(struct spill_ask *ask)
{
	if (!ask)
		return;
	if (ask->segment.fd >= 0)
		close(ask->segment.fd);
	free(ask);
}

/* The last one that begins at or below seq, else the first. There is one. */
static size_t find(const struct retention *r, uint64_t seq)
{
	size_t low = 0, high = r->count;

	while (high - low > 1) {
		const size_t middle = low + (high - low) / 2;

		if (r->segments[middle].base_seq <= seq)
			low = middle;
		else
			high = middle;
	}
	return low;
}

/*
 * Until this life's first segment is there, the gate stands behind the hole that its header will declare: what is
 * written ends where recovery ended.
 */
static uint64_t written(const struct spill_disk *d)
{
	const struct retention *r = &d->retention;

	if (r->count == 0 || r->segments[r->count - 1].base_seq >= d->from)
		return d->gate;
	return bus_min_u64(d->gate, bus_min_u64(d->start.prev_end, d->rec.end_seq));
}

void spill_answer_segment(struct spill_disk *d, struct spill_ask *ask)
{
	const struct retention *r = &d->retention;
	struct spill_segment *out = &ask->segment;
	char name[64];
	size_t i;

	ask->rc = 0;
	if (!d->opened) {
		ask->rc = because(&ask->why, EAGAIN, "the stream's log is not open yet: %s",
				  d->o.board->log.why);
		return;
	}
	/* how far it is written first: all below that lies in the segments that are listed then */
	out->written_seq = written(d);
	out->durable_seq = bus_load_acquire(&d->o.board->durable_seq);
	out->head_seq = bus_load_acquire(&d->o.spill->offered);
	out->segments = r->count;
	for (i = 0; i < r->count; i++)
		out->disk_bytes += r->segments[i].bytes;
	if (r->count == 0)
		return;
	i = find(r, ask->seq);
	out->base_seq = r->segments[i].base_seq;
	out->next_seq = i + 1 < r->count ? r->segments[i + 1].base_seq : 0;
	out->oldest_seq = r->segments[0].base_seq;
	snprintf(name, sizeof(name), LOG_SEGMENT_NAME, (unsigned long long)r->segments[i].named);
	/* what is there instead of a segment must neither hold this thread up nor lead it elsewhere */
	out->fd = openat(d->o.dir, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);
	if (out->fd < 0 && (errno == EMFILE || errno == ENFILE || errno == ENOMEM))
		ask->rc = because(&ask->why, errno, "the log's file %s cannot be opened now: %s",
				  name, strerror(errno));
}
