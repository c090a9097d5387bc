/* SPDX-License-Identifier: Apache-2.0 */
/* keeper.c - see keeper.h */
#include "keeper.h"

#include "base/clock.h"
#include "idmap.h"
#include "keep.h"
#include "log.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/*
 * A leaking bucket of deaths: each is one drop, that of a worker which never served many. While it
 * is not full the next worker starts at once (after four deaths of one that cannot start, after
 * some sixty of one that serves for a moment), then after a pause that doubles.
 */
#define FREE_DROPS   64
#define STILL_DROPS  16 /* it never served */
#define DOUBLE_DROPS 16
#define LEAK_NS      UINT64_C(1000000000)
#define PAUSE_NS     UINT64_C(50000000)
#define PAUSE_MAX    7 /* doublings: 6.4 s */
/* What a worker has to leave by itself, or to make room for the next. */
#define LEAVE_NS  UINT64_C(30000000000) /* more than a worker gives its streams to get to disk */
#define RETIRE_NS UINT64_C(2000000000)

struct keeper {
	const struct keeper_setup *setup;
	struct idmap held; /* number -> descriptor + 1 */
	int signal_fd;
	int link_fd;  /* -1: no worker, and all that it sent was read */
	pid_t worker; /* 0: none */
	bool serves;  /* it said READY */
	bool ever_served;
	bool leaving, retiring;
	bool reload_next;                 /* a new worker is to read the configuration again */
	uint64_t started_ns, start_at_ns; /* 0: not to be started */
	uint64_t kill_at_ns;              /* 0: it has time */
	uint64_t drops, drops_at_ns;      /* the bucket, as it was then */
	char path[PATH_MAX];              /* of busd */
	int good_fd;                      /* the program whose worker served last */
	struct stat program;              /* what the present worker was started from */
	bool fall_back; /* the program at the path never served: good_fd instead */
	int exit_code;
};

/* ---- what is held ---- */

static void hold(struct keeper *keeper, uint64_t id, int fd)
{
	int old = (int)(intptr_t)idmap_get(&keeper->held, id) - 1;

	if (idmap_put(&keeper->held, id, (void *)(intptr_t)(fd + 1)) < 0) {
		log_error("the keeper is out of memory: descriptor %llu is lost",
			  (unsigned long long)id);
		close(fd);
		return;
	}
	if (old >= 0)
		close(old);
}

static void drop(struct keeper *keeper, uint64_t id)
{
	int fd = (int)(intptr_t)idmap_get(&keeper->held, id) - 1;

	if (fd < 0)
		return;
	idmap_remove(&keeper->held, id);
	close(fd);
}

/* The one descriptor of a message; -1: there is none. */
static int take_fd(struct msghdr *msg)
{
	const struct cmsghdr *part = CMSG_FIRSTHDR(msg);
	int fd = -1;

	if (part && part->cmsg_level == SOL_SOCKET && part->cmsg_type == SCM_RIGHTS &&
	    part->cmsg_len == CMSG_LEN(sizeof(int)))
		memcpy(&fd, CMSG_DATA(part), sizeof(fd));
	return fd;
}

