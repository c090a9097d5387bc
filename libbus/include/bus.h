/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bus.h - libbus: a message bus for the processes of one host, over shared memory.
 *
 * A publisher writes into a ring of its own; subscribers map that ring read-only and read it in
 * place. While both are awake no system call is made and nobody stands between them. busd, the
 * daemon, makes the memory, decides who may see it and notices deaths; it is not on the path of a
 * message.
 *
 *	struct bus *bus;
 *	struct bus_pub *pub;
 *
 *	if (bus_connect(&bus, NULL) < 0)
 *		errx(1, "%s", bus_why(NULL));
 *	if (bus_pub_open(&pub, bus, "t", NULL) < 0)
 *		errx(1, "%s", bus_why(bus));
 *	if (bus_pub_send(pub, "hello", 5) < 0)
 *		...
 *	bus_close(bus);
 *
 * And, connected in the same way, a subscriber:
 *
 *	struct bus_sub *sub;
 *	struct bus_msg m;
 *
 *	if (bus_sub_open(&sub, bus, "t", NULL) < 0)
 *		errx(1, "%s", bus_why(bus));
 *	while (bus_sub_wait(sub, -1) > 0)
 *		while (bus_sub_peek(sub, &m, 1) > 0) {
 *			fwrite(m.data, 1, m.len, stdout);
 *			if (bus_sub_release(sub, 1) < 0)
 *				...
 *		}
 *
 * ERRORS. Functions return 0 or a count, or a negative errno; what a pointer argument named ret
 * points to is untouched on failure. bus_why() has a sentence for the last failure of a control
 * call (open, close, create, ...): what failed, why, what to do. Closing and aborting cannot fail.
 * -ESTALE has one meaning: what you were reading was overwritten.
 * -ECHILD: the object belongs to the process that forked this one. -EPIPE: busd has gone and the
 * call needed it.
 *
 * busd's worker may die and be replaced: calls that are under way take longer, nothing else happens.
 * Where all of busd dies, attached peers go on, and come by themselves to the next busd that serves at
 * the same path; what needs one in between is -EPIPE. A subscriber that busd did not come to
 * announce to a publisher before it died is a lossy one to that publisher until both have come to
 * the next: what it misses is counted.
 *
 * THREADS. A struct bus may be used by several threads at once. A struct bus_pub or struct bus_sub
 * belongs to one thread at a time; it may be handed to another thread as any other object may (with
 * a mutex, a queue, by creating the thread). bus_close() and the close of an object must not run
 * while another thread uses it.
 *
 * FORK. The mappings are not inherited by a child. In a child every call on an inherited object
 * returns -ECHILD, close and abort do nothing, and bus_connect() makes a connection of the child's
 * own.
 *
 * SIGNALS. The library installs no handler and prints nothing. Waits are restarted after a signal
 * handler ran, except that bus_sub_wait() and a blocked send return -EINTR. The only call that
 * starts a process is bus_connect() (a private busd, see there).
 *
 * TOPIC NAMES. Tokens separated by dots ("orders.eu.new"), 1 to 255 bytes, each token non-empty,
 * made of printable ASCII without space, '*' and '>'. A pattern may have '*' for exactly one token
 * and '>' at the end for one or more.
 *
 * TIME. Timeouts are nanoseconds relative to the call, -1 for ever, 0 for not at all. Time stamps
 * are nanoseconds since 1970 (UTC) taken when the message was published.
 */
#ifndef BUS_H
#define BUS_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define BUS_VERSION     "0.1.0"
#define BUS_TOPIC_MAX   255   /* bytes of a topic name or pattern */
#define BUS_NAME_MAX    63    /* bytes of a publisher's or subscriber's name */
#define BUS_KEY_MAX     255   /* bytes of a key */
#define BUS_HEADERS_MAX 64    /* headers of one message */
#define BUS_HEAD_MAX    65520 /* bytes of key and headers together, four bytes more for each header */
#define BUS_BORROW_MAX  1024 /* messages peeked and not yet released, per subscription */
#define BUS_MUST_CHECK  __attribute__((warn_unused_result))

struct bus;     /* a connection to busd */
struct bus_pub; /* the right to publish on one topic, and the ring for it */
struct bus_sub; /* what matches a pattern, as one sequence of messages */

/*
 * Options are structs whose first member is their size. Zero in a member means its default, NULL
 * for the whole struct means all defaults. A struct that is larger than the library knows and not
 * zero there is refused with -E2BIG, so that an old library never ignores what it does not
 * understand.
 *
 *	bus_pub_open(&pub, bus, "prices", BUS_OPTS(pub, .full = BUS_FULL_FAIL))
 */
