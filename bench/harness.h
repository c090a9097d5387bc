/* SPDX-License-Identifier: Apache-2.0 */
/*
 * harness.h - single calls of the API in one process, timed in bursts: what gbench.cc reports. In
 * C, so that what is measured is what a C program does.
 *
 * A burst fills a part of the ring and is then drained, so that no call waits; each function times
 * one side of it only and returns the ns that BURST calls (or messages) took.
 */
#ifndef BENCH_HARNESS_H
#define BENCH_HARNESS_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define HARNESS_BURST 256 /* messages; a quarter of the default ring */

/* Ends the program with a message where anything fails: there is nothing to measure then. */
void harness_busd(const char *program);
void harness_end(void);

struct harness;
/* One publisher with size-byte messages, `subscribers` attached. */
struct harness *harness_open(uint32_t size, int subscribers);
/*
 * One subscription that matches `topics` topics with a publisher each, of which nobody publishes.
 */
struct harness *harness_open_idle(int topics);
void harness_close(struct harness *h);

double harness_send(struct harness *h);  /* bus_pub_send() */
double harness_claim(struct harness *h); /* bus_pub_claim(), bus_pub_commit(); nothing written */
double harness_batch(struct harness *h, int batch); /* bus_pub_send_batch() */
double harness_receive(struct harness *h,
		       int batch); /* bus_sub_peek(), bus_sub_release() of `batch` messages */
double harness_copy_out(struct harness *h); /* bus_sub_recv() */
double harness_empty(struct harness *h);    /* bus_sub_peek() that finds nothing */
double harness_fence(void);
double harness_counter(void); /* reading the cycle counter */

#ifdef __cplusplus
}
#endif
#endif
