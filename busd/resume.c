/* SPDX-License-Identifier: Apache-2.0 */
/* resume.c - see resume.h */
#include "resume.h"

#include "change.h"
#include "event.h"
#include "greet.h"
#include "log.h"
#include "observe.h"
#include "record.h"
#include "request.h"
#include "server.h"
#include "share.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* ---- telling everything once more ---- */

static void tell_mark(struct client *client, uint32_t end)
{
	struct ctl_ev_resume msg = {
		.head = { .type = CTL_EV_RESUME, .version = CTL_VERSION, .len = sizeof(msg) },
		.end = end
	};

	event_push(client, &msg, NULL, false);
}

static void tell_member(struct pub *pub, const struct reader *reader)
{
	struct ctl_ev_member msg = change_describe(reader, reader_gates(reader));

	msg.head =
		(struct ctl_head){ .type = CTL_EV_MEMBER, .version = CTL_VERSION, .len = sizeof(msg) };
	msg.pub_id = pub->id;
	event_push(pub->client, &msg, NULL, false);
}

static void tell_pub(struct pub *pub)
{
	struct ctl_ev_member all = {
		.head = { .type = CTL_EV_MEMBER, .version = CTL_VERSION, .len = sizeof(all) },
		.pub_id = pub->id,
		.op = CTL_MEMBER_ALL,
		.number = pub->topic->epoch,
	};
	struct reader *reader;

	share_segment(pub->client, pub->topic->board.seg);
	if (!pub->ring)
		return;
	for_each(reader, &pub->ring->readers, ring_link) {
		if (!reader->told)
			continue;
		share_segment(pub->client, reader->member->sub->seg);
		share_peer(pub->client, reader->member->sub->client);
		tell_member(pub, reader);
	}
	all.ring_id = pub->ring->id;
	pub->told = all.number;
	event_push(pub->client, &all, NULL, false);
}

static void tell_sub(struct sub *sub)
{
	struct member *member;
	struct reader *reader;

	for_each(member, &sub->members, sub_link) {
		if (member->has_board)
			share_segment(sub->client, member->topic->board.seg);
		for_each(reader, &member->readers, member_link) {
			share_segment(sub->client, reader->ring->seg);
			if (reader->open)
				share_peer(sub->client, reader->ring->pub->client);
			reader_announce(reader);
		}
	}
}

static void tell_all(struct client *client)
{
	struct client_bell *bell;
	struct pub *pub;
	struct sub *sub;

	tell_mark(client, 0);
	for (bell = client->bells; bell; bell = bell->next)
		if (bell->seg->ro_fd < 0)
			share_own_bell(client, bell);
	observe_resume(client);
	for_each(pub, &client->pubs, client_link)
		tell_pub(pub);
	for_each(sub, &client->subs, client_link)
		tell_sub(sub);
	tell_mark(client, 1);
	client_bell_due(client);
}

/* ---- coming back ---- */

static struct client *find_absent(const struct client *newcomer, const struct ctl_hello *hello)
{
	struct client *client;

	if (newcomer->busd->absent_count == 0 || (hello->token[0] == 0 && hello->token[1] == 0))
		return NULL;
	/* what the kernel attests must agree: a token is no secret among processes of one user */
	for_each(client, &newcomer->busd->clients, link)
		if (client->absent && !client->doomed && client->token[0] == hello->token[0] &&
		    client->token[1] == hello->token[1] && client->uid == newcomer->uid &&
		    client->pid == newcomer->pid)
			return client;
	return NULL;
}

static void answer(struct client *client, const struct ctl_hello *hello, int ev_fd)
{
	const int fds[] = { ev_fd, client->user->busd_bell->ro_fd };
	struct ctl_hello_reply reply = greet_reply(client, hello);

	reply.resumed = 1;
	client_reply(client, &reply, fds, BUS_ARRAY_LEN(fds));
}

