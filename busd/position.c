/* SPDX-License-Identifier: Apache-2.0 */
/* position.c - see position.h */
#include "position.h"

#include "alloc.h"
#include "request.h"
#include "spill_position.h"
#include "stream_internal.h"

#include "format/topic_name.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct hold {
	struct list link;    /* stream.holds */
	struct topic *topic; /* pinned */
	struct client *client;
	struct sub *sub; /* NULL: of a request that is under way */
	bool known;      /* the name stands somewhere: at seq */
	uint64_t seq;
	uint32_t owner; /* of the name */
	/* made before they are needed: letting go cannot fail */
	struct position_ask *holds, *leaves;
	char name[CTL_NAME_MAX];
};

/* ---- who holds what ---- */

static struct hold *find(const struct topic *topic, const char *name)
{
	struct hold *hold;

	for_each(hold, &topic->stream->holds, link)
		if (strcmp(hold->name, name) == 0)
			return hold;
	return NULL;
}

static struct position_ask *ask_new(enum position_want want, const char *name, uint32_t uid)
{
	struct position_ask *ask = calloc(1, sizeof(*ask));

	if (!ask)
		return NULL;
	list_init(&ask->link);
	ask->want = want;
	ask->uid = uid;
	snprintf(ask->name, sizeof(ask->name), "%s", name);
	return ask;
}

static struct hold *hold_new(struct topic *topic, struct client *client, const char *name)
{
	struct hold *hold = calloc(1, sizeof(*hold));

	if (!hold)
		return NULL;
	hold->holds = ask_new(POSITION_HOLD, name, client->uid);
	hold->leaves = ask_new(POSITION_LEAVE, name, client->uid);
	if (!hold->holds || !hold->leaves) {
		position_ask_free(hold->holds);
		position_ask_free(hold->leaves);
		free(hold);
		return NULL;
	}
	hold->topic = topic;
	hold->client = client;
	hold->owner = client->uid;
	snprintf(hold->name, sizeof(hold->name), "%s", name);
	topic_pin(topic);
	list_append(&topic->stream->holds, &hold->link);
	return hold;
}

void position_drop(struct hold *hold)
{
	struct topic *topic;

	if (!hold)
		return;
	topic = hold->topic;
	list_remove(&hold->link);
	position_ask_free(hold->holds);
	if (topic->stream->disk)
		spill_position_ask(topic->stream->disk, hold->leaves);
	else
		position_ask_free(hold->leaves);
	free(hold);
	topic_unpin(topic);
}

/* ---- may it? ---- */

static bool may(const struct client *client, enum acl_right right, const char *topic)
{
	struct acl_subject subject = client_subject(client);

	return acl_allows(&client->busd->config->acl, client->busd->uid, &subject, right, topic);
}

/* Root, who runs busd, and who administers the topic. */
static bool may_use_others(const struct client *client, const char *topic)
{
	return may(client, ACL_ADMIN, topic);
}

static int check_name(const char *name, struct why *why)
{
	const char *c;

	for (c = name; *c; c++)
		if ((unsigned char)*c < ' ' || *c == 127)
			return because(why, EINVAL,
				       "a durable subscription's name has no control characters");
	if (c == name)
		return because(why, EINVAL, "a durable subscription's name has 1 to %d bytes",
			       CTL_NAME_MAX - 1);
	return 0;
}

/* Who may not subscribe learns nothing. */
static int find_stream(const struct client *client, const char *name, struct topic **ret,
		       struct why *why)
{
	struct topic *topic = topic_find(client->busd, name);
	int rc;

