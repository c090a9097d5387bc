/* SPDX-License-Identifier: Apache-2.0 */
/*
 * control_proto.h - what libbus and busd say to each other. SOCK_SEQPACKET over UNIX: one message
 * is one packet, at most CTL_MAX bytes and at most CTL_MAX_FDS descriptors. All integers are in the
 * host's byte order (one host).
 *
 * A client has two sockets:
 *   ctl  the connected socket. The client asks, busd answers, one request at a time; an answer is
 *   CTL_REPLY | type or
 *        CTL_ERROR. busd may take long over an answer (large memory), never over another client's.
 *   ev   handed over in the answer to HELLO. busd tells (CTL_EV_*), the client only acknowledges
 *   (CTL_EVC_*). libbus reads
 *        it without ever blocking, from the live path too.
 * What busd sent on ev before it answered on ctl can be read from ev once the answer is there. The
 * answers to PUB_READY, SUB_JOIN and SUB_REJOIN wait until all events that belong to them were
 * sent: a client that waits for an answer reads ev meanwhile, or more than CTL_EV_IN_FLIGHT
 * descriptors never get through. Other answers do not wait for queued events.
 *
 * Every descriptive string is NUL-terminated inside its array; a message whose length, type, string
 * or count is wrong ends the connection (busd) or is an error -EPROTO (libbus).
 *
 * ---- Versions
 *   Libraries and busd are upgraded one after another, so neighbours of different versions meet.
 *   HELLO says which versions the client speaks, from min_version to head.version; the head of the
 *   answer says which one is spoken: the highest that both know. Where there is none, busd answers
 *   -EPROTONOSUPPORT and a sentence with both ranges. A client that comes back to another worker
 *   says it again: what is spoken may be another version then.
 *
 *   For ever, whatever the version, stay as they are: bytes 0 to 15 of each message (struct
 *   ctl_head), bytes 16 to 19 of HELLO (flags, min_version; 0 there: only head.version), and
 *   CTL_ERROR up to the end of `why`.
 *
 *   Messages grow, and only at their tail. Zero in a new field means "not said" or the default. Who
 *   gets a shorter message than it knows takes the rest for zero; how short it may be is how long
 *   it was in CTL_VERSION_MIN (control_size.h). Who gets a longer one takes it if what it does not
 *   know is zero, and refuses it otherwise: a request by -E2BIG, an answer or event as -EPROTO. So
 *   a field that the other side has to know is simply set, and one that it may do without is set
 *   only where the version that is spoken has it. HELLO is said before that is known: what it says
 *   beyond busd's version is not looked at, and the version in the answer tells the client so.
 *   Padding is looked at by nobody and never becomes a field. The same holds for flags: an unknown
 *   one is refused. A new type of message, or an old one that means something else, is a new
 *   CTL_VERSION, and is sent only where that is spoken; what cannot be had in the old one any more
 *   raises CTL_VERSION_MIN. A struct inside of messages (settings, geometry) does not grow.
 *
 * ---- Attaching
 *   HELLO      -> HELLO reply + fds { ev, busd's bell page (ro), own bell page for the own user
 *                 (rw) }
 *   ATTACH     -> the client has mapped its bell page and closed the descriptor: busd seals it.
 *                 From now on the client may do anything.
 *
 *   LEAVE      -> the client closes: nothing of it is kept, not even for a client that comes back.
 *                 Hanging up says the same to a worker that lives.
 *
 * ---- Coming back
 *   busd's worker may die; its keeper starts another one, which knows what the dead one knew. The
 *   client reads ev to its end, connects anew and says HELLO with the flag CTL_HELLO_RESUME and the
 *   token of its first HELLO. The answer (resumed 1) has fds { ev, busd's bell page (ro) }, and the
 *   client is attached: all ids, mappings and bell words are as before. On ev it is told everything
 *   once more, between CTL_EV_RESUME (end 0) and CTL_EV_RESUME (end 1): segments, rings, for each
 *   publisher all its members by CTL_MEMBER_ADD of number 0 and then CTL_MEMBER_ALL with the
 *   present number. It ignores what it knows; what it was not told again is gone. A request that
 *   was not answered is sent again with the same number, before any other: it is not done twice.
 *   resumed 0: this busd does not know the token; the connection is a new one (ATTACH follows).
 *
 * ---- Another busd
 *   Where all of busd died, keeper included, the next one knows nobody: it answers resumed 0 with
 *   another `instance`. Publishers and subscriptions are opened there anew, each with its `line`:
 *   the number that it had when it was opened first (pub_id, sub_id; numbers of one busd begin at a
 *   random one, so that those of two do not meet). busd passes the line on, in CTL_EV_RING and
 *   CTL_EV_MEMBER, with the uid that the kernel attests, and does nothing else with it: a reader
 *   thereby knows which ring the new one follows, a publisher which of its readers has come back.
 *   Until all have, the publisher writes on in the old ring; so the new one may begin later than
 *   its first_seq (ring_writer_page.begin_seq).
 *
 * ---- A publisher
 *   PUB_OPEN   -> PUB reply + fds { ring (rw) }; the topic is created where it does not exist.
 *                 Before it: CTL_EV_SEGMENT for the topic's board.
 *   PUB_READY  -> the client has mapped the ring and closed the descriptor. busd seals, checks,
 *                 allocates again, puts the ring on the board, gives each matching active
 *                 subscription an entry at geometry.first_seq and a CTL_EV_RING (with the segments
 *                 it needs before it), tells the publisher of each of them by CTL_EV_MEMBER, rings
 *                 the bells of those subscribers, and only then answers. The answer's `number` is
 *                 the membership number that the publisher starts from.
 *   PUB_GROW   -> like PUB_OPEN, a successor ring with first_seq = the caller's next seq; then
 *                 PUB_READY; busd stores next_ring of the old ring before it answers PUB_READY. The
 *                 publisher then stores final_seq in the old ring.
 *   PUB_CLOSE  -> the ring is closed (state BOARD_RING_CLOSED), readers drain it.
 *   EVICT      -> asked while blocked: busd looks at the slowest gating reader of this ring itself.
 *                 See below. Who is evicted loses its place at this ring only.
 *   EVC_LYING  -> (on ev) the cursor of a reader of this ring ran backwards or ahead: it is evicted.
 *
 * ---- A subscription
 *   SUB_OPEN   -> SUB reply + fds { cursor segment (rw) }. Before the answer: CTL_EV_SEGMENT and
 *                 CTL_EV_RING for each ring that matches (closed ones too where start asks for the
 *                 past). The subscription does not gate yet.
 *   SUB_JOIN   -> the client has mapped, closed, and written and tagged its cursors (join, step 1).
 *                 busd seals the cursor segment, activates the subscription on all its rings:
 *                 numbered CTL_EV_MEMBER to each publisher, epoch, fence F2, bells, then the answer
 *                 (step 2). Rings that appeared after SUB_OPEN were announced by CTL_EV_RING and
 *                 are activated with a start that busd reads from their head.
 *   SUB_REJOIN -> after an eviction: the same for the rings of one topic. The cursors are written
 *                 again before.
 *   SUB_CLOSE  -> removed everywhere; publishers are told and their bells rung.
 *
 * ---- A stream, a durable subscription
 *   See control_log.h.
 *
 * ---- Membership
 *   A change of who gates or who must be woken on a topic gets a number = the topic's epoch + 1.
 *   CTL_EV_MEMBER messages with that number go to each publisher of the topic, an OP_NONE one where
 *   nothing changes for it; then board.epoch = number, fence, bells of the topic's publishers.
 *   Where a message could not be sent now (a client that does not read), it stays queued in order:
 *   that publisher sees an epoch without a message and blocks itself (unknown gate).
 *
 * ---- Segments
 *   CTL_EV_SEGMENT hands over a descriptor to be mapped read-only (or, flag CTL_SEG_OWN,
 *   read-write, to be answered by CTL_EVC_SEGMENT_READY on ev). A client gets each segment once;
 *   CTL_EV_SEGMENT_GONE says that busd counts it as returned. A bell page that is still missing is
 *   asked for with CTL_EVC_WANT_BELL and arrives as CTL_EV_SEGMENT with CTL_SEG_OWN; until then its
 *   sleepers sleep in short slices. The page of the client itself (HELLO) is not sent again where
 *   it is its own peer; its own rings and cursors are, as a second, read-only mapping.
 *
 * ---- Flow control
 *   busd keeps at most CTL_EV_IN_FLIGHT unread descriptors to one client and queues the rest; the
 *   client sends CTL_EVC_ACK after it has read messages with descriptors. A message whose
 *   descriptor was lost (MSG_CTRUNC, EMFILE) is answered by CTL_EVC_RESEND with the segment's id.
 */
