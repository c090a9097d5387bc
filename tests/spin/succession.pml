/* SPDX-License-Identifier: Apache-2.0 */
/*
 * succession.pml - all of busd dies, and again: a publisher and its readers come to the next busd, each in its own
 * time, and go over from ring to ring.
 *
 * Mirrors: bus__open_heirs, take, bus__sub_follow, bus__sub_begin_follower, was_never_used, bury
 * (libbus/api/sub_succeed.c); follow, all_came, go_over, bus__pub_bury (libbus/api/pub_succeed.c); ring_pub_begin,
 * ring_pub_final, ring_reader_skip_hole, ring_reader_drained (libbus/ring).
 *
 * Busd 0 is dead when it begins; its ring has two reliable readers. Busd 1 and 2 come and die. The publisher writes M
 * messages into rings of K slots, opens an heir at whatever busd is there, and goes over once the living members of its
 * present ring are members of the new one. A reader joins whatever busd is there, and reads one ring after the other.
 * A third subscription is new at busd 1 or 2. One party may die.
 *
 * Property: every reliable reader that lives gets each message, once and in order; the new one gets what follows the
 * moment when the publisher goes over to a busd that knows it; who is dead holds nobody up, so at the end the
 * publisher has gone over to the last busd, and all is read. In ring n the message of number x lies only if it was
 * written there: a slot is overwritten once no member that lives has it to read.
 *
 * busd tells a publisher that a reader joined before that one hears of it, and it is later that a reader hears of a ring that is opened; busd
 * may die in between, and what it had to tell is lost then, or still lies in the socket. Reader 0 is such a one; the others hear at once.
 *
 * Left out: giving up on a reader that does not come (time), lossy readers, sleep and wake-up, what a dead busd had not told
 * the publisher or the new subscription, orders of memory. What a join does in itself is attach.pml.
 * Bound: 3 busds, 3 messages, 2 slots, 1 death of a party.
 *
 * Mutants: no_wait no_follow final_early head_start no_bury no_second_look no_void no_hole no_gate forget busds_word untold
 */
#define M 3
#define K 2
#define R 3 /* readers; 0 and 1 are old, 2 is new */

byte busd = 0;           /* the newest; 0: none yet */
bool up = false;         /* it lives */
bool opened[3];          /* the publisher's ring at that busd is there */
byte first[3];           /* number that busd was told for it */
byte begin[3], final[3]; /* + 1; 0 unset */
byte slot[6];            /* ring * K + number % K: number + 1 of the message that lies there */
byte n;                  /* committed messages */
byte pg;                 /* ring that the publisher writes */
byte hg;                 /* that of its heir; 0 none */
bool joined[9];          /* reader * 3 + busd: joined, says busd */
bool has[9];             /* reader * 3 + busd: joined, and it knows that: cursors.taken */
bool knows[9];           /* reader * 3 + ring: it knows the ring: its cursor's entry carries the ring's number */
byte cursor[9];          /* reader * 3 + ring */
bool dead[4];            /* readers; 3: the publisher */
byte deaths;
byte got[R];             /* next number to be delivered */
byte seen[R];            /* how many were */
byte from;               /* of the new one: where it began; + 1 */

#define AT(r, g) cursor[(r) * 3 + (g)]
#define IN(r, g) joined[(r) * 3 + (g)]
#define HAS(r, g) has[(r) * 3 + (g)]
#define KNOWS(r, g) knows[(r) * 3 + (g)]
#define SPEAKS(g) (up && busd == (g))
#define CLAMP(c, g) ((begin[g] > 0 && (c) < begin[g] - 1) -> begin[g] - 1 : (c))
#ifdef MUTANT_no_gate
#define HOLDS(r) false
#else
#define HOLDS(r) (IN(r, pg) && !dead[r] && CLAMP(AT(r, pg), pg) + K <= n)
#endif
#ifdef MUTANT_no_bury
#define GONE(r) false
#else
#define GONE(r) dead[r]
#endif
#ifdef MUTANT_busds_word
#define CAME(r) IN(r, hg)
#elif defined(MUTANT_untold)
#define CAME(r) (IN(r, hg) && HAS(r, hg))
#else
#define CAME(r) (IN(r, hg) && HAS(r, hg) && KNOWS(r, hg))
#endif
#define MISSING(r) (IN(r, pg) && !GONE(r) && !CAME(r))