/* One message of the worker's. false: there is none now, or never again (link_fd is -1 then). */
static bool take_message(struct keeper *keeper)
{
	struct keep_msg body;
	union {
		struct cmsghdr align;
		char buf[CMSG_SPACE(sizeof(int))];
	} control;
	struct iovec iov = { .iov_base = &body, .iov_len = sizeof(body) };
	struct msghdr msg = { .msg_iov = &iov,
			      .msg_iovlen = 1,
			      .msg_control = &control,
			      .msg_controllen = sizeof(control) };
	ssize_t len;
	int fd;

	do
		len = recvmsg(keeper->link_fd, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	while (len < 0 && errno == EINTR);
	if (len < 0 && errno == EAGAIN)
		return false;
	if (len <= 0) {
		close(keeper->link_fd);
		keeper->link_fd = -1;
		return false;
	}
	fd = take_fd(&msg);
	if (len != sizeof(body) || (body.op == KEEP_HOLD) != (fd >= 0)) {
		log_error("the keeper did not get a descriptor from the worker (raise LimitNOFILE)");
		if (fd >= 0)
			close(fd);
	} else if (body.op == KEEP_HOLD) {
		hold(keeper, body.id, fd);
	} else if (body.op == KEEP_DROP) {
		drop(keeper, body.id);
	} else if (body.op == KEEP_READY) {
		keeper->serves = true;
	}
	return true;
}

/* ---- starting ---- */

static int write_table(struct keeper *keeper, int table_fd, int link_fd)
{
	struct keep_entry entry = { .id = KEEP_LINK, .fd = link_fd };
	size_t i;

	if (write(table_fd, &entry, sizeof(entry)) != sizeof(entry) || fcntl(link_fd, F_SETFD, 0) < 0)
		return -1;
	for (i = 0; i < keeper->held.room; i++) {
		const struct idmap_slot *slot = &keeper->held.slots[i];

		if (slot->id == 0)
			continue;
		entry.id = slot->id;
		entry.fd = (int)(intptr_t)slot->value - 1;
		if (write(table_fd, &entry, sizeof(entry)) != sizeof(entry) ||
		    fcntl(entry.fd, F_SETFD, 0) < 0)
			return -1;
	}
	return fcntl(table_fd, F_SETFD, 0);
}

/* In the child: becomes the worker. The table says which descriptor is what. */
static void become_worker(struct keeper *keeper, int link_fd, pid_t parent)
{
	const struct keeper_setup *setup = keeper->setup;
	char option[32], socket[160], config[PATH_MAX + 16], data[PATH_MAX + 16];
	const char *argv[8] = { "busd", option, socket };
	int n = 3;
	int table_fd = keep_memfd("table");

	/* a worker whose keeper has died could promise nothing */
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || getppid() != parent || table_fd < 0 ||
	    write_table(keeper, table_fd, link_fd) < 0) {
		log_error("the keeper cannot start a worker: %s", strerror(errno));
		_exit(1);
	}
	snprintf(option, sizeof(option), "--worker=%d", table_fd);
	snprintf(socket, sizeof(socket), "--socket=%s", setup->socket_path);
	snprintf(config, sizeof(config), "--config=%s", setup->config_path);
	snprintf(data, sizeof(data), "--data-dir=%s", setup->data_dir);
	if (setup->config_path)
		argv[n++] = config;
	if (setup->data_dir)
		argv[n++] = data;
	if (setup->foreground)
		argv[n++] = "--foreground";
	if (setup->private_)
		argv[n++] = "--private";
	if (!keeper->fall_back)
		execv(keeper->path, (char **)(uintptr_t)argv);
	fexecve(keeper->good_fd, (char **)(uintptr_t)argv, environ);
	_exit(1);
}

static void start_worker(struct keeper *keeper)
{
	pid_t parent = getpid();
	int pair[2];
	pid_t pid;

	keeper->start_at_ns = 0;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0) {
		log_error("the keeper cannot make a socket: %s", strerror(errno));
		keeper->start_at_ns = bus_monotonic_ns() + PAUSE_NS;
		return;
	}
	if (stat(keeper->path, &keeper->program) < 0)
		memset(&keeper->program, 0, sizeof(keeper->program));
	pid = fork();
	if (pid == 0)
		become_worker(keeper, pair[1], parent);
	close(pair[1]);
	if (pid < 0) {
		log_error("the keeper cannot start a worker: %s", strerror(errno));
		close(pair[0]);
		keeper->start_at_ns = bus_monotonic_ns() + PAUSE_NS;
		return;
	}
	keeper->worker = pid;
	keeper->link_fd = pair[0];
	keeper->serves = false;
	keeper->started_ns = bus_monotonic_ns();
}

/* It serves: its program is one that can be fallen back to. */
static void serves_now(struct keeper *keeper)
{
	bool first = !keeper->ever_served;
	char link[64];
	int fd;

	keeper->ever_served = true;
	snprintf(link, sizeof(link), "/proc/%d/exe", (int)keeper->worker);
	fd = open(link, O_RDONLY | O_CLOEXEC);
	if (fd >= 0) {
		close(keeper->good_fd);
		keeper->good_fd = fd;
	}
	if (keeper->reload_next)
		kill(keeper->worker, SIGHUP);
	keeper->reload_next = false;
	if (first)
		keeper->setup->ready();
	else
		log_info("worker %d serves after %.1f ms", (int)keeper->worker,
			 (double)(bus_monotonic_ns() - keeper->started_ns) / 1e6);
}

/* ---- endings ---- */

static const char *how(int status, char *text, size_t size)
{
	if (WIFSIGNALED(status))
		snprintf(text, size, "was killed by signal %d", WTERMSIG(status));
	else
		snprintf(text, size, "ended with code %d", WEXITSTATUS(status));
	return text;
}