#ifndef BUS_CONTROL_PROTO_H
#define BUS_CONTROL_PROTO_H

#include "base/base.h"
#include "format/board_layout.h"
#include "format/control_head.h"
#include "format/control_log.h"
#include "format/ring_layout.h"

struct ctl_hello {
	struct ctl_head head; /* version: the highest that the client speaks */
	uint16_t flags;       /* CTL_HELLO_* */
	uint16_t min_version; /* the lowest; 0: head.version is the only one */
	int32_t node;         /* NUMA node on which the caller runs, -1 unknown */
	uint64_t token[2];    /* random; 0: this client does not come back */
	char name[CTL_NAME_MAX];
	BUS_NEXT(uint64_t hint;)
};
#define CTL_FEATURE_NAMESPACES 1u
#define CTL_FEATURE_STREAMS    2u
#define CTL_FEATURE_LOGS       4u /* LOG_SEGMENT */
#define CTL_FEATURE_POSITIONS  8u
#define CTL_HELLO_RESUME       1u /* it was attached, by this token, and the worker died */

struct ctl_hello_reply {
	struct ctl_head head; /* version: the one to speak */
	uint64_t client_id;   /* never reused */
	uint32_t uid;         /* as the kernel attests it */
	uint32_t slot;        /* word of this client in bell pages made for its user */
	uint64_t bell_id;     /* segment id of its own bell page (fd 2) */
	uint64_t busd_bell_id;
	uint32_t busd_pid;
	uint32_t page_bytes; /* run-time page size */
	uint32_t resumed;    /* 1: it is attached as before; 0: everything is to be opened anew */
	uint32_t features;   /* CTL_FEATURE_*: requests that an older busd of this version lacks */
	char version[32];    /* of busd, for people */
	uint32_t instance; /* of busd, random and not 0: another one knows nothing of the former */
	uint32_t pad;
};

