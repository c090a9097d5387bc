/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pub.c - opening a publisher, and the path of a message from the caller's bytes to the commit.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "api/message_head.h"
#include "api/opts.h"
#include "api/pub_internal.h"
#include "api/pub_put.h"

static_assert(sizeof(((struct bus_out *)0)->len) == 4, "lengths are 32 bits");

/* ---- time ---- */

/*
 * Reading the counter costs as much as all the rest of a publish (rdtsc: 11 ns of 21), so messages
 * of a burst share a stamp: at most PUB_STAMP_GROUP of them, only while the last group came at less
 * than PUB_BURST_NS a message, and only while no subscriber is asleep or idle, which would be a
 * sign that this publisher has paused since.
 */
static inline bool nobody_idles(const struct bus_pub *pub)
{
	const struct ring_pub *r = &pub->ring;

	for (uint32_t i = 0; i < r->member_count; i++)
		if ((bus_load_relaxed(r->members[i].waiting) |
		     bus_load_relaxed(r->members[i].idle)) != 0)
			return false;
	return true;
}

static BUS_COLD void end_of_group(struct bus_pub *pub)
{
	bool burst = pub->stamp_began != 0 && pub->stamp - pub->stamp_began < pub->burst_ticks;

	pub->stamp_count = 0;
	pub->stamp_began = pub->stamp;
	if (burst && pub->ring.member_count > 0 && pub->ring.member_count <= PUB_STAMP_MEMBERS) {
		pub->stamp_left = PUB_STAMP_GROUP - 1;
		pub->stamp_count = PUB_STAMP_GROUP - 1; /* the next own stamp ends the group */
	}
}

static BUS_COLD uint64_t burst_stamp(struct bus_pub *pub)
{
	if (pub->stamp_left != 0 && nobody_idles(pub)) {
		pub->stamp_left--;
		return pub->stamp;
	}
	pub->stamp = bus_counter();
	if (bus_unlikely(pub->stamp_left != 0)) { /* somebody is idle: back to a stamp each */
		pub->stamp_left = 0;
		pub->stamp_count = 0;
	}
	if (bus_unlikely(++pub->stamp_count >= PUB_STAMP_GROUP))
		end_of_group(pub);
	return pub->stamp;
}

static inline uint64_t take_stamp(struct bus_pub *pub)
{
	return bus_likely(!pub->burst_time) ? bus_counter() : burst_stamp(pub);
}

/* ---- sending ---- */

static inline bool may_write(const struct bus_pub *pub, uint64_t need)
{
	return bus_likely(pub->go) && ring_pub_room(&pub->ring, need);
}

/* Nobody rings when busd dies. Before a publish, since another ring may be the one to write. */
static inline void look_if_due(struct bus_pub *pub, uint64_t counter)
{
	if (bus_unlikely(counter >= pub->look_at) && pub->magic == BUS__PUB_MAGIC && !pub->claimed)
		bus__pub_look(pub);
}

/* The way to room where there is none, or to the reason why nothing may be published. */
static BUS_COLD int clear_the_way(struct bus_pub *pub, uint64_t need)
{
	if (pub->magic != BUS__PUB_MAGIC)
		return -ECHILD;
	return pub->claimed ? -EBUSY : bus__pub_make_room(pub, need);
}

/*
 * Wakes who sleeps. -ESHUTDOWN: the topic has been removed, whether the message is still read is
 * open.
 */
static BUS_COLD int wake_slowly(struct bus_pub *pub)
{
	if (ring_pub_wake_all(&pub->ring) != RING_NEWS)
		return 0;
	bus__pub_wake_news(pub);
	return pub->removed ? bus__fail(-ESHUTDOWN, "topic \"%s\" was removed", pub->topic) : 0;
}

static inline int wake_readers(struct bus_pub *pub)
{
	return bus_likely(ring_pub_quiet(&pub->ring)) ? 0 : wake_slowly(pub);
}

