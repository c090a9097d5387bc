/* SPDX-License-Identifier: Apache-2.0 */
/*
 * restart.pml - busd's worker is killed between any two steps; the keeper starts the next one.
 *
 * Mirrors: take_message, reap, start_worker (busd/keeper.c); keep_hold, keep_drop, keep_flush, keep_drop_rest
 * (busd/keep.c); roll_back, journal_commit (busd/journal.c); restore_all, restore_client, restore_segment,
 * restore_ring (busd/restore.c); find_absent, resume_client, resume_end (busd/resume.c); opened, answered_again,
 * pub_close (busd/pub.c); pub_free, client_free; dial, take_answer, step (libbus/api/mend.c).
 *
 * Two clients, one after the other, attach (HELLO: token, pidfd to the keeper, record), open a ring each (descriptor to the keeper,
 * two records, commit, answer), and the first closes it again (records struck off, commit, then the keeper
 * drops the descriptor). The first may die at any moment. Whoever is hung up on connects to the next worker
 * with its token and sends its request again under its number.
 *
 * The journal is a committed state and the words that the transaction under way has changed since (undo).
 * What the worker sends to the keeper stands in a socket that outlives it.
 *
 * Property: a living client is never thrown out or left without an answer; a request is done once; what a
 * client was told of is in the journal, and with the keeper or on the way there; at the end journal and keeper agree and
 * nothing of the dead is left.
 * Left out: subscriptions and epochs (attach.pml), seals (seal.pml), limits, the table of inherited
 * descriptors, a keeper that has no room for one (FDs short), upgrade.
 * Bound: 2 deaths of the worker, 2 clients of one ring each (the second comes when the first is idle or
 * dead, and is there when it dies late), 1 death of a client.
 *
 * Mutants: no_drain commit_late hold_late drop_early no_rollback no_drop_rest no_retry no_pidfd no_token
 */
#define DEATHS 2
#define RINGS 4
#define IDS (RINGS + 1)

#define NONE 0
#define HOLD_RING 1
#define DROP_RING 2
#define HOLD_PID 3
#define DROP_PID 4

/* with the keeper */
bool kept_ring[IDS], kept_pid[3];
chan link = [4] of { byte, byte };

/* journal: the ring's record (whose it is), the publisher's record, the client's record; and as it was at
 * the last commit */
byte ring_of[IDS], was_ring_of[IDS];
bool pub_of[IDS], was_pub_of[IDS];
bool known[3], was_known[3];
bool open_change;      /* undo_count != 0 */

/* connections: number of the worker that a client is connected to + 1; 0: to none */
byte worker = 1;
byte attached[3];      /* answered: HELLO */
byte asked[3];         /* 0 nothing, 1 HELLO, 2 PUB_OPEN, 3 PUB_CLOSE, under way at worker `to` */
byte to[3];
bool resuming[3];      /* HELLO with CTL_HELLO_RESUME */
byte answer[3];        /* the ring; 255: ok; 0: none yet */
bool refused[3];       /* hung up on for good */
byte got[3];
bool dead[3], finished[3];

byte deaths;
bool dying, reapable;
byte newest;           /* number under which rings are made: never reused (journal_note_id) */

inline commit() {
	d_step {
		x = 0;
		do
		:: x < IDS -> was_ring_of[x] = ring_of[x]; was_pub_of[x] = pub_of[x]; x++
		:: else -> break
		od;
		was_known[1] = known[1]; was_known[2] = known[2];
		open_change = false; x = 0
	}
}

inline roll_back() {
	d_step {
		x = 0;
		do
		:: open_change && x < IDS ->
			ring_of[x] = was_ring_of[x]; pub_of[x] = was_pub_of[x]; x++
		:: else -> break
		od;
		if
		:: open_change -> known[1] = was_known[1]; known[2] = was_known[2]
		:: else
		fi;
		open_change = false; x = 0
	}
}

/* send_reply: only to a connection that still is; whoever it was meant for may have gone */
inline reply(value) {
	d_step { if :: to[c] == worker && !dead[c] && asked[c] != 0 -> answer[c] = value :: else fi }
}

