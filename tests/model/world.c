/* SPDX-License-Identifier: Apache-2.0 */
#include "world.h"

#include <stdio.h>
#include <string.h>

int ring_mutant, sim_mutant;
struct world_plan plan;
struct world_board *board;
struct cursor_segment *cursors[WORLD_SUBS];
struct world_ring rings[WORLD_RINGS];
struct ghost *const ghost = (struct ghost *)(void *)explore_ghost;

static_assert(sizeof(struct ghost) <= EXPLORE_GHOST, "fits");
static_assert(sizeof(struct publisher) <= EXPLORE_OWN && sizeof(struct subscriber) <= EXPLORE_OWN,
	      "fit");

#define SLOTS_OFF   sizeof(struct ring_writer_page)
#define PAYLOAD_OFF (SLOTS_OFF + plan.slots * sizeof(struct ring_slot))

/* ---- setup ---- */

static int ring_number(void)
{
	return plan.rings ? plan.rings : plan.pubs;
}

/*
 * pos and time (one word before the commit, one far from it) stand for all plain words of a slot,
 * in0 for the inline ones.
 */
static void coarsen(const struct ring_slot *slot)
{
	if (plan.whole_slots) {
		explore_coarse(&slot->pos);
		explore_coarse(&slot->time);
		explore_coarse(&slot->in[0]);
	}
	explore_coarse(&slot->lens);
	explore_coarse(&slot->attrs);
	explore_coarse(&slot->in[1]);
	explore_coarse(&slot->in[2]);
}

void world_setup(const struct world_plan *p)
{
	size_t own = sizeof(struct publisher) > sizeof(struct subscriber)
			     ? sizeof(struct publisher)
			     : sizeof(struct subscriber);

	plan = *p;
	explore_sizes(sizeof(struct ghost), own);
	board = explore_shared(sizeof(*board));
	for (int s = 0; s < plan.subs; s++)
		cursors[s] = explore_shared(sizeof(*cursors[s]) +
					    WORLD_RINGS * sizeof(struct cursor_entry));
	for (int r = 0; r < ring_number(); r++) {
		struct ring_geometry geo = { .slots = plan.slots,
					     .bytes = plan.bytes,
					     .slots_off = SLOTS_OFF,
					     .payload_off = PAYLOAD_OFF };
		uint8_t *base = explore_shared(PAYLOAD_OFF + 2 * (size_t)plan.bytes);

		ring_view_init(&rings[r].view, base, &geo);
		rings[r].page = rings[r].view.page;
		explore_alias(rings[r].view.payload + plan.bytes, rings[r].view.payload, plan.bytes);
		ring_writer_init(rings[r].page, 0);
		for (uint32_t i = 0; i < plan.slots && i < WORLD_MESSAGES; i++)
			coarsen(&rings[r].view.slots[i]);
		bus_store_relaxed(&board->state[r], BOARD_RING_OPEN);
	}
}

void world_reads(int sub, int ring)
{
	bus_store_relaxed(&cursors[sub]->entry[ring].ring_id, (uint64_t)ring + 1);
}

/* ---- names, for stories ---- */

static const char *in_slot(size_t off)
{
	static const char *const names[] = { "commit", "pos", "time", "lens",
					     "attrs",  "in0", "in1",  "in2" };

	return names[off / 8 % 8];
}

static const char *in_page(size_t off)
{
	static const struct {
		size_t off;
		const char *name;
	} names[] = {
		{ offsetof(struct ring_writer_page, frontier_seq), "frontier_seq" },
		{ offsetof(struct ring_writer_page, frontier_pos), "frontier_pos" },
		{ offsetof(struct ring_writer_page, head), "head" },
		{ offsetof(struct ring_writer_page, bytes), "bytes" },
		{ offsetof(struct ring_writer_page, waiting), "waiting" },
		{ offsetof(struct ring_writer_page, final_seq), "final_seq" },
	};

	for (size_t i = 0; i < BUS_ARRAY_LEN(names); i++)
		if (names[i].off == off)
			return names[i].name;
	return "?";
}

static bool inside(const volatile void *word, const volatile void *base, size_t bytes, size_t *off)
{
	*off = (size_t)((const volatile uint8_t *)word - (const volatile uint8_t *)base);
	return *off < bytes;
}

static void ring_word_name(char *name, size_t room, int r, size_t off)
{
	if (off < SLOTS_OFF)
		snprintf(name, room, "ring%d.%s", r, in_page(off));
	else if (off < PAYLOAD_OFF)
		snprintf(name, room, "ring%d.slot[%zu].%s", r, (off - SLOTS_OFF) / 64,
			 in_slot(off - SLOTS_OFF));
	else
		snprintf(name, room, "ring%d.payload+%zu", r, off - PAYLOAD_OFF);
}

