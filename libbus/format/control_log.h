/* SPDX-License-Identifier: Apache-2.0 */
/*
 * control_log.h - what libbus and busd say to each other of streams, of their logs, and of durable subscriptions. Part
 * of control_proto.h, whose rules hold here.
 *
 * ---- A stream
 *   TOPIC_CREATE with CTL_TOPIC_STREAM. Its publishers' rings are read by busd alone, which is a reliable
 *   member of each (client_id CTL_CLIENT_BUSD), and which copies them into one ring of its own
 *   (features RING_FEATURE_STREAM): the only one that its subscriptions are told of. It waits for
 *   none of them, so there is no EVICT from it. PUB_OPEN of a name that was there before is answered
 *   once the former ring is read to its end, and begins at the number behind it. A library that
 *   knows nothing of streams meets a board, or a ring, of features that it does not know, and says so.
 *
 *   LOG_SEGMENT hands over a file of the stream's log, O_RDONLY, to who may subscribe: what has left the
 *   ring is read there, by pread, and busd is not asked again until the file ends. It is valid below
 *   what the next file's header says (prev_end); below `written` all is in the files. One that
 *   retention removes stays readable to who has it open.
 *
 * ---- A durable subscription
 *   SUB_OPEN with a name, on one stream on disk. The answer says where the name stands; nowhere: the
 *   subscription begins as it likes. It stores in its cursor segment (acked) up to where it has done with
 *   the messages, and busd takes that from there. SUB_SETTLE is answered once what acked said is on
 *   disk, or after within_ns, a second at most: the answer's value says up to where that is, + 1. One that is new asks
 *   so before its bus_sub_open() returns. POSITION_NEXT and POSITION_SET show and change where names
 *   stand that nobody holds. Only where HELLO's answer has CTL_FEATURE_POSITIONS.
 */
#ifndef BUS_CONTROL_LOG_H
#define BUS_CONTROL_LOG_H

#include "format/control_head.h"

/* How a stream is kept. Zeros: by default */
struct ctl_log_settings {
	uint32_t sync;         /* enum ctl_sync */
	uint32_t on_full;      /* enum ctl_on_full */
	uint64_t interval_ns;  /* CTL_SYNC_INTERVAL */
	uint64_t max_age_ns;   /* 0: no limit, each of them */
	uint64_t max_bytes;    /* of segment files */
	uint64_t max_messages; /* so many at least are kept */
};

/* What becomes of a message that the stream's ring has no room for, because the disk does not take what is in it. */
enum ctl_on_full {
	CTL_ON_FULL_BLOCK = 0, /* it stays in its publisher's ring */
	CTL_ON_FULL_DROP = 1,  /* it is dropped, and counted */
};

enum ctl_sync {
	CTL_SYNC_DEFAULT = 0,
	CTL_SYNC_NONE = 1,     /* the kernel writes when it likes */
	CTL_SYNC_INTERVAL = 2, /* synced every interval_ns */
	CTL_SYNC_BATCH = 3,    /* as soon as the sync before is over: the default */
	CTL_SYNC_MEMORY = 4,   /* not on disk */
};

struct ctl_log_info {
	uint64_t head_seq, durable_seq, spilled_seq, oldest_seq;
	uint64_t disk_bytes, segments, lag_bytes;
	uint64_t errors, full, lost, dropped;
	uint32_t state; /* enum board_log_state */
	uint32_t pad;
	char io[16];      /* "io_uring" or "threads" */
	char io_why[160]; /* why it is not io_uring; "" */
	char why[200];    /* what is wrong, or was last */
};

/*
 * LOG_SEGMENT: of a stream on disk, the last segment that begins at or below number seq, else the first one.
 * -ENOENT: no such stream, or no right to subscribe to it: who has none learns nothing; -EOPNOTSUPP: it is
 * not on disk. Only where the answer to HELLO has CTL_FEATURE_LOGS.
 */
struct ctl_log_segment {
	struct ctl_head head;
	uint64_t seq;
	char topic[CTL_TOPIC_MAX];
};

/* fd 0: the segment, O_RDONLY; none where there is none yet (segments 0), or it cannot be opened. */
struct ctl_log_segment_reply {
	struct ctl_head head;
	uint8_t uuid[16];     /* of the stream */
	uint64_t base_seq;    /* of the segment that is handed over */
	uint64_t next_seq;    /* base_seq of the one behind it; 0: there is none */
	uint64_t oldest_seq;  /* base_seq of the first one */
	uint64_t written_seq; /* messages below it are in the segments */
	uint64_t durable_seq; /* and these on disk */
	uint64_t head_seq;    /* of the next message */
	uint64_t disk_bytes;
	uint32_t segments;
	uint32_t pad;
};

struct ctl_sub_settle {
	struct ctl_head head;
	uint64_t sub_id;
	uint64_t within_ns; /* + 1: how long the disk is waited for, at most a second; 0: a second */
};

/*
 * POSITION_NEXT: the first durable subscription of a stream that sorts (strcmp) after `after`. A name
 * that is empty in the answer: no more.
 */
struct ctl_position_next {
	struct ctl_head head;
	char topic[CTL_TOPIC_MAX];
	char after[CTL_NAME_MAX];
};

struct ctl_position_next_reply {
	struct ctl_head head;
	uint64_t seq;                  /* the first message that is not acknowledged */
	uint64_t kept_seq;             /* the same, as it is on disk */
	uint64_t head_seq, oldest_seq; /* of the stream: the next message; the oldest that is kept */
	uint64_t unread_ns; /* when the first one came that is there and not acknowledged; 0: none */
	uint64_t moved_ns;  /* Unix; when seq last changed */
	uint64_t created_ns;
	uint64_t sub_id; /* of its holder; 0: nobody holds it */
	uint32_t uid;    /* whose it is */
	uint32_t holder_pid, holder_uid;
	uint32_t pad;
	char name[CTL_NAME_MAX];
	char holder[CTL_NAME_MAX]; /* the name of its process */
};

/* A durable subscription that nobody holds: from where it stands to elsewhere, or away. */
struct ctl_position_set {
	struct ctl_head head;
	char topic[CTL_TOPIC_MAX];
	char name[CTL_NAME_MAX];
	uint64_t from, to; /* from: -ESTALE if it stands elsewhere */
	uint32_t flags;    /* CTL_POSITION_* */
	uint32_t pad;
};
#define CTL_POSITION_REMOVE 1u
#define CTL_POSITION_NEW    2u /* there is none of that name */

static_assert(sizeof(struct ctl_log_segment) <= CTL_MAX, "log_segment");

#endif
