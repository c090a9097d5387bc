/* SPDX-License-Identifier: Apache-2.0 */
/* client.c - see client.h */
#include "client.h"

#include "alloc.h"
#include "event.h"
#include "keep.h"
#include "log.h"
#include "namespace.h"
#include "peer.h"
#include "record.h"
#include "request.h"
#include "resume.h"
#include "server.h"
#include "share.h"
#include "stream.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* An answer that waits for the events before it. */
struct held_reply {
	union {
		struct ctl_head head;
		struct ctl_ok ok;
		struct ctl_pub_ready_reply ready;
	} msg;
};

const char *client_label(const struct client *client)
{
	static char texts[4][160];
	static unsigned turn;
	char *text = texts[turn++ % 4];

	snprintf(text, sizeof(texts[0]), "\"%s\" (pid %u, uid %u)",
		 client->name[0] ? client->name : client->command, client->pid, client->uid);
	return text;
}

void client_copy_name(char to[CTL_NAME_MAX], const char *from)
{
	size_t i;

	memset(to, 0, CTL_NAME_MAX);
	for (i = 0; i < CTL_NAME_MAX - 1 && from[i]; i++)
		to[i] = (unsigned char)from[i] < 0x20 || from[i] == 0x7f ? '?' : from[i];
}

struct acl_subject client_subject(const struct client *client)
{
	return (struct acl_subject){ .uid = client->uid,
				     .gid = client->gid,
				     .groups = client->groups,
				     .group_count = client->group_count };
}

/*
 * The descriptors that are short are busd's: to a client that is a quota, -EMFILE would say that
 * it is out of its own.
 */
static void put_error(struct ctl_error *msg, int error, const char *why)
{
	bool short_of_files = error == EMFILE || error == ENFILE;

	msg->error = short_of_files ? EDQUOT : error;
	snprintf(msg->why, sizeof(msg->why), "%s%s", why,
		 short_of_files
			 ? "; busd has no descriptor left: close what is not needed, or raise its LimitNOFILE"
			 : "");
}

