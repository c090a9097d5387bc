/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bus_internal.h - what the files of api/ share: the connection, its segments, and the two objects
 * on it.
 *
 * Locks of a struct bus, in the order in which they may be taken:
 *   request_lock   one control request at a time; held while its answer is waited for
 *   lock           tables, lists and inboxes; never held over anything that blocks
 * A pub or sub belongs to one thread; the only part of it that others touch is its inbox, under
 * bus->lock.
 */
#ifndef BUS_INTERNAL_H
#define BUS_INTERNAL_H

#include <bus.h>
#include <pthread.h>

#include "base/atomic.h"
#include "base/base.h"
#include "base/clock.h"
#include "format/control_size.h"
#include "os/control_sock.h"
#include "os/shm_map.h"
#include "os/wake.h"

#define BUS__MAGIC      0x6275735f62757331u
#define BUS__PUB_MAGIC  0x6275735f70756231u
#define BUS__SUB_MAGIC  0x6275735f73756231u
#define BUS__SLICE_NS   1000000     /* sleep while a peer has no bell for us yet */
#define BUS__TIMEOUT_NS 5000000000u /* default of control calls */
#define BUS__BUCKETS    256
#define BUS__RESENDS    16 /* as many descriptors as are under way at a time */

/*
 * A mapped segment that busd handed over. Reference counted: one that is gone stays mapped until
 * its last user puts it.
 */
struct bus__segment {
	uint64_t id;
	uint32_t kind, flags; /* enum ctl_segment_kind, CTL_SEG_* */
	/* a ring: its writer page, with the payload mapped twice; NULL: of features not known here */
	void *base;
	size_t size; /* of the segment */
	struct ring_geometry geometry;
	uint64_t topic_id, owner_id;
	uint32_t entries, uid;
	/* private to segments.c */
	struct shm_map map;
	uint32_t refs;
	bool gone;
	bool stale;             /* not told again yet, by a new worker of busd's */
	struct bus__past *past; /* of a former busd: in its table; NULL: in the connection's */
	bool loose;             /* that is gone, too: it goes with its last user */
	struct bus__segment *next;
};

/* A bell page of ours: for the sleepers of one user. */
struct bus__bell {
	uint32_t uid;
	bool wanted; /* asked for, not here yet */
	struct bell_page *page;
	struct shm_map map;
	struct bus__bell *next;
};

/*
 * What a former busd gave us, and who still reads and writes its rings sleeps on: kept until nobody
 * here does.
 */
struct bus__past {
	uint32_t gen;
	struct bus__segment *segments[BUS__BUCKETS];
	struct bus__bell *bells;
	struct shm_map busd_bell;
	struct bus__past *next;
};

/* An event that waits for the thread that owns its object. */
struct bus__event {
	struct bus__event *next;
	uint16_t type; /* CTL_EV_MEMBER, CTL_EV_RING, CTL_EV_RING_GONE, CTL_EV_RESUME */
	union {
		struct ctl_ev_member member;
		struct ctl_ev_ring ring;
		struct ctl_ev_ring_gone ring_gone;
		struct ctl_ev_resume resume;
	};
};

struct bus__inbox {
	struct bus__event *first, **last;
};

