/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench_busd.c - see bench_busd.h.
 */
#include "bench_busd.h"

#include <bus.h>

#include <dirent.h>
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define START_MS  5000
#define STOP_MS   5000
#define TREE_MOST 64

static struct bench_busd *running;
static pid_t owner;

/*
 * However this program ends, its busd goes too, and its directory. Only what a signal handler may
 * call.
 */
static void clear_away(void)
{
	static const char *const files[] = { "log", "bus.sock", "bus.sock.lock", "strace" };
	struct bench_busd *busd = running;
	char path[96];

	if (!busd || getpid() != owner)
		return;
	running = NULL;
	kill(busd->pid, SIGTERM);
	for (int ms = 0; ms < STOP_MS && waitpid(busd->pid, NULL, WNOHANG) == 0; ms += 5) {
		if (ms == STOP_MS / 2)
			kill(busd->pid, SIGKILL);
		usleep(5000);
	}
	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
		strcpy(stpcpy(stpcpy(path, busd->dir), "/"), files[i]);
		unlink(path);
	}
	rmdir(busd->dir);
}

static void end_by_signal(int sig)
{
	clear_away();
	signal(sig, SIG_DFL);
	raise(sig);
}

static void clear_away_at_the_end(struct bench_busd *busd)
{
	static const int signals[] = { SIGINT, SIGTERM, SIGHUP, SIGPIPE };

	running = busd;
	owner = getpid();
	atexit(clear_away);
	for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
		signal(signals[i], end_by_signal);
}

static void become_busd(const struct bench_busd *busd, const char *program)
{
	char log[80];
	int fd;

	prctl(PR_SET_PDEATHSIG, SIGTERM);
	snprintf(log, sizeof(log), "%s/log", busd->dir);
	fd = open(log, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	if (fd >= 0) {
		dup2(fd, STDOUT_FILENO);
		dup2(fd, STDERR_FILENO);
	}
	execl(program, "busd", "--foreground", "--socket", busd->socket, (char *)NULL);
	dprintf(STDERR_FILENO, "cannot run %s: %s\n", program, strerror(errno));
	_exit(127);
}

static _Noreturn void did_not_start(const struct bench_busd *busd, const char *program)
{
	char log[80], text[2000] = "";
	int fd;

	snprintf(log, sizeof(log), "%s/log", busd->dir);
	fd = open(log, O_RDONLY);
	if (fd < 0 || read(fd, text, sizeof(text) - 1) <= 0)
		text[0] = '\0';
	errx(1, "%s did not start: %s %s", program, bus_why(NULL), text);
}

void bench_busd_start(struct bench_busd *busd, const char *program)
{
	struct bus_connect_opts opts = { .size = sizeof(opts), .flags = BUS_CONNECT_NO_AUTOSTART };
	struct bus *bus;

	snprintf(busd->dir, sizeof(busd->dir), "/tmp/bus-bench.XXXXXX");
	if (!mkdtemp(busd->dir))
		err(1, "cannot make a directory %s", busd->dir);
	snprintf(busd->socket, sizeof(busd->socket), "%s/bus.sock", busd->dir);
	busd->pid = fork();
	if (busd->pid < 0)
		err(1, "cannot start a process");
	if (busd->pid == 0)
		become_busd(busd, program);
	clear_away_at_the_end(busd);
	opts.socket = busd->socket;
	for (int ms = 0; ms < START_MS; ms += 10) {
		if (bus_connect(&bus, &opts) == 0) {
			bus_close(bus);
			return;
		}
		if (waitpid(busd->pid, NULL, WNOHANG) != 0)
			break;
		usleep(10000);
	}
	did_not_start(busd, program);
}

void bench_busd_stop(struct bench_busd *busd)
{
	if (busd == running)
		clear_away();
}

/* ---- processor time ---- */

static pid_t parent_of(pid_t pid)
{
	char path[64], text[512], *end;
	ssize_t n;
	int fd, parent = 0;

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	fd = open(path, O_RDONLY);
	if (fd < 0)
		return 0;
	n = read(fd, text, sizeof(text) - 1);
	close(fd);
	if (n <= 0)
		return 0;
	text[n] = '\0';
	end = strrchr(text, ')'); /* the name may hold anything */
	return end && sscanf(end + 1, " %*c %d", &parent) == 1 ? parent : 0;
}

/* The process and all below it. */
static int find_tree(pid_t root, pid_t *pids)
{
	DIR *dir = opendir("/proc");
	struct dirent *entry;
	int n = 1;

	pids[0] = root;
	while (dir && (entry = readdir(dir)) && n < TREE_MOST) {
		pid_t pid = atoi(entry->d_name), up = pid;

		for (int depth = 0; pid > 1 && pid != root && depth < 8 && up > 1; depth++) {
			up = parent_of(up);
			if (up == root) {
				pids[n++] = pid;
				break;
			}
		}
	}
	if (dir)
		closedir(dir);
	return n;
}

/* The scheduler's own account of each thread; /proc/PID/stat counts whole ticks. */
static uint64_t cpu_ns_of(pid_t pid)
{
	char path[300], text[128];
	struct dirent *entry;
	uint64_t sum = 0;
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%d/task", (int)pid);
	dir = opendir(path);
	while (dir && (entry = readdir(dir))) {
		ssize_t n;
		int fd;

		snprintf(path, sizeof(path), "/proc/%d/task/%s/schedstat", (int)pid, entry->d_name);
		fd = entry->d_name[0] == '.' ? -1 : open(path, O_RDONLY);
		if (fd < 0)
			continue;
		n = read(fd, text, sizeof(text) - 1);
		close(fd);
		if (n > 0) {
			text[n] = '\0';
			sum += strtoull(text, NULL, 10);
		}
	}
	if (dir)
		closedir(dir);
	return sum;
}

uint64_t bench_busd_cpu_ns(const struct bench_busd *busd)
{
	pid_t pids[TREE_MOST];
	int n = find_tree(busd->pid, pids);
	uint64_t sum = 0;

	for (int i = 0; i < n; i++)
		sum += cpu_ns_of(pids[i]);
	return sum;
}
