/*
 * What the stand-in driver's functions share (driver.cc): devices, streams and their work, the
 * faults that a test asks for. A piece of work is a closure: run at once, kept for the next
 * synchronisation, or recorded into a graph.
 *
 *   PTXSIM_DEVICES  number of pretended devices (1)
 *   PTXSIM_MEMORY   bytes of each (8 GiB)
 *   PTXSIM_ON_FAULT abort (default): a kernel's mistake ends the program
 *                   error: it is a code, as from a driver
 *   PTXSIM_ASYNC    late: work is done when somebody waits for it, not before
 *   PTXSIM_FAULTS   comma between:
 *                   alloc:N the N-th allocation finds no memory
 *                   launch:N the N-th launch fails
 *                   lost:N after N launches the device is gone
 *                   version:V what cuDriverGetVersion tells
 *                   missing:NAME cuGetProcAddress does not know NAME
 */
#ifndef PTXSIM_DRIVER_H
#define PTXSIM_DRIVER_H

#include <functional>
#include <mutex>
#include <set>
#include "cuda_api.h"
#include "machine.h"

typedef std::function<CUresult()> work;

struct pretended_device {
	int number;
	uint64_t allocated;
};

struct function {
	kernel *k;
};

struct graph {
	std::vector<work> nodes;
};

struct stream {
	graph *capture; /* what is recorded now */
};

struct event {
	graph *capture;
	double recorded_ms; /* below 0: not yet */
};

struct driver_state {
	std::recursive_mutex lock;
	bool ready;
	std::vector<pretended_device> devices;
	uint64_t memory_bytes;
	bool faults_abort, late;
	uint64_t fail_alloc, fail_launch, lost_after;
	int version;
	std::set<std::string> missing;
	uint64_t allocs, launches;
	CUresult broken; /* every call answers this from now on */
	std::string last_fault;
	std::vector<work> pending;
	std::map<uint64_t, std::pair<int, uint64_t>>
		owners; /* address: device (-1: pinned), bytes */
	std::vector<module *> modules;
	std::map<std::pair<module *, std::string>, function *> functions;
	std::set<stream *> streams;
	stream default_stream;
};
extern driver_state drv;
extern thread_local pretended_device *current;

typedef std::lock_guard<std::recursive_mutex> held;

CUresult usable(); /* initialised, not lost, with a context */
CUresult submit(CUstream s, work w);
CUresult settle(); /* all pending work; the sticky error */
double now_ms();

#define EXPORTED extern "C" __attribute__((visibility("default")))

#endif