	if (!may(client, ACL_SUBSCRIBE, name) && !may(client, ACL_ADMIN, name))
		return because(why, EACCES,
			       "no right to subscribe (uid %u); ask who runs busd for a rule",
			       client->uid);
	rc = topic ? 0 : stream_check_refused(client->busd, name, why);
	if (rc < 0)
		return rc;
	if (!topic)
		return because(
			why, ENOENT,
			"there is no stream \"%s\"; create it first (bus-topic create %s --stream)",
			name, name);
	if (!topic_is_stream(topic))
		return because(
			why, EOPNOTSUPP,
			"topic \"%s\" is live: nothing is kept there, so no subscription can be durable; make it a stream (bus-topic rm %s; bus-topic create %s --stream)",
			name, name, name);
	if (topic->log.sync == CTL_SYNC_MEMORY)
		return because(
			why, EOPNOTSUPP,
			"stream \"%s\" is in memory only, and a durable subscription outlives that; make the stream without --sync=memory",
			name);
	if (!topic->stream || !topic->stream->disk || client->busd->stopping)
		return because(why, ENOENT, "stream \"%s\" ends at this moment", name);
	*ret = topic;
	return 0;
}

/* Its holder has died: its place is free, though the loop has not come to that yet. */
static void take_away(struct hold *hold)
{
	struct client *holder = hold->client;

	if (hold->sub) {
		sub_free(hold->sub);
		client_ring_bells(holder->busd);
	} else {
		holder->job->hold = NULL; /* a client has one request at a time */
		position_drop(hold);
	}
	client_doom(holder, NULL);
}

/* -EBUSY: somebody holds it who lives. */
static int check_free(const struct topic *topic, const struct client *client, const char *name,
		      struct why *why)
{
	struct hold *hold = find(topic, name);
	struct client *holder = hold ? hold->client : NULL;

	if (hold && hold->owner != client->uid && !may_use_others(client, topic->name))
		return because(
			why, EACCES,
			"durable subscription \"%s\" belongs to another user (uid %u; this is uid %u); take another name, or ask root or an administrator of the topic",
			name, hold->owner, client->uid);
	if (hold && holder != client && client_has_died(holder)) {
		take_away(hold);
		return 0;
	}
	if (!hold)
		return 0;
	return because(
		why, EBUSY,
		"durable subscription \"%s\" on stream \"%s\" is held by %s; close it there, or take another name",
		name, topic->name, client_label(holder));
}

/* ---- asking the writer ---- */

static void park(struct job *job, struct topic *topic, struct position_ask *ask)
{
	topic_pin(topic);
	job->topic = topic;
	ask->job = job;
	job->position = ask;
	job->parked = true;
	job->client->job = job;
	list_append(&topic->stream->parked, &job->link);
	spill_position_ask(topic->stream->disk, ask);
}

void position_let_go(struct job *job)
{
	struct topic *topic = job->topic;

	job->topic = NULL;
	if (topic)
		topic_unpin(topic);
}

static void answered(struct job *job, struct position_ask *ask)
{
	struct client *client = job->client;

	stream_unpark(job);
	job->rc = ask->rc;
	job->why = ask->why;
	if (ask->want == POSITION_OPEN && ask->rc == 0 && job->hold) {
		job->hold->known = ask->known;
		job->hold->seq = ask->seq;
		job->hold->owner = ask->owner;
		position_let_go(job);
		alloc_build(job);
	} else {
		job->position = ask;
		job->done(client->doomed ? NULL : client, job);
	}
	request_resume(client);
}

void position_take_answers(struct topic *topic)
{
	struct stream *stream = topic->stream;
	struct position_ask *ask;

	while (stream->disk && (ask = spill_position_answer(stream->disk))) {
		if (ask->job)
			answered(ask->job, ask);
		position_ask_free(ask);
	}
}

/* A job whose request is about this name. NULL: no memory. */
static struct job *new_job(struct client *client, const void *msg, enum position_want want,
			   const char *name, struct position_ask **ask)
{
	struct job *job = job_new(client, msg);

	*ask = job ? ask_new(want, name, client->uid) : NULL;
	if (job && !*ask)
		job_free(job);
	return *ask ? job : NULL;
}

