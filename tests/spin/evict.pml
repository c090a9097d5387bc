/* SPDX-License-Identifier: Apache-2.0 */
/*
 * evict.pml - a publisher that is blocked asks for the eviction of a reader that stands still; the reader finds out, and
 * joins again; the worker dies between any two steps, and the reader at any moment.
 *
 * Mirrors: pub_evict, slowest, note_stuck, has_message, evict (busd/evict.c); take_back, sub_rejoin (busd/sub.c);
 * change_commit, change_raise (busd/change.c); board_count_eviction, restore_sub (busd/board.c); restore_reader,
 * restore_epoch (busd/restore.c); tell_pub, resume_settle, resume_end (busd/resume.c); evict_if_due, wait_for_room
 * (libbus/api/pub_room.c); bus__pub_news (libbus/api/pub_members.c); ring_says, bus_sub_release (libbus/api/sub_read.c);
 * rejoin (libbus/api/sub_rings.c); ring_pub_refresh, ring_reader_peek, ring_reader_release, ring_reader_joined_now
 * (libbus/ring).
 *
 * One subscription reads the rings of two publishers. A asks for evictions, and may say that it is blocked when there
 * is nothing to read (it is hostile then). B is only told whom to wait for. The reader may stand still at any step, for
 * ever or until it goes on.
 *
 * Property: whoever is evicted stood where it was looked at before, with a message to read there; it keeps its place at
 * the other ring; it finds its eviction on the board before it meets anything overwritten, and delivers nothing torn;
 * what it missed is counted once; once it has joined again it is waited for; and A's publisher gets through, whatever
 * the reader and the workers do.
 * That head is read again after a rejoin, and that reading never goes back, is a matter of the ring (make model: mutants
 * head_not_reread, joined_goes_back); within this bound nothing here depends on it.
 * Left out: memory orders (make model), several readers, bytes (the slots stand for them), the time between the
 * looks (any), the closing of rings (close.pml), segments and bells.
 * Bound: a ring of 2 slots, 3 messages, joined again once, 1 death (worker or reader), 1 false alarm.
 *
 * Mutants: one_look not_anew no_message everywhere flag_late no_frontier no_release_test dead_gates unowed
 */
#define SLOTS 2
#define MAXA 3
#define DEATHS 1
#define JOINS 1

byte slot[SLOTS], pay[SLOTS], head, front;  /* A's ring */
byte cur;                                   /* the reader's entry there */
byte epoch, changed, evicted;               /* board */

/* journal, as committed */
byte j_epoch, j_evictions;
bool j_owed, j_evicted, j_gone;

chan in_a = [6] of { byte, bool };          /* number; is the reader waited for */
byte worker = 1, conn_a = 1;
bool told_a = true, alive = true, dying, reapable;
byte deaths;

bool ask, answered, rejoin, rejoined;       /* requests: they are repeated to the next worker */
bool nobody; /* gates, says the answer */
bool alarm;                                 /* A's head says more than there is */
bool done_a, dead, still, finished;
bool moved;                                 /* for the property: since the look that counts */

#define GATES_A (!j_evicted && !j_gone)
#ifdef MUTANT_everywhere
#define GATES_B (!j_evicted && !j_gone)
#else
#define GATES_B (!j_gone)
#endif
#define ABSENT (conn_a != worker || !told_a)

inline raise_() {
	changed = j_epoch;
	epoch = j_epoch;
	j_owed = false
}

/* what is said of a reader, and that it changed, is one transaction */
inline change() {
	d_step {
		if :: gone_now -> j_gone = true :: else fi;
		if :: back_now -> j_evicted = false :: else fi;
		j_epoch++; j_owed = true
	};
	if :: conn_a == worker && told_a -> in_a!j_epoch, GATES_A :: else fi;
	assert(GATES_B || dead); /* what B is told: whoever lives keeps its place there, whatever A says */
	if :: !(recovering && ABSENT) -> raise_() :: else fi
}