/* An error message to a socket of which nothing else is known. */
static void refuse(int fd, int error, const char *why)
{
	struct ctl_error msg = { .head = { .magic = CTL_MAGIC,
					   .type = CTL_ERROR,
					   .version = CTL_VERSION,
					   .len = sizeof(msg) } };

	put_error(&msg, error, why);
	if (send(fd, &msg, sizeof(msg), MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
		log_debug("a refusal could not be sent: %s", strerror(errno));
	close(fd);
}

static void process_ended(struct busd *busd, struct watch *watch, uint32_t events)
{
	(void)busd;
	(void)events;
	client_doom(BUS_CONTAINER_OF(watch, struct client, process), NULL);
}

struct client *client_new(struct busd *busd)
{
	struct client *client = calloc(1, sizeof(*client));

	if (!client)
		return NULL;
	client->busd = busd;
	client->node = -1;
	client->ctl.fd = client->ev.fd = client->process.fd = -1;
	client->ctl.ready = request_ready;
	client->ev.ready = request_ev_ready;
	client->process.ready = process_ended;
	list_init(&client->handshake_link);
	list_init(&client->doomed_link);
	list_init(&client->bell_link);
	list_init(&client->stalled_link);
	list_init(&client->events);
	list_init(&client->pubs);
	list_init(&client->subs);
	list_append(&busd->clients, &client->link);
	busd->client_count++;
	return client;
}

static struct client *newcomer(struct busd *busd, const struct peer_identity *identity)
{
	struct client *client = client_new(busd);

	if (!client)
		return NULL;
	client->id = busd_new_id(busd);
	client->pid = identity->pid;
	client->uid = identity->uid;
	client->gid = identity->gid;
	client->groups = identity->groups;
	client->group_count = identity->group_count;
	memcpy(client->command, identity->command, sizeof(client->command));
	client->connected_ns = bus_realtime_ns();
	client->deadline_ns = bus_monotonic_ns() + CLIENT_HANDSHAKE_NS;
	list_append(&busd->handshakes, &client->handshake_link);
	return client;
}

void client_accept(struct busd *busd, int fd)
{
	struct peer_identity identity;
	struct client *client;
	struct user *user;
	struct why why;
	int rc = peer_identify(fd, &identity, &why);

	if (rc < 0) {
		log_warning("a connection was refused: %s", why.text);
		refuse(fd, -rc, why.text);
		return;
	}
	user = user_get(busd, identity.uid);
	rc = user ? quota_take_client(&user->account, &why)
		  : because(&why, ENOMEM, "busd is out of memory");
	client = rc < 0 ? NULL : newcomer(busd, &identity);
	if (!client) {
		if (rc == 0) {
			quota_give_back_client(&user->account, true);
			rc = because(&why, ENOMEM, "busd is out of memory");
		}
		if (!user || user_may_log(user))
			log_warning("process %u (%s) was refused: %s", identity.pid,
				    identity.command, why.text);
		if (identity.pidfd >= 0)
			close(identity.pidfd);
		free(identity.groups);
		refuse(fd, -rc, why.text);
		return;
	}
	client->user = user;
	busd->deadlines[TIMER_IDLE] = 0;
	server_set_deadline(busd, TIMER_HANDSHAKE, client->deadline_ns);
	rc = idmap_put(&busd->clients_by_id, client->id, client);
	if (rc == 0)
		rc = server_watch(busd, &client->ctl, fd, EPOLLIN | EPOLLRDHUP);
	else
		close(fd);
	if (rc == 0 && identity.pidfd >= 0)
		rc = server_watch(busd, &client->process, identity.pidfd, EPOLLIN);
	else if (identity.pidfd >= 0)
		close(identity.pidfd);
	if (rc < 0) {
		because(&why, -rc, "busd cannot watch this connection: %s", strerror(-rc));
		client_reply_error(client, CTL_VERSION, 0, -rc, why.text);
		client_doom(client, "%s", why.text);
	}
}

void client_doom(struct client *client, const char *format, ...)
{
	char reason[256] = "";
	va_list args;

	assert(!client_is_self(client));
	if (client->doomed)
		return;
	if (format) {
		va_start(args, format);
		vsnprintf(reason, sizeof(reason), format, args);
		va_end(args);
	}
	if (reason[0] && user_may_log(client->user))
		log_warning("client %s is disconnected: %s", client_label(client), reason);
	else if (!reason[0])
		log_debug("client %s left", client_label(client));
	client->doomed = true;
	list_append(&client->busd->doomed, &client->doomed_link);
}

bool client_has_died(const struct client *client)
{
	struct pollfd process = { .fd = client->process.fd, .events = POLLIN };
	struct pollfd ctl = { .fd = client->ctl.fd, .events = POLLRDHUP };

	return client->doomed ||
	       (process.fd >= 0 && poll(&process, 1, 0) > 0 && process.revents & POLLIN) ||
	       (ctl.fd >= 0 && poll(&ctl, 1, 0) > 0 && ctl.revents & (POLLRDHUP | POLLHUP));
}

static void client_free(struct client *client)
{
	struct busd *busd = client->busd;
	struct client_bell *bell;
	struct event *event;
	struct pub *pub;
	struct sub *sub;

	for_each(pub, &client->pubs, client_link)
		pub_free(pub);
	for_each(sub, &client->subs, client_link)
		sub_free(sub);
	if (client->observe_count)
		busd->observer_count--;
	while (client->observe_count)
		free(client->observed[--client->observe_count]);
	for_each(event, &client->events, link)
		event_cancel(event);
	share_forget(client);
	if (client->place)
		keep_drop(client->id);
	record_client_gone(client);
	while ((bell = client->bells)) {
		client->bells = bell->next;
		segment_unref(bell->seg);
		free(bell);
	}
	client->user->account.in_flight -= client->fds_in_flight;
	if (client->state != CLIENT_NEW)
		user_release_slot(client->user, client->slot);
	if (client->absent)
		busd->absent_count--;
	else
		quota_give_back_client(&client->user->account, client->state != CLIENT_ATTACHED);
	idmap_free(&client->spaces);
	if (client->job && client->job->parked)
		stream_forget_job(client->job);
	else if (client->job)
		alloc_orphan(client->job);
	free(client->held);
	server_unwatch(busd, &client->ctl);
	server_unwatch(busd, &client->ev);
	server_unwatch(busd, &client->process);
	list_remove(&client->link);
	list_remove(&client->handshake_link);
	list_remove(&client->bell_link);
	list_remove(&client->stalled_link);
	idmap_remove(&busd->clients_by_id, client->id);
	busd->client_count--;
	free(client->groups);
	free(client);
}

void client_free_doomed(struct busd *busd)
{
	/* freeing one may doom others (their queues grow), and rings bells */
	while (!list_empty(&busd->doomed)) {
		struct client *client = list_entry(busd->doomed.next, struct client, doomed_link);

		list_remove(&client->doomed_link);
		client_free(client);
	}
	resume_settle(busd);
}

void client_check_handshakes(struct busd *busd, uint64_t now_ns)
{
	struct client *client;

	for_each(client, &busd->handshakes, handshake_link) {
		if (client->doomed)
			continue;
		if (client->deadline_ns > now_ns) {
			server_set_deadline(busd, TIMER_HANDSHAKE, client->deadline_ns);
			return;
		}
		client_doom(client, "it did not introduce itself within 5 s");
	}
}

static void send_reply(struct client *client, const void *msg, const int *fds, int fd_count)
{
	const struct ctl_head *head = msg;
	union {
		struct cmsghdr align;
		char buf[CMSG_SPACE(CTL_MAX_FDS * sizeof(int))];
	} control;
	struct iovec iov = { .iov_base = (void *)(uintptr_t)msg, .iov_len = head->len };
	struct msghdr out = { .msg_iov = &iov, .msg_iovlen = 1 };

	assert(fd_count <= CTL_MAX_FDS);
	if (fd_count > 0) {
		memset(&control, 0, sizeof(control));
		out.msg_control = &control;
		out.msg_controllen = CMSG_SPACE((size_t)fd_count * sizeof(int));
		control.align.cmsg_level = SOL_SOCKET;
		control.align.cmsg_type = SCM_RIGHTS;
		control.align.cmsg_len = CMSG_LEN((size_t)fd_count * sizeof(int));
		memcpy(CMSG_DATA(&control.align), fds, (size_t)fd_count * sizeof(int));
	}
	record_commit(client->busd);
	/* its queue is empty: no request is taken before the last answer was read */
	if (sendmsg(client->ctl.fd, &out, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0)
		return;
	if (errno == EPIPE || errno == ECONNRESET)
		client_doom(client, NULL);
	else
		client_doom(client, "an answer could not be sent: %s", strerror(errno));
}

void client_reply(struct client *client, const void *msg, const int *fds, int fd_count)
{
	if (client->doomed)
		return;
	event_flush(client);
	if (!client->doomed)
		send_reply(client, msg, fds, fd_count);
}

void client_reply_after_events(struct client *client, const void *msg)
{
	const struct ctl_head *head = msg;

	if (client->doomed)
		return;
	client->held = calloc(1, sizeof(*client->held));
	if (!client->held) {
		client_doom(client, "busd is out of memory");
		return;
	}
	assert(head->len <= sizeof(client->held->msg));
	memcpy(&client->held->msg, msg, head->len);
	event_flush(client); /* sends the answer too, where nothing remains */
}

void client_send_held(struct client *client)
{
	struct held_reply *held = client->held;

	client->held = NULL;
	send_reply(client, &held->msg, NULL, 0);
	free(held);
	request_resume(client);
}

void client_reply_error(struct client *client, uint16_t version, uint32_t req, int error,
			const char *why)
{
	struct ctl_error msg = { .head = { .magic = client->state == CLIENT_NEW ? CTL_MAGIC : 0,
					   .type = CTL_ERROR,
					   .version = version,
					   .len = sizeof(msg),
					   .req = req } };

	put_error(&msg, error, why);
	client_reply(client, &msg, NULL, 0);
}

void client_bell_due(struct client *client)
{
	if (!client->doomed && client->state != CLIENT_NEW && list_empty(&client->bell_link))
		list_append(&client->busd->bells_due, &client->bell_link);
}

void client_send_due(struct busd *busd)
{
	struct client *client;

	for_each(client, &busd->bells_due, bell_link)
		event_flush(client);
}

void client_ring_bells(struct busd *busd)
{
	struct client *client;

	client_send_due(busd);
	for_each(client, &busd->bells_due, bell_link) {
		list_remove(&client->bell_link);
		user_ring_bell(client->user, client->slot);
	}
}