struct bus {
	uint64_t magic; /* reads 0 in a forked child */
	int ctl, ev;
	/* busd's word for this client: moves when there are events. bus__bell() */
	const _Atomic uint32_t *_Atomic bell;
	_Atomic uint32_t pumped; /* its value before the last complete reception */
	_Atomic uint32_t gone;   /* busd has gone for good, or does not know us any more */
	_Atomic uint32_t lost;   /* its worker hung up: bus__mend() */
	_Atomic uint32_t apart;  /* busd speaks, or has become, what we do not know: apart_why */
	uint16_t version;        /* of the protocol, as agreed with the present worker */
	bool attached;           /* by token: a new worker knows us */
	uint64_t token[2];
	int hello; /* under request_lock: a connection on which the answer to HELLO is due; -1 */
	uint64_t hello_after; /* under request_lock: do not connect before */
	/* another busd (succeed.c) */
	_Atomic uint32_t gen;       /* how many we have been connected to; changes under lock */
	_Atomic uint32_t orphaned;  /* all of busd is dead, and no other one has answered yet */
	_Atomic uint32_t heirs_due; /* there may be subscriptions that it does not know yet */
	_Atomic uint64_t look_at;   /* CLOCK_MONOTONIC: look at the connection then */
	uint32_t instance;          /* of the present busd */
	bool autostart;             /* it is a private one, which may be started again */
	bool same_pids;     /* busd's pids are ours: who has such a number no more is dead */
	bool opening_heirs; /* under lock: a thread does */
	bool afresh;        /* under request_lock: HELLO as a new client */
	uint64_t pace_ns, start_after; /* under request_lock */
	struct bus__past *past;        /* under lock */
	uint64_t serial;               /* of objects; under lock */
	pthread_mutex_t request_lock;
	pthread_mutex_t lock;
	uint64_t client_id;
	uint32_t uid, slot;
	_Atomic uint32_t features; /* CTL_FEATURE_* of the busd that greeted us last */
	size_t page_bytes;
	uint64_t timeout_ns;
	uint32_t request_number;
	/* an open that was given up and is not answered yet (control.c); type 0: none */
	union {
		struct ctl_head head;
		struct ctl_pub_open pub;
		struct ctl_sub_open sub;
	} late;
	bool late_unasked; /* of the present worker */
	bool fences; /* this process could not register for membarrier: its publishers fence */
	struct shm_map busd_bell;
	struct bus__segment *segments[BUS__BUCKETS];
	struct bus__bell *bells;
	struct bus_pub *pubs;
	struct bus_sub *subs;
	struct bus__event *spare;  /* for the next message on ev */
	struct bus__inbox orphans; /* events for objects that are being opened */
	int opening;
	int observers; /* struct bus_stat, under lock: busd is told to stop with the last */
	struct {
		uint64_t id, after; /* CLOCK_MONOTONIC: do not ask for it again before */
	} resend[BUS__RESENDS];
	uint64_t unacked; /* descriptors read that busd could not be told of yet, under lock */
	char name[CTL_NAME_MAX];
	char socket[108];
	char apart_why[CTL_WHY_MAX]; /* written once, before `apart` */
};

/* ---- why.c: the sentence for the last failure of this thread ---- */
/* sets the sentence, returns err */
int bus__fail(int err, const char *format, ...) BUS_PRINTF(2, 3);
void bus__why_clear(void);
/* What was done to clear up after a failure must not put its own sentence over the first one. */
void bus__why_save(char text[CTL_WHY_MAX]);
void bus__why_restore(const char text[CTL_WHY_MAX]);

/* ---- find.c: which socket, and starting a private busd ---- */
/* Where that would look, without connecting or making anything. -ENAMETOOLONG. */
int bus__find_socket(const char *asked, char *path, size_t path_size);
/* *may_start: it is a private one, which this process may start. */
int bus__find_and_connect(const struct bus_connect_opts *opts, uint64_t deadline_ns, char *path,
			  size_t path_size, bool *may_start);
/* Runs a private busd and waits until it listens, or another one won. */
int bus__start_private(const char *path);

/* ---- mend.c: coming back to a new worker of busd's ---- */
/*
 * One step of it, where the connection is lost: never blocks. To be called without a lock, by
 * whatever looks at the connection; a thread that asks busd something goes all the way by itself.
 */
void bus__mend_lost(struct bus *bus);
static inline void bus__mend(struct bus *bus)
{
	if (bus_unlikely(bus_load_relaxed(&bus->lost) != 0))
		bus__mend_lost(bus);
}
/* Under request_lock. 0, -EPIPE: gone for good; -ETIMEDOUT. */
int bus__mend_until(struct bus *bus, uint64_t deadline_ns);
/* The connection hung up. -EPIPE. */
int bus__hung_up(struct bus *bus);
/* An event may have come, or the connection is back, or the deadline has passed. */
void bus__await_event(struct bus *bus, uint64_t deadline_ns);

