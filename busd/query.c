/* SPDX-License-Identifier: Apache-2.0 */
/* query.c - see query.h */
#include "query.h"

#include "alloc.h"
#include "log.h"
#include "namespace.h"
#include "numa_place.h"
#include "record.h"
#include "request.h"
#include "spill_dir.h"
#include "stream_internal.h"

#include "format/topic_name.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

static bool may(const struct client *client, enum acl_right right, const char *topic)
{
	struct acl_subject subject = client_subject(client);

	return acl_allows(&client->busd->config->acl, client->busd->uid, &subject, right, topic);
}

static bool may_anything(const struct client *client, const char *topic)
{
	return may(client, ACL_SUBSCRIBE, topic) || may(client, ACL_PUBLISH, topic) ||
	       may(client, ACL_ADMIN, topic);
}

static void answer_ok(struct client *client, const struct ctl_head *request, uint64_t value)
{
	struct ctl_ok ok = { .head = { .type = CTL_REPLY | request->type,
				       .version = CTL_VERSION,
				       .len = sizeof(ok),
				       .req = request->req },
			     .value = value };

	client_ring_bells(client->busd);
	client_reply(client, &ok, NULL, 0);
}

static const char *pages_text(uint32_t flags)
{
	return flags & CTL_TOPIC_HUGE_OR_NOT ? "huge pages where there are some"
	       : flags & CTL_TOPIC_HUGE      ? "huge pages"
					     : "ordinary pages";
}

/* -EEXIST and which of the settings differ, or 0. */
static int compare(const struct topic *topic, const struct ctl_topic_settings *asked,
		   const struct ctl_topic_create *stream, struct why *why)
{
	const struct ctl_topic_settings *has = &topic->settings;
	const uint32_t pages = CTL_TOPIC_HUGE | CTL_TOPIC_HUGE_OR_NOT;
	char text[1024]; /* more than all of them at their longest */
	char one[32], two[32];
	const struct ctl_log_settings *log = &topic->log, *other = &stream->log;
	int len = 0;

	if ((has->flags ^ asked->flags) & CTL_TOPIC_STREAM)
		return because(why, EEXIST, "topic \"%s\" exists and is %s; remove it first",
			       topic->name, has->flags & CTL_TOPIC_STREAM ? "a stream" : "no stream");
#define DIFFER(...) \
	len += snprintf(text + len, sizeof(text) - (size_t)len, "%s", len ? ", and with " : ""), \
		len += snprintf(text + len, sizeof(text) - (size_t)len, __VA_ARGS__)
	if (has->slots != asked->slots)
		DIFFER("slots %u, not %u", has->slots, asked->slots);
	if (has->bytes != asked->bytes)
		DIFFER("bytes %llu, not %llu", (unsigned long long)has->bytes,
		       (unsigned long long)asked->bytes);
	if (has->max_bytes != asked->max_bytes)
		DIFFER("max_bytes %llu, not %llu", (unsigned long long)has->max_bytes,
		       (unsigned long long)asked->max_bytes);
	if (has->numa != asked->numa)
		DIFFER("numa %s, not %s", numa_text(has->numa, one), numa_text(asked->numa, two));
	if ((has->flags & pages) != (asked->flags & pages))
		DIFFER("%s, not %s", pages_text(has->flags), pages_text(asked->flags));
	if (topic->stream_slots != stream->stream_slots)
		DIFFER("stream_slots %u, not %u", topic->stream_slots, stream->stream_slots);
	if (topic->stream_bytes != stream->stream_bytes)
		DIFFER("stream_bytes %llu, not %llu", (unsigned long long)topic->stream_bytes,
		       (unsigned long long)stream->stream_bytes);
	if (log->sync != other->sync || log->interval_ns != other->interval_ns)
		DIFFER("sync %s%s", spill_sync_text(log->sync),
		       log->sync == other->sync ? " of another time" : "");
	if (log->on_full != other->on_full)
		DIFFER("on-full %s",
		       log->on_full == CTL_ON_FULL_DROP ? "drop, not block" : "block, not drop");
	if (log->max_age_ns != other->max_age_ns || log->max_bytes != other->max_bytes ||
	    log->max_messages != other->max_messages)
		DIFFER("%s", "another max_age, max_bytes or max_messages of its log");
#undef DIFFER
	if (len == 0)
		return 0;
	return because(why, EEXIST,
		       "topic \"%s\" exists with %s; remove it first, or create it as it is",
		       topic->name, text);
}