/*
 * Answers without content: TOPIC_CREATE, TOPIC_REMOVE, PUB_CLOSE, SUB_CLOSE, SUB_JOIN, SUB_REJOIN,
 * ATTACH, UNOBSERVE, LEAVE, SUB_SETTLE, POSITION_SET.
 */
struct ctl_ok {
	struct ctl_head head;
	/*
	 * TOPIC_CREATE: 1 made now, 0 was there with the same settings; SUB_SETTLE: messages below are
	 * acknowledged on disk, + 1
	 */
	uint64_t value;
};

/* A topic's settings; zero means the default (TOPIC_CREATE, PUB_OPEN) */
struct ctl_topic_settings {
	uint32_t slots;
	int32_t numa;       /* BUS_NUMA_* of bus.h: 0 auto, n + 1 node n, -1 interleaved */
	uint64_t bytes;     /* payload area of a new ring */
	uint64_t max_bytes; /* growth limit */
	uint32_t flags;     /* CTL_TOPIC_* */
	uint32_t pad;
};
#define CTL_TOPIC_HUGE        1u
#define CTL_TOPIC_HUGE_OR_NOT 2u  /* ordinary pages where the pool is short */
#define CTL_TOPIC_EXCLUSIVE   4u  /* TOPIC_CREATE: -EEXIST where it exists, even if equal */
#define CTL_TOPIC_FORCE       8u  /* TOPIC_REMOVE: even with clients; they see their rings close */
#define CTL_TOPIC_STREAM      16u /* a stream; PUB_OPEN: -ENOENT where it is none */

struct ctl_topic_create {
	struct ctl_head head;
	struct ctl_topic_settings settings;
	char topic[CTL_TOPIC_MAX];
	/* of a stream's ring; 0: the default */
	uint64_t stream_bytes;
	uint32_t stream_slots;
	uint32_t pad;
	struct ctl_log_settings log;
};

struct ctl_topic_remove {
	struct ctl_head head;
	uint32_t flags;
	uint32_t pad;
	char topic[CTL_TOPIC_MAX];
};

/*
 * TOPIC_NEXT: the first topic that matches the pattern and sorts (strcmp) after `after`. -ENOENT:
 * no more.
 */
struct ctl_topic_next {
	struct ctl_head head;
	char pattern[CTL_TOPIC_MAX];
	char after[CTL_TOPIC_MAX];
};

