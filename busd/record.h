/* SPDX-License-Identifier: Apache-2.0 */
/*
 * record.h - what of the registry stands in the journal, and in which form. Each object knows its
 * place there; record_X() is called after each change of what the record says of it, and before
 * the change is committed. restore.c reads them.
 *
 * Objects name each other by number. What follows from other things is not recorded: accounts,
 * entries on boards and in cursor segments, who was given which segment.
 *
 * A worker is replaced by one of another version, and that by the former again, so records grow as
 * messages do (control_proto.h): at their tail only, zero in a new field is as if it were not there,
 * padding never becomes a field, what stands inside of others (record_segment, settings, geometry,
 * record_busd's calibrator apart, which is last) does not grow. A worker that finds something that it
 * does not know, of a kind or behind the end of a record, leaves the journal as it is and says so:
 * then the former program goes on (record_check). What means something else from now on is a new
 * kind of record, or a new JOURNAL_VERSION.
 */
#ifndef BUSD_RECORD_H
#define BUSD_RECORD_H

#include "registry.h"

enum record_kind {
	RECORD_BUSD = 1,
	RECORD_USER,
	RECORD_TOPIC,
	RECORD_CLIENT,
	RECORD_GROUPS,
	RECORD_OBSERVE,
	RECORD_BELL,
	RECORD_PUB,
	RECORD_RING,
	RECORD_SUB,
	RECORD_MEMBER,
	RECORD_READER,
	RECORD_KIND_COUNT,
};

struct record_segment {
	uint64_t id, size, charged_bytes;
	uint32_t kind, entries;
	uint32_t charged; /* 1: to charged_uid */
	uint32_t charged_uid;
	uint32_t published; /* sealed, and seen by others; RECORD_OWN: and busd writes it */
	uint32_t page, made_seals, huge_refused, files, pad;
	struct ring_geometry geometry;
	uint32_t node_pages[BOARD_NODES];
};

/* Of a ring or of cursors: only with a stream, whose record no older version takes. */
#define RECORD_OWN 2

struct record_busd {
	uint64_t started_ns, evictions;
	uint32_t instance, pad;
	struct calibrator calibrator;
};

/* A user who has busd's bell page. */
struct record_user {
	uint32_t uid, pad;
	struct record_segment bell;
};

struct record_topic {
	uint64_t id, created_ns, epoch, made_by;
	struct ctl_topic_settings settings;
	uint32_t explicit_, removed, owed, uid, made_req;
	int32_t first_node;
	struct record_segment board;
	char name[CTL_TOPIC_MAX];
	/* of a stream; its ring belongs to the publisher of client CTL_CLIENT_BUSD */
	uint64_t stream_bytes; /* 0: it is none */
	uint32_t stream_slots;
	uint32_t self_slot; /* of busd in bell pages */
	uint8_t uuid[LOG_UUID_BYTES];
	struct ctl_log_settings log;
};

struct record_client {
	uint64_t id, connected_ns;
	uint64_t token[2];
	uint32_t slot, pid, uid, gid, begun_req, left;
	int32_t node;
	uint32_t pad;
	char name[CTL_NAME_MAX];
	char command[32];
	uint16_t version_max, version_min; /* of the protocol, that its library speaks */
	uint32_t pad2;
};

#define RECORD_GROUPS_MAX 64
struct record_groups {
	uint64_t client_id;
	uint32_t count, pad;
	uint32_t gid[RECORD_GROUPS_MAX];
};

struct record_observe {
	uint64_t client_id;
	char pattern[CTL_TOPIC_MAX];
};

struct record_bell {
	uint64_t client_id;
	uint32_t uid, pad;
	struct record_segment seg;
};

struct record_pub {
	uint64_t id, client_id, topic_id;
	uint64_t ring_id, pending_id; /* 0: none */
	uint32_t req, pad;
	uint64_t line;
	struct ctl_topic_settings settings;
	char name[CTL_NAME_MAX];
	uint32_t source; /* of a stream, + 1 */
	uint32_t pad2;
	BUS_NEXT(uint64_t label;)
};

struct record_ring {
	uint64_t id, topic_id, open_pub_id; /* 0: closed */
	uint64_t next_id, prev_id;
	uint64_t opened_ns, closed_ns;
	uint64_t client_id, pub_id, line;
	uint32_t board_index, on_board, succeeds, req;
	uint32_t pid, uid;
	struct record_segment seg;
	char name[CTL_NAME_MAX];
	uint32_t source; /* of a stream, + 1 */
	uint32_t pad2;
	BUS_NEXT(uint64_t label;)
};

struct record_sub {
	uint64_t id, client_id, opened_ns, line;
	uint32_t active, starved, flags, start, entries, req;
	int32_t node;
	uint32_t pad;
	struct record_segment seg;
	char pattern[CTL_TOPIC_MAX];
	char name[CTL_NAME_MAX];
	char durable[CTL_NAME_MAX]; /* "": it is none */
};

struct record_member {
	uint64_t topic_id, sub_id, evictions;
	uint32_t board_index, has_board;
};

struct record_reader {
	uint64_t ring_id, sub_id, start;
	uint32_t entry, open, told, evicted, flags, pad;
};

/*
 * Does this version know all that the former worker's journal says, and speak with all clients in it?
 * 0, or -errno and a sentence; nothing has been changed then.
 */
int record_check(const struct busd *busd, struct why *why);
/* Any record, as restore.c gets it. */
union record_body {
	struct record_user user;
	struct record_topic topic;
	struct record_client client;
	struct record_groups groups;
	struct record_observe observe;
	struct record_bell bell;
	struct record_pub pub;
	struct record_ring ring;
	struct record_sub sub;
	struct record_member member;
	struct record_reader reader;
	struct record_busd busd;
};

void record_busd(struct busd *busd);
void record_user(struct busd *busd, struct user *user);
void record_topic(struct topic *topic);
void record_client(struct client *client);
void record_observe(struct client *client, uint32_t index);
void record_bell(struct client *client, struct client_bell *bell);
void record_pub(struct pub *pub);
void record_ring(struct ring *ring);
void record_sub(struct sub *sub);
void record_member(struct member *member);
void record_reader(struct reader *reader);

/* The client and what is recorded beside it; its pubs and subs are their own matter. */
void record_client_gone(struct client *client);
void record_unobserve(struct client *client);
/* It said that it leaves: a worker that comes now is not to wait for it. */
void record_client_left(struct client *client);

/* Nobody hears of what was not committed: before anything is sent. */
static inline void record_commit(struct busd *busd)
{
	journal_commit(&busd->journal);
}

#endif