static struct job *find_maker(const struct busd *busd, const char *name)
{
	struct job *job;

	for_each(job, &busd->creating, making)
		if (!job->asked && strcmp(job->pattern, name) == 0)
			return job;
	return NULL;
}

/* The same stream is being made: what this one gets is known once that is. */
static int wait_for_maker(struct client *client, const struct ctl_topic_create *asked, struct why *why)
{
	struct job *job = job_new(client, asked);
	struct ctl_topic_create *copy = malloc(sizeof(*copy));

	if (!job || !copy) {
		free(copy);
		if (job)
			job_free(job);
		return because(why, ENOMEM, "busd is out of memory");
	}
	*copy = *asked;
	job->asked = copy;
	client->job = job;
	list_append(&client->busd->creating, &job->making);
	return 0;
}

static void ask_again(struct job *job)
{
	struct client *client = job->client;
	struct why why = { "" };
	int rc;

	if (client)
		client->job = NULL;
	if (client && !client->doomed) {
		rc = query_topic_create(client, job->asked, &why);
		if (rc < 0)
			client_reply_error(client, CTL_VERSION, job->req, -rc, why.text);
		request_resume(client);
	}
	job_free(job);
}

/* Whoever waited for this name: the first of them makes it now, if it was not made. */
static void made(struct busd *busd, const char *name)
{
	struct list waited;
	struct job *job;

	list_init(&waited);
	for_each(job, &busd->creating, making) {
		if (!job->asked || strcmp(job->asked->topic, name) != 0)
			continue;
		list_remove(&job->making);
		list_append(&waited, &job->making);
	}
	while (!list_empty(&waited)) {
		job = list_entry(waited.next, struct job, making);
		list_remove(&job->making);
		ask_again(job);
	}
}

/* The ring is there. */
static void stream_built(struct client *client, struct job *job)
{
	const struct ctl_head request = { .type = CTL_TOPIC_CREATE, .req = job->req };
	struct why gone = { "" };
	struct topic *topic = NULL;
	int rc = job->rc;

	if (client && rc == 0 && topic_find(job->busd, job->pattern))
		rc = because(&job->why, EEXIST, "topic \"%s\" was created at this moment",
			     job->pattern);
	if (client && rc == 0)
		rc = stream_self(job->busd, -1, &job->why);
	if (client && rc == 0)
		topic = topic_make(client, job->pattern, &job->settings, true, job, &rc, &job->why);
	if (topic) {
		struct stream_place place = { .dir = job->stream_dir };

		rc = stream_make(topic, job->seg, &place, &job->why);
		job->stream_dir = place.dir;
		if (rc < 0)
			topic_remove(topic);
		else
			stream_run(job->busd);
	}
	if (job->stream_dir >= 0 && spill_dir_retire(job->stream_dir, job->pattern, &gone) != 0)
		log_error("stream \"%s\" is not made, and its directory is there: %s", job->pattern,
			  gone.text);
	if (client && rc < 0)
		client_reply_error(client, CTL_VERSION, job->req, -rc, job->why.text);
	else if (client)
		answer_ok(client, &request, 1);
	list_remove(&job->making);
	made(job->busd, job->pattern);
	job_free(job);
}

static int create_stream(struct client *client, const struct ctl_topic_create *create,
			 const struct ctl_topic_settings *settings, struct why *why)
{
	struct job *job = job_new(client, create);
	int rc = stream_check_refused(client->busd, create->topic, why);

	if (rc < 0 || !job) {
		if (job)
			job_free(job);
		return rc < 0 ? rc : because(why, ENOMEM, "busd is out of memory");
	}
	rc = namespace_find(client->busd, create->topic, &job->space, why);
	if (rc < 0) {
		job_free(job);
		return rc;
	}
	job->settings = *settings;
	job->stream_slots = create->stream_slots;
	job->stream_bytes = create->stream_bytes;
	job->log = create->log;
	job->on_disk = create->log.sync != CTL_SYNC_MEMORY;
	job->data_dir = client->busd->data_dir;
	if (getrandom(job->uuid, sizeof(job->uuid), 0) != sizeof(job->uuid)) {
		job_free(job);
		return because(why, EIO, "the kernel gives no random number for the stream");
	}
	memcpy(job->pattern, create->topic, sizeof(job->pattern));
	job->done = stream_built;
	list_append(&client->busd->creating, &job->making);
	job->plan = (struct segment_plan){
		.kind = CTL_SEG_RING,
		.ring_slots = create->stream_slots,
		.ring_bytes = create->stream_bytes,
		.ring_features = RING_FEATURE_STREAM,
		.numa = settings->numa,
		.node = client->node,
		.pages = settings->flags & CTL_TOPIC_HUGE_OR_NOT ? SEGMENT_HUGE_OR_NOT
			 : settings->flags & CTL_TOPIC_HUGE      ? SEGMENT_HUGE
								 : SEGMENT_ORDINARY,
	};
	alloc_build(job);
	return 0;
}

