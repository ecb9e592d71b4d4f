// A disk whose flush is slow, as a memory card's is: each fsync and fdatasync of the process
// takes GARDIEN_SYNC_US microseconds more.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <time.h>

static void wait_as_a_card(void) {
	const char *us = getenv("GARDIEN_SYNC_US");
	long n = us ? atol(us) : 0;
	struct timespec d = {n / 1000000, n % 1000000 * 1000};
	if (n > 0) nanosleep(&d, NULL);
}

int fsync(int fd) {
	static int (*real)(int);
	if (!real) real = (int (*)(int))dlsym(RTLD_NEXT, "fsync");
	wait_as_a_card();
	return real(fd);
}

int fdatasync(int fd) {
	static int (*real)(int);
	if (!real) real = (int (*)(int))dlsym(RTLD_NEXT, "fdatasync");
	wait_as_a_card();
	return real(fd);
}