active proctype Worker() {
	bool recovering, stuck, stood, gone_now, back_now;
	byte at, stuck_at;
again:
	{
		do
		:: conn_a == worker && !told_a -> d_step { in_a!j_epoch, GATES_A; told_a = true }
		:: atomic { recovering -> recovering = false };
			if :: j_owed -> raise_() :: else fi
		:: ask && !answered && !recovering ->
			/* position: its own look, at a word that the reader may write at any moment */
			d_step { at = cur; stood = !moved && stuck };
			if
			:: !GATES_A -> stuck = false; nobody = true
			:: GATES_A && at >= head + alarm -> stuck = false
			:: else ->
				if
#ifdef MUTANT_not_anew
				:: d_step { !stuck -> stuck = true; stuck_at = at; moved = false }
#else
				:: d_step { !stuck || stuck_at != at -> stuck = true; stuck_at = at; moved = false }
#endif
#ifndef MUTANT_one_look
				:: else ->
#else
				:: true ->
#endif
#ifndef MUTANT_no_message
					if
					:: slot[at % SLOTS] > at ->
#else
					if
					:: true ->
#endif
						/* the decision: it stood still, and had something to read */
						assert(stood);
						assert(slot[at % SLOTS] > at);
						stuck = false;
#ifdef MUTANT_flag_late
						d_step { j_evicted = true; j_evictions++ };
						change();
						evicted++
#else
#ifdef MUTANT_unowed
						d_step { j_evicted = true; j_evictions++ };
#else
						d_step { j_evicted = true; j_evictions++; j_owed = true };
#endif
						evicted++;
						change()
#endif
					:: else
					fi
				fi
			fi;
			d_step { at = 0; stood = false; answered = true }
		:: rejoin && !rejoined && !recovering ->
			/* take_back; repeated, there is nothing left to do but to answer */
			if
			:: j_evicted -> back_now = true; change(); back_now = false
			:: else
			fi;
			rejoined = true
#ifndef MUTANT_dead_gates
		:: dead && !j_gone -> gone_now = true; change(); gone_now = false
#else
		:: dead && !j_gone -> d_step { j_gone = true; j_epoch++; changed = j_epoch; epoch = j_epoch }
#endif
		od
	} unless { dying };
	d_step { at = 0; stood = false; stuck = false; stuck_at = 0; gone_now = false; back_now = false; recovering = false; alive = false; reapable = true };
	!reapable;
	/* restore: what was counted before it was shown; the epoch goes beyond all that was sent */
	d_step {
		if :: evicted < j_evictions -> evicted = j_evictions :: else fi;
		j_evictions = evicted;
		if :: epoch > j_epoch -> j_epoch = epoch :: else fi;
		j_epoch = j_epoch + 2;
		epoch = j_epoch;
		if :: j_owed -> j_epoch++ :: else fi;
		recovering = true; alive = true
	};
	goto again
}

active proctype Keeper() {
	do
	:: d_step { deaths < DEATHS && !dying -> dying = true; deaths++ }
	:: d_step { reapable -> dying = false; reapable = false; worker++; told_a = false }
	od
}

/* bus__pub_news: ok says whether it has heard of all that changed anything */
inline news(in, number, gates, seen) {
	e = epoch;
	ch = changed;
	do
	:: atomic { in?x, g -> gates = g; if :: x > number -> number = x :: else fi; x = 0; g = false }
	:: empty(in) -> break
	od;
	atomic { if :: number >= ch -> seen = e :: else fi; ch = 0; e = 0 }
}

