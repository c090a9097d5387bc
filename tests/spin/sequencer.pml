/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sequencer.pml - publishers' rings become a stream's ring, by a worker that dies between any two steps.
 *
 * Mirrors: sequencer_restart, sequencer_begin, sequencer_take (busd/sequencer.c): a run of one ring at most, of a quarter of
 * a lap, its commits, head, then `taken` and the cursor; stream_open_source (busd/stream_source.c): a name gets its next ring
 * once the former one is drained, and its number for ever; ring_pub_refresh (libbus/ring/gate.c): the frontier before the
 * bytes, and the publishers' own gate.
 *
 * Ring 0 is A's, ring 1 B's, ring 2 A's again after its crash, which may come at any step. The stream has S slots, a
 * publisher's ring PR. A message is its number; what stands in a slot that is being written is 0. A lossy reader reads in place.
 *
 * Property: each message is in the stream once, in its publisher's order, under numbers without a gap; `taken` never
 * says more than is there; a publisher never writes over what was not taken; a reader that the frontier lets pass has read what
 * was committed; at the end all is in the stream, and all of it is known as taken.
 *
 * Left out: the disk (the gate follows the head at once: busd/spill.h), sleep and wake-up, orders of memory, bytes.
 * Bound: 3 slots, 1 + 1 messages of A, 3 of B, 1 kill of the worker.
 *
 * Mutants: no_scan scan_all head_only frontier_reset taken_first taken_rarely src_reuse reopen_early commit_first
 */
#define S 3
#define PR 2
#define MA 1
#define MB 3
#define KILLS 1
#define TOT (2*MA+MB+1)

#ifdef MUTANT_scan_all
#define SCAN S
#else
#define SCAN (S-1)
#endif
#ifdef MUTANT_src_reuse
#define ID(r) (r)
#else
#define ID(r) src_of(r)
#endif
#define src_of(r) ((r)==1 -> 1 : 0)
#ifdef MUTANT_reopen_early
#define DRAINED true
#else
#define DRAINED (cur[0]==phead[0])
#endif

/* shared memory, which outlives the worker */
byte slot[3*PR];        /* publishers': number + 1 */
byte phead[3], rstart[3];
bool ropen[3];
byte taken[2];          /* the board's; the cursor is stored with it */
byte s_commit[S], s_src[S], s_seq[S];
byte head, frontier;
/* what is true */
byte g_src[TOT], g_seq[TOT], g_n, g_next[3];
bool a_crashed, killme, dead;
byte kills;

inline store_taken(p) {
	d_step {
		taken[p] = t[p];
#ifndef MUTANT_src_reuse
		assert(t[p] <= g_next[p])
#endif
	}
}

inline take(r, p) {
	/* ring_pub_refresh: what may be overwritten from now on */
	if :: frontier < n+1 -> frontier = n+1 :: else fi;
	d_step { v = slot[r*PR + cur[r]%PR]; assert(v == cur[r]+1); v = 0 }
#ifdef MUTANT_taken_first
	d_step { taken[p] = cur[r]+1; assert(taken[p] <= g_next[p]) }
#endif
#ifdef MUTANT_commit_first
	s_commit[n%S] = n+1;
#endif
	s_src[n%S] = ID(r);
	s_seq[n%S] = cur[r];
	/* the only decision */
	d_step {
		s_commit[n%S] = n+1;
		assert(g_n == n && cur[r] == g_next[ID(r)]);
		if :: r==2 && ID(2)==0 -> assert(cur[r] >= phead[0]) :: else fi;
		g_src[n] = ID(r); g_seq[n] = cur[r]; g_n++; g_next[ID(r)]++;
		n++; cur[r]++; t[p] = cur[r]
	}
	head = n;
#ifdef MUTANT_taken_rarely	/* counted for each source by itself */
	if :: p==1 -> store_taken(1) :: else fi;
#else
	store_taken(p);
#endif
}

