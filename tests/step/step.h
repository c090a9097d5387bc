/* SPDX-License-Identifier: Apache-2.0 */
/*
 * step.h - death at every instruction. A victim publishes, reads, attaches or detaches over the real
 * libbus and a real busd; the tracer lets it go on by one instruction at a time and, after each,
 * looks at the shared memory as everybody else would if the victim had died there.
 *
 * What others see of a dead process is what lies in the segments that it wrote. Where an instruction
 * changed nothing there, nor anything in the victim's notes, the verdict on the one before it stands;
 * so every instruction is a point of death, and the copies are checked where one of them changed.
 */
#ifndef TESTS_STEP_H
#define TESTS_STEP_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "lib/bus_rig.h"

/* ---- tracer.c ---- */

struct victim {
	pid_t pid;
	bool gone;    /* it has been reaped, or has passed its end */
	int status;   /* as waitpid() said, once reaped */
	bool syscall; /* profile: the next instruction is a system call */
};

/* Written by the victim (want: by both), mapped by both. */
struct step_notes {
	_Atomic uint64_t intent;    /* messages begun */
	_Atomic uint64_t committed; /* messages whose call has returned */
	_Atomic uint64_t finished;  /* messages read, noted before they are released */
	_Atomic uint32_t want; /* it cannot go on without the other side: tracer, do something */
	_Atomic uint32_t over; /* what is traced is done */
};
extern struct step_notes *step_notes;

struct step_counts {
	uint64_t steps;    /* instructions, each a point of death */
	uint64_t distinct; /* addresses among them */
	uint64_t states;   /* copies checked: the memory or the notes had changed */
	uint64_t kills;    /* victims really killed */
	uint64_t wrong;
};
extern struct step_counts step_counts;

void step_init(void);
/* Counts; shows the first ones. */
void step_wrong(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Forks; the child runs body(arg) up to its step_begin(), where this returns. */
void victim_start(struct victim *v, void (*body)(void *arg), void *arg);
/* In the victim: tracing begins and ends here. */
void step_begin(void);
void step_end(void);

/* One instruction. false: the victim has passed its step_end() (and was let go), or has ended. */
bool victim_step(struct victim *v);
/* The same, and says in v->syscall whether the instruction after it is a system call. */
bool victim_step_profile(struct victim *v);
/* To the end of the next system call. */
bool victim_syscall(struct victim *v);
void victim_kill(struct victim *v);
/* Lets it run to its end, which must be exit code 0. */
void victim_finish(struct victim *v);

/* ---- the messages of the steppers: all bytes follow from the number ---- */

#define STEP_SLOTS    16
#define STEP_BYTES    4096
#define STEP_LEN_MAX  6000
#define STEP_PATTERNS 251

uint32_t step_len(uint64_t seq);         /* short, one line, many lines, a quarter of the ring */
const uint8_t *step_bytes(uint64_t seq); /* at least STEP_LEN_MAX of them */

/* ---- the suites ---- */

void step_publisher(bool full);
void step_subscriber(bool full);
void step_attach(bool full);

#endif