/* After put_bytes(). */
BUS_INLINE void commit_plain(struct bus_pub *pub, uint32_t len, uint64_t need, uint64_t stamp)
{
	ring_pub_commit_words(&pub->ring, stamp, ring_pack_lens(len, 0, 0),
			      need == 0 ? RING_FLAG_INLINE : 0, need, len);
}

/* What bus_pub_send() leaves to a function that may call others: it saves no register itself. */
static __attribute__((noinline)) int send_long(struct bus_pub *pub, const void *data, uint32_t len,
					       uint64_t need, uint64_t stamp)
{
	put_bytes(pub, data, len, need);
	commit_plain(pub, len, need, stamp);
	ring_pub_tell(&pub->ring);
	return wake_readers(pub);
}

/* Something is in the way, or may be. */
static BUS_COLD int send_slowly(struct bus_pub *pub, const void *data, uint32_t len)
{
	uint64_t need = ring_need(0, len);

	look_if_due(pub, bus_counter());
	if (pub->skip != 0 && pub->magic == BUS__PUB_MAGIC) {
		bus__pub_skip(pub);
		return 0;
	}
	if (!may_write(pub, need)) {
		int err = clear_the_way(pub, need);

		if (err < 0)
			return err;
	}
	if (data == NULL && len != 0)
		return -EINVAL;
	return send_long(pub, data != NULL ? data : "", len, need, take_stamp(pub));
}

/* It is time to look whether busd is there. The bytes may lie in the ring, and will not be published. */
static BUS_COLD int send_after_look(struct bus_pub *pub, const void *data, uint32_t len)
{
	ring_pub_written(&pub->ring, ring_need(0, len));
	return send_slowly(pub, data, len);
}

/*
 * A line of bytes first, then the time: the line has to be taken from a reader, and comes while the
 * counter is read. The other way round a round trip of 64 bytes took 1.54 of two cache lines, this
 * way 1.24 to 1.43.
 */
int bus_pub_send(struct bus_pub *pub, const void *data, uint32_t len)
{
	uint64_t need = ring_need(0, len), stamp;

	if (bus_unlikely(!may_write(pub, need) || data == NULL))
		return send_slowly(pub, data, len);
	if (need == RING_POS_ALIGN) {
		put_line(ring_pub_at(&pub->ring), data, len);
		bus_fence_light();
	}
	stamp = take_stamp(pub);
	if (bus_unlikely(stamp >= pub->look_at))
		return send_after_look(pub, data, len);
	if (need > RING_POS_ALIGN)
		return send_long(pub, data, len, need, stamp);
	if (need == 0)
		put_inline(pub, data, len);
	commit_plain(pub, len, need, stamp);
	ring_pub_tell(&pub->ring);
	return wake_readers(pub);
}

/* Fills the head's part of a message and says how much room the whole needs. */
static int prepare(struct bus_pub *pub, const struct bus_out *out, uint32_t len,
		   struct ring_message *m, uint64_t *need)
{
	uint32_t head_len;
	int err = message_head_length(out, &head_len);

	if (err < 0)
		return bus__fail(
			err,
			"key or headers of a message on \"%s\": more than %u headers, a name of 0 or over 255 "
			"bytes, a value over 65,535 bytes, or together over %u bytes",
			pub->topic, BUS_HEADERS_MAX, BUS_HEAD_MAX);
	*m = (struct ring_message){ .len = len, .key_len = out->key_len };
	if (head_len != 0) {
		bool fits = (uint64_t)head_len + len <= RING_INLINE_MAX;

		m->head_len = fits ? head_len : BUS_ALIGN_UP(head_len, RING_HEAD_ALIGN);
		m->flags = out->header_count > 0 ? RING_FLAG_HEADERS : 0;
		m->key_hash = out->key_len > 0 ? bus_key_hash(out->key, out->key_len) : 0;
	}
	*need = ring_need(m->head_len, len);
	return 0;
}

