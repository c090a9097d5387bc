/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench_costs.h - figures that are no speed: system calls, busd's processor time, memory, the time
 * to open a topic.
 */
#ifndef BENCH_COSTS_H
#define BENCH_COSTS_H

#include "bench_busd.h"
#include "bench_table.h"

/* bench_program: bus-bench, to be run under strace. */
void bench_cost_system_calls(struct bench_table *table, const struct bench_busd *busd,
			     const char *bench_program);
void bench_cost_busd_cpu(struct bench_table *table, const struct bench_busd *busd, uint64_t ns);
void bench_cost_open(struct bench_table *table, const struct bench_busd *busd);
void bench_cost_memory(struct bench_table *table, const struct bench_busd *busd);

#endif
