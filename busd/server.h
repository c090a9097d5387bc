/* SPDX-License-Identifier: Apache-2.0 */
/*
 * server.h - the loop: which descriptors are ready, which deadlines have passed. An idle busd
 * wakes once a minute.
 */
#ifndef BUSD_SERVER_H
#define BUSD_SERVER_H

#include "busd.h"

#include <sys/epoll.h>

/* Nothing but empty lists. */
void server_init(struct busd *busd);
int server_open(struct busd *busd, struct why *why);
/*
 * Serves what is ready within wait_ms, and deadlines that have passed. How much was ready, or
 * -errno.
 */
int server_step(struct busd *busd, int wait_ms);
/* Until a signal or idleness ends it. The exit code. */
int server_run(struct busd *busd);

/* 0 or -errno. fd becomes watch->fd; removed again by server_unwatch(), which closes it. */
int server_watch(struct busd *busd, struct watch *watch, int fd, uint32_t events);
void server_watch_events(struct busd *busd, struct watch *watch, uint32_t events);
/* Says again what is ready, to one that waits for edges. */
void server_poke(struct busd *busd, struct watch *watch);
void server_unwatch(struct busd *busd, struct watch *watch);
/* The descriptor changes its owner. */
void server_move_watch(struct busd *busd, struct watch *from, struct watch *to);

/* The earlier of this and what is set already. */
void server_set_deadline(struct busd *busd, enum busd_timer timer, uint64_t at_ns);

#endif
