/* SPDX-License-Identifier: Apache-2.0 */
/*
 * director.h - the processes of a chaos run and what is done to them. The script (whom, what, when)
 * follows from the seed alone; what the machine makes of it does not.
 */
#ifndef TESTS_CHAOS_DIRECTOR_H
#define TESTS_CHAOS_DIRECTOR_H

#include "chaos/notes.h"

enum party_kind { PARTY_PUB, PARTY_SUB, PARTY_BUSD, PARTY_WORKER, PARTY_KINDS };

struct party {
	enum party_kind kind;
	unsigned slot;
	pid_t pid; /* 0: not running */
	bool stopped;
	bool kill_then;     /* when its stop is over it is killed */
	uint64_t cont_at;   /* ns; while stopped */
	uint64_t return_at; /* ns; while not running */
	uint32_t incarnation;
};

struct deeds {
	uint64_t kills[PARTY_KINDS], stops[PARTY_KINDS], conts[PARTY_KINDS];
	uint64_t removals, processes, skipped;
};

extern struct deeds deeds;

void director_start(const char *busd, const char *config); /* busd and all parties */
void director_act(struct chance *c);                       /* one thing of the script */
void director_tend(void);                                  /* what is due: returns, continues */
void director_all_run(void);                               /* nobody is stopped or missing */
/* Waits until the parties of a kind have left by themselves. */
void director_leave(enum party_kind kind, uint64_t limit_ns);
void director_finish(void); /* busd: nothing left over, an orderly end */
/* The sum over publishers of what they have committed or begun, to see that each goes on. */
void director_all_progress(uint64_t limit_ns);

#endif