/* ---- succeed.c: all of busd died, and another one serves ---- */
#define BUS__LOOK_NS 100000000u /* between two looks at a connection that is well */
#define BUS__SOON_NS 2000000u   /* while it is not, or somebody has not come back */

static inline uint32_t bus__gen(const struct bus *bus)
{
	return bus_load_acquire(&bus->gen);
}

static inline uint32_t bus__older(uint32_t a, uint32_t b)
{
	return a < b ? a : b;
}

/* Whether the busd of that generation will never say anything any more. */
static inline bool bus__is_over(const struct bus *bus, uint32_t gen)
{
	return bus_load_acquire(&bus->gone) != 0 || bus_load_acquire(&bus->orphaned) != 0 ||
	       bus__gen(bus) != gen;
}

/*
 * Looks whether the connection is well, and takes steps if not: without a lock, now or when it is
 * due. Blocks for a few ms at most, where a busd answers; 250 ms where it does not.
 */
void bus__look(struct bus *bus, bool now);
/* Whether that which has happened since is due to be looked at more often. */
bool bus__is_well(const struct bus *bus);
/*
 * Under request_lock: on bus->hello a busd answered that does not know us. 1: it does now; -errno:
 * not.
 */
int bus__begin_anew(struct bus *bus, const struct ctl_hello_reply *r, struct control_packet *p);
/* Bells of that generation; under lock. */
struct bus__bell *bus__bells_of(struct bus *bus, uint32_t gen);
/* Frees what no object needs any more; under lock. */
void bus__past_sweep(struct bus *bus);
void bus__past_free(struct bus *bus);
/* Whether the kernel says that there is no such process (any more). false: unknown. */
bool bus__process_died(uint32_t pid);

/* ---- control.c ---- */

/*
 * Sends a request (its ctl_head has type and len set) and waits for its answer of exactly
 * reply_size bytes. *nfds: room in fds on entry, how many came on return (the caller's); both may
 * be NULL. 0, or -errno with the sentence set.
 */
int bus__request(struct bus *bus, void *req, void *reply, size_t reply_size, int *fds, int *nfds);
/* The same about an object that only the busd of that generation knows: else -EPIPE. */
int bus__request_of(struct bus *bus, uint32_t gen, void *req, void *reply, size_t reply_size,
		    int *fds, int *nfds);
/* The same again, without descriptors; it waits at most so long. */
int bus__request_within(struct bus *bus, uint32_t gen, uint64_t most_ns, void *req, void *reply,
			size_t reply_size);
/* The generation to which requests go now: that of an object that is to be opened. */
uint32_t bus__settle(struct bus *bus);
int bus__request_locked(struct bus *bus, void *req, void *reply, size_t reply_size, int *fds,
			int *nfds);

/* Receives all events that are there, never blocks. 0, or -EPIPE where busd has gone. */
int bus__pump(struct bus *bus);
int bus__pump_locked(struct bus *bus);

static inline const _Atomic uint32_t *bus__bell(const struct bus *bus)
{
	return bus_load_acquire(&bus->bell);
}

/* Whether busd rang since the last complete reception. One load of a shared word. */
static inline bool bus__rung(const struct bus *bus)
{
	return bus_load_acquire(bus__bell(bus)) != bus_load_relaxed(&bus->pumped);
}

/* busd is over for us, and not because it went: the reason is told with the next request. */
void bus__part(struct bus *bus, const char *format, ...) BUS_PRINTF(2, 3);

static inline bool bus__speaks(uint32_t version)
{
	return version >= CTL_VERSION_MIN && version <= CTL_VERSION;
}

/* 0, or -errno where the message was not sent. */
int bus__acknowledge(struct bus *bus, uint16_t type, uint64_t id, uint64_t value);

void bus__inbox_init(struct bus__inbox *inbox);
struct bus__event *bus__inbox_take(struct bus__inbox *inbox); /* the first, unlinked; NULL */
void bus__inbox_push(struct bus__inbox *inbox, struct bus__event *event);
void bus__inbox_free(struct bus__inbox *inbox);

