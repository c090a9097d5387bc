/* SPDX-License-Identifier: Apache-2.0 */
/* share.c - see share.h */
#include "share.h"

#include "event.h"
#include "log.h"
#include "record.h"
#include "stream.h"
#include "stream_thread.h"

#include <errno.h>
#include <stdlib.h>

/* Who is whose peer: the sleeper's side. */
struct peer {
	struct client *waker;
	uint32_t uses;
	struct segment *bell; /* what was announced; NULL: the waker has none yet for our user */
};

static struct shared *share_new(struct client *client, struct segment *seg)
{
	struct shared *shared;

	if (client->doomed || client->absent)
		return NULL;
	shared = calloc(1, sizeof(*shared));
	if (!shared || idmap_put(&client->segments, seg->info.segment_id, shared) < 0) {
		free(shared);
		client_doom(client, "busd is out of memory");
		return NULL;
	}
	shared->seg = segment_ref(seg);
	shared->queued = event_push(client, &seg->info, seg, false);
	return shared;
}

static void share_drop(struct client *client, struct shared *shared)
{
	uint64_t id = shared->seg->info.segment_id;

	if (shared->queued) {
		event_cancel(shared->queued); /* never heard of it */
	} else {
		struct ctl_ev_segment_gone msg = { .head = { .type = CTL_EV_SEGMENT_GONE,
							     .version = CTL_VERSION,
							     .len = sizeof(msg) },
						   .segment_id = id };

		event_push(client, &msg, NULL, false);
	}
	idmap_remove(&client->segments, id);
	segment_unref(shared->seg);
	free(shared);
}

int share_segment(struct client *client, struct segment *seg)
{
	struct shared *shared = idmap_get(&client->segments, seg->info.segment_id);

	if (client_is_self(client))
		return 0; /* it has them all */
	if (!shared)
		shared = share_new(client, seg);
	if (!shared)
		return client->absent ? 0 : -ENOMEM;
	shared->uses++;
	return 0;
}

void unshare_segment(struct client *client, struct segment *seg)
{
	struct shared *shared = idmap_get(&client->segments, seg->info.segment_id);

	if (shared && --shared->uses == 0)
		share_drop(client, shared);
}

bool share_observed(struct client *client, struct segment *seg)
{
	struct shared *shared = idmap_get(&client->segments, seg->info.segment_id);
	bool fresh = !shared;

	if (!shared)
		shared = share_new(client, seg);
	if (!shared || shared->observed)
		return false;
	shared->observed = true;
	shared->uses++;
	return fresh;
}

void unshare_observed(struct client *client, struct segment *seg)
{
	struct shared *shared = idmap_get(&client->segments, seg->info.segment_id);

	if (!shared || !shared->observed)
		return;
	shared->observed = false;
	unshare_segment(client, seg);
}

void unshare_all_observed(struct client *client)
{
	struct segment **segs = calloc(client->segments.count + 1, sizeof(struct segment *));
	struct shared *shared;
	size_t count = 0;
	size_t at = 0;

	if (!segs) {
		client_doom(client, "busd is out of memory");
		return;
	}
	/* collected first: dropping one moves others in the map */
	while ((shared = idmap_next(&client->segments, &at)))
		if (shared->observed)
			segs[count++] = shared->seg;
	while (count)
		unshare_observed(client, segs[--count]);
	free(segs);
}

void share_again(struct client *client, uint64_t segment_id)
{
	struct shared *shared = idmap_get(&client->segments, segment_id);
	struct client_bell *bell;

	if (shared) {
		if (!shared->queued)
			shared->queued = event_push(client, &shared->seg->info, shared->seg, false);
		return;
	}
	for (bell = client->bells; bell; bell = bell->next) {
		struct ctl_ev_segment msg = bell->seg->info;

		if (msg.segment_id != segment_id || bell->seg->rw_fd < 0)
			continue;
		msg.flags = CTL_SEG_OWN;
		event_push(client, &msg, bell->seg, true);
	}
}

struct segment *share_bell_of(const struct client *waker, uint32_t uid)
{
	const struct client_bell *bell;

	for (bell = waker->bells; bell; bell = bell->next)
		if (bell->uid == uid)
			return bell->seg->ro_fd >= 0 ? bell->seg : NULL;
	return NULL;
}

int share_peer(struct client *sleeper, struct client *waker)
{
	struct peer *peer;

	/* busd's own bell everybody has */
	if (sleeper == waker || sleeper->absent || client_is_self(waker))
		return 0;
	peer = idmap_get(&sleeper->peers, waker->id);
	if (!peer) {
		peer = calloc(1, sizeof(*peer));
		if (!peer || idmap_put(&sleeper->peers, waker->id, peer) < 0) {
			free(peer);
			client_doom(sleeper, "busd is out of memory");
			return -ENOMEM;
		}
		peer->waker = waker;
	}
	if (!peer->bell) {
		struct segment *bell = share_bell_of(waker, sleeper->uid);

		if (bell && share_segment(sleeper, bell) == 0)
			peer->bell = segment_ref(bell);
		if (client_is_self(sleeper) &&
		    thread_hear(sleeper->busd, waker->id, bell ? bell->ro_fd : -1, sleeper->slot) < 0)
			log_error("no memory to hear of \"%s\": its stream goes on slowly",
				  waker->name);
	}
	peer->uses++;
	return 0;
}