#define DROPPED 1 /* the stream has it already */

/* Makes room in the middle of a batch: what is committed must be seen before this thread waits. */
static BUS_COLD int batch_room(struct bus_pub *pub, uint64_t need, uint64_t *stamp)
{
	int err;

	if (pub->skip != 0) {
		bus__pub_skip(pub);
		return DROPPED;
	}
	ring_pub_tell(&pub->ring);
	err = wake_readers(pub);
	if (err == 0)
		err = clear_the_way(pub, need);
	*stamp = bus_counter();
	return err;
}

static int send_with_head(struct bus_pub *pub, const struct bus_out *out, uint64_t *stamp)
{
	struct ring_message m;
	uint64_t need;
	uint8_t *at;
	int err = prepare(pub, out, out->len, &m, &need);

	if (err == 0 && !may_write(pub, need))
		err = batch_room(pub, need, stamp);
	if (err != 0)
		return err < 0 ? err : 0;
	m.time = *stamp;
	at = need == 0 ? (uint8_t *)m.in : ring_pub_at(&pub->ring);
	if (m.head_len != 0)
		message_head_write(at, m.head_len, out);
	if (out->len != 0)
		memcpy(at + m.head_len, out->data, out->len);
	ring_pub_commit(&pub->ring, &m);
	return 0;
}

static inline int send_one(struct bus_pub *pub, const struct bus_out *out, uint64_t *stamp)
{
	uint64_t need = ring_need(0, out->len);

	if (bus_unlikely((out->key_len | out->header_count | out->flags) != 0))
		return send_with_head(pub, out, stamp);
	if (bus_unlikely(!may_write(pub, need))) {
		int err = batch_room(pub, need, stamp);

		if (err != 0)
			return err < 0 ? err : 0;
	}
	if (bus_unlikely(out->data == NULL && out->len != 0))
		return -EINVAL;
	put_bytes(pub, out->data, out->len, need);
	commit_plain(pub, out->len, need, *stamp);
	if (pub->ring.n % RING_TELL_EVERY == 0)
		ring_pub_tell(&pub->ring);
	return 0;
}

int bus_pub_send_batch(struct bus_pub *pub, const struct bus_out *msgs, int count)
{
	uint64_t stamp;
	int done, err = 0;

	if (bus_unlikely(pub->magic != BUS__PUB_MAGIC || pub->claimed))
		return clear_the_way(pub, 0);
	if (count <= 0)
		return count < 0 ? -EINVAL : 0;
	stamp = bus_counter();
	look_if_due(pub, stamp);
	for (done = 0; done < count; done++) {
		err = send_one(pub, &msgs[done], &stamp);
		if (bus_unlikely(err < 0))
			break;
	}
	if (done == 0)
		return err;
	ring_pub_tell(&pub->ring);
	/* a topic that ended in the middle leaves open what of the batch is read */
	if (bus_likely(err != -ESHUTDOWN))
		err = wake_readers(pub);
	return err < 0 ? err : done;
}

/* ---- in place ---- */

/*
 * Hands out room. Even what will travel in the slot is written to the payload area first: the
 * caller may lower len, not its place.
 */
static inline int claim_room(struct bus_pub *pub, uint32_t head_len, uint32_t len,
			     struct bus_claim *ret)
{
	uint64_t need =
		BUS_ALIGN_UP(bus_max_u64((uint64_t)head_len + len, 1), (uint64_t)RING_POS_ALIGN);

	if (bus_unlikely(!may_write(pub, need))) {
		int err = clear_the_way(pub, need);

		if (err == 0 && pub->skip != 0)
			err = bus__fail(
				-EINVAL,
				"%llu messages that stream \"%s\" has already are to be sent again first, and not in place",
				(unsigned long long)pub->skip, pub->topic);
		if (err < 0)
			return err;
	}
	ring_pub_written(&pub->ring, need);
	pub->claim_head = head_len;
	pub->claim_room = len;
	pub->claimed = true;
	pub->go = false;
	ret->data = ring_pub_at(&pub->ring) + head_len;
	ret->len = len;
	ret->slot = (uint32_t)(pub->ring.n & pub->ring.view.slot_mask);
	ret->seq = pub->ring.n;
	return 0;
}

