/* SPDX-License-Identifier: Apache-2.0 */
/* stream_log.c - the loop's side of who reads a stream's log: a segment for each request. See control_proto.h */
#include "stream_internal.h"

#include "alloc.h"
#include "request.h"

#include <errno.h>
#include <string.h>

static void answer(struct client *client, const struct job *job, const struct spill_segment *seg)
{
	struct ctl_log_segment_reply reply = {
		.head = { .type = CTL_REPLY | CTL_LOG_SEGMENT,
			  .version = CTL_VERSION,
			  .len = sizeof(reply),
			  .req = job->req },
		.base_seq = seg->base_seq,
		.next_seq = seg->next_seq,
		.oldest_seq = seg->oldest_seq,
		.written_seq = seg->written_seq,
		.durable_seq = seg->durable_seq,
		.head_seq = seg->head_seq,
		.disk_bytes = seg->disk_bytes,
		.segments = (uint32_t)seg->segments,
	};

	memcpy(reply.uuid, job->topic->uuid, sizeof(reply.uuid));
	client_reply(client, &reply, &seg->fd, seg->fd >= 0);
}

/* job->rc says what came of it; the stream may end meanwhile. */
static void refused(struct client *client, struct job *job)
{
	struct topic *topic = job->topic;

	client_reply_error(client, CTL_VERSION, job->req, -job->rc, job->why.text);
	job_free(job);
	topic_unpin(topic);
}

void stream_segment_answered(struct job *job, const struct spill_ask *ask)
{
	struct client *client = job->client;
	struct topic *topic = job->topic;

	stream_unpark(job);
	if (ask->rc < 0) {
		job->rc = ask->rc;
		job->why = ask->why;
		refused(client, job);
	} else {
		answer(client, job, &ask->segment);
		job_free(job);
		topic_unpin(topic);
	}
	request_resume(client);
}

int stream_give_segment(struct client *client, struct topic *topic,
			const struct ctl_log_segment *asked, struct why *why)
{
	struct stream *stream = topic->stream;
	struct spill_ask *ask;
	struct job *job;

	if (!topic_is_stream(topic))
		return because(why, EOPNOTSUPP,
			       "topic \"%s\" is no stream: it has no messages on disk", topic->name);
	if (topic->log.sync == CTL_SYNC_MEMORY)
		return because(
			why, EOPNOTSUPP,
			"stream \"%s\" is in memory only (sync policy memory): it has no messages on disk",
			topic->name);
	if (!stream || !stream->disk || topic->removed)
		return because(why, ENOENT, "stream \"%s\" was removed", topic->name);
	job = job_new(client, asked);
	ask = job ? spill_ask_new(SPILL_ASK_SEGMENT, job) : NULL;
	if (!ask) {
		if (job)
			job_free(job);
		return because(why, ENOMEM, "busd is out of memory");
	}
	ask->seq = asked->seq;
	job->topic = topic;
	topic_pin(topic);
	job->done = refused;
	stream_park(stream, job, ask);
	return 0;
}