active proctype Worker() {
	byte n, k, v, t[2], cur[3];
again:
	{
		n = head;
#ifndef MUTANT_head_only
		do :: s_commit[n%S] == n+1 -> n++ :: else -> break od;
#endif
		t[0] = taken[0]; t[1] = taken[1];
#ifndef MUTANT_no_scan
		k = (n>SCAN -> n-SCAN : 0);
		do
		:: k<n -> d_step {
			if :: s_src[k%S] < 2 && s_seq[k%S]+1 > t[s_src[k%S]] -> t[s_src[k%S]] = s_seq[k%S]+1
			   :: else fi;
			k++ }
		:: else -> break
		od;
#endif
		store_taken(0); store_taken(1);
		head = n;
#ifdef MUTANT_frontier_reset
		frontier = n;
#endif
		d_step {
			cur[0] = t[0]; cur[1] = t[1];
			cur[2] = (t[0]>rstart[2] -> t[0] : rstart[2]);
			k = 0
		}
		do
		:: ropen[0] && phead[0]>cur[0] -> take(0,0)
		:: ropen[1] && phead[1]>cur[1] -> take(1,1)
		:: ropen[2] && phead[2]>cur[2] -> take(2,0)
#ifdef MUTANT_taken_rarely
		:: g_next[1]==MB && t[0]!=taken[0] -> store_taken(0)
#endif
		:: a_crashed && !ropen[2] && DRAINED -> d_step {
#ifdef MUTANT_src_reuse
			rstart[2] = 0; phead[2] = 0; taken[0] = 0; t[0] = 0; cur[2] = 0;
#else
			rstart[2] = cur[0]; phead[2] = cur[0]; cur[2] = cur[0];
#endif
			ropen[2] = true }
		od
	} unless { killme }
	d_step { n=0; k=0; v=0; t[0]=0; t[1]=0; cur[0]=0; cur[1]=0; cur[2]=0; dead=true }
	!dead; goto again
}

active proctype Keeper() {
	do
	:: kills<KILLS && !killme -> d_step { killme=true; kills++ }
	:: killme && dead -> d_step { killme=false; dead=false }
	:: !killme -> break
	od
}

inline publish(r, p, most) {
	/* its gate is the cursor, which is stored with taken */
	atomic { phead[r]<most && phead[r]-(taken[p]>rstart[r] -> taken[p] : rstart[r])<PR ->
	  assert(phead[r]-rstart[r]<PR || g_next[ID(r)] > phead[r]-PR);
	  slot[r*PR + phead[r]%PR] = phead[r]+1 }
	phead[r]++
}

active proctype A() {
	byte most;
	ropen[0] = true;
	do
	:: true -> break		/* it dies, between any two steps */
	:: phead[0]<MA -> publish(0, 0, MA)
	od;
	a_crashed = true;
	ropen[2];
	most = phead[2]+MA;
	do
	:: phead[2]<most -> publish(2, 0, most)
	:: phead[2]==most -> break
	od
}

active proctype B() {
	ropen[1] = true;
	do
	:: phead[1]<MB -> publish(1, 1, MB)
	:: phead[1]==MB -> break
	od
}

active proctype Reader() {
	byte c, a, b;
	do
	:: c<g_n && s_commit[c%S]==c+1 ->
		a = s_src[c%S]; b = s_seq[c%S];
		d_step { if :: frontier>c+S -> skip :: else -> assert(a==g_src[c] && b==g_seq[c]) fi;
			 c++; a=0; b=0 }
	:: c<g_n && s_commit[c%S]!=c+1 -> c++
	:: timeout -> break
	od
}

active proctype Monitor() {
	timeout;
	assert(ropen[2] && g_next[1]==MB && taken[1]==MB);
#ifndef MUTANT_src_reuse
	assert(g_next[0]==phead[2] && taken[0]==phead[2])
#else
	assert(g_next[2]==phead[2])
#endif
}
