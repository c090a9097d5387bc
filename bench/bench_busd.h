/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench_busd.h - a busd of the measurement's own, in a temporary directory: nothing that runs on
 * the machine already is disturbed or counted.
 */
#ifndef BENCH_BUSD_H
#define BENCH_BUSD_H

#include <stdint.h>
#include <sys/types.h>

#ifdef __cplusplus
extern "C" {
#endif

struct bench_busd {
	pid_t pid;
	char dir[64];
	char socket[96];
};

/* Starts it and waits until it can be connected to. Ends the program with a message where it cannot. It is stopped by
 * bench_busd_stop(), and dies with this process. */
void bench_busd_start(struct bench_busd *busd, const char *program);
void bench_busd_stop(struct bench_busd *busd);

/* Processor time used so far by a process and its descendants, ns. 0 where it is gone. */
uint64_t bench_busd_cpu_ns(const struct bench_busd *busd);

#ifdef __cplusplus
}
#endif
#endif
