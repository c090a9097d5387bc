/* SPDX-License-Identifier: Apache-2.0 */
/* bus_rig.c - see bus_rig.h */
#include "lib/bus_rig.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static pid_t busd_pid;
static char dir[256], socket_path[300];
static _Atomic unsigned *counters;

void rig_fail(const char *file, int line, const char *what, const char *more)
{
	fprintf(stderr, "%s:%d: pid %d: %s%s%s\n", file, line, (int)getpid(), what,
		more ? ": " : "", more ? more : "");
	fflush(NULL);
	if (busd_pid > 0)
		kill(busd_pid, SIGTERM);
	_exit(1);
}

int rig_ok(const char *file, int line, const char *what, int value)
{
	char more[700];

	if (value >= 0)
		return value;
	snprintf(more, sizeof(more), "%s (%s)", strerror(-value), bus_why(NULL));
	rig_fail(file, line, what, more);
}

void rig_equal(const char *file, int line, const char *a_text, const char *b_text, long long a,
	       long long b)
{
	char more[300];

	if (a == b)
		return;
	snprintf(more, sizeof(more), "%s = %lld, not %s = %lld", a_text, a, b_text, b);
	rig_fail(file, line, "EQUAL", more);
}

uint64_t rig_now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

void rig_sleep_ms(unsigned ms)
{
	struct timespec ts = { ms / 1000, (long)(ms % 1000) * 1000000 };

	while (nanosleep(&ts, &ts) != 0 && errno == EINTR)
		;
}

static void write_config(const char *path, const char *text)
{
	FILE *f = fopen(path, "w");

	CHECK(f != NULL && fputs(text, f) >= 0 && fclose(f) == 0);
}

/* busd does not serve: what it is doing, for who reads the test's output. */
static void say_what_busd_does(void)
{
	static const char *const files[] = { "stat", "wchan", "syscall" };
	int status = 0;
	pid_t ended = waitpid(busd_pid, &status, WNOHANG);

	fprintf(stderr, "busd (%d) does not serve: %s\n", (int)busd_pid, bus_why(NULL));
	if (ended == busd_pid)
		fprintf(stderr, "it ended: wait status %#x\n", (unsigned)status);
	for (size_t i = 0; ended == 0 && i < sizeof(files) / sizeof(files[0]); i++) {
		char path[64], text[512] = "";
		FILE *f;

		snprintf(path, sizeof(path), "/proc/%d/%s", (int)busd_pid, files[i]);
		f = fopen(path, "r");
		if (f != NULL && fgets(text, sizeof(text), f) != NULL)
			fprintf(stderr, "%s: %s\n", path, text);
		if (f != NULL)
			fclose(f);
	}
}

/* On socket_path, with the configuration that lies beside it, if any; waits until it serves. */
static void run_busd(void)
{
	const char *build = getenv("BUS_BUILD");
	char busd[512], config_path[300];
	struct bus *bus;
	int err = -1;

	snprintf(busd, sizeof(busd), "%s/busd", build != NULL ? build : "build");
	snprintf(config_path, sizeof(config_path), "%s/busd.yaml", dir);
	busd_pid = fork();
	CHECK(busd_pid >= 0);
	if (busd_pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGTERM);
		if (access(config_path, F_OK) == 0)
			execl(busd, "busd", "--foreground", "--socket", socket_path, "--config",
			      config_path, (char *)NULL);
		else
			execl(busd, "busd", "--foreground", "--socket", socket_path, (char *)NULL);
		_exit(127);
	}
	for (int i = 0; i < 500 && err < 0; i++) {
		err = bus_connect(&bus, BUS_OPTS(connect, .name = "rig"));
		if (err < 0)
			rig_sleep_ms(10);
	}
	if (err < 0)
		say_what_busd_does();
	OK(err);
	bus_close(bus);
}

void rig_busd_kill(void)
{
	pid_t pid = busd_pid;

	busd_pid = 0;
	rig_kill(pid, SIGKILL);
	EQUAL(rig_wait(pid), -SIGKILL);
}

void rig_busd_again(const char *config)
{
	char config_path[300];

	snprintf(config_path, sizeof(config_path), "%s/busd.yaml", dir);
	if (config != NULL)
		write_config(config_path, config);
	run_busd();
}