struct ctl_topic_next_reply {
	struct ctl_head head;
	struct ctl_topic_settings settings; /* with defaults filled in */
	uint64_t topic_id;
	uint64_t created_ns;
	uint64_t memory_bytes; /* of its rings and board */
	uint32_t explicit_;
	uint32_t publishers, subscribers, rings; /* rings: open and kept */
	char topic[CTL_TOPIC_MAX];
	/* of a stream's ring, where settings.flags has CTL_TOPIC_STREAM */
	uint64_t stream_bytes;
	uint32_t stream_slots;
	uint32_t pad;
	struct ctl_log_settings log;
	struct ctl_log_info disk; /* of one that is on disk */
};

struct ctl_pub_open {
	struct ctl_head head;
	struct ctl_topic_settings settings; /* for a new topic, and for this ring where set */
	int32_t node;
	uint32_t pad;
	char topic[CTL_TOPIC_MAX];
	char name[CTL_NAME_MAX];
	uint64_t line;      /* 0, or what it continues: see "Another busd" */
	uint64_t first_seq; /* number of the new ring's first message, or of an earlier one */
	/* CTL_PUB_*; 0 where busd has not said CTL_FEATURE_STREAMS */
	uint32_t flags;
	uint32_t pad2;
	BUS_NEXT(uint64_t label;)
};
/* the program chose the name: on a stream, who comes under it again goes on where it stood */
#define CTL_PUB_NAMED 1u

struct ctl_pub_grow {
	struct ctl_head head;
	uint64_t pub_id;
	uint64_t next_seq; /* the caller's next sequence number */
	/* one message of so many bytes, head included, must fit into a quarter */
	uint64_t need_bytes;
	int32_t node;
	uint32_t pad;
};

/* Answer to PUB_OPEN and PUB_GROW; fd 0: the ring, read-write, sealed SHRINK | GROW. */
struct ctl_pub_reply {
	struct ctl_head head;
	uint64_t topic_id;
	uint64_t pub_id;
	uint64_t ring_id;
	uint64_t segment_id;
	uint64_t board_id;    /* segment id of the board */
	uint32_t board_index; /* of the ring on the board */
	uint32_t pad;
	uint64_t max_bytes; /* growth limit */
	struct ring_geometry geometry;
	/* of a stream: its entry among the board's sources, + 1; 0: this is no stream */
	uint32_t source;
	uint32_t pad2;
	BUS_NEXT(uint64_t label;)
};

struct ctl_pub_ready {
	struct ctl_head head;
	uint64_t pub_id;
	uint64_t ring_id;
};

struct ctl_pub_ready_reply {
	struct ctl_head head;
	uint64_t number; /* of the membership sent before this answer */
};

struct ctl_pub_close {
	struct ctl_head head;
	uint64_t pub_id;
};

/*
 * EVICT: "I am blocked on ring_id; has its slowest gating reader stood still for grace_ns?" busd
 * looks itself. The first call notes the slowest reader's cursor; a later one evicts it if at least
 * grace_ns have passed since that look (busd raises grace_ns to its configured floor) and the
 * cursor is still the same and still at least `slots` or `bytes` behind... the ring is full by its
 * own reading.
 */
struct ctl_evict {
	struct ctl_head head;
	uint64_t pub_id;
	uint64_t ring_id;
	uint64_t grace_ns;
};

struct ctl_evict_reply {
	struct ctl_head head;
	uint64_t evicted_sub; /* 0: nobody (yet) */
	uint64_t again_ns;    /* ask again after this long; 0: nobody gates */
};

enum ctl_start {
	CTL_START_NOW = 0,
	CTL_START_OLDEST = 1,
	CTL_START_LAST = 2,
	CTL_START_SEQ = 3, /* of one stream */
};

struct ctl_sub_open {
	struct ctl_head head;
	uint32_t flags;   /* BOARD_SUB_LOSSY */
	uint32_t start;   /* enum ctl_start: which closed rings are wanted */
	uint32_t entries; /* of the cursor segment, 0: default */
	int32_t node;
	char pattern[CTL_TOPIC_MAX];
	char name[CTL_NAME_MAX];
	uint64_t line;              /* 0, or what it continues: see "Another busd" */
	char durable[CTL_NAME_MAX]; /* "": it is none */
};

/* fd 0: the cursor segment, read-write. */
struct ctl_sub_reply {
	struct ctl_head head;
	uint64_t sub_id;
	uint64_t segment_id;
	uint64_t size;
	uint32_t entries;
	/* CTL_EV_RING messages sent before this answer (or queued: wait for so many) */
	uint32_t rings;
	uint64_t position; /* durable: the first message that is not acknowledged, + 1; 0: it is new */
};