active proctype PublisherA() {
	byte n, limit, e, ch, seen, number, x, c;
	bool gates = true, g, alarmed;
	do
	:: n == MAXA -> break
	:: n < MAXA && n < limit ->
		pay[n % SLOTS] = n + 1;
		slot[n % SLOTS] = n + 1;
		n++;
		head = n
	:: n < MAXA && n >= limit ->
		if
		:: epoch != seen -> news(in_a, number, gates, seen)
		:: else
		fi;
		if
		:: epoch != seen -> (nempty(in_a) || number >= changed || (conn_a != worker && alive)) /* an unknown gate */
		:: else ->
			c = (gates -> cur : n);
			if
			:: n - c >= SLOTS ->
				/* evict_if_due: asked until it moves or is gone */
				if
				:: !ask -> answered = false; ask = true
				:: else
				fi;
				(answered || epoch != seen || cur != c || (conn_a != worker && alive));
				if
				:: answered && nobody ->
					/* nobody gates by what busd sees: asking again is no use until that is so no more */
					d_step { ask = false; answered = false; nobody = false };
					(epoch != seen || cur != c || GATES_A || (conn_a != worker && alive))
				:: answered && !nobody -> d_step { ask = false; answered = false }
				:: else
				fi
			:: else ->
				d_step {
					limit = (c + SLOTS < n + 1 -> c + SLOTS : n + 1)
				};
#ifndef MUTANT_no_frontier
				front = limit
#endif
			fi
		fi;
		c = 0
	:: atomic { conn_a != worker && empty(in_a) && alive -> conn_a = worker; told_a = false }
	/* hostile: it shows a head and says that it is blocked, when there is nothing to read */
	:: d_step { !alarm && !alarmed && n == 1 && n == cur && !ask -> alarm = true; alarmed = true; ask = true };
		d_step { answered -> answered = false };
		d_step { answered -> ask = false; answered = false; nobody = false; alarm = false }
	od;
	done_a = true;
	do
	:: atomic { conn_a != worker && empty(in_a) && alive -> conn_a = worker; told_a = false }
	:: atomic { nempty(in_a) -> in_a?x, g; x = 0; g = false }
	od
}

active proctype Reader() {
	byte at, c, v, good, lost, h, seen, sure_from, times;
	bool skips;
	{
		do
		:: at == MAXA -> break
		:: evicted != seen -> goto again
		:: at < MAXA && slot[at % SLOTS] > at -> /* else it sleeps */
			c = slot[at % SLOTS];
			if
			:: c > at + 1 -> goto lapped
			:: else
			fi;
			if :: front > at + SLOTS -> goto lapped :: else fi;
			v = pay[at % SLOTS];
			if
#ifndef MUTANT_no_release_test
			:: front > at + SLOTS ->
				/* -ESTALE: void, and why stands on the board */
				assert(evicted != seen || at < sure_from);
				lost++
			:: else ->
#else
			:: true ->
#endif
				assert(v == at + 1);
				good++
			fi;
			d_step { at++; cur = at; moved = true };
			goto next;
lapped:
			if
			:: evicted != seen -> goto again
			:: else ->
				/* joined again without having missed anything, while its publisher went on */
				assert(at < sure_from);
				h = head;
				d_step {
					if :: h <= at -> h = at + 1 :: else fi;
					lost = lost + h - at; at = h; cur = at; moved = true
				};
				goto next
			fi;
again:
			if :: times == JOINS -> still = true; false :: else -> times++ fi; /* enough of it: it stands still */
			seen = evicted;
			skips = (slot[at % SLOTS] > at + 1 || front > at + SLOTS);
			h = head;
			d_step { if :: skips && h > at -> cur = h; moved = true :: else fi };
			d_step { rejoined = false; rejoin = true };
			(rejoined);
			rejoin = false;
			/* a ring in which nothing was missed: up to here its publisher may not have known */
			sure_from = (skips -> 0 : head);
			if
			:: skips ->
				h = head;
				d_step {
					if :: h < at -> h = at :: else fi;
					lost = lost + h - at; at = h;
					if :: cur != at -> cur = at; moved = true :: else fi
				}
			:: else
			fi;
next:			skip;
			d_step { c = 0; v = 0; h = 0; skips = false; if :: at >= sure_from -> sure_from = 0 :: else fi };
			assert(good + lost == at)
		:: !still -> still = true; false /* stands still from now on */
		od;
		finished = true
	} unless { dead };
	d_step { at = 0; c = 0; v = 0; good = 0; lost = 0; h = 0; seen = 0; sure_from = 0; times = 0; skips = false }
}

active proctype Killer() { if :: d_step { deaths < DEATHS && !dying -> deaths++; dead = true } :: true fi }

active proctype End() {
	timeout;
	assert(done_a);
	assert(still || dead || finished);
	assert(!j_owed && (dead == j_gone))
}
