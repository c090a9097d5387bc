/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bus_rig.h - a busd of the test's own, and processes beside it. For programs in tests/integration,
 * which see libbus only by its public headers.
 *
 *	int main(void)
 *	{
 *		rig_busd_start(NULL);                   sets BUS_SOCKET for this process and its children
 *		pid_t p = rig_fork();
 *		if (p == 0) { ...; rig_exit(0); }       a child connects on its own
 *		CHECK(rig_wait(p) == 0);
 *		return rig_done();                      stops busd; 0 if no CHECK failed
 *	}
 */
#ifndef TESTS_BUS_RIG_H
#define TESTS_BUS_RIG_H

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

#include <bus.h>

/* Ends the process (a child too) with 1 and says where. */
#define CHECK(cond) ((cond) ? (void)0 : rig_fail(__FILE__, __LINE__, #cond, NULL))
/* The same for a libbus call: shows the error and bus_why(). Gives back its value. */
#define OK(call)    rig_ok(__FILE__, __LINE__, #call, (call))
#define EQUAL(a, b) rig_equal(__FILE__, __LINE__, #a, #b, (long long)(a), (long long)(b))

void rig_fail(const char *file, int line, const char *what, const char *more)
	__attribute__((noreturn));
int rig_ok(const char *file, int line, const char *what, int value);
void rig_equal(const char *file, int line, const char *a_text, const char *b_text, long long a,
	       long long b);

/*
 * Starts $BUS_BUILD/busd --foreground on a socket in a new directory; config: YAML text, NULL none.
 */
void rig_busd_start(const char *config);
pid_t rig_busd_pid(void);
/* Its worker: the present one, waited for; and killed by -9, and the next one is there. */
pid_t rig_worker(void);
void rig_kill_worker(void);
/* All of it dies: kill -9 of the keeper, which takes its worker along. */
void rig_busd_kill(void);
/* Another one at the same path; config as above, the former's where it is NULL. */
void rig_busd_again(const char *config);
void rig_busd_stop(void); /* SIGTERM, and waits; its exit code must be 0 */
const char *rig_socket(void);
const char *rig_dir(void);
void rig_let_others_in(void); /* to the socket: its directories may be passed by any user */

pid_t rig_fork(void); /* dies with its parent */
void rig_exit(int code) __attribute__((noreturn));
int rig_wait(pid_t pid); /* exit code, or -signal */
void rig_kill(pid_t pid, int sig);

/* Steps between processes: named counters in memory shared with all children. */
#define RIG_COUNTERS 64
void rig_post(int counter);
void rig_await(int counter, unsigned value); /* fails after 20 s */
void rig_sleep_ms(unsigned ms);
uint64_t rig_now_ns(void);

struct bus *rig_connect(const char *name);
/* The next message, waiting at most 10 s; fails otherwise. Borrowed as after a peek of 1. */
void rig_next(struct bus_sub *sub, struct bus_msg *msg);
/* Whether the process is asleep in the kernel (state S of /proc). */
bool rig_asleep(pid_t pid);

int rig_done(void);

#endif
