/* SPDX-License-Identifier: Apache-2.0 */
/* stream_self.c - busd as a client of its streams, and how large those are; see stream.h */
#include "stream_internal.h"

#include "log.h"
#include "user.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- sizes ---- */

int stream_settle(struct ctl_topic_settings *settings, uint64_t asked_max_bytes,
		  uint32_t *stream_slots, uint64_t *stream_bytes, struct why *why)
{
	uint64_t slots = *stream_slots ? *stream_slots : STREAM_DEFAULT_SLOTS;
	uint64_t bytes = *stream_bytes;

	if (slots < RING_MIN_SLOTS || slots > RING_MAX_SLOTS || bytes > RING_MAX_BYTES)
		return because(why, EINVAL,
			       "a stream's ring has %u to %u slots, and at most %llu bytes",
			       RING_MIN_SLOTS, RING_MAX_SLOTS, (unsigned long long)RING_MAX_BYTES);
	if (!bytes)
		bytes = bus_max_u64(STREAM_DEFAULT_BYTES,
				    bus_max_u64(asked_max_bytes, settings->bytes));
	bytes = bus_ceil_pow2(bus_max_u64(bytes, (uint64_t)sysconf(_SC_PAGESIZE)));
	/* what fits into a publisher's ring has to fit into the stream's */
	if (!asked_max_bytes)
		settings->max_bytes =
			bus_max_u64(settings->bytes, bus_min_u64(settings->max_bytes, bytes));
	if (settings->max_bytes > bytes)
		return because(
			why, EINVAL,
			"rings of publishers of %llu bytes do not fit into a stream's ring of %llu: make that larger",
			(unsigned long long)settings->max_bytes, (unsigned long long)bytes);
	*stream_slots = (uint32_t)bus_ceil_pow2(slots);
	*stream_bytes = bytes;
	return 0;
}

/* ---- busd as a client ---- */

int stream_self(struct busd *busd, int slot, struct why *why)
{
	struct client *self;
	struct user *user;
	int rc;

	if (busd->self)
		return 0;
	user = user_get(busd, busd->uid);
	self = user ? calloc(1, sizeof(*self)) : NULL;
	if (!self)
		return because(why, ENOMEM, "busd is out of memory");
	if (slot < 0)
		slot = user_take_slot(busd, user, why);
	else
		user->slots[slot / 64] |= UINT64_C(1) << (slot % 64);
	if (slot < 0 || !user->busd_bell) {
		free(self);
		return slot < 0 ? slot : because(why, ENOMEM, "busd has no bell of its own");
	}
	self->busd = busd;
	self->id = CTL_CLIENT_BUSD;
	self->state = CLIENT_ATTACHED;
	self->user = user;
	self->slot = (uint32_t)slot;
	self->pid = busd->pid;
	self->uid = busd->uid;
	self->node = -1;
	self->ctl.fd = self->ev.fd = self->process.fd = -1;
	snprintf(self->name, sizeof(self->name), "busd");
	list_init(&self->link);
	list_init(&self->handshake_link);
	list_init(&self->doomed_link);
	list_init(&self->bell_link);
	list_init(&self->stalled_link);
	list_init(&self->events);
	list_init(&self->pubs);
	list_init(&self->subs);
	busd->settled.fd = -1;
	busd->settled.ready = stream_settled;
	rc = idmap_put(&busd->clients_by_id, self->id, self);
	if (rc == 0)
		rc = thread_open(busd, &((struct bell_page *)user->busd_bell->map)->word[self->slot]);
	if (rc < 0) {
		idmap_remove(&busd->clients_by_id, self->id);
		user_release_slot(user, (uint32_t)slot);
		free(self);
		return because(why, -rc, "busd cannot make a sequencer: %s", strerror(-rc));
	}
	busd->self = self;
	return 0;
}

bool stream_in_memory(const struct busd *busd)
{
	size_t i;

	for (i = 0; i < busd->topic_count; i++)
		if (busd->topics[i]->stream && !busd->topics[i]->stream->disk)
			return true;
	return false;
}

void stream_run(struct busd *busd)
{
	int rc = thread_start(busd);

	if (rc < 0)
		log_error("no thread for the sequencer: %s; streams stand still", strerror(-rc));
	stream_run_disks(busd);
}