/* Committed, and not overwritten */
#define THERE(g, x) (slot[(g) * K + (x) % K] == (x) + 1)

active proctype Busd() {
	do
	:: d_step { !up && busd < 2 -> busd++; up = true }
	:: d_step { up && busd < 2 -> up = false } /* the last one stays */
	od
}

active proctype Death() {
	do
	:: d_step { deaths < 1 -> deaths++; dead[0] = true }
	:: d_step { deaths < 1 -> deaths++; dead[3] = true }
	od
}

active proctype Publisher() {
	d_step { opened[0] = true; joined[0] = true; joined[3] = true;
		has[0] = true; has[3] = true; knows[0] = true; knows[3] = true };
	{
		do
		:: atomic { n < M && !HOLDS(0) && !HOLDS(1) && !HOLDS(2) ->
			slot[pg * K + n % K] = n + 1; n++ }
		:: atomic { up && busd > pg && hg != busd -> /* open_heir; a former heir is dropped */
			hg = busd; opened[hg] = true; first[hg] = n;
			AT(0, hg) = n; AT(1, hg) = n; AT(2, hg) = n;
			KNOWS(1, hg) = IN(1, hg); KNOWS(2, hg) = IN(2, hg) }
#ifdef MUTANT_no_wait
		:: hg > pg && hg == busd ->
#else
		:: hg > pg && hg == busd && !MISSING(0) && !MISSING(1) && !MISSING(2) ->
#endif
#ifdef MUTANT_final_early
			/* the readers are sent on before the publisher knows that it can go */
			final[pg] = n + 1;
			if :: n < M -> slot[pg * K + n % K] = n + 1; n++ :: else fi;
			begin[hg] = n + 1;
			pg = hg
#else
			begin[hg] = n + 1;
			final[pg] = n + 1;
			pg = hg
#endif
		od
	} unless { dead[3] }
}

/* rg: the ring that it reads; its next number is got[r] */
inline step_over(r, rg, g) {
	/* the next ring of the line that it knows: the lowest that it joined */
	d_step {
		g = rg + 1;
		do
		:: g < 3 && !KNOWS(r, g) -> g++
		:: else -> break
		od
	};
	if
	:: g < 3 ->
#ifdef MUTANT_head_start
		got[r] = (g == pg -> n : got[r]);
#endif
		d_step {
			if :: AT(r, g) < got[r] -> AT(r, g) = got[r] :: else fi;
			rg = g
		}
	:: else
	fi
}

