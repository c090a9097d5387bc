/* SPDX-License-Identifier: Apache-2.0 */
/*
 * client.h - one connection and all that goes with it. A client is never freed while it is being
 * served: client_doom() marks it, the loop frees it before it waits again. A doomed client takes
 * no more events, and nothing is sent to it.
 */
#ifndef BUSD_CLIENT_H
#define BUSD_CLIENT_H

#include "busd.h"
#include "segment.h"
#include "user.h"

#define CLIENT_EVENTS_MAX   65536 /* queued for one that does not read: then it is disconnected */
#define CLIENT_PUBS_MAX     16384
#define CLIENT_SUBS_MAX     16384
#define CLIENT_OBSERVE_MAX  16
#define CLIENT_HANDSHAKE_NS UINT64_C(5000000000)

enum client_state { CLIENT_NEW, CLIENT_GREETED, CLIENT_ATTACHED };

/* Of the protocol: what it speaks, and what is spoken with it. */
struct client_versions {
	uint16_t min, max, spoken;
};

/* A bell page of this client's, for the sleepers of one uid. */
struct client_bell {
	struct client_bell *next;
	uint32_t uid;
	struct segment *seg; /* published (ro_fd) once the client said READY */
	uint64_t place;
};

struct job;

struct client {
	struct list link;           /* busd.clients */
	struct list handshake_link; /* busd.handshakes */
	struct list doomed_link, bell_link, stalled_link;
	struct busd *busd;
	uint64_t id;
	enum client_state state;
	struct client_versions versions;
	bool doomed;
	bool absent;   /* of a former worker, and not back yet: it is told nothing now, all then */
	bool left;     /* it said so: nothing of it is to be kept */
	bool resumed;  /* it is back, and has not asked yet */
	bool retrying; /* what it asks now was begun by a former worker */
	uint32_t begun_req; /* the request that was begun last */
	uint64_t token[2];  /* chosen by the client, for coming back */
	struct user *user;
	uint32_t slot; /* from CLIENT_GREETED on */
	uint32_t pid, uid, gid;
	gid_t *groups;
	size_t group_count;
	int32_t node;
	uint64_t connected_ns, deadline_ns;
	char name[CTL_NAME_MAX];
	char command[32];
	struct watch ctl, ev, process; /* process: a pidfd, readable when it has ended */

	struct list events;
	uint32_t event_count;
	uint32_t fds_in_flight; /* descriptors sent since its socket was last seen empty */
	bool ring_when_sent;    /* its bell was rung before all events could be sent */

	struct job *job;         /* a request whose answer needs memory that is being allocated */
	struct held_reply *held; /* an answer that waits until the events before it were sent */

	struct idmap segments; /* id -> struct shared: what it was given */
	struct idmap peers;    /* client id -> struct peer: whose bells it needs */
	struct idmap spaces;   /* namespace id -> how many things it has there */
	struct client_bell *bells;
	struct list pubs, subs;
	uint32_t pub_count, sub_count;
	char *observed[CLIENT_OBSERVE_MAX]; /* patterns */
	uint32_t observe_count;
	/* in the journal */
	uint64_t place, group_places[4], observe_places[CLIENT_OBSERVE_MAX];
};

/* A client without connection: of one that is about to come, or of one that was. NULL: no memory. */
struct client *client_new(struct busd *busd);
/* Takes over fd. Refusals are answered and logged here. */
void client_accept(struct busd *busd, int fd);
/* Ends the connection; the reason is logged ("" or NULL: an ordinary leave). */
void client_doom(struct client *client, const char *format, ...) BUS_PRINTF(2, 3);
/* Has its process ended, or hung up, and the loop has just not come to that? */
bool client_has_died(const struct client *client);
/* Frees all doomed clients and all that was theirs. */
void client_free_doomed(struct busd *busd);
/* The handshake deadline of the oldest newcomer, after those who missed theirs were dropped. */
void client_check_handshakes(struct busd *busd, uint64_t now_ns);

/* `"name" (pid 12, uid 0)` for logs and sentences; valid until the next call but three. */
const char *client_label(const struct client *client);
/* A name that a client gave, for boards, logs and terminals: control characters become '?'. */
void client_copy_name(char to[CTL_NAME_MAX], const char *from);
struct acl_subject client_subject(const struct client *client);

/* The answer to the present request; fds stay the caller's. */
void client_reply(struct client *client, const void *msg, const int *fds, int fd_count);
/* The same for an answer that must not overtake the events queued so far. */
void client_reply_after_events(struct client *client, const void *msg);
void client_reply_error(struct client *client, uint16_t version, uint32_t req, int error,
			const char *why);

/*
 * Its bell rings when client_ring_bells() is called: after the messages, the epoch and the fence.
 */
void client_bell_due(struct client *client);
/* Sends what is queued for those whose bell is due. */
void client_send_due(struct busd *busd);
/* The same, and then rings. */
void client_ring_bells(struct busd *busd);
void client_send_held(struct client *client);

#endif
