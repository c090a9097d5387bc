/* SPDX-License-Identifier: Apache-2.0 */
/* pub.c - see pub.h */
#include "pub.h"

#include "alloc.h"
#include "change.h"
#include "event.h"
#include "log.h"
#include "namespace.h"
#include "observe.h"
#include "record.h"
#include "share.h"
#include "stream.h"

#include "format/topic_name.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct pub *pub_of(struct client *client, uint64_t pub_id, struct why *why)
{
	struct pub *pub = idmap_get(&client->busd->pubs_by_id, pub_id);

	if (pub && pub->client == client)
		return pub;
	because(why, ENOENT, "this connection has no publisher %llu", (unsigned long long)pub_id);
	return NULL;
}

static struct pub *pub_new(struct client *client, const struct job *job)
{
	struct busd *busd = client->busd;
	struct pub *pub = calloc(1, sizeof(*pub));

	if (!pub)
		return NULL;
	pub->id = busd_new_id(busd);
	if (idmap_put(&busd->pubs_by_id, pub->id, pub) < 0) {
		free(pub);
		return NULL;
	}
	pub->client = client;
	pub->topic = job->topic;
	topic_pin(pub->topic);
	pub->settings = job->settings;
	pub->line = job->line;
	pub->source = job->source;
	memcpy(pub->name, job->name, sizeof(pub->name));
	list_init(&pub->topic_link);
	list_append(&client->pubs, &pub->client_link);
	client->pub_count++;
	pub->req = job->req;
	BUS_NEXT(pub->label = job->label);
	share_segment(client, pub->topic->board.seg);
	return pub;
}

void pub_free(struct pub *pub)
{
	struct client *client = pub->client;
	struct topic *topic = pub->topic;

	if (pub->pending)
		ring_free(pub->pending);
	if (pub->ring)
		ring_close(pub->ring, NULL);
	event_cancel_about(client, pub->id);
	if (!list_empty(&pub->topic_link))
		topic->pub_count--;
	list_remove(&pub->topic_link);
	list_remove(&pub->client_link);
	client->pub_count--;
	if (pub->source)
		stream_release_source(topic, pub->source);
	unshare_segment(client, topic->board.seg);
	namespace_leave(client, topic->space);
	journal_drop(&client->busd->journal, &pub->place);
	idmap_remove(&client->busd->pubs_by_id, pub->id);
	free(pub);
	topic_unpin(topic);
}

static void plan_ring(struct job *job, uint64_t first_seq)
{
	const struct ctl_topic_settings *settings = &job->settings;

	job->space = job->topic->space;
	job->plan = (struct segment_plan){
		.kind = CTL_SEG_RING,
		.ring_slots = settings->slots,
		.ring_bytes = settings->bytes,
		.ring_first_seq = first_seq,
		.numa = settings->numa,
		.node = job->topic->first_node >= 0 ? job->topic->first_node : job->node,
		.pages = settings->flags & CTL_TOPIC_HUGE_OR_NOT ? SEGMENT_HUGE_OR_NOT
			 : settings->flags & CTL_TOPIC_HUGE      ? SEGMENT_HUGE
								 : SEGMENT_ORDINARY,
		BUS_NEXT(.ring_features = job->label >= 1000)
	};
}

static void answer_with_ring(struct pub *pub, uint32_t req, uint16_t type)
{
	struct ring *ring = pub->pending;
	struct ctl_pub_reply reply = { .head = { .type = CTL_REPLY | type,
						 .version = CTL_VERSION,
						 .len = sizeof(reply),
						 .req = req },
				       .topic_id = pub->topic->id,
				       .pub_id = pub->id,
				       .ring_id = ring->id,
				       .segment_id = ring->seg->info.segment_id,
				       .board_id = pub->topic->board.seg->info.segment_id,
				       .board_index = ring->board_index,
				       .max_bytes = pub->settings.max_bytes,
				       .geometry = ring->seg->info.geometry,
				       .source = pub->source,
				       BUS_NEXT(.label = pub->label) };

	if (ring->seg->huge_refused)
		log_warning("topic \"%s\": %s gets ordinary pages, the pool of huge pages is short",
			    pub->topic->name, client_label(pub->client));
	record_pub(pub);
	client_reply(pub->client, &reply, &ring->seg->rw_fd, 1);
}

static int check_right(struct client *client, const char *topic, struct why *why)
{
	struct acl_subject subject = client_subject(client);
	struct busd *busd = client->busd;

	if (acl_allows(&busd->config->acl, busd->uid, &subject, ACL_PUBLISH, topic))
		return 0;
	return because(why, EACCES, "no right to publish (uid %u); ask who runs busd for a rule",
		       client->uid);
}

