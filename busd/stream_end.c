/* SPDX-License-Identifier: Apache-2.0 */
/* stream_end.c - publishers' rings that were read to their end, and a stream that ends; see stream.h */
#include "stream_internal.h"

#include "log.h"

#include <unistd.h>

/* ---- what the thread has found out ---- */

static void give_back(struct ring *ring)
{
	struct reader *reader;

	for_each(reader, &ring->readers, ring_link)
		reader_free(reader, false);
	ring_settle(ring);
}

/* true: it is gone, and others perhaps with it. */
static bool settle_ring(struct ring *ring)
{
	struct busd *busd = ring->topic->busd;
	enum sequencer_look look;

	thread_lock(busd);
	look = ring->feed->look;
	thread_unlock(busd);
	if (look == SEQUENCER_BROKEN && ring->pub && !ring->pub->client->doomed)
		client_doom(ring->pub->client,
			    "what it wrote into its ring on stream \"%s\" is no message, or lies over one that was not taken",
			    ring->topic->name);
	if (look < SEQUENCER_DRAINED || ring->pub)
		return false;
	if (look == SEQUENCER_BROKEN)
		log_warning("stream \"%s\": what \"%s\" (pid %u) wrote last is no message, and left out",
			    ring->topic->name, ring->name, ring->pid);
	give_back(ring);
	return true;
}

static void settle_stream(struct topic *topic)
{
	struct ring *ring;
	bool again;

	topic_pin(topic);
	stream_take_answers(topic);
	do {
		again = false;
		for_each(ring, &topic->rings, link) {
			if (!ring->feed || !settle_ring(ring))
				continue;
			again = true;
			break;
		}
	} while (again);
	topic_unpin(topic);
}

void stream_settled(struct busd *busd, struct watch *watch, uint32_t events)
{
	uint64_t count;
	size_t i;

	(void)events;
	if (read(watch->fd, &count, sizeof(count)) < 0)
		return;
	for (i = busd->topic_count; i > 0; i--) {
		if (busd->topics[i - 1]->stream)
			settle_stream(busd->topics[i - 1]);
	}
	stream_settle_ended(busd);
}

void stream_ring_closed(struct ring *ring)
{
	const uint64_t one = 1;
	struct busd *busd = ring->topic->busd;

	/* read to its end before it was closed: the thread has said so, and does not again */
	if (busd->settled.fd >= 0 && write(busd->settled.fd, &one, sizeof(one)) < 0)
		log_debug("the sequencer's counter is full");
}

/* ---- the stream ends ---- */

/* A lap of each ring, and who writes on in one that is closed is not followed. */
static void drain(struct stream *stream)
{
	bool over = false;

	stream_work_bound(&stream->work);
	while (stream_work_round(&stream->work, NULL, &over))
		;
}

void stream_finish(struct topic *topic)
{
	struct stream *stream = topic->stream;
	struct busd *busd = topic->busd;
	struct ring *ring;

	if (!stream || !stream->ring)
		return;
	stream_refuse_parked(stream);
	if (!busd->stopping)
		stream_end_disk(stream);
	do {
		thread_lock(busd);
		drain(stream);
		thread_unlock(busd);
		settle_stream(topic);
		for_each(ring, &topic->rings, link)
			if (ring->feed && !ring->feed->before && !ring->pub) {
				log_warning("stream \"%s\": what \"%s\" (pid %u) sent last is left out: it has ended",
					    topic->name, ring->name, ring->pid);
				give_back(ring);
				break;
			}
	} while (!list_empty(&stream->work.feeds));
	if (busd->stopping)
		stream_end_disk(stream);
	thread_lock(busd);
	ring_pub_final(&stream->work.seq.out);
	ring_pub_wake(&stream->work.seq.out);
	thread_remove(&stream->work);
	thread_unlock(busd);
	stream->ring = NULL;
}
