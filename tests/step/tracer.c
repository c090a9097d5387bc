/* SPDX-License-Identifier: Apache-2.0 */
/* tracer.c - see step.h */
#include "step/step.h"

#include <assert.h>
#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#define SEEN_MAX    (1u << 18) /* addresses; a table of twice as many places */
#define WRONG_SHOWN 10

struct step_notes *step_notes;
struct step_counts step_counts;
static uint64_t *seen;
static uint8_t pattern[STEP_PATTERNS + STEP_LEN_MAX];

void step_init(void)
{
	step_notes = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	CHECK(step_notes != MAP_FAILED);
	seen = calloc(2 * SEEN_MAX, sizeof(*seen));
	CHECK(seen != NULL);
	for (uint32_t i = 0; i < sizeof(pattern); i++)
		pattern[i] = (uint8_t)((i * UINT64_C(0x9e3779b97f4a7c15)) >> 40);
}

void step_wrong(const char *format, ...)
{
	va_list ap;

	if (step_counts.wrong++ >= WRONG_SHOWN)
		return;
	fputs("WRONG: ", stdout);
	va_start(ap, format);
	vprintf(format, ap);
	va_end(ap);
	putchar('\n');
}

uint32_t step_len(uint64_t seq)
{
	static const uint32_t lens[] = { 8, 64, 24, 300, 1024, 1, 1000, 40, 25, 700, 0, 128, 513 };

	return lens[seq % (sizeof(lens) / sizeof(lens[0]))];
}

const uint8_t *step_bytes(uint64_t seq)
{
	return &pattern[seq % STEP_PATTERNS];
}

/* ---- addresses ---- */

static void note_address(uint64_t rip)
{
	uint64_t i = (rip * UINT64_C(0x9e3779b97f4a7c15)) >> 45;

	static_assert(2 * SEEN_MAX == 1u << 19, "the shift above");
	while (seen[i] != 0 && seen[i] != rip)
		i = (i + 1) % (2 * SEEN_MAX);
	if (seen[i] == rip || step_counts.distinct == SEEN_MAX)
		return;
	seen[i] = rip;
	step_counts.distinct++;
}

static uint64_t address(const struct victim *v)
{
	return (uint64_t)ptrace(PTRACE_PEEKUSER, v->pid, offsetof(struct user_regs_struct, rip), 0);
}

/* ---- the victim ---- */

void step_begin(void)
{
	CHECK(ptrace(PTRACE_TRACEME, 0, 0, 0) == 0);
	raise(SIGSTOP);
}

void step_end(void)
{
	step_notes->over = 1;
}

void victim_start(struct victim *v, void (*body)(void *arg), void *arg)
{
	memset((void *)step_notes, 0, sizeof(*step_notes));
	*v = (struct victim){ .pid = rig_fork() };
	if (v->pid == 0) {
		body(arg);
		rig_exit(0);
	}
	CHECK(waitpid(v->pid, &v->status, 0) == v->pid);
	if (!WIFSTOPPED(v->status)) {
		fprintf(stderr, "step: the victim ended with status %#x before it began\n",
			(unsigned)v->status);
		CHECK(WIFSTOPPED(v->status));
	}
	CHECK(ptrace(PTRACE_SETOPTIONS, v->pid, 0, PTRACE_O_TRACESYSGOOD | PTRACE_O_EXITKILL) == 0);
}

/* Goes on in one of ptrace's ways, up to the next stop that is not a signal for the victim. */
static bool go_on(struct victim *v, int how)
{
	int sig = 0;

	for (;;) {
		if (v->gone)
			return false;
		if (step_notes->over) {
			ptrace(PTRACE_DETACH, v->pid, 0, 0);
			v->gone = true;
			return false;
		}
		CHECK(ptrace(how, v->pid, 0, sig) == 0);
		CHECK(waitpid(v->pid, &v->status, 0) == v->pid);
		if (!WIFSTOPPED(v->status)) {
			step_wrong("the victim ended by itself, status %#x", (unsigned)v->status);
			v->gone = true;
			v->pid = 0;
			return false;
		}
		sig = WSTOPSIG(v->status);
		if (sig == SIGTRAP || sig == (SIGTRAP | 0x80))
			return true;
	}
}

bool victim_step(struct victim *v)
{
	if (!go_on(v, PTRACE_SINGLESTEP))
		return false;
	step_counts.steps++;
	note_address(address(v));
	return true;
}

bool victim_step_profile(struct victim *v)
{
	uint64_t at;

	if (!go_on(v, PTRACE_SINGLESTEP))
		return false;
	at = address(v);
	step_counts.steps++;
	note_address(at);
	v->syscall = (ptrace(PTRACE_PEEKTEXT, v->pid, at, 0) & 0xffff) == 0x050f;
	return true;
}

bool victim_syscall(struct victim *v)
{
	return go_on(v, PTRACE_SYSCALL) && go_on(v, PTRACE_SYSCALL);
}

void victim_kill(struct victim *v)
{
	if (v->pid == 0)
		return;
	kill(v->pid, SIGKILL);
	CHECK(waitpid(v->pid, &v->status, 0) == v->pid);
	step_counts.kills += WIFSIGNALED(v->status);
	v->gone = true;
	v->pid = 0;
}

void victim_finish(struct victim *v)
{
	if (v->pid == 0)
		return;
	if (!v->gone)
		ptrace(PTRACE_DETACH, v->pid, 0, 0);
	EQUAL(rig_wait(v->pid), 0);
}
