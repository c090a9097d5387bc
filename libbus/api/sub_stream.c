/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sub_stream.c - reading a stream's ring: like any other, but that its slots say when busd put each
 * message in, in Unix time, and whose it is.
 */
#include <stdlib.h>
#include <string.h>

#include "api/sub_internal.h"

/* Somebody who published, as the board described him when a message of his was read. */
struct source {
	uint32_t src, gen;
	uint64_t first_seq;
	struct bus_peer peer;
	struct bus_peer earlier; /* who came under the same name before: his process is not known */
	struct source *next;
	char name[BUS_NAME_MAX + 1];
};

struct sub_stream {
	const struct board_source *sources;
	struct source *known[BOARD_SOURCES];
	/* their descriptions are another's now; messages that are borrowed, or of the batch at hand, may point there */
	struct source *former;
	struct bus_peer nobody;
};

bool bus__sub_stream_attach(struct sub_ring *r, const struct bus__segment *ring,
			    const struct bus__segment *board)
{
	struct sub_stream *stream;

	if ((ring->geometry.features & RING_FEATURE_STREAM) == 0)
		return true;
	stream = board->size >= BOARD_STREAM_SIZE ? calloc(1, sizeof(*stream)) : NULL;
	if (stream == NULL)
		return false;
	stream->sources = (const struct board_source *)(const void *)((const uint8_t *)board->base +
								      BOARD_SOURCES_OFF);
	stream->nobody.name = "";
	if (!bus__sub_disk_attach(r, board->base)) {
		free(stream);
		return false;
	}
	r->stream = stream;
	return true;
}

/*
 * What was asked for and is not in the ring any more is lost to this reader. A stream that has not come so
 * far is waited for.
 */
void bus__sub_stream_begin(struct sub_ring *r, uint64_t seq)
{
	uint64_t oldest;

	ring_reader_begin_oldest(&r->rd);
	oldest = r->rd.cur;
	if (seq < oldest) {
		r->rd.lost += oldest - seq;
		r->rd.lost_unsaid += oldest - seq;
	} else {
		r->rd.cur = r->rd.ahead = seq;
	}
}

static BUS_COLD void free_former(struct sub_stream *stream)
{
	while (stream->former != NULL) {
		struct source *source = stream->former;

		stream->former = source->next;
		free(source);
	}
}

void bus__sub_stream_batch(struct sub_ring *r)
{
	if (bus_unlikely(r->stream->former != NULL) && r->borrowed == 0)
		free_former(r->stream);
}

void bus__sub_stream_free(struct sub_stream *stream)
{
	if (stream == NULL)
		return;
	free_former(stream);
	for (uint32_t i = 0; i < BOARD_SOURCES; i++)
		free(stream->known[i]);
	free(stream);
}

/* What the board says now. false: it is being changed, or this is another source. */
static bool read_source(const struct board_source *entry, uint32_t src, struct source *to)
{
	for (int i = 0; i < BOARD_RETRIES; i++) {
		uint32_t gen = bus_load_acquire(&entry->gen);

		if (gen % 2 != 0)
			continue;
		to->src = entry->src;
		to->gen = gen;
		to->first_seq = entry->first_seq;
		to->peer = (struct bus_peer){
			.id = entry->pub_id, .pid = entry->pid, .uid = entry->uid, .name = to->name
		};
		memcpy(to->name, entry->name, sizeof(to->name) - 1);
		bus_fence_acquire();
		if (bus_load_relaxed(&entry->gen) != gen)
			continue;
		to->earlier = (struct bus_peer){ .id = src, .uid = to->peer.uid, .name = to->name };
		return to->src == src;
	}
	return false;
}

static BUS_COLD const struct source *look_up(struct sub_ring *r, uint32_t src)
{
	struct sub_stream *stream = r->stream;
	uint32_t i = src % BOARD_SOURCES;
	struct source *fresh = calloc(1, sizeof(*fresh));

	if (fresh == NULL || !read_source(&stream->sources[i], src, fresh)) {
		free(fresh);
		return NULL;
	}
	if (stream->known[i] != NULL) {
		stream->known[i]->next = stream->former;
		stream->former = stream->known[i];
	}
	stream->known[i] = fresh;
	return fresh;
}

/* Nobody where busd has given the entry to another one since. */
const struct bus_peer *bus__sub_stream_who(struct sub_ring *r, uint32_t src, uint64_t src_seq)
{
	struct sub_stream *stream = r->stream;
	const struct source *source = stream->known[src % BOARD_SOURCES];

	if (bus_unlikely(source == NULL || source->src != src ||
			 source->gen != bus_load_relaxed(&stream->sources[src % BOARD_SOURCES].gen)))
		source = look_up(r, src);
	if (source == NULL)
		return &stream->nobody;
	return src_seq >= source->first_seq ? &source->peer : &source->earlier;
}

void bus__sub_stream_mark(struct sub_ring *r, const struct ring_peeked *p, struct bus_msg *msg)
{
	const struct ring_slot *slot = ring_slot_of(&r->rd.view, p->seq);

	msg->time_ns = p->time;
	msg->from = bus__sub_stream_who(r, (uint32_t)bus_load_relaxed(&slot->in[1]),
					bus_load_relaxed(&slot->in[0]));
}