struct ctl_sub_join {
	struct ctl_head head;
	uint64_t sub_id;
	uint64_t topic_id; /* SUB_REJOIN: the topic; SUB_JOIN: 0 */
};

struct ctl_sub_close {
	struct ctl_head head;
	uint64_t sub_id;
};

/*
 * OBSERVE: read-only CTL_EV_SEGMENT of boards, rings and cursor segments of all topics that match,
 * now and as they appear, until UNOBSERVE. Observers gate nothing and are not on any board. The
 * answer (struct ctl_ok, value: segments sent or queued so far) follows the segments that exist.
 */
struct ctl_observe {
	struct ctl_head head;
	char pattern[CTL_TOPIC_MAX];
};

/* CLIENT_NEXT: the client with the least id above `after`. -ENOENT: no more. */
struct ctl_client_next {
	struct ctl_head head;
	uint64_t after;
};

struct ctl_client_next_reply {
	struct ctl_head head;
	uint64_t client_id;
	uint64_t connected_ns; /* Unix */
	uint64_t memory_bytes; /* of the segments it writes */
	uint64_t queued;       /* events that it has not taken yet */
	uint32_t pid, uid, gid;
	uint32_t publishers, subscriptions;
	int32_t node;
	char name[CTL_NAME_MAX];
	char command[32]; /* /proc/PID/comm at connect time */
};

/*
 * NAMESPACE_NEXT: the first namespace that sorts (strcmp) after `after` and that the caller may see:
 * its owner those that are his, who runs busd all. -ENOENT: no more. Only where the answer to HELLO
 * has CTL_FEATURE_NAMESPACES.
 */
struct ctl_namespace_next {
	struct ctl_head head;
	char after[CTL_TOPIC_MAX];
};

enum ctl_owner { CTL_OWNER_NONE = 0, CTL_OWNER_USER = 1, CTL_OWNER_GROUP = 2 };

/* Limits: 0: none. */
struct ctl_namespace_next_reply {
	struct ctl_head head;
	uint64_t memory, memory_limit;
	uint32_t topics, topics_limit;
	uint32_t rings, rings_limit;
	uint32_t clients, clients_limit;
	uint32_t owner; /* enum ctl_owner */
	uint32_t owner_id;
	uint32_t configured; /* it stands in the configuration */
	uint32_t pad;
	char name[CTL_TOPIC_MAX];
};

/* INFO: busd itself. The request is a bare head. */
struct ctl_info_reply {
	struct ctl_head head;
	uint64_t started_ns;
	uint64_t memory_bytes, memory_limit;
	uint64_t topics, clients, rings, subscriptions;
	uint64_t evictions;
	uint64_t max_message_bytes;
	uint32_t pid, uid;
	uint32_t nodes;    /* NUMA nodes that busd may use */
	uint32_t private_; /* started by a client, leaves when idle */
	char version[32];
	char socket[108];
	uint32_t pad;
	BUS_NEXT(uint64_t labels;)
};

/* ---- events: busd to client ---- */

/*
 * What the names of segments' memfds begin with: busd.PID.KIND.ID, PID of busd's keeper. For people
 * who look at /proc/PID/maps, and for who looks when no busd answers: a name says nothing of whose
 * it is, boards and their inode numbers do.
 */
#define SHM_NAME "busd."

enum ctl_segment_kind {
	CTL_SEG_BOARD = 1,
	CTL_SEG_RING = 2,
	CTL_SEG_CURSOR = 3,
	CTL_SEG_BELL = 4,
};
#define CTL_SEG_OWN \
	1u /* flag: mapped read-write by the receiver, to be answered by SEGMENT_READY */

/* fd 0. */
struct ctl_ev_segment {
	struct ctl_head head;
	uint64_t segment_id; /* never reused */
	uint32_t kind;       /* enum ctl_segment_kind */
	uint32_t flags;
	uint64_t size;
	uint64_t topic_id; /* BOARD, RING */
	uint64_t owner_id; /* RING: ring_id; CURSOR: sub_id; BELL: client_id of the waker */
	uint32_t uid;      /* BELL: of the sleepers it is for */
	uint32_t entries;  /* CURSOR */
	struct ring_geometry geometry; /* RING */
};

struct ctl_ev_segment_gone {
	struct ctl_head head;
	uint64_t segment_id;
};

enum ctl_member_op {
	CTL_MEMBER_NONE = 0,
	CTL_MEMBER_ADD = 1,
	CTL_MEMBER_REMOVE = 2,
	CTL_MEMBER_ALL = 3, /* those told since EV_RESUME are all that there are */
};
#define CTL_MEMBER_GATES 1u /* a reliable subscriber: the ring waits for it */