/* Sizes as they will be; those of a stream's ring in create itself. */
static int settle(struct busd *busd, struct ctl_topic_create *create,
		  struct ctl_topic_settings *settings, struct why *why)
{
	int rc = config_settle(busd->config, create->topic, &create->settings, settings, why);

	if (rc < 0)
		return rc;
	if (create->settings.flags & CTL_TOPIC_STREAM) {
		rc = stream_settle_log(busd, &create->log, why);
		if (rc < 0)
			return rc;
		rc = stream_settle(settings, create->settings.max_bytes, &create->stream_slots,
				   &create->stream_bytes, why);
		return rc < 0 ? rc : spill_check_limits(&create->log, create->stream_bytes, why);
	}
	if (create->stream_slots || create->stream_bytes)
		return because(why, EINVAL, "only a stream has a ring of its own to be sized");
	if (create->log.sync || create->log.on_full || create->log.max_age_ns ||
	    create->log.max_bytes || create->log.max_messages)
		return because(why, EINVAL, "only a stream is kept, and synced");
	return 0;
}

int query_topic_create(struct client *client, const void *msg, struct why *why)
{
	struct ctl_topic_create asked = *(const struct ctl_topic_create *)msg;
	struct ctl_topic_create *create = &asked;
	const char *wrong = topic_name_check(create->topic);
	struct busd *busd = client->busd;
	struct ctl_topic_settings settings;
	struct topic *topic;
	int rc;

	if (wrong)
		return because(why, EINVAL, "topic name %s", wrong);
	if (!may(client, ACL_ADMIN, create->topic))
		return because(why, EACCES,
			       "no right to create this topic (uid %u); ask who runs busd for a rule",
			       client->uid);
	rc = settle(busd, create, &settings, why);
	if (rc < 0)
		return rc;
	topic = topic_find(busd, create->topic);
	if (!topic && find_maker(busd, create->topic))
		return wait_for_maker(client, msg, why);
	if (!topic && settings.flags & CTL_TOPIC_STREAM)
		return create_stream(client, create, &settings, why);
	if (!topic) {
		if (!topic_make(client, create->topic, &settings, true, NULL, &rc, why))
			return rc;
		answer_ok(client, &create->head, 1);
		return 0;
	}
	if (client->retrying && topic->made_by == client->id && topic->made_req == create->head.req) {
		answer_ok(client, &create->head, 1);
		return 0;
	}
	if (create->settings.flags & CTL_TOPIC_EXCLUSIVE)
		return because(why, EEXIST, "topic \"%s\" exists", topic->name);
	if (topic->explicit_) {
		rc = compare(topic, &settings, create, why);
		if (rc < 0)
			return rc;
		answer_ok(client, &create->head, 0);
		return 0;
	}
	if (settings.flags & CTL_TOPIC_STREAM)
		return because(
			why, EEXIST,
			"topic \"%s\" is in use, and no stream; create the stream before anybody uses its name",
			topic->name);
	/* publishers made it on demand: it stays now, and new rings are as said */
	topic->explicit_ = true;
	topic->settings = settings;
	record_topic(topic);
	board_settings(topic);
	answer_ok(client, &create->head, 0);
	return 0;
}

/* Of clients: not busd's own. */
static uint32_t topic_subscribers(const struct topic *topic)
{
	return topic->member_count - topic_is_stream(topic);
}

