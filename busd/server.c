/* SPDX-License-Identifier: Apache-2.0 */
/* server.c - see server.h */
#include "server.h"

#include "alloc.h"
#include "calibrate.h"
#include "event.h"
#include "keep.h"
#include "listener.h"
#include "log.h"
#include "numa_place.h"
#include "record.h"
#include "reload.h"
#include "resume.h"
#include "stream.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

#define BATCH 64

int server_watch(struct busd *busd, struct watch *watch, int fd, uint32_t events)
{
	struct epoll_event event = { .events = events, .data.ptr = watch };

	watch->fd = fd;
	watch->events = events;
	return epoll_ctl(busd->epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0 ? -errno : 0;
}

void server_watch_events(struct busd *busd, struct watch *watch, uint32_t events)
{
	if (watch->fd < 0 || watch->events == events)
		return;
	watch->events = events;
	server_poke(busd, watch);
}

void server_poke(struct busd *busd, struct watch *watch)
{
	struct epoll_event event = { .events = watch->events, .data.ptr = watch };

	if (watch->fd >= 0 && epoll_ctl(busd->epoll_fd, EPOLL_CTL_MOD, watch->fd, &event) < 0)
		log_error("cannot watch descriptor %d: %s", watch->fd, strerror(errno));
}

void server_unwatch(struct busd *busd, struct watch *watch)
{
	if (watch->fd < 0)
		return;
	epoll_ctl(busd->epoll_fd, EPOLL_CTL_DEL, watch->fd, NULL);
	close(watch->fd);
	watch->fd = -1;
}

void server_move_watch(struct busd *busd, struct watch *from, struct watch *to)
{
	to->fd = from->fd;
	to->events = from->events;
	from->fd = -1;
	server_poke(busd, to);
}

void server_set_deadline(struct busd *busd, enum busd_timer timer, uint64_t at_ns)
{
	if (busd->deadlines[timer] == 0 || at_ns < busd->deadlines[timer])
		busd->deadlines[timer] = at_ns;
}

static void calibrate(struct busd *busd, uint64_t now_ns)
{
	size_t i;

	calibrate_again(&busd->calibrator);
	record_busd(busd);
	for (i = 0; i < busd->topic_count; i++)
		board_calibrate(&busd->topics[i]->board, &busd->calibrator.now);
	server_set_deadline(busd, TIMER_CALIBRATE, now_ns + CALIBRATE_EVERY_NS);
}

/* A private busd without clients. Who connected at this very moment is not turned away. */
static void leave_if_idle(struct busd *busd)
{
	if (busd->client_count > 0 || stream_in_memory(busd))
		return;
	if (listener_try_leave(busd))
		busd->stopping = true;
}

static void run_deadlines(struct busd *busd)
{
	uint64_t now_ns = bus_monotonic_ns();
	int timer;

	for (timer = 0; timer < TIMER_COUNT; timer++) {
		if (busd->deadlines[timer] == 0 || busd->deadlines[timer] > now_ns)
			continue;
		busd->deadlines[timer] = 0;
		switch ((enum busd_timer)timer) {
		case TIMER_CALIBRATE:
			calibrate(busd, now_ns);
			break;
		case TIMER_HANDSHAKE:
			client_check_handshakes(busd, now_ns);
			break;
		case TIMER_KEPT:
			ring_free_expired(busd);
			break;
		case TIMER_IDLE:
			leave_if_idle(busd);
			break;
		case TIMER_ACCEPT:
			listener_resume(busd);
			break;
		case TIMER_RETRY:
			event_retry_stalled(busd);
			break;
		case TIMER_RECOVER:
			resume_end(busd);
			break;
		case TIMER_REFUSED:
			stream_load_again(busd);
			break;
		case TIMER_COUNT:
			break;
		}
	}
}

/* Milliseconds until the first deadline, rounded up so that it has passed then; -1: none. */
static int time_left(const struct busd *busd)
{
	uint64_t first = UINT64_MAX;
	uint64_t now_ns;
	int timer;

	for (timer = 0; timer < TIMER_COUNT; timer++)
		if (busd->deadlines[timer])
			first = bus_min_u64(first, busd->deadlines[timer]);
	if (first == UINT64_MAX)
		return -1;
	now_ns = bus_monotonic_ns();
	return first <= now_ns ? 0 : (int)bus_min_u64((first - now_ns) / 1000000 + 1, 3600000);
}

static void signalled(struct busd *busd, struct watch *watch, uint32_t events)
{
	struct signalfd_siginfo info;

	(void)events;
	while (read(watch->fd, &info, sizeof(info)) == sizeof(info)) {
		if (info.ssi_signo == SIGHUP) {
			const struct config *before = busd->config;

			log_reopen();
			reload_config(busd);
			if (busd->config != before)
				keep_config(busd->config_path);
		} else if (info.ssi_signo == SIGUSR1) {
			busd->stopping = busd->retiring = true;
		} else {
			log_info("leaving on signal %u from pid %u", info.ssi_signo, info.ssi_pid);
			busd->stopping = true;
		}
	}
}

void server_init(struct busd *busd)
{
	*busd = (struct busd){ .uid = geteuid(),
			       .pid = (uint32_t)getpid(),
			       .started_ns = bus_realtime_ns(),
			       .next_id = 1 };
	list_init(&busd->clients);
	list_init(&busd->handshakes);
	list_init(&busd->doomed);
	list_init(&busd->bells_due);
	list_init(&busd->stalled);
	list_init(&busd->subs);
	list_init(&busd->streams_ending);
	list_init(&busd->creating);
	numa_start();
}

int server_open(struct busd *busd, struct why *why)
{
	sigset_t set;
	int fd, rc;

	busd->listener.fd = busd->signals.fd = busd->finished.fd = -1;
	busd->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (busd->epoll_fd < 0)
		return because(why, errno, "cannot make an epoll descriptor: %s", strerror(errno));
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGHUP);
	sigaddset(&set, SIGUSR1);
	sigprocmask(SIG_BLOCK, &set, NULL);
	signal(SIGPIPE, SIG_IGN);
	fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (fd < 0)
		return because(why, errno, "cannot make a signal descriptor: %s", strerror(errno));
	busd->signals.ready = signalled;
	rc = server_watch(busd, &busd->signals, fd, EPOLLIN);
	if (rc == 0)
		rc = alloc_open(busd);
	if (rc < 0)
		return because(why, -rc, "cannot set up the event loop: %s", strerror(-rc));
	if (busd->calibrator.now.mult == 0)
		calibrate_start(&busd->calibrator);
	server_set_deadline(busd, TIMER_CALIBRATE, bus_monotonic_ns() + CALIBRATE_EVERY_NS);
	return 0;
}