static void opened(struct client *client, struct job *job)
{
	struct pub *pub = NULL;
	int rc = job->rc;

	if (client && rc == 0 && job->topic->removed)
		rc = because(&job->why, ENOENT, "topic \"%s\" was removed at this moment",
			     job->topic->name);
	if (client && rc == 0) /* rules may have been read again meanwhile */
		rc = check_right(client, job->topic->name, &job->why);
	if (client && rc == 0)
		rc = namespace_enter(client, job->topic->space, &job->why);
	if (client && rc == 0) {
		pub = pub_new(client, job);
		if (pub) {
			job->source = 0; /* the job's hold on it is its publisher's now */
			if (pub->source)
				stream_number_source(pub);
		} else {
			namespace_leave(client, job->topic->space);
			rc = because(&job->why, ENOMEM, "busd is out of memory");
		}
	}
	if (pub) {
		pub->pending = ring_new(pub, job->seg, &rc, &job->why);
		if (pub->pending)
			job->seg = NULL;
		else
			pub_free(pub);
	}
	if (client && rc < 0)
		client_reply_error(client, CTL_VERSION, job->req, -rc, job->why.text);
	else if (client)
		answer_with_ring(pub, job->req, CTL_PUB_OPEN);
	if (client && rc == 0 && pub->source)
		stream_source_is_open(pub);
	if (job->source)
		stream_release_source(job->topic, job->source);
	topic_unpin(job->topic);
	job_free(job);
}

/* What was asked for this ring, else what holds on the topic. */
static int settle_for_ring(const struct topic *topic, const struct config *config,
			   const struct ctl_topic_settings *asked, struct ctl_topic_settings *ret,
			   struct why *why)
{
	struct ctl_topic_settings mixed = topic->settings;

	if (asked->slots)
		mixed.slots = asked->slots;
	if (asked->bytes) {
		mixed.bytes = asked->bytes;
		mixed.max_bytes = bus_max_u64(mixed.max_bytes, asked->bytes);
	}
	if (asked->numa)
		mixed.numa = asked->numa;
	if (topic_is_stream(topic) && mixed.max_bytes > topic->stream_bytes)
		return because(why, EINVAL,
			       "a ring of %llu bytes does not fit into that of stream \"%s\" (%llu)",
			       (unsigned long long)mixed.max_bytes, topic->name,
			       (unsigned long long)topic->stream_bytes);
	return config_settle(config, topic->name, &mixed, ret, why);
}

/* Where streams and others differ. */
static int check_stream(const struct topic *topic, const struct ctl_pub_open *open, struct why *why)
{
	bool stream = topic && topic_is_stream(topic);

	if (open->flags & ~CTL_PUB_NAMED)
		return because(why, EINVAL, "unknown flags %#x of a publisher", open->flags);
	if (open->settings.flags & CTL_TOPIC_STREAM && !stream)
		return because(why, ENOENT, "there is no stream \"%s\" here", open->topic);
	if (stream && open->line) /* a library that does not know how to go on with a stream */
		return because(
			why, ENOENT,
			"the busd with which it published on stream \"%s\" has gone; opened again by its name, it is told where it stands",
			open->topic);
	return 0;
}

/* The job has what it needs, or is answered later. */
static int begin_open(struct job *job, const struct ctl_pub_open *open, struct why *why)
{
	uint64_t first_seq = open->first_seq;
	int rc = 0;

	if (job->topic->stream)
		rc = stream_open_source(job, open->flags & CTL_PUB_NAMED, &first_seq, why);
	plan_ring(job, first_seq);
	if (rc == -EINPROGRESS)
		return 0;
	if (rc == 0)
		alloc_build(job);
	return rc;
}

/* A former worker made the ring and did not come to answer, or the answer was lost with it. */
static bool answered_again(struct client *client, const struct ctl_head *head)
{
	struct pub *pub;

	if (!client->retrying)
		return false;
	for_each(pub, &client->pubs, client_link) {
		if (!pub->pending || pub->pending->req != head->req)
			continue;
		answer_with_ring(pub, head->req, head->type);
		return true;
	}
	return false;
}