const char *world_word_name(const volatile void *word)
{
	static char names[4][48];
	static unsigned turn;
	char *name = names[turn++ % 4];
	size_t off;

	snprintf(name, sizeof(names[0]), "?");
	for (int r = 0; r < ring_number(); r++)
		if (inside(word, rings[r].page, PAYLOAD_OFF + plan.bytes, &off))
			ring_word_name(name, sizeof(names[0]), r, off);
	for (int s = 0; s < plan.subs; s++) {
		if (!inside(word, cursors[s],
			    sizeof(*cursors[s]) + WORLD_RINGS * sizeof(struct cursor_entry), &off))
			continue;
		if (off < sizeof(*cursors[s]))
			snprintf(name, sizeof(names[0]), "sub%d.waiting", s);
		else
			snprintf(name, sizeof(names[0]), "sub%d.entry[%zu].%s", s,
				 (off - sizeof(*cursors[s])) / 64,
				 (off - sizeof(*cursors[s])) % 64 == 0   ? "ring_id"
				 : (off - sizeof(*cursors[s])) % 64 == 8 ? "cursor"
									 : "shown");
	}
	if (inside(word, board, sizeof(*board), &off)) {
		if (off == offsetof(struct world_board, epoch))
			snprintf(name, sizeof(names[0]), "epoch");
		else if (off < offsetof(struct world_board, next_ring))
			snprintf(name, sizeof(names[0]), "evicted[%zu]", (off - 8) / 8);
		else if (off < offsetof(struct world_board, state))
			snprintf(name, sizeof(names[0]), "ring%zu.next",
				 (off - offsetof(struct world_board, next_ring)) / 8);
		else if (off < offsetof(struct world_board, bell))
			snprintf(name, sizeof(names[0]), "ring%zu.state",
				 (off - offsetof(struct world_board, state)) / 4);
		else
			snprintf(name, sizeof(names[0]), "bell[%zu>%zu]",
				 (off - offsetof(struct world_board, bell)) / 4 / EXPLORE_PARTIES,
				 (off - offsetof(struct world_board, bell)) / 4 % EXPLORE_PARTIES);
	}
	return name;
}

/* ---- sockets ---- */

static uint64_t pack(struct note note)
{
	uint64_t v;

	memcpy(&v, &note, sizeof(v));
	return v;
}

static struct note unpack(uint64_t v)
{
	struct note note;

	memcpy(&note, &v, sizeof(v));
	return note;
}

static uint64_t post_call(uint64_t queue, uint64_t note)
{
	uint8_t *count = &ghost->kernel.queue[queue].count;

	if (*count == QUEUE_MAX)
		explore_fail("a socket holds more than %d notes", QUEUE_MAX);
	ghost->kernel.queue[queue].note[(*count)++] = unpack(note);
	return 0;
}

static struct note take_oldest(uint64_t queue)
{
	struct note *notes = ghost->kernel.queue[queue].note, first = notes[0];
	uint8_t count = ghost->kernel.queue[queue].count;

	if (count == 0)
		return (struct note){ .kind = NOTE_NONE };
	memmove(notes, notes + 1, (size_t)(count - 1) * sizeof(*notes));
	memset(&notes[count - 1], 0, sizeof(*notes));
	ghost->kernel.queue[queue].count--;
	return first;
}

static uint64_t receive_call(uint64_t queue, uint64_t unused)
{
	(void)unused;
	return pack(take_oldest(queue));
}

static int first_ended(uint64_t mask)
{
	for (int p = 0; p < EXPLORE_PARTIES; p++)
		if ((mask >> p & 1) && explore_ended(p))
			return p;
	return -1;
}

static bool await_ready(uint64_t queue, uint64_t mask)
{
	return ghost->kernel.queue[queue].count > 0 || first_ended(mask) >= 0;
}

static uint64_t await_call(uint64_t queue, uint64_t mask)
{
	struct note note = take_oldest(queue);

	if (note.kind == NOTE_NONE) {
		note = (struct note){ .kind = NOTE_GONE, .from = (uint8_t)first_ended(mask) };
		explore_learn_end(note.from);
	}
	return pack(note);
}

void post(int queue, struct note note)
{
	explore_note("send to %s of party %d: kind %d op %d number %d",
		     queue == REQUESTS          ? "requests"
		     : queue >= EXPLORE_PARTIES ? "answers"
						: "events",
		     queue % EXPLORE_PARTIES, note.kind, note.op, note.number);
	explore_syscall(post_call, NULL, (uint64_t)queue, pack(note), queue);
}

struct note receive(int queue)
{
	struct note note = unpack(explore_syscall(receive_call, NULL, (uint64_t)queue, 0, queue));

	explore_note("receive: kind %d op %d number %d", note.kind, note.op, note.number);
	return note;
}

struct note await(int queue, uint32_t mask)
{
	struct note note = unpack(explore_syscall(await_call, await_ready, (uint64_t)queue, mask,
						  queue | (mask ? EXPLORE_SEES_ENDS : 0)));

	explore_note("receive: kind %d from %d", note.kind, note.from);
	return note;
}

static bool readable(uint64_t queue, uint64_t unused)
{
	(void)unused;
	return ghost->kernel.queue[queue].count > 0;
}

static uint64_t nothing(uint64_t a, uint64_t b)
{
	(void)a;
	(void)b;
	return 0;
}

void await_readable(int queue)
{
	explore_syscall(nothing, readable, (uint64_t)queue, 0, queue);
}

void bell_ring(int from, int to)
{
	_Atomic uint32_t *word = &board->bell[from][to];

	if (SIM_MUTANT(wake_before_bell))
		explore_futex_wake(word);
	(void)bus_add_seq_cst(word, 1);
	if (!SIM_MUTANT(wake_before_bell))
		explore_futex_wake(word);
}

/* ---- messages ---- */

uint32_t message_size(int ring, uint64_t seq)
{
	unsigned n = 0;

	if (plan.any_size)
		return ghost->oracle.units[ring][seq] ? ghost->oracle.units[ring][seq] * 64u : 8;
	while (n < seq && n + 1 < WORLD_MESSAGES && plan.sizes[n + 1])
		n++;
	return plan.sizes[n] ? plan.sizes[n] : 8;
}

uint64_t message_pos(int ring, uint64_t seq)
{
	uint64_t pos = 0;

	for (uint64_t i = 0; i < seq; i++)
		pos += ring_need(0, message_size(ring, i));
	return pos;
}

uint64_t message_tag(int ring, uint64_t seq)
{
	return (uint64_t)(ring + 1) << 32 | (seq + 1);
}