/* ---- a subscription ---- */

int position_begin(struct job *job, const char *name, struct why *why)
{
	struct client *client = job->client;
	struct topic *topic = NULL;
	struct position_ask *ask;
	int rc = check_name(name, why);

	if (rc == 0)
		rc = find_stream(client, job->pattern, &topic, why);
	if (rc == 0)
		rc = check_free(topic, client, name, why);
	if (rc < 0)
		return rc;
	job->hold = hold_new(topic, client, name);
	ask = job->hold ? ask_new(POSITION_OPEN, name, client->uid) : NULL;
	if (!ask)
		return because(why, ENOMEM, "busd is out of memory");
	ask->anybodys = may_use_others(client, topic->name);
	park(job, topic, ask);
	return 0;
}

void position_give(struct job *job, struct sub *sub)
{
	sub->hold = job->hold;
	job->hold = NULL;
	if (!sub->hold)
		return;
	sub->hold->sub = sub;
	memcpy(sub->durable, sub->hold->name, sizeof(sub->durable));
}

uint64_t position_of(const struct sub *sub)
{
	return sub->hold && sub->hold->known ? sub->hold->seq + 1 : 0;
}

bool position_is_of(const struct sub *sub, const struct topic *topic)
{
	return sub->hold && sub->hold->topic == topic;
}

void position_joined(struct sub *sub)
{
	struct hold *hold = sub->hold;
	struct position_ask *ask = hold ? hold->holds : NULL;

	if (!ask || !hold->topic->stream->disk)
		return;
	ask->uid = hold->owner;
	ask->cursors = sub->seg->map;
	ask->seg = segment_ref(sub->seg);
	hold->holds = NULL;
	spill_position_ask(hold->topic->stream->disk, ask);
}

int position_restore(struct topic *topic, struct why *why)
{
	struct member *member;

	for_each(member, &topic->members, topic_link) {
		struct sub *sub = member->sub;

		if (!sub->durable[0] || sub->hold || !topic->stream->disk)
			continue;
		sub->hold = hold_new(topic, sub->client, sub->durable);
		if (!sub->hold)
			return because(why, ENOMEM, "busd is out of memory");
		sub->hold->sub = sub;
		if (sub->active)
			position_joined(sub);
	}
	return 0;
}

/* ---- what is asked about them ---- */

static void answer_ok(struct client *client, const struct job *job, uint16_t type, uint64_t value)
{
	struct ctl_ok ok = { .head = { .type = CTL_REPLY | type,
				       .version = CTL_VERSION,
				       .len = sizeof(ok),
				       .req = job->req },
			     .value = value };

	client_reply(client, &ok, NULL, 0);
}

/* true: that was all. */
static bool failed(struct client *client, struct job *job)
{
	if (client && job->rc < 0)
		client_reply_error(client, CTL_VERSION, job->req, -job->rc, job->why.text);
	return !client || job->rc < 0;
}

static void end_job(struct job *job)
{
	position_let_go(job);
	job_free(job);
}

static void settled(struct client *client, struct job *job)
{
	const struct position_ask *ask = job->position;

	if (!failed(client, job))
		answer_ok(client, job, CTL_SUB_SETTLE, ask->kept ? ask->kept_seq + 1 : 0);
	end_job(job);
}

int position_settle(struct client *client, const void *msg, struct why *why)
{
	const struct ctl_sub_settle *settle = msg;
	struct sub *sub = idmap_get(&client->busd->subs_by_id, settle->sub_id);
	struct position_ask *ask;
	struct topic *topic;
	struct job *job;

	if (!sub || sub->client != client)
		return because(why, ENOENT, "this connection has no subscription %llu",
			       (unsigned long long)settle->sub_id);
	if (!sub->durable[0] || !sub->active)
		return because(why, EINVAL, "subscription \"%s\" is not durable", sub->pattern);
	topic = sub->hold ? sub->hold->topic : NULL;
	if (!topic || topic->removed || !topic->stream->disk) /* its writer answers no more */
		return because(why, ESHUTDOWN, "stream \"%s\" has ended", sub->pattern);
	job = new_job(client, msg, POSITION_SETTLE, sub->durable, &ask);
	if (!job)
		return because(why, ENOMEM, "busd is out of memory");
	job->done = settled;
	ask->within_ns = settle->within_ns - 1; /* not said: without end */
	park(job, topic, ask);
	return 0;
}