/*
 * Everybody is told, and the rings are closed: their readers see an end instead of waiting for
 * publishers whose deaths nobody would notice any more.
 */
static void say_goodbye(struct busd *busd)
{
	const struct ctl_ev_bye bye = {
		.head = { .type = CTL_EV_BYE, .version = CTL_VERSION, .len = sizeof(bye) }
	};
	struct client *client;

	for_each(client, &busd->clients, link)
		if (client->state == CLIENT_ATTACHED)
			event_push(client, &bye, NULL, false);
	client_send_due(busd);
	stream_leave(busd);
	while (busd->topic_count)
		topic_remove(busd->topics[busd->topic_count - 1]);
	client_ring_bells(busd);
}

int server_step(struct busd *busd, int wait_ms)
{
	struct epoll_event events[BATCH];
	int count = epoll_wait(busd->epoll_fd, events, BATCH, wait_ms);
	int i;

	if (count < 0 && errno != EINTR)
		return -errno;
	for (i = 0; i < count; i++) {
		struct watch *watch = events[i].data.ptr;

		watch->ready(busd, watch, events[i].events);
		client_ring_bells(busd);
		record_commit(busd);
	}
	run_deadlines(busd);
	/* only now: until here an event of this batch might have named one of them */
	client_free_doomed(busd);
	client_ring_bells(busd);
	client_free_doomed(busd);
	record_commit(busd);
	return count > 0 ? count : 0;
}

int server_run(struct busd *busd)
{
	stream_run(busd);
	while (!busd->stopping) {
		int rc = server_step(busd, time_left(busd));

		if (rc < 0) {
			log_error("waiting for events failed: %s", strerror(-rc));
			return 1;
		}
		if (busd->private_ && busd->client_count == 0 && busd->deadlines[TIMER_IDLE] == 0)
			server_set_deadline(busd, TIMER_IDLE,
					    bus_monotonic_ns() + busd->config->idle_exit_ns);
	}
	if (busd->retiring)
		return KEEP_EXIT_RETIRED;
	say_goodbye(busd);
	listener_close(busd);
	return 0;
}
