/* SPDX-License-Identifier: Apache-2.0 */
/*
 * close.pml - the end of a ring: its publisher closes it, or dies, or has it replaced by a larger one; readers drain it; it
 * is freed. The worker dies between any two steps, the publisher at any moment.
 *
 * Mirrors: bus_pub_close (libbus/api/pub.c), grow (libbus/api/pub_room.c), ring_pub_final (libbus/ring/gate.c);
 * ring_reader_drained, ring_reader_ready (libbus/ring/cursor.c); ring_says (libbus/api/sub_read.c); bus__sub_finish_ring,
 * attach_ring, told_before, resume, orphan_ring (libbus/api/sub_rings.c); rings_ready, announce (libbus/api/sub_wait.c);
 * pub_close, pub_free, put_into_service (busd/pub.c); ring_close, ring_settle, ring_free (busd/ring.c); board_close_ring,
 * restore_ring (busd/board.c); give_to_pub (busd/restore.c); sub_ring_done (busd/sub.c); tell_sub (busd/resume.c).
 *
 * A publisher writes ring 1, may have it succeeded by ring 2, writes that, and closes. One reader is there from the
 * beginning; it reads, sleeps on the words of the ring and of busd, ends a ring, says so (RING_DONE) and goes on with
 * the next.
 *
 * Property: the reader has all that was committed, once and in order, and the end after it; it does not sleep on a ring
 * that has ended; a ring is freed only when nobody attached reads it any more; at the end nothing is open and no
 * publisher is pointed at that has gone.
 * Left out: full rings and gates (evict.pml), memory orders (make model), wildcards, rings taken away for want of room,
 * readers that come late to what is kept.
 * Bound: 2 rings, 2 messages, 1 death of the worker, 1 of the publisher, 1 reader.
 *
 * Mutants: final_early no_second_look death_early two_open free_unread no_bell
 */
#define DEATHS 1
#define MSGS 2

/* rings 1 and 2; number r of messages committed, and what the publisher stored as the end (+ 1; 0: unset) */
byte committed[3], final[3];
bool closed[3], on_board[3], freed[3];      /* board: state CLOSED; the ring is there; its memory is given back */
bool rung;                                  /* a bell moved since the reader read it: publisher's and busd's word */

/* journal */
bool j_board[3], j_open[3], j_done[3], j_pub = true; /* ring on the board, has a publisher, the reader is done with it */
bool j_freed[3];

byte worker = 1, conn_r = 1;
bool told_r = true, alive = true, dying, reapable;
byte deaths;
byte ask, answer;                           /* of the publisher: 1 a successor, 2 close */
bool dead, gone;                            /* the publisher: killed; its stores are all there, the kernel says so */
bool has[3];                                /* the reader was told of the ring */
bool done_said[3];                          /* RING_DONE is under way */
chan ev = [6] of { byte };                  /* RING events to the reader */
bool finished;

#define ABSENT (conn_r != worker || !told_r)

inline ring_bell() { rung = true }

/* ring_settle: part of the transaction in which it was closed, or its reader said that it is done */
inline settle(r) {
	if
#ifdef MUTANT_free_unread
	:: j_board[r] && !j_open[r] && !j_freed[r] ->
#else
	:: j_board[r] && !j_open[r] && j_done[r] && !j_freed[r] ->
#endif
		j_freed[r] = true;
		freed[r] = true
	:: else
	fi
}

/* ring_close: on the board at once, on record with the transaction; who sleeps there is rung */
inline close_ring(r, last) {
	closed[r] = true;
	d_step {
		j_open[r] = false;
		if :: last -> j_pub = false :: else fi;
		settle(r)
	};
#ifndef MUTANT_no_bell
	ring_bell()
#endif
}

