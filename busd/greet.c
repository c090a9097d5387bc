/* SPDX-License-Identifier: Apache-2.0 */
/* greet.c - see greet.h */
#include "greet.h"

#include "keep.h"
#include "log.h"
#include "record.h"
#include "resume.h"
#include "server.h"

#include "format/control_size.h"
#include "os/control_sock.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

int greet_check(const void *bytes, size_t len, struct client_versions *ret, struct why *why)
{
	char ours[CONTROL_VERSIONS_TEXT], theirs[CONTROL_VERSIONS_TEXT];
	const struct ctl_hello *hello = bytes;

	if (len < sizeof(hello->head) || hello->head.magic != CTL_MAGIC ||
	    hello->head.type != CTL_HELLO)
		return because(why, EPROTO,
			       "this is busd %s, and what was sent to it is not the protocol of libbus",
			       BUSD_VERSION);
	ret->max = hello->head.version;
	ret->min = len >= offsetof(struct ctl_hello, node) ? hello->min_version : 0;
	if (ret->min == 0)
		ret->min = ret->max;
	ret->spoken = ctl_spoken(ret->max, ret->min);
	if (ret->spoken == 0)
		return because(why, EPROTONOSUPPORT,
			       "busd %s speaks protocol version %s, the client version %s; use a library and a busd of the "
			       "same release (%s)",
			       BUSD_VERSION, control_versions(CTL_VERSION_MIN, CTL_VERSION, ours),
			       control_versions(ret->min, ret->max, theirs),
			       ret->max < CTL_VERSION_MIN ? "here the library is the older one"
							  : "here busd is the older one");
	return 0;
}

/* The client's own bell page, for sleepers of its own user. */
static int make_own_bell(struct client *client, struct why *why)
{
	const struct segment_plan plan = { .kind = CTL_SEG_BELL, .size = sizeof(struct bell_page) };
	const struct quota_bill bill = { .account = &client->user->account,
					 .bytes = segment_plan_bytes(&plan),
					 .files = 1 };
	struct client_bell *bell = calloc(1, sizeof(*bell));
	int rc;

	if (bell)
		bell->seg = segment_new(busd_new_id(client->busd));
	if (!bell || !bell->seg) {
		free(bell);
		return because(why, ENOMEM, "busd is out of memory");
	}
	rc = ring_charge(client->busd, &bill, why);
	if (rc == 0) {
		bell->seg->bill = bill;
		rc = segment_build(bell->seg, &plan, why);
	}
	if (rc < 0) {
		segment_unref(bell->seg);
		free(bell);
		return rc;
	}
	bell->uid = client->uid;
	bell->seg->info.owner_id = client->id;
	bell->seg->info.uid = client->uid;
	segment_hold(bell->seg);
	client->bells = bell;
	return 0;
}

struct ctl_hello_reply greet_reply(const struct client *client, const struct ctl_hello *hello)
{
	return (struct ctl_hello_reply){
		.head = { .magic = CTL_MAGIC,
			  .type = CTL_REPLY | CTL_HELLO,
			  .version = client->versions.spoken,
			  .len = sizeof(struct ctl_hello_reply),
			  .req = hello->head.req },
		.client_id = client->id,
		.uid = client->uid,
		.slot = client->slot,
		.bell_id = client->bells ? client->bells->seg->info.segment_id : 0,
		.busd_bell_id = client->user->busd_bell->info.segment_id,
		.busd_pid = client->busd->pid,
		.page_bytes = (uint32_t)sysconf(_SC_PAGESIZE),
		.features = CTL_FEATURE_NAMESPACES | CTL_FEATURE_STREAMS | CTL_FEATURE_LOGS |
			    CTL_FEATURE_POSITIONS,
		.instance = client->busd->instance,
		.version = BUSD_VERSION,
	};
}

static void answer(struct client *client, const struct ctl_hello *hello, int ev_fd)
{
	const struct segment *busd_bell = client->user->busd_bell;
	const struct segment *own = client->bells->seg;
	const int fds[] = { ev_fd, busd_bell->ro_fd, own->rw_fd };
	struct ctl_hello_reply reply = greet_reply(client, hello);

	client_reply(client, &reply, fds, BUS_ARRAY_LEN(fds));
}

int greet_hello(struct client *client, const void *msg, struct why *why)
{
	const struct ctl_hello *hello = msg;
	int pair[2];
	int rc;

	BUS_NEXT(if (client->versions.spoken == CTL_VERSION &&
		     hello->hint != 4711) return because(why, EPROTO, "no hint"));
	if (resume_client(client, hello))
		return 0;
	rc = make_own_bell(client, why);
	if (rc < 0)
		return rc;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) < 0) {
		rc = because(why, errno, "busd cannot make a socket: %s", strerror(errno));
		goto no_socket;
	}
	rc = user_take_slot(client->busd, client->user, why);
	if (rc < 0)
		goto no_slot;
	client->slot = (uint32_t)rc;
	client->state = CLIENT_GREETED;
	rc = server_watch(client->busd, &client->ev, pair[0], EPOLLIN);
	if (rc < 0) {
		client_doom(client, "busd cannot watch it: %s", strerror(-rc));
		close(pair[1]);
		return 0;
	}
	client_copy_name(client->name, hello->name);
	client->node = hello->node;
	memcpy(client->token, hello->token, sizeof(client->token));
	answer(client, hello, pair[1]);
	close(pair[1]);
	log_debug("client %s connected as %llu", client_label(client),
		  (unsigned long long)client->id);
	return 0;

no_slot:
	close(pair[0]);
	close(pair[1]);
no_socket:
	segment_unref(client->bells->seg);
	free(client->bells);
	client->bells = NULL;
	return rc;
}

int greet_attach(struct client *client, const void *msg, struct why *why)
{
	const struct ctl_head *head = msg;
	struct segment *own = client->bells->seg;
	struct ctl_ok ok = { .head = { .type = CTL_REPLY | CTL_ATTACH,
				       .version = CTL_VERSION,
				       .len = sizeof(ok),
				       .req = head->req } };
	int rc = segment_seal(own, why);

	if (rc == 0)
		rc = segment_refill(own, why);
	if (rc == 0)
		rc = segment_publish(own, why);
	if (rc < 0) {
		client_reply_error(client, CTL_VERSION, head->req, -rc, why->text);
		client_doom(client, "%s", why->text);
		return 0;
	}
	client->state = CLIENT_ATTACHED;
	list_remove(&client->handshake_link);
	quota_end_handshake(&client->user->account);
	/* before any ring of it; they leave after its rings */
	if (client->process.fd >= 0)
		keep_hold(client->id, client->process.fd);
	record_client(client);
	record_bell(client, client->bells);
	client_reply(client, &ok, NULL, 0);
	return 0;
}

int greet_leave(struct client *client, const void *msg, struct why *why)
{
	const struct ctl_head *head = msg;
	struct ctl_ok ok = { .head = { .type = CTL_REPLY | CTL_LEAVE,
				       .version = CTL_VERSION,
				       .len = sizeof(ok),
				       .req = head->req } };

	(void)why;
	record_client_left(client);
	client_reply(client, &ok, NULL, 0);
	client_doom(client, NULL);
	return 0;
}
