/* SPDX-License-Identifier: Apache-2.0 */
/*
 * share.h - which segments a client has been given, and why: each is announced once, counted by
 * its uses, and declared gone after the last. Bell pages follow from who is whose peer.
 */
#ifndef BUSD_SHARE_H
#define BUSD_SHARE_H

#include "client.h"

struct event;

/* One segment that a client was, or is about to be, told of. */
struct shared {
	struct segment *seg;
	uint32_t uses;
	bool observed;        /* one of the uses is that of an observer */
	struct event *queued; /* the announcement, while it is not sent */
};

/*
 * The announcement is queued before this returns, so what is pushed afterwards may refer to it. 0
 * or -ENOMEM (doomed).
 */
int share_segment(struct client *client, struct segment *seg);
void unshare_segment(struct client *client, struct segment *seg);
/*
 * The same for an observer, which counts once however often it is called. true: it is new to the
 * client.
 */
bool share_observed(struct client *client, struct segment *seg);
void unshare_observed(struct client *client, struct segment *seg);
void unshare_all_observed(struct client *client);
/* The announcement was lost on the way (no descriptor left there). */
void share_again(struct client *client, uint64_t segment_id);

/* sleeper needs the page on which waker rings for sleeper's user, now or as soon as it exists. */
int share_peer(struct client *sleeper, struct client *waker);
void unshare_peer(struct client *sleeper, struct client *waker);

/* waker asked for a page of its own for the sleepers of uid (EVC_WANT_BELL). */
void share_make_bell(struct client *waker, uint64_t uid);
/* Hands it over (again). */
void share_own_bell(struct client *waker, struct client_bell *bell);
/* It mapped it. */
void share_bell_ready(struct client *waker, uint64_t segment_id);
/* The page of a client for a uid, if it is published. */
struct segment *share_bell_of(const struct client *waker, uint32_t uid);

/* All that this client was given, without telling it; and that others know of its bells. */
void share_forget(struct client *client);

#endif