void rig_busd_start(const char *config)
{
	const char *tmp = getenv("TMPDIR");
	char config_path[300];

	if (counters == NULL) {
		counters =
			mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
		CHECK(counters != MAP_FAILED);
	}
	snprintf(dir, sizeof(dir), "%s/rig.XXXXXX", tmp != NULL ? tmp : "/tmp");
	CHECK(mkdtemp(dir) != NULL);
	snprintf(socket_path, sizeof(socket_path), "%s/bus.sock", dir);
	snprintf(config_path, sizeof(config_path), "%s/busd.yaml", dir);
	if (config != NULL)
		write_config(config_path, config);
	setenv("BUS_SOCKET", socket_path, 1);
	run_busd();
}

pid_t rig_busd_pid(void)
{
	return busd_pid;
}

const char *rig_socket(void)
{
	return socket_path;
}

const char *rig_dir(void)
{
	return dir;
}

void rig_let_others_in(void)
{
	char path[300];
	struct stat st;

	snprintf(path, sizeof(path), "%s", dir);
	while (strrchr(path, '/') != path && stat(path, &st) == 0) {
		if ((st.st_mode & 1) == 0)
			CHECK(chmod(path, st.st_mode | 0011) == 0);
		*strrchr(path, '/') = 0;
	}
}

void rig_busd_stop(void)
{
	pid_t pid = busd_pid;

	busd_pid = 0;
	if (pid == 0)
		return;
	kill(pid, SIGTERM);
	EQUAL(rig_wait(pid), 0);
	CHECK(access(socket_path, F_OK) != 0); /* an orderly end takes its socket along */
}

pid_t rig_fork(void)
{
	pid_t pid;

	fflush(NULL);
	pid = fork();
	CHECK(pid >= 0);
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		busd_pid = 0;
	}
	return pid;
}

void rig_exit(int code)
{
	fflush(NULL);
	_exit(code);
}

int rig_wait(pid_t pid)
{
	int status;

	while (waitpid(pid, &status, 0) < 0)
		CHECK(errno == EINTR);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

void rig_kill(pid_t pid, int sig)
{
	CHECK(kill(pid, sig) == 0);
}

void rig_post(int counter)
{
	atomic_fetch_add(&counters[counter], 1);
}

void rig_await(int counter, unsigned value)
{
	uint64_t until = rig_now_ns() + 20000000000u;

	while (atomic_load(&counters[counter]) < value) {
		CHECK(rig_now_ns() < until);
		rig_sleep_ms(1);
	}
}

struct bus *rig_connect(const char *name)
{
	struct bus *bus;

	OK(bus_connect(&bus, BUS_OPTS(connect, .name = name, .timeout_ns = 20000000000)));
	return bus;
}

void rig_next(struct bus_sub *sub, struct bus_msg *msg)
{
	for (;;) {
		CHECK(OK(bus_sub_wait(sub, 10000000000)) == 1);
		if (OK(bus_sub_peek(sub, msg, 1)) == 1)
			return;
	}
}

pid_t rig_worker(void)
{
	char path[64];
	int pid = 0;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/children", (int)rig_busd_pid(),
		 (int)rig_busd_pid());
	for (int tries = 0; pid == 0; tries++) {
		FILE *file = fopen(path, "re");

		CHECK(tries < 20000 && file != NULL);
		if (fscanf(file, "%d", &pid) != 1)
			pid = 0;
		fclose(file);
		if (pid == 0)
			rig_sleep_ms(1);
	}
	return pid;
}

void rig_kill_worker(void)
{
	pid_t pid = rig_worker();

	rig_kill(pid, SIGKILL);
	while (rig_worker() == pid)
		rig_sleep_ms(1);
}

bool rig_asleep(pid_t pid)
{
	char path[64], state = '?';
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	f = fopen(path, "r");
	if (f == NULL)
		return false;
	if (fscanf(f, "%*d (%*[^)]) %c", &state) != 1)
		state = '?';
	fclose(f);
	return state == 'S';
}

int rig_done(void)
{
	char command[400];

	rig_busd_stop();
	snprintf(command, sizeof(command), "rm -rf '%s'", dir);
	CHECK(system(command) == 0);
	return 0;
}