static void forget_peer(struct client *sleeper, struct peer *peer)
{
	if (peer->bell) {
		unshare_segment(sleeper, peer->bell);
		segment_unref(peer->bell);
	}
	if (client_is_self(sleeper))
		thread_unhear(sleeper->busd, peer->waker->id);
	idmap_remove(&sleeper->peers, peer->waker->id);
	free(peer);
}

void unshare_peer(struct client *sleeper, struct client *waker)
{
	struct peer *peer = sleeper == waker ? NULL : idmap_get(&sleeper->peers, waker->id);

	if (peer && --peer->uses == 0)
		forget_peer(sleeper, peer);
}

/* Does the waker have a peer of this user? Nobody else gets it to spend memory on a page. */
static bool has_peer_of(struct client *waker, uint64_t uid)
{
	const struct client *self = waker->busd->self;
	struct client *client;

	for_each(client, &waker->busd->clients, link)
		if (client->uid == uid && idmap_get(&client->peers, waker->id))
			return true;
	return self && self->uid == uid && idmap_get(&self->peers, waker->id);
}

void share_own_bell(struct client *waker, struct client_bell *bell)
{
	struct ctl_ev_segment msg = bell->seg->info;

	msg.flags = CTL_SEG_OWN;
	event_push(waker, &msg, bell->seg, true);
}

void share_make_bell(struct client *waker, uint64_t uid)
{
	const struct segment_plan plan = { .kind = CTL_SEG_BELL, .size = sizeof(struct bell_page) };
	const struct quota_bill bill = { .account = &waker->user->account,
					 .bytes = segment_plan_bytes(&plan),
					 .files = 1 };
	struct client_bell *bell;
	struct why why = { "" };
	int rc;

	for (bell = waker->bells; bell; bell = bell->next)
		if (bell->uid == uid)
			return;
	if (!has_peer_of(waker, uid))
		return;
	bell = calloc(1, sizeof(*bell));
	if (bell)
		bell->seg = segment_new(busd_new_id(waker->busd));
	if (!bell || !bell->seg) {
		free(bell);
		client_doom(waker, "busd is out of memory");
		return;
	}
	rc = ring_charge(waker->busd, &bill, &why);
	if (rc == 0) {
		bell->seg->bill = bill;
		rc = segment_build(bell->seg, &plan, &why);
	}
	if (rc < 0) {
		log_warning("client %s gets no bell page for uid %llu: %s", client_label(waker),
			    (unsigned long long)uid, why.text);
		segment_unref(bell->seg);
		free(bell);
		return;
	}
	bell->uid = (uint32_t)uid;
	bell->seg->info.owner_id = waker->id;
	bell->seg->info.uid = bell->uid;
	bell->next = waker->bells;
	waker->bells = bell;
	segment_hold(bell->seg);
	record_bell(waker, bell);
	share_own_bell(waker, bell);
}

/* The page exists now: its sleepers get it. */
static void give_bell(struct client *waker, struct segment *bell)
{
	struct client *self = waker->busd->self;
	struct peer *mine = self && self->uid == bell->info.uid ? idmap_get(&self->peers, waker->id)
								: NULL;
	struct client *client;

	if (mine && !mine->bell) {
		mine->bell = segment_ref(bell);
		if (thread_hear(self->busd, waker->id, bell->ro_fd, self->slot) == 0)
			client_bell_due(self); /* it sleeps on the words that it knows */
	}

	for_each(client, &waker->busd->clients, link) {
		struct peer *peer =
			client->uid == bell->info.uid ? idmap_get(&client->peers, waker->id) : NULL;

		if (peer && !peer->bell && share_segment(client, bell) == 0)
			peer->bell = segment_ref(bell);
	}
}

void share_bell_ready(struct client *waker, uint64_t segment_id)
{
	struct client_bell *bell;
	struct why why;
	int rc;

	for (bell = waker->bells; bell; bell = bell->next)
		if (bell->seg->info.segment_id == segment_id && bell->seg->ro_fd < 0)
			break;
	if (!bell)
		return;
	rc = segment_seal(bell->seg, &why);
	if (rc == 0)
		rc = segment_refill(bell->seg, &why);
	if (rc == 0)
		rc = segment_publish(bell->seg, &why);
	if (rc < 0) {
		client_doom(waker, "%s", why.text);
		return;
	}
	record_bell(waker, bell);
	give_bell(waker, bell->seg);
}

void share_forget(struct client *client)
{
	struct shared *shared;
	struct client *other;
	struct peer *peer;
	size_t at = 0;

	/* nobody has this client as a waker: rings were closed and subscriptions freed before */
	for_each(other, &client->busd->clients, link) {
		peer = other == client ? NULL : idmap_get(&other->peers, client->id);
		if (peer)
			forget_peer(other, peer);
	}
	other = client->busd->self;
	peer = other ? idmap_get(&other->peers, client->id) : NULL;
	if (peer)
		forget_peer(other, peer);
	while ((peer = idmap_next(&client->peers, &at))) {
		segment_unref(peer->bell);
		free(peer);
	}
	at = 0;
	while ((shared = idmap_next(&client->segments, &at))) {
		segment_unref(shared->seg);
		free(shared);
	}
	idmap_free(&client->peers);
	idmap_free(&client->segments);
}
