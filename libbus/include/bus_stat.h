/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bus_stat.h - looking at the bus without taking part: for tools and exporters.
 *
 * An observer maps boards, rings and cursors read-only. It gates nobody, wakes nobody, costs
 * publishers and subscribers nothing, and needs busd only to be given the segments. What it reads
 * was written by the peers themselves: numbers of a hostile peer may be wrong, but they harm
 * nobody.
 *
 * Conventions (errors, threads, fork, ownership) as in bus.h. A struct bus_stat belongs to one
 * thread at a time.
 */
#ifndef BUS_STAT_H
#define BUS_STAT_H

#include <bus.h>

#ifdef __cplusplus
extern "C" {
#endif

struct bus_stat;

#define BUS_STAT_NODES 16

struct bus_stat_pub {
	uint64_t id;      /* of the publisher */
	uint64_t ring_id; /* its present ring */
	uint64_t client_id;
	uint32_t pid, uid;
	char name[BUS_NAME_MAX + 1];
	uint64_t messages; /* published on this ring's chain: its next sequence number */
	uint64_t bytes;    /* payload bytes published on this ring */
	uint32_t ring_slots;
	uint32_t closed; /* 1: it has gone, its ring is kept for readers */
	uint64_t ring_bytes;
	/* fill by the slowest gating subscriber, slots or bytes, whichever is more; 0 to 1 */
	double used_ratio;
	uint64_t blocked_ns;  /* total time blocked on a full ring, the present block included */
	uint64_t block_ns;    /* of it, the present block; 0: none */
	uint32_t blocked_now; /* 1 while blocked */
	uint32_t waiting_asleep;
	uint64_t blocked_by; /* sub id of whom it waits for, 0 nobody */
	uint64_t refused;    /* sends that ended without publishing */
	uint64_t wakes;
	uint64_t evictions;
	uint64_t opened_ns;
	uint64_t last_time_ns; /* time stamp of its newest message, 0 none */
	uint32_t page_kib;     /* 4, or 2048: huge pages */
	uint32_t node_pages[BUS_STAT_NODES];
	/* bus_stat_open_mapped(): 1: its process has gone or closed it, and no busd cleared up */
	uint32_t gone;
	uint64_t taken; /* of a stream: its messages with lower numbers are in that */
};

struct bus_stat_sub {
	uint64_t id;
	uint64_t client_id;
	uint32_t pid, uid;
	char name[BUS_NAME_MAX + 1];
	char pattern[96];
	uint32_t lossy;
	uint32_t asleep;
	int32_t node;   /* where it ran when it opened, -1 unknown */
	uint32_t holds; /* publishers of this topic that are blocked by this subscriber now */
	uint64_t lag_messages; /* published and not yet released, over all rings of the topic */
	uint64_t lag_ns;       /* age of the oldest of them, 0 if none */
	uint64_t delivered;
	uint64_t lost;
	uint64_t evictions;
	uint64_t opened_ns;
	uint32_t gone; /* as of a publisher */
	uint32_t pad;
};

/* How a stream is kept on disk, and how that goes. */
#define BUS_STAT_SYNC_PLACES 26

struct bus_stat_log {
	uint32_t state; /* enum bus_log_state of bus.h; 0: it is not on disk, and the rest says nothing */
	uint32_t sync;    /* enum bus_sync */
	uint32_t on_full; /* enum bus_on_full */
	uint32_t pad;
	uint64_t sync_interval_ns, max_age_ns, max_bytes, max_messages;
	uint64_t durable_seq, oldest_seq; /* the next number that is not durable; the oldest on disk */
	uint64_t lag_bytes;               /* in the ring and not in the log */
	uint64_t disk_bytes, segments;
	uint64_t errors, full, lost, commits, syncs;
	uint64_t dropped; /* by a stream that drops what its ring has no room for */
	char io[16];      /* "io_uring" or "threads" */
	char io_why[160]; /* why it is not io_uring; "" */
	char why[200];    /* what is wrong, or was last */
	/*
	 * how long its syncs took, what was written with them included: sync_us[i] of them 2^i to 2^(i+1) - 1 us (the first
	 * place has shorter ones too, the last longer ones); all together sync_ns. Since busd's worker started
	 */
	uint64_t sync_ns, sync_us[BUS_STAT_SYNC_PLACES];
};

struct bus_stat_topic {
	char name[BUS_TOPIC_MAX + 1];
	uint64_t id;
	/* published since the topic was made, over all publishers, past ones too */
	uint64_t messages;
	uint64_t bytes;
	uint64_t created_ns;
	uint64_t memory_bytes; /* of its rings */
	uint32_t slots;        /* settings for a new ring */
	int32_t numa;
	uint64_t ring_bytes, max_bytes;
	uint32_t explicit_;
	uint32_t huge;
	uint64_t lag_messages; /* of the worst reliable subscriber, else of the worst */
	uint64_t lag_ns;
	uint64_t lost;
	/* the clock that stamps its messages, minus CLOCK_REALTIME, at the snapshot */
	int64_t clock_ahead_ns;
	int publisher_count, subscriber_count;
	const struct bus_stat_pub *publishers; /* open ones first */
	const struct bus_stat_sub *subscribers;
	/*
	 * bus_stat_open_mapped(): the busd that made it, since several may have listened at a socket
	 * one after another; 0: not known, and as long as a busd answers
	 */
	uint64_t busd_started_ns;
	uint32_t busd_pid, busd_uid;
	/*
	 * A stream: messages and bytes are those in it, and what its publishers have sent beyond, and
	 * busd has not taken yet, is the lag of the subscriber "sequencer", which is busd itself
	 */
	uint32_t stream, stream_slots;
	uint64_t stream_bytes;
	struct bus_stat_log log; /* of a stream on disk */
};

/* Opens an observer of the topics that match pattern (NULL: all) and that the caller may see. */
int bus_stat_open(struct bus_stat **ret, struct bus *bus, const char *pattern) BUS_MUST_CHECK;

/*
 * Opens an observer where no busd answers, for that alone: attached processes exchange messages
 * without it, and what they still map can be found. Boards, rings and cursors of the busd that
 * listened at the socket (NULL: where bus_connect() would look) are looked for in the mappings of
 * all living processes; each refresh looks anew. Publishers and subscribers whose processes have
 * gone meanwhile are shown as gone, since nobody clears up; of several busds that listened there
 * one after another each topic says whose it is.
 *
 * Not by whom a segment says to be is it believed, but by who made it: root or the socket's owner.
 * It works as well while a busd is there and stands still, beside its own observers.
 *
 * bus_stat_refresh(), _peek(), _metrics() and _close() are for it as for any other; it needs no
 * connection and starts no busd. Metrics are those of topics, with bus_up 0.
 *
 *  -EPERM       that is root's: the kernel wants CAP_SYS_ADMIN or CAP_CHECKPOINT_RESTORE, and
 *               CAP_SYS_PTRACE for the processes of others
 *  -ENOENT      no living process maps anything of a busd of that socket
 *  -EINVAL      a pattern, or a path, that cannot be one
 *  -ENOMEM, or an error of reading /proc
 */
int bus_stat_open_mapped(struct bus_stat **ret, const char *socket,
			 const char *pattern) BUS_MUST_CHECK;

struct bus_stat_mapped {
	uint32_t processes; /* living ones that map some of it, at the last look */
	uint32_t busds;     /* that it is of; beyond 1, one listened after another */
	/* the youngest of them; pid 0: it did not say */
	uint32_t pid, uid;
	uint64_t started_ns;
	uint32_t alive;   /* 1: its worker lives, and does not answer */
	uint32_t ignored; /* boards by their names that were not believed */
	char socket[108]; /* that was looked for */
};

/* What such an observer stands on. -EINVAL: this one was opened with a busd. */
int bus_stat_mapped(const struct bus_stat *stat, struct bus_stat_mapped *ret) BUS_MUST_CHECK;

/*
 * Takes a snapshot. Returns the number of topics; *topics (sorted by name) is valid until the next
 * refresh or close. *now_ns: Unix time of the snapshot, for rates between two.
 */
int bus_stat_refresh(struct bus_stat *stat, const struct bus_stat_topic **topics,
		     uint64_t *now_ns) BUS_MUST_CHECK;

/*
 * The newest n messages that the rings of one topic hold, oldest first (by time stamp across
 * publishers), copied: valid until the next peek or close. Returns how many (fewer where the rings
 * hold fewer, or they were overwritten during the look). -ENOENT: no such topic.
 */
int bus_stat_peek(struct bus_stat *stat, const char *topic, int n,
		  const struct bus_msg **msgs) BUS_MUST_CHECK;

/*
 * Takes a snapshot and writes it, with what busd says of itself, as OpenMetrics text (it ends with
 * "# EOF"). *text has *len bytes and a final 0 behind them; valid until the next call or close.
 * Errors as bus_stat_refresh(); -EPIPE.
 */
int bus_stat_metrics(struct bus_stat *stat, const char **text, size_t *len) BUS_MUST_CHECK;

/* Closes; to be called before the bus_close() of its bus. NULL is allowed. */
void bus_stat_close(struct bus_stat *stat);

struct bus_stat_client {
	uint64_t id;
	uint32_t pid, uid, gid;
	uint32_t publishers, subscriptions;
	int32_t node;
	uint64_t connected_ns;
	uint64_t memory_bytes;
	uint64_t queued; /* control events it has not taken yet */
	char name[BUS_NAME_MAX + 1];
	char command[32];
};

/* Walks the clients: set client->id to 0 to begin. 1: *client is the next one; 0: no more. */
int bus_stat_client_next(struct bus *bus, struct bus_stat_client *client) BUS_MUST_CHECK;

struct bus_stat_daemon {
	uint32_t pid, uid;
	uint32_t nodes;
	uint32_t private_;
	uint64_t started_ns;
	uint64_t memory_bytes, memory_limit;
	uint64_t topics, clients, rings, subscriptions, evictions;
	uint64_t max_message_bytes;
	char version[32];
	char socket[108];
};
int bus_stat_daemon(struct bus *bus, struct bus_stat_daemon *ret) BUS_MUST_CHECK;

enum bus_stat_owner { BUS_STAT_OWNER_NONE, BUS_STAT_OWNER_USER, BUS_STAT_OWNER_GROUP };

/* Topics whose first token is the same, and what they may take in all. Limits: 0: none. */
struct bus_stat_namespace {
	char name[BUS_TOPIC_MAX + 1];
	uint32_t owner;                      /* enum bus_stat_owner: who has all rights on it */
	uint32_t owner_id;                   /* uid or gid */
	uint64_t memory_bytes, memory_limit; /* boards, rings, cursors */
	uint32_t topics, topics_limit;
	uint32_t rings, rings_limit;
	uint32_t clients, clients_limit; /* processes that have something there */
	uint32_t configured;             /* 1: named by busd's configuration; 0: just in use */
	uint32_t pad;
};

/*
 * Walks the namespaces that the caller may see (his own; who runs busd, all), sorted by name: set
 * space->name to "" to begin. 1: *space is the next one; 0: no more. -EOPNOTSUPP: this busd is
 * too old to say.
 */
int bus_stat_namespace_next(struct bus *bus, struct bus_stat_namespace *space) BUS_MUST_CHECK;

#ifdef __cplusplus
}
#endif
#endif
