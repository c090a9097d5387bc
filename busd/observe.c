/* SPDX-License-Identifier: Apache-2.0 */
/* observe.c - see observe.h */
#include "observe.h"

#include "record.h"
#include "share.h"

#include "format/topic_name.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static bool observes(const struct client *client, const struct topic *topic)
{
	struct acl_subject subject;
	uint32_t i;

	for (i = 0; i < client->observe_count; i++) {
		if (!topic_matches(client->observed[i], topic->name))
			continue;
		subject = client_subject(client);
		return acl_allows(&topic->busd->config->acl, topic->busd->uid, &subject,
				  ACL_SUBSCRIBE, topic->name);
	}
	return false;
}

/* What there is of a topic; how many segments are new to the client. */
static uint64_t show_topic(struct client *client, struct topic *topic)
{
	uint64_t count = share_observed(client, topic->board.seg);
	struct member *member;
	struct ring *ring;

	for_each(ring, &topic->rings, link)
		count += share_observed(client, ring->seg);
	for_each(member, &topic->members, topic_link)
		if (member->sub->active)
			count += share_observed(client, member->sub->seg);
	return count;
}

int observe_start(struct client *client, const void *msg, struct why *why)
{
	const struct ctl_observe *observe = msg;
	const char *wrong = topic_pattern_check(observe->pattern);
	struct busd *busd = client->busd;
	struct ctl_ok ok = { .head = { .type = CTL_REPLY | CTL_OBSERVE,
				       .version = CTL_VERSION,
				       .len = sizeof(ok),
				       .req = observe->head.req } };
	char *pattern;
	size_t i;

	if (wrong)
		return because(why, EINVAL, "topic pattern %s", wrong);
	if (client->retrying && client->observe_count &&
	    strcmp(client->observed[client->observe_count - 1], observe->pattern) == 0) {
		client_reply(client, &ok, NULL, 0);
		return 0;
	}
	if (client->observe_count == CLIENT_OBSERVE_MAX)
		return because(why, EDQUOT,
			       "this connection observes %d patterns, the most that one may",
			       CLIENT_OBSERVE_MAX);
	pattern = strdup(observe->pattern);
	if (!pattern)
		return because(why, ENOMEM, "busd is out of memory");
	busd->observer_count += client->observe_count == 0;
	client->observed[client->observe_count++] = pattern;
	record_observe(client, client->observe_count - 1);
	for (i = 0; i < busd->topic_count; i++)
		if (observes(client, busd->topics[i]))
			ok.value += show_topic(client, busd->topics[i]);
	client_ring_bells(busd);
	client_reply(client, &ok, NULL, 0);
	return 0;
}

int observe_stop(struct client *client, const void *msg, struct why *why)
{
	const struct ctl_head *head = msg;
	struct ctl_ok ok = { .head = { .type = CTL_REPLY | CTL_UNOBSERVE,
				       .version = CTL_VERSION,
				       .len = sizeof(ok),
				       .req = head->req } };

	(void)why;
	client->busd->observer_count -= client->observe_count > 0;
	while (client->observe_count)
		free(client->observed[--client->observe_count]);
	record_unobserve(client);
	unshare_all_observed(client);
	client_ring_bells(client->busd);
	client_reply(client, &ok, NULL, 0);
	return 0;
}

void observe_again(struct busd *busd)
{
	struct client *client;
	size_t i;

	for_each(client, &busd->clients, link) {
		if (client->observe_count == 0 || client->doomed)
			continue;
		unshare_all_observed(client);
		for (i = 0; i < busd->topic_count; i++)
			if (observes(client, busd->topics[i]))
				show_topic(client, busd->topics[i]);
	}
}

static void show(struct topic *topic, struct segment *seg)
{
	struct client *client;

	if (topic->busd->observer_count == 0)
		return;
	for_each(client, &topic->busd->clients, link)
		if (client->observe_count && observes(client, topic))
			share_observed(client, seg);
}

void observe_resume(struct client *client)
{
	size_t i;

	for (i = 0; client->observe_count && i < client->busd->topic_count; i++)
		if (observes(client, client->busd->topics[i]))
			show_topic(client, client->busd->topics[i]);
}

void observe_board(struct topic *topic)
{
	show(topic, topic->board.seg);
}

void observe_ring(struct ring *ring)
{
	show(ring->topic, ring->seg);
}

void observe_membership(struct member *member)
{
	show(member->topic, member->sub->seg);
}

void observe_cursors(struct sub *sub)
{
	struct member *member;

	for_each(member, &sub->members, sub_link)
		observe_membership(member);
}

void observe_gone(struct busd *busd, struct segment *seg)
{
	struct client *client;

	if (busd->observer_count == 0)
		return;
	for_each(client, &busd->clients, link)
		if (client->observe_count)
			unshare_observed(client, seg);
}