proctype Worker() {
again:
	{
		do
		:: conn_r == worker && !told_r ->
			/* tell_sub: all rings that it reads, once more */
			d_step {
				if :: j_board[1] && !j_done[1] && !j_freed[1] -> ev!1 :: else fi;
				if :: j_board[2] && !j_done[2] && !j_freed[2] -> ev!2 :: else fi;
				told_r = true
			};
			ring_bell()
		:: ask == 1 && answer == 0 && !gone ->
			/* put_into_service: the successor, known to its reader before the old one is closed */
			if
			:: !j_board[2] ->
				d_step { j_board[2] = true; j_open[2] = true };
				on_board[2] = true;
				if :: conn_r == worker && told_r -> ev!2; ring_bell() :: else fi;
				close_ring(1, false);
			:: else
			fi;
			answer = 1
		:: (ask == 2 && answer == 0) || (gone && j_pub) ->
			/* pub_free: its present ring; what it was about to write goes */
			if
			:: j_board[2] && j_open[2] -> close_ring(2, true)
			:: j_open[1] && !j_board[2] -> close_ring(1, true)
			:: else -> j_pub = false
			fi;
			if :: ask == 2 -> answer = 1 :: else fi
		:: d_step { done_said[1] -> done_said[1] = false; j_done[1] = true; settle(1) }
		:: d_step { done_said[2] -> done_said[2] = false; j_done[2] = true; settle(2) }
		od
	} unless { dying };
	d_step { alive = false; reapable = true };
	!reapable;
	/* give_to_pub: of two that are open the older was being succeeded; restore_ring: the board is made to agree */
	d_step {
#ifndef MUTANT_two_open
		if :: j_board[2] && j_open[1] -> j_open[1] = false; settle(1) :: else fi;
#endif
		if :: j_board[2] -> on_board[2] = true :: else fi;
		if :: !j_open[1] -> closed[1] = true :: else fi;
		if :: j_board[2] && !j_open[2] -> closed[2] = true :: else fi;
		if :: j_freed[1] -> freed[1] = true :: else fi;
		if :: j_freed[2] -> freed[2] = true :: else fi;
		rung = true;
		alive = true
	};
	goto again
}

proctype Keeper() {
	do
	:: d_step { deaths < DEATHS && !dying -> dying = true; deaths++ }
	:: d_step { reapable -> dying = false; reapable = false; worker++; told_r = false }
	od
}

/* a commit, then who sleeps is woken */
inline publish(r) {
	committed[r]++;
	ring_bell()
}

inline final_(r) {
	final[r] = committed[r] + 1;
	ring_bell()
}

proctype Publisher() {
	byte n, r = 1;
	{
		do
		:: n < MSGS -> publish(r); n++
		:: r == 1 ->
			/* grow: asked, mapped, then the old one ends */
			ask = 1;
			(answer == 1);
			d_step { ask = 0; answer = 0 };
#ifdef MUTANT_final_early
			final[1] = committed[1] + 1;
			if :: n < MSGS -> publish(1); n++ :: else fi;
#else
			final_(1);
#endif
			r = 2
		:: break
		od;
		final_(r);
		d_step { answer = 0; ask = 2 };
		(answer == 1);
		ask = 0
	} unless { dead };
#ifdef MUTANT_death_early
	/* the kernel says so before the last store has come out */
	gone = dead;
	if :: dead && n < MSGS && !finished -> committed[r]++ :: else fi;
#endif
	d_step { gone = dead; if :: dead -> ask = 0 :: else fi }
}

proctype Killer() { if :: dead = true :: true fi }

/* The words are read first, then all is looked at once more, then it sleeps until one of them moves. */
proctype Reader() {
	byte r = 1, at, x;
	bool more;
	do
	/* bus__sub_news: what has come, also from a dead worker; a ring that is known is not new */
	:: atomic { ev?x -> if :: x >= r -> has[x] = true :: x < r -> done_said[x] = true fi; x = 0 }
	:: atomic { conn_r != worker && empty(ev) && alive -> conn_r = worker; told_r = false }
	:: r <= 2 && has[r] ->
		rung = false;
		if
		:: at < committed[r] ->
			assert(!freed[r]);
			at++
		:: at >= committed[r] ->
			/* ring_reader_drained */
			if
			:: final[r] == at + 1 -> more = false
			:: final[r] != at + 1 ->
				if
				:: closed[r] ->
#ifndef MUTANT_no_second_look
					more = (committed[r] > at)
#else
					more = false
#endif
				:: !closed[r] ->
					/* nothing: it sleeps on the bells that it has read before it looked */
					(rung || nempty(ev) || (conn_r != worker && alive));
					more = true
				fi
			fi;
			if
			:: !more ->
				/* its last message has been read: parked, said, and on to the one that follows */
				assert(at == committed[r]);
				d_step { done_said[r] = true; r++; at = 0 }
			:: else -> more = false
			fi
		fi
	:: r == 2 && !has[2] && !on_board[2] && closed[1] && (!j_pub || gone) && empty(ev) ->
		finished = true; break
	:: r == 3 -> finished = true; break
	od;
	do
	:: atomic { ev?x -> done_said[x] = true; x = 0 }
	:: atomic { conn_r != worker && empty(ev) && alive -> conn_r = worker; told_r = false }
	od
}

init {
	atomic {
		j_board[1] = true; j_open[1] = true; on_board[1] = true; has[1] = true;
		run Worker(); run Keeper(); run Publisher(); run Killer(); run Reader()
	};
	timeout;
	assert(finished);
	assert(!j_pub && !j_open[1] && !j_open[2] && !done_said[1] && !done_said[2]);
	assert(j_freed[1] && freed[1] && freed[2] == j_board[2])
}