#define WAITS(i) (asked[i] != 0 && to[i] == worker && answer[i] == 0 && !refused[i] && !dead[i])
#define SEEN_DEAD(i) (dead[i] && known[i] && (watched[i] || to[i] == worker))

active proctype Worker() {
	byte c, r, i, x;
	byte w; /* what is asked: 1 to 3, 4: HELLO of one that comes back */
	bool watched[3];
	bool mine[IDS]; /* keep_drop: told to the keeper after the commit */
again:
	{
		/* journal_open */
#ifndef MUTANT_no_rollback
		roll_back();
#else
		commit();
#endif
		/* restore_client, restore_ring: a ring whose descriptor is lost costs its client */
		d_step {
			i = 1;
			do
			:: i < 3 -> watched[i] = known[i] && kept_pid[i]; i++
			:: else -> break
			od;
			i = 1;
			do
			:: i < IDS ->
				if
				:: ring_of[i] != 0 && (!kept_ring[i] || !pub_of[i] || !known[ring_of[i]]) ->
					refused[ring_of[i]] = true
				:: else
				fi;
				i++
			:: else -> break
			od;
			i = 1
		};
		/* keep_drop_rest */
#ifndef MUTANT_no_drop_rest
		do
		:: i < IDS ->
			if :: kept_ring[i] && ring_of[i] == 0 -> link!DROP_RING, i :: else fi;
			i++
		:: else -> break
		od;
		i = 1;
		do
		:: i < 3 ->
			if :: kept_pid[i] && !known[i] -> link!DROP_PID, i :: else fi;
			i++
		:: else -> break
		od;
#endif
		commit();
		i = 0;
		do
		:: atomic { WAITS(1) || WAITS(2) -> if :: WAITS(1) -> c = 1 :: WAITS(2) -> c = 2 fi;
				w = (asked[c] == 1 && resuming[c] -> 4 : asked[c]) };
			if
			:: w == 4 ->
				/* resume_client */
#ifdef MUTANT_no_token
				refused[c] = true;
#endif
				if
				:: known[c] -> reply(255)
				:: !known[c] -> refused[c] = true /* another busd: bus is gone for it */
				fi
			:: w == 1 && known[c] ->
				/* the former worker died while it attached: client_doom of the old one */
				known[c] = false; open_change = true;
				commit();
				link!DROP_PID, c
			:: w == 1 && !known[c] ->
#ifndef MUTANT_no_pidfd
				link!HOLD_PID, c;
#endif
				open_change = true; known[c] = true;
				watched[c] = true;
				commit();
				reply(255)
			:: w == 2 ->
				/* pub_open; answered_again finds what a former worker made for this request */
				d_step {
					r = 0; x = 1;
#ifndef MUTANT_no_retry
					do
					:: x < IDS -> if :: ring_of[x] == c -> r = x :: else fi; x++
					:: else -> break
					od;
#endif
					x = 0
				};
				if
				:: r == 0 ->
					d_step { newest++; r = newest; assert(newest < IDS) };
#ifndef MUTANT_hold_late
					link!HOLD_RING, r;
#endif
					open_change = true; pub_of[r] = true;
					ring_of[r] = c;
#ifdef MUTANT_commit_late
					reply(r);
#endif
					commit();
#ifdef MUTANT_hold_late
					link!HOLD_RING, r;
#endif
				:: else
				fi;
				reply(r)
			:: w == 3 ->
				/* pub_close: done before, then it says so */
				r = got[c];
				if
				:: ring_of[r] == c ->
#ifdef MUTANT_drop_early
					link!DROP_RING, r;
#endif
					open_change = true; ring_of[r] = 0;
					pub_of[r] = false;
					commit();
#ifndef MUTANT_drop_early
					link!DROP_RING, r;
#endif
				:: else
				fi;
				reply(255)
			fi;
			d_step { c = 0; r = 0; w = 0 }
		:: SEEN_DEAD(1) || SEEN_DEAD(2) ->
			/* client_free: rings, then itself, one transaction */
			if :: SEEN_DEAD(1) -> c = 1 :: SEEN_DEAD(2) -> c = 2 fi;
			open_change = true;
			i = 1;
			do
			:: i < IDS ->
				if
				:: ring_of[i] == c -> mine[i] = true; ring_of[i] = 0; pub_of[i] = false
				:: else
				fi;
				i++
			:: else -> break
			od;
			known[c] = false;
			commit();
			i = 1;
			do
			:: i < IDS ->
				if :: mine[i] -> link!DROP_RING, i; mine[i] = false :: else fi;
				i++
			:: else -> break
			od;
			link!DROP_PID, c;
			d_step { c = 0; i = 0 }
		od
	} unless { dying };
	d_step {
		c = 0; r = 0; i = 0; x = 0; w = 0;
		mine[1] = false; mine[2] = false; mine[3] = false; mine[4] = false;
		watched[1] = false; watched[2] = false;
		reapable = true
	};
	!reapable;
	goto again
}

