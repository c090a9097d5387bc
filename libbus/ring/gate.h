/* SPDX-License-Identifier: Apache-2.0 */
/*
 * gate.h - how far a publisher may go: the publisher's own state, its members, and refresh().
 *
 * A member is a subscription attached to the publisher's ring. A reliable one gates: the publisher
 * does not overwrite what it has not released. All words of a member's cursor segment are hostile.
 * refresh() runs about 8 times per lap; between two of them publishing looks at no cursor at all.
 */
#ifndef BUS_GATE_H
#define BUS_GATE_H

#include "ring/ring.h"

/* A sleeping publisher is woken for this part of its ring. The explorer's rings are small. */
#if defined(BUS_EXPLORE)
#define RING_WAKE_PART 2
#else
#define RING_WAKE_PART 8
#endif

struct ring_member {
	/* shared, read-only for us */
	const struct cursor_entry *entry;
	const _Atomic uint32_t *waiting;
	const _Atomic uint32_t *idle;
	/* private */
	uint64_t start;  /* gates from here until the entry carries our ring's id */
	uint64_t last;   /* the newest cursor seen; an honest one never goes back */
	uint64_t atwake; /* what was published when it was woken last */
	uint32_t woken;  /* generation for which it was woken */
	bool gates;
	bool lying;  /* its cursor ran backwards or ahead: ignored, and to be reported */
	void *owner; /* the caller's */
	uint64_t sub_id;
};

enum ring_room {
	RING_BLOCKED = 0, /* the slowest gating reader leaves no room */
	RING_ROOM = 1,
	/* board.epoch moved: receive memberships, ring_pub_seen(), try again; not there: blocked */
	RING_NEWS = 2,
};

struct ring_pub {
	/* the publishing path, one line */
	uint64_t n;         /* next sequence number */
	uint64_t bytes;     /* published payload */
	uint64_t pos;       /* next payload position */
	uint64_t limit_seq; /* may publish below these without looking at anybody */
	uint64_t limit_pos;
	const _Atomic uint64_t *epoch; /* of the topic's board */
	uint64_t seen;                 /* membership number that we act on */
	struct ring_member *members;
	uint32_t member_count;
	bool fences; /* W1 is a real fence: somebody in this pair has no membarrier */
	/*
	 * an epoch moved and its memberships were not there: somebody may sleep whom we do not know
	 */
	bool wake_owed;
	/* the ring */
	struct ring_view view;
	/* payload below this may have been written, by a claim that was not published too */
	uint64_t written_pos;
	uint64_t ring_id;
	uint64_t begin;   /* nothing below it is in this ring: no reader has that to read here */
	uint64_t slowest; /* sub_id of the slowest gating member at the last refresh, 0 none */
	uint32_t waiting_gen;
	uint64_t wake_at; /* as on the writer page, for waiting_gen */
	/*
	 * Wakes one member: increments the bell word that it sleeps on and calls FUTEX_WAKE. false:
	 * has no bell yet.
	 */
	bool (*wake)(struct ring_pub *pub, struct ring_member *member);
};

void ring_pub_init(struct ring_pub *pub, const struct ring_view *view, uint64_t ring_id,
		   uint64_t first_seq, const _Atomic uint64_t *epoch);

/*
 * Looks at the gates and moves the limit so that `need` payload bytes may be published, if they
 * may. `need` must be at most ring_message_max(). On RING_BLOCKED pub->slowest says whom to blame
 * (0: unknown, or news that did not come).
 */
enum ring_room ring_pub_refresh(struct ring_pub *pub, uint64_t need);

/* Memberships up to `number` are in pub->members now. */
static inline void ring_pub_seen(struct ring_pub *pub, uint64_t number)
{
	pub->seen = number;
}

/*
 * A blocked publisher's sleep. begin, with the `need` that found no room, after the caller has read
 * its bells and before it looks once more: says how far a reader must come to wake it, and sets the
 * waiting generation; end clears it. Readers that come less far do not wake it, although there may
 * be room for one message: a sleep must have an end of its own (a few ms).
 */
void ring_pub_wait_begin(struct ring_pub *pub, uint64_t need);
/* The same for who waits, not for room, but until a reader has come to seq. */
void ring_pub_wait_until(struct ring_pub *pub, uint64_t seq);
void ring_pub_wait_end(struct ring_pub *pub);

/*
 * Before the first message: numbers begin at n, later than at the ring's first one, since those
 * before it went into another ring meanwhile. Readers who sleep are to be woken: to move there.
 */
void ring_pub_begin(struct ring_pub *pub, uint64_t n);

/* Ends the ring: readers that reach n know that nothing follows. */
void ring_pub_final(struct ring_pub *pub);

#endif
