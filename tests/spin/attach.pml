/* SPDX-License-Identifier: Apache-2.0 */
/*
 * attach.pml - a subscription joins a topic: numbered change, epoch, the publisher's look, over deaths of the
 * worker.
 *
 * Mirrors: activate, sub_join (busd/sub.c); change_commit, change_raise (busd/change.c); restore_epoch
 * (busd/restore.c); tell_pub, resume_settle, resume_end, resume_waits (busd/resume.c); the wait of requests
 * while recovering (busd/request.c); bus__pub_news, receive, apply_inbox (libbus/api/pub_members.c).
 *
 * Two subscriptions join, one after the other. The publisher looks at the epoch, then at `changed`, then takes what
 * its socket holds, also what a dead worker sent; it goes on once it has heard of `changed`.
 *
 * Property: a publisher that goes on after a look that began when a subscription had its answer waits for that
 * subscription; a publisher is not blocked while no worker lives, unless the worker before gave up waiting for
 * it (resume_end after 200 ms); at the end the publisher can go on.
 * Left out: memory orders F1 to F3 (make model), segments that come late, leaving, a publisher that begins.
 * Bound: 2 deaths of the worker, 2 subscriptions, 4 looks.
 *
 * That a restart moves the epoch by 2 is for publishers to look and come back; no number is used twice without it
 * either, since numbers are on record before they are sent. So no mutant stands for it.
 *
 * Mutants: raise_first answer_first no_journal no_wait owed_early epoch_first
 */
#define DEATHS 2
#define LOOKS 4

byte epoch, changed;          /* board */
byte j_epoch;                 /* journal: topic.epoch, topic.owed, who is active */
bool j_owed, j_active[3];
chan inbox = [8] of { byte, byte };  /* number; who is a member, as bits */
byte worker = 1, connected = 1;
bool told, gave_up, alive = true;
bool answered[3];
byte deaths;
bool dying, reapable;

#define MEMBERS ((j_active[1] -> 1 : 0) + (j_active[2] -> 2 : 0))
#define ABSENT (connected != worker || !told)

/* change_raise: that it is owed no more is part of a transaction which ends after the epoch is up */
inline raise_() {
#ifdef MUTANT_owed_early
	j_owed = false;
#endif
#ifdef MUTANT_epoch_first
	epoch = j_epoch;
	changed = j_epoch;
#else
	changed = j_epoch;
	epoch = j_epoch;
#endif
	j_owed = false
}

active proctype Worker() {
	byte s;
	bool recovering;
	told = true;
again:
	{
		do
		:: connected == worker && !told -> /* tell_pub */
			d_step { inbox!j_epoch, MEMBERS; told = true }
		:: recovering && !ABSENT ->        /* resume_settle */
			if :: j_owed -> raise_() :: else fi;
			recovering = false
		:: recovering && ABSENT ->         /* resume_end: it sleeps */
			gave_up = true;
			if :: j_owed -> raise_() :: else fi;
			recovering = false
#ifdef MUTANT_no_wait
		:: atomic { !answered[1] || !answered[2] -> s = (answered[1] -> 2 : 1) };
#else
		:: atomic { !recovering && (!answered[1] || !answered[2]) -> s = (answered[1] -> 2 : 1) };
#endif
			if
			:: j_active[s] -> skip /* retrying: a former worker did it */
			:: else ->
#ifdef MUTANT_raise_first
				changed = j_epoch + 1; epoch = j_epoch + 1;
#endif
				/* change_commit: one transaction, then it is sent, then raised */
#ifndef MUTANT_no_journal
				d_step { j_active[s] = true; j_epoch++; j_owed = true };
				if :: connected == worker && told -> inbox!j_epoch, MEMBERS :: else fi;
#else
				if
				:: connected == worker && told -> inbox!j_epoch + 1, MEMBERS | s
				:: else
				fi;
				d_step { changed = j_epoch + 1; epoch = j_epoch + 1 };
				answered[s] = true;
				d_step { j_active[s] = true; j_epoch++; j_owed = true };
#endif
#ifdef MUTANT_answer_first
				answered[s] = true;
#endif
				if :: !(recovering && ABSENT) -> raise_() :: else fi
			fi;
			answered[s] = true;
			s = 0
		od
	} unless { dying };
	d_step { s = 0; recovering = false; alive = false; reapable = true };
	!reapable;
	/* restore_epoch: beyond all that was ever sent; `changed` stays */
	d_step {
		if :: epoch > j_epoch -> j_epoch = epoch :: else fi;
		j_epoch = j_epoch + 2;
		epoch = j_epoch;
		if :: j_owed -> j_epoch++ :: else fi;
		gave_up = false; recovering = true; alive = true
	};
	goto again
}

active proctype Keeper() {
	do
	:: d_step { deaths < DEATHS && !dying -> dying = true; deaths++ }
	:: d_step { reapable -> dying = false; reapable = false; worker++; told = false }
	od
}

active proctype Publisher() {
	byte looks, e, ch, seen, number, n, m, gates;
	bool had1, had2;
	do
	:: looks < LOOKS ->
		d_step { looks++; had1 = answered[1]; had2 = answered[2] };
		e = epoch;
		if
		:: e != seen -> /* RING_NEWS: bus__pub_news */
			e = epoch;
			ch = changed;
			do
			:: atomic { inbox?n, m ->
				gates = m;
				if :: n > number -> number = n :: else fi;
				n = 0; m = 0 }
			:: empty(inbox) -> break
			od;
			if
			:: number >= ch -> seen = e
			:: else -> assert(alive || gave_up)
			fi
		:: else
		fi;
		if
		:: seen == e -> assert((!had1 || (gates & 1)) && (!had2 || (gates & 2)))
		:: else
		fi;
		d_step { e = 0; ch = 0; had1 = false; had2 = false }
	/* bus__mend: whenever it looks; what the dead one sent was read before */
	:: atomic { connected != worker && empty(inbox) && alive -> connected = worker; told = false }
	:: looks == LOOKS && connected == worker && told && answered[1] && answered[2] ->
		do :: inbox?n, m -> gates = m; if :: n > number -> number = n :: else fi :: empty(inbox) -> break od;
		if
		:: connected == worker && told && alive && number >= changed -> assert(gates == 3)
		:: else
		fi;
		break
	od
}

active proctype End() {
	timeout;
	assert(answered[1] && answered[2] && !j_owed)
}
