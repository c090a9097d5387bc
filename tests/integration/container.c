/* SPDX-License-Identifier: Apache-2.0 */
/*
 * container.c - the instrument of container.sh: subscribes to a topic, then forks a child that keeps
 * its sockets open for longer than it lives itself. Prints the child's pid, and waits to be killed.
 */
#include <stdio.h>
#include <unistd.h>

#include <bus.h>

int main(int argc, char **argv)
{
	struct bus_sub *sub;
	struct bus *bus;
	pid_t pid;

	if (argc != 2 || bus_connect(&bus, NULL) < 0 || bus_sub_open(&sub, bus, argv[1], NULL) < 0) {
		fprintf(stderr, "container: %s\n", bus_why(NULL));
		return 1;
	}
	pid = fork();
	if (pid < 0)
		return 1;
	if (pid > 0) {
		printf("%d\n", (int)pid);
		fflush(stdout);
	}
	for (;;)
		pause();
}