active proctype Keeper() {
	byte r;
	do
	:: link?HOLD_RING, r -> kept_ring[r] = true; r = 0
	:: link?DROP_RING, r -> kept_ring[r] = false; r = 0
	:: link?HOLD_PID, r -> kept_pid[r] = true; r = 0
	:: link?DROP_PID, r -> kept_pid[r] = false; r = 0
	:: atomic { deaths < DEATHS && !dying -> dying = true; deaths++ }
#ifndef MUTANT_no_drain
	:: atomic { reapable && empty(link) -> dying = false; reapable = false; worker++ }
#else
	:: reapable -> atomic {
		do :: link?_, r :: empty(link) -> break od;
		r = 0; dying = false; reapable = false; worker++ }
#endif
	od
}

/* One request: sent, and sent again to the next worker, until it is answered. */
inline request(what) {
	do
	:: asked[c] == what && answer[c] != 0 -> break /* also what a dead worker sent */
	:: atomic { asked[c] != what && (what == 1 || attached[c] == worker) ->
		answer[c] = 0; to[c] = worker; asked[c] = what }
	:: atomic { asked[c] == what && to[c] != worker && what == 1 ->
		answer[c] = 0; to[c] = worker }
	:: atomic { what != 1 && attached[c] != worker ->
		/* mend: HELLO with the token, then the request again */
		answer[c] = 0; to[c] = worker; resuming[c] = true; asked[c] = 1 };
		if
		:: answer[c] == 255 -> d_step { attached[c] = to[c]; asked[c] = 0; answer[c] = 0 }
		:: to[c] != worker
		fi
	od;
	skip
}

proctype Client(byte c) {
	{
		(c == 1 || finished[1] || dead[1]);
		request(1);
		d_step { attached[c] = to[c]; asked[c] = 0; answer[c] = 0 };
		request(2);
		d_step { got[c] = answer[c]; asked[c] = 0; answer[c] = 0 };
		/* what it was told of is on record, and with the keeper or on the way there */
		assert(was_ring_of[got[c]] == c);
		if
		:: c == 1 ->
			request(3);
			d_step { asked[c] = 0; assert(was_ring_of[got[c]] == 0) }
		:: else
		fi;
		finished[c] = true;
		/* idle: it comes back when it looks */
		do
		:: atomic { attached[c] != worker ->
			answer[c] = 0; to[c] = worker; resuming[c] = true; asked[c] = 1 };
			if
			:: answer[c] == 255 -> d_step { attached[c] = to[c]; asked[c] = 0; answer[c] = 0 }
			:: to[c] != worker
			fi
		od
	} unless { dead[c] };
	d_step { asked[c] = 0; answer[c] = 0 }
}

active proctype Reaper() { if :: dead[1] = true :: true fi }

active proctype Thrown() {
	atomic { (refused[1] && !dead[1]) || refused[2] -> assert(false) }
}

init {
	byte i;
	atomic { run Client(1); run Client(2) }
	timeout;
	assert(finished[2] && (finished[1] || dead[1]));
	assert(empty(link) && !open_change);
	i = 1;
	do
	:: i < IDS ->
		assert(kept_ring[i] == (ring_of[i] != 0));
		assert(pub_of[i] == (ring_of[i] != 0));
		assert(ring_of[i] == 0 || (ring_of[i] == 2 && got[2] == i));
		i++
	:: else -> break
	od;
	assert(known[2] && kept_pid[2]);
	assert(known[1] == !dead[1] && kept_pid[1] == known[1])
}