static const struct member *some_member(const struct topic *topic)
{
	const struct member *member;

	for_each(member, &topic->members, topic_link)
		if (!client_is_self(member->sub->client))
			return member;
	return NULL;
}

/* Its directory is nobody's, on disk: whatever happens now, it does not come back. */
static void stream_put_aside(struct client *client, struct job *job)
{
	const struct ctl_head request = { .type = CTL_TOPIC_REMOVE, .req = job->req };
	struct topic *topic = job->topic;

	if (job->rc >= 0 && !topic->removed) {
		log_info("stream \"%s\" is removed by %s, with all that is on disk", topic->name,
			 client ? client_label(client) : "one who has gone");
		topic_remove(topic);
	}
	if (job->rc != 0)
		log_error("removing stream \"%s\": %s", topic->name, job->why.text);
	if (client && job->rc != 0)
		client_reply_error(client, CTL_VERSION, job->req, job->rc < 0 ? -job->rc : EIO,
				   job->why.text);
	else if (client)
		answer_ok(client, &request, 0);
	topic_unpin(topic);
	job_free(job);
}

static int put_aside(struct client *client, struct topic *topic, const struct ctl_head *request,
		     struct why *why)
{
	struct job *job = job_new(client, request);

	if (!job)
		return because(why, ENOMEM, "busd is out of memory");
	job->topic = topic;
	topic_pin(topic);
	job->data_dir = topic->busd->data_dir;
	memcpy(job->pattern, topic->name, sizeof(job->pattern));
	memcpy(job->uuid, topic->uuid, sizeof(job->uuid));
	job->done = stream_put_aside;
	alloc_put_aside(job);
	return 0;
}

int query_topic_remove(struct client *client, const void *msg, struct why *why)
{
	const struct ctl_topic_remove *remove = msg;
	const struct member *member;
	const char *wrong = topic_name_check(remove->topic);
	struct topic *topic = wrong ? NULL : topic_find(client->busd, remove->topic);

	if (wrong)
		return because(why, EINVAL, "topic name %s", wrong);
	if (!topic && client->retrying) {
		answer_ok(client, &remove->head, 0);
		return 0;
	}
	if (!topic || !may_anything(client, topic->name))
		return because(why, ENOENT, "there is no topic \"%s\"", remove->topic);
	if (!may(client, ACL_ADMIN, topic->name))
		return because(why, EACCES,
			       "no right to remove topic \"%s\" (uid %u); ask who runs busd for a rule",
			       topic->name, client->uid);
	if (!(remove->flags & CTL_TOPIC_FORCE) && !list_empty(&topic->pubs)) {
		const struct pub *pub = list_entry(topic->pubs.next, struct pub, topic_link);

		return because(
			why, EBUSY,
			"topic \"%s\" has %u publishers (%s is one) and %u subscribers; close them or force it",
			topic->name, topic->pub_count, client_label(pub->client),
			topic_subscribers(topic));
	}
	member = remove->flags & CTL_TOPIC_FORCE ? NULL : some_member(topic);
	if (member)
		return because(why, EBUSY,
			       "topic \"%s\" has %u subscribers (%s is one); close them or force it",
			       topic->name, topic_subscribers(topic),
			       client_label(member->sub->client));
	if (topic->stream && topic->log.sync != CTL_SYNC_MEMORY && topic->busd->data_dir)
		return put_aside(client, topic, &remove->head, why);
	log_info("topic \"%s\" is removed by %s", topic->name, client_label(client));
	topic_remove(topic);
	answer_ok(client, &remove->head, 0);
	return 0;
}

static void read_disk(const struct topic *topic, struct ctl_log_info *ret)
{
	const struct ring *ring = topic->stream ? topic->stream->ring : NULL;

	board_read_log(&topic->board, ret);
	if (ring)
		ret->head_seq =
			bus_load_acquire(&((const struct ring_writer_page *)ring->seg->map)->head);
}