#ifndef __cplusplus
#define BUS_OPTS(kind, ...) \
	(&(const struct bus_##kind##_opts){ .size = sizeof(struct bus_##kind##_opts), __VA_ARGS__ })
#endif

/* ---- connecting ---- */

#define BUS_CONNECT_NO_AUTOSTART 1u /* never start a private busd */

struct bus_connect_opts {
	size_t size;
	const char *socket; /* path of busd's socket; NULL: as below */
	const char *name;   /* shown by bus-stat; NULL: the program's name */
	uint32_t flags;     /* BUS_CONNECT_* */
	uint32_t pad;
	int64_t timeout_ns; /* for connecting and for each control call; 0: 5 s */
};

/*
 * Connects to busd. Looked for in this order: opts->socket, $BUS_SOCKET, /run/busd/bus.sock,
 * $XDG_RUNTIME_DIR/busd/bus.sock. Where neither of the first two is given and the others do not
 * exist, a private busd is started for this user, which leaves when its last client has gone for a
 * while ($BUS_AUTOSTART=0 or BUS_CONNECT_NO_AUTOSTART forbids it). Two processes that do so at once
 * get the same busd.
 *
 * *ret is owned by the caller until bus_close(). On failure bus_why(NULL) says why (kept per
 * thread).
 *
 *  -ENOENT, -ECONNREFUSED  nobody listens there and none was to be started
 *  -EPROTO           what listens there is not busd
 *  -EPROTONOSUPPORT  a busd of no protocol version that this library speaks
 *  -ETIMEDOUT        no answer in time
 *  -EACCES           the socket may not be used by this user
 *  -EDQUOT           too many connections of this user
 *  -EMFILE, -ENOMEM  this process is out of descriptors or memory
 *  -E2BIG, -EINVAL   opts
 */
int bus_connect(struct bus **ret, const struct bus_connect_opts *opts) BUS_MUST_CHECK;

/*
 * Closes the connection and everything opened on it. Messages already published stay readable to
 * subscribers attached now. NULL is allowed. Borrowed pointers of its subscriptions end here.
 */
void bus_close(struct bus *bus);

/*
 * A sentence about the last control call of this thread that failed, for people. Never NULL; valid
 * until the thread's next control call. bus may be NULL.
 */
const char *bus_why(struct bus *bus);

/* The library's version, for instance "0.1.0". Static. */
const char *bus_version(void);

/* ---- topics ---- */

#define BUS_NUMA_AUTO       0         /* node of the first subscriber, else of the publisher */
#define BUS_NUMA_NODE(n)    ((n) + 1) /* this node */
#define BUS_NUMA_INTERLEAVE (-1)      /* pages in turn on all nodes */

#define BUS_TOPIC_HUGE        1u /* rings in huge pages; -ENOMEM where the pool is short */
#define BUS_TOPIC_HUGE_OR_NOT 2u /* rings in huge pages, in ordinary ones where the pool is short */
#define BUS_TOPIC_EXCLUSIVE \
	4u /* bus_topic_create(): -EEXIST where it exists, even with the same settings */
#define BUS_TOPIC_FORCE 8u /* bus_topic_remove(): also while it is in use */
/*
 * A stream: busd merges what its publishers send into one sequence, numbers it, stamps and checksums
 * it, and subscribers read that: all the same messages in the same order. What has entered it outlives
 * its publisher and busd's worker. busd writes it to its data directory, from where it comes back after a
 * loss of busd or of the machine; with BUS_SYNC_MEMORY it lies in busd's memory only, and goes with it.
 */
#define BUS_TOPIC_STREAM 16u

/* When what busd has written of a stream is made to survive a loss of power. */
enum bus_sync {
	BUS_SYNC_DEFAULT = 0, /* BATCH */
	BUS_SYNC_NONE = 1, /* when the kernel likes: survives busd, not the machine; no level durable */
	BUS_SYNC_INTERVAL = 2, /* every sync_interval_ns */
	BUS_SYNC_BATCH = 3,    /* as soon as the sync before is over, all that came meanwhile */
	BUS_SYNC_MEMORY = 4,   /* it is not written to disk */
};

/* What becomes of a message that finds a stream's ring full of what the disk, full, failing or slow, has not taken. */
enum bus_on_full {
	BUS_ON_FULL_BLOCK = 0, /* it waits in its publisher's ring, and so do those behind it */
	/* where the disk has taken nothing for a second it is dropped, and counted; bus_pub_wait() tells it */
	BUS_ON_FULL_DROP = 1,
};

/* Of each ring on the topic; every publisher has one. */
struct bus_topic_opts {
	size_t size;
	uint32_t slots; /* messages, 16 to 2^26, rounded up to a power of two; 0: 4096 */
	int32_t numa;   /* BUS_NUMA_* */
	/* payload area, rounded up to a power of two and the page size; 0: 256 KiB */
	uint64_t bytes;
	uint64_t max_bytes; /* limit to which a ring may grow for a large message; 0: busd's */
	uint32_t flags;     /* BUS_TOPIC_* */
	uint32_t on_full;   /* enum bus_on_full: of a stream on disk */
	/* BUS_TOPIC_STREAM: the ring of the stream itself; 0: 16 MiB and 65,536 messages */
	uint64_t stream_bytes;
	uint32_t stream_slots;
	uint32_t sync;             /* enum bus_sync */
	uint64_t sync_interval_ns; /* BUS_SYNC_INTERVAL: 1 ms to 1 hour */
	/*
	 * what is kept on disk, by whole segment files, the oldest removed first; 0: no limit. Messages: so
	 * many at least stay
	 */
	uint64_t max_age_ns, max_log_bytes, max_messages;
};

/*
 * Creates a topic that stays until it is removed. (Publishing creates a topic too; such a one goes
 * with its last client.) Returns 0 where it exists with the same settings, or exists on demand and
 * takes these settings for new rings.
 *
 *  -EEXIST  exists with other settings (bus_why() names them)
 *  -EINVAL  name or settings; an absent NUMA node
 *  -EAGAIN, -EIO  busd has a stream of that name on disk, and cannot take it up yet, or at all: bus_why()
 *  -EACCES, -EDQUOT, -ENOMEM, -EPIPE, -ETIMEDOUT
 */
int bus_topic_create(struct bus *bus, const char *topic,
		     const struct bus_topic_opts *opts) BUS_MUST_CHECK;

/*
 * Removes a topic. flags: 0 or BUS_TOPIC_FORCE. With FORCE its rings are closed: publishers get
 * -EPIPE on the next control call and -ESHUTDOWN on publishing, subscribers read to the end.
 *  -ENOENT  no such topic     -EBUSY  in use (bus_why() says by whom)
 */
int bus_topic_remove(struct bus *bus, const char *topic, uint32_t flags) BUS_MUST_CHECK;

struct bus_topic_info {
	char name[BUS_TOPIC_MAX + 1];
	uint32_t slots;
	int32_t numa;
	uint64_t bytes, max_bytes;
	uint32_t flags;
	uint32_t explicit_; /* made by bus_topic_create() */
	uint32_t publishers, subscribers, rings;
	uint32_t stream_slots; /* of a stream's own ring; 0: it is no stream */
	uint64_t memory_bytes;
	uint64_t created_ns;
	/* of a stream: as it was made */
	uint32_t sync;      /* enum bus_sync; of any other topic DEFAULT */
	uint32_t log_state; /* enum bus_log_state */
	uint32_t on_full;   /* enum bus_on_full */
	uint32_t pad;
	uint64_t sync_interval_ns, max_age_ns, max_log_bytes, max_messages;
	/* of one on disk: numbers of messages are those of the next one, but for the oldest */
	uint64_t head_seq, durable_seq, oldest_seq;
	uint64_t lag_bytes; /* that are in the ring and not in the log */
	uint64_t disk_bytes, segments;
	uint64_t disk_errors; /* reported by the disk */
	uint64_t disk_full;   /* refusals for want of room */
	uint64_t disk_lost; /* BUS_SYNC_NONE: messages whose writing failed after they had left the ring */
	uint64_t dropped; /* BUS_ON_FULL_DROP: messages that never came into the stream */
	char io[16];      /* "io_uring", or "threads" where that is refused: io_why */
	char io_why[160];
	char log_why[200]; /* what is wrong with the log, or was last; "": nothing ever was */
};

enum bus_log_state {
	BUS_LOG_NONE = 0,    /* it is not on disk */
	BUS_LOG_OPENING = 1, /* no message is taken yet */
	BUS_LOG_RUNNING = 2,
	/* the disk reported an error: busd goes on in a new file; publishers wait, or what they send is dropped */
	BUS_LOG_FAILING = 3,
	BUS_LOG_FULL = 4,    /* no room on the disk: the same until there is */
	BUS_LOG_STOPPED = 5, /* log_why; tried again, publishers wait */
};

/*
 * Walks the topics that match a pattern (NULL or ">": all), in the order of strcmp. Set info->name
 * to "" to begin; each call replaces *info by the next one. Returns 1, or 0 at the end (info
 * untouched).
 */
int bus_topic_next(struct bus *bus, const char *pattern, struct bus_topic_info *info) BUS_MUST_CHECK;

/*
 * 0 if name is a valid topic name, else -EINVAL, with the reason in bus_why(NULL). Needs no
 * connection.
 */
int bus_topic_check(const char *name) BUS_MUST_CHECK;

/* ---- publishing ---- */

/* What a send does when the slowest reliable subscriber leaves no room. */
enum bus_full {
	/* wait; a subscriber that stands still for full_ns is evicted (and told so) */
	BUS_FULL_EVICT = 0,
	BUS_FULL_BLOCK = 1, /* wait at most full_ns, then -ETIMEDOUT; nobody is evicted */
	BUS_FULL_FAIL = 2,  /* -EAGAIN at once */
};

/*
 * BUS_PUB_BURST_TIME: messages of a burst share a time stamp. Reading the counter for each costs as
 * much as all the rest of a small bus_pub_send(). With this flag up to 16 messages that came at
 * less than 100 ns each carry the stamp of the first, as long as no subscriber is asleep or idle.
 * time_ns is then early by less than 2 us in a burst; but where the publisher pauses right after
 * one while all its subscribers are still busy with it, the next up to 15 messages are stamped
 * early by the length of the pause. Without the flag each message has its own stamp (each batch:
 * one).
 */
#define BUS_PUB_BURST_TIME 1u

struct bus_pub_opts {
	size_t size;
	/*
	 * shown by bus-stat; NULL: the connection's name. On a stream a name that is given here is
	 * an identity: see bus_pub_rewind()
	 */
	const char *name;
	uint32_t full;  /* enum bus_full */
	uint32_t slots; /* of this ring; 0: the topic's */
	uint64_t bytes;
	int64_t full_ns; /* 0: 10 s; -1 (BLOCK only): for ever */
	/*
	 * how long a full ring, or bus_pub_wait(), is polled before sleeping; 0: 20 us, and seldom after
	 * waits that were longer; -1: never sleep
	 */
	int64_t spin_ns;
	int32_t numa;   /* BUS_NUMA_*, 0: the topic's */
	uint32_t flags; /* BUS_PUB_* */
};

/*
 * Opens a publisher: makes its ring and attaches it to every matching subscription before it
 * returns, so that the first message is not lost to anybody who is subscribed. The topic is created
 * where it does not exist. *ret is owned by the caller until bus_pub_close() or bus_close().
 *
 *  -EINVAL  the name is not a topic name, or opts      -EACCES  no right to publish there
 *  -EDQUOT  over quota    -ENOMEM  no memory on the host or in the huge-page pool
 *  -EPIPE, -ETIMEDOUT  busd   -EMFILE  this process is out of descriptors
 *  -EBUSY   another publisher of that name is open on the stream
 *  -EAGAIN, -EIO  busd has the stream on disk, and cannot take it up yet, or at all: bus_why()
 */
int bus_pub_open(struct bus_pub **ret, struct bus *bus, const char *topic,
		 const struct bus_pub_opts *opts) BUS_MUST_CHECK;

/*
 * Publishes a copy of len bytes. Afterwards the message is visible to all subscribers and those
 * asleep are woken.
 *
 *  -EAGAIN      (BUS_FULL_FAIL) no room; release of the slowest reader makes some
 *  -ETIMEDOUT   (BUS_FULL_BLOCK) no room for full_ns
 *  -EINTR       a signal came while waiting for room; nothing was published
 *  -EMSGSIZE    larger than the ring may grow to; bus_why() names the limit
 *  -ESHUTDOWN   the topic was removed; whether this message is still read is open
 *  -EPIPE       the ring had to grow and busd is not there
 *  -EDQUOT, -ENOMEM  the ring had to grow and there is no memory for that; bus_why() says whose
 */
int bus_pub_send(struct bus_pub *pub, const void *data, uint32_t len) BUS_MUST_CHECK;

struct bus_header {
	const char *name; /* 1 to 255 bytes */
	const void *value;
	uint32_t value_len; /* at most 65,535 */
	uint32_t name_len;  /* 0: strlen(name) */
};

/* A message to be sent, with everything it can carry. */
struct bus_out {
	const void *data;
	const void *key; /* NULL: none */
	const struct bus_header *headers;
	uint32_t len;
	uint32_t key_len;
	uint32_t header_count;
	uint32_t flags; /* 0 */
};

/*
 * Publishes count messages in order and wakes sleepers once. Returns how many were published: fewer
 * than count only where the first that was not would have given an error of bus_pub_send(); that
 * error itself if none was published.
 */
int bus_pub_send_batch(struct bus_pub *pub, const struct bus_out *msgs, int count) BUS_MUST_CHECK;

/* A message under construction in the ring. */
struct bus_claim {
	/* len bytes to be written, in shared memory, nobody reads them before the commit */
	void *data;
	uint32_t len; /* may be lowered before the commit */
	uint32_t slot;
	uint64_t seq; /* the number that the message will have */
};

/*
 * Reserves room for a message of len bytes, to be written in place; no copy is made. data is
 * aligned to 64 (to 16 with key or headers). One claim at a time per publisher: -EBUSY. A claim
 * that is never committed, even by death, disturbs nobody. Errors as bus_pub_send(). attr: key and
 * headers (its data and len are ignored), NULL for none.
 */
int bus_pub_claim(struct bus_pub *pub, uint32_t len, struct bus_claim *ret) BUS_MUST_CHECK;
int bus_pub_claim_with(struct bus_pub *pub, uint32_t len, const struct bus_out *attr,
		       struct bus_claim *ret) BUS_MUST_CHECK;

/*
 * Publishes the claimed message. -EINVAL: not this publisher's claim, or len was raised. The claim
 * ends either way.
 */
int bus_pub_commit(struct bus_pub *pub, struct bus_claim *claim) BUS_MUST_CHECK;

/* Gives the room back; nothing was published. */
void bus_pub_abort(struct bus_pub *pub, struct bus_claim *claim);

struct bus_pub_info {
	uint64_t seq;        /* of the next message */
	uint64_t ring_bytes; /* payload area now */
	uint32_t ring_slots;
	uint32_t subscribers; /* attached now, reliable and lossy */
	uint32_t gating;      /* of them, reliable */
	uint32_t pad;
	uint64_t max_message;   /* largest message without replacing the ring */
	uint64_t limit_message; /* largest message at all */
	uint64_t dropped; /* messages of this publisher that its stream dropped (BUS_ON_FULL_DROP) */
};

/* What the publisher knows of itself. Makes no system call where nothing changed. */
int bus_pub_info(struct bus_pub *pub, struct bus_pub_info *ret) BUS_MUST_CHECK;

/* How far a message has come. */
enum bus_level {
	BUS_LEVEL_RING = 0, /* it is in the publisher's ring: bus_pub_send() has returned */
	BUS_LEVEL_STREAM =
		1, /* it is in the stream: neither our death nor that of busd's worker loses it */
	BUS_LEVEL_DURABLE = 2, /* it is on disk */
};

/*
 * *seq: all messages of this publisher with a lower number have reached the level. Never says so before
 * it is true. Makes no system call: a publisher may have thousands under way, and ask now and then.
 *
 *  -EOPNOTSUPP  BUS_LEVEL_STREAM on a topic that is no stream; BUS_LEVEL_DURABLE where nothing is kept on
 *               disk (bus_why() says which)
 *  -EINVAL      level      -ECHILD
 */
int bus_pub_reached(struct bus_pub *pub, uint32_t level, uint64_t *seq) BUS_MUST_CHECK;

/*
 * Waits until all messages with a number below seq (bus_pub_info.seq: all that were sent) have reached
 * the level. 0: they have. Polls for spin_ns first, then sleeps.
 *
 *  -ETIMEDOUT   not within timeout_ns; they are under way still
 *  -ENOSPC      of those, some were dropped: the stream is one of BUS_ON_FULL_DROP, and the disk did not take what it had. Said
 *               once: the next call tells of those that are dropped later. The others have reached the level
 *  -EINVAL      seq is more than was sent
 *  -ESHUTDOWN   the topic was removed, or busd stopped
 *  -EPIPE       all of busd has died: whether they came so far is not known. Where the next busd can know (a stream on
 *               disk, a publisher with a name) that is waited for first, as long as a control call may take
 *  -ENOENT      that busd does not let this publisher go on: bus_why()
 *  -EINTR       a signal came
 *  others as bus_pub_reached()
 */
int bus_pub_wait(struct bus_pub *pub, uint32_t level, uint64_t seq, int64_t timeout_ns) BUS_MUST_CHECK;

/*
 * On a stream a publisher with a name of its own (bus_pub_opts.name) is the same for ever, whichever
 * process it is: bus_pub_open() waits until what its predecessor published is in the stream, and
 * bus_pub_info.seq begins behind that. This says that the caller begins again at an earlier number:
 * the next message that it sends has number seq, and those below that at which the stream stands are
 * dropped, not published twice; their sends return 0. Numbers of one name are those of one user.
 *
 *  -EINVAL      seq is higher than where it stands; or messages were sent already
 *  -EOPNOTSUPP  this is no stream, or the publisher was given no name
 *  -ECHILD
 */
int bus_pub_rewind(struct bus_pub *pub, uint64_t seq) BUS_MUST_CHECK;

/*
 * Closes. Subscribers read what was published to its end. NULL is allowed; an open claim is
 * aborted. On a stream on disk of which all of busd has died it waits, as long as a control call may take, for
 * another busd to take what was not durable; who must know that it did calls bus_pub_wait() before.
 */
void bus_pub_close(struct bus_pub *pub);

/* ---- subscribing ---- */

enum bus_start {
	BUS_START_NOW = 0, /* what is published from now on */
	BUS_START_OLDEST =
		1, /* the oldest that the rings still hold; of a stream, that is kept on disk */
	/* the last message of each matching topic that a ring still holds, then what follows */
	BUS_START_LAST = 2,
	/*
	 * message number start_seq of one stream, and what follows, from disk where the ring has it no
	 * more. What is not kept any more counts as lost, and is said with the first message; a number
	 * that has yet to come is waited for
	 */
	BUS_START_SEQ = 3,
	/*
	 * the first message of the time start_time_ns or later, and what follows; a time that has yet to
	 * come is waited for. A stream is searched to its oldest message on disk, a live topic's rings
	 * as far as they go back
	 */
	BUS_START_TIME = 4,
	/*
	 * start_back messages before the end of each stream that matches, as it is now, or what is left of
	 * them; a live topic has no numbers: -EINVAL, and where a pattern with wildcards matches one, it is
	 * read from now on
	 */
	BUS_START_BACK = 5,
};

enum bus_policy {
	BUS_RELIABLE = 0, /* publishers wait for this subscriber (until it is evicted) */
	BUS_LOSSY = 1,    /* publishers overwrite; what was lost is counted */
};

#define BUS_SUB_FD_THREAD 1u /* bus_sub_fd(): a thread waits, never the kernel's io_uring */
#define BUS_SUB_ACK       2u /* durable: what is released is acknowledged by bus_sub_ack() only */

struct bus_sub_opts {
	size_t size;
	const char *name; /* shown by bus-stat; NULL: the connection's name */
	uint32_t start;   /* enum bus_start */
	uint32_t policy;  /* enum bus_policy */
	/*
	 * how long bus_sub_wait() polls before it sleeps; 0: 20 us, and seldom after waits that were longer;
	 * -1: never sleeps, 1: at once
	 */
	int64_t spin_ns;
	uint32_t max_rings;     /* rings (publishers) at a time, 0: 1024, at most 65,536 */
	uint32_t flags;         /* BUS_SUB_* */
	uint64_t start_seq;     /* BUS_START_SEQ */
	uint64_t start_time_ns; /* BUS_START_TIME: Unix time */
	uint64_t start_back;    /* BUS_START_BACK */
	/*
	 * a durable subscription of one stream on disk, under this name (1 to BUS_NAME_MAX bytes): see
	 * bus_sub_settle(). NULL: it is none
	 */
	const char *durable;
};

/*
 * Subscribes to a topic or pattern. Topics and publishers that appear later are picked up by
 * themselves, from their first message on. Order holds per publisher, and over a stream. *ret is owned
 * by the caller until bus_sub_close() or bus_close().
 *
 * A stream waits for no subscriber, whatever its policy. Who falls behind by more than the stream's ring
 * holds, or begins in the past, reads what has left the ring from disk, and comes back to the ring by itself:
 * one sequence, in order, without gap or double. Nothing is lost to him but what is damaged on disk, or is not
 * kept any more when he comes to it: `lost` counts that. Numbers that busd passed over after a crash were no
 * message's, and do not count. The files are handed over by busd, one at a time; while it is away a reader of
 * the disk goes on to the end of the file that it has, and waits. Reading from disk, bus_sub_peek() may block
 * for as long as the disk, or busd's answer, takes. Of a stream in memory (BUS_SYNC_MEMORY) what has left
 * the ring is lost.
 *  -EINVAL  pattern or opts
 *  -EACCES, -EDQUOT, -ENOMEM, -EPIPE, -ETIMEDOUT, -EMFILE  as bus_pub_open()
 *  -EAGAIN, -EIO  (BUS_START_SEQ, or a durable one) as bus_pub_open()
 * of a durable one:
 *  -EBUSY   somebody else holds that name; bus_why() says which process
 *  -EACCES  the name belongs to another user
 *  -EDQUOT  the stream has as many names as it may
 *  -ENOENT  there is no such stream  -EOPNOTSUPP  a live topic, or a stream in memory
 *  -EIO     where the name stands cannot be read, or the stream's disk fails
 */
int bus_sub_open(struct bus_sub **ret, struct bus *bus, const char *pattern,
		 const struct bus_sub_opts *opts) BUS_MUST_CHECK;

/*
 * Who published, as the kernel attested it when it connected. In a stream: pid is 0 where a later
 * process has come under the same name, and all is 0 and the name empty where a thousand publishers
 * have come since, and busd does not know any more.
 */
struct bus_peer {
	uint64_t id; /* of the publisher, never reused */
	uint32_t pid, uid;
	const char *name;
};

struct bus_msg {
	/* len bytes, borrowed: in the ring itself, or (small ones, and those from disk) in the subscription */
	const void *data;
	uint32_t len;
	uint32_t flags;
	uint64_t seq;        /* of its publisher on this topic; in a stream, of the stream */
	uint64_t time_ns;    /* Unix time at publishing; in a stream, when it entered that */
	uint64_t lost;       /* messages of this publisher, or stream, lost right before this one */
	const void *key;     /* key_len bytes; NULL: none */
	const void *headers; /* to be read with bus_msg_header() */
	uint32_t headers_len;
	uint8_t key_len;
	uint8_t pad[3];
	uint32_t key_hash; /* 32-bit hash of the key, 0 without */
	uint32_t pad2;
	const char *topic;           /* borrowed like data */
	const struct bus_peer *from; /* borrowed like data */
};

/*
 * Looks at the next messages without copying them. Fills at most max (at most BUS_BORROW_MAX are
 * borrowed at a time) and returns how many; 0: nothing there now. A second peek goes on behind what
 * is borrowed already. All pointers in msgs are valid until the message is released. Where the
 * subscriber is reliable the bytes cannot change; where it is lossy or was evicted, and in a stream's ring, they may be
 * overwritten while you read, and release then says -ESTALE: treat them as volatile until it said
 * otherwise, or use bus_sub_recv().
 *
 *  -ESTALE   this subscription was evicted from a topic (it was too slow); it has joined again, the
 *            next message's `lost` counts what it missed. Go on.
 *  -ENOBUFS  BUS_BORROW_MAX messages are borrowed; or a publisher could not be attached because
 *            max_rings are in use
 *  -EBADMSG  a publisher wrote something that is not a message; it is ignored from now on
 *  -EPROTONOSUPPORT  a message needs a newer library; it was skipped. Or all of a publisher's do:
 *            they are left out, and bus_why(NULL) names it
 *  -EMFILE, -ENOMEM  the log of a stream cannot be read now; nothing was passed over: call again
 */
int bus_sub_peek(struct bus_sub *sub, struct bus_msg *msgs, int max) BUS_MUST_CHECK;

/*
 * Gives back the n oldest borrowed messages. 0: they were good to the end. -ESTALE: at least one of
 * them was overwritten while you had it: the whole batch of n is void, it is counted as lost,
 * reading goes on with the next peek. -EINVAL: n is more than is borrowed.
 *
 * Of a stream on disk such a batch is not lost: all that is borrowed of the stream from its first message on is void,
 * release says -ESTALE for the rest of it, too, and once that is given back the same messages come again, from
 * disk. What was read from disk is never void. So who applies each message once it is released has each
 * once.
 *
 * After BUS_START_OLDEST or BUS_START_LAST the first messages may be overwritten once by a
 * publisher that had not heard of this subscriber yet: -ESTALE and `lost` say so, as everywhere.
 */
int bus_sub_release(struct bus_sub *sub, int n) BUS_MUST_CHECK;

/*
 * A durable subscription (bus_sub_opts.durable) has a name, and busd keeps for that how far it has come: the
 * first message that was not released. Opened for the first time it begins as opts.start says, and the name is on disk
 * when bus_sub_open() returns; later it begins where it stood, whatever opts.start says, and whether reader, busd or
 * machine died meanwhile. One process holds a name at a time; who dies holds it no more. A name
 * belongs to the user who used it first: another one needs the right to administer the topic (root has it).
 *
 * A name that is begun by a time, or so many messages before the end, where those lie on disk, stands at the oldest
 * message until the first release: the place is looked for when it is read.
 *
 * What is released is acknowledged; with BUS_SUB_ACK what was released when bus_sub_ack() is called,
 * for who copies messages, releases them, and has done with them later (bus_sub_recv() always
 * releases). busd takes it from there some times a second, at the close, and when the process dies, to
 * the last release; it is written as the stream's sync policy says (none: the kernel writes it when it
 * likes). So each message is read at least once: after a loss of busd, or of the machine, those that
 * were released lately come again. None is passed over; but a stream's retention does not wait
 * for durable subscriptions: what it removed meanwhile is in `lost` of the first message. Where the stream
 * is removed, its durable subscriptions have ended: nothing comes any more, nor of a stream that is made under that
 * name later, and bus_sub_settle() says -ESHUTDOWN.
 *
 * This call returns once all that is acknowledged so far is on disk, whatever the policy is.
 * timeout_ns 0: it is asked and not waited for; -1: without end.
 *  -ETIMEDOUT  not within timeout_ns; it will be, as soon as the disk allows
 *  -EINVAL     the subscription is not durable
 *  -EIO        the stream's disk fails: bus_why() says how
 *  -ESHUTDOWN  the stream was removed
 *  -EPIPE      busd has gone; -ECHILD
 */
int bus_sub_settle(struct bus_sub *sub, int64_t timeout_ns) BUS_MUST_CHECK;

/* All that was released is acknowledged. No system call. 0; -EINVAL: it is not durable; -ECHILD. */
int bus_sub_ack(struct bus_sub *sub) BUS_MUST_CHECK;

/* Where a durable subscription stands. */
struct bus_position {
	char name[BUS_NAME_MAX + 1];
	uint32_t uid;  /* whose it is */
	uint32_t held; /* 1: by the process that follows */
	uint32_t holder_pid, holder_uid;
	char holder[BUS_NAME_MAX + 1]; /* its connection's name */
	uint64_t seq;                  /* the first message that is not released */
	uint64_t kept_seq;             /* the same, as it is on disk */
	uint64_t head_seq;   /* of the stream: number of the next message; seq is at most that */
	uint64_t oldest_seq; /* the oldest that is kept; what lies between seq and that is lost */
	uint64_t unread_ns; /* Unix: when the first one came that is kept and not released; 0: none */
	uint64_t moved_ns; /* Unix: when seq last changed */
	uint64_t created_ns;
};

/*
 * Walks the durable subscriptions of a stream, held or not, in the order of strcmp: set info->name to "" to
 * begin. 1: *info is the next one; 0: no more (info untouched).
 *  -ENOENT      there is no such stream      -EACCES  no right to subscribe to it
 *  -EOPNOTSUPP  a live topic, or a stream in memory; or busd is too old
 *  -EAGAIN, -EIO, -EPIPE, -ETIMEDOUT
 */
int bus_position_next(struct bus *bus, const char *topic, struct bus_position *info) BUS_MUST_CHECK;

#define BUS_POSITION_REMOVE 1u /* the name is free; `to` says nothing */
#define BUS_POSITION_NEW    2u /* there is none of that name: it is made; `from` says nothing */

/*
 * Moves a durable subscription that nobody holds from where it stands to message `to`, or makes it, or
 * removes it (flags). On disk when this returns 0.
 *  -EBUSY   somebody holds it     -ESTALE  it does not stand at `from`: look again
 *  -ENOENT  no such name, or stream          -EEXIST  NEW, and it is there
 *  -EINVAL  name, flags, or beyond the stream's end
 *  -EACCES  it belongs to another user, or no right to subscribe
 *  -EDQUOT  NEW: the stream has as many names as it may
 *  -ETIMEDOUT  it is done, and not on disk yet
 *  others as bus_position_next()
 */
int bus_position_set(struct bus *bus, const char *topic, const char *name, uint64_t from,
		     uint64_t to, uint32_t flags) BUS_MUST_CHECK;

/*
 * Copies the next message into buf and releases it: what it returns is whole. 1: *msg describes it
 * (data points into buf, key and headers too), 0: nothing there. -EMSGSIZE: size is too small,
 * msg->len says what is needed, nothing was released. -EBUSY: messages are borrowed. Other errors
 * as bus_sub_peek().
 */
int bus_sub_recv(struct bus_sub *sub, void *buf, size_t size, struct bus_msg *msg) BUS_MUST_CHECK;

/*
 * Waits until there is something to peek. 1: there is; 0: not within timeout_ns. Polls for spin_ns
 * first, then sleeps. Returns 1 at once while messages are borrowed. -EINTR: a signal handler ran.
 * -ECHILD.
 */
int bus_sub_wait(struct bus_sub *sub, int64_t timeout_ns) BUS_MUST_CHECK;

/*
 * A descriptor for poll, select, epoll (level-triggered): readable when there may be something to
 * peek. Peek until 0: that arms it again. Owned by the subscription, closed with it; not to be
 * read, written or closed by the caller. A negative errno where it cannot be made (-EMFILE,
 * -ENOMEM).
 *
 * On Linux 6.7 and newer it is the descriptor of an io_uring whose wait belongs to the thread that
 * peeked last. The kernel may then make that thread's epoll_wait() return EINTR when the wake
 * comes, without any signal: call it again (poll() and select() restart by themselves). A program
 * that cannot takes BUS_SUB_FD_THREAD: a thread of the library waits instead, which costs one more
 * wake.
 */
int bus_sub_fd(struct bus_sub *sub) BUS_MUST_CHECK;

struct bus_sub_info {
	uint64_t delivered; /* released as good */
	uint64_t lost;
	uint64_t evictions;
	uint32_t rings; /* attached now */
	uint32_t borrowed;
	uint32_t from_disk; /* streams of which the next message is on disk: there is more, if peek says 0 */
	/*
	 * 0; or why one of those cannot be read now, with bus_why(): busd cannot open the log, or has to write first
	 * (-EAGAIN), is away (-EPIPE), does not answer (-ETIMEDOUT). It is tried again, and nothing is lost by it
	 */
	int32_t disk_error;
};
int bus_sub_info(struct bus_sub *sub, struct bus_sub_info *ret) BUS_MUST_CHECK;

/* Closes. What is borrowed must no longer be used. NULL is allowed. */
void bus_sub_close(struct bus_sub *sub);

/*
 * The value of a header by name. 1: *value and *value_len (either may be NULL) are set, borrowed
 * like the message's data; 0: no such header. The first one counts where there are several.
 */
int bus_msg_header(const struct bus_msg *msg, const char *name, const void **value,
		   uint32_t *value_len);

/*
 * Walks the headers: set *at to 0 to begin. 1: *ret is filled (name is not NUL-terminated, see
 * name_len); 0: no more, or the publisher wrote nonsense there.
 */
int bus_msg_header_next(const struct bus_msg *msg, uint32_t *at, struct bus_header *ret);

/* The 32-bit hash by which keys are compared (FNV-1a). */
uint32_t bus_key_hash(const void *key, uint32_t key_len);

#ifdef __cplusplus
}
#endif
#endif