/* Was the present worker started from another program than the one that served last? */
static bool is_other_program(const struct keeper *keeper)
{
	struct stat good;

	return fstat(keeper->good_fd, &good) == 0 &&
	       (good.st_ino != keeper->program.st_ino || good.st_dev != keeper->program.st_dev);
}

static void add_drops(struct keeper *keeper)
{
	uint64_t now_ns = bus_monotonic_ns();
	uint64_t leaked = (now_ns - keeper->drops_at_ns) / LEAK_NS;

	keeper->drops -= bus_min_u64(keeper->drops, leaked);
	keeper->drops_at_ns = keeper->drops ? keeper->drops_at_ns + leaked * LEAK_NS : now_ns;
	keeper->drops += keeper->serves ? 1 : STILL_DROPS;
	/* more would have to leak for longer than anybody waits */
	keeper->drops = bus_min_u64(keeper->drops, FREE_DROPS + DOUBLE_DROPS * (PAUSE_MAX + 1));
}

static void plan_next(struct keeper *keeper, int status)
{
	uint64_t lived_ns = bus_monotonic_ns() - keeper->started_ns;
	uint64_t pause_ns = 0;
	char text[64];

	if (keeper->retiring && WIFEXITED(status) && WEXITSTATUS(status) == KEEP_EXIT_RETIRED) {
		keeper->drops = 0;
	} else {
		add_drops(keeper);
		if (!keeper->serves && !keeper->fall_back && is_other_program(keeper)) {
			log_error("what lies at %s does not serve; the program that served last goes on",
				  keeper->path);
			keeper->fall_back = true;
		}
		if (keeper->drops > FREE_DROPS)
			pause_ns = PAUSE_NS
				   << bus_min_u64((keeper->drops - FREE_DROPS - 1) / DOUBLE_DROPS,
						  PAUSE_MAX);
		log_error("worker %d %s after %.1f s; the next one starts %s%.0f ms",
			  (int)keeper->worker, how(status, text, sizeof(text)),
			  (double)lived_ns / 1e9,
			  pause_ns ? "after a pause, for they die again and again: in " : "in ",
			  (double)pause_ns / 1e6);
	}
	keeper->start_at_ns = bus_monotonic_ns() + pause_ns;
}

static void reap(struct keeper *keeper)
{
	int status;
	pid_t pid = waitpid(keeper->worker, &status, WNOHANG);

	if (pid != keeper->worker || pid == 0)
		return;
	/* what it sent before it died: descriptors that its journal speaks of */
	while (keeper->link_fd >= 0 && take_message(keeper))
		;
	if (keeper->link_fd >= 0)
		close(keeper->link_fd);
	keeper->link_fd = -1;
	if (keeper->leaving || (WIFEXITED(status) && WEXITSTATUS(status) == 0)) {
		keeper->leaving = true;
		keeper->exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : 1;
	} else if (!keeper->ever_served) {
		keeper->leaving = true; /* it has said why */
		keeper->exit_code = WIFEXITED(status) && WEXITSTATUS(status) ? WEXITSTATUS(status)
									     : 1;
	} else {
		plan_next(keeper, status);
	}
	keeper->worker = 0;
	keeper->kill_at_ns = 0;
	keeper->retiring = false;
}

/* ---- signals ---- */

static void leave(struct keeper *keeper)
{
	keeper->leaving = true;
	if (keeper->worker) {
		kill(keeper->worker, SIGTERM);
		keeper->kill_at_ns = bus_monotonic_ns() + LEAVE_NS;
	}
}

static void replace_worker(struct keeper *keeper)
{
	keeper->fall_back = false;
	keeper->drops = 0;
	if (keeper->worker == 0) {
		keeper->start_at_ns = bus_monotonic_ns();
		return;
	}
	log_info("worker %d is replaced", (int)keeper->worker);
	keeper->retiring = true;
	keeper->kill_at_ns = bus_monotonic_ns() + RETIRE_NS;
	kill(keeper->worker, SIGUSR1);
}

static bool program_changed(const struct keeper *keeper)
{
	const struct stat *was = &keeper->program;
	struct stat now;

	return stat(keeper->path, &now) == 0 &&
	       (now.st_ino != was->st_ino || now.st_dev != was->st_dev ||
		now.st_mtim.tv_sec != was->st_mtim.tv_sec ||
		now.st_mtim.tv_nsec != was->st_mtim.tv_nsec || now.st_size != was->st_size);
}