int query_topic_next(struct client *client, const void *msg, struct why *why)
{
	const struct ctl_topic_next *next = msg;
	const char *wrong = topic_pattern_check(next->pattern);
	struct busd *busd = client->busd;
	size_t i;

	if (wrong)
		return because(why, EINVAL, "topic pattern %s", wrong);
	for (i = topic_index_after(busd, next->after); i < busd->topic_count; i++) {
		const struct topic *topic = busd->topics[i];
		struct ctl_topic_next_reply reply;

		if (!topic_matches(next->pattern, topic->name) || !may_anything(client, topic->name))
			continue;
		memset(&reply, 0, sizeof(reply));
		reply.head = (struct ctl_head){ .type = CTL_REPLY | CTL_TOPIC_NEXT,
						.version = CTL_VERSION,
						.len = sizeof(reply),
						.req = next->head.req };
		reply.settings = topic->settings;
		reply.topic_id = topic->id;
		reply.created_ns = topic->created_ns;
		reply.memory_bytes = topic_memory(topic);
		reply.explicit_ = topic->explicit_;
		reply.publishers = topic->pub_count;
		reply.subscribers = topic_subscribers(topic);
		reply.rings = topic->ring_count;
		reply.stream_slots = topic->stream_slots;
		reply.stream_bytes = topic->stream_bytes;
		reply.log = topic->log;
		if (topic_is_stream(topic) && topic->log.sync != CTL_SYNC_MEMORY)
			read_disk(topic, &reply.disk);
		memcpy(reply.topic, topic->name, sizeof(reply.topic));
		client_reply(client, &reply, NULL, 0);
		return 0;
	}
	return because(why, ENOENT, "no more topics");
}

/* One answer to who may not know that it is there, and to who asks for what is not. */
int query_log_segment(struct client *client, const void *msg, struct why *why)
{
	const struct ctl_log_segment *asked = msg;
	const char *wrong = topic_name_check(asked->topic);
	struct topic *topic = wrong ? NULL : topic_find(client->busd, asked->topic);
	int rc;

	if (wrong)
		return because(why, EINVAL, "topic name %s", wrong);
	if (!topic && may(client, ACL_SUBSCRIBE, asked->topic)) {
		rc = stream_check_refused(client->busd, asked->topic, why);
		if (rc < 0) /* what is not tried again is not there, for who reads */
			return rc == -EAGAIN ? rc : -ENOENT;
	}
	if (!topic || !may(client, ACL_SUBSCRIBE, topic->name))
		return because(
			why, ENOENT,
			"there is no stream \"%s\" that this user (uid %u) may subscribe to; make it, or ask who runs busd for a rule",
			asked->topic, client->uid);
	return stream_give_segment(client, topic, asked, why);
}

static uint64_t written_memory(const struct client *client)
{
	const struct client_bell *bell;
	const struct pub *pub;
	const struct sub *sub;
	uint64_t bytes = 0;

	for (bell = client->bells; bell; bell = bell->next)
		bytes += bell->seg->info.size;
	for_each(pub, &client->pubs, client_link) {
		bytes += pub->ring ? pub->ring->seg->info.size : 0;
		bytes += pub->pending ? pub->pending->seg->info.size : 0;
	}
	for_each(sub, &client->subs, client_link)
		bytes += sub->seg->info.size;
	return bytes;
}

int query_client_next(struct client *client, const void *msg, struct why *why)
{
	const struct ctl_client_next *next = msg;
	struct busd *busd = client->busd;
	bool all = client->uid == 0 || client->uid == busd->uid;
	const struct client *each;

	for_each(each, &busd->clients, link) {
		struct ctl_client_next_reply reply;

		if (each->id <= next->after || each->doomed || each->state != CLIENT_ATTACHED ||
		    (!all && each->uid != client->uid))
			continue;
		memset(&reply, 0, sizeof(reply));
		reply.head = (struct ctl_head){ .type = CTL_REPLY | CTL_CLIENT_NEXT,
						.version = CTL_VERSION,
						.len = sizeof(reply),
						.req = next->head.req };
		reply.client_id = each->id;
		reply.connected_ns = each->connected_ns;
		reply.memory_bytes = written_memory(each);
		reply.queued = each->event_count;
		reply.pid = each->pid;
		reply.uid = each->uid;
		reply.gid = each->gid;
		reply.publishers = each->pub_count;
		reply.subscriptions = each->sub_count;
		reply.node = each->node;
		memcpy(reply.name, each->name, sizeof(reply.name));
		memcpy(reply.command, each->command, sizeof(reply.command));
		client_reply(client, &reply, NULL, 0);
		return 0;
	}
	return because(why, ENOENT, "no more clients");
}