int bus_pub_claim(struct bus_pub *pub, uint32_t len, struct bus_claim *ret)
{
	pub->claim_lens = ring_pack_lens(0, 0, 0);
	pub->claim_attrs = 0;
	return claim_room(pub, 0, len, ret);
}

int bus_pub_claim_with(struct bus_pub *pub, uint32_t len, const struct bus_out *attr,
		       struct bus_claim *ret)
{
	struct ring_message m;
	uint64_t need;
	int err;

	if (attr == NULL)
		return bus_pub_claim(pub, len, ret);
	if (bus_unlikely(pub->magic != BUS__PUB_MAGIC || pub->claimed))
		return clear_the_way(pub, 0);
	err = prepare(pub, attr, len, &m, &need);
	if (err < 0)
		return err;
	/* data is aligned, also where it is small */
	m.head_len = BUS_ALIGN_UP(m.head_len, RING_HEAD_ALIGN);
	err = claim_room(pub, m.head_len, len, ret);
	if (err < 0)
		return err;
	if (m.head_len != 0)
		message_head_write((uint8_t *)ret->data - m.head_len, m.head_len, attr);
	pub->claim_lens = ring_pack_lens(0, m.head_len, m.key_len);
	pub->claim_attrs = ring_pack_attrs(m.flags, m.key_hash);
	return 0;
}

int bus_pub_commit(struct bus_pub *pub, struct bus_claim *claim)
{
	uint64_t attrs = pub->claim_attrs, need, stamp;
	int err;

	if (bus_unlikely(pub->magic != BUS__PUB_MAGIC))
		return -ECHILD;
	if (bus_unlikely(!pub->claimed || claim->seq != pub->ring.n))
		return -EINVAL;
	pub->claimed = false;
	bus__pub_set_go(pub);
	if (bus_unlikely(claim->len > pub->claim_room))
		return -EINVAL;
	need = ring_need(pub->claim_head, claim->len);
	if (need == 0) {
		uint64_t in[3];

		memcpy(in, ring_pub_at(&pub->ring), sizeof(in));
		ring_pub_inline(&pub->ring, in);
		attrs |= RING_FLAG_INLINE;
	}
	stamp = take_stamp(pub);
	ring_pub_commit_words(&pub->ring, stamp, pub->claim_lens | claim->len, attrs, need,
			      claim->len);
	ring_pub_tell(&pub->ring);
	err = wake_readers(pub);
	look_if_due(pub, stamp);
	return err;
}

void bus_pub_abort(struct bus_pub *pub, struct bus_claim *claim)
{
	(void)claim;
	if (pub->magic != BUS__PUB_MAGIC)
		return;
	pub->claimed = false;
	bus__pub_set_go(pub);
}

/* ---- opening and closing ---- */

/*
 * Maps the ring, closes its descriptor, tells busd, receives the members. On failure nothing of it
 * is left.
 */