proctype Reader(byte r) {
	byte rg = 0, g, asked = 0;
	bool answer = false, ring, lost = false; /* answer: it waits for one; lost: it never hears of ring 1 */
	{
		do
		:: atomic { up && !IN(r, busd) && !answer ->
			IN(r, busd) = true;
			if
			:: r == 0 -> asked = busd; answer = true; ring = opened[busd]
			:: else -> HAS(r, busd) = true; KNOWS(r, busd) = opened[busd]
			fi;
			/* a ring that is there already: from its oldest message on */
			if :: opened[busd] && AT(r, busd) < first[busd] -> AT(r, busd) = first[busd] :: else fi;
#ifdef MUTANT_forget
			rg = (opened[busd] -> busd : rg)
#endif
		}
		/* the answer to its join, with the rings that were there; or it hears that busd is dead */
		:: d_step { answer -> answer = false; HAS(r, asked) = true; KNOWS(r, asked) = ring; ring = false; asked = 0 }
		:: d_step { answer && !SPEAKS(asked) -> answer = false; ring = false; asked = 0 }
		/* a ring that was opened since */
		:: d_step { HAS(r, 1) && opened[1] && !KNOWS(r, 1) && !lost -> KNOWS(r, 1) = true }
		:: d_step { HAS(r, 2) && opened[2] && !KNOWS(r, 2) -> KNOWS(r, 2) = true }
		:: d_step { HAS(r, 1) && !KNOWS(r, 1) && !lost && !SPEAKS(1) -> lost = true }
#ifdef MUTANT_no_follow
		:: d_step { rg == 0 && KNOWS(r, 1) -> rg = 1; got[r] = (got[r] < first[1] -> first[1] : got[r]) }
#endif
		:: atomic { got[r] < n && THERE(rg, got[r]) -> got[r]++; seen[r]++; AT(r, rg) = got[r] }
		/* what it is to read was overwritten: nobody waited for it */
		:: atomic { slot[rg * K + got[r] % K] > got[r] + 1 -> assert(false) }
		/* drained */
		:: atomic { final[rg] == got[r] + 1 -> step_over(r, rg, g) }
#ifndef MUTANT_no_void
		/* never used, and followed by another */
		:: atomic { rg == 1 && begin[1] == 0 && KNOWS(r, 2) -> step_over(r, rg, g) }
#endif
		/* its publisher is dead: what was committed is read first */
#ifdef MUTANT_no_second_look
		:: atomic { dead[3] && final[rg] == 0 -> break }
#else
		:: atomic { dead[3] && final[rg] == 0 && !THERE(rg, got[r]) &&
			(rg == pg || !KNOWS(r, pg)) -> break }
#endif
		od
	} unless { dead[r] };
	assert(dead[r] || got[r] == n)
}

/* A subscription that is new: it knows no ring before. */
proctype New() {
	byte rg, g;
	bool in;
	do
	:: atomic { up && !IN(2, busd) ->
		IN(2, busd) = true;
		HAS(2, busd) = true;
		KNOWS(2, busd) = opened[busd];
		/* what was overwritten before it came was never its own */
		if :: opened[busd] && begin[busd] != 0 && AT(2, busd) + K < n -> AT(2, busd) = n - K :: else fi;
		if :: opened[busd] && AT(2, busd) < first[busd] -> AT(2, busd) = first[busd] :: else fi;
		if :: !in && opened[busd] -> in = true; rg = busd; got[2] = AT(2, busd) :: else fi }
	:: atomic { !in && ((IN(2, 1) && opened[1]) || (IN(2, 2) && opened[2])) ->
		in = true;
		rg = ((IN(2, 1) && opened[1]) -> 1 : 2);
		got[2] = AT(2, rg) }
#ifndef MUTANT_no_hole
	:: atomic { in && begin[rg] > got[2] + 1 -> got[2] = begin[rg] - 1; AT(2, rg) = got[2] }
#endif
	:: atomic { in && got[2] < n && THERE(rg, got[2]) ->
		if :: from == 0 -> from = got[2] + 1 :: else fi;
		got[2]++; AT(2, rg) = got[2] }
	:: atomic { in && begin[rg] <= got[2] + 1 && slot[rg * K + got[2] % K] > got[2] + 1 -> assert(false) }
	:: atomic { in && final[rg] == got[2] + 1 && begin[rg] != 0 -> step_over(2, rg, g) }
	:: atomic { in && rg == 1 && begin[1] == 0 && IN(2, 2) && opened[2] ->
		rg = 2; got[2] = (got[2] < AT(2, 2) -> AT(2, 2) : got[2]) }
	od
}

init {
	atomic { run Reader(0); run Reader(1); run New() }
}

active proctype End() {
	timeout;
	assert(dead[0] || (got[0] == n && seen[0] == n));
	assert(got[1] == n && seen[1] == n);
	assert(dead[3] || (n == M && pg == 2));
	assert(dead[3] || got[2] == n || (from == 0 && begin[2] == n + 1))
}