/* NULL: the configuration does not name it. */
static const struct config_namespace *configured(const struct config *config, const char *name)
{
	size_t i;

	for (i = 0; i < config->namespace_count; i++)
		if (strcmp(config->namespaces[i].name, name) == 0)
			return &config->namespaces[i];
	return NULL;
}

/*
 * Who owns it sees it, and who runs busd sees all. What a namespace uses is more than others may know:
 * it counts topics that they must not hear of.
 */
static bool sees(const struct client *client, const struct config_namespace *entry)
{
	struct acl_subject subject = client_subject(client);

	if (client->user->account.owner)
		return true;
	return entry && entry->owned && acl_is_meant(&entry->owner, &subject);
}

int query_namespace_next(struct client *client, const void *msg, struct why *why)
{
	const struct ctl_namespace_next *next = msg;
	const struct busd *busd = client->busd;
	const struct namespace *space = namespace_after(busd, next->after);
	const struct config_namespace *entry = NULL;
	struct ctl_namespace_next_reply reply;

	for (; space; space = namespace_after(busd, space->name)) {
		entry = configured(busd->config, space->name);
		if (sees(client, entry))
			break;
	}
	if (!space)
		return because(why, ENOENT, "no more namespaces");
	memset(&reply, 0, sizeof(reply));
	reply.head = (struct ctl_head){ .type = CTL_REPLY | CTL_NAMESPACE_NEXT,
					.version = CTL_VERSION,
					.len = sizeof(reply),
					.req = next->head.req };
	reply.memory = space->memory;
	reply.memory_limit = space->limits.memory;
	reply.topics = space->topics;
	reply.topics_limit = space->limits.topics;
	reply.rings = space->rings;
	reply.rings_limit = space->limits.rings;
	reply.clients = space->clients;
	reply.clients_limit = space->limits.clients;
	reply.configured = space->configured;
	if (entry && entry->owned) {
		reply.owner = entry->owner.who == ACL_GROUP ? CTL_OWNER_GROUP : CTL_OWNER_USER;
		reply.owner_id = entry->owner.id;
	}
	memcpy(reply.name, space->name, sizeof(reply.name));
	client_reply(client, &reply, NULL, 0);
	return 0;
}

/* What one who does not run busd may know: of topics that he may see, and of himself. */
static void count_own(const struct client *client, struct ctl_info_reply *reply)
{
	const struct quota_account *account = &client->user->account;
	const struct busd *busd = client->busd;
	const struct client *each;
	size_t i;

	for (i = 0; i < busd->topic_count; i++) {
		if (!may_anything(client, busd->topics[i]->name))
			continue;
		reply->topics++;
		reply->rings += busd->topics[i]->ring_count;
	}
	for_each(each, &busd->clients, link)
		if (each->uid == client->uid)
			reply->subscriptions += each->sub_count;
	reply->clients = account->clients;
	reply->memory_bytes = account->memory;
	reply->memory_limit = account->total->limits.user_memory;
}

int query_info(struct client *client, const void *msg, struct why *why)
{
	const struct ctl_head *head = msg;
	const struct busd *busd = client->busd;
	struct ctl_info_reply reply;

	(void)why;
	memset(&reply, 0, sizeof(reply));
	reply.head = (struct ctl_head){ .type = CTL_REPLY | CTL_INFO,
					.version = CTL_VERSION,
					.len = sizeof(reply),
					.req = head->req };
	reply.started_ns = busd->started_ns;
	if (client->user->account.owner) {
		reply.memory_bytes = busd->quota.memory;
		reply.memory_limit = busd->quota.limits.memory;
		reply.topics = busd->topic_count;
		reply.clients = busd->client_count;
		reply.rings = busd->ring_count;
		reply.subscriptions = busd->sub_count;
		reply.evictions = busd->evictions;
	} else {
		count_own(client, &reply);
	}
	reply.max_message_bytes = busd->config->max_ring_bytes / 4;
	reply.pid = busd->pid;
	reply.uid = busd->uid;
	reply.nodes = numa_node_count();
	reply.private_ = busd->private_;
	snprintf(reply.version, sizeof(reply.version), "%s", BUSD_VERSION);
	snprintf(reply.socket, sizeof(reply.socket), "%s", busd->socket_path);
	client_reply(client, &reply, NULL, 0);
	return 0;
}