int bus__pub_take_ring(struct bus_pub *pub, struct ctl_pub_reply *r, int fd, struct shm_map *map)
{
	struct ctl_pub_ready ready = { .head = BUS__HEAD(CTL_PUB_READY, ctl_pub_ready),
				       .pub_id = r->pub_id,
				       .ring_id = r->ring_id };
	struct ctl_pub_ready_reply ready_reply;
	const struct board_ring *before = pub->board_ring;
	struct ring_member *members = pub->ring.members;
	struct ring_view view;
	int err;

	if (!ring_features_ok(&r->geometry)) {
		close(fd);
		return bus__fail(-EPROTONOSUPPORT,
				 "busd at %s hands out a ring with features %#x, this library (" BUS_VERSION
				 ") writes those with %#x; use a newer libbus",
				 pub->bus->socket, r->geometry.features, RING_FEATURES_KNOWN);
	}
	if (!ring_geometry_ok(&r->geometry, pub->bus->page_bytes) ||
	    r->board_index >= BOARD_RINGS || r->geometry.features & RING_FEATURE_STREAM) {
		close(fd);
		return bus__fail(-EPROTO, "busd at %s sent a ring geometry that makes no sense",
				 pub->bus->socket);
	}
	err = shm_map_ring(map, fd, &r->geometry, true);
	close(fd); /* before READY: busd seals what nobody holds writable */
	if (err < 0)
		return bus__fail(err, "cannot map a ring of %llu bytes: %s",
				 (unsigned long long)r->geometry.size, strerror(-err));
	ring_view_init(&view, map->base, &r->geometry);
	ring_writer_init(view.page, r->geometry.first_seq);
	pub->geometry = r->geometry;
	pub->max_bytes = r->max_bytes;
	pub->board_ring = (const struct board_ring *)(const void *)((const uint8_t *)pub->board +
								    BOARD_RINGS_OFF) +
			  r->board_index;
	ring_pub_init(&pub->ring, &view, r->ring_id, r->geometry.first_seq, &pub->board->epoch);
	pub->ring.members = members; /* an empty array that may be used again */
	pub->ring.wake = bus__pub_wake;
	pub->ring.fences = pub->bus->fences;
	pub->ring.bytes = 0;
	err = bus__request_of(pub->bus, pub->gen, &ready, &ready_reply, sizeof(ready_reply), NULL,
			      NULL);
	if (err == 0)
		err = bus__pub_await_members(pub, ready_reply.number);
	if (err < 0 && before != NULL && bus__is_over(pub->bus, pub->gen) &&
	    bus_load_acquire(&before->next_ring) == r->ring_id &&
	    bus_load_acquire(&before->state) == BOARD_RING_CLOSED) {
		/* busd did it, and died before it said so: the readers go on there */
		bus__pub_receive(pub);
		err = 0;
	}
	if (err < 0)
		shm_unmap(map);
	return err;
}

static int set_opts(struct bus_pub *pub, const struct bus_pub_opts *o)
{
	if (o->full > BUS_FULL_FAIL || (o->flags & ~BUS_PUB_BURST_TIME) != 0 || o->full_ns < -1 ||
	    o->spin_ns < -1 || (o->full_ns == -1 && o->full != BUS_FULL_BLOCK))
		return bus__fail(-EINVAL, "bus_pub_open: bad options");
	pub->full = o->full;
	pub->numa = o->numa;
	pub->burst_time = (o->flags & BUS_PUB_BURST_TIME) != 0;
	pub->full_ns = o->full_ns == 0    ? 10000000000u
		       : o->full_ns == -1 ? UINT64_MAX
					  : (uint64_t)o->full_ns;
	pub->polling = pub->level_polling = polling_of(o->spin_ns);
	return 0;
}

static int find_board(struct bus_pub *pub, uint64_t board_id)
{
	struct bus *bus = pub->bus;
	struct bus_calibration cal = { 0 };

	pub->board_segment = bus__segment_await(bus, pub->gen, board_id);
	if (pub->board_segment == NULL || pub->board_segment->kind != CTL_SEG_BOARD)
		return bus__fail(
			-EMFILE,
			"the board of \"%s\" did not arrive: is this process out of file descriptors?",
			pub->topic);
	pub->board = pub->board_segment->base;
	if (!board_known(pub->board->magic, pub->board->version, pub->board->features))
		return bus__fail(
			-EPROTONOSUPPORT,
			"the board of \"%s\" has version %u and features %#x, this library (" BUS_VERSION
			") reads version %u and features %#x; use a newer libbus",
			pub->topic, pub->board->version, pub->board->features, BOARD_VERSION,
			BOARD_FEATURES_KNOWN);
	bus__calibration(pub->board, &cal);
	pub->tick_mult = cal.mult;
	pub->look_at = bus_counter() + bus__pub_ticks(pub, BUS__LOOK_NS);
	pub->burst_ticks =
		cal.mult == 0 ? 0 : (((uint64_t)PUB_STAMP_GROUP * PUB_BURST_NS) << 32) / cal.mult;
	return 0;
}

