/* SPDX-License-Identifier: Apache-2.0 */
/*
 * busd_sandbox.c - what a process may do after sandbox_enter(): each attempt in a child of its own,
 * which ends with 0 where the attempt worked, with its errno where not, or by SIGSYS.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "log.h"
#include "sandbox.h"

#define KILLED 200

static struct config *config;

/* 0, the errno that the attempt ended with, or KILLED. */
static int inside(int (*attempt)(void))
{
	struct why why;
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		if (sandbox_enter(config, &why) < 0)
			_exit(201);
		errno = 0;
		_exit(attempt() < 0 ? errno : 0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	if (WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS)
		return KILLED;
	return WIFEXITED(status) ? WEXITSTATUS(status) : 202;
}

static int make_unix(void)
{
	return socket(AF_UNIX, SOCK_DGRAM, 0);
}

static int make_inet(void)
{
	return socket(AF_INET, SOCK_STREAM, 0);
}

static int make_netlink(void)
{
	return socket(AF_NETLINK, SOCK_RAW, 0);
}

static int map(int prot)
{
	return mmap(NULL, 4096, prot, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED ? -1 : 0;
}

static int map_written(void)
{
	return map(PROT_READ | PROT_WRITE);
}

static int map_code(void)
{
	return map(PROT_READ | PROT_WRITE | PROT_EXEC);
}

static int make_code(void)
{
	void *at = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return mprotect(at, 4096, PROT_READ | PROT_EXEC);
}

static void *thread_main(void *arg)
{
	return arg;
}

static int make_thread(void)
{
	pthread_t thread;
	int rc = pthread_create(&thread, NULL, thread_main, NULL);

	errno = rc;
	return rc ? -1 : pthread_join(thread, NULL);
}

/* As libc does it: by clone, without CLONE_THREAD. */
static int make_process(void)
{
	pid_t pid = fork();

	if (pid == 0)
		_exit(0);
	return pid;
}

static int make_process_the_new_way(void)
{
	return (int)syscall(SYS_clone3, NULL, 0);
}

static int link_file(void)
{
	return link("/tmp/no-such-file", "/tmp/nor-this");
}

static int kill_parent(void)
{
	return kill(getppid(), 0);
}

static int become_readable(void)
{
	return prctl(PR_SET_DUMPABLE, 1);
}

static int run_program(void)
{
	return execl("/bin/true", "true", (char *)NULL);
}

static int trace_parent(void)
{
	return (int)ptrace(PTRACE_ATTACH, getppid(), NULL, NULL);
}

static int mount_something(void)
{
	return mount("none", "/mnt", "tmpfs", 0, NULL);
}

static int leave_namespace(void)
{
	return unshare(CLONE_NEWUSER);
}

static int become_root(void)
{
	return setuid(0);
}

static int look_into_parent(void)
{
	return (int)syscall(SYS_process_vm_readv, getppid(), NULL, 0, NULL, 0, 0);
}

static int load_program_into_kernel(void)
{
	return (int)syscall(SYS_bpf, 0, NULL, 0);
}

static int read_proc(void)
{
	return open("/proc/self/stat", O_RDONLY | O_CLOEXEC);
}

static int make_segment(void)
{
	int fd = memfd_create("x", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	if (fd < 0 || fchmod(fd, 0600) < 0 || ftruncate(fd, 4096) < 0 || fallocate(fd, 0, 0, 4096) < 0)
		return -1;
	return fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK);
}

static void what_busd_needs(void **state)
{
	(void)state;
	assert_int_equal(inside(make_unix), 0);
	assert_int_equal(inside(map_written), 0);
	assert_int_equal(inside(make_thread), 0);
	assert_int_equal(inside(read_proc), 0);
	assert_int_equal(inside(make_segment), 0);
}

static void what_it_does_not_need(void **state)
{
	(void)state;
	assert_int_equal(inside(make_inet), EPERM);
	assert_int_equal(inside(make_netlink), EPERM);
	assert_int_equal(inside(map_code), EPERM);
	assert_int_equal(inside(make_code), EPERM);
	assert_int_equal(inside(make_process), EPERM);
	assert_int_equal(inside(make_process_the_new_way), ENOSYS);
	assert_int_equal(inside(link_file), EPERM);
	assert_int_equal(inside(kill_parent), EPERM);
	assert_int_equal(inside(become_readable), EPERM);
}

static void what_only_an_intruder_does(void **state)
{
	(void)state;
	assert_int_equal(inside(run_program), KILLED);
	assert_int_equal(inside(trace_parent), KILLED);
	assert_int_equal(inside(mount_something), KILLED);
	assert_int_equal(inside(leave_namespace), KILLED);
	assert_int_equal(inside(become_root), KILLED);
	assert_int_equal(inside(look_into_parent), KILLED);
	assert_int_equal(inside(load_program_into_kernel), KILLED);
}

/* The same attempts without a filter end otherwise: it is the filter that refuses. */
static void switched_off(void **state)
{
	(void)state;
	config->sandbox = false;
	assert_int_equal(inside(make_inet), 0);
	assert_int_equal(inside(map_code), 0);
	assert_int_equal(inside(make_process), 0);
	assert_int_equal(inside(link_file), ENOENT);
	assert_int_equal(inside(run_program), 0);
	config->sandbox = true;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_busd_needs),
		cmocka_unit_test(what_it_does_not_need),
		cmocka_unit_test(what_only_an_intruder_does),
		cmocka_unit_test(switched_off),
	};

#ifdef __SANITIZE_ADDRESS__
	puts("the address sanitizer needs what the sandbox forbids");
	return 77;
#endif
	config = config_new();
	if (!config || log_open("/dev/null") < 0)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