static void hang_up(struct keeper *keeper)
{
	log_reopen();
	if (program_changed(keeper)) {
		keeper->reload_next = true;
		replace_worker(keeper);
	} else if (keeper->worker && keeper->serves) {
		kill(keeper->worker, SIGHUP);
	} else {
		keeper->reload_next = true;
	}
}

static void signalled(struct keeper *keeper)
{
	struct signalfd_siginfo info;

	while (read(keeper->signal_fd, &info, sizeof(info)) == sizeof(info)) {
		if (info.ssi_signo == SIGHUP) {
			hang_up(keeper);
		} else if (info.ssi_signo == SIGUSR2) {
			replace_worker(keeper);
		} else if (info.ssi_signo != SIGCHLD) {
			log_info("leaving on signal %u from pid %u", info.ssi_signo, info.ssi_pid);
			leave(keeper);
		}
	}
	if (keeper->worker)
		reap(keeper);
}

/* ---- the loop ---- */

static int time_left(const struct keeper *keeper)
{
	uint64_t first = keeper->worker ? keeper->kill_at_ns : keeper->start_at_ns;
	uint64_t now_ns = bus_monotonic_ns();

	if (first == 0)
		return -1;
	return first <= now_ns ? 0 : (int)((first - now_ns) / 1000000 + 1);
}

static void run_deadlines(struct keeper *keeper)
{
	uint64_t now_ns = bus_monotonic_ns();

	if (keeper->worker && keeper->kill_at_ns && keeper->kill_at_ns <= now_ns) {
		log_error("worker %d does not leave; it is killed", (int)keeper->worker);
		kill(keeper->worker, SIGKILL);
		keeper->kill_at_ns = 0;
	}
	if (!keeper->worker && !keeper->leaving && keeper->start_at_ns &&
	    keeper->start_at_ns <= now_ns)
		start_worker(keeper);
}

static void loop(struct keeper *keeper)
{
	while (keeper->worker || !keeper->leaving) {
		struct pollfd fds[] = { { .fd = keeper->signal_fd, .events = POLLIN },
					{ .fd = keeper->link_fd, .events = POLLIN } };
		bool served = keeper->serves;

		if (poll(fds, 2, time_left(keeper)) > 0) {
			while (keeper->link_fd >= 0 && take_message(keeper))
				;
			if (keeper->serves && !served)
				serves_now(keeper);
			signalled(keeper);
		}
		run_deadlines(keeper);
	}
}

static int open_signals(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGHUP);
	sigaddset(&set, SIGUSR1); /* the worker's; blocked from its first instruction on */
	sigaddset(&set, SIGUSR2);
	sigaddset(&set, SIGCHLD);
	sigprocmask(SIG_BLOCK, &set, NULL);
	signal(SIGPIPE, SIG_IGN);
	signal(SIGCHLD, SIG_DFL);
	sigdelset(&set, SIGUSR1);
	return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

static int open_all(struct keeper *keeper)
{
	int journal_fd = keep_memfd("journal");
	ssize_t len = readlink("/proc/self/exe", keeper->path, sizeof(keeper->path) - 1);

	keeper->good_fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	keeper->signal_fd = open_signals();
	if (journal_fd < 0 || len < 0 || keeper->good_fd < 0 || keeper->signal_fd < 0)
		return -errno;
	hold(keeper, KEEP_JOURNAL, journal_fd);
	hold(keeper, KEEP_LISTENER, keeper->setup->listener_fd);
	if (keeper->setup->config_fd >= 0)
		hold(keeper, KEEP_CONFIG, keeper->setup->config_fd);
	return 0;
}

int keeper_run(const struct keeper_setup *setup)
{
	static struct keeper keeper;
	int rc;

	keeper.setup = setup;
	keeper.link_fd = -1;
	rc = open_all(&keeper);
	if (rc < 0) {
		log_error("the keeper cannot start (it needs /proc): %s", strerror(-rc));
		return 1;
	}
	start_worker(&keeper);
	loop(&keeper);
	/* what a worker that left in order has removed already */
	if (unlink(setup->socket_path) < 0 && errno != ENOENT)
		log_warning("cannot remove %s: %s", setup->socket_path, strerror(errno));
	return keeper.exit_code;
}