static int find_source(struct bus_pub *pub, uint32_t source)
{
	pub->source = NULL;
	if (source == 0)
		return 0;
	if (source > BOARD_SOURCES || pub->board_segment->size < BOARD_STREAM_SIZE)
		return bus__fail(-EPROTO, "busd at %s sent a source that makes no sense",
				 pub->bus->socket);
	pub->source = (const struct board_source *)(const void *)((const uint8_t *)pub->board +
								  BOARD_SOURCES_OFF) +
		      (source - 1);
	pub->dropped_told = pub->dropped_at = bus_load_relaxed(&pub->source->dropped);
	return 0;
}

int bus__pub_open_ring(struct bus_pub *pub, const struct ctl_topic_settings *settings,
		       uint64_t first_seq)
{
	struct ctl_pub_open req = { .head = BUS__HEAD(CTL_PUB_OPEN, ctl_pub_open),
				    .settings = *settings,
				    .node = bus__node(),
				    .line = pub->line,
				    .first_seq = first_seq,
				    .flags = pub->named ? CTL_PUB_NAMED : 0 };
	struct ctl_pub_reply reply;
	int fds[CTL_MAX_FDS], nfds = CTL_MAX_FDS, err;

	pub->gen = bus__settle(pub->bus);
	memcpy(req.topic, pub->topic, sizeof(req.topic));
	memcpy(req.name, pub->name, sizeof(req.name));
	BUS_NEXT(req.label = getenv("BUS_NEXT_LABEL") ? strtoull(getenv("BUS_NEXT_LABEL"), NULL, 10)
						      : 0);
	err = bus__request_of(pub->bus, pub->gen, &req, &reply, sizeof(reply), fds, &nfds);
	if (err < 0)
		return err;
	BUS_NEXT(if (reply.label != req.label) return bus__fail(-EPROTO, "busd lost the label"));
	pub->id = reply.pub_id;
	pub->line = pub->line != 0 ? pub->line : pub->id;
	pub->same_pids = pub->bus->same_pids;
	pub->topic_id = reply.topic_id;
	err = nfds == 1 ? find_board(pub, reply.board_id)
			: bus__fail(-EPROTO, "busd handed over %d descriptors", nfds);
	if (err == 0)
		err = find_source(pub, reply.source);
	if (err < 0) {
		while (nfds > 0)
			close(fds[--nfds]);
		return err;
	}
	pthread_mutex_lock(&pub->bus->lock);
	pub->next = pub->bus->pubs;
	pub->bus->pubs = pub; /* members come by event from here on */
	pthread_mutex_unlock(&pub->bus->lock);
	return bus__pub_take_ring(pub, &reply, fds[0], &pub->map);
}

static void free_pub(struct bus_pub *pub)
{
	struct bus *bus = pub->bus;

	bus__pub_drop_members(pub);
	pthread_mutex_lock(&bus->lock);
	for (struct bus_pub **at = &bus->pubs; *at != NULL; at = &(*at)->next) {
		if (*at == pub) {
			*at = pub->next;
			break;
		}
	}
	bus__inbox_free(&pub->inbox);
	bus__segment_put(bus, pub->board_segment);
	bus__pub_drop_formers(pub, true);
	bus__past_sweep(bus);
	pthread_mutex_unlock(&bus->lock);
	wake_crowd_free(pub->crowd);
	shm_unmap(&pub->map);
	free(pub->ring.members);
	shm_private_free(pub, sizeof(*pub));
}