static void set(struct client *client, struct job *job)
{
	if (!failed(client, job))
		answer_ok(client, job, CTL_POSITION_SET, 0);
	end_job(job);
}

int position_set(struct client *client, const void *msg, struct why *why)
{
	const struct ctl_position_set *set_msg = msg;
	struct topic *topic = NULL;
	struct position_ask *ask;
	struct job *job;
	int rc = check_name(set_msg->name, why);

	if (rc == 0 && (set_msg->flags & ~(CTL_POSITION_REMOVE | CTL_POSITION_NEW)))
		rc = because(why, EINVAL, "unknown flags %#x", set_msg->flags);
	if (rc == 0)
		rc = find_stream(client, set_msg->topic, &topic, why);
	if (rc == 0)
		rc = check_free(topic, client, set_msg->name, why);
	if (rc < 0)
		return rc;
	job = new_job(client, msg, POSITION_SET, set_msg->name, &ask);
	if (job)
		job->hold = hold_new(topic, client, set_msg->name); /* nobody opens it meanwhile */
	if (!job || !job->hold) {
		if (job) {
			position_ask_free(ask);
			job_free(job);
		}
		return because(why, ENOMEM, "busd is out of memory");
	}
	ask->anybodys = may_use_others(client, topic->name);
	ask->again = client->retrying;
	ask->from = set_msg->from;
	ask->to = set_msg->to;
	ask->flags = set_msg->flags;
	job->done = set;
	park(job, topic, ask);
	return 0;
}

static void found(struct client *client, struct job *job)
{
	const struct position_ask *ask = job->position;
	struct ctl_position_next_reply reply = { .head = { .type = CTL_REPLY | CTL_POSITION_NEXT,
							   .version = CTL_VERSION,
							   .len = sizeof(reply),
							   .req = job->req } };
	const struct hold *hold;

	if (!failed(client, job)) {
		reply.seq = ask->seq;
		reply.kept_seq = ask->kept_seq;
		reply.head_seq = ask->head_seq;
		reply.oldest_seq = ask->oldest_seq;
		reply.unread_ns = ask->unread_ns;
		reply.moved_ns = ask->moved_ns;
		reply.created_ns = ask->created_ns;
		reply.uid = ask->owner;
		memcpy(reply.name, ask->name, sizeof(reply.name));
		hold = find(job->topic, ask->name);
		if (hold && hold->sub) {
			reply.sub_id = hold->sub->id;
			reply.holder_pid = hold->client->pid;
			reply.holder_uid = hold->client->uid;
			memcpy(reply.holder, hold->client->name, sizeof(reply.holder));
		}
		client_reply(client, &reply, NULL, 0);
	}
	end_job(job);
}

int position_next(struct client *client, const void *msg, struct why *why)
{
	const struct ctl_position_next *next = msg;
	const char *wrong = topic_name_check(next->topic);
	struct topic *topic = NULL;
	struct position_ask *ask;
	struct job *job;
	int rc;

	if (wrong)
		return because(why, EINVAL, "topic name %s", wrong);
	rc = find_stream(client, next->topic, &topic, why);
	if (rc < 0)
		return rc;
	job = new_job(client, msg, POSITION_NEXT, next->after, &ask);
	if (!job)
		return because(why, ENOMEM, "busd is out of memory");
	job->done = found;
	park(job, topic, ask);
	return 0;
}