int pub_open(struct client *client, const void *msg, struct why *why)
{
	const struct ctl_pub_open *open = msg;
	struct busd *busd = client->busd;
	const char *wrong = topic_name_check(open->topic);
	struct ctl_topic_settings settings;
	struct topic *topic;
	struct job *job;
	int rc = 0;

	if (wrong)
		return because(why, EINVAL, "topic name %s", wrong);
	if (open->first_seq > UINT64_MAX / 2)
		return because(why, EINVAL, "first_seq %llu cannot be",
			       (unsigned long long)open->first_seq);
	if (answered_again(client, &open->head))
		return 0;
	rc = check_right(client, open->topic, why);
	if (rc < 0)
		return rc;
	if (client->pub_count >= CLIENT_PUBS_MAX)
		return because(why, EDQUOT,
			       "this connection has %u publishers, the most that one may have",
			       client->pub_count);
	topic = topic_find(busd, open->topic);
	rc = topic ? 0 : stream_check_refused(busd, open->topic, why);
	if (rc == 0)
		rc = check_stream(topic, open, why);
	if (rc < 0)
		return rc;
	if (topic) {
		rc = settle_for_ring(topic, busd->config, &open->settings, &settings, why);
	} else {
		rc = config_settle(busd->config, open->topic, &open->settings, &settings, why);
		if (rc == 0)
			topic = topic_make(client, open->topic, &settings, false, NULL, &rc, why);
	}
	if (rc < 0)
		return rc;
	topic_pin(topic);
	job = job_new(client, msg);
	if (!job) {
		topic_unpin(topic);
		return because(why, ENOMEM, "busd is out of memory");
	}
	job->topic = topic;
	job->settings = settings;
	job->node = open->node >= 0 ? open->node : client->node;
	client_copy_name(job->name, open->name[0] ? open->name : client->name);
	job->line = open->line;
	job->done = opened;
	BUS_NEXT(job->label = open->label);
	rc = begin_open(job, open, why);
	if (rc < 0) {
		topic_unpin(topic);
		job_free(job);
	}
	return rc;
}

/* The client broke the hand-over: nobody else ever saw the ring. */
static void discard_pending(struct pub *pub, const struct why *why)
{
	log_warning("a ring of %s on \"%s\" is discarded: %s", client_label(pub->client),
		    pub->topic->name, why->text);
	ring_free(pub->pending);
	pub->pending = NULL;
	record_pub(pub);
	if (!pub->ring)
		pub_free(pub);
}

/* Sealed and whole: everybody who reads the topic gets it, and the publisher gets everybody. */
static void put_into_service(struct pub *pub)
{
	struct ring *ring = pub->pending;
	struct ring *before = pub->ring;
	struct topic *topic = pub->topic;
	struct reader *reader;

	ring_put(ring);
	if (!before) {
		list_append(&topic->pubs, &pub->topic_link);
		topic->pub_count++;
	}
	pub->ring = ring;
	pub->pending = NULL;
	record_pub(pub);
	sub_announce_ring(ring);
	observe_ring(ring);
	change_begin(topic);
	for_each(reader, &ring->readers, ring_link)
		if (reader->member->sub->active)
			change_add(reader, reader_gates(reader));
	if (before) {
		/*
		 * nothing more comes there: its publisher waits for our answer before it goes on
		 * in the new one
		 */
		client_send_due(topic->busd);
		ring_close(before, ring);
	}
	change_commit(topic);
	client_ring_bells(topic->busd);
}

static void answer_ready(struct pub *pub, uint32_t req)
{
	struct ctl_pub_ready_reply reply = { .head = { .type = CTL_REPLY | CTL_PUB_READY,
						       .version = CTL_VERSION,
						       .len = sizeof(reply),
						       .req = req },
					     .number = pub->topic->epoch };

	client_reply_after_events(pub->client, &reply);
}

static void readied(struct client *client, struct job *job)
{
	struct pub *pub = client ? pub_of(client, job->id, &job->why) : NULL;
	int rc = job->rc;

	if (pub) {
		if (rc == 0 && pub->topic->removed)
			rc = because(&job->why, EPIPE, "topic \"%s\" was removed", pub->topic->name);
		if (rc == 0)
			rc = segment_publish(job->seg, &job->why);
		if (rc == 0)
			rc = segment_map_readonly(job->seg, sizeof(struct ring_writer_page),
						  &job->why);
		if (rc == 0 && pub->source)
			rc = stream_map_ring(pub->pending, &job->why);
		if (rc < 0) {
			client_reply_error(client, CTL_VERSION, job->req, -rc, job->why.text);
			discard_pending(pub, &job->why);
		} else {
			put_into_service(pub);
			answer_ready(pub, job->req);
		}
	}
	topic_unpin(job->topic);
	job_free(job);
}