static void take_over(struct client *client, struct client *newcomer)
{
	struct busd *busd = client->busd;

	server_move_watch(busd, &newcomer->ctl, &client->ctl);
	server_watch_events(busd, &client->ctl, EPOLLRDHUP);
	client->versions = newcomer->versions;
	free(client->groups);
	client->groups = newcomer->groups;
	client->group_count = newcomer->group_count;
	newcomer->groups = NULL;
	newcomer->group_count = 0;
	client->absent = false;
	client->resumed = true;
	quota_adopt_client(&client->user->account);
	busd->absent_count--;
	client_doom(newcomer, NULL);
}

bool resume_client(struct client *newcomer, const struct ctl_hello *hello)
{
	struct client *client = find_absent(newcomer, hello);
	struct busd *busd = newcomer->busd;
	int pair[2];
	int rc;

	if (!client)
		return false;
	if (!(hello->flags & CTL_HELLO_RESUME)) {
		/* the former worker died while this process attached: it begins again */
		client_doom(client, NULL);
		return false;
	}
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) < 0) {
		/* hung up on, it tries again; the descriptors of whoever leaves now will do */
		client_doom(newcomer, "busd cannot make a socket: %s", strerror(errno));
		return true;
	}
	take_over(client, newcomer);
	rc = server_watch(busd, &client->ev, pair[0], EPOLLIN);
	if (rc < 0) {
		client_doom(client, "busd cannot watch it: %s", strerror(-rc));
	} else {
		tell_all(client);
		answer(client, hello, pair[1]);
		log_debug("client %s is back as %llu", client_label(client),
			  (unsigned long long)client->id);
	}
	close(pair[1]);
	request_resume(client);
	resume_settle(busd);
	return true;
}

/* ---- the time in which they come back ---- */

void resume_begin(struct busd *busd)
{
	struct client *client;

	busd->recovering = busd->absent_count > 0;
	if (!busd->recovering)
		return;
	server_set_deadline(busd, TIMER_RECOVER, bus_monotonic_ns() + RESUME_NS);
	for_each(client, &busd->clients, link)
		client_bell_due(client);
}

bool resume_waits(const struct topic *topic)
{
	const struct pub *pub;

	if (!topic->busd->recovering)
		return false;
	for_each(pub, &topic->pubs, topic_link)
		if (pub->client->absent && !pub->client->doomed)
			return true;
	return false;
}

static void raise_epoch(struct topic *topic)
{
	struct member *member;
	struct pub *pub;

	change_raise(topic);
	for_each(pub, &topic->pubs, topic_link)
		client_bell_due(pub->client);
	for_each(member, &topic->members, topic_link)
		client_bell_due(member->sub->client);
}

void resume_settle(struct busd *busd)
{
	size_t i;

	if (!busd->recovering)
		return;
	record_commit(busd);
	client_send_due(busd);
	for (i = 0; i < busd->topic_count; i++)
		if (busd->topics[i]->owed && !resume_waits(busd->topics[i]))
			raise_epoch(busd->topics[i]);
	if (busd->absent_count == 0)
		resume_end(busd);
}

void resume_end(struct busd *busd)
{
	struct client *client;
	size_t i;

	if (!busd->recovering)
		return;
	busd->recovering = false;
	busd->deadlines[TIMER_RECOVER] = 0;
	log_info("clients of the former worker: %u are back, %u sleep",
		 busd->client_count - busd->absent_count, busd->absent_count);
	client_send_due(busd);
	/* from the end: one that nobody needs goes, and moves only those behind it */
	for (i = busd->topic_count; i > 0; i--) {
		if (busd->topics[i - 1]->owed)
			raise_epoch(busd->topics[i - 1]);
		topic_release(busd->topics[i - 1]);
	}
	for_each(client, &busd->clients, link) {
		if (client->absent && client->process.fd < 0)
			client_doom(client, "it did not come back, and its end would not be noticed");
		if (!client->doomed && !client->absent)
			request_resume(client);
	}
}