static void tell_closed(struct bus_pub *pub)
{
	struct ctl_pub_close req = { .head = BUS__HEAD(CTL_PUB_CLOSE, ctl_pub_close),
				     .pub_id = pub->id };
	char why[CTL_WHY_MAX];
	struct ctl_ok ok;

	if (pub->id == 0 || bus__is_over(pub->bus, pub->gen))
		return;
	bus__why_save(why);
	if (bus__request_of(pub->bus, pub->gen, &req, &ok, sizeof(ok), NULL, NULL) < 0)
		bus__why_restore(why); /* busd hears of it when the connection ends */
}

void bus__pub_discard(struct bus_pub *pub)
{
	tell_closed(pub);
	free_pub(pub);
}

int bus_pub_open(struct bus_pub **ret, struct bus *bus, const char *topic,
		 const struct bus_pub_opts *opts)
{
	struct ctl_topic_settings settings;
	struct bus_pub_opts o;
	struct bus_pub *pub;
	const char *name;
	int err;

	bus__why_clear();
	if (ret == NULL || bus == NULL)
		return bus__fail(-EINVAL, "bus_pub_open: no connection");
	if (bus->magic != BUS__MAGIC)
		return bus__fail(-ECHILD,
				 "this connection belongs to the parent process; connect anew");
	err = bus__opts_copy(&o, sizeof(o), opts);
	if (err < 0)
		return bus__fail(err, "bus_pub_open: bad options");
	err = bus__check_topic(topic);
	if (err < 0)
		return err;
	pub = shm_private_alloc(sizeof(*pub));
	if (pub == NULL)
		return bus__fail(-ENOMEM, "out of memory");
	pub->bus = bus;
	bus__inbox_init(&pub->inbox);
	strcpy(pub->topic, topic);
	name = o.name != NULL ? o.name : bus->name;
	memcpy(pub->name, name, strnlen(name, sizeof(pub->name) - 1));
	settings = (struct ctl_topic_settings){ .slots = o.slots, .bytes = o.bytes, .numa = o.numa };
	pub->named = o.name != NULL && bus_load_relaxed(&bus->features) & CTL_FEATURE_STREAMS;
	err = set_opts(pub, &o);
	if (err == 0)
		err = bus__pub_open_ring(pub, &settings, 0);
	if (err < 0) {
		bus__pub_discard(pub);
		return err;
	}
	pub->magic = BUS__PUB_MAGIC;
	bus__pub_set_go(pub);
	*ret = pub;
	return 0;
}

void bus_pub_close(struct bus_pub *pub)
{
	if (pub == NULL || pub->magic != BUS__PUB_MAGIC)
		return;
	pub->claimed = false;
	bus__pub_linger(pub);
	pub->magic = 0;
	ring_pub_final(&pub->ring);
	bus__pub_wake_news(pub); /* sleepers look at final_seq; also when busd is away */
	if (pub->heir != NULL)
		bus__pub_discard(pub->heir);
	tell_closed(pub);
	free_pub(pub);
}

int bus_pub_info(struct bus_pub *pub, struct bus_pub_info *ret)
{
	if (pub->magic != BUS__PUB_MAGIC)
		return -ECHILD;
	if (bus_load_acquire(pub->ring.epoch) != pub->ring.seen)
		bus__pub_news(pub);
	*ret = (struct bus_pub_info){ .seq = pub->ring.n,
				      .ring_bytes = pub->geometry.bytes,
				      .ring_slots = pub->geometry.slots,
				      .subscribers = pub->ring.member_count,
				      .max_message = ring_message_max(pub->geometry.bytes),
				      .limit_message = ring_message_max(pub->max_bytes),
				      .dropped = bus__pub_dropped(pub) };
	for (uint32_t i = 0; i < pub->ring.member_count; i++)
		ret->gating += pub->ring.members[i].gates && !pub->ring.members[i].lying;
	return 0;
}
