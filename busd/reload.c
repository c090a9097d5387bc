/* SPDX-License-Identifier: Apache-2.0 */
/* reload.c - see reload.h */
#include "reload.h"

#include "change.h"
#include "log.h"
#include "memory.h"
#include "observe.h"
#include "record.h"

#include <limits.h>
#include <sys/resource.h>

#define SPARE_FILES 64    /* of busd's descriptors: for what is nobody's */
#define HANDSHAKES  256   /* of one user */
#define TOPICS      16384 /* of one user */

static uint32_t or_else(uint32_t said, uint64_t by_default)
{
	return said ? said : (uint32_t)bus_min_u64(by_default, INT_MAX);
}

static void apply_files(struct quota_limits *limits, const struct config *config)
{
	struct rlimit files;
	uint64_t all = 1024;

	if (getrlimit(RLIMIT_NOFILE, &files) == 0)
		all = bus_min_u64(files.rlim_cur, INT_MAX);
	limits->files = (uint32_t)(all - bus_min_u64(SPARE_FILES, all / 4));
	limits->user_files = or_else(config->user_descriptors, limits->files / 2);
	/*
	 * The kernel counts those of all receivers against busd's user, and refuses at `all`: no one
	 * of them may come near.
	 */
	limits->user_in_flight = (uint32_t)bus_max_u64(all / 8, 2 * CTL_EV_IN_FLIGHT);
}

int reload_apply(struct busd *busd)
{
	const struct config *config = busd->config;
	struct quota_limits *limits = &busd->quota.limits;
	struct memory_room room;

	memory_look(&room);
	limits->memory = config->memory_limit ? config->memory_limit : room.ceiling / 2;
	limits->user_memory = config->user_memory_limit ? config->user_memory_limit
							: limits->memory / 2;
	limits->user_clients = or_else(config->user_connections, BELL_WORDS);
	limits->user_handshakes = or_else(config->user_handshakes, HANDSHAKES);
	limits->user_topics = or_else(config->user_topics, TOPICS);
	apply_files(limits, config);
	log_set_level((enum log_level)config->log_level);
	return namespace_configure(busd, config);
}

static bool may(const struct client *client, enum acl_right right, const struct topic *topic)
{
	struct acl_subject subject = client_subject(client);

	return acl_allows(&topic->busd->config->acl, topic->busd->uid, &subject, right, topic->name);
}

/* Its ring ends: it is told as by the removal of the topic. */
static void withdraw_pub(struct pub *pub)
{
	struct topic *topic = pub->topic;

	log_warning("publisher \"%s\" of %s on \"%s\" is shut down: its right to publish was withdrawn",
		    pub->name, client_label(pub->client), topic->name);
	if (!pub->ring || pub->pending) {
		client_doom(pub->client, "its right to publish on \"%s\" was withdrawn", topic->name);
		return;
	}
	ring_end_open(topic, pub);
}

static void withdraw_member(struct member *member)
{
	struct topic *topic = member->topic;
	struct reader *reader;

	log_warning("subscription \"%s\" of %s is taken off \"%s\": its right to subscribe was withdrawn",
		    member->sub->name, client_label(member->sub->client), topic->name);
	topic_pin(topic);
	change_begin(topic);
	for_each(reader, &member->readers, member_link)
		if (reader->ring->pub && reader->told)
			change_remove(reader);
	change_commit(topic);
	for_each(reader, &member->readers, member_link) {
		struct ring *ring = reader->ring;

		reader_free(reader, true);
		ring_settle(ring);
	}
	member_free(member);
	topic_unpin(topic);
}

/*
 * What is mapped stays mapped: nobody can be made to forget what he has read. But no ring of a
 * topic comes to him any more, nobody reads his, and nobody waits for him.
 */
static void withdraw_rights(struct busd *busd)
{
	struct client *client;
	struct sub *sub;

	for_each(client, &busd->clients, link) {
		struct pub *pub;

		for_each(pub, &client->pubs, client_link)
			if (!client->doomed && (pub->ring || pub->pending) &&
			    !may(client, ACL_PUBLISH, pub->topic))
				withdraw_pub(pub);
	}
	for_each(sub, &busd->subs, link) {
		struct member *member;

		if (sub->client->doomed)
			continue;
		for_each(member, &sub->members, sub_link)
			if (!may(sub->client, ACL_SUBSCRIBE, member->topic))
				withdraw_member(member);
		sub_match_again(sub);
	}
	observe_again(busd);
}

void reload_config(struct busd *busd)
{
	struct config *fresh;
	struct why why;

	if (!busd->config_path) {
		log_info("there is no configuration file to be read again");
		return;
	}
	fresh = config_new();
	if (!fresh || config_read(fresh, busd->config_path, &why) < 0) {
		log_error("%s; the present configuration goes on",
			  fresh ? why.text : "busd is out of memory");
		config_free(fresh);
		return;
	}
	config_free(busd->config);
	busd->config = fresh;
	if (reload_apply(busd) < 0)
		log_error("busd is out of memory: not all limits of namespaces are in effect");
	withdraw_rights(busd);
	log_info("configuration read again from %s", busd->config_path);
}