/*
 * To a publisher. ADD of a sub_id that is there already replaces it (a lossy one that was evicted
 * gates no more).
 */
struct ctl_ev_member {
	struct ctl_head head;
	uint64_t pub_id;
	uint64_t ring_id; /* ADD: the ring that `entry` and `start` are for */
	uint64_t number;
	uint32_t op; /* enum ctl_member_op */
	uint32_t flags;
	uint64_t sub_id;
	uint64_t segment_id; /* of its cursor segment */
	uint64_t start;      /* gates from here until its entry carries ring_id */
	uint32_t entry;
	uint32_t bell_word; /* in the bell page that this publisher's process has for uid */
	uint64_t client_id; /* of the subscriber: its bell page wakes this publisher when blocked */
	uint32_t uid;
	uint32_t pad;
	uint64_t line; /* as the subscription says it: to be believed of its uid only */
};

/* To a subscription: one more ring to read. Precedes the first message of the ring. */
struct ctl_ev_ring {
	struct ctl_head head;
	uint64_t sub_id;
	uint64_t topic_id;
	uint64_t ring_id;
	uint64_t segment_id;
	uint64_t board_id;
	uint64_t prev_ring; /* read this one to its end first; 0 none */
	uint64_t client_id; /* of the publisher: its bell page wakes us */
	uint64_t pub_id;
	uint32_t board_index; /* of the ring */
	uint32_t sub_index;   /* of this subscription on that board */
	uint32_t entry;       /* in the cursor segment */
	uint32_t flags;       /* CTL_RING_* */
	uint64_t start;       /* first sequence number to read; FRESH rings only */
	uint32_t pid, uid;    /* of the publisher */
	/* of the publisher, in the bell page that this subscriber's process has for `uid` */
	uint32_t bell_word;
	uint32_t pad;
	char topic[CTL_TOPIC_MAX];
	char name[CTL_NAME_MAX]; /* of the publisher */
	uint64_t line;           /* as the publisher says it: to be believed of its uid only */
	BUS_NEXT(uint64_t label;)
};
#define CTL_RING_FRESH  1u /* attached after the subscription was active: read it from `start` */
#define CTL_RING_CLOSED 2u /* its publisher has gone: nothing gates; read what is there */
/*
 * Not attached: all entries of the cursor segment are in use. Only the ids and names are set. Sent
 * for the first ring that found none; it comes as an ordinary one when an entry is free again.
 */
#define CTL_RING_STARVED 4u
#define CTL_RING_KNOWN   (CTL_RING_FRESH | CTL_RING_CLOSED | CTL_RING_STARVED)

/* The ring was freed (a reader that was not done is told why by its lost count). */
struct ctl_ev_ring_gone {
	struct ctl_head head;
	uint64_t sub_id;
	uint64_t ring_id;
};

/* busd leaves in order. Mappings stay valid; no new topics or peers until a busd is found again. */
struct ctl_ev_bye {
	struct ctl_head head;
};

/* Around all that is told again to a client that came back. */
struct ctl_ev_resume {
	struct ctl_head head;
	uint32_t end; /* 0: it begins, 1: that was all */
	uint32_t pad;
};

/* ---- acknowledgements: client to busd on ev ---- */

struct ctl_evc {
	struct ctl_head head;
	uint64_t id; /* SEGMENT_READY, RESEND: segment_id; WANT_BELL: uid; RING_DONE, LYING: ring_id */
	uint64_t value; /* ACK: messages read; RING_DONE, LYING: sub_id */
};

static_assert(offsetof(struct ctl_hello, flags) == 16 && offsetof(struct ctl_hello, min_version) == 18,
	      "these bytes stay for ever");
static_assert(sizeof(struct ctl_topic_next) <= CTL_MAX, "topic_next");
static_assert(sizeof(struct ctl_topic_next_reply) <= CTL_MAX, "topic_next_reply");
static_assert(sizeof(struct ctl_pub_open) <= CTL_MAX, "pub_open");
static_assert(sizeof(struct ctl_sub_open) <= CTL_MAX, "sub_open");
static_assert(sizeof(struct ctl_namespace_next_reply) <= CTL_MAX, "namespace_next_reply");
static_assert(sizeof(struct ctl_ev_ring) <= CTL_MAX, "ev_ring");

#endif