int pub_ready(struct client *client, const void *msg, struct why *why)
{
	const struct ctl_pub_ready *ready = msg;
	struct pub *pub = pub_of(client, ready->pub_id, why);
	struct job *job;
	int rc;

	if (!pub)
		return -ENOENT;
	if (client->retrying && pub->ring && pub->ring->id == ready->ring_id) {
		answer_ready(pub, ready->head.req);
		return 0;
	}
	if (!pub->pending || pub->pending->id != ready->ring_id)
		return because(why, EINVAL, "ring %llu is not one that waits to be ready",
			       (unsigned long long)ready->ring_id);
	job = job_new(client, msg);
	if (!job)
		return because(why, ENOMEM, "busd is out of memory");
	rc = segment_seal(pub->pending->seg, why);
	if (rc < 0) {
		job_free(job);
		discard_pending(pub, why);
		return rc;
	}
	job->topic = pub->topic;
	topic_pin(job->topic);
	job->id = pub->id;
	job->seg = segment_ref(pub->pending->seg);
	job->done = readied;
	alloc_refill(job);
	return 0;
}

static void grown(struct client *client, struct job *job)
{
	struct pub *pub = client ? pub_of(client, job->id, &job->why) : NULL;
	int rc = job->rc;

	if (pub && rc == 0 && pub->topic->removed)
		rc = because(&job->why, EPIPE, "topic \"%s\" was removed", pub->topic->name);
	if (pub && rc == 0) {
		pub->pending = ring_new(pub, job->seg, &rc, &job->why);
		if (pub->pending)
			job->seg = NULL;
	}
	if (pub && rc < 0)
		client_reply_error(client, CTL_VERSION, job->req, -rc, job->why.text);
	else if (pub)
		answer_with_ring(pub, job->req, CTL_PUB_GROW);
	topic_unpin(job->topic);
	job_free(job);
}

static int check_growth(const struct pub *pub, const struct ctl_pub_grow *grow, struct why *why)
{
	char want[32], most[32];

	if (pub->topic->removed)
		return because(why, EPIPE, "topic \"%s\" was removed", pub->topic->name);
	if (!pub->ring || pub->pending)
		return because(why, EINVAL, "publisher %llu has no ring that could grow now",
			       (unsigned long long)pub->id);
	if (grow->next_seq < pub->ring->seg->info.geometry.first_seq ||
	    grow->next_seq > UINT64_MAX / 2)
		return because(why, EINVAL, "next_seq %llu cannot be",
			       (unsigned long long)grow->next_seq);
	if (grow->need_bytes > pub->settings.max_bytes / 4)
		return because(
			why, EMSGSIZE,
			"a message of %s is over the limit of %s on topic \"%s\" (a quarter of its ring's growth "
			"limit); raise max_bytes of the topic or max_ring_bytes of busd",
			quota_bytes_text(grow->need_bytes, want),
			quota_bytes_text(pub->settings.max_bytes / 4, most), pub->topic->name);
	return 0;
}

int pub_grow(struct client *client, const void *msg, struct why *why)
{
	const struct ctl_pub_grow *grow = msg;
	struct pub *pub = pub_of(client, grow->pub_id, why);
	struct job *job;
	int rc;

	if (!pub)
		return -ENOENT;
	if (answered_again(client, &grow->head))
		return 0;
	rc = check_growth(pub, grow, why);
	if (rc < 0)
		return rc;
	job = job_new(client, msg);
	if (!job)
		return because(why, ENOMEM, "busd is out of memory");
	job->topic = pub->topic;
	topic_pin(job->topic);
	job->id = pub->id;
	job->settings = pub->settings;
	job->settings.slots = pub->ring->seg->info.geometry.slots;
	job->settings.bytes = bus_max_u64(bus_ceil_pow2(bus_max_u64(grow->need_bytes, 1) * 4),
					  pub->ring->seg->info.geometry.bytes);
	job->node = grow->node >= 0 ? grow->node : client->node;
	job->done = grown;
	plan_ring(job, grow->next_seq);
	alloc_build(job);
	return 0;
}

int pub_close(struct client *client, const void *msg, struct why *why)
{
	const struct ctl_pub_close *close = msg;
	struct pub *pub = pub_of(client, close->pub_id, why);
	struct ctl_ok ok = { .head = { .type = CTL_REPLY | CTL_PUB_CLOSE,
				       .version = CTL_VERSION,
				       .len = sizeof(ok),
				       .req = close->head.req } };

	if (!pub && !client->retrying)
		return -ENOENT;
	if (pub)
		pub_free(pub);
	client_ring_bells(client->busd);
	client_reply(client, &ok, NULL, 0);
	return 0;
}
