/* SPDX-License-Identifier: Apache-2.0 */
/*
 * seal.pml - a segment is handed to the client that writes it, sealed, and given to everybody else.
 *
 * Mirrors: segment_build, segment_seal, segment_refill, segment_publish, segment_restore (busd/segment.c);
 * pub_open, pub_ready, readied, discard_pending (busd/pub.c), sub_join (busd/sub.c); restore_segment
 * (busd/restore.c). The client is honest, or it is hostile and keeps the descriptor for ever: it acts between
 * any two steps. The worker is killed between any two steps, and the next one restores.
 *
 * The kernel's rules: seals are added by whoever has a writable descriptor, until F_SEAL_SEAL; punching and
 * new writable mappings are refused under FUTURE_WRITE, a change of size under SHRINK | GROW; F_SEAL_WRITE is
 * refused while a writable mapping exists; allocating within the size is refused by no seal but WRITE.
 *
 * Property: from the moment others have it, the segment carries all seals, has its size and no hole, for
 * ever; an honest client's segment is given to others, whatever dies.
 * Left out: quotas, pages and their place, how descriptors travel (restart.pml), MFD_HUGETLB.
 * Bound: 2 deaths of the worker, 4 hostile acts.
 *
 * fstat after sealing is redundant as long as the size is sealed before the client has the descriptor;
 * so is sealing the size that early, as long as there is the fstat. Without both it fails: late_size.
 *
 * Mutants: late_size no_check refill_first no_refill restart_trusts eperm_refuses
 */
#define DEATHS 2
#define ACTS 4

bool size_sealed, future_write, seal_sealed, write_sealed;
bool resized, hole;    /* what a reader would meet as SIGBUS */
bool handed, ready;    /* the client has the descriptor; it said READY */
bool mapped;           /* the honest mapping, made before READY */
bool given, refused;   /* others have it; discarded */
bool honest, hurt;     /* hurt: somebody tampered, so it may be refused */
byte deaths, acts;
bool dying;

/* journal, as committed: 0 unknown, 1 made (not published), 2 published */
byte journal;
bool kept;             /* the keeper holds it */

#define SEALED (size_sealed && future_write && seal_sealed && !write_sealed)
#define SAFE (SEALED && !resized && !hole)

/* segment_seal, segment_refill, segment_publish; ok is the answer */
inline seal_all() {
#ifdef MUTANT_refill_first
	hole = false;
#endif
#ifdef MUTANT_eperm_refuses
	d_step { ok = !seal_sealed; if :: ok -> future_write = true; seal_sealed = true :: else fi };
#else
	d_step { ok = true; if :: !seal_sealed -> future_write = true; seal_sealed = true :: else fi };
#endif
#ifdef MUTANT_late_size
	d_step { ok = ok && future_write && seal_sealed && !write_sealed };
#elif !defined(MUTANT_no_check)
	d_step { ok = ok && SEALED };
#endif
#if !defined(MUTANT_late_size)
	if :: resized -> ok = false :: else fi;
#endif
#if !defined(MUTANT_refill_first) && !defined(MUTANT_no_refill)
	if :: ok && !write_sealed -> hole = false :: else fi;
#endif
	skip
}

active proctype Worker() {
	bool ok;
again:
	{
		/* restore_segment: seals, size and allocation anew where it was published */
		if
		:: journal == 2 && !refused ->
#ifdef MUTANT_restart_trusts
			ok = true;
#else
			seal_all();
#endif
			if :: ok -> given = true :: else -> d_step { journal = 0; refused = true } fi
		:: journal == 0 && kept -> kept = false /* keep_drop_rest: unknown to the journal */
		:: else
		fi;
		do
		:: journal == 0 && !refused && !handed -> /* pub_open */
			hole = false; resized = false;
#ifndef MUTANT_late_size
			size_sealed = true;
#endif
			kept = true;
			journal = 1
		:: journal == 1 && !handed -> handed = true /* the answer, or the same again to a retry */
		:: journal == 1 && ready && !refused -> /* pub_ready */
#ifdef MUTANT_late_size
			d_step { if :: !seal_sealed -> size_sealed = true :: else fi };
#endif
#ifdef MUTANT_restart_trusts
			/* published is recorded before the sealing, and believed later */
			journal = 2;
#endif
			seal_all();
			if
			:: ok -> journal = 2; given = true
			:: else -> d_step { journal = 0; refused = true }
			fi
		:: else -> (dying || (journal == 1 && ready && !refused))
		od
	} unless { dying };
	d_step { dying = false; ok = false };
	goto again
}

active proctype Killer() {
	do
	:: deaths < DEATHS && !dying -> d_step { deaths++; dying = true }
	:: break
	od
}

active proctype Client() {
	if :: honest = true :: true fi;
	do
	:: handed && !ready ->
		if :: !future_write && !write_sealed -> mapped = true :: else fi;
		ready = true
	:: handed && !honest && acts < ACTS ->
		acts++;
		if
		:: atomic { !future_write && !write_sealed -> hole = true; hurt = true } /* MADV_REMOVE too */
		:: atomic { !size_sealed -> resized = true; hurt = true }
		:: atomic { !seal_sealed -> seal_sealed = true; hurt = true }
		:: atomic { !seal_sealed -> future_write = true; hurt = true }
		:: atomic { !seal_sealed -> size_sealed = true }
		:: atomic { !seal_sealed && !mapped -> write_sealed = true; hurt = true }
		:: skip
		fi
	:: !honest || ready -> break
	od
}

/* what others hold stays whole, whatever comes */
active proctype Reader() {
	atomic { given && !SAFE -> assert(false) }
}

active proctype End() {
	timeout;
	assert(!honest || (given && mapped && journal == 2 && kept));
	assert(given || refused || !ready);
	assert(kept || journal == 0)
}