#define BUS__HEAD(kind, struct_type) \
	{ \
		.type = (kind), .version = CTL_VERSION, .len = sizeof(struct struct_type) \
	}

/* ---- segments.c: under bus->lock ---- */
struct bus__segment *bus__segment_find(struct bus *bus, uint32_t gen, uint64_t id); /* borrowed */
struct bus__segment *bus__segment_get(struct bus *bus, uint32_t gen, uint64_t id);
void bus__segment_put(struct bus *bus, struct bus__segment *seg);
/* Waits until a segment that busd has sent or queued is here; NULL: not in time. Takes the lock. */
struct bus__segment *bus__segment_await(struct bus *bus, uint32_t gen, uint64_t id);
void bus__segments_each(struct bus *bus, int (*fn)(struct bus__segment *seg, void *arg), void *arg);
struct bus__segment *bus__segment_add(struct bus *bus, const struct ctl_ev_segment *ev, int fd,
				      int *err);
void bus__segment_gone(struct bus *bus, uint64_t id);
void bus__segments_free(struct bus *bus);
/* A new worker begins to tell all segments again; it has told all. */
void bus__segments_stale(struct bus *bus);
void bus__segments_settled(struct bus *bus);
/* Another busd: they are the past's from now on. */
void bus__segments_former(struct bus *bus, struct bus__past *past);
void bus__past_segments_free(struct bus__past *past);
/* A bell page's mapping of our own; the descriptor stays the caller's. NULL with *err. */
struct bus__bell *bus__bell_map(uint32_t uid, int fd, int *err);
void bus__segment_missing(struct bus *bus, uint64_t id); /* asks busd to send it again */
/* Our own bell page for the sleepers of a user; NULL: asked for. */
struct bell_page *bus__own_bell(struct bus *bus, uint32_t uid);
int bus__own_bell_add(struct bus *bus, uint32_t uid, int fd);
/*
 * The bell word on which a peer client wakes us; NULL: not here (yet). *seg gets a reference to be
 * put, or NULL.
 */
const _Atomic uint32_t *bus__peer_bell(struct bus *bus, uint64_t client_id,
				       struct bus__segment **seg);

/* ---- pub_succeed.c, sub_succeed.c: of those that the caller opened; heirs go with whom they are for ---- */
struct bus_pub *bus__pub_first(const struct bus *bus);
struct bus_sub *bus__sub_first(const struct bus *bus);

/* ---- bus.c ---- */
/* What the answer to HELLO brings: of its descriptors fds[1] and fds[2], which stay the caller's. */
struct bus__greeting {
	struct ctl_hello_reply reply;
	struct shm_map busd_bell;
	struct bus__bell *own;
	bool same_pids;
};
int bus__greeting_map(struct bus__greeting *g, const struct bus *bus, int ctl,
		      const struct ctl_hello_reply *r, const int *fds, int nfds);
/* Instead of all bells that the connection has; under lock, where it has been in use. */
void bus__greeting_take(struct bus *bus, const struct bus__greeting *g);
int bus__check_topic(const char *topic);
struct ctl_hello bus__hello(const struct bus *bus, uint16_t flags);
int bus__node(void); /* NUMA node on which the caller runs, -1 unknown */
void bus__calibration(const struct board_head *board, struct bus_calibration *ret);

/* ---- pub.c, sub.c: called by the pump, under bus->lock ---- */
bool bus__pub_take_event(struct bus *bus, struct bus__event *event); /* false: no such publisher */
bool bus__sub_take_event(struct bus *bus, struct bus__event *event);
/* The same for all of them; what waits there is told again. */
void bus__pubs_take_resume(struct bus *bus, uint32_t end);
void bus__subs_take_resume(struct bus *bus, uint32_t end);

/*
 * Publishes the cursors of all subscriptions that this thread used last: before any sleep of the
 * thread.
 */
void bus__flush_thread(void);

#endif
